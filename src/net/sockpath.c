#include "net/sockpath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum ls_code ls_sockpath_init(struct ls_sockpath *sockpath, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_sockpath_done)
	struct ls_sockpath fresh = { .dir_fd = -1, .addr = { .sun_family = AF_UNIX } };
	const char *slash = strrchr(path, '/');
	LS_CLEANUP(ls_free_str)
	char *dir = slash == path ? ls_strdup("/")
		    : slash       ? ls_strndup(path, (size_t)(slash - path))
				  : ls_strdup(".");
	const size_t room = sizeof fresh.addr.sun_path;
	int n;

	fresh.name = slash ? slash + 1 : path;
	if (fresh.name[0] == '\0')
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a socket's path", path);
	fresh.dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fresh.dir_fd < 0)
		return LS_FAIL_ERRNO(err, "open directory '%s'", dir);
	n = snprintf(fresh.addr.sun_path, room, "%s", path);
	if ((size_t)n >= room)
		n = snprintf(
			fresh.addr.sun_path, room, "/proc/self/fd/%d/%s", fresh.dir_fd, fresh.name);
	if ((size_t)n >= room)
		return LS_FAIL(err, LS_E_REFUSED, "a socket's name is too long: '%s'", fresh.name);
	*sockpath = fresh;
	fresh.dir_fd = -1;
	return LS_OK;
}

void ls_sockpath_done(struct ls_sockpath *sockpath)
{
	ls_fd_close(&sockpath->dir_fd);
}
