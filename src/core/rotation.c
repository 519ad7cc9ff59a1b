#include "core/rotation.h"

#include <assert.h>
#include <string.h>

#define HOUR_S 3600

/* The state machine: each phase, the phases that may follow it. A node resumes in the phase that
 * the record holds: there is nothing to remember besides. */
static const struct {
	const char *text;
	bool next[LS_PHASE_COUNT];
} phases[] = {
	[LS_PHASE_IDLE] = { "idle", { [LS_PHASE_VOTING] = true } },
	[LS_PHASE_VOTING] = { "voting", { [LS_PHASE_VERIFYING] = true, [LS_PHASE_IDLE] = true } },
	[LS_PHASE_VERIFYING] = { "verifying",
		{ [LS_PHASE_REVERTING] = true, [LS_PHASE_IDLE] = true } },
	[LS_PHASE_REVERTING] = { "reverting", { [LS_PHASE_IDLE] = true } },
};
static_assert(sizeof phases / sizeof phases[0] == LS_PHASE_COUNT, "a phase without a row");

static const char *const actions[] = {
	[LS_ACT_WAIT] = "wait",
	[LS_ACT_FETCH] = "fetch",
	[LS_ACT_PROBE] = "probe",
	[LS_ACT_STAGE] = "stage",
	[LS_ACT_VALIDATE] = "validate",
	[LS_ACT_VOTE_YES] = "vote yes",
	[LS_ACT_VOTE_NO] = "vote no",
	[LS_ACT_DECIDE] = "decide",
	[LS_ACT_ABORT] = "abort",
	[LS_ACT_ACTIVATE] = "activate",
	[LS_ACT_ADVANCE] = "advance",
	[LS_ACT_RELOAD] = "reload",
	[LS_ACT_CHECK] = "check",
	[LS_ACT_REPORT] = "report",
	[LS_ACT_REVERT] = "revert",
	[LS_ACT_CLOSE] = "close",
	[LS_ACT_TIDY] = "tidy",
};
static_assert(sizeof actions / sizeof actions[0] == LS_ACT_COUNT, "an action without a text");

const char *ls_phase_text(enum ls_phase phase)
{
	assert(phase < LS_PHASE_COUNT);
	return phases[phase].text;
}

bool ls_phase_parse(const char *text, enum ls_phase *out)
{
	for (int i = 0; i < LS_PHASE_COUNT; i++) {
		if (strcmp(phases[i].text, text) == 0) {
			*out = (enum ls_phase)i;
			return true;
		}
	}
	return false;
}

bool ls_phase_may_follow(enum ls_phase from, enum ls_phase to)
{
	assert(from < LS_PHASE_COUNT && to < LS_PHASE_COUNT);
	return phases[from].next[to];
}

const char *ls_action_text(enum ls_action action)
{
	assert(action < LS_ACT_COUNT);
	return actions[action];
}

static struct ls_rotation_step act(enum ls_action action)
{
	return (struct ls_rotation_step){ .action = action, .until_s = 0 };
}

static struct ls_rotation_step wait_until(int64_t until_s)
{
	return (struct ls_rotation_step){ .action = LS_ACT_WAIT, .until_s = until_s };
}

static bool may_move_record(const struct ls_rotation_facts *f)
{
	return f->initiator || f->now_s >= f->takeover_at_s;
}

/* Until time alone lets this node make the record's next move. `move` is ready, or will be then. */
static struct ls_rotation_step wait_to_move(
	const struct ls_rotation_facts *f, struct ls_rotation_step move)
{
	if (f->initiator || f->takeover_at_s <= move.until_s)
		return wait_until(move.until_s);
	return wait_until(f->takeover_at_s);
}

/* A yes promises that only a rename is left to do, so everything that can fail comes before it. */
static struct ls_rotation_step step_own_vote(const struct ls_rotation_facts *f)
{
	if (f->fetched == LS_NOT_YET)
		return act(LS_ACT_FETCH);
	if (f->fetched == LS_DONE_BADLY)
		return act(LS_ACT_VOTE_NO);
	if (f->probed == LS_NOT_YET)
		return act(LS_ACT_PROBE);
	if (f->staged == LS_NOT_YET)
		return act(LS_ACT_STAGE);
	if (f->staged == LS_DONE_BADLY)
		return act(LS_ACT_VOTE_NO);
	if (f->validated == LS_NOT_YET)
		return act(LS_ACT_VALIDATE);
	return act(f->validated == LS_DONE_WELL ? LS_ACT_VOTE_YES : LS_ACT_VOTE_NO);
}

/* What the record is ready for, whoever moves it. */
static struct ls_rotation_step move_of_vote(const struct ls_rotation_facts *f)
{
	if (f->no_votes > 0)
		return act(LS_ACT_ABORT);
	/* Also with all votes: what was begun counts until then, or it could be put back years
	 * later and be decided. */
	if (f->now_s >= f->vote_deadline_s)
		return act(LS_ACT_ABORT);
	if (f->yes_votes == f->participants)
		return act(LS_ACT_DECIDE);
	if (f->gone > 0)
		return act(LS_ACT_ABORT);
	return wait_until(f->vote_deadline_s);
}

static struct ls_rotation_step step_voting(const struct ls_rotation_facts *f)
{
	struct ls_rotation_step move = move_of_vote(f);

	if (move.action != LS_ACT_WAIT && may_move_record(f))
		return move;
	if (f->participant && f->my_vote == LS_NOT_YET && f->now_s < f->vote_deadline_s)
		return step_own_vote(f);
	return wait_to_move(f, move);
}

/* The way to the target on this node; WAIT when it is there. The files come before the ref:
 * services must not wait for git, and a full disk can only delay the ref. So do the reloads: a ref
 * that names the target then says, after a restart, that services have been told. */
static struct ls_rotation_step step_arrive(const struct ls_rotation_facts *f)
{
	bool there =
		f->live && f->advanced && f->reloaded != LS_NOT_YET && f->checked != LS_NOT_YET;

	if (there)
		return wait_until(INT64_MAX);
	/* Also after a restart: what changed must be known to reload it. After the decision there
	 * is no way but forward, so what was refused or failed is tried again. */
	if (f->fetched != LS_DONE_WELL)
		return act(LS_ACT_FETCH);
	if (!f->live)
		return act(f->staged == LS_DONE_WELL ? LS_ACT_ACTIVATE : LS_ACT_STAGE);
	if (f->reloaded == LS_NOT_YET)
		return act(LS_ACT_RELOAD);
	return act(f->advanced ? LS_ACT_CHECK : LS_ACT_ADVANCE);
}

static struct ls_rotation_step move_of_decided(const struct ls_rotation_facts *f)
{
	if (f->phase == LS_PHASE_VERIFYING && f->bad_reports > 0 && f->revert_allowed)
		return act(LS_ACT_REVERT);
	if (f->good_reports + f->bad_reports == f->participants || f->now_s >= f->verify_deadline_s)
		return act(LS_ACT_CLOSE);
	return wait_until(f->verify_deadline_s);
}

static struct ls_rotation_step step_decided(const struct ls_rotation_facts *f)
{
	struct ls_rotation_step own = step_arrive(f), move = move_of_decided(f);

	if (own.action != LS_ACT_WAIT)
		return own;
	if (f->participant && !f->my_report)
		return act(LS_ACT_REPORT);
	if (move.action != LS_ACT_WAIT && may_move_record(f))
		return move;
	return wait_to_move(f, move);
}

static struct ls_rotation_step step_idle(const struct ls_rotation_facts *f)
{
	struct ls_rotation_step own = step_arrive(f);

	if (own.action != LS_ACT_WAIT)
		return own;
	return f->debris ? act(LS_ACT_TIDY) : own;
}

struct ls_rotation_step ls_rotation_step(const struct ls_rotation_facts *facts)
{
	switch (facts->phase) {
	case LS_PHASE_IDLE:
		return step_idle(facts);
	case LS_PHASE_VOTING:
		return step_voting(facts);
	case LS_PHASE_VERIFYING:
	case LS_PHASE_REVERTING:
		return step_decided(facts);
	case LS_PHASE_COUNT:
		break;
	}
	assert(!"a phase that is none");
	return wait_until(INT64_MAX);
}

bool ls_rotation_may_revert(const struct ls_revert_case *c)
{
	return c->setting && !c->is_rollback && !c->changes_members_or_kek && c->has_earlier &&
	       c->earlier_not_after_s >= c->now_s + HOUR_S;
}
