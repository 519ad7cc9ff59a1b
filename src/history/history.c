#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "history/repo.h"
#include "sys/file.h"

#define NEXT "next"
#define MAIN "main"
#define DIR_MODE 0700
#define REF_MODE 0600
#define REF_BYTES_MAX 4096
/* libgit2 maps packs in windows and keeps them; the daemon's memory is counted in megabytes. */
#define WINDOW_BYTES ((size_t)256 << 10)
#define MAPPED_BYTES ((size_t)2 << 20)

static const char head_text[] = "ref: " LS_REF_MAIN "\n";
static const char config_text[] = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n"
				  "\tbare = true\n[gc]\n\tauto = 0\n";

static void library_init(void)
{
	static const git_config_level_t levels[] = { GIT_CONFIG_LEVEL_PROGRAMDATA,
		GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL };
	int rc = git_libgit2_init();

	/* What an operator has in a ~/.gitconfig is for that person, not for the history. */
	for (size_t i = 0; i < LS_COUNT(levels); i++)
		rc |= git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "") < 0 ? -1 : 0;
	rc |= git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	rc |= git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
	rc |= git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
	rc |= git_libgit2_opts(GIT_OPT_ENABLE_CACHING, 0);
	rc |= git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, WINDOW_BYTES);
	rc |= git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, MAPPED_BYTES);
	if (rc < 0)
		abort(); /* only without memory, or with a library of another version */
}

void ls_repo_library(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, library_init); /* fails only for a bad `once` */
}

enum ls_code ls_repo_fail(struct ls_err *err, int rc, const char *fmt, ...)
{
	const git_error *why = git_error_last();
	enum ls_code code = LS_E_DAMAGED;
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (rc == GIT_ENOTFOUND)
		code = LS_E_NOT_FOUND;
	else if (why && (why->klass == GIT_ERROR_OS || why->klass == GIT_ERROR_FILESYSTEM))
		code = LS_E_IO;
	code = LS_FAIL(err, code, "%s: %s", what, why ? why->message : "libgit2 gives no reason");
	git_error_clear();
	return code;
}

void ls_odb_free(git_odb **odb)
{
	git_odb_free(*odb);
	*odb = NULL;
}

void ls_repository_free(git_repository **repo)
{
	git_repository_free(*repo);
	*repo = NULL;
}

void ls_packbuilder_free(git_packbuilder **builder)
{
	git_packbuilder_free(*builder);
	*builder = NULL;
}

/* ---- the repository ---- */

static enum ls_code make_file(int dir_fd, const char *name, const char *text, struct ls_err *err)
{
	if (ls_file_exists(dir_fd, name))
		return LS_OK;
	return ls_file_replace(dir_fd, name, LS_BYTES_STR(text), REF_MODE, (gid_t)-1, err);
}

/* Made by hand and not by git_repository_init: each step can be repeated, all is synced, and HEAD,
 * which makes it a repository, comes last. */
enum ls_code ls_history_create(const char *path, struct ls_err *err)
{
	static const char *const folders[] = { "", "/objects", "/objects/info", "/objects/pack",
		"/refs", "/refs/heads", "/refs/tags", "/refs/lockstep" };
	LS_CLEANUP(ls_fd_close) int fd = -1, parent_fd = -1;
	LS_CLEANUP(ls_free_str) char *parent = ls_format("%s/..", path);

	for (size_t i = 0; i < LS_COUNT(folders); i++) {
		LS_CLEANUP(ls_free_str) char *folder = ls_format("%s%s", path, folders[i]);

		LS_TRY(ls_dir_make(folder, DIR_MODE, err));
	}
	for (size_t i = 0; i < LS_COUNT(folders); i++) {
		LS_CLEANUP(ls_free_str) char *folder = ls_format("%s%s", path, folders[i]);
		LS_CLEANUP(ls_fd_close) int folder_fd = -1;

		LS_TRY(ls_dir_open(folder, &folder_fd, err));
		LS_TRY(ls_dir_sync(folder_fd, err));
	}
	LS_TRY(ls_dir_open(path, &fd, err));
	LS_TRY(make_file(fd, "config", config_text, err));
	LS_TRY(make_file(fd, "HEAD", head_text, err));
	LS_TRY(ls_dir_open(parent, &parent_fd, err));
	return ls_dir_sync(parent_fd, err);
}

static void close_repo(struct ls_history *history)
{
	ls_odb_free(&history->packs);
	ls_odb_free(&history->loose);
	ls_repository_free(&history->repo);
}

static int open_odbs(struct ls_history *history, const char *objects)
{
	git_odb_backend *packs = NULL, *loose = NULL;
	int rc = git_odb_new(&history->packs);

	if (rc == 0)
		rc = git_odb_new(&history->loose);
	if (rc == 0)
		rc = git_odb_backend_pack(&packs, objects);
	if (rc == 0)
		rc = git_odb_add_backend(history->packs, packs, 1);
	if (rc == 0)
		rc = git_odb_backend_loose(&loose, objects, -1, 1, 0, 0);
	if (rc == 0)
		rc = git_odb_add_backend(history->loose, loose, 1);
	return rc;
}

enum ls_code ls_repo_reopen(struct ls_history *history, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *objects = ls_format("%s/objects", history->path);
	int rc;

	close_repo(history);
	rc = git_repository_open_ext(&history->repo, history->path,
		GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_BARE, NULL);
	if (rc == 0)
		rc = open_odbs(history, objects);
	if (rc < 0) {
		enum ls_code code = ls_repo_fail(err, rc, "open the history '%s'", history->path);

		close_repo(history); /* half open it would know of nothing */
		return code;
	}
	return LS_OK;
}

enum ls_code ls_repo_ready(struct ls_history *history, struct ls_err *err)
{
	return history->loose ? LS_OK : ls_repo_reopen(history, err);
}

enum ls_code ls_history_open(const char *path, struct ls_history **out, struct ls_err *err)
{
	LS_CLEANUP(ls_history_free) struct ls_history *history = NULL;

	ls_repo_library();
	history = ls_alloc(1, sizeof *history);
	history->path = ls_strdup(path);
	LS_TRY(ls_repo_reopen(history, err));
	*out = LS_TAKE(history);
	return LS_OK;
}

void ls_history_free(struct ls_history **history)
{
	if (!*history)
		return;
	close_repo(*history);
	free((*history)->path);
	free(*history);
	*history = NULL;
}

enum ls_code ls_repo_dir(
	const struct ls_history *history, const char *name, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", history->path, name);

	return ls_dir_open(path, out_fd, err);
}

/* ---- objects ---- */

#define LOOKS_MAX 10

enum ls_code ls_repo_oid(const struct ls_commit_id *id, git_oid *out, struct ls_err *err)
{
	if (strlen(id->hex) != GIT_OID_HEXSZ || git_oid_fromstr(out, id->hex) != 0)
		return LS_FAIL(err, LS_E_NOT_FOUND, "'%s' is not the id of a commit", id->hex);
	return LS_OK;
}

void ls_repo_id(const git_oid *oid, struct ls_commit_id *out)
{
	(void)git_oid_tostr(out->hex, sizeof out->hex, oid);
}

static enum ls_code read_packed(struct ls_history *history, const git_oid *oid, git_object_t type,
	struct ls_buf *out, struct ls_err *err)
{
	git_odb_object *object = NULL;
	git_object_t found;
	size_t len;
	int rc = git_odb_read_header(&len, &found, history->packs, oid);

	if (rc < 0)
		return ls_repo_fail(err, rc, "packed object");
	if (found != type)
		return LS_FAIL(err, LS_E_DAMAGED, "packed object of another type");
	if (len > LS_OBJECT_BYTES_MAX)
		return LS_FAIL(err, LS_E_DAMAGED, "packed object of %zu bytes", len);
	rc = git_odb_read(&object, history->packs, oid);
	if (rc < 0)
		return ls_repo_fail(err, rc, "packed object");
	ls_buf_clear(out);
	ls_buf_add(out, git_odb_object_data(object), git_odb_object_size(object));
	git_odb_object_free(object);
	return LS_OK;
}

/* Neither looks for packs that are new since the last look. */
static bool known(git_odb *odb, const git_oid *oid)
{
	return git_odb_exists_ext(odb, oid, GIT_ODB_LOOKUP_NO_REFRESH);
}

/* libgit2 would find a new pack by itself, but it never lets go of one that was merged away: a
 * handle that only reads would gather their descriptors for as long as it lives. So what is in none
 * of the packs that it knows is not there, until they are opened anew. */
static enum ls_code read_once(struct ls_history *history, const git_oid *oid, git_object_t type,
	git_object_t *out_found, struct ls_buf *out, struct ls_err *err)
{
	if (known(history->packs, oid))
		return read_packed(history, oid, type, out, err);
	if (known(history->loose, oid))
		return ls_loose_read(history, oid, LS_OBJECT_BYTES_MAX, out_found, out, err);
	return LS_FAIL(err, LS_E_NOT_FOUND, "it is in no pack");
}

/* Packs may be merged by another handle at this moment: one whose index is known is gone before it
 * is opened, and a listing in the middle shows neither the old ones nor the new one. */
enum ls_code ls_repo_read(struct ls_history *history, const git_oid *oid, git_object_t type,
	struct ls_buf *out, struct ls_err *err)
{
	git_object_t found = type;
	char hex[GIT_OID_HEXSZ + 1];
	enum ls_code rc;

	LS_TRY(ls_repo_ready(history, err));
	rc = read_once(history, oid, type, &found, out, err);
	for (int i = 0; rc == LS_E_NOT_FOUND && i < LOOKS_MAX; i++) {
		LS_TRY(ls_repo_reopen(history, err));
		rc = read_once(history, oid, type, &found, out, err);
	}
	(void)git_oid_tostr(hex, sizeof hex, oid);
	if (rc != LS_OK) { /* the code also for callers who want no words */
		LS_WRAP(err, "object %s", hex);
		return rc;
	}
	if (found != type)
		return LS_FAIL(err, LS_E_DAMAGED, "object %s is of another type", hex);
	return LS_OK;
}

enum ls_code ls_repo_one_pack(
	const struct ls_history *history, const char *idx_name, git_odb **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str)
	char *path = ls_format("%s/objects/pack/%s", history->path, idx_name);
	LS_CLEANUP(ls_odb_free) git_odb *odb = NULL;
	git_odb_backend *backend = NULL;
	int rc = git_odb_new(&odb);

	if (rc == 0)
		rc = git_odb_backend_one_pack(&backend, path);
	if (rc == 0)
		rc = git_odb_add_backend(odb, backend, 1);
	if (rc < 0)
		return ls_repo_fail(err, rc, "open the pack of '%s'", idx_name);
	*out = LS_TAKE(odb);
	return LS_OK;
}

/* ---- refs ---- */

enum ls_code ls_history_head(
	struct ls_history *history, struct ls_commit_id *out, struct ls_err *err)
{
	git_oid oid;
	int rc;

	LS_TRY(ls_repo_ready(history, err));
	rc = git_reference_name_to_id(&oid, history->repo, LS_REF_MAIN);
	if (rc == GIT_ENOTFOUND) {
		git_error_clear();
		return LS_FAIL(err, LS_E_NOT_FOUND, "the history has no generation yet");
	}
	if (rc < 0)
		return ls_repo_fail(err, rc, "read " LS_REF_MAIN);
	ls_repo_id(&oid, out);
	return LS_OK;
}

static enum ls_code check_commit(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
	git_oid oid;

	LS_TRY(ls_repo_oid(id, &oid, err));
	return ls_repo_read(history, &oid, GIT_OBJECT_COMMIT, &raw, err);
}

static enum ls_code write_ref(
	int dir_fd, const char *name, const struct ls_commit_id *id, struct ls_err *err)
{
	char line[sizeof id->hex + 1];

	(void)snprintf(line, sizeof line, "%s\n", id->hex);
	return ls_file_replace(dir_fd, name, LS_BYTES_STR(line), REF_MODE, (gid_t)-1, err);
}

static bool ref_is(int dir_fd, const char *name, const struct ls_commit_id *id)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	return ls_file_read(dir_fd, name, REF_BYTES_MAX, &text, NULL) == LS_OK &&
	       ls_has_prefix(ls_buf_text(&text), id->hex) && text.len == strlen(id->hex) + 1;
}

enum ls_code ls_history_stage(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(check_commit(history, id, err));
	LS_TRY(ls_repo_dir(history, "refs/lockstep", &fd, err));
	return write_ref(fd, NEXT, id, err);
}

enum ls_code ls_history_staged(
	struct ls_history *history, struct ls_commit_id *out, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	LS_TRY(ls_repo_dir(history, "refs/lockstep", &fd, err));
	LS_TRY(ls_file_read(fd, NEXT, REF_BYTES_MAX, &text, err));
	if (text.len != sizeof out->hex)
		return LS_FAIL(err, LS_E_DAMAGED, "refs/lockstep/next is not a commit's name");
	memcpy(out->hex, text.data, sizeof out->hex - 1);
	out->hex[sizeof out->hex - 1] = '\0';
	return LS_OK;
}

enum ls_code ls_history_advance(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int from = -1, to = -1;
	struct ls_commit_id head = { "" };

	LS_TRY(check_commit(history, id, err));
	LS_TRY(ls_repo_dir(history, "refs/lockstep", &from, err));
	LS_TRY(ls_repo_dir(history, "refs/heads", &to, err));
	if (ref_is(from, NEXT, id)) {
		if (renameat(from, NEXT, to, MAIN) != 0)
			return LS_FAIL_ERRNO(err, "rename refs/lockstep/next to " LS_REF_MAIN);
	} else if (ls_history_head(history, &head, NULL) != LS_OK || !ls_commit_equal(&head, id)) {
		return write_ref(to, MAIN, id, err);
	}
	/* Also when there was nothing to rename: the process may have died right after it. */
	LS_TRY(ls_dir_sync(to, err));
	return ls_dir_sync(from, err);
}
