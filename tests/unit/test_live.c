/* The live directory: services read whole matching pairs, whoever writes, whatever fails. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "pki/key.h"
#include "tests/unit/live_fixture.h"

#define SWAPS 200

/* Every name below the live directory, for comparing before and after. */
static void listing(int dir_fd, const char *prefix, struct ls_buf *out)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	ck_ok(ls_dir_list(dir_fd, 1000, &names, &err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_fd_close) int fd = -1;
		LS_CLEANUP(ls_free_str) char *path = ls_format("%s%s/", prefix, names[i]);

		ls_buf_printf(out, "%s\n", path);
		fd = openat(dir_fd, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		if (fd >= 0)
			listing(fd, path, out);
	}
}

START_TEST(staging_changes_nothing_that_services_read)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *one = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *two = plan_of(2, "proxy", "api");
	LS_CLEANUP(ls_free_str) char *next = NULL;
	char current[LS_LIVE_DIR_SIZE];

	ck_code(ls_live_current(live, current, &err), LS_E_NOT_FOUND);
	go_live(1, &one);
	ck_ok(ls_live_stage(live, two, &err));
	all_right(1);
	ck_ok(ls_link_read(ls_live_fd(live), "..data.next", &next, &err));
	ck_assert_str_eq(next, "..gen-2-3f9c2ab1");
	ck_ok(ls_live_activate(live, two->dir, &err));
	all_right(2);
	ck_ok(ls_live_current(live, current, &err));
	ck_assert_str_eq(current, two->dir);
	ck_assert(!ls_file_exists(ls_live_fd(live), "..data.next"));
}
END_TEST

START_TEST(modes_do_not_depend_on_the_umask)
{
	static const mode_t masks[] = { 0, 022, 077, 0177 };

	for (size_t i = 0; i < LS_COUNT(masks); i++) {
		LS_CLEANUP(ls_live_plan_free)
		struct ls_live_plan *plan = plan_of((int)i + 1, "proxy", NULL);
		mode_t before = umask(masks[i]);

		ck_ok(ls_live_stage(live, plan, &err));
		(void)umask(before);
		ck_assert_int_eq(mode_of(plan->dir, ""), 0755);
		ck_assert_int_eq(mode_of(plan->dir, "ca"), 0755);
		ck_assert_int_eq(mode_of(plan->dir, "proxy_cert.pem"), 0644);
		ck_assert_int_eq(mode_of(plan->dir, "proxy_key.pem"), 0640);
		ck_assert_int_eq(mode_of(plan->dir, "proxy.pem"), 0640);
		ck_assert_int_eq(mode_of(plan->dir, "ca/proxy.pem"), 0644);
	}
	ck_assert_int_eq(mode_of(".", ""), 0755);
	ck_assert_int_eq(mode_of("ca", ""), 0755);
}
END_TEST

/* What a child of the test reports. */
struct report {
	volatile int stop;
	volatile long looks, bad, missing;
};

static struct report *report_new(void)
{
	struct report *r =
		mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert(r != MAP_FAILED);
	return r;
}

static pid_t start(void (*func)(struct report *report), struct report *report)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		while (!report->stop)
			func(report);
		_exit(0);
	}
	while (report->looks == 0)
		(void)sched_yield();
	return pid;
}

static void finish(pid_t pid, struct report *report)
{
	report->stop = 1;
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static int tag_in(int dir_fd, const char *name, const char *format)
{
	char text[256] = "";
	int fd = openat(dir_fd, name, O_RDONLY), tag = -1;

	if (fd >= 0) {
		if (read(fd, text, sizeof text - 1) < 0)
			text[0] = '\0';
		(void)close(fd);
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return sscanf(text, format, &tag) == 1 ? tag : -1;
#pragma GCC diagnostic pop
}

static void read_pair(struct report *report)
{
	int data = openat(ls_live_fd(live), "..data", O_RDONLY | O_DIRECTORY);
	int cert = tag_in(data, "proxy_cert.pem", "chain of proxy %d\n");
	int key = tag_in(data, "proxy_key.pem", "key of proxy %d\n");
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/proxy.pem", certs);
	char text[256] = "";
	int fd = open(path, O_RDONLY), a = -1, b = -2;

	if (fd < 0 || read(fd, text, sizeof text - 1) < 0 ||
		sscanf(text, "key of proxy %d\nchain of proxy %d\n", &a, &b) != 2 || a != b)
		report->bad++;
	if (data < 0 || cert < 0 || cert != key)
		report->bad++;
	(void)close(fd);
	(void)close(data);
	report->looks++;
}

START_TEST(a_reader_in_a_tight_loop_sees_only_whole_matching_pairs)
{
	struct report *report = report_new();
	struct ls_live_plan *plan = NULL;
	pid_t pid;

	go_live(1, &plan);
	ls_live_plan_free(&plan);
	pid = start(read_pair, report);
	for (int i = 2; i <= SWAPS + 1; i++) {
		char before[LS_LIVE_DIR_SIZE];

		plan = plan_of(i, "proxy", NULL);
		ck_ok(ls_live_stage(live, plan, &err));
		ck_ok(ls_live_activate(live, plan->dir, &err));
		if (i > 2 && i % 10 == 0) {
			dir_of(i - 1, before);
			/* A reader that opened the one before is finished with it by now. */
			for (long seen = report->looks; report->looks < seen + 2;)
				(void)sched_yield();
			ck_ok(ls_live_tidy(live, plan, before, NULL, 0, NULL, &err));
		}
		ls_live_plan_free(&plan);
	}
	finish(pid, report);
	ck_assert_msg(report->bad == 0, "%ld of %ld looks", report->bad, report->looks);
	ck_assert_int_gt(report->looks, SWAPS);
}
END_TEST

/* Looks at every key in every generation directory for a mode wider than it ends with. */
static void watch_modes(struct report *report)
{
	static int from = 1;

	for (int tag = from; tag < from + 3; tag++) {
		char dir[LS_LIVE_DIR_SIZE];
		LS_CLEANUP(ls_free_str) char *key = NULL;
		LS_CLEANUP(ls_free_str) char *both = NULL;
		struct stat a = { 0 }, b = { 0 };

		dir_of(tag, dir);
		key = ls_format("%s/proxy_key.pem", dir);
		both = ls_format("%s/proxy.pem", dir);
		if (fstatat(ls_live_fd(live), key, &a, 0) == 0 && tag > from)
			from = tag;
		(void)fstatat(ls_live_fd(live), both, &b, 0);
		report->bad += (a.st_mode & 07137) != 0 || (b.st_mode & 07137) != 0;
		report->bad += a.st_uid != geteuid() && a.st_ino != 0;
	}
	report->looks++;
}

START_TEST(a_key_is_never_wider_than_its_mode_not_for_an_instant)
{
	struct report *report = report_new();
	pid_t pid = start(watch_modes, report);
	mode_t before = umask(0);

	for (int i = 1; i <= 60; i++) {
		LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = plan_of(i, "proxy", NULL);

		ck_ok(ls_live_stage(live, plan, &err));
	}
	(void)umask(before);
	finish(pid, report);
	ck_assert_msg(report->bad == 0, "%ld of %ld looks", report->bad, report->looks);
}
END_TEST

START_TEST(killed_at_any_instant_services_read_one_generation_and_the_next_attempt_ends)
{
	int shown = 1;

	for (int tag = 1; tag <= 40; tag++) {
		LS_CLEANUP(ls_live_plan_free)
		struct ls_live_plan *plan = plan_of(tag, "proxy", "api");
		struct timespec wait = { .tv_nsec = (long)tag * tag * 4000 };
		pid_t pid = tag > 1 ? fork() : -1;

		if (pid == 0)
			_exit(ls_live_stage(live, plan, NULL) != LS_OK ||
				ls_live_activate(live, plan->dir, NULL) != LS_OK);
		if (pid > 0) {
			(void)nanosleep(&wait, NULL);
			(void)kill(pid, SIGKILL);
			ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
			shown = tag_in(ls_live_fd(live), "proxy_cert.pem", "chain of proxy %d\n");
			ck_assert(shown == tag || shown == tag - 1);
			all_right(shown);
		}
		ck_ok(ls_live_stage(live, plan, &err));
		ck_ok(ls_live_activate(live, plan->dir, &err));
		all_right(tag);
	}
}
END_TEST

START_TEST(an_interrupted_staging_is_begun_anew)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = plan_of(3, "proxy", "api");
	LS_CLEANUP(ls_free_str) char *dir = ls_format("%s/%s", certs, plan->dir);
	LS_CLEANUP(ls_fd_close) int fd = -1;

	ck_ok(ls_dir_make(dir, 0700, &err));
	ck_ok(ls_dir_open(dir, &fd, &err));
	ck_ok(ls_file_create(fd, "proxy_key.pem", LS_BYTES_STR("key of"), 0600, (gid_t)-1, &err));
	ck_ok(ls_file_create(fd, "debris", LS_BYTES_STR("x"), 0666, (gid_t)-1, &err));
	ck_ok(ls_live_stage(live, plan, &err));
	ck_ok(ls_live_activate(live, plan->dir, &err));
	all_right(3);
	ck_assert(!ls_file_exists(ls_live_fd(live), "..data/debris"));
	ck_assert_int_eq(mode_of(plan->dir, ""), 0755);
}
END_TEST

START_TEST(a_directory_that_is_right_is_kept_and_a_live_one_is_never_removed)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	ino_t dir, key;
	int fd;

	go_live(1, &plan);
	dir = stat_of(plan->dir).st_ino;
	key = stat_of("..data/proxy_key.pem").st_ino;
	ck_ok(ls_live_stage(live, plan, &err));
	ck_assert_uint_eq(stat_of(plan->dir).st_ino, dir);
	ck_assert_uint_eq(stat_of("..data/proxy_key.pem").st_ino, key);
	fd = openat(ls_live_fd(live), "..data/proxy_cert.pem", O_WRONLY | O_TRUNC);
	(void)close(fd);
	ck_ok(ls_live_stage(live, plan, &err));
	ck_assert_uint_eq(stat_of(plan->dir).st_ino, dir);
	ck_assert_uint_eq(stat_of("..data/proxy_key.pem").st_ino, key);
	all_right(1);
}
END_TEST

START_TEST(activation_of_what_is_not_there_changes_nothing)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;

	go_live(1, &plan);
	ck_code(ls_live_activate(live, "..gen-9-3f9c2ab1", &err), LS_E_NOT_FOUND);
	ck_code(ls_live_activate(live, "ca", &err), LS_E_NOT_FOUND);
	all_right(1);
	ck_ok(ls_live_activate(live, plan->dir, &err));
}
END_TEST

/* A plan with one file that no small disk takes. */
static struct ls_live_plan *big_plan(int tag)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_live_plan *plan = NULL;
	char dir[LS_LIVE_DIR_SIZE];

	add_component(&state, "api", tag);
	add_component(&state, "newcomer", tag);
	for (int i = 0; i < 20000; i++)
		ls_buf_str(&ls_state_component(&state, "newcomer")->chain_pem, "0123456789\n");
	dir_of(tag, dir);
	ck_ok(ls_live_plan_new(&state, &none, &ring, dir, &plan, NULL, &err));
	return plan;
}

static void fails_without_a_trace(void)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *big = big_plan(2);
	LS_CLEANUP(ls_buf_done) struct ls_buf before = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf after = { 0 };

	listing(ls_live_fd(live), "", &before);
	ck_code(ls_live_stage(live, big, &err), LS_E_IO);
	ck_assert_ptr_nonnull(strstr(err.text, big->dir));
	listing(ls_live_fd(live), "", &after);
	ck_assert_str_eq(before.data, after.data);
	all_right(1);
}

START_TEST(a_staging_that_cannot_be_written_leaves_nothing_behind)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	struct rlimit limit = { 100000, RLIM_INFINITY };

	go_live(1, &plan);
	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	fails_without_a_trace();
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
END_TEST

/* Needs the right to mount; without it RLIMIT_FSIZE above stands alone. */
START_TEST(a_full_disk_refuses_staging_but_not_activation)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *one = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *two = plan_of(2, "proxy", "api");
	char block[4096] = "";
	int fd;

	ls_live_free(&live);
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		ck_assert_int_eq(mount("t", certs, "tmpfs", 0, "size=160k,mode=0755"), 0);
	ck_ok(ls_live_open(certs, &live, &err));
	go_live(1, &one);
	if (geteuid() == 0) {
		fails_without_a_trace();
		ck_ok(ls_live_stage(live, two, &err));
		fd = openat(ls_live_fd(live), "ballast", O_WRONLY | O_CREAT, 0600);
		while (write(fd, block, sizeof block) > 0)
			continue;
		ck_assert_int_eq(errno, ENOSPC);
		(void)close(fd);
		ck_ok(ls_live_activate(live, two->dir, &err));
		all_right(2);
		ls_live_free(&live);
		ck_assert_int_eq(umount(certs), 0);
		ck_ok(ls_live_open(certs, &live, &err));
	}
}
END_TEST

START_TEST(tidy_keeps_what_is_live_named_or_unknown)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *one = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *two = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *three = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *four = plan_of(4, "proxy", NULL);
	int fd;

	go_live(1, &one);
	go_live(2, &two);
	go_live(3, &three);
	ck_ok(ls_live_stage(live, four, &err));
	fd = ls_live_fd(live);
	write_over("dhparam.pem", "theirs", O_CREAT);
	write_over("..other", "theirs", O_CREAT);
	ck_assert_int_eq(symlinkat("..data/nothing", fd, "old_cert.pem"), 0);
	ck_ok(ls_live_tidy(live, three, two->dir, "", 0, NULL, &err));
	ck_assert(!ls_file_exists(fd, one->dir));
	ck_assert(ls_file_exists(fd, two->dir));
	ck_assert(ls_file_exists(fd, three->dir));
	ck_assert(!ls_file_exists(fd, four->dir));
	ck_assert(!ls_file_exists(fd, "..data.next"));
	ck_assert(ls_file_exists(fd, "dhparam.pem"));
	ck_assert(ls_file_exists(fd, "..other"));
	ck_assert(ls_file_exists(fd, "old_cert.pem")); /* not as staging makes them */
	all_right(3);
	/* A component that went: its links go with it. */
	ck_ok(ls_live_stage(live, four, &err));
	ck_ok(ls_live_activate(live, four->dir, &err));
	ck_ok(ls_live_tidy(live, four, NULL, NULL, 0, NULL, &err));
	ck_assert(!ls_file_exists(fd, "api_cert.pem"));
	ck_assert(!ls_file_exists(fd, "api.pem"));
	ck_assert(ls_file_exists(fd, "proxy_cert.pem"));
	ck_assert(ls_file_exists(fd, "ca/proxy.pem"));
	ck_assert(!ls_file_exists(fd, three->dir));
}
END_TEST

static bool still_there_after_tidy(struct ls_live_plan *plan, const char *dir)
{
	bool left = false;

	ck_ok(ls_live_tidy(live, plan, NULL, NULL, 10, &left, &err));
	ck_assert_int_eq(left, ls_file_exists(ls_live_fd(live), dir));
	return left;
}

/* Readers that opened it get their time even where its own time cannot be set (a failing disk, a
 * clock that jumps): then it looks as old as it was. */
START_TEST(what_went_out_of_use_is_kept_for_the_time_of_grace)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *one = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *two = NULL;
	const struct timespec past[2] = { { 1000000000, 0 }, { 1000000000, 0 } };

	go_live(1, &one);
	ck_assert_int_eq(utimensat(ls_live_fd(live), one->dir, past, 0), 0);
	go_live(2, &two);
	ck_assert(still_there_after_tidy(two, one->dir));
	ck_assert_int_eq(utimensat(ls_live_fd(live), one->dir, past, 0), 0);
	ck_assert(still_there_after_tidy(two, one->dir));
	/* Another process knows nothing but the time on disk. */
	ls_live_free(&live);
	ck_ok(ls_live_open(certs, &live, &err));
	ck_assert(!still_there_after_tidy(two, one->dir));
}
END_TEST

START_TEST(remains_of_healing_go_once_they_are_old)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	int fd;

	go_live(1, &plan);
	fd = ls_live_fd(live);
	ck_assert_int_eq(symlinkat("x", fd, "..tmp-1"), 0);
	ck_assert_int_eq(mkdirat(fd, "..tmp-2", 0700), 0);
	ck_assert_int_eq(mkdirat(fd, "..tmp-3", 0700), 0);
	ck_assert_int_eq(utimensat(fd, "..tmp-1", old, AT_SYMLINK_NOFOLLOW), 0);
	ck_assert_int_eq(utimensat(fd, "..tmp-2", old, 0), 0);
	ck_ok(ls_live_tidy(live, plan, NULL, NULL, 0, NULL, &err));
	ck_assert(!ls_file_exists(fd, "..tmp-1"));
	ck_assert(!ls_file_exists(fd, "..tmp-2"));
	ck_assert(ls_file_exists(fd, "..tmp-3"));
}
END_TEST

START_TEST(plans_refuse_what_they_cannot_open_or_name)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_live_plan *plan = NULL;
	struct ls_keyring empty = { 0 };

	add_component(&state, "proxy", 1);
	ck_code(ls_live_plan_new(&state, &none, &empty, "..gen-1-3f9c2ab1", &plan, NULL, &err),
		LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "proxy"));
	ck_code(ls_live_plan_new(&state, &none, &ring, "..gen-1-../..", &plan, NULL, &err),
		LS_E_DAMAGED);
	add_component(&state, "proxy_cert", 1);
	ck_code(ls_live_plan_new(&state, &none, &ring, "..gen-1-3f9c2ab1", &plan, NULL, &err),
		LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "proxy_cert.pem"));
	ck_assert_ptr_null(plan);
}
END_TEST

START_TEST(a_missing_group_is_said_once_and_left_alone)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_free_str) char *warning = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	char group[] = "no-such-group-x";
	struct ls_service items[] = {
		{ .component = "api", .group = group, .cert_mode = 0644, .key_mode = 0600 },
		{ .component = "proxy", .group = group, .cert_mode = 0644, .key_mode = 0600 },
	};
	const struct ls_services services = { items, 2 };

	add_component(&state, "api", 1);
	add_component(&state, "proxy", 1);
	ck_ok(ls_live_plan_new(
		&state, &services, &ring, "..gen-1-3f9c2ab1", &plan, &warning, &err));
	ck_assert_ptr_nonnull(warning);
	for (size_t i = 0; i < plan->count; i++)
		ck_assert_int_eq((int)plan->files[i].group, -1);
	ck_ok(ls_live_stage(live, plan, &err));
	ck_assert_int_eq(mode_of(plan->dir, "api_key.pem"), 0600);
}
END_TEST

START_TEST(the_live_leaf_is_named_by_its_digest_or_called_damaged)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	const struct ls_key_spec spec = { .type = LS_KEY_ED25519 };
	const struct ls_issue_vars vars = { .fqdn = "x.example", .cluster = "c", .node = "n" };
	char eku[] = "serverAuth", san[] = "DNS:x.example", *ekus[] = { eku, NULL },
	     *sans[] = { san, NULL }, spec_text[] = "ed25519", sha256[65], type[] = "CN",
	     value[] = "x";
	struct ls_rdn subject = { type, value };
	struct ls_issue issue = { .component = "api",
		.subject = &subject,
		.subject_count = 1,
		.sans = sans,
		.key = spec_text,
		.days = 10,
		.eku = ekus };

	add_component(&state, "api", 1);
	ck_ok(ls_key_generate(&spec, &key, &err));
	ls_buf_clear(&ls_state_component(&state, "api")->chain_pem);
	ck_ok(ls_issue_self_signed(&issue, &vars, 10, key, 1795000000,
		&ls_state_component(&state, "api")->chain_pem, &err));
	ck_ok(ls_live_plan_new(&state, &none, &ring, "..gen-1-3f9c2ab1", &plan, NULL, &err));
	ck_code(ls_live_leaf(live, "api", sha256, &err), LS_E_NOT_FOUND);
	ck_ok(ls_live_stage(live, plan, &err));
	ck_ok(ls_live_activate(live, plan->dir, &err));
	ck_ok(ls_live_leaf(live, "api", sha256, &err));
	ck_assert_uint_eq(strlen(sha256), 64);
	ck_code(ls_live_leaf(live, "proxy", sha256, &err), LS_E_NOT_FOUND);
	write_over("api_cert.pem", "x", O_TRUNC);
	ck_code(ls_live_leaf(live, "api", sha256, &err), LS_E_DAMAGED);
}
END_TEST

LS_TEST_MAIN_FIXTURE("live", setup, teardown, staging_changes_nothing_that_services_read,
	modes_do_not_depend_on_the_umask, a_reader_in_a_tight_loop_sees_only_whole_matching_pairs,
	a_key_is_never_wider_than_its_mode_not_for_an_instant, an_interrupted_staging_is_begun_anew,
	killed_at_any_instant_services_read_one_generation_and_the_next_attempt_ends,
	a_directory_that_is_right_is_kept_and_a_live_one_is_never_removed,
	activation_of_what_is_not_there_changes_nothing,
	a_staging_that_cannot_be_written_leaves_nothing_behind,
	a_full_disk_refuses_staging_but_not_activation, tidy_keeps_what_is_live_named_or_unknown,
	what_went_out_of_use_is_kept_for_the_time_of_grace, remains_of_healing_go_once_they_are_old,
	plans_refuse_what_they_cannot_open_or_name, a_missing_group_is_said_once_and_left_alone,
	the_live_leaf_is_named_by_its_digest_or_called_damaged)
