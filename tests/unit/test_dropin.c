/* What operators drop: halves in any order and at any pace, files of every kind, and never the
 * wrong file removed nor a key kept. Time is a number here. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "intake/dropin.h"
#include "pki/key.h"
#include "sys/file.h"
#include "tests/unit/sample.h"

#define SETTLE 300
#define PATIENCE 20000
#define BYTES_MAX 1000

static const struct ls_dropin_settings settings = { SETTLE, PATIENCE, BYTES_MAX };
static char root[] = "/tmp/lockstep-dropin-XXXXXX";
static char incoming[64], rejected[64];
static int in_fd = -1;
static struct ls_dropin *dropin;
static struct ls_dropin_offer offer;
static struct ls_err err;

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
	(void)snprintf(incoming, sizeof incoming, "%s/incoming", root);
	(void)snprintf(rejected, sizeof rejected, "%s/rejected", root);
	ck_ok(ls_dir_make(incoming, 0700, &err));
	ck_ok(ls_dir_open(incoming, &in_fd, &err));
	ls_dropin_new(incoming, &settings, &dropin);
}

static void teardown(void)
{
	ls_dropin_free(&dropin);
	ls_fd_close(&in_fd);
	ck_ok(ls_dir_remove(AT_FDCWD, root, &err));
}

static void put(const char *name, const char *text)
{
	(void)unlinkat(in_fd, name, 0);
	ck_ok(ls_file_create(in_fd, name, LS_BYTES_STR(text), 0600, (gid_t)-1, &err));
}

static void scan(int64_t now_ms)
{
	ck_ok(ls_dropin_scan(dropin, now_ms, &err));
}

static bool next(int64_t now_ms)
{
	return ls_dropin_next(dropin, now_ms, &offer);
}

static bool there(const char *name)
{
	return ls_file_exists(in_fd, name);
}

static int captured(const char *text)
{
	int fd;

	put("captured", text);
	fd = openat(in_fd, "captured", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlinkat(in_fd, "captured", 0), 0);
	return fd;
}

/* How many files were put aside. */
static size_t asides(void)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	size_t count = 0;

	ck_ok(ls_dir_list(in_fd, 100, &names, &err));
	for (size_t i = 0; names[i]; i++)
		count += strncmp(names[i], ".refused-", 9) == 0;
	return count;
}

static void assert_bytes(struct ls_bytes got, const char *want)
{
	if (!want) {
		ck_assert_ptr_null(got.data);
		return;
	}
	ck_assert_ptr_nonnull(got.data);
	ck_assert_uint_eq(got.len, strlen(want));
	ck_assert_mem_eq(got.data, want, got.len);
}

static void assert_offer(const char *component, const char *cert, const char *key)
{
	ck_assert_str_eq(offer.component, component);
	assert_bytes(offer.cert, cert);
	assert_bytes(offer.key, key);
	ck_assert_ptr_null(offer.fault);
}

START_TEST(a_pair_is_offered_when_it_is_quiet_and_goes_when_taken)
{
	put("proxy_cert.pem", "CERT");
	put("proxy_key.pem", "KEY");
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 0), -1);
	scan(0);
	ck_assert(!next(0));
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 100), SETTLE - 100);
	ck_assert(!next(SETTLE - 1));
	ck_assert(next(SETTLE));
	assert_offer("proxy", "CERT", "KEY");
	ck_assert_str_eq(offer.cert_name, "proxy_cert.pem");
	ck_assert_str_eq(offer.key_name, "proxy_key.pem");
	ck_assert(!offer.last_chance);
	ck_assert_int_eq(offer.origin, LS_DROPIN_INCOMING);
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	ck_assert(!there("proxy_cert.pem") && !there("proxy_key.pem"));
	scan(400);
	ck_assert(!next(10000));
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 10000), -1);
}
END_TEST

/* The process died while files went out: the record alone may not tell what became of them. */
START_TEST(what_a_crash_left_on_its_way_out_comes_back)
{
	put(".taken-1763764800000-proxy_cert.pem", "CERT");
	put(".taken-1763764800001-proxy_key.pem", "KEY");
	put("cm_key.pem", "NEWER");
	put(".taken-1763764800002-cm_key.pem", "OLDER");
	put(".taken-by-somebody", "THEIRS");
	ls_dropin_free(&dropin);
	ls_dropin_new(incoming, &settings, &dropin);
	scan(0);
	ck_assert(next(SETTLE));
	if (strcmp(offer.component, "cm") == 0) {
		assert_offer("cm", NULL, "NEWER");
		ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
		ck_assert(next(SETTLE));
	}
	assert_offer("proxy", "CERT", "KEY");
	ck_assert(there(".taken-by-somebody"));
	ck_assert(!there(".taken-1763764800002-cm_key.pem"));
}
END_TEST

START_TEST(halves_come_in_any_order_and_each_restarts_the_settling)
{
	put("proxy_key.pem", "KEY");
	scan(0);
	put("proxy_cert.pem", "CERT");
	scan(200);
	ck_assert(!next(SETTLE));
	ck_assert(next(200 + SETTLE));
	assert_offer("proxy", "CERT", "KEY");
	ls_dropin_settle(dropin, LS_DROPIN_REFUSED, 500);
	ck_assert(!there("proxy_cert.pem") && !there("proxy_key.pem"));
}
END_TEST

START_TEST(an_incomplete_half_waits_for_the_other_until_patience_ends)
{
	put("proxy_cert.pem", "CERT");
	scan(0);
	ck_assert(next(SETTLE));
	assert_offer("proxy", "CERT", NULL);
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, SETTLE);
	ck_assert(there("proxy_cert.pem"));
	scan(1000);
	ck_assert(!next(1000));
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 1000), PATIENCE - 1000);
	ck_assert(!next(PATIENCE - 1));
	ck_assert(next(PATIENCE));
	ck_assert(offer.last_chance);
	ls_dropin_settle(dropin, LS_DROPIN_REFUSED, PATIENCE);
	ck_assert(!there("proxy_cert.pem"));
}
END_TEST

/* Nothing can be written into rejected/, say: not a reason to try all the time. */
START_TEST(waiting_after_the_last_chance_is_not_tried_at_once)
{
	put("proxy_cert.pem", "CERT");
	scan(0);
	ck_assert(next(PATIENCE));
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, PATIENCE);
	ck_assert(!next(PATIENCE));
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, PATIENCE), PATIENCE);
	ck_assert(next(2 * PATIENCE));
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, 2 * PATIENCE);
	put("proxy_key.pem", "KEY");
	scan(2 * PATIENCE + 10);
	ck_assert(next(2 * PATIENCE + 10 + SETTLE));
	assert_offer("proxy", "CERT", "KEY");
}
END_TEST

START_TEST(the_other_half_is_a_new_chance)
{
	put("proxy_cert.pem", "CERT");
	scan(0);
	ck_assert(next(SETTLE));
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, SETTLE);
	put("proxy_key.pem", "KEY");
	scan(5000);
	ck_assert(!next(5000));
	ck_assert(next(5000 + SETTLE));
	assert_offer("proxy", "CERT", "KEY");
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, 5300);
	put("proxy_key.pem", "OTHER KEY"); /* a half that changes, too */
	scan(6000);
	ck_assert(next(6000 + SETTLE));
	assert_offer("proxy", "CERT", "OTHER KEY");
}
END_TEST

START_TEST(a_retry_comes_soon_and_then_more_seldom)
{
	put("proxy.pem", "BOTH");
	scan(0);
	for (int64_t at = SETTLE, wait = 200; at < 60000;
		at += wait, wait = wait < 12800 ? 2 * wait : wait) {
		ck_assert(next(at));
		assert_offer("proxy", "BOTH", "BOTH");
		ck_assert_str_eq(offer.cert_name, offer.key_name);
		ls_dropin_settle(dropin, LS_DROPIN_RETRY, at);
		ck_assert(!next(at + wait - 1));
		ck_assert_int_eq(ls_dropin_wake_ms(dropin, at), wait);
		scan(at + 100);
	}
	ck_assert(there("proxy.pem"));
}
END_TEST

START_TEST(a_half_beside_a_combined_file_comes_first)
{
	put("proxy.pem", "BOTH");
	put("proxy_key.pem", "KEY");
	scan(0);
	ck_assert(next(SETTLE));
	assert_offer("proxy", "BOTH", "KEY");
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	ck_assert(!there("proxy.pem") && !there("proxy_key.pem"));
}
END_TEST

START_TEST(components_do_not_wait_for_each_other)
{
	put("proxy.pem", "P");
	put("api.pem", "A");
	scan(0);
	ck_assert(next(SETTLE));
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, SETTLE);
	ck_assert(next(SETTLE));
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	ck_assert(!next(SETTLE));
	ck_assert(there("proxy.pem") != there("api.pem"));
}
END_TEST

START_TEST(vanished_files_are_forgotten)
{
	put("proxy_cert.pem", "CERT");
	put("proxy_key.pem", "KEY");
	scan(0);
	ck_assert_int_eq(unlinkat(in_fd, "proxy_key.pem", 0), 0);
	scan(1000);
	ck_assert(next(1000 + SETTLE));
	assert_offer("proxy", "CERT", NULL);
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, 1300);
	ck_assert_int_eq(unlinkat(in_fd, "proxy_cert.pem", 0), 0);
	scan(2000);
	ck_assert(!next(PATIENCE * 2));
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 2000), -1);
}
END_TEST

START_TEST(patience_begins_anew_with_a_new_file)
{
	put("proxy_cert.pem", "CERT");
	scan(0);
	ck_assert(next(SETTLE));
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	put("proxy_cert.pem", "NEXT");
	scan(PATIENCE * 3); /* before anything has forgotten the first */
	ck_assert(next(PATIENCE * 3 + SETTLE));
	assert_offer("proxy", "NEXT", NULL);
	ck_assert(!offer.last_chance);
}
END_TEST

START_TEST(a_file_replaced_while_it_is_judged_is_not_removed)
{
	put("proxy_cert.pem", "CERT");
	put("proxy_key.pem", "KEY");
	scan(0);
	ck_assert(next(SETTLE));
	put("proxy_key.pem", "NEXT");
	scan(310); /* does nothing while something is judged */
	assert_offer("proxy", "CERT", "KEY");
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, 400);
	ck_assert(!there("proxy_cert.pem"));
	ck_assert(there("proxy_key.pem"));
	scan(500);
	ck_assert(next(500 + SETTLE));
	assert_offer("proxy", NULL, "NEXT");
}
END_TEST

START_TEST(a_file_written_on_while_it_is_judged_is_not_removed)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	put("proxy.pem", "HALF");
	fd = openat(in_fd, "proxy.pem", O_WRONLY | O_APPEND | O_CLOEXEC);
	scan(0);
	ck_assert(next(SETTLE));
	assert_offer("proxy", "HALF", "HALF");
	ck_assert_int_eq(write(fd, " AND HALF", 9), 9);
	ls_dropin_settle(dropin, LS_DROPIN_REFUSED, 400);
	ck_assert(there("proxy.pem"));
	scan(500);
	ck_assert(next(500 + SETTLE));
	assert_offer("proxy", "HALF AND HALF", "HALF AND HALF");
}
END_TEST

static char last_component[80];

/* Offered with a fault at once, and gone when refused. */
static void assert_fault(const char *name, const char *words)
{
	scan(0);
	ck_assert_msg(next(SETTLE), "'%s' is not offered", name);
	ck_assert_msg(offer.fault != NULL, "'%s' has no fault", name);
	ck_assert_msg(strstr(offer.fault, words) != NULL, "'%s' lacks '%s'", offer.fault, words);
	(void)snprintf(last_component, sizeof last_component, "%s", offer.component);
	ls_dropin_settle(dropin, LS_DROPIN_REFUSED, SETTLE);
	ck_assert_msg(!there(name), "'%s' is still there", name);
	scan(SETTLE);
	ck_assert(!next(SETTLE * 2));
}

START_TEST(links_are_not_followed)
{
	put("elsewhere_key.pem", "SECRET");
	ck_assert_int_eq(renameat(in_fd, "elsewhere_key.pem", in_fd, "../target"), 0);
	ck_assert_int_eq(symlinkat("../target", in_fd, "proxy_key.pem"), 0);
	assert_fault("proxy_key.pem", "symbolic link");
	ck_assert_int_eq(linkat(in_fd, "../target", in_fd, "proxy_key.pem", 0), 0);
	assert_fault("proxy_key.pem", "2 links");
	ck_assert(there("../target"));
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused_without_waiting)
{
	ck_assert_int_eq(mkfifoat(in_fd, "proxy_key.pem", 0600), 0);
	assert_fault("proxy_key.pem", "not a regular file");
	ck_assert_int_eq(mkdirat(in_fd, "proxy_key.pem", 0700), 0);
	put("proxy_key.pem/../api.pem", "x");
	ck_assert_int_eq(unlinkat(in_fd, "api.pem", 0), 0);
	assert_fault("proxy_key.pem", "not a regular file");
}
END_TEST

START_TEST(a_file_that_is_too_large_is_refused)
{
	char large[BYTES_MAX + 2];

	memset(large, 'x', sizeof large);
	large[BYTES_MAX + 1] = '\0';
	put("proxy.pem", large);
	assert_fault("proxy.pem", "1000 are allowed");
	large[BYTES_MAX] = '\0';
	put("proxy.pem", large);
	scan(0);
	ck_assert(next(SETTLE));
	assert_offer("proxy", large, large);
}
END_TEST

START_TEST(a_file_of_another_user_is_refused)
{
	put("proxy.pem", "x");
	if (geteuid() != 0) /* nobody else's file can be made */
		return;
	ck_assert_int_eq(fchownat(in_fd, "proxy.pem", 65534, 65534, 0), 0);
	assert_fault("proxy.pem", "belongs to user 65534");
}
END_TEST

START_TEST(names_that_are_none_are_refused_and_dotfiles_left_alone)
{
	static const char *const names[] = {
		"notes.txt", "a\nb_cert.pem", "Proxy_cert.pem", "_cert.pem.bak", "caf\xe9.pem",
		"123456789012345678901234567890123_cert.pem",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.pem"
	};

	put(".proxy_cert.pem.swp", "x");
	scan(0);
	ck_assert(!next(PATIENCE * 2));
	for (size_t i = 0; i < LS_COUNT(names); i++) {
		put(names[i], "x");
		assert_fault(names[i], "the name is none of");
		ck_assert_ptr_null(strchr(last_component, '\n')); /* it goes into the journal */
	}
	ck_assert(there(".proxy_cert.pem.swp"));
}
END_TEST

/* Such names may agree in all that is kept of them. */
START_TEST(long_names_do_not_hide_each_other)
{
	char first[120], second[120];
	int removed = 0;

	memset(first, 'a', sizeof first);
	(void)snprintf(first + 100, sizeof first - 100, "1.txt");
	memcpy(second, first, sizeof second);
	second[100] = '2';
	put(first, "x");
	put(second, "x");
	for (int64_t at = 0; at < 10 * SETTLE; at += SETTLE) {
		scan(at);
		while (next(at)) {
			ls_dropin_settle(dropin, LS_DROPIN_REFUSED, at);
			removed++;
		}
	}
	ck_assert(!there(first) && !there(second));
	ck_assert_int_ge(removed, 2);
}
END_TEST

START_TEST(ten_thousand_files_are_looked_at_and_more_are_refused)
{
	char name[64];

	for (int i = 0; i < 10000; i++) {
		LS_CLEANUP(ls_fd_close) int fd = -1;

		(void)snprintf(name, sizeof name, "c%d_cert.pem", i);
		fd = openat(in_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_eq(write(fd, name, 5), 5);
	}
	scan(0);
	scan(100);
	for (int i = 0; i < 200; i++) {
		ck_assert(next(SETTLE));
		ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	}
	scan(SETTLE + 1);
	for (int i = 0; i < 201; i++) {
		(void)snprintf(name, sizeof name, "d%d_cert.pem", i);
		put(name, "x");
	}
	ck_code(ls_dropin_scan(dropin, SETTLE + 2, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "more than 10000 files"));
	ck_assert(next(SETTLE + 2)); /* and yet they go on becoming fewer */
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE + 2);
	scan(SETTLE + 3);
}
END_TEST

/* A flood of names that are none must not cost what a drop-in costs, each, nor come before one. */
START_TEST(strays_come_last_and_all_at_once_and_are_put_aside_unread)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf names = { 0 };
	char **known = NULL;

	ls_strv_add(&known, "proxy");
	ls_strv_add(&known, "api");
	ls_strv_add(&known, "metrics_exporter");
	ls_dropin_know(dropin, &known);
	put("notes.txt", "x");
	put("x1_cert.pem", "x");
	put("x1_key.pem", "x");
	put("a\nb", "x");
	put("late.txt", "x");
	scan(0);
	put("proxy.pem", "PROXY");
	put("metrics.pem", "METRICS"); /* an alias is a component */
	scan(1);
	for (int i = 0; i < 2; i++) {
		ck_assert(next(1 + SETTLE));
		ck_assert(!offer.stray);
		ls_dropin_settle(dropin, LS_DROPIN_TAKEN, 1 + SETTLE);
	}
	put("late.txt", "y");
	scan(2 + SETTLE); /* that one is not quiet yet */
	ck_assert(next(2 + SETTLE));
	ck_assert(offer.stray);
	ck_assert_uint_eq(ls_dropin_gather(dropin, 2 + SETTLE, &names), 4);
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&names), "x1_key.pem"));
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&names), "notes.txt"));
	ck_assert_ptr_null(strchr(ls_buf_text(&names), '\n'));
	ls_dropin_settle(dropin, LS_DROPIN_RETRY, 2 + SETTLE);
	ck_assert(!next(1001 + SETTLE)); /* batches of one a second: few are small */
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 1001 + SETTLE), 1);
	ck_assert(there("notes.txt") && there("x1_key.pem"));
	put("late.txt", "z");
	scan(1002 + SETTLE);
	ck_assert(next(1002 + SETTLE));
	ck_assert_uint_eq(ls_dropin_gather(dropin, 1002 + SETTLE, &names), 4);
	ls_dropin_settle(dropin, LS_DROPIN_REFUSED, 1002 + SETTLE);
	ck_assert(!there("notes.txt") && !there("x1_cert.pem") && !there("x1_key.pem"));
	ck_assert(there("late.txt"));
	ck_assert_uint_eq(asides(), 4);
	scan(1003 + SETTLE);
	ck_assert(next(2002 + SETTLE));
	ck_assert_str_eq(offer.component, "?late.txt");
}
END_TEST

START_TEST(a_drop_in_of_a_component_gathers_nothing)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf names = { 0 };

	put("proxy.pem", "x");
	put("notes.txt", "x");
	scan(0);
	ck_assert(next(SETTLE));
	assert_offer("proxy", "x", "x");
	ck_assert_uint_eq(ls_dropin_gather(dropin, SETTLE, &names), 0);
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	ck_assert(there("notes.txt"));
}
END_TEST

/* What lay there quietly is what is read: not what was put in its place since, nor what a link
 * there leads to. */
START_TEST(what_was_swapped_after_the_look_is_not_read)
{
	put("../target", "SECRET");
	put("proxy.pem", "x");
	scan(0);
	put("proxy.pem", "y");
	ck_assert(!next(SETTLE));
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, SETTLE), SETTLE);
	scan(SETTLE);
	ck_assert_int_eq(unlinkat(in_fd, "proxy.pem", 0), 0);
	ck_assert_int_eq(symlinkat("../target", in_fd, "proxy.pem"), 0);
	ck_assert(!next(2 * SETTLE));
	ck_assert(there("proxy.pem"));
	scan(2 * SETTLE);
	ck_assert_int_eq(unlinkat(in_fd, "proxy.pem", 0), 0);
	ck_assert(!next(3 * SETTLE)); /* gone */
	scan(3 * SETTLE);
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, 3 * SETTLE), -1);
}
END_TEST

START_TEST(what_begins_with_a_dot_does_not_count)
{
	for (int i = 0; i < LS_DROPIN_FILES_MAX + 1; i++) {
		char name[64];

		(void)snprintf(name, sizeof name, ".refused-%d", i);
		ck_assert_int_eq(symlinkat("x", in_fd, name), 0);
	}
	put("proxy.pem", "x");
	scan(0);
	ck_assert(next(SETTLE));
	assert_offer("proxy", "x", "x");
}
END_TEST

/* Each is kept open, since its writer may go on; not so many that none are left for others. */
START_TEST(captured_files_do_not_use_up_the_descriptors)
{
	struct rlimit before, few;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 200, before.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int i = 0; i < 400; i++) {
		char name[32], text[32];

		(void)snprintf(name, sizeof name, "c%d", i);
		(void)snprintf(text, sizeof text, "BYTES %d", i);
		ls_dropin_capture(dropin, name, LS_LIVE_BOTH, captured(text), 0);
	}
	for (int i = 0; i < 400; i++) {
		char name[32], text[32];

		(void)snprintf(name, sizeof name, "c%d", i);
		(void)snprintf(text, sizeof text, "BYTES %d", i);
		ck_assert(next(SETTLE));
		assert_offer(name, text, text);
		ls_dropin_settle(dropin, LS_DROPIN_RETRY, SETTLE);
	}
	ck_assert(next(2 * SETTLE)); /* it can be offered again */
	assert_offer("c0", "BYTES 0", "BYTES 0");
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, 2 * SETTLE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

START_TEST(an_absent_directory_is_an_error_and_forgets_nothing)
{
	put("proxy.pem", "x");
	scan(0);
	ck_assert_int_eq(renameat(in_fd, ".", AT_FDCWD, "x"), -1);
	ck_assert_int_eq(renameat(AT_FDCWD, incoming, AT_FDCWD, rejected), 0);
	ck_code(ls_dropin_scan(dropin, 10, &err), LS_E_NOT_FOUND);
	ck_assert(!next(SETTLE));
	ck_assert_int_gt(ls_dropin_wake_ms(dropin, SETTLE), 100); /* not all the time */
	ck_assert_int_eq(renameat(AT_FDCWD, rejected, AT_FDCWD, incoming), 0);
	ck_assert(next(SETTLE + 1000));
	assert_offer("proxy", "x", "x");
	ck_assert_int_eq(renameat(AT_FDCWD, incoming, AT_FDCWD, rejected), 0);
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE + 1000);
	ck_assert(there("proxy.pem")); /* not to be reached: it is offered again */
}
END_TEST

/* What was written over live files. */

START_TEST(captured_files_are_a_drop_in_of_their_own)
{
	put("proxy.pem", "DROPPED");
	ls_dropin_capture(dropin, "proxy", LS_LIVE_CERT, captured("CERT"), 0);
	ls_dropin_capture(dropin, "proxy", LS_LIVE_KEY, captured("KEY"), 0);
	ls_dropin_capture(dropin, "proxy", LS_LIVE_CA, captured("CA"), 0);
	ls_dropin_capture(dropin, "proxy", LS_LIVE_KEY, -1, 0);
	scan(1); /* what is not in incoming/ does not vanish */
	ck_assert(next(SETTLE));
	assert_offer("proxy", "CERT", "KEY");
	ck_assert_int_eq(offer.origin, LS_DROPIN_LIVE);
	ck_assert_str_eq(offer.cert_name, "proxy_cert.pem");
	ls_dropin_settle(dropin, LS_DROPIN_TAKEN, SETTLE);
	ck_assert(there("proxy.pem"));
	ck_assert(next(1 + SETTLE));
	assert_offer("proxy", "DROPPED", "DROPPED");
	ck_assert_int_eq(offer.origin, LS_DROPIN_INCOMING);
}
END_TEST

START_TEST(a_captured_file_may_still_be_written)
{
	LS_CLEANUP(ls_fd_close) int writer = -1;
	int fd = captured("BEGUN");

	writer = dup(fd);
	ck_assert_int_eq(lseek(writer, 0, SEEK_END), 5);
	ls_dropin_capture(dropin, "proxy", LS_LIVE_BOTH, fd, 0);
	ck_assert_int_eq(write(writer, " MORE", 5), 5);
	ck_assert(next(SETTLE)); /* nobody had read it before */
	assert_offer("proxy", "BEGUN MORE", "BEGUN MORE");
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, SETTLE);
	ck_assert_int_eq(lseek(writer, 0, SEEK_END), 10);
	ck_assert_int_eq(write(writer, " END", 4), 4);
	ck_assert(!next(PATIENCE)); /* changed since: it settles first */
	ck_assert(next(PATIENCE + SETTLE));
	assert_offer("proxy", "BEGUN MORE END", "BEGUN MORE END");
}
END_TEST

START_TEST(a_captured_file_that_goes_on_is_looked_at_again_before_the_last_chance)
{
	LS_CLEANUP(ls_fd_close) int writer = -1;
	int fd = captured("BEGUN");

	writer = dup(fd);
	ls_dropin_capture(dropin, "proxy", LS_LIVE_BOTH, fd, 0);
	ck_assert(next(SETTLE));
	ls_dropin_settle(dropin, LS_DROPIN_WAIT, SETTLE);
	ck_assert_int_eq(write(writer, " END", 4), 4);
	/* No event tells of it: the file has no name any more. */
	ck_assert_int_eq(ls_dropin_wake_ms(dropin, SETTLE), 1000);
	ck_assert(!next(SETTLE + 1000));
	ck_assert(next(SETTLE + 1000 + SETTLE));
	assert_offer("proxy", "BEGUN END", "BEGUN END");
}
END_TEST

START_TEST(a_captured_file_that_is_too_large_has_a_fault)
{
	char large[BYTES_MAX + 2];

	memset(large, 'x', sizeof large);
	large[BYTES_MAX + 1] = '\0';
	ls_dropin_capture(dropin, "proxy", LS_LIVE_KEY, captured(large), 0);
	ck_assert(next(SETTLE));
	ck_assert_ptr_nonnull(offer.fault);
	ls_dropin_settle(dropin, LS_DROPIN_REFUSED, SETTLE);
	ck_assert(!next(PATIENCE * 2));
}
END_TEST

/* rejected/ */

#define KEY_BLOCK "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"

static void reject(const char *component, const char *cert, struct ls_buf *out_text)
{
	LS_CLEANUP(ls_free_str) char *path = NULL;
	LS_CLEANUP(ls_free_str) char *file = NULL;
	LS_CLEANUP(ls_free_str) char *reason = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf why = { 0 };
	struct stat st;

	ck_ok(ls_dropin_reject(rejected, 1700000000123, component, "the reason",
		cert ? LS_BYTES_STR(cert) : (struct ls_bytes){ 0 }, &path, &err));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0700);
	reason = ls_format("%s/reason.txt", path);
	ck_ok(ls_file_read(AT_FDCWD, reason, 1000, &why, &err));
	ck_assert_str_eq(ls_buf_text(&why), "the reason\n");
	file = ls_format("%s/%s_cert.pem", path, component);
	ls_buf_clear(out_text);
	if (ls_file_read(AT_FDCWD, file, 10000, out_text, &err) != LS_OK)
		ls_buf_clear(out_text);
}

/* A certificate without the newline at its end. */
static char *cert_block(void)
{
	struct ls_signer ca = { 0 };
	char *text;

	ck_ok(ls_authority_create("prod", SAMPLE_NOW, &ca, &err));
	text = ls_strndup(ca.cert_pem.data, ca.cert_pem.len - 1);
	ls_signer_done(&ca);
	return text;
}

START_TEST(a_refusal_keeps_certificates_and_never_a_key)
{
	static const char *const forms[] = { /* @ is a certificate, # a key */
		"@\n#@\n", "#@\n@", "@ SECRET @", "@\n@\n-----BEGIN CERTIFICATE-----\nSECRET",
		"SECRET @\n-----BEGIN CERTIFICATE-----\n#-----END CERTIFICATE-----\n@"
	};
	LS_CLEANUP(ls_free_str) char *cert = cert_block();
	LS_CLEANUP(ls_free_str) char *want = ls_format("%s\n%s\n", cert, cert);
	LS_CLEANUP(ls_buf_done) struct ls_buf kept = { 0 };

	for (size_t i = 0; i < LS_COUNT(forms); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

		for (const char *at = forms[i]; *at; at++) {
			if (*at == '@' || *at == '#')
				ls_buf_str(&text, *at == '@' ? cert : KEY_BLOCK);
			else
				ls_buf_add(&text, at, 1);
		}
		reject("proxy", ls_buf_text(&text), &kept);
		ck_assert_str_eq(ls_buf_text(&kept), want);
	}
	reject("proxy", KEY_BLOCK, &kept);
	ck_assert_uint_eq(kept.len, 0);
	reject("proxy", NULL, &kept);
	ck_assert_uint_eq(kept.len, 0);
}
END_TEST

/* The label alone makes no certificate: what stands between may be somebody's key. */
START_TEST(what_is_only_called_a_certificate_is_not_kept)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf kept = { 0 };

	reject("proxy", "-----BEGIN CERTIFICATE-----\nSECRETSECRET\n-----END CERTIFICATE-----\n",
		&kept);
	ck_assert_uint_eq(kept.len, 0);
}
END_TEST

START_TEST(refusals_of_one_instant_do_not_share_a_directory)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf kept = { 0 };
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	for (int i = 0; i < 5; i++)
		reject("proxy", KEY_BLOCK, &kept);
	ck_ok(ls_dir_open(rejected, &fd, &err));
	ck_ok(ls_dir_list(fd, 100, &names, &err));
	ck_assert_uint_eq(ls_strv_count(names), 5);
	ck_assert_str_eq(names[0], "20231114T221320.123Z-proxy");
}
END_TEST

START_TEST(a_component_that_is_no_name_cannot_leave_the_directory)
{
	static const char *const components[] = { "../../escape", "?a/b", "?a\nb", "?",
		"?notes.txt" };
	LS_CLEANUP(ls_free_str) char *cert = cert_block();
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	for (size_t i = 0; i < LS_COUNT(components); i++)
		ck_ok(ls_dropin_reject(rejected, 1700000000123, components[i], "why",
			LS_BYTES_STR(cert), NULL, &err));
	ck_ok(ls_dir_open(rejected, &fd, &err));
	ck_ok(ls_dir_list(fd, 100, &names, &err));
	ck_assert_uint_eq(ls_strv_count(names), LS_COUNT(components));
	for (size_t i = 0; names[i]; i++) {
		LS_CLEANUP(ls_free_str)
		char *file = ls_format("%s/%s/unknown_cert.pem", rejected, names[i]);

		ck_assert_ptr_nonnull(strstr(names[i], "-unknown"));
		ck_assert_msg(access(file, F_OK) == 0, "no %s", file);
	}
}
END_TEST

START_TEST(old_refusals_go_and_nothing_else)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf kept = { 0 };
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	const int64_t at_ms = 1700000000123, day_ms = 86400000;

	reject("proxy", KEY_BLOCK, &kept);
	ck_ok(ls_dir_open(rejected, &fd, &err));
	ck_assert_int_eq(mkdirat(fd, "2-keep", 0700), 0);
	ck_assert_int_eq(mkdirat(fd, "kept by hand", 0700), 0);
	ck_ok(ls_dropin_expire(rejected, at_ms + 30 * day_ms, 30, &err));
	ck_ok(ls_dir_list(fd, 100, &names, &err));
	ck_assert_uint_eq(ls_strv_count(names), 3);
	ls_free_strv(&names);
	ck_ok(ls_dropin_expire(rejected, at_ms + 30 * day_ms + 1, 30, &err));
	ck_ok(ls_dir_list(fd, 100, &names, &err));
	ck_assert_uint_eq(ls_strv_count(names), 2);
	ck_assert(ls_strv_has(names, "kept by hand"));
}
END_TEST

/* A script that drops the same bad pair all day long. */
START_TEST(refusals_are_bounded_in_number_and_size)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf kept = { 0 }, text = { 0 };
	LS_CLEANUP(ls_free_str) char *cert = cert_block();
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	const int64_t at_ms = 1700000000123;

	ck_ok(ls_dir_make(rejected, 0700, &err));
	ck_ok(ls_dir_open(rejected, &fd, &err));
	ck_assert_int_eq(mkdirat(fd, "kept by hand", 0700), 0);
	for (int i = 0; i < LS_REJECTED_MAX + 20; i++) {
		LS_CLEANUP(ls_free_str) char *name = NULL;
		char stamp[LS_TIME_TEXT_SIZE];

		ls_time_stamp(at_ms - 1 - i, stamp);
		name = ls_format("%s-proxy", stamp);
		ck_assert_int_eq(mkdirat(fd, name, 0700), 0);
	}
	while (text.len < 256 * 1024)
		ls_buf_printf(&text, "%s\n", cert);
	ck_ok(ls_dropin_reject(rejected, at_ms, "proxy", "why", ls_buf_bytes(&text), NULL, &err));
	ck_ok(ls_dropin_expire(rejected, at_ms, 30, &err));
	ck_ok(ls_dir_list(fd, 5000, &names, &err));
	ck_assert_uint_eq(ls_strv_count(names), LS_REJECTED_MAX + 1);
	ck_assert(ls_strv_has(names, "kept by hand"));
	ck_assert(ls_strv_has(names, "20231114T221320.123Z-proxy"));
	ck_ok(ls_file_read(
		fd, "20231114T221320.123Z-proxy/proxy_cert.pem", 64 * 1024, &kept, &err));
	ck_assert_uint_gt(kept.len, 32 * 1024);
	ck_assert_uint_eq(kept.len % (strlen(cert) + 1), 0);
}
END_TEST

START_TEST(what_can_be_judged_for_good)
{
	struct sample sample = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 }, other = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf both = { 0 };
	struct ls_bytes none = { 0 }, cert, stranger;

	sample_init(&sample);
	cert = ls_buf_bytes(&sample.n1.cert_pem);
	stranger = ls_buf_bytes(&sample.n2.cert_pem);
	ck_ok(ls_key_to_pem(sample.n1.key, &key, &err));
	ck_ok(ls_key_to_pem(sample.n2.key, &other, &err));
	ck_assert(ls_dropin_complete(&sample.state, "proxy", cert, ls_secret_bytes(&key)));
	ck_assert(!ls_dropin_complete(&sample.state, "proxy", cert, ls_secret_bytes(&other)));
	ck_assert(!ls_dropin_complete(&sample.state, "proxy", none, ls_secret_bytes(&key)));
	ck_assert(!ls_dropin_complete(
		&sample.state, "proxy", LS_BYTES_STR("no certificate"), ls_secret_bytes(&key)));
	ck_assert(!ls_dropin_complete(&sample.state, "proxy", cert, LS_BYTES_STR("half a k")));
	/* alone: with the present key, which in the sample is n1's */
	ck_assert(ls_dropin_complete(&sample.state, "proxy", cert, none));
	ck_assert(!ls_dropin_complete(&sample.state, "proxy", stranger, none));
	ck_assert(!ls_dropin_complete(&sample.state, "nosuch", cert, none));
	ls_buf_add_bytes(&both, stranger);
	ls_buf_add_bytes(&both, ls_secret_bytes(&other));
	ck_assert(ls_dropin_complete(
		&sample.state, "nosuch", ls_buf_bytes(&both), ls_buf_bytes(&both)));
	ls_wipe(both.data, both.cap);
	sample_done(&sample);
}
END_TEST

LS_TEST_MAIN_FIXTURE("dropin", setup, teardown,
	a_pair_is_offered_when_it_is_quiet_and_goes_when_taken,
	what_a_crash_left_on_its_way_out_comes_back,
	halves_come_in_any_order_and_each_restarts_the_settling,
	an_incomplete_half_waits_for_the_other_until_patience_ends,
	waiting_after_the_last_chance_is_not_tried_at_once, the_other_half_is_a_new_chance,
	a_retry_comes_soon_and_then_more_seldom, a_half_beside_a_combined_file_comes_first,
	components_do_not_wait_for_each_other, vanished_files_are_forgotten,
	patience_begins_anew_with_a_new_file, a_file_replaced_while_it_is_judged_is_not_removed,
	a_file_written_on_while_it_is_judged_is_not_removed, links_are_not_followed,
	what_is_no_regular_file_is_refused_without_waiting, a_file_that_is_too_large_is_refused,
	a_file_of_another_user_is_refused, names_that_are_none_are_refused_and_dotfiles_left_alone,
	long_names_do_not_hide_each_other, ten_thousand_files_are_looked_at_and_more_are_refused,
	strays_come_last_and_all_at_once_and_are_put_aside_unread,
	a_drop_in_of_a_component_gathers_nothing, what_was_swapped_after_the_look_is_not_read,
	what_begins_with_a_dot_does_not_count, captured_files_do_not_use_up_the_descriptors,
	refusals_are_bounded_in_number_and_size,
	an_absent_directory_is_an_error_and_forgets_nothing,
	captured_files_are_a_drop_in_of_their_own, a_captured_file_may_still_be_written,
	a_captured_file_that_goes_on_is_looked_at_again_before_the_last_chance,
	a_captured_file_that_is_too_large_has_a_fault, a_refusal_keeps_certificates_and_never_a_key,
	what_is_only_called_a_certificate_is_not_kept,
	refusals_of_one_instant_do_not_share_a_directory,
	a_component_that_is_no_name_cannot_leave_the_directory, old_refusals_go_and_nothing_else,
	what_can_be_judged_for_good)
