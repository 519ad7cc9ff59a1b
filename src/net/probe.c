#include "net/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "net/sockpath.h"
#include "sys/helper.h"

#define ANSWER_MAX_BYTES 65536
#define HOST_MAX 253
#define ASK_MARGIN_MS 2000

struct link {
	const char *endpoint;
	int fd;
	SSL *ssl; /* NULL: plain */
	int64_t deadline_ms;
	char sha256[65]; /* of the server's certificate; "" until it came */
};

/* One context for all, made once. It never verifies and has no sessions, so every handshake shows
 * a certificate; it speaks to services as old as TLS 1.0. */
static struct {
	pthread_once_t once;
	SSL_CTX *ctx;
	BIO_METHOD *bio;
} shared = { .once = PTHREAD_ONCE_INIT };

static void link_done(struct link *link)
{
	if (link->ssl && SSL_is_init_finished(link->ssl))
		(void)SSL_shutdown(link->ssl); /* a courtesy to the service's log */
	SSL_free(link->ssl);
	ERR_clear_error(); /* the thread's queue is not ours alone */
	link->ssl = NULL;
	ls_fd_close(&link->fd);
}

static int take_certificate(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct link *link = SSL_get_app_data(ssl);
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	(void)arg;
	if (leaf && X509_digest(leaf, EVP_sha256(), digest, &len) == 1 && len == 32)
		ls_hex(digest, len, link->sha256);
	return 1;
}

/* OpenSSL's own socket BIO writes without MSG_NOSIGNAL: a peer that hangs up would end us. */
static int bio_write(BIO *bio, const char *data, int len)
{
	struct link *link = BIO_get_data(bio);
	ssize_t n = send(link->fd, data, (size_t)len, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)n;
}

static int bio_read(BIO *bio, char *data, int len)
{
	struct link *link = BIO_get_data(bio);
	ssize_t n = recv(link->fd, data, (size_t)len, 0);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	else if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long number, void *ptr)
{
	(void)number;
	(void)ptr;
	if (cmd == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return cmd == BIO_CTRL_FLUSH;
}

static void make_shared(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO_METHOD *bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "probe");

	if (!ctx || !bio || SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) != 1 ||
		SSL_CTX_set_cipher_list(ctx, "DEFAULT:@SECLEVEL=0") != 1)
		return; /* link_prepare_tls says so */
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, take_certificate, NULL);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(ctx,
		SSL_OP_NO_TICKET | SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)BIO_meth_set_write(bio, bio_write);
	(void)BIO_meth_set_read(bio, bio_read);
	(void)BIO_meth_set_ctrl(bio, bio_ctrl);
	shared.ctx = ctx;
	shared.bio = bio;
}

/* Splits "HOST:PORT" or "[V6]:PORT". */
static bool split(const char *endpoint, char host[HOST_MAX + 1], const char **out_port)
{
	const char *colon = strrchr(endpoint, ':');
	bool bracketed = endpoint[0] == '[';
	const char *start = endpoint + (bracketed ? 1 : 0);
	const char *end = bracketed && colon ? colon - 1 : colon;
	struct in6_addr v6;
	int64_t port;

	if (!colon || end <= start || end - start > HOST_MAX || (bracketed && *end != ']'))
		return false;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	*out_port = colon + 1;
	if (!ls_text_number(*out_port, 1, 65535, &port))
		return false;
	return bracketed ? inet_pton(AF_INET6, host, &v6) == 1 : ls_host_name_valid(host);
}

bool ls_endpoint_valid(const char *endpoint)
{
	char host[HOST_MAX + 1];
	const char *port;

	if (ls_has_prefix(endpoint, "unix:"))
		return endpoint[5] == '/' && !ls_has_suffix(endpoint, "/");
	return split(endpoint, host, &port);
}

/* False when the deadline has passed. */
static bool link_wait(const struct link *link, short events)
{
	struct pollfd fd = { .fd = link->fd, .events = events };

	for (;;) {
		int64_t left = link->deadline_ms - ls_mono_ms();
		int rc = left <= 0 ? 0 : poll(&fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);

		if (rc > 0 || (rc == 0 && left <= INT32_MAX))
			return rc > 0;
	}
}

static enum ls_code timed_out(const struct link *link, const char *what, struct ls_err *err)
{
	return LS_FAIL(err, LS_E_TIMEOUT, "%s: %s", link->endpoint, what);
}

static enum ls_code connect_to(
	struct link *link, const struct sockaddr *addr, socklen_t len, struct ls_err *err)
{
	int errnum = 0;
	socklen_t errnum_len = sizeof errnum;

	ls_fd_close(&link->fd);
	link->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return LS_FAIL_ERRNO(err, "make a socket for %s", link->endpoint);
	if (connect(link->fd, addr, len) != 0) {
		errnum = errno;
		if (errnum == EINPROGRESS || errnum == EINTR) {
			if (!link_wait(link, POLLOUT))
				return timed_out(link, "no connection in time", err);
			if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &errnum, &errnum_len) != 0)
				errnum = errno;
		}
	}
	if (errnum != 0)
		return LS_FAIL(err, LS_E_UNREACHABLE, "%s does not answer: %s", link->endpoint,
			strerrordesc_np(errnum));
	return LS_OK;
}

static enum ls_code link_unix(struct link *link, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_sockpath_done) struct ls_sockpath where = { .dir_fd = -1 };

	if (ls_sockpath_init(&where, path, err) != LS_OK) {
		if (err)
			err->code = LS_E_UNREACHABLE;
		(void)LS_WRAP(err, "%s does not answer", link->endpoint);
		return LS_E_UNREACHABLE;
	}
	return connect_to(link, (const struct sockaddr *)&where.addr, sizeof where.addr, err);
}

static enum ls_code link_ask(struct link *link, int64_t timeout_ms, struct ls_err *err)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };
	char text[24];

	(void)snprintf(text, sizeof text, "%lld", (long long)timeout_ms);
	LS_TRY(ls_helper_ask((const char *[]){ LS_ASK_CONNECT, link->endpoint, text, NULL }, -1,
		timeout_ms + ASK_MARGIN_MS, &answer, err));
	link->fd = answer.fd;
	answer.fd = -1;
	return LS_OK;
}

static void addresses_free(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

static enum ls_code link_open(
	struct link *link, const char *endpoint, int64_t timeout_ms, struct ls_err *err)
{
	LS_CLEANUP(addresses_free) struct addrinfo *list = NULL;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	enum ls_code code = LS_E_UNREACHABLE;
	char host[HOST_MAX + 1];
	const char *port;
	int rc;

	*link = (struct link){
		.endpoint = endpoint, .fd = -1, .deadline_ms = ls_mono_ms() + timeout_ms
	};
	if (!ls_endpoint_valid(endpoint))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is no endpoint", endpoint);
	if (ls_has_prefix(endpoint, "unix:"))
		return ls_helper_here() ? link_ask(link, timeout_ms, err)
					: link_unix(link, endpoint + 5, err);
	(void)split(endpoint, host, &port);
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc != 0)
		return LS_FAIL(err, LS_E_UNREACHABLE, "%s: look up '%s': %s", endpoint, host,
			gai_strerror(rc));
	for (const struct addrinfo *at = list; at; at = at->ai_next) {
		code = connect_to(link, at->ai_addr, at->ai_addrlen, err);
		if (code == LS_OK || code == LS_E_TIMEOUT)
			break;
	}
	return code;
}

enum ls_code ls_endpoint_connect(
	const char *endpoint, int64_t timeout_ms, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(link_done) struct link link = { .fd = -1 };

	if (!ls_has_prefix(endpoint, "unix:"))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is no UNIX socket", endpoint);
	LS_TRY(link_open(&link, endpoint, timeout_ms, err));
	*out_fd = link.fd;
	link.fd = -1;
	return LS_OK;
}

/* Waits for what OpenSSL wants after `rc`; false with *out_code when it wants nothing, or in vain.
 */
static bool tls_again(
	struct link *link, int rc, const char *late, enum ls_code *out_code, struct ls_err *err)
{
	int want = SSL_get_error(link->ssl, rc);

	if (want == SSL_ERROR_WANT_READ || want == SSL_ERROR_WANT_WRITE) {
		if (link_wait(link, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT))
			return true;
		*out_code = timed_out(link, late, err);
		return false;
	}
	*out_code = LS_E_FAILED;
	return false;
}

static const char *tls_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "the connection was closed";
}

/* The peer ended it: by an alert, or by closing. What our side finds wrong (a signature that does
 * not fit the certificate, say) is not that. */
static bool ended_by_peer(void)
{
	unsigned long last = ERR_peek_last_error();

	return last == 0 || ERR_SYSTEM_ERROR(last) ||
	       (ERR_GET_LIB(last) == ERR_LIB_SSL &&
		       (ERR_GET_REASON(last) >= SSL_AD_REASON_OFFSET ||
			       ERR_GET_REASON(last) == SSL_R_UNEXPECTED_EOF_WHILE_READING));
}

static enum ls_code link_prepare_tls(struct link *link, struct ls_err *err)
{
	BIO *bio;

	(void)pthread_once(&shared.once, make_shared);
	if (!shared.ctx)
		return LS_FAIL(err, LS_E_CRYPTO, "the TLS library does not start");
	ERR_clear_error();
	link->ssl = SSL_new(shared.ctx);
	bio = BIO_new(shared.bio);
	if (!link->ssl || !bio) {
		BIO_free(bio);
		return LS_FAIL(err, LS_E_CRYPTO, "set up TLS: %s", tls_reason());
	}
	BIO_set_data(bio, link);
	BIO_set_init(bio, 1);
	SSL_set_bio(link->ssl, bio, bio);
	(void)SSL_set_app_data(link->ssl, link);
	return LS_OK;
}

static enum ls_code link_handshake(struct link *link, struct ls_err *err)
{
	enum ls_code code = LS_OK;
	int rc;

	do {
		ERR_clear_error();
		rc = SSL_connect(link->ssl);
	} while (rc != 1 && tls_again(link, rc, "no handshake in time", &code, err));
	if (rc == 1)
		return LS_OK;
	if (code == LS_E_FAILED)
		LS_FAIL(err, code, "%s: connected, but no TLS handshake: %s", link->endpoint,
			tls_reason());
	return code;
}

enum ls_code ls_probe(const char *endpoint, const char *name, int64_t timeout_ms,
	char out_sha256[65], struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *sni = name ? ls_strdup(name) : NULL; /* it takes no const */
	LS_CLEANUP(link_done) struct link link = { .fd = -1 };
	enum ls_code code;

	LS_TRY(link_open(&link, endpoint, timeout_ms, err));
	LS_TRY(link_prepare_tls(&link, err));
	if (sni && SSL_set_tlsext_host_name(link.ssl, sni) != 1)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' cannot be asked for", name);
	code = link_handshake(&link, err);
	if (code != LS_OK && (link.sha256[0] == '\0' || (code == LS_E_FAILED && !ended_by_peer())))
		return code;
	if (link.sha256[0] == '\0')
		return LS_FAIL(err, LS_E_FAILED, "%s: a handshake without a certificate", endpoint);
	memcpy(out_sha256, link.sha256, sizeof link.sha256);
	return LS_OK;
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1; /* instead of asking at the terminal */
}

static BIO *reader(struct ls_bytes pem)
{
	return pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.data, (int)pem.len);
}

static bool use_chain(SSL *ssl, struct ls_bytes pem)
{
	BIO *bio = reader(pem);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
	bool ok = cert && SSL_use_certificate(ssl, cert) == 1;

	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		ok = SSL_add1_chain_cert(ssl, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	return ok;
}

static bool use_key(SSL *ssl, struct ls_bytes pem)
{
	BIO *bio = reader(pem);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	bool ok = key && SSL_use_PrivateKey(ssl, key) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

static enum ls_code link_send(struct link *link, struct ls_bytes data, struct ls_err *err)
{
	const char *late = "the request was not taken in time";
	enum ls_code code = LS_OK;
	const char *at = data.data;
	size_t left = data.len;

	while (left > 0) {
		size_t n = 0;

		if (link->ssl) {
			int rc;

			ERR_clear_error();
			rc = SSL_write_ex(link->ssl, at, left, &n);
			if (rc != 1 && !tls_again(link, rc, late, &code, err))
				return code == LS_E_TIMEOUT
					       ? code
					       : LS_FAIL(err, LS_E_IO, "send to %s: %s",
							 link->endpoint, tls_reason());
		} else {
			ssize_t sent = send(link->fd, at, left, MSG_NOSIGNAL);

			if (sent < 0 && errno == EAGAIN && !link_wait(link, POLLOUT))
				return timed_out(link, late, err);
			if (sent < 0 && errno != EAGAIN && errno != EINTR)
				return LS_FAIL_ERRNO(err, "send to %s", link->endpoint);
			n = sent > 0 ? (size_t)sent : 0;
		}
		at += n;
		left -= n;
	}
	return LS_OK;
}

/* *out_len is 0 at the end. */
static enum ls_code link_receive(
	struct link *link, char *buf, size_t size, size_t *out_len, struct ls_err *err)
{
	const char *late = "no whole answer in time";
	enum ls_code code = LS_OK;

	*out_len = 0;
	for (;;) {
		if (link->ssl) {
			int rc;

			ERR_clear_error();
			rc = SSL_read_ex(link->ssl, buf, size, out_len);
			if (rc == 1 || SSL_get_error(link->ssl, rc) == SSL_ERROR_ZERO_RETURN)
				return LS_OK;
			if (tls_again(link, rc, late, &code, err))
				continue;
			return code == LS_E_TIMEOUT ? code
						    : LS_FAIL(err, LS_E_IO, "receive from %s: %s",
							      link->endpoint, tls_reason());
		}
		ssize_t n = recv(link->fd, buf, size, 0);

		if (n >= 0) {
			*out_len = (size_t)n;
			return LS_OK;
		}
		if (errno != EAGAIN && errno != EINTR)
			return LS_FAIL_ERRNO(err, "receive from %s", link->endpoint);
		if (!link_wait(link, POLLIN))
			return timed_out(link, late, err);
	}
}

static enum ls_code receive_answer(struct link *link, bool (*whole)(struct ls_bytes answer),
	struct ls_buf *out, struct ls_err *err)
{
	char chunk[4096];
	size_t n;

	while (!(whole && whole(ls_buf_bytes(out)))) {
		LS_TRY(link_receive(link, chunk, sizeof chunk, &n, err));
		if (n == 0 && whole)
			return LS_FAIL(err, LS_E_FAILED, "%s closed before its answer was whole",
				link->endpoint);
		if (n == 0)
			break;
		if (n > ANSWER_MAX_BYTES - out->len)
			return LS_FAIL(err, LS_E_FAILED, "%s: the answer is over %d bytes",
				link->endpoint, ANSWER_MAX_BYTES);
		ls_buf_add(out, chunk, n);
	}
	return LS_OK;
}

enum ls_code ls_exchange(
	const struct ls_exchange *exchange, struct ls_buf *out_answer, struct ls_err *err)
{
	LS_CLEANUP(link_done) struct link link = { .fd = -1 };
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };

	LS_TRY(link_open(&link, exchange->endpoint, exchange->timeout_ms, err));
	if (exchange->tls) {
		LS_TRY(link_prepare_tls(&link, err));
		if (exchange->cert_pem.len > 0 && (!use_chain(link.ssl, exchange->cert_pem) ||
							  !use_key(link.ssl, exchange->key_pem)))
			return LS_FAIL(err, LS_E_CRYPTO, "client certificate for %s: %s",
				exchange->endpoint, tls_reason());
		LS_TRY(link_handshake(&link, err));
	}
	LS_TRY(link_send(&link, exchange->request, err));
	LS_TRY(receive_answer(&link, exchange->whole, &answer, err));
	ls_buf_done(out_answer);
	*out_answer = answer;
	answer = (struct ls_buf){ 0 };
	return LS_OK;
}
