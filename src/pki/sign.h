/* sign -- a node's signatures on commits and records: CMS SignedData (RFC 5652 section 5),
 * detached, ECDSA with SHA-256.
 *
 * A signature carries its signer's certificate. Verifying answers "whose certificate, byte for
 * byte": whether that node may sign is decided by membership, never by a date or by the CA alone
 * (DESIGN 2).
 */
#ifndef LS_PKI_SIGN_H
#define LS_PKI_SIGN_H

#include "base/bytes.h"

struct evp_pkey_st;

struct ls_signer {
	struct ls_buf cert_pem;
	struct evp_pkey_st *key;
};

void ls_signer_done(struct ls_signer *signer);

/* PEM with the label that git's x509 format wants ("SIGNED MESSAGE"), LF line ends. */
LS_CHECK enum ls_code ls_sign(struct ls_bytes content, const struct ls_signer *signer,
	struct ls_buf *out_pem, struct ls_err *err);
/* Checks the one signature over `content` with the certificate it carries and returns that
 * certificate in canonical PEM. LS_E_REFUSED: the signature does not hold, there are several, or
 * the digest is below SHA-256. */
LS_CHECK enum ls_code ls_sign_verify(struct ls_bytes content, struct ls_bytes signature_pem,
	struct ls_buf *out_cert_pem, struct ls_err *err);

#endif
