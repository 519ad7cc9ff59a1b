/* Dispatch to the backend. */
#include "store/store.h"

#include <stdlib.h>

void ls_notes_done(struct ls_notes *notes)
{
	for (size_t i = 0; i < notes->count; i++) {
		free(notes->items[i].name);
		free(notes->items[i].body);
	}
	free(notes->items);
	*notes = (struct ls_notes){ 0 };
}

void ls_proof_done(struct ls_proof *proof)
{
	ls_free_strv(&proof->participants);
	free(proof->text);
	*proof = (struct ls_proof){ 0 };
}

void ls_store_free(struct ls_store **store)
{
	if (*store)
		(*store)->ops->free(*store);
	*store = NULL;
}

enum ls_code ls_store_read(struct ls_store *store, struct ls_store_view *out, struct ls_err *err)
{
	return store->ops->read(store, out, err);
}

enum ls_code ls_store_publish(
	struct ls_store *store, const char *commit, struct ls_bytes pack, struct ls_err *err)
{
	return store->ops->publish(store, commit, pack, err);
}

enum ls_code ls_store_fetch(
	struct ls_store *store, const char *commit, struct ls_buf *out_pack, struct ls_err *err)
{
	return store->ops->fetch(store, commit, out_pack, err);
}

enum ls_code ls_store_begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err)
{
	return store->ops->begin(store, rotation, err);
}

enum ls_code ls_store_vote(struct ls_store *store, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err)
{
	return store->ops->vote(store, nonce, ballot, err);
}

enum ls_code ls_store_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err)
{
	return store->ops->decide(store, nonce, verify_deadline_s, err);
}

enum ls_code ls_store_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	return store->ops->abort(store, nonce, why, now_s, err);
}

enum ls_code ls_store_report(struct ls_store *store, const char *nonce,
	const struct ls_report *report, struct ls_err *err)
{
	return store->ops->report(store, nonce, report, err);
}

enum ls_code ls_store_revert(struct ls_store *store, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err)
{
	return store->ops->revert(store, nonce, commit, why, verify_deadline_s, err);
}

enum ls_code ls_store_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	return store->ops->close(store, nonce, outcome, err);
}

enum ls_code ls_store_put_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_bytes wrap_pem, struct ls_err *err)
{
	return store->ops->put_wrap(store, epoch, node, wrap_pem, err);
}

enum ls_code ls_store_get_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_buf *out_pem, struct ls_err *err)
{
	return store->ops->get_wrap(store, epoch, node, out_pem, err);
}

enum ls_code ls_store_drop_wraps(struct ls_store *store, int64_t epoch, struct ls_err *err)
{
	return store->ops->drop_wraps(store, epoch, err);
}

enum ls_code ls_store_tidy(struct ls_store *store, struct ls_err *err)
{
	return store->ops->tidy ? store->ops->tidy(store, err) : LS_OK;
}

int ls_store_watch_fd(struct ls_store *store)
{
	return store->ops->watch_fd(store);
}

int64_t ls_store_watch_silent_ms(const struct ls_store *store)
{
	return store->ops->watch_silent_ms ? store->ops->watch_silent_ms(store) : 0;
}

bool ls_store_shared(const struct ls_store *store)
{
	return store->ops->put_note != NULL;
}

static enum ls_code need_shared(const struct ls_store *store, struct ls_err *err)
{
	if (ls_store_shared(store))
		return LS_OK;
	LS_FAIL(err, LS_E_REFUSED, "this node's store is for one machine");
	LS_HINT(err, "lockstep store migrate --etcd URL makes it the first node of a cluster");
	return LS_E_REFUSED;
}

enum ls_code ls_store_put_note(struct ls_store *store, const char *name, const char *body,
	enum ls_note_how how, struct ls_err *err)
{
	LS_TRY(need_shared(store, err));
	return store->ops->put_note(store, name, body, how, err);
}

enum ls_code ls_store_get_notes(
	struct ls_store *store, const char *prefix, struct ls_notes *out, struct ls_err *err)
{
	LS_TRY(need_shared(store, err));
	return store->ops->get_notes(store, prefix, out, err);
}

enum ls_code ls_store_drop_notes(struct ls_store *store, const char *prefix, struct ls_err *err)
{
	LS_TRY(need_shared(store, err));
	return store->ops->drop_notes(store, prefix, err);
}

void ls_store_set_lease(struct ls_store *store, int64_t ttl_s, bool (*alive)(void *arg), void *arg)
{
	if (ls_store_shared(store))
		store->ops->set_lease(store, ttl_s, alive, arg);
}

enum ls_code ls_store_proof(
	struct ls_store *store, int64_t generation, struct ls_proof *out, struct ls_err *err)
{
	LS_TRY(need_shared(store, err));
	return store->ops->proof(store, generation, out, err);
}

enum ls_code ls_store_put_proof(
	struct ls_store *store, int64_t generation, const char *text, struct ls_err *err)
{
	LS_TRY(need_shared(store, err));
	return store->ops->put_proof(store, generation, text, err);
}

enum ls_code ls_store_restore(struct ls_store *store, const struct ls_tip *tip, struct ls_err *err)
{
	LS_TRY(need_shared(store, err));
	return store->ops->restore(store, tip, err);
}
