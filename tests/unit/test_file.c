/* Files: modes from the first instant, the order of system calls, and every single failure. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/file.h"
#include "tests/unit/runner.h"

#define FAULT_CALLS_MAX 60

/* The Makefile has the linker send these calls here; each is noted, and the nth fails. */
static struct {
	bool armed;
	int nth, calls, errnum;
	struct ls_buf trace;
	int dir_fd; /* where to look at modes after each call; -1: nowhere */
	mode_t widest;
} fault = { .dir_fd = -1 };

int __real_openat(int dir_fd, const char *name, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_fchown(int fd, uid_t owner, gid_t group);
int __real_fchmod(int fd, mode_t mode);
int __real_fsync(int fd);
int __real_renameat(int old_fd, const char *old, int new_fd, const char *new);
int __real_unlinkat(int dir_fd, const char *name, int flags);
int __real_symlinkat(const char *target, int dir_fd, const char *name);
int __real_mkdirat(int dir_fd, const char *name, mode_t mode);
int __wrap_openat(int dir_fd, const char *name, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_fchown(int fd, uid_t owner, gid_t group);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fsync(int fd);
int __wrap_renameat(int old_fd, const char *old, int new_fd, const char *new);
int __wrap_unlinkat(int dir_fd, const char *name, int flags);
int __wrap_symlinkat(const char *target, int dir_fd, const char *name);
int __wrap_mkdirat(int dir_fd, const char *name, mode_t mode);

static bool fails(const char *call)
{
	if (!fault.armed)
		return false;
	ls_buf_printf(&fault.trace, "%s%s", fault.trace.len ? " " : "", call);
	if (++fault.calls != fault.nth)
		return false;
	errno = fault.errnum;
	return true;
}

/* The mode of everything in the directory, at this instant. */
static int seen(int rc)
{
	char **names = NULL;
	struct stat st;
	int saved = errno;

	if (!fault.armed || fault.dir_fd < 0)
		return rc;
	fault.armed = false;
	if (ls_dir_list(fault.dir_fd, 100, &names, NULL) == LS_OK)
		for (size_t i = 0; names[i]; i++)
			if (fstatat(fault.dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
				fault.widest |= st.st_mode & 07777;
	ls_free_strv(&names);
	fault.armed = true;
	errno = saved;
	return rc;
}

int __wrap_openat(int dir_fd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails("openat") ? -1 : seen(__real_openat(dir_fd, name, flags, mode));
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (fails("write"))
		return -1;
	/* short writes: the rest must follow */
	return __real_write(fd, data, fault.armed && len > 3 ? 3 : len);
}

int __wrap_fchown(int fd, uid_t owner, gid_t group)
{
	return fails("fchown") ? -1 : seen(__real_fchown(fd, owner, group));
}

int __wrap_fchmod(int fd, mode_t mode)
{
	return fails("fchmod") ? -1 : seen(__real_fchmod(fd, mode));
}

int __wrap_fsync(int fd)
{
	return fails("fsync") ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int old_fd, const char *old, int new_fd, const char *new)
{
	return fails("renameat") ? -1 : __real_renameat(old_fd, old, new_fd, new);
}

int __wrap_unlinkat(int dir_fd, const char *name, int flags)
{
	return fails("unlinkat") ? -1 : __real_unlinkat(dir_fd, name, flags);
}

int __wrap_symlinkat(const char *target, int dir_fd, const char *name)
{
	return fails("symlinkat") ? -1 : __real_symlinkat(target, dir_fd, name);
}

int __wrap_mkdirat(int dir_fd, const char *name, mode_t mode)
{
	return fails("mkdirat") ? -1 : seen(__real_mkdirat(dir_fd, name, mode));
}

static void fault_arm(int nth, int errnum)
{
	fault.nth = nth;
	fault.errnum = errnum;
	fault.calls = 0;
	fault.widest = 0;
	ls_buf_clear(&fault.trace);
	fault.armed = true;
}

static struct ls_err err;
static char *path;
static int dir_fd = -1;
static struct ls_buf buf;

static void setup(void)
{
	char template[] = "/tmp/ls-file-XXXXXX";

	path = ls_strdup(mkdtemp(template));
	ck_ok(ls_dir_open(path, &dir_fd, &err));
	fault.dir_fd = dir_fd;
}

static void teardown(void)
{
	fault.armed = false;
	(void)umask(022);
	ls_fd_close(&dir_fd);
	ck_ok(ls_dir_remove(AT_FDCWD, path, &err));
	ls_free_str(&path);
	ls_buf_done(&buf);
	ls_buf_done(&fault.trace);
}

static void assert_only(const char *want)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf list = { 0 };
	char **names = NULL;

	ck_ok(ls_dir_list(dir_fd, 100, &names, &err));
	for (size_t i = 0; names[i]; i++)
		ls_buf_printf(&list, "%s%s", i ? " " : "", names[i]);
	ls_free_strv(&names);
	ck_assert_str_eq(ls_buf_text(&list), want);
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

static void put(const char *name, const char *text)
{
	ck_ok(ls_file_create(dir_fd, name, LS_BYTES_STR(text), 0600, (gid_t)-1, &err));
}

/* Whichever call fails, a reader finds the old key or the new one, whole, and no debris. */
START_TEST(replace_never_tears)
{
	enum ls_code code;
	int nth = 0;

	put("key.pem", "old, and it is long");
	do {
		ck_assert_int_lt(++nth, FAULT_CALLS_MAX);
		fault_arm(nth, ENOSPC);
		code = ls_file_replace(
			dir_fd, "key.pem", LS_BYTES_STR("new one"), 0640, getegid(), &err);
		fault.armed = false;
		ck_ok(ls_file_read(dir_fd, "key.pem", 100, &buf, &err));
		if (strcmp(ls_buf_text(&buf), "new one") != 0)
			ck_assert_str_eq(ls_buf_text(&buf), "old, and it is long");
		if (code != LS_OK && fault.calls == nth)
			ck_assert_str_ne(err.hint, "");
		assert_only("key.pem");
	} while (fault.calls >= nth);
	ck_assert_int_eq(code, LS_OK);
	ck_assert_str_eq(ls_buf_text(&buf), "new one");
	/* Outcome alone cannot see a missing fsync; the order of calls can. */
	ck_assert_str_eq(ls_buf_text(&fault.trace),
		"unlinkat openat write write write fchown fchmod fsync renameat fsync");
	ck_assert_uint_eq(mode_of("key.pem"), 0640);
}
END_TEST

START_TEST(create_fails_without_debris)
{
	enum ls_code code;
	int nth = 0;

	do {
		ck_assert_int_lt(++nth, FAULT_CALLS_MAX);
		(void)unlinkat(dir_fd, "f", 0);
		fault_arm(nth, EIO);
		code = ls_file_create(dir_fd, "f", LS_BYTES_STR("abcdef"), 0400, (gid_t)-1, &err);
		fault.armed = false;
		assert_only(code == LS_OK ? "f" : "");
	} while (code != LS_OK);
	ck_assert_str_eq(ls_buf_text(&fault.trace), "openat write write fchmod fsync");
	ck_code(ls_file_create(dir_fd, "f", LS_BYTES_STR("x"), 0600, (gid_t)-1, &err), LS_E_IO);
	ck_ok(ls_file_read(dir_fd, "f", 100, &buf, &err));
	ck_assert_str_eq(ls_buf_text(&buf), "abcdef");
}
END_TEST

START_TEST(the_mode_is_exact_and_was_never_wider)
{
	static const mode_t masks[] = { 0, 022, 077, 0777 };
	static const mode_t modes[] = { 0600, 0400, 0640, 0440, 0644 };

	for (size_t i = 0; i < LS_COUNT(masks); i++) {
		for (size_t j = 0; j < LS_COUNT(modes); j++) {
			(void)umask(masks[i]);
			fault_arm(0, 0);
			ck_ok(ls_file_create(
				dir_fd, "f", LS_BYTES_STR("x"), modes[j], getegid(), &err));
			fault.armed = false;
			ck_assert_uint_eq(mode_of("f"), modes[j]);
			ck_assert_uint_eq(fault.widest & ~modes[j], 0);
			(void)unlinkat(dir_fd, "f", 0);
		}
		fault_arm(0, 0);
		{
			LS_CLEANUP(ls_free_str) char *d = ls_format("%s/d", path);

			ck_ok(ls_dir_make(d, 0750, &err));
		}
		fault.armed = false;
		ck_assert_uint_eq(mode_of("d"), 0750);
		ck_assert_uint_eq(fault.widest & ~(mode_t)0750, 0);
		(void)unlinkat(dir_fd, "d", AT_REMOVEDIR);
	}
}
END_TEST

static void make_special(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/%s", path, name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	(void)close(fd);
}

START_TEST(only_plain_files_are_read)
{
	static const char *const others[] = { "link", "fifo", "dir", "socket", "dangling" };
	struct ls_secret secret = { 0 };

	put("f", "12345");
	ck_assert_int_eq(symlinkat("f", dir_fd, "link"), 0);
	ck_assert_int_eq(symlinkat("nowhere", dir_fd, "dangling"), 0);
	ck_assert_int_eq(mkfifoat(dir_fd, "fifo", 0600), 0);
	ck_assert_int_eq(mkdirat(dir_fd, "dir", 0700), 0);
	make_special("socket");
	for (size_t i = 0; i < LS_COUNT(others); i++) {
		ck_code(ls_file_read(dir_fd, others[i], 10, &buf, &err), LS_E_REFUSED);
		ck_code(ls_file_read_secret(dir_fd, others[i], 10, &secret, &err), LS_E_REFUSED);
		ck_code(ls_file_read_untrusted(dir_fd, others[i], 10, true, &buf, NULL, &err),
			LS_E_REFUSED);
	}
	ck_code(ls_file_read(dir_fd, "absent", 10, &buf, &err), LS_E_NOT_FOUND);
	ck_code(ls_file_read(dir_fd, "f", 4, &buf, &err), LS_E_REFUSED);
	ck_ok(ls_file_read(dir_fd, "f", 5, &buf, &err));
	ck_assert_str_eq(ls_buf_text(&buf), "12345");
	ck_code(ls_file_read_secret(dir_fd, "f", 4, &secret, &err), LS_E_REFUSED);
	ck_ok(ls_file_read_secret(dir_fd, "f", 5, &secret, &err));
	ck_assert_uint_eq(secret.len, 5);
	ck_assert_str_eq((char *)secret.data, "12345");
	ck_code(ls_file_read_secret(dir_fd, "absent", 5, &secret, &err), LS_E_NOT_FOUND);
	ck_assert_uint_eq(secret.len, 5); /* untouched */
	ls_secret_done(&secret);
}
END_TEST

START_TEST(foreign_files_are_looked_at_closely)
{
	int fd = -1;

	put("f", "x");
	ck_assert_int_eq(linkat(dir_fd, "f", dir_fd, "second", 0), 0);
	ck_code(ls_file_read_untrusted(dir_fd, "f", 10, false, &buf, &fd, &err), LS_E_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "2 links"));
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(unlinkat(dir_fd, "second", 0), 0);
	ck_ok(ls_file_read_untrusted(dir_fd, "f", 10, false, &buf, &fd, &err));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	ls_fd_close(&fd);
	if (geteuid() == 0) {
		ck_assert_int_eq(fchownat(dir_fd, "f", 12345, (gid_t)-1, 0), 0);
		ck_code(ls_file_read_untrusted(dir_fd, "f", 10, false, &buf, NULL, &err),
			LS_E_REFUSED);
		ck_assert_ptr_nonnull(strstr(err.text, "12345"));
		ck_ok(ls_file_read_untrusted(dir_fd, "f", 10, true, &buf, NULL, &err));
	}
}
END_TEST

START_TEST(a_pipe_is_read_to_its_end_and_no_further_than_allowed)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "hello", 5), 5);
	(void)close(fds[1]);
	ck_ok(ls_file_read_fd(fds[0], "pipe", 5, &buf, &err));
	ck_assert_str_eq(ls_buf_text(&buf), "hello");
	(void)close(fds[0]);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "hello!", 6), 6);
	ck_code(ls_file_read_fd(fds[0], "pipe", 5, &buf, &err), LS_E_REFUSED); /* writer is open */
	ck_assert_str_eq(ls_buf_text(&buf), "hello");
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

START_TEST(directories_are_made_synced_and_links_refused)
{
	LS_CLEANUP(ls_free_str) char *deep = ls_format("%s//a/b/c/", path);
	LS_CLEANUP(ls_free_str) char *link = ls_format("%s/link", path);
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/file", path);
	LS_CLEANUP(ls_fd_close) int fd = -1;

	fault_arm(0, 0);
	ck_ok(ls_dir_make(deep, 0700, &err));
	fault.armed = false;
	/* A fortified build opens by another name, which is not noted. */
	ck_assert_ptr_nonnull(strstr(ls_buf_text(&fault.trace), "mkdirat"));
	/* the one above is opened to be synced: on the way it was only walked through */
	ck_assert(strstr(ls_buf_text(&fault.trace), "fchmod openat fsync mkdirat") ||
		  strstr(ls_buf_text(&fault.trace), "fchmod fsync mkdirat"));
	ck_assert_uint_eq(mode_of("a"), 0755);
	ck_assert_uint_eq(mode_of("a/b/c"), 0700);
	ck_assert_int_eq(fchmodat(dir_fd, "a/b/c", 0711, 0), 0);
	ck_ok(ls_dir_make(deep, 0700, &err));
	ck_assert_uint_eq(mode_of("a/b/c"), 0711);
	ck_assert_int_eq(symlinkat("a", dir_fd, "link"), 0);
	put("file", "");
	ck_code(ls_dir_make(link, 0700, &err), LS_E_REFUSED);
	ck_code(ls_dir_make(file, 0700, &err), LS_E_REFUSED);
	ck_code(ls_dir_open(link, &fd, &err), LS_E_REFUSED);
	ck_code(ls_dir_open_at(dir_fd, "file", &fd, &err), LS_E_REFUSED);
	ck_code(ls_dir_open_at(dir_fd, "none", &fd, &err), LS_E_NOT_FOUND);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(removing_a_directory_follows_no_link)
{
	LS_CLEANUP(ls_free_str) char *deep = ls_format("%s/t/1/2/3/4/5/6/7", path);
	LS_CLEANUP(ls_free_str) char *deeper = ls_format("%s/t/1/2/3/4/5/6/7/8", path);

	put("keep", "x");
	ck_ok(ls_dir_make(deep, 0700, &err));
	ck_assert_int_eq(symlinkat("../keep", dir_fd, "t/link"), 0);
	ck_assert_int_eq(symlinkat("/tmp", dir_fd, "t/1/tmp"), 0);
	put("t/1/2/file", "x");
	ck_ok(ls_dir_remove(dir_fd, "t", &err));
	assert_only("keep");
	ck_ok(ls_dir_remove(dir_fd, "t", &err));
	ck_ok(ls_dir_make(deeper, 0700, &err));
	ck_code(ls_dir_remove(dir_fd, "t", &err), LS_E_REFUSED);
	ck_ok(ls_dir_remove(dir_fd, "t/1", &err));
	ck_assert_int_eq(symlinkat("t", dir_fd, "link"), 0);
	ck_code(ls_dir_remove(dir_fd, "link", &err), LS_E_REFUSED);
	ck_assert(ls_file_exists(dir_fd, "link"));
	ck_assert(ls_file_exists(dir_fd, "t"));
}
END_TEST

START_TEST(lists_are_sorted_and_bounded)
{
	char **names = NULL;

	put("b", "");
	put("a", "");
	put(".h", "");
	ck_ok(ls_dir_list(dir_fd, 3, &names, &err));
	ck_assert_uint_eq(ls_strv_count(names), 3);
	ck_assert_str_eq(names[0], ".h");
	ck_assert_str_eq(names[2], "b");
	ls_free_strv(&names);
	ck_code(ls_dir_list(dir_fd, 2, &names, &err), LS_E_REFUSED);
	ck_assert_ptr_null(names);
	assert_only(".h a b"); /* from the start, again */
}
END_TEST

/* There is a link at every instant, to the old place or the new. */
START_TEST(a_link_is_never_absent)
{
	enum ls_code code;
	int nth = 0;

	do {
		char *target = NULL;

		ck_assert_int_lt(++nth, FAULT_CALLS_MAX);
		ck_ok(ls_link_replace(dir_fd, "old", "tmp", "cur", &err));
		fault_arm(nth, EIO);
		code = ls_link_replace(dir_fd, "new", "tmp", "cur", &err);
		fault.armed = false;
		ck_ok(ls_link_read(dir_fd, "cur", &target, &err));
		ck_assert_str_eq(target, code == LS_OK ? "new" : "old");
		ls_free_str(&target);
		assert_only("cur");
	} while (fault.calls >= nth);
	ck_assert_int_eq(code, LS_OK);
	ck_assert_str_eq(ls_buf_text(&fault.trace), "unlinkat symlinkat renameat");
}
END_TEST

START_TEST(links_are_read_and_other_things_are_not)
{
	char *target = NULL;

	put("f", "x");
	ck_code(ls_link_read(dir_fd, "f", &target, &err), LS_E_REFUSED);
	ck_code(ls_link_read(dir_fd, "absent", &target, &err), LS_E_NOT_FOUND);
	ck_assert_ptr_null(target);
	ck_ok(ls_file_remove(dir_fd, "f", &err));
	ck_ok(ls_file_remove(dir_fd, "f", &err));
	ck_code(ls_file_replace(dir_fd, "a/b", LS_BYTES_STR(""), 0600, (gid_t)-1, &err),
		LS_E_REFUSED);
}
END_TEST

static void *wait_for_lock(void *arg)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	*(enum ls_code *)arg = ls_file_lock("lock", true, &fd, NULL);
	return NULL;
}

START_TEST(a_lock_is_exclusive_until_it_is_closed)
{
	enum ls_code code = LS_E_FAILED;
	int fd = -1, second = -1;
	pthread_t waiter;

	ck_assert_int_eq(fchdir(dir_fd), 0);
	ck_ok(ls_file_lock("lock", false, &fd, &err));
	ck_assert_uint_eq(mode_of("lock"), 0600);
	ck_code(ls_file_lock("lock", false, &second, &err), LS_E_CONFLICT);
	ck_assert_int_eq(second, -1);
	ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_lock, &code), 0);
	ls_fd_close(&fd);
	ck_assert_int_eq(pthread_join(waiter, NULL), 0);
	ck_assert_int_eq(code, LS_OK);
	ck_ok(ls_file_lock("lock", false, &fd, &err));
	ls_fd_close(&fd);
	ck_assert_int_eq(symlinkat("lock", dir_fd, "l"), 0);
	ck_code(ls_file_lock("l", false, &fd, &err), LS_E_REFUSED);
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

/* Configuration and templates: their commands run as root. */
START_TEST(what_everybody_may_write_is_no_guarded_file)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf out = { 0 };

	ck_ok(ls_file_create(dir_fd, "conf", LS_BYTES_STR("x"), 0664, (gid_t)-1, &err));
	ck_ok(ls_file_read_guarded(dir_fd, "conf", 10, &out, &err));
	ck_assert_str_eq(ls_buf_text(&out), "x");
	ck_assert_int_eq(fchmodat(dir_fd, "conf", 0602, 0), 0);
	ck_code(ls_file_read_guarded(dir_fd, "conf", 10, &out, &err), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "'conf' is writable by everybody (mode 0602)");
	ck_assert_int_eq(symlinkat("conf", dir_fd, "l"), 0);
	ck_code(ls_file_read_guarded(dir_fd, "l", 10, &out, &err), LS_E_REFUSED);
	ck_ok(ls_dir_check_guarded(dir_fd, "d", &err));
	ck_assert_int_eq(fchmod(dir_fd, 0777), 0);
	ck_code(ls_dir_check_guarded(dir_fd, "d", &err), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "directory 'd' is writable by everybody (mode 0777)");
	ck_assert_int_eq(fchmod(dir_fd, 0700), 0);
	if (geteuid() != 0) /* nobody else's file can be made */
		return;
	ck_assert_int_eq(fchmodat(dir_fd, "conf", 0600, 0), 0);
	ck_assert_int_eq(fchownat(dir_fd, "conf", 65534, 65534, 0), 0);
	ck_code(ls_file_read_guarded(dir_fd, "conf", 10, &out, &err), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "'conf' belongs to user 65534, not to root or user 0");
}
END_TEST

START_TEST(groups_are_found_by_name)
{
	gid_t gid = 77;

	ck_ok(ls_group_find("daemon", &gid, &err));
	ck_assert_uint_eq(gid, getgrnam("daemon")->gr_gid);
	ck_code(ls_group_find("no-such-group", &gid, &err), LS_E_NOT_FOUND);
}
END_TEST

LS_TEST_MAIN_FIXTURE("file", setup, teardown, replace_never_tears, create_fails_without_debris,
	the_mode_is_exact_and_was_never_wider, only_plain_files_are_read,
	foreign_files_are_looked_at_closely, a_pipe_is_read_to_its_end_and_no_further_than_allowed,
	directories_are_made_synced_and_links_refused, removing_a_directory_follows_no_link,
	lists_are_sorted_and_bounded, a_link_is_never_absent,
	links_are_read_and_other_things_are_not, a_lock_is_exclusive_until_it_is_closed,
	what_everybody_may_write_is_no_guarded_file, groups_are_found_by_name)
