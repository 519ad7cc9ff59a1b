/* Templates: what is written is what is read; anything doubtful is refused with file and line. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/service.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static char root[] = "/tmp/ls-service-XXXXXX";
static struct ls_paths paths;
static struct ls_services services;

static const char whole[] =
	"component = \"proxy\";\n"
	"subject = { CN = \"${fqdn}\"; };\n"
	"san = ( \"DNS:${fqdn}\" );\n"
	"key = \"ec:P-256\";\n"
	"days = 365;\n"
	"eku = ( \"serverAuth\" );\n"
	"files = { owner = \"root\"; group = \"haproxy\"; cert_mode = \"0644\"; key_mode = "
	"\"640\"; };\n"
	"validate = [ \"/usr/sbin/haproxy\", \"-c\" ];\n"
	"reload = ( { systemd = \"haproxy.service\"; }, { exec = [ \"/bin/true\", \"x\" ]; "
	"timeout_s = 5; },\n"
	"  { pidfile = \"/run/x.pid\"; signal = \"USR2\"; },\n"
	"  { redis = \"unix:/run/redis.sock\"; tls = true; user = \"u\"; password_file = \"/p\"; "
	"},\n"
	"  { haproxy_socket = \"/run/haproxy/admin.sock\"; cert = \"@store/x.pem\"; } );\n"
	"serve = ( { endpoint = \"127.0.0.1:6379\"; name = \"db.${fqdn}\"; required = true; },\n"
	"  { endpoint = \"[::1]:443\"; } );\n";

#define HEAD                                                                                       \
	"component = \"proxy\"; subject = { CN = \"x\"; }; san = ( \"DNS:x.example\" );\n"         \
	"key = \"ec:P-256\"; days = 365; eku = ( \"serverAuth\" );\n"

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
	ls_paths_init(&paths, root, NULL);
	/* Nothing that is installed on this machine may be found. */
	ls_free_str(&paths.templates[2]);
	ck_ok(ls_dir_make(paths.templates[0], 0755, &err));
	ck_ok(ls_dir_make(paths.templates[1], 0755, &err));
}

static void teardown(void)
{
	ls_services_done(&services);
	ls_paths_done(&paths);
	ck_ok(ls_dir_remove(AT_FDCWD, root, &err));
}

static void put(int dir, const char *name, const char *text)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	ck_ok(ls_dir_open(paths.templates[dir], &fd, &err));
	ck_ok(ls_file_replace(fd, name, LS_BYTES_STR(text), 0644, (gid_t)-1, &err));
}

static void refused(const char *rest, const char *part)
{
	LS_CLEANUP(ls_free_str) char *text = ls_format("%s%s", HEAD, rest);

	put(0, "t.conf", text);
	ck_code(ls_services_load(&paths, "x.example", &services, &err), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, "/t.conf:3: ") != NULL, "no file and line: %s", err.text);
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
}

START_TEST(everything_that_is_written_is_read)
{
	const struct ls_service *s;

	put(0, "proxy.conf", whole);
	ck_ok(ls_services_load(&paths, "x.example", &services, &err));
	ck_assert_uint_eq(services.count, 1);
	s = ls_services_find(&services, "proxy");
	ck_assert_ptr_nonnull(s);
	ck_assert_str_eq(s->issue.key, "ec:P-256");
	ck_assert_str_eq(s->group, "haproxy");
	ck_assert_int_eq(s->cert_mode, 0644);
	ck_assert_int_eq(s->key_mode, 0640);
	ck_assert_str_eq(s->validate[1], "-c");
	ck_assert_uint_eq(s->reload_count, 5);
	ck_assert_int_eq(s->reloads[0].kind, LS_RELOAD_SYSTEMD);
	ck_assert_int_eq(s->reloads[0].timeout_s, 30);
	ck_assert_int_eq(s->reloads[1].timeout_s, 5);
	ck_assert_str_eq(s->reloads[1].argv[1], "x");
	ck_assert_int_eq(s->reloads[2].signum, SIGUSR2);
	ck_assert(s->reloads[3].tls);
	ck_assert_str_eq(s->reloads[3].password_file, "/p");
	ck_assert_str_eq(s->reloads[4].cert, "@store/x.pem");
	ck_assert_str_eq(s->serves[0].name, "db.x.example");
	ck_assert(s->serves[0].required);
	ck_assert_ptr_null(s->serves[1].name);
	ck_assert_ptr_null(ls_services_find(&services, "api"));
}
END_TEST

START_TEST(what_is_left_out_has_the_safe_default)
{
	put(0, "proxy.conf", HEAD "serve = ( { endpoint = \"h:1\"; name = \"${fqdn}\"; } );");
	ck_ok(ls_services_load(&paths, NULL, &services, &err));
	ck_assert_int_eq(services.items[0].cert_mode, 0644);
	ck_assert_int_eq(services.items[0].key_mode, 0640);
	ck_assert_ptr_null(services.items[0].group);
	ck_assert_ptr_null(services.items[0].validate);
	ck_assert_uint_eq(services.items[0].reload_count, 0);
	ck_assert_ptr_null(services.items[0].serves[0].name);
}
END_TEST

START_TEST(an_earlier_directory_shadows_by_file_name_and_by_component)
{
	put(1, "a.conf", HEAD "serve = ( { endpoint = \"shipped:1\"; } );");
	put(1, "b.conf",
		"component = \"api\"; subject = { CN = \"x\"; }; san = ( \"DNS:x\" );"
		"key = \"ed25519\"; days = 3; eku = ( \"serverAuth\" );");
	put(0, "own.conf", HEAD "serve = ( { endpoint = \"own:1\"; } );");
	ck_ok(ls_services_load(&paths, NULL, &services, &err));
	ck_assert_uint_eq(services.count, 2);
	ck_assert_str_eq(services.items[0].component, "api"); /* sorted */
	ck_assert_str_eq(services.items[1].serves[0].endpoint, "own:1");
	ls_services_done(&services);
	put(0, "b.conf",
		"component = \"cm\"; subject = { CN = \"x\"; }; san = ( \"DNS:x\" );"
		"key = \"ed25519\"; days = 3; eku = ( \"serverAuth\" );");
	ck_ok(ls_services_load(&paths, NULL, &services, &err));
	ck_assert_ptr_null(ls_services_find(&services, "api"));
	ck_assert_ptr_nonnull(ls_services_find(&services, "cm"));
}
END_TEST

START_TEST(a_second_template_in_one_directory_is_refused_naming_both)
{
	put(0, "a.conf", HEAD);
	put(0, "b.conf", HEAD);
	ck_code(ls_services_load(&paths, NULL, &services, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "/b.conf"));
	ck_assert_ptr_nonnull(strstr(err.text, "/a.conf"));
}
END_TEST

START_TEST(missing_directories_and_editors_remains_are_passed_over)
{
	ck_ok(ls_dir_remove(AT_FDCWD, paths.templates[1], &err));
	put(0, ".#t.conf", "garbage");
	put(0, "t.conf~", "garbage");
	put(0, "README", "garbage");
	ck_ok(ls_services_load(&paths, NULL, &services, &err));
	ck_assert_uint_eq(services.count, 0);
}
END_TEST

START_TEST(file_modes_never_widen)
{
	refused("files = { owner = \"redis\"; };", "wanted \"root\"");
	refused("files = { group = \"a b\"; };", "group");
	refused("files = { cert_mode = \"0664\"; };", "cert_mode");
	refused("files = { key_mode = \"0644\"; };", "key_mode");
	refused("files = { key_mode = \"0750\"; };", "key_mode");
	refused("files = { key_mode = \"4640\"; };", "key_mode");
	refused("files = { key_mode = \"0040\"; };", "readable by the owner");
	refused("files = { key_mode = \"rw\"; };", "octal");
	refused("files = { key_mode = \"\"; };", "octal");
	refused("files = { key_mode = 640; };", "string");
	refused("files = { mode = \"0640\"; };", "unknown setting 'mode'");
	refused("files = \"0640\";", "group { }");
}
END_TEST

START_TEST(commands_and_targets_are_checked)
{
	refused("validate = [ \"nginx\", \"-t\" ];", "absolute path");
	refused("validate = [ ];", "empty");
	refused("validate = \"/bin/true\";", "list of strings");
	refused("reload = { systemd = \"x.service\"; };", "list");
	refused("reload = ( \"x\" );", "group { }");
	refused("reload = ( { } );", "one of");
	refused("reload = ( { systemd = \"x\"; } );", "unit");
	refused("reload = ( { systemd = \"x y.service\"; } );", "unit");
	refused("reload = ( { exec = [ \"sh\", \"-c\" ]; } );", "absolute path");
	refused("reload = ( { exec = \"/bin/true\"; } );", "list of strings");
	refused("reload = ( { systemd = \"x.service\"; exec = [ \"/x\" ]; } );", "'exec'");
	refused("reload = ( { pidfile = \"x.pid\"; } );", "absolute path");
	refused("reload = ( { pidfile = \"/x\"; signal = \"KILL\"; } );", "signal");
	refused("reload = ( { pidfile = \"/x\"; signal = \"HUPP\"; } );", "signal");
	refused("reload = ( { redis = \"nowhere\"; } );", "HOST:PORT");
	refused("reload = ( { redis = \"h:1\"; user = \"u\"; } );", "password_file");
	refused("reload = ( { redis = \"h:1\"; password_file = \"p\"; } );", "absolute path");
	refused("reload = ( { redis = \"h:1\"; tls = \"yes\"; } );", "true or false");
	refused("reload = ( { haproxy_socket = \"admin.sock\"; } );", "absolute path");
	refused("reload = ( { haproxy_socket = \"/x\"; cert = \"a b\"; } );", "show ssl cert");
	refused("reload = ( { exec = [ \"/x\" ]; timeout_s = 0; } );", "timeout_s");
	refused("reload = ( { exec = [ \"/x\" ]; timeout_s = 301; } );", "timeout_s");
	refused("serve = ( { name = \"x\"; } );", "needs 'endpoint'");
	refused("serve = ( { endpoint = \"x\"; } );", "endpoint");
	refused("serve = ( { endpoint = \"h:1\"; name = \"${node}\"; } );", "host name");
	refused("serve = ( { endpoint = \"h:1\"; name = \"a b\"; } );", "host name");
	refused("serve = ( { endpoint = \"h:1\"; port = 1; } );", "unknown setting");
	refused("restart = true;", "unknown setting 'restart'");
}
END_TEST

START_TEST(names_whose_files_would_collide_are_refused)
{
	put(0, "t.conf",
		"component = \"proxy_cert\"; subject = { CN = \"x\"; }; san = ( \"DNS:x\" );"
		"key = \"ed25519\"; days = 3; eku = ( \"serverAuth\" );");
	ck_code(ls_services_load(&paths, NULL, &services, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "t.conf:1: "));
	ck_assert_ptr_nonnull(strstr(err.text, "collide"));
}
END_TEST

/* It may stand for any component: what it could hide is not taken for that component's. */
START_TEST(a_faulty_template_is_left_out_with_what_it_may_hide)
{
	LS_CLEANUP(ls_free_strv) char **faults = NULL;
	const struct ls_service *s;

	put(0, "a.conf", "component = \"proxy\";\nnonsense\n");
	put(0, "b.conf",
		"component = \"api\"; subject = { CN = \"x\"; }; san = ( \"DNS:x\" );"
		"key = \"ed25519\"; days = 3; eku = ( \"serverAuth\" );");
	put(1, "proxy.conf", whole);
	ck_ok(ls_services_load_some(&paths, "prod.example.com", &services, &faults, &err));
	ck_assert_uint_eq(ls_strv_count(faults), 1);
	ck_assert_ptr_nonnull(strstr(faults[0], "a.conf:"));
	ck_assert_ptr_nonnull(ls_services_find(&services, "api"));
	ck_assert_ptr_null(ls_services_find(&services, "proxy"));
	ls_services_assume(&services, "proxy", 0640, 0600, "daemon");
	ls_services_assume(&services, "api", 0600, 0600, "daemon");
	s = ls_services_find(&services, "proxy");
	ck_assert_uint_eq(s->key_mode, 0600);
	ck_assert_str_eq(s->group, "daemon");
	ck_assert_uint_eq(ls_services_find(&services, "api")->cert_mode, 0644);
}
END_TEST

LS_TEST_MAIN_FIXTURE("service", setup, teardown, everything_that_is_written_is_read,
	what_is_left_out_has_the_safe_default,
	an_earlier_directory_shadows_by_file_name_and_by_component,
	a_second_template_in_one_directory_is_refused_naming_both,
	missing_directories_and_editors_remains_are_passed_over, file_modes_never_widen,
	commands_and_targets_are_checked, names_whose_files_would_collide_are_refused,
	a_faulty_template_is_left_out_with_what_it_may_hide)
