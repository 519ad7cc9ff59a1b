/* Handshakes and exchanges with servers of many kinds, each in a thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "net/probe.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

enum behaviour { TLS, SILENT, HANG_UP, GARBAGE, ECHO, FLOOD };

static struct ls_err err;
static EVP_PKEY *key;
static X509 *cert;
static char want[65], got[65], sni[64], endpoint[512];
static struct {
	int listen_fd;
	enum behaviour behaviour;
	int version;
	bool want_client;
	bool saw_client;
	pthread_t thread;
} server;

static void make_certificate(void)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;
	X509_NAME *name;

	key = EVP_RSA_gen(2048);
	cert = X509_new();
	ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	name = X509_get_subject_name(cert);
	ck_assert_int_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				 (const unsigned char *)"probe", -1, -1, 0),
		1);
	ck_assert_int_eq(X509_set_issuer_name(cert, name), 1);
	ck_assert_int_eq(X509_set_pubkey(cert, key), 1);
	ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
	ck_assert_int_eq(X509_digest(cert, EVP_sha256(), digest, &len), 1);
	ls_hex(digest, len, want);
}

static void setup(void)
{
	(void)signal(SIGPIPE, SIG_DFL); /* the code under test must not need it ignored */
	make_certificate();
	memset(&server, 0, sizeof server);
	memset(got, 0, sizeof got);
	memset(sni, 0, sizeof sni);
}

static void teardown(void)
{
	X509_free(cert);
	EVP_PKEY_free(key);
}

static int accept_any(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	server.saw_client = X509_STORE_CTX_get0_cert(store) != NULL;
	return 1;
}

static void serve_tls(int fd)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	const char *name;
	char buf[256];
	SSL *ssl;
	int n;

	SSL_CTX_set_security_level(ctx, 0);
	ck_assert_int_eq(SSL_CTX_set_min_proto_version(ctx, server.version), 1);
	ck_assert_int_eq(SSL_CTX_set_max_proto_version(ctx, server.version), 1);
	ck_assert_int_eq(SSL_CTX_set_cipher_list(ctx, "DEFAULT:@SECLEVEL=0"), 1);
	ck_assert_int_eq(SSL_CTX_use_certificate(ctx, cert), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
	if (server.want_client) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
	}
	ssl = SSL_new(ctx);
	ck_assert_int_eq(SSL_set_fd(ssl, fd), 1);
	if (SSL_accept(ssl) == 1) {
		name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
		if (name)
			(void)snprintf(sni, sizeof sni, "%s", name);
		n = SSL_read(ssl, buf, sizeof buf);
		if (n > 0)
			(void)SSL_write(ssl, buf, n);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static void serve_plain(int fd)
{
	static const char garbage[] = "220 this is not TLS, whatever you sent\r\n";
	char buf[65536] = "";
	ssize_t n = 1;

	if (server.behaviour == GARBAGE) {
		(void)send(fd, garbage, sizeof garbage - 1, MSG_NOSIGNAL);
		(void)shutdown(fd, SHUT_WR);
	}
	if (server.behaviour == ECHO) {
		n = recv(fd, buf, sizeof buf, 0);
		for (ssize_t i = 0; i < n; i++) /* byte by byte: answers come in pieces */
			(void)send(fd, buf + i, 1, MSG_NOSIGNAL);
		return;
	}
	for (int i = 0; server.behaviour == FLOOD && i < 3; i++)
		(void)send(fd, buf, sizeof buf, MSG_NOSIGNAL);
	while (n > 0) /* until the other side goes */
		n = recv(fd, buf, sizeof buf, 0);
}

static void *serve(void *arg)
{
	int fd = accept4(server.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* OpenSSL's server side writes */
	if (fd >= 0 && server.behaviour == TLS)
		serve_tls(fd);
	else if (fd >= 0 && server.behaviour != HANG_UP)
		serve_plain(fd);
	(void)close(fd);
	return arg;
}

static void start_on(int fd, enum behaviour behaviour, int version)
{
	server.listen_fd = fd;
	server.behaviour = behaviour;
	server.version = version;
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void start(enum behaviour behaviour, int version)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	(void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", ntohs(addr.sin_port));
	start_on(fd, behaviour, version);
}

static void finish(void)
{
	ck_assert_int_eq(pthread_join(server.thread, NULL), 0);
	(void)close(server.listen_fd);
}

START_TEST(endpoints_are_told_from_other_text)
{
	static const char *const good[] = { "127.0.0.1:443", "[::1]:8443", "db.example.com:1",
		"unix:/run/x.sock", "localhost:65535" };
	static const char *const bad[] = { "", ":443", "host", "host:", "host:0", "host:65536",
		"::1:443", "[::1]", "[::1:443", "[host]:443", "[]:443", "unix:", "unix:rel",
		"unix:/", "a b:443", "host:443x", "host:-1", "]:1", "[:1" };

	for (size_t i = 0; i < LS_COUNT(good); i++)
		ck_assert_msg(ls_endpoint_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		ck_assert_msg(!ls_endpoint_valid(bad[i]), "%s", bad[i]);
		ck_code(ls_probe(bad[i], NULL, 1000, got, &err), LS_E_REFUSED);
	}
}
END_TEST

START_TEST(the_certificate_of_every_version_is_seen)
{
	static const int versions[] = { TLS1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < LS_COUNT(versions); i++) {
		memset(got, 0, sizeof got);
		start(TLS, versions[i]);
		ck_ok(ls_probe(endpoint, "db.example.com", 20000, got, &err));
		ck_assert_str_eq(got, want);
		finish();
		ck_assert_str_eq(sni, "db.example.com");
	}
}
END_TEST

START_TEST(a_server_that_wants_a_client_certificate_has_shown_its_own)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	server.want_client = true;
	for (size_t i = 0; i < LS_COUNT(versions); i++) {
		memset(got, 0, sizeof got);
		start(TLS, versions[i]);
		ck_ok(ls_probe(endpoint, NULL, 20000, got, &err));
		ck_assert_str_eq(got, want);
		finish();
	}
}
END_TEST

START_TEST(ipv6_and_names_and_unix_sockets)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char template[] = "/tmp/ls-probe-XXXXXX", port[8];
	socklen_t len = sizeof v6;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&v6, len) == 0) {
		ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&v6, &len), 0);
		(void)snprintf(endpoint, sizeof endpoint, "[::1]:%d", ntohs(v6.sin6_port));
		start_on(fd, TLS, TLS1_3_VERSION);
		ck_ok(ls_probe(endpoint, NULL, 20000, got, &err));
		ck_assert_str_eq(got, want);
		finish();
	}
	start(TLS, TLS1_3_VERSION);
	(void)snprintf(port, sizeof port, "%s", strrchr(endpoint, ':'));
	(void)snprintf(
		endpoint, sizeof endpoint, "localhost%s", port); /* ::1 refuses first, perhaps */
	memset(got, 0, sizeof got);
	ck_ok(ls_probe(endpoint, NULL, 20000, got, &err));
	ck_assert_str_eq(got, want);
	finish();
	ck_assert_ptr_nonnull(mkdtemp(template));
	(void)snprintf(un.sun_path, sizeof un.sun_path, "%s/s", template);
	(void)snprintf(endpoint, sizeof endpoint, "unix:%s", un.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	start_on(fd, TLS, TLS1_2_VERSION);
	memset(got, 0, sizeof got);
	ck_ok(ls_probe(endpoint, NULL, 20000, got, &err));
	ck_assert_str_eq(got, want);
	finish();
	ck_code(ls_probe(endpoint, NULL, 1000, got, &err), LS_E_UNREACHABLE);
	ck_ok(ls_dir_remove(AT_FDCWD, template, &err));
	ck_code(ls_probe(endpoint, NULL, 1000, got, &err), LS_E_UNREACHABLE);
}
END_TEST

START_TEST(each_kind_of_failure_has_its_code)
{
	memcpy(got, "untouched", sizeof "untouched");
	start(SILENT, 0);
	ck_code(ls_probe(endpoint, NULL, 100, got, &err), LS_E_TIMEOUT);
	finish();
	ck_code(ls_probe(endpoint, NULL, 1000, got, &err), LS_E_UNREACHABLE);
	start(HANG_UP, 0);
	ck_code(ls_probe(endpoint, NULL, 20000, got, &err), LS_E_FAILED);
	finish();
	start(GARBAGE, 0);
	ck_code(ls_probe(endpoint, NULL, 20000, got, &err), LS_E_FAILED);
	finish();
	ck_assert_str_eq(got, "untouched");
	ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

static bool five(struct ls_bytes answer)
{
	return answer.len >= 5;
}

static bool never(struct ls_bytes answer)
{
	(void)answer;
	return false;
}

START_TEST(an_exchange_ends_when_the_answer_is_whole)
{
	struct ls_exchange exchange = {
		.endpoint = endpoint, .request = LS_BYTES_STR("hello"), .timeout_ms = 20000
	};
	struct ls_buf answer = { 0 };

	start(ECHO, 0);
	ck_ok(ls_exchange(&exchange, &answer, &err));
	ck_assert_str_eq(ls_buf_text(&answer), "hello");
	finish();
	exchange.whole = five;
	start(ECHO, 0);
	ck_ok(ls_exchange(&exchange, &answer, &err));
	ck_assert_str_eq(ls_buf_text(&answer), "hello");
	finish();
	exchange.whole = never;
	start(ECHO, 0);
	ck_code(ls_exchange(&exchange, &answer, &err), LS_E_FAILED);
	finish();
	start(FLOOD, 0);
	ck_code(ls_exchange(&exchange, &answer, &err), LS_E_FAILED);
	finish();
	exchange.timeout_ms = 100;
	start(SILENT, 0);
	ck_code(ls_exchange(&exchange, &answer, &err), LS_E_TIMEOUT);
	finish();
	ck_assert_str_eq(ls_buf_text(&answer), "hello");
	ls_buf_done(&answer);
}
END_TEST

static struct ls_bytes pem_of(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return (struct ls_bytes){ data, (size_t)len };
}

START_TEST(an_exchange_over_tls_shows_the_clients_certificate)
{
	BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
	struct ls_exchange exchange = { .endpoint = endpoint,
		.tls = true,
		.request = LS_BYTES_STR("hello"),
		.timeout_ms = 20000 };
	struct ls_buf answer = { 0 };

	ck_assert_int_eq(PEM_write_bio_X509(cert_pem, cert), 1);
	ck_assert_int_eq(PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL), 1);
	server.want_client = true;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		exchange.cert_pem = pem_of(cert_pem);
		exchange.key_pem = pem_of(key_pem);
		start(TLS, version);
		ck_ok(ls_exchange(&exchange, &answer, &err));
		ck_assert_str_eq(ls_buf_text(&answer), "hello");
		finish();
		ck_assert(server.saw_client);
		exchange.cert_pem.len = 0;
		start(TLS, version);
		ck_assert_int_ne(ls_exchange(&exchange, &answer, &err), LS_OK);
		finish();
	}
	exchange.cert_pem = exchange.key_pem = LS_BYTES_STR("not PEM");
	start(TLS, TLS1_3_VERSION);
	ck_code(ls_exchange(&exchange, &answer, &err), LS_E_CRYPTO);
	finish();
	ls_buf_done(&answer);
	BIO_free(cert_pem);
	BIO_free(key_pem);
}
END_TEST

LS_TEST_MAIN_FIXTURE("probe", setup, teardown, endpoints_are_told_from_other_text,
	the_certificate_of_every_version_is_seen,
	a_server_that_wants_a_client_certificate_has_shown_its_own, ipv6_and_names_and_unix_sockets,
	each_kind_of_failure_has_its_code, an_exchange_ends_when_the_answer_is_whole,
	an_exchange_over_tls_shows_the_clients_certificate)
