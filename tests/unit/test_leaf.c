/* A leaf's file: left alone while it is fit for use, replaced whole when it is not. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/leaf.h"
#include "pki/credential.h"
#include "pki/key.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define NOW 1795000000
#define NAME "leaf.pem"

static struct ls_err err;
static char root[] = "/tmp/ls-leaf-XXXXXX";
static struct ls_signer ca;
static int opened; /* how often the CA's key was asked for */
static bool locked_out;
static char dns[] = "DNS:etcd.example.com", ip[] = "IP:10.0.0.1";
static char *names[] = { dns, ip, NULL };
static struct ls_leaf_wish wish;
static struct ls_leaf_place place;
static struct ls_leaf_issuer issuer;

static enum ls_code open_ca(void *arg, struct ls_signer *out, struct ls_err *why)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	const struct ls_signer *from = arg;

	opened++;
	if (locked_out)
		return LS_FAIL(why, LS_E_REFUSED, "the epoch was forgotten");
	ls_buf_copy(&out->cert_pem, &from->cert_pem);
	LS_TRY(ls_key_to_pem(from->key, &pem, why));
	return ls_key_from_pem("ca", ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, &out->key, why);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	wish = (struct ls_leaf_wish){ .use = LS_LEAF_BOTH, .sans = names };
	place = (struct ls_leaf_place){
		.dir = root, .name = NAME, .mode = 0640, .group = (gid_t)-1
	};
	issuer = (struct ls_leaf_issuer){
		.cluster = "prod", .ca_pem = ls_buf_bytes(&ca.cert_pem), .open = open_ca, .arg = &ca
	};
}

static void teardown(void)
{
	ls_signer_done(&ca);
	ck_ok(ls_dir_remove(AT_FDCWD, root, &err));
}

static void read_file(struct ls_buf *out)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	ck_ok(ls_dir_open(root, &fd, &err));
	ck_ok(ls_file_read(fd, NAME, 65536, out, &err));
}

static void write_file(struct ls_bytes bytes)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	ck_ok(ls_dir_open(root, &fd, &err));
	ck_ok(ls_file_replace(fd, NAME, bytes, place.mode, (gid_t)-1, &err));
}

static bool issues_at(int64_t now_s)
{
	int before = opened;
	bool issued;

	ck_ok(ls_leaf_keep(&place, &wish, &issuer, now_s, &issued, &err));
	/* The CA's key is asked for when a leaf must be issued, not when the CA's part is mended.
	 */
	ck_assert_int_le(opened - before, issued);
	return issued;
}

/* Key, leaf and CA, in this order and nothing else; one pair; what was wished for. */
static void assert_whole(void)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_free_strv) char **left = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	const char *at;

	read_file(&text);
	at = ls_buf_text(&text);
	ck_assert(strncmp(at, "-----BEGIN PRIVATE KEY-----\n", 28) == 0);
	ck_ok(ls_key_from_pem(NAME, ls_buf_bytes(&text), (struct ls_bytes){ 0 }, &key, &err));
	ck_assert(ls_credential_matches(ls_buf_bytes(&text), key));
	ck_assert(ls_leaf_fits(ls_buf_bytes(&text), &wish));
	at = strstr(at, "-----BEGIN CERTIFICATE-----");
	at = strstr(at + 1, "-----BEGIN CERTIFICATE-----");
	ck_assert_str_eq(at, ls_buf_text(&ca.cert_pem));
	ck_ok(ls_dir_open(root, &fd, &err));
	ck_ok(ls_dir_list(fd, 10, &left, &err));
	ck_assert_uint_eq(ls_strv_count(left), 1);
}

START_TEST(what_is_fit_is_left_alone)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf first = { 0 }, second = { 0 };
	mode_t before = umask(077);
	struct stat st;

	ck_assert(issues_at(NOW));
	(void)umask(before);
	assert_whole();
	read_file(&first);
	ck_assert_int_eq(fstatat(AT_FDCWD, root, &st, 0), 0);
	ck_assert(!issues_at(NOW));
	ck_assert(!issues_at(NOW + 200 * INT64_C(86400)));
	read_file(&second);
	ck_assert_str_eq(ls_buf_text(&first), ls_buf_text(&second));
	ck_assert_int_eq(opened, 1);
}
END_TEST

START_TEST(what_is_due_gets_a_new_key)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf first = { 0 }, second = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", root, NAME);
	struct stat before, after;

	ck_assert(issues_at(NOW));
	read_file(&first);
	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert(issues_at(NOW + 300 * INT64_C(86400)));
	read_file(&second);
	ck_assert_int_eq(stat(path, &after), 0);
	assert_whole();
	ck_assert_uint_eq(after.st_mode & 07777, 0640);
	ck_assert_uint_ne(before.st_ino, after.st_ino); /* a reader has the old or the new */
	ck_ok(ls_key_from_pem(NAME, ls_buf_bytes(&first), (struct ls_bytes){ 0 }, &key, &err));
	ck_assert(!ls_credential_matches(ls_buf_bytes(&second), key));
}
END_TEST

START_TEST(what_is_not_as_wished_is_issued_anew)
{
	static char other[] = "DNS:other.example.com";
	static char *others[] = { dns, ip, other, NULL };

	ck_assert(issues_at(NOW));
	wish.sans = others;
	ck_assert(issues_at(NOW));
	assert_whole();
	ck_assert(!issues_at(NOW));
	wish.use = LS_LEAF_SERVER;
	ck_assert(issues_at(NOW));
	wish = (struct ls_leaf_wish){ .use = LS_LEAF_CLIENT };
	ck_assert(issues_at(NOW));
	assert_whole();
	ck_assert(!issues_at(NOW));
}
END_TEST

START_TEST(what_is_damaged_is_issued_anew)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf good = { 0 }, bad = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret other = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer stranger = { 0 };

	ck_assert(issues_at(NOW));
	read_file(&good);
	for (size_t len = 0; len < good.len; len += 97) { /* cut off anywhere */
		write_file((struct ls_bytes){ good.data, len });
		ck_assert_msg(issues_at(NOW), "cut off at %zu", len);
		assert_whole();
	}
	ls_buf_printf(&bad, "%s\n", ls_buf_text(&good));
	write_file(ls_buf_bytes(&bad));
	ck_assert(issues_at(NOW));
	/* The certificate of one key, behind another. */
	ck_ok(ls_authority_leaf(&ca, "prod", &wish, NOW, &stranger, &err));
	ck_ok(ls_key_to_pem(stranger.key, &other, &err));
	ls_buf_clear(&bad);
	ls_buf_add_bytes(&bad, ls_secret_bytes(&other));
	ls_buf_str(&bad, strstr(ls_buf_text(&good), "-----BEGIN CERTIFICATE-----"));
	write_file(ls_buf_bytes(&bad));
	ck_assert(issues_at(NOW));
	assert_whole();
}
END_TEST

START_TEST(another_ca_means_another_leaf)
{
	ck_assert(issues_at(NOW));
	ls_signer_done(&ca);
	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	issuer.ca_pem = ls_buf_bytes(&ca.cert_pem);
	ck_assert(issues_at(NOW));
	assert_whole();
}
END_TEST

START_TEST(an_earlier_ca_that_is_still_trusted_keeps_its_leaf)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf both = { 0 }, before = { 0 }, after = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer earlier = { 0 };
	size_t leaf;
	int asked;

	ck_assert(issues_at(NOW));
	read_file(&before);
	leaf = before.len - ca.cert_pem.len;
	earlier = ca;
	ca = (struct ls_signer){ 0 };
	ck_ok(ls_authority_create("prod", NOW, &ca, &err));
	ls_buf_printf(&both, "%s%s", ls_buf_text(&ca.cert_pem), ls_buf_text(&earlier.cert_pem));
	issuer.ca_pem = ls_buf_bytes(&both);
	asked = opened;
	ck_assert(issues_at(NOW));       /* the file is written … */
	ck_assert_int_eq(opened, asked); /* … and no key was needed for it */
	read_file(&after);
	ck_assert_uint_eq(after.len, leaf + both.len);
	ck_assert_int_eq(memcmp(after.data, before.data, leaf), 0);
	ck_assert(!issues_at(NOW));
	/* Once the earlier one is not trusted any more. */
	issuer.ca_pem = ls_buf_bytes(&ca.cert_pem);
	ck_assert(issues_at(NOW));
	ck_assert_int_eq(opened, asked + 1);
	assert_whole();
}
END_TEST

START_TEST(a_key_that_others_could_read_is_replaced)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", root, NAME);
	struct stat st;

	ck_assert(issues_at(NOW));
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert(issues_at(NOW));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	place.mode = 0600;
	ck_assert(issues_at(NOW));
	place.group = getegid();
	ck_assert(!issues_at(NOW));
	if (geteuid() == 0) {
		place.group = getegid() + 1;
		ck_assert(issues_at(NOW));
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_gid, getegid() + 1);
	}
	/* A link is no file of ours. */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink("/dev/null", path), 0);
	ck_assert(issues_at(NOW));
	assert_whole();
}
END_TEST

START_TEST(a_failure_leaves_the_old_file)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf first = { 0 }, second = { 0 };
	bool issued = false;

	ck_assert(issues_at(NOW));
	read_file(&first);
	locked_out = true;
	ck_code(ls_leaf_keep(&place, &wish, &issuer, NOW + 300 * INT64_C(86400), &issued, &err),
		LS_E_REFUSED);
	ck_assert(strstr(err.text, NAME) != NULL);
	ck_assert(strstr(err.text, "the epoch was forgotten") != NULL);
	ck_assert(!issued);
	read_file(&second);
	ck_assert_str_eq(ls_buf_text(&first), ls_buf_text(&second));
	place.dir = "/nonexistent";
	ck_code(ls_leaf_keep(&place, &wish, &issuer, NOW, &issued, &err), LS_E_NOT_FOUND);
}
END_TEST

LS_TEST_MAIN_FIXTURE("leaf", setup, teardown, what_is_fit_is_left_alone, what_is_due_gets_a_new_key,
	what_is_not_as_wished_is_issued_anew, what_is_damaged_is_issued_anew,
	another_ca_means_another_leaf, an_earlier_ca_that_is_still_trusted_keeps_its_leaf,
	a_key_that_others_could_read_is_replaced, a_failure_leaves_the_old_file)
