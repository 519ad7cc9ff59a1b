#include "net/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "net/server_conn.h"
#include "net/tls.h"

#define GROUPS_MAX 65536 /* Linux' NGROUPS_MAX */
/* After accept has failed, for want of descriptors mostly: trying at once would only use the CPU.
 */
#define PAUSE_MS 20
/* libevent accepts until nobody waits; who connects faster than that would keep the loop from all
 * its other work. */
#define ACCEPT_AT_ONCE 16
/* For the request of somebody for whom there is no room: it is answered so, in words. */
#define NO_ROOM_S 2

/* Of the loop's thread. evhttp keeps its listeners' argument for itself, and its own it does not
 * tell: whose accept failed is found here. */
static struct ls_server *servers;

/* Who is at the other end of a UNIX socket. */
static void peer_read_user(int fd, struct ls_peer *out)
{
	struct ucred cred = { .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof cred;
	gid_t *groups = NULL;

	/* When it fails the peer stays nobody, who may do nothing. */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	*out = (struct ls_peer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
	memcpy(out->origin, &cred.uid, sizeof cred.uid);
	len = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return;
	if (len > GROUPS_MAX * sizeof *groups)
		return;
	groups = ls_alloc(1, len);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0) {
		free(groups);
		return;
	}
	out->groups = groups;
	out->group_count = len / sizeof *groups;
}

static void peer_read_address(int fd, struct ls_peer *out)
{
	struct sockaddr_in6 v6 = { 0 };
	struct sockaddr_in v4;
	socklen_t len = sizeof v6;

	*out = (struct ls_peer){ .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	(void)getpeername(fd, (struct sockaddr *)&v6, &len); /* who is gone already is nobody */
	if (v6.sin6_family == AF_INET) {
		memcpy(&v4, &v6, sizeof v4);
		memcpy(out->origin + 12, &v4.sin_addr, 4);
		(void)inet_ntop(AF_INET, &v4.sin_addr, out->address, sizeof out->address);
	} else if (v6.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
		memcpy(out->origin + 12, v6.sin6_addr.s6_addr + 12, 4);
		(void)inet_ntop(AF_INET, out->origin + 12, out->address, sizeof out->address);
	} else if (v6.sin6_family == AF_INET6) {
		memcpy(out->origin, v6.sin6_addr.s6_addr, 8);
		(void)inet_ntop(AF_INET6, &v6.sin6_addr, out->address, sizeof out->address);
	}
}

static void conn_free(struct ls_conn *conn)
{
	if (conn->held)
		ls_request_detach(conn->held);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		conn->server->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	event_free(conn->deadline);
	free(conn->peer.groups);
	free(conn);
}

static void conn_limit(struct ls_conn *conn, int s)
{
	struct timeval in = { .tv_sec = s };

	(void)event_add(conn->deadline, &in);
}

static void conn_await_request(struct ls_conn *conn)
{
	const struct ls_server_limits *limits = &conn->server->limits;

	conn->waiting_since_ms = ls_mono_ms();
	conn->head_came = false;
	conn_limit(conn, conn->no_room ? NO_ROOM_S : limits->head_s ?: limits->idle_s);
}

void ls_conn_answering(struct ls_conn *conn)
{
	if (conn->server->limits.answer_s)
		conn_limit(conn, conn->server->limits.answer_s);
}

static bool holds(struct evbuffer *buffer, const char *what)
{
	return evbuffer_search(buffer, what, strlen(what), NULL).pos >= 0;
}

/* An empty line ends the head. evhttp takes whole lines out as they come, so what is there begins
 * with a line. Who is taken in by something else gets a few seconds that it does not need. */
static bool holds_empty_line(struct evbuffer *buffer)
{
	char start[2] = "";

	(void)evbuffer_copyout(buffer, start, sizeof start);
	return start[0] == '\n' || (start[0] == '\r' && start[1] == '\n') ||
	       holds(buffer, "\n\n") || holds(buffer, "\n\r\n");
}

static void input_came(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct ls_conn *conn = arg;

	if (info->n_added == 0 || conn->held || conn->head_came ||
		!event_pending(conn->deadline, EV_TIMEOUT, NULL) || !holds_empty_line(buffer))
		return;
	conn->head_came = true;
	conn_limit(conn, conn->server->limits.idle_s);
}

static void conn_closed(struct evhttp_connection *evcon, void *arg)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
	struct ls_conn *conn = arg;

	if (conn->server->tls)
		ls_tls_bye(bev);
	/* TLS may be in the middle of reading into it, and goes on with that. */
	(void)evbuffer_remove_cb(bufferevent_get_input(bev), input_came, conn);
	conn_free(conn);
}

static void conn_too_slow(evutil_socket_t fd, short what, void *arg)
{
	struct ls_conn *conn = arg;

	(void)fd;
	(void)what;
	evhttp_connection_free(conn->evcon); /* closes, which frees conn */
}

static bool is_trusted(const struct ls_server *server, const struct ls_peer *peer)
{
	if (server->tls)
		return false;
	if (server->limits.trusted)
		return server->limits.trusted(server->arg, peer);
	return peer->uid == 0 || peer->uid == geteuid();
}

static struct ls_conn *conn_new(
	struct ls_server *server, struct evhttp_connection *evcon, struct ls_peer *peer)
{
	struct ls_conn *conn = ls_alloc(1, sizeof *conn);

	conn->peer = *peer;
	*peer = (struct ls_peer){ 0 };
	conn->server = server;
	conn->evcon = evcon;
	conn->deadline = event_new(server->base, -1, EV_TIMEOUT, conn_too_slow, conn);
	conn->next = server->conns;
	if (conn->next)
		conn->next->prev = conn;
	server->conns = conn;
	evhttp_connection_set_closecb(conn->evcon, conn_closed, conn);
	return conn;
}

static size_t body_max(const struct ls_conn *conn)
{
	const struct ls_server_limits *limits = &conn->server->limits;

	if (conn->trusted && !conn->no_room)
		return limits->body_bytes;
	if (limits->body_of && !conn->no_room)
		return limits->body_of(conn->server->arg, &conn->peer);
	return limits->stranger_body_bytes;
}

static void conn_bound(struct ls_conn *conn, struct bufferevent *bev)
{
	const struct ls_server_limits *limits = &conn->server->limits;
	struct timeval idle = { .tv_sec = limits->idle_s };
	size_t body_bytes = body_max(conn);

	evhttp_connection_set_max_body_size(conn->evcon, (ev_ssize_t)body_bytes);
	/* Reading is timed for a whole request (a byte now and then is not enough), writing by
	 * progress. What is sent ahead of its turn must not pile up. */
	(void)bufferevent_set_timeouts(bev, NULL, &idle);
	bufferevent_setwatermark(bev, EV_READ, 0, body_bytes + limits->header_bytes + 4096);
	if (limits->head_s)
		(void)evbuffer_add_cb(bufferevent_get_input(bev), input_came, conn);
	conn_await_request(conn);
}

static void conn_adopt(struct ls_server *server, struct bufferevent *bev)
{
	struct ls_peer peer;
	struct ls_conn *conn;
	void *evcon = NULL;
	bool trusted, room;

	bufferevent_getcb(bev, NULL, NULL, NULL, &evcon); /* evhttp's argument is its connection */
	assert(evcon && evhttp_connection_get_bufferevent(evcon) == bev);
	if (server->tls)
		peer_read_address(bufferevent_getfd(bev), &peer);
	else
		peer_read_user(bufferevent_getfd(bev), &peer);
	trusted = is_trusted(server, &peer);
	room = ls_server_has_room(server, &peer, trusted);
	/* Nothing is said without TLS, and a handshake is too much for one that is refused. */
	if (server->tls && (!room || !ls_tls_is(bev))) {
		evhttp_connection_free(evcon);
		return;
	}
	if (!room)
		ls_server_room_to_hear(server, trusted);
	conn = conn_new(server, evcon, &peer);
	conn->trusted = trusted;
	conn->no_room = !room;
	conn_bound(conn, bev);
}

/* evhttp tells nobody that it accepted a connection, but it asks for a bufferevent. The connection
 * is not there yet at that moment; it is as soon as the present callback has returned, and before
 * anything can be read from it. */
static struct bufferevent *conn_announced(struct event_base *base, void *arg)
{
	struct ls_server *server = arg;
	struct bufferevent *bev = server->tls ? ls_tls_accept(server->tls, base) : NULL;

	if (!bev) /* with TLS: to be closed, unheard */
		bev = bufferevent_socket_new(base, -1, 0);

	server->fresh = ls_realloc(server->fresh, server->fresh_count + 1, sizeof *server->fresh);
	server->fresh[server->fresh_count++] = bev;
	if (server->fresh_count == ACCEPT_AT_ONCE)
		(void)evconnlistener_disable(server->listener);
	event_active(server->adopt, EV_TIMEOUT, 1);
	return bev;
}

static void adopt_fresh(evutil_socket_t fd, short what, void *arg)
{
	struct ls_server *server = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < server->fresh_count; i++)
		conn_adopt(server, server->fresh[i]);
	server->fresh_count = 0;
	if (!event_pending(server->resume, EV_TIMEOUT, NULL))
		(void)evconnlistener_enable(server->listener);
}

static struct ls_conn *conn_find(struct ls_server *server, struct evhttp_connection *evcon)
{
	struct ls_conn *conn = server->conns;

	while (conn && conn->evcon != evcon)
		conn = conn->next;
	return conn;
}

static void request_answered(struct evhttp_request *http, void *arg)
{
	(void)http;
	conn_await_request(arg);
}

/* Reads on while the request is held, without looking at what comes, to hear of the end. */
static void conn_watch_end(struct ls_conn *conn)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(conn->evcon);
	bufferevent_data_cb on_write;
	bufferevent_event_cb on_event;
	void *arg;

	bufferevent_getcb(bev, NULL, &on_write, &on_event, &arg);
	bufferevent_setcb(bev, NULL, on_write, on_event, arg);
	(void)bufferevent_enable(bev, EV_READ);
}

static void request_came(struct evhttp_request *http, void *arg)
{
	struct ls_server *server = arg;
	struct ls_conn *conn = conn_find(server, evhttp_request_get_connection(http));
	struct ls_request *req;

	assert(conn && !conn->held);
	(void)event_del(conn->deadline);
	conn_watch_end(conn);
	evhttp_request_set_on_complete_cb(http, request_answered, conn);
	ls_conn_answering(conn); /* if it is refused */
	req = ls_request_take(conn, http);
	if (!req)
		return;
	(void)event_del(conn->deadline);
	conn->held = req;
	server->on_request(server->arg, req);
}

static void accept_failed(struct evconnlistener *listener, void *arg)
{
	struct timeval in = { .tv_usec = PAUSE_MS * 1000 };
	struct ls_server *server = servers;

	(void)arg;
	while (server && server->listener != listener)
		server = server->next;
	assert(server);
	(void)evconnlistener_disable(listener);
	(void)event_add(server->resume, &in);
}

static void accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct ls_server *server = arg;

	(void)fd;
	(void)what;
	/* What the idle hold may be all that is missing. */
	for (int i = 0; i < ACCEPT_AT_ONCE; i++)
		ls_server_close_spare(server);
	(void)evconnlistener_enable(server->listener);
}

static void watch_accept(struct ls_server *server, struct evconnlistener *listener)
{
	server->listener = listener;
	server->resume = event_new(server->base, -1, 0, accept_again, server);
	server->next = servers;
	servers = server;
	evconnlistener_set_error_cb(listener, accept_failed);
}

static void forget_accept(struct ls_server *server)
{
	struct ls_server **at = &servers;

	while (*at && *at != server)
		at = &(*at)->next;
	if (*at)
		*at = server->next;
	if (server->resume)
		event_free(server->resume);
}

static struct ls_server *server_new(struct ls_loop *loop, const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg)
{
	struct ls_server *server = ls_alloc(1, sizeof *server);

	server->base = ls_loop_base(loop);
	server->limits = *limits;
	server->on_request = on_request;
	server->arg = arg;
	server->http = evhttp_new(server->base);
	server->adopt = event_new(server->base, -1, 0, adopt_fresh, server);
	evhttp_set_bevcb(server->http, conn_announced, server);
	evhttp_set_gencb(server->http, request_came, server);
	evhttp_set_allowed_methods(
		server->http, UINT16_MAX); /* ls_request_take answers the others */
	evhttp_set_max_body_size(server->http, (ev_ssize_t)limits->body_bytes);
	evhttp_set_max_headers_size(server->http, (ev_ssize_t)limits->header_bytes);
	/* Else a client that is still sending is cut off before it can read its 413. */
	(void)evhttp_set_flags(server->http, EVHTTP_SERVER_LINGERING_CLOSE);
	return server;
}

static enum ls_code start_accepting(struct ls_server *server, int *fd, struct ls_err *err)
{
	struct evconnlistener *listener = evconnlistener_new(
		server->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, *fd);

	if (!listener)
		return LS_FAIL(err, LS_E_IO, "watch a socket for connections");
	*fd = -1;
	(void)evhttp_bind_listener(server->http, listener);
	watch_accept(server, listener);
	return LS_OK;
}

enum ls_code ls_server_new_at(struct ls_loop *loop, struct ls_server_place **place,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_server_free)
	struct ls_server *server = server_new(loop, limits, on_request, arg);

	server->place = LS_TAKE(*place);
	LS_TRY(ls_server_place_show(server->place, err));
	LS_TRY(start_accepting(server, &server->place->fd, err));
	*out = LS_TAKE(server);
	return LS_OK;
}

enum ls_code ls_server_new_tls(struct ls_loop *loop, int *listen_fd, struct ls_tls *tls,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_server_free)
	struct ls_server *server = server_new(loop, limits, on_request, arg);
	LS_CLEANUP(ls_fd_close) int fd = *listen_fd;

	*listen_fd = -1;
	server->tls = tls;
	LS_TRY(start_accepting(server, &fd, err));
	*out = LS_TAKE(server);
	return LS_OK;
}

enum ls_code ls_server_new(struct ls_loop *loop, const char *path,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_server_place_free) struct ls_server_place *place = NULL;

	LS_TRY(ls_server_place_new(path, &place, err));
	return ls_server_new_at(loop, &place, limits, on_request, arg, out, err);
}

void ls_server_free(struct ls_server **server_ptr)
{
	struct ls_server *server = LS_TAKE(*server_ptr);

	if (!server)
		return;
	forget_accept(server);
	evhttp_free(server->http);
	ls_server_place_free(&server->place);
	event_free(server->adopt);
	free(server->fresh);
	free(server);
}
