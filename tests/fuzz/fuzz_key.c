/* Any bytes as a private key, in every form that is read, encrypted ones too: what is taken is
 * written as PKCS#8 and read as the same key. And as a public key, which a node that joins sends.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pki/key.h"
#include "tests/fuzz/support/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_pem(data, size, max_size, seed);
}

static void as_public(struct ls_bytes text)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *again = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	struct ls_err err = { 0 };
	char id[65], id_again[65];

	if (ls_key_from_public_pem("key", text, &key, &err) != LS_OK) {
		if (err.code != LS_E_REFUSED || !err.text[0] || strchr(err.text, '\n'))
			abort();
		return;
	}
	if (ls_key_public_pem(key, &pem, &err) != LS_OK ||
		ls_key_from_public_pem("again", ls_buf_bytes(&pem), &again, &err) != LS_OK)
		abort();
	ls_key_id(key, id);
	ls_key_id(again, id_again);
	if (strcmp(id, id_again) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_bytes text = { size ? (const void *)data : "", size };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *again = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	struct ls_key_spec spec;
	struct ls_err err = { 0 };
	char id[65], id_again[65], words[32];

	as_public(text);
	if (ls_key_from_pem("key", text, LS_BYTES_STR("sesame"), &key, &err) != LS_OK) {
		if (err.code != LS_E_REFUSED || !err.text[0] || strchr(err.text, '\n'))
			abort();
		return 0;
	}
	ls_key_describe(key, &spec);
	ls_key_spec_text(&spec, words);
	if (ls_key_to_pem(key, &pem, &err) != LS_OK)
		return 0; /* one that OpenSSL reads but does not write is refused later */
	if (ls_key_from_pem("again", ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, &again, &err) !=
		LS_OK)
		abort();
	ls_key_id(key, id);
	ls_key_id(again, id_again);
	if (strcmp(id, id_again) != 0)
		abort();
	return 0;
}
