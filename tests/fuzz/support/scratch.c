#include "tests/fuzz/support/scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/dev/shm/lockstep-fuzz-XXXXXX";
static pid_t owner;

static int remove_one(const char *name, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(name);
}

static void remove_all(void)
{
	if (getpid() == owner) /* libFuzzer's children have it on loan */
		(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_dir(void)
{
	if (owner)
		return path;
	(void)umask(077);
	if (!mkdtemp(path))
		abort();
	owner = getpid();
	(void)atexit(remove_all);
	return path;
}

void scratch_put(const char *name, struct ls_bytes bytes)
{
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s", scratch_dir(), name);
	const char *at = bytes.data;
	size_t left = bytes.len;
	int fd;

	(void)unlink(file);
	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		abort();
	while (left > 0) {
		ssize_t n = write(fd, at, left);

		if (n <= 0)
			abort();
		at += n;
		left -= (size_t)n;
	}
	(void)close(fd);
}
