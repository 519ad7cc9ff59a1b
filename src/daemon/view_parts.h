/* view_parts -- what the files of view share, and doctor_cluster.c and presence.c with
 * them. Private to them. */
#ifndef LS_DAEMON_VIEW_PARTS_H
#define LS_DAEMON_VIEW_PARTS_H

#include "daemon/view.h"

void ls_view_problem(json_t *problems, const char *fmt, ...) LS_PRINTF(2, 3);
/* What the endpoints show: the wanted fingerprint if all do, else the first other one, "" where
 * none is shown; null where no endpoint is configured. Blocks for up to 2 s. `problems` may be
 * NULL. */
json_t *ls_view_served(const struct ls_service *service, const char *desired, json_t *problems);
/* `nodes` of the status; takes over `self`, which stands for this node. */
json_t *ls_view_nodes(struct ls_agent *agent, const struct ls_store_view *view,
	const struct ls_view_about *about, json_t *self, json_t *problems);

/* What a node said of itself last (cluster.h, announce), a new reference; NULL: nothing that can be
 * believed. */
json_t *ls_view_said_by(const struct ls_notes *notes, const char *node);

#endif
