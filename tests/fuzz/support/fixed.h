/* fixed -- the keys of the fuzz targets: always the same, so that what the corpus holds keeps its
 * signatures and opens. They protect nothing.
 */
#ifndef LS_TESTS_FUZZ_FIXED_H
#define LS_TESTS_FUZZ_FIXED_H

#include "base/bytes.h"
#include "pki/sign.h"

/* An EC key that signs every certificate of the corpus, and belongs to each. */
struct evp_pkey_st *fixed_key(void);
/* A CA of that key, and a member of the cluster "prod" by it, "n1", whose key is the same. */
void fixed_ca(struct ls_signer *out);
void fixed_member(struct ls_signer *out);
/* Its certificate for wrapping. */
void fixed_wrapping(struct ls_signer *out);

#endif
