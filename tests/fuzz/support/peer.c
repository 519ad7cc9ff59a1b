#include "tests/fuzz/support/peer.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/support/scratch.h"

static struct sockaddr_un where = { .sun_family = AF_UNIX };
static struct {
	pthread_mutex_t lock;
	struct ls_bytes bytes;
	int separator;
} answer = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* A copy: the connection may outlive the input. */
static void next_part(struct ls_buf *out)
{
	const char *end;

	(void)pthread_mutex_lock(&answer.lock);
	end = answer.separator >= 0 && answer.bytes.len
		      ? memchr(answer.bytes.data, answer.separator, answer.bytes.len)
		      : NULL;
	if (!end) {
		ls_buf_add_bytes(out, answer.bytes);
		if (answer.separator >= 0)
			answer.bytes.len = 0;
	} else {
		size_t len = (size_t)(end - (const char *)answer.bytes.data);

		ls_buf_add(out, answer.bytes.data, len);
		answer.bytes = (struct ls_bytes){ end + 1, answer.bytes.len - len - 1 };
	}
	(void)pthread_mutex_unlock(&answer.lock);
}

static void serve(int fd)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	char heard[65536];

	next_part(&bytes);
	for (size_t at = 0; at < bytes.len;) {
		ssize_t n = send(fd, bytes.data + at, bytes.len - at, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	(void)shutdown(fd, SHUT_WR);
	/* To the end: closing with unread bytes would take back what was sent. */
	while (recv(fd, heard, sizeof heard, 0) > 0)
		;
}

static void *run(void *arg)
{
	int listener = *(int *)arg;

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			abort();
		serve(fd);
		(void)close(fd);
	}
	return NULL;
}

static void make_folder(const char *name)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", scratch_dir(), name);

	if (mkdir(path, 0700) != 0)
		abort();
}

const char *peer_start(void)
{
	static int listener = -1;
	pthread_t thread;

	if (listener >= 0)
		return where.sun_path;
	(void)signal(SIGPIPE, SIG_IGN);
	make_folder("run");
	make_folder("run/lockstep");
	(void)snprintf(where.sun_path, sizeof where.sun_path, "%s/run/lockstep/control.sock",
		scratch_dir());
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&where, sizeof where) != 0 ||
		listen(listener, 16) != 0 || pthread_create(&thread, NULL, run, &listener) != 0)
		abort();
	return where.sun_path;
}

void peer_answer(struct ls_bytes bytes, int separator)
{
	(void)pthread_mutex_lock(&answer.lock);
	answer.bytes = bytes;
	answer.separator = separator;
	(void)pthread_mutex_unlock(&answer.lock);
}
