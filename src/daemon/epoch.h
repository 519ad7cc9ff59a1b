/* epoch -- a new KEK epoch of the cluster: the key, and the certificates of all members to which it
 * is wrapped (DESIGN 3, 4). With a shared store each member offered its certificate before
 * (cluster.h), so one that is away gets its wrap too; alone, the node makes its own.
 *
 * Writer's thread.
 */
#ifndef LS_DAEMON_EPOCH_H
#define LS_DAEMON_EPOCH_H

#include "daemon/agent.h"

struct ls_epoch {
	struct ls_secret kek;
	struct ls_new_epoch wish; /* points into the others */
	struct ls_new_wrapping *wrappings;
	struct ls_buf *certs;
	size_t count;
};
void ls_epoch_done(struct ls_epoch *epoch);
/* Of all members but `without` (NULL: none). The wraps are in the store then; of one that is never
 * decided nobody has use. LS_E_REFUSED: a member has offered no certificate. */
LS_CHECK enum ls_code ls_epoch_prepare(
	struct ls_agent *agent, const char *without, struct ls_epoch *out, struct ls_err *err);
/* The name under which the store keeps a node's wrap. Two who start an epoch at once must not write
 * over each other's, so with a shared store the key's check value is part of it. From the heap. */
char *ls_epoch_wrap_name(bool shared, const char *node, const char *check);

#endif
