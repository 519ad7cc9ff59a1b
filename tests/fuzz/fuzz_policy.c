/* Any bytes as a policy: the first byte says whether as a file or as the JSON of the state. What is
 * taken survives the way through JSON. */
#include <stdint.h>
#include <stdlib.h>

#include "pki/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* As in fuzz_conf. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void json_drop(json_t **json)
{
	json_decref(*json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_policy_done) struct ls_policy policy = { 0 }, again = { 0 };
	LS_CLEANUP(json_drop) json_t *json = NULL;
	LS_CLEANUP(json_drop) json_t *json_again = NULL;
	struct ls_err err = { 0 };
	enum ls_code rc;

	if (size < 1)
		return 0;
	if (data[0] == '{') {
		json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
		if (!json)
			return 0;
		rc = ls_policy_from_json(json, &policy, &err);
		json_decref(LS_TAKE(json));
	} else {
		rc = ls_policy_parse(
			"fuzz", "fuzz", (struct ls_bytes){ data, size }, &policy, &err);
	}
	if (rc != LS_OK) {
		if (rc != LS_E_REFUSED || !err.text[0])
			abort();
		return 0;
	}
	json = ls_policy_to_json(&policy);
	if (!json || ls_policy_from_json(json, &again, &err) != LS_OK)
		abort();
	json_again = ls_policy_to_json(&again);
	if (!json_equal(json, json_again))
		abort();
	return 0;
}
