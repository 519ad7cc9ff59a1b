/* The cluster's CA and the certificates of nodes. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pki/authority.h"
#include "tests/unit/runner.h"

#define NOW 1795000000

static struct ls_signer ca;
static struct ls_err err;

static void setup(void)
{
	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
}

static void teardown(void)
{
	ls_signer_done(&ca);
}

static X509 *parse(const struct ls_buf *pem)
{
	BIO *in = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);

	BIO_free(in);
	ck_assert_ptr_nonnull(cert);
	return cert;
}

static void assert_text(const struct ls_buf *pem, const char *subject)
{
	X509 *cert = parse(pem);
	char *text = X509_NAME_oneline(X509_get_subject_name(cert), NULL, 0);

	ck_assert_str_eq(text, subject);
	ck_assert_str_eq(
		(const char *)ASN1_STRING_get0_data(X509_get0_notAfter(cert)), "99991231235959Z");
	ck_assert_ptr_nonnull(X509_get0_subject_key_id(cert));
	ck_assert_ptr_nonnull(X509_get0_authority_key_id(cert));
	ck_assert_int_eq(X509_get_version(cert), X509_VERSION_3);
	OPENSSL_free(text);
	X509_free(cert);
}

START_TEST(the_ca_is_a_ca_of_leaves_only)
{
	X509 *cert = parse(&ca.cert_pem);

	assert_text(&ca.cert_pem, "/O=prod/CN=Lockstep cluster CA");
	ck_assert_int_eq(X509_check_ca(cert), 1);
	ck_assert_int_eq(X509_get_pathlen(cert), 0);
	ck_assert_uint_eq(X509_get_key_usage(cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	X509_free(cert);
}
END_TEST

START_TEST(a_nodes_certificates_are_for_one_use_each)
{
	static const struct {
		enum ls_node_cert kind;
		uint32_t usage;
	} cases[] = { { LS_NODE_CERT_SIGNING, KU_DIGITAL_SIGNATURE },
		{ LS_NODE_CERT_WRAPPING, KU_KEY_AGREEMENT } };

	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		LS_CLEANUP(ls_signer_done) struct ls_signer node = { 0 };
		X509 *cert;

		ck_ok(ls_authority_certify(&ca, "prod", "n_1", cases[i].kind, NOW, &node, &err));
		assert_text(&node.cert_pem, "/O=prod/OU=n_1");
		cert = parse(&node.cert_pem);
		ck_assert_uint_eq(X509_get_key_usage(cert), cases[i].usage);
		ck_assert_int_eq(X509_get_ext_by_NID(cert, NID_ext_key_usage, -1), -1);
		ck_assert_int_eq(X509_check_private_key(cert, node.key), 1);
		X509_free(cert);
		ck_ok(ls_authority_check(ls_buf_bytes(&ca.cert_pem), ls_buf_bytes(&node.cert_pem),
			"prod", "n_1", &err));
	}
}
END_TEST

START_TEST(a_certificate_names_one_node_of_one_cluster)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer node = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer other_ca = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer stranger = { 0 };

	ck_ok(ls_authority_certify(&ca, "prod", "n1", LS_NODE_CERT_SIGNING, NOW, &node, &err));
	ck_ok(ls_authority_create("prod", NOW, &other_ca, &err));
	ck_ok(ls_authority_certify(
		&other_ca, "prod", "n1", LS_NODE_CERT_SIGNING, NOW, &stranger, &err));
	ck_code(ls_authority_check(ls_buf_bytes(&ca.cert_pem), ls_buf_bytes(&node.cert_pem), "prod",
			"n2", &err),
		LS_E_REFUSED);
	ck_code(ls_authority_check(ls_buf_bytes(&ca.cert_pem), ls_buf_bytes(&node.cert_pem), "test",
			"n1", &err),
		LS_E_REFUSED);
	/* Same subject and issuer names, another CA key. */
	ck_code(ls_authority_check(ls_buf_bytes(&ca.cert_pem), ls_buf_bytes(&stranger.cert_pem),
			"prod", "n1", &err),
		LS_E_REFUSED);
	/* The CA is no node, and a node is no CA. */
	ck_code(ls_authority_check(
			ls_buf_bytes(&ca.cert_pem), ls_buf_bytes(&ca.cert_pem), "prod", "n1", &err),
		LS_E_REFUSED);
	ck_code(ls_authority_check(ls_buf_bytes(&node.cert_pem), ls_buf_bytes(&node.cert_pem),
			"prod", "n1", &err),
		LS_E_REFUSED);
	ck_code(ls_authority_check(
			ls_buf_bytes(&ca.cert_pem), LS_BYTES_STR("no PEM"), "prod", "n1", &err),
		LS_E_REFUSED);
}
END_TEST

START_TEST(names_that_could_forge_an_identity_are_refused)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer node = { 0 };
	static const char *const bad[] = { "", "N1", "n1,URI:lockstep://prod/n2", "../n1", "n1\n" };

	for (size_t i = 0; i < LS_COUNT(bad); i++)
		ck_code(ls_authority_certify(
				&ca, "prod", bad[i], LS_NODE_CERT_SIGNING, NOW, &node, &err),
			LS_E_REFUSED);
	ck_code(ls_authority_create("prod/x", NOW, &node, &err), LS_E_REFUSED);
	ck_assert_ptr_null(node.key);
}
END_TEST

LS_TEST_MAIN_FIXTURE("authority", setup, teardown, the_ca_is_a_ca_of_leaves_only,
	a_nodes_certificates_are_for_one_use_each, a_certificate_names_one_node_of_one_cluster,
	names_that_could_forge_an_identity_are_refused)
