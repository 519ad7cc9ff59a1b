/* nosync -- preloaded into a program, it leaves out syncs: what a build without them would do.
 *
 * The file that NOSYNC names says which: "<order> all", "<order> none", or "<order> <number>": the
 * nth call since there is another order, counted from 1. Each call, once it is over, is told to the
 * file that NOSYNC_LOG names: "sync <n> done|left-out <path>". Both are opened at the start: later
 * the program's sandbox may forbid it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int order_fd = -1, log_fd = -1;

__attribute__((constructor)) static void open_both(void)
{
	const char *order = getenv("NOSYNC"), *log = getenv("NOSYNC_LOG");

	if (!order || !log)
		return;
	order_fd = open(order, O_RDONLY | O_CLOEXEC);
	log_fd = open(log, O_WRONLY | O_CLOEXEC);
	if (order_fd < 0 || log_fd < 0)
		abort();
}

/* Whether this call is to be left out. A test that leaves out nothing proves nothing, so what goes
 * wrong here ends the program. */
static bool told_to_leave_out(long *out_number)
{
	static long counted, count;
	char text[32] = "", *what = NULL;
	long order = 0;

	/* Empty for the moment in which it is written anew. */
	while (order <= 0) {
		ssize_t n = pread(order_fd, text, sizeof text - 1, 0);

		if (n < 0)
			abort();
		text[n] = '\0';
		order = strtol(text, &what, 10);
	}
	if (order != counted)
		count = 0;
	counted = order;
	*out_number = ++count;
	return strncmp(what, " all", 4) == 0 || strtol(what, NULL, 10) == count;
}

static void tell(long number, const char *what, int fd)
{
	char self[64], path[4096] = "", line[4200];
	int len;

	(void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	if (readlink(self, path, sizeof path - 1) < 0)
		path[0] = '\0';
	len = snprintf(line, sizeof line, "sync %ld %s %s\n", number, what, path);
	if (pwrite(log_fd, line, (size_t)len, 0) != len)
		abort();
}

static int sync_or_not(const char *name, int fd)
{
	int (*call)(int) = NULL;
	bool left_out;
	int rc = 0;
	long number;

	*(void **)&call = dlsym(RTLD_NEXT, name);
	if (order_fd < 0)
		return call(fd);
	(void)pthread_mutex_lock(&mutex);
	left_out = told_to_leave_out(&number);
	if (!left_out)
		rc = call(fd);
	tell(number, left_out ? "left-out" : "done", fd);
	(void)pthread_mutex_unlock(&mutex);
	return rc;
}

int fsync(int fd)
{
	return sync_or_not("fsync", fd);
}

int fdatasync(int fd)
{
	return sync_or_not("fdatasync", fd);
}
