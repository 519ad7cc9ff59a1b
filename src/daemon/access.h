/* access -- who may ask for what on the control socket. */
#ifndef LS_DAEMON_ACCESS_H
#define LS_DAEMON_ACCESS_H

#include <stdbool.h>

#include "net/server.h"

/* Whose uid it is that passes on what comes from the network (lockstep-gateway(8)). */
#define LS_GATEWAY_USER "lockstep-gateway"
#define LS_GATEWAY_BODY_BYTES 32768 /* it passes on no longer ones */

enum ls_access {
	LS_ACCESS_NONE,
	LS_ACCESS_READ,    /* the group lockstep-ro */
	LS_ACCESS_GATEWAY, /* the gateway's user */
	LS_ACCESS_FULL     /* root, the daemon's own user, the group lockstep */
};

/* Whether that lets a peer ask for this: a path as ls_request_path has it. Pure; what is not named
 * in it is not allowed. Whether there is such a thing is another question. */
bool ls_access_may(enum ls_access access, const char *method, const char *path);

/* The users and groups behind it, as they were found a moment ago. Zeroed: not looked up yet. */
struct ls_access_ids {
	int64_t until_ms; /* looked up again then */
	gid_t full, read;
	uid_t gateway;
	bool has_full, has_read, has_gateway;
};
/* What a peer may do. The gateway's user is never more than that, whatever its groups. Main thread.
 */
enum ls_access ls_access_of(struct ls_access_ids *ids, const struct ls_peer *peer);

#endif
