/* links -- the symbolic links of the live directory: those that services open, and ..data.
 *
 * Parts of live.h, with the same threads; small blocking I/O.
 */
#ifndef LS_NODE_LINKS_H
#define LS_NODE_LINKS_H

#include "node/plan.h"

#define LS_LINKS_DATA "..data"
#define LS_LINKS_NEXT "..data.next"
#define LS_LINKS_TMP_PREFIX "..tmp-" /* of all temporaries; old ones are a crash's remains */

/* A temporary's name that no other thread of this machine uses; `what` tells apart what one thread
 * makes. */
void ls_links_tmp(const char *what, char out[LS_LIVE_DIR_SIZE]);
bool ls_links_is(int dir_fd, const char *name, const char *target);
/* Makes `name` a link to `target` by rename. A directory that stands there is displaced. */
LS_CHECK enum ls_code ls_links_put(
	int dir_fd, const char *target, const char *name, struct ls_err *err);
/* Moves a directory that stands where a link belongs aside, under a temporary's name; anything
 * else, or nothing, is left. */
LS_CHECK enum ls_code ls_links_displace(int dir_fd, const char *name, struct ls_err *err);
/* The links of the plan's files that have no entry yet; `made[i]` becomes 1 for each new one. What
 * is there already, right or not, is left: putting back is healing's task, which first hands over
 * what was written. Syncs ca/, not the live directory. */
LS_CHECK enum ls_code ls_links_make(
	int live_fd, int ca_fd, const struct ls_live_plan *plan, char *made, struct ls_err *err);
void ls_links_unmake(int live_fd, const struct ls_live_plan *plan, const char *made);
/* Removes links as ls_links_make makes them of files that the plan lacks, and temporaries of more
 * than a minute ago: younger ones may belong to a healing that runs now. `ca`: dir_fd is ca/. */
LS_CHECK enum ls_code ls_links_tidy(
	int dir_fd, const struct ls_live_plan *plan, bool ca, struct ls_err *err);
/* Removes a directory with what is in it, or whatever else has that name; absent is fine. */
LS_CHECK enum ls_code ls_links_remove_any(int dir_fd, const char *name, struct ls_err *err);
/* The name of a plan's file in its directory, "proxy.pem" for "ca/proxy.pem". */
const char *ls_links_base(const struct ls_live_file *file);

#endif
