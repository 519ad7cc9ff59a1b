#include "pki/sha1.h"

#include <openssl/evp.h>

void ls_sha1(struct ls_bytes data, unsigned char out[LS_SHA1_BYTES])
{
	if (EVP_Digest(data.data, data.len, out, NULL, EVP_sha1(), NULL) != 1)
		abort(); /* only without memory */
}
