/* https -- HTTPS client (libcurl): one CA is trusted, and where both sides prove who they are a
 * client certificate is shown. Blocking; a handle belongs to one thread and keeps its connections.
 *
 * Certificates and keys are handed over as PEM in memory. Redirects, proxies and signals are not
 * used; TLS 1.2 is the least (RFC 9325 section 3.1.1).
 */
#ifndef LS_NET_HTTPS_H
#define LS_NET_HTTPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct ls_https;

/* All are copied. Files are read again for each new connection, so what is renewed in place needs
 * no new handle; cert_file may hold the key as well (key_file is then the same). With a CA the
 * scheme must be https, and the peer's chain must lead to it and its leaf name the host of the URL
 * (RFC 9525; for an address an IP SAN). Without, it must be http (tests, an engine on loopback). */
struct ls_https_tls {
	struct ls_bytes ca_pem;
	struct ls_bytes cert_pem; /* and key_pem: shown to the peer; empty: none is */
	struct ls_bytes key_pem;
	const char *ca_file, *cert_file, *key_file; /* instead of the above; NULL: none */
	/* https without looking at who answers; the others must be empty. Only for getting a CA
	 * that is then compared with a digest which came another way: nothing else that is received
	 * so may be believed, and nothing secret sent. */
	bool insecure;
};
void ls_https_new(const struct ls_https_tls *tls, struct ls_https **out);
void ls_https_free(struct ls_https **https);

struct ls_https_call {
	const char *url;
	char *const *headers; /* "Name: value", NULL-ended; NULL: none */
	struct ls_bytes body; /* sent by POST, as application/json */
	int64_t connect_ms;
	int64_t timeout_ms; /* for the whole call; 0: none, for a stream */
	size_t body_max;    /* of the answer, or of a stream's line */
	/* What the peer's clock said when it answered: its Date header (RFC 9110 section 6.6.1);
	 * 0: it sent none. NULL: not of interest. */
	int64_t *out_date_s;
	/* A stream: called for each line as it comes, without its newline; false ends the call. */
	bool (*on_line)(void *arg, const char *line, size_t len);
	/* A stream: asked at least once a second; false ends the call. */
	bool (*on_tick)(void *arg);
	void *arg;
};
/* POSTs and waits for the answer. *out_status is the HTTP status; *out_body is replaced. LS_OK also
 * when a callback ended the call. LS_E_UNREACHABLE: no connection was made, so nothing was sent;
 * LS_E_UNKNOWN: the connection was there and then broke, was refused in TLS (with TLS 1.3 a client
 * learns of it only after it has sent, RFC 8446 section 4.4.2.4), or gave no answer in time. */
LS_CHECK enum ls_code ls_https_post(struct ls_https *https, const struct ls_https_call *call,
	int *out_status, struct ls_buf *out_body, struct ls_err *err);
/* The same by GET, without a body. */
LS_CHECK enum ls_code ls_https_get(struct ls_https *https, const struct ls_https_call *call,
	int *out_status, struct ls_buf *out_body, struct ls_err *err);

#endif
