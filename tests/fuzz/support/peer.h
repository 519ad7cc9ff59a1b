/* peer -- the other end of a UNIX socket: a thread that accepts, sends what it was given, reads
 * what comes and closes.
 */
#ifndef LS_TESTS_FUZZ_PEER_H
#define LS_TESTS_FUZZ_PEER_H

#include "base/bytes.h"

/* Starts it at the first call; the socket's path: where a daemon has it, below scratch_dir(). */
const char *peer_start(void);
/* What the next connections are answered with: the n-th gets the n-th part, split at each byte
 * `separator`; -1: all get the whole. Borrowed until the next call. */
void peer_answer(struct ls_bytes bytes, int separator);

#endif
