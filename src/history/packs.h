/* packs -- the files in objects/pack, one pack for each generation until they are merged.
 *
 * Private to src/history.
 */
#ifndef LS_HISTORY_PACKS_H
#define LS_HISTORY_PACKS_H

#include "history/repo.h"

#define LS_PACKS_MAX 1000000
#define LS_PACK_FILE_BYTES_MAX ((size_t)1 << 30) /* of one that is read as a whole */

/* Names of the packs' indexes, sorted; `fd` is objects/pack. */
LS_CHECK enum ls_code ls_packs_list(int fd, char ***out, struct ls_err *err);
/* Removes a pack with all that belongs to it, and the caches that could name it; the directory is
 * not synced. */
LS_CHECK enum ls_code ls_packs_remove(
	const struct ls_history *history, int fd, const char *idx_name, struct ls_err *err);
/* The objects of one pack. The caller frees *out. */
LS_CHECK enum ls_code ls_packs_objects(const struct ls_history *history, const char *idx_name,
	git_oid **out, size_t *out_count, struct ls_err *err);

LS_CHECK enum ls_code ls_packs_objects_of(
	git_odb *odb, const char *idx_name, git_oid **out, size_t *out_count, struct ls_err *err);

/* Whether a file of objects/pack ends in a checksum of itself; and whether that one is right, for
 * an index also whether its pack is there and its own. Patient with a daemon that works meanwhile:
 * a file that has gone is fine. */
bool ls_packs_checkable(const char *name);
LS_CHECK enum ls_code ls_packs_check(int fd, const char *name, struct ls_err *err);
/* Indexes a pack into objects/pack, synced. *out_idx_name (heap) is set when it is in place. */
LS_CHECK enum ls_code ls_packs_write(const struct ls_history *history, struct ls_bytes pack,
	char **out_idx_name, struct ls_err *err);

/* Whether a pack of so many bytes can be written, as far as that can be foreseen: libgit2 1.5 loses
 * memory each time a disk refuses it one (40 bytes in the indexer, all that was read in the
 * packbuilder), and what waits for a disk is tried again and again. */
LS_CHECK enum ls_code ls_packs_room(int fd, int64_t bytes, struct ls_err *err);
/* Removes, in objects/pack, what libgit2 began and could not remove itself: the disk had become
 * read-only. For who alone writes there, and is not at it. */
LS_CHECK enum ls_code ls_packs_clean_unfinished(int fd, struct ls_err *err);
/* Removes an index without its pack, and a pack without its index, in objects/pack. */
LS_CHECK enum ls_code ls_packs_clean_halves(int fd, struct ls_err *err);

#endif
