/* tls -- the side of TLS that a server has (OpenSSL): key and certificates out of one PEM file,
 * which may be replaced while the server runs.
 *
 * TLS 1.2 is the least, and of it only forward-secret AEAD suites (RFC 9325); no renegotiation, no
 * compression, no resumption, so each handshake shows the certificate that is in force. Clients are
 * not asked for one. Belongs to the loop's thread.
 */
#ifndef LS_NET_TLS_H
#define LS_NET_TLS_H

#include <stdbool.h>

#include "base/err.h"

struct ls_tls;
struct bufferevent;
struct event_base;

/* The file holds the private key (unencrypted) and the leaf with its issuers, leaf first, in any
 * order of key and certificates; self-signed issuers are not sent. It is not looked at yet.
 * `on_change` (may be NULL) hears of each state of the file once: LS_OK when it is taken, else why
 * not, and then what was taken before stays in force. LS_E_CRYPTO: the library does not start. */
LS_CHECK enum ls_code ls_tls_new(const char *path,
	void (*on_change)(void *arg, enum ls_code code, const struct ls_err *err), void *arg,
	struct ls_tls **out, struct ls_err *err);
void ls_tls_free(struct ls_tls **tls);

/* Looks at the file, which costs one system call when it is the same as before: recognised by
 * device, inode, size and times. */
void ls_tls_refresh(struct ls_tls *tls);
/* Whether there is something to serve with. */
bool ls_tls_ready(const struct ls_tls *tls);

/* For net's own use: looks at the file, and makes the server's end of a connection that is to come,
 * without a descriptor yet; NULL when there is nothing to serve with. */
struct bufferevent *ls_tls_accept(struct ls_tls *tls, struct event_base *base);
/* Whether it is one of these. */
bool ls_tls_is(struct bufferevent *bev);
/* Tells the client that nothing comes any more (close_notify), so that it can tell an end from a
 * break. Before it is freed. */
void ls_tls_bye(struct bufferevent *bev);

#endif
