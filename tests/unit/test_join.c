/* Tokens and the messages of joining: what one end writes the other reads, and nothing else is
 * taken. */
#include <stdlib.h>
#include <string.h>

#include "control/join.h"
#include "tests/unit/runner.h"

static struct ls_token token, out;
static struct ls_err err;

static void setup(void)
{
	err = (struct ls_err){ 0 };
	ls_token_make(&token);
	memset(token.ca_sha256, 'a', sizeof token.ca_sha256 - 1);
	(void)snprintf(token.address, sizeof token.address, "gateway.example.com:8443");
}

static void teardown(void)
{
	ls_token_done(&token);
	ls_token_done(&out);
}

/* From the heap. */
static char *word(void)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret text = { 0 };

	ls_token_text(&token, &text);
	return ls_strndup((const char *)text.data, text.len);
}

static void refused(const char *text)
{
	err = (struct ls_err){ 0 };
	ck_code(ls_token_parse(LS_BYTES_STR(text), &out, &err), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "this is no join token"); /* and nothing of it */
	ck_assert_ptr_null(out.secret.data);
}

START_TEST(a_token_is_one_word_that_says_all)
{
	LS_CLEANUP(ls_free_str) char *text = word();
	LS_CLEANUP(ls_free_str) char *around = ls_format(" \r\n%s\t\n", text);

	ck_assert_uint_eq(strcspn(text, " \t\r\n'\"$"), strlen(text));
	ck_ok(ls_token_parse(LS_BYTES_STR(around), &out, &err));
	ck_assert_str_eq(out.id, token.id);
	ck_assert_str_eq(out.ca_sha256, token.ca_sha256);
	ck_assert_str_eq(out.address, token.address);
	ck_assert(ls_bytes_equal(ls_secret_bytes(&out.secret), ls_secret_bytes(&token.secret)));
}
END_TEST

START_TEST(each_token_is_another)
{
	LS_CLEANUP(ls_token_done) struct ls_token other = { 0 };

	ls_token_make(&other);
	ck_assert_uint_eq(token.secret.len, LS_TOKEN_SECRET_BYTES);
	ck_assert_str_ne(token.id, other.id);
	ck_assert(!ls_bytes_equal(ls_secret_bytes(&token.secret), ls_secret_bytes(&other.secret)));
}
END_TEST

START_TEST(a_token_that_is_cut_or_changed_is_none)
{
	LS_CLEANUP(ls_free_str) char *text = word();
	size_t colon = (size_t)(strrchr(text, ':') - text);

	refused("");
	refused(" \n");
	for (size_t len = 1; len <= colon + 1; len++) {
		LS_CLEANUP(ls_free_str) char *cut = ls_strndup(text, len);

		refused(cut);
	}
	for (size_t at = 0; at < colon; at++) { /* a character that stands nowhere in one */
		char was = text[at];

		text[at] = '/';
		refused(text);
		text[at] = was;
	}
	ck_ok(ls_token_parse(LS_BYTES_STR(text), &out, &err));
}
END_TEST

START_TEST(addresses_that_no_gateway_has)
{
	static const char *const bad[] = { "gateway", "gateway:", ":8443", "gateway:0",
		"gateway:65536", "gateway:84 43", "gate way:8443", "user@gateway:1",
		"gateway:8443/path", "gateway:+1", "gateway:\n1" };
	static const char *const good[] = { "g:1", "127.0.0.1:65535", "[::1]:8443" };

	for (size_t i = 0; i < LS_COUNT(bad) + LS_COUNT(good); i++) {
		bool is_bad = i < LS_COUNT(bad);
		LS_CLEANUP(ls_free_str) char *text = NULL;

		(void)snprintf(token.address, sizeof token.address, "%s",
			is_bad ? bad[i] : good[i - LS_COUNT(bad)]);
		text = word();
		if (is_bad)
			refused(text);
		else
			ck_ok(ls_token_parse(LS_BYTES_STR(text), &out, &err));
		ls_token_done(&out);
	}
}
END_TEST

START_TEST(a_token_has_a_bound_and_no_zero_byte)
{
	LS_CLEANUP(ls_free_str) char *text = word();
	LS_CLEANUP(ls_buf_done) struct ls_buf with_zero = { 0 };

	ls_buf_add(&with_zero, text, strlen(text) + 1);
	ls_buf_str(&with_zero, "1");
	ck_code(ls_token_parse(ls_buf_bytes(&with_zero), &out, &err), LS_E_REFUSED);
	memset(token.address, 'a', LS_TOKEN_ADDRESS_MAX);
	memcpy(token.address + LS_TOKEN_ADDRESS_MAX - 2, ":1", 3);
	free(text);
	text = word();
	ck_ok(ls_token_parse(LS_BYTES_STR(text), &out, &err));
	ls_token_done(&out);
	with_zero.len = 0;
	ls_buf_str(&with_zero, text);
	ls_buf_str(&with_zero, "1"); /* one byte more than an address may have */
	ck_code(ls_token_parse(ls_buf_bytes(&with_zero), &out, &err), LS_E_REFUSED);
	for (int i = 0; i < 2000; i++)
		ls_buf_str(&with_zero, "1");
	ck_code(ls_token_parse(ls_buf_bytes(&with_zero), &out, &err), LS_E_REFUSED);
}
END_TEST

START_TEST(a_message_is_opened_with_its_secret_and_its_words_alone)
{
	static const char *const words[] = { LS_JOIN_ASK, LS_JOIN_ANSWER, LS_JOIN_HISTORY_ASK,
		LS_JOIN_HISTORY_ANSWER };
	LS_CLEANUP(ls_token_done) struct ls_token other = { 0 };
	const char *body = "{\"node\":\"n\xc3\xa4\"}", *opened;

	ls_token_make(&other);
	for (size_t i = 0; i < LS_COUNT(words); i++) {
		json_t *sealed = ls_join_seal(words[i], i % 2 ? NULL : "id", body, &token.secret);

		ck_assert_ptr_nonnull(sealed);
		ck_assert((json_object_get(sealed, "token") != NULL) == (i % 2 == 0));
		for (size_t k = 0; k < LS_COUNT(words); k++) {
			opened = NULL;
			if (k == i) {
				ck_ok(ls_join_open(words[k], sealed, &token.secret, &opened, &err));
				ck_assert_str_eq(opened, body);
			} else {
				ck_code(ls_join_open(
						words[k], sealed, &token.secret, &opened, &err),
					LS_E_REFUSED);
				ck_assert_ptr_null(opened);
			}
		}
		ck_code(ls_join_open(words[i], sealed, &other.secret, &opened, &err), LS_E_REFUSED);
		json_decref(sealed);
	}
}
END_TEST

START_TEST(a_message_that_was_changed_is_refused)
{
	static const char *const bad[] = { "null", "[]", "{}", "{\"body\":\"x\"}",
		"{\"mac\":\"x\"}", "{\"body\":1,\"mac\":\"\"}", "{\"body\":\"x\",\"mac\":null}",
		"{\"body\":\"x\",\"mac\":\"\"}" };
	json_t *sealed = ls_join_seal(LS_JOIN_ASK, "id", "body", &token.secret);
	LS_CLEANUP(ls_free_str)
	char *mac = ls_strdup(json_string_value(json_object_get(sealed, "mac")));
	const char *opened = NULL;

	for (size_t i = 0; i < LS_COUNT(bad); i++) {
		json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);

		ck_assert_ptr_nonnull(json);
		ck_code(ls_join_open(LS_JOIN_ASK, json, &token.secret, &opened, &err),
			LS_E_REFUSED);
		json_decref(json);
	}
	ck_code(ls_join_open(LS_JOIN_ASK, NULL, &token.secret, &opened, &err), LS_E_REFUSED);
	for (size_t i = 0; i < strlen(mac); i++) {
		char was = mac[i];

		mac[i] = was == '0' ? '1' : '0';
		(void)json_object_set_new(sealed, "mac", json_string(mac));
		ck_code(ls_join_open(LS_JOIN_ASK, sealed, &token.secret, &opened, &err),
			LS_E_REFUSED);
		mac[i] = was;
	}
	(void)json_object_set_new(sealed, "mac", json_string(mac));
	ck_ok(ls_join_open(LS_JOIN_ASK, sealed, &token.secret, &opened, &err));
	(void)json_object_set_new(sealed, "body", json_string("Body"));
	ck_code(ls_join_open(LS_JOIN_ASK, sealed, &token.secret, &opened, &err), LS_E_REFUSED);
	json_decref(sealed);
}
END_TEST

/* The end of the words cannot be taken for the beginning of the body. */
START_TEST(words_and_body_do_not_run_into_each_other)
{
	json_t *sealed = ls_join_seal("lockstep", NULL, " join", &token.secret);
	const char *opened = NULL;

	(void)json_object_set_new(sealed, "body", json_string("join"));
	ck_code(ls_join_open("lockstep ", sealed, &token.secret, &opened, &err), LS_E_REFUSED);
	json_decref(sealed);
}
END_TEST

LS_TEST_MAIN_FIXTURE("join", setup, teardown, a_token_is_one_word_that_says_all,
	each_token_is_another, a_token_that_is_cut_or_changed_is_none,
	addresses_that_no_gateway_has, a_token_has_a_bound_and_no_zero_byte,
	a_message_is_opened_with_its_secret_and_its_words_alone,
	a_message_that_was_changed_is_refused, words_and_body_do_not_run_into_each_other)
