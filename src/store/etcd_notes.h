/* etcd_notes -- what members of a cluster keep in etcd beside the record: notes, and what shows
 * that a generation was decided.
 *
 *   note/<name>               signed by its writer, with its name
 *   decided/<generation>      {"commit", "begin", "votes"}: word for word what the members signed,
 * or
 *                             {"commit", "revert", "report"} of a generation that goes back
 *
 * For etcd.c alone. Blocking.
 */
#ifndef LS_STORE_ETCD_NOTES_H
#define LS_STORE_ETCD_NOTES_H

#include "store/etcd_record.h"

/* `lease` 0: none. */
LS_CHECK enum ls_code ls_etcd_note_put(const struct ls_etcd_place *place, const char *name,
	const char *body, bool create, int64_t lease, struct ls_err *err);
LS_CHECK enum ls_code ls_etcd_notes_get(const struct ls_etcd_place *place, const char *prefix,
	struct ls_notes *out, struct ls_err *err);
LS_CHECK enum ls_code ls_etcd_notes_drop(
	const struct ls_etcd_place *place, const char *prefix, struct ls_err *err);

/* The key "decided/…" of a generation, from the heap. */
char *ls_etcd_proof_key(const struct ls_etcd_place *place, int64_t generation);
/* The proofs' texts, from the heap, out of what `s` holds: of a decision; of going back to
 * `commit`, which this member does because of a bad report. */
LS_CHECK enum ls_code ls_etcd_proof_decided(const struct ls_etcd_place *place,
	const struct ls_etcd_snapshot *s, char **out, struct ls_err *err);
LS_CHECK enum ls_code ls_etcd_proof_reverted(const struct ls_etcd_place *place,
	const struct ls_etcd_snapshot *s, const char *commit, char **out, struct ls_err *err);
/* Removes packs of attempts that were never begun (seen twice, `patience_ms` apart; *orphans is
 * what was seen, "commit time", the caller's), and packs and proofs of generations so far back that
 * a member which lacks them joins again. */
LS_CHECK enum ls_code ls_etcd_tidy(const struct ls_etcd_place *place, int64_t patience_ms,
	char ***orphans, struct ls_err *err);
/* What a value shows; LS_E_DAMAGED: nothing. Asks nothing of etcd. */
LS_CHECK enum ls_code ls_etcd_proof_judge(const struct ls_etcd_place *place, int64_t generation,
	const struct ls_buf *value, struct ls_proof *out, struct ls_err *err);
LS_CHECK enum ls_code ls_etcd_proof_get(const struct ls_etcd_place *place, int64_t generation,
	struct ls_proof *out, struct ls_err *err);

#endif
