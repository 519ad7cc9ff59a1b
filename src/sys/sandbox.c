#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/sandbox_calls.h"

static bool closed;

bool ls_sandbox_closed(void)
{
	return closed;
}

/* ---- Landlock ---- */

/* Younger than the headers that this must build with (linux/landlock.h of 6.1). */
#define ACCESS_FS_TRUNCATE (1ULL << 14) /* ABI 3 */
#define ACCESS_NET_BIND_TCP (1ULL << 0) /* ABI 4 */
#define ACCESS_NET_CONNECT_TCP (1ULL << 1)
#define ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define SCOPE_ABSTRACT_UNIX (1ULL << 0)  /* ABI 6 */
#define SCOPE_SIGNAL (1ULL << 1)
#define ABI_MIN 2 /* before it nothing can be renamed from one directory to another */

struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* Devices are made by nobody. */
#define ACCESS_MAKE                                                                                \
	(LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
		LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                      \
		LANDLOCK_ACCESS_FS_MAKE_SYM)
#define ACCESS_WRITE                                                                               \
	(ACCESS_READ | ACCESS_MAKE | LANDLOCK_ACCESS_FS_WRITE_FILE |                               \
		LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                   \
		LANDLOCK_ACCESS_FS_REFER)
#define ACCESS_ALL                                                                                 \
	(ACCESS_WRITE | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                \
		LANDLOCK_ACCESS_FS_MAKE_BLOCK)
#define ACCESS_FILE                                                                                \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |                            \
		LANDLOCK_ACCESS_FS_EXECUTE | ACCESS_FS_TRUNCATE | ACCESS_FS_IOCTL_DEV)

/* What libraries read when they look up users, groups, hosts and time zones, and when they load a
 * part of themselves late. Not there: /root, /home, /var, /srv, /boot, /tmp. */
static const char *const library_paths[] = { "/etc", "/usr", "/lib", "/lib32", "/lib64", "/libx32",
	"/opt", "/nix", "/gnu", "/run", "/dev/null", "/dev/random", "/dev/urandom", "/proc",
	"/sys/devices/system", NULL };

struct landlock {
	int abi; /* 0: none */
	int fd;
	uint64_t handled;
};

static void landlock_done(struct landlock *lock)
{
	ls_fd_close(&lock->fd);
}

/* A service manager may be listening at an abstract name. */
static uint64_t scopes(void)
{
	const char *notify = getenv("NOTIFY_SOCKET");

	return SCOPE_SIGNAL | (notify && notify[0] == '@' ? 0 : SCOPE_ABSTRACT_UNIX);
}

static enum ls_code landlock_begin(struct landlock *lock, bool faces_network, struct ls_err *err)
{
	struct ruleset_attr attr = { .handled_access_fs = ACCESS_ALL };
	size_t size = sizeof attr.handled_access_fs;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < ABI_MIN)
		return LS_OK;
	if (abi >= 3)
		attr.handled_access_fs |= ACCESS_FS_TRUNCATE;
	if (abi >= 4) {
		attr.handled_access_net =
			ACCESS_NET_BIND_TCP | (faces_network ? ACCESS_NET_CONNECT_TCP : 0);
		size = offsetof(struct ruleset_attr, scoped);
	}
	if (abi >= 5)
		attr.handled_access_fs |= ACCESS_FS_IOCTL_DEV;
	if (abi >= 6) {
		attr.scoped = scopes();
		size = sizeof attr;
	}
	lock->fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (lock->fd < 0)
		return LS_FAIL_ERRNO(err, "make a Landlock ruleset");
	lock->abi = (int)abi;
	lock->handled = attr.handled_access_fs;
	return LS_OK;
}

static enum ls_code landlock_allow(
	const struct landlock *lock, const char *path, uint64_t access, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = { .parent_fd = fd };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return LS_FAIL_ERRNO(err, "open '%s'", path);
	rule.allowed_access = access & lock->handled & (S_ISDIR(st.st_mode) ? ~0ULL : ACCESS_FILE);
	if (syscall(SYS_landlock_add_rule, lock->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		return LS_FAIL_ERRNO(err, "allow '%s'", path);
	return LS_OK;
}

static enum ls_code allow_reading(const struct landlock *lock, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *at = ls_strdup(path);
	char *slash;

	while (access(at, F_OK) != 0 && (slash = strrchr(at, '/')) != NULL && slash != at)
		*slash = '\0';
	return landlock_allow(lock, at, ACCESS_READ, err);
}

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
/* A finding goes to a file that is made when there is one. */
static enum ls_code allow_reports(const struct landlock *lock, struct ls_err *err)
{
	const char *options = getenv("ASAN_OPTIONS");
	const char *at = options ? strstr(options, "log_path=/") : NULL;
	LS_CLEANUP(ls_free_str) char *path = NULL;

	if (!at)
		return LS_OK;
	at += strlen("log_path=");
	path = ls_strndup(at, strcspn(at, ":"));
	*(strrchr(path, '/') + 1) = '\0';
	return landlock_allow(lock, path, ACCESS_WRITE | ACCESS_FS_TRUNCATE, err);
}
#else
#define SANITIZED false
static enum ls_code allow_reports(const struct landlock *lock, struct ls_err *err)
{
	(void)lock;
	(void)err;
	return LS_OK;
}
#endif

static enum ls_code landlock_rules(
	const struct landlock *lock, const struct ls_sandbox *sandbox, struct ls_err *err)
{
	for (size_t i = 0; sandbox->write_dirs[i]; i++)
		LS_TRY(landlock_allow(
			lock, sandbox->write_dirs[i], ACCESS_WRITE | ACCESS_FS_TRUNCATE, err));
	for (size_t i = 0; sandbox->read_paths[i]; i++)
		LS_TRY(allow_reading(lock, sandbox->read_paths[i], err));
	/* The sanitizers look at their own process when they report. */
	for (size_t i = 0; library_paths[i] && (!sandbox->faces_network || SANITIZED); i++)
		if (access(library_paths[i], F_OK) == 0)
			LS_TRY(landlock_allow(lock, library_paths[i], ACCESS_READ, err));
	LS_TRY(landlock_allow(lock, "/dev/null", ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE, err));
	return allow_reports(lock, err);
}

/* ---- the rest ---- */

/* All of them: what needs one is done by the helper. */
static enum ls_code drop_capabilities(struct ls_err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	/* Without CAP_SETPCAP there is no way to get one back anyhow: nothing can be executed. */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) != 0)
		return LS_FAIL(err, LS_E_FAILED, "drop capabilities: %s", strerrordesc_np(errno));
	return LS_OK;
}

static enum ls_code must(int rc, const char *what, struct ls_err *err)
{
	if (rc == 0)
		return LS_OK;
	return LS_FAIL(err, LS_E_FAILED, "%s: %s", what, strerrordesc_np(errno));
}

static void report(const struct landlock *lock, bool seccomp, struct ls_sandbox_report *out)
{
	char landlock[32] = "";

	if (lock->abi)
		(void)snprintf(landlock, sizeof landlock, ", Landlock ABI %d", lock->abi);
	(void)snprintf(out->closed, sizeof out->closed, "no_new_privs, no capabilities%s%s",
		seccomp ? ", seccomp" : "", landlock);
	(void)snprintf(out->missing, sizeof out->missing, "%s%s%s",
		lock->abi ? "" : "Landlock (ABI 2 of Linux 5.19): files outside are not protected",
		lock->abi || seccomp ? "" : "; ",
		seccomp ? "" : "seccomp: system calls are not bounded");
}

enum ls_code ls_sandbox_close(
	const struct ls_sandbox *sandbox, struct ls_sandbox_report *out, struct ls_err *err)
{
	LS_CLEANUP(landlock_done) struct landlock lock = { .fd = -1 };
	bool seccomp;

	if (closed)
		return LS_FAIL(err, LS_E_FAILED, "it is closed already");
	LS_TRY(landlock_begin(&lock, sandbox->faces_network, err));
	if (lock.abi)
		LS_TRY(landlock_rules(&lock, sandbox, err));
	closed = true; /* from here on there is no way back */
	LS_TRY(must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs", err));
	LS_TRY(drop_capabilities(err));
	if (lock.abi)
		LS_TRY(must((int)syscall(SYS_landlock_restrict_self, lock.fd, 0), "close Landlock",
			err));
	LS_TRY(ls_sandbox_close_calls(sandbox->faces_network, &seccomp, err));
	report(&lock, seccomp, out);
	return LS_OK;
}
