/* Healing: whatever is done to the live directory, what services read comes back, and what was
 * written is handed over. */
#include "tests/unit/live_fixture.h"

/* What healing handed over. */
static struct {
	int count;
	char component[LS_NAME_MAX + 1];
	enum ls_live_kind kind;
	bool had_fd;
	char text[64];
	int exposed; /* keys that were open to others */
	mode_t mode; /* of the last of these */
} foreign;

static void on_foreign(void *arg, const struct ls_live_foreign *f)
{
	ck_assert_ptr_eq(arg, &foreign);
	if (f->exposed) {
		ck_assert_int_eq(f->fd, -1);
		ck_assert(f->kind == LS_LIVE_KEY || f->kind == LS_LIVE_BOTH);
		ck_assert_str_eq(f->component, "proxy");
		foreign.exposed++;
		foreign.mode = f->mode;
		return;
	}
	foreign.count++;
	(void)snprintf(foreign.component, sizeof foreign.component, "%s", f->component);
	foreign.kind = f->kind;
	foreign.had_fd = f->fd >= 0;
	memset(foreign.text, 0, sizeof foreign.text);
	if (f->fd >= 0) {
		ck_assert_int_ge(read(f->fd, foreign.text, sizeof foreign.text - 1), 0);
		(void)close(f->fd);
	}
}

/* Heals, expects `handed` foreign files, and that nothing is left to heal. */
static void heals(const struct ls_live_plan *plan, int tag, int handed)
{
	int healed = 0;

	memset(&foreign, 0, sizeof foreign);
	ck_ok(ls_live_heal(live, plan, on_foreign, &foreign, &healed, &err));
	ck_assert_int_gt(healed, 0);
	ck_assert_int_eq(foreign.count, handed);
	all_right(tag);
	ck_assert_int_eq(mode_of("..data", "proxy_key.pem"), 0640);
	ck_assert_int_eq(mode_of("..data", "proxy_cert.pem"), 0644);
	ck_assert_uint_eq(stat_of("..data/proxy_key.pem").st_nlink, 1);
	ck_assert(S_ISLNK(stat_of("proxy_key.pem").st_mode));
	ck_ok(ls_live_heal(live, plan, on_foreign, &foreign, &healed, &err));
	ck_assert_int_eq(healed, 0);
	ck_assert_int_eq(foreign.count, handed);
}

START_TEST(nothing_wrong_heals_nothing)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	int healed = 7;

	go_live(1, &plan);
	ck_ok(ls_live_heal(live, plan, on_foreign, &foreign, &healed, &err));
	ck_assert_int_eq(healed, 0);
	ck_assert_int_eq(foreign.count, 0);
}
END_TEST

START_TEST(what_is_written_through_a_link_is_handed_over_and_put_back)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;

	go_live(1, &plan);
	write_over("proxy_cert.pem", "intruder", O_TRUNC);
	heals(plan, 1, 1);
	ck_assert_str_eq(foreign.component, "proxy");
	ck_assert_int_eq(foreign.kind, LS_LIVE_CERT);
	ck_assert_str_eq(foreign.text, "intruder");
	/* The same length as before: only the content tells. */
	write_over("proxy_key.pem", "KEY", 0);
	heals(plan, 1, 1);
	ck_assert_int_eq(foreign.kind, LS_LIVE_KEY);
	ck_assert_str_eq(foreign.text, "KEY of proxy 1\n");
	write_over("proxy.pem", "both", O_TRUNC);
	heals(plan, 1, 1);
	ck_assert_int_eq(foreign.kind, LS_LIVE_BOTH);
	write_over("ca/proxy.pem", "ca", O_TRUNC);
	heals(plan, 1, 1);
	ck_assert_int_eq(foreign.kind, LS_LIVE_CA);
	ck_assert_str_eq(foreign.text, "ca");
}
END_TEST

START_TEST(a_file_renamed_over_a_link_is_handed_over_and_the_link_put_back)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	int fd;

	go_live(1, &plan);
	fd = ls_live_fd(live);
	write_over("upload", "from outside", O_CREAT);
	ck_assert_int_eq(renameat(fd, "upload", fd, "api_key.pem"), 0);
	heals(plan, 1, 1);
	ck_assert_str_eq(foreign.component, "api");
	ck_assert_int_eq(foreign.kind, LS_LIVE_KEY);
	ck_assert_str_eq(foreign.text, "from outside");
	write_over("upload", "ca from outside", O_CREAT);
	ck_assert_int_eq(renameat(fd, "upload", fd, "ca/proxy.pem"), 0);
	heals(plan, 1, 1);
	ck_assert_str_eq(foreign.text, "ca from outside");
	/* Renamed within the generation directory itself. */
	write_over("..data/upload", "inside", O_CREAT);
	ck_assert_int_eq(renameat(fd, "..data/upload", fd, "..data/proxy.pem"), 0);
	heals(plan, 1, 1);
	ck_assert_str_eq(foreign.text, "inside");
}
END_TEST

START_TEST(what_is_removed_comes_back_without_a_word)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	LS_CLEANUP(ls_fd_close) int ca = -1;
	int fd;

	go_live(1, &plan);
	fd = ls_live_fd(live);
	ck_assert_int_eq(unlinkat(fd, "proxy_key.pem", 0), 0);
	heals(plan, 1, 0);
	ck_assert_int_eq(unlinkat(fd, "..data/proxy_key.pem", 0), 0);
	heals(plan, 1, 0);
	ck_assert_int_eq(unlinkat(fd, "..data", 0), 0);
	heals(plan, 1, 0);
	ck_ok(ls_dir_remove(fd, "ca", &err));
	heals(plan, 1, 0);
	ck_ok(ls_dir_open_at(fd, plan->dir, &ca, &err));
	ck_ok(ls_dir_remove(ca, "ca", &err));
	heals(plan, 1, 0);
	ck_ok(ls_dir_remove(fd, plan->dir, &err));
	heals(plan, 1, 0);
	ck_assert_int_eq(mode_of(plan->dir, ""), 0755);
}
END_TEST

START_TEST(modes_and_owners_are_mended_in_place)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	ino_t key;
	int fd;

	go_live(1, &plan);
	fd = ls_live_fd(live);
	key = stat_of("..data/proxy_key.pem").st_ino;
	ck_assert_int_eq(fchmodat(fd, "..data/proxy_key.pem", 0666, 0), 0);
	heals(plan, 1, 0);
	ck_assert_int_eq(foreign.exposed, 1);
	ck_assert_int_eq(foreign.mode, 0666);
	ck_assert_int_eq(fchmodat(fd, plan->dir, 0777, 0), 0);
	heals(plan, 1, 0);
	ck_assert_int_eq(foreign.exposed, 0);
	ck_assert_int_eq(mode_of(plan->dir, ""), 0755);
	if (geteuid() == 0) {
		ck_assert_int_eq(fchownat(fd, "..data/proxy_key.pem", 1, 1, 0), 0);
		heals(plan, 1, 0);
		ck_assert_int_eq(foreign.exposed, 1); /* to its new owner */
		ck_assert_uint_eq(stat_of("..data/proxy_key.pem").st_uid, 0);
		ck_assert_uint_eq(stat_of("..data/proxy_key.pem").st_gid, 0);
	}
	ck_assert_uint_eq(stat_of("..data/proxy_key.pem").st_ino, key);
}
END_TEST

/* Only keys, and only to more readers than the template names. */
START_TEST(a_key_that_others_could_read_is_told)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	int fd;

	go_live(1, &plan);
	fd = ls_live_fd(live);
	ck_assert_int_eq(fchmodat(fd, "..data/proxy_cert.pem", 0666, 0), 0);
	ck_assert_int_eq(fchmodat(fd, "..data/proxy_key.pem", 0600, 0), 0);
	heals(plan, 1, 0);
	ck_assert_int_eq(foreign.exposed, 0);
	ck_assert_int_eq(fchmodat(fd, "..data/proxy.pem", 0644, 0), 0);
	ck_assert_int_eq(linkat(fd, "..data/proxy.pem", fd, "second-name", 0), 0);
	heals(plan, 1, 0);
	ck_assert_int_eq(foreign.exposed, 1); /* a second name makes no difference */
	ck_assert_int_eq(foreign.mode, 0644);
	ck_assert_int_eq(unlinkat(fd, "second-name", 0), 0);
}
END_TEST

START_TEST(links_pipes_and_directories_are_never_read_and_are_put_back)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	int fd;

	go_live(1, &plan);
	fd = ls_live_fd(live);
	write_over("elsewhere", "secret of another", O_CREAT);
	ck_assert_int_eq(unlinkat(fd, "proxy_key.pem", 0), 0);
	ck_assert_int_eq(symlinkat("elsewhere", fd, "proxy_key.pem"), 0);
	heals(plan, 1, 1);
	ck_assert(!foreign.had_fd);
	ck_assert_int_eq(unlinkat(fd, "..data/proxy_key.pem", 0), 0);
	ck_assert_int_eq(symlinkat("../elsewhere", fd, "..data/proxy_key.pem"), 0);
	heals(plan, 1, 1);
	ck_assert(!foreign.had_fd);
	ck_assert_int_eq(unlinkat(fd, "proxy_key.pem", 0), 0);
	ck_assert_int_eq(linkat(fd, "elsewhere", fd, "proxy_key.pem", 0), 0);
	heals(plan, 1, 1);
	ck_assert(!foreign.had_fd);
	ck_assert_int_eq(unlinkat(fd, "proxy_key.pem", 0), 0);
	ck_assert_int_eq(mkfifoat(fd, "proxy_key.pem", 0600), 0);
	heals(plan, 1, 1);
	ck_assert_int_eq(unlinkat(fd, "..data/proxy_key.pem", 0), 0);
	ck_assert_int_eq(mkfifoat(fd, "..data/proxy_key.pem", 0600), 0);
	heals(plan, 1, 1);
	ck_assert_int_eq(unlinkat(fd, "proxy_key.pem", 0), 0);
	ck_assert_int_eq(mkdirat(fd, "proxy_key.pem", 0700), 0);
	heals(plan, 1, 1);
	ck_assert_int_eq(unlinkat(fd, "..data/proxy_key.pem", 0), 0);
	ck_assert_int_eq(mkdirat(fd, "..data/proxy_key.pem", 0700), 0);
	heals(plan, 1, 1);
	/* A name elsewhere through which the live file could be changed. */
	ck_assert_int_eq(linkat(fd, "..data/proxy_key.pem", fd, "hold", 0), 0);
	heals(plan, 1, 0);
	ck_assert_uint_eq(stat_of("hold").st_nlink, 1);
	shows("elsewhere", "secret of another");
}
END_TEST

START_TEST(a_turned_data_link_is_turned_back)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *one = NULL;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *two = NULL;
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/mine", certs);
	int fd;

	go_live(1, &one);
	go_live(2, &two);
	fd = ls_live_fd(live);
	ck_ok(ls_link_replace(fd, one->dir, "t", "..data", &err));
	heals(two, 2, 0);
	ck_ok(ls_dir_make(path, 0755, &err));
	ck_ok(ls_link_replace(fd, "mine", "t", "..data", &err));
	heals(two, 2, 0);
	/* A directory in its place. */
	ck_assert_int_eq(unlinkat(fd, "..data", 0), 0);
	ck_assert_int_eq(renameat(fd, "mine", fd, "..data"), 0);
	heals(two, 2, 0);
	/* A file, or a link to elsewhere, in place of the generation's directory. */
	ck_ok(ls_dir_remove(fd, two->dir, &err));
	ck_assert_int_eq(symlinkat(one->dir, fd, two->dir), 0);
	heals(two, 2, 0);
	ck_assert(S_ISDIR(stat_of(two->dir).st_mode));
}
END_TEST

START_TEST(what_is_not_ours_is_left_alone)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	int healed;

	go_live(1, &plan);
	write_over("dhparam.pem", "theirs", O_CREAT);
	write_over("..data/note", "theirs", O_CREAT);
	ck_ok(ls_live_heal(live, plan, on_foreign, &foreign, &healed, &err));
	ck_assert_int_eq(healed, 0);
	shows("dhparam.pem", "theirs");
	shows("..data/note", "theirs");
}
END_TEST

START_TEST(a_file_that_stands_where_a_new_link_belongs_is_handed_over_not_lost)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;

	write_over("proxy_cert.pem", "was here first", O_CREAT);
	plan = plan_of(1, "proxy", "api");
	ck_ok(ls_live_stage(live, plan, &err));
	shows("proxy_cert.pem", "was here first");
	ck_ok(ls_live_activate(live, plan->dir, &err));
	heals(plan, 1, 1);
	ck_assert_str_eq(foreign.text, "was here first");
}
END_TEST

LS_TEST_MAIN_FIXTURE("heal", setup, teardown, nothing_wrong_heals_nothing,
	what_is_written_through_a_link_is_handed_over_and_put_back,
	a_file_renamed_over_a_link_is_handed_over_and_the_link_put_back,
	what_is_removed_comes_back_without_a_word, modes_and_owners_are_mended_in_place,
	a_key_that_others_could_read_is_told,
	links_pipes_and_directories_are_never_read_and_are_put_back,
	a_turned_data_link_is_turned_back, what_is_not_ours_is_left_alone,
	a_file_that_stands_where_a_new_link_belongs_is_handed_over_not_lost)
