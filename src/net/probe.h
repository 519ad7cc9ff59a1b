/* probe -- what a TLS endpoint really serves, and small exchanges with services' own sockets.
 * Blocking, with deadlines.
 *
 * No certificate is verified here: the fingerprint decides. Threads: any. Where there is a helper
 * (sys/helper.h) it makes the connections to UNIX sockets, and only to those that a template names:
 * who could connect to any could have systemd run a command.
 */
#ifndef LS_NET_PROBE_H
#define LS_NET_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* "HOST:PORT", "[V6]:PORT" or "unix:PATH". */
bool ls_endpoint_valid(const char *endpoint);

/* One TLS handshake with SNI `name` (may be NULL); the leaf's SHA-256 in lower-case hex. Counts as
 * served as soon as the server's certificate came, even if it then wants a client certificate.
 * LS_E_UNREACHABLE: no connection; LS_E_FAILED: connected, but no handshake; LS_E_TIMEOUT;
 * LS_E_REFUSED: no endpoint. Looking up a name is not covered by the time limit. */
LS_CHECK enum ls_code ls_probe(const char *endpoint, const char *name, int64_t timeout_ms,
	char out_sha256[65], struct ls_err *err);

/* A connection to a "unix:" endpoint, non-blocking. Codes as above. */
LS_CHECK enum ls_code ls_endpoint_connect(
	const char *endpoint, int64_t timeout_ms, int *out_fd, struct ls_err *err);

struct ls_exchange {
	const char *endpoint;
	bool tls;                 /* without verification; for a service on this machine */
	struct ls_bytes cert_pem; /* client certificate and key for TLS, may be empty */
	struct ls_bytes key_pem;
	struct ls_bytes request;
	/* Tells from what came so far whether the answer is whole. NULL: until the peer closes. */
	bool (*whole)(struct ls_bytes answer);
	int64_t timeout_ms;
};
/* Sends the request and reads an answer of at most 64 KiB. Codes as above; LS_E_FAILED also for a
 * longer answer and for one that the peer broke off; LS_E_CRYPTO: certificate or key do not load.
 */
LS_CHECK enum ls_code ls_exchange(
	const struct ls_exchange *exchange, struct ls_buf *out_answer, struct ls_err *err);

#endif
