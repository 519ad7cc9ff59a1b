/* Answers in every way they may come and must not, cut at every byte; and the request that goes
 * with them, to a peer that does what a test says. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "net/forward.h"
#include "net/sockpath.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define BODY_MAX 64
#define WAIT_MS 20000

static struct ls_err err;

/* ---- the answer ---- */

/* In two pieces, cut at each place: what comes of it is the same. `end`: the connection ends then.
 */
static enum ls_code feed(const char *text, size_t len, size_t cut, bool end, struct ls_reply *out)
{
	*out = (struct ls_reply){ .body_max = BODY_MAX };
	LS_TRY(ls_reply_feed(out, (struct ls_bytes){ text, cut }, &err));
	LS_TRY(ls_reply_feed(out, (struct ls_bytes){ text + cut, len - cut }, &err));
	return end ? ls_reply_end(out, &err) : LS_OK;
}

static void good(const char *text, bool end, int status, const char *type, const char *body)
{
	for (size_t cut = 0; cut <= strlen(text); cut++) {
		struct ls_reply reply;

		ck_ok(feed(text, strlen(text), cut, end, &reply));
		ck_assert_msg(ls_reply_whole(&reply), "cut at %zu: not whole: %s", cut, text);
		ck_assert_int_eq(reply.status, status);
		ck_assert_str_eq(reply.type, type);
		ck_assert_str_eq(ls_buf_text(&reply.body), body);
		ls_reply_done(&reply);
	}
}

static void bad_bytes(const char *text, size_t len, const char *words)
{
	for (size_t cut = 0; cut <= len; cut++) {
		struct ls_reply reply;

		ck_code(feed(text, len, cut, true, &reply), LS_E_FAILED);
		ck_assert_msg(strstr(err.text, words) != NULL, "'%s' lacks '%s'", err.text, words);
		ls_reply_done(&reply);
	}
}

static void bad(const char *text, const char *words)
{
	bad_bytes(text, strlen(text), words);
}

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

START_TEST(whole_answers_are_understood_wherever_they_are_cut)
{
	good(OK "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", false, 200,
		"application/json", "{}");
	good("HTTP/1.1 503\r\ncontent-length:0\r\n\r\n", false, 503, "", "");
	good("HTTP/1.0 404 Not Found\nContent-Length: \t3 \n\nabc", false, 404, "", "abc");
	good("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", false, 204, "", "");
	good(CHUNKED "2\r\nab\r\n0a;x=y\r\n0123456789\r\n0\r\n\r\n", false, 200, "",
		"ab0123456789");
	good(OK "TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n", false, 200, "", "");
	good(OK "Content-Type: text/plain; version=0.0.4\r\n\r\nto the end", true, 200,
		"text/plain; version=0.0.4", "to the end");
	good(OK "\r\n", true, 200, "", "");
}
END_TEST

START_TEST(what_is_no_answer_is_refused_wherever_it_is_cut)
{
	bad("", "broke off");
	bad("HTTP/1.1 20", "broke off");
	bad("HTTP/2 200 OK\r\n\r\n", "first line");
	bad("HTTP/1.1 2000 OK\r\n\r\n", "first line");
	bad("HTTP/1.1 100 Continue\r\n\r\n", "status");
	bad("HTTP/1.1 6x0 No\r\n\r\n", "status");
	bad("\r\n\r\n", "first line");
	bad(OK "no colon\r\n\r\n", "a header");
	bad(OK ": empty\r\n\r\n", "a header");
	bad(OK "Content-Length : 2\r\n\r\nab", "a header");
	bad(OK " folded: 2\r\n\r\nab", "a header");
	bad(OK "A: \x01\r\n\r\n", "control character");
	bad_bytes(OK "A: \0\r\n\r\n", sizeof OK + 8, "control character");
	bad(OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", "length");
	bad(OK "Content-Length: +2\r\n\r\nab", "length");
	bad(OK "Content-Length: -2\r\n\r\nab", "length");
	bad(OK "Content-Length: 2147483648\r\n\r\nab", "length");
	bad(OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab", "two lengths");
	bad(OK "Transfer-Encoding: gzip\r\n\r\nab", "encoding");
	bad(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "encoding");
	bad(OK "Content-Length: 3\r\n\r\nab", "broke off");
	bad(OK "Content-Length: 2\r\n\r\nabc", "more than one");
	bad(OK "Content-Length: 0\r\n\r\n" OK, "more than one");
	bad(CHUNKED "2\r\nab", "broke off");
	bad(CHUNKED "2\r\nabc\r\n", "end of a chunk");
	bad(CHUNKED "\r\n", "a chunk");
	bad(CHUNKED "-1\r\n", "a chunk");
	bad(CHUNKED "000000001\r\na\r\n", "a chunk");
	bad(CHUNKED "2 \r\nab\r\n", "a chunk");
	bad(CHUNKED "0\r\nTrailer: x\r\n\r\n", "end of a chunk");
}
END_TEST

START_TEST(answers_are_bounded)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	struct ls_reply reply;

	ls_buf_printf(&text, OK "Content-Length: %d\r\n\r\n%*s", BODY_MAX, BODY_MAX, "x");
	ck_ok(feed(text.data, text.len, 0, false, &reply));
	ck_assert(ls_reply_whole(&reply));
	ls_reply_done(&reply);
	bad(OK "Content-Length: 65\r\n\r\n", "over 64 bytes");
	bad(CHUNKED "3f\r\n012345678901234567890123456789012345678901234567890123456789012\r\n"
		    "2\r\nab\r\n0\r\n\r\n",
		"over 64 bytes");
	bad(CHUNKED "ffffffff\r\n", "over 64 bytes");
	ls_buf_clear(&text);
	ls_buf_printf(&text, OK "\r\n%*s", BODY_MAX + 1, "x");
	bad(ls_buf_text(&text), "over 64 bytes");
	ls_buf_clear(&text);
	ls_buf_printf(&text, OK "A: %*s", LS_REPLY_HEAD_MAX, "x");
	ck_code(feed(text.data, text.len, 0, true, &reply), LS_E_FAILED);
	ck_assert_ptr_nonnull(strstr(err.text, "too long"));
	ls_reply_done(&reply);
	ls_buf_clear(&text);
	ls_buf_printf(&text, CHUNKED "1;%*s", 300, "x");
	bad(ls_buf_text(&text), "too long");
	/* A type that does not fit is none. */
	ls_buf_clear(&text);
	ls_buf_printf(&text, OK "Content-Type: a/%*s\r\nContent-Length: 0\r\n\r\n",
		LS_REPLY_TYPE_SIZE, "x");
	ck_ok(feed(text.data, text.len, 0, false, &reply));
	ck_assert_str_eq(reply.type, "");
	ls_reply_done(&reply);
}
END_TEST

/* ---- the call ---- */

static struct ls_loop *loop;
static char *dir, *path;
static struct {
	int fd;
	const char *answer; /* NULL: none, until the other side goes */
	struct ls_buf heard;
	pthread_t thread;
} peer;
static struct {
	int calls;
	bool whole;
	int status;
	struct ls_buf body;
	struct ls_err err;
} got;

static void listen_here(void)
{
	LS_CLEANUP(ls_sockpath_done) struct ls_sockpath where = { .dir_fd = -1 };

	ck_ok(ls_sockpath_init(&where, path, &err));
	peer.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(peer.fd, (struct sockaddr *)&where.addr, sizeof where.addr), 0);
	ck_assert_int_eq(listen(peer.fd, 1), 0);
}

static void setup(void)
{
	char template[] = "/tmp/ls-forward-XXXXXX";

	dir = ls_strdup(mkdtemp(template));
	path = ls_format("%s/control.sock", dir);
	memset(&peer, 0, sizeof peer);
	memset(&got, 0, sizeof got);
	peer.fd = -1;
	ck_ok(ls_loop_new(&loop, &err));
}

static void teardown(void)
{
	ls_loop_free(&loop);
	ls_fd_close(&peer.fd);
	ls_buf_done(&peer.heard);
	ls_buf_done(&got.body);
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
	ls_free_str(&dir);
	ls_free_str(&path);
}

/* Answers when the whole request has come, byte by byte. */
static void *serve(void *arg)
{
	int fd = accept(peer.fd, NULL, NULL);
	const char *end = arg;
	char c[4096];
	ssize_t n;

	while (!strstr(ls_buf_text(&peer.heard), end) && (n = recv(fd, c, sizeof c, 0)) > 0)
		ls_buf_add(&peer.heard, c, (size_t)n);
	for (const char *at = peer.answer; at && *at; at++)
		(void)send(fd, at, 1, MSG_NOSIGNAL);
	while (!peer.answer && recv(fd, c, sizeof c, 0) > 0)
		;
	(void)close(fd);
	return NULL;
}

static void start_peer(const char *answer, const char *end_of_request)
{
	static char end[64];

	(void)snprintf(end, sizeof end, "%s", end_of_request);
	listen_here();
	peer.answer = answer;
	ck_assert_int_eq(pthread_create(&peer.thread, NULL, serve, end), 0);
}

static void on_end(void *arg, const struct ls_reply *reply, const struct ls_err *why)
{
	ck_assert_ptr_eq(arg, &got);
	got.calls++;
	got.whole = reply != NULL;
	got.err = *why;
	if (reply) {
		got.status = reply->status;
		ls_buf_copy(&got.body, &reply->body);
	}
	ls_loop_stop(loop);
}

static struct ls_forward_call call_of(const char *method, const char *body)
{
	return (struct ls_forward_call){ .socket_path = path,
		.method = method,
		.path = "/v1/join",
		.body = LS_BYTES_STR(body),
		.timeout_ms = WAIT_MS,
		.body_max = BODY_MAX,
		.on_end = on_end,
		.arg = &got };
}

static void forward(const char *method, const char *body)
{
	struct ls_forward_call call = call_of(method, body);
	struct ls_forward *f = NULL;

	ck_ok(ls_forward_new(loop, &call, &f, &err));
	ck_assert_int_eq(got.calls, 0); /* never from within */
	ls_loop_run(loop);
	ck_assert_int_eq(got.calls, 1);
	ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
}

START_TEST(a_request_is_sent_whole_and_its_answer_comes_back)
{
	start_peer(CHUNKED "5\r\nhello\r\n0\r\n\r\n", "secret");
	forward("POST", "top secret");
	ck_assert(got.whole);
	ck_assert_int_eq(got.status, 200);
	ck_assert_str_eq(ls_buf_text(&got.body), "hello");
	ck_assert_str_eq(ls_buf_text(&peer.heard),
		"POST /v1/join HTTP/1.1\r\nHost: lockstep\r\nConnection: close\r\n"
		"Content-Type: application/json\r\nContent-Length: 10\r\n\r\ntop secret");
}
END_TEST

START_TEST(a_get_has_no_body)
{
	start_peer("HTTP/1.1 403 Forbidden\r\n\r\nno", "\r\n\r\n");
	forward("GET", "");
	ck_assert(got.whole);
	ck_assert_int_eq(got.status, 403);
	ck_assert_str_eq(ls_buf_text(&got.body), "no");
	ck_assert_str_eq(ls_buf_text(&peer.heard),
		"GET /v1/join HTTP/1.1\r\nHost: lockstep\r\nConnection: close\r\n\r\n");
}
END_TEST

START_TEST(an_answer_that_is_none_is_told)
{
	start_peer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "\r\n\r\n");
	forward("GET", "");
	ck_assert(!got.whole);
	ck_assert_int_eq(got.err.code, LS_E_FAILED);
	ck_assert_ptr_nonnull(strstr(got.err.text, "broke off"));
}
END_TEST

START_TEST(an_answer_that_does_not_come_is_not_waited_for)
{
	struct ls_forward_call call = call_of("GET", "");
	struct ls_forward *f = NULL;

	start_peer(NULL, "\r\n\r\n");
	call.timeout_ms = 50;
	ck_ok(ls_forward_new(loop, &call, &f, &err));
	ls_loop_run(loop);
	ck_assert_int_eq(got.calls, 1);
	ck_assert_int_eq(got.err.code, LS_E_TIMEOUT);
	ls_loop_free(&loop); /* connections close in the loop, or with it */
	ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
}
END_TEST

START_TEST(what_is_broken_off_is_never_heard_of)
{
	struct ls_forward_call call = call_of("GET", "");
	struct ls_forward *f = NULL;

	start_peer(NULL, "\r\n\r\n");
	ck_ok(ls_forward_new(loop, &call, &f, &err));
	ls_forward_free(&f);
	ck_assert_ptr_null(f);
	ls_loop_free(&loop);
	ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
	ck_assert_int_eq(got.calls, 0);
}
END_TEST

START_TEST(nobody_there_and_a_full_queue_are_told_at_once)
{
	struct ls_forward_call call = call_of("GET", "");
	struct ls_forward *waiting[8] = { NULL }, *f = NULL;
	size_t count = 0;

	ck_code(ls_forward_new(loop, &call, &f, &err), LS_E_UNREACHABLE);
	ck_code(ls_forward_new(loop, &call, &f, NULL), LS_E_UNREACHABLE);
	listen_here(); /* room for two, and nobody accepts */
	while (count < LS_COUNT(waiting) &&
		ls_forward_new(loop, &call, &waiting[count], &err) == LS_OK)
		count++;
	ck_assert_uint_lt(count, LS_COUNT(waiting));
	ck_assert_int_eq(err.code, LS_E_UNREACHABLE);
	for (size_t i = 0; i < count; i++)
		ls_forward_free(&waiting[i]);
	ls_free_str(&path);
	path = ls_format("%s/none/control.sock", dir);
	call = call_of("GET", "");
	ck_code(ls_forward_new(loop, &call, &f, &err), LS_E_UNREACHABLE);
	ck_assert_int_eq(got.calls, 0);
}
END_TEST

LS_TEST_MAIN_FIXTURE("forward", setup, teardown, whole_answers_are_understood_wherever_they_are_cut,
	what_is_no_answer_is_refused_wherever_it_is_cut, answers_are_bounded,
	a_request_is_sent_whole_and_its_answer_comes_back, a_get_has_no_body,
	an_answer_that_is_none_is_told, an_answer_that_does_not_come_is_not_waited_for,
	what_is_broken_off_is_never_heard_of, nobody_there_and_a_full_queue_are_told_at_once)
