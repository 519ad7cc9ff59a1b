#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

#define BACKLOG 256

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static bool parse(const char *text, union address *out)
{
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';
	char host[INET6_ADDRSTRLEN];
	const char *start = text + (bracketed ? 1 : 0);
	const char *end = colon && bracketed ? colon - 1 : colon;
	int64_t port;

	if (!colon || strlen(text) >= LS_LISTEN_TEXT_SIZE || end < start ||
		(size_t)(end - start) >= sizeof host || (bracketed && *end != ']') ||
		!ls_text_number(colon + 1, 0, 65535, &port))
		return false;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	*out = (union address){ 0 };
	if (bracketed) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
	}
	out->v4.sin_family = AF_INET;
	out->v4.sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1;
}

bool ls_listen_valid(const char *text, int64_t *out_port)
{
	union address address;

	if (!parse(text, &address))
		return false;
	if (out_port)
		*out_port = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port
								    : address.v4.sin_port);
	return true;
}

/* An answer's head and body leave in two pieces: the second must not wait for the client to
 * acknowledge the first. Accepted sockets inherit it. */
static bool set_options(int fd)
{
	int yes = 1;

	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0;
}

enum ls_code ls_listen_tcp(const char *text, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	union address address;
	bool v6;
	int yes = 1, no = 0;

	if (!parse(text, &address))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is no IP:PORT or [IPv6]:PORT", text);
	v6 = address.any.sa_family == AF_INET6;
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "make a socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
		(v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) != 0) ||
		!set_options(fd) ||
		bind(fd, &address.any, v6 ? sizeof address.v6 : sizeof address.v4) != 0 ||
		listen(fd, BACKLOG) != 0)
		return LS_FAIL_ERRNO(err, "listen at %s", text);
	*out_fd = fd;
	fd = -1;
	return LS_OK;
}

enum ls_code ls_listen_adopt(int fd, struct ls_err *err)
{
	union address address;
	socklen_t len = sizeof address, int_len = sizeof(int);
	int listens = 0, type = 0, flags = fcntl(fd, F_GETFL);

	if (getsockname(fd, &address.any, &len) != 0 ||
		(address.any.sa_family != AF_INET && address.any.sa_family != AF_INET6) ||
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &int_len) != 0 || type != SOCK_STREAM ||
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_len) != 0 || !listens)
		return LS_FAIL(err, LS_E_REFUSED,
			"the socket that was handed over does not listen for TCP");
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || !set_options(fd))
		return LS_FAIL_ERRNO(err, "prepare the socket that was handed over");
	return LS_OK;
}

void ls_listen_text(int fd, char out[LS_LISTEN_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "?";
	union address address = { 0 };
	socklen_t len = sizeof address;

	(void)getsockname(fd, &address.any, &len);
	if (address.any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof host);
		(void)snprintf(out, LS_LISTEN_TEXT_SIZE, "[%s]:%u", host,
			(unsigned)ntohs(address.v6.sin6_port));
		return;
	}
	(void)inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof host);
	(void)snprintf(
		out, LS_LISTEN_TEXT_SIZE, "%s:%u", host, (unsigned)ntohs(address.v4.sin_port));
}
