/* repo -- a small history for the targets that read git's files: one component, one member, whose
 * key is the fixed one.
 */
#ifndef LS_TESTS_FUZZ_REPO_H
#define LS_TESTS_FUZZ_REPO_H

#include "history/history.h"

/* The state; `note` makes one unlike the other. */
void repo_state(const char *note, struct ls_state *out);
/* The commit of that state as generation `number` on top of `parent` ("" for none), as a pack. */
void repo_compose(struct ls_history *history, const char *note, int64_t number,
	const struct ls_commit_id *parent, struct ls_commit_id *out_id, struct ls_buf *out_pack);
/* Removes what lies in objects/pack, and what one object's name would be as a loose one. */
void repo_clear_packs(const char *path);
/* Writes an object's file as git keeps it, from `raw` as it is. */
void repo_put_loose(const char *path, const char *hex, struct ls_bytes raw);
void repo_drop_loose(const char *path, const char *hex);
/* "TYPE LEN\0" and the content, deflated; *out_hex is its id. */
void repo_loose(const char *type, struct ls_bytes content, struct ls_buf *out, char out_hex[41]);

#endif
