#include "store/etcd_notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_MAX_BYTES ((size_t)512 << 10)

/* Notes. */

static char *note_key(const struct ls_etcd_place *e, const char *name)
{
	return ls_format("%snote/%s", e->prefix, name);
}

enum ls_code ls_etcd_note_put(const struct ls_etcd_place *e, const char *name, const char *body,
	bool create, int64_t lease, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = note_key(e, name);
	LS_CLEANUP(ls_free_str) char *value = NULL;
	json_auto_t *json = json_pack("{s:s}", "text", body);
	struct ls_etcd_change put = { .key = key, .lease = lease };
	struct ls_etcd_compare absent = { .key = key };
	bool done = false;

	if (!json)
		return LS_FAIL(err, LS_E_REFUSED, "the note '%s' is not UTF-8", name);
	LS_TRY(ls_etcd_sign_value(e, e->node, key, json, &value, err));
	put.value = LS_BYTES_STR(value);
	if (put.value.len > NOTE_MAX_BYTES)
		return LS_FAIL(err, LS_E_REFUSED, "the note '%s' has %zu bytes, at most %zu", name,
			put.value.len, NOTE_MAX_BYTES);
	LS_TRY(ls_etcd_txn(e->api, &absent, create ? 1 : 0, &put, 1, &done, err));
	if (!done)
		return LS_FAIL(err, LS_E_CONFLICT, "the note '%s' is there already", name);
	return LS_OK;
}

enum ls_code ls_etcd_notes_get(
	const struct ls_etcd_place *e, const char *prefix, struct ls_notes *out, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	LS_CLEANUP(ls_free_str) char *from = note_key(e, prefix);
	LS_CLEANUP(ls_free_str) char *top = note_key(e, "");
	char *prefixes[] = { from, NULL };
	struct ls_notes notes = { 0 };

	LS_TRY(ls_etcd_read(e->api, prefixes, &list, err));
	for (size_t i = 0; i < list.count; i++) {
		json_auto_t *body = NULL;
		LS_CLEANUP(ls_free_str) char *by = NULL;
		const char *text;

		if (ls_etcd_open_value(e, NULL, list.kvs[i].key, &list.kvs[i].value, &by, &body,
			    NULL) != LS_OK)
			continue; /* as none */
		text = json_string_value(json_object_get(body, "text"));
		if (!text)
			continue;
		notes.items = ls_realloc(notes.items, notes.count + 1, sizeof *notes.items);
		notes.items[notes.count] =
			(struct ls_note){ .name = ls_strdup(list.kvs[i].key + strlen(top)),
				.body = ls_strdup(text) };
		(void)snprintf(notes.items[notes.count].node, sizeof notes.items[0].node, "%s", by);
		notes.count++;
	}
	ls_notes_done(out);
	*out = notes;
	return LS_OK;
}

enum ls_code ls_etcd_notes_drop(
	const struct ls_etcd_place *e, const char *prefix, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = note_key(e, prefix);
	struct ls_etcd_change change = { .key = key, .prefix = true };
	bool done = false;

	return ls_etcd_txn(e->api, NULL, 0, &change, 1, &done, err);
}

/* Proofs. */

char *ls_etcd_proof_key(const struct ls_etcd_place *e, int64_t generation)
{
	return ls_format("%sdecided/%012lld", e->prefix, (long long)generation);
}

static enum ls_code proof_text(json_t *json, char **out, struct ls_err *err)
{
	*out = json ? json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
	return *out ? LS_OK
		    : LS_FAIL(err, LS_E_FAILED, "what was decided cannot be written as JSON");
}

static char *word_key(
	const struct ls_etcd_place *e, const char *kind, const char *nonce, const char *node)
{
	return ls_format("%s%s/%s/%s", e->prefix, kind, nonce, node);
}

enum ls_code ls_etcd_proof_decided(const struct ls_etcd_place *e, const struct ls_etcd_snapshot *s,
	char **out, struct ls_err *err)
{
	const struct ls_rotation *r = s->view.rotation;
	json_auto_t *json = json_pack(
		"{s:s, s:s, s:[]}", "commit", r->commit, "begin", ls_buf_text(s->begin), "votes");

	for (size_t i = 0; i < ls_strv_count(r->participants); i++) {
		LS_CLEANUP(ls_free_str)
		char *key = word_key(e, "vote", r->nonce, r->participants[i]);
		const struct ls_buf *vote = ls_etcd_list_get(&s->list, key);

		(void)json_array_append_new(
			json_object_get(json, "votes"), json_string(vote ? ls_buf_text(vote) : ""));
	}
	return proof_text(json, out, err);
}

/* A good report of before cannot stand for the bad one: what was signed says which it is. */
static const struct ls_buf *bad_report(
	const struct ls_etcd_place *e, const struct ls_etcd_snapshot *s)
{
	const struct ls_rotation *r = s->view.rotation;

	for (size_t i = 0; i < ls_strv_count(r->participants); i++) {
		LS_CLEANUP(ls_free_str)
		char *key = word_key(e, "report", r->nonce, r->participants[i]);
		const struct ls_buf *value = ls_etcd_list_get(&s->list, key);
		json_auto_t *body = NULL;

		if (value &&
			ls_etcd_open_value(e, r->participants[i], key, value, NULL, &body, NULL) ==
				LS_OK &&
			json_is_false(json_object_get(body, "good")))
			return value;
	}
	return NULL;
}

enum ls_code ls_etcd_proof_reverted(const struct ls_etcd_place *e, const struct ls_etcd_snapshot *s,
	const char *commit, char **out, struct ls_err *err)
{
	const struct ls_rotation *r = s->view.rotation;
	const struct ls_buf *report = bad_report(e, s);
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, "revert");
	json_auto_t *body = json_pack("{s:s, s:s, s:s, s:I}", "nonce", r->nonce, "commit", commit,
		"parent", r->commit, "generation", (json_int_t)r->generation + 1);
	LS_CLEANUP(ls_free_str) char *revert = NULL;
	json_auto_t *json = NULL;

	if (!report)
		return LS_FAIL(err, LS_E_REFUSED,
			"no participant reports that the change was not taken: nothing goes back");
	LS_TRY(ls_etcd_sign_value(e, e->node, key, body, &revert, err));
	json = json_pack("{s:s, s:s, s:s}", "commit", commit, "revert", revert, "report",
		ls_buf_text(report));
	return proof_text(json, out, err);
}

static bool text_is(const json_t *obj, const char *key, const char *want)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text && strcmp(text, want) == 0;
}

static void take_id(char out[41], const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	(void)snprintf(out, 41, "%s", text ?: "");
}

static enum ls_code shows_nothing(struct ls_err *err, int64_t generation, const char *why)
{
	return LS_FAIL(err, LS_E_DAMAGED,
		"etcd: what shows that generation %lld was decided is not believed: %s",
		(long long)generation, why);
}

/* A signed text that stands in a proof, opened under the key at which it was written. */
static enum ls_code open_text(const struct ls_etcd_place *e, const char *by, const char *key,
	const json_t *text, char **out_by, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf value = { 0 };

	ls_buf_str(&value, json_string_value(text) ?: "");
	return ls_etcd_open_value(e, by, key, &value, out_by, out, err);
}

static enum ls_code check_votes(const struct ls_etcd_place *e, const json_t *votes,
	const char *nonce, struct ls_proof *proof, struct ls_err *err)
{
	size_t count = ls_strv_count(proof->participants);

	if (count == 0 || json_array_size(votes) != count)
		return shows_nothing(err, proof->generation, "votes are missing");
	for (size_t i = 0; i < count; i++) {
		const char *node = proof->participants[i];
		LS_CLEANUP(ls_free_str) char *key = word_key(e, "vote", nonce, node);
		json_auto_t *vote = NULL;

		LS_TRY(open_text(e, node, key, json_array_get(votes, i), NULL, &vote, err));
		if (!text_is(vote, "node", node) || !json_is_true(json_object_get(vote, "yes")))
			return shows_nothing(err, proof->generation, "a vote is no yes");
	}
	return LS_OK;
}

static enum ls_code check_decided(const struct ls_etcd_place *e, const json_t *json,
	struct ls_proof *proof, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, "begin");
	LS_CLEANUP(ls_free_str) char *by = NULL;
	json_auto_t *begin = NULL;
	const json_t *name;
	const char *nonce;
	size_t i;

	LS_TRY(open_text(e, NULL, key, json_object_get(json, "begin"), &by, &begin, err));
	nonce = json_string_value(json_object_get(begin, "nonce"));
	take_id(proof->commit, begin, "commit");
	take_id(proof->parent, begin, "parent");
	if (!nonce || !text_is(begin, "initiator", by) ||
		json_integer_value(json_object_get(begin, "generation")) != proof->generation)
		return shows_nothing(err, proof->generation, "it is about another one");
	json_array_foreach(json_object_get(begin, "participants"), i, name)
	{
		if (!json_is_string(name))
			return shows_nothing(
				err, proof->generation, "a participant without a name");
		ls_strv_add(&proof->participants, json_string_value(name));
	}
	return check_votes(e, json_object_get(json, "votes"), nonce, proof, err);
}

static enum ls_code check_reverted(const struct ls_etcd_place *e, const json_t *json,
	struct ls_proof *proof, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(e, "revert");
	LS_CLEANUP(ls_free_str) char *by = NULL;
	LS_CLEANUP(ls_free_str) char *report_key = NULL;
	json_auto_t *revert = NULL, *report = NULL, *said = NULL;
	const char *nonce, *who;

	LS_TRY(open_text(e, NULL, key, json_object_get(json, "revert"), &by, &revert, err));
	ls_strv_add(&proof->participants, by);
	nonce = json_string_value(json_object_get(revert, "nonce"));
	take_id(proof->commit, revert, "commit");
	take_id(proof->parent, revert, "parent");
	said = json_loads(json_string_value(json_object_get(json, "report")) ?: "",
		JSON_REJECT_DUPLICATES, NULL);
	who = json_string_value(json_object_get(said, "by"));
	if (!nonce || !who ||
		json_integer_value(json_object_get(revert, "generation")) != proof->generation)
		return shows_nothing(err, proof->generation, "it is about another one");
	report_key = word_key(e, "report", nonce, who);
	LS_TRY(open_text(e, who, report_key, json_object_get(json, "report"), NULL, &report, err));
	if (!json_is_false(json_object_get(report, "good")) ||
		!text_is(report, "commit", proof->parent))
		return shows_nothing(
			err, proof->generation, "nobody reported that it was not taken");
	return LS_OK;
}

enum ls_code ls_etcd_proof_judge(const struct ls_etcd_place *e, int64_t generation,
	const struct ls_buf *value, struct ls_proof *out, struct ls_err *err)
{
	LS_CLEANUP(ls_proof_done) struct ls_proof proof = { .generation = generation };
	json_auto_t *json = NULL;

	json = json_loadb(value->data ?: "", value->len, JSON_REJECT_DUPLICATES, NULL);
	proof.revert = json_object_get(json, "revert") != NULL;
	if (proof.revert)
		LS_TRY(check_reverted(e, json, &proof, err));
	else
		LS_TRY(check_decided(e, json, &proof, err));
	if (!text_is(json, "commit", proof.commit))
		return shows_nothing(err, generation, "it names another commit");
	proof.text = ls_strdup(ls_buf_text(value));
	ls_proof_done(out);
	*out = proof;
	proof = (struct ls_proof){ 0 };
	return LS_OK;
}

enum ls_code ls_etcd_proof_get(
	const struct ls_etcd_place *e, int64_t generation, struct ls_proof *out, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_proof_key(e, generation);
	char *prefixes[] = { key, NULL };
	const struct ls_buf *value;

	LS_TRY(ls_etcd_read(e->api, prefixes, &list, err));
	value = ls_etcd_list_get(&list, key);
	if (!value)
		return LS_FAIL(err, LS_E_NOT_FOUND,
			"etcd: nothing shows that generation %lld was decided",
			(long long)generation);
	return ls_etcd_proof_judge(e, generation, value, out, err);
}

/* Tidying. */

/* The commits that packs are of, each once. */
static char **commits_of(const struct ls_etcd_list *list, const char *prefix)
{
	char **commits = NULL;

	for (size_t i = 0; i < list->count; i++) {
		const char *name = list->kvs[i].key + strlen(prefix);
		LS_CLEANUP(ls_free_str) char *commit = NULL;

		if (!ls_has_prefix(list->kvs[i].key, prefix))
			continue;
		commit = ls_strndup(name, strcspn(name, "/"));
		if (!ls_strv_has(commits, commit))
			ls_strv_add(&commits, commit);
	}
	return commits;
}

static enum ls_code drop_pack(const struct ls_etcd_place *e, const char *commit, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *key = ls_format("%spack/%s/", e->prefix, commit);
	struct ls_etcd_change change = { .key = key, .prefix = true };
	bool done = false;

	return ls_etcd_txn(e->api, NULL, 0, &change, 1, &done, err);
}

/* Since when it was seen to belong to nothing; now, if it was not seen before. */
static int64_t seen_since_ms(char *const *orphans, const char *commit, int64_t now_ms)
{
	for (size_t i = 0; i < ls_strv_count(orphans); i++)
		if (ls_has_prefix(orphans[i], commit))
			return strtoll(orphans[i] + strlen(commit), NULL, 10);
	return now_ms;
}

/* The commit that a proof is of; what is no proof is no reason to keep a pack. */
static void add_decided(const struct ls_buf *proof, char ***commits)
{
	json_auto_t *json = json_loadb(proof->data ?: "", proof->len, JSON_REJECT_DUPLICATES, NULL);
	const char *commit = json_string_value(json_object_get(json, "commit"));

	if (commit)
		ls_strv_add(commits, commit);
}

/* All of them: a generation may have been passed over, as the one that goes back brings two. */
static enum ls_code drop_far_back(const struct ls_etcd_place *e, int64_t tip, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *first = ls_etcd_proof_key(e, 0);
	LS_CLEANUP(ls_free_str) char *kept = ls_etcd_proof_key(e, tip - LS_PROOFS_KEPT + 1);
	struct ls_etcd_change change = { .key = first, .until = kept };
	bool done = false;

	if (tip <= LS_PROOFS_KEPT)
		return LS_OK;
	return ls_etcd_txn(e->api, NULL, 0, &change, 1, &done, err);
}

enum ls_code ls_etcd_tidy(
	const struct ls_etcd_place *e, int64_t patience_ms, char ***orphans, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_snapshot_done) struct ls_etcd_snapshot s = { 0 };
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	LS_CLEANUP(ls_free_strv) char **needed = NULL;
	LS_CLEANUP(ls_free_strv) char **packs = NULL;
	LS_CLEANUP(ls_free_strv) char **before = LS_TAKE(*orphans);
	LS_CLEANUP(ls_free_str) char *pack = ls_etcd_key(e, "pack/");
	LS_CLEANUP(ls_free_str) char *decided = ls_etcd_key(e, "decided/");
	const struct ls_etcd_range ranges[] = { { decided, false }, { pack, true } };
	int64_t now_ms = ls_mono_ms();

	LS_TRY(ls_etcd_read_ranges(e->api, ranges, LS_COUNT(ranges), &list, err));
	LS_TRY(ls_etcd_snapshot_take(e, &s, err));
	LS_TRY(drop_far_back(e, s.view.tip.generation, err));
	ls_strv_add(&needed, s.view.tip.commit);
	if (s.view.rotation)
		ls_strv_add(&needed, s.view.rotation->commit);
	for (size_t i = 0; i < list.count; i++)
		if (ls_has_prefix(list.kvs[i].key, decided))
			add_decided(&list.kvs[i].value, &needed);
	packs = commits_of(&list, pack);
	for (size_t i = 0; i < ls_strv_count(packs); i++) {
		int64_t since_ms = seen_since_ms(before, packs[i], now_ms);
		LS_CLEANUP(ls_free_str)
		char *entry = ls_format("%s %lld", packs[i], (long long)since_ms);

		if (ls_strv_has(needed, packs[i]))
			continue;
		if (now_ms - since_ms >= patience_ms)
			LS_TRY(drop_pack(e, packs[i], err));
		else
			ls_strv_add(orphans, entry);
	}
	return LS_OK;
}
