#include "store/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ballot_done(struct ls_ballot *ballot)
{
	free(ballot->reason);
	ls_free_strv(&ballot->baseline);
}

static void report_done(struct ls_report *report)
{
	free(report->reason);
	ls_free_strv(&report->warnings);
}

static void drop_reports(struct ls_rotation *r)
{
	for (size_t i = 0; i < r->report_count; i++)
		report_done(&r->reports[i]);
	free(r->reports);
	r->reports = NULL;
	r->report_count = 0;
}

void ls_rotation_free(struct ls_rotation **rotation)
{
	struct ls_rotation *r = *rotation;

	if (!r)
		return;
	ls_free_strv(&r->participants);
	for (size_t i = 0; i < r->ballot_count; i++)
		ballot_done(&r->ballots[i]);
	free(r->ballots);
	drop_reports(r);
	free(r->why);
	free(r);
	*rotation = NULL;
}

void ls_outcome_free(struct ls_outcome **outcome)
{
	if (!*outcome)
		return;
	free((*outcome)->why);
	ls_free_strv(&(*outcome)->warnings);
	free(*outcome);
	*outcome = NULL;
}

void ls_store_view_done(struct ls_store_view *view)
{
	ls_rotation_free(&view->rotation);
	ls_outcome_free(&view->last);
	ls_free_strv(&view->alive);
	*view = (struct ls_store_view){ 0 };
}

const struct ls_ballot *ls_rotation_ballot(const struct ls_rotation *rotation, const char *node)
{
	for (size_t i = 0; i < rotation->ballot_count; i++)
		if (strcmp(rotation->ballots[i].node, node) == 0)
			return &rotation->ballots[i];
	return NULL;
}

const struct ls_report *ls_rotation_report(const struct ls_rotation *rotation, const char *node)
{
	for (size_t i = 0; i < rotation->report_count; i++)
		if (strcmp(rotation->reports[i].node, node) == 0)
			return &rotation->reports[i];
	return NULL;
}

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}
#define COPY(array, from) copy_text(array, sizeof(array), from)

/* The rotation that `nonce` names, if it may move to `to` now. */
static enum ls_code running(const struct ls_store_view *view, const char *nonce, struct ls_err *err)
{
	if (!view->rotation)
		return LS_FAIL(err, LS_E_CONFLICT, "no rotation is running");
	if (strcmp(view->rotation->nonce, nonce) != 0)
		return LS_FAIL(err, LS_E_CONFLICT, "another rotation is running (generation %lld)",
			(long long)view->rotation->generation);
	return LS_OK;
}

static enum ls_code may_move(
	const struct ls_store_view *view, const char *nonce, enum ls_phase to, struct ls_err *err)
{
	LS_TRY(running(view, nonce, err));
	if (!ls_phase_may_follow(view->rotation->phase, to))
		return LS_FAIL(err, LS_E_CONFLICT, "the rotation is '%s': it cannot become '%s'",
			ls_phase_text(view->rotation->phase), ls_phase_text(to));
	return LS_OK;
}

enum ls_code ls_record_begin(
	struct ls_store_view *view, const struct ls_rotation *rotation, struct ls_err *err)
{
	struct ls_rotation *r;

	if (view->rotation)
		return LS_FAIL(err, LS_E_CONFLICT,
			"a rotation to generation %lld is running (%s, begun by %s)",
			(long long)view->rotation->generation, ls_phase_text(view->rotation->phase),
			view->rotation->initiator);
	if (strcmp(view->tip.commit, rotation->parent) != 0 ||
		view->tip.generation + 1 != rotation->generation)
		return LS_FAIL(err, LS_E_CONFLICT,
			"the state moved to generation %lld while the change was being prepared",
			(long long)view->tip.generation);
	if (ls_strv_count(rotation->participants) == 0) /* it would be decided by nobody */
		return LS_FAIL(err, LS_E_REFUSED, "a rotation without participants");
	r = ls_alloc(1, sizeof *r);
	COPY(r->nonce, rotation->nonce);
	COPY(r->commit, rotation->commit);
	COPY(r->parent, rotation->parent);
	COPY(r->initiator, rotation->initiator);
	r->generation = rotation->generation;
	r->participants = ls_strv_copy(rotation->participants);
	r->began_at_s = rotation->began_at_s;
	r->vote_deadline_s = rotation->vote_deadline_s;
	r->earlier = view->tip;
	r->phase = LS_PHASE_VOTING;
	r->why = ls_strdup("");
	view->rotation = r;
	return LS_OK;
}

enum ls_code ls_record_vote(struct ls_store_view *view, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err)
{
	const struct ls_ballot *before;
	struct ls_rotation *r = view->rotation;
	struct ls_ballot *b;

	LS_TRY(running(view, nonce, err));
	if (r->phase != LS_PHASE_VOTING)
		return LS_FAIL(err, LS_E_CONFLICT, "the vote is over");
	if (!ls_strv_has(r->participants, ballot->node))
		return LS_FAIL(err, LS_E_REFUSED, "node '%s' takes no part in this rotation",
			ballot->node);
	before = ls_rotation_ballot(r, ballot->node);
	if (before && before->yes == ballot->yes)
		return LS_OK;
	if (before)
		return LS_FAIL(err, LS_E_CONFLICT, "node '%s' has voted otherwise", ballot->node);
	r->ballots = ls_realloc(r->ballots, r->ballot_count + 1, sizeof *r->ballots);
	b = &r->ballots[r->ballot_count++];
	*b = (struct ls_ballot){ .yes = ballot->yes };
	COPY(b->node, ballot->node);
	b->reason = ls_strdup(ballot->reason ? ballot->reason : "");
	b->baseline = ls_strv_copy(ballot->baseline);
	return LS_OK;
}

enum ls_code ls_record_decide(struct ls_store_view *view, const char *nonce,
	int64_t verify_deadline_s, struct ls_err *err)
{
	struct ls_rotation *r = view->rotation;

	LS_TRY(may_move(view, nonce, LS_PHASE_VERIFYING, err));
	for (size_t i = 0; i < ls_strv_count(r->participants); i++) {
		const struct ls_ballot *b = ls_rotation_ballot(r, r->participants[i]);

		if (!b || !b->yes)
			return LS_FAIL(err, LS_E_REFUSED, "node '%s' has not voted yes",
				r->participants[i]);
	}
	r->phase = LS_PHASE_VERIFYING;
	r->verify_deadline_s = verify_deadline_s;
	COPY(view->tip.commit, r->commit);
	COPY(view->tip.dir_commit, r->commit);
	view->tip.generation = r->generation;
	view->tip.dir_generation = r->generation;
	return LS_OK;
}

static void set_last(struct ls_store_view *view, const struct ls_outcome *outcome)
{
	struct ls_outcome *o = ls_alloc(1, sizeof *o);

	COPY(o->nonce, outcome->nonce);
	COPY(o->result, outcome->result);
	COPY(o->commit, view->rotation->commit);
	o->generation = outcome->generation;
	o->why = ls_strdup(outcome->why ? outcome->why : "");
	o->warnings = ls_strv_copy(outcome->warnings);
	o->ended_at_s = outcome->ended_at_s;
	ls_outcome_free(&view->last);
	view->last = o;
}

enum ls_code ls_record_abort(struct ls_store_view *view, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *copy = ls_strdup(why);
	struct ls_outcome outcome = { .result = "aborted", .why = copy, .ended_at_s = now_s };

	LS_TRY(running(view, nonce, err));
	if (view->rotation->phase != LS_PHASE_VOTING)
		return LS_FAIL(
			err, LS_E_CONFLICT, "the rotation is decided: it can no longer be aborted");
	COPY(outcome.nonce, nonce);
	outcome.generation = view->rotation->generation;
	set_last(view, &outcome);
	ls_rotation_free(&view->rotation);
	return LS_OK;
}

enum ls_code ls_record_report(struct ls_store_view *view, const char *nonce,
	const struct ls_report *report, struct ls_err *err)
{
	struct ls_rotation *r = view->rotation;
	struct ls_report *to = NULL;

	LS_TRY(running(view, nonce, err));
	if (r->phase == LS_PHASE_VOTING)
		return LS_FAIL(err, LS_E_CONFLICT, "the rotation is not decided");
	if (strcmp(report->commit, view->tip.commit) != 0)
		return LS_FAIL(err, LS_E_CONFLICT,
			"the report is about '%s', which is no longer the target", report->commit);
	if (!ls_strv_has(r->participants, report->node))
		return LS_FAIL(err, LS_E_REFUSED, "node '%s' takes no part in this rotation",
			report->node);
	for (size_t i = 0; i < r->report_count && !to; i++)
		if (strcmp(r->reports[i].node, report->node) == 0)
			to = &r->reports[i];
	if (to) {
		report_done(to);
	} else {
		r->reports = ls_realloc(r->reports, r->report_count + 1, sizeof *r->reports);
		to = &r->reports[r->report_count++];
	}
	*to = (struct ls_report){ .good = report->good };
	COPY(to->node, report->node);
	COPY(to->commit, report->commit);
	to->reason = ls_strdup(report->reason ? report->reason : "");
	to->warnings = ls_strv_copy(report->warnings);
	return LS_OK;
}

enum ls_code ls_record_revert(struct ls_store_view *view, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err)
{
	struct ls_rotation *r = view->rotation;

	LS_TRY(may_move(view, nonce, LS_PHASE_REVERTING, err));
	r->phase = LS_PHASE_REVERTING;
	COPY(r->revert_commit, commit);
	free(r->why);
	r->why = ls_strdup(why);
	r->verify_deadline_s = verify_deadline_s;
	drop_reports(r);
	COPY(view->tip.commit, commit);
	view->tip.generation = r->generation + 1;
	COPY(view->tip.dir_commit, r->earlier.dir_commit);
	view->tip.dir_generation = r->earlier.dir_generation;
	return LS_OK;
}

enum ls_code ls_record_close(struct ls_store_view *view, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	bool rolled_back = strcmp(outcome->result, "rolled back") == 0;

	LS_TRY(running(view, nonce, err));
	if (view->rotation->phase == LS_PHASE_VOTING)
		return LS_FAIL(err, LS_E_CONFLICT, "the rotation is not decided");
	/* It was written by what the record said then; the cluster may have gone back since. */
	if ((view->rotation->phase == LS_PHASE_REVERTING) != rolled_back)
		return LS_FAIL(err, LS_E_CONFLICT, "the rotation is '%s': it did not end as '%s'",
			ls_phase_text(view->rotation->phase), outcome->result);
	set_last(view, outcome);
	ls_rotation_free(&view->rotation);
	return LS_OK;
}

enum ls_code ls_record_restore(
	struct ls_store_view *view, const struct ls_tip *tip, struct ls_err *err)
{
	if (view->tip.generation >= tip->generation)
		return LS_FAIL(err, LS_E_CONFLICT,
			"the record names generation %lld already, which is not behind %lld",
			(long long)view->tip.generation, (long long)tip->generation);
	/* What ran was about a state that is past. */
	ls_rotation_free(&view->rotation);
	ls_outcome_free(&view->last);
	view->tip = *tip;
	return LS_OK;
}

/* JSON. */

/* Reasons quote what commands printed, which need not be UTF-8. A vote must not be lost over it,
 * nor over a reason that is not given. */
static json_t *text_to_json(const char *given)
{
	const char *text = given ?: "";
	json_t *json = json_string(text);

	if (!json) {
		LS_CLEANUP(ls_free_str) char *ascii = ls_strdup(text);

		ls_text_ascii(ascii);
		json = json_string(ascii);
	}
	return json;
}

static json_t *strv_to_json(char *const *strv)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ls_strv_count(strv); i++)
		(void)json_array_append_new(array, text_to_json(strv[i]));
	return array;
}

static json_t *tip_to_json(const struct ls_tip *tip)
{
	return json_pack("{s:s, s:I, s:s, s:I}", "commit", tip->commit, "generation",
		(json_int_t)tip->generation, "dir_commit", tip->dir_commit, "dir_generation",
		(json_int_t)tip->dir_generation);
}

json_t *ls_ballot_to_json(const struct ls_ballot *b)
{
	return json_pack("{s:s, s:b, s:o, s:o}", "node", b->node, "yes", b->yes, "reason",
		text_to_json(b->reason), "baseline", strv_to_json(b->baseline));
}

json_t *ls_report_to_json(const struct ls_report *p)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:o}", "node", p->node, "commit", p->commit, "good",
		p->good, "reason", text_to_json(p->reason), "warnings", strv_to_json(p->warnings));
}

static json_t *rotation_to_json(const struct ls_rotation *r)
{
	json_t *ballots = json_array(), *reports = json_array();

	for (size_t i = 0; i < r->ballot_count; i++)
		(void)json_array_append_new(ballots, ls_ballot_to_json(&r->ballots[i]));
	for (size_t i = 0; i < r->report_count; i++)
		(void)json_array_append_new(reports, ls_report_to_json(&r->reports[i]));
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:o}",
		"nonce", r->nonce, "phase", ls_phase_text(r->phase), "commit", r->commit, "parent",
		r->parent, "generation", (json_int_t)r->generation, "initiator", r->initiator,
		"participants", strv_to_json(r->participants), "began_at",
		(json_int_t)r->began_at_s, "vote_deadline", (json_int_t)r->vote_deadline_s,
		"verify_deadline", (json_int_t)r->verify_deadline_s, "earlier",
		tip_to_json(&r->earlier), "revert_commit", r->revert_commit, "ballots", ballots,
		"reports", reports, "why", text_to_json(r->why));
}

json_t *ls_record_to_json(const struct ls_store_view *view)
{
	const struct ls_outcome *o = view->last;
	json_t *last = json_null();

	if (o)
		last = json_pack("{s:s, s:s, s:I, s:s, s:o, s:o, s:I}", "nonce", o->nonce, "commit",
			o->commit, "generation", (json_int_t)o->generation, "result", o->result,
			"why", text_to_json(o->why), "warnings", strv_to_json(o->warnings),
			"ended_at", (json_int_t)o->ended_at_s);
	return json_pack("{s:i, s:o, s:o, s:o}", "format", 1, "tip", tip_to_json(&view->tip),
		"rotation", view->rotation ? rotation_to_json(view->rotation) : json_null(), "last",
		last);
}

static enum ls_code damaged(struct ls_err *err, const char *where)
{
	return LS_FAIL(
		err, LS_E_DAMAGED, "the store's record: '%s' is not as it was written", where);
}

static bool take_text(const json_t *obj, const char *key, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text && snprintf(to, size, "%s", text) < (int)size;
}
#define TAKE(obj, key, array) take_text(obj, key, array, sizeof(array))

static bool take_heap(const json_t *obj, const char *key, char **to)
{
	const char *text = json_string_value(json_object_get(obj, key));

	if (!text)
		return false;
	*to = ls_strdup(text);
	return true;
}

static bool take_int(const json_t *obj, const char *key, int64_t *to)
{
	const json_t *value = json_object_get(obj, key);

	if (!json_is_integer(value))
		return false;
	*to = json_integer_value(value);
	return true;
}

static bool take_bool(const json_t *obj, const char *key, bool *to)
{
	const json_t *value = json_object_get(obj, key);

	if (!json_is_boolean(value))
		return false;
	*to = json_is_true(value);
	return true;
}

static bool take_strv(const json_t *obj, const char *key, char ***to)
{
	const json_t *array = json_object_get(obj, key);

	if (!json_is_array(array))
		return false;
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *text = json_string_value(json_array_get(array, i));

		if (!text)
			return false;
		ls_strv_add(to, text);
	}
	return true;
}

static bool take_tip(const json_t *obj, struct ls_tip *to)
{
	return TAKE(obj, "commit", to->commit) && take_int(obj, "generation", &to->generation) &&
	       TAKE(obj, "dir_commit", to->dir_commit) &&
	       take_int(obj, "dir_generation", &to->dir_generation);
}

enum ls_code ls_ballot_from_json(const json_t *json, struct ls_rotation *to, struct ls_err *err)
{
	struct ls_ballot b = { 0 };

	if (!TAKE(json, "node", b.node) || !take_bool(json, "yes", &b.yes) ||
		!take_heap(json, "reason", &b.reason) ||
		!take_strv(json, "baseline", &b.baseline)) {
		ballot_done(&b);
		return damaged(err, "ballots");
	}
	to->ballots = ls_realloc(to->ballots, to->ballot_count + 1, sizeof b);
	to->ballots[to->ballot_count++] = b;
	return LS_OK;
}

enum ls_code ls_report_from_json(const json_t *json, struct ls_rotation *to, struct ls_err *err)
{
	struct ls_report p = { 0 };

	if (!TAKE(json, "node", p.node) || !TAKE(json, "commit", p.commit) ||
		!take_bool(json, "good", &p.good) || !take_heap(json, "reason", &p.reason) ||
		!take_strv(json, "warnings", &p.warnings)) {
		report_done(&p);
		return damaged(err, "reports");
	}
	to->reports = ls_realloc(to->reports, to->report_count + 1, sizeof p);
	to->reports[to->report_count++] = p;
	return LS_OK;
}

static bool take_all(const json_t *array, struct ls_rotation *r,
	enum ls_code (*take)(const json_t *json, struct ls_rotation *to, struct ls_err *err))
{
	if (!json_is_array(array))
		return false;
	for (size_t i = 0; i < json_array_size(array); i++)
		if (take(json_array_get(array, i), r, NULL) != LS_OK)
			return false;
	return true;
}

static bool take_rotation(const json_t *obj, struct ls_rotation *r)
{
	char phase[16];

	return TAKE(obj, "nonce", r->nonce) && TAKE(obj, "phase", phase) &&
	       ls_phase_parse(phase, &r->phase) && r->phase != LS_PHASE_IDLE &&
	       TAKE(obj, "commit", r->commit) && TAKE(obj, "parent", r->parent) &&
	       take_int(obj, "generation", &r->generation) &&
	       TAKE(obj, "initiator", r->initiator) &&
	       take_strv(obj, "participants", &r->participants) &&
	       take_int(obj, "began_at", &r->began_at_s) &&
	       take_int(obj, "vote_deadline", &r->vote_deadline_s) &&
	       take_int(obj, "verify_deadline", &r->verify_deadline_s) &&
	       take_tip(json_object_get(obj, "earlier"), &r->earlier) &&
	       TAKE(obj, "revert_commit", r->revert_commit) && take_heap(obj, "why", &r->why) &&
	       take_all(json_object_get(obj, "ballots"), r, ls_ballot_from_json) &&
	       take_all(json_object_get(obj, "reports"), r, ls_report_from_json);
}

static bool take_outcome(const json_t *obj, struct ls_outcome *o)
{
	return TAKE(obj, "nonce", o->nonce) && TAKE(obj, "commit", o->commit) &&
	       take_int(obj, "generation", &o->generation) && TAKE(obj, "result", o->result) &&
	       take_heap(obj, "why", &o->why) && take_strv(obj, "warnings", &o->warnings) &&
	       take_int(obj, "ended_at", &o->ended_at_s);
}

enum ls_code ls_record_from_json(const json_t *json, struct ls_store_view *out, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	const json_t *rotation = json_object_get(json, "rotation");
	const json_t *last = json_object_get(json, "last");

	if (json_integer_value(json_object_get(json, "format")) != 1)
		return damaged(err, "format");
	if (!take_tip(json_object_get(json, "tip"), &view.tip))
		return damaged(err, "tip");
	if (!rotation || !last)
		return damaged(err, "rotation");
	if (!json_is_null(rotation)) {
		view.rotation = ls_alloc(1, sizeof *view.rotation);
		if (!take_rotation(rotation, view.rotation))
			return damaged(err, "rotation");
	}
	if (!json_is_null(last)) {
		view.last = ls_alloc(1, sizeof *view.last);
		if (!take_outcome(last, view.last))
			return damaged(err, "last");
	}
	ls_store_view_done(out);
	*out = view;
	view = (struct ls_store_view){ 0 };
	return LS_OK;
}
