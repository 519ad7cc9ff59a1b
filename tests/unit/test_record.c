/* The moves of the record: each with its compare, and nothing changed when it fails. */
#include "tests/unit/record_moves.h"

static struct ls_store_view view;
static struct ls_err err;

static void setup(void)
{
	view = (struct ls_store_view){ 0 };
	err = (struct ls_err){ 0 };
}

static void teardown(void)
{
	ls_store_view_done(&view);
}

static char *text_of(const struct ls_store_view *of)
{
	json_t *json = ls_record_to_json(of);
	char *text;

	ck_assert_ptr_nonnull(json);
	text = json_dumps(json, JSON_SORT_KEYS | JSON_INDENT(1));
	json_decref(json);
	ck_assert_ptr_nonnull(text);
	return text;
}

/* The call fails with `want` and leaves the view as it was. */
#define fails(call, want)                                                                          \
	do {                                                                                       \
		LS_CLEANUP(ls_free_str) char *before_ = text_of(&view);                            \
		LS_CLEANUP(ls_free_str) char *after_ = NULL;                                       \
		ck_code(call, want);                                                               \
		after_ = text_of(&view);                                                           \
		ck_assert_str_eq(after_, before_);                                                 \
	} while (0)

static void begin(int number)
{
	struct ls_rotation rotation;

	moves_rotation(&view.tip, number, &rotation);
	ck_ok(ls_record_begin(&view, &rotation, &err));
}

static enum ls_code vote(int number, const char *node, bool yes)
{
	struct ls_ballot ballot;

	moves_ballot(node, yes, &ballot);
	return ls_record_vote(&view, moves_nonce(number), &ballot, &err);
}

static void decided(int number)
{
	begin(number);
	ck_ok(vote(number, "n1", true));
	ck_ok(vote(number, "n2", true));
	ck_ok(ls_record_decide(&view, moves_nonce(number), 2000, &err));
}

static enum ls_code report(int number, const char *node, const char *commit, bool good)
{
	struct ls_report made;

	moves_report(node, commit, good, &made);
	return ls_record_report(&view, moves_nonce(number), &made, &err);
}

static enum ls_code end(int number, const char *result)
{
	struct ls_outcome outcome;

	moves_outcome(number, result, &outcome);
	return ls_record_close(&view, moves_nonce(number), &outcome, &err);
}

START_TEST(a_rotation_needs_participants)
{
	struct ls_rotation rotation;
	char *none[] = { NULL };

	moves_rotation(&view.tip, 1, &rotation);
	rotation.participants = none;
	fails(ls_record_begin(&view, &rotation, &err), LS_E_REFUSED);
	rotation.participants = NULL;
	fails(ls_record_begin(&view, &rotation, &err), LS_E_REFUSED);
}
END_TEST

START_TEST(begin_compares_the_tip_and_wants_idle)
{
	struct ls_rotation rotation;

	decided(1);
	moves_rotation(&view.tip, 2, &rotation);
	fails(ls_record_begin(&view, &rotation, &err), LS_E_CONFLICT);
	ck_ok(end(1, "done"));
	rotation.generation++;
	fails(ls_record_begin(&view, &rotation, &err), LS_E_CONFLICT);
	rotation.generation--;
	rotation.parent[0] = '\0';
	fails(ls_record_begin(&view, &rotation, &err), LS_E_CONFLICT);
	begin(2);
	ck_assert_int_eq(view.rotation->phase, LS_PHASE_VOTING);
	ck_assert_str_eq(view.rotation->earlier.commit, view.tip.commit);
	ck_assert_int_eq(view.tip.generation, 1);
}
END_TEST

START_TEST(a_vote_is_created_once)
{
	begin(1);
	ck_ok(vote(1, "n1", true));
	ck_ok(vote(1, "n1", true));
	ck_assert_uint_eq(view.rotation->ballot_count, 1);
	fails(vote(1, "n1", false), LS_E_CONFLICT);
	ck_ok(vote(1, "n2", false));
	fails(vote(1, "n2", true), LS_E_CONFLICT);
	fails(vote(1, "n3", true), LS_E_REFUSED);
	fails(vote(2, "n1", true), LS_E_CONFLICT);
}
END_TEST

START_TEST(nothing_is_voted_on_after_the_decision)
{
	decided(1);
	fails(vote(1, "n1", true), LS_E_CONFLICT);
	fails(vote(1, "n1", false), LS_E_CONFLICT);
	fails(ls_record_decide(&view, moves_nonce(1), 3000, &err), LS_E_CONFLICT);
	fails(ls_record_abort(&view, moves_nonce(1), "why", 1, &err), LS_E_CONFLICT);
	ck_ok(end(1, "done"));
	fails(vote(1, "n1", true), LS_E_CONFLICT);
}
END_TEST

START_TEST(the_decision_needs_each_yes)
{
	begin(1);
	fails(ls_record_decide(&view, moves_nonce(1), 2000, &err), LS_E_REFUSED);
	ck_ok(vote(1, "n1", true));
	fails(ls_record_decide(&view, moves_nonce(1), 2000, &err), LS_E_REFUSED);
	fails(ls_record_decide(&view, moves_nonce(2), 2000, &err), LS_E_CONFLICT);
	ck_ok(vote(1, "n2", false));
	fails(ls_record_decide(&view, moves_nonce(1), 2000, &err), LS_E_REFUSED);
	ck_ok(ls_record_abort(&view, moves_nonce(1), "n2 said no", 5, &err));
	ck_assert_ptr_null(view.rotation);
	ck_assert_str_eq(view.tip.commit, "");
	ck_assert_str_eq(view.last->result, "aborted");
	ck_assert_str_eq(view.last->why, "n2 said no");
	fails(ls_record_decide(&view, moves_nonce(1), 2000, &err), LS_E_CONFLICT);
}
END_TEST

START_TEST(the_decision_moves_the_tip)
{
	decided(1);
	ck_assert_str_eq(view.tip.commit, moves_commit(1));
	ck_assert_str_eq(view.tip.dir_commit, moves_commit(1));
	ck_assert_int_eq(view.tip.generation, 1);
	ck_assert_int_eq(view.tip.dir_generation, 1);
	ck_assert_int_eq(view.rotation->verify_deadline_s, 2000);
}
END_TEST

START_TEST(reports_are_for_the_tip)
{
	begin(1);
	fails(report(1, "n1", moves_commit(1), true), LS_E_CONFLICT);
	ck_ok(vote(1, "n1", true));
	ck_ok(vote(1, "n2", true));
	ck_ok(ls_record_decide(&view, moves_nonce(1), 2000, &err));
	ck_ok(end(1, "done"));
	decided(2);
	fails(report(1, "n1", moves_commit(1), false), LS_E_CONFLICT);
	fails(report(2, "n3", moves_commit(2), true), LS_E_REFUSED);
	ck_ok(report(2, "n1", moves_commit(2), false));
	ck_ok(report(2, "n1", moves_commit(2), true));
	ck_assert_uint_eq(view.rotation->report_count, 1);
	ck_assert(view.rotation->reports[0].good);
	ck_ok(ls_record_revert(&view, moves_nonce(2), moves_commit(3), "n2", 3000, &err));
	ck_assert_uint_eq(view.rotation->report_count, 0);
	/* Sent before the cluster went back, and late: it says nothing about where it went. */
	fails(report(2, "n2", moves_commit(2), true), LS_E_CONFLICT);
	ck_ok(report(2, "n2", moves_commit(3), true));
}
END_TEST

START_TEST(a_rollback_is_a_generation_with_the_earlier_directory)
{
	decided(1);
	ck_ok(end(1, "done"));
	begin(2);
	fails(ls_record_revert(&view, moves_nonce(2), moves_commit(3), "", 3000, &err),
		LS_E_CONFLICT);
	ck_ok(ls_record_abort(&view, moves_nonce(2), "", 5, &err));
	decided(4);
	fails(ls_record_revert(&view, moves_nonce(2), moves_commit(3), "", 3000, &err),
		LS_E_CONFLICT);
	ck_ok(ls_record_revert(&view, moves_nonce(4), moves_commit(5), "bad", 3000, &err));
	ck_assert_str_eq(view.tip.commit, moves_commit(5));
	ck_assert_int_eq(view.tip.generation, 3);
	ck_assert_str_eq(view.tip.dir_commit, moves_commit(1));
	ck_assert_int_eq(view.tip.dir_generation, 1);
	ck_assert_int_eq(view.rotation->verify_deadline_s, 3000);
	fails(ls_record_revert(&view, moves_nonce(4), moves_commit(6), "", 3000, &err),
		LS_E_CONFLICT);
}
END_TEST

START_TEST(a_rotation_ends_as_what_it_is)
{
	begin(1);
	fails(end(1, "done"), LS_E_CONFLICT);
	ck_ok(vote(1, "n1", true));
	ck_ok(vote(1, "n2", true));
	ck_ok(ls_record_decide(&view, moves_nonce(1), 2000, &err));
	fails(end(2, "done"), LS_E_CONFLICT);
	fails(end(1, "rolled back"), LS_E_CONFLICT);
	ck_ok(ls_record_revert(&view, moves_nonce(1), moves_commit(2), "", 3000, &err));
	fails(end(1, "done"), LS_E_CONFLICT);
	fails(end(1, "degraded"), LS_E_CONFLICT);
	ck_ok(end(1, "rolled back"));
	ck_assert_ptr_null(view.rotation);
	ck_assert_str_eq(view.last->result, "rolled back");
	fails(end(1, "rolled back"), LS_E_CONFLICT);
}
END_TEST

static void assert_round_trip(void)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view again = { 0 };
	LS_CLEANUP(ls_free_str) char *text = text_of(&view);
	LS_CLEANUP(ls_free_str) char *text_again = NULL;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	ck_ok(ls_record_from_json(json, &again, &err));
	json_decref(json);
	text_again = text_of(&again);
	ck_assert_str_eq(text, text_again);
}

START_TEST(each_phase_reads_back)
{
	assert_round_trip();
	begin(1);
	assert_round_trip();
	ck_ok(vote(1, "n2", true));
	assert_round_trip();
	ck_ok(vote(1, "n1", true));
	ck_ok(ls_record_decide(&view, moves_nonce(1), 2000, &err));
	ck_ok(report(1, "n1", moves_commit(1), false));
	assert_round_trip();
	ck_ok(ls_record_revert(&view, moves_nonce(1), moves_commit(2), "why", 3000, &err));
	ck_ok(report(1, "n1", moves_commit(2), true));
	assert_round_trip();
	ck_ok(end(1, "rolled back"));
	assert_round_trip();
}
END_TEST

/* What a check command prints is bytes; a vote that could not be written must not count as given.
 */
START_TEST(a_reason_that_is_not_utf8_loses_no_vote)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view again = { 0 };
	char reason[] = "caf\xe9 \xc3\xa9";
	char *lines[] = { reason, NULL };
	struct ls_ballot ballot = { .node = "n1", .reason = reason, .baseline = lines };
	struct ls_report made = { .node = "n1", .reason = reason, .warnings = lines };
	json_t *json;

	begin(1);
	ck_ok(ls_record_vote(&view, moves_nonce(1), &ballot, &err));
	json = ls_record_to_json(&view);
	ck_ok(ls_record_from_json(json, &again, &err));
	json_decref(json);
	ck_assert_uint_eq(again.rotation->ballot_count, 1);
	ck_assert_str_eq(again.rotation->ballots[0].reason, "caf? ??");
	ck_assert_uint_eq(ls_strv_count(again.rotation->ballots[0].baseline), 1);
	ck_ok(ls_record_abort(&view, moves_nonce(1), reason, 1, &err));
	decided(2);
	memcpy(made.commit, view.tip.commit, sizeof made.commit);
	ck_ok(ls_record_report(&view, moves_nonce(2), &made, &err));
	ck_ok(ls_record_revert(&view, moves_nonce(2), moves_commit(3), reason, 3000, &err));
	memcpy(made.commit, view.tip.commit, sizeof made.commit);
	ck_ok(ls_record_report(&view, moves_nonce(2), &made, &err));
	json = ls_record_to_json(&view);
	ck_ok(ls_record_from_json(json, &again, &err));
	json_decref(json);
	ck_assert_uint_eq(again.rotation->report_count, 1);
	ck_assert_str_eq(again.rotation->why, "caf? ??");
}
END_TEST

/* Every member of the JSON is needed, and in its own type. */
static void assert_each_member_needed(json_t *root, json_t *at)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view out = { 0 };
	LS_CLEANUP(ls_free_strv) char **keys = NULL;
	const char *key;
	json_t *value;

	if (json_is_array(at)) {
		for (size_t i = 0; i < json_array_size(at); i++) {
			value = json_incref(json_array_get(at, i));
			ck_assert_int_eq(json_array_set_new(at, i, json_integer(7)), 0);
			ck_code(ls_record_from_json(root, &out, &err), LS_E_DAMAGED);
			ck_assert_int_eq(json_array_set(at, i, value), 0);
			assert_each_member_needed(root, value);
			json_decref(value);
		}
	}
	json_object_foreach(at, key, value) ls_strv_add(&keys, key);
	for (size_t i = 0; i < ls_strv_count(keys); i++) {
		value = json_incref(json_object_get(at, keys[i]));
		ck_assert_int_eq(json_object_del(at, keys[i]), 0);
		ck_code(ls_record_from_json(root, &out, &err), LS_E_DAMAGED);
		ck_assert_int_eq(json_object_set_new(at, keys[i], json_real(1.5)), 0);
		ck_code(ls_record_from_json(root, &out, &err), LS_E_DAMAGED);
		ck_assert_int_eq(json_object_set(at, keys[i], value), 0);
		assert_each_member_needed(root, value);
		json_decref(value);
	}
	ck_assert_ptr_null(out.rotation);
}

START_TEST(no_member_may_be_missing_or_of_another_type)
{
	json_t *json;

	decided(1);
	ck_ok(end(1, "done"));
	decided(2);
	ck_ok(report(2, "n1", moves_commit(2), false));
	json = ls_record_to_json(&view);
	assert_each_member_needed(json, json);
	json_decref(json);
}
END_TEST

START_TEST(texts_that_do_not_fit_are_damage)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view out = { 0 };
	json_t *json, *rotation;

	begin(1);
	json = ls_record_to_json(&view);
	rotation = json_object_get(json, "rotation");
	(void)json_object_set_new(
		rotation, "initiator", json_string("123456789012345678901234567890123"));
	ck_code(ls_record_from_json(json, &out, &err), LS_E_DAMAGED);
	(void)json_object_set_new(rotation, "initiator", json_string("n1"));
	(void)json_object_set_new(rotation, "phase", json_string("idle"));
	ck_code(ls_record_from_json(json, &out, &err), LS_E_DAMAGED);
	(void)json_object_set_new(rotation, "phase", json_string("voting"));
	(void)json_object_set_new(json, "format", json_integer(2));
	ck_code(ls_record_from_json(json, &out, &err), LS_E_DAMAGED);
	json_decref(json);
	ck_code(ls_record_from_json(NULL, &out, &err), LS_E_DAMAGED);
}
END_TEST

LS_TEST_MAIN_FIXTURE("record", setup, teardown, a_rotation_needs_participants,
	begin_compares_the_tip_and_wants_idle, a_vote_is_created_once,
	nothing_is_voted_on_after_the_decision, the_decision_needs_each_yes,
	the_decision_moves_the_tip, reports_are_for_the_tip,
	a_rollback_is_a_generation_with_the_earlier_directory, a_rotation_ends_as_what_it_is,
	each_phase_reads_back, a_reason_that_is_not_utf8_loses_no_vote,
	no_member_may_be_missing_or_of_another_type, texts_that_do_not_fit_are_damage)
