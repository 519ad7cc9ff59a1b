/* gendir -- one generation directory on disk: writing it, looking at its files, mending them.
 *
 * Blocking small I/O; any thread, one at a time for one directory. Directories are 0755 and, like
 * files, belong to root; without privileges owners are not looked at.
 */
#ifndef LS_NODE_GENDIR_H
#define LS_NODE_GENDIR_H

#include "node/plan.h"

struct ls_gendir {
	int fd;
	int ca_fd;
};

#define LS_GENDIR_CLOSED ((struct ls_gendir){ .fd = -1, .ca_fd = -1 })

void ls_gendir_done(struct ls_gendir *dir);
/* Opens a directory and its ca/, which is made when absent. LS_E_NOT_FOUND: there is no such
 * directory, or something else has its name. */
LS_CHECK enum ls_code ls_gendir_open(
	int live_fd, const char *name, struct ls_gendir *out, struct ls_err *err);
/* Opens the ca/ of a directory, making it when absent. LS_E_REFUSED: something else has its name.
 */
LS_CHECK enum ls_code ls_gendir_open_ca(int dir_fd, int *out_fd, struct ls_err *err);
/* Makes `name`, which must not be there, with all files of the plan, each synced, then its
 * directories; the live directory is not synced. On failure nothing of it remains. */
LS_CHECK enum ls_code ls_gendir_write(
	int live_fd, const char *name, const struct ls_live_plan *plan, struct ls_err *err);
/* Whether the directory holds what the plan says and nothing else; if so it is also synced. */
bool ls_gendir_keep(int live_fd, const char *name, const struct ls_live_plan *plan);

enum ls_gendir_state {
	LS_GENDIR_RIGHT,
	LS_GENDIR_ABSENT,
	LS_GENDIR_LOOSE,  /* right content, wrong mode or ownership */
	LS_GENDIR_SHARED, /* right content but linked elsewhere, or not readable */
	LS_GENDIR_OTHER,  /* other content or no regular file */
};
/* *out_fd gets the open file (the caller closes it) when it is regular and has one link, at its
 * beginning; else -1. */
LS_CHECK enum ls_code ls_gendir_look(const struct ls_gendir *dir, const struct ls_live_file *file,
	enum ls_gendir_state *out_state, int *out_fd, struct ls_err *err);
/* Makes right what a look found: LOOSE in place through `fd`, all else by rename of a fresh file.
 */
LS_CHECK enum ls_code ls_gendir_mend(const struct ls_gendir *dir, const struct ls_live_plan *plan,
	const struct ls_live_file *file, enum ls_gendir_state state, int fd, struct ls_err *err);
/* Gives a directory its mode and owner; *out_mended says whether something was wrong. */
LS_CHECK enum ls_code ls_gendir_mend_dir(int dir_fd, bool *out_mended, struct ls_err *err);

#endif
