/* file -- files and directories relative to directory descriptors, whole or not at all, synced.
 *
 * No call follows a link in its last component unless it says so. Blocking: not for the main thread
 * except small reads.
 */
#ifndef LS_SYS_FILE_H
#define LS_SYS_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/bytes.h"

/* Reads a regular file of at most max_bytes; another kind or a larger one is LS_E_REFUSED. `dir_fd`
 * may be AT_FDCWD. */
LS_CHECK enum ls_code ls_file_read(
	int dir_fd, const char *name, size_t max_bytes, struct ls_buf *out, struct ls_err *err);
LS_CHECK enum ls_code ls_file_read_secret(
	int dir_fd, const char *name, size_t max_bytes, struct ls_secret *out, struct ls_err *err);
/* The same for what says what this program does, commands that run as root among it: LS_E_REFUSED
 * also when it does not belong to root or the running user, or everybody may write it. */
LS_CHECK enum ls_code ls_file_read_guarded(
	int dir_fd, const char *name, size_t max_bytes, struct ls_buf *out, struct ls_err *err);
/* The same conditions of an open directory. */
LS_CHECK enum ls_code ls_dir_check_guarded(int dir_fd, const char *name, struct ls_err *err);
/* Reads all of a descriptor (a pipe as well), at most max_bytes. */
LS_CHECK enum ls_code ls_file_read_fd(
	int fd, const char *name, size_t max_bytes, struct ls_buf *out, struct ls_err *err);
/* The bytes of a file that came from others' hands: opened without blocking; must be a regular file
 * with one link, owned by root or the running user (`any_owner` lifts that), within max_bytes;
 * *out_fd (may be NULL) gets the open descriptor. LS_E_REFUSED says which condition failed. */
LS_CHECK enum ls_code ls_file_read_untrusted(int dir_fd, const char *name, size_t max_bytes,
	bool any_owner, struct ls_buf *out, int *out_fd, struct ls_err *err);

/* A new file (O_EXCL) with exactly this mode (whatever the umask) and group (-1: leave it), from
 * the instant of its creation never wider than that; data synced, its directory not. */
LS_CHECK enum ls_code ls_file_create(int dir_fd, const char *name, struct ls_bytes data,
	mode_t mode, gid_t group, struct ls_err *err);
/* A reader finds the old file or the new one, whole: temporary ".NAME.new", sync, rename, sync of
 * the directory. `name` has no slash. When only the last sync failed the new file is in place. */
LS_CHECK enum ls_code ls_file_replace(int dir_fd, const char *name, struct ls_bytes data,
	mode_t mode, gid_t group, struct ls_err *err);
/* Removes a file; an absent one is fine. */
LS_CHECK enum ls_code ls_file_remove(int dir_fd, const char *name, struct ls_err *err);
bool ls_file_exists(int dir_fd, const char *name); /* of any kind, links not followed */

/* Makes a directory and those above it that are missing (the above ones 0755), with exactly these
 * modes, each synced into the one above; an existing one is fine, its mode is not touched. Above
 * the last component links are followed. */
LS_CHECK enum ls_code ls_dir_make(const char *path, mode_t mode, struct ls_err *err);
LS_CHECK enum ls_code ls_dir_open(const char *path, int *out_fd, struct ls_err *err);
LS_CHECK enum ls_code ls_dir_open_at(int dir_fd, const char *name, int *out_fd, struct ls_err *err);
LS_CHECK enum ls_code ls_dir_sync(int dir_fd, struct ls_err *err);
/* Names in it without "." and "..", sorted; at most `max` (more: LS_E_REFUSED). */
LS_CHECK enum ls_code ls_dir_list(int dir_fd, size_t max, char ***out, struct ls_err *err);
/* Removes a directory with what is in it, at most 8 levels deep, never following a link; an absent
 * one is fine, anything else is LS_E_REFUSED. Deeper: LS_E_REFUSED, with a part removed. */
LS_CHECK enum ls_code ls_dir_remove(int dir_fd, const char *name, struct ls_err *err);

/* Makes `name` a symbolic link to `target` by rename, so that there is always one; `tmp` is the
 * temporary's name. No sync. */
LS_CHECK enum ls_code ls_link_replace(
	int dir_fd, const char *target, const char *tmp, const char *name, struct ls_err *err);
/* The target of a link as heap text; LS_E_NOT_FOUND when absent, LS_E_REFUSED when it is no link.
 */
LS_CHECK enum ls_code ls_link_read(int dir_fd, const char *name, char **out, struct ls_err *err);

/* An exclusive flock on a file that is made 0600 when absent, held until *out_fd is closed. Without
 * `wait` a held lock is LS_E_CONFLICT. */
LS_CHECK enum ls_code ls_file_lock(const char *path, bool wait, int *out_fd, struct ls_err *err);

/* fchmod, fchown, and setting the times of a directory to now, as the system calls: 0, or -1 and
 * errno. The kernel cannot bound any of them to directories, so the daemon, in its sandbox, has its
 * helper do them (helper.h), which refuses what is not in the daemon's own directories: EPERM. */
int ls_fd_set_mode(int fd, mode_t mode);
int ls_fd_set_owner(int fd, uid_t uid, gid_t gid);
int ls_dir_touch(int above_fd, const char *name);

/* The group's number; LS_E_NOT_FOUND. */
LS_CHECK enum ls_code ls_group_find(const char *name, gid_t *out, struct ls_err *err);

#endif
