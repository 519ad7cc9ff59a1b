/* Signatures: they hold for exactly what was signed, and say whose they are. */
#include <openssl/cms.h>
#include <openssl/pem.h>

#include "pki/authority.h"
#include "pki/key.h"
#include "tests/unit/runner.h"

#define NOW 1795000000

static struct ls_signer ca, node;
static struct ls_err err;

static void setup(void)
{
	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	ck_ok(ls_authority_certify(&ca, "prod", "n1", LS_NODE_CERT_SIGNING, NOW, &node, &err));
}

static void teardown(void)
{
	ls_signer_done(&ca);
	ls_signer_done(&node);
}

/* A signature made with OpenSSL directly, as one that others may send. */
static void foreign(
	const char *label, unsigned flags, const EVP_MD *digest, int signers, struct ls_buf *out)
{
	BIO *pem = BIO_new_mem_buf(node.cert_pem.data, (int)node.cert_pem.len);
	BIO *in = BIO_new_mem_buf("content", 7), *mem = BIO_new(BIO_s_mem());
	X509 *cert = PEM_read_bio_X509(pem, NULL, NULL, NULL);
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL);
	unsigned char *der = NULL;
	char *text;
	int len;

	for (int i = 0; i < signers; i++)
		ck_assert_ptr_nonnull(CMS_add1_signer(
			cms, cert, node.key, digest, flags | (i > 0 ? CMS_NOCERTS : 0u)));
	ck_assert_int_eq(CMS_final(cms, in, NULL, flags), 1);
	len = i2d_CMS_ContentInfo(cms, &der);
	ck_assert_int_gt(PEM_write_bio(mem, label, "", der, len), 0);
	len = (int)BIO_get_mem_data(mem, &text);
	ls_buf_clear(out);
	ls_buf_add(out, text, (size_t)len);
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	X509_free(cert);
	BIO_free(pem);
	BIO_free(in);
	BIO_free(mem);
}

START_TEST(a_signature_names_its_signer_and_nothing_else_holds)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf sig = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };

	ck_ok(ls_sign(LS_BYTES_STR("content"), &node, &sig, &err));
	ck_assert_int_eq(strncmp(sig.data, "-----BEGIN SIGNED MESSAGE-----\n", 31), 0);
	ck_assert_ptr_null(strchr(sig.data, '\r'));
	ck_ok(ls_sign_verify(LS_BYTES_STR("content"), ls_buf_bytes(&sig), &cert, &err));
	ck_assert_str_eq(cert.data, node.cert_pem.data);
	ls_buf_clear(&cert);
	ck_code(ls_sign_verify(LS_BYTES_STR("Content"), ls_buf_bytes(&sig), &cert, &err),
		LS_E_REFUSED);
	ck_code(ls_sign_verify(LS_BYTES_STR("content\n"), ls_buf_bytes(&sig), &cert, &err),
		LS_E_REFUSED);
	ck_code(ls_sign_verify(LS_BYTES_STR(""), ls_buf_bytes(&sig), &cert, &err), LS_E_REFUSED);
	ck_assert_uint_eq(cert.len, 0);
}
END_TEST

START_TEST(line_ends_and_zero_bytes_are_signed_as_they_are)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf sig = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };

	ck_ok(ls_sign((struct ls_bytes){ "a\nb\0c", 5 }, &node, &sig, &err));
	ck_ok(ls_sign_verify((struct ls_bytes){ "a\nb\0c", 5 }, ls_buf_bytes(&sig), &cert, &err));
	ck_code(ls_sign_verify(
			(struct ls_bytes){ "a\r\nb\0c", 6 }, ls_buf_bytes(&sig), &cert, &err),
		LS_E_REFUSED);
	ck_code(ls_sign_verify((struct ls_bytes){ "a\nb\0d", 5 }, ls_buf_bytes(&sig), &cert, &err),
		LS_E_REFUSED);
}
END_TEST

START_TEST(a_foreign_key_under_a_members_name_is_another_certificate)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer other = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf sig = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };

	ck_ok(ls_authority_certify(&ca, "prod", "n1", LS_NODE_CERT_SIGNING, NOW, &other, &err));
	ck_ok(ls_sign(LS_BYTES_STR("content"), &other, &sig, &err));
	ck_ok(ls_sign_verify(LS_BYTES_STR("content"), ls_buf_bytes(&sig), &cert, &err));
	ck_assert_str_ne(cert.data, node.cert_pem.data);
	/* A member's certificate with a key that is not its own does not even sign. */
	ls_buf_copy(&other.cert_pem, &node.cert_pem);
	ck_code(ls_sign(LS_BYTES_STR("content"), &other, &sig, &err), LS_E_CRYPTO);
}
END_TEST

START_TEST(only_one_form_of_signature_is_read)
{
	const unsigned flags = CMS_BINARY | CMS_DETACHED | CMS_NOSMIMECAP;
	static const struct {
		const char *label;
		unsigned add, drop;
		const EVP_MD *(*digest)(void);
		int signers;
		enum ls_code want;
	} cases[] = {
		{ "SIGNED MESSAGE", 0, 0, EVP_sha256, 1, LS_OK },
		{ "SIGNED MESSAGE", 0, 0, EVP_sha512, 1, LS_OK },
		{ "CMS", 0, 0, EVP_sha256, 1, LS_E_REFUSED },
		{ "SIGNED MESSAGE", 0, 0, EVP_sha1, 1, LS_E_REFUSED },
		{ "SIGNED MESSAGE", 0, 0, EVP_sha224, 1, LS_E_REFUSED },
		{ "SIGNED MESSAGE", 0, 0, EVP_sha256, 2, LS_E_REFUSED },
		{ "SIGNED MESSAGE", CMS_NOATTR, 0, EVP_sha256, 1, LS_E_REFUSED },
		{ "SIGNED MESSAGE", CMS_NOCERTS, 0, EVP_sha256, 1, LS_E_REFUSED },
		{ "SIGNED MESSAGE", 0, CMS_DETACHED, EVP_sha256, 1, LS_E_REFUSED },
	};

	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf sig = { 0 };
		LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };

		foreign(cases[i].label, (flags | cases[i].add) & ~cases[i].drop, cases[i].digest(),
			cases[i].signers, &sig);
		ck_assert_msg(ls_sign_verify(LS_BYTES_STR("content"), ls_buf_bytes(&sig), &cert,
				      &err) == cases[i].want,
			"case %zu: %s", i, err.text);
	}
}
END_TEST

LS_TEST_MAIN_FIXTURE("sign", setup, teardown, a_signature_names_its_signer_and_nothing_else_holds,
	line_ends_and_zero_bytes_are_signed_as_they_are,
	a_foreign_key_under_a_members_name_is_another_certificate,
	only_one_form_of_signature_is_read)
