/* repo -- what the parts of history share: the handle, libgit2's errors and owners, reading
 * objects.
 *
 * Private to src/history; the only header of ours that includes libgit2's.
 */
#ifndef LS_HISTORY_REPO_H
#define LS_HISTORY_REPO_H

#include <git2.h>

#include "history/history.h"

#define LS_REF_MAIN "refs/heads/main"
#define LS_OBJECT_BYTES_MAX (1u << 20) /* of a blob; trees and commits of ours are far below */

struct ls_history {
	char *path;
	git_repository
		*repo;  /* for refs; all three are NULL after they could not be opened again */
	git_odb *packs; /* read from */
	git_odb *loose; /* asked what there is; read by ls_loose_read */
};

/* Readies libgit2, once in a process. */
void ls_repo_library(void);
/* Fails with "what: libgit2's reason": LS_E_NOT_FOUND for GIT_ENOTFOUND, LS_E_IO for the system's
 * errors, else LS_E_DAMAGED. */
enum ls_code ls_repo_fail(struct ls_err *err, int rc, const char *fmt, ...) LS_PRINTF(3, 4);
/* Forgets all that libgit2 keeps open: files of this repository were removed. After a failure the
 * handle is closed, until ls_repo_ready opens it for whoever uses it next. */
LS_CHECK enum ls_code ls_repo_reopen(struct ls_history *history, struct ls_err *err);
LS_CHECK enum ls_code ls_repo_ready(struct ls_history *history, struct ls_err *err);
/* Opens a directory below the repository. */
LS_CHECK enum ls_code ls_repo_dir(
	const struct ls_history *history, const char *name, int *out_fd, struct ls_err *err);
LS_CHECK enum ls_code ls_repo_oid(const struct ls_commit_id *id, git_oid *out, struct ls_err *err);
void ls_repo_id(const git_oid *oid, struct ls_commit_id *out);
/* Reads an object of this type of at most LS_OBJECT_BYTES_MAX; its hash is checked. */
LS_CHECK enum ls_code ls_repo_read(struct ls_history *history, const git_oid *oid,
	git_object_t type, struct ls_buf *out, struct ls_err *err);
/* Reads a loose object of any type; its hash is checked. */
LS_CHECK enum ls_code ls_loose_read(const struct ls_history *history, const git_oid *oid,
	size_t max_bytes, git_object_t *out_type, struct ls_buf *out, struct ls_err *err);
/* An object database of this one pack. The caller frees it. */
LS_CHECK enum ls_code ls_repo_one_pack(
	const struct ls_history *history, const char *idx_name, git_odb **out, struct ls_err *err);

void ls_odb_free(git_odb **odb);
void ls_repository_free(git_repository **repo);
void ls_packbuilder_free(git_packbuilder **builder);

/* The whole tree of a generation. */
struct ls_snapshot {
	struct ls_snapshot_entry {
		char *path; /* "" is the root */
		git_oid oid;
		bool is_dir;
		struct ls_buf bytes; /* of a file */
	} * entries;                 /* sorted by path */
	size_t count;
};
void ls_snapshot_done(struct ls_snapshot *snapshot);
/* `reuse` (may be NULL) is a snapshot whose equal parts are copied instead of read. */
LS_CHECK enum ls_code ls_snapshot_load(struct ls_history *history, const char *tree_hex,
	const struct ls_snapshot *reuse, struct ls_snapshot *out, struct ls_err *err);
LS_CHECK enum ls_code ls_snapshot_state(
	const struct ls_snapshot *snapshot, struct ls_state *out, struct ls_err *err);

#endif
