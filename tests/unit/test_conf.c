/* Configuration: what libconfig would swallow is refused with its line. */
#include <string.h>

#include "base/conf.h"
#include "tests/unit/runner.h"

static struct ls_err err;

static void refused(const char *text, const char *part)
{
	struct ls_conf *conf = NULL;

	ck_code(ls_conf_parse("f.conf", LS_BYTES_STR(text), &conf, &err), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
}

START_TEST(traps_of_libconfig_are_refused_with_the_line)
{
	refused("a = 1;\n@include \"/etc/shadow\"\n", "f.conf:2:");
	refused("a = 4294967297;\n", "f.conf:1: the integer");
	refused("\n\na = 0x1FFFFFFFFF;", "f.conf:3:");
	refused("a = 1.5;", "fraction");
	refused("a = 99999999999L;", "f.conf:1:");
	refused("a = ((((((((((1))))))))));", "deeper");
	refused("a = \"x", "f.conf:");
	refused("a.b = 1;", "f.conf:1:");
	refused("a = 1; a = 2;", "f.conf:1:");
	refused("a = 1;\na = \"\x01\";", "f.conf:2: control character 0x01");
	refused("a = \"\x1b[31m\";", "f.conf:1: control character 0x1b");
}
END_TEST

START_TEST(only_utf8_is_text)
{
	static const char *const bad[] = { "\xff", "caf\xe9", "\xc0\x80", "\xc1\xbf",
		"\xe0\x9f\x80", "\xed\xa0\x80", "\xf0\x8f\x80\x80", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "\x80" };
	static const char good[] = "a = \"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\";";
	struct ls_conf *conf = NULL;

	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		LS_CLEANUP(ls_free_str) char *text = ls_format("# x\na = \"%s\";", bad[i]);

		refused(text, "f.conf:2: byte 0x");
	}
	ck_ok(ls_conf_parse("f", LS_BYTES_STR(good), &conf, &err));
	ck_assert_uint_eq(strlen(ls_conf_text(ls_conf_get(ls_conf_root(conf), "a"))), 14);
	ls_conf_free(&conf);
}
END_TEST

/* Each of these once stopped or crashed somebody's parser. */
START_TEST(size_and_depth_end_in_a_refusal)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	struct ls_conf *conf = NULL;

	for (const char *open = "{(["; *open; open++) {
		ls_buf_clear(&text);
		ls_buf_str(&text, "a = ");
		for (int i = 0; i < 10000; i++)
			ls_buf_add(&text, open, 1);
		refused(ls_buf_text(&text), "f.conf:1: nested deeper than 8");
	}
	ls_buf_clear(&text);
	for (int i = 0; text.len < 1024 * 1024; i++)
		ls_buf_printf(&text, "a%d = 1;\n", i);
	refused(ls_buf_text(&text), "at most 1048576");
	ck_code(ls_conf_parse("f.conf", (struct ls_bytes){ "a = 1;\0b = 2;", 13 }, &conf, &err),
		LS_E_REFUSED);
	ck_assert_str_eq(err.text, "f.conf:1: control character 0x00: not a text file");
	refused("a = 1;\n@include_dir \"/etc\"\n", "f.conf:2:");
	refused("a = 2147483648000;", "f.conf:1: the integer 2147483648000 has more than 9 digits");
	refused("a = 0b11;", "'0b11' is not a decimal integer");
	refused("a = 10L;", "'10L' is not a decimal integer");
	refused("a = -9999999999;", "more than 9 digits");
}
END_TEST

START_TEST(comments_and_strings_may_hold_anything)
{
	struct ls_conf *conf = NULL;
	char *s = NULL, **v = NULL;
	int64_t n = 5;
	static const char text[] = "# @include 12345678901\n/* @ 99999999999 */ // x @\n"
				   "s = \"@include 12345678901 \\\" 1.5\"; v = ( \"a\", \"b\" );\n"
				   "g = { n = 12; u = 1; };";
	static const char *const only[] = { "s", "v", NULL };

	ck_ok(ls_conf_parse("f", LS_BYTES_STR(text), &conf, &err));
	ck_ok(ls_conf_string(ls_conf_root(conf), "s", &s, &err));
	ck_assert_str_eq(s, "@include 12345678901 \" 1.5");
	ck_ok(ls_conf_strings(ls_conf_root(conf), "v", &v, &err));
	ck_assert_uint_eq(ls_strv_count(v), 2);
	ck_ok(ls_conf_int(ls_conf_get(ls_conf_root(conf), "g"), "n", 0, 20, &n, &err));
	ck_assert_int_eq(n, 12);
	ck_code(ls_conf_int(ls_conf_get(ls_conf_root(conf), "g"), "n", 0, 10, &n, &err),
		LS_E_REFUSED);
	ck_code(ls_conf_only(ls_conf_root(conf), only, &err), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "f:4: unknown setting 'g'");
	ck_code(ls_conf_string(ls_conf_root(conf), "v", &s, &err), LS_E_REFUSED);
	ls_free_str(&s);
	ls_free_strv(&v);
	ls_conf_free(&conf);
}
END_TEST

LS_TEST_MAIN("conf", traps_of_libconfig_are_refused_with_the_line, only_utf8_is_text,
	size_and_depth_end_in_a_refusal, comments_and_strings_may_hold_anything)
