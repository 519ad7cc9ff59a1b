/* Templates, and the certificates and requests that are made by them. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "pki/credential.h"
#include "pki/issue.h"
#include "pki/key.h"
#include "tests/unit/runner.h"

#define NOW 1700000000

static struct ls_err err;
static struct ls_issue issue;
static EVP_PKEY *key;
static const struct ls_issue_vars vars = { "prod.example.com", "prod", "n1" };

static const char whole[] = "component = \"proxy\";\n"
			    "subject = { CN = \"${fqdn}\"; O = \"${cluster}\"; };\n"
			    "san = ( \"DNS:${fqdn}\", \"DNS:*.${fqdn}\", \"IP:192.0.2.1\",\n"
			    "  \"IP:2001:db8::1\", \"URI:https://x/\", \"email:a@${fqdn}\" );\n"
			    "key = \"ec:P-256\"; days = 30; eku = ( \"serverAuth\" );\n"
			    "reload = ( );\n";

static enum ls_code parse(const char *text)
{
	struct ls_conf *conf = NULL;
	enum ls_code rc = ls_conf_parse("t.conf", LS_BYTES_STR(text), &conf, &err);

	if (rc == LS_OK)
		rc = ls_issue_from_conf(ls_conf_root(conf), &issue, &err);
	ls_conf_free(&conf);
	return rc;
}

/* The whole template with one member put in place of its own. */
static void refused(const char *member, const char *value, const char *part)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	static const char *const members[][2] = { { "component", "\"proxy\"" },
		{ "subject", "{ CN = \"x\"; }" }, { "san", "( \"DNS:${fqdn}\" )" },
		{ "key", "\"ec:P-256\"" }, { "days", "30" }, { "eku", "( \"serverAuth\" )" } };

	for (size_t i = 0; i < LS_COUNT(members); i++) {
		bool mine = strcmp(members[i][0], member) == 0;

		if (!mine || *value)
			ls_buf_printf(
				&text, "%s = %s;\n", members[i][0], mine ? value : members[i][1]);
	}
	ck_code(parse(ls_buf_text(&text)), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, "t.conf:") == err.text, "'%s'", err.text);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
}

static EVP_PKEY *make_key(const char *text)
{
	struct ls_key_spec spec;
	EVP_PKEY *made = NULL;

	ck_ok(ls_key_spec_parse(text, &spec, &err));
	ck_ok(ls_key_generate(&spec, &made, &err));
	return made;
}

static X509 *issued(EVP_PKEY *with, int64_t days)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	BIO *bio;
	X509 *cert;

	ck_ok(ls_issue_self_signed(&issue, &vars, days, with, NOW, &pem, &err));
	bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	ck_assert_ptr_nonnull(cert);
	return cert;
}

static void setup(void)
{
	ck_ok(parse(whole));
	key = make_key("ec:P-256");
}

static void teardown(void)
{
	ls_issue_done(&issue);
	ls_key_free(&key);
}

START_TEST(shipped_templates_say_what_contract_says)
{
	static const char *const names[] = { "cm", "api", "proxy", "syncer", "metrics_exporter" };
	static const char *const members[] = { "component", "subject", "san", "key", "days", "eku",
		"files", NULL };

	for (size_t i = 0; i < LS_COUNT(names); i++) {
		char *path = ls_format("templates/%s.conf", names[i]), text[8192];
		FILE *file = fopen(path, "r");
		struct ls_conf *conf = NULL;
		size_t len;

		ck_assert_ptr_nonnull(file);
		len = fread(text, 1, sizeof text, file);
		fclose(file);
		ck_ok(ls_conf_parse(path, (struct ls_bytes){ text, len }, &conf, &err));
		/* No endpoint and no reload is live. */
		ck_ok(ls_conf_only(ls_conf_root(conf), members, &err));
		ck_ok(ls_issue_from_conf(ls_conf_root(conf), &issue, &err));
		ck_assert_str_eq(issue.component, names[i]);
		ck_assert_uint_eq(issue.subject_count, 2);
		ck_assert_uint_eq(ls_strv_count(issue.sans), 4);
		ck_assert_str_eq(issue.sans[3], "DNS:*.internal.${fqdn}");
		ck_assert_str_eq(issue.key, "ec:P-256");
		ck_assert_int_eq(issue.days, 365);
		ck_assert_uint_eq(ls_strv_count(issue.eku), 2);
		ls_conf_free(&conf);
		ls_free_str(&path);
	}
}
END_TEST

START_TEST(each_value_of_a_template_is_checked)
{
	refused("component", "", "component: found ''");
	refused("component", "\"../x\"", "component: found '../x'");
	refused("subject", "", "subject: found 0 entries");
	refused("subject", "\"CN=x\"", "'subject' must be a group");
	refused("subject", "{ CN = 1; }", "'CN' must be a string");
	refused("subject", "{ DC = \"x\"; }", "subject: found 'DC'");
	refused("subject", "{ C = \"USA\"; }", "wanted 2 characters");
	refused("subject", "{ CN = \"\"; }", "wanted 1 to 64 characters");
	refused("subject", "{ O = \"a\tb\"; }", "control character");
	refused("subject", "{ O = \"\\xff\\xfe\"; }", "subject: found O");
	refused("subject", "{ CN = \"${host}\"; }", "variable: found '${host}'");
	refused("subject", "{ CN = \"${fqdn\"; }", "variable: found '${fqdn'");
	refused("san", "", "san: found 0 names");
	refused("san", "( \"${fqdn}\" )", "subject alternative name: found 'a.example'");
	refused("san", "( \"DNS:a b\" )", "found 'DNS:a b'");
	refused("san", "( \"DNS:*.*.x\" )", "found 'DNS:*.*.x'");
	refused("san", "( \"DNS:x,DNS:y\" )", "found 'DNS:x,DNS:y'");
	refused("san", "( \"IP:1.2.3\" )", "found 'IP:1.2.3'");
	refused("san", "( \"URI:x\" )", "found 'URI:x'");
	refused("san", "( \"email:x\" )", "found 'email:x'");
	refused("san", "( \"dirName:x\" )", "found 'dirName:x'");
	refused("key", "\"rsa:1024\"", "key: found 'rsa:1024'");
	refused("days", "0", "'days' is 0, wanted 1 to 36500");
	refused("days", "36501", "wanted 1 to 36500");
	refused("eku", "( )", "eku: found 0 usages");
	refused("eku", "( \"codeSigning\" )", "eku: found 'codeSigning'");
}
END_TEST

START_TEST(json_goes_both_ways_as_written)
{
	struct ls_issue again = { 0 }, copy = { 0 };
	json_t *json = ls_issue_to_json(&issue), *same;

	ck_ok(ls_issue_from_json(json, &again, &err));
	ck_assert_str_eq(again.subject[0].value, "${fqdn}");
	ls_issue_copy(&copy, &again);
	same = ls_issue_to_json(&copy);
	ck_assert_int_eq(json_equal(json, same), 1);
	json_object_set_new(json, "reload", json_array());
	ck_code(ls_issue_from_json(json, &again, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "reload"));
	json_object_set_new(same, "days", json_integer(0));
	ck_code(ls_issue_from_json(same, &again, &err), LS_E_REFUSED);
	ck_assert_str_eq(again.component, "proxy"); /* untouched by the refusal */
	json_decref(json);
	json_decref(same);
	ls_issue_done(&again);
	ls_issue_done(&copy);
}
END_TEST

START_TEST(variables_are_put_in)
{
	char **sans = ls_issue_sans(&issue, &vars);

	ck_assert_uint_eq(ls_strv_count(sans), 6);
	ck_assert_str_eq(sans[0], "DNS:prod.example.com");
	ck_assert_str_eq(sans[5], "email:a@prod.example.com");
	ls_free_strv(&sans);
}
END_TEST

START_TEST(a_certificate_is_as_rfc_5280_wants)
{
	X509 *cert = issued(key, 30);
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	struct tm tm;

	ck_assert_int_eq(X509_get_version(cert), X509_VERSION_3);
	ck_assert_int_eq(ASN1_STRING_length(serial), 16);
	ck_assert_int_eq(ASN1_STRING_type(serial), V_ASN1_INTEGER); /* not negative */
	ck_assert_int_eq(X509_verify(cert, key), 1);
	ck_assert_int_eq(ASN1_TIME_to_tm(X509_get0_notBefore(cert), &tm), 1);
	ck_assert_int_eq(timegm(&tm), NOW - LS_BACKDATE_S);
	ck_assert_int_eq(ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm), 1);
	ck_assert_int_eq(timegm(&tm), NOW + 30 * 86400);
	ck_assert_ptr_nonnull(X509_get0_subject_key_id(cert));
	ck_assert_ptr_null(X509_get0_authority_key_id(cert));
	ck_assert_uint_eq(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
	ck_assert_uint_eq(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
	ck_assert_int_eq(X509_check_ca(cert), 0);
	ck_assert_int_ge(X509_get_ext_by_NID(cert, NID_basic_constraints, -1), 0);
	ck_assert_int_eq(X509_check_host(cert, "x.prod.example.com", 0, 0, NULL), 1);
	ck_assert_int_eq(X509_check_ip_asc(cert, "2001:db8::1", 0), 1);
	ck_assert_int_eq(X509_check_email(cert, "a@prod.example.com", 0, 0), 1);
	X509_free(cert);
}
END_TEST

START_TEST(serials_differ)
{
	X509 *a = issued(key, 30), *b = issued(key, 30);

	ck_assert_int_ne(ASN1_INTEGER_cmp(X509_get0_serialNumber(a), X509_get0_serialNumber(b)), 0);
	X509_free(a);
	X509_free(b);
}
END_TEST

START_TEST(usage_and_digest_fit_the_key)
{
	static const struct {
		const char *key;
		uint32_t usage;
		int signature;
	} cases[] = {
		{ "rsa:2048", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
			NID_sha256WithRSAEncryption },
		{ "ec:P-256", KU_DIGITAL_SIGNATURE, NID_ecdsa_with_SHA256 },
		{ "ec:P-384", KU_DIGITAL_SIGNATURE, NID_ecdsa_with_SHA384 },
		{ "ec:P-521", KU_DIGITAL_SIGNATURE, NID_ecdsa_with_SHA512 },
		{ "ed25519", KU_DIGITAL_SIGNATURE, NID_ED25519 },
	};

	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		EVP_PKEY *with = make_key(cases[i].key);
		X509 *cert = issued(with, 1);

		ck_assert_uint_eq(X509_get_key_usage(cert), cases[i].usage);
		ck_assert_int_eq(X509_get_signature_nid(cert), cases[i].signature);
		ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert), with), 1);
		ck_assert_int_eq(X509_verify(cert, with), 1);
		X509_free(cert);
		ls_key_free(&with);
	}
}
END_TEST

/* Keys that were read, not made, go into a certificate in the same form. */
START_TEST(a_key_that_was_read_gives_the_same_public_key)
{
	struct ls_secret secret = { 0 };
	EVP_PKEY *again = NULL;
	X509 *cert;

	ck_ok(ls_key_to_pem(key, &secret, &err));
	ck_ok(ls_key_from_pem("f", ls_secret_bytes(&secret), LS_BYTES_STR(""), &again, &err));
	cert = issued(again, 1);
	ck_assert_int_eq(X509_verify(cert, key), 1);
	X509_free(cert);
	ls_key_free(&again);
	ls_secret_done(&secret);
}
END_TEST

START_TEST(what_is_made_passes_every_policy)
{
	static const char *const names[] = { "default", "strict", "legacy" };
	struct ls_paths paths = { .policies = { (char[]){ "policies" } } };

	for (size_t i = 0; i < LS_COUNT(names); i++) {
		struct ls_credential credential = { 0 };
		struct ls_policy policy = { 0 };
		struct ls_secret secret = { 0 };
		struct ls_buf pem = { 0 };
		char **sans = ls_issue_sans(&issue, &vars);

		ck_ok(ls_policy_load(&paths, names[i], &policy, &err));
		ck_ok(ls_issue_self_signed(&issue, &vars, policy.days_max ? policy.days_max : 365,
			key, NOW, &pem, &err));
		ck_ok(ls_key_to_pem(key, &secret, &err));
		ck_ok(ls_credential_judge(&(struct ls_credential_input){ .component = "proxy",
						  .cert = { "c", ls_buf_bytes(&pem) },
						  .key = { "k", ls_secret_bytes(&secret) },
						  .wanted_sans = sans,
						  .now_s = NOW },
			&policy, &credential, &err));
		ck_assert_ptr_null(credential.warnings);
		/* Both are canonical already. */
		ck_assert(ls_bytes_equal(ls_buf_bytes(&credential.chain_pem), ls_buf_bytes(&pem)));
		ck_assert(ls_bytes_equal(
			ls_secret_bytes(&credential.key_pem), ls_secret_bytes(&secret)));
		ls_credential_done(&credential);
		ls_policy_done(&policy);
		ls_secret_done(&secret);
		ls_buf_done(&pem);
		ls_free_strv(&sans);
	}
}
END_TEST

START_TEST(a_long_fqdn_is_in_the_san_and_not_in_the_cn)
{
	struct ls_issue_vars longer = vars;
	struct ls_buf pem = { 0 };
	struct ls_cert_info info = { 0 };

	longer.fqdn = "a-name-that-is-rather-long.of-a-cluster-that-is-far-away.prod.example.com";
	ck_ok(ls_issue_self_signed(&issue, &longer, 1, key, NOW, &pem, &err));
	ck_ok(ls_cert_info_read(ls_buf_bytes(&pem), &info, &err));
	ck_assert_str_eq(info.subject, "O=prod");
	ck_assert_str_eq(info.sans[0] + 4, longer.fqdn);
	ls_cert_info_done(&info);
	ls_buf_done(&pem);
}
END_TEST

START_TEST(values_that_do_not_fit_are_refused_when_made)
{
	struct ls_issue_vars bad = vars;
	struct ls_buf pem = { 0 };

	bad.fqdn = "not a host";
	ck_code(ls_issue_self_signed(&issue, &bad, 1, key, NOW, &pem, &err), LS_E_REFUSED);
	ck_code(ls_issue_request(&issue, &bad, key, &pem, &err), LS_E_REFUSED);
	ck_code(ls_issue_self_signed(&issue, &vars, 0, key, NOW, &pem, &err), LS_E_REFUSED);
	ck_assert_uint_eq(pem.len, 0);
	ls_buf_done(&pem);
}
END_TEST

START_TEST(a_request_carries_the_template)
{
	struct ls_buf pem = { 0 };
	STACK_OF(X509_EXTENSION) * exts;
	X509_REQ *request;
	BIO *bio;

	ck_ok(ls_issue_request(&issue, &vars, key, &pem, &err));
	bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	ck_assert_ptr_nonnull(request);
	ck_assert_int_eq(X509_REQ_verify(request, key), 1);
	exts = X509_REQ_get_extensions(request);
	ck_assert_int_ge(X509v3_get_ext_by_NID(exts, NID_subject_alt_name, -1), 0);
	ck_assert_int_ge(X509v3_get_ext_by_NID(exts, NID_key_usage, -1), 0);
	ck_assert_int_ge(X509v3_get_ext_by_NID(exts, NID_ext_key_usage, -1), 0);
	ck_assert_int_eq(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 2);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(request);
	BIO_free(bio);
	ls_buf_done(&pem);
}
END_TEST

LS_TEST_MAIN_FIXTURE("issue", setup, teardown, shipped_templates_say_what_contract_says,
	each_value_of_a_template_is_checked, json_goes_both_ways_as_written, variables_are_put_in,
	a_certificate_is_as_rfc_5280_wants, serials_differ, usage_and_digest_fit_the_key,
	a_key_that_was_read_gives_the_same_public_key, what_is_made_passes_every_policy,
	a_long_fqdn_is_in_the_san_and_not_in_the_cn, values_that_do_not_fit_are_refused_when_made,
	a_request_carries_the_template)
