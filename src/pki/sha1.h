/* sha1 -- the checksum at the end of git's packs and indexes; for nothing else. */
#ifndef LS_PKI_SHA1_H
#define LS_PKI_SHA1_H

#include "base/bytes.h"

#define LS_SHA1_BYTES 20

void ls_sha1(struct ls_bytes data, unsigned char out[LS_SHA1_BYTES]);

#endif
