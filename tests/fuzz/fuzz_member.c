/* Any bytes as an etcd member's words: what is taken is written as it is understood, has names that
 * can stand in a certificate, and makes a configuration of the lines that there always are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/etcd_member.h"
#include "pki/san.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t lines_of(const struct ls_etcd_member *member)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf config = { 0 };
	struct ls_err err = { 0 };
	size_t lines = 0;

	if (ls_etcd_member_config(member, "/d", "token", &config, &err) != LS_OK)
		abort();
	for (const char *at = ls_buf_text(&config); *at; at++)
		lines += *at == '\n';
	return lines;
}

static size_t lines_wanted(const struct ls_etcd_member *member)
{
	static const char least[] = "{\"member\": \"n\", \"listen\": [\"10.0.0.1\"]}";
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member plain = { 0 };
	json_t *json = json_loads(least, 0, NULL);
	struct ls_err err = { 0 };

	if (ls_etcd_member_from_json(json, &plain, &err) != LS_OK)
		abort();
	json_decref(json);
	return lines_of(&plain) - (member->metrics_port == 0);
}

static void check(const struct ls_etcd_member *member)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member again = { 0 };
	LS_CLEANUP(ls_free_strv) char **sans = ls_etcd_member_sans(member);
	json_t *json = ls_etcd_member_to_json(member), *same;
	struct ls_err err = { 0 };

	if (ls_etcd_member_from_json(json, &again, &err) != LS_OK)
		abort();
	same = ls_etcd_member_to_json(&again);
	if (!json_equal(json, same) || strchr(member->name, '/') || member->name[0] == '.')
		abort();
	json_decref(json);
	json_decref(same);
	for (size_t i = 0; i < ls_strv_count(sans); i++)
		if (ls_san_check(sans[i], &err) != LS_OK)
			abort();
	if (lines_of(member) != lines_wanted(member))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member member = { 0 };
	json_t *json =
		json_loadb(size ? (const char *)data : "", size, JSON_REJECT_DUPLICATES, NULL);
	struct ls_err err = { 0 };

	if (json && ls_etcd_member_from_json(json, &member, &err) == LS_OK)
		check(&member);
	else if (json && ((err.code != LS_E_USAGE && err.code != LS_E_REFUSED) || !err.text[0]))
		abort();
	json_decref(json);
	return 0;
}
