#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/server_conn.h"

#define BACKLOG 1024 /* a burst waits here; beyond it a connection is refused at once */

/* Removes a socket of an earlier time. */
static enum ls_code clear_way(
	const struct ls_server_place *place, const char *name, struct ls_err *err)
{
	struct stat st;

	if (fstatat(place->where.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return LS_OK;
	if (!S_ISSOCK(st.st_mode))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' exists and is no socket", place->path);
	(void)unlinkat(place->where.dir_fd, name, 0); /* bind tells when it stayed */
	return LS_OK;
}

static enum ls_code listen_at(struct ls_server_place *place, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *hidden = NULL;
	LS_CLEANUP(ls_sockpath_done) struct ls_sockpath first = { .dir_fd = -1 };
	const char *name = strrchr(path, '/');
	int dir_fd;

	name = name ? name + 1 : path;
	LS_TRY(ls_sockpath_init(&place->where, place->path, err));
	dir_fd = place->where.dir_fd;
	LS_TRY(clear_way(place, place->where.name, err));
	hidden = ls_format("%.*s.%s.new", (int)(name - path), path, name);
	LS_TRY(ls_sockpath_init(&first, hidden, err));
	LS_TRY(clear_way(place, first.name, err));
	place->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (place->fd < 0)
		return LS_FAIL_ERRNO(err, "make a socket");
	if (bind(place->fd, (const struct sockaddr *)&first.addr, sizeof first.addr) != 0)
		return LS_FAIL_ERRNO(err, "bind '%s'", hidden);
	place->hidden = ls_strdup(first.name);
	if (fchmodat(dir_fd, first.name, 0666, 0) != 0 ||
		fstatat(dir_fd, first.name, &place->socket, AT_SYMLINK_NOFOLLOW) != 0 ||
		listen(place->fd, BACKLOG) != 0)
		return LS_FAIL_ERRNO(err, "listen at '%s'", path);
	return LS_OK;
}

enum ls_code ls_server_place_show(struct ls_server_place *place, struct ls_err *err)
{
	LS_TRY(clear_way(place, place->where.name, err));
	if (renameat(place->where.dir_fd, place->hidden, place->where.dir_fd, place->where.name) !=
		0)
		return LS_FAIL_ERRNO(err, "put '%s' in place", place->path);
	ls_free_str(&place->hidden);
	return LS_OK;
}

static void remove_socket(struct ls_server_place *place)
{
	const char *name = place->hidden ? place->hidden : place->where.name;
	struct stat now;

	if (place->where.dir_fd < 0 || !place->socket.st_ino ||
		fstatat(place->where.dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	/* Another daemon may have put its own there. */
	if (now.st_ino == place->socket.st_ino && now.st_dev == place->socket.st_dev)
		(void)unlinkat(place->where.dir_fd, name, 0);
}

void ls_server_place_free(struct ls_server_place **place_ptr)
{
	struct ls_server_place *place = LS_TAKE(*place_ptr);

	if (!place)
		return;
	remove_socket(place);
	ls_fd_close(&place->fd);
	ls_sockpath_done(&place->where);
	free(place->path);
	free(place->hidden);
	free(place);
}

enum ls_code ls_server_place_new(const char *path, struct ls_server_place **out, struct ls_err *err)
{
	LS_CLEANUP(ls_server_place_free)
	struct ls_server_place *place = ls_alloc(1, sizeof *place);

	place->where.dir_fd = -1;
	place->fd = -1;
	place->path = ls_strdup(path);
	LS_TRY(listen_at(place, path, err));
	*out = LS_TAKE(place);
	return LS_OK;
}
