#include "net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct post {
	void (*func)(void *arg);
	void *arg;
	struct post *next;
};

struct ls_source {
	struct ls_loop *loop;
	struct event *event;
	void (*func)(void *arg);
	void *arg;
	struct ls_source *prev, *next;
};

struct ls_loop {
	struct event_base *base;
	struct ls_source *sources;
	bool stopped;
	int wake_fd;
	struct event *wake;
	pthread_mutex_t lock; /* of the two below; nothing else is touched by other threads */
	struct post *first, **end;
};

static void *alloc_bytes(size_t size)
{
	return ls_alloc(size, 1);
}

static void say_nothing(int severity, const char *text)
{
	(void)severity; /* only the programs log; what matters comes back as an error */
	(void)text;
}

static void configure_library(void)
{
	/* Requests carry keys: what the library frees is wiped. */
	event_set_mem_functions(alloc_bytes, ls_regrow, ls_free);
	event_set_log_callback(say_nothing);
	/* The library writes with writev, which has no MSG_NOSIGNAL: a client that is gone would
	 * end the daemon. */
	(void)signal(SIGPIPE, SIG_IGN);
}

static void run_posts(evutil_socket_t fd, short what, void *arg)
{
	struct ls_loop *loop = arg;
	struct post *post;
	uint64_t count;

	(void)what;
	(void)!read(fd, &count, sizeof count); /* non-blocking; only clears the descriptor */
	(void)pthread_mutex_lock(&loop->lock);
	post = loop->first;
	loop->first = NULL;
	loop->end = &loop->first;
	(void)pthread_mutex_unlock(&loop->lock);
	while (post) {
		struct post *next = post->next;

		post->func(post->arg);
		free(post);
		post = next;
	}
}

enum ls_code ls_loop_new(struct ls_loop **out, struct ls_err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	LS_CLEANUP(ls_loop_free) struct ls_loop *loop = NULL;
	struct event_config *config;

	(void)pthread_once(&once, configure_library);
	loop = ls_alloc(1, sizeof *loop);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)pthread_mutex_init(&loop->lock, NULL);
	loop->end = &loop->first;
	if (loop->wake_fd < 0)
		return LS_FAIL_ERRNO(err, "make an event descriptor");
	config = event_config_new();
	/* Without it the clock is the coarse one, and timers come up to 4 ms too early. */
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!loop->base)
		return LS_FAIL_ERRNO(err, "make an event loop");
	loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, run_posts, loop);
	if (!loop->wake || event_add(loop->wake, NULL) != 0)
		return LS_FAIL_ERRNO(err, "watch an event descriptor");
	*out = LS_TAKE(loop);
	return LS_OK;
}

void ls_loop_free(struct ls_loop **loop_ptr)
{
	struct ls_loop *loop = LS_TAKE(*loop_ptr);

	if (!loop)
		return;
	while (loop->sources) {
		struct ls_source *source = loop->sources;

		ls_source_free(&source);
	}
	while (loop->first) {
		struct post *post = loop->first;

		loop->first = post->next;
		free(post);
	}
	if (loop->wake)
		event_free(loop->wake);
	if (loop->base)
		event_base_free(loop->base);
	ls_fd_close(&loop->wake_fd);
	(void)pthread_mutex_destroy(&loop->lock);
	free(loop);
}

void ls_loop_run(struct ls_loop *loop)
{
	while (!loop->stopped)
		if (event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
			break;
	loop->stopped = false;
}

void ls_loop_stop(struct ls_loop *loop)
{
	loop->stopped = true;
	(void)event_base_loopbreak(loop->base);
}

static void source_fired(evutil_socket_t fd, short what, void *arg)
{
	struct ls_source *source = arg;

	(void)fd;
	(void)what;
	source->func(source->arg); /* may free the source */
}

static struct ls_source *source_new(
	struct ls_loop *loop, int fd, short what, void (*func)(void *arg), void *arg)
{
	struct ls_source *source = ls_alloc(1, sizeof *source);

	source->loop = loop;
	source->func = func;
	source->arg = arg;
	source->event = event_new(loop->base, fd, what, source_fired, source);
	source->next = loop->sources;
	if (source->next)
		source->next->prev = source;
	loop->sources = source;
	return source;
}

struct ls_source *ls_loop_readable(struct ls_loop *loop, int fd, void (*func)(void *arg), void *arg)
{
	struct ls_source *source = source_new(loop, fd, EV_READ | EV_PERSIST, func, arg);

	(void)event_add(source->event, NULL); /* fails only without memory, which ends us before */
	return source;
}

struct ls_source *ls_loop_timer(struct ls_loop *loop, void (*func)(void *arg), void *arg)
{
	return source_new(loop, -1, EV_TIMEOUT, func, arg);
}

struct ls_source *ls_loop_signal(
	struct ls_loop *loop, int signum, void (*func)(void *arg), void *arg)
{
	struct ls_source *source = source_new(loop, signum, EV_SIGNAL | EV_PERSIST, func, arg);

	(void)event_add(source->event, NULL);
	return source;
}

void ls_source_arm(struct ls_source *timer, int64_t in_ms)
{
	struct timeval in = { .tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000 };

	if (in_ms < 0) {
		(void)event_del(timer->event);
		return;
	}
	/* The library counts from the instant at which this round of the loop began. */
	(void)event_base_update_cache_time(timer->loop->base);
	(void)event_add(timer->event, &in);
}

void ls_source_free(struct ls_source **source_ptr)
{
	struct ls_source *source = LS_TAKE(*source_ptr);

	if (!source)
		return;
	if (source->prev)
		source->prev->next = source->next;
	else
		source->loop->sources = source->next;
	if (source->next)
		source->next->prev = source->prev;
	event_free(source->event);
	free(source);
}

void ls_loop_post(struct ls_loop *loop, void (*func)(void *arg), void *arg)
{
	struct post *post = ls_alloc(1, sizeof *post);
	uint64_t one = 1;

	post->func = func;
	post->arg = arg;
	(void)pthread_mutex_lock(&loop->lock);
	*loop->end = post;
	loop->end = &post->next;
	/* Within the lock: after it, the loop may already have run the post and been freed. */
	(void)!write(loop->wake_fd, &one, sizeof one); /* full means: awake already */
	(void)pthread_mutex_unlock(&loop->lock);
}

struct event_base *ls_loop_base(struct ls_loop *loop)
{
	return loop->base;
}
