/* Any bytes on the control socket: the real server, with a handler that answers at once, later, or
 * as a stream. The first byte is the size of the pieces in which they come. */
#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/request.h"
#include "net/server.h"
#include "tests/fuzz/support/scratch.h"
#include "tests/fuzz/support/talk.h"

#define HELD_MAX 8

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ls_loop *loop;
static struct ls_server *server;
static char *server_path; /* of the server's socket */
static struct ls_request *held[HELD_MAX];
static size_t held_count;
static unsigned requests, turns; /* turns: of this input */

static void answer_change(struct ls_request *req)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { 0 };
	struct ls_err err = { 0 };

	ls_request_stream_start(req, "application/json");
	ls_request_stream_line(req, "{\"progress\": {}}");
	if (ls_change_from_text(ls_request_body(req), &change, &err) != LS_OK)
		ls_request_stream_line(req, "{\"error\": {}}");
	ls_request_stream_end(req);
}

static void came(void *arg, struct ls_request *req)
{
	const char *path = ls_request_path(req), *method = ls_request_method(req);
	const char *from = ls_request_query(req, "from");

	(void)arg;
	requests++;
	if ((strcmp(method, "GET") != 0 && strcmp(method, "POST") != 0) ||
		(from && strlen(from) > 65536) || ls_request_peer(req)->uid != getuid())
		abort();
	if (strcmp(path, "/v1/change") == 0)
		answer_change(req);
	else if (strcmp(path, "/v1/verify") == 0 && held_count < HELD_MAX)
		held[held_count++] = req;
	else
		ls_request_reply(req, 200, "application/json", LS_BYTES_STR("{}"));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct ls_server_limits limits = { .body_bytes = 65536,
		.header_bytes = 4096,
		.connections = 16,
		.spare_ms = 60000,
		.stranger_body_bytes = 4096,
		.busy = "{}",
		.idle_s = 60 };
	struct ls_err err;

	(void)argc;
	(void)argv;
	server_path = ls_format("%s/http.sock", scratch_dir());
	if (ls_loop_new(&loop, &err) != LS_OK ||
		ls_server_new(loop, server_path, &limits, came, NULL, &server, &err) != LS_OK)
		abort();
	return 0;
}

static void answer_held(void)
{
	while (held_count > 0)
		ls_request_reply(held[--held_count], 200, "application/json", LS_BYTES_STR("[]"));
}

/* What is held is answered some turns later. */
static void turn(void)
{
	(void)event_base_loop(ls_loop_base(loop), EVLOOP_NONBLOCK);
	if (++turns % 4 == 0)
		answer_held();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	turns = 0;
	talk_all(server_path, data, size, 4, turn);
	for (int i = 0; i < 4; i++)
		turn();
	answer_held();
	turn();
	return 0;
}
