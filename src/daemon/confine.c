/* The moment at which the daemon gives up what it does not need: the node is initialised, no key is
 * read yet, and the socket is not to be seen. */
#include <string.h>
#include <syslog.h>

#include "daemon/daemon.h"
#include "sys/file.h"
#include "sys/sandbox.h"

/* A rule of the sandbox needs its directory. A restored node may lack some. */
static enum ls_code make_dirs(const struct ls_paths *paths, struct ls_err *err)
{
	LS_TRY(ls_dir_make(paths->certs, 0755, err));
	LS_TRY(ls_dir_make(paths->incoming, 0700, err));
	return ls_dir_make(paths->run, 0755, err);
}

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return ls_strdup(".");
	return slash == path ? ls_strdup("/") : ls_strndup(path, (size_t)(slash - path));
}

static enum ls_code close_sandbox(struct ls_daemon *d, struct ls_err *err)
{
	const struct ls_paths *p = &d->paths;
	char *const write_dirs[] = { p->certs, p->incoming, p->lib, p->run, NULL };
	LS_CLEANUP(ls_free_strv) char **read_paths = NULL;
	/* The file itself may be exchanged by a rename. */
	LS_CLEANUP(ls_free_str) char *config_dir = directory_of(p->config);
	LS_CLEANUP(ls_free_str) char *etc = directory_of(p->certs);
	struct ls_sandbox_report report;

	ls_strv_add(&read_paths, etc);
	ls_strv_add(&read_paths, config_dir);
	for (size_t i = 0; p->templates[i]; i++)
		ls_strv_add(&read_paths, p->templates[i]);
	for (size_t i = 0; p->policies[i]; i++)
		ls_strv_add(&read_paths, p->policies[i]);
	LS_TRY(ls_sandbox_close(
		&(struct ls_sandbox){ .write_dirs = write_dirs, .read_paths = read_paths }, &report,
		err));
	ls_log(d, LOG_INFO, LS_EVENT_SANDBOX, NULL, "sandbox: %s", report.closed);
	if (report.missing[0])
		ls_log(d, LOG_WARNING, LS_EVENT_SANDBOX, NULL, "sandbox: this kernel lacks %s",
			report.missing);
	return LS_OK;
}

enum ls_code ls_daemon_confine(struct ls_daemon *d, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/control.sock", d->paths.run);

	LS_TRY(make_dirs(&d->paths, err));
	if (!d->place)
		LS_TRY(ls_server_place_new(path, &d->place, err));
	LS_TRY(close_sandbox(d, err));
	if (ls_worker_new(d->loop, "writer", &d->writer, err) == LS_OK &&
		ls_worker_new(d->loop, "reader", &d->reader, err) == LS_OK)
		return LS_OK;
	err->code = LS_E_FAILED; /* there is no second time */
	return LS_E_FAILED;
}
