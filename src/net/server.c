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
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/sockpath.h"

#define BACKLOG 128
/* A stream whose reader is this far behind is cut. */
#define OUTPUT_MAX_BYTES (8 << 20)
#define GROUPS_MAX 65536 /* Linux' NGROUPS_MAX */

/* Owned by its server, from acceptance until evhttp closes the connection. */
struct conn {
	struct ls_server *server;
	struct evhttp_connection *evcon;
	struct event *deadline;  /* for the next whole request */
	struct ls_request *held; /* handed out and not ended yet */
	struct ls_peer peer;
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

struct ls_server {
	struct event_base *base;
	struct evhttp *http;
	struct event *adopt; /* fires when `fresh` has something in it */
	struct bufferevent **fresh;
	size_t fresh_count;
	struct conn *conns;
	int conn_count;
	struct ls_server_limits limits;
	void (*on_request)(void *arg, struct ls_request *req);
	void *arg;
	struct ls_sockpath where;
	char *path;
	struct stat socket; /* to remove only what is ours */
};

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
	conn->server->conn_count--;
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
	struct timeval in = { .tv_sec = conn->server->limits.idle_s };

	(void)event_add(conn->deadline, &in);
}

static void conn_too_slow(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	(void)what;
	evhttp_connection_free(conn->evcon); /* closes, which frees conn */
}

/* The socket is open to every user: they must not be able to lock root out by holding all. */
static int connections_for(const struct ls_server *server, const struct ls_peer *peer)
{
	bool ours = peer->uid == 0 || peer->uid == geteuid();

	return ours ? server->limits.connections : server->limits.connections / 2;
}

static void conn_adopt(struct ls_server *server, struct bufferevent *bev)
{
	struct timeval idle = { .tv_sec = server->limits.idle_s };
	size_t input_max = server->limits.body_bytes + server->limits.header_bytes + 4096;
	struct ls_peer peer;
	struct conn *conn;
	void *evcon = NULL;

	bufferevent_getcb(bev, NULL, NULL, NULL, &evcon); /* evhttp's argument is its connection */
	assert(evcon && evhttp_connection_get_bufferevent(evcon) == bev);
	peer_read(bufferevent_getfd(bev), &peer);
	if (server->conn_count >= connections_for(server, &peer)) {
		free(peer.groups);
		evhttp_connection_free(evcon);
		return;
	}
	conn = ls_alloc(1, sizeof *conn);
	conn->peer = peer;
	conn->server = server;
	conn->evcon = evcon;
	conn->deadline = event_new(server->base, -1, EV_TIMEOUT, conn_too_slow, conn);
	conn->next = server->conns;
	if (conn->next)
		conn->next->prev = conn;
	server->conns = conn;
	server->conn_count++;
	evhttp_connection_set_closecb(conn->evcon, conn_closed, conn);
	/* Reading is timed for a whole request (a byte now and then is not enough), writing by
	 * progress. What is sent ahead of its turn must not pile up. */
	(void)bufferevent_set_timeouts(bev, NULL, &idle);
	bufferevent_setwatermark(bev, EV_READ, 0, input_max);
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

static void refuse(struct evhttp_request *http, int status, const char *reason)
{
	evhttp_send_error(http, status, reason);
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
	conn->held = req;
	server->on_request(server->arg, req);
}

static enum ls_code listen_at(
	struct ls_server *server, const char *path, int *out_fd, struct ls_err *err)
{
	struct ls_sockpath *where = &server->where;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_sockpath_init(where, path, err));
	where->name = server->path + (where->name - path);
	if (fstatat(where->dir_fd, where->name, &server->socket, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISSOCK(server->socket.st_mode))
			return LS_FAIL(err, LS_E_REFUSED, "'%s' exists and is no socket", path);
		(void)unlinkat(where->dir_fd, where->name, 0); /* bind tells when it stayed */
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "make a socket");
	if (bind(fd, (const struct sockaddr *)&where->addr, sizeof where->addr) != 0)
		return LS_FAIL_ERRNO(err, "bind '%s'", path);
	if (fchmodat(where->dir_fd, where->name, 0666, 0) != 0 ||
		fstatat(where->dir_fd, where->name, &server->socket, AT_SYMLINK_NOFOLLOW) != 0 ||
		listen(fd, BACKLOG) != 0) {
		LS_FAIL_ERRNO(err, "listen at '%s'", path);
		goto rollback;
	}
	*out_fd = fd;
	fd = -1;
	return LS_OK;
rollback:
	(void)unlinkat(where->dir_fd, where->name, 0);
	return err ? err->code : LS_E_IO;
}

static void remove_socket(struct ls_server *server)
{
	struct stat now;

	if (server->where.dir_fd < 0 ||
		fstatat(server->where.dir_fd, server->where.name, &now, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	/* Another daemon may have put its own there. */
	if (now.st_ino == server->socket.st_ino && now.st_dev == server->socket.st_dev)
		(void)unlinkat(server->where.dir_fd, server->where.name, 0);
}

enum ls_code ls_server_new(struct ls_loop *loop, const char *path,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_server_free) struct ls_server *server = ls_alloc(1, sizeof *server);
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct evconnlistener *listener;

	server->base = ls_loop_base(loop);
	server->limits = *limits;
	server->on_request = on_request;
	server->arg = arg;
	server->where.dir_fd = -1;
	server->path = ls_strdup(path);
	server->http = evhttp_new(server->base);
	server->adopt = event_new(server->base, -1, 0, adopt_fresh, server);
	evhttp_set_bevcb(server->http, conn_announced, server);
	evhttp_set_gencb(server->http, request_came, server);
	evhttp_set_allowed_methods(server->http, UINT16_MAX); /* request_came answers the others */
	evhttp_set_max_body_size(server->http, (ev_ssize_t)limits->body_bytes);
	evhttp_set_max_headers_size(server->http, (ev_ssize_t)limits->header_bytes);
	/* Else a client that is still sending is cut off before it can read its 413. */
	(void)evhttp_set_flags(server->http, EVHTTP_SERVER_LINGERING_CLOSE);
	LS_TRY(listen_at(server, path, &fd, err));
	listener = evconnlistener_new(
		server->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!listener)
		return LS_FAIL(err, LS_E_IO, "watch '%s' for connections", path);
	fd = -1;
	(void)evhttp_bind_listener(server->http, listener);
	*out = LS_TAKE(server);
	return LS_OK;
}

void ls_server_free(struct ls_server **server_ptr)
{
	struct ls_server *server = LS_TAKE(*server_ptr);

	if (!server)
		return;
	remove_socket(server);
	evhttp_free(server->http);
	event_free(server->adopt);
	free(server->fresh);
	ls_sockpath_done(&server->where);
	ls_free_str(&server->path);
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
