/* sim -- a cluster in one process: the pure core and the record's moves under lost answers, late
 * writes, crashes, clocks that jump, and initiators that race.
 *
 * One thread, virtual time, one random sequence: a run is replayed by its seed. `shared.c` is the
 * store and judges every move of the record; `node.c` is what a daemon keeps on disk and in memory,
 * and mirrors daemon/driver.c; `sim.c` chooses what happens next. A commit is a number here, 1 is
 * generation 1; its text is the number in hex.
 */
#ifndef LS_TESTS_SIM_SIM_H
#define LS_TESTS_SIM_SIM_H

#include "store/record.h"

#define NODES_MAX 7
#define COMMITS_MAX 256

/* A protocol with one thing wrong; the simulator has to find each (sim --mutants). */
#define MUTANTS(X)                                                                                 \
	X(NONE, "none")                                                                            \
	X(STAGE_UNSYNCED, "a yes vote whose directory is not durable")                             \
	X(VOTE_UNSTAGED, "a yes vote before the directory is written")                             \
	X(PROGRESS_KEPT, "what was done for one commit counts for the next")                       \
	X(DECIDE_EARLY, "decided without all votes")                                               \
	X(DECIDE_AGAIN, "a late decide is obeyed in a later phase")                                \
	X(BEGIN_NO_COMPARE, "begin does not compare the tip")                                      \
	X(VOTE_NO_NONCE, "a vote for an earlier rotation counts")                                  \
	X(VOTE_CHANGED, "a second vote replaces the first")                                        \
	X(REPORT_LATE, "a report for an earlier target counts")                                    \
	X(CLOSE_LATE, "a late close is obeyed while reverting")                                    \
	X(ABORT_DECIDED, "a late abort is obeyed after the decision")                              \
	X(REVERT_LATE, "a late revert is obeyed by another rotation")                              \
	X(REVERT_ROLLBACK, "a rollback is rolled back")                                            \
	X(ACTIVATE_EARLY, "activated after the own vote")                                          \
	X(ACTIVATE_UNSTAGED, "a directory that could not be written is activated")                 \
	X(TIDY_EARLY, "a staged directory is tidied away before the decision")                     \
	X(RELOAD_FORGOTTEN, "after a restart services are taken to know what is live")             \
	X(NO_TAKEOVER, "nobody takes over from a dead initiator")                                  \
	X(WAKE_LATE, "a wait that ends after the time at which there is something to do")

enum mutant {
#define MUTANT_ENUM(name, text) M_##name,
	MUTANTS(MUTANT_ENUM)
#undef MUTANT_ENUM
		M_COUNT
};
extern enum mutant mutant;

/* A generation, decided or not. `dir` is the commit whose directory it uses: another one for an
 * automatic rollback. */
struct commit {
	int parent;
	int dir;
	int64_t generation;
	bool revertible;
	unsigned refusing; /* nodes whose services do not take it */
	bool decided, aborted, impossible;
};

/* One begin. Masks of nodes: what they really did, whatever the record says. */
struct attempt {
	int commit;
	unsigned participants;
	unsigned cast_yes, cast_no;
	unsigned told[2];             /* reports sent: when verifying, when reverting */
	unsigned told_good, told_bad; /* … when verifying */
	bool decided, reverted;
};

enum op_kind { OP_BEGIN, OP_VOTE, OP_DECIDE, OP_ABORT, OP_REPORT, OP_REVERT, OP_CLOSE };

/* A transaction on its way to the store. */
struct op {
	enum op_kind kind;
	int node;
	int attempt;
	int commit;    /* begin, report (its target), revert */
	bool yes;      /* vote; report: good */
	bool in_order; /* vote: the baseline */
	int64_t at_s, deadline_s;
	char result[16];
};

enum dir_state { DIR_ABSENT, DIR_PARTIAL, DIR_WHOLE };

struct node {
	char name[LS_NAME_MAX + 1];
	bool up;
	int64_t clock_s; /* ahead of the true time */
	int64_t takeover_s;
	/* on disk */
	bool objects[COMMITS_MAX];
	enum dir_state dirs[COMMITS_MAX];
	bool unsynced[COMMITS_MAX];
	int live, main;
	/* the services: they outlive the daemon */
	int served;
	/* in memory */
	int target;
	enum ls_done fetched, probed, staged, validated, reloaded, checked;
	bool in_order, tidied;
	int64_t reached; /* generation of the last target that was activated */
	bool has_plan;
	enum ls_action action;
	enum ls_phase phase;
	struct op op;
	int64_t wait_s; /* true time at which to look again */
};

struct world {
	uint64_t random;
	int64_t now_s;
	bool faults;
	/* what kind of world it is */
	int fail_percent, late_percent, crash_weight, jump_weight;
	int node_count;
	struct node nodes[NODES_MAX];
	struct commit commits[COMMITS_MAX];
	int commit_count;
	struct attempt attempts[COMMITS_MAX];
	int attempt_count;
	int by_generation[COMMITS_MAX];
	struct ls_store_view view;
	unsigned ballots_yes, ballots_no; /* of the running rotation, as first seen */
	struct op late[32];
	int late_count;
	int64_t steps;
	int64_t decided_count, reverted_count, aborted_count, crash_count, taken_over_count;
	bool trace;
};
extern struct world w;

/* Ends the run: `fmt` is the promise that was broken. */
_Noreturn void broken(const char *fmt, ...) LS_PRINTF(1, 2);
void trace(const char *fmt, ...) LS_PRINTF(1, 2);
uint64_t below(uint64_t limit);
bool chance(int percent); /* of a fault: never when there are none */

/* shared.c */
int commit_number(const char *hex); /* 0 for "" */
void commit_text(int commit, char out[41]);
int attempt_running(void); /* -1: idle */
int commit_new(int parent, int64_t generation, int dir);
enum ls_code shared_send(const struct op *op);
void shared_deliver_late(void);
void shared_check(void);

/* node.c */
void node_start(struct node *n);
void node_crash(struct node *n);
/* One look or one action. False: there is nothing to do before wait_s. */
bool node_tick(struct node *n);
bool node_begin(struct node *n);
void node_check(const struct node *n);

#endif
