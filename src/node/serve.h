/* serve -- what a component's endpoints show in a handshake. Blocking; worker thread. */
#ifndef LS_NODE_SERVE_H
#define LS_NODE_SERVE_H

#include "node/service.h"

struct ls_served {
	char sha256[65]; /* of the certificate shown; "" when none */
	char why[200];   /* why none */
};

/* One handshake with each endpoint; `out` has service->serve_count elements. */
void ls_serve_look(const struct ls_service *service, int64_t timeout_ms, struct ls_served *out);
/* Handshakes until each endpoint with watch[i] has shown `want` three times in a row, or
 * `deadline_ms` from now has passed: LS_E_FAILED naming endpoint, found and wanted. The first look
 * is immediate, then every 50 ms. */
LS_CHECK enum ls_code ls_serve_await(const struct ls_service *service, const bool *watch,
	const char *want, int64_t deadline_ms, struct ls_err *err);

#endif
