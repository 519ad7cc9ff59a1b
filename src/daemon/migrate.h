/* migrate -- makes a node whose store is its own the first one of a cluster: history and ids stay,
 * and agreement moves to etcd.
 *
 * The local store is marked before (store/etcd.json, "migrating") and retired after (record.json is
 * renamed): a crash at any point in between leaves a node on which no store takes a change until
 * the move was finished, which the daemon, or the same command again, does. There is no way back.
 * Writer's thread, under the node's lock. Blocking.
 */
#ifndef LS_DAEMON_MIGRATE_H
#define LS_DAEMON_MIGRATE_H

#include "daemon/agent.h"

struct ls_migrate {
	const char *endpoints; /* "https://…,https://…" */
	/* Of an operator's own PKI, PEM; all empty: certificates come from the cluster's CA. */
	struct ls_bytes ca_pem, cert_pem, key_pem;
};

/* Also: an engine that was reset is filled again, with what nodes that were away need, and
 * endpoints are replaced by others at which the cluster's record is. *out_unchanged: nothing was to
 * be done. LS_E_CONFLICT: a rotation runs, or the engine holds another state of this cluster.
 * LS_E_UNREACHABLE, LS_E_UNKNOWN: the engine. */
LS_CHECK enum ls_code ls_migrate(struct ls_agent *agent, const struct ls_migrate *wish,
	bool *out_unchanged, struct ls_err *err);
/* Of an operator's PKI, into the identity; LS_E_REFUSED when certificate and key do not match. */
LS_CHECK enum ls_code ls_migrate_save_pki(const struct ls_paths *paths, struct ls_bytes ca_pem,
	struct ls_bytes cert_pem, struct ls_bytes key_pem, struct ls_err *err);
/* What a crash left unfinished; nothing to do is LS_OK. */
LS_CHECK enum ls_code ls_migrate_finish(struct ls_agent *agent, struct ls_err *err);

#endif
