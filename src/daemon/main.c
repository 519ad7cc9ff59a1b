/* lockstepd -- the daemon: arguments, the process's own protections, the loop. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/errand.h"
#include "daemon/protect.h"
#include "sys/file.h"
#include "sys/helper.h"
#include "sys/systemd.h"

/* SIGTERM ends the daemon within 5 s (CONTRACT): a rotation that takes longer is finished at the
 * next start. */
#define STOP_MS 4000
/* A step may rightly be silent for as long as the longest hook may run. */
#define SILENT_MAX_MS (11 * 60 * 1000)

static void usage(FILE *to)
{
	fputs("usage: lockstepd [--root DIR] [--config FILE]\n\n"
	      "The certificate daemon of a Lockstep node. Stays in the foreground.\n\n"
	      "  --root DIR     put everything under DIR instead of / (or LOCKSTEP_ROOT)\n"
	      "  --config FILE  instead of etc/lockstep/lockstep.conf (or LOCKSTEP_CONFIG)\n"
	      "  --version, --help\n\n"
	      "SIGHUP rereads configuration and templates, SIGTERM ends it. See lockstepd(8).\n",
		to);
}

static void protect(void)
{
	ls_protect();
	(void)umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
}

static void on_stop(void *arg)
{
	struct ls_daemon *d = arg;

	ls_systemd_notify("STOPPING=1\nSTATUS=stopping");
	ls_loop_stop(d->loop);
}

static void on_hup(void *arg)
{
	ls_daemon_reload(arg);
}

static void on_reconcile(void *arg)
{
	ls_daemon_reconcile(arg);
}

static void on_retry(void *arg)
{
	ls_daemon_open(arg);
}

static void on_intake(void *arg)
{
	ls_daemon_collect(arg);
}

/* Half of what the daemon does needs it, and inside the sandbox no other can be made. */
static void on_helper_end(void *arg)
{
	struct ls_daemon *d = arg;

	ls_log(d, LOG_ERR, LS_EVENT_STOP, NULL,
		"the helper process ended, without which nothing can be run: this daemon ends too, "
		"so that it is started anew");
	d->exit_status = 1;
	ls_source_free(&d->helper_source);
	ls_loop_stop(d->loop);
}

/* Fed by progress: a worker that hangs in one step is as good as dead, and so is a loop that does
 * not get here. Finishing at the start what a crash interrupted may take longer than systemd gives
 * a start; each sign of life extends it. */
static void on_watchdog(void *arg)
{
	struct ls_daemon *d = arg;
	LS_CLEANUP(ls_free_str)
	char *alive = d->opening ? ls_format("WATCHDOG=1\nEXTEND_TIMEOUT_USEC=%lld",
					   (long long)d->watchdog_ms * 1000)
				 : ls_strdup("WATCHDOG=1");

	if (!d->writer || (ls_worker_silent_ms(d->writer) < SILENT_MAX_MS &&
				  ls_worker_silent_ms(d->reader) < SILENT_MAX_MS))
		ls_systemd_notify(alive);
	ls_source_arm(d->watchdog_timer, d->watchdog_ms / 3);
}

static enum ls_code take_pid_file(struct ls_daemon *d, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/lockstepd.pid", d->paths.run);
	char text[32];
	int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	LS_TRY(ls_dir_make(d->paths.run, 0755, err));
	if (ls_file_lock(path, false, &d->pid_fd, err) != LS_OK) {
		LS_FAIL(err, LS_E_CONFLICT, "another lockstepd runs here ('%s' is locked)", path);
		return LS_E_CONFLICT;
	}
	if (ftruncate(d->pid_fd, 0) != 0 || pwrite(d->pid_fd, text, (size_t)len, 0) != len)
		return LS_FAIL_ERRNO(err, "write '%s'", path);
	(void)fchmod(d->pid_fd, 0644); /* for stop scripts; the number is no secret */
	return LS_OK;
}

static enum ls_code set_up(struct ls_daemon *d, struct ls_err *err)
{
	LS_TRY(take_pid_file(d, err));
	LS_TRY(ls_loop_new(&d->loop, err));
	d->helper_source = ls_loop_readable(d->loop, ls_helper_fd(), on_helper_end, d);
	(void)ls_loop_signal(d->loop, SIGTERM, on_stop, d);
	(void)ls_loop_signal(d->loop, SIGINT, on_stop, d);
	(void)ls_loop_signal(d->loop, SIGHUP, on_hup, d);
	d->reconcile_timer = ls_loop_timer(d->loop, on_reconcile, d);
	d->intake_timer = ls_loop_timer(d->loop, on_intake, d);
	d->watchdog_timer = ls_loop_timer(d->loop, on_watchdog, d);
	d->retry_timer = ls_loop_timer(d->loop, on_retry, d);
	ls_watch_new(&d->watch);
	d->watch_fd = -1;
	ls_daemon_listen(d);
	d->watchdog_ms = ls_systemd_watchdog_ms();
	if (d->watchdog_ms > 0)
		on_watchdog(d);
	return LS_OK;
}

static int tear_down(struct ls_daemon *d)
{
	int64_t deadline_ms = ls_mono_ms() + STOP_MS, left_ms;
	bool ended;

	ls_server_free(&d->server);
	ls_server_place_free(&d->place);
	(void)pthread_mutex_lock(&d->guard.mutex);
	d->counted_on = NULL; /* the thread that keeps the lease goes with the agent, after it */
	(void)pthread_mutex_unlock(&d->guard.mutex);
	ended = ls_worker_stop(&d->writer, STOP_MS);
	left_ms = deadline_ms - ls_mono_ms(); /* one limit for both */
	ended &= ls_worker_stop(&d->reader, left_ms > 0 ? left_ms : 0);
	ls_log(d, LOG_NOTICE, LS_EVENT_STOP, NULL, "%s",
		ended ? "stopped" : "stopped in the middle of a step; the next start finishes it");
	if (!ended)
		_exit(d->exit_status);
	ls_source_free(&d->store_source);
	ls_agent_free(&d->agent);
	ls_agent_free(&d->reader_agent);
	ls_live_free(&d->live);
	ls_live_plan_free(&d->guard.plan);
	free(d->guard.away);
	ls_dropin_free(&d->dropin);
	ls_source_free(&d->watch_source); /* before its descriptor closes */
	ls_watch_free(&d->watch);
	ls_loop_free(&d->loop);
	free(d->stuck);
	free(d->leaf_fault);
	free(d->intake_fault);
	free(d->intake_waits);
	free(d->exposed);
	ls_fd_close(&d->pid_fd);
	ls_paths_done(&d->paths);
	return d->exit_status;
}

static int run(struct ls_daemon *d)
{
	struct ls_errand errand = {
		.paths = &d->paths, .as_units = ls_systemd_is_unit(), .daemon_pid = getpid()
	};
	const struct ls_helper_service service = {
		.func = ls_errand_do, .at_once = ls_errand_at_once, .arg = &errand
	};
	struct ls_err err = { 0 };
	struct ls_config config;

	/* First of all: it is a copy of this process, which has no threads and no secrets yet. */
	if (ls_helper_start(&service, &err) != LS_OK ||
		ls_config_load(d->paths.config, &config, &err) != LS_OK ||
		set_up(d, &err) != LS_OK) {
		fprintf(stderr, "lockstepd: %s\n", err.text);
		if (err.hint[0])
			fprintf(stderr, "hint: %s\n", err.hint);
		ls_fd_close(&d->pid_fd);
		ls_paths_done(&d->paths);
		return ls_code_exit(err.code);
	}
	d->log_level = config.log_level;
	ls_log(d, LOG_INFO, LS_EVENT_START, NULL, "lockstepd %s starts", LS_VERSION);
	if (!ls_agent_initialised(&d->paths)) {
		LS_CLEANUP(ls_free_str) char *status = NULL;

		(void)ls_agent_not_initialised(&d->paths, &err);
		status = ls_format("READY=1\nSTATUS=waiting: %s", err.text);
		ls_log(d, err.code == LS_E_NOT_FOUND ? LOG_NOTICE : LOG_ERR, LS_EVENT_START, NULL,
			"waiting: %s; %s", err.text, err.hint);
		ls_systemd_notify(status);
		ls_daemon_await_init(d);
	}
	ls_daemon_open(d);
	ls_loop_run(d->loop);
	return tear_down(d);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "config", required_argument, NULL, 'c' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *root = getenv("LOCKSTEP_ROOT"), *config = getenv("LOCKSTEP_CONFIG");
	struct ls_daemon d = {
		.log_level = LOG_INFO, .pid_fd = -1, .store_fd = -1, .reconcile_ms = 30000
	};
	int opt;

	protect();
	/* Three threads that seldom work at once: one heap, so that what one frees another uses. */
	(void)mallopt(M_ARENA_MAX, 1);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'r':
			root = optarg;
			break;
		case 'c':
			config = optarg;
			break;
		case 'v':
			puts("lockstepd " LS_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}
	(void)pthread_mutex_init(&d.guard.mutex, NULL);
	ls_paths_init(&d.paths, root, config);
	return run(&d);
}
