#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/server_conn.h"

/* A stream whose reader is this far behind is cut. */
#define OUTPUT_MAX_BYTES (8 << 20)

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

void ls_request_detach(struct ls_request *req)
{
	/* One that evhttp took off its connection is ours to free; otherwise it goes with that. */
	if (req->http && !evhttp_request_get_connection(req->http))
		evhttp_request_free(req->http);
	req->http = NULL;
	req->conn = NULL;
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

struct ls_request *ls_request_take(struct ls_conn *conn, struct evhttp_request *http)
{
	enum evhttp_cmd_type type = evhttp_request_get_command(http);
	struct evbuffer *body = evhttp_request_get_input_buffer(http);
	struct ls_request *req;

	if (type != EVHTTP_REQ_GET && type != EVHTTP_REQ_POST) {
		refuse(http, 405, "Method Not Allowed");
		return NULL;
	}
	if (conn->no_room) {
		answer_busy(http, conn->server->limits.busy);
		return NULL;
	}
	if (!plain_length(http)) {
		(void)evhttp_add_header(
			evhttp_request_get_output_headers(http), "Connection", "close");
		refuse(http, 400, "Bad Request");
		return NULL;
	}
	req = ls_alloc(1, sizeof *req);
	TAILQ_INIT(&req->query);
	if (!parse_target(http, &req->path, &req->query)) {
		request_free(req);
		refuse(http, 400, "Bad Request");
		return NULL;
	}
	req->conn = conn;
	req->http = http;
	req->method = type == EVHTTP_REQ_GET ? "GET" : "POST";
	peer_copy(&req->peer, &conn->peer);
	ls_buf_add(&req->body, evbuffer_pullup(body, -1), evbuffer_get_length(body));
	(void)evbuffer_drain(
		body, evbuffer_get_length(body)); /* it may hold keys: one copy is enough */
	return req;
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
