/* view -- what can be looked at, as JSON (CONTRACT "JSON, least keys"). Reads only; runs in the
 * daemon's reading thread or in the command line.
 *
 * Each *out is a new reference.
 */
#ifndef LS_DAEMON_VIEW_H
#define LS_DAEMON_VIEW_H

#include <jansson.h>

#include "daemon/agent.h"

struct ls_view_about {
	bool daemon_alive;
	char *const *problems;      /* what the daemon knows besides: stuck steps, deaf watches;
				       NULL-ended, may be NULL */
	const struct ls_away *away; /* since when members are away, as the daemon saw it */
	size_t away_count;
};

/* Handshakes with the endpoints, so it may take up to 2 s where one hangs. `healthy` is true only
 * if all is well; "problems" lists, in words, what is not. */
LS_CHECK enum ls_code ls_view_status(struct ls_agent *agent, const struct ls_view_about *about,
	json_t **out, struct ls_err *err);
/* `name` NULL: all, as {"certificates": […]}; else the one object, with "chain" (PEM) besides. */
LS_CHECK enum ls_code ls_view_certs(
	struct ls_agent *agent, const char *name, json_t **out, struct ls_err *err);
/* Newest first; those that changed `name` if it is given; at most `count` (0: all). */
LS_CHECK enum ls_code ls_view_history(
	struct ls_agent *agent, const char *name, int64_t count, json_t **out, struct ls_err *err);
/* One generation with its components' certificates and what it changed. */
LS_CHECK enum ls_code ls_view_generation(
	struct ls_agent *agent, int64_t generation, json_t **out, struct ls_err *err);
/* {"rotation", "last"} */
LS_CHECK enum ls_code ls_view_rotation(struct ls_agent *agent, json_t **out, struct ls_err *err);
/* Before its commit point only: LS_E_CONFLICT after it, LS_E_REFUSED when none runs. {"aborted",
 * "generation"} */
LS_CHECK enum ls_code ls_rotation_stop(struct ls_agent *agent, json_t **out, struct ls_err *err);
/* {"verified", "generations", "head", "root"}; damage is LS_E_DAMAGED. */
LS_CHECK enum ls_code ls_view_verify(struct ls_agent *agent,
	void (*progress)(void *arg, int64_t done, int64_t total), void *arg, json_t **out,
	struct ls_err *err);

#endif
