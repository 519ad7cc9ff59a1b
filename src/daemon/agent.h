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
#include "node/identity.h"
#include "node/live.h"
#include "node/service.h"
#include "store/store.h"

/* What the main thread heals by. The worker changes the live link and the plan together, under the
 * mutex; healing holds it too, so it never works by an old plan. */
struct ls_live_guard {
	pthread_mutex_t mutex;
	struct ls_live_plan *plan; /* owned; NULL before the first */
};

/* How far this node is on the way to one target; forgotten on restart, since every step can be
 * repeated. */
struct ls_progress {
	char commit[41]; /* the target */
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

struct ls_agent {
	struct ls_paths paths;
	struct ls_config config;
	struct ls_identity identity;
	struct ls_keyring keyring;
	struct ls_services services;
	char **faults; /* templates that could not be read when it was opened: then nothing that
			  needs them is done. NULL: none */
	struct ls_history *history;
	struct ls_store *store;
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
/* The cluster CA's certificate and key, out of the state; loads the keyring. The caller releases
 * them as soon as it can. */
LS_CHECK enum ls_code ls_agent_open_ca(
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

/* The parts of driver.c that steps.c does. */
void ls_progress_done(struct ls_progress *progress);
/* Ends a rotation that is not decided; what this node got ready for it is removed. */
LS_CHECK enum ls_code ls_agent_abort(struct ls_agent *agent, const struct ls_rotation *rotation,
	const char *why, struct ls_err *err);
LS_CHECK enum ls_code ls_agent_do(struct ls_agent *agent, const struct ls_store_view *view,
	enum ls_action action, struct ls_err *err);

#endif
