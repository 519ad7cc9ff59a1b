#include "sys/sandbox_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Under valgrind the program's code is translated into memory that is written and executed. Who can
 * set LD_PRELOAD for the daemon can do without this exception. */
static bool under_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "/vgpreload_core");
}

/* Everything that we and our libraries call once we are at work. */
static const int allowed[] = {
	/* files, as far as Landlock lets it */
	SCMP_SYS(access),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(fadvise64),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents),
	SCMP_SYS(getdents64),
	SCMP_SYS(lseek),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(preadv2),
	SCMP_SYS(read),
	SCMP_SYS(readahead),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(readv),
	SCMP_SYS(stat),
	SCMP_SYS(statfs),
	SCMP_SYS(statx),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	/* waiting */
	SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(eventfd),
	SCMP_SYS(eventfd2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(pselect6),
	SCMP_SYS(select),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	/* connections: what `socket` made, and the control socket's */
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(shutdown),
	/* memory, but for mmap and mprotect */
	SCMP_SYS(brk),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(mincore),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(mremap),
	SCMP_SYS(msync),
	SCMP_SYS(munlock),
	SCMP_SYS(munmap),
	/* threads, time, itself */
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(futex_waitv),
	SCMP_SYS(get_robust_list),
	SCMP_SYS(getcpu),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getgroups),
	SCMP_SYS(getpgid),
	SCMP_SYS(getpgrp),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getrandom),
	SCMP_SYS(getresgid),
	SCMP_SYS(getresuid),
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(getsid),
	SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getuid),
	SCMP_SYS(nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigsuspend),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(sysinfo),
	SCMP_SYS(time),
	SCMP_SYS(times),
	SCMP_SYS(uname),
	SCMP_SYS(capget),
#ifdef __SANITIZE_ADDRESS__
	/* The search for leaks at the end: a tracer stops the threads. */
	SCMP_SYS(ptrace),
	SCMP_SYS(clone),
	SCMP_SYS(prctl),
	SCMP_SYS(personality),
	SCMP_SYS(sched_setaffinity),
#endif
};

/* And what only those do that write files. */
static const int writing[] = {
	SCMP_SYS(copy_file_range),
	SCMP_SYS(fallocate),
	SCMP_SYS(fchdir),
	SCMP_SYS(fdatasync),
	SCMP_SYS(flock),
	SCMP_SYS(fsync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(pwritev2),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(rmdir),
	SCMP_SYS(sendfile),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(syncfs),
	SCMP_SYS(umask),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_init),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_rm_watch),
};

/* Known, and refused: a clear no rather than "not implemented". Who is told ENOSYS of one of these
 * may look for another way. */
static const int denied[] = {
	/* running something */
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(uselib),
	SCMP_SYS(memfd_create), SCMP_SYS(memfd_secret), SCMP_SYS(pkey_mprotect), SCMP_SYS(shmat),
	SCMP_SYS(personality),
	/* being reached */
	SCMP_SYS(bind), SCMP_SYS(listen),
	/* what Landlock does not bound */
	SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(fchown),
	SCMP_SYS(fchownat), SCMP_SYS(lchown), SCMP_SYS(setxattr), SCMP_SYS(fsetxattr),
	SCMP_SYS(lsetxattr), SCMP_SYS(removexattr), SCMP_SYS(fremovexattr), SCMP_SYS(lremovexattr),
	SCMP_SYS(utime), SCMP_SYS(utimes), SCMP_SYS(futimesat), SCMP_SYS(utimensat),
	SCMP_SYS(truncate), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(mknod), SCMP_SYS(mknodat),
	SCMP_SYS(creat), SCMP_SYS(chdir), SCMP_SYS(chroot),
	/* other processes */
	SCMP_SYS(kill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal), SCMP_SYS(pidfd_getfd),
	SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
	SCMP_SYS(kcmp), SCMP_SYS(setpriority), SCMP_SYS(sched_setparam),
	SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_setattr), SCMP_SYS(setrlimit),
	SCMP_SYS(setpgid), SCMP_SYS(setsid),
#ifndef __SANITIZE_ADDRESS__
	SCMP_SYS(ptrace), SCMP_SYS(sched_setaffinity),
#endif
	/* who it is */
	SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid),
	SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
	SCMP_SYS(setgroups), SCMP_SYS(capset), SCMP_SYS(unshare), SCMP_SYS(setns),
	SCMP_SYS(seccomp), SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_restrict_self),
	/* the machine */
	SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(open_tree),
	SCMP_SYS(move_mount), SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount),
	SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(swapon), SCMP_SYS(swapoff),
	SCMP_SYS(reboot), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(acct), SCMP_SYS(quotactl),
	SCMP_SYS(quotactl_fd), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex),
	SCMP_SYS(clock_adjtime), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(iopl),
	SCMP_SYS(ioperm), SCMP_SYS(modify_ldt), SCMP_SYS(vhangup), SCMP_SYS(syslog),
	SCMP_SYS(name_to_handle_at), SCMP_SYS(open_by_handle_at), SCMP_SYS(fanotify_init),
	SCMP_SYS(fanotify_mark),
	/* where kernels have had holes */
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(keyctl), SCMP_SYS(add_key),
	SCMP_SYS(request_key), SCMP_SYS(vmsplice), SCMP_SYS(shmget), SCMP_SYS(semget),
	SCMP_SYS(msgget), SCMP_SYS(mq_open)
};

/* One rule about one argument. A call that no rule fits gets the default, ENOSYS. */
static const struct rule {
	uint32_t action;
	int call;
	struct scmp_arg_cmp arg[2];
	unsigned args;
} rules[] = {
#define ALLOW SCMP_ACT_ALLOW
#define REFUSE SCMP_ACT_ERRNO(EPERM)
/* As SCMP_CMP64, with all members said. */
#define THAT(n, how, value)                                                                        \
	{                                                                                          \
		n, how, value, 0                                                                   \
	}
#define IS(n, value) THAT(n, SCMP_CMP_EQ, value)
#define BITS(n, mask, value)                                                                       \
	{                                                                                          \
		n, SCMP_CMP_MASKED_EQ, mask, value                                                 \
	}
#define TYPE_MASK 0xf /* the others are SOCK_CLOEXEC and SOCK_NONBLOCK */
#define OPEN_MASK (O_ACCMODE | O_CREAT | O_TRUNC)
	/* The helper is asked on one half of a pair. */
	{ ALLOW, SCMP_SYS(socketpair), { IS(0, AF_UNIX) }, 1 },
	/* No filters, which are programs: SO_ATTACH_FILTER (26), …_BPF (50), …_REUSEPORT_… */
	{ ALLOW, SCMP_SYS(setsockopt), { IS(1, SOL_SOCKET), THAT(2, SCMP_CMP_LT, 26) }, 2 },
	{ ALLOW, SCMP_SYS(setsockopt), { IS(1, 0 /* IPPROTO_IP */) }, 1 },
	{ ALLOW, SCMP_SYS(setsockopt), { IS(1, 6 /* IPPROTO_TCP */) }, 1 },
	{ ALLOW, SCMP_SYS(setsockopt), { IS(1, 41 /* IPPROTO_IPV6 */) }, 1 },
	/* F_SETOWN, F_SETSIG, F_SETOWN_EX would send any signal to anybody. */
	{ ALLOW, SCMP_SYS(fcntl), { THAT(1, SCMP_CMP_LT, F_SETOWN) }, 1 },
	{ REFUSE, SCMP_SYS(fcntl), { IS(1, F_SETOWN) }, 1 },
	{ REFUSE, SCMP_SYS(fcntl), { IS(1, F_SETSIG) }, 1 },
	{ REFUSE, SCMP_SYS(fcntl), { IS(1, F_SETOWN_EX) }, 1 },
	{ ALLOW, SCMP_SYS(fcntl), { IS(1, F_DUPFD_CLOEXEC) }, 1 },
	{ ALLOW, SCMP_SYS(fcntl), { IS(1, F_OFD_GETLK) }, 1 },
	{ ALLOW, SCMP_SYS(fcntl), { IS(1, F_OFD_SETLK) }, 1 },
	{ ALLOW, SCMP_SYS(fcntl), { IS(1, F_OFD_SETLKW) }, 1 },
	{ ALLOW, SCMP_SYS(ioctl), { IS(1, FIONREAD) }, 1 },
	{ ALLOW, SCMP_SYS(ioctl), { IS(1, FIONBIO) }, 1 },
	{ ALLOW, SCMP_SYS(ioctl), { IS(1, FIOCLEX) }, 1 },
	{ ALLOW, SCMP_SYS(ioctl), { IS(1, TCGETS) }, 1 },
	{ REFUSE, SCMP_SYS(ioctl), { IS(1, TIOCSTI) }, 1 },
	{ ALLOW, SCMP_SYS(prlimit64), { IS(2, 0) }, 1 }, /* to look */
#ifndef __SANITIZE_ADDRESS__
	{ ALLOW, SCMP_SYS(prctl), { IS(0, PR_SET_NAME) }, 1 },
	{ ALLOW, SCMP_SYS(prctl), { IS(0, PR_GET_NAME) }, 1 },
	{ ALLOW, SCMP_SYS(prctl), { IS(0, PR_GET_DUMPABLE) }, 1 },
	{ ALLOW, SCMP_SYS(prctl), { IS(0, PR_CAPBSET_READ) }, 1 },
#endif
};

static const struct rule daemon_rules[] = {
	/* UNIX sockets for datagrams only: the journal and the service manager. A stream could lead
	 * to the system bus, where root has any command started. */
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_UNIX), BITS(1, TYPE_MASK, SOCK_DGRAM) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { IS(0, AF_UNIX), BITS(1, TYPE_MASK, SOCK_STREAM) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { IS(0, AF_UNIX), BITS(1, TYPE_MASK, SOCK_SEQPACKET) }, 2 },
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_INET), BITS(1, TYPE_MASK, SOCK_STREAM) }, 2 },
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_INET), BITS(1, TYPE_MASK, SOCK_DGRAM) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { IS(0, AF_INET), BITS(1, TYPE_MASK, SOCK_RAW) }, 2 },
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_INET6), BITS(1, TYPE_MASK, SOCK_STREAM) }, 2 },
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_INET6), BITS(1, TYPE_MASK, SOCK_DGRAM) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { IS(0, AF_INET6), BITS(1, TYPE_MASK, SOCK_RAW) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { THAT(0, SCMP_CMP_GT, AF_INET6) }, 1 },
	{ ALLOW, SCMP_SYS(open), { { 0 } }, 0 },
	{ ALLOW, SCMP_SYS(openat), { { 0 } }, 0 },
#ifndef __SANITIZE_ADDRESS__
	/* Threads, no processes. clone3 hides its flags in memory and does not exist: the C library
	 * takes clone then. */
	{ ALLOW, SCMP_SYS(clone), { BITS(0, CLONE_THREAD, CLONE_THREAD) }, 1 },
	{ REFUSE, SCMP_SYS(clone), { BITS(0, CLONE_THREAD, 0) }, 1 },
#endif
};

static const struct rule network_rules[] = {
	/* A stream leads to the daemon. Where else it could lead is for modes and the unit to say.
	 */
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_UNIX), BITS(1, TYPE_MASK, SOCK_DGRAM) }, 2 },
	{ ALLOW, SCMP_SYS(socket), { IS(0, AF_UNIX), BITS(1, TYPE_MASK, SOCK_STREAM) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { IS(0, AF_UNIX), BITS(1, TYPE_MASK, SOCK_SEQPACKET) }, 2 },
	{ REFUSE, SCMP_SYS(socket), { IS(0, AF_INET) }, 1 },
	{ REFUSE, SCMP_SYS(socket), { THAT(0, SCMP_CMP_GE, AF_INET6) }, 1 },
#ifdef __SANITIZE_ADDRESS__
	{ ALLOW, SCMP_SYS(open), { { 0 } }, 0 },
	{ ALLOW, SCMP_SYS(openat), { { 0 } }, 0 },
#else
	{ ALLOW, SCMP_SYS(open), { BITS(1, OPEN_MASK, O_RDONLY) }, 1 },
	{ ALLOW, SCMP_SYS(openat), { BITS(2, OPEN_MASK, O_RDONLY) }, 1 },
	{ REFUSE, SCMP_SYS(open), { BITS(1, O_ACCMODE, O_WRONLY) }, 1 },
	{ REFUSE, SCMP_SYS(open), { BITS(1, O_ACCMODE, O_RDWR) }, 1 },
	{ REFUSE, SCMP_SYS(openat), { BITS(2, O_ACCMODE, O_WRONLY) }, 1 },
	{ REFUSE, SCMP_SYS(openat), { BITS(2, O_ACCMODE, O_RDWR) }, 1 },
	{ REFUSE, SCMP_SYS(clone), { { 0 } }, 0 },
#endif
};

static const struct rule memory_rules[] = {
	/* Nothing can be written and executed. */
	{ ALLOW, SCMP_SYS(mmap), { BITS(2, PROT_WRITE | PROT_EXEC, 0) }, 1 },
	{ ALLOW, SCMP_SYS(mmap), { BITS(2, PROT_WRITE | PROT_EXEC, PROT_WRITE) }, 1 },
	{ ALLOW, SCMP_SYS(mmap), { BITS(2, PROT_WRITE | PROT_EXEC, PROT_EXEC) }, 1 },
	{ REFUSE, SCMP_SYS(mmap), { BITS(2, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC) }, 1 },
	{ ALLOW, SCMP_SYS(mprotect), { BITS(2, PROT_EXEC, 0) }, 1 },
	{ REFUSE, SCMP_SYS(mprotect), { BITS(2, PROT_EXEC, PROT_EXEC) }, 1 },
};

/* A call that this architecture does not have is no failure. */
static int add_list(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++)
		if (calls[i] >= 0)
			rc = seccomp_rule_add_array(filter, action, calls[i], 0, NULL);
	return rc;
}

static int add_rules(scmp_filter_ctx filter, const struct rule *list, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++)
		rc = seccomp_rule_add_array(
			filter, list[i].action, list[i].call, list[i].args, list[i].arg);
	return rc;
}

/* Valgrind ends its threads by signals. */
static int add_memory(scmp_filter_ctx filter)
{
	static const int translator[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(tkill) };
	int rc;

	if (under_valgrind())
		return add_list(filter, ALLOW, translator, LS_COUNT(translator));
	rc = add_rules(filter, memory_rules, LS_COUNT(memory_rules));
	return rc ?: seccomp_rule_add_array(filter, REFUSE, SCMP_SYS(tkill), 0, NULL);
}

static int add_kind(scmp_filter_ctx filter, bool faces_network)
{
	int rc = add_list(filter, faces_network ? REFUSE : ALLOW, writing, LS_COUNT(writing));

	if (rc != 0)
		return rc;
	return faces_network ? add_rules(filter, network_rules, LS_COUNT(network_rules))
			     : add_rules(filter, daemon_rules, LS_COUNT(daemon_rules));
}

static int fill_filter(scmp_filter_ctx filter, bool faces_network)
{
	/* Families below AF_INET6 that are none of the three. */
	static const int families[] = { 0, 3, 4, 5, 6, 7, 8, 9 };
	struct scmp_arg_cmp own = IS(0, (scmp_datum_t)getpid());
	int rc = add_list(filter, ALLOW, allowed, LS_COUNT(allowed));

	rc = rc ?: add_list(filter, REFUSE, denied, LS_COUNT(denied));
	rc = rc ?: add_rules(filter, rules, LS_COUNT(rules));
	rc = rc ?: add_kind(filter, faces_network);
	rc = rc ?: add_memory(filter);
	for (size_t i = 0; i < LS_COUNT(families) && rc == 0; i++) {
		struct scmp_arg_cmp family = IS(0, (scmp_datum_t)families[i]);

		rc = seccomp_rule_add_array(filter, REFUSE, SCMP_SYS(socket), 1, &family);
	}
	/* abort and raise; signals to nobody else. */
	return rc ?: seccomp_rule_add_array(filter, ALLOW, SCMP_SYS(tgkill), 1, &own);
}

enum ls_code ls_sandbox_close_calls(bool faces_network, bool *out_there, struct ls_err *err)
{
	scmp_filter_ctx filter;
	int rc;

	*out_there = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
	if (!*out_there)
		return LS_OK;
	filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!filter)
		return LS_FAIL(err, LS_E_FAILED, "libseccomp makes no filter");
	/* Calls of another architecture are nobody's by mistake. Where the whole process cannot be
	 * ended (before Linux 4.14) the thread is, which is the default. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	rc = fill_filter(filter, faces_network);
	if (rc == 0 && !under_valgrind()) /* which does not know it */
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	rc = rc ?: seccomp_load(filter);
	seccomp_release(filter);
	if (rc != 0)
		return LS_FAIL(
			err, LS_E_FAILED, "load the seccomp filter: %s", strerrordesc_np(-rc));
	return LS_OK;
}
