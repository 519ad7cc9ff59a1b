/* process -- runs a command to its end: no shell, its own process group, a time limit, bounded
 * output.
 *
 * Blocking; for the helper process (helper.h) and the command line. Safe in a program with threads.
 * All descriptors but 0, 1, 2 are closed in the child; signals are reset. On the time limit the
 * whole group gets SIGTERM, after 2 s SIGKILL. A background child that outlives the command is left
 * alone and not read from any more. SIGCHLD must not be ignored in this program.
 */
#ifndef LS_SYS_PROCESS_H
#define LS_SYS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct ls_process {
	char *const *argv; /* argv[0] is an absolute path; not searched for */
	char *const *envp; /* the whole environment, NULL-ended; NULL: PATH and LANG=C only */
	struct ls_bytes input;
	int64_t timeout_ms;
	size_t output_max; /* bytes of standard output and error together that are kept; more is
			      read and dropped */
	/* Both NULL, or two absolute paths of directories: the command alone sees the first in
	 * place of the second, read-only, in a mount namespace of its own; where that is not
	 * permitted it runs without. */
	const char *bind_from, *bind_to;
	/* Above 0: as soon as this can be read from or is hung up, the command is stopped as on its
	 * time limit; it is killed with the thread that called. */
	int stop_fd;
};

struct ls_process_result {
	int exit_status; /* -1 when a signal ended it */
	int term_signal;
	bool timed_out;
	struct ls_secret output; /* standard output then error, as they came; wiped (a key may come
				    this way) */
};

void ls_process_result_done(struct ls_process_result *result);
/* LS_OK whenever the command ran, whatever it answered; LS_E_NOT_FOUND or LS_E_IO when it could not
 * be started. */
LS_CHECK enum ls_code ls_process_run(
	const struct ls_process *process, struct ls_process_result *out, struct ls_err *err);
/* LS_E_FAILED with the two last lines of the output (printable, 400 characters at most) unless it
 * ended with status 0. */
LS_CHECK enum ls_code ls_process_check(
	const char *name, const struct ls_process_result *result, struct ls_err *err);

#endif
