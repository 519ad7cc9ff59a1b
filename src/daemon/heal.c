/* Live files are put back by the main thread, so that a busy writer never delays it. */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/daemon.h"
#include "sys/systemd.h"

enum watched {
	WATCH_INCOMING,
	WATCH_CERTS,
	WATCH_CERTS_CA,
	WATCH_GENERATION,
	WATCH_GENERATION_CA,
	WATCH_LIB
};

static void on_change(void *arg, int number, const char *name)
{
	(void)arg;
	(void)number;
	(void)name;
}

static void on_lost(void *arg)
{
	ls_log(arg, LOG_NOTICE, LS_EVENT_WATCH, NULL,
		"events about files were lost; everything is looked at instead");
}

/* Which file it was does not matter: what is wanted is compared with what is there. */
static void on_watch(void *arg)
{
	struct ls_daemon *d = arg;

	ls_watch_read(d->watch, on_change, on_lost, d);
	ls_daemon_listen(d);
	if (d->ready)
		ls_daemon_look(d);
	else
		ls_daemon_open(d);
}

void ls_daemon_listen(struct ls_daemon *d)
{
	int fd = ls_watch_fd(d->watch);

	if (fd == d->watch_fd)
		return;
	ls_source_free(&d->watch_source);
	if (fd >= 0)
		d->watch_source = ls_loop_readable(d->loop, fd, on_watch, d);
	d->watch_fd = fd;
}

void ls_daemon_watch(struct ls_daemon *d)
{
	LS_CLEANUP(ls_free_str) char *ca = ls_format("%s/ca", d->paths.certs);
	char dir[LS_LIVE_DIR_SIZE] = "";

	(void)pthread_mutex_lock(&d->guard.mutex);
	if (d->guard.plan)
		memcpy(dir, d->guard.plan->dir, sizeof dir);
	(void)pthread_mutex_unlock(&d->guard.mutex);
	if (!d->watched_dir[0]) {
		ls_watch_drop(d->watch, WATCH_LIB);
		ls_watch_add(d->watch, WATCH_INCOMING, d->paths.incoming);
		ls_watch_add(d->watch, WATCH_CERTS, d->paths.certs);
		ls_watch_add(d->watch, WATCH_CERTS_CA, ca);
	}
	if (dir[0] && strcmp(dir, d->watched_dir) != 0) {
		LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", d->paths.certs, dir);
		LS_CLEANUP(ls_free_str) char *path_ca = ls_format("%s/ca", path);

		ls_watch_add(d->watch, WATCH_GENERATION, path);
		ls_watch_add(d->watch, WATCH_GENERATION_CA, path_ca);
		memcpy(d->watched_dir, dir, sizeof dir);
	}
	ls_daemon_listen(d);
}

/* The caller holds the guard. */
static const struct ls_live_file *key_file(const struct ls_daemon *d, const char *component)
{
	for (size_t i = 0; d->guard.plan && i < d->guard.plan->count; i++) {
		const struct ls_live_file *file = &d->guard.plan->files[i];

		if (file->kind == LS_LIVE_KEY && strcmp(file->component, component) == 0)
			return file;
	}
	return NULL;
}

static void remember(struct ls_daemon *d, const struct ls_live_foreign *foreign)
{
	const struct ls_live_file *file = key_file(d, foreign->component);
	struct ls_exposed *entry;

	for (size_t i = 0; file && i < d->exposed_count; i++)
		if (strcmp(d->exposed[i].component, file->component) == 0 &&
			memcmp(d->exposed[i].key_sha256, file->sha256, LS_SHA256_BYTES) == 0)
			return;
	if (!file)
		return;
	d->exposed = ls_realloc(d->exposed, d->exposed_count + 1, sizeof *d->exposed);
	entry = &d->exposed[d->exposed_count++];
	*entry = (struct ls_exposed){ .mode = foreign->mode };
	memcpy(entry->component, file->component, sizeof entry->component);
	memcpy(entry->key_sha256, file->sha256, LS_SHA256_BYTES);
}

void ls_daemon_exposed(struct ls_daemon *d, char ***problems)
{
	size_t kept = 0;

	(void)pthread_mutex_lock(&d->guard.mutex);
	for (size_t i = 0; i < d->exposed_count; i++) {
		const struct ls_exposed *e = &d->exposed[i];
		const struct ls_live_file *file = key_file(d, e->component);
		LS_CLEANUP(ls_free_str) char *text = NULL;

		if (!file || memcmp(file->sha256, e->key_sha256, LS_SHA256_BYTES) != 0)
			continue;
		text = ls_format("%s: others could read its live key (mode %04o, put back): "
				 "replace it, lockstep cert renew --force %s, or cert set with a "
				 "new key",
			e->component, (unsigned)e->mode, e->component);
		ls_strv_add(problems, text);
		d->exposed[kept++] = *e;
	}
	d->exposed_count = kept;
	(void)pthread_mutex_unlock(&d->guard.mutex);
}

static void on_foreign(void *arg, const struct ls_live_foreign *foreign)
{
	struct ls_daemon *d = arg;

	if (foreign->exposed) {
		remember(d, foreign);
		ls_log(d, LOG_ALERT, LS_EVENT_HEALED, foreign->component,
			"others could read the live key of %s (%s%s had mode %04o): the mode is "
			"put back, but who read it has the key; lockstep cert renew --force %s "
			"replaces a generated one, cert set with a new key an installed one",
			foreign->component, foreign->component,
			foreign->kind == LS_LIVE_KEY ? "_key.pem" : ".pem", (unsigned)foreign->mode,
			foreign->component);
		return;
	}
	ls_log(d, LOG_NOTICE, LS_EVENT_HEALED, foreign->component,
		"somebody wrote over a live file of %s: it is put back, what was written is looked "
		"at as a "
		"drop-in",
		foreign->component);
	ls_dropin_capture(d->dropin, foreign->component, foreign->kind, foreign->fd, ls_mono_ms());
}

void ls_daemon_await_init(struct ls_daemon *d)
{
	ls_watch_add(d->watch, WATCH_LIB, d->paths.lib);
	ls_daemon_listen(d);
}

void ls_daemon_heal(struct ls_daemon *d)
{
	struct ls_err err = { 0 };
	enum ls_code code = LS_OK;
	int healed = 0;

	(void)pthread_mutex_lock(&d->guard.mutex);
	if (d->guard.plan)
		code = ls_live_heal(d->live, d->guard.plan, on_foreign, d, &healed, &err);
	(void)pthread_mutex_unlock(&d->guard.mutex);
	if (code != LS_OK)
		ls_log(d, LOG_ERR, LS_EVENT_STUCK, NULL,
			"live files cannot be put back: %s; tried again in %lld s", err.text,
			(long long)(d->reconcile_ms / 1000));
	else if (healed > 0)
		ls_log(d, LOG_WARNING, LS_EVENT_HEALED, NULL, "%d live file%s put back", healed,
			healed == 1 ? " was" : "s were");
}

void ls_daemon_look(struct ls_daemon *d)
{
	if (!d->ready)
		return;
	ls_daemon_watch(d);
	ls_daemon_heal(d);
	ls_daemon_collect(d);
}
