/* What a node does next: each state's answer, and the order that a yes vote promises. */
#include "core/rotation.h"
#include "tests/unit/runner.h"

#define NOW 1000
#define VOTE_BY (NOW + 20)
#define REPORT_BY (NOW + 30)

static const struct ls_rotation_facts voting = {
	.now_s = NOW,
	.phase = LS_PHASE_VOTING,
	.participant = true,
	.takeover_at_s = INT64_MAX,
	.vote_deadline_s = VOTE_BY,
	.participants = 3,
};

/* Decided, and this node has done its part. */
static const struct ls_rotation_facts reported = {
	.now_s = NOW,
	.phase = LS_PHASE_VERIFYING,
	.participant = true,
	.takeover_at_s = INT64_MAX,
	.vote_deadline_s = VOTE_BY,
	.verify_deadline_s = REPORT_BY,
	.participants = 3,
	.yes_votes = 3,
	.good_reports = 1,
	.my_vote = LS_DONE_WELL,
	.my_report = true,
	.fetched = LS_DONE_WELL,
	.probed = LS_DONE_WELL,
	.staged = LS_DONE_WELL,
	.validated = LS_DONE_WELL,
	.live = true,
	.advanced = true,
	.reloaded = LS_DONE_WELL,
	.checked = LS_DONE_WELL,
};

static void assert_does(const struct ls_rotation_facts *f, enum ls_action want)
{
	struct ls_rotation_step step = ls_rotation_step(f);

	ck_assert_str_eq(ls_action_text(step.action), ls_action_text(want));
}

static void assert_waits(const struct ls_rotation_facts *f, int64_t until_s)
{
	assert_does(f, LS_ACT_WAIT);
	ck_assert_int_eq(ls_rotation_step(f).until_s, until_s);
}

/* Does what is asked for until the answer is `last`. */
static void play(struct ls_rotation_facts *f, enum ls_action last, char *text, size_t size)
{
	size_t used = 0;

	for (int i = 0; i < 20; i++) {
		enum ls_action action = ls_rotation_step(f).action;

		used += (size_t)snprintf(
			text + used, size - used, "%s%s", i ? ", " : "", ls_action_text(action));
		if (action == last)
			return;
		f->fetched = action == LS_ACT_FETCH ? LS_DONE_WELL : f->fetched;
		f->probed = action == LS_ACT_PROBE ? LS_DONE_WELL : f->probed;
		f->staged = action == LS_ACT_STAGE ? LS_DONE_WELL : f->staged;
		f->validated = action == LS_ACT_VALIDATE ? LS_DONE_WELL : f->validated;
		f->live |= action == LS_ACT_ACTIVATE;
		f->advanced |= action == LS_ACT_ADVANCE;
		f->reloaded = action == LS_ACT_RELOAD ? LS_DONE_WELL : f->reloaded;
		f->checked = action == LS_ACT_CHECK ? LS_DONE_WELL : f->checked;
	}
	ck_abort_msg("no end: %s", text);
}

START_TEST(all_that_can_fail_comes_before_the_yes)
{
	struct ls_rotation_facts f = voting;
	char text[256];

	play(&f, LS_ACT_VOTE_YES, text, sizeof text);
	ck_assert_str_eq(text, "fetch, probe, stage, validate, vote yes");
}
END_TEST

START_TEST(one_failure_before_the_vote_is_a_no)
{
	struct ls_rotation_facts f = voting;

	f.fetched = LS_DONE_BADLY;
	assert_does(&f, LS_ACT_VOTE_NO);
	f.fetched = f.probed = LS_DONE_WELL;
	f.staged = LS_DONE_BADLY;
	assert_does(&f, LS_ACT_VOTE_NO);
	f.staged = LS_DONE_WELL;
	f.validated = LS_DONE_BADLY;
	assert_does(&f, LS_ACT_VOTE_NO);
}
END_TEST

START_TEST(a_vote_is_given_once_in_time_and_by_participants)
{
	struct ls_rotation_facts f = voting;

	f.my_vote = LS_DONE_WELL;
	f.yes_votes = 1;
	assert_waits(&f, INT64_MAX);
	f = voting;
	f.participant = false;
	assert_waits(&f, INT64_MAX);
	f = voting;
	f.now_s = VOTE_BY;
	assert_waits(&f, INT64_MAX);
}
END_TEST

START_TEST(the_initiator_decides_with_all_votes_only)
{
	struct ls_rotation_facts f = voting;

	f.initiator = true;
	f.my_vote = LS_DONE_WELL;
	f.yes_votes = 2;
	assert_waits(&f, VOTE_BY);
	f.yes_votes = 3;
	assert_does(&f, LS_ACT_DECIDE);
	f.now_s = VOTE_BY; /* all of them, but what was begun counts no longer */
	assert_does(&f, LS_ACT_ABORT);
	f.now_s = NOW;
	f.yes_votes = 2;
	f.gone = 1; /* the third will not vote any more */
	assert_does(&f, LS_ACT_ABORT);
	f.yes_votes = 3; /* it went when it had */
	assert_does(&f, LS_ACT_DECIDE);
	f.gone = 0;
	f.yes_votes = 2;
	f.now_s = VOTE_BY;
	assert_does(&f, LS_ACT_ABORT);
	f.now_s = NOW;
	f.no_votes = 1;
	assert_does(&f, LS_ACT_ABORT);
}
END_TEST

START_TEST(a_no_of_others_ends_the_attempt_before_the_own_work)
{
	struct ls_rotation_facts f = voting;

	f.initiator = true;
	f.no_votes = 1;
	assert_does(&f, LS_ACT_ABORT);
	f.initiator = false; /* who may not abort goes on: its no or yes harms nothing */
	assert_does(&f, LS_ACT_FETCH);
}
END_TEST

START_TEST(others_take_over_in_time)
{
	struct ls_rotation_facts f = voting;

	f.my_vote = LS_DONE_WELL;
	f.yes_votes = 3;
	f.takeover_at_s = NOW + 5;
	assert_waits(&f, NOW + 5); /* before the deadline: all votes are there */
	f.now_s = NOW + 5;
	assert_does(&f, LS_ACT_DECIDE);
	f = reported;
	f.takeover_at_s = NOW + 5;
	f.good_reports = 3;
	assert_waits(&f, NOW + 5);
	f.now_s = NOW + 5;
	assert_does(&f, LS_ACT_CLOSE);
	f = reported;
	f.takeover_at_s = NOW + 5;
	f.bad_reports = 1;
	f.revert_allowed = true;
	assert_waits(&f, NOW + 5);
	f.now_s = NOW + 5;
	assert_does(&f, LS_ACT_REVERT);
}
END_TEST

START_TEST(waits_end_when_time_alone_changes_the_answer)
{
	struct ls_rotation_facts f = voting;

	f.my_vote = LS_DONE_WELL;
	f.yes_votes = 1;
	for (int takeover = NOW - 5; takeover <= NOW + 40; takeover++) {
		int64_t until_s = takeover > VOTE_BY ? takeover : VOTE_BY;

		f.now_s = NOW;
		f.takeover_at_s = takeover;
		assert_waits(&f, until_s);
		f.now_s = until_s - 1;
		assert_waits(&f, until_s);
		f.now_s = until_s;
		assert_does(&f, LS_ACT_ABORT);
	}
}
END_TEST

START_TEST(services_are_told_before_the_ref_says_so)
{
	struct ls_rotation_facts f = voting;
	char text[256];

	play(&f, LS_ACT_VOTE_YES, text, sizeof text);
	f.phase = LS_PHASE_VERIFYING;
	f.verify_deadline_s = REPORT_BY;
	f.my_vote = LS_DONE_WELL;
	f.yes_votes = 3;
	play(&f, LS_ACT_REPORT, text, sizeof text);
	ck_assert_str_eq(text, "activate, reload, advance, check, report");
}
END_TEST

START_TEST(a_restart_in_verifying_fetches_before_it_reloads)
{
	struct ls_rotation_facts f = reported;
	char text[256];

	f.my_report = f.advanced = false;
	f.fetched = f.probed = f.staged = f.validated = LS_NOT_YET;
	f.reloaded = f.checked = LS_NOT_YET;
	play(&f, LS_ACT_REPORT, text, sizeof text);
	ck_assert_str_eq(text, "fetch, reload, advance, check, report");
}
END_TEST

START_TEST(a_node_that_comes_late_catches_up_in_any_phase_but_voting)
{
	struct ls_rotation_facts f = { .now_s = NOW, .takeover_at_s = INT64_MAX };
	char text[256];

	play(&f, LS_ACT_WAIT, text, sizeof text);
	ck_assert_str_eq(text, "fetch, stage, activate, reload, advance, check, wait");
	f = (struct ls_rotation_facts){ .now_s = NOW,
		.phase = LS_PHASE_VERIFYING,
		.takeover_at_s = INT64_MAX,
		.verify_deadline_s = REPORT_BY,
		.participants = 2 };
	play(&f, LS_ACT_WAIT, text, sizeof text); /* it is asked for no report */
	ck_assert_str_eq(text, "fetch, stage, activate, reload, advance, check, wait");
}
END_TEST

/* A yes may be counted after the node that gave it has started anew and failed to do it again. */
START_TEST(what_failed_before_the_decision_is_tried_again_after_it)
{
	struct ls_rotation_facts f = reported;

	f.live = f.advanced = f.my_report = false;
	f.reloaded = f.checked = LS_NOT_YET;
	f.fetched = LS_DONE_BADLY;
	f.staged = LS_NOT_YET;
	assert_does(&f, LS_ACT_FETCH);
	f.fetched = LS_DONE_WELL;
	f.staged = LS_DONE_BADLY;
	assert_does(&f, LS_ACT_STAGE);
}
END_TEST

START_TEST(a_reload_that_failed_is_not_repeated)
{
	struct ls_rotation_facts f = reported;

	f.my_report = f.advanced = false;
	f.reloaded = LS_DONE_BADLY;
	f.checked = LS_NOT_YET;
	assert_does(&f, LS_ACT_ADVANCE);
	f.advanced = true;
	assert_does(&f, LS_ACT_CHECK);
	f.checked = LS_DONE_BADLY;
	assert_does(&f, LS_ACT_REPORT);
}
END_TEST

START_TEST(a_bad_report_goes_back_only_where_it_is_allowed)
{
	struct ls_rotation_facts f = reported;

	f.initiator = true;
	f.bad_reports = 1;
	f.revert_allowed = true;
	assert_does(&f, LS_ACT_REVERT); /* without waiting for the third */
	f.now_s = REPORT_BY + 100;
	assert_does(&f, LS_ACT_REVERT);
	f.revert_allowed = false;
	assert_does(&f, LS_ACT_CLOSE);
	f.now_s = NOW;
	assert_waits(&f, REPORT_BY);
	f.bad_reports = 0;
	f.revert_allowed = true;
	assert_waits(&f, REPORT_BY);
}
END_TEST

START_TEST(a_rollback_is_never_rolled_back)
{
	struct ls_rotation_facts f = reported;

	f.initiator = true;
	f.phase = LS_PHASE_REVERTING;
	f.bad_reports = 2;
	f.revert_allowed = true;
	assert_does(&f, LS_ACT_CLOSE);
}
END_TEST

START_TEST(a_rotation_closes_with_all_reports_or_at_the_deadline)
{
	struct ls_rotation_facts f = reported;

	f.initiator = true;
	f.good_reports = 2;
	assert_waits(&f, REPORT_BY);
	f.now_s = REPORT_BY;
	assert_does(&f, LS_ACT_CLOSE);
	f.now_s = NOW;
	f.good_reports = 3;
	assert_does(&f, LS_ACT_CLOSE);
	f.live = false; /* the own way comes first */
	assert_does(&f, LS_ACT_ACTIVATE);
}
END_TEST

START_TEST(remains_go_only_when_idle_and_there)
{
	struct ls_rotation_facts f = reported;

	f.debris = true;
	assert_waits(&f, INT64_MAX);
	f.phase = LS_PHASE_IDLE;
	assert_does(&f, LS_ACT_TIDY);
	f.debris = false;
	assert_waits(&f, INT64_MAX);
	f.debris = true;
	f.live = false;
	assert_does(&f, LS_ACT_ACTIVATE);
}
END_TEST

START_TEST(going_back_needs_every_condition)
{
	const struct ls_revert_case good = {
		.setting = true,
		.has_earlier = true,
		.earlier_not_after_s = NOW + 3600,
		.now_s = NOW,
	};
	struct ls_revert_case c = good;

	ck_assert(ls_rotation_may_revert(&c));
	c.setting = false;
	ck_assert(!ls_rotation_may_revert(&c));
	c = good;
	c.is_rollback = true;
	ck_assert(!ls_rotation_may_revert(&c));
	c = good;
	c.changes_members_or_kek = true;
	ck_assert(!ls_rotation_may_revert(&c));
	c = good;
	c.has_earlier = false;
	ck_assert(!ls_rotation_may_revert(&c));
	c = good;
	c.earlier_not_after_s--;
	ck_assert(!ls_rotation_may_revert(&c));
	c.earlier_not_after_s = 0;
	ck_assert(!ls_rotation_may_revert(&c));
}
END_TEST

START_TEST(phases_follow_the_table)
{
	static const char *const table[LS_PHASE_COUNT] = {
		/* to: idle, voting, verifying, reverting */
		[LS_PHASE_IDLE] = ".x..",
		[LS_PHASE_VOTING] = "x.x.",
		[LS_PHASE_VERIFYING] = "x..x",
		[LS_PHASE_REVERTING] = "x..."
	};

	for (int from = 0; from < LS_PHASE_COUNT; from++)
		for (int to = 0; to < LS_PHASE_COUNT; to++)
			ck_assert_int_eq(
				ls_phase_may_follow((enum ls_phase)from, (enum ls_phase)to),
				table[from][to] == 'x');
	for (int i = 0; i < LS_PHASE_COUNT; i++) {
		enum ls_phase phase;

		ck_assert(ls_phase_parse(ls_phase_text((enum ls_phase)i), &phase));
		ck_assert_int_eq(phase, i);
	}
}
END_TEST

LS_TEST_MAIN("rotation", all_that_can_fail_comes_before_the_yes,
	one_failure_before_the_vote_is_a_no, a_vote_is_given_once_in_time_and_by_participants,
	the_initiator_decides_with_all_votes_only,
	a_no_of_others_ends_the_attempt_before_the_own_work, others_take_over_in_time,
	waits_end_when_time_alone_changes_the_answer, services_are_told_before_the_ref_says_so,
	a_restart_in_verifying_fetches_before_it_reloads,
	a_node_that_comes_late_catches_up_in_any_phase_but_voting,
	what_failed_before_the_decision_is_tried_again_after_it,
	a_reload_that_failed_is_not_repeated, a_bad_report_goes_back_only_where_it_is_allowed,
	a_rollback_is_never_rolled_back, a_rotation_closes_with_all_reports_or_at_the_deadline,
	remains_go_only_when_idle_and_there, going_back_needs_every_condition,
	phases_follow_the_table)
