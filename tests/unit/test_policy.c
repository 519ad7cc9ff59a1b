/* Policies: the shipped ones say what CONTRACT says; both readers refuse what they do not know. */
#include <string.h>

#include "pki/policy.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static struct ls_policy policy;

static void shipped(const char *name)
{
	struct ls_paths paths = { .policies = { (char[]){ "policies" } } };

	ck_ok(ls_policy_load(&paths, name, &policy, &err));
	ck_assert_str_eq(policy.name, name);
}

static void refused(const char *text, const char *part)
{
	ck_code(ls_policy_parse("p.conf", "p", LS_BYTES_STR(text), &policy, &err), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, "p.conf:") == err.text, "'%s'", err.text);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
}

static void same(const struct ls_policy *a, const struct ls_policy *b)
{
	json_t *x = ls_policy_to_json(a), *y = ls_policy_to_json(b);

	ck_assert_ptr_nonnull(x);
	ck_assert_int_eq(json_equal(x, y), 1);
	json_decref(x);
	json_decref(y);
}

START_TEST(an_empty_policy_is_the_default_one)
{
	struct ls_policy empty = { 0 };

	shipped("default");
	ck_ok(ls_policy_parse("p.conf", "default", LS_BYTES_STR(""), &empty, &err));
	same(&policy, &empty);
	ck_assert_int_eq(empty.rsa_min, 2048);
	ck_assert_uint_eq(ls_strv_count(empty.curves), 3);
	ck_assert(empty.ed25519);
	ck_assert_str_eq(empty.digest_min, "sha256");
	ck_assert_int_eq(empty.days_max, 0);
	ck_assert_uint_eq(ls_strv_count(empty.eku), 1);
	ck_assert_str_eq(empty.eku[0], "serverAuth");
	ck_assert_int_eq(empty.san, LS_SAN_WARN);
	ck_assert_int_eq(empty.intake_bytes_max, 1048576);
	ck_assert_str_eq(empty.tls_min, "1.2");
	ck_assert_uint_eq(empty.alert_days_count, 6);
	ck_assert_int_eq(empty.alert_days[0], 45);
	ck_assert_int_eq(empty.alert_days[5], 1);
	ls_policy_done(&empty);
}
END_TEST

START_TEST(strict_asks_for_more_and_legacy_for_less)
{
	shipped("strict");
	ck_assert_int_eq(policy.days_max, 47);
	ck_assert_int_eq(policy.rsa_min, 3072);
	ck_assert_int_eq(policy.san, LS_SAN_REFUSE);
	ck_assert_str_eq(policy.tls_min, "1.2");
	shipped("legacy");
	ck_assert_int_eq(policy.rsa_min, 1024);
	ck_assert_str_eq(policy.digest_min, "sha1");
	ck_assert_str_eq(policy.tls_min, "1");
	ck_assert_uint_eq(ls_strv_count(policy.eku), 0);
}
END_TEST

START_TEST(json_goes_both_ways)
{
	static const char *const names[] = { "default", "strict", "legacy" };

	for (size_t i = 0; i < LS_COUNT(names); i++) {
		struct ls_policy again = { 0 }, copy = { 0 };
		json_t *json;

		shipped(names[i]);
		json = ls_policy_to_json(&policy);
		ck_ok(ls_policy_from_json(json, &again, &err));
		same(&policy, &again);
		ls_policy_copy(&copy, &again);
		same(&policy, &copy);
		json_decref(json);
		ls_policy_done(&again);
		ls_policy_done(&copy);
	}
}
END_TEST

START_TEST(unknown_keys_and_values_are_refused_by_the_text_reader)
{
	refused("rsa_minimum = 2048;", "p.conf:1: unknown setting 'rsa_minimum'");
	refused("\nrsa_min = 256;", "p.conf:2:");
	refused("rsa_min = \"2048\";", "must be an integer");
	refused("curves = [ \"P-224\" ];", "'curves': found 'P-224', wanted one of 'P-256'");
	refused("ed25519 = 1;", "true or false");
	refused("digest_min = \"md5\";", "found 'md5', wanted one of 'sha1'");
	refused("days_max = -1;", "days_max");
	refused("eku = [ \"codeSigning\" ];", "found 'codeSigning', wanted one of");
	refused("san = \"ignore\";", "found 'ignore', wanted 'warn' or 'refuse'");
	refused("intake_bytes_max = 10;", "intake_bytes_max");
	refused("tls_min = \"1.4\";", "found '1.4', wanted one of '1'");
	refused("alert_days = [ 7, 14 ];", "found 14 behind 7, wanted them descending");
	refused("alert_days = [ 7, 7 ];", "descending");
	refused("alert_days = [ -1 ];", "alert_days");
	refused("alert_days = \"7\";", "list of integers");
	refused("alert_days = ( 7, \"3\" );", "integers only");
	refused("alert_days = [ 17,16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1 ];", "at most 16");
}
END_TEST

static void json_refused(const char *text, const char *part)
{
	json_t *json = json_loads(text, 0, NULL);

	ck_assert_ptr_nonnull(json);
	ck_code(ls_policy_from_json(json, &policy, &err), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
	json_decref(json);
}

START_TEST(unknown_keys_and_values_are_refused_by_the_json_reader)
{
	json_refused("{}", "name");
	json_refused("[]", "policy");
	json_refused("{\"name\": \"x\", \"more\": 1}", "more");
	json_refused("{\"name\": \"../x\"}", "is not a policy's name");
	json_refused("{\"name\": \"x\", \"rsa_min\": 99999999999}", "rsa_min");
	json_refused("{\"name\": \"x\", \"curves\": \"P-256\"}", "list of strings");
	json_refused("{\"name\": \"x\", \"curves\": [1]}", "strings only");
	json_refused("{\"name\": \"x\", \"san\": \"no\"}", "'warn' or 'refuse'");
	json_refused("{\"name\": \"x\", \"alert_days\": [1.5]}", "integers only");
	json_refused("{\"name\": \"x\", \"alert_days\": 7}", "list of at most 16");
	json_refused("{\"name\": \"x\", \"tls_min\": \"0\"}", "wanted one of");
}
END_TEST

START_TEST(a_refusal_leaves_what_was_there)
{
	shipped("strict");
	refused("days_max = 12; rsa_min = 1;", "rsa_min");
	ck_assert_str_eq(policy.name, "strict");
	ck_assert_int_eq(policy.days_max, 47);
}
END_TEST

START_TEST(a_policy_is_found_by_name_only)
{
	struct ls_paths paths = { .policies = { (char[]){ "templates" }, (char[]){ "policies" } } };

	ck_ok(ls_policy_load(&paths, "strict", &policy, &err));
	ck_code(ls_policy_load(&paths, "lenient", &policy, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "no policy 'lenient'"));
	ck_code(ls_policy_load(&paths, "../policies/strict", &policy, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "is not a policy's name"));
}
END_TEST

static void teardown(void)
{
	ls_policy_done(&policy);
}

LS_TEST_MAIN_FIXTURE("policy", NULL, teardown, an_empty_policy_is_the_default_one,
	strict_asks_for_more_and_legacy_for_less, json_goes_both_ways,
	unknown_keys_and_values_are_refused_by_the_text_reader,
	unknown_keys_and_values_are_refused_by_the_json_reader, a_refusal_leaves_what_was_there,
	a_policy_is_found_by_name_only)
