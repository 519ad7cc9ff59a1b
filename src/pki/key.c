#include "pki/key.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "pki/digest.h"
#include "pki/ossl.h"
#include "pki/pem.h"

#define ITERATIONS_MAX 2000000 /* some seconds in the slowest form; a file could ask for hours */

/* What the parser takes, with the names that OpenSSL has for the curves. */
static const struct {
	const char *text;
	struct ls_key_spec spec;
} specs[] = {
	{ "ec:P-256", { LS_KEY_EC, 256, "P-256" } },
	{ "ec:P-384", { LS_KEY_EC, 384, "P-384" } },
	{ "ec:P-521", { LS_KEY_EC, 521, "P-521" } },
	{ "rsa:2048", { LS_KEY_RSA, 2048, "" } },
	{ "rsa:3072", { LS_KEY_RSA, 3072, "" } },
	{ "rsa:4096", { LS_KEY_RSA, 4096, "" } },
	{ "ed25519", { LS_KEY_ED25519, 255, "" } },
};

static void p8_free(PKCS8_PRIV_KEY_INFO **p8)
{
	PKCS8_PRIV_KEY_INFO_free(*p8);
	*p8 = NULL;
}

static void sig_free(X509_SIG **sig)
{
	X509_SIG_free(*sig);
	*sig = NULL;
}

void ls_key_free(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
	*key = NULL;
}

enum ls_code ls_key_spec_parse(const char *text, struct ls_key_spec *out, struct ls_err *err)
{
	for (size_t i = 0; i < LS_COUNT(specs); i++) {
		if (strcmp(text, specs[i].text) != 0)
			continue;
		*out = specs[i].spec;
		return LS_OK;
	}
	return LS_FAIL(err, LS_E_REFUSED,
		"key: found '%.40s', wanted ec:P-256, ec:P-384, ec:P-521, rsa:2048, rsa:3072, "
		"rsa:4096 or ed25519",
		text);
}

void ls_key_spec_text(const struct ls_key_spec *spec, char out[32])
{
	switch (spec->type) {
	case LS_KEY_EC:
		(void)snprintf(out, 32, "ec:%s", spec->curve[0] ? spec->curve : "unnamed");
		return;
	case LS_KEY_RSA:
		(void)snprintf(out, 32, "rsa:%d", spec->bits);
		return;
	case LS_KEY_ED25519:
		(void)snprintf(out, 32, "ed25519");
		return;
	case LS_KEY_OTHER:
		(void)snprintf(out, 32, "%s", spec->curve[0] ? spec->curve : "other");
		return;
	}
}

static void describe_curve(EVP_PKEY *key, struct ls_key_spec *out)
{
	char group[80] = "";
	int spelled_out = 0;

	/* A curve given by its parameters is not the named one, whatever the numbers are (RFC 5480
	 * section 2.1.1 forbids it). */
	if (EVP_PKEY_get_int_param(
		    key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &spelled_out) == 1 &&
		spelled_out)
		return;
	if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1)
		return;
	if (strcmp(group, "prime256v1") == 0)
		(void)snprintf(out->curve, sizeof out->curve, "P-256");
	else if (strcmp(group, "secp384r1") == 0)
		(void)snprintf(out->curve, sizeof out->curve, "P-384");
	else if (strcmp(group, "secp521r1") == 0)
		(void)snprintf(out->curve, sizeof out->curve, "P-521");
	else
		(void)snprintf(out->curve, sizeof out->curve, "%.15s", group);
}

void ls_key_describe(EVP_PKEY *key, struct ls_key_spec *out)
{
	const char *type = EVP_PKEY_get0_type_name(key);

	*out = (struct ls_key_spec){ .type = LS_KEY_OTHER, .bits = EVP_PKEY_get_bits(key) };
	if (EVP_PKEY_is_a(key, "EC")) {
		out->type = LS_KEY_EC;
		describe_curve(key, out);
	} else if (EVP_PKEY_is_a(key, "RSA")) {
		out->type = LS_KEY_RSA;
	} else if (EVP_PKEY_is_a(key, "ED25519")) {
		out->type = LS_KEY_ED25519;
		out->bits = 255;
	} else {
		(void)snprintf(out->curve, sizeof out->curve, "%.15s", type ? type : "other");
	}
	ERR_clear_error();
}

enum ls_code ls_key_generate(const struct ls_key_spec *spec, EVP_PKEY **out, struct ls_err *err)
{
	EVP_PKEY *key = NULL;
	char text[32];

	switch (spec->type) {
	case LS_KEY_EC:
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", spec->curve);
		break;
	case LS_KEY_RSA:
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)spec->bits);
		break;
	case LS_KEY_ED25519:
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		break;
	case LS_KEY_OTHER:
		break;
	}
	ls_key_spec_text(spec, text);
	if (!key)
		return ls_ossl_fail(err, LS_E_CRYPTO, "generate a key '%s'", text);
	*out = key;
	return LS_OK;
}

static enum ls_code refuse_key(const struct ls_pem *pem, struct ls_err *err)
{
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: private key: found a %s block that cannot be read (%s), wanted one key and "
		"nothing behind it (RFC 5958 section 2)",
		pem->name, pem->label, ls_ossl_reason());
}

static enum ls_code refuse_passphrase(
	const struct ls_pem *pem, struct ls_bytes passphrase, struct ls_err *err)
{
	const char *reason = ls_ossl_reason();

	if (passphrase.len)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: private key: found an encrypted key that the passphrase does not open "
			"(%s), wanted the key's passphrase",
			pem->name, reason);
	(void)LS_FAIL(err, LS_E_REFUSED,
		"%s: private key: found an encrypted key, wanted an unencrypted one or its "
		"passphrase",
		pem->name);
	LS_HINT(err, "give the passphrase with --passphrase-file FILE");
	return LS_E_REFUSED;
}

static enum ls_code from_p8(
	const struct ls_pem *pem, PKCS8_PRIV_KEY_INFO *p8, EVP_PKEY **out, struct ls_err *err)
{
	*out = EVP_PKCS82PKEY(p8);
	return *out ? LS_OK : refuse_key(pem, err);
}

static enum ls_code read_p8(const struct ls_pem *pem, EVP_PKEY **out, struct ls_err *err)
{
	LS_CLEANUP(p8_free) PKCS8_PRIV_KEY_INFO *p8 = NULL;
	const unsigned char *at = pem->der;

	p8 = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)pem->der_len);
	if (!p8 || at != pem->der + pem->der_len)
		return refuse_key(pem, err);
	return from_p8(pem, p8, out, err);
}

static int64_t integer_value(const ASN1_INTEGER *integer)
{
	int64_t value;

	return integer && ASN1_INTEGER_get_int64(&value, integer) == 1 ? value : INT64_MAX;
}

/* The blocks that scrypt mixes. OpenSSL bounds its memory, not its time: a parallelization of 65536
 * is many minutes. */
static int64_t scrypt_cost(const ASN1_TYPE *parameter)
{
	SCRYPT_PARAMS *scrypt = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), parameter);
	int64_t cost = 0, next;

	if (!scrypt)
		return 0;
	if (__builtin_mul_overflow(integer_value(scrypt->costParameter),
		    integer_value(scrypt->blockSize), &next) ||
		__builtin_mul_overflow(
			next, integer_value(scrypt->parallelizationParameter), &cost))
		cost = INT64_MAX;
	SCRYPT_PARAMS_free(scrypt);
	return cost;
}

/* Of the function that makes a key from the passphrase; 0 when its parameters cannot be read
 * (PKCS8_decrypt says so). */
static int64_t iterations(const X509_SIG *sig)
{
	const X509_ALGOR *algorithm;
	PBE2PARAM *pbes2 = NULL;
	PBKDF2PARAM *pbkdf2 = NULL;
	PBEPARAM *pbe = NULL;
	int64_t count = 0;

	X509_SIG_get0(sig, &algorithm, NULL);
	if (OBJ_obj2nid(algorithm->algorithm) != NID_pbes2)
		pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
	else
		pbes2 = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
	if (pbes2 && OBJ_obj2nid(pbes2->keyfunc->algorithm) == NID_id_pbkdf2)
		pbkdf2 = ASN1_TYPE_unpack_sequence(
			ASN1_ITEM_rptr(PBKDF2PARAM), pbes2->keyfunc->parameter);
	if (pbes2 && OBJ_obj2nid(pbes2->keyfunc->algorithm) == NID_id_scrypt)
		count = scrypt_cost(pbes2->keyfunc->parameter);
	if (pbe)
		count = integer_value(pbe->iter);
	if (pbkdf2)
		count = integer_value(pbkdf2->iter);
	PBEPARAM_free(pbe);
	PBE2PARAM_free(pbes2);
	PBKDF2PARAM_free(pbkdf2);
	return count;
}

static enum ls_code read_encrypted_p8(
	const struct ls_pem *pem, struct ls_bytes passphrase, EVP_PKEY **out, struct ls_err *err)
{
	LS_CLEANUP(sig_free) X509_SIG *sig = NULL;
	LS_CLEANUP(p8_free) PKCS8_PRIV_KEY_INFO *p8 = NULL;
	const unsigned char *at = pem->der;

	if (!passphrase.len)
		return refuse_passphrase(pem, passphrase, err);
	sig = d2i_X509_SIG(NULL, &at, (long)pem->der_len);
	if (!sig || at != pem->der + pem->der_len)
		return refuse_key(pem, err);
	if (iterations(sig) > ITERATIONS_MAX)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: private key: found a key encrypted with %lld iterations, wanted at "
			"most %d",
			pem->name, (long long)iterations(sig), ITERATIONS_MAX);
	p8 = PKCS8_decrypt(sig, passphrase.data, (int)passphrase.len);
	if (!p8)
		return refuse_passphrase(pem, passphrase, err);
	return from_p8(pem, p8, out, err);
}

static int give_passphrase(char *buf, int size, int writing, void *arg)
{
	const struct ls_bytes *passphrase = arg;

	(void)writing;
	if (passphrase->len == 0 || passphrase->len > (size_t)size)
		return -1;
	memcpy(buf, passphrase->data, passphrase->len);
	return (int)passphrase->len;
}

/* PKCS#1 and SEC1, also under the encryption of RFC 1421 that old tools wrote. */
static enum ls_code read_traditional(struct ls_pem *pem, int type, struct ls_bytes passphrase,
	EVP_PKEY **out, struct ls_err *err)
{
	EVP_CIPHER_INFO cipher;
	const unsigned char *at = pem->der;
	long len = (long)pem->der_len;

	if (PEM_get_EVP_CIPHER_INFO(pem->header, &cipher) != 1)
		return refuse_key(pem, err);
	if (cipher.cipher) {
		if (PEM_do_header(&cipher, pem->der, &len, give_passphrase, &passphrase) != 1)
			return refuse_passphrase(pem, passphrase, err);
	}
	*out = d2i_PrivateKey(type, NULL, &at, len);
	if (*out && at == pem->der + len)
		return LS_OK;
	ls_key_free(out);
	/* A wrong passphrase gives right padding once in 256 times, then garbage. */
	return cipher.cipher ? refuse_passphrase(pem, passphrase, err) : refuse_key(pem, err);
}

static enum ls_code read_key(
	struct ls_pem *pem, struct ls_bytes passphrase, EVP_PKEY **out, struct ls_err *err)
{
	if (strcmp(pem->label, PEM_STRING_PKCS8INF) == 0)
		return read_p8(pem, out, err);
	if (strcmp(pem->label, PEM_STRING_PKCS8) == 0)
		return read_encrypted_p8(pem, passphrase, out, err);
	if (strcmp(pem->label, PEM_STRING_RSA) == 0)
		return read_traditional(pem, EVP_PKEY_RSA, passphrase, out, err);
	if (strcmp(pem->label, PEM_STRING_ECPRIVATEKEY) == 0)
		return read_traditional(pem, EVP_PKEY_EC, passphrase, out, err);
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: private key: found a '%.40s' block, wanted PKCS#8, PKCS#1 or SEC1 (RFC 5958, "
		"8017, 5915)",
		pem->name, pem->label);
}

enum ls_code ls_key_from_pem(const char *name, struct ls_bytes text, struct ls_bytes passphrase,
	EVP_PKEY **out, struct ls_err *err)
{
	LS_CLEANUP(ls_pem_done) struct ls_pem pem = { 0 };
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	bool more;

	if (passphrase.len > PEM_BUFSIZE)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: passphrase: found %zu bytes, wanted at most %d", name, passphrase.len,
			PEM_BUFSIZE);
	LS_TRY(ls_pem_open(&pem, name, text, err));
	for (;;) {
		LS_TRY(ls_pem_next(&pem, &more, err));
		if (!more)
			break;
		if (!ls_pem_is_private_key(&pem))
			continue;
		if (key)
			return LS_FAIL(err, LS_E_REFUSED,
				"%s: private key: found two, wanted exactly one", name);
		LS_TRY(read_key(&pem, passphrase, &key, err));
	}
	if (!key)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: private key: found no PRIVATE KEY block, wanted exactly one (RFC 7468 "
			"section 10)",
			name);
	ERR_clear_error();
	*out = LS_TAKE(key);
	return LS_OK;
}

enum ls_code ls_key_to_pem(EVP_PKEY *key, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
	char *data = NULL;
	long len;

	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "write a private key");
	len = BIO_get_mem_data(bio, &data);
	ls_secret_set(out, (struct ls_bytes){ data, (size_t)len });
	return LS_OK;
}

enum ls_code ls_key_public_pem(EVP_PKEY *key, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_PUBKEY(bio, key) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "write a public key");
	ls_buf_clear(out);
	ls_bio_take(bio, out);
	return LS_OK;
}

static enum ls_code read_public(const struct ls_pem *pem, EVP_PKEY **out, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	const unsigned char *at = pem->der;

	if (strcmp(pem->label, PEM_STRING_PUBLIC) != 0 || pem->header[0])
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: found a '%.40s' block, wanted one PUBLIC KEY block (RFC 7468 section "
			"13)",
			pem->name, pem->label);
	key = d2i_PUBKEY(NULL, &at, (long)pem->der_len);
	if (!key || at != pem->der + pem->der_len)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: found a PUBLIC KEY block that cannot be read (%s), wanted one key and "
			"nothing behind it (RFC 5280 section 4.1.2.7)",
			pem->name, ls_ossl_reason());
	*out = LS_TAKE(key);
	return LS_OK;
}

enum ls_code ls_key_from_public_pem(
	const char *name, struct ls_bytes text, EVP_PKEY **out, struct ls_err *err)
{
	LS_CLEANUP(ls_pem_done) struct ls_pem pem = { 0 };
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	bool more;

	LS_TRY(ls_pem_open(&pem, name, text, err));
	LS_TRY(ls_pem_next(&pem, &more, err));
	if (!more)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: found no PUBLIC KEY block, wanted one (RFC 7468 section 13)", name);
	LS_TRY(read_public(&pem, &key, err));
	LS_TRY(ls_pem_next(&pem, &more, err));
	if (more)
		return LS_FAIL(err, LS_E_REFUSED, "%s: found two blocks, wanted one", name);
	ERR_clear_error();
	*out = LS_TAKE(key);
	return LS_OK;
}

void ls_key_id(EVP_PKEY *key, char out[65])
{
	LS_CLEANUP(ls_der_free) unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	if (len <= 0)
		ls_ossl_unusable("encode a public key");
	ls_sha256_text((struct ls_bytes){ der, (size_t)len }, out);
}
