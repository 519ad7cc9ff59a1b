/* gateway -- lockstep-gateway's work: a few requests from the network are passed on to the daemon's
 * control socket, and its answers back; nothing else is answered but by a refusal.
 *
 * It holds no key of the cluster: not the KEK, not the CA's, not the node's. Who may do what is the
 * daemon's to say; here is only said what is passed on at all, and how much of it. All of it runs
 * in the loop's thread.
 */
#ifndef LS_GATEWAY_GATEWAY_H
#define LS_GATEWAY_GATEWAY_H

#include "net/server.h"

struct ls_gateway_route {
	const char *method, *path;
	const char *to; /* the daemon's path */
	size_t request_max, answer_max;
	int64_t timeout_ms;
	bool join;        /* has a place of its own among the few that are worked on */
	const char *type; /* of a good answer; NULL: what the daemon says */
};

/* The route for a request; NULL: none. *out_allow is then the method that the path has, NULL when
 * there is no such path. Pure. */
const struct ls_gateway_route *ls_gateway_route(
	const char *method, const char *path, const char **out_allow);

enum ls_gateway_event {
	LS_GATEWAY_START,
	LS_GATEWAY_READY,
	LS_GATEWAY_STOP,
	LS_GATEWAY_WAITING, /* there is no certificate */
	LS_GATEWAY_CERTIFICATE,
	LS_GATEWAY_CERTIFICATE_REFUSED,
	LS_GATEWAY_DAEMON, /* cannot be reached or refuses, or answers again */
	LS_GATEWAY_JOIN,
	LS_GATEWAY_SANDBOX,
	LS_GATEWAY_EVENT_COUNT
};

struct ls_pending;

struct ls_gateway {
	struct ls_loop *loop;
	char *socket_path; /* the daemon's */
	struct ls_pending *pending;
	int join_count, other_count; /* of what is pending */
	bool daemon_away;            /* the last request did not reach it */
	bool daemon_refuses;         /* it does not know this user */
	int log_level;
	int64_t log_since_ms, log_used; /* of entries that the network causes */
	int64_t log_left_out;
};

/* Answers, or passes on and answers later. `arg` is a struct ls_gateway. */
void ls_gateway_request(void *arg, struct ls_request *req);
/* Breaks off what is passed on and releases what the struct owns. After the server was freed. */
void ls_gateway_done(struct ls_gateway *gateway);

/* log.c: as the daemon logs; entries about joins are bounded. */
void ls_gateway_log(struct ls_gateway *gateway, int priority, enum ls_gateway_event event,
	const char *fmt, ...) LS_PRINTF(4, 5);

#endif
