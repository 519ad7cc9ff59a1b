#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "control/request.h"
#include "net/forward.h"

#define JSON_TYPE "application/json"
/* The daemon does one change after the other: more would only wait there, and it has other callers.
 */
#define JOINS_MAX 4
/* Others, which nobody must be able to take all of: so many of one address. */
#define OTHERS_MAX 16
#define OTHERS_OF_ONE_MAX 4
#define RETRY_AFTER_S "5"

static const struct ls_gateway_route routes[] = {
	{ "GET", "/v1/cluster", "/v1/cluster", 0, 64 << 10, 15000, false, NULL },
	{ "POST", "/v1/join", "/v1/join", 32 << 10, 256 << 10, 180000, true, NULL },
	{ "POST", "/v1/join/history", "/v1/join/history", 4 << 10, 4 << 20, 60000, false, NULL },
	{ "GET", "/metrics", "/v1/metrics", 0, 4 << 20, 15000, false, "text/plain; version=0.0.4" },
};

/* A request that the daemon works on. */
struct ls_pending {
	struct ls_gateway *gateway;
	const struct ls_gateway_route *route;
	struct ls_request *req;
	struct ls_forward *forward;
	struct ls_pending *prev, *next;
};

const struct ls_gateway_route *ls_gateway_route(
	const char *method, const char *path, const char **out_allow)
{
	*out_allow = NULL;
	for (size_t i = 0; i < LS_COUNT(routes); i++) {
		if (strcmp(routes[i].path, path) != 0)
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return &routes[i];
		*out_allow = routes[i].method;
	}
	return NULL;
}

/* Of all answers: what is in them is for who asked, now. */
static void add_headers(struct ls_request *req)
{
	ls_request_header(req, "Cache-Control", "no-store");
	ls_request_header(req, "X-Content-Type-Options", "nosniff");
}

static void refuse(
	struct ls_request *req, int status, enum ls_code code, const char *what, const char *hint)
{
	struct ls_err err = { 0 };
	json_t *json;
	char *text;

	LS_FAIL(&err, code, "%s", what);
	if (hint)
		LS_HINT(&err, "%s", hint);
	json = ls_error_to_json(&err);
	text = json_dumps(json, JSON_COMPACT);
	if (status == 503)
		ls_request_header(req, "Retry-After", RETRY_AFTER_S);
	add_headers(req);
	ls_request_reply(req, status, JSON_TYPE, LS_BYTES_STR(text ? text : "{}"));
	free(text);
	json_decref(json);
}

static void refuse_away(struct ls_request *req)
{
	refuse(req, 503, LS_E_UNREACHABLE, "the daemon of this node does not answer",
		"nothing was done; see 'systemctl status lockstepd' on this node, or ask another");
}

/* Whoever asks is answered 403 then; the reason is here. A join may be refused for its own sake. */
static void note_refusal(struct ls_gateway *g, const struct ls_gateway_route *route, bool refused)
{
	if (route->request_max > 0)
		return;
	if (refused && !g->daemon_refuses)
		ls_gateway_log(g, LOG_ERR, LS_GATEWAY_DAEMON,
			"the daemon refuses what is passed on: it knows the gateway as the user "
			"lockstep-gateway, and this is another one");
	g->daemon_refuses = refused;
}

static void note_daemon(struct ls_gateway *g, const struct ls_err *failure)
{
	if (failure && !g->daemon_away)
		ls_gateway_log(g, LOG_WARNING, LS_GATEWAY_DAEMON,
			"the daemon cannot be reached, requests are answered 503: %s",
			failure->text);
	if (!failure && g->daemon_away)
		ls_gateway_log(g, LOG_NOTICE, LS_GATEWAY_DAEMON, "the daemon answers again");
	g->daemon_away = failure != NULL;
}

static int *count_of(struct ls_gateway *g, const struct ls_gateway_route *route)
{
	return route->join ? &g->join_count : &g->other_count;
}

static void pending_free(struct ls_pending *p)
{
	struct ls_gateway *g = p->gateway;

	if (p->prev)
		p->prev->next = p->next;
	else
		g->pending = p->next;
	if (p->next)
		p->next->prev = p->prev;
	*count_of(g, p->route) -= 1;
	free(p);
}

static struct ls_pending *pending_new(
	struct ls_gateway *g, const struct ls_gateway_route *route, struct ls_request *req)
{
	struct ls_pending *p = ls_alloc(1, sizeof *p);

	p->gateway = g;
	p->route = route;
	p->req = req;
	p->next = g->pending;
	if (p->next)
		p->next->prev = p;
	g->pending = p;
	*count_of(g, route) += 1;
	return p;
}

static void relay(struct ls_pending *p, const struct ls_reply *reply)
{
	const char *type = reply->type[0] ? reply->type : JSON_TYPE;

	if (p->route->type && reply->status == 200)
		type = p->route->type;
	if (reply->status == 503)
		ls_request_header(p->req, "Retry-After", RETRY_AFTER_S);
	add_headers(p->req);
	ls_request_reply(p->req, reply->status, type, ls_buf_bytes(&reply->body));
}

static void log_join(
	const struct ls_pending *p, const struct ls_reply *reply, const struct ls_err *err)
{
	const char *from = ls_request_peer(p->req)->address;

	if (p->route->join && reply)
		ls_gateway_log(p->gateway, LOG_INFO, LS_GATEWAY_JOIN,
			"%s asked to join: the daemon says %d", from, reply->status);
	else if (p->route->join)
		ls_gateway_log(p->gateway, LOG_WARNING, LS_GATEWAY_JOIN, "%s asked to join: %s",
			from, err->text);
}

static void answered(void *arg, const struct ls_reply *reply, const struct ls_err *err)
{
	struct ls_pending *p = arg;

	log_join(p, reply, err);
	note_refusal(p->gateway, p->route, reply && reply->status == 403);
	if (reply)
		relay(p, reply);
	else if (err->code == LS_E_TIMEOUT)
		refuse(p->req, 504, LS_E_UNKNOWN, "the daemon of this node gave no answer in time",
			"it may have been done; ask again");
	else
		refuse(p->req, 502, LS_E_UNKNOWN, "the daemon of this node broke off its answer",
			"it may have been done; ask again");
	pending_free(p);
}

static void pass_on(
	struct ls_gateway *g, const struct ls_gateway_route *route, struct ls_request *req)
{
	struct ls_pending *p = pending_new(g, route, req);
	const struct ls_forward_call call = { .socket_path = g->socket_path,
		.method = route->method,
		.path = route->to,
		.body = ls_request_body(req),
		.timeout_ms = route->timeout_ms,
		.body_max = route->answer_max,
		.on_end = answered,
		.arg = p };
	struct ls_err err = { 0 };
	enum ls_code code = ls_forward_new(g->loop, &call, &p->forward, &err);

	ls_request_forget_body(req);
	note_daemon(g, code == LS_OK ? NULL : &err);
	if (code != LS_OK) {
		pending_free(p);
		refuse_away(req);
	}
}

static bool has_room(const struct ls_gateway *g, const struct ls_gateway_route *route,
	const struct ls_peer *peer)
{
	int of_one = 0;

	if (route->join)
		return g->join_count < JOINS_MAX;
	for (const struct ls_pending *p = g->pending; p; p = p->next)
		if (!p->route->join && memcmp(ls_request_peer(p->req)->origin, peer->origin,
					       sizeof peer->origin) == 0)
			of_one++;
	return g->other_count < OTHERS_MAX && of_one < OTHERS_OF_ONE_MAX;
}

void ls_gateway_request(void *arg, struct ls_request *req)
{
	struct ls_gateway *g = arg;
	const char *allow;
	const struct ls_gateway_route *route =
		ls_gateway_route(ls_request_method(req), ls_request_path(req), &allow);

	if (allow) {
		ls_request_header(req, "Allow", allow);
		refuse(req, 405, LS_E_USAGE, "no such method here", NULL);
	} else if (!route) {
		refuse(req, 404, LS_E_NOT_FOUND, "no such resource", NULL);
	} else if (ls_request_body(req).len > route->request_max) {
		refuse(req, 413, LS_E_REFUSED, "the request is too long", NULL);
	} else if (!has_room(g, route, ls_request_peer(req))) {
		refuse(req, 503, LS_E_UNREACHABLE, "too many requests are being worked on",
			"nothing was done; try again in a few seconds");
	} else {
		pass_on(g, route, req);
	}
}

void ls_gateway_done(struct ls_gateway *g)
{
	while (g->pending) {
		struct ls_pending *p = g->pending;

		ls_forward_free(&p->forward);
		ls_request_reply(p->req, 503, JSON_TYPE, (struct ls_bytes){ "", 0 });
		pending_free(p);
	}
	ls_free_str(&g->socket_path);
}
