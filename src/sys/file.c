#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/helper.h"
#include "sys/sandbox.h"

#define ASK_MS 10000 /* takes microseconds */
#define REMOVE_DEPTH_MAX 8
#define READ_CHUNK_BYTES 16384

static enum ls_code open_failed(int errnum, const char *name, struct ls_err *err)
{
	if (errnum == ELOOP)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is a symbolic link", name);
	if (errnum == ENXIO || errnum == ENODEV)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a regular file", name);
	return ls_err_set_errno(err, errnum, "open '%s'", name);
}

/* Non-blocking, because opening a FIFO would otherwise wait for a writer that may never come. */
static enum ls_code open_regular(int dir_fd, const char *name, size_t max_bytes, int *out_fd,
	struct stat *out_st, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close)
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return open_failed(errno, name, err);
	if (fstat(fd, out_st) != 0)
		return LS_FAIL_ERRNO(err, "inspect '%s'", name);
	if (!S_ISREG(out_st->st_mode))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a regular file", name);
	if ((uintmax_t)out_st->st_size > max_bytes)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' has %jd bytes, %zu are allowed", name,
			(intmax_t)out_st->st_size, max_bytes);
	*out_fd = fd;
	fd = -1;
	return LS_OK;
}

static ssize_t read_some(int fd, void *to, size_t len)
{
	ssize_t n;

	do
		n = read(fd, to, len);
	while (n < 0 && errno == EINTR);
	return n;
}

struct chunk {
	size_t used;
	char bytes[READ_CHUNK_BYTES];
};

static void chunk_done(struct chunk *chunk)
{
	ls_wipe(chunk->bytes, chunk->used);
}

enum ls_code ls_file_read_fd(
	int fd, const char *name, size_t max_bytes, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf buf = { 0 };
	LS_CLEANUP(chunk_done) struct chunk chunk; /* it may be a key that passes */

	chunk.used = 0;
	for (;;) {
		ssize_t n = read_some(fd, chunk.bytes, sizeof chunk.bytes);

		if (n < 0)
			return LS_FAIL_ERRNO(err, "read '%s'", name);
		if (n == 0)
			break;
		if ((size_t)n > chunk.used)
			chunk.used = (size_t)n;
		if ((size_t)n > max_bytes - buf.len)
			return LS_FAIL(
				err, LS_E_REFUSED, "'%s' has more than %zu bytes", name, max_bytes);
		ls_buf_add(&buf, chunk.bytes, (size_t)n);
	}
	ls_buf_done(out);
	*out = buf;
	buf = (struct ls_buf){ 0 };
	return LS_OK;
}

enum ls_code ls_file_read(
	int dir_fd, const char *name, size_t max_bytes, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct stat st;

	LS_TRY(open_regular(dir_fd, name, max_bytes, &fd, &st, err));
	return ls_file_read_fd(fd, name, max_bytes, out, err);
}

/* Whoever may write it decides what this program does. */
static enum ls_code check_guarded(const char *name, const struct stat *st, struct ls_err *err)
{
	const char *what = S_ISDIR(st->st_mode) ? "directory " : "";

	if (st->st_uid != 0 && st->st_uid != geteuid()) {
		LS_FAIL(err, LS_E_REFUSED, "%s'%s' belongs to user %u, not to root or user %u",
			what, name, (unsigned)st->st_uid, (unsigned)geteuid());
		LS_HINT(err, "look at what is in it, then: chown root");
		return LS_E_REFUSED;
	}
	if (st->st_mode & S_IWOTH) {
		LS_FAIL(err, LS_E_REFUSED, "%s'%s' is writable by everybody (mode %04o)", what,
			name, (unsigned)(st->st_mode & 07777));
		LS_HINT(err, "look at what is in it, then: chmod o-w");
		return LS_E_REFUSED;
	}
	return LS_OK;
}

enum ls_code ls_file_read_guarded(
	int dir_fd, const char *name, size_t max_bytes, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct stat st;

	LS_TRY(open_regular(dir_fd, name, max_bytes, &fd, &st, err));
	LS_TRY(check_guarded(name, &st, err));
	return ls_file_read_fd(fd, name, max_bytes, out, err);
}

enum ls_code ls_dir_check_guarded(int dir_fd, const char *name, struct ls_err *err)
{
	struct stat st;

	if (fstat(dir_fd, &st) != 0)
		return LS_FAIL_ERRNO(err, "inspect directory '%s'", name);
	return check_guarded(name, &st, err);
}

/* Straight into the secret's pages: a buffer on the way would leave a copy behind. */
enum ls_code ls_file_read_secret(
	int dir_fd, const char *name, size_t max_bytes, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret secret = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	size_t room, got = 0;
	struct stat st;
	ssize_t n;

	LS_TRY(open_regular(dir_fd, name, max_bytes, &fd, &st, err));
	room = (size_t)st.st_size + 1; /* one more than there is, to see that it grew */
	ls_secret_alloc(&secret, room);
	while ((n = read_some(fd, secret.data + got, room - got)) > 0)
		got += (size_t)n;
	if (n < 0)
		return LS_FAIL_ERRNO(err, "read '%s'", name);
	if (got == room)
		return LS_FAIL(err, LS_E_CONFLICT, "'%s' grew while it was read", name);
	secret.len = got;
	ls_secret_done(out);
	*out = secret;
	secret = (struct ls_secret){ 0 };
	return LS_OK;
}

enum ls_code ls_file_read_untrusted(int dir_fd, const char *name, size_t max_bytes, bool any_owner,
	struct ls_buf *out, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct stat st;

	LS_TRY(open_regular(dir_fd, name, max_bytes, &fd, &st, err));
	if (st.st_nlink != 1)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' has %ju links, one is allowed", name,
			(uintmax_t)st.st_nlink);
	if (!any_owner && st.st_uid != 0 && st.st_uid != geteuid())
		return LS_FAIL(err, LS_E_REFUSED, "'%s' belongs to user %u, not to root or user %u",
			name, (unsigned)st.st_uid, (unsigned)geteuid());
	LS_TRY(ls_file_read_fd(fd, name, max_bytes, out, err));
	if (out_fd) {
		*out_fd = fd;
		fd = -1;
	}
	return LS_OK;
}

/* errno is set. */
static int ask_about(int fd, const char *const *words)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };

	if (ls_helper_ask(words, fd, ASK_MS, &answer, NULL) == LS_OK)
		return 0;
	errno = answer.errnum ? answer.errnum : EIO;
	return -1;
}

int ls_fd_set_mode(int fd, mode_t mode)
{
	struct stat st;
	char text[16];

	if (!ls_sandbox_closed())
		return fchmod(fd, mode);
	if (fstat(fd, &st) == 0 && (st.st_mode & 07777) == mode) /* made so by the umask */
		return 0;
	(void)snprintf(text, sizeof text, "%o", (unsigned)mode);
	return ask_about(fd, (const char *[]){ LS_ASK_MODE, text, NULL });
}

int ls_fd_set_owner(int fd, uid_t uid, gid_t gid)
{
	char user[16], group[16];

	if (!ls_sandbox_closed())
		return fchown(fd, uid, gid);
	(void)snprintf(user, sizeof user, "%lld", uid == (uid_t)-1 ? -1LL : (long long)uid);
	(void)snprintf(group, sizeof group, "%lld", gid == (gid_t)-1 ? -1LL : (long long)gid);
	return ask_about(fd, (const char *[]){ LS_ASK_OWNER, user, group, NULL });
}

int ls_dir_touch(int above_fd, const char *name)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (!ls_sandbox_closed())
		return utimensat(above_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
	fd = openat(above_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -1 : ask_about(fd, (const char *[]){ LS_ASK_TOUCH, NULL });
}

static enum ls_code write_all(int fd, const char *name, struct ls_bytes data, struct ls_err *err)
{
	const char *at = data.data;
	size_t left = data.len;

	while (left > 0) {
		ssize_t n = write(fd, at, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return LS_FAIL_ERRNO(err, "write '%s'", name);
		at += n;
		left -= (size_t)n;
	}
	return LS_OK;
}

enum ls_code ls_file_create(int dir_fd, const char *name, struct ls_bytes data, mode_t mode,
	gid_t group, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	fd = openat(
		dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0600);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "create '%s'", name);
	if (write_all(fd, name, data, err) != LS_OK)
		goto rollback;
	/* The group before the mode: the other way the wrong group could read for a moment. */
	if (group != (gid_t)-1 && ls_fd_set_owner(fd, (uid_t)-1, group) != 0) {
		LS_FAIL_ERRNO(err, "give '%s' to group %u", name, (unsigned)group);
		goto rollback;
	}
	if (ls_fd_set_mode(fd, mode) != 0) {
		LS_FAIL_ERRNO(err, "set the mode of '%s'", name);
		goto rollback;
	}
	if (fsync(fd) != 0) {
		LS_FAIL_ERRNO(err, "sync '%s'", name);
		goto rollback;
	}
	return LS_OK;
rollback:
	(void)unlinkat(dir_fd, name, 0); /* the first failure is the one to report */
	return err ? err->code : LS_E_IO;
}

enum ls_code ls_file_replace(int dir_fd, const char *name, struct ls_bytes data, mode_t mode,
	gid_t group, struct ls_err *err)
{
	char tmp[NAME_MAX + 1];

	if (strchr(name, '/') || snprintf(tmp, sizeof tmp, ".%s.new", name) >= (int)sizeof tmp)
		return LS_FAIL(err, LS_E_REFUSED, "not a file's name, or too long: '%s'", name);
	/* One writer holds the directory, so a temporary can only be a crash's remains. */
	(void)unlinkat(dir_fd, tmp, 0);
	if (ls_file_create(dir_fd, tmp, data, mode, group, err) != LS_OK)
		return LS_WRAP(err, "replace '%s'", name);
	if (renameat(dir_fd, tmp, dir_fd, name) != 0) {
		LS_FAIL_ERRNO(err, "put the new '%s' in place", name);
		goto rollback;
	}
	return ls_dir_sync(dir_fd, err) == LS_OK ? LS_OK : LS_WRAP(err, "replace '%s'", name);
rollback:
	(void)unlinkat(dir_fd, tmp, 0);
	return err ? err->code : LS_E_IO;
}

enum ls_code ls_file_remove(int dir_fd, const char *name, struct ls_err *err)
{
	if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
		return LS_FAIL_ERRNO(err, "remove '%s'", name);
	return LS_OK;
}

bool ls_file_exists(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

enum ls_code ls_dir_open_at(int dir_fd, const char *name, int *out_fd, struct ls_err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP) && ls_file_exists(dir_fd, name))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a directory", name);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "open directory '%s'", name);
	*out_fd = fd;
	return LS_OK;
}

enum ls_code ls_dir_open(const char *path, int *out_fd, struct ls_err *err)
{
	return ls_dir_open_at(AT_FDCWD, path, out_fd, err);
}

enum ls_code ls_dir_sync(int dir_fd, struct ls_err *err)
{
	if (fsync(dir_fd) != 0) /* without it a power cut may bring back what was there before */
		return LS_FAIL_ERRNO(err, "sync the directory");
	return LS_OK;
}

static enum ls_code sync_walked(int walked_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close)
	int fd = openat(walked_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return LS_FAIL_ERRNO(err, "open the directory above");
	return ls_dir_sync(fd, err);
}

/* One level below `above_fd`, which becomes the new directory. */
static enum ls_code make_level(
	int *above_fd, const char *name, mode_t mode, bool last, struct ls_err *err)
{
	bool made = mkdirat(*above_fd, name, mode & 0700) == 0;
	/* On the way to it a directory is only walked through: the sandbox may not let it be read.
	 */
	int flags = (made || last ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC |
		    (last ? O_NOFOLLOW : 0);
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (!made && errno != EEXIST)
		return LS_FAIL_ERRNO(err, "make directory '%s'", name);
	fd = openat(*above_fd, name, flags);
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a directory", name);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "open directory '%s'", name);
	if (made && ls_fd_set_mode(fd, mode) != 0)
		return LS_FAIL_ERRNO(err, "set the mode of directory '%s'", name);
	if (made)
		LS_TRY(sync_walked(*above_fd, err));
	ls_fd_close(above_fd);
	*above_fd = fd;
	fd = -1;
	return LS_OK;
}

enum ls_code ls_dir_make(const char *path, mode_t mode, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *copy = ls_strdup(path);
	LS_CLEANUP(ls_fd_close) int fd = -1;
	char *rest = copy, *name;

	fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "open the directory above '%s'", path);
	while ((name = strsep(&rest, "/")) != NULL) {
		bool last = !rest || rest[strspn(rest, "/")] == '\0';

		if (name[0] == '\0')
			continue;
		if (make_level(&fd, name, last ? mode : 0755, last, err) != LS_OK)
			return LS_WRAP(err, "make '%s'", path);
		if (last)
			break;
	}
	return LS_OK;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dir_close(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir); /* only read from */
}

enum ls_code ls_dir_list(int dir_fd, size_t max, char ***out, struct ls_err *err)
{
	/* A descriptor of its own: the caller's keeps its place, and is read from the start. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	LS_CLEANUP(dir_close) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	LS_CLEANUP(ls_free_strv) char **names = ls_alloc(1, sizeof *names);
	size_t count = 0, room = 1;
	struct dirent *entry;

	if (!dir) {
		LS_FAIL_ERRNO(err, "list the directory");
		ls_fd_close(&fd);
		return err ? err->code : LS_E_IO;
	}
	while (errno = 0, (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (count == max)
			return LS_FAIL(err, LS_E_REFUSED, "more than %zu entries", max);
		if (count + 1 == room)
			names = ls_realloc(names, room *= 2, sizeof *names);
		names[count++] = ls_strdup(entry->d_name);
		names[count] = NULL;
	}
	if (errno != 0)
		return LS_FAIL_ERRNO(err, "read the directory");
	qsort(names, count, sizeof *names, compare_names);
	*out = LS_TAKE(names);
	return LS_OK;
}

/* A directory that was given away is taken back where CAP_CHOWN allows it: the daemon has no
 * CAP_DAC_OVERRIDE. */
static bool unlink_here(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) == 0)
		return true;
	if (errno != EACCES)
		return false;
	if (ls_fd_set_owner(dir_fd, geteuid(), (gid_t)-1) != 0 ||
		ls_fd_set_mode(dir_fd, 0700) != 0) {
		errno = EACCES;
		return false;
	}
	return unlinkat(dir_fd, name, 0) == 0;
}

static enum ls_code remove_tree(int dir_fd, const char *name, int depth, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (depth > REMOVE_DEPTH_MAX)
		return LS_FAIL(
			err, LS_E_REFUSED, "'%s' is deeper than %d levels", name, REMOVE_DEPTH_MAX);
	LS_TRY(ls_dir_open_at(dir_fd, name, &fd, err));
	LS_TRY(ls_dir_list(fd, SIZE_MAX, &names, err));
	for (size_t i = 0; names[i]; i++) {
		if (unlink_here(fd, names[i]) || errno == ENOENT)
			continue;
		if (errno != EISDIR)
			return LS_FAIL_ERRNO(err, "remove '%s'", names[i]);
		LS_TRY(remove_tree(fd, names[i], depth + 1, err));
	}
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
		return LS_FAIL_ERRNO(err, "remove directory '%s'", name);
	return LS_OK;
}

enum ls_code ls_dir_remove(int dir_fd, const char *name, struct ls_err *err)
{
	if (!ls_file_exists(dir_fd, name))
		return LS_OK;
	return remove_tree(dir_fd, name, 1, err) == LS_OK ? LS_OK
							  : LS_WRAP(err, "remove '%s'", name);
}

enum ls_code ls_link_replace(
	int dir_fd, const char *target, const char *tmp, const char *name, struct ls_err *err)
{
	(void)unlinkat(dir_fd, tmp, 0); /* a crash's remains */
	if (symlinkat(target, dir_fd, tmp) != 0)
		return LS_FAIL_ERRNO(err, "make the link '%s'", tmp);
	if (renameat(dir_fd, tmp, dir_fd, name) != 0) {
		LS_FAIL_ERRNO(err, "put the link '%s' in place", name);
		goto rollback;
	}
	return LS_OK;
rollback:
	(void)unlinkat(dir_fd, tmp, 0);
	return err ? err->code : LS_E_IO;
}

enum ls_code ls_link_read(int dir_fd, const char *name, char **out, struct ls_err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, target, sizeof target);

	if (n < 0 && errno == EINVAL)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a link", name);
	if (n < 0)
		return LS_FAIL_ERRNO(err, "read the link '%s'", name);
	if ((size_t)n == sizeof target)
		return LS_FAIL(err, LS_E_REFUSED, "the target of '%s' is too long", name);
	*out = ls_strndup(target, (size_t)n);
	return LS_OK;
}

enum ls_code ls_file_lock(const char *path, bool wait, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close)
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int rc;

	if (fd < 0)
		return open_failed(errno, path, err);
	do
		rc = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
	while (rc != 0 && errno == EINTR);
	if (rc != 0 && errno == EWOULDBLOCK)
		return LS_FAIL(err, LS_E_CONFLICT, "'%s' is locked by another process", path);
	if (rc != 0)
		return LS_FAIL_ERRNO(err, "lock '%s'", path);
	*out_fd = fd;
	fd = -1;
	return LS_OK;
}

/* A directory of users that is asked over a socket (sssd, systemd) is out of reach of the sandbox.
 */
static enum ls_code ask_group(const char *name, gid_t *out, struct ls_err *err)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };
	gid_t gid;

	LS_TRY(ls_helper_ask(
		(const char *[]){ LS_ASK_GROUP, name, NULL }, -1, ASK_MS, &answer, err));
	if (answer.value.len != sizeof gid)
		return LS_FAIL(err, LS_E_FAILED, "look up group '%s': no number", name);
	memcpy(&gid, answer.value.data, sizeof gid);
	*out = gid;
	return LS_OK;
}

enum ls_code ls_group_find(const char *name, gid_t *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *buf = NULL;
	struct group group, *found = NULL;
	size_t room = 1024;
	int rc;

	do {
		room *= 2; /* a group with many members needs more than any fixed size */
		buf = ls_realloc(buf, room, 1);
		rc = getgrnam_r(name, &group, buf, room, &found);
	} while ((rc == ERANGE || rc == EINTR) && room < (1 << 24));
	if (!found && ls_sandbox_closed())
		return ask_group(name, out, err);
	if (!found && rc != 0 && rc != ENOENT && rc != ESRCH)
		return ls_err_set_errno(err, rc, "look up group '%s'", name);
	if (!found)
		return LS_FAIL(err, LS_E_NOT_FOUND, "no group '%s' on this machine", name);
	*out = group.gr_gid;
	return LS_OK;
}
