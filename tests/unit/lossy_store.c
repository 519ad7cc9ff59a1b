#include "tests/unit/lossy_store.h"

static struct lossy *lossy_of(struct ls_store *store)
{
	return (struct lossy *)(void *)((char *)store - offsetof(struct lossy, base));
}

/* Whether this one is to be lost before it is done. */
static bool request_lost(struct lossy *l)
{
	return ++l->count == l->nth && !l->answer;
}

static enum ls_code answer(const struct lossy *l, enum ls_code code, struct ls_err *err)
{
	if (l->count != l->nth)
		return code;
	return LS_FAIL(err, LS_E_UNKNOWN, "lost on the way");
}

#define PASS(l, call) answer(l, request_lost(l) ? LS_OK : (call), err)

static enum ls_code lossy_read(
	struct ls_store *store, struct ls_store_view *out, struct ls_err *err)
{
	return ls_store_read(lossy_of(store)->under, out, err);
}

static enum ls_code lossy_publish(
	struct ls_store *store, const char *commit, struct ls_bytes pack, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_publish(l->under, commit, pack, err));
}

static enum ls_code lossy_begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_begin(l->under, rotation, err));
}

static enum ls_code lossy_vote(struct ls_store *store, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_vote(l->under, nonce, ballot, err));
}

static enum ls_code lossy_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_decide(l->under, nonce, verify_deadline_s, err));
}

static enum ls_code lossy_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_abort(l->under, nonce, why, now_s, err));
}

static enum ls_code lossy_report(struct ls_store *store, const char *nonce,
	const struct ls_report *report, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_report(l->under, nonce, report, err));
}

static enum ls_code lossy_revert(struct ls_store *store, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_revert(l->under, nonce, commit, why, verify_deadline_s, err));
}

static enum ls_code lossy_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	struct lossy *l = lossy_of(store);

	return PASS(l, ls_store_close(l->under, nonce, outcome, err));
}

static const struct ls_store_ops lossy_ops = {
	.read = lossy_read,
	.publish = lossy_publish,
	.begin = lossy_begin,
	.vote = lossy_vote,
	.decide = lossy_decide,
	.abort = lossy_abort,
	.report = lossy_report,
	.revert = lossy_revert,
	.close = lossy_close,
};

void lossy_init(struct lossy *lossy, struct ls_store *under)
{
	*lossy = (struct lossy){ .base = { &lossy_ops }, .under = under };
}
