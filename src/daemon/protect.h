/* protect -- what a program does for the secrets that pass through it, before anything else.
 *
 * No core dump, no tracing by others of the same user; memory that a library frees is wiped, and
 * keys are in pages of their own (base/bytes.h, pki/ossl.h). What a library keeps for longer than
 * it needs is not reached by this: tests/e2e/secrets.bats looks through the whole memory.
 */
#ifndef LS_DAEMON_PROTECT_H
#define LS_DAEMON_PROTECT_H

#include <stdbool.h>

/* First thing in main. */
void ls_protect(void);
/* Pages with secrets could not all be locked, so far: they may reach the swap. Any thread. */
bool ls_protect_unlocked(void);
/* What to say then, and what to do about it. Static texts. */
extern const char ls_protect_unlocked_text[], ls_protect_unlocked_hint[];

#endif
