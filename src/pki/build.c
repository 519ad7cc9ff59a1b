#include "pki/build.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/digest.h"
#include "pki/key.h"
#include "pki/ossl.h"

#define SERIAL_BYTES 16
#define KEY_ID_BYTES 20
#define POINT_MAX 133 /* of P-521: 1 + 2 * 66 */

static void integer_free(ASN1_INTEGER **integer)
{
	ASN1_INTEGER_free(*integer);
	*integer = NULL;
}

static void octets_free(ASN1_OCTET_STRING **octets)
{
	ASN1_OCTET_STRING_free(*octets);
	*octets = NULL;
}

static void bits_free(ASN1_BIT_STRING **bits)
{
	ASN1_BIT_STRING_free(*bits);
	*bits = NULL;
}

static void basic_free(BASIC_CONSTRAINTS **basic)
{
	BASIC_CONSTRAINTS_free(*basic);
	*basic = NULL;
}

void ls_build_exts_free(STACK_OF(X509_EXTENSION) * *exts)
{
	sk_X509_EXTENSION_pop_free(*exts, X509_EXTENSION_free);
	*exts = NULL;
}

enum ls_code ls_build_start(
	X509 *cert, int64_t not_before_s, int64_t not_after_s, struct ls_err *err)
{
	LS_CLEANUP(integer_free) ASN1_INTEGER *serial = ASN1_INTEGER_new();
	unsigned char bytes[SERIAL_BYTES];

	ls_random_bytes(bytes, sizeof bytes);
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, always of one length */
	if (!serial || ASN1_STRING_set(serial, bytes, sizeof bytes) != 1 ||
		X509_set_version(cert, X509_VERSION_3) != 1 ||
		X509_set_serialNumber(cert, serial) != 1 ||
		!ASN1_TIME_set(X509_getm_notBefore(cert), not_before_s) ||
		!ASN1_TIME_set(X509_getm_notAfter(cert), not_after_s))
		return ls_ossl_fail(err, LS_E_CRYPTO, "begin a certificate");
	return LS_OK;
}

/* False when this key has to go the slow way. */
static bool set_key_fast(X509_PUBKEY *pub, EVP_PKEY *key)
{
	unsigned char bytes[POINT_MAX];
	size_t len = sizeof bytes;
	struct ls_key_spec spec;
	ASN1_OBJECT *algorithm, *curve = NULL;
	unsigned char *copy;

	ls_key_describe(key, &spec);
	if (spec.type == LS_KEY_EC) {
		int nid = EC_curve_nist2nid(spec.curve);

		if (nid == NID_undef || EVP_PKEY_get_octet_string_param(key,
						OSSL_PKEY_PARAM_PUB_KEY, bytes, len, &len) != 1)
			return false;
		algorithm = OBJ_nid2obj(NID_X9_62_id_ecPublicKey);
		curve = OBJ_nid2obj(nid);
	} else {
		if (spec.type != LS_KEY_ED25519 ||
			EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1)
			return false;
		algorithm = OBJ_nid2obj(NID_ED25519);
	}
	copy = OPENSSL_memdup(bytes, len);
	if (copy && X509_PUBKEY_set0_param(pub, algorithm, curve ? V_ASN1_OBJECT : V_ASN1_UNDEF,
			    curve, copy, (int)len) == 1)
		return true;
	OPENSSL_free(copy);
	return false;
}

enum ls_code ls_build_cert_key(X509 *cert, EVP_PKEY *key, struct ls_err *err)
{
	if (!set_key_fast(X509_get_X509_PUBKEY(cert), key) && X509_set_pubkey(cert, key) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "put the key into a certificate");
	return LS_OK;
}

enum ls_code ls_build_request_key(X509_REQ *request, EVP_PKEY *key, struct ls_err *err)
{
	if (!set_key_fast(X509_REQ_get_X509_PUBKEY(request), key) &&
		X509_REQ_set_pubkey(request, key) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "put the key into a request");
	return LS_OK;
}

enum ls_code ls_build_ext(
	STACK_OF(X509_EXTENSION) * *exts, int nid, void *value, bool critical, struct ls_err *err)
{
	if (X509V3_add1_i2d(exts, nid, value, critical, X509V3_ADD_DEFAULT) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode the extension %s", OBJ_nid2sn(nid));
	return LS_OK;
}

enum ls_code ls_build_key_id(const X509 *cert, STACK_OF(X509_EXTENSION) * *exts, struct ls_err *err)
{
	LS_CLEANUP(octets_free) ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
	const unsigned char *bits = NULL;
	unsigned char digest[LS_SHA256_BYTES];
	int len = 0;

	if (X509_PUBKEY_get0_param(NULL, &bits, &len, NULL, X509_get_X509_PUBKEY(cert)) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "read a certificate's key");
	ls_sha256((struct ls_bytes){ bits, (size_t)len }, digest);
	if (!id || ASN1_OCTET_STRING_set(id, digest, KEY_ID_BYTES) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode a key identifier");
	return ls_build_ext(exts, NID_subject_key_identifier, id, false, err);
}

enum ls_code ls_build_not_ca(STACK_OF(X509_EXTENSION) * *exts, struct ls_err *err)
{
	LS_CLEANUP(basic_free) BASIC_CONSTRAINTS *basic = BASIC_CONSTRAINTS_new();

	if (!basic)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode basic constraints");
	return ls_build_ext(exts, NID_basic_constraints, basic, true, err);
}

enum ls_code ls_build_key_usage(STACK_OF(X509_EXTENSION) * *exts, uint32_t bits, struct ls_err *err)
{
	LS_CLEANUP(bits_free) ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();

	if (!usage)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode a key usage");
	/* KU_… hold bit 0 of section 4.2.1.3 as 0x80, bit 8 as 0x8000. */
	for (int i = 0; i < 9; i++)
		if (bits & (i < 8 ? 0x80u >> i : 0x8000u) &&
			ASN1_BIT_STRING_set_bit(usage, i, 1) != 1)
			return ls_ossl_fail(err, LS_E_CRYPTO, "encode a key usage");
	return ls_build_ext(exts, NID_key_usage, usage, true, err);
}

enum ls_code ls_build_add_exts(
	X509 *cert, const STACK_OF(X509_EXTENSION) * exts, struct ls_err *err)
{
	for (int i = 0; i < sk_X509_EXTENSION_num(exts); i++)
		if (X509_add_ext(cert, sk_X509_EXTENSION_value(exts, i), -1) != 1)
			return ls_ossl_fail(err, LS_E_CRYPTO, "add an extension");
	return LS_OK;
}

const EVP_MD *ls_build_digest(EVP_PKEY *key)
{
	struct ls_key_spec spec;

	ls_key_describe(key, &spec);
	if (spec.type == LS_KEY_ED25519)
		return NULL;
	if (spec.type == LS_KEY_EC && spec.bits > 384)
		return EVP_sha512();
	if (spec.type == LS_KEY_EC && spec.bits > 256)
		return EVP_sha384();
	return EVP_sha256();
}
