/* ossl -- what every file that calls OpenSSL needs: owners for its objects and words for its
 * errors.
 *
 * Cleanup functions are for LS_CLEANUP; each accepts NULL. The types are OpenSSL's own behind their
 * forward names, so that headers need none of its headers.
 */
#ifndef LS_PKI_OSSL_H
#define LS_PKI_OSSL_H

#include <stdbool.h>

#include "base/bytes.h"

struct x509_st;
struct X509_req_st;
struct bio_st;
struct evp_pkey_st;
struct evp_md_ctx_st;
struct stack_st_GENERAL_NAME;

/* Has OpenSSL wipe what it frees, and keep the secret numbers of keys in pages that are locked and
 * left out of core dumps. Once in a program, before anything else uses OpenSSL. False: the pages
 * could not be locked, so keys may reach the swap. */
bool ls_ossl_protect(void);

void ls_x509_free(struct x509_st **cert);
void ls_x509_req_free(struct X509_req_st **request);
void ls_bio_free(struct bio_st **bio);
void ls_md_ctx_free(struct evp_md_ctx_st **ctx);
void ls_der_free(unsigned char **der); /* what an i2d function allocated */
void ls_general_names_free(struct stack_st_GENERAL_NAME **names);

/* The words of OpenSSL's last error in this thread, "no reason given" when there is none; empties
 * the queue. Static text. */
const char *ls_ossl_reason(void);
/* "WORDS: REASON"; empties the error queue. */
enum ls_code ls_ossl_fail(struct ls_err *err, enum ls_code code, const char *fmt, ...)
	LS_PRINTF(3, 4);
/* Ends the process with one line: for operations that fail only when the library is unusable, after
 * which nothing safe can follow. */
_Noreturn void ls_ossl_unusable(const char *what);

/* OpenSSL's callback for PEM: there is no passphrase. Without it OpenSSL asks at the terminal as
 * soon as a text says that it is encrypted, be it a certificate. */
int ls_no_passphrase(char *buf, int size, int writing, void *arg);
/* Appends what a memory BIO holds. */
void ls_bio_take(struct bio_st *bio, struct ls_buf *out);
/* Appends the certificate in PEM. */
LS_CHECK enum ls_code ls_x509_to_pem(struct x509_st *cert, struct ls_buf *out, struct ls_err *err);

#endif
