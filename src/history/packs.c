#include "history/packs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "history/pack.h"
#include "history/walk.h"
#include "sys/file.h"

#define NAMES_MAX 1000000
#define PROBE ".tmp-probe"
#define SPARE_BYTES 16384

enum ls_code ls_packs_list(int fd, char ***out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	LS_TRY(ls_dir_list(fd, LS_PACKS_MAX, &names, err));
	ls_free_strv(out);
	for (size_t i = 0; names && names[i]; i++)
		if (ls_has_prefix(names[i], "pack-") && ls_has_suffix(names[i], ".idx"))
			ls_strv_add(out, names[i]);
	return LS_OK;
}

static char *sibling(const char *idx_name, const char *suffix)
{
	return ls_format("%.*s%s", (int)(strlen(idx_name) - strlen(".idx")), idx_name, suffix);
}

/* The index goes first: a pack without one is invisible to every reader, and what a crash leaves
 * behind is found by the clean. The caches of stock git that name packs or commits go before that,
 * because git believes them more than the directory. */
enum ls_code ls_packs_remove(
	const struct ls_history *history, int fd, const char *idx_name, struct ls_err *err)
{
	static const char *const suffixes[] = { ".idx", ".rev", ".bitmap", ".mtimes", ".pack" };
	LS_CLEANUP(ls_fd_close) int info = -1;

	if (ls_repo_dir(history, "objects/info", &info, NULL) == LS_OK)
		LS_TRY(ls_file_remove(info, "commit-graph", err));
	LS_TRY(ls_file_remove(fd, "multi-pack-index", err));
	for (size_t i = 0; i < LS_COUNT(suffixes); i++) {
		LS_CLEANUP(ls_free_str) char *name = sibling(idx_name, suffixes[i]);

		LS_TRY(ls_file_remove(fd, name, err));
	}
	return LS_OK;
}

struct listing {
	git_oid *oids;
	size_t count, room;
};

static void listing_done(struct listing *listing)
{
	free(listing->oids);
}

static int list_one(const git_oid *oid, void *arg)
{
	struct listing *listing = arg;

	if (listing->count == listing->room) {
		listing->room = listing->room ? 2 * listing->room : 64;
		listing->oids = ls_realloc(listing->oids, listing->room, sizeof *listing->oids);
	}
	listing->oids[listing->count++] = *oid;
	return 0;
}

enum ls_code ls_packs_objects_of(
	git_odb *odb, const char *idx_name, git_oid **out, size_t *out_count, struct ls_err *err)
{
	LS_CLEANUP(listing_done) struct listing listing = { 0 };
	int rc = git_odb_foreach(odb, list_one, &listing);

	if (rc < 0)
		return ls_repo_fail(err, rc, "list '%s'", idx_name);
	*out_count = listing.count;
	*out = LS_TAKE(listing.oids);
	return LS_OK;
}

enum ls_code ls_packs_objects(const struct ls_history *history, const char *idx_name, git_oid **out,
	size_t *out_count, struct ls_err *err)
{
	LS_CLEANUP(ls_odb_free) git_odb *odb = NULL;

	LS_TRY(ls_repo_one_pack(history, idx_name, &odb, err));
	return ls_packs_objects_of(odb, idx_name, out, out_count, err);
}

/* The process died, or the disk failed, between the two renames of accept or of a merge, or the two
 * unlinks of discard or tidy. */
enum ls_code ls_packs_clean_halves(int fd, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	LS_TRY(ls_dir_list(fd, NAMES_MAX, &names, err));
	for (size_t i = 0; names && names[i]; i++) {
		bool is_pack = ls_has_suffix(names[i], ".pack");
		LS_CLEANUP(ls_free_str) char *other = NULL;

		if (!ls_has_prefix(names[i], "pack-") ||
			(!is_pack && !ls_has_suffix(names[i], ".idx")))
			continue;
		other = is_pack ? ls_format("%.*s.idx", (int)strlen(names[i]) - 5, names[i])
				: ls_format("%.*s.pack", (int)strlen(names[i]) - 4, names[i]);
		if (!ls_file_exists(fd, other))
			LS_TRY(ls_file_remove(fd, names[i], err));
	}
	return LS_OK;
}

enum ls_code ls_packs_clean_unfinished(int fd, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	LS_TRY(ls_dir_list(fd, NAMES_MAX, &names, err));
	for (size_t i = 0; names && names[i]; i++)
		if (ls_has_prefix(names[i], "pack_git2_") || strcmp(names[i], PROBE) == 0)
			LS_TRY(ls_file_remove(fd, names[i], err));
	return LS_OK;
}

/* ---- accept ---- */

static void indexer_free(git_indexer **indexer)
{
	git_indexer_free(*indexer); /* an uncommitted one takes its temporary with it */
	*indexer = NULL;
}

static bool pack_has_commit(
	const struct ls_history *history, const char *idx_name, const git_oid *oid)
{
	LS_CLEANUP(ls_odb_free) git_odb *odb = NULL;
	git_object_t type;
	size_t len;

	if (ls_repo_one_pack(history, idx_name, &odb, NULL) != LS_OK)
		return false;
	return git_odb_read_header(&len, &type, odb, oid) == 0 && type == GIT_OBJECT_COMMIT;
}

enum ls_code ls_packs_room(int fd, int64_t bytes, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close)
	int probe = openat(fd, PROBE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct statvfs fs;

	if (probe < 0)
		return LS_FAIL_ERRNO(err, "make a file in objects/pack");
	LS_TRY(ls_file_remove(fd, PROBE, err)); /* what a crash leaves goes at the start */
	/* With its index, and the blocks that are begun. */
	if (fstatvfs(fd, &fs) == 0 &&
		(int64_t)(fs.f_bavail * fs.f_frsize) < bytes + bytes / 4 + SPARE_BYTES) {
		errno = ENOSPC;
		return LS_FAIL_ERRNO(err, "make a file in objects/pack");
	}
	return LS_OK;
}

enum ls_code ls_packs_write(const struct ls_history *history, struct ls_bytes pack,
	char **out_idx_name, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/objects/pack", history->path);
	LS_CLEANUP(indexer_free) git_indexer *indexer = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	git_indexer_progress progress = { 0 };
	int rc;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_packs_room(fd, (int64_t)pack.len, err));
	rc = git_indexer_new(&indexer, path, 0, NULL, NULL);
	if (rc == 0)
		rc = git_indexer_append(indexer, pack.data, pack.len, &progress);
	if (rc == 0)
		rc = git_indexer_commit(indexer, &progress);
	if (rc < 0) {
		enum ls_code code = ls_repo_fail(err, rc, "index a pack");

		LS_IGNORE(ls_packs_clean_halves(
			fd, NULL)); /* an index alone is damage to every verify */
		return code;
	}
	/* The indexer synced index, pack and directory (seen with strace). */
	*out_idx_name = ls_format("pack-%s.idx", git_indexer_name(indexer));
	return LS_OK;
}

enum ls_code ls_history_accept(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_bytes pack, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **before = NULL;
	LS_CLEANUP(ls_free_str) char *idx_name = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	git_oid oid;
	int rc;

	LS_TRY(ls_repo_oid(id, &oid, err));
	if (ls_pack_check(pack, err) != LS_OK)
		return LS_WRAP(err, "commit %.12s", id->hex);
	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_packs_list(fd, &before, err));
	if (ls_packs_write(history, pack, &idx_name, err) != LS_OK)
		return LS_WRAP(err, "accept the pack of commit %.12s", id->hex);
	if (!pack_has_commit(history, idx_name, &oid)) {
		/* Whoever wrote this to the store must not make us drop a pack that we had. */
		if (!ls_strv_has(before, idx_name))
			LS_TRY(ls_packs_remove(history, fd, idx_name, err));
		return LS_FAIL(err, LS_E_DAMAGED, "the pack does not hold commit %.12s", id->hex);
	}
	LS_TRY(ls_repo_ready(history, err));
	rc = git_odb_refresh(history->packs);
	if (rc < 0)
		return ls_repo_fail(err, rc, "reread the packs");
	return LS_OK;
}

/* ---- discard ---- */

/* True for a pack as accept writes them, with one commit. A merged pack has more. */
static enum ls_code find_sole_commit(
	git_odb *odb, const char *idx_name, git_oid *out_commit, bool *out, struct ls_err *err)
{
	LS_CLEANUP(listing_done) struct listing listing = { 0 };
	size_t commits = 0;
	int rc = git_odb_foreach(odb, list_one, &listing);

	for (size_t i = 0; rc == 0 && i < listing.count && commits < 2; i++) {
		git_object_t type;
		size_t len;

		rc = git_odb_read_header(&len, &type, odb, &listing.oids[i]);
		if (rc == 0 && type == GIT_OBJECT_COMMIT && ++commits == 1)
			*out_commit = listing.oids[i];
	}
	if (rc < 0)
		return ls_repo_fail(err, rc, "read '%s'", idx_name);
	*out = commits == 1;
	return LS_OK;
}

/* True for the pack that accept wrote for this commit. */
static enum ls_code is_pack_of(const struct ls_history *history, const char *idx_name,
	const git_oid *commit, bool *out, struct ls_err *err)
{
	LS_CLEANUP(ls_odb_free) git_odb *odb = NULL;
	git_oid found;

	*out = false;
	LS_TRY(ls_repo_one_pack(history, idx_name, &odb, err));
	if (!git_odb_exists(odb, commit))
		return LS_OK;
	return find_sole_commit(odb, idx_name, &found, out, err);
}

/* True for a pack that accept wrote for a commit after `parent`. */
static bool is_pack_after(struct ls_history *history, const char *idx_name,
	const struct ls_commit_id *parent, struct ls_commit_id *out)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_odb_free) git_odb *odb = NULL;
	bool sole = false;
	git_oid oid;

	if (ls_repo_one_pack(history, idx_name, &odb, NULL) != LS_OK ||
		find_sole_commit(odb, idx_name, &oid, &sole, NULL) != LS_OK || !sole)
		return false;
	ls_repo_id(&oid, out);
	return ls_history_read(history, out, &about, NULL) == LS_OK &&
	       ls_commit_equal(&about.parent, parent);
}

/* A generation on main is never taken back. */
static enum ls_code check_undecided(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id head, same;
	enum ls_code rc = ls_history_read(history, id, &about, NULL);

	if (rc == LS_E_NOT_FOUND || ls_history_head(history, &head, NULL) == LS_E_NOT_FOUND)
		return LS_OK;
	if (ls_history_find(history, &head, about.generation, &same, NULL) == LS_OK &&
		ls_commit_equal(&same, id))
		return LS_FAIL(err, LS_E_REFUSED, "commit %.12s is part of the history", id->hex);
	return LS_OK;
}

static enum ls_code drop_next(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_repo_dir(history, "refs/lockstep", &fd, err));
	if (ls_file_read(fd, "next", 4096, &text, NULL) != LS_OK ||
		!ls_has_prefix(ls_buf_text(&text), id->hex))
		return LS_OK;
	LS_TRY(ls_file_remove(fd, "next", err));
	return ls_dir_sync(fd, err);
}

enum ls_code ls_history_discard(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	bool removed = false;
	git_oid oid;

	LS_TRY(ls_repo_oid(id, &oid, err));
	LS_TRY(check_undecided(history, id, err));
	LS_TRY(drop_next(history, id, err)); /* before its object: a ref never dangles */
	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_packs_list(fd, &names, err));
	for (size_t i = 0; names && names[i]; i++) {
		bool its_own = false;

		/* An unreadable pack is for verify to report, not a reason to keep this one. */
		if (is_pack_of(history, names[i], &oid, &its_own, NULL) != LS_OK || !its_own)
			continue;
		LS_TRY(ls_packs_remove(history, fd, names[i], err));
		removed = true;
	}
	if (!removed)
		return LS_OK;
	LS_TRY(ls_dir_sync(fd, err));
	return ls_repo_reopen(history, err);
}

enum ls_code ls_history_discard_after(
	struct ls_history *history, const struct ls_commit_id *parent, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct ls_commit_id id;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_packs_list(fd, &names, err));
	for (size_t i = 0; names && names[i]; i++)
		if (is_pack_after(history, names[i], parent, &id))
			LS_TRY(ls_history_discard(history, &id, err));
	return LS_OK;
}

/* ---- clean ---- */

typedef bool (*is_remains)(const char *name);

static bool is_lock(const char *name)
{
	return ls_has_suffix(name, ".lock") || (name[0] == '.' && ls_has_suffix(name, ".new"));
}

static bool is_temporary(const char *name)
{
	return is_lock(name) || ls_has_prefix(name, "tmp_") || ls_has_prefix(name, ".tmp-") ||
	       ls_has_prefix(name, "pack_git2_") || strcmp(name, "packed-refs.new") == 0;
}

/* Removes what matches in one directory and, for refs and loose objects, below it. */
static enum ls_code clean_dir(
	int dir_fd, const char *path, is_remains matches, int depth, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close)
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? LS_OK : LS_FAIL_ERRNO(err, "open '%s'", path);
	LS_TRY(ls_dir_list(fd, NAMES_MAX, &names, err));
	for (size_t i = 0; names && names[i]; i++) {
		struct stat st;

		if (fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISREG(st.st_mode) && matches(names[i]))
			LS_TRY(ls_file_remove(fd, names[i], err));
		else if (S_ISDIR(st.st_mode) && depth > 0)
			LS_TRY(clean_dir(fd, names[i], matches, depth - 1, err));
	}
	return LS_OK;
}

static bool note_lost(void *arg, const struct ls_walk_object *object, const struct ls_err *why,
	struct ls_buf *bytes)
{
	bool *lost = arg;

	(void)object;
	(void)why;
	(void)bytes;
	*lost = true;
	return false;
}

static bool lacks_objects(struct ls_history *history)
{
	struct ls_commit_id head = { "" };
	enum ls_code code = ls_history_head(history, &head, NULL);
	bool lost = code != LS_OK && code != LS_E_NOT_FOUND;
	git_oid oid;

	if (code == LS_OK && ls_repo_oid(&head, &oid, NULL) == LS_OK)
		ls_walk(history, &oid, note_lost, &lost);
	return lost;
}

/* A pack without its index is what a crash leaves of one that was to go, or what is left of one
 * that is needed. It gets its index back if the history has holes. */
static enum ls_code rescue_packs(struct ls_history *history, int fd, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	int holes = -1;

	LS_TRY(ls_dir_list(fd, NAMES_MAX, &names, err));
	for (size_t i = 0; names && names[i]; i++) {
		LS_CLEANUP(ls_free_str) char *idx = NULL;
		LS_CLEANUP(ls_free_str) char *made = NULL;
		LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };

		if (!ls_has_prefix(names[i], "pack-") || !ls_has_suffix(names[i], ".pack"))
			continue;
		idx = ls_format("%.*s.idx", (int)strlen(names[i]) - 5, names[i]);
		if (ls_file_exists(fd, idx))
			continue;
		if (holes < 0)
			holes = lacks_objects(history);
		if (holes &&
			ls_file_read(fd, names[i], LS_PACK_FILE_BYTES_MAX, &pack, NULL) == LS_OK)
			LS_IGNORE(ls_packs_write(history, ls_buf_bytes(&pack), &made,
				NULL)); /* what is not whole is of no use */
	}
	return LS_OK;
}

enum ls_code ls_history_clean(struct ls_history *history, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int top = -1, packs = -1;

	LS_TRY(ls_dir_open(history->path, &top, err));
	LS_TRY(clean_dir(top, ".", is_temporary, 0, err));
	LS_TRY(clean_dir(top, "refs", is_lock, 8, err));
	LS_TRY(clean_dir(top, "objects", is_temporary, 2, err));
	LS_TRY(ls_repo_dir(history, "objects/pack", &packs, err));
	LS_TRY(rescue_packs(history, packs, err));
	LS_TRY(ls_packs_clean_halves(packs, err));
	LS_TRY(ls_dir_sync(packs, err));
	return ls_repo_reopen(history, err);
}
