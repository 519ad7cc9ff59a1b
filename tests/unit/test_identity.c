/* The node's identity: whole or not there, and only for its owner's eyes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/identity.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define NOW 1795000000
#define ID "0123456789abcdef0123456789abcdef"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static struct ls_err err;
static char root[] = "/tmp/ls-identity-XXXXXX";
static char *path;
static struct ls_identity mine, read_back;
static struct ls_signer ca;

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
	path = ls_format("%s/lib/identity", root);
	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	ck_ok(ls_authority_certify(
		&ca, "prod", "n1", LS_NODE_CERT_SIGNING, NOW, &mine.signer, &err));
	mine.cluster = ls_strdup("prod");
	mine.cluster_id = ls_strdup(ID);
	(void)snprintf(mine.node, sizeof mine.node, "n1");
	(void)snprintf(mine.root, sizeof mine.root, "%s", COMMIT);
	ls_buf_copy(&mine.ca_pem, &ca.cert_pem);
}

static void teardown(void)
{
	ls_identity_done(&mine);
	ls_identity_done(&read_back);
	ls_signer_done(&ca);
	ls_free_str(&path);
	ck_ok(ls_dir_remove(AT_FDCWD, root, &err));
}

static mode_t mode_of(const char *name)
{
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s", path, name);
	struct stat st;

	ck_assert_int_eq(lstat(file, &st), 0);
	return st.st_mode & 07777;
}

static void write_file(const char *name, const char *text)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	ck_ok(ls_dir_open(path, &fd, &err));
	ck_ok(ls_file_replace(fd, name, LS_BYTES_STR(text), 0600, (gid_t)-1, &err));
}

static void change_mode(const char *name, mode_t mode)
{
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s", path, name);

	ck_assert_int_eq(chmod(file, mode), 0);
}

START_TEST(what_is_saved_is_loaded)
{
	mode_t before = umask(0);

	ck_code(ls_identity_load(path, &read_back, &err), LS_E_NOT_FOUND);
	ck_ok(ls_identity_save(path, &mine, &err));
	(void)umask(before);
	ck_ok(ls_identity_load(path, &read_back, &err));
	ck_assert_str_eq(read_back.cluster, "prod");
	ck_assert_str_eq(read_back.cluster_id, ID);
	ck_assert_str_eq(read_back.node, "n1");
	ck_assert_str_eq(read_back.root, COMMIT);
	ck_assert(ls_bytes_equal(ls_buf_bytes(&read_back.ca_pem), ls_buf_bytes(&mine.ca_pem)));
	ck_assert(ls_bytes_equal(
		ls_buf_bytes(&read_back.signer.cert_pem), ls_buf_bytes(&mine.signer.cert_pem)));
	ck_assert_ptr_nonnull(read_back.signer.key);
	ck_assert_int_eq(mode_of("."), 0700);
	ck_assert_int_eq(mode_of("signing-key.pem"), 0600);
}
END_TEST

START_TEST(what_others_can_read_is_refused_with_the_command_that_mends_it)
{
	ck_ok(ls_identity_save(path, &mine, &err));
	change_mode(".", 0750);
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.hint, "chmod 700 "));
	change_mode(".", 0700);
	change_mode("signing-key.pem", 0604);
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.hint, "chmod 600 "));
	ck_assert_ptr_nonnull(strstr(err.hint, "signing-key.pem"));
	change_mode("signing-key.pem", 0600);
	ck_ok(ls_identity_load(path, &read_back, &err));
	/* An epoch's key, too, though it is not read here. */
	ck_ok(ls_identity_save_wrapping(path, 7, &mine.signer, &err));
	change_mode("wrapping-7-key.pem", 0640);
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_REFUSED);
	ck_code(ls_identity_check(path, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.hint, "wrapping-7-key.pem"));
	ck_assert_ptr_nonnull(strstr(err.text, "lockstep seal rotate"));
	change_mode("wrapping-7-key.pem", 0600);
	ck_ok(ls_identity_check(path, &err));
}
END_TEST

START_TEST(node_json_is_read_strictly)
{
	static const char *const bad[] = { "", "{}", "[]", "null",
		"{\"cluster\":\"prod\",\"cluster_id\":\"" ID "\",\"node\":\"n1\"}",
		"{\"cluster\":\"prod\",\"cluster_id\":\"" ID "\",\"node\":\"n1\",\"root\":\"" COMMIT
		"\",\"more\":1}",
		"{\"cluster\":\"prod\",\"cluster\":\"prod\",\"cluster_id\":\"" ID
		"\",\"node\":\"n1\",\"root\":\"" COMMIT "\"}",
		"{\"cluster\":\"prod\",\"cluster_id\":\"" ID "\",\"node\":\"N1\",\"root\":\"" COMMIT
		"\"}",
		"{\"cluster\":\"prod\",\"cluster_id\":\"12\",\"node\":\"n1\",\"root\":\"" COMMIT
		"\"}",
		"{\"cluster\":\"prod\",\"cluster_id\":\"" ID
		"\",\"node\":\"n1\",\"root\":\"main\"}",
		"{\"cluster\":\"a b\",\"cluster_id\":\"" ID "\",\"node\":\"n1\",\"root\":\"" COMMIT
		"\"}",
		"{\"cluster\":1,\"cluster_id\":\"" ID "\",\"node\":\"n1\",\"root\":\"" COMMIT "\"}",
		"{\"cluster\":\"prod\",\"cluster_id\":\"" ID "\",\"node\":\"n1\",\"root\":\"" COMMIT
		"\"} x" };

	ck_ok(ls_identity_save(path, &mine, &err));
	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		write_file("node.json", bad[i]);
		ck_code(ls_identity_load(path, &read_back, &err), LS_E_DAMAGED);
		ck_assert_ptr_nonnull(strstr(err.text, "node.json"));
	}
	ck_assert_ptr_null(read_back.cluster);
}
END_TEST

START_TEST(a_part_that_is_missing_or_of_another_key_is_damage)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct ls_signer other = { 0 };

	ck_ok(ls_identity_save(path, &mine, &err));
	ck_ok(ls_authority_certify(&ca, "prod", "n2", LS_NODE_CERT_SIGNING, NOW, &other, &err));
	write_file("signing-cert.pem", ls_buf_text(&other.cert_pem));
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_DAMAGED);
	ls_signer_done(&other);
	ck_ok(ls_dir_open(path, &fd, &err));
	ck_ok(ls_file_remove(fd, "signing-cert.pem", &err));
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_DAMAGED);
	ck_ok(ls_identity_save(path, &mine, &err));
	ck_ok(ls_file_remove(fd, "signing-key.pem", &err));
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_DAMAGED);
	ck_ok(ls_identity_save(path, &mine, &err));
	ck_ok(ls_file_remove(fd, "ca.pem", &err));
	ck_code(ls_identity_load(path, &read_back, &err), LS_E_DAMAGED);
}
END_TEST

START_TEST(wrapping_keys_come_and_go_by_epoch)
{
	struct ls_signer one = { 0 }, loaded = { 0 };

	ck_ok(ls_authority_certify(&ca, "prod", "n1", LS_NODE_CERT_WRAPPING, NOW, &one, &err));
	ck_ok(ls_identity_save(path, &mine, &err));
	ck_code(ls_identity_load_wrapping(path, 1, &loaded, &err), LS_E_NOT_FOUND);
	ck_ok(ls_identity_save_wrapping(path, 1, &one, &err));
	ck_ok(ls_identity_save_wrapping(path, 2, &one, &err));
	ck_assert_int_eq(mode_of("wrapping-1-key.pem"), 0600);
	ck_ok(ls_identity_load_wrapping(path, 1, &loaded, &err));
	ck_assert(ls_bytes_equal(ls_buf_bytes(&loaded.cert_pem), ls_buf_bytes(&one.cert_pem)));
	ls_signer_done(&loaded);
	ck_ok(ls_identity_destroy_wrapping(path, 1, &err));
	ck_ok(ls_identity_destroy_wrapping(path, 1, &err));
	ck_code(ls_identity_load_wrapping(path, 1, &loaded, &err), LS_E_NOT_FOUND);
	ck_ok(ls_identity_load_wrapping(path, 2, &loaded, &err));
	ls_signer_done(&loaded);
	ls_signer_done(&one);
}
END_TEST

START_TEST(a_destroyed_key_is_overwritten_even_for_who_holds_it_open)
{
	LS_CLEANUP(ls_free_str) char *key = ls_format("%s/wrapping-3-key.pem", path);
	LS_CLEANUP(ls_free_str) char *cut = ls_format("%s/.wrapping-3-key.pem.new", path);
	LS_CLEANUP(ls_fd_close) int fd = -1;
	char text[4096] = "";

	ck_ok(ls_identity_save(path, &mine, &err));
	ck_ok(ls_identity_save_wrapping(path, 3, &mine.signer, &err));
	write_file(".wrapping-3-key.pem.new", "cut off by a crash");
	fd = open(key, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_ok(ls_identity_destroy_wrapping(path, 3, &err));
	ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
	ck_assert_ptr_null(strstr(text, "PRIVATE KEY"));
	ck_assert_int_ne(access(key, F_OK), 0);
	ck_assert_int_ne(access(cut, F_OK), 0);
}
END_TEST

/* Saving a pair begins with its certificate: cut off there, that is all there is of it. */
START_TEST(what_a_crash_left_of_a_certificate_goes_too)
{
	LS_CLEANUP(ls_free_str) char *cut = ls_format("%s/.wrapping-2-cert.pem.new", path);

	ck_ok(ls_identity_save(path, &mine, &err));
	write_file(".wrapping-2-cert.pem.new", "cut off by a crash");
	ck_ok(ls_identity_destroy_wrapping(path, 2, &err));
	ck_assert_int_ne(access(cut, F_OK), 0);
}
END_TEST

LS_TEST_MAIN_FIXTURE("identity", setup, teardown, what_is_saved_is_loaded,
	what_others_can_read_is_refused_with_the_command_that_mends_it, node_json_is_read_strictly,
	a_part_that_is_missing_or_of_another_key_is_damage, wrapping_keys_come_and_go_by_epoch,
	a_destroyed_key_is_overwritten_even_for_who_holds_it_open,
	what_a_crash_left_of_a_certificate_goes_too)
