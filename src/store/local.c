/* The local store: the record is a file, a transaction is its replacement under a lock (DESIGN 5).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pki/digest.h"
#include "store/record.h"
#include "sys/file.h"

#define RECORD_MAX_BYTES (1024 * 1024)
#define PACK_MAX_BYTES (64 * 1024 * 1024)
#define NAMES_MAX 10000

struct local {
	struct ls_store base;
	char *path;
	int dir_fd;
	int kek_fd;
};

static struct local *local_of(struct ls_store *store)
{
	return (struct local *)(void *)((char *)store - offsetof(struct local, base));
}

/* The digest of the record as compact JSON, which the file carries as "check". Most of what a
 * flipped bit can do (a date, a node's name, half of a commit's id) would be read as well. */
static bool check_value(const json_t *json, char out[LS_SHA256_TEXT])
{
	LS_CLEANUP(ls_free_str) char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);

	if (text)
		ls_sha256_text(LS_BYTES_STR(text), out);
	return text != NULL;
}

static bool take_check(json_t *json)
{
	const char *stored = json_string_value(json_object_get(json, "check"));
	LS_CLEANUP(ls_free_str) char *want = stored ? ls_strdup(stored) : NULL;
	char found[LS_SHA256_TEXT];

	return want && json_object_del(json, "check") == 0 && check_value(json, found) &&
	       strcmp(want, found) == 0;
}

static enum ls_code local_read(
	struct ls_store *store, struct ls_store_view *out, struct ls_err *err)
{
	struct local *l = local_of(store);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	json_auto_t *json = NULL;
	enum ls_code code;

	code = ls_file_read(l->dir_fd, "record.json", RECORD_MAX_BYTES, &text, err);
	if (code == LS_E_NOT_FOUND) {
		ls_store_view_done(out);
		return LS_OK;
	}
	if (code != LS_OK)
		return LS_WRAP(err, "read the store in '%s'", l->path);
	json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json || !take_check(json)) {
		LS_FAIL(err, LS_E_DAMAGED, "the store's record '%s/record.json' %s", l->path,
			json ? "is not as it was written" : "is not JSON");
		LS_HINT(err, "lockstep doctor names the command that mends it");
		return LS_E_DAMAGED;
	}
	return ls_record_from_json(json, out, err);
}

static bool is_in_place(struct local *l, const char *text)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf found = { 0 };

	return ls_file_read(l->dir_fd, "record.json", RECORD_MAX_BYTES, &found, NULL) == LS_OK &&
	       ls_bytes_equal(ls_buf_bytes(&found), LS_BYTES_STR(text));
}

/* When only the last sync fails, every reader has the new record already, but a power cut may bring
 * the old one back. */
static enum ls_code save(struct local *l, const struct ls_store_view *view, struct ls_err *err)
{
	json_auto_t *json = ls_record_to_json(view);
	LS_CLEANUP(ls_free_str) char *text = NULL;
	char check[LS_SHA256_TEXT];
	enum ls_code code;

	if (json && check_value(json, check) &&
		json_object_set_new(json, "check", json_string(check)) == 0)
		text = json_dumps(json, JSON_SORT_KEYS | JSON_INDENT(1));
	if (!text)
		return LS_FAIL(err, LS_E_FAILED, "the store's record cannot be written as JSON");
	code = ls_file_replace(l->dir_fd, "record.json", LS_BYTES_STR(text), 0600, (gid_t)-1, err);
	if (code == LS_OK || !is_in_place(l, text))
		return code;
	LS_WRAP(err, "the store's record has moved, but may not have lasted");
	LS_HINT(err, "lockstep status shows what became of it");
	if (err)
		err->code = LS_E_UNKNOWN;
	return LS_E_UNKNOWN;
}

static enum ls_code lock(struct local *l, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/lock", l->path);

	return ls_file_lock(path, true, out_fd, err);
}

/* One transaction: lock, read, move, write. */
#define TRANSACTION(store, move)                                                                   \
	struct local *l = local_of(store);                                                         \
	LS_CLEANUP(ls_fd_close) int lock_fd = -1;                                                  \
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };                          \
	LS_TRY(lock(l, &lock_fd, err));                                                            \
	LS_TRY(local_read(store, &view, err));                                                     \
	LS_TRY(move);                                                                              \
	LS_TRY(save(l, &view, err))

static char *pack_name(const char *commit)
{
	return ls_format("%s.pack", commit);
}

static enum ls_code local_publish(
	struct ls_store *store, const char *commit, struct ls_bytes pack, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = pack_name(commit);

	return ls_file_replace(local_of(store)->dir_fd, name, pack, 0600, (gid_t)-1, err);
}

static enum ls_code local_fetch(
	struct ls_store *store, const char *commit, struct ls_buf *out_pack, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = pack_name(commit);

	return ls_file_read(local_of(store)->dir_fd, name, PACK_MAX_BYTES, out_pack, err);
}

static void drop_suffix(int dir_fd, const char *suffix)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	if (ls_dir_list(dir_fd, NAMES_MAX, &names, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(names); i++)
		if (ls_has_suffix(names[i], suffix))
			(void)unlinkat(dir_fd, names[i], 0);
}

/* Packs of rotations that have ended, and temporaries of a process that died. Failing to remove one
 * harms nothing. */
static void drop_packs(struct local *l)
{
	drop_suffix(l->dir_fd, ".pack");
	drop_suffix(l->dir_fd, ".new");
	drop_suffix(l->kek_fd, ".new");
}

static enum ls_code begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err)
{
	TRANSACTION(store, ls_record_begin(&view, rotation, err));
	return LS_OK;
}

/* Without its rotation a pack is for nobody, and attempts on a full disk would make it fuller each
 * time. The record may have been replaced all the same, when only the sync after it failed. */
static enum ls_code local_begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view now = { 0 };
	enum ls_code code = begin(store, rotation, err);

	if (code != LS_OK && local_read(store, &now, NULL) == LS_OK &&
		!(now.rotation && strcmp(now.rotation->commit, rotation->commit) == 0)) {
		LS_CLEANUP(ls_free_str) char *name = pack_name(rotation->commit);

		(void)unlinkat(local_of(store)->dir_fd, name, 0); /* tidy finds it */
	}
	return code;
}

static enum ls_code local_vote(struct ls_store *store, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err)
{
	TRANSACTION(store, ls_record_vote(&view, nonce, ballot, err));
	return LS_OK;
}

static enum ls_code local_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err)
{
	TRANSACTION(store, ls_record_decide(&view, nonce, verify_deadline_s, err));
	return LS_OK;
}

static enum ls_code local_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	TRANSACTION(store, ls_record_abort(&view, nonce, why, now_s, err));
	drop_packs(l);
	return LS_OK;
}

static enum ls_code local_report(struct ls_store *store, const char *nonce,
	const struct ls_report *report, struct ls_err *err)
{
	TRANSACTION(store, ls_record_report(&view, nonce, report, err));
	return LS_OK;
}

static enum ls_code local_revert(struct ls_store *store, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err)
{
	TRANSACTION(store, ls_record_revert(&view, nonce, commit, why, verify_deadline_s, err));
	return LS_OK;
}

static enum ls_code local_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	TRANSACTION(store, ls_record_close(&view, nonce, outcome, err));
	drop_packs(l);
	return LS_OK;
}

static char *wrap_name(int64_t epoch, const char *node)
{
	return ls_format("%lld-%s.cms", (long long)epoch, node);
}

static enum ls_code local_put_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_bytes wrap_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = wrap_name(epoch, node);

	return ls_file_replace(local_of(store)->kek_fd, name, wrap_pem, 0600, (gid_t)-1, err);
}

static enum ls_code local_get_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = wrap_name(epoch, node);

	return ls_file_read(local_of(store)->kek_fd, name, RECORD_MAX_BYTES, out_pem, err);
}

static enum ls_code local_drop_wraps(struct ls_store *store, int64_t epoch, struct ls_err *err)
{
	struct local *l = local_of(store);
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_free_str) char *prefix = ls_format("%lld-", (long long)epoch);
	bool removed = false;

	LS_TRY(ls_dir_list(l->kek_fd, NAMES_MAX, &names, err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		if (!ls_has_prefix(names[i], prefix))
			continue;
		LS_TRY(ls_file_remove(l->kek_fd, names[i], err));
		removed = true;
	}
	return removed ? ls_dir_sync(l->kek_fd, err) : LS_OK;
}

static enum ls_code local_tidy(struct ls_store *store, struct ls_err *err)
{
	struct local *l = local_of(store);
	LS_CLEANUP(ls_fd_close) int lock_fd = -1;
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };

	LS_TRY(lock(l, &lock_fd, err));
	LS_TRY(local_read(store, &view, err));
	if (!view.rotation)
		drop_packs(l);
	return LS_OK;
}

static int local_watch_fd(struct ls_store *store)
{
	(void)store; /* one machine, one writer: nobody else moves the record */
	return -1;
}

static void local_free(struct ls_store *store)
{
	struct local *l = local_of(store);

	ls_fd_close(&l->dir_fd);
	ls_fd_close(&l->kek_fd);
	free(l->path);
	free(l);
}

static const struct ls_store_ops local_ops = {
	.free = local_free,
	.read = local_read,
	.publish = local_publish,
	.fetch = local_fetch,
	.begin = local_begin,
	.vote = local_vote,
	.decide = local_decide,
	.abort = local_abort,
	.report = local_report,
	.revert = local_revert,
	.close = local_close,
	.put_wrap = local_put_wrap,
	.get_wrap = local_get_wrap,
	.drop_wraps = local_drop_wraps,
	.tidy = local_tidy,
	.watch_fd = local_watch_fd,
};

enum ls_code ls_store_local_open(const char *path, struct ls_store **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *kek = ls_format("%s/kek", path);
	LS_CLEANUP(ls_store_free) struct ls_store *store = NULL;
	struct local *l;

	l = ls_alloc(1, sizeof *l);
	l->base.ops = &local_ops;
	l->path = ls_strdup(path);
	l->dir_fd = l->kek_fd = -1;
	store = &l->base;
	LS_TRY(ls_dir_make(path, 0700, err));
	LS_TRY(ls_dir_make(kek, 0700, err));
	LS_TRY(ls_dir_open(path, &l->dir_fd, err));
	LS_TRY(ls_dir_open(kek, &l->kek_fd, err));
	*out = LS_TAKE(store);
	return LS_OK;
}

enum ls_code ls_store_local_rebuild(const char *path, const struct ls_tip *tip, struct ls_err *err)
{
	LS_CLEANUP(ls_store_free) struct ls_store *store = NULL;
	struct ls_store_view view = { .tip = *tip };
	LS_CLEANUP(ls_fd_close) int lock_fd = -1;
	char stamp[LS_TIME_TEXT_SIZE];
	struct local *l;

	LS_TRY(ls_store_local_open(path, &store, err));
	l = local_of(store);
	LS_TRY(lock(l, &lock_fd, err));
	ls_time_stamp(ls_now_ms(), stamp);
	if (ls_file_exists(l->dir_fd, "record.json")) {
		LS_CLEANUP(ls_free_str) char *aside = ls_format("record.json.%s", stamp);

		/* A link: there is a record at every instant. */
		if (linkat(l->dir_fd, "record.json", l->dir_fd, aside, 0) != 0)
			return LS_FAIL_ERRNO(err, "keep the old record as '%s'", aside);
	}
	return save(l, &view, err);
}
