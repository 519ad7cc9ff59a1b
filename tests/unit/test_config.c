/* lockstep.conf: defaults, each setting with its bounds, and refusals with file and line. */
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/config.h"
#include "tests/unit/runner.h"

static struct ls_config config;
static struct ls_err err;

static void setup(void)
{
	config = (struct ls_config){ 0 };
	err = (struct ls_err){ 0 };
}

static enum ls_code parse(const char *text)
{
	return ls_config_parse("lockstep.conf", LS_BYTES_STR(text), &config, &err);
}

static void refused(const char *text, const char *words)
{
	config.reconcile_s = -1;
	ck_code(parse(text), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, words) != NULL, "'%s' lacks '%s'", err.text, words);
	ck_assert_int_eq(config.reconcile_s, -1);
}

/* By the machine's name, whatever that is here. */
static void assert_own_address(int port)
{
	char name[256] = "";
	LS_CLEANUP(ls_free_str) char *want = NULL;

	ck_assert_int_eq(gethostname(name, sizeof name - 1), 0);
	want = ls_host_name_valid(name) ? ls_format("%s:%d", name, port) : ls_strdup("");
	ck_assert_str_eq(config.gateway_address, want);
}

static void assert_defaults(void)
{
	ck_assert_int_eq(config.log_level, LOG_INFO);
	ck_assert_int_eq(config.settle_ms, 300);
	ck_assert_int_eq(config.patience_s, 20);
	ck_assert_int_eq(config.rejected_keep_days, 30);
	ck_assert_int_eq(config.reconcile_s, 30);
	ck_assert(config.settings.rollback);
	ck_assert(!config.settings.require_all);
	ck_assert_int_eq(config.settings.away_after_s, 30);
	ck_assert_str_eq(config.gateway_listen, "0.0.0.0:7443");
	assert_own_address(7443);
}

START_TEST(nothing_said_gives_the_defaults)
{
	ck_ok(parse(""));
	assert_defaults();
	ck_ok(parse("log: { }; store: { }; intake: { }; rotation: { }; gateway: { };"));
	assert_defaults();
	setup();
	ck_ok(ls_config_load("/nonexistent/lockstep.conf", &config, &err));
	assert_defaults();
}
END_TEST

START_TEST(every_setting_is_taken)
{
	ck_ok(parse("log: { level = \"debug\"; };\n"
		    "store: { type = \"local\"; };\n"
		    "intake: { settle_ms = 10; patience_s = 3600; rejected_keep_days = 1; };\n"
		    "reconcile_s = 86400; lease_ttl_s = 2;\n"
		    "rotation: { require = \"all\"; away_after_s = 31; vote_s = 7; served_s = 8;\n"
		    "  timeout_s = 9; rollback = false; };\n"
		    "gateway: { listen = \"[::1]:443\"; address = \"n1.example.com:7444\"; };\n"));
	ck_assert_int_eq(config.log_level, LOG_DEBUG);
	ck_assert_int_eq(config.settle_ms, 10);
	ck_assert_int_eq(config.patience_s, 3600);
	ck_assert_int_eq(config.rejected_keep_days, 1);
	ck_assert_int_eq(config.reconcile_s, 86400);
	ck_assert(config.settings.require_all);
	ck_assert_int_eq(config.settings.away_after_s, 31);
	ck_assert_int_eq(config.settings.vote_s, 7);
	ck_assert_int_eq(config.settings.served_s, 8);
	ck_assert_int_eq(config.settings.timeout_s, 9);
	ck_assert(!config.settings.rollback);
	ck_assert_str_eq(config.gateway_listen, "[::1]:443");
	ck_assert_str_eq(config.gateway_address, "n1.example.com:7444");
	ck_ok(parse("rotation: { require = \"alive\"; };"));
	ck_assert(!config.settings.require_all);
}
END_TEST

START_TEST(each_level_has_its_priority)
{
	static const char *const names[] = { "error", "warning", "notice", "info", "debug" };

	for (int i = 0; i < 5; i++) {
		LS_CLEANUP(ls_free_str)
		char *text = ls_format("log: { level = \"%s\"; };", names[i]);

		ck_ok(parse(text));
		ck_assert_int_eq(config.log_level, LOG_ERR + i);
	}
	refused("log: { level = \"loud\"; };", "loud");
}
END_TEST

START_TEST(numbers_have_bounds)
{
	refused("intake: { settle_ms = 9; };", "settle_ms");
	refused("intake: { settle_ms = 60001; };", "settle_ms");
	refused("intake: { patience_s = 0; };", "patience_s");
	refused("intake: { rejected_keep_days = 3651; };", "rejected_keep_days");
	refused("reconcile_s = 0;", "reconcile_s");
	refused("lease_ttl_s = 1;", "lease_ttl_s");
	refused("rotation: { vote_s = -1; };", "vote_s");
	refused("rotation: { timeout_s = 86401; };", "timeout_s");
	refused("rotation: { served_s = 4294967297; };", "lockstep.conf:1");
}
END_TEST

START_TEST(what_is_unknown_or_of_another_type_is_refused_with_its_line)
{
	refused("\n\nreconcile = 3;", "lockstep.conf:3");
	refused("log: { levle = \"info\"; };", "levle");
	refused("store: { type = \"etcd\"; };", "etcd");
	refused("store: { path = \"/x\"; };", "path");
	refused("intake = 3;", "intake");
	refused("rotation = [];", "rotation");
	refused("rotation: { rollback = 1; };", "rollback");
	refused("rotation: { require = \"some\"; };", "some");
	refused("rotation: { require = true; };", "require");
	refused("log: { level = 3; };", "level");
	refused("reconcile_s = \"30\";", "reconcile_s");
	refused("reconcile_s = 3.5;", "lockstep.conf:1");
	refused("reconcile_s = ", "lockstep.conf:1");
	refused("reconcile_s = 30; reconcile_s = 31;", "lockstep.conf:1");
	refused("@include \"/etc/passwd\"\n", "lockstep.conf:1");
}
END_TEST

START_TEST(where_the_gateway_is_must_be_plain)
{
	refused("gateway: { listen = \"0.0.0.0\"; };", "gateway.listen '0.0.0.0'");
	refused("gateway: { listen = \"localhost:7443\"; };", "gateway.listen");
	refused("gateway: { listen = \"::1:7443\"; };", "gateway.listen");
	refused("gateway: { listen = \"0.0.0.0:65536\"; };", "gateway.listen");
	refused("gateway: { listen = 7443; };", "listen");
	refused("gateway: { address = \"n1.example.com\"; };", "gateway.address");
	refused("gateway: { address = \"n1.example.com:0\"; };", "gateway.address");
	refused("gateway: { address = \"unix:/run/x\"; };", "gateway.address");
	refused("gateway: { address = \"https://n1:1\"; };", "gateway.address");
	refused("gateway: { address = \"\"; };", "gateway.address");
	refused("gateway: { port = 7443; };", "port");
	refused("gateway = \"0.0.0.0:7443\";", "gateway");
	/* Its own port is what others are told, unless it is not known. */
	ck_ok(parse("gateway: { listen = \"127.0.0.1:17443\"; };"));
	assert_own_address(17443);
	ck_ok(parse("gateway: { listen = \"127.0.0.1:0\"; };"));
	ck_assert_str_eq(config.gateway_listen, "127.0.0.1:0");
	ck_assert_str_eq(config.gateway_address, "");
	ck_ok(parse("gateway: { listen = \"127.0.0.1:0\"; address = \"[::1]:9\"; };"));
	ck_assert_str_eq(config.gateway_address, "[::1]:9");
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_not_taken_for_an_absent_one)
{
	config.reconcile_s = -1;
	ck_code(ls_config_load("/", &config, &err), LS_E_REFUSED);
	ck_assert_int_eq(config.reconcile_s, -1);
}
END_TEST

LS_TEST_MAIN_FIXTURE("config", setup, NULL, nothing_said_gives_the_defaults, every_setting_is_taken,
	each_level_has_its_priority, numbers_have_bounds,
	what_is_unknown_or_of_another_type_is_refused_with_its_line,
	where_the_gateway_is_must_be_plain,
	a_file_that_cannot_be_read_is_not_taken_for_an_absent_one)
