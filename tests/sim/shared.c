/* The store: applies transactions by store/record, sometimes late, sometimes without an answer, and
 * judges each move. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

int commit_number(const char *hex)
{
	return (int)strtol(hex, NULL, 16);
}

void commit_text(int commit, char out[41])
{
	(void)snprintf(out, 41, "%040x", (unsigned)commit);
}

static void nonce_text(int attempt, char out[LS_NONCE_SIZE])
{
	(void)snprintf(out, LS_NONCE_SIZE, "%032x", (unsigned)attempt);
}

int attempt_running(void)
{
	return w.view.rotation ? commit_number(w.view.rotation->nonce) : -1;
}

int commit_new(int parent, int64_t generation, int dir)
{
	int number = w.commit_count++;

	w.commits[number] = (struct commit){
		.parent = parent,
		.dir = dir ? dir : number,
		.generation = generation,
		.revertible = !dir && below(5) != 0,
		.refusing = dir || below(3) ? 0 : (unsigned)below(1u << w.node_count),
	};
	return number;
}

static enum ls_code apply_begin(const struct op *op, struct ls_err *err)
{
	const struct attempt *a = &w.attempts[op->attempt];
	struct ls_rotation rotation = {
		.began_at_s = op->at_s,
		.vote_deadline_s = op->deadline_s,
		.generation = w.commits[op->commit].generation,
	};
	char *participants[NODES_MAX + 1] = { 0 };
	int count = 0;

	for (int i = 0; i < w.node_count; i++)
		if (a->participants & 1u << i)
			participants[count++] = w.nodes[i].name;
	rotation.participants = participants;
	nonce_text(op->attempt, rotation.nonce);
	commit_text(op->commit, rotation.commit);
	commit_text(w.commits[op->commit].parent, rotation.parent);
	(void)snprintf(rotation.initiator, sizeof rotation.initiator, "%s", w.nodes[op->node].name);
	if (mutant == M_BEGIN_NO_COMPARE) {
		memcpy(rotation.parent, w.view.tip.commit, sizeof rotation.parent);
		rotation.generation = w.view.tip.generation + 1;
	}
	return ls_record_begin(&w.view, &rotation, err);
}

static enum ls_code apply_vote(const struct op *op, const char *nonce, struct ls_err *err)
{
	char in_order[] = "ok";
	char *baseline[] = { in_order, NULL }, no_text[] = "";
	struct ls_ballot ballot = { .yes = op->yes, .reason = no_text };
	struct ls_rotation *r = w.view.rotation;

	if (op->in_order)
		ballot.baseline = baseline;
	(void)snprintf(ballot.node, sizeof ballot.node, "%s", w.nodes[op->node].name);
	if (mutant == M_VOTE_NO_NONCE && r)
		nonce = r->nonce;
	if (mutant == M_VOTE_CHANGED && r && strcmp(r->nonce, nonce) == 0)
		for (size_t i = 0; i < r->ballot_count; i++)
			if (strcmp(r->ballots[i].node, ballot.node) == 0)
				r->ballots[i].yes = op->yes;
	return ls_record_vote(&w.view, nonce, &ballot, err);
}

static enum ls_code apply_decide(const struct op *op, const char *nonce, struct ls_err *err)
{
	struct ls_rotation *r = w.view.rotation;

	if (mutant == M_DECIDE_AGAIN && r && strcmp(r->nonce, nonce) == 0)
		r->phase = LS_PHASE_VOTING;
	if (mutant == M_DECIDE_EARLY && r && strcmp(r->nonce, nonce) == 0 &&
		r->phase == LS_PHASE_VOTING)
		for (size_t i = ls_strv_count(r->participants); i > 0; i--)
			if (!ls_rotation_ballot(r, r->participants[i - 1])) {
				free(r->participants[i - 1]);
				memmove(&r->participants[i - 1], &r->participants[i],
					(ls_strv_count(&r->participants[i]) + 1) *
						sizeof *r->participants);
			}
	return ls_record_decide(&w.view, nonce, op->deadline_s, err);
}

static enum ls_code apply_report(const struct op *op, const char *nonce, struct ls_err *err)
{
	struct ls_report report = { .good = op->yes };

	(void)snprintf(report.node, sizeof report.node, "%s", w.nodes[op->node].name);
	commit_text(op->commit, report.commit);
	if (mutant == M_REPORT_LATE && w.view.rotation) {
		nonce = w.view.rotation->nonce;
		memcpy(report.commit, w.view.tip.commit, sizeof report.commit);
	}
	return ls_record_report(&w.view, nonce, &report, err);
}

static enum ls_code apply_close(const struct op *op, const char *nonce, struct ls_err *err)
{
	struct ls_outcome outcome = { .generation = w.commits[op->commit].generation };
	struct ls_rotation *r = w.view.rotation;

	memcpy(outcome.nonce, nonce, sizeof outcome.nonce);
	memcpy(outcome.result, op->result, sizeof outcome.result);
	if (mutant == M_CLOSE_LATE && r && strcmp(r->nonce, nonce) == 0 &&
		r->phase == LS_PHASE_REVERTING && strcmp(op->result, "rolled back") != 0)
		r->phase = LS_PHASE_VERIFYING;
	return ls_record_close(&w.view, nonce, &outcome, err);
}

static enum ls_code apply_op(const struct op *op, struct ls_err *err)
{
	struct ls_rotation *r = w.view.rotation;
	char nonce[LS_NONCE_SIZE], commit[41];

	nonce_text(op->attempt, nonce);
	commit_text(op->commit, commit);
	switch (op->kind) {
	case OP_BEGIN:
		return apply_begin(op, err);
	case OP_VOTE:
		return apply_vote(op, nonce, err);
	case OP_DECIDE:
		return apply_decide(op, nonce, err);
	case OP_ABORT:
		if (mutant == M_ABORT_DECIDED && r && strcmp(r->nonce, nonce) == 0)
			r->phase = LS_PHASE_VOTING;
		return ls_record_abort(&w.view, nonce, "sim", op->at_s, err);
	case OP_REPORT:
		return apply_report(op, nonce, err);
	case OP_REVERT:
		if (mutant == M_REVERT_LATE && r)
			memcpy(nonce, r->nonce, sizeof nonce);
		return ls_record_revert(&w.view, nonce, commit, "sim", op->deadline_s, err);
	case OP_CLOSE:
		return apply_close(op, nonce, err);
	}
	abort();
}

/* The commit point, judged by what the nodes did and not by what the record says they did. */
static void judge_decision(struct attempt *a, int commit)
{
	const struct ls_rotation *r = w.view.rotation;

	if (a->decided)
		broken("a rotation is decided once");
	a->decided = true;
	w.decided_count++;
	if (commit_number(r->commit) != commit || w.commits[commit].dir != commit ||
		commit_number(w.view.tip.dir_commit) != commit)
		broken("what is decided is the commit that was voted on");
	for (int i = 0; i < w.node_count; i++)
		if (a->participants & 1u << i && !(a->cast_yes & 1u << i))
			broken("decided only with the yes of every participant: not of %s",
				w.nodes[i].name);
}

static void judge_revert(struct attempt *a, int commit, enum ls_phase was_phase, int was_tip)
{
	const struct ls_rotation *r = w.view.rotation;

	if (was_phase != LS_PHASE_VERIFYING || a->reverted)
		broken("a rollback follows verifying, once");
	a->reverted = true;
	w.reverted_count++;
	if (was_tip != a->commit || commit_number(r->commit) != a->commit)
		broken("a rollback never passes a newer generation");
	if (!w.commits[a->commit].revertible)
		broken("a rollback, or a change of members, is never rolled back by itself");
	if (!a->told_bad)
		broken("a rollback needs an endpoint that does not take the change");
	if (w.commits[commit].dir != commit_number(r->earlier.dir_commit) ||
		commit_number(w.view.tip.dir_commit) != w.commits[commit].dir)
		broken("a rollback uses the directory that was live before");
}

static void judge_tip(const struct ls_tip *was, enum ls_phase was_phase)
{
	const struct ls_tip *tip = &w.view.tip;
	int commit = commit_number(tip->commit), was_commit = commit_number(was->commit);
	struct commit *c = &w.commits[commit];
	int attempt = attempt_running();

	if (attempt < 0)
		broken("the tip moves within a rotation");
	if (tip->generation != was->generation + 1 || c->generation != tip->generation)
		broken("the tip moves by one generation: from %d to %d", (int)was->generation,
			(int)tip->generation);
	if (c->parent != was_commit)
		broken("a generation follows the one that it was made from");
	if (w.by_generation[tip->generation])
		broken("a generation is decided once");
	if (c->aborted || c->impossible)
		broken("what was aborted or refused is never decided");
	w.by_generation[tip->generation] = commit;
	c->decided = true;
	if (w.view.rotation->phase == LS_PHASE_VERIFYING)
		judge_decision(&w.attempts[attempt], commit);
	else
		judge_revert(&w.attempts[attempt], commit, was_phase, was_commit);
}

static void judge_end(int attempt, enum ls_phase was_phase)
{
	struct attempt *a = &w.attempts[attempt];
	const char *result = w.view.last ? w.view.last->result : "";
	bool rolled_back = strcmp(result, "rolled back") == 0;

	w.ballots_yes = w.ballots_no = 0;
	if (was_phase == LS_PHASE_VOTING) {
		if (a->decided)
			broken("what is decided is not aborted");
		w.commits[a->commit].aborted = true;
		w.aborted_count++;
		return;
	}
	if (a->reverted != rolled_back || (was_phase == LS_PHASE_REVERTING) != rolled_back)
		broken("the outcome says what happened: '%s' when %s", result,
			a->reverted ? "it went back" : "it did not go back");
	if (strcmp(result, "done") == 0 && (a->participants & ~a->told_good))
		broken("'done' only when all participants said so");
}

static void judge_move(const struct ls_tip *was, enum ls_phase was_phase, int was_attempt)
{
	int attempt = attempt_running();

	if (was_attempt >= 0 && attempt >= 0 && attempt != was_attempt)
		broken("a rotation ends before another begins");
	if (was_attempt < 0 && attempt >= 0)
		w.ballots_yes = w.ballots_no = 0;
	if (memcmp(was, &w.view.tip, sizeof *was) != 0)
		judge_tip(was, was_phase);
	if (was_attempt >= 0 && attempt < 0)
		judge_end(was_attempt, was_phase);
}

static enum ls_code transact(const struct op *op)
{
	static const char *const names[] = { "begin", "vote", "decide", "abort", "report", "revert",
		"close" };
	struct ls_tip was = w.view.tip;
	enum ls_phase was_phase = w.view.rotation ? w.view.rotation->phase : LS_PHASE_IDLE;
	const char *node = w.nodes[op->node].name;
	bool others = w.view.rotation && strcmp(w.view.rotation->initiator, node) != 0;
	int was_attempt = attempt_running();
	struct ls_err err = { 0 };
	enum ls_code code = apply_op(op, &err);

	trace("  store: %s of %s (attempt %d, commit %d, %d): %s %s", names[op->kind], node,
		op->attempt, op->commit, op->yes, ls_code_text(code),
		code == LS_OK ? "" : err.text);
	judge_move(&was, was_phase, was_attempt);
	if (code == LS_OK && others && op->kind != OP_VOTE && op->kind != OP_REPORT)
		w.taken_over_count++;
	return code;
}

enum ls_code shared_send(const struct op *op)
{
	enum ls_code code;

	if (chance(w.fail_percent))
		return LS_E_UNREACHABLE;
	if (chance(w.late_percent) && w.late_count < (int)LS_COUNT(w.late)) {
		w.late[w.late_count++] = *op;
		return LS_E_UNKNOWN;
	}
	code = transact(op);
	return chance(w.late_percent) ? LS_E_UNKNOWN : code;
}

void shared_deliver_late(void)
{
	int which;
	struct op op;

	if (w.late_count == 0)
		return;
	which = (int)below((uint64_t)w.late_count);
	op = w.late[which];
	w.late[which] = w.late[--w.late_count];
	(void)transact(&op); /* nobody waits for the answer any more */
}

static void check_ballots(const struct ls_rotation *r, const struct attempt *a)
{
	unsigned yes = 0, no = 0;

	for (size_t i = 0; i < r->ballot_count; i++)
		*(r->ballots[i].yes ? &yes : &no) |= 1u << (r->ballots[i].node[1] - '1');
	if ((w.ballots_yes & ~yes) || (w.ballots_no & ~no))
		broken("a vote is never taken back");
	w.ballots_yes = yes;
	w.ballots_no = no;
	if ((yes & ~a->cast_yes) || (no & ~a->cast_no))
		broken("a vote counts for the rotation that it was cast for");
	if (r->phase == LS_PHASE_REVERTING) /* back to a directory that is live or staged anyway */
		return;
	for (int i = 0; i < w.node_count; i++)
		if (yes & 1u << i &&
			(w.nodes[i].dirs[a->commit] != DIR_WHOLE || !w.nodes[i].objects[a->commit]))
			broken("a yes vote's directory and objects are there: %s, commit %d",
				w.nodes[i].name, a->commit);
}

/* What holds of the record at any time. */
void shared_check(void)
{
	const struct ls_rotation *r = w.view.rotation;
	const struct attempt *a;

	if (!r)
		return;
	a = &w.attempts[attempt_running()];
	check_ballots(r, a);
	for (size_t i = 0; i < r->report_count; i++)
		if (!(a->told[r->phase == LS_PHASE_REVERTING] &
			    1u << (r->reports[i].node[1] - '1')))
			broken("a report counts for the target that it was made for: %s",
				r->reports[i].node);
}
