#include "node/gendir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"

#define DIR_MODE 0755
#define ENTRIES_MAX 65536

static const char ca_name[] = "ca";

void ls_gendir_done(struct ls_gendir *dir)
{
	ls_fd_close(&dir->fd);
	ls_fd_close(&dir->ca_fd);
}

static bool in_ca(const struct ls_live_file *file)
{
	return file->kind == LS_LIVE_CA;
}

static int dir_of(const struct ls_gendir *dir, const struct ls_live_file *file)
{
	return in_ca(file) ? dir->ca_fd : dir->fd;
}

static const char *base_of(const struct ls_live_file *file)
{
	return in_ca(file) ? file->name + sizeof ca_name : file->name;
}

static int open_dir(int dir_fd, const char *name)
{
	return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The umask must not close the directory to services. */
static enum ls_code make_dir(int dir_fd, const char *name, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (mkdirat(dir_fd, name, DIR_MODE) != 0)
		return LS_FAIL_ERRNO(err, "make directory '%s'", name);
	fd = open_dir(dir_fd, name);
	if (fd < 0 || ls_fd_set_mode(fd, DIR_MODE) != 0) {
		LS_FAIL_ERRNO(err, "open directory '%s'", name);
		goto rollback;
	}
	*out_fd = fd;
	fd = -1;
	return LS_OK;
rollback:
	(void)unlinkat(dir_fd, name, AT_REMOVEDIR); /* the failure before is the one to report */
	return err ? err->code : LS_E_IO;
}

enum ls_code ls_gendir_open_ca(int dir_fd, int *out_fd, struct ls_err *err)
{
	int fd = open_dir(dir_fd, ca_name);

	if (fd >= 0) {
		*out_fd = fd;
		return LS_OK;
	}
	if (errno == ENOENT)
		return make_dir(dir_fd, ca_name, out_fd, err);
	if (errno == ENOTDIR || errno == ELOOP)
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is not a directory", ca_name);
	return LS_FAIL_ERRNO(err, "open directory '%s'", ca_name);
}

enum ls_code ls_gendir_open(
	int live_fd, const char *name, struct ls_gendir *out, struct ls_err *err)
{
	LS_CLEANUP(ls_gendir_done) struct ls_gendir dir = LS_GENDIR_CLOSED;

	dir.fd = open_dir(live_fd, name);
	if (dir.fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return LS_FAIL(err, LS_E_NOT_FOUND, "'%s' is not a directory", name);
	if (dir.fd < 0)
		return LS_FAIL_ERRNO(err, "open directory '%s'", name);
	LS_TRY(ls_gendir_open_ca(dir.fd, &dir.ca_fd, err));
	*out = dir;
	dir = LS_GENDIR_CLOSED;
	return LS_OK;
}

static enum ls_code write_file(const struct ls_gendir *dir, const struct ls_live_plan *plan,
	const struct ls_live_file *file, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret hold = { 0 };
	struct ls_bytes bytes;

	LS_TRY(ls_live_content(plan, file, &hold, &bytes, err));
	return ls_file_create(
		dir_of(dir, file), base_of(file), bytes, file->mode, file->group, err);
}

static enum ls_code fill(
	const struct ls_gendir *dir, const struct ls_live_plan *plan, struct ls_err *err)
{
	for (size_t i = 0; i < plan->count; i++)
		LS_TRY(write_file(dir, plan, &plan->files[i], err));
	LS_TRY(ls_dir_sync(dir->ca_fd, err));
	return ls_dir_sync(dir->fd, err);
}

enum ls_code ls_gendir_write(
	int live_fd, const char *name, const struct ls_live_plan *plan, struct ls_err *err)
{
	LS_CLEANUP(ls_gendir_done) struct ls_gendir dir = LS_GENDIR_CLOSED;

	LS_TRY(make_dir(live_fd, name, &dir.fd, err));
	if (ls_gendir_open_ca(dir.fd, &dir.ca_fd, err) != LS_OK)
		goto rollback;
	if (fill(&dir, plan, err) != LS_OK)
		goto rollback;
	return LS_OK;
rollback:
	(void)!ls_dir_remove(live_fd, name, NULL); /* what it leaves, the next attempt removes */
	return LS_WRAP(err, "write '%s'", name);
}

static bool owner_right(const struct stat *st)
{
	return geteuid() != 0 || st->st_uid == 0;
}

static bool same_content(int fd, const struct stat *st, const struct ls_live_file *file)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret content = { 0 };
	unsigned char sha256[LS_SHA256_BYTES];
	size_t have = 0;

	if (st->st_size < 0 || (size_t)st->st_size != file->len)
		return false;
	ls_secret_alloc(&content, file->len);
	while (have < file->len) {
		ssize_t n = pread(fd, content.data + have, file->len - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	ls_sha256(ls_secret_bytes(&content), sha256);
	return memcmp(sha256, file->sha256, sizeof sha256) == 0;
}

enum ls_code ls_gendir_look(const struct ls_gendir *dir, const struct ls_live_file *file,
	enum ls_gendir_state *out_state, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	int dir_fd = dir_of(dir, file);
	const char *name = base_of(file);
	struct stat st;

	*out_fd = -1;
	*out_state = LS_GENDIR_OTHER;
	/* Looked at before it is opened: opening a device can do things. */
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISREG(st.st_mode))
			return LS_OK;
		fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd < 0 && errno != ENOENT && errno != ELOOP && errno != EACCES)
		return LS_FAIL_ERRNO(err, "open '%s'", file->name);
	if (fd < 0) {
		if (errno != ELOOP)
			*out_state = errno == ENOENT ? LS_GENDIR_ABSENT : LS_GENDIR_SHARED;
		return LS_OK;
	}
	if (fstat(fd, &st) != 0)
		return LS_FAIL_ERRNO(err, "look at '%s'", file->name);
	if (S_ISREG(st.st_mode) && same_content(fd, &st, file)) {
		if (st.st_nlink != 1)
			*out_state = LS_GENDIR_SHARED;
		else if ((st.st_mode & 07777) != file->mode || !owner_right(&st) ||
			 (file->group != (gid_t)-1 && st.st_gid != file->group))
			*out_state = LS_GENDIR_LOOSE;
		else
			*out_state = LS_GENDIR_RIGHT;
	}
	if (S_ISREG(st.st_mode) && st.st_nlink == 1) {
		*out_fd = fd;
		fd = -1;
	}
	return LS_OK;
}

/* Back to root first, since only an owner may set the mode (the daemon has no CAP_FOWNER). Then the
 * mode: it only narrows or restores, and a wrong group must not read meanwhile. */
static enum ls_code tighten(const struct ls_live_file *file, int fd, struct ls_err *err)
{
	if (geteuid() == 0 && ls_fd_set_owner(fd, 0, (gid_t)-1) != 0)
		return LS_FAIL_ERRNO(err, "set the owner of '%s'", file->name);
	if (ls_fd_set_mode(fd, file->mode) != 0)
		return LS_FAIL_ERRNO(err, "set the mode of '%s'", file->name);
	if (geteuid() == 0 && ls_fd_set_owner(fd, (uid_t)-1, file->group) != 0)
		return LS_FAIL_ERRNO(err, "set the group of '%s'", file->name);
	if (fsync(fd) != 0)
		return LS_FAIL_ERRNO(err, "sync '%s'", file->name);
	return LS_OK;
}

enum ls_code ls_gendir_mend(const struct ls_gendir *dir, const struct ls_live_plan *plan,
	const struct ls_live_file *file, enum ls_gendir_state state, int fd, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret hold = { 0 };
	int dir_fd = dir_of(dir, file);
	const char *name = base_of(file);
	struct ls_bytes bytes;
	struct stat st;

	if (state == LS_GENDIR_LOOSE)
		return tighten(file, fd, err);
	LS_TRY(ls_live_content(plan, file, &hold, &bytes, err));
	/* A file cannot be renamed over a directory. */
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		LS_TRY(ls_dir_remove(dir_fd, name, err));
	return ls_file_replace(dir_fd, name, bytes, file->mode, file->group, err);
}

static bool dir_right(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 && (st.st_mode & 07777) == DIR_MODE && owner_right(&st);
}

enum ls_code ls_gendir_mend_dir(int dir_fd, bool *out_mended, struct ls_err *err)
{
	*out_mended = false;
	if (dir_right(dir_fd))
		return LS_OK;
	if ((geteuid() == 0 && ls_fd_set_owner(dir_fd, 0, (gid_t)-1) != 0) ||
		ls_fd_set_mode(dir_fd, DIR_MODE) != 0)
		return LS_FAIL_ERRNO(err, "set mode and owner of a live directory");
	*out_mended = true;
	return LS_OK;
}

static size_t entries(int dir_fd)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	return ls_dir_list(dir_fd, ENTRIES_MAX, &names, NULL) == LS_OK ? ls_strv_count(names) : 0;
}

bool ls_gendir_keep(int live_fd, const char *name, const struct ls_live_plan *plan)
{
	LS_CLEANUP(ls_gendir_done) struct ls_gendir dir = LS_GENDIR_CLOSED;
	size_t in_ca_count = 0;

	if (ls_gendir_open(live_fd, name, &dir, NULL) != LS_OK)
		return false;
	if (!dir_right(dir.fd) || !dir_right(dir.ca_fd))
		return false;
	for (size_t i = 0; i < plan->count; i++) {
		LS_CLEANUP(ls_fd_close) int fd = -1;
		enum ls_gendir_state state;

		in_ca_count += in_ca(&plan->files[i]);
		if (ls_gendir_look(&dir, &plan->files[i], &state, &fd, NULL) != LS_OK ||
			state != LS_GENDIR_RIGHT)
			return false;
		/* Who wrote it may have been killed before it was synced. */
		if (fsync(fd) != 0)
			return false;
	}
	return entries(dir.ca_fd) == in_ca_count &&
	       entries(dir.fd) == plan->count - in_ca_count + 1 &&
	       ls_dir_sync(dir.ca_fd, NULL) == LS_OK && ls_dir_sync(dir.fd, NULL) == LS_OK;
}
