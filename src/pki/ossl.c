#include "pki/ossl.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* For a few keys at a time: RSA of 4096 bits has 3 KiB, and its text passes through as well. */
#define SECURE_BYTES ((size_t)1 << 20)
#define SECURE_BYTES_LEAST 32

static void *ossl_alloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return size ? ls_alloc(size, 1) : NULL;
}

static void *ossl_regrow(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (size)
		return ls_regrow(old, size);
	ls_free(old);
	return NULL;
}

static void ossl_free(void *mem, const char *file, int line)
{
	(void)file;
	(void)line;
	ls_free(mem);
}

bool ls_ossl_protect(void)
{
	int made;

	if (CRYPTO_set_mem_functions(ossl_alloc, ossl_regrow, ossl_free) != 1)
		ls_ossl_unusable("set the memory functions");
	made = CRYPTO_secure_malloc_init(SECURE_BYTES, SECURE_BYTES_LEAST);
	if (made == 0)
		ls_ossl_unusable("reserve memory for keys");
	return made == 1;
}

void ls_x509_free(X509 **cert)
{
	X509_free(*cert);
	*cert = NULL;
}

void ls_x509_req_free(X509_REQ **request)
{
	X509_REQ_free(*request);
	*request = NULL;
}

void ls_bio_free(BIO **bio)
{
	BIO_free_all(*bio);
	*bio = NULL;
}

void ls_md_ctx_free(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
	*ctx = NULL;
}

void ls_der_free(unsigned char **der)
{
	OPENSSL_free(*der);
	*der = NULL;
}

void ls_general_names_free(GENERAL_NAMES **names)
{
	GENERAL_NAMES_free(*names);
	*names = NULL;
}

const char *ls_ossl_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return reason ? reason : "no reason given";
}

enum ls_code ls_ossl_fail(struct ls_err *err, enum ls_code code, const char *fmt, ...)
{
	LS_CLEANUP(ls_free_str) char *what = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	return LS_FAIL(err, code, "%s: %s", what ? what : "OpenSSL", ls_ossl_reason());
}

_Noreturn void ls_ossl_unusable(const char *what)
{
	(void)fprintf(stderr, "lockstep: %s: %s: the process ends; state on disk is whole\n", what,
		ls_ossl_reason());
	abort();
}

int ls_no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

void ls_bio_take(BIO *bio, struct ls_buf *out)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);

	if (len > 0)
		ls_buf_add(out, data, (size_t)len);
}

enum ls_code ls_x509_to_pem(X509 *cert, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_X509(bio, cert) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "write a certificate");
	ls_bio_take(bio, out);
	return LS_OK;
}
