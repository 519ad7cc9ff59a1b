#include "pki/authority.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "pki/build.h"
#include "pki/cms.h"
#include "pki/digest.h"
#include "pki/issue.h"
#include "pki/key.h"
#include "pki/san.h"

#define NO_END "99991231235959Z" /* RFC 5280 section 4.1.2.5 */
#define SERIAL_BYTES 16
#define LEAF_DAYS_MAX 3650
#define DAY_S 86400

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

static enum ls_code certify(const struct ls_signer *ca, const char *cluster, const char *node,
	enum ls_node_cert kind, int64_t now_s, EVP_PKEY *key, struct ls_buf *out_pem,
	struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *uri = NULL;
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL, *issuer = NULL;

	LS_TRY(ls_x509_from_pem(
		ls_buf_bytes(&ca->cert_pem), "the cluster CA's certificate", &issuer, err));
	uri = ls_format("URI:lockstep://%s/%s", cluster, node);
	cert = new_cert(cluster, "OU", node, now_s, key);
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
	return ls_x509_to_pem(cert, out_pem, err);
}

enum ls_code ls_authority_certify(const struct ls_signer *ca, const char *cluster, const char *node,
	enum ls_node_cert kind, int64_t now_s, struct ls_signer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer made = { 0 };

	LS_TRY(check_names(cluster, node, err));
	LS_TRY(new_key(&made.key, err));
	LS_TRY(certify(ca, cluster, node, kind, now_s, made.key, &made.cert_pem, err));
	hand_over(&made, out);
	return LS_OK;
}

/* Ours are all of one kind, so nobody's choice of a key weakens the cluster. */
static enum ls_code read_public(struct ls_bytes pem, EVP_PKEY **out, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	struct ls_key_spec spec;
	char text[32];

	LS_TRY(ls_key_from_public_pem("public key", pem, &key, err));
	ls_key_describe(key, &spec);
	ls_key_spec_text(&spec, text);
	if (strcmp(text, "ec:P-256") != 0)
		return LS_FAIL(err, LS_E_REFUSED, "public key: found %s, wanted ec:P-256", text);
	*out = LS_TAKE(key);
	return LS_OK;
}

enum ls_code ls_authority_certify_key(const struct ls_signer *ca, const char *cluster,
	const char *node, enum ls_node_cert kind, struct ls_bytes public_pem, int64_t now_s,
	struct ls_buf *out_cert_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf made = { 0 };

	LS_TRY(check_names(cluster, node, err));
	LS_TRY(read_public(public_pem, &key, err));
	LS_TRY(certify(ca, cluster, node, kind, now_s, key, &made, err));
	ls_buf_copy(out_cert_pem, &made);
	return LS_OK;
}

/* ---- leaves ---- */

static const char *const usages[] = {
	[LS_LEAF_SERVER] = "serverAuth",
	[LS_LEAF_CLIENT] = "clientAuth",
	[LS_LEAF_BOTH] = "serverAuth,clientAuth",
};

static enum ls_code check_leaf(
	const char *cluster, const struct ls_leaf_wish *wish, struct ls_err *err)
{
	LS_TRY(check_names(cluster, NULL, err));
	if (wish->use != LS_LEAF_CLIENT && ls_strv_count(wish->sans) == 0)
		return LS_FAIL(err, LS_E_REFUSED,
			"a server's certificate without a name (RFC 9525 section 2)");
	if (wish->days < 0 || wish->days > LEAF_DAYS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "days: found %lld, wanted 1 to %d",
			(long long)wish->days, LEAF_DAYS_MAX);
	return LS_OK;
}

static enum ls_code add_sans(X509 *cert, char *const *sans, struct ls_err *err)
{
	LS_CLEANUP(ls_general_names_free) GENERAL_NAMES *names = NULL;

	if (ls_strv_count(sans) == 0)
		return LS_OK;
	LS_TRY(ls_san_encode(sans, &names, err));
	if (X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode names");
	return LS_OK;
}

static enum ls_code make_leaf(const struct ls_signer *ca, const char *cluster,
	const struct ls_leaf_wish *wish, int64_t now_s, EVP_PKEY *key, struct ls_buf *out_pem,
	struct ls_err *err)
{
	LS_CLEANUP(ls_x509_free) X509 *issuer = NULL;
	LS_CLEANUP(ls_x509_free) X509 *cert = X509_new();
	int64_t days = wish->days ? wish->days : LS_LEAF_DAYS;

	LS_TRY(ls_x509_from_pem(
		ls_buf_bytes(&ca->cert_pem), "the cluster CA's certificate", &issuer, err));
	if (!cert || !add_name(X509_get_subject_name(cert), "O", cluster))
		return ls_ossl_fail(err, LS_E_CRYPTO, "begin a certificate");
	LS_TRY(ls_build_start(cert, now_s - LS_BACKDATE_S, now_s + days * DAY_S, err));
	LS_TRY(ls_build_cert_key(cert, key, err));
	LS_TRY(add_sans(cert, wish->sans, err));
	if (!finish(cert, issuer, ca->key,
		    (const struct extension[]){
			    { NID_basic_constraints, "critical,CA:FALSE" },
			    { NID_key_usage, "critical,digitalSignature" },
			    { NID_ext_key_usage, usages[wish->use] },
			    { NID_subject_key_identifier, "hash" },
			    { NID_authority_key_identifier, "keyid:always" },
		    },
		    5))
		return ls_ossl_fail(err, LS_E_CRYPTO, "issue a TLS certificate");
	return ls_x509_to_pem(cert, out_pem, err);
}

enum ls_code ls_authority_leaf(const struct ls_signer *ca, const char *cluster,
	const struct ls_leaf_wish *wish, int64_t now_s, struct ls_signer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer made = { 0 };

	LS_TRY(check_leaf(cluster, wish, err));
	LS_TRY(new_key(&made.key, err));
	LS_TRY(make_leaf(ca, cluster, wish, now_s, made.key, &made.cert_pem, err));
	hand_over(&made, out);
	return LS_OK;
}

enum ls_code ls_authority_leaf_key(const struct ls_signer *ca, const char *cluster,
	const struct ls_leaf_wish *wish, struct ls_bytes public_pem, int64_t now_s,
	struct ls_buf *out_cert_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf made = { 0 };

	LS_TRY(check_leaf(cluster, wish, err));
	LS_TRY(read_public(public_pem, &key, err));
	LS_TRY(make_leaf(ca, cluster, wish, now_s, key, &made, err));
	ls_buf_copy(out_cert_pem, &made);
	return LS_OK;
}

static bool time_of(const ASN1_TIME *time, int64_t *out_s)
{
	struct tm tm = { 0 };

	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return false;
	*out_s = timegm(&tm);
	return true;
}

static bool is_due(const X509 *cert, int64_t now_s)
{
	int64_t from_s, to_s;

	return !time_of(X509_get0_notBefore(cert), &from_s) ||
	       !time_of(X509_get0_notAfter(cert), &to_s) || now_s < from_s ||
	       now_s >= to_s - (to_s - from_s) / 3;
}

/* The CA certificate of the text that issued this one: after a removal for compromise there are two
 * for a while. */
static enum ls_code issuer_of(X509 *cert, struct ls_bytes ca_pem, X509 **out, struct ls_err *err)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const char *at = ca_pem.data, *end = at + ca_pem.len, *next;

	for (; at && at < end; at = next) {
		LS_CLEANUP(ls_x509_free) X509 *ca = NULL;
		struct ls_bytes one;

		next = memmem(at + 1, (size_t)(end - at) - 1, begin, sizeof begin - 1);
		one = (struct ls_bytes){ at, (size_t)((next ? next : end) - at) };
		LS_TRY(ls_x509_from_pem(one, "the cluster CA's certificate", &ca, err));
		if (X509_check_issued(ca, cert) == X509_V_OK &&
			X509_verify(cert, X509_get0_pubkey(ca)) == 1) {
			*out = LS_TAKE(ca);
			return LS_OK;
		}
	}
	return ls_ossl_fail(err, LS_E_REFUSED, "it was not issued by the cluster CA");
}

bool ls_leaf_due(struct ls_bytes cert_pem, struct ls_bytes ca_pem, int64_t now_s)
{
	LS_CLEANUP(ls_x509_free) X509 *ca = NULL, *cert = NULL;
	bool due = ls_x509_from_pem(cert_pem, "the leaf", &cert, NULL) != LS_OK ||
		   issuer_of(cert, ca_pem, &ca, NULL) != LS_OK || is_due(cert, now_s);

	ERR_clear_error();
	return due;
}

static bool same_names(const X509 *cert, char *const *sans)
{
	LS_CLEANUP(ls_general_names_free)
	GENERAL_NAMES *have = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	LS_CLEANUP(ls_general_names_free) GENERAL_NAMES *want = NULL;
	int count = have ? sk_GENERAL_NAME_num(have) : 0;

	if (ls_san_encode(sans, &want, NULL) != LS_OK || sk_GENERAL_NAME_num(want) != count)
		return false;
	for (int i = 0; i < count; i++)
		if (GENERAL_NAME_cmp(
			    sk_GENERAL_NAME_value(have, i), sk_GENERAL_NAME_value(want, i)) != 0)
			return false;
	return true;
}

bool ls_leaf_fits(struct ls_bytes cert_pem, const struct ls_leaf_wish *wish)
{
	static const uint32_t bits[] = {
		[LS_LEAF_SERVER] = XKU_SSL_SERVER,
		[LS_LEAF_CLIENT] = XKU_SSL_CLIENT,
		[LS_LEAF_BOTH] = XKU_SSL_SERVER | XKU_SSL_CLIENT,
	};
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	bool fits = ls_x509_from_pem(cert_pem, "the leaf", &cert, NULL) == LS_OK &&
		    X509_get_extended_key_usage(cert) == bits[wish->use] &&
		    same_names(cert, wish->sans);

	ERR_clear_error();
	return fits;
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

	LS_TRY(ls_x509_from_pem(cert_pem, "the node's certificate", &cert, err));
	if (issuer_of(cert, ca_pem, &ca, err) != LS_OK)
		return LS_WRAP(err, "the certificate of node '%s'", node);
	if (X509_check_ca(ca) != 1)
		return LS_FAIL(err, LS_E_REFUSED,
			"the cluster CA's certificate is not of a CA (RFC 5280 section 4.2.1.9)");
	if (X509_check_ca(cert) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "the certificate of node '%s' is a CA's", node);
	if (!subject_is(cert, cluster, node) || !uri_is(cert, uri))
		return LS_FAIL(err, LS_E_REFUSED, "the certificate does not name node '%s' of '%s'",
			node, cluster);
	ERR_clear_error();
	return LS_OK;
}

size_t ls_ca_first_bytes(struct ls_bytes ca_pem)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const char *text = ca_pem.data;
	const char *second =
		ca_pem.len ? memmem(text + 1, ca_pem.len - 1, begin, sizeof begin - 1) : NULL;

	return second ? (size_t)(second - text) : ca_pem.len;
}
