/* sandbox_calls -- the sandbox's part that bounds system calls (seccomp); for sandbox.c alone. */
#ifndef LS_SYS_SANDBOX_CALLS_H
#define LS_SYS_SANDBOX_CALLS_H

#include <stdbool.h>

#include "base/err.h"

/* Bounds them for all threads, for good. `faces_network` as in struct ls_sandbox. *out_there is
 * false where the kernel has no seccomp. LS_E_FAILED: it has, and it was not to be had. */
LS_CHECK enum ls_code ls_sandbox_close_calls(
	bool faces_network, bool *out_there, struct ls_err *err);

#endif
