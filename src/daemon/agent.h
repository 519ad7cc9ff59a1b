/* agent -- one opened node: identity, keys, history, store, live directory, templates; and the
 * driver that does what core/rotation says.
 *
 * An agent belongs to one thread. The writing one holds the node's lock (var/lib/lockstep/lock):
 * there is one at a time on a machine, the daemon's worker or `lockstep init`. Reading ones need no
 * lock and change nothing. Blocking.
 */
#ifndef LS_DAEMON_AGENT_H
#define LS_DAEMON_AGENT_H

#include <pthread.h>

#include "base/paths.h"
#include "daemon/config.h"
#include "history/history.h"
#include "intake/candidate.h"
#include "node/engine.h"
#include "node/identity.h"
#include "node/live.h"
#include "node/service.h"
#include "store/store.h"

/* A member that was not here when this node last looked. */
struct ls_away {
	char node[LS_NAME_MAX + 1];
	int64_t since_ms; /* monotonic; counted from when the store could be read */
	int64_t since_s;
};

/* What the main thread heals by. The worker changes the live link and the plan together, under the
 * mutex; healing holds it too, so it never works by an old plan. */
struct ls_live_guard {
	pthread_mutex_t mutex;
	struct ls_live_plan *plan; /* owned; NULL before the first */
	struct ls_away *away;      /* members that the writer saw to be away; owned */
	size_t away_count;
};

/* How far this node is on the way to one target; forgotten on restart, since every step can be
 * repeated. */
struct ls_progress {
	char commit[41]; /* the target */
	char before_commit[41];
	enum ls_done fetched, probed, staged, validated, reloaded, checked;
	struct ls_state state;  /* of the target */
	struct ls_state before; /* that it follows; valid if has_before */
	bool has_before;
	struct ls_live_plan *plan;
	char **changed; /* components whose files differ from before */
	char **baseline;
	char **warnings;
	char *reason; /* of a no vote, a bad report, or of being stuck */
};

#define LS_ENDED_KEPT 32

/* Of a node with a shared store (cluster.h). */
struct ls_peers {
	struct ls_state trusted; /* whose members are believed: of the latest generation that this
				    node knows to be decided, which it has in its history */
	struct ls_commit_id trusted_commit;
	int64_t trusted_generation;
	bool ahead; /* trusted is ahead of main */
	struct ls_away *away;
	size_t away_count;
	/* as the store was when it was read last */
	struct ls_tip tip;
	bool idle;                                /* no rotation ran */
	bool here;                                /* this node's presence was there */
	char ended[LS_ENDED_KEPT][LS_NONCE_SIZE]; /* rotations that were seen to end; a ring */
	size_t ended_at;
	char *announced; /* what this node's presence says */
	int64_t offered; /* the epoch for which this node's offer is known to be there */
	bool removed;    /* this node is no member any more */
	int64_t restored_from, restored_to; /* the engine was behind, and was put forward; to be
					       told and set to 0 by who tells it */
	struct ls_err unreachable; /* why the store could not be read; code LS_OK: it could */
};

struct ls_agent {
	struct ls_paths paths;
	struct ls_config config;
	struct ls_identity identity;
	struct ls_keyring keyring;
	struct ls_services services;
	char **faults; /* templates that could not be read when it was opened: then nothing that
			  needs them is done. NULL: none */
	struct ls_history *history;
	struct ls_engine engine; /* where the store is */
	struct ls_store *store;
	struct ls_peers peers;
	struct ls_live *live;
	int lock_fd;         /* -1: a reading agent */
	struct ls_state tip; /* the state of tip_commit */
	struct ls_commit_id tip_commit;
	struct ls_progress progress;
	struct ls_live_guard *guard; /* NULL where nothing heals */
	bool tidied;                 /* since the last rotation */
	int64_t tidy_again_at_s;     /* something was left because it is too young */
	bool own_fault; /* the latest attempt ended because of this machine (a full disk …), not
			   of the candidate */
	int64_t leaves_again_ms; /* monotonic: when leaves.h looks at them again */
	enum ls_code (*generate)(
		const struct ls_key_spec *spec, struct evp_pkey_st **out, struct ls_err *err);
	void (*on_progress)(void *arg, const char *phase, const char *step, int64_t generation);
	void *on_progress_arg;
	bool (*lives)(void *arg); /* asked in another thread whether this node may be counted on;
				     NULL: as long as the process lives */
	void *lives_arg;
};

/* Whether init has been run to its end here. */
bool ls_agent_initialised(const struct ls_paths *paths);
/* Why it is not: LS_E_NOT_FOUND with a hint, LS_E_DAMAGED when it was once, LS_E_IO on EACCES. */
enum ls_code ls_agent_not_initialised(const struct ls_paths *paths, struct ls_err *err);
/* Templates as far as they can be read; what of them cannot is in `faults`, and the components that
 * it may be about keep the modes and groups that their live files have. */
LS_CHECK enum ls_code ls_agent_load_services(struct ls_agent *agent, struct ls_err *err);
/* Whether main is a decided generation that follows the one that the record names: the record is
 * then an older one, such as from a backup. *out_head may be NULL. */
bool ls_agent_record_is_older(
	struct ls_history *history, const struct ls_tip *tip, struct ls_generation *out_head);
/* LS_E_NOT_FOUND with a hint: not initialised. LS_E_CONFLICT: another writer is at work. LS_E_IO on
 * EACCES names the path. The root and config of `paths` are copied. */
LS_CHECK enum ls_code ls_agent_open(const char *root, const char *config_path, bool writer,
	struct ls_agent **out, struct ls_err *err);
void ls_agent_free(struct ls_agent **agent);

/* Loads the state of the store's tip if it moved. */
LS_CHECK enum ls_code ls_agent_refresh(struct ls_agent *agent, struct ls_err *err);
/* Templates and configuration anew; on failure the old ones stay. On success there are no faults
 * any more. */
LS_CHECK enum ls_code ls_agent_reload_config(struct ls_agent *agent, struct ls_err *err);
/* The keys that this node can open: wraps of the store, opened with the identity. */
LS_CHECK enum ls_code ls_agent_load_keyring(struct ls_agent *agent, struct ls_err *err);
/* The cluster CA with its key; the caller gives it back soon. */
LS_CHECK enum ls_code ls_agent_ca(
	struct ls_agent *agent, struct ls_signer *out, struct ls_err *err);
void ls_agent_context(struct ls_agent *agent, struct ls_candidate_context *out);

/* Who asked for a change. */
struct ls_author {
	char *name;
	char *email;
};

/* Carries a candidate through a whole rotation. LS_OK: done (*out_generation; warnings into the
 * candidate's). LS_E_CONFLICT, LS_E_REFUSED (a vote was no: nothing changed), LS_E_ROLLED_BACK,
 * LS_E_FAILED (done, but degraded or stuck: the text says what), LS_E_UNKNOWN (it broke off and
 * could not be taken back: it is carried on later). A candidate that is `unchanged` is LS_OK with
 * the present generation. */
LS_CHECK enum ls_code ls_agent_change(struct ls_agent *agent, struct ls_candidate *candidate,
	const struct ls_author *author, int64_t *out_generation, struct ls_err *err);
/* LS_E_IO while there are faults, LS_E_DAMAGED while the record is an older one. Does all steps
 * that can be done now: finishes what a crash left, repairs ref and link, tidies. *out_wait_s: when
 * to look again (INT64_MAX: not by time). */
LS_CHECK enum ls_code ls_agent_reconcile(
	struct ls_agent *agent, int64_t *out_wait_s, struct ls_err *err);

/* The record, whoever moved it: what members of later generations wrote is judged by them, after
 * those generations were fetched and judged. */
LS_CHECK enum ls_code ls_agent_read(
	struct ls_agent *agent, struct ls_store_view *out, struct ls_err *err);
/* Opens the store that engine names in place of the one that is open. */
LS_CHECK enum ls_code ls_agent_open_store(struct ls_agent *agent, struct ls_err *err);

/* How the reason of an attempt begins that ended because a participant went away. */
#define LS_WENT_AWAY "a node went away before it voted: "
#define LS_NOT_IN_TIME "not all nodes voted in time: "

/* The parts of driver.c that steps.c does. */
void ls_progress_done(struct ls_progress *progress);
/* Ends a rotation that is not decided; what this node got ready for it is removed. */
LS_CHECK enum ls_code ls_agent_abort(struct ls_agent *agent, const struct ls_rotation *rotation,
	const char *why, struct ls_err *err);
/* Whether each sealed key that the target brings is the one of its certificate, so that no member
 * can have the others serve a pair that does not match. */
LS_CHECK enum ls_code ls_agent_judge_keys(struct ls_agent *agent, struct ls_err *err);
LS_CHECK enum ls_code ls_agent_do(struct ls_agent *agent, const struct ls_store_view *view,
	enum ls_action action, struct ls_err *err);

#endif
