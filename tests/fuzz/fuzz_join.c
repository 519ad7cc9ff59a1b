/* Any text as a token, any JSON as a message of joining; the first byte says which. A token that is
 * taken is one word that says the same; a message is taken only with the MAC of its words. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void token(struct ls_bytes text)
{
	LS_CLEANUP(ls_token_done) struct ls_token token = { 0 }, again = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret word = { 0 };
	struct ls_err err = { 0 };

	if (ls_token_parse(text, &token, &err) != LS_OK) {
		assert(err.code == LS_E_REFUSED && !token.secret.data);
		return;
	}
	assert(token.secret.len == LS_TOKEN_SECRET_BYTES && strchr(token.address, ':'));
	ls_token_text(&token, &word);
	if (ls_token_parse(ls_secret_bytes(&word), &again, &err) != LS_OK)
		abort();
	assert(strcmp(token.id, again.id) == 0 && strcmp(token.address, again.address) == 0);
	assert(ls_bytes_equal(ls_secret_bytes(&token.secret), ls_secret_bytes(&again.secret)));
	assert(word.len <= text.len);
}

static void message(struct ls_bytes text)
{
	static unsigned char key[LS_TOKEN_SECRET_BYTES] = "a secret that nobody guesses 123";
	struct ls_secret secret = { .data = key, .len = sizeof key };
	json_auto_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	json_auto_t *sealed = NULL;
	LS_CLEANUP(ls_free_str) char *body = ls_strndup(text.data, text.len);
	const char *opened = NULL;
	struct ls_err err = { 0 };

	if (ls_join_open(LS_JOIN_ASK, json, &secret, &opened, &err) == LS_OK) {
		sealed = ls_join_seal(LS_JOIN_ASK, NULL, opened, &secret);
		assert(strcmp(json_string_value(json_object_get(json, "mac")),
			       json_string_value(json_object_get(sealed, "mac"))) == 0);
	} else {
		assert(err.code == LS_E_REFUSED && !opened);
		sealed = ls_join_seal(LS_JOIN_ASK, "id", body, &secret);
	}
	if (!sealed || !json_object_get(sealed, "body"))
		return; /* no UTF-8 */
	if (ls_join_open(LS_JOIN_ANSWER, sealed, &secret, &opened, &err) == LS_OK)
		abort();
	if (ls_join_open(LS_JOIN_ASK, sealed, &secret, &opened, &err) != LS_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	(data[0] & 1 ? message : token)((struct ls_bytes){ data + 1, size - 1 });
	return 0;
}
