/* nosync -- preloaded into a program, it leaves out syncs: what a build without them would do.
 *
 * The file that NOSYNC names says which: "all", "none", or a number: the nth call since the file
 * was written, counted from 1. Each call, once it is over, is told to the file that NOSYNC_LOG
 * names: "sync <n> done|left-out <path>".
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Whether this call is to be left out. An order is new when its file is another one. A test that
 * leaves out nothing proves nothing, so what goes wrong here ends the program. */
static bool told_to_leave_out(const char *order, long *out_number)
{
	static struct stat counted;
	static long count;
	char text[32] = "";
	int fd = open(order, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || read(fd, text, sizeof text - 1) < 0)
		abort();
	(void)close(fd);
	if (st.st_ino != counted.st_ino || st.st_ctim.tv_nsec != counted.st_ctim.tv_nsec)
		count = 0;
	counted = st;
	*out_number = ++count;
	return strncmp(text, "all", 3) == 0 || strtol(text, NULL, 10) == count;
}

static void tell(const char *log, long number, const char *what, int fd)
{
	char self[64], path[4096] = "", line[4200];
	int log_fd = open(log, O_WRONLY | O_CLOEXEC), len;

	(void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	if (readlink(self, path, sizeof path - 1) < 0)
		path[0] = '\0';
	len = snprintf(line, sizeof line, "sync %ld %s %s\n", number, what, path);
	if (log_fd < 0 || write(log_fd, line, (size_t)len) != len)
		abort();
	(void)close(log_fd);
}

static int sync_or_not(const char *name, int fd)
{
	const char *order = getenv("NOSYNC"), *log = getenv("NOSYNC_LOG");
	int (*call)(int) = NULL;
	bool left_out;
	int rc = 0;
	long number;

	*(void **)&call = dlsym(RTLD_NEXT, name);
	if (!order || !log)
		return call(fd);
	(void)pthread_mutex_lock(&mutex);
	left_out = told_to_leave_out(order, &number);
	if (!left_out)
		rc = call(fd);
	tell(log, number, left_out ? "left-out" : "done", fd);
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
