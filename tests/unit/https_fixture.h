/* https_fixture -- a CA and a leaf of it, the HTTPS server with them in a thread, the HTTPS client,
 * and a client that does one thing after the other by hand.
 */
#ifndef LS_TESTS_UNIT_HTTPS_FIXTURE_H
#define LS_TESTS_UNIT_HTTPS_FIXTURE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "net/https.h"
#include "net/listen.h"
#include "net/probe.h"
#include "net/server.h"
#include "net/tls.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define WAIT_MS 20000
#define SANS "DNS:localhost,IP:127.0.0.1,IP:::1"

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static struct ls_err err;
static struct ls_loop *loop;
static struct ls_server *server;
static struct ls_server_limits limits;
static struct ls_tls *tls;
static struct ls_https *client;
static struct identity ca, leaf;
static struct ls_buf ca_pem;
static pthread_t thread;
static char *dir, *pem_path;
static char where[LS_LISTEN_TEXT_SIZE];
static struct ls_buf answer;
static int status;
/* Of the loop's thread while it runs. */
static struct {
	int count;
	enum ls_code last;
	char text[1024];
} heard;

/* ---- certificates ---- */

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ck_assert_ptr_nonnull(extension);
	ck_assert_int_eq(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* By `issuer`, NULL: by itself, and then a CA. `sans` NULL: a CA. */
static struct identity issue(const char *name, const struct identity *issuer, const char *sans)
{
	struct identity out = { EVP_EC_gen("P-256"), X509_new() };
	X509_NAME *subject = X509_get_subject_name(out.cert);
	static long serial = 1;

	ck_assert_int_eq(X509_set_version(out.cert, 2), 1);
	ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(out.cert), serial++), 1);
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(out.cert), -60));
	ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notAfter(out.cert), 3600));
	ck_assert_int_eq(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
				 (const unsigned char *)name, -1, -1, 0),
		1);
	ck_assert_int_eq(X509_set_issuer_name(
				 out.cert, issuer ? X509_get_subject_name(issuer->cert) : subject),
		1);
	ck_assert_int_eq(X509_set_pubkey(out.cert, out.key), 1);
	extend(out.cert, out.cert, NID_basic_constraints, sans ? "CA:FALSE" : "critical,CA:TRUE");
	if (sans)
		extend(out.cert, out.cert, NID_subject_alt_name, sans);
	ck_assert_int_gt(X509_sign(out.cert, issuer ? issuer->key : out.key, EVP_sha256()), 0);
	return out;
}

static void identity_done(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->cert);
	*identity = (struct identity){ 0 };
}

static void add_cert(struct ls_buf *out, X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	ck_assert_int_eq(PEM_write_bio_X509(bio, cert), 1);
	len = BIO_get_mem_data(bio, &data);
	ls_buf_add(out, data, (size_t)len);
	BIO_free(bio);
}

static void add_key(struct ls_buf *out, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	len = BIO_get_mem_data(bio, &data);
	ls_buf_add(out, data, (size_t)len);
	BIO_free(bio);
}

static void put_bytes(struct ls_bytes bytes)
{
	int fd;

	ck_ok(ls_dir_open(dir, &fd, &err));
	ck_ok(ls_file_replace(fd, "gateway.pem", bytes, 0600, (gid_t)-1, &err));
	(void)close(fd);
}

/* As the daemon writes it: key, leaf, CA. */
static void put(EVP_PKEY *key, X509 *cert)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };

	add_key(&pem, key);
	add_cert(&pem, cert);
	add_cert(&pem, ca.cert);
	put_bytes(ls_buf_bytes(&pem));
}

/* ---- server and client ---- */

static void on_request(void *arg, struct ls_request *req)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf out = { 0 };
	const struct ls_peer *peer = ls_request_peer(req);

	(void)arg;
	if (strcmp(ls_request_path(req), "/large") == 0) {
		struct ls_secret zeros = { 0 };

		ls_secret_alloc(&zeros, 8 << 20);
		ls_request_reply(req, 200, "application/octet-stream", ls_secret_bytes(&zeros));
		ls_secret_done(&zeros);
		return;
	}
	ls_buf_printf(&out, "%s %s %s %d:", ls_request_method(req), ls_request_path(req),
		peer->address, (int)peer->pid);
	ls_buf_add_bytes(&out, ls_request_body(req));
	ls_request_header(req, "X-Test", "yes");
	ls_request_reply(req, 200, "text/plain", ls_buf_bytes(&out));
}

static void on_change(void *arg, enum ls_code code, const struct ls_err *why)
{
	(void)arg;
	heard.count++;
	heard.last = code;
	(void)snprintf(heard.text, sizeof heard.text, "%s", why->text);
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

static void start_at(const char *address)
{
	int fd = -1;

	ck_ok(ls_listen_tcp(address, &fd, &err));
	ls_listen_text(fd, where);
	ck_ok(ls_server_new_tls(loop, &fd, tls, &limits, on_request, NULL, &server, &err));
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void start(void)
{
	start_at("127.0.0.1:0");
}

static void halt(void)
{
	ls_loop_post(loop, stop, NULL);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void connect_with(struct ls_bytes trusted)
{
	ls_https_new(&(struct ls_https_tls){ .ca_pem = trusted }, &client);
}

static void setup(void)
{
	char template[] = "/tmp/ls-https-XXXXXX";

	dir = ls_strdup(mkdtemp(template));
	pem_path = ls_format("%s/gateway.pem", dir);
	limits = (struct ls_server_limits){ .header_bytes = 2048,
		.body_bytes = 4096,
		.stranger_body_bytes = 4096,
		.connections = 16,
		.stranger_connections = 16,
		.peer_connections = 4,
		.spare_ms = 1000000,
		.busy = "{\"busy\":1}",
		.idle_s = 30,
		.head_s = 30,
		.answer_s = 30 };
	memset(&heard, 0, sizeof heard);
	ca = issue("test CA", NULL, NULL);
	leaf = issue("test", &ca, SANS);
	add_cert(&ca_pem, ca.cert);
	put(leaf.key, leaf.cert);
	ck_ok(ls_loop_new(&loop, &err));
	ck_ok(ls_tls_new(pem_path, on_change, NULL, &tls, &err));
	connect_with(ls_buf_bytes(&ca_pem));
}

static void teardown(void)
{
	ls_https_free(&client);
	ls_server_free(&server);
	ls_tls_free(&tls);
	ls_loop_free(&loop);
	identity_done(&ca);
	identity_done(&leaf);
	ls_buf_done(&ca_pem);
	ls_buf_done(&answer);
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
	ls_free_str(&dir);
	ls_free_str(&pem_path);
}

static enum ls_code call(const char *url, bool post, struct ls_bytes body)
{
	struct ls_https_call call = { .url = url,
		.body = body,
		.connect_ms = WAIT_MS,
		.timeout_ms = WAIT_MS,
		.body_max = 1 << 16 };

	return (post ? ls_https_post : ls_https_get)(client, &call, &status, &answer, &err);
}

static enum ls_code get_from(const char *host, const char *path)
{
	LS_CLEANUP(ls_free_str)
	char *url = ls_format("https://%s:%s%s", host, strrchr(where, ':') + 1, path);

	return call(url, false, (struct ls_bytes){ 0 });
}

/* ---- by hand ---- */

static int dial_from(const char *own)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int64_t port;

	ck_assert(ls_text_number(strrchr(where, ':') + 1, 1, 65535, &port));
	to.sin_port = htons((uint16_t)port);
	ck_assert_int_eq(inet_pton(AF_INET, own, &from.sin_addr), 1);
	ck_assert_int_eq(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

struct talk {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

static bool handshake(struct talk *talk, int max_version, const char *suites, const char *alpn)
{
	*talk = (struct talk){ dial_from("127.0.0.1"), SSL_CTX_new(TLS_client_method()), NULL };
	SSL_CTX_set_security_level(talk->ctx, 0);
	ck_assert_int_eq(SSL_CTX_set_max_proto_version(talk->ctx, max_version), 1);
	ck_assert_int_eq(SSL_CTX_set_cipher_list(talk->ctx, suites), 1);
	if (alpn)
		ck_assert_int_eq(SSL_CTX_set_alpn_protos(talk->ctx, (const unsigned char *)alpn,
					 (unsigned int)strlen(alpn)),
			0);
	talk->ssl = SSL_new(talk->ctx);
	ck_assert_int_eq(SSL_set_fd(talk->ssl, talk->fd), 1);
	return SSL_connect(talk->ssl) == 1;
}

static void talk_done(struct talk *talk)
{
	SSL_free(talk->ssl);
	SSL_CTX_free(talk->ctx);
	(void)close(talk->fd);
	ERR_clear_error();
}

#endif
