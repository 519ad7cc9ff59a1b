/* heal -- the part of live.h that puts back what was tampered with. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/gendir.h"
#include "node/links.h"
#include "node/live.h"
#include "sys/file.h"

struct heal {
	int live_fd;
	const struct ls_live_plan *plan;
	void (*on_foreign)(void *arg, const struct ls_live_foreign *foreign);
	void *arg;
	int healed;
	enum ls_code rc; /* of the first failure; the rest is healed all the same */
	struct ls_err *err;
};

static void note(struct heal *heal, enum ls_code rc, const struct ls_err *err)
{
	if (rc == LS_OK || heal->rc != LS_OK)
		return;
	heal->rc = rc;
	if (heal->err)
		*heal->err = *err;
}

/* Hands the descriptor over; it stays the caller's when nobody asked. */
static void tell(struct heal *heal, const struct ls_live_file *file, int *fd)
{
	struct ls_live_foreign foreign = {
		.component = file->component,
		.kind = file->kind,
		.fd = *fd,
	};

	if (!heal->on_foreign)
		return;
	*fd = -1;
	heal->on_foreign(heal->arg, &foreign);
}

/* Whether somebody whom the template does not name could read it as it stands. Its own group is
 * named, also when the template has become stricter since the file was made. */
static bool is_exposed(const struct stat *st, const struct ls_live_file *file)
{
	bool other_owner = geteuid() == 0 && st->st_uid != 0 && (st->st_mode & S_IRUSR);
	bool other_group =
		file->group != (gid_t)-1 && st->st_gid != file->group && (st->st_mode & S_IRGRP);

	return (st->st_mode & ~file->mode & S_IROTH) || other_owner || other_group;
}

/* The mode is put back in a moment, but whoever looked meanwhile has the key. */
static void tell_exposed(
	struct heal *heal, const struct ls_gendir *dir, const struct ls_live_file *file)
{
	struct ls_live_foreign foreign = {
		.component = file->component, .kind = file->kind, .fd = -1, .exposed = true
	};
	struct stat st;

	if (!heal->on_foreign || !file->key_cms.len ||
		fstatat(dir->fd, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		!is_exposed(&st, file))
		return;
	foreign.mode = st.st_mode & 07777;
	heal->on_foreign(heal->arg, &foreign);
}

static enum ls_code heal_file(struct heal *heal, const struct ls_gendir *dir,
	const struct ls_live_file *file, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	enum ls_gendir_state state;

	LS_TRY(ls_gendir_look(dir, file, &state, &fd, err));
	if (state == LS_GENDIR_RIGHT)
		return LS_OK;
	if (state == LS_GENDIR_OTHER)
		tell(heal, file, &fd);
	else if (state != LS_GENDIR_ABSENT)
		tell_exposed(heal, dir, file);
	if (ls_gendir_mend(dir, heal->plan, file, state, fd, err) != LS_OK)
		return LS_WRAP(err, "heal '%s'", file->name);
	heal->healed++;
	return LS_OK;
}

/* A whole directory appears under its name at once: ..data may be pointing there. */
static enum ls_code remake(struct heal *heal, struct ls_err *err)
{
	const char *dir = heal->plan->dir;
	char tmp[LS_LIVE_DIR_SIZE];
	struct stat st;

	ls_links_tmp("dir", tmp);
	if (fstatat(heal->live_fd, dir, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		unlinkat(heal->live_fd, dir, 0) != 0)
		return LS_FAIL_ERRNO(err, "remove what stands in place of '%s'", dir);
	LS_TRY(ls_dir_remove(heal->live_fd, tmp, err)); /* remains of a crash */
	LS_TRY(ls_gendir_write(heal->live_fd, tmp, heal->plan, err));
	if (renameat(heal->live_fd, tmp, heal->live_fd, dir) != 0) {
		LS_FAIL_ERRNO(err, "rename '%s' to '%s'", tmp, dir);
		goto rollback;
	}
	heal->healed++;
	return LS_OK;
rollback:
	(void)!ls_dir_remove(heal->live_fd, tmp, NULL); /* tidy removes what it leaves */
	return LS_WRAP(err, "heal '%s'", dir);
}

static enum ls_code heal_mode(struct heal *heal, int dir_fd, struct ls_err *err)
{
	bool mended;

	LS_TRY(ls_gendir_mend_dir(dir_fd, &mended, err));
	heal->healed += mended;
	return LS_OK;
}

/* ca/ in `dir_fd`; what stands in its place, or is missing, is put right. */
static enum ls_code heal_ca(struct heal *heal, int dir_fd, int *out_fd, struct ls_err *err)
{
	struct stat st;
	bool there = fstatat(dir_fd, "ca", &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (there && !S_ISDIR(st.st_mode) && unlinkat(dir_fd, "ca", 0) != 0)
		return LS_FAIL_ERRNO(err, "remove what stands in place of 'ca'");
	LS_TRY(ls_gendir_open_ca(dir_fd, out_fd, err));
	heal->healed += !there || !S_ISDIR(st.st_mode);
	return heal_mode(heal, *out_fd, err);
}

static enum ls_code heal_dir(struct heal *heal, struct ls_err *err)
{
	LS_CLEANUP(ls_gendir_done) struct ls_gendir dir = LS_GENDIR_CLOSED;
	struct stat st;
	int there = fstatat(heal->live_fd, heal->plan->dir, &st, AT_SYMLINK_NOFOLLOW);

	/* Who owns the live directory itself could rename links in it. */
	LS_TRY(heal_mode(heal, heal->live_fd, err));
	if (there == 0 ? !S_ISDIR(st.st_mode) : errno == ENOENT)
		return remake(heal, err);
	LS_TRY(ls_dir_open_at(heal->live_fd, heal->plan->dir, &dir.fd, err));
	LS_TRY(heal_mode(heal, dir.fd, err));
	LS_TRY(heal_ca(heal, dir.fd, &dir.ca_fd, err));
	for (size_t i = 0; i < heal->plan->count; i++) {
		struct ls_err own = { 0 };

		note(heal, heal_file(heal, &dir, &heal->plan->files[i], &own), &own);
	}
	return LS_OK;
}

/* What stands in a link's place, if it is a file that can be read: never through a link, never
 * waiting for a pipe's writer, never a file that somebody else's name also reaches. */
static int open_foreign(int dir_fd, const char *name)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct stat st;
	int out;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return -1;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -1;
	out = fd;
	fd = -1;
	return out;
}

static enum ls_code heal_link(
	struct heal *heal, int dir_fd, const struct ls_live_file *file, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	LS_CLEANUP(ls_free_str) char *found = NULL;
	const char *name = ls_links_base(file);
	char target[LS_LIVE_DIR_SIZE];
	enum ls_code rc = ls_link_read(dir_fd, name, &found, err);

	ls_live_link_target(file->name, target);
	if (rc == LS_OK && strcmp(found, target) == 0)
		return LS_OK;
	if (rc != LS_OK && rc != LS_E_NOT_FOUND && rc != LS_E_REFUSED)
		return LS_WRAP(err, "heal link '%s'", file->name);
	if (rc == LS_E_REFUSED)
		fd = open_foreign(dir_fd, name);
	if (rc != LS_E_NOT_FOUND)
		tell(heal, file, &fd);
	if (ls_links_put(dir_fd, target, name, err) != LS_OK)
		return LS_WRAP(err, "heal link '%s'", file->name);
	heal->healed++;
	return LS_OK;
}

static enum ls_code heal_links(struct heal *heal, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int ca_fd = -1;
	int before = heal->healed;

	if (!ls_links_is(heal->live_fd, LS_LINKS_DATA, heal->plan->dir)) {
		LS_TRY(ls_links_put(heal->live_fd, heal->plan->dir, LS_LINKS_DATA, err));
		heal->healed++;
	}
	LS_TRY(heal_ca(heal, heal->live_fd, &ca_fd, err));
	for (size_t i = 0; i < heal->plan->count; i++) {
		const struct ls_live_file *file = &heal->plan->files[i];
		int dir_fd = file->kind == LS_LIVE_CA ? ca_fd : heal->live_fd;
		struct ls_err own = { 0 };

		note(heal, heal_link(heal, dir_fd, file, &own), &own);
	}
	if (heal->healed != before)
		LS_TRY(ls_dir_sync(ca_fd, err));
	return LS_OK;
}

enum ls_code ls_live_heal(struct ls_live *live, const struct ls_live_plan *plan,
	void (*on_foreign)(void *arg, const struct ls_live_foreign *foreign), void *arg,
	int *out_healed, struct ls_err *err)
{
	struct heal heal = {
		.live_fd = ls_live_fd(live),
		.plan = plan,
		.on_foreign = on_foreign,
		.arg = arg,
		.err = err,
	};
	struct ls_err own = { 0 };
	enum ls_code rc = heal_dir(&heal, &own);

	note(&heal, rc, &own);
	/* Links to a directory that could not be made again would only move the damage. */
	if (rc == LS_OK)
		note(&heal, heal_links(&heal, &own), &own);
	if (heal.healed)
		note(&heal, ls_dir_sync(heal.live_fd, &own), &own);
	*out_healed = heal.healed;
	return heal.rc;
}
