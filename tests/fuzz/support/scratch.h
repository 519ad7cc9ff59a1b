/* scratch -- a directory in memory for targets whose parsers read files; gone when the target ends.
 */
#ifndef LS_TESTS_FUZZ_SCRATCH_H
#define LS_TESTS_FUZZ_SCRATCH_H

#include "base/bytes.h"

/* The path, made 0700 at the first call. */
const char *scratch_dir(void);
/* Writes a file below it; folders in front of it must be there. */
void scratch_put(const char *name, struct ls_bytes bytes);

#endif
