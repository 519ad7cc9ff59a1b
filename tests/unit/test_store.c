/* What a store promises (store/store.h), asked of each backend; and that the local one leaves the
 * old record or the new one, whatever call fails or wherever the process dies. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/file.h"
#include "tests/unit/etcd_fixture.h"
#include "tests/unit/fake_store.h"
#include "tests/unit/lossy_store.h"
#include "tests/unit/record_moves.h"

static struct ls_store *(*open_store)(void); /* another handle on the one store */
static struct fake_backing backing;
static struct ls_store *store;
static struct ls_store_view view;
static struct ls_err err;
static char dir[64];

/* The linker sends these calls here: the nth one fails, or the process dies before it. */
static struct {
	int nth; /* 0: none */
	int seen;
	bool die;
} fault;

static bool fault_now(void)
{
	if (fault.nth == 0 || ++fault.seen != fault.nth)
		return false;
	if (fault.die)
		_exit(77);
	errno = EIO;
	return true;
}

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __real_openat(int at, const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...);
int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fsync(int fd);
int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __real_unlinkat(int at, const char *path, int flags);
int __wrap_unlinkat(int at, const char *path, int flags);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (fault.nth > 0 && fault.seen + 1 == fault.nth && len > 1)
		(void)!__real_write(fd, data, len / 2); /* a part may get there */
	return fault_now() ? -1 : __real_write(fd, data, len);
}

int __wrap_openat(int at, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return fault_now() ? -1 : __real_openat(at, path, flags, mode);
}

int __wrap_fchmod(int fd, mode_t mode)
{
	return fault_now() ? -1 : __real_fchmod(fd, mode);
}

int __wrap_fsync(int fd)
{
	(void)fd; /* that it is called in the right order, test_file shows */
	return fault_now() ? -1 : 0;
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return fault_now() ? -1 : __real_renameat(from_fd, from, to_fd, to);
}

int __wrap_unlinkat(int at, const char *path, int flags)
{
	return fault_now() ? -1 : __real_unlinkat(at, path, flags);
}

static struct ls_store *open_local(void)
{
	struct ls_store *opened = NULL;

	ck_ok(ls_store_local_open(dir, &opened, &err));
	return opened;
}

static struct ls_store *open_fake(void)
{
	return fake_store_open(&backing);
}

static struct ls_store *open_etcd(void)
{
	struct ls_etcd_settings settings;
	struct ls_store *opened = NULL;

	etcd_settings_of(&settings);
	/* Each test's directory names a cluster of its own. */
	ls_store_etcd_open(&settings, strrchr(dir, '/') + 1, "n1", &etcd_trust, &opened);
	return opened;
}

static void setup(struct ls_store *(*opener)(void))
{
	open_store = opener;
	/* Thousands of replaced files: in memory where that is to be had. */
	(void)snprintf(dir, sizeof dir, "%s/lockstep-store-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	store = open_store();
}

static void setup_local(void)
{
	setup(open_local);
}

static void setup_fake(void)
{
	setup(open_fake);
}

static void setup_etcd(void)
{
	setup(open_etcd);
}

static void teardown(void)
{
	fault.nth = 0;
	ls_store_free(&store);
	ls_store_view_done(&view);
	fake_backing_done(&backing);
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
}

static const struct ls_store_view *now(void)
{
	ck_ok(ls_store_read(store, &view, &err));
	return &view;
}

static char *text_of(const struct ls_store_view *of)
{
	json_t *json = ls_record_to_json(of);
	char *text = json_dumps(json, JSON_SORT_KEYS);

	json_decref(json);
	return text;
}

static char *text_now(void)
{
	return text_of(now());
}

#define fails(call, want)                                                                          \
	do {                                                                                       \
		LS_CLEANUP(ls_free_str) char *before_ = text_now();                                \
		LS_CLEANUP(ls_free_str) char *after_ = NULL;                                       \
		ck_code(call, want);                                                               \
		after_ = text_now();                                                               \
		ck_assert_str_eq(after_, before_);                                                 \
	} while (0)

static enum ls_code begin_on(struct ls_store *with, int number)
{
	struct ls_rotation rotation;

	moves_rotation(&now()->tip, number, &rotation);
	return ls_store_begin(with, &rotation, &err);
}

static enum ls_code begin(int number)
{
	return begin_on(store, number);
}

static enum ls_code vote(int number, const char *node, bool yes)
{
	struct ls_ballot ballot;

	moves_ballot(node, yes, &ballot);
	return ls_store_vote(store, moves_nonce(number), &ballot, &err);
}

static enum ls_code report(int number, const char *node, int commit, bool good)
{
	struct ls_report made;

	moves_report(node, moves_commit(commit), good, &made);
	return ls_store_report(store, moves_nonce(number), &made, &err);
}

static enum ls_code end(int number, const char *result)
{
	struct ls_outcome outcome;

	moves_outcome(number, result, &outcome);
	return ls_store_close(store, moves_nonce(number), &outcome, &err);
}

static void decided(int number)
{
	ck_ok(begin(number));
	ck_ok(vote(number, "n1", true));
	ck_ok(vote(number, "n2", true));
	ck_ok(ls_store_decide(store, moves_nonce(number), 2000, &err));
}

START_TEST(it_begins_empty)
{
	ck_assert_str_eq(now()->tip.commit, "");
	ck_assert_int_eq(view.tip.generation, 0);
	ck_assert_ptr_null(view.rotation);
	ck_assert_ptr_null(view.last);
}
END_TEST

START_TEST(a_whole_rotation_is_seen_by_every_handle)
{
	struct ls_store *other = open_store();
	struct ls_store *mine = store;

	ck_ok(begin(1));
	store = other;
	ck_assert_str_eq(now()->rotation->nonce, moves_nonce(1));
	ck_assert_str_eq(view.rotation->initiator, "n1");
	ck_assert_uint_eq(ls_strv_count(view.rotation->participants), 2);
	ck_assert_int_eq(view.rotation->vote_deadline_s, 1020);
	ck_ok(vote(1, "n2", true));
	store = mine;
	ck_assert_uint_eq(now()->rotation->ballot_count, 1);
	ck_assert_str_eq(view.rotation->ballots[0].baseline[0], moves_warning);
	ck_ok(vote(1, "n1", true));
	ck_ok(ls_store_decide(store, moves_nonce(1), 2000, &err));
	store = other;
	ck_assert_str_eq(now()->tip.commit, moves_commit(1));
	ck_ok(report(1, "n2", 1, true));
	store = mine;
	ck_ok(end(1, "done"));
	store = other;
	ck_assert_ptr_null(now()->rotation);
	ck_assert_str_eq(view.last->result, "done");
	ck_assert_str_eq(view.last->warnings[0], moves_warning);
	ck_assert_int_eq(view.last->ended_at_s, 1030);
	ls_store_free(&other);
	store = mine;
}
END_TEST

START_TEST(one_rotation_at_a_time)
{
	struct ls_store *other = open_store();

	ck_ok(begin(1));
	fails(begin_on(other, 2), LS_E_CONFLICT);
	ck_ok(ls_store_abort(store, moves_nonce(1), "why", 5, &err));
	ck_assert_str_eq(now()->last->result, "aborted");
	ck_ok(begin_on(other, 2));
	ls_store_free(&other);
}
END_TEST

START_TEST(begin_compares_the_tip)
{
	struct ls_rotation stale;

	moves_rotation(&now()->tip, 7, &stale);
	decided(1);
	ck_ok(end(1, "done"));
	fails(ls_store_begin(store, &stale, &err), LS_E_CONFLICT);
}
END_TEST

START_TEST(votes_are_created_once_and_in_time)
{
	fails(vote(1, "n1", true), LS_E_CONFLICT);
	ck_ok(begin(1));
	ck_ok(vote(1, "n1", true));
	ck_ok(vote(1, "n1", true));
	fails(vote(1, "n1", false), LS_E_CONFLICT);
	fails(vote(1, "n9", true), LS_E_REFUSED);
	fails(vote(9, "n2", true), LS_E_CONFLICT);
	fails(ls_store_decide(store, moves_nonce(1), 2000, &err), LS_E_REFUSED);
	ck_ok(vote(1, "n2", true));
	fails(ls_store_decide(store, moves_nonce(9), 2000, &err), LS_E_CONFLICT);
	ck_ok(ls_store_decide(store, moves_nonce(1), 2000, &err));
	fails(vote(1, "n2", true), LS_E_CONFLICT);
	fails(ls_store_decide(store, moves_nonce(1), 2000, &err), LS_E_CONFLICT);
}
END_TEST

START_TEST(moves_of_the_wrong_phase_change_nothing)
{
	fails(end(1, "done"), LS_E_CONFLICT);
	fails(ls_store_abort(store, moves_nonce(1), "", 5, &err), LS_E_CONFLICT);
	ck_ok(begin(1));
	fails(end(1, "done"), LS_E_CONFLICT);
	fails(report(1, "n1", 1, true), LS_E_CONFLICT);
	fails(ls_store_revert(store, moves_nonce(1), moves_commit(2), "", 9, &err), LS_E_CONFLICT);
	fails(ls_store_abort(store, moves_nonce(2), "", 5, &err), LS_E_CONFLICT);
	ck_ok(vote(1, "n1", true));
	ck_ok(vote(1, "n2", true));
	ck_ok(ls_store_decide(store, moves_nonce(1), 2000, &err));
	fails(ls_store_abort(store, moves_nonce(1), "", 5, &err), LS_E_CONFLICT);
	fails(report(1, "n1", 2, true), LS_E_CONFLICT);
	fails(end(1, "rolled back"), LS_E_CONFLICT);
	fails(end(2, "done"), LS_E_CONFLICT);
}
END_TEST

START_TEST(going_back_is_a_generation_of_its_own)
{
	decided(1);
	ck_ok(end(1, "done"));
	decided(2);
	ck_ok(report(2, "n1", 2, false));
	ck_ok(ls_store_revert(store, moves_nonce(2), moves_commit(3), "n1", 3000, &err));
	ck_assert_str_eq(now()->tip.commit, moves_commit(3));
	ck_assert_int_eq(view.tip.generation, 3);
	ck_assert_str_eq(view.tip.dir_commit, moves_commit(1));
	ck_assert_int_eq(view.tip.dir_generation, 1);
	ck_assert_uint_eq(view.rotation->report_count, 0);
	ck_assert_str_eq(view.rotation->why, "n1");
	fails(ls_store_revert(store, moves_nonce(2), moves_commit(4), "", 9, &err), LS_E_CONFLICT);
	fails(report(2, "n2", 2, true), LS_E_CONFLICT);
	fails(end(2, "done"), LS_E_CONFLICT);
	ck_ok(end(2, "rolled back"));
	ck_assert_int_eq(now()->tip.generation, 3);
}
END_TEST

START_TEST(packs_live_as_long_as_somebody_needs_them)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_bytes bytes = { "PACK\0\1", 6 };

	ck_code(ls_store_fetch(store, moves_commit(1), &pack, &err), LS_E_NOT_FOUND);
	ck_ok(ls_store_publish(store, moves_commit(1), LS_BYTES_STR("first"), &err));
	ck_ok(ls_store_publish(store, moves_commit(1), bytes, &err));
	ck_ok(ls_store_fetch(store, moves_commit(1), &pack, &err));
	ck_assert(ls_bytes_equal(ls_buf_bytes(&pack), bytes));
	decided(1);
	ck_ok(ls_store_fetch(store, moves_commit(1), &pack, &err));
	ck_ok(end(1, "done"));
	ck_code(ls_store_fetch(store, moves_commit(1), &pack, &err),
		ls_store_shared(store) ? LS_OK : LS_E_NOT_FOUND);
	ck_ok(ls_store_publish(store, moves_commit(2), bytes, &err));
	ck_ok(begin(2));
	ck_ok(ls_store_abort(store, moves_nonce(2), "", 5, &err));
	ck_code(ls_store_fetch(store, moves_commit(2), &pack, &err), LS_E_NOT_FOUND);
	ck_assert(ls_bytes_equal(ls_buf_bytes(&pack), bytes)); /* outputs change on success only */
}
END_TEST

START_TEST(wraps_are_kept_by_epoch_and_node)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };

	ck_code(ls_store_get_wrap(store, 1, "n1", &wrap, &err), LS_E_NOT_FOUND);
	ck_ok(ls_store_put_wrap(store, 1, "n1", LS_BYTES_STR("one"), &err));
	ck_ok(ls_store_put_wrap(store, 1, "n2", LS_BYTES_STR("two"), &err));
	ck_ok(ls_store_put_wrap(store, 11, "n1", LS_BYTES_STR("eleven"), &err));
	ck_ok(ls_store_put_wrap(store, 1, "n1", LS_BYTES_STR("uno"), &err));
	ck_ok(ls_store_get_wrap(store, 1, "n1", &wrap, &err));
	ck_assert_str_eq(ls_buf_text(&wrap), "uno");
	ck_ok(ls_store_drop_wraps(store, 1, &err));
	ck_ok(ls_store_drop_wraps(store, 1, &err));
	ck_code(ls_store_get_wrap(store, 1, "n1", &wrap, &err), LS_E_NOT_FOUND);
	ck_code(ls_store_get_wrap(store, 1, "n2", &wrap, &err), LS_E_NOT_FOUND);
	ck_ok(ls_store_get_wrap(store, 11, "n1", &wrap, &err));
	ck_assert_str_eq(ls_buf_text(&wrap), "eleven");
	decided(1); /* rotations do not touch them */
	ck_ok(end(1, "done"));
	ck_ok(ls_store_get_wrap(store, 11, "n1", &wrap, &err));
}
END_TEST

/* An outcome that is not known is told by the record, or the same call again: whichever change is
 * lost, request or answer, who does so gets to the same end, and nothing is done twice. */

enum change {
	CHANGE_PUBLISH,
	CHANGE_BEGIN,
	CHANGE_VOTE_1,
	CHANGE_VOTE_2,
	CHANGE_DECIDE,
	CHANGE_REPORT_1,
	CHANGE_REPORT_2,
	CHANGE_REVERT,
	CHANGE_REPORT_3,
	CHANGE_CLOSE,
	CHANGE_COUNT
};

static enum ls_code make(enum change change, const struct ls_rotation *rotation)
{
	switch (change) {
	case CHANGE_PUBLISH:
		return ls_store_publish(store, rotation->commit, LS_BYTES_STR("pack"), &err);
	case CHANGE_BEGIN:
		return ls_store_begin(store, rotation, &err);
	case CHANGE_VOTE_1:
		return vote(1, "n1", true);
	case CHANGE_VOTE_2:
		return vote(1, "n2", true);
	case CHANGE_DECIDE:
		return ls_store_decide(store, rotation->nonce, 2000, &err);
	case CHANGE_REPORT_1:
		return report(1, "n1", 1, false);
	case CHANGE_REPORT_2:
		return report(1, "n2", 1, true);
	case CHANGE_REVERT:
		return ls_store_revert(store, rotation->nonce, moves_commit(2), "n1", 3000, &err);
	case CHANGE_REPORT_3:
		return report(1, "n1", 2, true);
	case CHANGE_CLOSE:
		return end(1, "rolled back");
	case CHANGE_COUNT:
		break;
	}
	return LS_E_FAILED;
}

/* What the record says of it; where it says nothing, the call can be made again. */
static bool is_done(enum change change)
{
	const struct ls_rotation *r = now()->rotation;
	bool ours = r && strcmp(r->nonce, moves_nonce(1)) == 0;

	switch (change) {
	case CHANGE_BEGIN:
		return ours;
	case CHANGE_DECIDE:
		return ours && r->phase == LS_PHASE_VERIFYING;
	case CHANGE_REVERT:
		return ours && r->phase == LS_PHASE_REVERTING;
	case CHANGE_CLOSE:
		return !r && view.last && strcmp(view.last->nonce, moves_nonce(1)) == 0;
	case CHANGE_PUBLISH:
	case CHANGE_VOTE_1:
	case CHANGE_VOTE_2:
	case CHANGE_REPORT_1:
	case CHANGE_REPORT_2:
	case CHANGE_REPORT_3:
	case CHANGE_COUNT:
		break;
	}
	return false;
}

static void play_with_loss(int nth, bool answer)
{
	struct ls_store *under = store;
	struct ls_rotation rotation;
	struct lossy lossy;
	char *text;

	lossy_init(&lossy, under);
	lossy.nth = nth;
	lossy.answer = answer;
	store = &lossy.base;
	moves_rotation(&now()->tip, 1, &rotation);
	for (enum change change = 0; change < CHANGE_COUNT; change++) {
		enum ls_code code = make(change, &rotation);

		if (code == LS_E_UNKNOWN && !is_done(change))
			code = make(change, &rotation);
		else if (code == LS_E_UNKNOWN)
			code = LS_OK;
		ck_assert_msg(
			code == LS_OK, "change %d, loss at %d: %s", (int)change, nth, err.text);
	}
	ck_assert_int_ge(lossy.count, nth);
	text = text_now();
	ck_assert_msg(strstr(text, "\"generation\": 2"), "%s", text);
	ck_assert_str_eq(view.last->result, "rolled back");
	ck_assert_str_eq(view.tip.commit, moves_commit(2));
	free(text);
	store = under;
}

START_TEST(an_outcome_that_is_not_known_is_told_by_the_record)
{
	for (int nth = 1; nth <= CHANGE_COUNT; nth++) {
		for (int answer = 0; answer < 2; answer++) {
			play_with_loss(nth, answer != 0);
			/* Each round on a store of its own. */
			teardown();
			setup(open_store);
		}
	}
}
END_TEST

/* Of stores for several nodes. */

static const struct ls_notes *notes_of(const char *prefix)
{
	static struct ls_notes notes;

	ck_ok(ls_store_get_notes(store, prefix, &notes, &err));
	return &notes;
}

START_TEST(notes_are_found_by_their_names)
{
	ck_ok(ls_store_put_note(store, "offer/3/n1", "one", LS_NOTE_REPLACE, &err));
	ck_ok(ls_store_put_note(store, "offer/3/n1", "uno", LS_NOTE_REPLACE, &err));
	ck_ok(ls_store_put_note(store, "offer/30/n1", "thirty", LS_NOTE_REPLACE, &err));
	ck_ok(ls_store_put_note(store, "bound/a", "first", LS_NOTE_CREATE, &err));
	ck_code(ls_store_put_note(store, "bound/a", "second", LS_NOTE_CREATE, &err), LS_E_CONFLICT);
	ck_assert_uint_eq(notes_of("offer/3/")->count, 1);
	ck_assert_str_eq(notes_of("offer/3/")->items[0].body, "uno");
	ck_assert_str_eq(notes_of("offer/3/")->items[0].name, "offer/3/n1");
	ck_assert_str_eq(notes_of("offer/3/")->items[0].node, "n1");
	ck_assert_uint_eq(notes_of("offer/")->count, 2);
	ck_assert_str_eq(notes_of("bound/")->items[0].body, "first");
	ck_ok(ls_store_drop_notes(store, "offer/3", &err));
	ck_assert_uint_eq(notes_of("")->count, 1);
	ck_ok(ls_store_drop_notes(store, "", &err));
	ck_assert_uint_eq(notes_of("")->count, 0);
}
END_TEST

START_TEST(what_was_decided_is_shown)
{
	LS_CLEANUP(ls_proof_done) struct ls_proof proof = { 0 };

	decided(1);
	ck_ok(end(1, "done"));
	ck_ok(ls_store_proof(store, 1, &proof, &err));
	ck_assert_str_eq(proof.commit, moves_commit(1));
	ck_assert_str_eq(proof.parent, "");
	ck_assert_int_eq(proof.generation, 1);
	ck_assert(!proof.revert);
	ck_assert_uint_eq(ls_strv_count(proof.participants), 2);
	decided(2);
	fails(ls_store_revert(store, moves_nonce(2), moves_commit(3), "", 9, &err), LS_E_REFUSED);
	ck_ok(report(2, "n1", 2, false));
	ck_ok(ls_store_revert(store, moves_nonce(2), moves_commit(3), "n1", 3000, &err));
	ck_ok(ls_store_proof(store, 3, &proof, &err));
	ck_assert(proof.revert);
	ck_assert_str_eq(proof.commit, moves_commit(3));
	ck_assert_str_eq(proof.parent, moves_commit(2));
	ck_code(ls_store_proof(store, 4, &proof, &err), LS_E_NOT_FOUND);
	/* It can be put back where it was lost. */
	ck_ok(ls_store_put_proof(store, 1, "nothing", &err));
	ck_ok(ls_store_put_proof(store, 3, proof.text, &err));
	ck_ok(ls_store_proof(store, 3, &proof, &err));
}
END_TEST

START_TEST(a_record_is_restored_forwards_only)
{
	struct ls_tip tip = { .generation = 7, .dir_generation = 7 };

	memcpy(tip.commit, moves_commit(7), sizeof tip.commit);
	memcpy(tip.dir_commit, moves_commit(7), sizeof tip.dir_commit);
	ck_ok(ls_store_restore(store, &tip, &err));
	ck_assert_str_eq(now()->tip.commit, moves_commit(7));
	ck_code(ls_store_restore(store, &tip, &err), LS_E_CONFLICT);
	ck_ok(begin(8));
	tip.generation = 6;
	fails(ls_store_restore(store, &tip, &err), LS_E_CONFLICT);
	/* What ran was about a state that is past. */
	tip.generation = 20;
	ck_ok(ls_store_restore(store, &tip, &err));
	ck_assert_ptr_null(now()->rotation);
	ck_assert_int_eq(view.tip.generation, 20);
}
END_TEST

START_TEST(one_machine_has_no_notes)
{
	struct ls_notes notes = { 0 };

	ck_assert(!ls_store_shared(store));
	ck_code(ls_store_put_note(store, "a", "b", LS_NOTE_REPLACE, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.hint, "store migrate"));
	ck_code(ls_store_get_notes(store, "a", &notes, &err), LS_E_REFUSED);
}
END_TEST

/* Of the local store. */

static char *record_path(void)
{
	return ls_format("%s/record.json", dir);
}

static void record_read(struct ls_buf *out)
{
	LS_CLEANUP(ls_free_str) char *path = record_path();

	ck_ok(ls_file_read(AT_FDCWD, path, 1 << 20, out, &err));
}

static void record_write(struct ls_bytes bytes)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	ck_ok(ls_dir_open(dir, &fd, &err));
	ck_ok(ls_file_replace(fd, "record.json", bytes, 0600, (gid_t)-1, &err));
}

START_TEST(a_damaged_record_is_noticed)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf good = { 0 }, bad = { 0 };
	LS_CLEANUP(ls_free_str) char *want = NULL;
	int damaged = 0;

	decided(1);
	ck_ok(end(1, "done"));
	decided(2);
	ck_ok(report(2, "n1", 2, false));
	want = text_now();
	record_read(&good);
	for (size_t i = 0; i < good.len; i++) {
		for (int bit = 0; bit < 8; bit += 1 + (int)(i % 3)) {
			LS_CLEANUP(ls_store_view_done) struct ls_store_view got = { 0 };
			LS_CLEANUP(ls_free_str) char *text = NULL;
			enum ls_code code;

			ls_buf_copy(&bad, &good);
			bad.data[i] = (char)(bad.data[i] ^ 1 << bit);
			record_write(ls_buf_bytes(&bad));
			code = ls_store_read(store, &got, &err);
			damaged += code == LS_E_DAMAGED;
			if (code == LS_E_DAMAGED)
				continue;
			ck_ok(code);
			text = text_of(&got);
			ck_assert_str_eq(text, want);
		}
	}
	ck_assert_int_gt(damaged, 1000);
	for (size_t len = 0; len + 2 < good.len; len++) { /* the newline and brace apart */
		record_write((struct ls_bytes){ good.data, len });
		ck_code(ls_store_read(store, &view, &err), LS_E_DAMAGED);
		ck_code(vote(2, "n1", true), LS_E_DAMAGED);
		if (len > 20)
			len += 50;
	}
}
END_TEST

START_TEST(files_are_for_the_owner_alone)
{
	LS_CLEANUP(ls_free_str) char *path = record_path();
	struct stat st;

	decided(1);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(two_processes_lose_none_of_their_votes)
{
	for (int round = 1; round <= 40; round++) {
		pid_t child;
		int status;

		ck_ok(begin(round));
		child = fork();
		if (child == 0)
			_exit(vote(round, "n2", true) == LS_OK ? 0 : 1);
		ck_ok(vote(round, "n1", true));
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
		ck_assert_uint_eq(now()->rotation->ballot_count, 2);
		ck_ok(ls_store_abort(store, moves_nonce(round), "", 1, &err));
	}
}
END_TEST

/* Each move, with a fault in its nth call. */
static enum ls_code move(int which)
{
	struct ls_rotation rotation;

	switch (which) {
	case 0:
		moves_rotation(&view.tip, 3, &rotation);
		return ls_store_begin(store, &rotation, &err);
	case 1:
		return vote(3, "n1", true);
	case 2:
		return vote(3, "n2", true);
	case 3:
		return ls_store_decide(store, moves_nonce(3), 2000, &err);
	case 4:
		return report(3, "n1", 3, false);
	case 5:
		return ls_store_revert(store, moves_nonce(3), moves_commit(4), "", 3000, &err);
	default:
		return end(3, "rolled back");
	}
}
#define MOVE_COUNT 7

static void prepare(int which)
{
	LS_CLEANUP(ls_free_str) char *path = record_path();

	(void)unlink(path);
	decided(1);
	ck_ok(end(1, "done"));
	(void)now();
	for (int i = 0; i < which; i++)
		ck_ok(move(i));
}

static void assert_old_or_new(const char *old, const char *new, bool must_be_new)
{
	LS_CLEANUP(ls_free_str) char *text = text_now();

	if (must_be_new || strcmp(text, old) != 0)
		ck_assert_str_eq(text, new);
}

/* A record that moved although the call failed is said to be so, and no other. */
static void assert_told(enum ls_code code, const char *old)
{
	LS_CLEANUP(ls_free_str) char *text = text_now();

	ck_assert_int_eq(code == LS_E_UNKNOWN, strcmp(text, old) != 0);
	ck_assert_int_eq(err.code, code);
}

static void try_move(int which, bool die)
{
	LS_CLEANUP(ls_free_str) char *old = NULL;
	LS_CLEANUP(ls_free_str) char *new = NULL;
	bool done = false;

	prepare(which + 1);
	new = text_now();
	prepare(which);
	old = text_now();
	for (int nth = 1; !done; nth++) {
		ck_assert_int_lt(nth, 100);
		prepare(which);
		if (die) {
			pid_t child = fork();
			int status;

			if (child == 0) {
				fault.seen = 0;
				fault.nth = nth;
				fault.die = true;
				_exit(move(which) == LS_OK ? 0 : 1);
			}
			ck_assert_int_eq(waitpid(child, &status, 0), child);
			ck_assert(WIFEXITED(status));
			done = WEXITSTATUS(status) == 0;
			ck_assert_int_eq(WEXITSTATUS(status), done ? 0 : 77);
		} else {
			enum ls_code code;

			fault.seen = 0;
			fault.nth = nth;
			code = move(which);
			done = fault.seen < nth;
			fault.nth = 0;
			if (code == LS_OK) {
				assert_old_or_new(old, new, true);
				continue;
			}
			assert_told(code, old);
		}
		assert_old_or_new(old, new, done);
		/* Whatever was left behind, the next one goes through. */
		if (now()->rotation || which == 0)
			LS_IGNORE(move(which));
		assert_old_or_new(new, new, true);
	}
}

START_TEST(a_call_that_fails_leaves_the_old_record_or_the_new)
{
	for (int which = 0; which < MOVE_COUNT; which++)
		try_move(which, false);
}
END_TEST

START_TEST(a_death_at_any_call_leaves_the_old_record_or_the_new)
{
	for (int which = 0; which < MOVE_COUNT; which++)
		try_move(which, true);
}
END_TEST

START_TEST(a_lost_record_is_made_anew_and_the_old_one_kept)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct ls_tip tip = { .commit = "0123456789012345678901234567890123456789",
		.generation = 7,
		.dir_commit = "0123456789012345678901234567890123456789",
		.dir_generation = 7 };
	size_t kept = 0;

	ck_ok(ls_dir_open(dir, &fd, &err));
	ck_ok(ls_file_create(fd, "record.json", LS_BYTES_STR("{}"), 0600, (gid_t)-1, &err));
	ck_code(ls_store_read(store, &view, &err), LS_E_DAMAGED);
	ck_ok(ls_store_local_rebuild(dir, &tip, &err));
	ck_ok(ls_store_read(store, &view, &err));
	ck_assert_int_eq(view.tip.generation, 7);
	ck_assert_str_eq(view.tip.dir_commit, tip.commit);
	ck_assert_ptr_null(view.rotation);
	ck_ok(ls_dir_list(fd, 100, &names, &err));
	for (size_t i = 0; i < ls_strv_count(names); i++)
		kept += ls_has_prefix(names[i], "record.json.2");
	ck_assert_uint_eq(kept, 1);
}
END_TEST

int main(void)
{
	const TTest *const all[] = { it_begins_empty, a_whole_rotation_is_seen_by_every_handle,
		one_rotation_at_a_time, begin_compares_the_tip, votes_are_created_once_and_in_time,
		moves_of_the_wrong_phase_change_nothing, going_back_is_a_generation_of_its_own,
		packs_live_as_long_as_somebody_needs_them, wraps_are_kept_by_epoch_and_node,
		an_outcome_that_is_not_known_is_told_by_the_record };
	const TTest *const local[] = { one_machine_has_no_notes, a_damaged_record_is_noticed,
		a_lost_record_is_made_anew_and_the_old_one_kept, files_are_for_the_owner_alone,
		two_processes_lose_none_of_their_votes,
		a_call_that_fails_leaves_the_old_record_or_the_new,
		a_death_at_any_call_leaves_the_old_record_or_the_new };
	const TTest *const shared[] = { notes_are_found_by_their_names, what_was_decided_is_shown,
		a_record_is_restored_forwards_only };
	int failed = 0;

	failed |= runner_run("store: fake, shared", shared, LS_COUNT(shared), setup_fake, teardown);
	failed |= runner_run("store: fake", all, LS_COUNT(all), setup_fake, teardown);
	failed |= runner_run("store: local", all, LS_COUNT(all), setup_local, teardown);
	etcd_start();
	failed |= runner_run("store: etcd, shared", shared, LS_COUNT(shared), setup_etcd, teardown);
	failed |= runner_run("store: etcd", all, LS_COUNT(all), setup_etcd, teardown);
	etcd_stop();
	failed |= runner_run("store: files", local, LS_COUNT(local), setup_local, teardown);
	return failed;
}
