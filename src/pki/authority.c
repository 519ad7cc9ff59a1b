#include "pki/authority.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "pki/cms.h"
#include "pki/digest.h"
#include "pki/issue.h"
#include "pki/key.h"

#define NO_END "99991231235959Z" /* RFC 5280 section 4.1.2.5 */
#define SERIAL_BYTES 16

struct extension {
	int nid;
	const char *value;
};

static bool set_serial(X509 *cert)
{
	unsigned char bytes[SERIAL_BYTES];
	ASN1_INTEGER *serial;
	BIGNUM *number;
	bool ok;

	ls_random_bytes(bytes, sizeof bytes);
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, of constant length */
	number = BN_bin2bn(bytes, sizeof bytes, NULL);
	serial = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
	ok = serial && X509_set_serialNumber(cert, serial) == 1;
	ASN1_INTEGER_free(serial);
	BN_free(number);
	return ok;
}

static bool add_extension(X509 *cert, X509 *issuer, struct extension extension)
{
	X509_EXTENSION *made;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	made = X509V3_EXT_conf_nid(NULL, &ctx, extension.nid, extension.value);
	ok = made && X509_add_ext(cert, made, -1) == 1;
	X509_EXTENSION_free(made);
	return ok;
}

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(
		       name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1;
}

/* Subject "O=<cluster>, <field>=<value>", with the dates, serial and key that all of ours share. */
static X509 *new_cert(
	const char *cluster, const char *field, const char *value, int64_t now_s, EVP_PKEY *key)
{
	LS_CLEANUP(ls_x509_free) X509 *cert = X509_new();
	X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;

	if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) ||
		!add_name(name, "O", cluster) || !add_name(name, field, value) ||
		!ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - LS_BACKDATE_S)) ||
		ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), NO_END) != 1 ||
		X509_set_pubkey(cert, key) != 1)
		return NULL;
	return LS_TAKE(cert);
}

static bool finish(X509 *cert, X509 *issuer, EVP_PKEY *issuer_key,
	const struct extension *extensions, size_t count)
{
	if (X509_set_issuer_name(cert, X509_get_subject_name(issuer)) != 1)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!add_extension(cert, issuer, extensions[i]))
			return false;
	return X509_sign(cert, issuer_key, EVP_sha256()) > 0;
}

static enum ls_code new_key(EVP_PKEY **out, struct ls_err *err)
{
	struct ls_key_spec spec;

	LS_TRY(ls_key_spec_parse("ec:P-256", &spec, err));
	return ls_key_generate(&spec, out, err);
}

static enum ls_code check_names(const char *cluster, const char *node, struct ls_err *err)
{
	if (!ls_cluster_name_valid(cluster))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' cannot name a cluster", cluster);
	if (node && !ls_name_valid(node))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' cannot name a node", node);
	return LS_OK;
}

static void hand_over(struct ls_signer *made, struct ls_signer *out)
{
	ls_signer_done(out);
	*out = *made;
	*made = (struct ls_signer){ 0 };
}

enum ls_code ls_authority_create(
	const char *cluster, int64_t now_s, struct ls_signer *out, struct ls_err *err)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid:always" },
	};
	LS_CLEANUP(ls_signer_done) struct ls_signer made = { 0 };
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;

	LS_TRY(check_names(cluster, NULL, err));
	LS_TRY(new_key(&made.key, err));
	cert = new_cert(cluster, "CN", "Lockstep cluster CA", now_s, made.key);
	if (!cert || !finish(cert, cert, made.key, extensions, LS_COUNT(extensions)))
		return ls_ossl_fail(err, LS_E_CRYPTO, "make the cluster CA");
	LS_TRY(ls_x509_to_pem(cert, &made.cert_pem, err));
	hand_over(&made, out);
	return LS_OK;
}

enum ls_code ls_authority_certify(const struct ls_signer *ca, const char *cluster, const char *node,
	enum ls_node_cert kind, int64_t now_s, struct ls_signer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *uri = NULL;
	LS_CLEANUP(ls_signer_done) struct ls_signer made = { 0 };
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL, *issuer = NULL;

	LS_TRY(check_names(cluster, node, err));
	LS_TRY(ls_x509_from_pem(
		ls_buf_bytes(&ca->cert_pem), "the cluster CA's certificate", &issuer, err));
	LS_TRY(new_key(&made.key, err));
	uri = ls_format("URI:lockstep://%s/%s", cluster, node);
	cert = new_cert(cluster, "OU", node, now_s, made.key);
	if (!cert || !finish(cert, issuer, ca->key,
			     (const struct extension[]){
				     { NID_basic_constraints, "critical,CA:FALSE" },
				     { NID_key_usage, kind == LS_NODE_CERT_SIGNING
							      ? "critical,digitalSignature"
							      : "critical,keyAgreement" },
				     { NID_subject_alt_name, uri },
				     { NID_subject_key_identifier, "hash" },
				     { NID_authority_key_identifier, "keyid:always" },
			     },
			     5))
		return ls_ossl_fail(err, LS_E_CRYPTO, "certify node '%s'", node);
	LS_TRY(ls_x509_to_pem(cert, &made.cert_pem, err));
	hand_over(&made, out);
	return LS_OK;
}

/* Exactly "O=<cluster>, OU=<node>". */
static bool subject_is(const X509 *cert, const char *cluster, const char *node)
{
	X509_NAME *want = X509_NAME_new();
	bool same = want && add_name(want, "O", cluster) && add_name(want, "OU", node) &&
		    X509_NAME_cmp(want, X509_get_subject_name(cert)) == 0;

	X509_NAME_free(want);
	return same;
}

/* Exactly one SAN, this URI. */
static bool uri_is(const X509 *cert, const char *uri)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const GENERAL_NAME *name =
		sk_GENERAL_NAME_num(names) == 1 ? sk_GENERAL_NAME_value(names, 0) : NULL;
	bool same = false;

	if (name && name->type == GEN_URI) {
		const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;

		same = ls_bytes_equal(
			LS_BYTES_STR(uri), (struct ls_bytes){ ASN1_STRING_get0_data(text),
						   (size_t)ASN1_STRING_length(text) });
	}
	GENERAL_NAMES_free(names);
	return same;
}

enum ls_code ls_authority_check(struct ls_bytes ca_pem, struct ls_bytes cert_pem,
	const char *cluster, const char *node, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *uri = ls_format("lockstep://%s/%s", cluster, node);
	LS_CLEANUP(ls_x509_free) X509 *ca = NULL, *cert = NULL;

	LS_TRY(ls_x509_from_pem(ca_pem, "the cluster CA's certificate", &ca, err));
	LS_TRY(ls_x509_from_pem(cert_pem, "the node's certificate", &cert, err));
	if (X509_check_ca(ca) != 1)
		return LS_FAIL(err, LS_E_REFUSED,
			"the cluster CA's certificate is not of a CA (RFC 5280 section 4.2.1.9)");
	if (X509_check_issued(ca, cert) != X509_V_OK ||
		X509_verify(cert, X509_get0_pubkey(ca)) != 1)
		return ls_ossl_fail(err, LS_E_REFUSED,
			"the certificate of node '%s' was not issued by the cluster CA", node);
	if (X509_check_ca(cert) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "the certificate of node '%s' is a CA's", node);
	if (!subject_is(cert, cluster, node) || !uri_is(cert, uri))
		return LS_FAIL(err, LS_E_REFUSED, "the certificate does not name node '%s' of '%s'",
			node, cluster);
	ERR_clear_error();
	return LS_OK;
}
