/* The sandbox, closed for real in a child: what still works in it, and what does not any more. The
 * long list of what a thread of the running daemon is refused is in tests/e2e/intruder.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/sandbox.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static char *dir, *own, *other, *file;

static void setup(void)
{
	char template[] = "/var/tmp/ls-sandbox-XXXXXX";

	dir = ls_strdup(mkdtemp(template));
	own = ls_format("%s/own", dir);
	other = ls_format("%s/other", dir);
	file = ls_format("%s/other/file", dir);
	ck_assert_int_eq(mkdir(own, 0700), 0);
	ck_assert_int_eq(mkdir(other, 0700), 0);
	ck_ok(ls_file_create(AT_FDCWD, file, LS_BYTES_STR("kept"), 0600, (gid_t)-1, &err));
}

static void teardown(void)
{
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
	free(dir);
	free(own);
	free(other);
	free(file);
}

static struct ls_sandbox_report report;

static enum ls_code close_it(void)
{
	char *const write_dirs[] = { own, NULL };
	char *const read_paths[] = { other, NULL };

	return ls_sandbox_close(
		&(struct ls_sandbox){ .write_dirs = write_dirs, .read_paths = read_paths }, &report,
		&err);
}

/* Checks in the child: what the test library does after a test needs more than the sandbox lets. */
#define MUST(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s: ", __LINE__, #condition);                    \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)
#define NO(call, want)                                                                             \
	do {                                                                                       \
		errno = 0;                                                                         \
		MUST((long)(call) == -1 && errno == (want), "%s", strerrorname_np(errno));         \
	} while (0)
#define YES(call) MUST((long)(call) >= 0, "%s", strerrorname_np(errno))
#define FINE(call) MUST((call) == LS_OK, "%s", err.text)

static void in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* A test that runs in a child of its own. */
#define SANDBOXED(name)                                                                            \
	static void name##_body(void);                                                             \
	START_TEST(name)                                                                           \
	{                                                                                          \
		in_child(name##_body);                                                             \
	}                                                                                          \
	END_TEST                                                                                   \
	static void name##_body(void)

static char *in(const char *above, const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", above, name);
	return path;
}

SANDBOXED(it_says_what_it_closed)
{
	MUST(!ls_sandbox_closed(), "not so");
	FINE(close_it());
	MUST(ls_sandbox_closed(), "not so");
	MUST(strstr(report.closed, "no_new_privs, no capabilities, seccomp"), "%s", report.closed);
	MUST(strstr(report.closed, "Landlock ABI "), "%s", report.closed);
	MUST(!report.missing[0], "%s", report.missing);
	MUST(close_it() == LS_E_FAILED, "%s", err.text); /* once only */
}

SANDBOXED(without_its_directories_nothing_is_closed)
{
	char *const write_dirs[] = { in(dir, "none"), NULL };
	char *const read_paths[] = { NULL };

	MUST(ls_sandbox_close(
		     &(struct ls_sandbox){ .write_dirs = write_dirs, .read_paths = read_paths },
		     &report, &err) == LS_E_NOT_FOUND,
		"%s", err.text);
	MUST(!ls_sandbox_closed(), "not so");
	YES(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	YES(open(file, O_RDWR | O_CLOEXEC));
}

SANDBOXED(files_change_in_its_own_directories_only)
{
	char *from;
	int fd;

	FINE(close_it());
	FINE(ls_file_create(AT_FDCWD, in(own, "new"), LS_BYTES_STR("x"), 0600, (gid_t)-1, &err));
	from = ls_strdup(in(own, "new"));
	YES(mkdir(in(own, "sub"), 0700));
	YES(rename(from, in(own, "sub/moved"))); /* from one directory to another */
	YES(symlink("x", in(own, "link")));
	fd = open(file, O_RDONLY | O_CLOEXEC);
	YES(fd);
	NO(fchmod(fd, 0666), EPERM);
	NO(fchown(fd, 1, 1), EPERM);
	NO(ftruncate(fd, 0), EINVAL); /* not open for writing */
	NO(open(file, O_WRONLY | O_CLOEXEC), EACCES);
	NO(open(file, O_RDONLY | O_TRUNC | O_CLOEXEC), EACCES);
	NO(open(in(other, "new"), O_RDONLY | O_CREAT | O_CLOEXEC, 0600), EACCES);
	NO(mkdir(in(other, "new"), 0700), EACCES);
	NO(unlink(file), EACCES);
	NO(chmod(file, 0666), EPERM);
	NO(link(file, in(own, "linked")), EPERM);
	NO(rename(file, in(own, "moved")), EACCES);
	NO(open("/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);
	NO(open("/proc/self/mem", O_WRONLY | O_CLOEXEC), EACCES);
	NO(truncate(file, 0), EPERM);
	free(from);
}

SANDBOXED(nothing_is_executed)
{
	char self[] = "/bin/true";
	char *argv[] = { self, NULL };
	pid_t pid;

	FINE(close_it());
	NO(execve(self, argv, argv + 1), EPERM);
	NO(fexecve(open(self, O_PATH | O_CLOEXEC), argv, argv + 1), EPERM);
	NO(syscall(SYS_memfd_create, "x", 0), EPERM);
	MUST((posix_spawn(&pid, self, NULL, NULL, argv, argv + 1)) != (0), "it ran");
#ifndef __SANITIZE_ADDRESS__
	NO(fork(), EPERM);
#endif
	NO((long)mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		EPERM);
}

static void *as_a_thread(void *arg)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*(bool *)arg = fd >= 0 && listen(fd, 1) != 0 && errno == EPERM;
	return NULL;
}

SANDBOXED(nobody_is_listened_to_in_later_threads_too)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	LS_CLEANUP(ls_fd_close) int other_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	LS_CLEANUP(ls_fd_close) int before = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool refused = false;
	pthread_t thread;
	int fds[2];

	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", in(other, "bus"));
	YES(bind(other_fd, (struct sockaddr *)&addr, sizeof addr));
	YES(listen(other_fd, 1));
	FINE(close_it());
	NO(bind(before, (struct sockaddr *)&addr, sizeof addr), EPERM);
	NO(listen(before, 1), EPERM);
	NO(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), EPERM);
	NO(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	NO(socket(AF_NETLINK, SOCK_RAW, 0), EPERM);
	NO(socket(AF_INET, SOCK_RAW, 1), EPERM);
	/* A pair leads to nobody else. */
	YES(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	MUST((connect(fds[0], (struct sockaddr *)&addr, sizeof addr)) == (-1), "%s",
		strerrorname_np(errno));
	MUST((errno) == (EISCONN), "%s", strerrorname_np(errno));
	MUST((pthread_create(&thread, NULL, as_a_thread, &refused)) == (0), "%s",
		strerrorname_np(errno));
	MUST((pthread_join(thread, NULL)) == (0), "%s", strerrorname_np(errno));
	MUST(refused, "not so");
}

SANDBOXED(no_other_process_is_touched)
{
	pid_t child = fork();

	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	FINE(close_it());
	NO(kill(child, 0), EPERM);
	NO(kill(child, SIGKILL), EPERM);
	NO(syscall(SYS_tgkill, child, child, SIGKILL), ENOSYS);
	NO(fcntl(STDERR_FILENO, F_SETOWN, child), EPERM);
	NO(syscall(SYS_pidfd_open, child, 0), EPERM);
	MUST((waitpid(child, NULL, WNOHANG)) == (0), "%s", strerrorname_np(errno));
	/* The test's runner ends it: it is in the same process group. */
}

SANDBOXED(what_nobody_knows_is_not_there)
{
	FINE(close_it());
	NO(syscall(1023), ENOSYS);
	NO(setuid(1), EPERM);
	NO(syscall(SYS_mount, "none", own, "tmpfs", 0, NULL), EPERM);
	NO(syscall(SYS_unshare, 0), EPERM);
	MUST((raise(0)) == (0), "%s", strerrorname_np(errno)); /* to itself it may send signals */
}

static void face_network(void)
{
	char *const none[] = { NULL };
	char *const read_paths[] = { own, NULL };

	FINE(ls_sandbox_close(
		&(struct ls_sandbox){
			.write_dirs = none, .read_paths = read_paths, .faces_network = true },
		&report, &err));
}

SANDBOXED(what_faces_the_network_reaches_unix_sockets_and_nothing_else)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof v4;
	LS_CLEANUP(ls_fd_close) int unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	LS_CLEANUP(ls_fd_close) int tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	LS_CLEANUP(ls_fd_close) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	LS_CLEANUP(ls_fd_close) int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	LS_CLEANUP(ls_fd_close) int fd = -1;

	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", in(other, "control.sock"));
	YES(bind(unix_fd, (struct sockaddr *)&addr, sizeof addr));
	YES(listen(unix_fd, 1));
	YES(bind(tcp_fd, (struct sockaddr *)&v4, sizeof v4));
	YES(listen(tcp_fd, 1));
	YES(getsockname(tcp_fd, (struct sockaddr *)&v4, &len));
	YES(connect(client, (struct sockaddr *)&v4, sizeof v4));
	face_network();
	YES(accept4(tcp_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	YES(fd);
	YES(connect(fd, (struct sockaddr *)&addr, sizeof addr));
	YES(socket(
		AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)); /* the service manager and the journal */
	NO(socket(AF_UNIX, SOCK_SEQPACKET, 0), EPERM);
	NO(socket(AF_INET, SOCK_STREAM, 0), EPERM);
	NO(socket(AF_INET, SOCK_DGRAM, 0), EPERM);
	NO(socket(AF_INET6, SOCK_STREAM, 0), EPERM);
	NO(socket(AF_INET6, SOCK_DGRAM, 0), EPERM);
	NO(socket(AF_NETLINK, SOCK_RAW, 0), EPERM);
	NO(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	NO(connect(late, (struct sockaddr *)&v4, sizeof v4), EACCES); /* made before: by Landlock */
	NO(listen(late, 1), EPERM);
	NO(bind(late, (struct sockaddr *)&v4, sizeof v4), EPERM);
}

#ifdef __SANITIZE_ADDRESS__ /* which writes its reports, and starts a thread to look for leaks */
#define NO_WRITING EACCES
#else
#define NO_WRITING EPERM
#endif

SANDBOXED(what_faces_the_network_reads_its_directory_and_writes_nothing)
{
	char self[] = "/bin/true";
	char *argv[] = { self, NULL };
	pid_t writer;
	int status;

	/* Somebody else puts a file there, later. */
	int go[2];
	char c;

	YES(pipe2(go, O_CLOEXEC));
	writer = fork();
	if (writer == 0) {
		struct ls_bytes text = LS_BYTES_STR("x");

		_exit(read(go[0], &c, 1) != 1 ||
			ls_file_create(AT_FDCWD, in(own, "late"), text, 0600, (gid_t)-1, &err));
	}
	face_network();
	NO(open(in(own, "late"), O_RDONLY | O_CLOEXEC), ENOENT);
	YES(write(go[1], "x", 1));
	YES(waitpid(writer, &status, 0));
	MUST(status == 0, "the writer: %d", status);
	YES(open(in(own, "late"), O_RDONLY | O_CLOEXEC));
	NO(open(in(own, "late"), O_WRONLY | O_CLOEXEC), NO_WRITING);
	NO(open(in(own, "late"), O_RDWR | O_CLOEXEC), NO_WRITING);
	MUST(open(in(own, "new"), O_RDONLY | O_CREAT | O_CLOEXEC, 0600) < 0, "it was made");
	NO(open(file, O_RDONLY | O_CLOEXEC), EACCES);
	NO(unlink(in(own, "late")), EPERM);
	NO(rename(in(own, "late"), in(own, "late")), EPERM);
	NO(mkdir(in(own, "sub"), 0700), EPERM);
	NO(symlink("x", in(own, "link")), EPERM);
	NO(execve(self, argv, argv + 1), EPERM);
#ifndef __SANITIZE_ADDRESS__
	NO(open("/etc/passwd", O_RDONLY | O_CLOEXEC), EACCES);
	NO(fork(), EPERM);
	NO(syscall(SYS_clone, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND, 0, 0, 0, 0), EPERM);
#endif
	NO(kill(getppid(), 0), EPERM);
}

LS_TEST_MAIN_FIXTURE("sandbox", setup, teardown, it_says_what_it_closed,
	without_its_directories_nothing_is_closed, files_change_in_its_own_directories_only,
	nothing_is_executed, nobody_is_listened_to_in_later_threads_too,
	no_other_process_is_touched, what_nobody_knows_is_not_there,
	what_faces_the_network_reaches_unix_sockets_and_nothing_else,
	what_faces_the_network_reads_its_directory_and_writes_nothing)
