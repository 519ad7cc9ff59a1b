/* server_conn -- the inside of the server, for the files that make it up: server.c accepts and
 * takes requests in, server_room.c says who has room, server_request.c answers, server_place.c
 * holds the UNIX socket's name. Nobody else includes this. All of it belongs to the loop's thread.
 */
#ifndef LS_NET_SERVER_CONN_H
#define LS_NET_SERVER_CONN_H

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "net/server.h"
#include "net/sockpath.h"

struct bufferevent;
struct event;
struct evconnlistener;

/* Owned by its server, from acceptance until evhttp closes the connection. */
struct ls_conn {
	struct ls_server *server;
	struct evhttp_connection *evcon;
	struct event *deadline;  /* for the next whole request */
	struct ls_request *held; /* handed out and not ended yet */
	int64_t waiting_since_ms;
	struct ls_peer peer;
	bool trusted;
	bool no_room;   /* its request will be answered so */
	bool head_came; /* of the request that is awaited */
	struct ls_conn *prev, *next;
};

struct ls_request {
	struct ls_conn *conn;        /* NULL: the client or the server is gone */
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
	struct ls_conn *conns;
	struct ls_server_limits limits;
	void (*on_request)(void *arg, struct ls_request *req);
	void *arg;
	struct ls_server_place *place; /* NULL: on TCP … */
	struct ls_tls *tls;            /* … with this; else NULL */
};

/* server.c: the client has limits.answer_s from now on. */
void ls_conn_answering(struct ls_conn *conn);

/* server_place.c: gives the socket the name under which it is to be seen. */
LS_CHECK enum ls_code ls_server_place_show(struct ls_server_place *place, struct ls_err *err);

/* server_room.c: room for one more of this peer; if need be, others that wait are closed for it. */
bool ls_server_has_room(struct ls_server *server, const struct ls_peer *peer, bool trusted);
/* Closes the oldest of those for whom there was no room, when there are many. */
void ls_server_room_to_hear(struct ls_server *server, bool trusted);
/* Closes one that has waited for too long without a request, if there is any. */
void ls_server_close_spare(struct ls_server *server);

/* server_request.c: of a request that came whole, NULL when it was refused there. It is not in
 * conn->held yet. */
struct ls_request *ls_request_take(struct ls_conn *conn, struct evhttp_request *http);
/* Takes the request from its connection: what its holder does with it from now on reaches nobody.
 */
void ls_request_detach(struct ls_request *req);

#endif
