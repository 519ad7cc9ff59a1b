/* Any bytes as configuration text and as policy; a policy that is taken survives the way through
 * JSON. */
#include <stdint.h>
#include <stdlib.h>

#include "pki/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 drops the strings it was reading when it meets a syntax error: some 128 bytes for
 * each text that is refused. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void walk(const struct ls_conf_node *node)
{
	if (ls_conf_is_string(node) && !ls_conf_text(node))
		abort();
	for (size_t i = 0; i < ls_conf_count(node); i++)
		walk(ls_conf_elem(node, i));
}

static void json_drop(json_t **json)
{
	json_decref(*json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;
	LS_CLEANUP(ls_policy_done) struct ls_policy policy = { 0 }, again = { 0 };
	LS_CLEANUP(json_drop) json_t *json = NULL;
	struct ls_bytes bytes = { data, size };
	struct ls_err err = { 0 };

	if (ls_conf_parse("fuzz", bytes, &conf, &err) == LS_OK)
		walk(ls_conf_root(conf));
	else if (err.code != LS_E_REFUSED || !err.text[0])
		abort();
	if (ls_policy_parse("fuzz", "fuzz", bytes, &policy, &err) != LS_OK)
		return 0;
	json = ls_policy_to_json(&policy);
	if (!json || ls_policy_from_json(json, &again, &err) != LS_OK)
		abort();
	return 0;
}
