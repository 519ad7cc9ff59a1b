/* talk -- a client of a server under test that runs in the same thread: it sends any bytes in
 * pieces to a UNIX socket and gives the server a turn after each. */
#ifndef LS_TESTS_FUZZ_TALK_H
#define LS_TESTS_FUZZ_TALK_H

#include <stddef.h>
#include <stdint.h>

/* The first byte is the size of the pieces, in 16 bytes; 0: all at once. `after` is the number of
 * turns before the end is told. Aborts if the server still keeps the connection 400 turns later. */
void talk_all(const char *path, const uint8_t *data, size_t size, int after, void (*turn)(void));

#endif
