/* The HTTPS server and the HTTPS client, against each other and against rude peers. */
#include "tests/unit/https_fixture.h"

/* Ended by the server, within the limit. */
static bool is_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c[4096];
	ssize_t n = 1;

	while (n > 0) {
		ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
		n = recv(fd, c, sizeof c, 0);
	}
	return n == 0 || errno == ECONNRESET;
}

START_TEST(get_and_post_reach_a_server_that_proves_its_name_or_address)
{
	LS_CLEANUP(ls_free_str) char *url = NULL;
	char body[4097];

	start();
	ck_ok(get_from("127.0.0.1", "/a%20b?c=d"));
	ck_assert_int_eq(status, 200);
	ck_assert_str_eq(ls_buf_text(&answer), "GET /a b 127.0.0.1 -1:");
	ck_ok(get_from("localhost", "/x"));
	ck_assert_str_eq(ls_buf_text(&answer), "GET /x 127.0.0.1 -1:");
	url = ls_format("https://%s/in", where);
	ck_ok(call(url, true, LS_BYTES_STR("hello")));
	ck_assert_str_eq(ls_buf_text(&answer), "POST /in 127.0.0.1 -1:hello");
	/* The same handle, by turns. */
	ck_ok(call(url, false, LS_BYTES_STR("not sent")));
	ck_assert_str_eq(ls_buf_text(&answer), "GET /in 127.0.0.1 -1:");
	memset(body, 'x', sizeof body);
	ck_ok(call(url, true, (struct ls_bytes){ body, sizeof body - 1 }));
	ck_assert_int_eq(status, 200);
	ck_ok(call(url, true, (struct ls_bytes){ body, sizeof body }));
	ck_assert_int_eq(status, 413);
	halt();
}
END_TEST

/* Where there is no IPv6 that is said. */
START_TEST(one_socket_takes_both_families_and_knows_who_is_who)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		ck_code(ls_listen_tcp("[::]:0", &fd, &err), LS_E_IO);
		return;
	}
	(void)close(fd);
	start_at("[::]:0");
	ck_assert(ls_has_prefix(where, "[::]:"));
	ck_ok(get_from("127.0.0.1", "/x"));
	ck_assert_str_eq(ls_buf_text(&answer), "GET /x 127.0.0.1 -1:");
	if (get_from("[::1]", "/x") == LS_OK) /* or the loopback has no such address */
		ck_assert_str_eq(ls_buf_text(&answer), "GET /x ::1 -1:");
	halt();
}
END_TEST

START_TEST(a_server_that_proves_nothing_is_not_talked_to)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf other_pem = { 0 };
	struct identity other = issue("test CA", NULL, NULL);
	struct identity elsewhere = issue("test", &ca, "DNS:n2.example.com,IP:127.0.0.2");

	start();
	add_cert(&other_pem, other.cert);
	connect_with(ls_buf_bytes(&other_pem));
	ck_code(get_from("127.0.0.1", "/"), LS_E_UNREACHABLE); /* nothing was sent */
	connect_with(ls_buf_bytes(&ca_pem));
	ck_ok(get_from("127.0.0.1", "/"));
	put(elsewhere.key, elsewhere.cert);
	connect_with(ls_buf_bytes(&ca_pem));
	ck_code(get_from("127.0.0.1", "/"), LS_E_UNREACHABLE);
	ck_code(get_from("localhost", "/"), LS_E_UNREACHABLE);
	/* And not without TLS. */
	ck_code(call("http://127.0.0.1:1/", false, (struct ls_bytes){ 0 }), LS_E_UNREACHABLE);
	halt();
	identity_done(&other);
	identity_done(&elsewhere);
}
END_TEST

START_TEST(insecure_reads_from_whoever_answers_but_only_by_https)
{
	LS_CLEANUP(ls_free_str) char *plain = NULL;

	put(ca.key, ca.cert); /* without any name */
	start();
	ls_https_new(&(struct ls_https_tls){ .insecure = true }, &client);
	ck_ok(get_from("127.0.0.1", "/v1/cluster"));
	ck_assert_int_eq(status, 200);
	plain = ls_format("http://%s/", where);
	ck_code(call(plain, false, (struct ls_bytes){ 0 }), LS_E_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.text, "not supported"));
	halt();
}
END_TEST

START_TEST(what_is_no_tls_is_closed)
{
	int fd;

	start();
	fd = dial_from("127.0.0.1");
	ck_assert_int_eq(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
	ck_assert(is_closed(fd));
	(void)close(fd);
	ck_ok(get_from("127.0.0.1", "/"));
	halt();
}
END_TEST

/* One address has its share; beyond it connections are closed before any TLS, and others do not
 * suffer. Nor do those that are there. */
START_TEST(an_address_has_a_share_of_the_connections)
{
	struct talk first;
	int fds[4];

	start();
	ck_assert(handshake(&first, TLS1_3_VERSION, "DEFAULT", NULL));
	for (size_t i = 1; i < LS_COUNT(fds); i++)
		fds[i] = dial_from("127.0.0.1");
	fds[0] = dial_from("127.0.0.1");
	ck_assert(is_closed(fds[0]));
	(void)close(fds[0]);
	fds[0] = dial_from("127.0.0.2");
	ck_assert_int_eq(send(fds[0], "no TLS", 6, MSG_NOSIGNAL), 6);
	ck_assert(is_closed(fds[0])); /* by TLS, which listened to it … */
	ck_assert_int_eq(SSL_write(first.ssl, "GET /1 HTTP/1.1\r\n\r\n", 19), 19);
	ck_assert_int_gt(SSL_read(first.ssl, (char[64]){ "" }, 64), 0);
	for (size_t i = 0; i < LS_COUNT(fds); i++)
		(void)close(fds[i]);
	talk_done(&first);
	halt();
}
END_TEST

START_TEST(who_waits_without_asking_makes_room_for_others_of_its_address)
{
	int fds[4];

	limits.spare_ms = 0;
	start();
	for (size_t i = 0; i < LS_COUNT(fds); i++)
		fds[i] = dial_from("127.0.0.1");
	ck_ok(get_from("127.0.0.1", "/"));
	ck_assert(is_closed(fds[0])); /* who waited longest */
	for (size_t i = 0; i < LS_COUNT(fds); i++)
		(void)close(fds[i]);
	halt();
}
END_TEST

static int64_t closed_after_ms(struct talk *talk)
{
	int64_t began_ms = ls_mono_ms();
	char c[256];

	while (SSL_read(talk->ssl, c, sizeof c) > 0)
		;
	return ls_mono_ms() - began_ms;
}

/* A byte now and then buys no time: neither before the handshake, nor in the head, nor in the body.
 * A whole head does, and a whole request. */
START_TEST(slow_clients_are_cut_off)
{
	struct talk in_head, in_body;
	int fd;

	limits.head_s = 1;
	limits.idle_s = 2;
	start();
	fd = dial_from("127.0.0.1");
	ck_assert(handshake(&in_head, TLS1_3_VERSION, "DEFAULT", NULL));
	ck_assert(handshake(&in_body, TLS1_3_VERSION, "DEFAULT", NULL));
	ck_assert_int_gt(SSL_write(in_head.ssl, "GET / HTTP/1.1\r\nA: b\r\n", 22), 0);
	ck_assert_int_gt(SSL_write(in_body.ssl, "POST / HTTP/1.1\r\nContent-Length: 9\r\n", 36), 0);
	ck_assert_int_gt(SSL_write(in_body.ssl, "\r\n1234", 6), 0);
	ck_assert(is_closed(fd));
	ck_assert_int_lt(closed_after_ms(&in_head), 900); /* soon after the one without TLS */
	ck_assert_int_gt(closed_after_ms(&in_body), 300); /* which had a second more */
	(void)close(fd);
	talk_done(&in_head);
	talk_done(&in_body);
	halt();
}
END_TEST

START_TEST(who_does_not_take_its_answer_is_cut_off)
{
	int64_t until_ms = ls_mono_ms() + WAIT_MS;
	struct talk talk;
	char head[13] = "";

	limits.answer_s = 1;
	limits.peer_connections = 1; /* the next one is let in when this one is gone */
	start();
	ck_assert(handshake(&talk, TLS1_3_VERSION, "DEFAULT", NULL));
	ck_assert_int_gt(SSL_write(talk.ssl, "GET /large HTTP/1.1\r\n\r\n", 23), 0);
	ck_assert_int_eq(SSL_read(talk.ssl, head, 12), 12);
	ck_assert_str_eq(head, "HTTP/1.1 200");
	ck_code(get_from("127.0.0.1", "/"), LS_E_UNREACHABLE);
	while (get_from("127.0.0.1", "/") != LS_OK)
		ck_assert_int_lt(ls_mono_ms(), until_ms);
	talk_done(&talk);
	halt();
}
END_TEST

START_TEST(what_waits_to_be_taken_in_is_bounded)
{
	struct talk talk;
	char head[13] = "";

	limits.unsent_bytes = 9 << 20;
	start();
	ck_assert(handshake(&talk, TLS1_3_VERSION, "DEFAULT", NULL));
	ck_assert_int_gt(SSL_write(talk.ssl, "GET /large HTTP/1.1\r\n\r\n", 23), 0);
	ck_assert_int_eq(SSL_read(talk.ssl, head, 12), 12);
	ck_assert_str_eq(head, "HTTP/1.1 200");
	ck_ok(get_from("127.0.0.1", "/large"));
	ck_assert_int_eq(status, 503);
	ck_assert_str_eq(ls_buf_text(&answer), "{\"busy\":1}");
	talk_done(&talk);
	halt();
}
END_TEST

#define EIGHT(x) x x x x x x x x

START_TEST(refusals_are_json)
{
	LS_CLEANUP(ls_free_str) char *url = NULL;
	static const char *const requests[] = {
		"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		"GET / HTTP/1.1\r\n" EIGHT(EIGHT("A:b\r\n")) "A:b\r\n\r\n",
		"GET /%00 HTTP/1.1\r\n\r\n",
	};
	static const char *const want[] = { "HTTP/1.1 405", "HTTP/1.1 400", "HTTP/1.1 400",
		"HTTP/1.1 400" };

	start();
	for (size_t i = 0; i < LS_COUNT(requests); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf all = { 0 };
		struct talk talk;
		char c[512];
		int n;

		ck_assert(handshake(&talk, TLS1_3_VERSION, "DEFAULT", NULL));
		ck_assert_int_gt(SSL_write(talk.ssl, requests[i], (int)strlen(requests[i])), 0);
		while ((n = SSL_read(talk.ssl, c, sizeof c)) > 0)
			ls_buf_add(&all, c, (size_t)n);
		/* It was told that this is all. */
		ck_assert_int_eq(SSL_get_error(talk.ssl, n), SSL_ERROR_ZERO_RETURN);
		ck_assert(ls_has_prefix(ls_buf_text(&all), want[i]));
		ck_assert_msg(
			strstr(ls_buf_text(&all), "\r\n\r\n{\"error\":{\"code\":\"usage\"") != NULL,
			"%s: %s", requests[i], ls_buf_text(&all));
		talk_done(&talk);
	}
	halt();
}
END_TEST

LS_TEST_MAIN_FIXTURE("https", setup, teardown,
	get_and_post_reach_a_server_that_proves_its_name_or_address,
	one_socket_takes_both_families_and_knows_who_is_who,
	a_server_that_proves_nothing_is_not_talked_to,
	insecure_reads_from_whoever_answers_but_only_by_https, what_is_no_tls_is_closed,
	an_address_has_a_share_of_the_connections,
	who_waits_without_asking_makes_room_for_others_of_its_address, slow_clients_are_cut_off,
	who_does_not_take_its_answer_is_cut_off, what_waits_to_be_taken_in_is_bounded,
	refusals_are_json)
