/* An etcd member's words: what is taken, what follows from it, and that nothing gets into the
 * configuration that was not meant. */
#include <stdlib.h>
#include <string.h>

#include "node/etcd_member.h"
#include "pki/san.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static struct ls_etcd_member member;

static void teardown(void)
{
	ls_etcd_member_done(&member);
}

/* JSON with single quotes, which reads better here. */
static json_t *parse(const char *text)
{
	LS_CLEANUP(ls_free_str) char *copy = ls_strdup(text);
	json_t *json;

	for (char *at = copy; *at; at++)
		if (*at == '\'')
			*at = '"';
	json = json_loads(copy, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_msg(json != NULL, "%s", text);
	return json;
}

static enum ls_code read_member(const char *text)
{
	json_t *json = parse(text);
	enum ls_code code = ls_etcd_member_from_json(json, &member, &err);

	json_decref(json);
	return code;
}

static void refused(const char *text, enum ls_code want, const char *part)
{
	ck_code(read_member(text), want);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(member.name);
}

static void assert_sans(const char *want)
{
	LS_CLEANUP(ls_free_strv) char **sans = ls_etcd_member_sans(&member);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	for (size_t i = 0; i < ls_strv_count(sans); i++)
		ls_buf_printf(&text, "%s%s", i ? " " : "", sans[i]);
	ck_assert_str_eq(ls_buf_text(&text), want);
}

static void assert_lines(const char *dir, const char *const *lines)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf config = { 0 };

	ck_ok(ls_etcd_member_config(&member, dir, "token", &config, &err));
	for (; *lines; lines++) {
		LS_CLEANUP(ls_free_str) char *line = ls_format("\n%s\n", *lines);

		ck_assert_msg(strstr(ls_buf_text(&config), line) != NULL, "no line '%s' in %s",
			*lines, ls_buf_text(&config));
	}
}

START_TEST(a_host_becomes_a_name)
{
	static const struct {
		const char *host, *san;
	} cases[] = { { "127.0.0.1", "IP:127.0.0.1" }, { "::1", "IP:::1" }, { "[::1]", "IP:::1" },
		{ "fd00:0:0::01", "IP:fd00::1" }, { "etcd.example.com", "DNS:etcd.example.com" },
		{ "", NULL }, { "[]", NULL }, { "[127.0.0.1]", NULL }, { "[a]", NULL },
		{ "a b", NULL }, { "a/b", NULL }, { "*.example.com", NULL }, { "::1%lo", NULL } };

	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		LS_CLEANUP(ls_free_str) char *san = ls_san_of_host(cases[i].host);

		if (cases[i].san)
			ck_assert_str_eq(san, cases[i].san);
		else
			ck_assert_msg(!san, "'%s' became '%s'", cases[i].host, san);
	}
}
END_TEST

START_TEST(little_is_enough_for_a_member_alone)
{
	ck_ok(read_member("{'member': 'n1', 'listen': ['10.0.0.1']}"));
	assert_sans("IP:10.0.0.1 DNS:localhost IP:127.0.0.1 IP:::1");
	assert_lines("/etcd/n1",
		(const char *[]){ "name: \"n1\"", "data-dir: \"/etcd/n1/data\"",
			"listen-client-urls: \"https://10.0.0.1:2379\"",
			"listen-peer-urls: \"https://10.0.0.1:2380\"",
			"advertise-client-urls: \"https://10.0.0.1:2379\"",
			"initial-advertise-peer-urls: \"https://10.0.0.1:2380\"",
			"listen-metrics-urls: \"http://127.0.0.1:2381\"",
			"initial-cluster: \"n1=https://10.0.0.1:2380\"",
			"initial-cluster-token: \"token\"", "initial-cluster-state: \"new\"",
			"  cert-file: \"/etcd/n1/member.pem\"",
			"  key-file: \"/etcd/n1/member.pem\"",
			"  trusted-ca-file: \"/etcd/n1/ca.pem\"", "  client-cert-auth: true",
			"enable-grpc-gateway: true", "pre-vote: true", NULL });
}
END_TEST

START_TEST(everything_that_is_said_is_used)
{
	ck_ok(read_member(
		"{'member': 'n2', 'listen': ['0.0.0.0', 'fd00::2'], 'client_port': 4001,"
		" 'metrics_port': 0, 'initial_state': 'existing', 'data_dir': '/srv/etcd',"
		" 'group': 'etcd', 'sans': ['a.example.com', 'IP:10.9.9.9', 'DNS:*.b.example.com'],"
		" 'initial_cluster': ['n1=https://n1.example.com:4002',"
		" 'n2=https://[fd00::2]:4003']}"));
	assert_sans("IP:fd00::2 DNS:localhost IP:127.0.0.1 IP:::1 DNS:a.example.com IP:10.9.9.9 "
		    "DNS:*.b.example.com");
	assert_lines("/etcd/n2",
		(const char *[]){ "data-dir: \"/srv/etcd\"",
			"listen-client-urls: \"https://0.0.0.0:4001,https://[fd00::2]:4001\"",
			"listen-peer-urls: \"https://0.0.0.0:4003,https://[fd00::2]:4003\"",
			"advertise-client-urls: \"https://[fd00::2]:4001\"",
			"initial-advertise-peer-urls: \"https://[fd00::2]:4003\"",
			"initial-cluster: "
			"\"n1=https://n1.example.com:4002,n2=https://[fd00::2]:4003\"",
			"initial-cluster-state: \"existing\"", NULL });
}
END_TEST

START_TEST(a_name_in_its_url_is_a_name_of_its_certificate)
{
	ck_ok(read_member("{'member': 'n1', 'listen': ['10.0.0.1'], 'peer_port': 5000,"
			  " 'initial_cluster': ['n1=https://etcd1.example.com:6000']}"));
	assert_sans("IP:10.0.0.1 DNS:etcd1.example.com DNS:localhost IP:127.0.0.1 IP:::1");
	/* Behind a forwarded port. */
	assert_lines("/d", (const char *[]){ "listen-peer-urls: \"https://10.0.0.1:5000\"",
				   "initial-advertise-peer-urls: "
				   "\"https://etcd1.example.com:6000\"",
				   NULL });
}
END_TEST

START_TEST(what_is_read_is_written_as_it_is_understood)
{
	json_t *first, *second;

	ck_ok(read_member("{'member': 'n1', 'listen': ['[fd00:0::1]'], 'sans': ['10.0.0.9'],"
			  " 'group': 'etcd', 'data_dir': '/srv/etcd'}"));
	first = ls_etcd_member_to_json(&member);
	ck_ok(ls_etcd_member_from_json(first, &member, &err));
	second = ls_etcd_member_to_json(&member);
	ck_assert(json_equal(first, second));
	ck_assert_str_eq(member.listen[0], "fd00::1");
	ck_assert_str_eq(member.sans[0], "IP:10.0.0.9");
	ck_assert_str_eq(member.initial_cluster[0], "n1=https://[fd00::1]:2380");
	json_decref(first);
	json_decref(second);
}
END_TEST

START_TEST(other_forms_are_refused)
{
#define ONE "'member': 'n1', 'listen': ['10.0.0.1']"
	refused("[]", LS_E_USAGE, "etcd member");
	refused("{}", LS_E_USAGE, "etcd member");
	refused("{" ONE ", 'dir': '/etc'}", LS_E_USAGE, "dir");
	refused("{'member': 'n1', 'listen': '10.0.0.1'}", LS_E_USAGE, "list");
	refused("{'member': 'n1', 'listen': [1]}", LS_E_USAGE, "words");
	refused("{" ONE ", 'initial_state': 'old'}", LS_E_USAGE, "new or existing");
	refused("{'member': 'n1', 'listen': []}", LS_E_REFUSED, "nowhere");
	refused("{'member': '..', 'listen': ['10.0.0.1']}", LS_E_REFUSED, "member");
	refused("{'member': 'a/b', 'listen': ['10.0.0.1']}", LS_E_REFUSED, "member");
	refused("{'member': 'n1', 'listen': ['localhost']}", LS_E_REFUSED, "address");
	refused("{'member': 'n1', 'listen': ['::']}", LS_E_REFUSED, "initial cluster");
	refused("{" ONE ", 'client_port': 0}", LS_E_REFUSED, "port");
	refused("{" ONE ", 'metrics_port': -1}", LS_E_REFUSED, "port");
	refused("{" ONE ", 'peer_port': 65536}", LS_E_REFUSED, "65536");
	refused("{" ONE ", 'peer_port': 2379}", LS_E_REFUSED, "twice");
	refused("{" ONE ", 'sans': ['URI:x:y']}", LS_E_REFUSED, "san");
	refused("{" ONE ", 'sans': ['IP:etcd']}", LS_E_REFUSED, "san");
	refused("{" ONE ", 'sans': ['DNS:10.0.0.1']}", LS_E_REFUSED, "san");
	refused("{" ONE ", 'sans': ['DNS:a,DNS:b']}", LS_E_REFUSED, "san");
	refused("{" ONE ", 'data_dir': 'etcd'}", LS_E_REFUSED, "data directory");
	refused("{" ONE ", 'data_dir': '/e\\nname: x'}", LS_E_REFUSED, "data directory");
	refused("{" ONE ", 'group': ''}", LS_E_REFUSED, "group");
	refused("{" ONE ", 'group': 'etcd'}", LS_E_REFUSED, "data directory");
}
END_TEST

START_TEST(a_cluster_of_other_forms_is_refused)
{
	static const char *const bad[] = { "n1", "n1=", "n1=https://", "n1=https://10.0.0.1",
		"n1=https://:2380", "n1=https://10.0.0.1:0", "n1=https://10.0.0.1:2380/",
		"n1=https://10.0.0.1:x", "n1=https://fd00::1:2380", "n1=https://[fd00::1:2380",
		"n1=http://10.0.0.1:2380", "n1=https://a b:2380", "=https://10.0.0.1:2380",
		"n/1=https://10.0.0.1:2380", "n1=https://u@10.0.0.1:2380" };

	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		LS_CLEANUP(ls_free_str)
		char *text = ls_format("{" ONE ", 'initial_cluster': ['%s']}", bad[i]);

		refused(text, LS_E_REFUSED, "wanted NAME=https://HOST:PORT");
	}
	refused("{" ONE ", 'initial_cluster': ['n2=https://10.0.0.1:2380']}", LS_E_REFUSED,
		"'n1' is not in it");
	refused("{" ONE ", 'initial_cluster': ['n1=https://a:1', 'n1=https://b:1']}", LS_E_REFUSED,
		"'n1' twice");
}
END_TEST

START_TEST(a_path_is_quoted)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf config = { 0 };

	ck_ok(read_member("{" ONE "}"));
	assert_lines("/a \"b\"\\c\n",
		(const char *[]){ "  cert-file: \"/a \\\"b\\\"\\\\c\\n/member.pem\"", NULL });
	ck_code(ls_etcd_member_config(&member, "/\xff", "token", &config, &err), LS_E_REFUSED);
}
END_TEST

LS_TEST_MAIN_FIXTURE("etcd_member", NULL, teardown, a_host_becomes_a_name,
	little_is_enough_for_a_member_alone, everything_that_is_said_is_used,
	a_name_in_its_url_is_a_name_of_its_certificate, what_is_read_is_written_as_it_is_understood,
	other_forms_are_refused, a_cluster_of_other_forms_is_refused, a_path_is_quoted)
