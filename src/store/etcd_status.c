#include "store/etcd_status.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define ANSWER_MAX_BYTES ((size_t)1 << 20)

static void https_done(struct ls_https **https)
{
	ls_https_free(https);
}

void ls_etcd_status_done(struct ls_etcd_status *status)
{
	ls_free_strv(&status->errors);
	*status = (struct ls_etcd_status){ 0 };
}

/* What is zero or empty is left out. */
static void take(const json_t *answer, struct ls_etcd_status *out)
{
	const json_t *errors = json_object_get(answer, "errors"), *text;
	const char *leader = json_string_value(json_object_get(answer, "leader"));
	const char *version = json_string_value(json_object_get(answer, "version"));
	const json_t *header = json_object_get(answer, "header");
	size_t i;

	out->revision =
		strtoll(json_string_value(json_object_get(header, "revision")) ?: "0", NULL, 10);
	(void)snprintf(out->version, sizeof out->version, "%s", version ?: "");
	out->leader = leader && strcmp(leader, "0") != 0;
	out->learner = json_is_true(json_object_get(answer, "isLearner"));
	json_array_foreach(errors, i, text)
		ls_strv_add(&out->errors, json_string_value(text) ?: "?");
}

enum ls_code ls_etcd_status_ask(const struct ls_etcd_settings *settings, const char *endpoint,
	struct ls_etcd_status *out, struct ls_err *err)
{
	LS_CLEANUP(https_done) struct ls_https *https = NULL;
	LS_CLEANUP(ls_free_str) char *url = ls_format("%s/v3/maintenance/status", endpoint);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	json_auto_t *answer = NULL;
	struct ls_etcd_status status = { 0 };
	struct ls_https_call call = {
		.url = url,
		.body = LS_BYTES_STR("{}"),
		.connect_ms = settings->timeout_ms,
		.timeout_ms = settings->timeout_ms,
		.body_max = ANSWER_MAX_BYTES,
		.out_date_s = &status.date_s,
	};
	int http = 0;

	ls_https_new(&settings->tls, &https);
	LS_TRY(ls_https_post(https, &call, &http, &text, err));
	answer = json_loadb(text.data ?: "", text.len, JSON_REJECT_DUPLICATES, NULL);
	if (http != 200 || !json_is_object(json_object_get(answer, "header")))
		return LS_FAIL(err, LS_E_DAMAGED,
			"%s answers with HTTP status %d, and not as etcd does", url, http);
	take(answer, &status);
	ls_etcd_status_done(out);
	*out = status;
	return LS_OK;
}
