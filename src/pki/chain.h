/* chain -- certificates out of PEM texts, and their order: leaf, its issuers, a root.
 *
 * Pure but for OpenSSL. A refusal is LS_E_REFUSED in the form of credential.h.
 */
#ifndef LS_PKI_CHAIN_H
#define LS_PKI_CHAIN_H

#include <stdbool.h>

#include "base/bytes.h"

#define LS_CHAIN_MAX 16 /* certificate blocks in all files together */

struct x509_st;
struct evp_pkey_st;

struct ls_chain_cert {
	struct x509_st *x509;
	struct evp_pkey_st *key; /* its public key; the certificate's */
	const char *file;        /* where it came from, for messages; borrowed */
	bool self_signed;        /* its own key verifies it */
};

struct ls_chain {
	struct ls_chain_cert certs[LS_CHAIN_MAX];
	size_t count;
	size_t blocks; /* read so far, repeated certificates too */
};

void ls_chain_done(struct ls_chain *chain);
/* Appends the certificates of a text. Other blocks are passed over; a certificate that is there
 * already is dropped. Each must be DER to the last byte and of readable key and extensions. */
LS_CHECK enum ls_code ls_chain_read(
	struct ls_chain *chain, const char *file, struct ls_bytes pem, struct ls_err *err);
/* Brings the certificates into the order of the path, leaf first, and verifies each signature in
 * it. The leaf is the first certificate, or, when that one issued another, the only one that issued
 * none. Refused: no certificate, two possible leaves, a certificate off the path, a signature that
 * does not hold. */
LS_CHECK enum ls_code ls_chain_order(struct ls_chain *chain, const char *file, struct ls_err *err);
/* How many are served: all but a self-signed root above others. */
size_t ls_chain_served(const struct ls_chain *chain);

/* Subject or issuer in RFC 4514's form, whole. */
char *ls_chain_subject(const struct x509_st *cert);
char *ls_chain_issuer(const struct x509_st *cert);
/* The subject for a message: at most 120 bytes. */
struct ls_chain_label {
	char text[128];
};
struct ls_chain_label ls_chain_label(const struct x509_st *cert);

#endif
