#include "net/server.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "net/sockpath.h"

#define BACKLOG 1024 /* a burst waits here; beyond it a connection is refused at once */
/* A stream whose reader is this far behind is cut. */
#define OUTPUT_MAX_BYTES (8 << 20)
#define GROUPS_MAX 65536 /* Linux' NGROUPS_MAX */
/* After accept has failed, for want of descriptors mostly: trying at once would only use the CPU.
 */
#define PAUSE_MS 20
/* libevent accepts until nobody waits; who connects faster than that would keep the loop from all
 * its other work. */
#define ACCEPT_AT_ONCE 16
/* For the request of somebody for whom there is no room: it is answered so, in words. */
#define NO_ROOM_S 2

/* Owned by its server, from acceptance until evhttp closes the connection. */
struct conn {
	struct ls_server *server;
	struct evhttp_connection *evcon;
	struct event *deadline;  /* for the next whole request */
	struct ls_request *held; /* handed out and not ended yet */
	int64_t waiting_since_ms;
	struct ls_peer peer;
	bool trusted;
	bool no_room; /* its request will be answered so */
	struct conn *prev, *next;
};

struct ls_request {
	struct conn *conn;           /* NULL: the client or the server is gone */
	struct evhttp_request *http; /* NULL then as well */
	char *path;
	struct evkeyvalq query;
	struct ls_buf body;
	const char *method;
	struct ls_peer peer;
};

/* Where a server is, or will be. */
struct ls_server_place {
	struct ls_sockpath where;
	char *path, *hidden; /* the name that it has before it is to be seen; NULL: it is */
	int fd;              /* bound and listening; -1: the server's listener has it */
	struct stat socket;  /* to remove only what is ours */
};

struct ls_server {
	struct event_base *base;
	struct evhttp *http;
	struct event *adopt; /* fires when `fresh` has something in it */
	struct bufferevent **fresh;
	size_t fresh_count;
	struct evconnlistener *listener;
	struct event *resume; /* accepting, after a pause */
	struct ls_server *next;
	struct conn *conns;
	struct ls_server_limits limits;
	void (*on_request)(void *arg, struct ls_request *req);
	void *arg;
	struct ls_server_place *place;
};

/* Of the loop's thread. evhttp keeps its listeners' argument for itself, and its own it does not
 * tell: whose accept failed is found here. */
static struct ls_server *servers;

static void peer_read(int fd, struct ls_peer *out)
{
	struct ucred cred = { .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof cred;
	gid_t *groups = NULL;

	/* When it fails the peer stays nobody, who may do nothing. */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	*out = (struct ls_peer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
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

static void peer_copy(struct ls_peer *to, const struct ls_peer *from)
{
	*to = *from;
	to->groups = ls_alloc(from->group_count, sizeof *to->groups);
	if (from->group_count)
		memcpy(to->groups, from->groups, from->group_count * sizeof *to->groups);
}

static void request_free(struct ls_request *req)
{
	evhttp_clear_headers(&req->query);
	ls_free_str(&req->path);
	ls_buf_done(&req->body);
	free(req->peer.groups);
	free(req);
}

/* Takes the request from its connection: what its holder does with it from now on reaches nobody.
 */
static void request_detach(struct ls_request *req)
{
	/* One that evhttp took off its connection is ours to free; otherwise it goes with that. */
	if (req->http && !evhttp_request_get_connection(req->http))
		evhttp_request_free(req->http);
	req->http = NULL;
	req->conn = NULL;
}

static void conn_free(struct conn *conn)
{
	if (conn->held)
		request_detach(conn->held);
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

static void conn_closed(struct evhttp_connection *evcon, void *arg)
{
	(void)evcon;
	conn_free(arg);
}

static void conn_await_request(struct conn *conn)
{
	struct timeval in = { .tv_sec = conn->no_room ? NO_ROOM_S : conn->server->limits.idle_s };

	conn->waiting_since_ms = ls_mono_ms();
	(void)event_add(conn->deadline, &in);
}

static void conn_too_slow(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	(void)what;
	evhttp_connection_free(conn->evcon); /* closes, which frees conn */
}

static bool is_trusted(const struct ls_server *server, const struct ls_peer *peer)
{
	if (server->limits.trusted)
		return server->limits.trusted(server->arg, peer);
	return peer->uid == 0 || peer->uid == geteuid();
}

/* What a limit counts. */
struct share {
	bool strangers; /* only them */
	uid_t uid;      /* only this one's; -1: all */
	int max;
};

static bool in_share(const struct conn *conn, const struct share *share)
{
	return !conn->no_room && !(share->strangers && conn->trusted) &&
	       (share->uid == (uid_t)-1 || share->uid == conn->peer.uid);
}

/* Who has been waiting for its request longest, and for long enough; NULL: nobody. */
static struct conn *find_spare(
	const struct ls_server *server, const struct share *share, int *out_count)
{
	struct conn *spare = NULL;
	int64_t before_ms = ls_mono_ms() - server->limits.spare_ms;

	*out_count = 0;
	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if (!in_share(conn, share))
			continue;
		++*out_count;
		if (!conn->held && conn->waiting_since_ms <= before_ms &&
			(!spare || conn->waiting_since_ms <= spare->waiting_since_ms))
			spare = conn;
	}
	return spare;
}

/* Room for one more in the share; if need be the spare one is given up for it. */
static bool make_room(struct ls_server *server, const struct share *share)
{
	int count;
	struct conn *spare = find_spare(server, share, &count);

	if (count < share->max)
		return true;
	if (!spare)
		return false;
	evhttp_connection_free(spare->evcon); /* which frees spare */
	return true;
}

/* The socket is open to every user: they must not be able to lock root out by holding all. */
static bool has_room(struct ls_server *server, const struct ls_peer *peer, bool trusted)
{
	const struct share all = { false, (uid_t)-1, server->limits.connections };
	const struct share strangers = { true, (uid_t)-1, server->limits.connections / 2 };
	const struct share user = { true, peer->uid, server->limits.connections / 8 };

	return (trusted || (make_room(server, &user) && make_room(server, &strangers))) &&
	       make_room(server, &all);
}

/* Few wait for that answer: the oldest makes room for the newest, who is likely to ask just now. */
static void make_room_to_hear(struct ls_server *server, bool trusted)
{
	struct conn *oldest = NULL;
	int count = 0;

	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if (conn->no_room && conn->trusted == trusted) {
			oldest = conn;
			count++;
		}
	}
	if (count > server->limits.connections / 8)
		evhttp_connection_free(oldest->evcon);
}

static struct conn *conn_new(
	struct ls_server *server, struct evhttp_connection *evcon, struct ls_peer *peer)
{
	struct conn *conn = ls_alloc(1, sizeof *conn);

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

static void conn_adopt(struct ls_server *server, struct bufferevent *bev)
{
	const struct ls_server_limits *limits = &server->limits;
	struct timeval idle = { .tv_sec = limits->idle_s };
	struct ls_peer peer;
	struct conn *conn;
	size_t body_max;
	void *evcon = NULL;
	bool trusted, room;

	bufferevent_getcb(bev, NULL, NULL, NULL, &evcon); /* evhttp's argument is its connection */
	assert(evcon && evhttp_connection_get_bufferevent(evcon) == bev);
	peer_read(bufferevent_getfd(bev), &peer);
	trusted = is_trusted(server, &peer);
	room = has_room(server, &peer, trusted);
	if (!room)
		make_room_to_hear(server, trusted);
	conn = conn_new(server, evcon, &peer);
	conn->trusted = trusted;
	conn->no_room = !room;
	body_max = trusted && room ? limits->body_bytes : limits->stranger_body_bytes;
	evhttp_connection_set_max_body_size(conn->evcon, (ev_ssize_t)body_max);
	/* Reading is timed for a whole request (a byte now and then is not enough), writing by
	 * progress. What is sent ahead of its turn must not pile up. */
	(void)bufferevent_set_timeouts(bev, NULL, &idle);
	bufferevent_setwatermark(bev, EV_READ, 0, body_max + limits->header_bytes + 4096);
	conn_await_request(conn);
}

/* evhttp tells nobody that it accepted a connection, but it asks for a bufferevent. The connection
 * is not there yet at that moment; it is as soon as the present callback has returned, and before
 * anything can be read from it. */
static struct bufferevent *conn_announced(struct event_base *base, void *arg)
{
	struct ls_server *server = arg;
	struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);

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

static struct conn *conn_find(struct ls_server *server, struct evhttp_connection *evcon)
{
	struct conn *conn = server->conns;

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
static void conn_watch_end(struct conn *conn)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(conn->evcon);
	bufferevent_data_cb on_write;
	bufferevent_event_cb on_event;
	void *arg;

	bufferevent_getcb(bev, NULL, &on_write, &on_event, &arg);
	bufferevent_setcb(bev, NULL, on_write, on_event, arg);
	(void)bufferevent_enable(bev, EV_READ);
}

/* False when path or query are not what RFC 3986 allows, or hold a NUL. */
static bool parse_target(struct evhttp_request *http, char **out_path, struct evkeyvalq *out_query)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
	size_t len;

	if (!path)
		return false;
	*out_path = evhttp_uridecode(path, 0, &len);
	return *out_path && strlen(*out_path) == len &&
	       evhttp_parse_query_str(query ? query : "", out_query) == 0;
}

/* RFC 9112 section 6.3: a length that is given twice, or is no number, leaves it open where the
 * next request begins. evhttp takes the first, and "+2". */
static bool plain_length(struct evhttp_request *http)
{
	const struct evkeyvalq *headers = evhttp_request_get_input_headers(http);
	const struct evkeyval *header;
	int lengths = 0;

	TAILQ_FOREACH(header, headers, next)
	{
		if (strcasecmp(header->key, "Transfer-Encoding") == 0 &&
			strcasecmp(header->value, "chunked") != 0)
			return false;
		if (strcasecmp(header->key, "Content-Length") != 0)
			continue;
		if (++lengths > 1 || header->value[strspn(header->value, "0123456789")] != '\0')
			return false;
	}
	return true;
}

static void refuse(struct evhttp_request *http, int status, const char *reason)
{
	evhttp_send_error(http, status, reason);
}

static void answer_busy(struct evhttp_request *http, const char *text)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(http);
	struct evbuffer *buffer = evbuffer_new();

	(void)evhttp_add_header(headers, "Content-Type", "application/json");
	(void)evhttp_add_header(headers, "Connection", "close");
	(void)evbuffer_add(buffer, text, strlen(text));
	evhttp_send_reply(http, 503, "Service Unavailable", buffer);
	evbuffer_free(buffer);
}

static void request_came(struct evhttp_request *http, void *arg)
{
	struct ls_server *server = arg;
	enum evhttp_cmd_type type = evhttp_request_get_command(http);
	struct conn *conn = conn_find(server, evhttp_request_get_connection(http));
	struct evbuffer *body = evhttp_request_get_input_buffer(http);
	struct ls_request *req;

	assert(conn && !conn->held);
	(void)event_del(conn->deadline);
	conn_watch_end(conn);
	evhttp_request_set_on_complete_cb(http, request_answered, conn);
	if (type != EVHTTP_REQ_GET && type != EVHTTP_REQ_POST) {
		refuse(http, 405, "Method Not Allowed");
		return;
	}
	if (conn->no_room) {
		answer_busy(http, server->limits.busy);
		return;
	}
	if (!plain_length(http)) {
		(void)evhttp_add_header(
			evhttp_request_get_output_headers(http), "Connection", "close");
		refuse(http, 400, "Bad Request");
		return;
	}
	req = ls_alloc(1, sizeof *req);
	TAILQ_INIT(&req->query);
	if (!parse_target(http, &req->path, &req->query)) {
		request_free(req);
		refuse(http, 400, "Bad Request");
		return;
	}
	req->conn = conn;
	req->http = http;
	req->method = type == EVHTTP_REQ_GET ? "GET" : "POST";
	peer_copy(&req->peer, &conn->peer);
	ls_buf_add(&req->body, evbuffer_pullup(body, -1), evbuffer_get_length(body));
	(void)evbuffer_drain(
		body, evbuffer_get_length(body)); /* it may hold keys: one copy is enough */
	conn->held = req;
	server->on_request(server->arg, req);
}

/* Removes a socket of an earlier time. */
static enum ls_code clear_way(
	const struct ls_server_place *place, const char *name, struct ls_err *err)
{
	struct stat st;

	if (fstatat(place->where.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return LS_OK;
	if (!S_ISSOCK(st.st_mode))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' exists and is no socket", place->path);
	(void)unlinkat(place->where.dir_fd, name, 0); /* bind tells when it stayed */
	return LS_OK;
}

static enum ls_code listen_at(struct ls_server_place *place, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *hidden = NULL;
	LS_CLEANUP(ls_sockpath_done) struct ls_sockpath first = { .dir_fd = -1 };
	const char *name = strrchr(path, '/');
	int dir_fd;

	name = name ? name + 1 : path;
	LS_TRY(ls_sockpath_init(&place->where, place->path, err));
	dir_fd = place->where.dir_fd;
	LS_TRY(clear_way(place, place->where.name, err));
	hidden = ls_format("%.*s.%s.new", (int)(name - path), path, name);
	LS_TRY(ls_sockpath_init(&first, hidden, err));
	LS_TRY(clear_way(place, first.name, err));
	place->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (place->fd < 0)
		return LS_FAIL_ERRNO(err, "make a socket");
	if (bind(place->fd, (const struct sockaddr *)&first.addr, sizeof first.addr) != 0)
		return LS_FAIL_ERRNO(err, "bind '%s'", hidden);
	place->hidden = ls_strdup(first.name);
	if (fchmodat(dir_fd, first.name, 0666, 0) != 0 ||
		fstatat(dir_fd, first.name, &place->socket, AT_SYMLINK_NOFOLLOW) != 0 ||
		listen(place->fd, BACKLOG) != 0)
		return LS_FAIL_ERRNO(err, "listen at '%s'", path);
	return LS_OK;
}

static enum ls_code show(struct ls_server_place *place, struct ls_err *err)
{
	LS_TRY(clear_way(place, place->where.name, err));
	if (renameat(place->where.dir_fd, place->hidden, place->where.dir_fd, place->where.name) !=
		0)
		return LS_FAIL_ERRNO(err, "put '%s' in place", place->path);
	ls_free_str(&place->hidden);
	return LS_OK;
}

static void remove_socket(struct ls_server_place *place)
{
	const char *name = place->hidden ? place->hidden : place->where.name;
	struct stat now;

	if (place->where.dir_fd < 0 || !place->socket.st_ino ||
		fstatat(place->where.dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	/* Another daemon may have put its own there. */
	if (now.st_ino == place->socket.st_ino && now.st_dev == place->socket.st_dev)
		(void)unlinkat(place->where.dir_fd, name, 0);
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
	const struct share all = { false, (uid_t)-1, 0 };
	struct ls_server *server = arg;

	(void)fd;
	(void)what;
	/* What the idle hold may be all that is missing. */
	for (int i = 0; i < ACCEPT_AT_ONCE; i++)
		(void)make_room(server, &all);
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

void ls_server_place_free(struct ls_server_place **place_ptr)
{
	struct ls_server_place *place = LS_TAKE(*place_ptr);

	if (!place)
		return;
	remove_socket(place);
	ls_fd_close(&place->fd);
	ls_sockpath_done(&place->where);
	free(place->path);
	free(place->hidden);
	free(place);
}

enum ls_code ls_server_place_new(const char *path, struct ls_server_place **out, struct ls_err *err)
{
	LS_CLEANUP(ls_server_place_free)
	struct ls_server_place *place = ls_alloc(1, sizeof *place);

	place->where.dir_fd = -1;
	place->fd = -1;
	place->path = ls_strdup(path);
	LS_TRY(listen_at(place, path, err));
	*out = LS_TAKE(place);
	return LS_OK;
}

enum ls_code ls_server_new_at(struct ls_loop *loop, struct ls_server_place **place,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_server_free) struct ls_server *server = ls_alloc(1, sizeof *server);
	struct evconnlistener *listener;

	server->base = ls_loop_base(loop);
	server->limits = *limits;
	server->on_request = on_request;
	server->arg = arg;
	server->place = LS_TAKE(*place);
	server->http = evhttp_new(server->base);
	server->adopt = event_new(server->base, -1, 0, adopt_fresh, server);
	evhttp_set_bevcb(server->http, conn_announced, server);
	evhttp_set_gencb(server->http, request_came, server);
	evhttp_set_allowed_methods(server->http, UINT16_MAX); /* request_came answers the others */
	evhttp_set_max_body_size(server->http, (ev_ssize_t)limits->body_bytes);
	evhttp_set_max_headers_size(server->http, (ev_ssize_t)limits->header_bytes);
	/* Else a client that is still sending is cut off before it can read its 413. */
	(void)evhttp_set_flags(server->http, EVHTTP_SERVER_LINGERING_CLOSE);
	LS_TRY(show(server->place, err));
	listener = evconnlistener_new(server->base, NULL, NULL,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, server->place->fd);
	if (!listener)
		return LS_FAIL(err, LS_E_IO, "watch '%s' for connections", server->place->path);
	server->place->fd = -1;
	(void)evhttp_bind_listener(server->http, listener);
	watch_accept(server, listener);
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

const char *ls_request_method(const struct ls_request *req)
{
	return req->method;
}

const char *ls_request_path(const struct ls_request *req)
{
	return req->path;
}

const char *ls_request_query(const struct ls_request *req, const char *name)
{
	return evhttp_find_header(&req->query, name);
}

struct ls_bytes ls_request_body(const struct ls_request *req)
{
	return ls_buf_bytes(&req->body);
}

void ls_request_forget_body(struct ls_request *req)
{
	ls_buf_done(&req->body);
}

const struct ls_peer *ls_request_peer(const struct ls_request *req)
{
	return &req->peer;
}

bool ls_request_alive(const struct ls_request *req)
{
	return req->conn != NULL;
}

static void set_type(struct ls_request *req, const char *content_type)
{
	(void)evhttp_add_header(
		evhttp_request_get_output_headers(req->http), "Content-Type", content_type);
}

/* evhttp writes and frees its side from here on. */
static struct evhttp_request *request_end(struct ls_request *req)
{
	struct evhttp_request *http = req->http;

	if (req->conn)
		req->conn->held = NULL;
	request_free(req);
	return http;
}

void ls_request_reply(
	struct ls_request *req, int status, const char *content_type, struct ls_bytes body)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evhttp_request *http;

	if (req->http)
		set_type(req, content_type);
	(void)evbuffer_add(buffer, body.data, body.len);
	http = request_end(req);
	if (http)
		evhttp_send_reply(http, status, NULL, buffer);
	evbuffer_free(buffer);
}

void ls_request_stream_start(struct ls_request *req, const char *content_type)
{
	if (!req->http)
		return;
	set_type(req, content_type);
	evhttp_send_reply_start(req->http, 200, NULL);
}

void ls_request_stream_line(struct ls_request *req, const char *line)
{
	struct evbuffer *buffer, *output;

	if (!req->http)
		return;
	output = bufferevent_get_output(evhttp_connection_get_bufferevent(req->conn->evcon));
	if (evbuffer_get_length(output) > OUTPUT_MAX_BYTES) {
		evhttp_connection_free(req->conn->evcon); /* detaches the request */
		return;
	}
	buffer = evbuffer_new();
	(void)evbuffer_add_printf(buffer, "%s\n", line);
	evhttp_send_reply_chunk(req->http, buffer);
	evbuffer_free(buffer);
}

void ls_request_stream_end(struct ls_request *req)
{
	struct evhttp_request *http = request_end(req);

	if (http)
		evhttp_send_reply_end(http);
}
