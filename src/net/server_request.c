#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/server_conn.h"

/* A stream whose reader is this far behind is cut. */
#define OUTPUT_MAX_BYTES (8 << 20)
#define HEADERS_MAX 64

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

/* RFC 9112 section 6.3: a length that is given twice, beside an encoding, or is no number, leaves
 * it open where the next request begins. evhttp takes the first, and "+2". */
static bool plain_headers(struct evhttp_request *http)
{
	const struct evkeyvalq *headers = evhttp_request_get_input_headers(http);
	const struct evkeyval *header;
	int count = 0, lengths = 0;

	TAILQ_FOREACH(header, headers, next)
	{
		bool encoding = strcasecmp(header->key, "Transfer-Encoding") == 0;
		bool length = strcasecmp(header->key, "Content-Length") == 0;

		if (++count > HEADERS_MAX ||
			(encoding && strcasecmp(header->value, "chunked") != 0))
			return false;
		if (length && header->value[strspn(header->value, "0123456789")] != '\0')
			return false;
		if ((encoding || length) && ++lengths > 1)
			return false;
	}
	return true;
}

static void answer(struct evhttp_request *http, int status, const char *reason, const char *json)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(http);
	struct evbuffer *buffer = evbuffer_new();

	(void)evhttp_remove_header(headers, "Content-Type");
	(void)evhttp_add_header(headers, "Content-Type", "application/json");
	(void)evhttp_add_header(headers, "Connection", "close");
	(void)evbuffer_add(buffer, json, strlen(json));
	evhttp_send_reply(http, status, reason, buffer);
	evbuffer_free(buffer);
}

static void refuse_method(struct evhttp_request *http)
{
	(void)evhttp_add_header(evhttp_request_get_output_headers(http), "Allow", "GET, POST");
	answer(http, 405, "Method Not Allowed",
		"{\"error\":{\"code\":\"usage\",\"message\":\"no such method\",\"hint\":\"\"}}");
}

static void refuse(struct evhttp_request *http)
{
	answer(http, 400, "Bad Request",
		"{\"error\":{\"code\":\"usage\",\"message\":\"this is no "
		"request\",\"hint\":\"\"}}");
}

struct ls_request *ls_request_take(struct ls_conn *conn, struct evhttp_request *http)
{
	enum evhttp_cmd_type type = evhttp_request_get_command(http);
	struct evbuffer *body = evhttp_request_get_input_buffer(http);
	struct ls_request *req;

	if (type != EVHTTP_REQ_GET && type != EVHTTP_REQ_POST) {
		refuse_method(http);
		return NULL;
	}
	if (conn->no_room) {
		answer(http, 503, "Service Unavailable", conn->server->limits.busy);
		return NULL;
	}
	if (!plain_headers(http)) {
		refuse(http);
		return NULL;
	}
	req = ls_alloc(1, sizeof *req);
	TAILQ_INIT(&req->query);
	if (!parse_target(http, &req->path, &req->query)) {
		request_free(req);
		refuse(http);
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

void ls_request_header(struct ls_request *req, const char *name, const char *value)
{
	if (req->http)
		(void)evhttp_add_header(evhttp_request_get_output_headers(req->http), name, value);
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

/* What clients have yet to take in. */
static size_t unsent_bytes(const struct ls_server *server)
{
	size_t sum = 0;

	for (const struct ls_conn *conn = server->conns; conn; conn = conn->next)
		sum += evbuffer_get_length(
			bufferevent_get_output(evhttp_connection_get_bufferevent(conn->evcon)));
	return sum;
}

static bool is_too_much(const struct ls_server *server, size_t len)
{
	size_t max = server->limits.unsent_bytes;

	return max && len > 0 && unsent_bytes(server) + len > max;
}

void ls_request_reply(
	struct ls_request *req, int status, const char *content_type, struct ls_bytes body)
{
	struct ls_conn *conn = req->conn;
	struct evbuffer *buffer;
	struct evhttp_request *http;

	ls_request_header(req, "Content-Type", content_type);
	http = request_end(req);
	if (!http)
		return;
	ls_conn_answering(conn);
	if (is_too_much(conn->server, body.len)) {
		answer(http, 503, "Service Unavailable", conn->server->limits.busy);
		return;
	}
	buffer = evbuffer_new();
	(void)evbuffer_add(buffer, body.data, body.len);
	evhttp_send_reply(http, status, NULL, buffer);
	evbuffer_free(buffer);
}

void ls_request_stream_start(struct ls_request *req, const char *content_type)
{
	if (!req->http)
		return;
	ls_request_header(req, "Content-Type", content_type);
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
