/* store -- where nodes agree: one record of the tip and of the one rotation that may run, moved by
 * transactions.
 *
 * Written so that `local` (one machine) and an engine of a cluster keep the same promises. Each
 * call is one transaction with a compare on values (commit id, nonce): it either changes the record
 * as it says or leaves it as it was. LS_E_CONFLICT: the compare failed, somebody else was first,
 * nothing changed. LS_E_UNREACHABLE: nothing changed. LS_E_UNKNOWN: it may or may not have been
 * done. Everything that returned LS_OK lasts a power cut. Blocking; a handle belongs to one thread.
 * Times are UTC seconds.
 */
#ifndef LS_STORE_STORE_H
#define LS_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"
#include "core/rotation.h"

#define LS_NONCE_SIZE 33

/* A decided generation. `dir_*` name the generation whose directory is live: another one only after
 * an automatic rollback, which goes back to the directory that is still staged. */
struct ls_tip {
	char commit[41]; /* "" before generation 1 */
	int64_t generation;
	char dir_commit[41];
	int64_t dir_generation;
};

struct ls_ballot {
	char node[LS_NAME_MAX + 1];
	bool yes;
	char *reason;    /* of a no; else "" */
	char **baseline; /* "component endpoint=ok" or "…=why not", one for each endpoint */
};

struct ls_report {
	char node[LS_NAME_MAX + 1];
	char commit[41]; /* the target that it is about */
	bool good;
	char *reason;    /* of a bad one; else "" */
	char **warnings; /* reload failures, endpoints that were down before … */
};

struct ls_rotation {
	char nonce[LS_NONCE_SIZE];
	enum ls_phase phase;
	char commit[41];
	char parent[41];
	int64_t generation;
	char initiator[LS_NAME_MAX + 1];
	char **participants;
	int64_t began_at_s;
	int64_t vote_deadline_s;
	int64_t verify_deadline_s; /* set by decide and by revert */
	struct ls_tip earlier;     /* the tip when it began */
	char revert_commit[41];    /* reverting: generation + 1 */
	struct ls_ballot *ballots;
	size_t ballot_count;
	struct ls_report *reports; /* for the present phase */
	size_t report_count;
	char *why; /* reverting: what did not take the change */
};

/* How the latest rotation ended. */
struct ls_outcome {
	char nonce[LS_NONCE_SIZE];
	char commit[41]; /* that it was about */
	int64_t generation;
	char result[16]; /* "done", "degraded", "aborted", "rolled back" */
	char *why;
	char **warnings;
	int64_t ended_at_s;
};

struct ls_store_view {
	struct ls_tip tip;
	struct ls_rotation *rotation; /* NULL when idle */
	struct ls_outcome *last;      /* NULL before the first */
	char **alive; /* nodes whose presence note is there: a hint, for nobody signs a lease */
};
void ls_store_view_done(struct ls_store_view *view);
const struct ls_ballot *ls_rotation_ballot(const struct ls_rotation *rotation, const char *node);
const struct ls_report *ls_rotation_report(const struct ls_rotation *rotation, const char *node);

/* Notes: small entries of members beside the record, such as the certificate that a member offers
 * for the next epoch, tokens, presence. A note counts when its writer, a member, signed it together
 * with its name; others are as none. Only a store for several nodes has them. */
struct ls_note {
	char *name; /* "offer/3/n2" */
	char node[LS_NAME_MAX + 1];
	char *body;
};
struct ls_notes {
	struct ls_note *items; /* sorted by name */
	size_t count;
};
void ls_notes_done(struct ls_notes *notes);
enum ls_note_how {
	LS_NOTE_REPLACE,
	LS_NOTE_CREATE, /* LS_E_CONFLICT: it is there already */
	LS_NOTE_LEASED  /* goes when this handle's lease ends (ls_store_set_lease) */
};
#define LS_NOTE_ALIVE "alive/" /* and the node's name: presence, which the view lists */

/* What shows that a generation was decided, for a member that was not there (DESIGN 6): the begin
 * and all its yes votes, or, of a generation that goes back, the bad report and who acted on it. */
struct ls_proof {
	char commit[41];
	char parent[41];
	int64_t generation;
	bool revert;
	char **participants; /* each voted yes; of a revert: who did it */
	char *text;          /* as it is stored */
};
/* So many of the latest generations are kept with their packs, in the store and by each node. */
#define LS_PROOFS_KEPT 1000
void ls_proof_done(struct ls_proof *proof);

struct ls_store;
/* A backend. Each function has the promise of the ls_store_ call of its name. */
struct ls_store_ops {
	void (*free)(struct ls_store *store);
	enum ls_code (*read)(struct ls_store *store, struct ls_store_view *out, struct ls_err *err);
	enum ls_code (*publish)(struct ls_store *store, const char *commit, struct ls_bytes pack,
		struct ls_err *err);
	enum ls_code (*fetch)(struct ls_store *store, const char *commit, struct ls_buf *out_pack,
		struct ls_err *err);
	enum ls_code (*begin)(
		struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err);
	enum ls_code (*vote)(struct ls_store *store, const char *nonce,
		const struct ls_ballot *ballot, struct ls_err *err);
	enum ls_code (*decide)(struct ls_store *store, const char *nonce, int64_t verify_deadline_s,
		struct ls_err *err);
	enum ls_code (*abort)(struct ls_store *store, const char *nonce, const char *why,
		int64_t now_s, struct ls_err *err);
	enum ls_code (*report)(struct ls_store *store, const char *nonce,
		const struct ls_report *report, struct ls_err *err);
	enum ls_code (*revert)(struct ls_store *store, const char *nonce, const char *commit,
		const char *why, int64_t verify_deadline_s, struct ls_err *err);
	enum ls_code (*close)(struct ls_store *store, const char *nonce,
		const struct ls_outcome *outcome, struct ls_err *err);
	enum ls_code (*put_wrap)(struct ls_store *store, int64_t epoch, const char *node,
		struct ls_bytes wrap_pem, struct ls_err *err);
	enum ls_code (*get_wrap)(struct ls_store *store, int64_t epoch, const char *node,
		struct ls_buf *out_pem, struct ls_err *err);
	enum ls_code (*drop_wraps)(struct ls_store *store, int64_t epoch, struct ls_err *err);
	/* NULL: nothing is ever left */
	enum ls_code (*tidy)(struct ls_store *store, struct ls_err *err);
	int (*watch_fd)(struct ls_store *store);
	int64_t (*watch_silent_ms)(const struct ls_store *store); /* NULL: there is no watch */
	/* For several nodes; NULL where there is one. */
	enum ls_code (*put_note)(struct ls_store *store, const char *name, const char *body,
		enum ls_note_how how, struct ls_err *err);
	enum ls_code (*get_notes)(struct ls_store *store, const char *prefix, struct ls_notes *out,
		struct ls_err *err);
	enum ls_code (*drop_notes)(struct ls_store *store, const char *prefix, struct ls_err *err);
	void (*set_lease)(
		struct ls_store *store, int64_t ttl_s, bool (*alive)(void *arg), void *arg);
	enum ls_code (*proof)(struct ls_store *store, int64_t generation, struct ls_proof *out,
		struct ls_err *err);
	enum ls_code (*put_proof)(
		struct ls_store *store, int64_t generation, const char *text, struct ls_err *err);
	enum ls_code (*restore)(
		struct ls_store *store, const struct ls_tip *tip, struct ls_err *err);
};
struct ls_store {
	const struct ls_store_ops *ops;
};

void ls_store_free(struct ls_store **store);
/* The record as it is now. Before generation 1 everything is empty. LS_E_DAMAGED: it is not what
 * was written. */
LS_CHECK enum ls_code ls_store_read(
	struct ls_store *store, struct ls_store_view *out, struct ls_err *err);
/* Makes a generation's pack readable by all nodes. It is forgotten when its attempt is aborted; a
 * decided one is kept where several nodes need it, for those that were away. LS_E_REFUSED: it is
 * larger than the store can hold. */
LS_CHECK enum ls_code ls_store_publish(
	struct ls_store *store, const char *commit, struct ls_bytes pack, struct ls_err *err);
/* LS_E_NOT_FOUND: it was never published, or is forgotten. */
LS_CHECK enum ls_code ls_store_fetch(
	struct ls_store *store, const char *commit, struct ls_buf *out_pack, struct ls_err *err);
/* Begins: only when none runs and the tip is rotation->parent. Taken from *rotation: nonce, commit,
 * parent, generation (the tip's + 1), initiator, participants, began_at_s, vote_deadline_s. */
LS_CHECK enum ls_code ls_store_begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err);
/* While voting; created once: a node's second vote is LS_E_CONFLICT unless it says the same. */
LS_CHECK enum ls_code ls_store_vote(struct ls_store *store, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err);
/* The commit point: voting -> verifying and the tip moves, only when each participant's yes is
 * there (else LS_E_REFUSED). */
LS_CHECK enum ls_code ls_store_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err);
LS_CHECK enum ls_code ls_store_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err);
/* While verifying or reverting, and about the tip (else it was made before the cluster went back: a
 * conflict). A node's later report about it replaces its earlier one. */
LS_CHECK enum ls_code ls_store_report(struct ls_store *store, const char *nonce,
	const struct ls_report *report, struct ls_err *err);
/* verifying -> reverting: the tip becomes `commit`, generation + 1, with the directory of the
 * earlier tip; reports start anew. */
LS_CHECK enum ls_code ls_store_revert(struct ls_store *store, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err);
/* verifying or reverting -> idle; from reverting with the result "rolled back", from verifying with
 * another one (else the outcome is about an earlier phase: a conflict). */
LS_CHECK enum ls_code ls_store_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err);
/* The KEK of an epoch wrapped to a node (pki/seal.h). */
LS_CHECK enum ls_code ls_store_put_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_bytes wrap_pem, struct ls_err *err);
LS_CHECK enum ls_code ls_store_get_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_buf *out_pem, struct ls_err *err);
LS_CHECK enum ls_code ls_store_drop_wraps(
	struct ls_store *store, int64_t epoch, struct ls_err *err);
/* While none runs: removes what attempts left that were never begun. */
LS_CHECK enum ls_code ls_store_tidy(struct ls_store *store, struct ls_err *err);
/* A descriptor that is readable when the record may have changed; -1: the store cannot tell, look
 * by timer. */
int ls_store_watch_fd(struct ls_store *store);
/* For how long the descriptor could not have told of anything, 0 where there is none. */
int64_t ls_store_watch_silent_ms(const struct ls_store *store);

/* Whether several nodes agree here; what follows is for such stores, others say LS_E_REFUSED. */
bool ls_store_shared(const struct ls_store *store);
LS_CHECK enum ls_code ls_store_put_note(struct ls_store *store, const char *name, const char *body,
	enum ls_note_how how, struct ls_err *err);
/* Those whose names begin with `prefix`. */
LS_CHECK enum ls_code ls_store_get_notes(
	struct ls_store *store, const char *prefix, struct ls_notes *out, struct ls_err *err);
LS_CHECK enum ls_code ls_store_drop_notes(
	struct ls_store *store, const char *prefix, struct ls_err *err);
/* The lease of notes: for how long they stay after the last sign of life, and what is asked (in
 * another thread) before each. */
void ls_store_set_lease(struct ls_store *store, int64_t ttl_s, bool (*alive)(void *arg), void *arg);
/* Judged with the trust of this moment, which must be that of the generation before.
 * LS_E_NOT_FOUND: there is none. LS_E_DAMAGED: it shows nothing. */
LS_CHECK enum ls_code ls_store_proof(
	struct ls_store *store, int64_t generation, struct ls_proof *out, struct ls_err *err);
LS_CHECK enum ls_code ls_store_put_proof(
	struct ls_store *store, int64_t generation, const char *text, struct ls_err *err);
/* For an engine that lost what was decided (DESIGN 13), and for one that is new: an idle record
 * with this tip in place of the one that is there. LS_E_CONFLICT: that one is not behind it, or
 * moved. */
LS_CHECK enum ls_code ls_store_restore(
	struct ls_store *store, const struct ls_tip *tip, struct ls_err *err);

/* How a store whose engine others can write to tells what a member wrote (DESIGN 6): whoever can
 * write there can stop us, never deceive us. `content` names the entry's full key. */
struct ls_store_trust {
	/* LS_E_REFUSED when this process may not sign for `node`. */
	enum ls_code (*sign)(void *arg, const char *node, struct ls_bytes content,
		struct ls_buf *out_signature, struct ls_err *err);
	/* LS_E_REFUSED: `node` is no member, or did not sign this. */
	enum ls_code (*verify)(void *arg, const char *node, struct ls_bytes content,
		struct ls_bytes signature, struct ls_err *err);
	void *arg;
};

/* The local store (DESIGN 5): `path`/record.json with a digest of itself, replaced whole with fsync
 * under a flock on `path`/lock; `path`/<commit>.pack; `path`/kek/<epoch>-<node>.cms. The directory
 * is made 0700. */
LS_CHECK enum ls_code ls_store_local_open(
	const char *path, struct ls_store **out, struct ls_err *err);
/* For a local store whose record is lost, damaged or older than the history: an idle one with this
 * tip. The one that is there is kept as record.json.<time>. Under the daemon's lock; what `tip`
 * names must have been judged. */
LS_CHECK enum ls_code ls_store_local_rebuild(
	const char *path, const struct ls_tip *tip, struct ls_err *err);

struct ls_etcd_settings;
/* A store in etcd, under /lockstep/<cluster_id>/; `node` signs what this handle moves. What is
 * there but bears no member's signature is LS_E_DAMAGED (the record) or not counted (votes,
 * reports). Nothing is asked yet. From the first call of ls_store_watch_fd, or the first leased
 * note, the handle follows changes in a thread of its own. The settings and `trust` are copied; its
 * arg must outlive the handle. */
void ls_store_etcd_open(const struct ls_etcd_settings *settings, const char *cluster_id,
	const char *node, const struct ls_store_trust *trust, struct ls_store **out);

#endif
