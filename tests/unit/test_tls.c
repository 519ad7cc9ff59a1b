/* A server's side of TLS: what it speaks, the file with key and certificates, exchanged while the
 * server runs; and where it listens. */
#include "tests/unit/https_fixture.h"

static void fingerprint(X509 *cert, char out[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;

	ck_assert_int_eq(X509_digest(cert, EVP_sha256(), digest, &len), 1);
	ls_hex(digest, len, out);
}

static bool shows(X509 *cert)
{
	char want[65], got[65] = "";

	fingerprint(cert, want);
	return ls_probe(where, "localhost", WAIT_MS, got, &err) == LS_OK && strcmp(want, got) == 0;
}

START_TEST(a_renewed_file_is_served_at_the_next_handshake)
{
	struct identity next = issue("test", &ca, SANS);

	start();
	ck_assert(shows(leaf.cert));
	put(next.key, next.cert);
	ck_assert(shows(next.cert));
	ck_assert(shows(next.cert));
	halt();
	ck_assert_int_eq(heard.count, 2); /* once for each file */
	ck_assert_int_eq(heard.last, LS_OK);
	identity_done(&next);
}
END_TEST

static void bad_file(struct ls_bytes bytes, const char *words)
{
	int before = heard.count;

	put_bytes(bytes);
	ls_tls_refresh(tls);
	ls_tls_refresh(tls); /* said once */
	ck_assert_int_eq(heard.count, before + 1);
	ck_assert_int_ne(heard.last, LS_OK);
	ck_assert_msg(strstr(heard.text, words) != NULL, "'%s' lacks '%s'", heard.text, words);
	ck_assert(ls_tls_ready(tls)); /* with the earlier one */
}

START_TEST(a_broken_file_is_said_once_and_the_earlier_one_stays)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	struct identity next = issue("test", &ca, SANS);
	EVP_PKEY *rsa = EVP_RSA_gen(2048);

	ls_tls_refresh(tls);
	ck_assert_int_eq(heard.count, 1);
	bad_file(LS_BYTES_STR(""), "it has no certificate");
	bad_file(LS_BYTES_STR("rubbish"), "it has no certificate");
	add_cert(&pem, next.cert);
	bad_file(ls_buf_bytes(&pem), "it has no usable private key");
	add_key(&pem, leaf.key);
	bad_file(ls_buf_bytes(&pem), "its key is not its certificate's");
	ls_buf_clear(&pem);
	add_cert(&pem, next.cert);
	add_key(&pem, rsa);
	bad_file(ls_buf_bytes(&pem), "its key is not its certificate's");
	ls_buf_clear(&pem);
	add_key(&pem, next.key);
	add_cert(&pem, next.cert);
	pem.len -= 40; /* cut off */
	bad_file(ls_buf_bytes(&pem), "its certificates cannot be used");
	ck_assert_int_eq(unlink(pem_path), 0);
	ls_tls_refresh(tls);
	ls_tls_refresh(tls);
	ck_assert_int_eq(heard.last, LS_E_NOT_FOUND);
	ck_assert_int_eq(heard.count, 8);
	start();
	ck_assert(shows(leaf.cert));
	put(next.key, next.cert);
	ck_assert(shows(next.cert));
	halt();
	identity_done(&next);
	EVP_PKEY_free(rsa);
}
END_TEST

START_TEST(without_a_file_connections_are_closed_until_there_is_one)
{
	ck_assert_int_eq(unlink(pem_path), 0);
	start();
	ck_code(get_from("127.0.0.1", "/"), LS_E_UNREACHABLE);
	ck_code(get_from("127.0.0.1", "/"), LS_E_UNREACHABLE);
	put(leaf.key, leaf.cert);
	ck_ok(get_from("127.0.0.1", "/"));
	halt();
	ck_assert_int_eq(heard.count, 2);
}
END_TEST

static bool handshakes(int max_version, const char *suites, const char *alpn)
{
	struct talk talk;
	bool ok = handshake(&talk, max_version, suites, alpn);

	talk_done(&talk);
	return ok;
}

START_TEST(only_modern_tls_and_http_1_1_are_spoken)
{
	struct talk talk;

	start();
	ck_assert(handshakes(TLS1_3_VERSION, "DEFAULT", "\x02h2\x08http/1.1"));
	ck_assert(handshakes(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL));
	ck_assert(!handshakes(TLS1_1_VERSION, "ALL", NULL));
	ck_assert(!handshakes(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA", NULL));
	ck_assert(!handshakes(TLS1_3_VERSION, "DEFAULT", "\x02h2"));
	/* One certificate: the CA is not sent. No ticket, no renegotiation. */
	ck_assert(handshake(&talk, TLS1_2_VERSION, "DEFAULT", NULL));
	ck_assert_int_eq(sk_X509_num(SSL_get_peer_cert_chain(talk.ssl)), 1);
	ck_assert_int_eq(SSL_SESSION_has_ticket(SSL_get_session(talk.ssl)), 0);
	ck_assert_int_eq(SSL_renegotiate(talk.ssl), 1);
	ck_assert_int_ne(SSL_do_handshake(talk.ssl), 1);
	talk_done(&talk);
	halt();
}
END_TEST

START_TEST(listening_addresses_are_numbers)
{
	static const char *const bad[] = { "", ":", "7443", ":7443", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "localhost:1", "::1:7443", "[::1]",
		"[::1]7443", "[::1:7443", "[127.0.0.1]:1", "[]:1", "127.0.0.1:1 ", "1.2.3.4.5:1" };
	int fd = -1, pair[2];
	int64_t port;

	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		ck_assert_msg(!ls_listen_valid(bad[i], NULL), "%s", bad[i]);
		ck_code(ls_listen_tcp(bad[i], &fd, &err), LS_E_REFUSED);
	}
	ck_assert(ls_listen_valid("0.0.0.0:7443", &port));
	ck_assert_int_eq(port, 7443);
	ck_assert(ls_listen_valid("[::]:0", &port));
	ck_assert_int_eq(port, 0);
	ck_code(ls_listen_tcp("192.0.2.1:0", &fd, &err), LS_E_IO);
	ck_ok(ls_listen_tcp("127.0.0.1:0", &fd, &err));
	ls_listen_text(fd, where);
	ck_assert(ls_has_prefix(where, "127.0.0.1:") && !ls_has_suffix(where, ":0"));
	ck_ok(ls_listen_adopt(fd, &err));
	ck_code(ls_listen_tcp(where, &(int){ -1 }, &err), LS_E_IO); /* taken */
	(void)close(fd);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_code(ls_listen_adopt(pair[0], &err), LS_E_REFUSED);
	ck_code(ls_listen_adopt(-1, &err), LS_E_REFUSED);
	(void)close(pair[0]);
	(void)close(pair[1]);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_code(ls_listen_adopt(fd, &err), LS_E_REFUSED);
	(void)close(fd);
}
END_TEST

LS_TEST_MAIN_FIXTURE("tls", setup, teardown, a_renewed_file_is_served_at_the_next_handshake,
	a_broken_file_is_said_once_and_the_earlier_one_stays,
	without_a_file_connections_are_closed_until_there_is_one,
	only_modern_tls_and_http_1_1_are_spoken, listening_addresses_are_numbers)
