#include "sys/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

#define REQUEST_BYTES_MAX 8192
#define WORDS_MAX 16
#define VALUE_BYTES_MAX (128 * 1024)
#define CHILDREN_MAX 16
#define FDS_MAX 2

static struct {
	int fd;
	pid_t pid;
} helper = { .fd = -1 };

/* What stands before the value in an answer. Both sides are the same program. */
struct head {
	struct ls_err err; /* its code says how it went */
	int errnum;
};

union control {
	char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

bool ls_helper_here(void)
{
	return helper.fd >= 0;
}

int ls_helper_fd(void)
{
	return helper.fd;
}

void ls_helper_stop(void)
{
	ls_fd_close(&helper.fd);
}

void ls_helper_answer_done(struct ls_helper_answer *answer)
{
	ls_secret_done(&answer->value);
	ls_fd_close(&answer->fd);
}

static ssize_t send_with(int fd, struct iovec *iov, size_t parts, const int *fds, size_t fd_count)
{
	union control control = { { 0 } };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = parts };
	ssize_t n;

	if (fd_count > 0) {
		struct cmsghdr *header;

		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof *fds);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof *fds);
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof *fds);
	}
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* The descriptors that came along are the caller's, -1 where there was none. */
static ssize_t receive_with(int fd, struct iovec *iov, size_t parts, int fds[FDS_MAX])
{
	union control control;
	struct msghdr message = { .msg_iov = iov,
		.msg_iovlen = parts,
		.msg_control = control.room,
		.msg_controllen = sizeof control.room };
	ssize_t n;

	for (size_t i = 0; i < FDS_MAX; i++)
		fds[i] = -1;
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return n;
	for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at))
		if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(at), at->cmsg_len - CMSG_LEN(0));
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < FDS_MAX; i++)
			ls_fd_close(&fds[i]);
		errno = EMSGSIZE;
		return -1;
	}
	return n;
}

/* ---- the helper's side ---- */

static void on_child(int signum)
{
	(void)signum; /* only ends the wait */
}

/* False when it is not a list of NUL-ended words. */
static bool split(char *text, size_t len, char *words[WORDS_MAX + 1], size_t *out_count)
{
	size_t count = 0;

	if (len == 0 || text[len - 1] != '\0')
		return false;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
		if (count == WORDS_MAX)
			return false;
		words[count++] = text + at;
	}
	words[count] = NULL;
	*out_count = count;
	return true;
}

static void answer(const struct ls_helper_service *service, struct ls_helper_call *call, int to_fd)
{
	struct head head = { 0 };
	enum ls_code code = service->func(service->arg, call, &head.err);
	struct iovec iov[2] = { { &head, sizeof head }, { 0 } };

	head.err.code = code;
	head.errnum = call->errnum;
	if (call->value.len <= VALUE_BYTES_MAX)
		iov[1] = (struct iovec){ call->value.data, call->value.len };
	/* Who asked may be gone. */
	(void)send_with(to_fd, iov, 2, &call->out_fd, call->out_fd >= 0 ? 1 : 0);
	ls_secret_done(&call->value);
	ls_fd_close(&call->out_fd);
}

/* Whether a child was forked. In the child it does not return. */
static bool work(const struct ls_helper_service *service, int fd, struct ls_helper_call *call)
{
	struct sigaction deflt = { .sa_handler = SIG_DFL };
	sigset_t none;
	pid_t pid;

	if (service->at_once(call->words[0])) {
		answer(service, call, call->gone_fd);
		return false;
	}
	pid = fork();
	if (pid != 0)
		return pid > 0; /* without a child the asker sees its socket closed */
	(void)close(fd);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would bound it any more */
	(void)sigemptyset(&none);
	(void)sigaction(SIGCHLD, &deflt, NULL);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	answer(service, call, call->gone_fd);
	_exit(0);
}

static bool serve_one(const struct ls_helper_service *service, int fd, int *children)
{
	char text[REQUEST_BYTES_MAX], *words[WORDS_MAX + 1];
	struct iovec iov = { text, sizeof text };
	struct ls_helper_call call = { .words = words, .out_fd = -1 };
	int fds[FDS_MAX];
	ssize_t n = receive_with(fd, &iov, 1, fds);

	if (n == 0 || (n < 0 && errno != EMSGSIZE))
		return false;
	call.gone_fd = fds[0];
	call.fd = fds[1];
	if (n > 0 && fds[0] >= 0 && split(text, (size_t)n, words, &call.count))
		*children += work(service, fd, &call);
	ls_fd_close(&fds[0]);
	ls_fd_close(&fds[1]);
	return true;
}

/* SIGCHLD is blocked but for the wait, so that none is missed between a look and the wait. */
static _Noreturn void serve(const struct ls_helper_service *service, int fd)
{
	struct sigaction wake = { .sa_handler = on_child };
	sigset_t block, open;
	int children = 0;
	bool asked = true;

	(void)prctl(PR_SET_NAME, "lockstep-helper");
	/* Its end is the daemon's: who tells all processes of a service or a terminal to end tells
	 * the daemon too, and what runs is ended in order. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)sigemptyset(&block);
	(void)sigprocmask(SIG_SETMASK, &block, &open);
	open = block;
	(void)sigaddset(&block, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &block, NULL);
	(void)sigaction(SIGCHLD, &wake, NULL);
	while (asked) {
		struct pollfd wait = { .fd = fd, .events = children < CHILDREN_MAX ? POLLIN : 0 };

		while (children > 0 && waitpid(-1, NULL, WNOHANG) > 0)
			children--;
		if (ppoll(&wait, 1, NULL, &open) > 0)
			asked = serve_one(service, fd, &children);
	}
	/* Each child sees for itself that nobody waits for it any more. */
	while (children > 0 && waitpid(-1, NULL, 0) > 0)
		children--;
	_exit(0);
}

enum ls_code ls_helper_start(const struct ls_helper_service *service, struct ls_err *err)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return LS_FAIL_ERRNO(err, "make the helper's socket");
	helper.pid = fork();
	if (helper.pid == 0) {
		(void)close(fds[0]);
		serve(service, fds[1]);
	}
	(void)close(fds[1]);
	if (helper.pid < 0) {
		LS_FAIL_ERRNO(err, "start the helper process");
		(void)close(fds[0]);
		return err ? err->code : LS_E_IO;
	}
	helper.fd = fds[0];
	return LS_OK;
}

/* ---- the asker's side ---- */

static enum ls_code gone(const char *verb, struct ls_err *err)
{
	return LS_FAIL(err, LS_E_FAILED, "%s: the helper process gave no answer", verb);
}

static enum ls_code send_request(const char *const *words, int reply_fd, int fd, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	int fds[FDS_MAX] = { reply_fd, fd };
	struct iovec iov;

	for (size_t i = 0; words[i]; i++)
		ls_buf_add(&text, words[i], strlen(words[i]) + 1);
	if (text.len > REQUEST_BYTES_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "%s: too long for the helper process", words[0]);
	iov = (struct iovec){ text.data, text.len };
	if (send_with(helper.fd, &iov, 1, fds, fd >= 0 ? 2 : 1) < 0)
		return gone(words[0], err);
	return LS_OK;
}

static enum ls_code await(int fd, const char *verb, int64_t timeout_ms, struct ls_err *err)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int64_t deadline_ms = ls_mono_ms() + timeout_ms;

	for (;;) {
		int64_t left = deadline_ms - ls_mono_ms();
		int rc = poll(&wait, 1, left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left);

		if (rc > 0)
			return LS_OK;
		if (rc == 0 && left <= 0)
			return LS_FAIL(err, LS_E_TIMEOUT,
				"%s: the helper process did not answer in time", verb);
	}
}

static enum ls_code receive_answer(
	int fd, const char *verb, struct ls_helper_answer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret value = { 0 };
	ssize_t len = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
	struct head head;
	struct iovec iov[2] = { { &head, sizeof head }, { 0 } };
	int fds[FDS_MAX];

	if (len < (ssize_t)sizeof head || len > (ssize_t)(sizeof head + VALUE_BYTES_MAX))
		return gone(verb, err);
	if ((size_t)len > sizeof head)
		ls_secret_alloc(&value, (size_t)len - sizeof head);
	iov[1] = (struct iovec){ value.data, value.len };
	if (receive_with(fd, iov, 2, fds) != len)
		return gone(verb, err);
	ls_fd_close(&fds[1]);
	if (err)
		*err = head.err;
	out->errnum = head.errnum;
	out->fd = fds[0];
	out->value = value;
	value = (struct ls_secret){ 0 };
	return head.err.code;
}

enum ls_code ls_helper_ask(const char *const *words, int fd, int64_t timeout_ms,
	struct ls_helper_answer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer got = { .fd = -1 };
	LS_CLEANUP(ls_fd_close) int ours = -1;
	LS_CLEANUP(ls_fd_close) int theirs = -1;
	enum ls_code code;
	int fds[2];

	if (out)
		*out = (struct ls_helper_answer){ .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return LS_FAIL_ERRNO(err, "make a socket");
	ours = fds[0];
	theirs = fds[1];
	LS_TRY(send_request(words, theirs, fd, err));
	ls_fd_close(&theirs); /* so that its end can be seen */
	LS_TRY(await(ours, words[0], timeout_ms, err));
	code = receive_answer(ours, words[0], &got, err);
	if (out) {
		*out = got;
		got = (struct ls_helper_answer){ .fd = -1 };
	}
	return code;
}
