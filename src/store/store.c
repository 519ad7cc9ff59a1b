/* Dispatch to the backend. */
#include "store/store.h"

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
