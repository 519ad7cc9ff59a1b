/* metrics -- what a node shows to Prometheus: its text format (version 0.0.4), names and units of
 * CONTRACT. Reads only; the reading thread. */
#ifndef LS_DAEMON_METRICS_H
#define LS_DAEMON_METRICS_H

#include "daemon/agent.h"

/* Handshakes with the endpoints, as the status. *out is replaced. */
LS_CHECK enum ls_code ls_metrics(struct ls_agent *agent, struct ls_buf *out, struct ls_err *err);

#endif
