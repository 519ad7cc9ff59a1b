/* enrol -- makes this machine a node of a cluster that is there: the joiner's side
 * (control/join.h).
 *
 * Keys are made here and never leave. They are written before they are used, so what was
 * interrupted is taken up again with the same keys, which is what the token is bound to. The node
 * is one when store/etcd.json is written, which is the last but staging the tip. No daemon runs.
 * Blocking.
 */
#ifndef LS_DAEMON_ENROL_H
#define LS_DAEMON_ENROL_H

#include "base/paths.h"
#include "control/join.h"

struct ls_enrol {
	const struct ls_token *token;
	const char *node; /* NULL: the host's name */
	bool replace;     /* in place of a node of that name whose disk is lost */
	/* Where etcd's certificates are an operator's: this node's, in PEM; else empty. */
	struct ls_bytes etcd_cert_pem, etcd_key_pem;
	int64_t timeout_ms; /* for all of it, also while a rotation runs */
	void (*progress)(void *arg, const char *text); /* may be NULL */
	void *arg;
};

/* *out_generation is where the node is then. LS_E_REFUSED: it is a node already (said with its
 * name), the token is not accepted, or the cluster is not the one that the token is of. */
LS_CHECK enum ls_code ls_enrol(const struct ls_paths *paths, const struct ls_enrol *wish,
	char out_node[LS_NAME_MAX + 1], int64_t *out_generation, struct ls_err *err);

#endif
