/* intruder -- makes each thread of a running lockstepd do what somebody would who has taken it
 * over, and tells what came of it.
 *
 * usage: intruder PID OUTSIDE OWN
 *
 * OUTSIDE is a directory with a file "victim" and a program "program" that are none of the daemon's
 * business; OWN is one of its own directories. Each thread is stopped with ptrace and made to run
 * system calls, one after the other, with arguments on its own stack; then it goes on as if nothing
 * had happened. After that the socket to the daemon's helper process is taken over, and the helper
 * is asked for what no template says. Prints a line for each attempt that was let through, or that
 * failed for another reason than it should, and ends with 1 then. x86-64 only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/reboot.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "registers of x86-64"
#endif

#define SCRATCH_BELOW 16384 /* bytes below the stack pointer: the red zone stays whole */
#define ANY_ERROR 0
#define OK (-1)

/* What lies on the victim's stack while it works for us. */
struct scratch {
	char victim[256], fresh[256], program[256], own[256], own_fresh[256], tmp[64];
	char name[16], empty[8], dot[8];
	uint64_t argv[2], none;
	struct sockaddr_un unix_addr, bus_addr;
	uint16_t inet_addr[8]; /* family, port, address */
	uint64_t iov_local[2], iov_remote[2];
	char room[256];
};

static struct scratch scratch;
static pid_t pid, bystander;
static int bad, tried;

#define AT(field) (1ULL << 63 | offsetof(struct scratch, field)) /* an address on its stack */
#define LAST (1ULL << 62)                                        /* what the call before gave */

struct attempt {
	const char *what;
	long nr;
	uint64_t args[6];
	int want[3]; /* errno: any of these; OK: it must work; ANY_ERROR: any */
};

#define SO_TYPE_OF(t) ((t) | SOCK_CLOEXEC)
static struct attempt attempts[] = {
	/* Were these not to work, nothing below would mean anything. */
	{ "getppid", SYS_getppid, { 0 }, { OK } },
	{ "write in its own directory", SYS_openat,
		{ (uint64_t)AT_FDCWD, AT(own_fresh), O_WRONLY | O_CREAT, 0600 }, { OK } },
	{ "close", SYS_close, { LAST }, { OK } },
	{ "remove in its own directory", SYS_unlinkat, { (uint64_t)AT_FDCWD, AT(own_fresh), 0 },
		{ OK } },
	{ "a TCP socket", SYS_socket, { AF_INET, SOCK_STREAM, 0 }, { OK } },
	{ "bind it", SYS_bind, { LAST, AT(inet_addr), 16 }, { EPERM } },
	{ "a second TCP socket", SYS_socket, { AF_INET, SOCK_STREAM, 0 }, { OK } },
	{ "listen", SYS_listen, { LAST, 5 }, { EPERM } },
	/* executing */
	{ "execve", SYS_execve, { AT(program), AT(argv), AT(none) }, { EPERM } },
	{ "execveat", SYS_execveat, { (uint64_t)AT_FDCWD, AT(program), AT(argv), AT(none), 0 },
		{ EPERM } },
	{ "memfd_create", SYS_memfd_create, { AT(name), 0 }, { EPERM } },
	{ "open a program", SYS_openat, { (uint64_t)AT_FDCWD, AT(program), O_PATH, 0 }, { OK } },
	{ "execute the open program", SYS_execveat,
		{ LAST, AT(empty), AT(argv), AT(none), AT_EMPTY_PATH }, { EPERM } },
	{ "fork", SYS_fork, { 0 }, { EPERM } },
	{ "vfork", SYS_vfork, { 0 }, { EPERM } },
	{ "clone a process", SYS_clone, { SIGCHLD, 0, 0, 0, 0 }, { EPERM } },
	{ "clone with a new namespace", SYS_clone, { CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0 },
		{ EPERM } },
	{ "clone3", SYS_clone3, { AT(room), 88 }, { ENOSYS } },
	{ "memory to write and execute", SYS_mmap,
		{ 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			(uint64_t)-1, 0 },
		{ EPERM } },
	{ "memory to write", SYS_mmap,
		{ 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 },
		{ OK } },
	{ "then to execute", SYS_mprotect, { LAST, 4096, PROT_READ | PROT_EXEC }, { EPERM } },
	/* being reached, reaching others */
	{ "a UNIX stream socket", SYS_socket, { AF_UNIX, SOCK_STREAM, 0 }, { EPERM } },
	{ "a UNIX packet socket", SYS_socket, { AF_UNIX, SOCK_SEQPACKET, 0 }, { EPERM } },
	{ "a UNIX datagram socket", SYS_socket, { AF_UNIX, SOCK_DGRAM, 0 }, { OK } },
	{ "bind it to a path", SYS_bind, { LAST, AT(unix_addr), sizeof(struct sockaddr_un) },
		{ EPERM } },
	{ "a datagram socket for a stream", SYS_socket, { AF_UNIX, SOCK_DGRAM, 0 }, { OK } },
	{ "connect it to a listening stream", SYS_connect,
		{ LAST, AT(bus_addr), sizeof(struct sockaddr_un) },
		{ EPROTOTYPE, ECONNREFUSED, EACCES } },
	{ "a packet socket", SYS_socket, { AF_PACKET, SOCK_RAW, 0 }, { EPERM } },
	{ "a netlink socket", SYS_socket, { AF_NETLINK, SOCK_RAW, 0 }, { EPERM } },
	{ "a vsock socket", SYS_socket, { AF_VSOCK, SOCK_STREAM, 0 }, { EPERM } },
	{ "a raw socket", SYS_socket, { AF_INET, SOCK_RAW, 1 }, { EPERM } },
	{ "an alg socket", SYS_socket, { AF_ALG, SOCK_SEQPACKET, 0 }, { EPERM } },
	/* writing outside */
	{ "write outside", SYS_openat, { (uint64_t)AT_FDCWD, AT(victim), O_WRONLY, 0 },
		{ EACCES } },
	{ "truncate outside", SYS_openat, { (uint64_t)AT_FDCWD, AT(victim), O_WRONLY | O_TRUNC, 0 },
		{ EACCES } },
	{ "truncate by path", SYS_truncate, { AT(victim), 0 }, { EPERM } },
	{ "make a file outside", SYS_openat,
		{ (uint64_t)AT_FDCWD, AT(fresh), O_WRONLY | O_CREAT, 0600 }, { EACCES } },
	{ "make an empty file outside", SYS_openat,
		{ (uint64_t)AT_FDCWD, AT(fresh), O_RDONLY | O_CREAT, 0600 }, { EACCES } },
	{ "creat", SYS_creat, { AT(fresh), 0600 }, { EPERM } },
	{ "make a directory outside", SYS_mkdirat, { (uint64_t)AT_FDCWD, AT(fresh), 0700 },
		{ EACCES } },
	{ "make a link outside", SYS_symlinkat, { AT(program), (uint64_t)AT_FDCWD, AT(fresh) },
		{ EACCES } },
	{ "link outside", SYS_linkat,
		{ (uint64_t)AT_FDCWD, AT(victim), (uint64_t)AT_FDCWD, AT(own_fresh), 0 },
		{ EPERM } },
	{ "mknod outside", SYS_mknodat, { (uint64_t)AT_FDCWD, AT(fresh), S_IFREG | 0600, 0 },
		{ EPERM } },
	{ "rename from outside", SYS_renameat,
		{ (uint64_t)AT_FDCWD, AT(victim), (uint64_t)AT_FDCWD, AT(own_fresh) },
		{ EACCES, EXDEV } },
	{ "rename outside", SYS_renameat,
		{ (uint64_t)AT_FDCWD, AT(victim), (uint64_t)AT_FDCWD, AT(fresh) }, { EACCES } },
	{ "remove outside", SYS_unlinkat, { (uint64_t)AT_FDCWD, AT(victim), 0 }, { EACCES } },
	{ "chmod outside", SYS_chmod, { AT(victim), 0666 }, { EPERM } },
	{ "fchmodat outside", SYS_fchmodat, { (uint64_t)AT_FDCWD, AT(victim), 0666 }, { EPERM } },
	{ "chown outside", SYS_fchownat, { (uint64_t)AT_FDCWD, AT(victim), 1, 1, 0 }, { EPERM } },
	{ "times outside", SYS_utimensat, { (uint64_t)AT_FDCWD, AT(victim), 0, 0 }, { EPERM } },
	{ "attributes outside", SYS_setxattr, { AT(victim), AT(name), AT(room), 1, 0 }, { EPERM } },
	{ "read another's home", SYS_openat, { (uint64_t)AT_FDCWD, AT(tmp), O_RDONLY, 0 },
		{ EACCES } },
	{ "chroot", SYS_chroot, { AT(own) }, { EPERM } },
	/* other processes */
	{ "kill", SYS_kill, { 0 /* the bystander */, SIGKILL }, { EPERM } },
	{ "tkill", SYS_tkill, { 0, SIGKILL }, { EPERM } },
	{ "tgkill", SYS_tgkill, { 0, 0, SIGKILL }, { ENOSYS } },
	{ "pidfd_open", SYS_pidfd_open, { 0, 0 }, { EPERM } },
	{ "ptrace", SYS_ptrace, { PTRACE_ATTACH, 0, 0, 0 }, { EPERM } },
	{ "process_vm_readv", SYS_process_vm_readv, { 0, AT(iov_local), 1, AT(iov_remote), 1, 0 },
		{ EPERM } },
	{ "process_vm_writev", SYS_process_vm_writev, { 0, AT(iov_local), 1, AT(iov_remote), 1, 0 },
		{ EPERM } },
	{ "signals by fcntl", SYS_fcntl, { 0, F_SETOWN, 1 }, { EPERM } },
	/* who it is, and the machine. Each would do nothing even if it were let: no number, no
	 * magic, no image. */
	{ "setuid", SYS_setuid, { 1 }, { EPERM } },
	{ "setgid", SYS_setgid, { 1 }, { EPERM } },
	{ "setgroups", SYS_setgroups, { 0, 0 }, { EPERM } },
	{ "capset", SYS_capset, { AT(room), AT(room) }, { EPERM } },
	{ "prctl", SYS_prctl, { PR_SET_DUMPABLE, 1, 0, 0, 0 }, { ENOSYS } },
	{ "unshare", SYS_unshare, { CLONE_NEWNS }, { EPERM } },
	{ "setns", SYS_setns, { 0, 0 }, { EPERM } },
	{ "mount", SYS_mount, { AT(name), AT(own), AT(name), 0, 0 }, { EPERM } },
	{ "umount2", SYS_umount2, { AT(own), 0 }, { EPERM } },
	{ "open_tree", SYS_open_tree, { (uint64_t)AT_FDCWD, AT(own), 0 }, { EPERM } },
	{ "bpf", SYS_bpf, { BPF_MAP_CREATE, AT(room), 0 }, { EPERM } },
	{ "perf_event_open", SYS_perf_event_open, { AT(room), 0, 0, 0, 0 }, { EPERM } },
	{ "userfaultfd", SYS_userfaultfd, { UFFD_USER_MODE_ONLY }, { EPERM } },
	{ "keyctl", SYS_keyctl, { KEYCTL_GET_KEYRING_ID, (uint64_t)-3, 1 }, { EPERM } },
	{ "io_uring_setup", SYS_io_uring_setup, { 1, AT(room) }, { EPERM } },
	{ "kexec_load", SYS_kexec_load, { 0, 0, 0, (uint64_t)-1 }, { EPERM } },
	{ "reboot", SYS_reboot, { 0, 0, 0, 0 }, { EPERM } },
	{ "init_module", SYS_init_module, { AT(room), 0, AT(empty) }, { EPERM } },
	{ "finit_module", SYS_finit_module, { (uint64_t)-1, AT(empty), 0 }, { EPERM } },
	{ "open_by_handle_at", SYS_open_by_handle_at, { (uint64_t)AT_FDCWD, AT(room), 0 },
		{ EPERM } },
	{ "seccomp", SYS_seccomp, { 0, 0, 0 }, { EPERM } },
	{ "a call that nobody knows", 1023, { 0 }, { ENOSYS } },
};

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "intruder: %s: %m\n", what);
	exit(2);
}

/* An instruction `syscall` in code that the process has mapped. */
static uint64_t find_syscall(int mem)
{
	char path[64], line[512];
	unsigned char code[4096];
	uint64_t from, to;
	FILE *maps;

	(void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx r-x", &from, &to) != 2 || !strstr(line, " r-x") ||
			!strstr(line, "libc"))
			continue;
		for (; from < to; from += sizeof code - 1) {
			ssize_t n = pread(mem, code, sizeof code, (off_t)from);

			for (ssize_t i = 0; i + 1 < n; i++)
				if (code[i] == 0x0f && code[i + 1] == 0x05) {
					(void)fclose(maps);
					return from + (uint64_t)i;
				}
		}
	}
	errno = ENOENT;
	give_up("find a system call");
}

static void await_stop(pid_t tid)
{
	int status;

	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
		give_up("wait for a thread to stop");
}

/* One system call in a stopped thread. */
static int64_t inject(pid_t tid, const struct user_regs_struct *saved, uint64_t at, long nr,
	const uint64_t args[6])
{
	struct user_regs_struct regs = *saved;

	regs.orig_rax = (uint64_t)-1; /* no call is to be started again now */
	regs.rip = at;
	regs.rax = (uint64_t)nr;
	regs.rdi = args[0];
	regs.rsi = args[1];
	regs.rdx = args[2];
	regs.r10 = args[3];
	regs.r8 = args[4];
	regs.r9 = args[5];
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) != 0 ||
		ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL) != 0)
		give_up("run a system call");
	await_stop(tid);
	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) != 0)
		give_up("look at the result");
	return (int64_t)regs.rax;
}

static bool as_wanted(const struct attempt *attempt, int64_t result)
{
	if (attempt->want[0] == OK)
		return result >= 0 || result < -4095;
	for (size_t i = 0; i < 3; i++)
		if (attempt->want[i] && result == -attempt->want[i])
			return true;
	return false;
}

static void report(const char *who, const char *what, bool good, int64_t result)
{
	tried++;
	if (good)
		return;
	bad++;
	printf("%s: %s: %s\n", who, what,
		result < 0 ? strerrorname_np((int)-result) : "let through");
}

static void attack_thread(pid_t tid, const char *name, int mem, uint64_t at)
{
	struct user_regs_struct saved;
	uint64_t base;
	int64_t last = 0;

	if (ptrace(PTRACE_ATTACH, tid, NULL, NULL) != 0)
		give_up("attach");
	await_stop(tid);
	if (ptrace(PTRACE_GETREGS, tid, NULL, &saved) != 0)
		give_up("read registers");
	base = (saved.rsp - SCRATCH_BELOW) & ~63ULL;
	scratch.argv[0] = base + offsetof(struct scratch, program);
	scratch.iov_local[0] = base + offsetof(struct scratch, room);
	scratch.iov_local[1] = 8;
	if (pwrite(mem, &scratch, sizeof scratch, (off_t)base) != sizeof scratch)
		give_up("write to its stack");
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		const struct attempt *attempt = &attempts[i];
		uint64_t args[6];

		for (size_t k = 0; k < 6; k++) {
			args[k] = attempt->args[k];
			if (args[k] == LAST)
				args[k] = (uint64_t)last;
			else if (args[k] >> 62 == 2)
				args[k] = base + (args[k] & 0xffffff);
		}
		last = inject(tid, &saved, at, attempt->nr, args);
		report(name, attempt->what, as_wanted(attempt, last), last);
	}
	if (ptrace(PTRACE_SETREGS, tid, NULL, &saved) != 0 ||
		ptrace(PTRACE_DETACH, tid, NULL, NULL) != 0)
		give_up("let it go on");
}

static int attack_threads(void)
{
	char path[64], name[64];
	struct dirent *entry;
	int mem, threads = 0;
	uint64_t at;
	DIR *dir;

	(void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (mem < 0)
		give_up("open its memory");
	at = find_syscall(mem);
	(void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		FILE *comm;

		if (tid <= 0)
			continue;
		(void)snprintf(path, sizeof path, "/proc/%d/task/%d/comm", (int)pid, (int)tid);
		comm = fopen(path, "re");
		if (!comm || !fgets(name, sizeof name, comm))
			give_up("ask for a thread's name");
		(void)fclose(comm);
		name[strcspn(name, "\n")] = '\0';
		attack_thread(tid, name, mem, at);
		printf("attacked: %s\n", name);
		threads++;
	}
	(void)closedir(dir);
	(void)close(mem);
	return threads;
}

/* ---- the helper ---- */

static int helper_socket(void)
{
	int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);

	for (int fd = 0; fd < 256; fd++) {
		int copy = (int)syscall(SYS_pidfd_getfd, pid_fd, fd, 0), type = 0;
		socklen_t len = sizeof type;

		if (copy >= 0 && getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
			type == SOCK_SEQPACKET)
			return copy;
		if (copy >= 0)
			(void)close(copy);
	}
	errno = ENOENT;
	give_up("find the helper's socket");
}

/* The code of the answer (0: done), -1 without an answer. */
static int ask(int to, const char *const *words, int fd, char text[2048])
{
	union {
		char room[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	char request[8192];
	struct iovec iov = { request, 0 };
	struct msghdr message = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = CMSG_SPACE((fd < 0 ? 1 : 2) * sizeof(int)) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int pair[2], fds[2], code = -1;
	char answer[4096];
	ssize_t n;

	for (; *words; words++) {
		memcpy(request + iov.iov_len, *words, strlen(*words) + 1);
		iov.iov_len += strlen(*words) + 1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		give_up("make a socket");
	fds[0] = pair[1];
	fds[1] = fd;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN((fd < 0 ? 1 : 2) * sizeof(int));
	memcpy(CMSG_DATA(header), fds, (fd < 0 ? 1 : 2) * sizeof(int));
	if (sendmsg(to, &message, 0) < 0)
		give_up("ask the helper");
	(void)close(pair[1]);
	n = recv(pair[0], answer, sizeof answer, 0);
	(void)close(pair[0]);
	if (n > (ssize_t)sizeof code) {
		memcpy(&code, answer, sizeof code);
		(void)snprintf(text, 2048, "%.1000s", answer + sizeof code);
	}
	return code;
}

static void ask_for(int to, const char *what, int fd, const char *reason, const char *const *words)
{
	char text[2048] = "";
	int code = ask(to, words, fd, text);
	bool refused = code > 0 && strstr(text, reason);

	if (!refused)
		printf("helper: %s: answer %d '%s', wanted '%s'\n", what, code, text, reason);
	report("helper", what, refused, code == 0 ? 0 : -EPROTO);
}

#define WORDS(...)                                                                                 \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}
static void attack_helper(void)
{
	static const char *const sha = "";
	int to = helper_socket(), victim = open(scratch.victim, O_RDONLY | O_CLOEXEC);
	int own = open(scratch.own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char bus[300], gen[256] = "", data[300];

	if (victim < 0 || own < 0)
		give_up("open what is to be attacked");
	(void)snprintf(data, sizeof data, "%s/..data", scratch.own);
	if (readlink(data, gen, sizeof gen - 1) < 0)
		give_up("read ..data");
	(void)snprintf(bus, sizeof bus, "unix:%s", scratch.bus_addr.sun_path);
	ask_for(to, "run a program", -1, "nothing that can be asked for",
		WORDS("exec", scratch.program));
	ask_for(to, "validate with a program", -1, "nothing that can be asked for",
		WORDS("validate", "proxy", gen, gen, "n1", "1", sha, sha, scratch.program));
	ask_for(to, "validate of what has no template", -1, "no template for",
		WORDS("validate", "nosuch", gen, gen, "n1", "1", sha, sha));
	ask_for(to, "validate with another directory", -1, "not a request",
		WORDS("validate", "proxy", "../../tmp", gen, "n1", "1", sha, sha));
	ask_for(to, "validate with a variable of its own", -1, "not a request",
		WORDS("validate", "proxy", gen, gen, "n1\nLD_PRELOAD=x", "1", sha, sha));
	ask_for(to, "an entry that is not there", -1, "no reload entry",
		WORDS("reload", "proxy", gen, gen, "n1", "1", sha, sha, "7", "1"));
	ask_for(to, "an entry of another kind", -1, "another reload entry",
		WORDS("reload", "proxy", gen, gen, "n1", "1", sha, sha, "0", "2"));
	ask_for(to, "a password that no template names", -1, "no password_file",
		WORDS("password", "proxy", "0"));
	ask_for(to, "a connection that no template names", -1, "no template names",
		WORDS("connect", bus, "1000"));
	ask_for(to, "the mode of a file outside", victim, "not in the daemon's directories",
		WORDS("mode", "666"));
	ask_for(to, "a mode for everybody", own, "never set", WORDS("mode", "777"));
	ask_for(to, "setuid", own, "never set", WORDS("mode", "4755"));
	ask_for(to, "the owner of a file outside", victim, "not in the daemon's directories",
		WORDS("owner", "-1", "1"));
	ask_for(to, "giving away", own, "never set", WORDS("owner", "12345", "-1"));
	ask_for(to, "the times of a file outside", victim, "not in the daemon's directories",
		WORDS("touch"));
	ask_for(to, "removing outside of incoming/", -1, "no file of a drop-in",
		WORDS("settle", "../templates/proxy.conf", "1 1 1 1", ""));
	(void)close(to);
}

static void set_up(char **argv)
{
	int pipe_fds[2];

	pid = (pid_t)strtol(argv[1], NULL, 10);
	(void)snprintf(scratch.victim, sizeof scratch.victim, "%s/victim", argv[2]);
	(void)snprintf(scratch.fresh, sizeof scratch.fresh, "%s/fresh", argv[2]);
	(void)snprintf(scratch.program, sizeof scratch.program, "%s/program", argv[2]);
	(void)snprintf(scratch.own, sizeof scratch.own, "%s", argv[3]);
	(void)snprintf(scratch.own_fresh, sizeof scratch.own_fresh, "%s/fresh", argv[3]);
	(void)snprintf(scratch.tmp, sizeof scratch.tmp, "/root");
	memcpy(scratch.name, "user.x", 7);
	scratch.unix_addr.sun_family = AF_UNIX;
	(void)snprintf(scratch.unix_addr.sun_path, sizeof scratch.unix_addr.sun_path, "/tmp/x");
	scratch.bus_addr.sun_family = AF_UNIX;
	(void)snprintf(scratch.bus_addr.sun_path, sizeof scratch.bus_addr.sun_path,
		"/proc/%d/cwd/s", (int)getpid());
	scratch.inet_addr[0] = AF_INET;
	/* A process that must survive, and a stream socket that listens. */
	if (pipe2(pipe_fds, 0) != 0 || (bystander = fork()) < 0)
		give_up("start a bystander");
	if (bystander == 0) {
		char c;

		(void)close(pipe_fds[1]);
		(void)!read(pipe_fds[0], &c, 1);
		_exit(0);
	}
	(void)close(pipe_fds[0]); /* the other end closes with us */
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		struct attempt *attempt = &attempts[i];

		if (attempt->nr == SYS_kill || attempt->nr == SYS_tkill ||
			attempt->nr == SYS_pidfd_open || attempt->nr == SYS_process_vm_readv ||
			attempt->nr == SYS_process_vm_writev || attempt->nr == SYS_tgkill)
			attempt->args[0] = (uint64_t)bystander;
		if (attempt->nr == SYS_ptrace || attempt->nr == SYS_tgkill)
			attempt->args[1] = (uint64_t)bystander;
	}
}

static void listen_as_a_bus(const char *dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "s" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (chdir(dir) != 0 || bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0 ||
		listen(fd, 5) != 0)
		give_up("listen");
}

int main(int argc, char **argv)
{
	int threads;

	if (argc != 4) {
		fputs("usage: intruder PID OUTSIDE OWN\n", stderr);
		return 2;
	}
	set_up(argv);
	listen_as_a_bus(argv[2]);
	threads = attack_threads();
	attack_helper();
	if (waitpid(bystander, NULL, WNOHANG) != 0) {
		puts("the bystander is dead");
		bad++;
	}
	printf("%d threads, %d attempts, %d as they should not be\n", threads, tried, bad);
	return bad > 0 || threads < 3;
}
