/* walk -- every object that a commit reaches, read once, newest generation first.
 *
 * Private to src/history. Knows trees and commits of any form, so that it gets on where a reader of
 * states would stop.
 */
#ifndef LS_HISTORY_WALK_H
#define LS_HISTORY_WALK_H

#include "history/repo.h"

struct ls_walk_object {
	git_oid oid;
	git_object_t type;
	int64_t generation; /* the newest one that needs it; 0: not known */
	char *path;         /* "" for a commit or its whole tree */
};

/* Called for an object that cannot be read, with the reason. True: `bytes` now holds its content,
 * from elsewhere. */
typedef bool ls_walk_lost(void *arg, const struct ls_walk_object *object, const struct ls_err *why,
	struct ls_buf *bytes);

void ls_walk(struct ls_history *history, const git_oid *head, ls_walk_lost *lost, void *arg);

#endif
