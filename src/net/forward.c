#include "net/forward.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sockpath.h"

#define READ_AT_ONCE 65536

struct ls_forward {
	struct bufferevent *bev;
	struct ls_source *deadline;
	struct ls_reply reply;
	void (*on_end)(void *arg, const struct ls_reply *reply, const struct ls_err *err);
	void *arg;
};

void ls_forward_free(struct ls_forward **forward_ptr)
{
	struct ls_forward *f = LS_TAKE(*forward_ptr);

	if (!f)
		return;
	if (f->bev)
		bufferevent_free(f->bev);
	ls_source_free(&f->deadline);
	ls_reply_done(&f->reply);
	free(f);
}

static void end(struct ls_forward *f, const struct ls_reply *reply, const struct ls_err *err)
{
	f->on_end(f->arg, reply, err);
	ls_forward_free(&f);
}

static void on_late(void *arg)
{
	struct ls_err err = { 0 };

	LS_FAIL(&err, LS_E_TIMEOUT, "no whole answer in time");
	end(arg, NULL, &err);
}

/* False: it has ended, and f is gone. */
static bool take_input(struct ls_forward *f)
{
	struct evbuffer *input = bufferevent_get_input(f->bev);
	size_t len = evbuffer_get_length(input);
	struct ls_bytes bytes = { evbuffer_pullup(input, -1), len };
	struct ls_err err = { 0 };
	enum ls_code code = ls_reply_feed(&f->reply, bytes, &err);

	(void)evbuffer_drain(input, len);
	if (code == LS_OK && !ls_reply_whole(&f->reply))
		return true;
	end(f, code == LS_OK ? &f->reply : NULL, &err);
	return false;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	(void)take_input(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct ls_forward *f = arg;
	struct ls_err err = { 0 };

	(void)bev;
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	/* Who answers before it has read all, and hangs up, has answered all the same. */
	if ((what & BEV_EVENT_ERROR) && (what & BEV_EVENT_WRITING))
		return;
	if (!take_input(f))
		return;
	if ((what & BEV_EVENT_EOF) && ls_reply_end(&f->reply, &err) == LS_OK) {
		end(f, &f->reply, &err);
		return;
	}
	if (what & BEV_EVENT_ERROR)
		LS_FAIL(&err, LS_E_FAILED, "the connection broke");
	end(f, NULL, &err);
}

static enum ls_code dial(const char *path, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_sockpath_done) struct ls_sockpath where = { .dir_fd = -1 };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (ls_sockpath_init(&where, path, err) != LS_OK) {
		err->code = LS_E_UNREACHABLE;
		return LS_E_UNREACHABLE;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&where.addr, sizeof where.addr) != 0) {
		LS_FAIL_ERRNO(err, "connect to '%s'", path); /* EAGAIN: its queue is full */
		err->code = LS_E_UNREACHABLE;
		return LS_E_UNREACHABLE;
	}
	*out_fd = fd;
	fd = -1;
	return LS_OK;
}

static void send_request(struct ls_forward *f, const struct ls_forward_call *call)
{
	struct evbuffer *output = bufferevent_get_output(f->bev);

	(void)evbuffer_add_printf(output,
		"%s %s HTTP/1.1\r\nHost: lockstep\r\nConnection: close\r\n", call->method,
		call->path);
	if (strcmp(call->method, "POST") == 0)
		(void)evbuffer_add_printf(output,
			"Content-Type: application/json\r\nContent-Length: %zu\r\n",
			call->body.len);
	(void)evbuffer_add(output, "\r\n", 2);
	(void)evbuffer_add(output, call->body.data, call->body.len);
}

enum ls_code ls_forward_new(struct ls_loop *loop, const struct ls_forward_call *call,
	struct ls_forward **out, struct ls_err *err)
{
	LS_CLEANUP(ls_forward_free) struct ls_forward *f = NULL;
	struct ls_err own = { 0 };
	int fd = -1;

	LS_TRY(dial(call->socket_path, &fd, err ? err : &own));
	f = ls_alloc(1, sizeof *f);
	f->on_end = call->on_end;
	f->arg = call->arg;
	f->reply.body_max = call->body_max;
	f->bev = bufferevent_socket_new(ls_loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!f->bev) {
		ls_fd_close(&fd);
		return LS_FAIL(err, LS_E_UNREACHABLE, "watch '%s'", call->socket_path);
	}
	f->deadline = ls_loop_timer(loop, on_late, f);
	ls_source_arm(f->deadline, call->timeout_ms);
	bufferevent_setcb(f->bev, on_read, NULL, on_event, f);
	bufferevent_setwatermark(f->bev, EV_READ, 0, READ_AT_ONCE);
	send_request(f, call);
	(void)bufferevent_enable(f->bev, EV_READ | EV_WRITE);
	*out = LS_TAKE(f);
	return LS_OK;
}
