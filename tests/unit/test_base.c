/* The promises of src/base that other modules lean on. */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "tests/unit/runner.h"

START_TEST(wrapping_never_loses_the_root)
{
	struct ls_err err = { 0 };
	char last[64] = "";

	(void)ls_err_set_errno(&err, ENOSPC, "write '%s'", "f");
	ck_assert_str_ne(err.hint, "");
	for (int i = 0; i < 500; i++)
		(void)ls_err_wrap(&err, "layer %d", i);
	memcpy(last, err.text + strlen(err.text) - 23, 24);
	ck_assert_str_eq(last, "No space left on device");
	ck_assert_int_eq(err.code, LS_E_IO);
}
END_TEST

START_TEST(foreign_control_characters_cannot_forge_a_line)
{
	struct ls_err err = { 0 };

	(void)ls_err_set(&err, LS_E_REFUSED, "file '%s'", "a\nlockstep: all is well\x1b[2J");
	ck_assert_ptr_null(strpbrk(err.text, "\n\x1b"));
}
END_TEST

START_TEST(base64_has_one_spelling)
{
	struct ls_err err = { 0 };
	struct ls_buf out = { 0 };
	unsigned char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	for (size_t n = 0; n <= 256; n++) {
		char *text = ls_base64((struct ls_bytes){ all, n });

		ck_ok(ls_unbase64(text, &out, &err));
		ck_assert(ls_bytes_equal(ls_buf_bytes(&out), (struct ls_bytes){ all, n }));
		ls_free_str(&text);
	}
	ck_code(ls_unbase64("QQ=", &out, &err), LS_E_REFUSED);
	ck_code(ls_unbase64("QR==", &out, &err), LS_E_REFUSED); /* bits behind the padding */
	ck_code(ls_unbase64("Q===", &out, &err), LS_E_REFUSED);
	ck_code(ls_unbase64("QQ==QQ==", &out, &err), LS_E_REFUSED);
	ck_code(ls_unbase64("Q-==", &out, &err), LS_E_REFUSED);
	ls_buf_done(&out);
}
END_TEST

START_TEST(names_and_hosts)
{
	ck_assert(ls_name_valid("metrics_exporter"));
	ck_assert(!ls_name_valid(""));
	ck_assert(!ls_name_valid("Proxy"));
	ck_assert(!ls_name_valid("a/b"));
	ck_assert(!ls_name_valid("123456789012345678901234567890123"));
	ck_assert(ls_host_name_valid("prod.example.com"));
	ck_assert(!ls_host_name_valid("prod..example.com"));
	ck_assert(!ls_host_name_valid("-a.example"));
	ck_assert(!ls_host_name_valid("a.example."));
	ck_assert(!ls_host_name_valid("*.example"));
	ck_assert(!ls_cluster_name_valid("../x"));
	ck_assert(ls_cluster_name_valid("prod-1.eu"));
}
END_TEST

START_TEST(instants_go_both_ways)
{
	char text[LS_TIME_TEXT_SIZE];
	int64_t at;

	ls_time_text(1700000000, text);
	ck_assert_str_eq(text, "2023-11-14T22:13:20Z");
	ck_assert(ls_time_parse(text, &at));
	ck_assert_int_eq(at, 1700000000);
	ls_time_text(
		253402300799, text); /* 9999-12-31T23:59:59Z: what a signing certificate says */
	ck_assert_str_eq(text, "9999-12-31T23:59:59Z");
	ls_time_stamp(1700000000123, text);
	ck_assert_str_eq(text, "20231114T221320.123Z");
	ck_assert(!ls_time_parse("2023-11-14", &at));
	ck_assert(!ls_time_parse("023-11-14T22:13:20Z", &at));
	ck_assert(!ls_time_parse(" 2023-11-14T22:13:20Z", &at));
	ck_assert(!ls_time_parse("2023-02-31T22:13:20Z", &at));
}
END_TEST

START_TEST(numbers_do_not_wrap)
{
	int64_t n;

	ck_assert(ls_text_number("-5", -5, 5, &n) && n == -5);
	ck_assert(!ls_text_number("99999999999999999999", 0, INT64_MAX, &n));
	ck_assert(!ls_text_number("5x", 0, 9, &n));
	ck_assert(!ls_text_number("", 0, 9, &n));
	ck_assert(ls_text_duration("7d", &n) && n == 604800);
	ck_assert(!ls_text_duration("d", &n));
	ck_assert(!ls_text_duration("-1h", &n));
}
END_TEST

START_TEST(secrets_are_wiped)
{
	struct ls_secret secret = { 0 };

	ls_secret_set(&secret, LS_BYTES_STR("hush"));
	ck_assert_str_eq((const char *)secret.data, "hush");
	ls_secret_set(&secret, LS_BYTES_STR("x"));
	ck_assert_uint_eq(secret.len, 1);
	ls_secret_done(&secret);
	ck_assert_ptr_null(secret.data);
}
END_TEST

START_TEST(regrowing_keeps_what_was_there)
{
	char *mem = ls_regrow(NULL, 8);

	memcpy(mem, "1234567", 8);
	mem = ls_regrow(mem, 100000);
	ck_assert_str_eq(mem, "1234567");
	memset(mem, 'x', 100000);
	ck_assert_ptr_eq(ls_regrow(mem, 5), mem);
	ls_free(mem);
	ls_free(NULL);
}
END_TEST

LS_TEST_MAIN("base", wrapping_never_loses_the_root, foreign_control_characters_cannot_forge_a_line,
	base64_has_one_spelling, names_and_hosts, instants_go_both_ways, numbers_do_not_wrap,
	secrets_are_wiped, regrowing_keeps_what_was_there)
