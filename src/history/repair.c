/* repair.h: getting lost objects back. */
#include "history/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history/packs.h"
#include "history/walk.h"
#include "pki/sha1.h"
#include "sys/file.h"

#define ASIDE "damaged"
#define DIR_MODE 0700
#define FILE_MODE 0600
/* gitformat-pack: a version 2 index is a header, 256 running totals, the sorted ids …, and at the
 * end the SHA-1 of its pack and of itself; a pack begins with a header that counts its objects. */
#define IDX_TOTALS_AT 8
#define IDX_LAST_TOTAL_AT (IDX_TOTALS_AT + 255 * 4)
#define IDX_LEAST (IDX_LAST_TOTAL_AT + 4 + 2 * LS_SHA1_BYTES)
#define PACK_HEAD_BYTES 12

struct repair {
	struct ls_history *history;
	const struct ls_copies *copies;
	struct ls_history *copy; /* NULL: none */
	git_odb **odbs;          /* of one pack each: ours, salvaged ones, the copy's */
	size_t odb_count;
	git_odb *memory; /* what was found */
	git_oid *found;
	size_t found_count;
	size_t left_count; /* lost and not found */
	char *salvage;     /* a directory for patched packs; NULL: none yet */
};

static void repair_done(struct repair *r)
{
	for (size_t i = 0; i < r->odb_count; i++)
		git_odb_free(r->odbs[i]);
	free(r->odbs);
	ls_history_free(&r->copy);
	ls_odb_free(&r->memory);
	free(r->found);
	if (r->salvage)
		LS_IGNORE(ls_dir_remove(AT_FDCWD, r->salvage, NULL)); /* sealed data in /tmp */
	free(r->salvage);
	*r = (struct repair){ 0 };
}

/* ---- where to look ---- */

static void add_odb(struct repair *r, git_odb *odb)
{
	r->odbs = ls_realloc(r->odbs, r->odb_count + 1, sizeof(git_odb *));
	r->odbs[r->odb_count++] = odb;
}

/* Each pack by itself: behind one database libgit2 stops at the first pack that lists an object,
 * also when that copy is damaged. What cannot be opened is no source. */
static enum ls_code add_packs(
	struct repair *r, const struct ls_history *history, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_packs_list(fd, &names, err));
	for (size_t i = 0; names && names[i]; i++) {
		git_odb *odb = NULL;

		if (ls_repo_one_pack(history, names[i], &odb, NULL) == LS_OK)
			add_odb(r, odb);
	}
	return LS_OK;
}

static enum ls_code open_copy(struct repair *r, struct ls_err *err)
{
	const char *from = r->copies->from;
	LS_CLEANUP(ls_free_str) char *inner = NULL;
	LS_CLEANUP(ls_free_str) char *head = NULL;

	if (!from)
		return LS_OK;
	inner = ls_format("%s/history.git", from);
	head = ls_format("%s/HEAD", inner);
	if (ls_history_open(access(head, F_OK) == 0 ? inner : from, &r->copy, err) != LS_OK) {
		LS_HINT(err, "--from wants a copy of %s", r->history->path);
		return LS_WRAP(err, "the copy '%s'", from);
	}
	return add_packs(r, r->copy, err);
}

static bool take(
	const git_oid *oid, git_object_t type, const void *data, size_t len, struct ls_buf *out)
{
	git_oid again;

	if (len > LS_OBJECT_BYTES_MAX || git_odb_hash(&again, data, len, type) != 0 ||
		!git_oid_equal(&again, oid))
		return false;
	ls_buf_clear(out);
	ls_buf_add(out, data, len);
	return true;
}

static bool fetch_packed(git_odb *odb, const git_oid *oid, git_object_t type, struct ls_buf *out)
{
	git_odb_object *object = NULL;
	git_object_t found;
	bool good;
	size_t len;

	if (git_odb_read_header(&len, &found, odb, oid) != 0 || found != type ||
		len > LS_OBJECT_BYTES_MAX || git_odb_read(&object, odb, oid) != 0)
		return false;
	good = take(oid, type, git_odb_object_data(object), git_odb_object_size(object), out);
	git_odb_object_free(object);
	return good;
}

static bool fetch_loose(
	const struct ls_history *history, const git_oid *oid, git_object_t type, struct ls_buf *out)
{
	git_object_t found;

	return ls_loose_read(history, oid, LS_OBJECT_BYTES_MAX, &found, out, NULL) == LS_OK &&
	       found == type;
}

static bool fetch(struct repair *r, const git_oid *oid, git_object_t type, struct ls_buf *out)
{
	if (fetch_loose(r->history, oid, type, out) ||
		(r->copy && fetch_loose(r->copy, oid, type, out)))
		return true;
	for (size_t i = 0; i < r->odb_count; i++)
		if (fetch_packed(r->odbs[i], oid, type, out))
			return true;
	for (size_t i = 0; type == GIT_OBJECT_BLOB && i < r->copies->blob_count; i++)
		if (take(oid, type, r->copies->blobs[i].data, r->copies->blobs[i].len, out))
			return true;
	return false;
}

/* ---- what is found ---- */

static void keep(struct repair *r, git_object_t type, const struct ls_buf *bytes)
{
	git_oid oid;

	if (git_odb_hash(&oid, ls_buf_text(bytes), bytes->len, type) != 0 ||
		git_odb_exists(r->memory, &oid) ||
		git_odb_write(&oid, r->memory, ls_buf_text(bytes), bytes->len, type) != 0)
		return; /* not written, it stays lost, and is told so */
	r->found = ls_realloc(r->found, r->found_count + 1, sizeof *r->found);
	r->found[r->found_count++] = oid;
}

static bool on_lost(void *arg, const struct ls_walk_object *object, const struct ls_err *why,
	struct ls_buf *bytes)
{
	struct repair *r = arg;

	(void)why;
	if (!fetch(r, &object->oid, object->type, bytes)) {
		r->left_count++;
		return false;
	}
	keep(r, object->type, bytes);
	return true;
}

/* ---- damaged packs ---- */

/* libgit2 opens no pack whose head or end is damaged, though most of it may be intact: a copy gets
 * both as its index says. Each object is judged by its id. */
static bool patch_pack(const struct ls_buf *idx, struct ls_buf *pack)
{
	static const unsigned char magic[] = { 0xff, 't', 'O', 'c', 0, 0, 0, 2 };
	static const unsigned char head[] = { 'P', 'A', 'C', 'K', 0, 0, 0, 2 };
	unsigned char sum[LS_SHA1_BYTES];
	const char *end = idx->data + idx->len - LS_SHA1_BYTES;

	if (idx->len < IDX_LEAST || pack->len < PACK_HEAD_BYTES + LS_SHA1_BYTES ||
		memcmp(idx->data, magic, sizeof magic) != 0)
		return false;
	ls_sha1((struct ls_bytes){ idx->data, idx->len - LS_SHA1_BYTES }, sum);
	if (memcmp(sum, end, sizeof sum) != 0)
		return false;
	memcpy(pack->data, head, sizeof head);
	memcpy(pack->data + sizeof head, idx->data + IDX_LAST_TOTAL_AT, 4);
	/* The end may have been cut off, so this is added and not put over what is there. */
	if (memcmp(pack->data + pack->len - LS_SHA1_BYTES, end - LS_SHA1_BYTES, LS_SHA1_BYTES) != 0)
		ls_buf_add(pack, end - LS_SHA1_BYTES, LS_SHA1_BYTES);
	return true;
}

static void salvage_objects(struct repair *r, git_odb *odb, const char *idx_path)
{
	git_oid *oids = NULL;
	size_t count = 0;

	if (ls_packs_objects_of(odb, idx_path, &oids, &count, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < count; i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
		git_object_t type;
		size_t len;

		if (git_odb_read_header(&len, &type, odb, &oids[i]) == 0 &&
			fetch(r, &oids[i], type, &bytes))
			keep(r, type, &bytes);
	}
	free(oids);
}

/* Where patched packs are put: not in the repository, which may be on a full disk, or only looked
 * at. Without one, damaged packs are no source. */
static bool salvage_dir(struct repair *r, int *out_fd)
{
	const char *tmp = getenv("TMPDIR");

	if (!r->salvage) {
		LS_CLEANUP(ls_free_str)
		char *name = ls_format("%s/lockstep-salvage.XXXXXX", tmp && *tmp ? tmp : "/tmp");

		if (mkdtemp(name))
			r->salvage = LS_TAKE(name);
	}
	return r->salvage && ls_dir_open(r->salvage, out_fd, NULL) == LS_OK;
}

static void salvage_by_index(
	struct repair *r, const char *stem, const struct ls_buf *idx, struct ls_buf *pack)
{
	LS_CLEANUP(ls_free_str) char *idx_name = ls_format("%s.idx", stem);
	LS_CLEANUP(ls_free_str) char *pack_name = ls_format("%s.pack", stem);
	LS_CLEANUP(ls_free_str) char *idx_path = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	git_odb_backend *backend = NULL;
	git_odb *odb = NULL;
	int rc;

	if (!patch_pack(idx, pack) || !salvage_dir(r, &fd) ||
		ls_file_replace(fd, idx_name, ls_buf_bytes(idx), FILE_MODE, (gid_t)-1, NULL) !=
			LS_OK ||
		ls_file_replace(fd, pack_name, ls_buf_bytes(pack), FILE_MODE, (gid_t)-1, NULL) !=
			LS_OK)
		return;
	idx_path = ls_format("%s/%s", r->salvage, idx_name);
	rc = git_odb_new(&odb);
	if (rc == 0)
		rc = git_odb_backend_one_pack(&backend, idx_path);
	if (rc == 0)
		rc = git_odb_add_backend(odb, backend, 1);
	if (rc < 0) {
		git_odb_free(odb);
		return;
	}
	add_odb(r, odb);
	salvage_objects(r, odb, idx_path);
}

/* Of a damaged pack: keeps what can be read. */
static enum ls_code salvage_pack(struct repair *r, const char *stem, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *idx_name = ls_format("%s.idx", stem);
	LS_CLEANUP(ls_free_str) char *pack_name = ls_format("%s.pack", stem);
	LS_CLEANUP(ls_buf_done) struct ls_buf idx = { 0 }, pack = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_repo_dir(r->history, "objects/pack", &fd, err));
	if (ls_file_read(fd, pack_name, LS_PACK_FILE_BYTES_MAX, &pack, NULL) != LS_OK)
		return LS_OK; /* nothing is left of it */
	if (ls_file_read(fd, idx_name, LS_PACK_FILE_BYTES_MAX, &idx, NULL) == LS_OK)
		salvage_by_index(r, stem, &idx, &pack);
	return LS_OK;
}

/* ---- moving aside ---- */

static enum ls_code move_aside(
	const struct ls_history *history, const char *path, struct ls_err *err)
{
	const char *slash = strrchr(path, '/');
	LS_CLEANUP(ls_free_str) char *from = ls_format("%s/%s", history->path, path);
	LS_CLEANUP(ls_free_str) char *dir = ls_format("%s/" ASIDE, history->path);
	LS_CLEANUP(ls_free_str)
	char *to = ls_format("%s/%lld-%s", dir, (long long)ls_now_ms(), slash ? slash + 1 : path);

	LS_TRY(ls_dir_make(dir, DIR_MODE, err));
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0 && errno != ENOENT)
		return LS_FAIL_ERRNO(err, "move '%s' to '%s'", from, to);
	return LS_OK;
}

static bool is_pack_file(const char *path)
{
	return ls_has_suffix(path, ".pack") || ls_has_suffix(path, ".idx");
}

static char *stem_of(const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	return ls_format("%.*s", (int)(strrchr(name, '.') - name), name);
}

/* Index before pack, as in ls_packs_remove, and what git keeps beside them, which only repeats what
 * they hold. A pack that is whole again (its index was made anew) stays. */
static enum ls_code retire_pack(
	const struct ls_history *history, const char *stem, struct ls_err *err)
{
	static const char *const suffixes[] = { ".idx", ".rev", ".bitmap", ".mtimes", ".pack" };
	LS_CLEANUP(ls_fd_close) int fd = -1, info = -1;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	if (ls_repo_dir(history, "objects/info", &info, NULL) == LS_OK)
		LS_TRY(ls_file_remove(info, "commit-graph", err));
	LS_TRY(ls_file_remove(fd, "multi-pack-index", err));
	for (size_t i = 0; i < LS_COUNT(suffixes); i++) {
		LS_CLEANUP(ls_free_str)
		char *path = ls_format("objects/pack/%s%s", stem, suffixes[i]);

		LS_TRY(move_aside(history, path, err));
	}
	return ls_dir_sync(fd, err);
}

/* A pack is named after what is in it: the new one may have taken a damaged one's place. */
static bool is_whole(const struct ls_history *history, const char *stem)
{
	static const char *const suffixes[] = { ".idx", ".pack" };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (ls_repo_dir(history, "objects/pack", &fd, NULL) != LS_OK)
		return false;
	for (size_t i = 0; i < LS_COUNT(suffixes); i++) {
		LS_CLEANUP(ls_free_str) char *name = ls_format("%s%s", stem, suffixes[i]);

		if (!ls_file_exists(fd, name) || ls_packs_check(fd, name, NULL) != LS_OK)
			return false;
	}
	return true;
}

static enum ls_code retire(const struct ls_history *history, char *const *files, struct ls_err *err)
{
	for (size_t i = 0; i < ls_strv_count(files); i++) {
		if (is_pack_file(files[i])) {
			LS_CLEANUP(ls_free_str) char *stem = stem_of(files[i]);

			if (!is_whole(history, stem))
				LS_TRY(retire_pack(history, stem, err));
		} else {
			LS_TRY(move_aside(history, files[i], err));
		}
	}
	return LS_OK;
}

/* ---- the whole ---- */

/* Where a damaged file had the new one's name and was left, it is moved aside first. */
static enum ls_code write_pack(
	const struct ls_history *history, struct ls_bytes pack, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *idx_name = NULL;
	LS_CLEANUP(ls_free_str) char *again = NULL;
	LS_CLEANUP(ls_free_str) char *stem = NULL;

	LS_TRY(ls_packs_write(history, pack, &idx_name, err));
	stem = ls_format("%.*s", (int)(strlen(idx_name) - strlen(".idx")), idx_name);
	if (is_whole(history, stem))
		return LS_OK;
	LS_TRY(retire_pack(history, stem, err));
	return ls_packs_write(history, pack, &again, err);
}

static enum ls_code write_found(struct repair *r, struct ls_err *err)
{
	LS_CLEANUP(ls_repository_free) git_repository *repo = NULL;
	LS_CLEANUP(ls_packbuilder_free) git_packbuilder *builder = NULL;
	git_buf bytes = GIT_BUF_INIT;
	enum ls_code code;
	int rc;

	if (r->found_count == 0)
		return LS_OK;
	rc = git_repository_wrap_odb(&repo, r->memory);
	if (rc == 0)
		rc = git_packbuilder_new(&builder, repo);
	for (size_t i = 0; rc == 0 && i < r->found_count; i++)
		rc = git_packbuilder_insert(builder, &r->found[i], NULL);
	if (rc == 0)
		rc = git_packbuilder_write_buf(&bytes, builder);
	if (rc < 0)
		return ls_repo_fail(err, rc, "make a pack of what was found");
	code = write_pack(r->history, (struct ls_bytes){ bytes.ptr, bytes.size }, err);
	git_buf_dispose(&bytes);
	return code;
}

static enum ls_code memory_init(struct repair *r, struct ls_err *err)
{
	git_odb_backend *backend = NULL;
	int rc = git_odb_new(&r->memory);

	if (rc == 0)
		rc = git_mempack_new(&backend);
	if (rc == 0)
		rc = git_odb_add_backend(r->memory, backend, 1);
	return rc < 0 ? ls_repo_fail(err, rc, "make objects in memory") : LS_OK;
}

/* A whole pack whose index is damaged or gone gets it again, over the old one: the name is that of
 * the content. */
static enum ls_code index_again(
	const struct ls_history *history, const char *path, bool *out_done, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *stem = stem_of(path);
	LS_CLEANUP(ls_free_str) char *pack_name = ls_format("%s.pack", stem);
	LS_CLEANUP(ls_free_str) char *idx_path = ls_format("objects/pack/%s.idx", stem);
	LS_CLEANUP(ls_free_str) char *made = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	*out_done = false;
	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	if (ls_file_read(fd, pack_name, LS_PACK_FILE_BYTES_MAX, &pack, NULL) != LS_OK ||
		ls_packs_check(fd, pack_name, NULL) != LS_OK)
		return LS_OK;
	LS_TRY(move_aside(history, idx_path, err));
	*out_done = ls_packs_write(history, ls_buf_bytes(&pack), &made, NULL) == LS_OK;
	return LS_OK;
}

static enum ls_code rebuild_indexes(
	struct ls_history *history, char *const *files, struct ls_err *err)
{
	for (size_t i = 0; i < ls_strv_count(files); i++) {
		bool done;

		if (ls_has_suffix(files[i], ".idx"))
			LS_TRY(index_again(history, files[i], &done, err));
	}
	return LS_OK;
}

static enum ls_code collect(
	struct repair *r, const struct ls_commit_id *head, char *const *files, struct ls_err *err)
{
	git_oid oid;

	LS_TRY(ls_repo_oid(head, &oid, err));
	LS_TRY(memory_init(r, err));
	LS_TRY(add_packs(r, r->history, err));
	LS_TRY(open_copy(r, err));
	for (size_t i = 0; i < ls_strv_count(files); i++) {
		LS_CLEANUP(ls_free_str) char *stem = NULL;

		if (!ls_has_suffix(files[i], ".pack"))
			continue;
		stem = stem_of(files[i]);
		LS_TRY(salvage_pack(r, stem, err));
	}
	ls_walk(r->history, &oid, on_lost, r);
	return LS_OK;
}

/* What lies in a whole pack with a damaged index is left to index_again. */
enum ls_code ls_history_repairable(struct ls_history *history, const struct ls_commit_id *head,
	const struct ls_survey *survey, const struct ls_copies *copies, size_t *out_left,
	struct ls_err *err)
{
	LS_CLEANUP(repair_done) struct repair r = { .history = history, .copies = copies };

	LS_TRY(collect(&r, head, survey->files, err));
	*out_left = r.left_count;
	return LS_OK;
}

enum ls_code ls_history_repair(struct ls_history *history, const struct ls_commit_id *head,
	const struct ls_copies *copies, size_t *out_restored, struct ls_survey *out_left,
	struct ls_err *err)
{
	LS_CLEANUP(ls_survey_done) struct ls_survey before = { 0 };
	LS_CLEANUP(repair_done) struct repair r = { .history = history, .copies = copies };

	LS_TRY(ls_history_survey(history, head, &before, err));
	LS_TRY(rebuild_indexes(history, before.files, err));
	LS_TRY(ls_history_survey(history, head, &before, err));
	LS_TRY(collect(&r, head, before.files, err));
	LS_TRY(write_found(&r, err));
	LS_TRY(retire(history, before.files, err));
	*out_restored = r.found_count;
	/* libgit2 shares what it has open of one path among all handles: a new pack under an old
	 * name would be read from the old file. */
	repair_done(&r);
	return ls_history_survey(history, head, out_left, err);
}

/* ---- the frame ---- */

enum ls_code ls_history_mend_frame(const char *path, struct ls_err *err)
{
	static const char *const files[] = { "HEAD", "config" };
	LS_CLEANUP(ls_history_free) struct ls_history *history = NULL;
	const struct ls_history here = { .path = (char *)(uintptr_t)path };

	LS_TRY(ls_history_create(path, err)); /* makes what is missing */
	if (ls_history_open(path, &history, NULL) == LS_OK)
		return LS_OK;
	for (size_t i = 0; i < LS_COUNT(files); i++)
		LS_TRY(move_aside(&here, files[i], err));
	LS_TRY(ls_history_create(path, err));
	return ls_history_open(path, &history, err);
}
