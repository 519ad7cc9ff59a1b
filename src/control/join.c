#include "control/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "lsj1."
#define TEXT_MAX_BYTES 1024
#define HEX "0123456789abcdef"

void ls_token_done(struct ls_token *token)
{
	ls_secret_done(&token->secret);
	*token = (struct ls_token){ 0 };
}

void ls_token_make(struct ls_token *token)
{
	unsigned char id[LS_TOKEN_ID_BYTES];

	ls_random_bytes(id, sizeof id);
	ls_hex(id, sizeof id, token->id);
	ls_secret_alloc(&token->secret, LS_TOKEN_SECRET_BYTES);
	ls_random_bytes(token->secret.data, token->secret.len);
}

void ls_token_text(const struct ls_token *token, struct ls_secret *out)
{
	char secret[2 * LS_TOKEN_SECRET_BYTES + 1], text[TEXT_MAX_BYTES];
	int len;

	ls_hex(token->secret.data, token->secret.len, secret);
	len = snprintf(text, sizeof text, PREFIX "%s.%s.%s.%s", token->id, secret, token->ca_sha256,
		token->address);
	ls_secret_set(out, (struct ls_bytes){ text, (size_t)len });
	ls_wipe(secret, sizeof secret);
	ls_wipe(text, sizeof text);
}

/* The next part, which must be `len` hex digits and a dot. */
static bool take_hex(const char **at, size_t len, char *out)
{
	if (strspn(*at, HEX) != len || (*at)[len] != '.')
		return false;
	memcpy(out, *at, len);
	out[len] = '\0';
	*at += len + 1;
	return true;
}

static bool address_valid(const char *address)
{
	const char *colon = strrchr(address, ':');
	int64_t port;

	return colon && colon != address && strlen(address) <= LS_TOKEN_ADDRESS_MAX &&
	       strspn(address,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") ==
		       strlen(address) &&
	       ls_text_number(colon + 1, 1, 65535, &port);
}

static bool parse(const char *text, struct ls_token *token)
{
	char secret[2 * LS_TOKEN_SECRET_BYTES + 1];
	const char *at = text;
	bool ok = ls_has_prefix(at, PREFIX);

	at += ok ? strlen(PREFIX) : 0;
	ok = ok && take_hex(&at, 2 * LS_TOKEN_ID_BYTES, token->id) &&
	     take_hex(&at, 2 * LS_TOKEN_SECRET_BYTES, secret) &&
	     take_hex(&at, 2 * LS_SHA256_BYTES, token->ca_sha256) && address_valid(at);
	if (ok) {
		ls_secret_alloc(&token->secret, LS_TOKEN_SECRET_BYTES);
		ok = ls_unhex(secret, token->secret.data, token->secret.len);
		(void)snprintf(token->address, sizeof token->address, "%s", at);
	}
	ls_wipe(secret, sizeof secret);
	return ok;
}

enum ls_code ls_token_parse(struct ls_bytes text, struct ls_token *out, struct ls_err *err)
{
	LS_CLEANUP(ls_token_done) struct ls_token token = { 0 };
	char word[TEXT_MAX_BYTES] = "";
	const char *from = text.data, *end = from + text.len;
	bool ok;

	while (from < end && strchr(" \t\r\n", *from))
		from++;
	while (end > from && strchr(" \t\r\n", end[-1]))
		end--;
	ok = (size_t)(end - from) < sizeof word;
	if (ok)
		memcpy(word, from, (size_t)(end - from));
	ok = ok && strlen(word) == (size_t)(end - from) && parse(word, &token);
	ls_wipe(word, sizeof word);
	if (!ok) {
		LS_FAIL(err, LS_E_REFUSED, "this is no join token");
		LS_HINT(err, "lockstep token create on a member prints one; it is a single word");
		return LS_E_REFUSED;
	}
	ls_token_done(out);
	*out = token;
	token = (struct ls_token){ 0 };
	return LS_OK;
}

static void mac_of(const char *words, const char *body, const struct ls_secret *secret,
	char out[LS_SHA256_TEXT])
{
	LS_CLEANUP(ls_buf_done) struct ls_buf content = { 0 };
	unsigned char mac[LS_SHA256_BYTES];

	ls_buf_add(&content, words, strlen(words) + 1);
	ls_buf_str(&content, body);
	ls_hmac_sha256(ls_secret_bytes(secret), ls_buf_bytes(&content), mac);
	ls_hex(mac, sizeof mac, out);
}

json_t *ls_join_seal(
	const char *words, const char *token_id, const char *body, const struct ls_secret *secret)
{
	char mac[LS_SHA256_TEXT];
	json_t *json;

	mac_of(words, body, secret, mac);
	json = json_pack("{s:s, s:s}", "body", body, "mac", mac);
	if (json && token_id)
		(void)json_object_set_new(json, "token", json_string(token_id));
	return json;
}

enum ls_code ls_join_open(const char *words, const json_t *json, const struct ls_secret *secret,
	const char **out_body, struct ls_err *err)
{
	const char *body = json_string_value(json_object_get(json, "body"));
	const char *mac = json_string_value(json_object_get(json, "mac"));
	char want[LS_SHA256_TEXT];

	if (!body || !mac)
		return LS_FAIL(err, LS_E_REFUSED, "a message of joining that is not of its form");
	mac_of(words, body, secret, want);
	if (!ls_bytes_equal_secret(LS_BYTES_STR(mac), LS_BYTES_STR(want)))
		return LS_FAIL(
			err, LS_E_REFUSED, "a message of joining was not made with this token");
	*out_body = body;
	return LS_OK;
}
