#include "store/etcd_record.h"

#include <stdlib.h>
#include <string.h>

#define MOVES_KEPT 16

void ls_etcd_place_done(struct ls_etcd_place *place)
{
	ls_etcd_free(&place->api);
	free(place->prefix);
	free(place->node);
	*place = (struct ls_etcd_place){ 0 };
}

char *ls_etcd_key(const struct ls_etcd_place *e, const char *name)
{
	return ls_format("%s%s", e->prefix, name);
}

/* Signed values: {"by", "body", "signature"}; the signature covers the key too, so that no value
 * can be moved to another place. */

static void signed_content(const char *key, const char *body, struct ls_buf *out)
{
	ls_buf_printf(out, "%s\n%s", key, body);
}

enum ls_code ls_etcd_sign_value(const struct ls_etcd_place *e, const char *by, const char *key,
	const json_t *body, char **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *text = json_dumps(body, JSON_SORT_KEYS | JSON_COMPACT);
	LS_CLEANUP(ls_buf_done) struct ls_buf content = { 0 }, signature = { 0 };
	json_auto_t *json = NULL;

	if (!text)
		return LS_FAIL(err, LS_E_FAILED, "'%s' cannot be written as JSON", key);
	signed_content(key, text, &content);
	LS_TRY(e->trust.sign(e->trust.arg, by, ls_buf_bytes(&content), &signature, err));
	json = json_pack(
		"{s:s, s:s, s:s}", "by", by, "body", text, "signature", ls_buf_text(&signature));
	*out = json ? json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
	return *out ? LS_OK : LS_FAIL(err, LS_E_FAILED, "'%s' cannot be written as JSON", key);
}

enum ls_code ls_etcd_open_value(const struct ls_etcd_place *e, const char *by, const char *key,
	const struct ls_buf *value, char **out_by, json_t **out_body, struct ls_err *err)
{
	json_auto_t *json = json_loadb(value->data ?: "", value->len, JSON_REJECT_DUPLICATES, NULL);
	const char *who = json_string_value(json_object_get(json, "by"));
	const char *text = json_string_value(json_object_get(json, "body"));
	const char *signature = json_string_value(json_object_get(json, "signature"));
	LS_CLEANUP(ls_buf_done) struct ls_buf content = { 0 };
	struct ls_err why = { 0 };

	if (!who || !text || !signature || json_object_size(json) != 3)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: '%s' is not signed", key);
	if (by && strcmp(by, who) != 0)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: '%s' is signed by '%.64s', not by '%s'",
			key, who, by);
	signed_content(key, text, &content);
	if (e->trust.verify(e->trust.arg, who, ls_buf_bytes(&content), LS_BYTES_STR(signature),
		    &why) != LS_OK) {
		LS_FAIL(err, LS_E_DAMAGED, "etcd: '%s' is not believed: %s", key, why.text);
		LS_HINT(err, "somebody else writes into etcd, or it was restored from a backup");
		return LS_E_DAMAGED;
	}
	*out_body = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!*out_body)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: '%s' is not JSON", key);
	if (out_by)
		*out_by = ls_strdup(who);
	return LS_OK;
}

void ls_etcd_snapshot_done(struct ls_etcd_snapshot *s)
{
	ls_etcd_list_done(&s->list);
	ls_store_view_done(&s->view);
	ls_free_strv(&s->moves);
	s->record = s->begin = NULL;
}

static json_t *begin_json(const struct ls_rotation *r)
{
	json_t *participants = json_array();

	for (size_t i = 0; i < ls_strv_count(r->participants); i++)
		(void)json_array_append_new(participants, json_string(r->participants[i]));
	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o, s:I, s:I}", "nonce", r->nonce, "commit",
		r->commit, "parent", r->parent, "generation", (json_int_t)r->generation,
		"initiator", r->initiator, "participants", participants, "began_at",
		(json_int_t)r->began_at_s, "vote_deadline", (json_int_t)r->vote_deadline_s);
}

/* The record may be moved by any member, but what was begun is the initiator's word alone. */
static enum ls_code check_begin(
	const struct ls_etcd_place *e, struct ls_etcd_snapshot *s, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, "begin");
	json_auto_t *want = begin_json(s->view.rotation);
	json_auto_t *found = NULL;

	s->begin = ls_etcd_list_get(&s->list, key);
	if (!s->begin)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: '%s' is missing", key);
	LS_TRY(ls_etcd_open_value(
		e, s->view.rotation->initiator, key, s->begin, NULL, &found, err));
	if (!json_equal(want, found))
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: the record is not about what '%s' begun",
			s->view.rotation->initiator);
	return LS_OK;
}

/* Votes or reports of the running rotation. One that nobody signed is as none: whoever wrote it can
 * keep the real one out, but not stand for it. */
static void take_signed(const struct ls_etcd_place *e, struct ls_etcd_snapshot *s, const char *kind,
	enum ls_code (*take)(const json_t *json, struct ls_rotation *to, struct ls_err *err))
{
	struct ls_rotation *r = s->view.rotation;

	for (size_t i = 0; i < ls_strv_count(r->participants); i++) {
		const char *node = r->participants[i];
		LS_CLEANUP(ls_free_str)
		char *name = ls_format("%s/%s/%s", kind, r->nonce, node);
		LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, name);
		const struct ls_buf *value = ls_etcd_list_get(&s->list, key);
		json_auto_t *body = NULL;
		const char *about;

		if (!value || ls_etcd_open_value(e, node, key, value, NULL, &body, NULL) != LS_OK)
			continue;
		about = json_string_value(json_object_get(body, "node"));
		if (about && strcmp(about, node) == 0)
			LS_IGNORE(take(body, r, NULL)); /* as none */
	}
}

/* Reports about an earlier target stay in etcd until the rotation ends. */
static void drop_stale_reports(struct ls_store_view *view)
{
	struct ls_rotation *r = view->rotation;
	size_t kept = 0;

	for (size_t i = 0; i < r->report_count; i++) {
		if (strcmp(r->reports[i].commit, view->tip.commit) == 0) {
			r->reports[kept++] = r->reports[i];
			continue;
		}
		free(r->reports[i].reason);
		ls_free_strv(&r->reports[i].warnings);
	}
	r->report_count = kept;
}

static void take_alive(struct ls_etcd_snapshot *s, const char *prefix)
{
	for (size_t i = 0; i < s->list.count; i++)
		if (ls_has_prefix(s->list.kvs[i].key, prefix))
			ls_strv_add(&s->view.alive, s->list.kvs[i].key + strlen(prefix));
}

enum ls_code ls_etcd_snapshot_take(
	const struct ls_etcd_place *e, struct ls_etcd_snapshot *s, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *record = ls_etcd_key(e, "record");
	LS_CLEANUP(ls_free_str) char *begin = ls_etcd_key(e, "begin");
	LS_CLEANUP(ls_free_str) char *vote = ls_etcd_key(e, "vote/");
	LS_CLEANUP(ls_free_str) char *report = ls_etcd_key(e, "report/");
	LS_CLEANUP(ls_free_str) char *alive = ls_etcd_key(e, "note/" LS_NOTE_ALIVE);
	const struct ls_etcd_range ranges[] = { { record, false }, { begin, false },
		{ vote, false }, { report, false }, { alive, true } };
	json_auto_t *body = NULL;
	const json_t *id;
	size_t i;

	ls_etcd_snapshot_done(s);
	LS_TRY(ls_etcd_read_ranges(e->api, ranges, LS_COUNT(ranges), &s->list, err));
	s->record = ls_etcd_list_get(&s->list, record);
	if (!s->record) {
		take_alive(s, alive);
		return LS_OK;
	}
	LS_TRY(ls_etcd_open_value(e, NULL, record, s->record, NULL, &body, err));
	json_array_foreach(json_object_get(body, "moves"), i, id)
	{
		if (json_is_string(id))
			ls_strv_add(&s->moves, json_string_value(id));
	}
	LS_TRY(ls_record_from_json(body, &s->view, err));
	take_alive(s, alive);
	if (!s->view.rotation)
		return LS_OK;
	/* Whoever moves the record must not speak for others. */
	if (s->view.rotation->ballot_count > 0 || s->view.rotation->report_count > 0)
		return LS_FAIL(err, LS_E_DAMAGED,
			"etcd: '%s' holds votes or reports, which stand apart", record);
	LS_TRY(check_begin(e, s, err));
	take_signed(e, s, "vote", ls_ballot_from_json);
	take_signed(e, s, "report", ls_report_from_json);
	drop_stale_reports(&s->view);
	return LS_OK;
}

/* The record's value after a move with this id. */
enum ls_code ls_etcd_record_value(const struct ls_etcd_place *e, const struct ls_etcd_snapshot *s,
	const char *id, char **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, "record");
	json_auto_t *body = ls_record_to_json(&s->view);
	json_t *rotation = json_object_get(body, "rotation");
	json_t *moves = json_array();
	size_t count = ls_strv_count(s->moves);
	size_t from = count >= MOVES_KEPT ? count - MOVES_KEPT + 1 : 0;

	if (json_is_object(rotation)) {
		(void)json_object_set_new(rotation, "ballots", json_array());
		(void)json_object_set_new(rotation, "reports", json_array());
	}
	for (size_t i = from; i < count; i++)
		(void)json_array_append_new(moves, json_string(s->moves[i]));
	(void)json_array_append_new(moves, json_string(id));
	(void)json_object_set_new(body, "moves", moves);
	return ls_etcd_sign_value(e, e->node, key, body, out, err);
}

enum ls_code ls_etcd_begin_value(const struct ls_etcd_place *e, const struct ls_rotation *rotation,
	char **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, "begin");
	json_auto_t *body = begin_json(rotation);

	return ls_etcd_sign_value(e, rotation->initiator, key, body, out, err);
}
