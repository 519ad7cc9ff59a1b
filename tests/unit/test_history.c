/* The history: what it takes, what it gives back, and what it finds out. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history/history.h"
#include "history/repair.h"
#include "pki/sha1.h"
#include "sys/file.h"
#include "tests/unit/sample.h"

static struct sample sample;
static struct ls_history *history;
static struct ls_commit_id none = { "" };
static struct ls_err err;
static char top[256], path[300];

static int remove_one(const char *name, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(name);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(top, sizeof top, "%s/lockstep-history.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	(void)snprintf(path, sizeof path, "%s/history.git", top);
	sample_init(&sample);
	ck_ok(ls_history_create(path, &err));
	ck_ok(ls_history_open(path, &history, &err));
}

static void teardown(void)
{
	ls_history_free(&history);
	sample_done(&sample);
	(void)nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- making generations ---- */

static struct ls_generation about_of(int64_t number, const struct ls_commit_id *parent)
{
	static char node[] = "n1", email[] = "n1@prod", author[] = "alice", mail[] = "alice@n1";
	static char subject[] = "cert set proxy", cause[] = "operator";
	static char proxy[] = "proxy";
	static char *components[] = { proxy, NULL };

	return (struct ls_generation){ .parent = *parent,
		.generation = number,
		.time_s = SAMPLE_NOW + number,
		.author_name = author,
		.author_email = mail,
		.committer_name = node,
		.committer_email = email,
		.subject = subject,
		.cause = cause,
		.components = components };
}

/* Changes what a renewal would. */
static void change(int64_t number)
{
	struct ls_component *proxy = ls_state_component(&sample.state, "proxy");
	char text[64];

	(void)snprintf(text, sizeof text, "key of generation %lld", (long long)number);
	ck_ok(ls_seal(LS_BYTES_STR(text), ls_secret_bytes(&sample.kek), 1, &proxy->key_cms, &err));
}

static struct ls_commit_id compose(
	const struct ls_generation *about, const struct ls_signer *signer, struct ls_buf *out_pack)
{
	struct ls_commit_id id = { "" };

	ck_ok(ls_history_compose(history, &sample.state, about, signer, &id, out_pack, &err));
	return id;
}

static struct ls_commit_id accept_new(
	const struct ls_generation *about, const struct ls_signer *signer)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_commit_id id = compose(about, signer, &pack);

	ck_ok(ls_history_accept(history, &id, ls_buf_bytes(&pack), &err));
	return id;
}

static struct ls_commit_id next(int64_t number, const struct ls_commit_id *parent)
{
	struct ls_generation about = about_of(number, parent);
	struct ls_commit_id id;

	change(number);
	id = accept_new(&about, &sample.n1);
	ck_ok(ls_history_stage(history, &id, &err));
	ck_ok(ls_history_advance(history, &id, &err));
	return id;
}

static struct ls_commit_id chain(int64_t count, struct ls_commit_id *out_root)
{
	struct ls_commit_id id = none;

	for (int64_t i = 1; i <= count; i++) {
		id = next(i, &id);
		if (i == 1)
			*out_root = id;
	}
	return id;
}

/* ---- looking at the disk ---- */

static bool shell(const char *command)
{
	LS_CLEANUP(ls_free_str)
	char *script = ls_format("cd '%s' && { %s\n} >'%s/out' 2>&1", path, command, top);
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static size_t count_files(const char *folder, const char *suffix)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("%s/%s", path, folder);
	DIR *dir = opendir(name);
	struct dirent *entry;
	size_t n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' || entry->d_name[1] == 't')
			n += strlen(entry->d_name) >= strlen(suffix) &&
			     strcmp(entry->d_name + strlen(entry->d_name) - strlen(suffix),
				     suffix) == 0;
	(void)closedir(dir);
	return n;
}

static void reopen(void)
{
	ls_history_free(&history);
	ck_ok(ls_history_open(path, &history, &err));
}

static enum ls_code verify(
	const struct ls_commit_id *head, const struct ls_commit_id *root, int64_t *out_count)
{
	return ls_history_verify(history, head, root, NULL, NULL, out_count, &err);
}

/* ---- tests ---- */

START_TEST(an_empty_history_has_no_head_and_creating_repeats)
{
	struct ls_commit_id id;

	ck_code(ls_history_head(history, &id, &err), LS_E_NOT_FOUND);
	ck_ok(ls_history_create(path, &err));
	ck_assert(shell("test $(git symbolic-ref HEAD) = refs/heads/main && git fsck --strict"));
	/* As a process leaves it that died early. */
	ck_assert(shell("rm HEAD config && rmdir refs/lockstep"));
	ck_ok(ls_history_create(path, &err));
	reopen();
}
END_TEST

START_TEST(a_generation_reads_back_as_it_was_composed)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation read = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_tree_done) struct ls_tree a = { 0 };
	LS_CLEANUP(ls_tree_done) struct ls_tree b = { 0 };
	char *both[] = { (char[]){ "api" }, (char[]){ "proxy" }, NULL };
	char *old_sums[] = { (char[]){ "api=0123456789abcdef0123456789abcdef0123456789abcdef0123456"
				       "789abcdef" },
		NULL };
	struct ls_commit_id first = next(1, &none), id, head;
	struct ls_generation about = about_of(2, &first);

	about.components = about.participants = about.away = both;
	about.old_sha256 = about.new_sha256 = old_sums;
	about.restores = first;
	id = accept_new(&about, &sample.n1);
	ck_ok(ls_history_read(history, &id, &read, &err));
	ck_assert_int_eq(read.generation, 2);
	ck_assert_int_eq(read.time_s, SAMPLE_NOW + 2);
	ck_assert_str_eq(read.parent.hex, first.hex);
	ck_assert_str_eq(read.restores.hex, first.hex);
	ck_assert_str_eq(read.commit.hex, id.hex);
	ck_assert_str_eq(read.author_name, "alice");
	ck_assert_str_eq(read.author_email, "alice@n1");
	ck_assert_str_eq(read.committer_name, "n1");
	ck_assert_str_eq(read.committer_email, "n1@prod");
	ck_assert_str_eq(read.subject, "cert set proxy");
	ck_assert_str_eq(read.cause, "operator");
	ck_assert_str_eq(read.components[1], "proxy");
	ck_assert_str_eq(read.away[0], "api");
	ck_assert_str_eq(read.old_sha256[0], old_sums[0]);
	ck_assert_str_eq(read.new_sha256[0], old_sums[0]);
	ck_assert_uint_eq(ls_strv_count(read.participants), 2);
	ck_ok(ls_history_load(history, &id, &state, &err));
	ls_state_to_tree(&state, &a);
	ls_state_to_tree(&sample.state, &b);
	ck_assert_uint_eq(a.count, b.count);
	for (size_t i = 0; i < a.count; i++) {
		ck_assert_str_eq(a.files[i].path, b.files[i].path);
		ck_assert(ls_bytes_equal(
			ls_buf_bytes(&a.files[i].bytes), ls_buf_bytes(&b.files[i].bytes)));
	}
	ck_ok(ls_history_head(history, &head, &err));
	ck_assert(ls_commit_equal(&head, &first)); /* accepted is not advanced */
	ck_ok(ls_history_judge(history, &id, NULL, &err));
}
END_TEST

START_TEST(composing_touches_no_disk_and_packs_only_what_the_parent_lacks)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_commit_id root, head = chain(2, &root), id;
	struct ls_generation about = about_of(3, &head);
	unsigned char *count;

	ck_assert(shell("find . -newer HEAD -printf '%p %T@ %s\\n' | sort >../before"));
	change(3);
	id = compose(&about, &sample.n1, &pack);
	ck_assert(shell("find . -newer HEAD -printf '%p %T@ %s\\n' | sort >../after; cmp ../before "
			"../after"));
	/* commit, root, components, components/proxy, key.cms */
	count = (unsigned char *)pack.data + 8;
	ck_assert_uint_eq(count[3], 5);
	ck_code(ls_history_judge(history, &id, NULL, &err), LS_E_NOT_FOUND);
}
END_TEST

/* Another node does not have what we got with a generation that was never decided. */
START_TEST(a_pack_does_not_lean_on_undecided_objects)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf first_pack = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf second_pack = { 0 };
	LS_CLEANUP(ls_free_str) char *other_path = ls_format("%s/other.git", top);
	LS_CLEANUP(ls_history_free) struct ls_history *other = NULL;
	struct ls_generation about = about_of(1, &none);
	struct ls_commit_id first = compose(&about, &sample.n1, &first_pack), second;

	ck_ok(ls_history_create(other_path, &err));
	ck_ok(ls_history_open(other_path, &other, &err));
	ck_ok(ls_history_accept(history, &first, ls_buf_bytes(&first_pack), &err));
	ck_ok(ls_history_accept(other, &first, ls_buf_bytes(&first_pack), &err));
	change(2);
	about = about_of(2, &first);
	(void)accept_new(&about, &sample.n1); /* here only, and never decided */
	about.time_s++;
	second = compose(&about, &sample.n1, &second_pack);
	ck_ok(ls_history_accept(other, &second, ls_buf_bytes(&second_pack), &err));
	ck_ok(ls_history_judge(other, &second, NULL, &err));
}
END_TEST

START_TEST(stock_git_reads_it)
{
	struct ls_commit_id root;

	(void)chain(5, &root);
	ck_assert(shell("git fsck --strict --full && test $(git rev-list --count main) = 5"));
	ck_assert(shell("git show --stat HEAD && git diff HEAD~1 HEAD && git log -p"));
	ck_assert(shell("test \"$(git log -1 --format='%(trailers:key=Lockstep-Generation,"
			"valueonly)' | head -1)\" = 5"));
	ck_assert(shell("test \"$(git log -1 --format='%an %ae %cn %ce')\" = "
			"'alice alice@n1 n1 n1@prod'"));
	ck_assert(shell("git cat-file commit HEAD | grep -q '^gpgsig -----BEGIN SIGNED MESSAGE'"));
}
END_TEST

START_TEST(accepting_repeats_and_refuses_what_is_not_whole)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_generation about = about_of(1, &none);
	struct ls_commit_id id = compose(&about, &sample.n1, &pack), other;

	for (size_t len = 0; len < pack.len; len += 101)
		ck_code(ls_history_accept(history, &id, (struct ls_bytes){ pack.data, len }, &err),
			LS_E_DAMAGED);
	for (size_t i = 0; i < pack.len; i += 37) {
		pack.data[i] ^= 0x10;
		ck_code(ls_history_accept(history, &id, ls_buf_bytes(&pack), &err), LS_E_DAMAGED);
		pack.data[i] ^= 0x10;
	}
	ck_assert_uint_eq(count_files("objects/pack", ""), 0); /* nothing left behind */
	ck_ok(ls_history_accept(history, &id, ls_buf_bytes(&pack), &err));
	ck_ok(ls_history_accept(history, &id, ls_buf_bytes(&pack), &err));
	ck_assert_uint_eq(count_files("objects/pack", ".pack"), 1);
	/* A pack that we have, sent under another name, is refused and stays. */
	other = id;
	other.hex[0] = other.hex[0] == 'a' ? 'b' : 'a';
	ck_code(ls_history_accept(history, &other, ls_buf_bytes(&pack), &err), LS_E_DAMAGED);
	ck_ok(ls_history_judge(history, &id, NULL, &err));
	/* A foreign one is refused and goes. */
	about.time_s++;
	other = id;
	id = compose(&about, &sample.n1, &pack);
	ck_code(ls_history_accept(history, &other, ls_buf_bytes(&pack), &err), LS_E_DAMAGED);
	ck_assert_uint_eq(count_files("objects/pack", ".pack"), 1);
}
END_TEST

/* One object of these bytes in a pack whose checksum is right. */
static void pack_of(const char *object, size_t len, unsigned char count, struct ls_buf *out)
{
	unsigned char head[12] = "PACK\0\0\0\2", sum[LS_SHA1_BYTES];

	head[11] = count;
	ls_buf_clear(out);
	ls_buf_add(out, head, sizeof head);
	ls_buf_add(out, object, len);
	ls_sha1(ls_buf_bytes(out), sum);
	ls_buf_add(out, sum, sizeof sum);
}

/* libgit2 is to see nothing but packs of our form. */
START_TEST(a_pack_of_another_form_is_refused_before_it_is_unpacked)
{
	/* "a" deflated, as what the first byte says. */
#define A "\x78\x9c\x4b\x04\x00\x00\x62\x00\x62"
	static const struct {
		const char *bytes;
		size_t len;
		unsigned char count;
		const char *why;
	} bad[] = {
		{ "\x41" A, 10, 1, "no commit, tree or file" },      /* a tag */
		{ "\x61\x01" A, 11, 1, "no commit, tree or file" },  /* a delta */
		{ "\x32" A, 10, 1, "not of the size that it says" }, /* two bytes */
		{ "\x30" A, 10, 1, "not of the size that it says" }, /* none */
		{ "\xb1\xff\xff\x7f" A, 13, 1, "over 1 MiB" },
		{ "\xb1\xff\xff\xff\xff\xff", 6, 1, "without end of its size" },
		{ "\x31" A, 9, 1, "not of the size that it says" }, /* cut off */
		{ "\x31" A "x", 11, 1, "bytes behind" },
		{ "\x31" A, 10, 2, "fewer objects" },
		{ "", 0, 0, "no objects" },
	};
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_commit_id id = { "0123456789abcdef0123456789abcdef01234567" };

	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		pack_of(bad[i].bytes, bad[i].len, bad[i].count, &pack);
		ck_code(ls_history_accept(history, &id, ls_buf_bytes(&pack), &err), LS_E_DAMAGED);
		ck_assert_msg(strstr(err.text, bad[i].why), "%zu: '%s' lacks '%s'", i, err.text,
			bad[i].why);
	}
	pack_of("\x31" A, 10, 1, &pack); /* whole, but without the commit */
	ck_code(ls_history_accept(history, &id, ls_buf_bytes(&pack), &err), LS_E_DAMAGED);
	ck_assert_ptr_nonnull(strstr(err.text, "does not hold commit"));
}
END_TEST

START_TEST(discard_takes_back_only_what_was_not_decided)
{
	struct ls_commit_id root, head = chain(2, &root), id, still;
	struct ls_generation about = about_of(3, &head);

	change(3);
	id = accept_new(&about, &sample.n1);
	ck_ok(ls_history_stage(history, &id, &err));
	ck_assert_uint_eq(count_files("objects/pack", ".pack"), 3);
	ck_ok(ls_history_discard(history, &id, &err));
	ck_assert_uint_eq(count_files("objects/pack", ""), 4);
	ck_assert(shell("test ! -e refs/lockstep/next && git fsck --strict"));
	ck_code(ls_history_judge(history, &id, NULL, &err), LS_E_NOT_FOUND);
	ck_ok(ls_history_discard(history, &id, &err)); /* repeats */
	ck_code(ls_history_discard(history, &head, &err), LS_E_REFUSED);
	ck_code(ls_history_discard(history, &root, &err), LS_E_REFUSED);
	ck_ok(ls_history_head(history, &still, &err));
	ck_assert(ls_commit_equal(&head, &still));
	/* Another staged one is left alone. */
	id = accept_new(&about, &sample.n1);
	about.time_s++;
	still = accept_new(&about, &sample.n1);
	ck_ok(ls_history_stage(history, &still, &err));
	ck_ok(ls_history_discard(history, &id, &err));
	ck_assert(shell("test -e refs/lockstep/next && git fsck --strict"));
	ck_ok(ls_history_judge(history, &still, NULL, &err));
}
END_TEST

/* As a daemon that dies again and again on its way back leaves them. */
START_TEST(what_was_to_follow_a_generation_is_discarded_without_its_ids)
{
	struct ls_commit_id root, head = chain(3, &root), parent, still;
	struct ls_generation about = about_of(4, &head);

	ck_ok(ls_history_find(history, &head, 2, &parent, &err));
	for (int i = 0; i < 3; i++) {
		change(4 + i);
		(void)accept_new(&about, &sample.n1);
	}
	ck_assert_uint_eq(count_files("objects/pack", ".pack"), 6);
	ck_assert(!shell("test -z \"$(git fsck --unreachable)\""));
	ck_ok(ls_history_discard_after(history, &head, &err));
	ck_assert_uint_eq(count_files("objects/pack", ""), 6);
	ck_assert(shell("test -z \"$(git fsck --strict --unreachable)\""));
	ck_ok(ls_history_discard_after(history, &head, &err)); /* repeats */
	/* What followed and was decided stays. */
	ck_code(ls_history_discard_after(history, &parent, &err), LS_E_REFUSED);
	ck_ok(ls_history_head(history, &still, &err));
	ck_assert(ls_commit_equal(&head, &still));
	ck_ok(ls_history_judge(history, &head, NULL, &err));
}
END_TEST

START_TEST(discard_never_removes_a_merged_pack)
{
	struct ls_commit_id root, head = chain(2, &root), id;
	struct ls_generation about = about_of(3, &head);

	change(3);
	id = accept_new(&about, &sample.n1);
	ck_ok(ls_history_stage(history, &id, &err));
	ck_assert(shell("git -c pack.threads=1 repack -adq"));
	reopen();
	ck_ok(ls_history_discard(history, &id, &err));
	ck_assert_uint_eq(count_files("objects/pack", ".pack"), 1);
	ck_ok(ls_history_judge(history, &head, NULL, &err));
}
END_TEST

START_TEST(advancing_repeats_and_works_from_every_state)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation absent = { 0 };
	struct ls_commit_id first = next(1, &none), head;
	struct ls_generation about = about_of(2, &first);
	struct ls_commit_id second = accept_new(&about, &sample.n1), third, missing = first;

	ck_ok(ls_history_advance(history, &second, &err)); /* next is missing */
	ck_ok(ls_history_advance(history, &second, &err));
	ck_assert(shell("git pack-refs --all && test ! -e refs/heads/main"));
	ck_ok(ls_history_head(history, &head, &err));
	ck_assert(ls_commit_equal(&head, &second));
	about = about_of(3, &second);
	third = accept_new(&about, &sample.n1);
	ck_ok(ls_history_stage(history, &third, &err));
	ck_assert(shell("touch refs/heads/main.lock")); /* stops libgit2, not a rename */
	ck_ok(ls_history_advance(history, &third, &err));
	ck_ok(ls_history_advance(history, &third, &err));
	ck_ok(ls_history_head(history, &head, &err));
	ck_assert(ls_commit_equal(&head, &third));
	ck_assert(shell("test ! -e refs/lockstep/next && test $(git rev-list --count HEAD) = 3"));
	missing.hex[0] = missing.hex[0] == 'a' ? 'b' : 'a';
	/* The code does not depend on whether somebody wants the words. */
	ck_code(ls_history_read(history, &missing, &absent, NULL), LS_E_NOT_FOUND);
	ck_code(ls_history_stage(history, &missing, &err), LS_E_NOT_FOUND);
	ck_code(ls_history_advance(history, &missing, &err), LS_E_NOT_FOUND);
	ck_code(ls_history_advance(history, &none, &err), LS_E_NOT_FOUND);
}
END_TEST

START_TEST(a_generation_is_found_by_its_number)
{
	struct ls_commit_id root, head = chain(4, &root), id;

	ck_ok(ls_history_find(history, &head, 1, &id, &err));
	ck_assert(ls_commit_equal(&id, &root));
	ck_ok(ls_history_find(history, &head, 4, &id, &err));
	ck_assert(ls_commit_equal(&id, &head));
	ck_code(ls_history_find(history, &head, 5, &id, &err), LS_E_NOT_FOUND);
	ck_code(ls_history_find(history, &head, 0, &id, &err), LS_E_NOT_FOUND);
	ck_code(ls_history_find(history, &none, 1, &id, &err), LS_E_NOT_FOUND);
}
END_TEST

START_TEST(texts_that_could_forge_a_commit_are_refused)
{
	static char bad_subject[] = "x\n\nLockstep-Generation: 9", bad_name[] = "a <b>",
		    bad_email[] = "a@b> 1 +0000\nx", empty[] = "", bad_cause[] = "Operator x";
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_commit_id id = { "" };

	for (int i = 0; i < 6; i++) {
		struct ls_generation about = about_of(1, &none);

		if (i == 0)
			about.subject = bad_subject;
		if (i == 1)
			about.author_name = bad_name;
		if (i == 2)
			about.author_email = bad_email;
		if (i == 3)
			about.subject = empty;
		if (i == 4)
			about.cause = bad_cause;
		if (i == 5)
			about.generation = 0;
		ck_code(ls_history_compose(
				history, &sample.state, &about, &sample.n1, &id, &pack, &err),
			LS_E_REFUSED);
	}
	ck_assert_str_eq(id.hex, "");
	ck_assert_uint_eq(pack.len, 0);
}
END_TEST

static void assert_refused(const struct ls_commit_id *id, const char *why)
{
	int64_t count = -1;

	ck_code(ls_history_judge(history, id, NULL, &err), LS_E_REFUSED);
	ck_assert_msg(strstr(err.text, why) != NULL, "'%s' lacks '%s'", err.text, why);
	ck_code(verify(id, &none, &count), LS_E_DAMAGED);
	ck_assert_msg(strstr(err.text, why) != NULL, "'%s' lacks '%s'", err.text, why);
	ck_assert_int_eq(count, 0);
}

START_TEST(only_a_member_of_the_parent_may_sign)
{
	struct ls_commit_id root, head = chain(2, &root), id;
	struct ls_generation about = about_of(3, &head);
	static char n2[] = "n2", n2_email[] = "n2@prod";

	/* A certificate for the same name from the same CA, but not the one listed. */
	id = accept_new(&about, &sample.stranger);
	assert_refused(&id, "not a member in the parent's tree");
	/* Listed by the very commit that it signs. */
	sample_member(&sample, "n2", &sample.n2);
	about.committer_name = n2;
	about.committer_email = n2_email;
	id = accept_new(&about, &sample.n2);
	assert_refused(&id, "not a member in the parent's tree");
	/* Another member's name. */
	id = accept_new(&about, &sample.n1);
	assert_refused(&id, "the committer is 'n2 <n2@prod>'");
	/* Admitted by a member, it may sign the next. */
	about = about_of(3, &head);
	head = accept_new(&about, &sample.n1);
	ck_ok(ls_history_judge(history, &head, NULL, &err));
	about = about_of(4, &head);
	about.committer_name = n2;
	about.committer_email = n2_email;
	id = accept_new(&about, &sample.n2);
	ck_ok(ls_history_judge(history, &id, NULL, &err));
}
END_TEST

START_TEST(numbers_and_cluster_must_follow)
{
	struct ls_commit_id root, head = chain(2, &root), id;
	struct ls_generation about = about_of(4, &head);

	id = accept_new(&about, &sample.n1);
	assert_refused(&id, "says generation 4, wanted 3");
	about = about_of(2, &head);
	id = accept_new(&about, &sample.n1);
	assert_refused(&id, "says generation 2, wanted 3");
	about = about_of(2, &none);
	id = accept_new(&about, &sample.n1);
	assert_refused(&id, "says generation 2, wanted 1");
	about = about_of(3, &head);
	sample.state.cluster_id[0] = 'f';
	id = accept_new(&about, &sample.n1);
	assert_refused(&id, "another cluster");
}
END_TEST

/* Writes an object with stock git and names it *out. */
static void write_commit(const char *make, struct ls_commit_id *out)
{
	LS_CLEANUP(ls_free_str)
	char *script = ls_format(
		"(%s) >../commit && git hash-object -t commit -w --literally ../commit >../id",
		make);
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/id", top);
	FILE *in;

	ck_assert(shell(script));
	in = fopen(file, "r");
	ck_assert_ptr_nonnull(in);
	ck_assert_int_eq(fscanf(in, "%40s", out->hex), 1);
	(void)fclose(in);
}

START_TEST(a_commit_made_over_with_its_signature_kept_is_found)
{
	struct ls_commit_id root, head = chain(3, &root), id;
	static const struct {
		const char *make, *why;
	} cases[] = {
		{ "git cat-file commit HEAD | sed \"s/^parent .*/parent $(git rev-parse HEAD~2)/\"",
			"says generation 3, wanted 2" },
		{ "git cat-file commit HEAD | sed 's/^author alice /author mallory /'",
			"does not hold" },
		{ "git cat-file commit HEAD | sed \"s/^tree .*/tree $(git rev-parse "
		  "HEAD~1^{tree})/\"",
			"does not hold" },
		{ "git cat-file commit HEAD | sed '/^gpgsig/,/^ -----END/d'", "not signed" },
		{ "git cat-file commit HEAD | sed 's/^author/encoding x\\nauthor/'",
			"not a commit in the form" },
		{ "git cat-file commit HEAD | sed \"s/^author/parent $(git rev-parse "
		  "HEAD~2)\\nauthor/\"",
			"not a commit in the form" },
		{ "git cat-file commit HEAD; echo Lockstep-Restores: x",
			"not a commit in the form" },
	};

	(void)head;
	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		write_commit(cases[i].make, &id);
		assert_refused(&id, cases[i].why);
	}
}
END_TEST

/* The numbers fit and only the signature tells. */
START_TEST(a_rewritten_parent_is_found)
{
	struct ls_commit_id root, head = chain(3, &root), id;
	struct ls_generation about = about_of(2, &root);
	LS_CLEANUP(ls_free_str) char *make = NULL;
	int64_t count;

	about.time_s += 100;
	id = accept_new(&about, &sample.n1);
	make = ls_format("git cat-file commit HEAD | sed 's/^parent .*/parent %s/'", id.hex);
	write_commit(make, &id);
	assert_refused(&id, "does not hold");
	ck_ok(verify(&head, &root, &count));
	ck_assert_int_eq(count, 3);
}
END_TEST

START_TEST(another_root_is_found)
{
	struct ls_commit_id root, head = chain(3, &root), other = root;
	int64_t count;

	other.hex[0] = other.hex[0] == 'a' ? 'b' : 'a';
	ck_ok(verify(&head, &none, &count));
	ck_code(verify(&head, &other, &count), LS_E_DAMAGED);
	ck_assert_msg(strstr(err.text, "generation 1 ") != NULL, "%s", err.text);
	ck_assert_int_eq(count, 2);
}
END_TEST

START_TEST(a_tree_that_is_no_state_is_found)
{
	struct ls_commit_id root, head = chain(1, &root), id;
	static const char *const makes[] = {
		"{ git ls-tree main; printf '100644 blob %s\\tzz\\n' $(git rev-parse main:format); "
		"}",
		"git ls-tree main | sed 's/^100644 \\(blob .*format\\)/100755 \\1/'",
		"git ls-tree main | sed 's/^100644 \\(blob .*format\\)/120000 \\1/'",
		"git ls-tree main | grep -v settings.json",
		"git ls-tree main | sed \"s/ [0-9a-f]*\\tsettings.json/ $(echo '{}' | git "
		"hash-object "
		"-w --stdin)\\tsettings.json/\"",
	};

	(void)head;
	for (size_t i = 0; i < LS_COUNT(makes); i++) {
		LS_CLEANUP(ls_free_str)
		char *make = ls_format(
			"git cat-file commit HEAD | sed \"s/^tree .*/tree $(%s | git mktree)/\"",
			makes[i]);

		write_commit(make, &id);
		ck_code(ls_history_judge(history, &id, NULL, &err), LS_E_REFUSED);
		ck_assert_msg(!strstr(err.text, "does not hold"), "%zu: %s", i, err.text);
	}
}
END_TEST

/* Every byte of every file in objects/, one after the other. */
static void flip_all(const struct ls_commit_id *head, const struct ls_commit_id *root, size_t step)
{
	LS_CLEANUP(ls_free_str) char *list = ls_format("%s/list", top);
	char name[512];
	FILE *names;

	ck_assert(shell("find objects -type f | sort >../list"));
	names = fopen(list, "r");
	while (fscanf(names, "%511s", name) == 1) {
		LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s", path, name);
		LS_CLEANUP(ls_fd_close) int fd = -1;
		struct stat st;

		ck_assert_int_eq(chmod(file, 0600), 0);
		fd = open(file, O_RDWR);
		ck_assert_int_eq(fstat(fd, &st), 0);
		for (off_t at = 0; at < st.st_size; at += (off_t)step) {
			unsigned char was, now;
			int64_t count;

			ck_assert_int_eq(pread(fd, &was, 1, at), 1);
			now = was ^ 0x01;
			ck_assert_int_eq(pwrite(fd, &now, 1, at), 1);
			ls_history_free(&history);
			ck_ok(ls_history_open(path, &history, &err));
			ck_assert_msg(verify(head, root, &count) != LS_OK, "%s: byte %lld of %lld",
				name, (long long)at, (long long)st.st_size);
			ck_assert_int_eq(pwrite(fd, &was, 1, at), 1);
		}
	}
	(void)fclose(names);
}

START_TEST(a_flipped_byte_in_a_pack_or_index_is_found)
{
	struct ls_commit_id root, head = chain(2, &root);
	int64_t count;

	flip_all(&head, &root, 7);
	reopen();
	ck_ok(verify(&head, &root, &count));
}
END_TEST

START_TEST(a_flipped_byte_in_a_loose_object_is_found)
{
	struct ls_commit_id root, head = chain(2, &root);
	int64_t count;

	ck_assert(shell("mkdir ../p && mv objects/pack/* ../p && for p in ../p/*.pack; do git "
			"unpack-objects -q <$p; done; echo loner | git hash-object -w --stdin"));
	reopen();
	ck_ok(verify(&head, &root, &count));
	flip_all(&head, &root, 5);
}
END_TEST

START_TEST(a_missing_object_is_named_with_its_generation)
{
	struct ls_commit_id root, head = chain(3, &root);
	int64_t count;

	ck_assert(shell("mkdir ../p && mv objects/pack/* ../p && for p in ../p/*.pack; do git "
			"unpack-objects -q <$p; done; o=$(git rev-parse "
			"HEAD~1:components/proxy/key.cms); rm -f "
			"objects/$(echo $o | cut -c1-2)/$(echo $o | cut -c3-)"));
	ck_code(verify(&head, &root, &count), LS_E_DAMAGED);
	ck_assert_int_eq(count, 0); /* generation 3 cannot be judged without its parent */
	ck_assert_msg(strstr(err.text, "generation 2 ") != NULL, "%s", err.text);
	ck_assert_msg(strstr(err.text, "components/proxy/key.cms") != NULL, "%s", err.text);
}
END_TEST

START_TEST(tidying_keeps_every_object_and_few_packs)
{
	struct ls_commit_id root, head = chain(9, &root), loose_end;
	struct ls_generation about = about_of(10, &head);
	size_t most = 0;
	int64_t count;

	ck_assert(shell("git cat-file --batch-check --batch-all-objects | sort >../all"));
	ck_ok(ls_history_tidy(history, &err));
	ck_assert(shell("git cat-file --batch-check --batch-all-objects | sort | cmp - ../all"));
	ck_assert_uint_lt(count_files("objects/pack", ".pack"), 9);
	ck_ok(verify(&head, &root, &count));
	change(10);
	loose_end = accept_new(&about, &sample.n1); /* undecided: must survive too */
	for (int64_t i = 10; i <= 60; i++) {
		size_t packs;

		head = next(i, &head);
		ck_ok(ls_history_tidy(history, &err));
		packs = count_files("objects/pack", ".pack");
		most = packs > most ? packs : most;
	}
	ck_assert_uint_le(most, 9);
	ck_ok(ls_history_judge(history, &loose_end, NULL, &err));
	ck_ok(verify(&head, &root, &count));
	ck_assert_int_eq(count, 60);
	ck_assert(shell("git fsck --strict --full"));
	ck_ok(ls_history_discard(history, &loose_end, &err));
	ck_ok(verify(&head, &root, &count));
}
END_TEST

/* However long the history is, no merge is of more than what a few hundred generations take. */
START_TEST(tidying_leaves_big_packs_as_they_are)
{
	struct ls_commit_id root, head;
	int64_t count;

	ck_assert(shell("for bytes in 600000 610000 620000 20000; do head -c $bytes /dev/urandom | "
			"git hash-object -w --stdin | git pack-objects -q objects/pack/pack "
			">../$bytes; git prune-packed; done"));
	head = chain(12, &root);
	ck_ok(ls_history_tidy(history, &err));
	ck_assert(shell("for bytes in 600000 610000 620000; do [ -e objects/pack/pack-$(cat "
			"../$bytes).pack ] || exit 1; done; [ ! -e objects/pack/pack-$(cat "
			"../20000).pack ]"));
	ck_assert_uint_le(count_files("objects/pack", ".pack"), 9);
	ck_ok(verify(&head, &root, &count));
	ck_assert_int_eq(count, 12);
}
END_TEST

START_TEST(another_handle_survives_tidying)
{
	LS_CLEANUP(ls_history_free) struct ls_history *other = NULL;
	struct ls_commit_id root, head = chain(12, &root), id;

	ck_ok(ls_history_open(path, &other, &err));
	ck_ok(ls_history_judge(other, &head, NULL, &err));
	ck_ok(ls_history_tidy(history, &err));
	ck_ok(ls_history_judge(other, &head, NULL, &err));
	ck_ok(ls_history_find(other, &head, 1, &id, &err));
	head = next(13, &head);
	ck_ok(ls_history_judge(other, &head, NULL, &err));
}
END_TEST

/* As the daemon's reader, or another process, lives beside a writer that is busy: a listing of the
 * packs in the middle of a merge shows neither the old ones nor the new one. */
START_TEST(a_reader_misses_nothing_while_packs_are_merged)
{
	struct ls_commit_id root, head = chain(9, &root);
	int status = -1, reads = 0;
	pid_t pid = fork();

	if (pid == 0) {
		for (int64_t i = 10; i <= 200; i++) {
			head = next(i, &head);
			ck_ok(ls_history_tidy(history, &err));
		}
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		LS_CLEANUP(ls_history_free) struct ls_history *other = NULL;
		struct ls_commit_id id;

		ck_ok(ls_history_open(path, &other, &err));
		ck_ok(ls_history_find(other, &head, 1, &id, &err));
		reads++;
	}
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_gt(reads, 0);
}
END_TEST

static int deleted_packs_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		char to[512];
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, to, sizeof to - 1);

		to[len > 0 ? len : 0] = '\0';
		count += strstr(to, ".pack") && strstr(to, "(deleted)");
	}
	(void)closedir(dir);
	return count;
}

/* As the daemon's reader lives, beside its writer. */
START_TEST(a_handle_that_only_reads_lets_go_of_merged_packs)
{
	LS_CLEANUP(ls_history_free) struct ls_history *other = NULL;
	struct ls_commit_id root, head = chain(2, &root);
	int most = 0;

	ck_ok(ls_history_open(path, &other, &err));
	for (int64_t i = 3; i <= 80; i++) {
		int open;

		head = next(i, &head);
		ck_ok(ls_history_tidy(history, &err));
		ck_ok(ls_history_judge(other, &head, NULL, &err));
		open = deleted_packs_open();
		most = open > most ? open : most;
	}
	ck_assert_int_le(most, 10);
}
END_TEST

/* Until it is lifted nothing can be opened. */
static struct rlimit bar_descriptors(void)
{
	struct rlimit was, now;
	int lowest = dup(STDERR_FILENO);

	ck_assert_int_ge(lowest, 0);
	(void)close(lowest);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = (struct rlimit){ .rlim_cur = (rlim_t)lowest, .rlim_max = was.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
	return was;
}

/* A look for what is not there yet opens the packs anew. Where that fails, for want of descriptors
 * here, whoever comes next finds the handle as good as before: reading, asking for the head, or
 * accepting. */
START_TEST(a_handle_that_could_not_be_opened_again_is_opened_by_its_next_user)
{
	LS_CLEANUP(ls_history_free) struct ls_history *other = NULL;
	struct ls_commit_id root, head = chain(2, &root), found;

	ck_ok(ls_history_open(path, &other, &err));
	for (int user = 0; user < 3; user++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
		struct ls_generation about = about_of(3 + user, &head);
		struct ls_commit_id id;
		struct rlimit was;
		enum ls_code rc;

		change(about.generation);
		id = compose(&about, &sample.n1, &pack);
		was = bar_descriptors();
		rc = ls_history_judge(other, &id, NULL, &err);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
		ck_assert_int_eq(rc, LS_E_IO);
		if (user == 0)
			ck_ok(ls_history_judge(other, &head, NULL, &err));
		if (user == 1)
			ck_ok(ls_history_head(other, &found, &err));
		ck_ok(ls_history_accept(other, &id, ls_buf_bytes(&pack), &err));
		ck_ok(ls_history_stage(other, &id, &err));
		ck_ok(ls_history_advance(other, &id, &err));
		head = id;
	}
	ck_ok(ls_history_judge(history, &head, NULL, &err));
}
END_TEST

START_TEST(what_stock_git_leaves_is_no_hindrance)
{
	struct ls_commit_id root, head = chain(12, &root);
	int64_t count;

	ck_assert(shell("git gc -q && git multi-pack-index write && git commit-graph write "
			"--reachable"));
	ck_ok(verify(&head, &root, &count));
	for (int64_t i = 13; i <= 24; i++)
		head = next(i, &head);
	ck_assert(shell("git -c pack.writeReverseIndex=true repack -dq --write-midx && git "
			"commit-graph write --reachable"));
	for (int64_t i = 25; i <= 36; i++)
		head = next(i, &head);
	ck_assert(shell("git multi-pack-index write"));
	ck_ok(ls_history_tidy(history, &err));
	ck_ok(verify(&head, &root, &count));
	ck_assert_int_eq(count, 36);
	ck_assert(shell("git fsck --strict --full && git log -p"));
	reopen();
	ck_ok(ls_history_tidy(history, &err));
	ck_ok(verify(&head, &root, &count));
}
END_TEST

START_TEST(a_packs_keep_file_is_respected)
{
	struct ls_commit_id root;

	(void)chain(12, &root);
	ck_assert(shell("for p in objects/pack/*.pack; do touch ${p%.pack}.keep; done"));
	ck_ok(ls_history_tidy(history, &err));
	ck_assert_uint_eq(count_files("objects/pack", ".pack"), 12);
}
END_TEST

/* A disk that is read-only for a while lets nobody remove what was begun. */
START_TEST(tidying_removes_what_was_begun_and_leaves_others_files)
{
	struct ls_commit_id root, head = chain(2, &root);

	ck_assert(shell("touch objects/pack/tmp_pack_1 && find . -type f | sort >../before && "
			"touch objects/pack/pack_git2_1 objects/pack/pack_git2_1idx.lock "
			"objects/pack/.tmp-probe"));
	ck_ok(ls_history_tidy(history, &err));
	ck_assert(shell("find . -type f | sort >../after; diff ../before ../after"));
	ck_ok(ls_history_judge(history, &head, NULL, &err));
}
END_TEST

START_TEST(cleaning_removes_remains_and_nothing_else)
{
	struct ls_commit_id root, head = chain(2, &root);
	struct ls_generation about = about_of(3, &head);
	int64_t count;

	ck_ok(ls_history_stage(history, &head, &err));
	ck_assert(shell("find . -type f | sort >../before"));
	change(3);
	(void)accept_new(&about, &sample.n1);
	ck_assert(shell("for p in $(ls -t objects/pack/*.idx | head -1); do rm $p; done"));
	ck_assert(shell(
		"touch HEAD.lock config.lock packed-refs.lock packed-refs.new refs/heads/main.lock "
		"refs/lockstep/.next.new refs/lockstep/next.lock refs/tags/a.lock .HEAD.new "
		"objects/pack/tmp_pack_1 objects/pack/tmp_idx_1 objects/pack/pack_git2_1 "
		"objects/pack/.tmp-1-pack objects/pack/pack-1.idx.lock objects/pack/pack-2.idx "
		"objects/pack/pack-3.pack objects/info/commit-graph.lock && mkdir -p objects/ab && "
		"touch objects/ab/tmp_obj_1 objects/tmp_obj_2"));
	ck_ok(ls_history_clean(history, &err));
	ck_assert(shell("find . -type f | sort >../after; diff ../before ../after"));
	ck_ok(verify(&head, &root, &count));
	ck_ok(ls_history_clean(history, &err));
	ck_assert(shell("git fsck --strict"));
}
END_TEST

/* ---- getting lost objects back ---- */

static void flip(const char *file, long at)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("%s/%s", path, file);
	FILE *stream;
	int byte;

	ck_assert_int_eq(chmod(name, 0600), 0);
	stream = fopen(name, "r+");
	ck_assert_ptr_nonnull(stream);
	ck_assert_int_eq(fseek(stream, at, SEEK_SET), 0);
	byte = fgetc(stream);
	ck_assert_int_eq(fseek(stream, at, SEEK_SET), 0);
	ck_assert_int_ne(fputc(byte ^ 1, stream), EOF);
	ck_assert_int_eq(fclose(stream), 0);
}

static off_t size_of(const char *file)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("%s/%s", path, file);
	struct stat st;

	ck_assert_int_eq(stat(name, &st), 0);
	return st.st_size;
}

static char *newest_pack(void)
{
	LS_CLEANUP(ls_free_str) char *out = ls_format("%s/out", top);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	ck_assert(shell("ls -t objects/pack/*.pack | head -n 1"));
	ck_ok(ls_file_read(AT_FDCWD, out, 4096, &text, &err));
	text.data[text.len - 1] = '\0';
	return ls_buf_take(&text);
}

/* Wherever the bit is: what is lost is told, comes back from the copy, and nothing else is lost. */
START_TEST(a_flipped_bit_anywhere_is_repaired_from_a_copy)
{
	LS_CLEANUP(ls_free_str) char *copy = ls_format("%s/copy.git", top);
	LS_CLEANUP(ls_free_str) char *pack = NULL;
	LS_CLEANUP(ls_free_str) char *idx = NULL;
	struct ls_copies copies = { .from = copy };
	struct ls_commit_id root, head = chain(3, &root);
	long lost = 0, harmless = 0;

	pack = newest_pack();
	idx = ls_format("%.*s.idx", (int)strlen(pack) - 5, pack);
	ls_history_free(&history);
	ck_assert(shell("cp -a . ../copy.git"));
	for (long step = 0; step * 157 < size_of(pack) + size_of(idx) + 157; step++) {
		LS_CLEANUP(ls_survey_done) struct ls_survey before = { 0 }, left = { 0 };
		long at = step * 157;
		size_t restored;
		int64_t count;

		/* Last, in the index' CRCs, which nobody reads an object by: (header, fan-out,
		 * ids), CRCs, offsets, two checksums. */
		if (at >= size_of(pack) + size_of(idx))
			at = size_of(pack) + 1032 + 20 * ((size_of(idx) - 1072) / 28);
		if (at < size_of(pack))
			flip(pack, at);
		else
			flip(idx, at - size_of(pack));
		ck_ok(ls_history_open(path, &history, &err));
		ck_code(verify(&head, &root, &count), LS_E_DAMAGED);
		ck_ok(ls_history_survey(history, &head, &before, &err));
		ck_assert(before.lost_count > 0 || before.files);
		lost += before.lost_count > 0;
		harmless += before.lost_count == 0;
		ck_ok(ls_history_repair(history, &head, &copies, &restored, &left, &err));
		ck_assert_uint_eq(left.lost_count, 0);
		ck_ok(verify(&head, &root, &count));
		ck_assert_int_eq(count, 3);
		ls_history_free(&history);
		ck_assert(shell("rm -rf ./* && cp -a ../copy.git/. ."));
	}
	ck_assert_int_gt(lost, 0);
	ck_assert_int_gt(harmless, 0);
}
END_TEST

START_TEST(a_lost_object_is_named_and_only_its_own_content_is_taken)
{
	LS_CLEANUP(ls_survey_done) struct ls_survey survey = { 0 };
	struct ls_commit_id root, head = chain(3, &root);
	struct ls_bytes blobs[] = { LS_BYTES_STR("0\n"), LS_BYTES_STR("1\n") };
	struct ls_copies copies = { .blobs = blobs, .blob_count = 1 };
	size_t restored = 0, left = 0;

	ck_assert(shell("mv objects/pack/*.pack .. && rm objects/pack/*.idx && "
			"for p in ../*.pack; do git unpack-objects -q <$p; done && "
			"o=$(echo 1 | git hash-object --stdin) && "
			"rm -f objects/$(echo $o | cut -c1-2)/$(echo $o | cut -c3-)"));
	reopen();
	ck_ok(ls_history_survey(history, &head, &survey, &err));
	ck_assert_uint_eq(survey.lost_count, 1);
	ck_assert_str_eq(survey.lost[0].path, "format");
	ck_assert_str_eq(survey.lost[0].kind, "blob");
	ck_assert_int_eq(survey.lost[0].generation, 3);
	ck_assert(survey.lost[0].missing);
	ck_ok(ls_history_repairable(history, &head, &survey, &copies, &left, &err));
	ck_assert_uint_eq(left, 1);
	ck_ok(ls_history_repair(history, &head, &copies, &restored, &survey, &err));
	ck_assert_uint_eq(restored, 0);
	ck_assert_uint_eq(survey.lost_count, 1);
	copies.blob_count = 2;
	ck_ok(ls_history_repair(history, &head, &copies, &restored, &survey, &err));
	ck_assert_uint_eq(restored, 1);
	ck_assert_uint_eq(survey.lost_count, 0);
	ck_assert(shell("git fsck --strict"));
}
END_TEST

START_TEST(a_needed_pack_that_lost_its_index_gets_it_again_when_cleaning)
{
	struct ls_commit_id root, head = chain(3, &root);
	int64_t count;

	ck_assert(shell("rm objects/pack/*.idx"));
	reopen();
	ck_ok(ls_history_clean(history, &err));
	ck_ok(verify(&head, &root, &count));
	ck_assert_int_eq(count, 3);
}
END_TEST

START_TEST(a_repository_without_its_frame_can_be_opened_again)
{
	static const char *const damages[] = { "rm HEAD", "echo x >HEAD", "rm config",
		"printf '[broken' >config", "rm -r refs/tags objects/info", ":>HEAD; :>config" };
	struct ls_commit_id root, head = chain(1, &root), found;
	int64_t count;

	for (size_t i = 0; i < LS_COUNT(damages); i++) {
		ck_assert(shell(damages[i]));
		ls_history_free(&history);
		ck_ok(ls_history_mend_frame(path, &err));
		ck_ok(ls_history_open(path, &history, &err));
		ck_ok(ls_history_head(history, &found, &err));
		ck_assert(ls_commit_equal(&found, &head));
		ck_ok(verify(&head, &root, &count));
	}
}
END_TEST

START_TEST(an_operators_configuration_does_not_matter)
{
	struct ls_commit_id root;

	ck_assert(shell("printf '[core]\\n\\tbare = nonsense\\n[broken' >../.gitconfig"));
	ck_assert_int_eq(setenv("HOME", top, 1), 0);
	ck_assert_int_eq(setenv("XDG_CONFIG_HOME", top, 1), 0);
	reopen();
	(void)chain(1, &root);
}
END_TEST

LS_TEST_MAIN_FIXTURE("history", setup, teardown, an_empty_history_has_no_head_and_creating_repeats,
	a_generation_reads_back_as_it_was_composed,
	composing_touches_no_disk_and_packs_only_what_the_parent_lacks,
	a_pack_does_not_lean_on_undecided_objects, stock_git_reads_it,
	accepting_repeats_and_refuses_what_is_not_whole,
	a_pack_of_another_form_is_refused_before_it_is_unpacked,
	discard_takes_back_only_what_was_not_decided,
	what_was_to_follow_a_generation_is_discarded_without_its_ids,
	discard_never_removes_a_merged_pack, advancing_repeats_and_works_from_every_state,
	a_generation_is_found_by_its_number, texts_that_could_forge_a_commit_are_refused,
	only_a_member_of_the_parent_may_sign, numbers_and_cluster_must_follow,
	a_commit_made_over_with_its_signature_kept_is_found, a_rewritten_parent_is_found,
	another_root_is_found, a_tree_that_is_no_state_is_found,
	a_flipped_byte_in_a_pack_or_index_is_found, a_flipped_byte_in_a_loose_object_is_found,
	a_missing_object_is_named_with_its_generation, tidying_keeps_every_object_and_few_packs,
	tidying_leaves_big_packs_as_they_are, another_handle_survives_tidying,
	a_reader_misses_nothing_while_packs_are_merged,
	a_handle_that_only_reads_lets_go_of_merged_packs,
	a_handle_that_could_not_be_opened_again_is_opened_by_its_next_user,
	what_stock_git_leaves_is_no_hindrance, a_flipped_bit_anywhere_is_repaired_from_a_copy,
	a_lost_object_is_named_and_only_its_own_content_is_taken,
	a_needed_pack_that_lost_its_index_gets_it_again_when_cleaning,
	a_repository_without_its_frame_can_be_opened_again, a_packs_keep_file_is_respected,
	tidying_removes_what_was_begun_and_leaves_others_files,
	cleaning_removes_remains_and_nothing_else, an_operators_configuration_does_not_matter)
