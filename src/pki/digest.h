/* digest -- SHA-256, HMAC and random bytes. Thread-safe. */
#ifndef LS_PKI_DIGEST_H
#define LS_PKI_DIGEST_H

#include "base/bytes.h"

#define LS_SHA256_BYTES 32
#define LS_SHA256_TEXT (2 * LS_SHA256_BYTES + 1)

void ls_sha256(struct ls_bytes data, unsigned char out[LS_SHA256_BYTES]);
/* Lower-case hex. */
void ls_sha256_text(struct ls_bytes data, char out[LS_SHA256_TEXT]);
void ls_hmac_sha256(struct ls_bytes key, struct ls_bytes data, unsigned char out[LS_SHA256_BYTES]);
/* From OpenSSL's generator; the process ends if it has none (nothing safe could follow). */
void ls_random_bytes(void *out, size_t len);

#endif
