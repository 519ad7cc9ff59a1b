/* server -- HTTP/1.1 server (libevent's evhttp) on a UNIX stream socket, for the control socket, or
 * on TCP with TLS, for the gateway.
 *
 * Runs in the loop's thread. Bounded: body, headers, connections, time. A request is answered once:
 * at once or later, in one piece or as a stream of lines (chunked), by whoever holds it.
 */
#ifndef LS_NET_SERVER_H
#define LS_NET_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "net/loop.h"

struct ls_server;
struct ls_request;

struct ls_tls;

struct ls_peer {
	pid_t pid; /* on a UNIX socket; else -1, as uid and gid */
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary ones (SO_PEERGROUPS) */
	size_t group_count;
	char address[46];         /* on TCP, without the port; else "" */
	unsigned char origin[16]; /* equal for peers that share a limit: of one user, or of one IPv4
				   * address or one IPv6 network of 64 bits */
};

struct ls_server_limits {
	size_t body_bytes;
	size_t header_bytes; /* and at most 64 headers */
	int connections;     /* see below */
	int spare_ms; /* who has brought no request for so long makes room when all are taken */
	/* Strangers are peers that `trusted` says no to (NULL: other users than root and the own),
	 * and all on TCP. They may send bodies of stranger_body_bytes, or what `body_of` says, so
	 * that they cannot fill the memory, and have stranger_connections (0: half of all), each
	 * origin peer_connections (0: an eighth), so that they cannot lock out others.
	 */
	bool (*trusted)(void *arg, const struct ls_peer *peer);
	size_t stranger_body_bytes;
	size_t (*body_of)(
		void *arg, const struct ls_peer *peer); /* may be NULL; at most body_bytes */
	int stranger_connections, peer_connections;
	const char *busy; /* JSON: what requests are answered, 503, for which there is no room; of
			   * these, too, there are few at a time: the oldest is closed. On TCP a
			   * connection for which there is no room is closed at once */
	int idle_s;   /* a connection that brings no whole request, or reads nothing of what it is
			 sent, for so long is closed; one whose request is held is not */
	int head_s;   /* not 0: so long it may take to the end of the head, with the TLS handshake;
		       * idle_s counts from there */
	int answer_s; /* not 0: so long a client may take to take in a whole answer */
	size_t unsent_bytes; /* not 0: when so much waits to be taken in by clients, what is
			      * answered beyond is `busy` instead */
};

/* Listens at `path` (a stale socket there is replaced; paths over 107 bytes work: bound through a
 * directory descriptor), mode 0666: who may do what is decided by peer credentials. `on_request` is
 * called for each whole request. A target that is not RFC 3986's, or holds a NUL, is answered 400,
 * and so is a length that is given twice, beside "chunked", or is no plain number; too long a body
 * 413. Refusals are JSON as in control/request.h, but for what the library finds: it writes HTML.
 * When the process has no descriptor left, connections wait. */
LS_CHECK enum ls_code ls_server_new(struct ls_loop *loop, const char *path,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err);
/* The same in two steps, for a process that can neither bind nor listen when it is ready to answer:
 * the socket listens from the first on, but under the name ".NAME.new", and gets its own name in
 * the second, by a rename. *place is taken over, also on failure. */
struct ls_server_place;
LS_CHECK enum ls_code ls_server_place_new(
	const char *path, struct ls_server_place **out, struct ls_err *err);
void ls_server_place_free(struct ls_server_place **place);
LS_CHECK enum ls_code ls_server_new_at(struct ls_loop *loop, struct ls_server_place **place,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err);
/* On TCP, with TLS: *listen_fd (listen.h) is taken over, also on failure; `tls` is borrowed. While
 * that has no certificate, connections are closed at once. */
LS_CHECK enum ls_code ls_server_new_tls(struct ls_loop *loop, int *listen_fd, struct ls_tls *tls,
	const struct ls_server_limits *limits,
	void (*on_request)(void *arg, struct ls_request *req), void *arg, struct ls_server **out,
	struct ls_err *err);
/* Stops listening, ends connections, removes the socket. Not from within on_request. Requests that
 * are still held stay valid until their holders end them, which then does nothing. */
void ls_server_free(struct ls_server **server);

const char *ls_request_method(
	const struct ls_request *req); /* "GET", "POST", others are answered 405 before */
const char *ls_request_path(const struct ls_request *req); /* without query, percent-decoded */
/* A query parameter, decoded; NULL when absent. */
const char *ls_request_query(const struct ls_request *req, const char *name);
/* Wiped as soon as it was read: a request may be held for as long as a rotation takes. */
void ls_request_forget_body(struct ls_request *req);
struct ls_bytes ls_request_body(const struct ls_request *req);
const struct ls_peer *ls_request_peer(const struct ls_request *req);

/* Adds a header to the answer to come, before it begins. */
void ls_request_header(struct ls_request *req, const char *name, const char *value);
/* Each of these ends the request; it must not be used afterwards. */
void ls_request_reply(
	struct ls_request *req, int status, const char *content_type, struct ls_bytes body);
/* A stream: start, any number of lines (a newline is put after each), end. A gone client is not an
 * error; alive tells. */
void ls_request_stream_start(struct ls_request *req, const char *content_type);
void ls_request_stream_line(struct ls_request *req, const char *line);
void ls_request_stream_end(struct ls_request *req);
bool ls_request_alive(const struct ls_request *req);

#endif
