#include "node/live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node/gendir.h"
#include "node/links.h"
#include "pki/credential.h"
#include "sys/file.h"

#define CERT_BYTES_MAX (1024 * 1024)
#define ENTRIES_MAX 65536

struct ls_live {
	int fd;
	bool unsynced; /* ..data was renamed, but the sync after it failed */
	/* What went out of use last, and when: also if the directory's time could not be set. */
	char earlier[LS_LIVE_DIR_SIZE];
	int64_t earlier_since_ms;
};

void ls_live_free(struct ls_live **live)
{
	if (!*live)
		return;
	ls_fd_close(&(*live)->fd);
	free(*live);
	*live = NULL;
}

int ls_live_fd(const struct ls_live *live)
{
	return live->fd;
}

static bool full_or_read_only(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT || errnum == EROFS || errnum == EIO;
}

/* Whether what a rotation does at its end works here: a link renamed over a link. */
static enum ls_code test_rename(int fd, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *target = NULL;
	char a[LS_LIVE_DIR_SIZE], b[LS_LIVE_DIR_SIZE];
	bool works;
	int why;

	ls_links_tmp("a", a);
	ls_links_tmp("b", b);
	(void)unlinkat(fd, a, 0); /* remains of a crash */
	(void)unlinkat(fd, b, 0);
	works = symlinkat("1", fd, a) == 0 && symlinkat("2", fd, b) == 0 &&
		renameat(fd, b, fd, a) == 0;
	why = errno;
	if (works)
		works = ls_link_read(fd, a, &target, NULL) == LS_OK && strcmp(target, "2") == 0;
	(void)unlinkat(fd, a, 0); /* best effort: the next test removes them first */
	(void)unlinkat(fd, b, 0);
	if (works)
		return LS_OK;
	errno = why;
	if (full_or_read_only(why) || why == EACCES)
		return LS_FAIL_ERRNO(err, "write in '%s'", path);
	LS_FAIL(err, LS_E_REFUSED,
		"the file system of '%s' cannot rename one symbolic link over another (%s)", path,
		strerrordesc_np(why) ?: "it did not take effect");
	LS_HINT(err, "put it on ext4, xfs, btrfs or tmpfs");
	return LS_E_REFUSED;
}

enum ls_code ls_live_open(const char *path, struct ls_live **out, struct ls_err *err)
{
	LS_CLEANUP(ls_live_free) struct ls_live *live = ls_alloc(1, sizeof *live);
	bool there = access(path, F_OK) == 0;
	enum ls_code rc;

	live->fd = -1;
	if (!there && ls_dir_make(path, 0755, err) != LS_OK)
		return LS_WRAP(err, "the live directory");
	if (ls_dir_open(path, &live->fd, err) != LS_OK)
		return LS_WRAP(err, "the live directory");
	rc = test_rename(live->fd, path, err);
	/* A disk that is full or read-only now must not keep the daemon from starting where the
	 * test once passed; staging will say what is wrong. */
	if (rc != LS_OK && !(rc == LS_E_IO && ls_file_exists(live->fd, LS_LINKS_DATA)))
		return rc;
	*out = LS_TAKE(live);
	return LS_OK;
}

enum ls_code ls_live_current(struct ls_live *live, char out[LS_LIVE_DIR_SIZE], struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *target = NULL;
	enum ls_code rc = ls_link_read(live->fd, LS_LINKS_DATA, &target, err);

	if (rc == LS_E_REFUSED)
		return LS_FAIL(err, LS_E_DAMAGED, "'%s' is not a link", LS_LINKS_DATA);
	if (rc != LS_OK)
		return rc;
	if (!ls_live_dir_valid(target))
		return LS_FAIL(err, LS_E_DAMAGED,
			"'%s' points to '%s', which is no generation's directory", LS_LINKS_DATA,
			target);
	(void)snprintf(out, LS_LIVE_DIR_SIZE, "%s", target);
	return LS_OK;
}

static bool is_current(struct ls_live *live, const char *dir)
{
	char current[LS_LIVE_DIR_SIZE];

	return ls_live_current(live, current, NULL) == LS_OK && strcmp(current, dir) == 0;
}

static enum ls_code link_next(struct ls_live *live, const char *dir, struct ls_err *err)
{
	if (ls_links_is(live->fd, LS_LINKS_NEXT, dir))
		return LS_OK;
	return ls_links_put(live->fd, dir, LS_LINKS_NEXT, err);
}

/* The directory itself. *out_fresh: it was made here, so a failure after this takes it away. */
static enum ls_code stage_dir(
	struct ls_live *live, const struct ls_live_plan *plan, bool *out_fresh, struct ls_err *err)
{
	int healed;

	*out_fresh = false;
	if (ls_gendir_keep(live->fd, plan->dir, plan))
		return LS_OK;
	/* Services read from it: it cannot be made anew, only mended. */
	if (is_current(live, plan->dir))
		return ls_live_heal(live, plan, NULL, NULL, &healed, err);
	LS_TRY(ls_links_remove_any(live->fd, plan->dir, err));
	LS_TRY(ls_gendir_write(live->fd, plan->dir, plan, err));
	*out_fresh = true;
	return LS_OK;
}

enum ls_code ls_live_stage(
	struct ls_live *live, const struct ls_live_plan *plan, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *made = ls_alloc(plan->count, 1);
	LS_CLEANUP(ls_fd_close) int ca_fd = -1;
	bool fresh = false;

	if (stage_dir(live, plan, &fresh, err) != LS_OK)
		return LS_WRAP(err, "stage '%s'", plan->dir);
	if (ls_gendir_open_ca(live->fd, &ca_fd, err) != LS_OK ||
		ls_links_make(live->fd, ca_fd, plan, made, err) != LS_OK ||
		link_next(live, plan->dir, err) != LS_OK || ls_dir_sync(live->fd, err) != LS_OK)
		goto rollback;
	return LS_OK;
rollback:
	ls_links_unmake(live->fd, plan, made);
	if (fresh) {
		if (ls_links_is(live->fd, LS_LINKS_NEXT, plan->dir))
			(void)unlinkat(live->fd, LS_LINKS_NEXT, 0); /* activation makes it anew */
		/* What it leaves, the next attempt removes. */
		(void)!ls_dir_remove(live->fd, plan->dir, NULL);
	}
	return LS_WRAP(err, "stage '%s'", plan->dir);
}

/* Its time then says since when the directory is not live: what tidy waits by. Before the rename,
 * so that it is right after a crash in between too. */
static void goes_out_of_use(struct ls_live *live)
{
	if (ls_live_current(live, live->earlier, NULL) != LS_OK)
		return;
	live->earlier_since_ms = ls_mono_ms();
	(void)ls_dir_touch(live->fd, live->earlier); /* see in_grace */
}

enum ls_code ls_live_activate(struct ls_live *live, const char *dir, struct ls_err *err)
{
	struct stat st;

	if (is_current(live, dir)) {
		if (live->unsynced)
			LS_TRY(ls_dir_sync(live->fd, err));
		live->unsynced = false;
		return LS_OK;
	}
	if (!ls_live_dir_valid(dir))
		return LS_FAIL(err, LS_E_NOT_FOUND, "'%s' is no generation's directory", dir);
	if (fstatat(live->fd, dir, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return LS_FAIL_ERRNO(err, "activate '%s'", dir);
	if (!S_ISDIR(st.st_mode))
		return LS_FAIL(err, LS_E_NOT_FOUND, "activate '%s': not a directory", dir);
	if (link_next(live, dir, err) != LS_OK ||
		ls_links_displace(live->fd, LS_LINKS_DATA, err) != LS_OK)
		return LS_WRAP(err, "activate '%s'", dir);
	goes_out_of_use(live);
	if (renameat(live->fd, LS_LINKS_NEXT, live->fd, LS_LINKS_DATA) != 0)
		return LS_FAIL_ERRNO(err, "activate '%s': rename '%s'", dir, LS_LINKS_NEXT);
	live->unsynced = true;
	if (ls_dir_sync(live->fd, err) != LS_OK)
		return LS_WRAP(err, "'%s' is live, but a power cut may undo it", dir);
	live->unsynced = false;
	return LS_OK;
}

static bool same(const char *name, const char *keep)
{
	return keep && strcmp(name, keep) == 0;
}

/* A link to a directory that is gone, or that is live already, prepares nothing. */
static enum ls_code tidy_next(struct ls_live *live, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *target = NULL;

	if (ls_link_read(live->fd, LS_LINKS_NEXT, &target, NULL) != LS_OK)
		return LS_OK;
	if (ls_file_exists(live->fd, target) && !is_current(live, target))
		return LS_OK;
	return ls_file_remove(live->fd, LS_LINKS_NEXT, err);
}

/* A clock that was set back must not keep a directory for ever. */
static bool in_grace(struct ls_live *live, const char *name, int64_t grace_s)
{
	struct stat st;
	int64_t age_s;

	if (grace_s > 0 && same(name, live->earlier) &&
		ls_mono_ms() - live->earlier_since_ms < grace_s * 1000)
		return true;
	if (grace_s <= 0 || fstatat(live->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	age_s = ls_now_s() - (int64_t)st.st_mtim.tv_sec;
	return age_s < grace_s && age_s > -grace_s;
}

enum ls_code ls_live_tidy(struct ls_live *live, const struct ls_live_plan *plan, const char *keep_a,
	const char *keep_b, int64_t grace_s, bool *out_left, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int ca_fd = -1;
	char current[LS_LIVE_DIR_SIZE];
	enum ls_code rc = ls_live_current(live, current, err);
	bool left = false;

	/* Without knowing what services read, nothing is safe to remove. */
	if (rc != LS_OK && rc != LS_E_NOT_FOUND)
		return rc;
	LS_TRY(ls_dir_list(live->fd, ENTRIES_MAX, &names, err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		const char *name = names[i];
		bool kept = same(name, keep_a) || same(name, keep_b) || same(name, plan->dir) ||
			    (rc == LS_OK && same(name, current));

		if (!ls_live_dir_valid(name) || kept)
			continue;
		if (in_grace(live, name, grace_s))
			left = true;
		else
			LS_TRY(ls_links_remove_any(live->fd, name, err));
	}
	LS_TRY(tidy_next(live, err));
	LS_TRY(ls_links_tidy(live->fd, plan, false, err));
	LS_TRY(ls_gendir_open_ca(live->fd, &ca_fd, err));
	LS_TRY(ls_links_tidy(ca_fd, plan, true, err));
	if (out_left)
		*out_left = left;
	return LS_OK;
}

enum ls_code ls_live_leaf(
	struct ls_live *live, const char *component, char out_sha256[65], struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	LS_CLEANUP(ls_free_str) char *name = ls_format(LS_LINKS_DATA "/%s_cert.pem", component);
	enum ls_code rc = ls_file_read(live->fd, name, CERT_BYTES_MAX, &pem, err);

	if (rc == LS_OK)
		rc = ls_cert_info_read(ls_buf_bytes(&pem), &info, err);
	if (rc == LS_E_NOT_FOUND || rc == LS_E_IO)
		return rc;
	if (rc != LS_OK) { /* no regular file, too large, or no certificate */
		if (err)
			err->code = LS_E_DAMAGED;
		return LS_WRAP(err, "the live file '%s'", name), LS_E_DAMAGED;
	}
	memcpy(out_sha256, info.sha256, sizeof info.sha256);
	return LS_OK;
}

bool ls_live_key_open(
	struct ls_live *live, const char *component, char **out_name, mode_t *out_mode)
{
	static const char *const suffixes[] = { "_key.pem", ".pem" };

	for (size_t i = 0; i < LS_COUNT(suffixes); i++) {
		LS_CLEANUP(ls_free_str)
		char *name = ls_format(LS_LINKS_DATA "/%s%s", component, suffixes[i]);
		struct stat st;

		if (fstatat(live->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode) || !(st.st_mode & (S_IROTH | S_IWOTH)))
			continue;
		*out_name = LS_TAKE(name);
		*out_mode = st.st_mode & 07777;
		return true;
	}
	return false;
}
