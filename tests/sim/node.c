/* A node: what the daemon keeps, and what its steps do to it. Facts and forgetting are those of
 * daemon/driver.c; that a step's effect is on disk when it ends is what daemon/steps.c promises. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define VOTE_S 20
#define VERIFY_S 30

static int node_index(const struct node *n)
{
	return (int)(n - w.nodes);
}

static unsigned node_bit(const struct node *n)
{
	return 1u << node_index(n);
}

static int64_t clock_of(const struct node *n)
{
	return w.now_s + n->clock_s;
}

static bool voting(void)
{
	return w.view.rotation && w.view.rotation->phase == LS_PHASE_VOTING;
}

static int target_commit(void)
{
	return commit_number(voting() ? w.view.rotation->commit : w.view.tip.commit);
}

static int64_t takeover_at(const struct node *n, const struct ls_rotation *r)
{
	if (mutant == M_NO_TAKEOVER)
		return INT64_MAX;
	if (r->phase == LS_PHASE_VOTING)
		return r->began_at_s + n->takeover_s;
	return r->verify_deadline_s - VERIFY_S + n->takeover_s;
}

static void gather_record(const struct node *n, struct ls_rotation_facts *f)
{
	const struct ls_rotation *r = w.view.rotation;
	const struct ls_ballot *mine;

	f->phase = r ? r->phase : LS_PHASE_IDLE;
	if (!r)
		return;
	f->participant = ls_strv_has(r->participants, n->name);
	f->initiator = strcmp(r->initiator, n->name) == 0;
	f->takeover_at_s = takeover_at(n, r);
	f->vote_deadline_s = r->vote_deadline_s;
	f->verify_deadline_s = r->verify_deadline_s;
	f->participants = (int)ls_strv_count(r->participants);
	for (size_t i = 0; i < r->ballot_count; i++)
		*(r->ballots[i].yes ? &f->yes_votes : &f->no_votes) += 1;
	for (size_t i = 0; i < r->report_count; i++)
		*(r->reports[i].good ? &f->good_reports : &f->bad_reports) += 1;
	mine = ls_rotation_ballot(r, n->name);
	if (mine)
		f->my_vote = mine->yes ? LS_DONE_WELL : LS_DONE_BADLY;
	f->my_report = ls_rotation_report(r, n->name) != NULL;
	f->revert_allowed = f->bad_reports > 0 && r->phase == LS_PHASE_VERIFYING &&
			    n->fetched == LS_DONE_WELL && n->target == commit_number(r->commit) &&
			    (w.commits[n->target].revertible || mutant == M_REVERT_ROLLBACK);
	if (mutant == M_DECIDE_EARLY && f->yes_votes > 0)
		f->yes_votes = f->participants;
}

static void forget(struct node *n)
{
	n->fetched = n->probed = n->staged = n->validated = LS_NOT_YET;
	n->reloaded = n->checked = LS_NOT_YET;
	n->in_order = n->tidied = false;
}

static void retarget(struct node *n, bool told)
{
	const struct ls_ballot *mine;
	int target = target_commit();

	if (n->target == target)
		return;
	if (mutant == M_PROGRESS_KEPT && n->target) {
		n->reloaded = n->checked = LS_NOT_YET;
		n->tidied = false;
	} else {
		forget(n);
	}
	n->target = target;
	mine = w.view.rotation ? ls_rotation_ballot(w.view.rotation, n->name) : NULL;
	n->in_order = mine && mine->baseline;
	if ((!w.view.rotation && told) || w.commits[target].generation == 1)
		n->reloaded = n->checked = LS_DONE_WELL;
}

static bool has_debris(const struct node *n)
{
	for (int i = 1; i < w.commit_count; i++)
		if (n->dirs[i] != DIR_ABSENT && i != n->live)
			return true;
	return false;
}

static void gather(struct node *n, struct ls_rotation_facts *f)
{
	bool live, advanced;

	*f = (struct ls_rotation_facts){ .now_s = clock_of(n) };
	live = n->live == (voting() ? target_commit() : commit_number(w.view.tip.dir_commit));
	advanced = n->main == target_commit();
	retarget(n, live && (advanced || mutant == M_RELOAD_FORGOTTEN));
	gather_record(n, f);
	f->live = live;
	f->advanced = advanced;
	f->fetched = n->fetched;
	f->probed = n->probed;
	f->staged = n->staged;
	f->validated = n->validated;
	f->reloaded = n->reloaded;
	f->checked = n->checked;
	f->debris = !n->tidied;
	if (mutant == M_ACTIVATE_UNSTAGED && !voting() && f->staged == LS_DONE_BADLY)
		f->staged = LS_DONE_WELL;
}

/* The core, or what a mutant makes of it. */
static struct ls_rotation_step ask(const struct node *n, const struct ls_rotation_facts *f)
{
	struct ls_rotation_step step = ls_rotation_step(f);
	bool voted = f->phase == LS_PHASE_VOTING && f->my_vote == LS_DONE_WELL;

	if (mutant == M_VOTE_UNSTAGED && step.action == LS_ACT_STAGE && f->phase == LS_PHASE_VOTING)
		step.action = LS_ACT_VOTE_YES;
	if (mutant == M_ACTIVATE_EARLY && voted && !f->live && f->staged == LS_DONE_WELL)
		step.action = LS_ACT_ACTIVATE;
	if (mutant == M_TIDY_EARLY && voted && step.action == LS_ACT_WAIT && has_debris(n))
		step.action = LS_ACT_TIDY;
	if (mutant == M_WAKE_LATE && step.action == LS_ACT_WAIT && step.until_s != INT64_MAX)
		step.until_s++;
	return step;
}

/* Time alone changes nothing before `until_s`, and something then. */
static void check_wait(const struct node *n, const struct ls_rotation_facts *facts, int64_t until_s)
{
	const int64_t times[] = { facts->takeover_at_s, facts->vote_deadline_s,
		facts->verify_deadline_s, until_s - 1 };
	struct ls_rotation_facts f = *facts;

	if (until_s <= facts->now_s)
		broken("a wait ends in the future");
	for (size_t i = 0; i < LS_COUNT(times); i++) {
		f.now_s = times[i];
		if (f.now_s > facts->now_s && f.now_s < until_s &&
			ls_rotation_step(&f).action != LS_ACT_WAIT)
			broken("%s waits longer than it must", n->name);
	}
	f.now_s = until_s;
	if (until_s != INT64_MAX && ls_rotation_step(&f).action == LS_ACT_WAIT)
		broken("%s waits for a time at which there is nothing to do", n->name);
}

static const char *result_of(const struct ls_rotation *r)
{
	size_t good = 0;

	for (size_t i = 0; i < r->report_count; i++)
		good += r->reports[i].good;
	if (r->phase == LS_PHASE_REVERTING)
		return "rolled back";
	return good == ls_strv_count(r->participants) ? "done" : "degraded";
}

static bool is_transaction(enum ls_action action)
{
	return action == LS_ACT_VOTE_YES || action == LS_ACT_VOTE_NO || action == LS_ACT_DECIDE ||
	       action == LS_ACT_ABORT || action == LS_ACT_REPORT || action == LS_ACT_REVERT ||
	       action == LS_ACT_CLOSE;
}

/* The transaction of an action, by what the record says now. */
static void prepare(struct node *n)
{
	const struct ls_rotation *r = w.view.rotation;
	struct op *op = &n->op;

	*op = (struct op){
		.node = node_index(n), .attempt = attempt_running(), .at_s = clock_of(n)
	};
	op->commit = n->target;
	op->in_order = n->in_order;
	op->deadline_s = clock_of(n) + VERIFY_S;
	switch (n->action) {
	case LS_ACT_VOTE_YES:
	case LS_ACT_VOTE_NO:
		op->kind = OP_VOTE;
		op->yes = n->action == LS_ACT_VOTE_YES;
		break;
	case LS_ACT_DECIDE:
		op->kind = OP_DECIDE;
		break;
	case LS_ACT_ABORT:
		op->kind = OP_ABORT;
		break;
	case LS_ACT_REPORT:
		op->kind = OP_REPORT;
		op->yes = n->checked != LS_DONE_BADLY;
		break;
	case LS_ACT_REVERT:
		op->kind = OP_REVERT;
		if (w.commit_count < COMMITS_MAX)
			op->commit = commit_new(commit_number(r->commit), r->generation + 1,
				commit_number(r->earlier.dir_commit));
		else
			n->action = LS_ACT_WAIT;
		break;
	case LS_ACT_CLOSE:
		op->kind = OP_CLOSE;
		op->commit = commit_number(r->commit);
		(void)snprintf(op->result, sizeof op->result, "%s", result_of(r));
		break;
	case LS_ACT_WAIT:
	case LS_ACT_FETCH:
	case LS_ACT_PROBE:
	case LS_ACT_STAGE:
	case LS_ACT_VALIDATE:
	case LS_ACT_ACTIVATE:
	case LS_ACT_ADVANCE:
	case LS_ACT_RELOAD:
	case LS_ACT_CHECK:
	case LS_ACT_TIDY:
	case LS_ACT_COUNT:
		break;
	}
}

static bool look(struct node *n)
{
	struct ls_rotation_facts facts;
	struct ls_rotation_step step;

	gather(n, &facts);
	step = ask(n, &facts);
	n->wait_s = 0;
	if (step.action == LS_ACT_WAIT) {
		check_wait(n, &facts, step.until_s);
		n->wait_s = step.until_s == INT64_MAX ? INT64_MAX : step.until_s - n->clock_s;
		return false;
	}
	n->action = step.action;
	n->phase = facts.phase;
	n->has_plan = true;
	prepare(n);
	trace("%s will %s (commit %d, %s)", n->name, ls_action_text(n->action), n->target,
		ls_phase_text(n->phase));
	return true;
}

static void do_fetch(struct node *n)
{
	if (chance(w.fail_percent) && !n->objects[n->target])
		return; /* not to be had just now */
	if (n->phase == LS_PHASE_VOTING && chance(w.fail_percent)) {
		n->fetched = LS_DONE_BADLY;
		return;
	}
	n->objects[n->target] = true;
	n->fetched = LS_DONE_WELL;
}

static void do_stage(struct node *n)
{
	int dir = w.commits[n->target].dir;

	n->staged = LS_DONE_BADLY;
	if (chance(w.fail_percent)) { /* a full disk; what cannot be removed again is left */
		if (n->dirs[dir] != DIR_WHOLE)
			n->dirs[dir] = below(4) ? DIR_ABSENT : DIR_PARTIAL;
		return;
	}
	n->unsynced[dir] = mutant == M_STAGE_UNSYNCED && n->dirs[dir] != DIR_WHOLE;
	n->dirs[dir] = DIR_WHOLE;
	n->staged = LS_DONE_WELL;
}

static void do_activate(struct node *n)
{
	int dir = w.commits[n->target].dir;

	if (n->dirs[dir] == DIR_ABSENT)
		return;
	n->live = dir;
	if (w.commits[n->target].generation < n->reached)
		broken("a node never goes back to a target of before: %s", n->name);
	n->reached = w.commits[n->target].generation;
}

static void do_reload(struct node *n)
{
	n->reloaded = LS_DONE_WELL;
	if (!(w.commits[n->live].refusing & node_bit(n)))
		n->served = n->live;
}

static void do_tidy(struct node *n)
{
	for (int i = 1; i < w.commit_count; i++)
		if (i != n->live)
			n->dirs[i] = DIR_ABSENT;
	n->tidied = true;
}

/* What a node did is noted before the store hears of it: the answer may be lost. */
static void do_send(struct node *n)
{
	struct attempt *a = &w.attempts[n->op.attempt];
	bool reverting = n->phase == LS_PHASE_REVERTING;

	if (n->op.kind == OP_VOTE) {
		*(n->op.yes ? &a->cast_yes : &a->cast_no) |= node_bit(n);
		if (n->op.yes && n->dirs[n->op.commit] != DIR_WHOLE)
			broken("a yes vote comes after staging: %s", n->name);
	}
	if (n->op.kind == OP_REPORT) {
		if (n->live != w.commits[n->op.commit].dir)
			broken("a report comes after activation: %s", n->name);
		a->told[reverting] |= node_bit(n);
		if (!reverting)
			*(n->op.yes ? &a->told_good : &a->told_bad) |= node_bit(n);
	}
	LS_IGNORE(shared_send(&n->op)); /* the next look shows what became of it */
}

static void act(struct node *n)
{
	switch (n->action) {
	case LS_ACT_FETCH:
		do_fetch(n);
		break;
	case LS_ACT_PROBE:
		n->probed = LS_DONE_WELL;
		n->in_order = n->served == n->live && below(8);
		break;
	case LS_ACT_STAGE:
		do_stage(n);
		break;
	case LS_ACT_VALIDATE:
		n->validated = chance(w.fail_percent) ? LS_DONE_BADLY : LS_DONE_WELL;
		break;
	case LS_ACT_ACTIVATE:
		do_activate(n);
		break;
	case LS_ACT_ADVANCE:
		n->main = n->target;
		break;
	case LS_ACT_RELOAD:
		do_reload(n);
		break;
	case LS_ACT_CHECK:
		n->checked = n->in_order && n->served != n->live ? LS_DONE_BADLY : LS_DONE_WELL;
		break;
	case LS_ACT_TIDY:
		do_tidy(n);
		break;
	case LS_ACT_VOTE_YES:
	case LS_ACT_VOTE_NO:
	case LS_ACT_DECIDE:
	case LS_ACT_ABORT:
	case LS_ACT_REPORT:
	case LS_ACT_REVERT:
	case LS_ACT_CLOSE:
		do_send(n);
		break;
	case LS_ACT_WAIT:
	case LS_ACT_COUNT:
		break;
	}
}

bool node_tick(struct node *n)
{
	if (!n->has_plan)
		return look(n);
	n->has_plan = false;
	act(n);
	return true;
}

void node_start(struct node *n)
{
	n->up = true;
	n->target = 0;
	n->has_plan = false;
	n->wait_s = 0;
	forget(n);
}

/* At any instruction: what the step at hand was writing may be there, in part, or not. */
void node_crash(struct node *n)
{
	int dir = w.commits[n->target].dir;
	bool done = below(2);

	if (n->has_plan && done &&
		(n->action == LS_ACT_ACTIVATE || n->action == LS_ACT_ADVANCE ||
			n->action == LS_ACT_RELOAD || n->action == LS_ACT_TIDY))
		act(n);
	else if (n->has_plan && n->action == LS_ACT_STAGE && n->dirs[dir] == DIR_ABSENT && done)
		n->dirs[dir] = DIR_PARTIAL;
	else if (n->has_plan && done && is_transaction(n->action))
		do_send(n);
	for (int i = 1; i < w.commit_count; i++) {
		if (n->unsynced[i])
			n->dirs[i] = DIR_PARTIAL;
		n->unsynced[i] = false;
	}
	n->up = n->has_plan = false;
	w.crash_count++;
	trace("%s crashes", n->name);
}

static unsigned pick_participants(void)
{
	unsigned all = (1u << w.node_count) - 1, some = all;

	for (int i = 0; i < w.node_count; i++)
		if (!w.nodes[i].up && below(3) == 0 &&
			__builtin_popcount(some) - 1 > w.node_count / 2)
			some &= ~(1u << i);
	return some;
}

bool node_begin(struct node *n)
{
	int tip = commit_number(w.view.tip.commit);
	struct op op = { .kind = OP_BEGIN, .node = node_index(n), .at_s = clock_of(n) };
	enum ls_code code;

	if (n->target != tip || n->live != commit_number(w.view.tip.dir_commit) ||
		w.commit_count + 2 >= COMMITS_MAX || w.attempt_count >= COMMITS_MAX)
		return false;
	/* What it was made from may have been superseded before it is begun. */
	if (below(6) == 0 && w.commits[tip].parent)
		tip = w.commits[tip].parent;
	op.commit = commit_new(tip, w.commits[tip].generation + 1, 0);
	op.attempt = w.attempt_count++;
	op.deadline_s = clock_of(n) + VOTE_S;
	w.attempts[op.attempt] =
		(struct attempt){ .commit = op.commit, .participants = pick_participants() };
	code = shared_send(&op);
	trace("%s begins attempt %d (commit %d): %s", n->name, op.attempt, op.commit,
		ls_code_text(code));
	if (code == LS_E_CONFLICT || code == LS_E_UNREACHABLE)
		w.commits[op.commit].impossible = true;
	return true;
}

void node_check(const struct node *n)
{
	if (!w.commits[n->live].decided)
		broken("what is live was decided: commit %d on %s", n->live, n->name);
	if (n->dirs[n->live] != DIR_WHOLE)
		broken("what is live is one whole generation: commit %d on %s", n->live, n->name);
	if (!w.commits[n->main].decided)
		broken("what main names was decided: commit %d on %s", n->main, n->name);
}
