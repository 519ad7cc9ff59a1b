/* Any bytes from the network, once TLS is taken off: the gateway with the real server, and a daemon
 * that looks at what reaches it, which must be one of four requests, whole and within bounds. The
 * first byte is the size of the pieces in which they come. */
#include <event2/event.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/text.h"
#include "gateway/gateway.h"
#include "tests/fuzz/support/scratch.h"
#include "tests/fuzz/support/talk.h"

#define ROUNDS_MAX 400
#define CALLS_MAX 32
#define BODY_BYTES 65536

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ls_gateway gateway = { .log_level = LOG_EMERG };
static struct ls_server *server;
static char *server_path; /* of the server's socket */
static int daemon_fd;
/* What the daemon is being told. */
static struct call {
	int fd;
	struct ls_buf heard;
} calls[CALLS_MAX];
static unsigned answers; /* given for this input */

static const struct {
	const char *line;
	bool post;
	size_t max;
} wanted[] = {
	{ "GET /v1/cluster HTTP/1.1\r\n", false, 0 },
	{ "GET /v1/metrics HTTP/1.1\r\n", false, 0 },
	{ "POST /v1/join HTTP/1.1\r\n", true, 32768 },
	{ "POST /v1/join/history HTTP/1.1\r\n", true, 4096 },
};

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 64) != 0)
		abort();
	return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct ls_server_limits limits = { .body_bytes = BODY_BYTES,
		.stranger_body_bytes = BODY_BYTES,
		.header_bytes = 8192,
		.connections = 16,
		.spare_ms = 60000,
		.head_s = 10,
		.idle_s = 15,
		.answer_s = 60,
		.unsent_bytes = 32 << 20,
		.busy = "{}" };
	struct ls_err err;

	(void)argc;
	(void)argv;
	server_path = ls_format("%s/front.sock", scratch_dir());
	gateway.socket_path = ls_format("%s/control.sock", scratch_dir());
	daemon_fd = listen_at(gateway.socket_path);
	if (ls_loop_new(&gateway.loop, &err) != LS_OK ||
		ls_server_new(gateway.loop, server_path, &limits, ls_gateway_request, &gateway,
			&server, &err) != LS_OK)
		abort();
	for (size_t i = 0; i < CALLS_MAX; i++)
		calls[i].fd = -1;
	return 0;
}

/* False: more is to come. Anything but one of the four ends the target. */
static bool is_whole(const struct ls_buf *heard)
{
	static const char head[] = "Host: lockstep\r\nConnection: close\r\n";
	static const char length[] = "Content-Type: application/json\r\nContent-Length: ";
	const char *at = ls_buf_text(heard);
	int64_t number;
	size_t kind = 0;
	char digits[8];

	if (!strstr(at, "\r\n\r\n"))
		return false;
	while (kind < LS_COUNT(wanted) && !ls_has_prefix(at, wanted[kind].line))
		kind++;
	if (kind == LS_COUNT(wanted))
		abort();
	at += strlen(wanted[kind].line);
	if (!ls_has_prefix(at, head))
		abort();
	at += sizeof head - 1;
	if (!wanted[kind].post) {
		if (strcmp(at, "\r\n") != 0)
			abort();
		return true;
	}
	if (!ls_has_prefix(at, length))
		abort();
	at += sizeof length - 1;
	(void)snprintf(digits, sizeof digits, "%.*s", (int)strcspn(at, "\r"), at);
	at += strlen(digits);
	if (!ls_text_number(digits, 0, (int64_t)wanted[kind].max, &number) ||
		!ls_has_prefix(at, "\r\n\r\n"))
		abort();
	at += 4;
	if (heard->len > (size_t)(at - heard->data) + (size_t)number)
		abort();
	return heard->len == (size_t)(at - heard->data) + (size_t)number;
}

static void answer(struct call *call)
{
	static const char *const texts[] = {
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 503 Busy\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
		"220 no HTTP\r\n",
	};
	const char *text = texts[answers++ % LS_COUNT(texts)];

	(void)send(call->fd, text, strlen(text), MSG_NOSIGNAL);
	ls_fd_close(&call->fd);
	ls_buf_done(&call->heard);
}

static void daemon_turn(void)
{
	bool more = true; /* to be accepted */

	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct call *call = &calls[i];
		char c[65536];
		ssize_t n;

		if (call->fd < 0 && more)
			call->fd = accept4(daemon_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		more = more && call->fd >= 0;
		if (call->fd < 0)
			continue;
		while ((n = recv(call->fd, c, sizeof c, 0)) > 0)
			ls_buf_add(&call->heard, c, (size_t)n);
		if (n == 0) { /* broken off */
			ls_fd_close(&call->fd);
			ls_buf_done(&call->heard);
		} else if (is_whole(&call->heard)) {
			answer(call);
		}
	}
}

static void turn(void)
{
	(void)event_base_loop(ls_loop_base(gateway.loop), EVLOOP_NONBLOCK);
	daemon_turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	answers = 0;
	talk_all(server_path, data, size, 8, turn);
	for (int i = 0; i < ROUNDS_MAX && (i < 4 || gateway.pending); i++)
		turn();
	if (gateway.other_count != 0 || gateway.join_count != 0 || gateway.pending)
		abort();
	return 0;
}
