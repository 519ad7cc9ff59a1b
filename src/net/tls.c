#include "net/tls.h"

#include <event2/bufferevent_ssl.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/file.h"

#define FILE_MAX_BYTES 65536
#define CERTS_MAX 16
#define SUITES_12 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct ls_tls {
	char *path;
	SSL_CTX *ctx; /* NULL: nothing was taken yet */
	bool looked;
	struct stat seen; /* what it was the last time; all zero: not there */
	void (*on_change)(void *arg, enum ls_code code, const struct ls_err *err);
	void *arg;
};

static void ctx_free(SSL_CTX **ctx)
{
	SSL_CTX_free(*ctx);
}

static void bio_free(BIO **bio)
{
	BIO_free(*bio);
}

static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return text ? text : "no reason given";
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1; /* instead of asking at the terminal */
}

/* RFC 7301 section 3.2: who speaks something else is told so. It also keeps other protocols'
 * clients from being led here. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
	const unsigned char *in, unsigned int in_len, void *arg)
{
	static const unsigned char http[] = "\x08http/1.1";
	unsigned char *found = NULL;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&found, out_len, http, sizeof http - 1, in, in_len) !=
		OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = found;
	return SSL_TLSEXT_ERR_OK;
}

static enum ls_code ctx_new(SSL_CTX **out, struct ls_err *err)
{
	static const unsigned char session_context[] = "lockstep";
	char groups[] = "X25519:P-256:P-384"; /* the macro that takes it casts const away */
	LS_CLEANUP(ctx_free) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
		SSL_CTX_set_cipher_list(ctx, SUITES_12) != 1 ||
		SSL_CTX_set1_groups_list(ctx, groups) != 1 ||
		SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1) !=
			1 ||
		SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return LS_FAIL(err, LS_E_CRYPTO, "the TLS library does not start: %s", reason());
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					       SSL_OP_NO_COMPRESSION |
					       SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* 34 KiB for each idle client */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	*out = LS_TAKE(ctx);
	return LS_OK;
}

static enum ls_code use_certs(SSL_CTX *ctx, struct ls_bytes pem, struct ls_err *err)
{
	LS_CLEANUP(bio_free) BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	bool ok = bio != NULL;
	int count = 0;
	X509 *cert;

	while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		if (count++ == 0)
			ok = SSL_CTX_use_certificate(ctx, cert) == 1;
		else if (X509_self_signed(cert, 0) == 0)
			ok = count <= CERTS_MAX && SSL_CTX_add1_chain_cert(ctx, cert) == 1;
		X509_free(cert);
	}
	if (ok && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		ok = false; /* it did not end there */
	if (!ok)
		return LS_FAIL(err, LS_E_REFUSED, "its certificates cannot be used: %s", reason());
	ERR_clear_error();
	if (count == 0)
		return LS_FAIL(err, LS_E_REFUSED, "it has no certificate");
	return LS_OK;
}

static enum ls_code use_key(SSL_CTX *ctx, struct ls_bytes pem, struct ls_err *err)
{
	LS_CLEANUP(bio_free) BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	bool ok;

	if (!key)
		return LS_FAIL(err, LS_E_REFUSED, "it has no usable private key: %s", reason());
	ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	if (!ok)
		return LS_FAIL(err, LS_E_REFUSED, "its key is not its certificate's: %s", reason());
	return LS_OK;
}

static enum ls_code load(const char *path, SSL_CTX **out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ctx_free) SSL_CTX *ctx = NULL;

	ERR_clear_error(); /* the thread's queue is not ours alone */
	LS_TRY(ls_file_read_secret(AT_FDCWD, path, FILE_MAX_BYTES, &pem, err));
	LS_TRY(ctx_new(&ctx, err));
	if (use_certs(ctx, ls_secret_bytes(&pem), err) != LS_OK ||
		use_key(ctx, ls_secret_bytes(&pem), err) != LS_OK)
		return LS_WRAP(err, "'%s'", path);
	*out = LS_TAKE(ctx);
	return LS_OK;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Its ctime too: what could not be read for its mode is read when that is mended. */
static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       same_time(a->st_mtim, b->st_mtim) && same_time(a->st_ctim, b->st_ctim);
}

void ls_tls_refresh(struct ls_tls *tls)
{
	SSL_CTX *fresh = NULL;
	struct ls_err err = { 0 };
	enum ls_code code;
	struct stat now;

	if (stat(tls->path, &now) != 0)
		now = (struct stat){ 0 };
	if (tls->looked && same_file(&now, &tls->seen))
		return;
	/* Remembered before it is read: one that takes its place meanwhile is another one. */
	tls->looked = true;
	tls->seen = now;
	code = load(tls->path, &fresh, &err);
	if (code == LS_OK) {
		SSL_CTX_free(tls->ctx); /* connections hold it for as long as they need it */
		tls->ctx = fresh;
	}
	if (tls->on_change)
		tls->on_change(tls->arg, code, &err);
}

bool ls_tls_ready(const struct ls_tls *tls)
{
	return tls->ctx != NULL;
}

enum ls_code ls_tls_new(const char *path,
	void (*on_change)(void *arg, enum ls_code code, const struct ls_err *err), void *arg,
	struct ls_tls **out, struct ls_err *err)
{
	LS_CLEANUP(ctx_free) SSL_CTX *trial = NULL; /* has the library load what it needs, early */
	struct ls_tls *tls;

	LS_TRY(ctx_new(&trial, err));
	tls = ls_alloc(1, sizeof *tls);
	tls->path = ls_strdup(path);
	tls->on_change = on_change;
	tls->arg = arg;
	*out = tls;
	return LS_OK;
}

void ls_tls_free(struct ls_tls **tls_ptr)
{
	struct ls_tls *tls = LS_TAKE(*tls_ptr);

	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls->path);
	free(tls);
}

struct bufferevent *ls_tls_accept(struct ls_tls *tls, struct event_base *base)
{
	struct bufferevent *bev;
	SSL *ssl;

	ls_tls_refresh(tls);
	ssl = tls->ctx ? SSL_new(tls->ctx) : NULL;
	if (!ssl)
		return NULL;
	bev = bufferevent_openssl_socket_new(
		base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	if (!bev) {
		SSL_free(ssl);
		return NULL;
	}
	/* A client that just hangs up has ended all the same: lengths say whether it was whole. */
	bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bev;
}

bool ls_tls_is(struct bufferevent *bev)
{
	return bufferevent_openssl_get_ssl(bev) != NULL;
}

void ls_tls_bye(struct bufferevent *bev)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);

	if (ssl && SSL_is_init_finished(ssl))
		(void)SSL_shutdown(ssl);
	ERR_clear_error();
}
