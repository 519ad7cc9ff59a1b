#include "intake/removal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/file.h"
#include "sys/sandbox.h"

#define ASK_MS 10000
/* A file on its way out, and one that was put aside for good. */
#define TAKEN ".taken-"
#define REFUSED ".refused-"
#define NAMES_MAX 20000

enum ended { GONE, STAYS, OUT_OF_BOUNDS };

static enum ended take_out(int dir_fd, const char *name, const struct ls_seen *was, bool keep)
{
	LS_CLEANUP(ls_free_str)
	char *aside =
		ls_format("%s%lld-%.200s", keep ? REFUSED : TAKEN, (long long)ls_now_ms(), name);
	LS_CLEANUP(ls_free_str)
	char *refused = ls_format(REFUSED "%lld-%.200s", (long long)ls_now_ms(), name);
	struct ls_seen seen;
	struct stat st;

	if (renameat2(dir_fd, name, dir_fd, aside, RENAME_NOREPLACE) != 0)
		return errno == ENOENT ? GONE : errno == EACCES ? OUT_OF_BOUNDS : STAYS;
	if (fstatat(dir_fd, aside, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return STAYS;
	seen = ls_seen_of(&st);
	if (!ls_seen_same_content(&seen, was)) {
		(void)renameat2(dir_fd, aside, dir_fd, name, RENAME_NOREPLACE);
	} else if (S_ISDIR(st.st_mode)) {
		if (unlinkat(dir_fd, aside, AT_REMOVEDIR) != 0) /* only an empty one goes */
			(void)renameat2(dir_fd, aside, dir_fd, refused, RENAME_NOREPLACE);
	} else if (!keep && unlinkat(dir_fd, aside, 0) != 0) {
		(void)renameat2(dir_fd, aside, dir_fd, name, RENAME_NOREPLACE);
		return STAYS;
	}
	return GONE;
}

/* The sandbox is bound to the directory that was there when it closed. One that an operator has put
 * in its place is the helper's to change. */
static bool ask(const struct ls_part *part, bool keep)
{
	LS_CLEANUP(ls_free_str)
	char *seen =
		ls_format("%ju %jd %jd %ld", (uintmax_t)part->seen.inode, (intmax_t)part->seen.size,
			(intmax_t)part->seen.mtime.tv_sec, part->seen.mtime.tv_nsec);
	const char *words[] = { LS_ASK_SETTLE, part->file_name, seen, keep ? "keep" : "", NULL };

	return ls_helper_ask(words, -1, ASK_MS, NULL, NULL) == LS_OK;
}

bool ls_removal_do(int dir_fd, const struct ls_part *part, bool keep)
{
	enum ended ended = take_out(dir_fd, part->file_name, &part->seen, keep);

	if (ended == OUT_OF_BOUNDS && ls_sandbox_closed())
		return ask(part, keep);
	return ended == GONE;
}

void ls_removal_put_back(const char *incoming)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	/* What cannot be done now is done at the next start. */
	if (ls_dir_open(incoming, &dir_fd, NULL) != LS_OK ||
		ls_dir_list(dir_fd, NAMES_MAX, &names, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		const char *name = names[i] + strlen(TAKEN);

		if (!ls_has_prefix(names[i], TAKEN))
			continue;
		name += strspn(name, "0123456789");
		if (name[0] != '-' || name[1] == '\0')
			continue;
		/* The record may not say what became of it, and what is in force already is taken
		 * again without a change. A newer file of that name wins. */
		if (renameat2(dir_fd, names[i], dir_fd, name + 1, RENAME_NOREPLACE) != 0 &&
			errno == EEXIST)
			(void)unlinkat(dir_fd, names[i], 0);
	}
}

enum ls_code ls_removal_serve(
	const char *incoming, const struct ls_helper_call *call, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;
	const char *name = call->count == 4 ? call->words[1] : "";
	struct ls_seen seen = { 0 };
	uintmax_t inode;
	intmax_t size, at_s;

	if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		sscanf(call->words[2], "%ju %jd %jd %ld", &inode, &size, &at_s,
			&seen.mtime.tv_nsec) != 4)
		return LS_FAIL(err, LS_E_REFUSED, "%s: no file of a drop-in", call->words[0]);
	seen.inode = (ino_t)inode;
	seen.size = (off_t)size;
	seen.mtime.tv_sec = (time_t)at_s;
	LS_TRY(ls_dir_open(incoming, &dir_fd, err));
	if (take_out(dir_fd, name, &seen, call->words[3][0] != '\0') != GONE)
		return LS_FAIL(err, LS_E_IO, "'%s' cannot be removed from '%s'", name, incoming);
	return LS_OK;
}
