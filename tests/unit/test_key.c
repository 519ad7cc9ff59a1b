/* Keys: every form that tools write is read, and nothing else; no secret gets into words. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <string.h>

#include "pki/key.h"
#include "tests/unit/runner.h"

static struct ls_err err;

static EVP_PKEY *make(const char *text)
{
	struct ls_key_spec spec;
	EVP_PKEY *key = NULL;

	ck_ok(ls_key_spec_parse(text, &spec, &err));
	ck_ok(ls_key_generate(&spec, &key, &err));
	return key;
}

static void take(BIO *bio, struct ls_buf *out)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);

	ls_buf_add(out, data, (size_t)len);
	BIO_free(bio);
}

static void reads_as(const struct ls_buf *pem, const char *passphrase, EVP_PKEY *key)
{
	EVP_PKEY *again = NULL;

	ck_ok(ls_key_from_pem(
		"f_key.pem", ls_buf_bytes(pem), LS_BYTES_STR(passphrase), &again, &err));
	ck_assert_int_eq(EVP_PKEY_eq(key, again), 1);
	ls_key_free(&again);
}

static void refused(const struct ls_buf *pem, const char *passphrase, const char *part)
{
	EVP_PKEY *key = NULL;

	ck_code(ls_key_from_pem(
			"f_key.pem", ls_buf_bytes(pem), LS_BYTES_STR(passphrase), &key, &err),
		LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, "f_key.pem: ") == err.text, "'%s'", err.text);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(key);
}

START_TEST(spellings_go_both_ways_and_all_else_is_refused)
{
	static const char *const good[] = { "ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048",
		"rsa:3072", "rsa:4096", "ed25519" };
	static const char *const bad[] = { "", "ec", "ec:p-256", "rsa:1024", "rsa:2048 ",
		"ec:secp256k1", "dsa", "ed448" };
	struct ls_key_spec spec;
	char text[32];

	for (size_t i = 0; i < LS_COUNT(good); i++) {
		ck_ok(ls_key_spec_parse(good[i], &spec, &err));
		ls_key_spec_text(&spec, text);
		ck_assert_str_eq(text, good[i]);
	}
	for (size_t i = 0; i < LS_COUNT(bad); i++)
		ck_code(ls_key_spec_parse(bad[i], &spec, &err), LS_E_REFUSED);
}
END_TEST

START_TEST(a_made_key_is_what_was_asked_for)
{
	static const char *const texts[] = { "ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048",
		"ed25519" };

	for (size_t i = 0; i < LS_COUNT(texts); i++) {
		EVP_PKEY *key = make(texts[i]);
		struct ls_key_spec spec;
		char text[32];

		ls_key_describe(key, &spec);
		ls_key_spec_text(&spec, text);
		ck_assert_str_eq(text, texts[i]);
		ls_key_free(&key);
	}
}
END_TEST

START_TEST(foreign_keys_are_described_by_name)
{
	EVP_PKEY *k1 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1");
	EVP_PKEY *ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
	EVP_PKEY *small = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	struct ls_key_spec spec;
	char text[32];

	ls_key_describe(k1, &spec);
	ls_key_spec_text(&spec, text);
	ck_assert_str_eq(text, "ec:secp256k1");
	ls_key_describe(ed448, &spec);
	ck_assert_int_eq(spec.type, LS_KEY_OTHER);
	ls_key_spec_text(&spec, text);
	ck_assert_str_eq(text, "ED448");
	ls_key_describe(small, &spec);
	ls_key_spec_text(&spec, text);
	ck_assert_str_eq(text, "rsa:1024");
	ls_key_free(&k1);
	ls_key_free(&ed448);
	ls_key_free(&small);
}
END_TEST

START_TEST(a_curve_spelled_out_by_its_numbers_is_not_the_named_one)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL, *again = NULL;
	struct ls_buf pem = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	struct ls_key_spec spec;
	char text[32];

	ck_assert_int_eq(EVP_PKEY_keygen_init(ctx), 1);
	ck_assert_int_eq(EVP_PKEY_CTX_set_group_name(ctx, "P-256"), 1);
	ck_assert_int_eq(EVP_PKEY_CTX_set_ec_param_enc(ctx, OPENSSL_EC_EXPLICIT_CURVE), 1);
	ck_assert_int_eq(EVP_PKEY_generate(ctx, &key), 1);
	ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	take(bio, &pem);
	ck_ok(ls_key_from_pem("f", ls_buf_bytes(&pem), LS_BYTES_STR(""), &again, &err));
	ls_key_describe(again, &spec);
	ls_key_spec_text(&spec, text);
	ck_assert_str_eq(text, "ec:unnamed");
	EVP_PKEY_CTX_free(ctx);
	ls_key_free(&key);
	ls_key_free(&again);
	ls_buf_done(&pem);
}
END_TEST

START_TEST(what_is_written_is_read_again)
{
	static const char *const texts[] = { "ec:P-256", "rsa:2048", "ed25519" };

	for (size_t i = 0; i < LS_COUNT(texts); i++) {
		EVP_PKEY *key = make(texts[i]);
		struct ls_secret secret = { 0 };
		struct ls_buf pem = { 0 };

		ck_ok(ls_key_to_pem(key, &secret, &err));
		ls_buf_add_bytes(&pem, ls_secret_bytes(&secret));
		ck_assert_ptr_nonnull(strstr(ls_buf_text(&pem), "-----BEGIN PRIVATE KEY-----"));
		reads_as(&pem, "", key);
		ls_secret_done(&secret);
		ls_buf_done(&pem);
		ls_key_free(&key);
	}
}
END_TEST

static void write_traditional(EVP_PKEY *key, const char *passphrase, struct ls_buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	union {
		const char *in;
		unsigned char *out;
	} pass = { passphrase };

	ck_assert_int_eq(PEM_write_bio_PrivateKey_traditional(bio, key,
				 passphrase ? EVP_aes_128_cbc() : NULL, pass.out,
				 passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
		1);
	take(bio, out);
}

START_TEST(older_forms_are_read)
{
	EVP_PKEY *rsa = make("rsa:2048"), *ec = make("ec:P-256");
	struct ls_buf pem = { 0 };

	write_traditional(rsa, NULL, &pem);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&pem), "BEGIN RSA PRIVATE KEY"));
	reads_as(&pem, "", rsa);
	ls_buf_clear(&pem);
	/* As `openssl ecparam -genkey` writes it. */
	ls_buf_str(&pem, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
			 "-----END EC PARAMETERS-----\n");
	write_traditional(ec, NULL, &pem);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&pem), "BEGIN EC PRIVATE KEY"));
	reads_as(&pem, "", ec);
	ls_buf_done(&pem);
	ls_key_free(&rsa);
	ls_key_free(&ec);
}
END_TEST

START_TEST(line_ends_and_text_between_do_not_matter)
{
	EVP_PKEY *key = make("ec:P-256");
	struct ls_secret secret = { 0 };
	struct ls_buf pem = { 0 };

	ck_ok(ls_key_to_pem(key, &secret, &err));
	ls_buf_str(&pem, "\xef\xbb\xbf");
	for (size_t i = 0; i < secret.len; i++) {
		if (secret.data[i] == '\n')
			ls_buf_str(&pem, "\r");
		ls_buf_add(&pem, &secret.data[i], 1);
	}
	ls_buf_str(&pem, "Bag Attributes\r\n    friendlyName: proxy\r\n");
	reads_as(&pem, "", key);
	ls_secret_done(&secret);
	ls_buf_done(&pem);
	ls_key_free(&key);
}
END_TEST

START_TEST(encrypted_keys_need_their_passphrase)
{
	EVP_PKEY *key = make("ec:P-256");
	struct ls_buf pem[2] = { { 0 }, { 0 } };
	BIO *bio = BIO_new(BIO_s_mem());

	ck_assert_int_eq(
		PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), "sesame", 6, NULL, NULL),
		1);
	take(bio, &pem[0]);
	write_traditional(key, "sesame", &pem[1]);
	for (size_t i = 0; i < LS_COUNT(pem); i++) {
		reads_as(&pem[i], "sesame", key);
		refused(&pem[i], "", "found an encrypted key, wanted");
		ck_assert_ptr_nonnull(strstr(err.hint, "--passphrase-file"));
		refused(&pem[i], "open up", "passphrase does not open");
		ck_assert_ptr_null(strstr(err.text, "open up"));
		ls_buf_done(&pem[i]);
	}
	ls_key_free(&key);
}
END_TEST

/* OpenSSL bounds scrypt's memory; this one needs 12 MiB and many minutes. */
START_TEST(a_passphrase_may_not_cost_hours_of_scrypt_either)
{
	X509_SIG *sig = X509_SIG_new();
	X509_ALGOR *algorithm = NULL, *scrypt;
	ASN1_OCTET_STRING *bytes = NULL;
	struct ls_buf pem = { 0 };
	unsigned char salt[] = "01234567", *der = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	int len;

	scrypt = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, 8, NULL, 32768, 1, 65536);
	ck_assert_ptr_nonnull(scrypt);
	X509_SIG_getm(sig, &algorithm, &bytes);
	ck_assert_int_eq(X509_ALGOR_copy(algorithm, scrypt), 1);
	ck_assert_int_eq(ASN1_OCTET_STRING_set(bytes, salt, 8), 1);
	len = i2d_X509_SIG(sig, &der);
	PEM_write_bio(bio, "ENCRYPTED PRIVATE KEY", "", der, len);
	take(bio, &pem);
	refused(&pem, "sesame", "found a key encrypted with 2147483648 iterations, wanted at most");
	OPENSSL_free(der);
	X509_ALGOR_free(scrypt);
	X509_SIG_free(sig);
	ls_buf_done(&pem);
}
END_TEST

START_TEST(a_passphrase_may_not_cost_hours)
{
	EVP_PKEY *key = make("ec:P-256");
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	X509_SIG *sig = PKCS8_encrypt(-1, EVP_aes_256_cbc(), "sesame", 6, NULL, 0, 0x7654, p8);
	struct ls_buf pem = { 0 };
	unsigned char *der = NULL, more[512], *at;
	int len = i2d_X509_SIG(sig, &der);
	BIO *bio = BIO_new(BIO_s_mem());

	/* 0x7654 iterations become 0x7654xxxx: two bytes go in, and each length around them grows.
	 */
	at = memmem(der, (size_t)len, "\x02\x02\x76\x54", 4);
	ck_assert_ptr_nonnull(at);
	memcpy(more, der, (size_t)(at - der));
	memcpy(more + (at - der), "\x02\x04\x76\x54\x76\x54", 6);
	memcpy(more + (at - der) + 6, at + 4, (size_t)(len - (at - der) - 4));
	more[2] += 2;  /* EncryptedPrivateKeyInfo, 30 81 xx */
	more[4] += 2;  /* AlgorithmIdentifier of PBES2 */
	more[17] += 2; /* its parameters */
	more[19] += 2; /* AlgorithmIdentifier of PBKDF2 */
	more[32] += 2; /* its parameters */
	PEM_write_bio(bio, "ENCRYPTED PRIVATE KEY", "", more, len + 2);
	take(bio, &pem);
	refused(&pem, "sesame", "found a key encrypted with 1985246804 iterations, wanted at most");
	OPENSSL_free(der);
	X509_SIG_free(sig);
	PKCS8_PRIV_KEY_INFO_free(p8);
	ls_buf_done(&pem);
	ls_key_free(&key);
}
END_TEST

START_TEST(one_key_and_only_one)
{
	EVP_PKEY *key = make("ec:P-256");
	struct ls_secret secret = { 0 };
	struct ls_buf pem = { 0 };

	ck_ok(ls_key_to_pem(key, &secret, &err));
	refused(&pem, "", "found no PRIVATE KEY block");
	ls_buf_str(&pem, "nothing here\n");
	refused(&pem, "", "found no PRIVATE KEY block");
	ls_buf_add_bytes(&pem, ls_secret_bytes(&secret));
	reads_as(&pem, "", key);
	ls_buf_add_bytes(&pem, ls_secret_bytes(&secret));
	refused(&pem, "", "found two, wanted exactly one");
	ls_secret_done(&secret);
	ls_buf_done(&pem);
	ls_key_free(&key);
}
END_TEST

START_TEST(damaged_blocks_are_refused)
{
	struct ls_buf pem = { 0 };
	static const char *const texts[][2] = {
		{ "-----BEGIN PRIVATE KEY-----\nAAAA\n", "damaged block" },
		{ "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
			"damaged block" },
		{ "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
			"cannot be read" },
		{ "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n",
			"cannot be read" },
		{ "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n"
		  "-----END ENCRYPTED PRIVATE KEY-----\n",
			"encrypted key" },
		{ "-----BEGIN DSA PRIVATE KEY-----\nMAA=\n-----END DSA PRIVATE KEY-----\n",
			"wanted PKCS#8, PKCS#1 or SEC1" },
		{ "-----BEGIN PRIVATE KEY----\nMAA=\n-----END PRIVATE KEY-----\n",
			"1 lines that begin a block and 0 whole blocks" },
	};

	for (size_t i = 0; i < LS_COUNT(texts); i++) {
		ls_buf_clear(&pem);
		ls_buf_str(&pem, texts[i][0]);
		refused(&pem, "", texts[i][1]);
	}
	ls_buf_done(&pem);
}
END_TEST

START_TEST(bytes_behind_the_key_are_refused)
{
	EVP_PKEY *key = make("ec:P-256");
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL, more[512];
	struct ls_buf pem = { 0 };
	int len = i2d_PKCS8_PRIV_KEY_INFO(p8, &der);
	BIO *bio = BIO_new(BIO_s_mem());

	memcpy(more, der, (size_t)len);
	more[len] = 0;
	ck_assert_int_gt(PEM_write_bio(bio, "PRIVATE KEY", "", more, len + 1), 0);
	take(bio, &pem);
	refused(&pem, "", "nothing behind it");
	OPENSSL_free(der);
	PKCS8_PRIV_KEY_INFO_free(p8);
	ls_buf_done(&pem);
	ls_key_free(&key);
}
END_TEST

START_TEST(an_id_is_of_the_public_half)
{
	EVP_PKEY *key = make("ec:P-256"), *other = make("ec:P-256"), *public_key;
	unsigned char *der = NULL;
	const unsigned char *at;
	char a[65], b[65];
	int len = i2d_PUBKEY(key, &der);

	at = der;
	public_key = d2i_PUBKEY(NULL, &at, len);
	ls_key_id(key, a);
	ls_key_id(public_key, b);
	ck_assert_str_eq(a, b);
	ls_key_id(other, b);
	ck_assert_str_ne(a, b);
	OPENSSL_free(der);
	ls_key_free(&key);
	ls_key_free(&other);
	ls_key_free(&public_key);
}
END_TEST

static void refused_public(const struct ls_buf *pem, const char *part)
{
	EVP_PKEY *key = NULL;

	ck_code(ls_key_from_public_pem("f.pub", ls_buf_bytes(pem), &key, &err), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, "f.pub: ") == err.text, "'%s'", err.text);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(key);
}

START_TEST(a_public_key_goes_both_ways)
{
	static const char *const texts[] = { "ec:P-256", "ec:P-521", "rsa:2048", "ed25519" };

	for (size_t i = 0; i < LS_COUNT(texts); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
		EVP_PKEY *key = make(texts[i]), *again = NULL;
		char a[65], b[65];

		ck_ok(ls_key_public_pem(key, &pem, &err));
		ck_ok(ls_key_from_public_pem("f.pub", ls_buf_bytes(&pem), &again, &err));
		ls_key_id(key, a);
		ls_key_id(again, b);
		ck_assert_str_eq(a, b);
		ls_key_free(&key);
		ls_key_free(&again);
	}
}
END_TEST

START_TEST(a_public_key_is_one_block_and_nothing_else)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 }, text = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret private_pem = { 0 };
	EVP_PKEY *key = make("ec:P-256");
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	BIO *bio = BIO_new(BIO_s_mem());

	ck_ok(ls_key_public_pem(key, &pem, &err));
	ck_ok(ls_key_to_pem(key, &private_pem, &err));
	refused_public(&text, "found no PUBLIC KEY block");
	ls_buf_add_bytes(&text, ls_secret_bytes(&private_pem));
	refused_public(&text, "found a 'PRIVATE KEY' block");
	ls_buf_clear(&text);
	ls_buf_add_bytes(&text, ls_buf_bytes(&pem));
	ls_buf_add_bytes(&text, ls_buf_bytes(&pem));
	refused_public(&text, "found two blocks");
	ls_buf_clear(&text);
	ls_buf_add(&text, pem.data, pem.len / 2);
	refused_public(&text, "damaged block");
	/* A byte behind the key. */
	der = OPENSSL_realloc(der, (size_t)len + 1);
	der[len] = 0;
	ck_assert_int_gt(PEM_write_bio(bio, PEM_STRING_PUBLIC, "", der, len + 1), 0);
	ls_buf_clear(&text);
	take(bio, &text);
	refused_public(&text, "nothing behind it");
	/* A point that is not on the curve. */
	der[len - 1] ^= 1;
	bio = BIO_new(BIO_s_mem());
	ck_assert_int_gt(PEM_write_bio(bio, PEM_STRING_PUBLIC, "", der, len), 0);
	ls_buf_clear(&text);
	take(bio, &text);
	refused_public(&text, "cannot be read");
	OPENSSL_free(der);
	ls_key_free(&key);
}
END_TEST

LS_TEST_MAIN("key", spellings_go_both_ways_and_all_else_is_refused,
	a_made_key_is_what_was_asked_for, foreign_keys_are_described_by_name,
	a_curve_spelled_out_by_its_numbers_is_not_the_named_one, what_is_written_is_read_again,
	older_forms_are_read, line_ends_and_text_between_do_not_matter,
	encrypted_keys_need_their_passphrase, a_passphrase_may_not_cost_hours,
	a_passphrase_may_not_cost_hours_of_scrypt_either, one_key_and_only_one,
	damaged_blocks_are_refused, bytes_behind_the_key_are_refused, an_id_is_of_the_public_half,
	a_public_key_goes_both_ways, a_public_key_is_one_block_and_nothing_else)
