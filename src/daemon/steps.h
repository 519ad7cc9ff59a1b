/* steps -- what the files of the steps share. Private to them; ls_agent_do (agent.h) is the way in.
 */
#ifndef LS_DAEMON_STEPS_H
#define LS_DAEMON_STEPS_H

#include "daemon/agent.h"

/* How a report's warning begins that makes a change degraded. */
#define LS_STEP_RELOAD_FAILED "reload of "

/* Why this node votes no, or reports badly. */
void ls_step_reason(struct ls_progress *progress, const char *text);
/* The fingerprint of the component's leaf in `state`, "" where it has none. */
void ls_step_leaf(const struct ls_state *state, const char *component, char out[LS_SHA256_TEXT]);

/* What they find is in the agent's progress. They block: up to a service's time-outs each. */
void ls_step_probe(struct ls_agent *agent);
void ls_step_validate(struct ls_agent *agent, const struct ls_store_view *view, struct ls_err *err);
void ls_step_reload(struct ls_agent *agent, const struct ls_store_view *view);
void ls_step_check(struct ls_agent *agent, struct ls_err *err);

#endif
