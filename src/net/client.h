/* client -- HTTP client (libcurl) for the control socket. Blocking; for the command line. */
#ifndef LS_NET_CLIENT_H
#define LS_NET_CLIENT_H

#include <stdint.h>

#include "base/bytes.h"

struct ls_client_call {
	const char *socket_path; /* any length */
	const char *method;
	const char *path; /* "/v1/status?x=y" */
	struct ls_bytes body;
	int64_t timeout_ms; /* for the whole call; 0: none */
	/* Called for each line of the body as it comes, without its newline; NULL: the body is only
	 * collected. */
	void (*on_line)(void *arg, const char *line);
	void *arg;
};

/* *out_status is the HTTP status, *out_body the whole body (at most 64 MiB). LS_E_UNREACHABLE: no
 * daemon there, nothing was sent; LS_E_UNKNOWN: the connection broke or timed out after the request
 * was sent. */
LS_CHECK enum ls_code ls_client_call(const struct ls_client_call *call, int *out_status,
	struct ls_buf *out_body, struct ls_err *err);

#endif
