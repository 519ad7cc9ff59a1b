/* Any bytes as template: what is taken survives the way through JSON, and certificates and requests
 * are made by it or refused in words. */
#include <stdint.h>
#include <stdlib.h>

#include "pki/issue.h"
#include "pki/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 drops the strings it was reading when it meets a syntax error: some 128 bytes for
 * each text that is refused. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static struct evp_pkey_st *key;

static void json_drop(json_t **json)
{
	json_decref(*json);
}

static void make(const struct ls_issue *issue)
{
	static const struct ls_issue_vars vars = { "prod.example.com", "prod", "n1" };
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 }, request = { 0 };
	struct ls_err err = { 0 };
	enum ls_code rc[2];

	rc[0] = ls_issue_self_signed(issue, &vars, issue->days, key, 1700000000, &pem, &err);
	rc[1] = ls_issue_request(issue, &vars, key, &request, &err);
	for (size_t i = 0; i < LS_COUNT(rc); i++)
		if (rc[i] != LS_OK && rc[i] != LS_E_REFUSED)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ls_key_spec spec = { LS_KEY_EC, 256, "P-256" };
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;
	LS_CLEANUP(ls_issue_done) struct ls_issue issue = { 0 }, again = { 0 };
	LS_CLEANUP(json_drop) json_t *json = NULL;
	struct ls_err err = { 0 };

	if (!key && ls_key_generate(&spec, &key, &err) != LS_OK)
		abort();
	if (ls_conf_parse("fuzz", (struct ls_bytes){ data, size }, &conf, &err) != LS_OK ||
		ls_issue_from_conf(ls_conf_root(conf), &issue, &err) != LS_OK)
		return 0;
	json = ls_issue_to_json(&issue);
	if (!json || ls_issue_from_json(json, &again, &err) != LS_OK)
		abort();
	make(&again);
	return 0;
}
