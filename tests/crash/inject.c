/* inject -- runs a program and strikes at the nth of its calls that change a file system.
 *
 * usage: inject FAULT N PROGRAM [ARGUMENT…]
 *
 * FAULT is what happens at the Nth such call, counted over all threads from the moment of arming:
 *   list          nothing: every call is told, N is not looked at
 *   kill          the process dies by SIGKILL before the call
 *   tear          a write does half of its work, then the process dies
 *   short         a write does half of its work and says so
 *   enospc, eio   the call fails
 *   full          from here on every call that needs space fails, until it is disarmed; what the
 *                 program says does not: its words are judged, and go to no disk of its own
 *
 * A seccomp filter has the kernel stop at these calls alone, so that all others run at full speed;
 * nothing needs to be known about the program, and what it calls tomorrow is found by itself. Calls
 * on pipes and event descriptors do not count, and those on sockets only for `list` and `kill`.
 * Programs that the program starts run on untouched, unless they are the program itself.
 *
 * Reads commands as lines: "arm" (answered by "armed"), "disarm" (answered by "disarmed"), "go",
 * "term" (a SIGTERM); the end of input kills the program, which starts at the first line. Tells
 * "point N CALL NAME" for what was struck, and last "exit STATUS" or "signal NUMBER". The program's
 * output goes to standard error.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#include <elf.h>
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "inject needs to know how this machine passes system calls"
#endif

#define NONE (-1)
#define NAME_SIZE PATH_MAX

enum fault {
	FAULT_LIST,
	FAULT_KILL,
	FAULT_TEAR,
	FAULT_SHORT,
	FAULT_ENOSPC,
	FAULT_EIO,
	FAULT_FULL,
	FAULT_COUNT
};
static const char *const fault_names[] = { "list", "kill", "tear", "short", "enospc", "eio",
	"full" };
static_assert(sizeof fault_names / sizeof fault_names[0] == FAULT_COUNT, "a fault without a name");

/* Which argument is what; NONE: none is. A path without a directory is relative to the process's
 * own. */
struct call {
	long nr;
	const char *name;
	int fd, dir, path, flags; /* flags: of an open */
	bool is_write;            /* argument 2 is a number of bytes */
	bool takes_space;
};

#define ON_FD(call, ...)                                                                           \
	{                                                                                          \
		SYS_##call, #call, 0, NONE, NONE, NONE, __VA_ARGS__                                \
	}
#define ON_PATH(call, path, ...)                                                                   \
	{                                                                                          \
		SYS_##call, #call, NONE, NONE, path, NONE, __VA_ARGS__                             \
	}
#define ON_AT(call, dir, path, ...)                                                                \
	{                                                                                          \
		SYS_##call, #call, NONE, dir, path, NONE, __VA_ARGS__                              \
	}

static const struct call calls[] = {
	ON_FD(write, true, true),
	ON_FD(pwrite64, true, true),
	ON_FD(writev, false, true),
	ON_FD(pwritev, false, true),
	ON_FD(pwritev2, false, true),
	ON_FD(sendto, false, false),
	ON_FD(sendmsg, false, false),
	ON_FD(sendfile, false, true),
	{ SYS_copy_file_range, "copy_file_range", 2, NONE, NONE, NONE, false, true },
	ON_FD(fallocate, false, true),
	ON_FD(ftruncate, false, true),
	ON_FD(fsync, false, false),
	ON_FD(fdatasync, false, false),
	ON_FD(sync_file_range, false, false),
	ON_FD(syncfs, false, false),
	ON_FD(fchmod, false, false),
	ON_FD(fchown, false, false),
	{ SYS_openat, "openat", NONE, 0, 1, 2, false, true },
	{ SYS_openat2, "openat2", NONE, 0, 1, NONE, false, true },
	ON_PATH(truncate, 0, false, true),
	ON_AT(mkdirat, 0, 1, false, true),
	ON_AT(mknodat, 0, 1, false, true),
	ON_AT(unlinkat, 0, 1, false, false),
	ON_AT(renameat2, 2, 3, false, false),
	ON_AT(linkat, 2, 3, false, true),
	ON_AT(symlinkat, 1, 2, false, true),
	ON_AT(fchmodat, 0, 1, false, false),
	ON_AT(fchownat, 0, 1, false, false),
	ON_AT(utimensat, 0, 1, false, false),
#ifdef SYS_fchmodat2
	ON_AT(fchmodat2, 0, 1, false, false),
#endif
#ifdef SYS_renameat
	ON_AT(renameat, 2, 3, false, false),
#endif
#ifdef SYS_open /* what newer machines no longer have */
	{ SYS_open, "open", NONE, NONE, 0, 1, false, true },
	ON_PATH(creat, 0, false, true),
	ON_PATH(mkdir, 0, false, true),
	ON_PATH(mknod, 0, false, true),
	ON_PATH(unlink, 0, false, false),
	ON_PATH(rmdir, 0, false, false),
	ON_PATH(rename, 1, false, false),
	ON_PATH(link, 1, false, true),
	ON_PATH(symlink, 1, false, true),
	ON_PATH(chmod, 0, false, false),
	ON_PATH(chown, 0, false, false),
	ON_PATH(lchown, 0, false, false),
#endif
};
#define CALLS (sizeof calls / sizeof calls[0])
#define OPEN_WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

static struct {
	enum fault fault;
	long nth, count;
	bool armed, struck, dying;
	pid_t pid;
	int go_fd; /* the program waits for a byte */
	char exe[NAME_SIZE];
	pid_t cut_pid; /* in the middle of a shortened write */
	uint64_t cut_bytes;
} run;

static void die(const char *what)
{
	perror(what);
	exit(125);
}

/* ---- the program's side ---- */

/* Three instructions for each call, five for one whose flags tell whether it writes. */
static void install_filter(void)
{
	struct sock_filter filter[5 * CALLS + 5];
	struct sock_fprog program = { .filter = filter };
	unsigned short n = 0;

#define EMIT(...) filter[n++] = (struct sock_filter)__VA_ARGS__
	EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	for (size_t i = 0; i < CALLS; i++) {
		bool flags = calls[i].flags != NONE;
		size_t at = offsetof(struct seccomp_data, args) +
			    (flags ? (size_t)calls[i].flags * sizeof(uint64_t) : 0);

		EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].nr, 0, flags ? 4 : 1));
		if (flags) {
			EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)at));
			EMIT(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, OPEN_WRITES, 1, 0));
			EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
		}
		EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
	}
	EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#undef EMIT
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		die("inject: seccomp");
}

static void become(char **argv, int go_fd)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;
	char byte;

	if (read(go_fd, &byte, 1) != 1) /* until it is traced: before, the filter could not tell */
		_exit(125);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, 1) < 0)
		die("inject: redirect");
	install_filter();
	(void)execvp(argv[0], argv);
	die(argv[0]);
}

/* ---- looking at the stopped thread ---- */

static bool proc_link(pid_t pid, const char *what, char out[NAME_SIZE])
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	n = readlink(path, out, NAME_SIZE - 1);
	out[n < 0 ? 0 : n] = '\0';
	return n >= 0;
}

static void fd_name(pid_t pid, int fd, char out[NAME_SIZE])
{
	char what[32];

	if (fd == AT_FDCWD)
		(void)snprintf(what, sizeof what, "cwd");
	else
		(void)snprintf(what, sizeof what, "fd/%d", fd);
	(void)proc_link(pid, what, out);
}

/* 'f' for what is in a file system, 's' for a socket, '-' for what holds nothing. */
static char fd_kind(pid_t pid, int fd)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
	if (stat(path, &st) != 0)
		return '-';
	if (S_ISSOCK(st.st_mode))
		return 's';
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? 'f' : '-';
}

static void read_text(pid_t pid, uint64_t address, char out[NAME_SIZE])
{
	struct iovec local = { out, 0 }, remote = { (void *)(uintptr_t)address, 0 };
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	ssize_t n;

	/* Not beyond its page unless it goes on there: the next may not exist. */
	local.iov_len = remote.iov_len = page - address % page;
	if (local.iov_len > NAME_SIZE - 1)
		local.iov_len = remote.iov_len = NAME_SIZE - 1;
	n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
	out[n < 0 ? 0 : n] = '\0';
	if (n > 0 && strlen(out) == (size_t)n && (size_t)n < NAME_SIZE - 1) {
		local = (struct iovec){ out + n, NAME_SIZE - 1 - (size_t)n };
		remote =
			(struct iovec){ (void *)(uintptr_t)(address + (uint64_t)n), local.iov_len };
		ssize_t more = process_vm_readv(pid, &local, 1, &remote, 1, 0);

		out[n + (more > 0 ? more : 0)] = '\0';
	}
}

static void call_name(
	pid_t pid, const struct call *call, const uint64_t *args, char out[2 * NAME_SIZE])
{
	char dir[NAME_SIZE], path[NAME_SIZE];

	if (call->fd != NONE) {
		fd_name(pid, (int)args[call->fd], dir);
		(void)snprintf(out, 2 * NAME_SIZE, "%s", dir);
		return;
	}
	read_text(pid, args[call->path], path);
	fd_name(pid, call->dir == NONE ? AT_FDCWD : (int)args[call->dir], dir);
	if (path[0] == '/')
		(void)snprintf(out, 2 * NAME_SIZE, "%s", path);
	else
		(void)snprintf(out, 2 * NAME_SIZE, "%s/%s", dir, path);
}

/* ---- striking ---- */

static void set_result(pid_t pid, long result)
{
#if defined(__x86_64__)
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
		return;
	regs.orig_rax = (unsigned long long)-1;
	regs.rax = (unsigned long long)result;
	(void)ptrace(PTRACE_SETREGS, pid, NULL, &regs);
#else
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof regs };
	int none = -1;
	struct iovec nr = { &none, sizeof none };

	if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io) != 0)
		return;
	regs.regs[0] = (unsigned long long)result;
	(void)ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &nr);
	(void)ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &io);
#endif
}

/* The third argument, where writes have their number of bytes. */
static void set_bytes(pid_t pid, uint64_t bytes)
{
	struct user_regs_struct regs;
	struct iovec io = { &regs, sizeof regs };

	if (ptrace(PTRACE_GETREGSET, pid, (void *)1 /* NT_PRSTATUS */, &io) != 0)
		return;
#if defined(__x86_64__)
	regs.rdx = bytes;
#else
	regs.regs[2] = bytes;
#endif
	(void)ptrace(PTRACE_SETREGSET, pid, (void *)1, &io);
}

static void kill_program(void)
{
	run.dying = true;
	(void)kill(run.pid, SIGKILL);
}

/* True for the program and for children that are the program again. */
static bool is_ours(pid_t pid)
{
	char exe[NAME_SIZE];

	return !proc_link(pid, "exe", exe) || strcmp(exe, run.exe) == 0;
}

/* True for what the program says: it goes to our standard error. */
static bool is_said(pid_t pid, int fd)
{
	char path[64];
	struct stat theirs, ours;

	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
	return stat(path, &theirs) == 0 && fstat(STDERR_FILENO, &ours) == 0 &&
	       theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

/* Opening or making what is there takes none: it is opened, or found to exist. */
static bool needs_space(pid_t pid, const struct call *call, const uint64_t *args)
{
	char name[2 * NAME_SIZE];
	struct stat st;

	if (!call->takes_space)
		return false;
	if (call->fd != NONE)
		return !is_said(pid, (int)args[call->fd]);
	if (call->flags != NONE && !(args[call->flags] & O_CREAT))
		return false;
	call_name(pid, call, args, name);
	return (call->flags != NONE ? stat(name, &st) : lstat(name, &st)) != 0;
}

static bool counts(pid_t pid, const struct call *call, const uint64_t *args)
{
	char kind = call->fd == NONE ? 'f' : fd_kind(pid, (int)args[call->fd]);

	switch (run.fault) {
	case FAULT_LIST:
	case FAULT_KILL:
		return kind != '-';
	case FAULT_TEAR:
	case FAULT_SHORT:
		return kind == 'f' && call->is_write && args[2] > 1;
	case FAULT_ENOSPC:
	case FAULT_EIO:
		return kind == 'f';
	case FAULT_FULL:
		return kind == 'f' && needs_space(pid, call, args);
	case FAULT_COUNT:
		break;
	}
	return false;
}

static void tell(pid_t pid, const struct call *call, const uint64_t *args)
{
	char name[2 * NAME_SIZE];

	call_name(pid, call, args, name);
	printf("point %ld %s %s\n", run.count, call->name, name);
}

/* What ptrace is to do next with the thread. */
static int strike(pid_t pid, const struct call *call, const uint64_t *args)
{
	if (!run.struck || run.fault == FAULT_LIST)
		tell(pid, call, args);
	run.struck = true;
	switch (run.fault) {
	case FAULT_KILL:
		kill_program();
		break;
	case FAULT_TEAR:
	case FAULT_SHORT:
		run.cut_pid = pid;
		run.cut_bytes = args[2];
		set_bytes(pid, args[2] / 2);
		return PTRACE_SYSCALL;
	case FAULT_ENOSPC:
	case FAULT_FULL:
		set_result(pid, -ENOSPC);
		break;
	case FAULT_EIO:
		set_result(pid, -EIO);
		break;
	case FAULT_LIST:
	case FAULT_COUNT:
		break;
	}
	return PTRACE_CONT;
}

static int on_call(pid_t pid)
{
	struct __ptrace_syscall_info info;
	const struct call *call = NULL;

	if (!run.armed || run.dying)
		return PTRACE_CONT;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0)
		return PTRACE_CONT; /* killed meanwhile */
	for (size_t i = 0; i < CALLS && !call; i++)
		if (calls[i].nr == (long)info.seccomp.nr)
			call = &calls[i];
	if (!call || !is_ours(pid) || !counts(pid, call, (const uint64_t *)info.seccomp.args))
		return PTRACE_CONT;
	run.count++;
	if (run.fault != FAULT_LIST && run.count != run.nth &&
		!(run.fault == FAULT_FULL && run.count > run.nth))
		return PTRACE_CONT;
	return strike(pid, call, (const uint64_t *)info.seccomp.args);
}

/* ---- the tracer's loop ---- */

static void on_stop(pid_t pid, int status)
{
	int event = status >> 16, signum = WSTOPSIG(status), request = PTRACE_CONT;
	long pass = 0;

	if (event == PTRACE_EVENT_SECCOMP) {
		request = on_call(pid);
	} else if (event == PTRACE_EVENT_STOP && signum != SIGTRAP) {
		request = PTRACE_LISTEN; /* stopped by a signal, as it would be without us */
	} else if (signum == (SIGTRAP | 0x80) && pid == run.cut_pid) {
		if (run.fault == FAULT_TEAR)
			kill_program();
		else
			set_bytes(pid, run.cut_bytes);
		run.cut_pid = 0;
	} else if (event == 0 && signum != (SIGTRAP | 0x80)) {
		pass = signum;
	}
	(void)ptrace((enum __ptrace_request)request, pid, NULL, (void *)pass);
}

/* False: the program has ended. */
static bool reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status)) {
			on_stop(pid, status);
			continue;
		}
		if (pid != run.pid)
			continue;
		if (WIFEXITED(status))
			printf("exit %d\n", WEXITSTATUS(status));
		else
			printf("signal %d\n", WTERMSIG(status));
		return false;
	}
	return true;
}

static void on_command(const char *line)
{
	if (strcmp(line, "arm") == 0) {
		run.armed = true;
		puts("armed");
	} else if (strcmp(line, "disarm") == 0) {
		run.armed = false;
		puts("disarmed");
	} else if (strcmp(line, "term") == 0) {
		(void)kill(run.pid, SIGTERM);
	}
	if (run.go_fd >= 0) {
		if (write(run.go_fd, "x", 1) != 1)
			die("inject: go");
		(void)close(run.go_fd);
		run.go_fd = -1;
	}
}

/* False: the input has ended. */
static bool read_commands(void)
{
	static char text[256];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
	char *end;

	if (n <= 0)
		return false;
	len += (size_t)n;
	text[len] = '\0';
	while ((end = strchr(text, '\n')) != NULL) {
		*end = '\0';
		on_command(text);
		len -= (size_t)(end + 1 - text);
		memmove(text, end + 1, len + 1);
	}
	return len < sizeof text - 1;
}

static void loop(int signal_fd)
{
	struct pollfd fds[] = { { signal_fd, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
	struct signalfd_siginfo info;

	while (reap()) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			(void)!read(signal_fd, &info, sizeof info); /* only wakes */
		if (fds[1].revents && !read_commands()) {
			kill_program();
			fds[1].fd = -1;
		}
	}
}

static void start(char **argv)
{
	const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD |
			     PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
	int go[2];

	if (pipe2(go, O_CLOEXEC) != 0)
		die("inject: pipe");
	run.pid = fork();
	if (run.pid == 0)
		become(argv, go[0]);
	if (run.pid < 0 || ptrace(PTRACE_SEIZE, run.pid, NULL, (void *)options) != 0)
		die("inject: trace");
	(void)close(go[0]);
	run.go_fd = go[1];
}

int main(int argc, char **argv)
{
	sigset_t child;
	int signal_fd;

	while (run.fault < FAULT_COUNT &&
		(argc < 4 || strcmp(argv[1], fault_names[run.fault]) != 0))
		run.fault++;
	if (run.fault == FAULT_COUNT || !realpath(argv[3], run.exe)) {
		fputs("usage: inject list|kill|tear|short|enospc|eio|full N PROGRAM [ARGUMENT…]\n",
			stderr);
		return 2;
	}
	run.nth = strtol(argv[2], NULL, 10);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	signal_fd = signalfd(-1, &child, SFD_CLOEXEC);
	if (signal_fd < 0)
		die("inject: signalfd");
	start(argv + 3);
	loop(signal_fd);
	return 0;
}
