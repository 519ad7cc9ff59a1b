/* record -- the record of tip and rotation in memory: its moves and its JSON. Pure; for backends
 * that keep it in one piece. */
#ifndef LS_STORE_RECORD_H
#define LS_STORE_RECORD_H

#include <jansson.h>

#include "store/store.h"

/* Each has the compare and the change of the ls_store_ call of its name; on failure the view is
 * untouched. */
LS_CHECK enum ls_code ls_record_begin(
	struct ls_store_view *view, const struct ls_rotation *rotation, struct ls_err *err);
LS_CHECK enum ls_code ls_record_vote(struct ls_store_view *view, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err);
LS_CHECK enum ls_code ls_record_decide(struct ls_store_view *view, const char *nonce,
	int64_t verify_deadline_s, struct ls_err *err);
LS_CHECK enum ls_code ls_record_abort(struct ls_store_view *view, const char *nonce,
	const char *why, int64_t now_s, struct ls_err *err);
LS_CHECK enum ls_code ls_record_report(struct ls_store_view *view, const char *nonce,
	const struct ls_report *report, struct ls_err *err);
LS_CHECK enum ls_code ls_record_revert(struct ls_store_view *view, const char *nonce,
	const char *commit, const char *why, int64_t verify_deadline_s, struct ls_err *err);
LS_CHECK enum ls_code ls_record_close(struct ls_store_view *view, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err);

/* Only forwards, or to begin with. */
LS_CHECK enum ls_code ls_record_restore(
	struct ls_store_view *view, const struct ls_tip *tip, struct ls_err *err);

json_t *ls_record_to_json(const struct ls_store_view *view); /* new reference */
/* LS_E_DAMAGED names what is wrong. */
LS_CHECK enum ls_code ls_record_from_json(
	const json_t *json, struct ls_store_view *out, struct ls_err *err);

/* One vote, one report; for backends that keep them apart. */
json_t *ls_ballot_to_json(const struct ls_ballot *ballot);
json_t *ls_report_to_json(const struct ls_report *report);
/* Appended to the rotation; LS_E_DAMAGED: nothing was. */
LS_CHECK enum ls_code ls_ballot_from_json(
	const json_t *json, struct ls_rotation *to, struct ls_err *err);
LS_CHECK enum ls_code ls_report_from_json(
	const json_t *json, struct ls_rotation *to, struct ls_err *err);

void ls_rotation_free(struct ls_rotation **rotation);
void ls_outcome_free(struct ls_outcome **outcome);

#endif
