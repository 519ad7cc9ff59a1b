/* err -- how a failure travels: a code that says what the caller can do, and words that say what
 * happened.
 *
 * `struct ls_err` has a fixed size and lives on the caller's stack: setting it never allocates. The
 * site that finds the fault calls LS_FAIL or LS_FAIL_ERRNO; a caller that knows more puts its words
 * in front with LS_WRAP. When the words do not fit, the outer ones are cut, never the root. Secrets
 * must not be put in here.
 */
#ifndef LS_BASE_ERR_H
#define LS_BASE_ERR_H

#include <stdbool.h>

#include "base/own.h"

/* name, text, exit code of the command line (CONTRACT), whether trying again can help */
#define LS_CODES(X)                                                                                \
	X(LS_OK, "ok", 0, false)                                                                   \
	X(LS_E_FAILED, "failed", 1, false)          /* no narrower code fits */                    \
	X(LS_E_IO, "input/output", 1, true)         /* the system said no: disk, file, socket */   \
	X(LS_E_NOT_FOUND, "not found", 1, false)    /* a named thing is not there */               \
	X(LS_E_DAMAGED, "damaged", 1, false)        /* stored data is not what was written */      \
	X(LS_E_CRYPTO, "cryptography", 1, false)    /* the library refused an operation */         \
	X(LS_E_USAGE, "usage", 2, false)            /* the call's words are wrong */               \
	X(LS_E_REFUSED, "refused", 3, false)        /* a check or the policy said no */            \
	X(LS_E_UNREACHABLE, "unreachable", 4, true) /* daemon or store; nothing was done */        \
	X(LS_E_UNKNOWN, "outcome unknown", 4, true) /* it may have been done; status tells */      \
	X(LS_E_TIMEOUT, "timed out", 4, true)                                                      \
	X(LS_E_CONFLICT, "conflict", 5, true)        /* another change was first */                \
	X(LS_E_ROLLED_BACK, "rolled back", 6, false) /* applied, not taken, undone */

enum ls_code {
#define LS_CODE_ENUM(name, text, exit_code, retry) name,
	LS_CODES(LS_CODE_ENUM)
#undef LS_CODE_ENUM
		LS_CODE_COUNT
};

struct ls_err {
	enum ls_code code;
	char text[1024]; /* outermost words first, root cause last: "what: why" */
	char hint[256];  /* what to do, or empty */
};

const char *ls_code_text(enum ls_code code);
/* The name that JSON carries, such as "refused"; ls_code_parse is its inverse, LS_E_FAILED for what
 * it does not know. */
enum ls_code ls_code_parse(const char *text);
int ls_code_exit(enum ls_code code);
bool ls_code_retry(enum ls_code code);

/* Sets code and words and returns the code. `err` may be NULL. */
enum ls_code ls_err_set(struct ls_err *err, enum ls_code code, const char *fmt, ...)
	LS_PRINTF(3, 4);
/* The same with ": <strerror>" at the end; the code is LS_E_NOT_FOUND for ENOENT, else LS_E_IO. */
enum ls_code ls_err_set_errno(struct ls_err *err, int errnum, const char *fmt, ...) LS_PRINTF(3, 4);
/* Puts words in front of what is there; the code stays and is returned. */
enum ls_code ls_err_wrap(struct ls_err *err, const char *fmt, ...) LS_PRINTF(2, 3);
void ls_err_hint(struct ls_err *err, const char *fmt, ...) LS_PRINTF(2, 3);

#define LS_FAIL(err, code, ...) ls_err_set(err, code, __VA_ARGS__)
#define LS_FAIL_ERRNO(err, ...) ls_err_set_errno(err, errno, __VA_ARGS__)
#define LS_WRAP(err, ...) ls_err_wrap(err, __VA_ARGS__)
#define LS_HINT(err, ...) ls_err_hint(err, __VA_ARGS__)

/* Returns from the calling function when `call` does not yield LS_OK. For functions that own by
 * scope only. */
#define LS_TRY(call)                                                                               \
	do {                                                                                       \
		enum ls_code ls_try_ = (call);                                                     \
		if (ls_try_ != LS_OK)                                                              \
			return ls_try_;                                                            \
	} while (0)

/* Drops a result on purpose; the reason stands in a comment beside it. */
#define LS_IGNORE(call)                                                                            \
	do {                                                                                       \
		enum ls_code ls_ignored_ = (call);                                                 \
		(void)ls_ignored_;                                                                 \
	} while (0)

#endif
