/* The cluster's CA and the certificates of nodes. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/authority.h"
#include "pki/credential.h"
#include "pki/issue.h"
#include "pki/key.h"
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

/* ---- leaves ---- */

static char dns[] = "DNS:etcd.example.com", ip4[] = "IP:10.0.0.1", ip6[] = "IP:fd00::1";
static char *names[] = { dns, ip4, ip6, NULL };

static struct ls_leaf_wish wish_of(enum ls_leaf_use use)
{
	return (struct ls_leaf_wish){ .use = use, .sans = use == LS_LEAF_CLIENT ? NULL : names };
}

/* As a peer does: chain, dates, purpose. */
static bool verifies(const struct ls_buf *leaf_pem, const struct ls_buf *ca_pem, int purpose,
	const char *host, int64_t at_s)
{
	X509 *leaf = parse(leaf_pem), *root = parse(ca_pem);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	bool ok;

	ck_assert_int_eq(X509_STORE_add_cert(store, root), 1);
	ck_assert_int_eq(X509_STORE_CTX_init(ctx, store, leaf, NULL), 1);
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, at_s);
	ck_assert_int_eq(X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT), 1);
	ck_assert_int_eq(X509_VERIFY_PARAM_set_purpose(param, purpose), 1);
	if (host && X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1)
		ck_assert_int_eq(X509_VERIFY_PARAM_set1_host(param, host, 0), 1);
	ok = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(leaf);
	X509_free(root);
	return ok;
}

START_TEST(a_leaf_is_for_its_use_and_its_names)
{
	static const struct {
		enum ls_leaf_use use;
		bool server, client;
	} cases[] = { { LS_LEAF_SERVER, true, false }, { LS_LEAF_CLIENT, false, true },
		{ LS_LEAF_BOTH, true, true } };

	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		LS_CLEANUP(ls_signer_done) struct ls_signer leaf = { 0 };
		struct ls_leaf_wish wish = wish_of(cases[i].use);

		ck_ok(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err));
		ck_assert_int_eq(
			verifies(&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_SERVER, NULL, NOW),
			cases[i].server);
		ck_assert_int_eq(
			verifies(&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_CLIENT, NULL, NOW),
			cases[i].client);
		if (!cases[i].server)
			continue;
		for (size_t k = 0; names[k]; k++)
			ck_assert(verifies(&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_SERVER,
				strchr(names[k], ':') + 1, NOW));
		ck_assert(!verifies(
			&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_SERVER, "10.0.0.2", NOW));
		ck_assert(!verifies(
			&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_SERVER, "example.com", NOW));
	}
}
END_TEST

START_TEST(a_leaf_has_no_cn_and_an_end)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer leaf = { 0 };
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	struct ls_leaf_wish wish = wish_of(LS_LEAF_BOTH);
	X509 *cert;

	ck_ok(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err));
	ck_ok(ls_cert_info_read(ls_buf_bytes(&leaf.cert_pem), &info, &err));
	ck_assert_str_eq(info.subject, "O=prod");
	ck_assert_str_eq(info.key, "ec:P-256");
	ck_assert_int_eq(info.not_before_s, NOW - LS_BACKDATE_S);
	ck_assert_int_eq(info.not_after_s, NOW + LS_LEAF_DAYS * INT64_C(86400));
	cert = parse(&leaf.cert_pem);
	ck_assert_uint_eq(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
	ck_assert_int_eq(X509_check_ca(cert), 0);
	ck_assert_ptr_nonnull(X509_get0_subject_key_id(cert));
	ck_assert_ptr_nonnull(X509_get0_authority_key_id(cert));
	ck_assert_int_eq(X509_check_private_key(cert, leaf.key), 1);
	X509_free(cert);
	wish.days = 3;
	ck_ok(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err));
	ck_assert(verifies(
		&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_SERVER, NULL, NOW + 2 * 86400));
	ck_assert(!verifies(
		&leaf.cert_pem, &ca.cert_pem, X509_PURPOSE_SSL_SERVER, NULL, NOW + 4 * 86400));
}
END_TEST

START_TEST(a_leaf_that_could_serve_nobody_is_refused)
{
	static char bad[] = "DNS:a,DNS:b", text[] = "etcd.example.com";
	LS_CLEANUP(ls_signer_done) struct ls_signer leaf = { 0 };
	struct ls_leaf_wish wish = { .use = LS_LEAF_SERVER };

	ck_code(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err), LS_E_REFUSED);
	wish.sans = (char *[]){ bad, NULL };
	ck_code(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err), LS_E_REFUSED);
	wish.sans = (char *[]){ text, NULL };
	ck_code(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err), LS_E_REFUSED);
	wish = wish_of(LS_LEAF_SERVER);
	wish.days = 3651;
	ck_code(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err), LS_E_REFUSED);
	wish.days = -1;
	ck_code(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err), LS_E_REFUSED);
	wish.days = 1;
	ck_code(ls_authority_leaf(&ca, "prod/x", &wish, NOW, &leaf, &err), LS_E_REFUSED);
	ck_assert_ptr_null(leaf.key);
}
END_TEST

START_TEST(a_leaf_is_due_in_the_last_third_of_its_life)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer leaf = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer other_ca = { 0 };
	struct ls_leaf_wish wish = wish_of(LS_LEAF_SERVER);
	int64_t from_s = NOW - LS_BACKDATE_S, to_s = NOW + 30 * 86400;
	int64_t due_s = to_s - (to_s - from_s) / 3;
	struct ls_bytes pem, ca_pem = ls_buf_bytes(&ca.cert_pem);

	wish.days = 30;
	ck_ok(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err));
	ck_ok(ls_authority_create("prod", NOW, &other_ca, &err));
	pem = ls_buf_bytes(&leaf.cert_pem);
	ck_assert(!ls_leaf_due(pem, ca_pem, NOW));
	ck_assert(!ls_leaf_due(pem, ca_pem, due_s - 1));
	ck_assert(ls_leaf_due(pem, ca_pem, due_s));
	ck_assert(ls_leaf_due(pem, ca_pem, to_s + 1));
	/* Issued by a clock that was ahead: nobody takes it yet. */
	ck_assert(!ls_leaf_due(pem, ca_pem, from_s));
	ck_assert(ls_leaf_due(pem, ca_pem, from_s - 1));
	/* Same names, another key. */
	ck_assert(ls_leaf_due(pem, ls_buf_bytes(&other_ca.cert_pem), NOW));
	ck_assert(ls_leaf_due(LS_BYTES_STR(""), ca_pem, NOW));
	ck_assert(ls_leaf_due(LS_BYTES_STR("no PEM"), ca_pem, NOW));
	ck_assert(ls_leaf_due(pem, LS_BYTES_STR("no PEM"), NOW));
	ck_assert(ls_leaf_due((struct ls_bytes){ pem.data, pem.len / 2 }, ca_pem, NOW));
}
END_TEST

START_TEST(a_leaf_fits_one_wish)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer leaf = { 0 }, client = { 0 };
	struct ls_leaf_wish wish = wish_of(LS_LEAF_SERVER), other;
	struct ls_bytes pem;

	ck_ok(ls_authority_leaf(&ca, "prod", &wish, NOW, &leaf, &err));
	pem = ls_buf_bytes(&leaf.cert_pem);
	ck_assert(ls_leaf_fits(pem, &wish));
	other = wish_of(LS_LEAF_BOTH);
	ck_assert(!ls_leaf_fits(pem, &other));
	other = wish_of(LS_LEAF_SERVER);
	other.sans = (char *[]){ dns, ip4, NULL };
	ck_assert(!ls_leaf_fits(pem, &other));
	other.sans = (char *[]){ dns, ip4, ip6, ip4, NULL };
	ck_assert(!ls_leaf_fits(pem, &other));
	other.sans = (char *[]){ ip4, dns, ip6, NULL };
	ck_assert(!ls_leaf_fits(pem, &other));
	other.sans = NULL;
	ck_assert(!ls_leaf_fits(pem, &other));
	ck_assert(!ls_leaf_fits(LS_BYTES_STR("no PEM"), &wish));
	other = wish_of(LS_LEAF_CLIENT);
	ck_ok(ls_authority_leaf(&ca, "prod", &other, NOW, &client, &err));
	ck_assert(ls_leaf_fits(ls_buf_bytes(&client.cert_pem), &other));
	ck_assert(!ls_leaf_fits(ls_buf_bytes(&client.cert_pem), &wish));
}
END_TEST

/* ---- keys that stay where they were made ---- */

static struct evp_pkey_st *new_key(const char *text)
{
	struct ls_key_spec spec;
	struct evp_pkey_st *key = NULL;

	ck_ok(ls_key_spec_parse(text, &spec, &err));
	ck_ok(ls_key_generate(&spec, &key, &err));
	return key;
}

START_TEST(a_key_of_somebody_else_is_certified_unseen)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = new_key("ec:P-256");
	LS_CLEANUP(ls_buf_done) struct ls_buf public_pem = { 0 }, cert = { 0 }, leaf = { 0 };
	struct ls_leaf_wish wish = wish_of(LS_LEAF_SERVER);

	ck_ok(ls_key_public_pem(key, &public_pem, &err));
	ck_assert_ptr_null(strstr(ls_buf_text(&public_pem), "PRIVATE"));
	ck_ok(ls_authority_certify_key(&ca, "prod", "n2", LS_NODE_CERT_SIGNING,
		ls_buf_bytes(&public_pem), NOW, &cert, &err));
	ck_ok(ls_authority_check(
		ls_buf_bytes(&ca.cert_pem), ls_buf_bytes(&cert), "prod", "n2", &err));
	assert_text(&cert, "/O=prod/OU=n2");
	ck_assert(ls_credential_matches(ls_buf_bytes(&cert), key));
	ck_ok(ls_authority_leaf_key(
		&ca, "prod", &wish, ls_buf_bytes(&public_pem), NOW, &leaf, &err));
	ck_assert(ls_credential_matches(ls_buf_bytes(&leaf), key));
	ck_assert(verifies(&leaf, &ca.cert_pem, X509_PURPOSE_SSL_SERVER, "10.0.0.1", NOW));
	ck_assert(ls_leaf_fits(ls_buf_bytes(&leaf), &wish));
}
END_TEST

START_TEST(only_a_p256_key_is_certified)
{
	static const char *const others[] = { "ec:P-384", "ed25519", "rsa:2048" };
	LS_CLEANUP(ls_buf_done) struct ls_buf out = { 0 };
	struct ls_leaf_wish wish = wish_of(LS_LEAF_CLIENT);

	ls_buf_str(&out, "untouched");
	for (size_t i = 0; i < LS_COUNT(others); i++) {
		LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = new_key(others[i]);
		LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };

		ck_ok(ls_key_public_pem(key, &pem, &err));
		ck_code(ls_authority_certify_key(&ca, "prod", "n2", LS_NODE_CERT_SIGNING,
				ls_buf_bytes(&pem), NOW, &out, &err),
			LS_E_REFUSED);
		ck_code(ls_authority_leaf_key(
				&ca, "prod", &wish, ls_buf_bytes(&pem), NOW, &out, &err),
			LS_E_REFUSED);
	}
	ck_code(ls_authority_certify_key(&ca, "prod", "n2", LS_NODE_CERT_SIGNING,
			ls_buf_bytes(&ca.cert_pem), NOW, &out, &err),
		LS_E_REFUSED);
	ck_code(ls_authority_certify_key(&ca, "prod", "../n2", LS_NODE_CERT_SIGNING,
			ls_buf_bytes(&ca.cert_pem), NOW, &out, &err),
		LS_E_REFUSED);
	ck_assert_str_eq(ls_buf_text(&out), "untouched");
}
END_TEST

LS_TEST_MAIN_FIXTURE("authority", setup, teardown, the_ca_is_a_ca_of_leaves_only,
	a_nodes_certificates_are_for_one_use_each, a_certificate_names_one_node_of_one_cluster,
	names_that_could_forge_an_identity_are_refused, a_leaf_is_for_its_use_and_its_names,
	a_leaf_has_no_cn_and_an_end, a_leaf_that_could_serve_nobody_is_refused,
	a_leaf_is_due_in_the_last_third_of_its_life, a_leaf_fits_one_wish,
	a_key_of_somebody_else_is_certified_unseen, only_a_p256_key_is_certified)
