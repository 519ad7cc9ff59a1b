#include "pki/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "pki/ossl.h"

/* Fetched once: a fetch by name costs more than hashing what is hashed here. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void ls_sha256(struct ls_bytes data, unsigned char out[LS_SHA256_BYTES])
{
	(void)pthread_once(&sha256_once, fetch_sha256); /* cannot fail with a valid control */
	if (!sha256 || EVP_Digest(data.data, data.len, out, NULL, sha256, NULL) != 1)
		ls_ossl_unusable("SHA-256");
}

void ls_sha256_text(struct ls_bytes data, char out[LS_SHA256_TEXT])
{
	unsigned char digest[LS_SHA256_BYTES];

	ls_sha256(data, digest);
	ls_hex(digest, sizeof digest, out);
}

void ls_hmac_sha256(struct ls_bytes key, struct ls_bytes data, unsigned char out[LS_SHA256_BYTES])
{
	size_t len = 0;

	/* An empty key is a valid one (RFC 2104), but NULL is not. */
	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key.data ? key.data : "", key.len,
		    data.data, data.len, out, LS_SHA256_BYTES, &len) ||
		len != LS_SHA256_BYTES)
		ls_ossl_unusable("HMAC-SHA-256");
}

void ls_random_bytes(void *out, size_t len)
{
	if (RAND_bytes_ex(NULL, out, len, 256) != 1)
		ls_ossl_unusable("random bytes");
}
