/* Any text as one of the small values: the first byte says which. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"
#include "core/rotation.h"
#include "net/probe.h"
#include "node/plan.h"
#include "pki/key.h"
#include "pki/san.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void numbers(const char *text)
{
	char again[LS_TIME_TEXT_SIZE];
	int64_t value;

	if (ls_text_number(text, -1000, 1000, &value))
		assert(value >= -1000 && value <= 1000);
	if (ls_text_duration(text, &value))
		assert(value >= 0);
	if (ls_time_parse(text, &value)) {
		ls_time_text(value, again);
		assert(strcmp(text, again) == 0);
	}
}

static void names(const char *text)
{
	if (ls_name_valid(text))
		assert(strlen(text) <= LS_NAME_MAX && ls_cluster_name_valid("x"));
	if (ls_cluster_name_valid(text))
		assert(strlen(text) <= 64 && !strchr(text, '/'));
	if (ls_host_name_valid(text))
		assert(strlen(text) <= 253);
	if (ls_live_dir_valid(text))
		assert(strlen(text) < LS_LIVE_DIR_SIZE && !strchr(text, '/'));
	(void)ls_code_parse(text);
}

static void sans(const char *text)
{
	char *list[] = { ls_strdup(text), NULL };
	LS_CLEANUP(ls_free_str) char *owner __attribute__((unused)) = list[0];
	struct ls_err err;

	if (ls_san_check(text, &err) == LS_OK)
		assert(ls_san_covers(list, text));
	(void)ls_san_covers(list, "DNS:a.example.com");
	(void)ls_endpoint_valid(text);
}

static void encodings(const char *text)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	unsigned char raw[32];
	char hex[65];
	struct ls_err err;

	if (ls_unbase64(text, &bytes, &err) == LS_OK) {
		LS_CLEANUP(ls_free_str) char *again = ls_base64(ls_buf_bytes(&bytes));

		assert(strcmp(again, text) == 0);
	}
	if (ls_unhex(text, raw, sizeof raw)) {
		ls_hex(raw, sizeof raw, hex);
		assert(strcasecmp(hex, text) == 0);
	}
}

static void words(const char *text)
{
	struct ls_key_spec spec;
	struct ls_err err;
	enum ls_phase phase;
	char again[32];

	if (ls_key_spec_parse(text, &spec, &err) == LS_OK) {
		ls_key_spec_text(&spec, again);
		assert(strcmp(again, text) == 0);
	}
	(void)ls_phase_parse(text, &phase);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(const char *text) = { numbers, names, sans, encodings, words };
	LS_CLEANUP(ls_free_str) char *text = NULL;

	if (size < 1)
		return 0;
	text = ls_strndup((const char *)data + 1, size - 1);
	kinds[data[0] % LS_COUNT(kinds)](text);
	return 0;
}
