#include "pki/cms.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <string.h>

void ls_cms_free(CMS_ContentInfo **cms)
{
	CMS_ContentInfo_free(*cms);
	*cms = NULL;
	ERR_clear_error(); /* CMS leaves entries behind even where it succeeds */
}

static void free_signers(STACK_OF(X509) * *stack)
{
	sk_X509_free(*stack); /* the certificates belong to the CMS */
	*stack = NULL;
}

/* A reader over borrowed bytes; never NULL for sizes below INT_MAX. */
static BIO *bio_over(struct ls_bytes bytes)
{
	return BIO_new_mem_buf(bytes.len ? bytes.data : "", (int)bytes.len);
}

enum ls_code ls_x509_from_pem(
	struct ls_bytes pem, const char *whose, X509 **out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *in = NULL;
	X509 *cert;

	if (pem.len > LS_CMS_BYTES_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "%s: %zu bytes are too many", whose, pem.len);
	in = bio_over(pem);
	cert = in ? PEM_read_bio_X509(in, NULL, ls_no_passphrase, NULL) : NULL;
	if (!cert)
		return ls_ossl_fail(err, LS_E_REFUSED, "%s: not a certificate in PEM", whose);
	*out = cert;
	return LS_OK;
}

enum ls_code ls_cms_from_der(struct ls_bytes der, CMS_ContentInfo **out, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	const unsigned char *at = der.data;

	if (der.len == 0 || der.len > LS_CMS_BYTES_MAX)
		return LS_FAIL(err, LS_E_DAMAGED, "CMS of %zu bytes", der.len);
	cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);
	if (!cms)
		return ls_ossl_fail(err, LS_E_DAMAGED, "not a CMS (RFC 5652)");
	if (at != (const unsigned char *)der.data + der.len)
		return LS_FAIL(err, LS_E_DAMAGED, "bytes behind the CMS");
	*out = LS_TAKE(cms);
	return LS_OK;
}

enum ls_code ls_cms_from_pem(
	struct ls_bytes pem, const char *label, CMS_ContentInfo **out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *in = NULL;
	LS_CLEANUP(ls_der_free) unsigned char *name = NULL, *header = NULL, *der = NULL;
	char *name_text = NULL, *header_text = NULL;
	long len = 0;

	if (pem.len > LS_CMS_BYTES_MAX)
		return LS_FAIL(err, LS_E_DAMAGED, "PEM of %zu bytes", pem.len);
	in = bio_over(pem);
	if (!in || PEM_read_bio(in, &name_text, &header_text, &der, &len) != 1)
		return ls_ossl_fail(err, LS_E_DAMAGED, "not PEM with the label '%s'", label);
	name = (unsigned char *)name_text;
	header = (unsigned char *)header_text;
	if (strcmp(name_text, label) != 0 || header_text[0] != '\0')
		return LS_FAIL(err, LS_E_DAMAGED, "PEM with the label '%s', wanted '%s'", name_text,
			label);
	return ls_cms_from_der((struct ls_bytes){ der, (size_t)len }, out, err);
}

enum ls_code ls_cms_to_der(CMS_ContentInfo *cms, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_der_free) unsigned char *der = NULL;
	int len = i2d_CMS_ContentInfo(cms, &der);

	if (len <= 0)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode a CMS");
	ls_buf_clear(out);
	ls_buf_add(out, der, (size_t)len);
	return LS_OK;
}

enum ls_code ls_cms_to_pem(
	CMS_ContentInfo *cms, const char *label, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *mem = BIO_new(BIO_s_mem());
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };

	LS_TRY(ls_cms_to_der(cms, &der, err));
	if (!mem ||
		PEM_write_bio(mem, label, "", (const unsigned char *)der.data, (long)der.len) <= 0)
		return ls_ossl_fail(err, LS_E_CRYPTO, "write a CMS");
	ls_buf_clear(out);
	ls_bio_take(mem, out);
	return LS_OK;
}

enum ls_code ls_cms_sign(struct ls_bytes content, bool detached, X509 *cert, EVP_PKEY *key,
	CMS_ContentInfo **out, struct ls_err *err)
{
	const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | (detached ? CMS_DETACHED : 0u);
	LS_CLEANUP(ls_bio_free) BIO *in = NULL;
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;

	if (content.len > LS_CMS_BYTES_MAX)
		return LS_FAIL(err, LS_E_CRYPTO, "sign: %zu bytes are more than a signature is for",
			content.len);
	in = bio_over(content);
	cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL);
	if (!in || !cms || !CMS_add1_signer(cms, cert, key, EVP_sha256(), flags) ||
		CMS_final(cms, in, NULL, flags) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "sign");
	*out = LS_TAKE(cms);
	return LS_OK;
}

/* RFC 5652 section 5.3. Without signed attributes, the encoding of another signature's attributes
 * would pass as signed content. */
static enum ls_code check_signer_info(CMS_ContentInfo *cms, struct ls_err *err)
{
	STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);
	CMS_SignerInfo *info;
	X509_ALGOR *digest = NULL, *signature = NULL;
	const ASN1_OBJECT *oid = NULL;

	if (sk_CMS_SignerInfo_num(infos) != 1)
		return LS_FAIL(err, LS_E_REFUSED, "signature: %d signers, wanted 1",
			infos ? sk_CMS_SignerInfo_num(infos) : 0);
	info = sk_CMS_SignerInfo_value(infos, 0);
	if (CMS_signed_get_attr_count(info) <= 0)
		return LS_FAIL(err, LS_E_REFUSED, "signature: without signed attributes");
	CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, &signature);
	X509_ALGOR_get0(&oid, NULL, NULL, digest);
	switch (OBJ_obj2nid(oid)) {
	case NID_sha256:
	case NID_sha384:
	case NID_sha512:
		return LS_OK;
	default:
		return LS_FAIL(err, LS_E_REFUSED, "signature: the digest is below SHA-256");
	}
}

enum ls_code ls_cms_verify(CMS_ContentInfo *cms, const struct ls_bytes *detached,
	struct ls_buf *out_cert_pem, struct ls_err *err)
{
	/* CMS_verify reads bytes in memory through a BIO of its own, which releases of OpenSSL up
	 * to March 2026 lose where no digest is listed; behind a filter it takes the one it is
	 * given. */
	LS_CLEANUP(ls_bio_free) BIO *in = NULL;
	LS_CLEANUP(free_signers) STACK_OF(X509) *signers = NULL;

	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
		return LS_FAIL(err, LS_E_REFUSED, "signature: not a SignedData");
	if (OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data)
		return LS_FAIL(err, LS_E_REFUSED, "signature: not over plain data");
	if (!CMS_is_detached(cms) != !detached)
		return LS_FAIL(err, LS_E_REFUSED, "signature: %s",
			detached ? "has a content of its own" : "lacks its content");
	LS_TRY(check_signer_info(cms, err));
	if (detached && detached->len > LS_CMS_BYTES_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "signature: over %zu bytes", detached->len);
	in = detached ? BIO_push(BIO_new(BIO_f_null()), bio_over(*detached)) : NULL;
	if (CMS_verify(cms, NULL, NULL, in, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) != 1)
		return ls_ossl_fail(err, LS_E_REFUSED, "signature: does not hold");
	signers = CMS_get0_signers(cms);
	if (!signers || sk_X509_num(signers) != 1)
		return ls_ossl_fail(err, LS_E_REFUSED, "signature: carries no certificate");
	ls_buf_clear(out_cert_pem);
	return ls_x509_to_pem(sk_X509_value(signers, 0), out_cert_pem, err);
}
