/* history -- the generations as signed commits in a bare git repository.
 *
 * One handle belongs to one thread; several handles on one repository are fine. Everything written
 * is synced before the call returns. A generation travels and is stored as one pack: `compose`
 * builds it in memory without touching the disk, `accept` indexes it into objects/pack. The current
 * generation is refs/heads/main; `stage` writes the next one to refs/lockstep/next and `advance`
 * renames that file over main, so that after the decision no space is needed. There is one writer,
 * under the daemon's lock.
 *
 * A commit's message: a subject line, a blank line, then trailers: Lockstep-Generation, -Cause,
 * -Components (comma and blank), -Old / -New ("name=sha256", one line each component),
 * -Participants, -Away, -Restores (a commit id). The committer is the node
 * ("n1 <n1@prod>"), the author the operator ("alice <alice@n1>") or the cause. The signature is CMS
 * in the gpgsig header (git's x509 format).
 */
#ifndef LS_HISTORY_HISTORY_H
#define LS_HISTORY_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "history/state.h"
#include "pki/sign.h"

struct ls_history;

struct ls_commit_id {
	char hex[41]; /* "" for none */
};

bool ls_commit_equal(const struct ls_commit_id *a, const struct ls_commit_id *b);

/* What a commit says about itself. */
struct ls_generation {
	struct ls_commit_id commit;
	struct ls_commit_id parent;   /* "" for generation 1 */
	struct ls_commit_id restores; /* of a rollback: the commit whose state this is */
	char tree[41];
	int64_t generation;
	int64_t time_s;
	char *author_name;
	char *author_email;
	char *committer_name;
	char *committer_email;
	char *subject;
	char *cause; /* init, operator, drop-in, renewal, request, rollback, automatic-rollback,
			seal, template */
	char **components;
	char **old_sha256; /* "name=hex" */
	char **new_sha256;
	char **participants;
	char **away;
};

void ls_generation_done(struct ls_generation *generation);

/* Creates an empty bare repository when there is none; fine to repeat after a crash at any point.
 */
LS_CHECK enum ls_code ls_history_create(const char *path, struct ls_err *err);
LS_CHECK enum ls_code ls_history_open(
	const char *path, struct ls_history **out, struct ls_err *err);
void ls_history_free(struct ls_history **history);
/* Removes *.lock, tmp_* and packs that never became whole: remains of a process that died. Only
 * under the daemon's lock. */
LS_CHECK enum ls_code ls_history_clean(struct ls_history *history, struct ls_err *err);

/* LS_E_NOT_FOUND: no generation yet. */
LS_CHECK enum ls_code ls_history_head(
	struct ls_history *history, struct ls_commit_id *out, struct ls_err *err);
/* Builds and signs the commit of `state` on top of about->parent ("" for the first). Uses of
 * `about`: parent, restores, generation, time_s, author_*, committer_*, subject, cause and the
 * vectors. The pack holds exactly the objects that the parent's tree lacks, so a node that has the
 * parent can use it, whatever else we have. Writes nothing to disk. LS_E_REFUSED: a text that a
 * commit cannot carry; LS_E_DAMAGED: a state that could not be read back. */
LS_CHECK enum ls_code ls_history_compose(struct ls_history *history, const struct ls_state *state,
	const struct ls_generation *about, const struct ls_signer *signer,
	struct ls_commit_id *out_id, struct ls_buf *out_pack, struct ls_err *err);
/* Indexes a pack. LS_E_DAMAGED: it is not whole or does not hold `id`. Repeating it is fine. */
LS_CHECK enum ls_code ls_history_accept(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_bytes pack, struct ls_err *err);
/* One pack with all that generations `from`, `from` + 1, … of `head` add to those before, until it
 * has `bytes` or `head` is reached; *out_last and *out_generation say which is the last in it.
 * LS_E_NOT_FOUND: `head` is before `from`. */
LS_CHECK enum ls_code ls_history_export(struct ls_history *history, const struct ls_commit_id *head,
	int64_t from, size_t bytes, struct ls_commit_id *out_last, int64_t *out_generation,
	struct ls_buf *out_pack, struct ls_err *err);
/* Takes back an accepted pack of a generation that was not decided, and refs/lockstep/next if it
 * names it. A pack that was merged with others stays. LS_E_REFUSED: the commit is on main. */
LS_CHECK enum ls_code ls_history_discard(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err);
/* The same for all that were accepted to follow `parent`, none of which is decided. For those whose
 * ids died with a process. */
LS_CHECK enum ls_code ls_history_discard_after(
	struct ls_history *history, const struct ls_commit_id *parent, struct ls_err *err);
LS_CHECK enum ls_code ls_history_stage(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err);
/* Moves main to a staged commit; nothing to do when it is there already. When next is missing or
 * names another commit, main is written in the plain way. */
LS_CHECK enum ls_code ls_history_advance(
	struct ls_history *history, const struct ls_commit_id *id, struct ls_err *err);

/* The staged commit. LS_E_NOT_FOUND: none is. */
LS_CHECK enum ls_code ls_history_staged(
	struct ls_history *history, struct ls_commit_id *out, struct ls_err *err);

LS_CHECK enum ls_code ls_history_read(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_generation *out, struct ls_err *err);
LS_CHECK enum ls_code ls_history_load(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_state *out, struct ls_err *err);
/* Along the first parents from `from`: the generation of that number. LS_E_NOT_FOUND. */
LS_CHECK enum ls_code ls_history_find(struct ls_history *history, const struct ls_commit_id *from,
	int64_t generation, struct ls_commit_id *out, struct ls_err *err);

/* Judges one commit against its parent: one parent at most, signed by a member listed in the
 * parent's tree (the first: in its own), committer is that member, the number follows, the tree is
 * a well-formed state of the same cluster id. `out_state` may be NULL. LS_E_REFUSED names what does
 * not hold. */
LS_CHECK enum ls_code ls_history_judge(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_state *out_state, struct ls_err *err);
/* Judges every commit from `head` to the root, reads every object they reach (each is hashed
 * again), and compares the root with `root` ("" to leave that out); then checks the checksums of
 * packs and indexes and reads each loose object. Linear: of each generation only what differs from
 * the one after it is read. `progress` (may be NULL) is called with done and total. On damage:
 * LS_E_DAMAGED naming generation, commit and fault, or the file; *out_count is the number that held
 * from the head on, and is set in any case. */
LS_CHECK enum ls_code ls_history_verify(struct ls_history *history, const struct ls_commit_id *head,
	const struct ls_commit_id *root, void (*progress)(void *arg, int64_t done, int64_t total),
	void *arg, int64_t *out_count, struct ls_err *err);

/* Merges packs so that their sizes form a geometric row (few packs, each object rewritten a
 * logarithmic number of times), up to half a megabyte each: a merge takes half a second at most,
 * however long the history is, and one pack is added for some 400 generations. Never drops an
 * object. To be called now and then after a rotation has closed; merges nothing when there are few
 * packs. Removes what an earlier merge or accept began and could not remove itself. */
LS_CHECK enum ls_code ls_history_tidy(struct ls_history *history, struct ls_err *err);

#endif
