/* Sealing: what is sealed opens with its key, whole, or not at all. */
#include <openssl/cms.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "pki/authority.h"
#include "pki/seal.h"
#include "tests/unit/runner.h"

#define NOW 1795000000
#define PLAIN "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n"

static struct ls_keyring ring;
static struct ls_secret kek;
static struct ls_err err;

static void setup(void)
{
	ls_kek_generate(&kek);
	ls_keyring_put(&ring, 7, ls_secret_bytes(&kek));
}

static void teardown(void)
{
	ls_secret_done(&kek);
	ls_keyring_done(&ring);
}

static void der_of(const struct ls_buf *pem, struct ls_buf *out)
{
	BIO *in = BIO_new_mem_buf(pem->data, (int)pem->len);
	char *name, *header;
	unsigned char *der;
	long len;

	ck_assert_int_eq(PEM_read_bio(in, &name, &header, &der, &len), 1);
	ls_buf_clear(out);
	ls_buf_add(out, der, (size_t)len);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	BIO_free(in);
}

static void pem_from(const struct ls_buf *der, struct ls_buf *out)
{
	BIO *mem = BIO_new(BIO_s_mem());
	char *text;
	long len;

	ck_assert_int_gt(
		PEM_write_bio(mem, "CMS", "", (unsigned char *)der->data, (long)der->len), 0);
	len = BIO_get_mem_data(mem, &text);
	ls_buf_clear(out);
	ls_buf_add(out, text, (size_t)len);
	BIO_free(mem);
}

START_TEST(what_is_sealed_opens_and_names_its_epoch)
{
	static const size_t lens[] = { 0, 1, 15, 16, 17, 4095, 4096, 4097, 100000 };

	for (size_t i = 0; i < LS_COUNT(lens); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
		LS_CLEANUP(ls_buf_done) struct ls_buf plain = { 0 };
		LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };
		int64_t epoch = 0;

		for (size_t k = 0; k < lens[i]; k++)
			ls_buf_add(&plain, &"\r\n\0x"[k % 4], 1);
		ck_ok(ls_seal(ls_buf_bytes(&plain), ls_secret_bytes(&kek), 7, &pem, &err));
		ck_assert_int_eq(strncmp(pem.data, "-----BEGIN CMS-----\n", 20), 0);
		ck_ok(ls_seal_epoch(ls_buf_bytes(&pem), &epoch, &err));
		ck_assert_int_eq(epoch, 7);
		ck_ok(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err));
		ck_assert(ls_bytes_equal(ls_secret_bytes(&out), ls_buf_bytes(&plain)));
	}
}
END_TEST

START_TEST(a_forgotten_epoch_is_refused_and_a_wrong_key_is_damage)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret other = { 0 };
	int64_t epoch = 0;

	ck_ok(ls_seal(LS_BYTES_STR(PLAIN), ls_secret_bytes(&kek), 4294967295, &pem, &err));
	ck_ok(ls_seal_epoch(ls_buf_bytes(&pem), &epoch, &err));
	ck_assert_int_eq(epoch, 4294967295);
	ck_code(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err), LS_E_REFUSED);
	ls_kek_generate(&other);
	ls_keyring_put(&ring, 4294967295, ls_secret_bytes(&other));
	ck_code(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err), LS_E_DAMAGED);
	ck_assert_ptr_null(out.data);
	ck_code(ls_seal(LS_BYTES_STR(PLAIN), ls_secret_bytes(&kek), -1, &pem, &err), LS_E_CRYPTO);
	ck_code(ls_seal(LS_BYTES_STR(PLAIN), LS_BYTES_STR("short"), 1, &pem, &err), LS_E_CRYPTO);
}
END_TEST

START_TEST(no_changed_bit_is_opened)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };

	ck_ok(ls_seal(LS_BYTES_STR(PLAIN), ls_secret_bytes(&kek), 7, &pem, &err));
	der_of(&pem, &der);
	for (size_t i = 0; i < der.len * 8; i++) {
		LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };
		LS_CLEANUP(ls_buf_done) struct ls_buf changed = { 0 };
		enum ls_code rc;

		der.data[i / 8] = (char)(der.data[i / 8] ^ 1 << i % 8);
		pem_from(&der, &changed);
		rc = ls_unseal(ls_buf_bytes(&changed), &ring, &out, &err);
		/* The version numbers say nothing; all else must not open, nor as anything else. */
		if (rc == LS_OK)
			ck_assert(ls_bytes_equal(ls_secret_bytes(&out), LS_BYTES_STR(PLAIN)));
		else
			ck_assert_ptr_null(out.data);
		der.data[i / 8] = (char)(der.data[i / 8] ^ 1 << i % 8);
	}
}
END_TEST

/* OpenSSL alone would take it: it believes the length that the message gives. */
START_TEST(a_shortened_tag_is_not_opened)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };
	unsigned char *bytes;

	ck_ok(ls_seal(LS_BYTES_STR("short"), ls_secret_bytes(&kek), 7, &pem, &err));
	der_of(&pem, &der);
	bytes = (unsigned char *)der.data;
	ck_assert_uint_eq(bytes[der.len - 18], 0x04);
	ck_assert_uint_eq(bytes[der.len - 17], 16);
	ck_assert_uint_eq(bytes[1], 0x81); /* SEQUENCE 81 xx, OID, [0] 81 xx, SEQUENCE 81 xx */
	ck_assert_uint_eq(bytes[17], 0x81);
	ck_assert_uint_eq(bytes[20], 0x81);
	bytes[der.len - 17] = 4;
	bytes[2] = (unsigned char)(bytes[2] - 12);
	bytes[18] = (unsigned char)(bytes[18] - 12);
	bytes[21] = (unsigned char)(bytes[21] - 12);
	der.len -= 12;
	pem_from(&der, &pem);
	ck_code(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err), LS_E_DAMAGED);
	ck_assert_msg(strstr(err.text, "whole tag") != NULL, "%s", err.text);
}
END_TEST

static void foreign_envelope(bool auth, const EVP_CIPHER *cipher, struct ls_buf *out)
{
	CMS_ContentInfo *cms =
		auth ? CMS_AuthEnvelopedData_create(cipher) : CMS_EnvelopedData_create(cipher);
	BIO *in = BIO_new_mem_buf(PLAIN, (int)strlen(PLAIN));
	struct ls_buf der = { 0 };

	CMS_set_detached(cms, 0);
	ck_assert_ptr_nonnull(
		CMS_add0_recipient_key(cms, NID_undef, OPENSSL_memdup(kek.data, kek.len), kek.len,
			OPENSSL_memdup("\0\0\0\7", 4), 4, NULL, NULL, NULL));
	ck_assert_int_eq(CMS_final(cms, in, NULL, CMS_BINARY), 1);
	der.len = (size_t)i2d_CMS_ContentInfo(cms, (unsigned char **)&der.data);
	pem_from(&der, out);
	OPENSSL_free(der.data);
	CMS_ContentInfo_free(cms);
	BIO_free(in);
}

START_TEST(only_aes_256_gcm_is_read)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };

	foreign_envelope(true, EVP_aes_256_gcm(), &pem);
	ck_ok(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err));
	ck_assert(ls_bytes_equal(ls_secret_bytes(&out), LS_BYTES_STR(PLAIN)));
	foreign_envelope(false, EVP_aes_256_cbc(), &pem);
	ck_code(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err), LS_E_DAMAGED);
	foreign_envelope(true, EVP_aes_128_gcm(), &pem);
	ck_code(ls_unseal(ls_buf_bytes(&pem), &ring, &out, &err), LS_E_DAMAGED);
	ck_code(ls_unseal(LS_BYTES_STR("no PEM"), &ring, &out, &err), LS_E_DAMAGED);
	ck_code(ls_unseal(LS_BYTES_STR(""), &ring, &out, &err), LS_E_DAMAGED);
}
END_TEST

struct pair {
	struct ls_signer signing;
	struct ls_signer wrapping;
};

static void pair_make(const struct ls_signer *ca, const char *node, struct pair *out)
{
	ck_ok(ls_authority_certify(
		ca, "prod", node, LS_NODE_CERT_SIGNING, NOW, &out->signing, &err));
	ck_ok(ls_authority_certify(
		ca, "prod", node, LS_NODE_CERT_WRAPPING, NOW, &out->wrapping, &err));
}

static void pair_done(struct pair *pair)
{
	ls_signer_done(&pair->signing);
	ls_signer_done(&pair->wrapping);
}

START_TEST(a_wrap_opens_for_its_member_when_a_member_made_it)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 };
	LS_CLEANUP(pair_done) struct pair a = { 0 }, b = { 0 }, c = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };

	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	pair_make(&ca, "a", &a);
	pair_make(&ca, "b", &b);
	pair_make(&ca, "c", &c);
	char *allowed[] = { c.signing.cert_pem.data, a.signing.cert_pem.data, NULL };
	char *without[] = { c.signing.cert_pem.data, b.signing.cert_pem.data, NULL };

	ck_ok(ls_kek_wrap(ls_secret_bytes(&kek), ls_buf_bytes(&b.wrapping.cert_pem), &a.signing,
		&wrap, &err));
	ck_ok(ls_kek_unwrap(ls_buf_bytes(&wrap), b.wrapping.key, ls_buf_bytes(&b.wrapping.cert_pem),
		allowed, &out, &err));
	ck_assert(ls_bytes_equal(ls_secret_bytes(&out), ls_secret_bytes(&kek)));
	ls_secret_done(&out);
	ck_code(ls_kek_unwrap(ls_buf_bytes(&wrap), b.wrapping.key,
			ls_buf_bytes(&b.wrapping.cert_pem), without, &out, &err),
		LS_E_REFUSED);
	ck_code(ls_kek_unwrap(ls_buf_bytes(&wrap), c.wrapping.key,
			ls_buf_bytes(&c.wrapping.cert_pem), allowed, &out, &err),
		LS_E_DAMAGED);
	ck_code(ls_kek_unwrap(ls_buf_bytes(&wrap), c.wrapping.key,
			ls_buf_bytes(&b.wrapping.cert_pem), allowed, &out, &err),
		LS_E_DAMAGED);
	ck_assert_ptr_null(out.data);
}
END_TEST

START_TEST(no_changed_bit_of_a_wrap_is_opened)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 };
	LS_CLEANUP(pair_done) struct pair a = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };

	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	pair_make(&ca, "a", &a);
	char *allowed[] = { a.signing.cert_pem.data, NULL };

	ck_ok(ls_kek_wrap(ls_secret_bytes(&kek), ls_buf_bytes(&a.wrapping.cert_pem), &a.signing,
		&wrap, &err));
	der_of(&wrap, &der);
	for (size_t i = 0; i < der.len; i++) {
		LS_CLEANUP(ls_secret_done) struct ls_secret out = { 0 };
		LS_CLEANUP(ls_buf_done) struct ls_buf changed = { 0 };

		der.data[i] = (char)(der.data[i] ^ 1 << i % 8);
		pem_from(&der, &changed);
		if (ls_kek_unwrap(ls_buf_bytes(&changed), a.wrapping.key,
			    ls_buf_bytes(&a.wrapping.cert_pem), allowed, &out, &err) == LS_OK)
			ck_assert(ls_bytes_equal(ls_secret_bytes(&out), ls_secret_bytes(&kek)));
		else
			ck_assert_ptr_null(out.data);
		der.data[i] = (char)(der.data[i] ^ 1 << i % 8);
	}
}
END_TEST

static void escrow_cert(EVP_PKEY *key, int64_t end_s, struct ls_buf *out)
{
	X509 *cert = X509_new();
	BIO *mem = BIO_new(BIO_s_mem());
	char *text;
	long len;

	ck_assert_ptr_nonnull(key);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
		(const unsigned char *)"escrow", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	ASN1_TIME_set(X509_getm_notBefore(cert), NOW - 1000);
	ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)end_s);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256());
	PEM_write_bio_X509(mem, cert);
	len = BIO_get_mem_data(mem, &text);
	ls_buf_clear(out);
	ls_buf_add(out, text, (size_t)len);
	X509_free(cert);
	BIO_free(mem);
}

static void escrow_opens(EVP_PKEY *key)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	char want[2][65], text[160];
	CMS_ContentInfo *cms;
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };
	BIO *out = BIO_new(BIO_s_mem());
	const unsigned char *at;
	char *plain;
	long len;

	escrow_cert(key, NOW + 1000, &cert);
	ck_ok(ls_kek_escrow(&ring, ls_buf_bytes(&cert), NOW, &pem, &err));
	der_of(&pem, &der);
	at = (const unsigned char *)der.data;
	cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);
	ck_assert_int_eq(CMS_decrypt(cms, key, NULL, NULL, out, CMS_BINARY), 1);
	len = BIO_get_mem_data(out, &plain);
	for (size_t i = 0; i < 2; i++)
		ls_hex(ring.entries[i].kek.data, LS_KEK_BYTES, want[i]);
	(void)snprintf(text, sizeof text, "3 %s\n7 %s\n", want[0], want[1]);
	ck_assert(ls_bytes_equal(LS_BYTES_STR(text), (struct ls_bytes){ plain, (size_t)len }));
	CMS_ContentInfo_free(cms);
	BIO_free(out);
	EVP_PKEY_free(key);
}

START_TEST(escrow_opens_with_rsa_and_ec)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret other = { 0 };

	ls_kek_generate(&other);
	ls_keyring_put(&ring, 3, ls_secret_bytes(&other));
	escrow_opens(EVP_RSA_gen(2048));
	escrow_opens(EVP_EC_gen("P-256"));
	escrow_opens(EVP_EC_gen("P-521"));
}
END_TEST

START_TEST(escrow_to_what_cannot_keep_it_is_refused)
{
	EVP_PKEY *weak = EVP_RSA_gen(1024), *good = EVP_EC_gen("P-256");
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };

	escrow_cert(weak, NOW + 1000, &cert);
	ck_code(ls_kek_escrow(&ring, ls_buf_bytes(&cert), NOW, &pem, &err), LS_E_REFUSED);
	escrow_cert(ed, NOW + 1000, &cert);
	ck_code(ls_kek_escrow(&ring, ls_buf_bytes(&cert), NOW, &pem, &err), LS_E_REFUSED);
	escrow_cert(good, NOW - 1, &cert);
	ck_code(ls_kek_escrow(&ring, ls_buf_bytes(&cert), NOW, &pem, &err), LS_E_REFUSED);
	ck_code(ls_kek_escrow(&ring, LS_BYTES_STR("x"), NOW, &pem, &err), LS_E_REFUSED);
	ck_assert_uint_eq(pem.len, 0);
	EVP_PKEY_free(weak);
	EVP_PKEY_free(good);
	EVP_PKEY_free(ed);
}
END_TEST

START_TEST(a_ring_keeps_what_it_was_given)
{
	LS_CLEANUP(ls_keyring_done) struct ls_keyring copy = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret other = { 0 };
	char first[LS_SHA256_TEXT], second[LS_SHA256_TEXT];

	ls_kek_generate(&other);
	ls_keyring_put(&ring, 2, ls_secret_bytes(&other));
	ls_keyring_put(&ring, 9, ls_secret_bytes(&other));
	ls_keyring_put(&ring, 9, ls_secret_bytes(&kek));
	ls_keyring_copy(&copy, &ring);
	ls_keyring_drop(&ring, 7);
	ls_keyring_drop(&ring, 100);
	ck_assert_uint_eq(ring.count, 2);
	ck_assert_ptr_null(ls_keyring_get(&ring, 7));
	ck_assert(ls_bytes_equal(ls_secret_bytes(ls_keyring_get(&ring, 9)), ls_secret_bytes(&kek)));
	ck_assert_uint_eq(copy.count, 3);
	ck_assert_int_eq(copy.entries[0].epoch, 2);
	ck_assert(
		ls_bytes_equal(ls_secret_bytes(ls_keyring_get(&copy, 2)), ls_secret_bytes(&other)));
	ls_kek_check_value(ls_secret_bytes(&kek), "c0", 1, first);
	ls_kek_check_value(ls_secret_bytes(&kek), "c0", 2, second);
	ck_assert_str_ne(first, second);
	ls_kek_check_value(ls_secret_bytes(&kek), "c0", 1, second);
	ck_assert_str_eq(first, second);
}
END_TEST

LS_TEST_MAIN_FIXTURE("seal", setup, teardown, what_is_sealed_opens_and_names_its_epoch,
	a_forgotten_epoch_is_refused_and_a_wrong_key_is_damage, no_changed_bit_is_opened,
	a_shortened_tag_is_not_opened, only_aes_256_gcm_is_read,
	a_wrap_opens_for_its_member_when_a_member_made_it, no_changed_bit_of_a_wrap_is_opened,
	escrow_opens_with_rsa_and_ec, escrow_to_what_cannot_keep_it_is_refused,
	a_ring_keeps_what_it_was_given)
