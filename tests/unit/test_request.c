/* What the command line asks for survives the way, and nothing else is taken for a request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/request.h"
#include "tests/unit/runner.h"

static struct ls_change out;
static struct ls_err err;

static void setup(void)
{
	out = (struct ls_change){ .number = 42 };
	err = (struct ls_err){ 0 };
}

static void teardown(void)
{
	ls_change_done(&out);
}

static void assert_file(const struct ls_change_file *got, const char *name, struct ls_bytes bytes)
{
	ck_assert_str_eq(got->name, name);
	ck_assert(ls_bytes_equal(ls_secret_bytes(&got->bytes), bytes));
}

START_TEST(a_change_survives_the_way)
{
	LS_CLEANUP(ls_change_done)
	struct ls_change change = {
		.kind = LS_CHANGE_SET, .number = INT64_MIN, .force = true, .dry_run = true
	};
	struct ls_bytes binary = { "\0\xff key\n", 7 };
	struct ls_change_set *set;
	LS_CLEANUP(ls_free_str) char *text = NULL;

	set = ls_change_add_set(&change, "proxy");
	ls_change_file_set(&set->cert, "a \"cert\"\n.pem", LS_BYTES_STR("CERT"));
	ls_change_file_set(&set->key, "key.pem", binary);
	set = ls_change_add_set(&change, "api");
	ls_change_file_set(&set->cert, "empty", (struct ls_bytes){ "", 0 });
	ls_change_file_set(&set->chain, "chain", LS_BYTES_STR("CHAIN"));
	ls_change_file_set(&set->passphrase, "pass", LS_BYTES_STR("hush"));
	ls_strv_add(&change.names, "one");
	ls_strv_add(&change.names, "two");
	text = ls_change_to_text(&change);
	ck_ok(ls_change_from_text(LS_BYTES_STR(text), &out, &err));
	ck_assert_int_eq(out.kind, LS_CHANGE_SET);
	ck_assert_int_eq(out.number, INT64_MIN);
	ck_assert(out.force && out.dry_run && !out.detach && !out.replace_installed);
	ck_assert_uint_eq(out.set_count, 2);
	ck_assert_str_eq(out.sets[0].component, "proxy");
	assert_file(&out.sets[0].cert, "a \"cert\"\n.pem", LS_BYTES_STR("CERT"));
	assert_file(&out.sets[0].key, "key.pem", binary);
	ck_assert_ptr_null(out.sets[0].chain.name);
	assert_file(&out.sets[1].cert, "empty", (struct ls_bytes){ "", 0 });
	assert_file(&out.sets[1].chain, "chain", LS_BYTES_STR("CHAIN"));
	assert_file(&out.sets[1].passphrase, "pass", LS_BYTES_STR("hush"));
	ck_assert_uint_eq(ls_strv_count(out.names), 2);
	ck_assert_str_eq(out.names[1], "two");
}
END_TEST

START_TEST(every_kind_that_callers_may_ask_for)
{
	for (int kind = 0; kind < LS_CHANGE_KIND_COUNT; kind++) {
		LS_CLEANUP(ls_change_done)
		struct ls_change change = { .kind = (enum ls_change_kind)kind };
		LS_CLEANUP(ls_free_str) char *text = NULL;
		struct ls_change_set *set = ls_change_add_set(&change, "proxy");

		ls_change_file_set(&set->cert, "c", LS_BYTES_STR("x"));
		ls_strv_add(&change.names, "proxy");
		text = ls_change_to_text(&change);
		if (kind >= LS_CHANGE_ADOPT) { /* the daemon's own */
			ck_code(ls_change_from_text(LS_BYTES_STR(text), &out, &err), LS_E_USAGE);
			continue;
		}
		ck_ok(ls_change_from_text(LS_BYTES_STR(text), &out, &err));
		ck_assert_int_eq(out.kind, kind);
	}
}
END_TEST

START_TEST(a_name_that_is_not_utf8_does_not_stop_a_request)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { .kind = LS_CHANGE_SET };
	LS_CLEANUP(ls_free_str) char *text = NULL;
	struct ls_change_set *set = ls_change_add_set(&change, "\xff");

	ls_change_file_set(&set->cert, "caf\xe9.pem", LS_BYTES_STR("x"));
	text = ls_change_to_text(&change);
	ck_ok(ls_change_from_text(LS_BYTES_STR(text), &out, &err));
	ck_assert_str_eq(out.sets[0].cert.name, "caf?.pem");
}
END_TEST

#define REST                                                                                       \
	"\"number\":0,\"force\":false,\"replace_installed\":false,\"dry_run\":false,"              \
	"\"detach\":false"

static void refused(const char *text, const char *names)
{
	ck_code(ls_change_from_text(LS_BYTES_STR(text), &out, &err), LS_E_USAGE);
	ck_assert_msg(strstr(err.text, names) != NULL, "'%s' does not name '%s'", err.text, names);
	ck_assert_int_eq(out.number, 42); /* untouched */
}

START_TEST(what_is_malformed_is_named)
{
	ck_ok(ls_change_from_text(
		LS_BYTES_STR("{\"kind\":\"renew\",\"sets\":[],\"names\":[]," REST "}"), &out,
		&err));
	ls_change_done(&out);
	out.number = 42;
	refused("", "not a JSON object");
	refused("[]", "not a JSON object");
	refused("{\"kind\":\"renew\"", "not a JSON object");
	refused("{\"kind\":\"renew\",\"kind\":\"set\"}", "not a JSON object");
	refused("{\"kind\":7}", "kind");
	refused("{\"kind\":\"adopt\",\"sets\":[],\"names\":[]," REST "}", "kind");
	refused("{\"kind\":\"renew\",\"sets\":{},\"names\":[]," REST "}", "sets");
	refused("{\"kind\":\"set\",\"sets\":[],\"names\":[]," REST "}", "sets");
	refused("{\"kind\":\"set\",\"sets\":[7],\"names\":[]," REST "}", "component");
	refused("{\"kind\":\"set\",\"sets\":[{\"component\":\"p\"}],\"names\":[]," REST "}",
		"cert");
	refused("{\"kind\":\"set\",\"sets\":[{\"component\":\"p\",\"cert\":7}],\"names\":[]," REST
		"}",
		"cert");
	refused("{\"kind\":\"set\",\"sets\":[{\"component\":\"p\",\"cert\":{\"name\":\"c\","
		"\"data\":\"QR==\"}}],\"names\":[]," REST "}",
		"cert");
	refused("{\"kind\":\"set\",\"sets\":[{\"component\":\"p\",\"cert\":{\"name\":\"c\","
		"\"data\":\"\"},\"key\":{\"name\":\"k\"}}],\"names\":[]," REST "}",
		"key");
	refused("{\"kind\":\"renew\",\"sets\":[],\"names\":[7]," REST "}", "names");
	refused("{\"kind\":\"request\",\"sets\":[],\"names\":[]," REST "}", "names");
	refused("{\"kind\":\"request\",\"sets\":[],\"names\":[\"a\",\"b\"]," REST "}", "names");
	refused("{\"kind\":\"renew\",\"sets\":[],\"names\":[],\"number\":1.5}", "number");
	refused("{\"kind\":\"renew\",\"sets\":[],\"names\":[],\"number\":1,\"force\":1}", "force");
	ck_code(ls_change_from_text((struct ls_bytes){ 0 }, &out, &err), LS_E_USAGE);
}
END_TEST

START_TEST(numbers_of_things_are_bounded)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { .kind = LS_CHANGE_RENEW };
	LS_CLEANUP(ls_free_str) char *text = NULL;

	for (int i = 0; i < 1000; i++)
		ls_strv_add(&change.names, "proxy");
	text = ls_change_to_text(&change);
	ck_ok(ls_change_from_text(LS_BYTES_STR(text), &out, &err));
	ls_strv_add(&change.names, "proxy");
	ls_free_str(&text);
	text = ls_change_to_text(&change);
	ck_code(ls_change_from_text(LS_BYTES_STR(text), &out, &err), LS_E_USAGE);
}
END_TEST

START_TEST(errors_survive_the_way)
{
	for (int code = LS_OK + 1; code < LS_CODE_COUNT; code++) {
		struct ls_err got = { 0 };
		json_t *json;

		(void)LS_FAIL(&err, (enum ls_code)code, "caf\xc3\xa9: %d", code);
		LS_HINT(&err, "do %d", code);
		json = ls_error_to_json(&err);
		ck_assert_ptr_nonnull(json);
		ck_assert_int_eq(ls_error_from_json(json, &got), code);
		ck_assert_str_eq(got.text, err.text);
		ck_assert_str_eq(got.hint, err.hint);
		json_decref(json);
	}
}
END_TEST

START_TEST(an_error_is_never_taken_for_success)
{
	static const char *const texts[] = { "{\"error\":{}}", "{\"error\":7}",
		"{\"error\":{\"code\":\"ok\",\"message\":\"m\"}}",
		"{\"error\":{\"code\":\"of tomorrow\",\"message\":\"m\"}}" };
	json_t *json = json_pack("{s:i}", "generation", 3);

	ck_assert_int_eq(ls_error_from_json(json, &err), LS_OK);
	json_decref(json);
	for (size_t i = 0; i < LS_COUNT(texts); i++) {
		json = json_loads(texts[i], 0, NULL);
		ck_assert_int_eq(ls_error_from_json(json, &err), LS_E_FAILED);
		json_decref(json);
	}
	/* Messages and hints may quote a file's name, which is bytes. */
	(void)LS_FAIL(&err, LS_E_REFUSED, "caf\xe9");
	LS_HINT(&err, "see caf\xe9");
	json = ls_error_to_json(&err);
	ck_assert_ptr_nonnull(json);
	ck_assert_int_eq(ls_error_from_json(json, &err), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "caf?");
	ck_assert_str_eq(err.hint, "see caf?");
	json_decref(json);
}
END_TEST

LS_TEST_MAIN_FIXTURE("request", setup, teardown, a_change_survives_the_way,
	every_kind_that_callers_may_ask_for, a_name_that_is_not_utf8_does_not_stop_a_request,
	what_is_malformed_is_named, numbers_of_things_are_bounded, errors_survive_the_way,
	an_error_is_never_taken_for_success)
