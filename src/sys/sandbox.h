/* sandbox -- gives up for good what this process does not need: capabilities, most system calls,
 * writing outside of named directories.
 *
 * Called once, while there is one thread; threads that are started later are in it too. Afterwards
 * the process cannot execute, fork, trace or signal others, mount, change modes and owners, or
 * listen: execve, bind, listen, kill, chmod and the like are refused with EPERM, and calls that are
 * not on the list do not exist (ENOSYS: libraries then take an older one, and nothing dies in the
 * night because a library was updated). What it still needs of that is done by the helper
 * (helper.h), which must have been started before.
 */
#ifndef LS_SYS_SANDBOX_H
#define LS_SYS_SANDBOX_H

#include "base/err.h"

struct ls_sandbox {
	/* Directories, NULL-ended, below which files may be made, written, renamed and removed; a
	 * rule holds for the directory that is there now, not for one that takes its place. */
	char *const *write_dirs;
	/* Files and directories that may be read, beside those that libraries need and write_dirs.
	 * What is missing is stood for by the nearest directory above it. */
	char *const *read_paths;
	/* For a process that faces the network: what it listens at is open already, and all that it
	 * reaches by itself are UNIX sockets. There write_dirs is empty, and beside read_paths not
	 * even what libraries need is read; nothing can be opened for writing, no thread started,
	 * and no socket made but for UNIX streams and datagrams. */
	bool faces_network;
};

struct ls_sandbox_report {
	char closed[128];  /* "no_new_privs, no capabilities, seccomp, Landlock ABI 7" */
	char missing[256]; /* what this kernel does not have, and what that means; "" */
};

/* LS_E_IO: a directory cannot be opened; nothing is closed then and it can be tried again. A part
 * that the kernel does not have is no error: *out says so. LS_E_FAILED: a part that the kernel has
 * could not be closed; the process should end. */
LS_CHECK enum ls_code ls_sandbox_close(
	const struct ls_sandbox *sandbox, struct ls_sandbox_report *out, struct ls_err *err);
/* Whether it is closed. Any thread that was started after. */
bool ls_sandbox_closed(void);

#endif
