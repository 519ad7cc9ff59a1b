/* leaves -- the cluster's own TLS files on this node, issued by the cluster CA and renewed in
 * place: etcd's members, this node as a client of etcd, the gateway.
 *
 *   var/lib/lockstep/etcd/NAME/    wish.json (what was asked for), member.pem (key, leaf, CA),
 *                                  ca.pem, etcd.conf.yml
 *   var/lib/lockstep/identity/etcd.pem   the client's (node/engine.h), unless an operator gave one
 *   run/lockstep/gateway.pem             the gateway's; for servers only, so that who takes over
 *                                        what faces the network is no client of etcd
 *
 * Who reads such a file reads it again at each handshake, so a renewal needs no restart. etcd reads
 * ca.pem only when it starts. They are files of this node, not part of the state: no generation.
 *
 * For the thread of an agent that may write. `notes` (may be NULL) gets one line for each file that
 * was issued.
 */
#ifndef LS_DAEMON_LEAVES_H
#define LS_DAEMON_LEAVES_H

#include <jansson.h>

#include "daemon/agent.h"
#include "node/etcd_member.h"

/* Makes or changes the files of a member. *out is a new reference: {"member", "directory",
 * "config", "certificate", "ca", "data_dir", "sans": […], "issued"}. LS_E_NOT_FOUND: its group. */
LS_CHECK enum ls_code ls_agent_etcd_member(struct ls_agent *agent,
	const struct ls_etcd_member *member, json_t **out, struct ls_err *err);

/* Issues anew what is due of every member that was asked for, and of the client if there is one.
 * Goes on past a failure; the first is returned. */
LS_CHECK enum ls_code ls_agent_keep_leaves(
	struct ls_agent *agent, char ***notes, struct ls_err *err);
/* Whatever is there: not for a node whose operator gave a certificate of another PKI. */
LS_CHECK enum ls_code ls_agent_keep_client_leaf(
	struct ls_agent *agent, char ***notes, struct ls_err *err);
/* `address` is where others reach the gateway, "HOST:PORT" or ""; the host becomes a name, beside
 * the machine's, the cluster's and loopback. */
LS_CHECK enum ls_code ls_agent_keep_gateway_leaf(
	struct ls_agent *agent, const char *address, char ***notes, struct ls_err *err);

/* All of them, once a minute: before that *out_looked is false and nothing is done. */
LS_CHECK enum ls_code ls_agent_keep_all(struct ls_agent *agent, const char *gateway_address,
	bool *out_looked, char ***notes, struct ls_err *err);

#endif
