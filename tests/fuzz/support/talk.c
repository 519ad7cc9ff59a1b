#include "tests/fuzz/support/talk.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ROUNDS_MAX 400

/* False when the server has closed. */
static bool hear(int fd)
{
	char heard[16384];
	ssize_t n = recv(fd, heard, sizeof heard, MSG_DONTWAIT);

	return n != 0;
}

static void talk(
	int fd, const uint8_t *data, size_t size, size_t piece, int after, void (*turn)(void))
{
	bool open = true;

	while (open && size > 0) {
		size_t len = size < piece ? size : piece;
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		turn();
		open = hear(fd);
		if (n <= 0)
			break;
		data += n;
		size -= (size_t)n;
	}
	for (int i = 0; open && i < after; i++) {
		turn();
		open = hear(fd);
	}
	(void)shutdown(fd, SHUT_WR);
	for (int i = 0; open && i < ROUNDS_MAX; i++) {
		turn();
		open = hear(fd);
	}
	if (open) /* whoever has sent all and wants no more is not kept */
		abort();
}

void talk_all(const char *path, const uint8_t *data, size_t size, int after, void (*turn)(void))
{
	struct sockaddr_un where = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(where.sun_path, sizeof where.sun_path, "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&where, sizeof where) != 0)
		abort();
	if (size > 1)
		talk(fd, data + 1, size - 1, data[0] ? data[0] * 16u : 65536, after, turn);
	(void)close(fd);
}
