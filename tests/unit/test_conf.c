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
	refused("a = \"\x01\";", "control");
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

LS_TEST_MAIN("conf", traps_of_libconfig_are_refused_with_the_line,
	comments_and_strings_may_hold_anything)
