/* The watch: one thread, one endless answer at a time (etcd_api.h). */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "store/etcd_api.h"

#define CONNECT_MS 2000
#define LINE_MAX_BYTES ((size_t)8 << 20)
/* Members are started with a progress period of 2 s; a frozen one says nothing, for ever. */
#define SILENCE_MS 7000
#define AGAIN_MS 200
#define KEEP_TIMEOUT_MS 2000

struct ls_etcd_watch {
	char **endpoints;
	char *request;
	struct ls_https *https;
	struct ls_etcd *api; /* the thread's own, for the lease */
	int fd;
	pthread_t thread;
	atomic_bool stop;
	struct {
		pthread_mutex_t mutex;
		int64_t id; /* 0: none */
		int64_t ttl_ms, next_ms;
		bool (*alive)(void *arg);
		void *arg;
	} lease;
	_Atomic int64_t said_at_ms; /* when a member last said something */
	int64_t heard_at_ms;        /* … or was asked to; of the thread alone, as all below */
	bool broken;                /* this stream has ended although its connection stands */
};

static void look(struct ls_etcd_watch *w)
{
	uint64_t one = 1;

	(void)!write(w->fd, &one, sizeof one); /* full: it is readable already */
}

void ls_etcd_watch_keep(
	struct ls_etcd_watch *w, int64_t lease, int64_t ttl_s, bool (*alive)(void *arg), void *arg)
{
	(void)pthread_mutex_lock(&w->lease.mutex);
	w->lease.id = lease;
	w->lease.ttl_ms = ttl_s * 1000;
	w->lease.next_ms = ls_mono_ms() + w->lease.ttl_ms / 3;
	w->lease.alive = alive;
	w->lease.arg = arg;
	(void)pthread_mutex_unlock(&w->lease.mutex);
}

int64_t ls_etcd_watch_lease(struct ls_etcd_watch *w)
{
	int64_t id;

	(void)pthread_mutex_lock(&w->lease.mutex);
	id = w->lease.id;
	(void)pthread_mutex_unlock(&w->lease.mutex);
	return id;
}

/* The lease that is to be kept alive now; 0: none, or its holder makes no progress. */
static int64_t lease_due(struct ls_etcd_watch *w)
{
	int64_t now_ms = ls_mono_ms(), id = 0;

	(void)pthread_mutex_lock(&w->lease.mutex);
	if (w->lease.id != 0 && now_ms >= w->lease.next_ms) {
		w->lease.next_ms = now_ms + w->lease.ttl_ms / 3;
		if (!w->lease.alive || w->lease.alive(w->lease.arg))
			id = w->lease.id;
	}
	(void)pthread_mutex_unlock(&w->lease.mutex);
	return id;
}

static void keep_lease(struct ls_etcd_watch *w)
{
	int64_t id = lease_due(w);

	/* Without an answer it is asked again in a third of its time. */
	if (id == 0 || ls_etcd_lease_keep(w->api, id, NULL) != LS_E_NOT_FOUND)
		return;
	(void)pthread_mutex_lock(&w->lease.mutex);
	if (w->lease.id == id)
		w->lease.id = 0;
	(void)pthread_mutex_unlock(&w->lease.mutex);
	look(w);
}

/* A cancelled watch does not end the stream: that is for us to do. */
static bool line_came(void *arg, const char *line, size_t len)
{
	struct ls_etcd_watch *w = arg;
	json_auto_t *json = json_loadb(line, len, 0, NULL);
	const json_t *result = json_object_get(json, "result");

	w->heard_at_ms = ls_mono_ms();
	atomic_store(&w->said_at_ms, w->heard_at_ms);
	if (!result || json_is_true(json_object_get(result, "canceled"))) {
		w->broken = true;
		return false;
	}
	if (json_is_true(json_object_get(result, "created")) ||
		json_array_size(json_object_get(result, "events")) > 0)
		look(w);
	return !atomic_load(&w->stop);
}

static bool tick(void *arg)
{
	struct ls_etcd_watch *w = arg;

	if (!atomic_load(&w->stop))
		keep_lease(w);
	return !atomic_load(&w->stop) && ls_mono_ms() - w->heard_at_ms < SILENCE_MS;
}

static void follow(struct ls_etcd_watch *w, const char *endpoint)
{
	static char has_leader[] = "Grpc-Metadata-hasleader: true";
	char *headers[] = { has_leader, NULL };
	LS_CLEANUP(ls_free_str) char *url = ls_format("%s/v3/watch", endpoint);
	LS_CLEANUP(ls_buf_done) struct ls_buf rest = { 0 };
	struct ls_https_call call = {
		.url = url,
		.headers = headers,
		.body = LS_BYTES_STR(w->request),
		.connect_ms = CONNECT_MS,
		.body_max = LINE_MAX_BYTES,
		.on_line = line_came,
		.on_tick = tick,
		.arg = w,
	};
	int status;

	w->heard_at_ms = ls_mono_ms();
	w->broken = false;
	/* However it ends, the next endpoint is asked; the worker's own calls tell what is wrong.
	 */
	LS_IGNORE(ls_https_post(w->https, &call, &status, &rest, NULL));
}

static void *run(void *arg)
{
	struct ls_etcd_watch *w = arg;
	size_t count = ls_strv_count(w->endpoints);
	unsigned seed = (unsigned)getpid();
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	sigset_t others; /* are for the main thread */

	(void)sigfillset(&others);
	for (size_t i = 0; i < LS_COUNT(faults); i++)
		(void)sigdelset(&others, faults[i]);
	(void)pthread_sigmask(SIG_BLOCK, &others, NULL);
	for (size_t at = 0; !atomic_load(&w->stop); at = (at + 1) % count) {
		/* Jittered, or a thousand nodes would come back in the same moment. */
		int64_t ms = AGAIN_MS + rand_r(&seed) % AGAIN_MS;

		follow(w, w->endpoints[at]);
		if (!atomic_load(&w->stop))
			keep_lease(w);
		if (!atomic_load(&w->stop))
			(void)nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
	}
	return NULL;
}

static void watch_free(struct ls_etcd_watch *w)
{
	ls_fd_close(&w->fd);
	ls_free_strv(&w->endpoints);
	ls_https_free(&w->https);
	ls_etcd_free(&w->api);
	(void)pthread_mutex_destroy(&w->lease.mutex);
	free(w->request);
	free(w);
}

enum ls_code ls_etcd_watch_start(const struct ls_etcd_settings *settings, const char *prefix,
	struct ls_etcd_watch **out, struct ls_err *err)
{
	struct ls_etcd_watch *w;
	LS_CLEANUP(ls_free_str) char *end = ls_strdup(prefix);
	LS_CLEANUP(ls_free_str) char *from64 = ls_base64(LS_BYTES_STR(prefix));
	LS_CLEANUP(ls_free_str) char *end64 = NULL;
	struct ls_etcd_settings hasty = *settings;
	int rc;

	if (ls_strv_count(settings->endpoints) == 0)
		return LS_FAIL(err, LS_E_UNREACHABLE, "etcd: no endpoint is configured");
	end[strlen(end) - 1]++;
	end64 = ls_base64(LS_BYTES_STR(end));
	w = ls_alloc(1, sizeof *w);
	w->endpoints = ls_strv_copy(settings->endpoints);
	w->request = ls_format("{\"create_request\":{\"key\":\"%s\",\"range_end\":\"%s\","
			       "\"progress_notify\":true,\"fragment\":true}}",
		from64, end64);
	ls_https_new(&settings->tls, &w->https);
	hasty.timeout_ms = KEEP_TIMEOUT_MS;
	ls_etcd_new(&hasty, &w->api);
	(void)pthread_mutex_init(&w->lease.mutex, NULL);
	atomic_store(&w->said_at_ms, ls_mono_ms());
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = w->fd < 0 ? errno : pthread_create(&w->thread, NULL, run, w);
	if (rc != 0) {
		errno = rc;
		LS_FAIL_ERRNO(err, "start the watch of etcd");
		watch_free(w);
		return LS_E_IO;
	}
	*out = w;
	return LS_OK;
}

void ls_etcd_watch_stop(struct ls_etcd_watch **watch)
{
	struct ls_etcd_watch *w = *watch;

	if (!w)
		return;
	atomic_store(&w->stop, true);
	(void)pthread_join(w->thread, NULL);
	if (w->lease.id != 0) /* the others need not wait until it ends */
		ls_etcd_lease_revoke(w->api, w->lease.id);
	watch_free(w);
	*watch = NULL;
}

int ls_etcd_watch_fd(const struct ls_etcd_watch *watch)
{
	return watch->fd;
}

void ls_etcd_watch_seen(struct ls_etcd_watch *watch)
{
	uint64_t count;

	(void)!read(watch->fd, &count, sizeof count);
}

int64_t ls_etcd_watch_silent_ms(const struct ls_etcd_watch *watch)
{
	return ls_mono_ms() - atomic_load(&watch->said_at_ms);
}
