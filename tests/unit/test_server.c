/* The control socket's server and client, against each other and against rude peers. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/client.h"
#include "net/server.h"
#include "net/sockpath.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define BODY_MAX 4096
#define CONNECTIONS 4

static struct ls_err err;
static struct ls_loop *loop;
static struct ls_server *server;
static struct ls_request *held;
static struct ls_server_limits limits;
static pthread_t thread;
static char *dir, *path;
/* Each happening in the loop's thread that a test waits for writes one byte here. */
static int told[2];

static void tell(char what)
{
	ck_assert_int_eq(write(told[1], &what, 1), 1);
}

static void await(char what)
{
	struct pollfd fd = { .fd = told[0], .events = POLLIN };
	char got = 0;

	ck_assert_int_eq(poll(&fd, 1, 20000), 1);
	ck_assert_int_eq(read(told[0], &got, 1), 1);
	ck_assert_int_eq(got, what);
}

static void echo(struct ls_request *req)
{
	struct ls_buf out = { 0 };
	const struct ls_peer *peer = ls_request_peer(req);
	const char *q = ls_request_query(req, "q");

	ls_buf_printf(&out, "%s %s q=%s %d %u %u %zu:", ls_request_method(req),
		ls_request_path(req), q ? q : "-", (int)peer->pid, (unsigned)peer->uid,
		(unsigned)peer->gid, peer->group_count);
	ls_buf_add_bytes(&out, ls_request_body(req));
	ls_request_reply(req, 200, "text/plain", ls_buf_bytes(&out));
	ls_buf_done(&out);
}

static void stream(struct ls_request *req)
{
	ls_request_stream_start(req, "application/x-ndjson");
	for (int i = 0; i < 1000; i++) {
		char line[32];

		(void)snprintf(line, sizeof line, "line %d", i);
		ls_request_stream_line(req, line);
	}
	ls_request_stream_end(req);
}

static void on_request(void *arg, struct ls_request *req)
{
	const char *p = ls_request_path(req);

	(void)arg;
	if (strcmp(p, "/stream") == 0) {
		stream(req);
	} else if (strcmp(p, "/hold") == 0) {
		held = req;
		tell('h');
	} else if (strcmp(p, "/start") == 0) {
		held = req;
		ls_request_stream_start(req, "text/plain");
		ls_request_stream_line(req, "first");
		tell('h');
	} else {
		echo(req);
	}
}

static void *run(void *arg)
{
	ls_loop_run(loop);
	return arg;
}

static void stop(void *arg)
{
	(void)arg;
	ls_loop_stop(loop);
}

static void start(void)
{
	ck_ok(ls_server_new(loop, path, &limits, on_request, NULL, &server, &err));
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void setup(void)
{
	char template[] = "/tmp/ls-server-XXXXXX";

	dir = ls_strdup(mkdtemp(template));
	path = ls_format("%s/control.sock", dir);
	limits = (struct ls_server_limits){ .body_bytes = BODY_MAX,
		.header_bytes = 2048,
		.connections = CONNECTIONS,
		.spare_ms = 1000000,
		.stranger_body_bytes = 100,
		.busy = "{\"busy\":1}",
		.idle_s = 30 };
	ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
	held = NULL;
	ck_ok(ls_loop_new(&loop, &err));
}

static void halt(void)
{
	ls_loop_post(loop, stop, NULL);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void teardown(void)
{
	ls_server_free(&server);
	ls_loop_free(&loop);
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
	ls_free_str(&path);
	ls_free_str(&dir);
	(void)close(told[0]);
	(void)close(told[1]);
}

static enum ls_code ask(const char *method, const char *target, struct ls_bytes body, int *status,
	struct ls_buf *answer)
{
	struct ls_client_call call = { .socket_path = path,
		.method = method,
		.path = target,
		.body = body,
		.timeout_ms = 20000 };

	return ls_client_call(&call, status, answer, &err);
}

static int raw_connect(void)
{
	struct ls_sockpath where;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_ok(ls_sockpath_init(&where, path, &err));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&where.addr, sizeof where.addr), 0);
	ls_sockpath_done(&where);
	return fd;
}

static void raw_send(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What comes until `until` has come (NULL: until the peer closes). */
static void raw_read(int fd, const char *until, struct ls_buf *out)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c[512];
	ssize_t n;

	ls_buf_clear(out);
	do {
		ck_assert_int_eq(poll(&p, 1, 20000), 1);
		n = read(fd, c, sizeof c);
		if (n > 0)
			ls_buf_add(out, c, (size_t)n);
	} while (n > 0 && !(until && strstr(ls_buf_text(out), until)));
}

START_TEST(peer_method_path_and_query_are_known)
{
	struct ls_buf out = { 0 };
	char want[200];
	int status;

	start();
	ck_ok(ask("POST", "/a%20b?x=1&q=%26+2", LS_BYTES_STR("hello"), &status, &out));
	ck_assert_int_eq(status, 200);
	(void)snprintf(want, sizeof want, "POST /a b q=& 2 %d %u %u %d:hello", (int)getpid(),
		(unsigned)geteuid(), (unsigned)getegid(), getgroups(0, NULL));
	ck_assert_str_eq(ls_buf_text(&out), want);
	ck_ok(ask("GET", "/", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert(strncmp(ls_buf_text(&out), "GET / q=- ", 10) == 0);
	halt();
	ls_buf_done(&out);
}
END_TEST

START_TEST(what_is_not_understood_is_refused_by_status)
{
	struct ls_buf out = { 0 };
	int status, fd;

	start();
	ck_ok(ask("PUT", "/", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 405);
	ck_ok(ask("BREW", "/", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 405);
	ck_ok(ask("GET", "/a%00b", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 400);
	ck_ok(ask("GET", "/?novalue", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 400);
	fd = raw_connect();
	raw_send(fd, "not http at all\r\n\r\n");
	raw_read(fd, NULL, &out);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), " 400 "));
	(void)close(fd);
	halt();
	ls_buf_done(&out);
}
END_TEST

START_TEST(bodies_and_headers_are_bounded)
{
	struct ls_buf out = { 0 }, big = { 0 };
	int status, fd;

	start();
	while (big.len < (3 << 20))
		ls_buf_str(&big, "0123456789abcdef");
	ck_ok(ask("POST", "/", (struct ls_bytes){ big.data, BODY_MAX }, &status, &out));
	ck_assert_int_eq(status, 200);
	ck_ok(ask("POST", "/", (struct ls_bytes){ big.data, BODY_MAX + 1 }, &status, &out));
	ck_assert_int_eq(status, 413);
	ck_ok(ask("POST", "/", ls_buf_bytes(&big), &status, &out));
	ck_assert_int_eq(status, 413);
	fd = raw_connect();
	raw_send(fd, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\nxx");
	raw_read(fd, NULL, &out);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), " 413 "));
	(void)close(fd);
	fd = raw_connect();
	raw_send(fd, "GET / HTTP/1.1\r\nX: ");
	big.data[4000] = '\0';
	raw_send(fd, big.data);
	raw_read(fd, NULL, &out);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), " 400 "));
	(void)close(fd);
	halt();
	ls_buf_done(&big);
	ls_buf_done(&out);
}
END_TEST

START_TEST(a_connection_serves_one_request_after_the_other)
{
	struct ls_buf out = { 0 };
	int fd;

	start();
	fd = raw_connect();
	for (int i = 0; i < 3; i++) {
		raw_send(fd, "GET /1 HTTP/1.1\r\n\r\n");
		raw_read(fd, "GET /1", &out);
	}
	/* sent ahead, while the first is still held */
	raw_send(fd, "GET /hold HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
	await('h');
	halt();
	ls_request_reply(held, 204, "text/plain", (struct ls_bytes){ 0 });
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	raw_read(fd, "GET /2", &out);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), " 204 "));
	(void)close(fd);
	halt();
	ls_buf_done(&out);
}
END_TEST

static void collect(void *arg, const char *line)
{
	int *count = arg;
	char want[32];

	(void)snprintf(want, sizeof want, "line %d", (*count)++);
	ck_assert_str_eq(line, want);
}

START_TEST(a_stream_comes_line_by_line)
{
	struct ls_buf out = { 0 };
	int status, count = 0;
	struct ls_client_call call = { .socket_path = path,
		.method = "GET",
		.path = "/stream",
		.timeout_ms = 20000,
		.on_line = collect,
		.arg = &count };

	start();
	ck_ok(ls_client_call(&call, &status, &out, &err));
	ck_assert_int_eq(status, 200);
	ck_assert_int_eq(count, 1000);
	ck_assert_uint_eq(out.len, 8890);
	halt();
	ls_buf_done(&out);
}
END_TEST

START_TEST(a_slow_request_is_cut)
{
	struct ls_buf out = { 0 };
	int fd, silent;

	limits.idle_s = 1;
	start();
	silent = raw_connect();
	fd = raw_connect();
	raw_send(fd, "GET /x HTTP/1.1\r\nX-Slow: ");
	raw_read(silent, NULL, &out);
	ck_assert_uint_eq(out.len, 0);
	raw_read(fd, NULL, &out);
	ck_assert_uint_eq(out.len, 0);
	(void)close(fd);
	(void)close(silent);
	halt();
	ls_buf_done(&out);
}
END_TEST

START_TEST(a_held_request_is_not_cut_for_silence)
{
	struct ls_source *later = ls_loop_timer(loop, stop, NULL);
	struct ls_buf out = { 0 };
	int fd;

	limits.idle_s = 1;
	start();
	fd = raw_connect();
	raw_send(fd, "GET /hold HTTP/1.1\r\n\r\n");
	await('h');
	halt();
	ls_source_arm(later, 1500);
	ls_loop_run(loop);
	ck_assert(ls_request_alive(held));
	ls_request_reply(held, 200, "text/plain", LS_BYTES_STR("done"));
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	raw_read(fd, "done", &out);
	raw_read(fd, NULL, &out); /* silent again, now it is */
	(void)close(fd);
	halt();
	ls_buf_done(&out);
}
END_TEST

static struct ls_source *look;

static void look_for_end(void *arg)
{
	(void)arg;
	if (!ls_request_alive(held))
		tell('g');
	else
		ls_source_arm(look, 1);
}

static void gone_client(const char *request)
{
	int fd = raw_connect();

	raw_send(fd, request);
	await('h');
	(void)close(fd);
	halt();
	look = ls_loop_timer(loop, look_for_end, NULL);
	ls_source_arm(look, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	await('g');
	halt();
	ck_assert_str_eq(ls_request_method(held), "GET");
	ck_assert_uint_eq(ls_request_peer(held)->uid, geteuid());
}

START_TEST(a_client_that_went_away_is_noticed_and_nothing_leaks)
{
	start();
	gone_client("GET /start HTTP/1.1\r\n\r\n");
	ls_request_stream_line(held, "second");
	ls_request_stream_end(held);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	gone_client("GET /hold HTTP/1.1\r\n\r\n");
	ls_request_reply(held, 200, "text/plain", LS_BYTES_STR("nobody reads this"));
}
END_TEST

START_TEST(a_stream_nobody_reads_is_cut)
{
	static char line[65536];
	int fd;

	start();
	fd = raw_connect();
	raw_send(fd, "GET /start HTTP/1.1\r\n\r\n");
	await('h');
	halt();
	memset(line, 'x', sizeof line - 1);
	for (int i = 0; i < 1000 && ls_request_alive(held); i++)
		ls_request_stream_line(held, line);
	ck_assert(!ls_request_alive(held));
	ls_request_stream_line(held, line);
	ls_request_stream_end(held);
	(void)close(fd);
}
END_TEST

START_TEST(connections_are_bounded)
{
	struct ls_buf out = { 0 };
	int fds[CONNECTIONS], one_more, too_many;

	start();
	for (int i = 0; i < CONNECTIONS; i++) {
		fds[i] = raw_connect();
		raw_send(fds[i], "GET /1 HTTP/1.1\r\n\r\n");
		raw_read(fds[i], "GET /1", &out);
	}
	too_many = raw_connect();
	one_more = raw_connect();
	raw_read(too_many, NULL, &out); /* not even room to be told so */
	ck_assert_uint_eq(out.len, 0);
	(void)close(too_many);
	raw_send(one_more, "GET /1 HTTP/1.1\r\n\r\n");
	raw_read(one_more, NULL, &out);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), " 503 "));
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), "\r\n\r\n{\"busy\":1}"));
	(void)close(one_more);
	/* the others are still served, and one that ends makes room */
	raw_send(fds[0], "GET /1 HTTP/1.1\r\nConnection: close\r\n\r\n");
	raw_read(fds[0], NULL, &out);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&out), "GET /1"));
	one_more = raw_connect();
	raw_send(one_more, "GET /1 HTTP/1.1\r\n\r\n");
	raw_read(one_more, "GET /1", &out);
	(void)close(one_more);
	for (int i = 0; i < CONNECTIONS; i++)
		(void)close(fds[i]);
	halt();
	ls_buf_done(&out);
}
END_TEST

/* Those who hold connections and ask nothing make room for those who ask; the one that waits
 * longest goes first, and one whose request is at work never. */
START_TEST(who_waits_without_asking_makes_room)
{
	struct ls_buf out = { 0 };
	int fds[CONNECTIONS], status;

	limits.spare_ms = 0;
	start();
	fds[0] = raw_connect();
	raw_send(fds[0], "GET /hold HTTP/1.1\r\n\r\n");
	await('h');
	for (int i = 1; i < CONNECTIONS; i++) {
		fds[i] = raw_connect();
		raw_send(fds[i], "GET /1 HTTP/1.1\r\n\r\n");
		raw_read(fds[i], "GET /1", &out);
	}
	ck_ok(ask("GET", "/2", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 200);
	raw_read(fds[1], NULL, &out); /* closed */
	ck_assert_uint_eq(out.len, 0);
	halt();
	ck_assert(ls_request_alive(held));
	ls_request_reply(held, 200, "text/plain", LS_BYTES_STR("done"));
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	raw_read(fds[0], "done", &out);
	for (int i = 0; i < CONNECTIONS; i++)
		(void)close(fds[i]);
	halt();
	ls_buf_done(&out);
}
END_TEST

static bool trusts_nobody(void *arg, const struct ls_peer *peer)
{
	ck_assert_ptr_null(arg);
	ck_assert_uint_eq(peer->uid, geteuid());
	return false;
}

START_TEST(strangers_have_small_bodies_and_an_eighth_of_the_connections)
{
	struct ls_buf out = { 0 };
	int status, fd, second;
	char body[101] = "";

	limits.connections = 16;
	limits.trusted = trusts_nobody;
	start();
	memset(body, 'x', sizeof body);
	ck_ok(ask("POST", "/", (struct ls_bytes){ body, 100 }, &status, &out));
	ck_assert_int_eq(status, 200);
	ck_ok(ask("POST", "/", (struct ls_bytes){ body, 101 }, &status, &out));
	ck_assert_int_eq(status, 413);
	fd = raw_connect();
	raw_send(fd, "GET /hold HTTP/1.1\r\n\r\n");
	await('h');
	second = raw_connect();
	raw_send(second, "GET /1 HTTP/1.1\r\n\r\n");
	raw_read(second, "GET /1", &out);
	ck_ok(ask("GET", "/", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 503);
	halt();
	ls_request_reply(held, 200, "text/plain", (struct ls_bytes){ 0 });
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	(void)close(fd);
	(void)close(second);
	halt();
	ls_buf_done(&out);
}
END_TEST

START_TEST(a_length_that_is_no_plain_one_is_refused)
{
	static const char *const headers[] = { "Content-Length: 2\r\nContent-Length: 2",
		"Content-Length: +2", "Transfer-Encoding: gzip" };
	struct ls_buf out = { 0 };

	start();
	for (size_t i = 0; i < LS_COUNT(headers); i++) {
		LS_CLEANUP(ls_free_str)
		char *text = ls_format("POST / HTTP/1.1\r\n%s\r\n\r\n{}", headers[i]);
		int fd = raw_connect();

		raw_send(fd, text);
		raw_read(fd, NULL, &out); /* to the end: what follows is nobody's request */
		ck_assert_msg(strstr(ls_buf_text(&out), " 400 ") != NULL, "%s", headers[i]);
		(void)close(fd);
	}
	halt();
	ls_buf_done(&out);
}
END_TEST

static double thread_cpu_s(void)
{
	struct timespec ts;
	clockid_t clock;

	ck_assert_int_eq(pthread_getcpuclockid(thread, &clock), 0);
	ck_assert_int_eq(clock_gettime(clock, &ts), 0);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A connection that cannot be accepted stays readable: looking at it all the time would take all
 * of a CPU, for as long as somebody else holds the descriptors. */
START_TEST(without_descriptors_it_waits_and_goes_on)
{
	struct ls_buf out = { 0 };
	struct rlimit before, none;
	double began;
	int fd;

	start();
	fd = raw_connect();
	raw_send(fd, "GET /1 HTTP/1.1\r\n\r\n");
	raw_read(fd, "GET /1", &out);
	(void)close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 0, before.rlim_max };
	{
		struct ls_sockpath where;

		ck_ok(ls_sockpath_init(&where, path, &err));
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&where.addr, sizeof where.addr), 0);
		ls_sockpath_done(&where);
	}
	raw_send(fd, "GET /2 HTTP/1.1\r\n\r\n");
	began = thread_cpu_s();
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 0, 0), 0);
	(void)poll(NULL, 0, 1000);
	ck_assert_double_lt(thread_cpu_s() - began, 0.5);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	raw_read(fd, "GET /2", &out);
	(void)close(fd);
	halt();
	ls_buf_done(&out);
}
END_TEST

START_TEST(a_server_may_end_before_its_requests)
{
	struct ls_request *streamed;
	int fd, fd2;

	start();
	fd = raw_connect();
	raw_send(fd, "GET /start HTTP/1.1\r\n\r\n");
	await('h');
	streamed = held;
	fd2 = raw_connect();
	raw_send(fd2, "GET /hold HTTP/1.1\r\n\r\n");
	await('h');
	halt();
	ls_server_free(&server);
	ck_assert(!ls_request_alive(held));
	ck_assert(!ls_request_alive(streamed));
	ck_assert_str_eq(ls_request_path(held), "/hold");
	ls_request_reply(held, 200, "text/plain", LS_BYTES_STR("x"));
	ls_request_stream_line(streamed, "x");
	ls_request_stream_end(streamed);
	ck_assert(!ls_file_exists(AT_FDCWD, path));
	(void)close(fd);
	(void)close(fd2);
}
END_TEST

START_TEST(long_paths_work_and_stale_sockets_are_replaced)
{
	struct ls_buf out = { 0 };
	struct stat st;
	int status, fd;

	ls_free_str(&path);
	path = ls_format("%s/%0100d/%060d", dir, 7, 8);
	ck_code(ask("GET", "/", (struct ls_bytes){ 0 }, &status, &out), LS_E_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "the daemon does not answer at /tmp/"));
	out.len = strlen(path) - 61;
	path[out.len] = '\0';
	ck_ok(ls_dir_make(path, 0755, &err));
	path[out.len] = '/';
	out.len = 0;
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	ck_code(ls_server_new(loop, path, &limits, on_request, NULL, &server, &err), LS_E_REFUSED);
	ck_ok(ls_file_remove(AT_FDCWD, path, &err));
	ck_ok(ls_server_new(loop, path, &limits, on_request, NULL, &server, &err));
	{
		struct ls_server *second = NULL;

		ck_ok(ls_server_new(loop, path, &limits, on_request, NULL, &second, &err));
		ls_server_free(&server); /* leaves what is not its own */
		server = second;
	}
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0666);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	ck_ok(ask("GET", "/", (struct ls_bytes){ 0 }, &status, &out));
	ck_assert_int_eq(status, 200);
	halt();
	ls_buf_done(&out);
}
END_TEST

static void drop_server(void *arg)
{
	(void)arg;
	ls_server_free(&server);
	tell('d');
}

static void *ask_held(void *arg)
{
	struct ls_buf out = { 0 };
	int status;

	*(enum ls_code *)arg = ask("POST", "/hold", (struct ls_bytes){ 0 }, &status, &out);
	ls_buf_done(&out);
	return NULL;
}

START_TEST(unreachable_and_unknown_are_told_apart)
{
	struct ls_buf out = { 0 };
	enum ls_code code = LS_OK;
	pthread_t asker;
	int status;

	ck_code(ask("GET", "/", (struct ls_bytes){ 0 }, &status, &out), LS_E_UNREACHABLE);
	start();
	ck_assert_int_eq(pthread_create(&asker, NULL, ask_held, &code), 0);
	await('h');
	ls_loop_post(loop, drop_server, NULL);
	await('d');
	ck_assert_int_eq(pthread_join(asker, NULL), 0);
	ck_assert_int_eq(code, LS_E_UNKNOWN);
	halt();
	ls_request_reply(held, 200, "text/plain", (struct ls_bytes){ 0 });
}
END_TEST

LS_TEST_MAIN_FIXTURE("server", setup, teardown, peer_method_path_and_query_are_known,
	what_is_not_understood_is_refused_by_status, bodies_and_headers_are_bounded,
	a_connection_serves_one_request_after_the_other, a_stream_comes_line_by_line,
	a_slow_request_is_cut, a_held_request_is_not_cut_for_silence,
	a_client_that_went_away_is_noticed_and_nothing_leaks, a_stream_nobody_reads_is_cut,
	connections_are_bounded, who_waits_without_asking_makes_room,
	strangers_have_small_bodies_and_an_eighth_of_the_connections,
	a_length_that_is_no_plain_one_is_refused, without_descriptors_it_waits_and_goes_on,
	a_server_may_end_before_its_requests, long_paths_work_and_stale_sockets_are_replaced,
	unreachable_and_unknown_are_told_apart)
