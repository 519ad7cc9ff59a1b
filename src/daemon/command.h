/* command -- carries out one change for a caller: candidate, rotation, answer. Worker thread (or a
 * program without a daemon). */
#ifndef LS_DAEMON_COMMAND_H
#define LS_DAEMON_COMMAND_H

#include <jansson.h>

#include "control/request.h"
#include "daemon/agent.h"

/* *out is a new reference: {"generation", "commit", "changed": […], "warnings": […], "unchanged",
 * "dry_run"} and what the kind adds: "request" (a CSR in PEM), "epoch". */
LS_CHECK enum ls_code ls_command_change(struct ls_agent *agent, const struct ls_change *change,
	const struct ls_author *author, json_t **out, struct ls_err *err);
/* The KEK sealed to an escrow certificate: {"escrow": PEM, "epochs": […]}. */
LS_CHECK enum ls_code ls_command_escrow(
	struct ls_agent *agent, struct ls_bytes cert_pem, json_t **out, struct ls_err *err);
/* Whether the leaf of this certificate was once in force for the component and is not now: used for
 * what is written over live files. */
bool ls_command_superseded(struct ls_agent *agent, const char *component, const char *sha256);

#endif
