/* forward -- one HTTP/1.1 request to a UNIX stream socket, asynchronously, within bounds.
 *
 * Belongs to the loop's thread and never blocks it.
 */
#ifndef LS_NET_FORWARD_H
#define LS_NET_FORWARD_H

#include <stdint.h>

#include "net/loop.h"
#include "net/reply.h"

struct ls_forward;

struct ls_forward_call {
	const char *socket_path; /* any length */
	const char *method;
	const char *path;     /* as it is sent */
	struct ls_bytes body; /* copied; sent as application/json by POST */
	int64_t timeout_ms;   /* for the whole call */
	size_t body_max;      /* of the answer */
	/* Called once, from the loop, unless it is freed before: `reply` is whole, or NULL and
	 * `err` says why. LS_E_TIMEOUT; LS_E_FAILED: no answer, none that is HTTP, or too long a
	 * one. The call is freed right after. */
	void (*on_end)(void *arg, const struct ls_reply *reply, const struct ls_err *err);
	void *arg;
};

/* LS_E_UNREACHABLE: nobody listens there, or too many wait there already; nothing was sent, and
 * on_end will not be called. */
LS_CHECK enum ls_code ls_forward_new(struct ls_loop *loop, const struct ls_forward_call *call,
	struct ls_forward **out, struct ls_err *err);
/* Breaks it off. */
void ls_forward_free(struct ls_forward **forward);

#endif
