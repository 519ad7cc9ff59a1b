#include "node/links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/file.h"

#define ENTRIES_MAX 65536
#define REMAINS_S 60

void ls_links_tmp(const char *what, char out[LS_LIVE_DIR_SIZE])
{
	(void)snprintf(out, LS_LIVE_DIR_SIZE, LS_LINKS_TMP_PREFIX "%d-%s", (int)gettid(), what);
}

const char *ls_links_base(const struct ls_live_file *file)
{
	const char *slash = strchr(file->name, '/');

	return slash ? slash + 1 : file->name;
}

bool ls_links_is(int dir_fd, const char *name, const char *target)
{
	LS_CLEANUP(ls_free_str) char *found = NULL;

	return ls_link_read(dir_fd, name, &found, NULL) == LS_OK && strcmp(found, target) == 0;
}

enum ls_code ls_links_displace(int dir_fd, const char *name, struct ls_err *err)
{
	char aside[LS_LIVE_DIR_SIZE];
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
		return LS_OK;
	(void)snprintf(
		aside, sizeof aside, LS_LINKS_TMP_PREFIX "aside-%lld", (long long)ls_now_ms());
	if (renameat(dir_fd, name, dir_fd, aside) != 0)
		return LS_FAIL_ERRNO(err, "move directory '%s' aside", name);
	return LS_OK;
}

enum ls_code ls_links_put(int dir_fd, const char *target, const char *name, struct ls_err *err)
{
	char tmp[LS_LIVE_DIR_SIZE];

	ls_links_tmp("link", tmp);
	LS_TRY(ls_links_displace(dir_fd, name, err));
	return ls_link_replace(dir_fd, target, tmp, name, err);
}

enum ls_code ls_links_make(
	int live_fd, int ca_fd, const struct ls_live_plan *plan, char *made, struct ls_err *err)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct ls_live_file *file = &plan->files[i];
		int dir_fd = file->kind == LS_LIVE_CA ? ca_fd : live_fd;
		char target[LS_LIVE_DIR_SIZE];

		ls_live_link_target(file->name, target);
		if (symlinkat(target, dir_fd, ls_links_base(file)) == 0)
			made[i] = 1;
		else if (errno != EEXIST)
			return LS_FAIL_ERRNO(err, "make link '%s'", file->name);
	}
	return ls_dir_sync(ca_fd, err);
}

void ls_links_unmake(int live_fd, const struct ls_live_plan *plan, const char *made)
{
	for (size_t i = 0; i < plan->count; i++)
		if (made[i])
			(void)unlinkat(live_fd, plan->files[i].name, 0); /* tidy finds it */
}

static bool plan_has(const struct ls_live_plan *plan, bool ca, const char *base)
{
	for (size_t i = 0; i < plan->count; i++)
		if (ca == (plan->files[i].kind == LS_LIVE_CA) &&
			strcmp(ls_links_base(&plan->files[i]), base) == 0)
			return true;
	return false;
}

static bool is_old_remains(int dir_fd, const char *name)
{
	struct stat st;

	return ls_has_prefix(name, LS_LINKS_TMP_PREFIX) &&
	       fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ls_now_s() - (int64_t)st.st_mtime > REMAINS_S;
}

enum ls_code ls_links_remove_any(int dir_fd, const char *name, struct ls_err *err)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		return ls_file_remove(dir_fd, name, err);
	return ls_dir_remove(dir_fd, name, err);
}

enum ls_code ls_links_tidy(int dir_fd, const struct ls_live_plan *plan, bool ca, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	LS_TRY(ls_dir_list(dir_fd, ENTRIES_MAX, &names, err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_free_str)
		char *ours = ls_format("%s%s", ca ? "../..data/ca/" : "..data/", names[i]);
		bool orphan = !plan_has(plan, ca, names[i]) && ls_links_is(dir_fd, names[i], ours);

		if (orphan || is_old_remains(dir_fd, names[i]))
			LS_TRY(ls_links_remove_any(dir_fd, names[i], err));
	}
	return LS_OK;
}
