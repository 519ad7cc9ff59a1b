/* mutate -- mutators that know PEM and DER: without them a fuzzer rarely gets past base64 and the
 * lengths, and never past a signature.
 *
 * For LLVMFuzzerCustomMutator; all chance comes from `seed` and from libFuzzer's own mutator.
 */
#ifndef LS_TESTS_FUZZ_MUTATE_H
#define LS_TESTS_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* DER: an element's tag, length, content or place. */
size_t mutate_der(uint8_t *data, size_t size, size_t max_size, unsigned seed);
/* PEM: the text as such, its blocks, or the DER in one of them. Half of the changed certificates
 * are signed again with the fixed key. */
size_t mutate_pem(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#endif
