/* cms -- what sign, seal and authority share of OpenSSL: owners by scope, PEM in and out, and the
 * one check of a signer.
 *
 * Private to src/pki. Whoever owns a CMS by scope leaves OpenSSL's error queue empty.
 */
#ifndef LS_PKI_CMS_H
#define LS_PKI_CMS_H

#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/bytes.h"
#include "pki/ossl.h"

#define LS_CMS_BYTES_MAX (1u << 20)

void ls_cms_free(CMS_ContentInfo **cms);

/* The first certificate of a PEM text; `whose` names it in the message. LS_E_REFUSED. */
LS_CHECK enum ls_code ls_x509_from_pem(
	struct ls_bytes pem, const char *whose, X509 **out, struct ls_err *err);

/* One PEM block with this label and no header lines, whose content is one CMS and nothing behind
 * it. LS_E_DAMAGED. */
LS_CHECK enum ls_code ls_cms_from_pem(
	struct ls_bytes pem, const char *label, CMS_ContentInfo **out, struct ls_err *err);
LS_CHECK enum ls_code ls_cms_from_der(
	struct ls_bytes der, CMS_ContentInfo **out, struct ls_err *err);
LS_CHECK enum ls_code ls_cms_to_pem(
	CMS_ContentInfo *cms, const char *label, struct ls_buf *out, struct ls_err *err);
LS_CHECK enum ls_code ls_cms_to_der(CMS_ContentInfo *cms, struct ls_buf *out, struct ls_err *err);

/* Signs `content` with SHA-256; detached or around it. */
LS_CHECK enum ls_code ls_cms_sign(struct ls_bytes content, bool detached, X509 *cert, EVP_PKEY *key,
	CMS_ContentInfo **out, struct ls_err *err);
/* Checks a SignedData over `detached` (NULL: over what it holds): one signer, whose certificate it
 * carries; signed attributes present; SHA-256 or better. Neither chain nor dates are looked at.
 * LS_E_REFUSED. */
LS_CHECK enum ls_code ls_cms_verify(CMS_ContentInfo *cms, const struct ls_bytes *detached,
	struct ls_buf *out_cert_pem, struct ls_err *err);

#endif
