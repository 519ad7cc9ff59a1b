/* lockstep-gateway -- arguments, the socket to listen at, the sandbox, the loop. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/protect.h"
#include "gateway/gateway.h"
#include "net/listen.h"
#include "net/tls.h"
#include "sys/sandbox.h"
#include "sys/systemd.h"

#define CONNECTIONS 256
#define ADDRESS_CONNECTIONS 32
#define HEADER_BYTES 8192
/* More than any route takes: what is too long is refused in words up to here. */
#define BODY_BYTES 65536
#define SPARE_MS 2000
#define HEAD_S 10
#define BODY_S 15
#define ANSWER_S 60
#define UNSENT_BYTES (32 << 20)
/* The certificate's file is looked at by each connection; and without one, that the log and the
 * status say what is so. */
#define LOOK_WAITING_MS 1000
#define LOOK_MS 30000

struct program {
	struct ls_gateway gateway;
	struct ls_paths paths;
	struct ls_config config;
	char *pem_path;
	struct ls_tls *tls;
	struct ls_server *server;
	int listen_fd;
	char where[LS_LISTEN_TEXT_SIZE];
	struct ls_source *look_timer, *watchdog_timer;
	int64_t watchdog_ms;
};

static void usage(FILE *to)
{
	fputs("usage: lockstep-gateway [--root DIR] [--config FILE]\n\n"
	      "Answers HTTPS for a Lockstep node: joining, metrics. Stays in the foreground.\n\n"
	      "  --root DIR     put everything under DIR instead of / (or LOCKSTEP_ROOT)\n"
	      "  --config FILE  instead of etc/lockstep/lockstep.conf (or LOCKSTEP_CONFIG)\n"
	      "  --version, --help\n\n"
	      "SIGTERM ends it. See lockstep-gateway(8).\n",
		to);
}

static void on_stop(void *arg)
{
	struct program *p = arg;

	ls_systemd_notify("STOPPING=1\nSTATUS=stopping");
	ls_loop_stop(p->gateway.loop);
}

static void on_watchdog(void *arg)
{
	struct program *p = arg;

	ls_systemd_notify("WATCHDOG=1");
	ls_source_arm(p->watchdog_timer, p->watchdog_ms / 3);
}

static void on_look(void *arg)
{
	struct program *p = arg;

	ls_tls_refresh(p->tls);
	ls_source_arm(p->look_timer, ls_tls_ready(p->tls) ? LOOK_MS : LOOK_WAITING_MS);
}

static void on_certificate(void *arg, enum ls_code code, const struct ls_err *err)
{
	struct program *p = arg;
	LS_CLEANUP(ls_free_str) char *status = NULL;

	if (code == LS_OK) {
		ls_gateway_log(&p->gateway, LOG_NOTICE, LS_GATEWAY_CERTIFICATE,
			"serving with the certificate of '%s'", p->pem_path);
		status = ls_format("STATUS=ready: listening on %s", p->where);
	} else if (ls_tls_ready(p->tls)) {
		ls_gateway_log(&p->gateway, LOG_ERR, LS_GATEWAY_CERTIFICATE_REFUSED,
			"the certificate's file cannot be used, the earlier one stays: %s",
			err->text);
		status = ls_format(
			"STATUS=ready, with an earlier certificate: listening on %s", p->where);
	} else {
		ls_gateway_log(&p->gateway, code == LS_E_NOT_FOUND ? LOG_NOTICE : LOG_ERR,
			LS_GATEWAY_WAITING,
			"waiting for a certificate, connections are closed: %s; lockstepd writes "
			"it",
			err->text);
		status = ls_format("STATUS=waiting for a certificate: %s", err->text);
	}
	ls_systemd_notify(status);
}

static enum ls_code start_listening(struct program *p, struct ls_err *err)
{
	LS_TRY(ls_systemd_listener(&p->listen_fd, err));
	if (p->listen_fd >= 0)
		LS_TRY(ls_listen_adopt(p->listen_fd, err));
	else
		LS_TRY(ls_listen_tcp(p->config.gateway_listen, &p->listen_fd, err));
	ls_listen_text(p->listen_fd, p->where);
	return LS_OK;
}

/* What it reads later is the certificate's file. The directory above the daemon's, since the
 * daemon's may be made anew. */
static enum ls_code confine(struct program *p, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *above = ls_format("%s/run", p->paths.root);
	char *const write_dirs[] = { NULL };
	char *const read_paths[] = { above, NULL };
	struct ls_sandbox_report report;

	LS_TRY(ls_sandbox_close(
		&(struct ls_sandbox){
			.write_dirs = write_dirs, .read_paths = read_paths, .faces_network = true },
		&report, err));
	ls_gateway_log(&p->gateway, LOG_INFO, LS_GATEWAY_SANDBOX, "sandbox: %s", report.closed);
	if (report.missing[0])
		ls_gateway_log(&p->gateway, LOG_WARNING, LS_GATEWAY_SANDBOX,
			"sandbox: this kernel lacks %s", report.missing);
	return LS_OK;
}

/* Descriptors are needed for more than connections: of what goes to the daemon, and a few. */
static int connections_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 2 > CONNECTIONS)
		return CONNECTIONS;
	return (int)(limit.rlim_cur / 2);
}

static enum ls_code start_serving(struct program *p, struct ls_err *err)
{
	int connections = connections_max();
	const struct ls_server_limits limits = {
		.header_bytes = HEADER_BYTES,
		.body_bytes = BODY_BYTES,
		.stranger_body_bytes = BODY_BYTES,
		.connections = connections,
		.stranger_connections = connections,
		.peer_connections = ADDRESS_CONNECTIONS,
		.spare_ms = SPARE_MS,
		.head_s = HEAD_S,
		.idle_s = BODY_S,
		.answer_s = ANSWER_S,
		.unsent_bytes = UNSENT_BYTES,
		.busy = "{\"error\":{\"code\":\"unreachable\",\"message\":\"too much waits to be "
			"taken in by others\",\"hint\":\"try again in a moment\"}}",
	};

	return ls_server_new_tls(p->gateway.loop, &p->listen_fd, p->tls, &limits,
		ls_gateway_request, &p->gateway, &p->server, err);
}

static enum ls_code set_up(struct program *p, struct ls_err *err)
{
	LS_TRY(ls_config_load(p->paths.config, &p->config, err));
	p->gateway.log_level = p->config.log_level;
	ls_gateway_log(
		&p->gateway, LOG_INFO, LS_GATEWAY_START, "lockstep-gateway %s starts", LS_VERSION);
	LS_TRY(ls_loop_new(&p->gateway.loop, err));
	(void)ls_loop_signal(p->gateway.loop, SIGTERM, on_stop, p);
	(void)ls_loop_signal(p->gateway.loop, SIGINT, on_stop, p);
	(void)ls_loop_signal(p->gateway.loop, SIGHUP, on_look, p);
	p->look_timer = ls_loop_timer(p->gateway.loop, on_look, p);
	p->watchdog_timer = ls_loop_timer(p->gateway.loop, on_watchdog, p);
	LS_TRY(ls_tls_new(p->pem_path, on_certificate, p, &p->tls, err));
	LS_TRY(start_listening(p, err));
	LS_TRY(confine(p, err));
	return start_serving(p, err);
}

static void tear_down(struct program *p)
{
	ls_server_free(&p->server);
	ls_gateway_done(&p->gateway);
	ls_tls_free(&p->tls);
	ls_loop_free(&p->gateway.loop);
	ls_fd_close(&p->listen_fd);
	ls_free_str(&p->pem_path);
	ls_paths_done(&p->paths);
}

static int run(struct program *p)
{
	struct ls_err err = { 0 };

	if (set_up(p, &err) != LS_OK) {
		ls_gateway_log(&p->gateway, LOG_ERR, LS_GATEWAY_STOP, "%s%s%s", err.text,
			err.hint[0] ? "; " : "", err.hint);
		tear_down(p);
		return ls_code_exit(err.code);
	}
	ls_gateway_log(&p->gateway, LOG_NOTICE, LS_GATEWAY_READY, "listening on %s", p->where);
	if (ls_protect_unlocked())
		ls_gateway_log(&p->gateway, LOG_WARNING, LS_GATEWAY_START, "%s; %s",
			ls_protect_unlocked_text, ls_protect_unlocked_hint);
	ls_systemd_notify("READY=1");
	on_look(p);
	p->watchdog_ms = ls_systemd_watchdog_ms();
	if (p->watchdog_ms > 0)
		on_watchdog(p);
	ls_loop_run(p->gateway.loop);
	ls_gateway_log(&p->gateway, LOG_NOTICE, LS_GATEWAY_STOP, "stopped");
	tear_down(p);
	return 0;
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
	struct program p = { .listen_fd = -1, .gateway = { .log_level = LOG_INFO } };
	int opt;

	ls_journal_as("lockstep-gateway");
	ls_protect();
	(void)umask(077);
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'r':
			root = optarg;
			break;
		case 'c':
			config = optarg;
			break;
		case 'v':
			puts("lockstep-gateway " LS_VERSION);
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
	ls_paths_init(&p.paths, root, config);
	p.pem_path = ls_format("%s/gateway.pem", p.paths.run);
	p.gateway.socket_path = ls_format("%s/control.sock", p.paths.run);
	return run(&p);
}
