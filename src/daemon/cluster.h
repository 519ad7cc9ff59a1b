/* cluster -- what a node does besides because there are others: whose word it believes, catching up
 * with what was decided without it, its presence and theirs (DESIGN 6, 10, 13).
 *
 * Belongs to the thread of its agent, as that. Everything here does nothing, and is LS_OK, where
 * the store is of one machine. Blocking.
 */
#ifndef LS_DAEMON_CLUSTER_H
#define LS_DAEMON_CLUSTER_H

#include "daemon/agent.h"

void ls_peers_done(struct ls_peers *peers);
/* For the store's handle: members of peers.trusted are believed, and this node signs. */
void ls_cluster_trust(struct ls_agent *agent, struct ls_store_trust *out);

/* Fetches and judges the generations up to `generation` that this node lacks, each of which must be
 * shown to have been decided and follow the one before. LS_E_NOT_FOUND: the store does not show it
 * (yet). LS_E_DAMAGED: what was decided is no successor of what this node has. */
LS_CHECK enum ls_code ls_cluster_catch_up(
	struct ls_agent *agent, int64_t generation, struct ls_err *err);
/* The objects of the target, and what is needed to judge it; before `decided` only a child of what
 * this node has, else shown to be decided. */
LS_CHECK enum ls_code ls_cluster_obtain(
	struct ls_agent *agent, const struct ls_store_view *view, bool decided, struct ls_err *err);
/* LS_E_REFUSED: this node was removed. */
LS_CHECK enum ls_code ls_cluster_check_member(struct ls_agent *agent, struct ls_err *err);
/* Whether the view itself shows that what it decided, the target that was judged before the vote,
 * was decided by all who took part, and by a majority. */
bool ls_cluster_shown(const struct ls_agent *agent, const struct ls_store_view *view);
/* What no automatic rollback may undo: who is a member, the KEK, which CA is trusted. */
bool ls_cluster_members_or_kek_differ(const struct ls_state *x, const struct ls_state *y);

/* Whether a rotation was seen to end: everything in an old record is signed, by members, for its
 * keys; only that it is over tells it from a new one when somebody puts it back. */
bool ls_cluster_ended(const struct ls_agent *agent, const char *nonce);
/* Who is away, and since when. To be told of every look at the record. */
void ls_cluster_observe(struct ls_agent *agent, const struct ls_store_view *view);
void ls_cluster_unreachable(struct ls_agent *agent, const struct ls_err *why);
/* NULL: it is here. */
const struct ls_away *ls_cluster_away(const struct ls_agent *agent, const char *node);

/* Who takes part in a rotation from the tip to `next`. *out_wait_ms: a member is not here, but not
 * yet away: who waits so long knows. LS_E_REFUSED: too few are here, or all must be. */
LS_CHECK enum ls_code ls_cluster_participants(struct ls_agent *agent,
	const struct ls_store_view *view, const struct ls_state *next, char ***out_participants,
	char ***out_away, int64_t *out_wait_ms, struct ls_err *err);
/* Until the record may have changed, or `ms` passed; a second at most, to give a sign of life. */
void ls_cluster_wait(struct ls_agent *agent, int64_t ms);
/* When this node may move the record in place of its initiator. */
int64_t ls_cluster_takeover(const struct ls_agent *agent, const struct ls_store_view *view);

/* Says in the store where this node is, if that is not what it says already; offers a certificate
 * for the next epoch; makes the engine whole again after it was restored. Idle only. */
LS_CHECK enum ls_code ls_cluster_announce(struct ls_agent *agent, struct ls_err *err);
LS_CHECK enum ls_code ls_cluster_offer(struct ls_agent *agent, struct ls_err *err);
/* Puts what nodes that were away need of the generations behind `after`, up to `head`, into an
 * engine again, as far as this node has kept it. */
LS_CHECK enum ls_code ls_cluster_republish(struct ls_agent *agent, struct ls_store *to,
	int64_t after, const struct ls_generation *head, struct ls_err *err);
LS_CHECK enum ls_code ls_cluster_restore(
	struct ls_agent *agent, const struct ls_store_view *view, struct ls_err *err);

#endif
