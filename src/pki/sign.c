#include "pki/sign.h"

#include "pki/cms.h"
#include "pki/key.h"

#define LABEL "SIGNED MESSAGE"

void ls_signer_done(struct ls_signer *signer)
{
	ls_buf_done(&signer->cert_pem);
	ls_key_free(&signer->key);
}

enum ls_code ls_sign(struct ls_bytes content, const struct ls_signer *signer,
	struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;

	LS_TRY(ls_x509_from_pem(
		ls_buf_bytes(&signer->cert_pem), "the signing certificate", &cert, err));
	LS_TRY(ls_cms_sign(content, true, cert, signer->key, &cms, err));
	return ls_cms_to_pem(cms, LABEL, out_pem, err);
}

enum ls_code ls_sign_verify(struct ls_bytes content, struct ls_bytes signature_pem,
	struct ls_buf *out_cert_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf cert_pem = { 0 };

	/* Whatever its form, what is no signature does not hold: one code for the caller. */
	if (ls_cms_from_pem(signature_pem, LABEL, &cms, err) != LS_OK)
		return LS_FAIL(err, LS_E_REFUSED, "signature: not a CMS in PEM with the label '%s'",
			LABEL);
	LS_TRY(ls_cms_verify(cms, &content, &cert_pem, err));
	ls_buf_copy(out_cert_pem, &cert_pem);
	return LS_OK;
}
