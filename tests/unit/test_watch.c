/* What the directory watch promises, including when the system runs out of watches. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/watch.h"
#include "tests/unit/runner.h"

/* The Makefile has the linker send these calls here. */
int __real_inotify_init1(int flags);
int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_init1(int flags);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);

static bool no_instances;
static int watches_left = INT32_MAX;

int __wrap_inotify_init1(int flags)
{
	if (no_instances) {
		errno = EMFILE;
		return -1;
	}
	return __real_inotify_init1(flags);
}

int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	if (watches_left == 0) {
		errno = ENOSPC;
		return -1;
	}
	watches_left--;
	return __real_inotify_add_watch(fd, path, mask);
}

static struct ls_err err;
static struct ls_watch *watch;
static char *base, *dir;
static struct ls_buf seen;
static int lost;

static void on_change(void *arg, int number, const char *name)
{
	(void)arg;
	ls_buf_printf(&seen, "%d:%s ", number, name ? name : "*");
}

static void on_lost(void *arg)
{
	(void)arg;
	lost++;
}

static const char *look(void)
{
	ls_buf_clear(&seen);
	lost = 0;
	ls_watch_read(watch, on_change, on_lost, NULL);
	return ls_buf_text(&seen);
}

static char *below(const char *name)
{
	static char path[4][256];
	static int turn;
	char *p = path[turn++ % 4];

	(void)snprintf(p, sizeof path[0], "%s/%s", base, name);
	return p;
}

static void put(const char *name)
{
	ck_ok(ls_file_create(AT_FDCWD, below(name), LS_BYTES_STR("x"), 0600, (gid_t)-1, &err));
}

static void setup(void)
{
	char template[] = "/tmp/ls-watch-XXXXXX";

	base = ls_strdup(mkdtemp(template));
	dir = ls_format("%s/in", base);
	ck_ok(ls_dir_make(dir, 0700, &err));
	no_instances = false;
	watches_left = INT32_MAX;
	ls_watch_new(&watch);
}

static void teardown(void)
{
	ls_watch_free(&watch);
	ck_ok(ls_dir_remove(AT_FDCWD, base, &err));
	ls_buf_done(&seen);
	ls_free_str(&dir);
	ls_free_str(&base);
}

START_TEST(every_kind_of_change_is_seen)
{
	ls_watch_add(watch, 7, dir);
	ck_assert_str_eq(look(), "");
	put("in/a");
	ck_assert_ptr_nonnull(strstr(look(), "7:a "));
	ck_assert_int_eq(chmod(below("in/a"), 0640), 0);
	ck_assert_str_eq(look(), "7:a ");
	ck_assert_int_eq(rename(below("in/a"), below("in/b")), 0);
	ck_assert_str_eq(look(), "7:a 7:b ");
	ck_assert_int_eq(rename(below("in/b"), below("out")), 0);
	ck_assert_str_eq(look(), "7:b ");
	ck_assert_int_eq(rename(below("out"), below("in/c")), 0);
	ck_assert_str_eq(look(), "7:c ");
	ck_assert_int_eq(unlink(below("in/c")), 0);
	ck_assert_str_eq(look(), "7:c ");
	ck_assert_int_eq(symlink("x", below("in/l")), 0);
	ck_assert_str_eq(look(), "7:l ");
	put("elsewhere");
	ck_assert_str_eq(look(), "");
}
END_TEST

START_TEST(a_replaced_directory_is_watched_again)
{
	ls_watch_add(watch, 1, dir);
	ck_assert_int_eq(rename(dir, below("old")), 0);
	ck_assert_ptr_nonnull(strstr(look(), "1:* "));
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_ptr_nonnull(strstr(look(), "1:* "));
	put("in/new");
	ck_assert_ptr_nonnull(strstr(look(), "1:new "));
	put("old/x");
	ck_assert_str_eq(look(), "");
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	put("in/before_the_look");
	ck_assert_ptr_nonnull(strstr(look(), "1:* "));
	(void)look();
	put("in/again");
	ck_assert_ptr_nonnull(strstr(look(), "1:again "));
}
END_TEST

START_TEST(an_absent_directory_is_awaited_from_wherever_its_path_begins)
{
	ls_watch_add(watch, 2, below("p/q/r"));
	ck_assert_int_eq(mkdir(below("p"), 0700), 0);
	ck_assert_ptr_nonnull(strstr(look(), "2:* "));
	ck_assert_int_eq(mkdir(below("p/q"), 0700), 0);
	ck_assert_ptr_nonnull(strstr(look(), "2:* "));
	ck_assert_int_eq(mkdir(below("p/q/r"), 0700), 0);
	ck_assert_ptr_nonnull(strstr(look(), "2:* "));
	put("p/q/r/f");
	ck_assert_ptr_nonnull(strstr(look(), "2:f "));
	/* at once, before anyone looks */
	ck_ok(ls_dir_remove(AT_FDCWD, below("p"), &err));
	ck_ok(ls_dir_make(below("p/q/r"), 0700, &err));
	ck_assert_ptr_nonnull(strstr(look(), "2:* "));
	(void)look();
	put("p/q/r/g");
	ck_assert_ptr_nonnull(strstr(look(), "2:g "));
}
END_TEST

START_TEST(one_directory_under_two_numbers_serves_both)
{
	ls_watch_add(watch, 1, dir);
	ls_watch_add(watch, 2, base); /* also the one above the first */
	ls_watch_add(watch, 3, dir);
	ck_assert_int_eq(symlink("x", below("in/l")), 0);
	ck_assert_str_eq(look(), "1:l 3:l ");
	ls_watch_drop(watch, 1);
	ck_assert_int_eq(unlink(below("in/l")), 0);
	ck_assert_str_eq(look(), "3:l ");
	ls_watch_add(watch, 3, below("nowhere"));
	ck_assert_int_eq(symlink("x", below("in/m")), 0);
	ck_assert_str_eq(look(), "");
	ck_assert_int_eq(symlink("x", below("n")), 0);
	ck_assert_ptr_nonnull(strstr(look(), "2:n "));
}
END_TEST

START_TEST(an_overflow_means_look_everywhere)
{
	struct ls_buf limit = { 0 };
	int max;

	ck_ok(ls_file_read(AT_FDCWD, "/proc/sys/fs/inotify/max_queued_events", 32, &limit, &err));
	max = (int)strtol(limit.data, NULL, 10);
	ls_watch_add(watch, 1, dir);
	for (int i = 0; i < max / 2 + 2; i++) {
		ck_assert_int_eq(symlink("x", below("in/l")), 0);
		ck_assert_int_eq(unlink(below("in/l")), 0);
	}
	(void)look();
	ck_assert_int_eq(lost, 1);
	ls_buf_done(&limit);
}
END_TEST

START_TEST(without_instances_it_polls_and_recovers)
{
	ls_watch_free(&watch);
	no_instances = true;
	ls_watch_new(&watch);
	ls_watch_add(watch, 1, dir);
	ck_assert_int_eq(ls_watch_mode(watch), LS_WATCH_POLL);
	ck_assert_int_eq(ls_watch_fd(watch), -1);
	ck_assert_ptr_nonnull(strstr(ls_watch_reason(watch), "max_user_instances"));
	ck_assert(!ls_watch_rearm(watch));
	ck_assert_str_eq(look(), "");
	no_instances = false;
	ck_assert(ls_watch_rearm(watch));
	ck_assert_int_eq(ls_watch_mode(watch), LS_WATCH_INOTIFY);
	ck_assert_str_eq(ls_watch_reason(watch), "");
	put("in/a");
	ck_assert_ptr_nonnull(strstr(look(), "1:a "));
	ck_assert(!ls_watch_rearm(watch));
}
END_TEST

START_TEST(whichever_watch_is_refused_it_polls_and_recovers)
{
	for (int n = 0;; n++) {
		watches_left = n;
		ls_watch_free(&watch);
		ls_watch_new(&watch);
		ls_watch_add(watch, 1, dir);
		ls_watch_add(watch, 2, below("absent/x"));
		if (watches_left > 0)
			break;
		if (ls_watch_mode(watch) == LS_WATCH_POLL)
			ck_assert_ptr_nonnull(strstr(ls_watch_reason(watch), "max_user_watches"));
		watches_left = INT32_MAX;
		(void)ls_watch_rearm(watch);
		ck_assert_int_eq(ls_watch_mode(watch), LS_WATCH_INOTIFY);
		put("in/a");
		ck_assert_ptr_nonnull(strstr(look(), "1:a "));
		ck_assert_int_eq(unlink(below("in/a")), 0);
		ck_assert_int_lt(n, 100);
	}
}
END_TEST

START_TEST(a_limit_met_while_reading_is_reported_as_lost)
{
	ls_watch_add(watch, 1, dir);
	ck_assert_int_eq(rename(dir, below("old")), 0);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	watches_left = 0;
	(void)look();
	ck_assert_int_eq(lost, 1);
	ck_assert_int_eq(ls_watch_mode(watch), LS_WATCH_POLL);
}
END_TEST

START_TEST(the_timer_finds_what_no_event_told)
{
	ls_watch_add(watch, 1, below("in/x/y"));
	ck_assert_int_eq(mkdir(below("in/x"), 0700), 0);
	ck_assert_int_eq(mkdir(below("in/x/y"), 0700), 0);
	(void)look();
	/* two levels up: nobody watches there */
	ck_assert_int_eq(rename(below("in"), below("away")), 0);
	ck_ok(ls_dir_make(below("in/x/y"), 0700, &err));
	(void)look();
	ck_assert(ls_watch_rearm(watch));
	put("in/x/y/f");
	ck_assert_ptr_nonnull(strstr(look(), "1:f "));
}
END_TEST

LS_TEST_MAIN_FIXTURE("watch", setup, teardown, every_kind_of_change_is_seen,
	a_replaced_directory_is_watched_again,
	an_absent_directory_is_awaited_from_wherever_its_path_begins,
	one_directory_under_two_numbers_serves_both, an_overflow_means_look_everywhere,
	without_instances_it_polls_and_recovers, whichever_watch_is_refused_it_polls_and_recovers,
	a_limit_met_while_reading_is_reported_as_lost, the_timer_finds_what_no_event_told)
