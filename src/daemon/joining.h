/* joining -- a member's side of a new node's way into the cluster (control/join.h; DESIGN 17):
 * tokens, the answer to a request, the history.
 *
 * A token lies in the store, its secret sealed under the KEK, until it expires; it is bound to the
 * first key that uses it. Blocking.
 */
#ifndef LS_DAEMON_JOINING_H
#define LS_DAEMON_JOINING_H

#include <jansson.h>

#include "daemon/agent.h"

#define LS_TOKEN_TTL_MAX_S (30 * 86400)

/* Writer. {"token", "expires"}. LS_E_REFUSED: a store of one machine, or no address is known by
 * which others reach the gateway. */
LS_CHECK enum ls_code ls_joining_token(
	struct ls_agent *agent, int64_t ttl_s, json_t **out, struct ls_err *err);
/* Writer. Takes the node in, a generation of its own, and answers; asked again with the same key,
 * it answers the same. LS_E_REFUSED; LS_E_CONFLICT: a rotation runs, try again. */
LS_CHECK enum ls_code ls_joining_answer(
	struct ls_agent *agent, const json_t *request, json_t **out, struct ls_err *err);
/* Reader. A part of the history, from a generation on. */
LS_CHECK enum ls_code ls_joining_history(
	struct ls_agent *agent, const json_t *request, json_t **out, struct ls_err *err);
/* Reader. What a token's fingerprint is compared with. */
LS_CHECK enum ls_code ls_joining_cluster(struct ls_agent *agent, json_t **out, struct ls_err *err);

/* Removes tokens that have expired, and to whom they were bound. Nothing to do is LS_OK. */
LS_CHECK enum ls_code ls_joining_tidy(struct ls_agent *agent, struct ls_err *err);

#endif
