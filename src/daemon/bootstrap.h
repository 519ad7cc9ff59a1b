/* bootstrap -- `lockstep init`: makes this machine the first node of a new cluster. Needs no
 * daemon. */
#ifndef LS_DAEMON_BOOTSTRAP_H
#define LS_DAEMON_BOOTSTRAP_H

#include "base/paths.h"
#include "daemon/agent.h"

struct ls_bootstrap {
	const char *cluster;
	const char *fqdn;   /* NULL: the cluster's name */
	const char *node;   /* NULL: the host's short name */
	const char *policy; /* NULL: "default" */
	const struct ls_author *author;
};

/* Interrupted at any point, it can be run again: a mark file says that what is there is unfinished,
 * and it is then removed and made anew. On a node that is initialised it changes nothing and sets
 * *out_done_before. Refused (LS_E_REFUSED) before anything is written: bad names, an unknown
 * policy, no or bad templates, foreign files under the names of live files. *out_generation is the
 * store's. */
LS_CHECK enum ls_code ls_bootstrap(const struct ls_paths *paths, const struct ls_bootstrap *wish,
	bool *out_done_before, int64_t *out_generation, struct ls_err *err);

/* Parts of it that joining shares. The name: what is wished for, else after the host; the
 * directories, the node's lock (*out_lock_fd is the caller's), and no foreign file under a live
 * name. */
void ls_bootstrap_node_name(const char *wish, char out[LS_NAME_MAX + 1]);
LS_CHECK enum ls_code ls_bootstrap_prepare(
	const struct ls_paths *paths, int *out_lock_fd, struct ls_err *err);

#endif
