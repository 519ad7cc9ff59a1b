/* rotation -- what a node does next on the way from one generation to the next (DESIGN 5 to 12).
 *
 * Pure: facts and time in, one action out. No I/O, clock, randomness or globals; the daemon and the
 * simulator run the same code. Level-triggered: an action may be done again at any time; after it
 * the caller gathers facts anew. Units: `_s` is seconds since the Unix epoch, UTC.
 *
 * The record moves in the store only, each move being one transaction there:
 *
 *   idle --begin--> voting --decide--> verifying --close--> idle
 *                     |                    `-----revert--> reverting --close--> idle
 *                     `-----abort--> idle
 *
 * `decide` is the commit point. There is no way back from `verifying` but forward to a new
 * generation with the earlier state.
 */
#ifndef LS_CORE_ROTATION_H
#define LS_CORE_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

enum ls_phase {
	LS_PHASE_IDLE,
	LS_PHASE_VOTING,
	LS_PHASE_VERIFYING,
	LS_PHASE_REVERTING,
	LS_PHASE_COUNT
};
const char *ls_phase_text(enum ls_phase phase);
bool ls_phase_parse(const char *text, enum ls_phase *out);
bool ls_phase_may_follow(enum ls_phase from, enum ls_phase to);

/* How far a thing is that is done once for each target. */
enum ls_done { LS_NOT_YET, LS_DONE_WELL, LS_DONE_BADLY };

/* What a node sees. "The target" is the generation that this node should be at or get ready for:
 * the candidate while voting, else the store's tip. */
struct ls_rotation_facts {
	int64_t now_s;
	enum ls_phase phase;

	/* from the record */
	bool participant;        /* the begin names this node */
	bool initiator;          /* this node began it */
	int64_t takeover_at_s;   /* from then on this node may count and move the record as well */
	int64_t vote_deadline_s; /* voting: not decided by then, it is aborted */
	int64_t verify_deadline_s; /* verifying, reverting: closed by then, naming who is missing */
	int participants;
	int yes_votes, no_votes;
	int gone; /* voting: participants whose lease ended before their vote */
	int good_reports,
		bad_reports;  /* bad: an endpoint that was fine before does not serve the target */
	enum ls_done my_vote; /* NOT_YET, WELL = yes, BADLY = no */
	bool my_report;       /* given for this target */
	bool revert_allowed;  /* a member may have the cluster go back from this generation */

	/* of this node: its disk and its services, for the target */
	enum ls_done fetched; /* objects here and judged; BADLY: refused */
	enum ls_done probed;  /* baseline taken; never BADLY */
	enum ls_done staged;  /* directory, ref and links written and synced */
	enum ls_done validated;
	bool live;             /* ..data names its directory */
	bool advanced;         /* main names it */
	enum ls_done reloaded; /* BADLY counts as done: the check afterwards decides */
	enum ls_done checked;
	bool debris; /* idle: remains of an attempt, or of the generation before last */
};

enum ls_action {
	LS_ACT_WAIT,     /* nothing to do until `until_s` or an event */
	LS_ACT_FETCH,    /* get the pack, judge signer, parent, policy */
	LS_ACT_PROBE,    /* the baseline */
	LS_ACT_STAGE,    /* write and sync everything */
	LS_ACT_VALIDATE, /* the template's own check, against the staged files */
	LS_ACT_VOTE_YES,
	LS_ACT_VOTE_NO,
	LS_ACT_DECIDE, /* the commit point */
	LS_ACT_ABORT,
	LS_ACT_ACTIVATE, /* the rename */
	LS_ACT_ADVANCE,  /* the ref */
	LS_ACT_RELOAD,
	LS_ACT_CHECK,
	LS_ACT_REPORT,
	LS_ACT_REVERT,
	LS_ACT_CLOSE,
	LS_ACT_TIDY,
	LS_ACT_COUNT
};
const char *ls_action_text(enum ls_action action);

struct ls_rotation_step {
	enum ls_action action;
	int64_t until_s; /* WAIT: when time alone changes the answer; INT64_MAX: never */
};

struct ls_rotation_step ls_rotation_step(const struct ls_rotation_facts *facts);

/* Whether a cluster may go back by itself from a generation (DESIGN 8): settings allow it, the
 * generation is neither itself a rollback nor a change of members or KEK, there is an earlier one,
 * and each earlier credential is valid for at least another hour (`earlier_not_after_s` is the
 * earliest end). */
struct ls_revert_case {
	bool setting;
	bool is_rollback;
	bool changes_members_or_kek;
	bool has_earlier;
	int64_t earlier_not_after_s;
	int64_t now_s;
};
bool ls_rotation_may_revert(const struct ls_revert_case *c);

#endif
