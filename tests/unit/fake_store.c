#include "tests/unit/fake_store.h"

#include <stdlib.h>
#include <string.h>

struct fake {
	struct ls_store base;
	struct fake_backing *b;
};

static struct fake_backing *backing_of(struct ls_store *store)
{
	return ((struct fake *)(void *)((char *)store - offsetof(struct fake, base)))->b;
}

static void put(struct fake_blob **blobs, size_t *count, const char *name, struct ls_bytes bytes)
{
	struct fake_blob *to = NULL;

	for (size_t i = 0; i < *count && !to; i++)
		if (strcmp((*blobs)[i].name, name) == 0)
			to = &(*blobs)[i];
	if (!to) {
		*blobs = ls_realloc(*blobs, *count + 1, sizeof **blobs);
		to = &(*blobs)[(*count)++];
		*to = (struct fake_blob){ .name = ls_strdup(name) };
	}
	ls_buf_clear(&to->bytes);
	ls_buf_add_bytes(&to->bytes, bytes);
}

static enum ls_code get(const struct fake_blob *blobs, size_t count, const char *name,
	struct ls_buf *out, struct ls_err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(blobs[i].name, name) == 0) {
			ls_buf_copy(out, &blobs[i].bytes);
			return LS_OK;
		}
	}
	return LS_FAIL(err, LS_E_NOT_FOUND, "no '%s' here", name);
}

/* Those whose names begin with `prefix`. */
static void drop(struct fake_blob *blobs, size_t *count, const char *prefix)
{
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++) {
		if (ls_has_prefix(blobs[i].name, prefix)) {
			free(blobs[i].name);
			ls_buf_done(&blobs[i].bytes);
		} else {
			blobs[kept++] = blobs[i];
		}
	}
	*count = kept;
}

void fake_backing_done(struct fake_backing *b)
{
	ls_store_view_done(&b->view);
	drop(b->packs, &b->pack_count, "");
	drop(b->wraps, &b->wrap_count, "");
	free(b->packs);
	free(b->wraps);
	*b = (struct fake_backing){ 0 };
}

static void json_done(json_t **json)
{
	json_decref(*json);
}

static enum ls_code fake_read(struct ls_store *store, struct ls_store_view *out, struct ls_err *err)
{
	LS_CLEANUP(json_done) json_t *json = ls_record_to_json(&backing_of(store)->view);

	return ls_record_from_json(json, out, err);
}

static enum ls_code fake_publish(
	struct ls_store *store, const char *commit, struct ls_bytes pack, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	(void)err;
	put(&b->packs, &b->pack_count, commit, pack);
	return LS_OK;
}

static enum ls_code fake_fetch(
	struct ls_store *store, const char *commit, struct ls_buf *out_pack, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	return get(b->packs, b->pack_count, commit, out_pack, err);
}

static enum ls_code fake_begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err)
{
	return ls_record_begin(&backing_of(store)->view, rotation, err);
}

static enum ls_code fake_vote(struct ls_store *store, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err)
{
	return ls_record_vote(&backing_of(store)->view, nonce, ballot, err);
}

static enum ls_code fake_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err)
{
	return ls_record_decide(&backing_of(store)->view, nonce, verify_deadline_s, err);
}

static enum ls_code fake_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	LS_TRY(ls_record_abort(&b->view, nonce, why, now_s, err));
	drop(b->packs, &b->pack_count, "");
	return LS_OK;
}

static enum ls_code fake_report(struct ls_store *store, const char *nonce,
	const struct ls_report *report, struct ls_err *err)
{
	return ls_record_report(&backing_of(store)->view, nonce, report, err);
}

static enum ls_code fake_revert(struct ls_store *store, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err)
{
	return ls_record_revert(
		&backing_of(store)->view, nonce, commit, why, verify_deadline_s, err);
}

static enum ls_code fake_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	LS_TRY(ls_record_close(&b->view, nonce, outcome, err));
	drop(b->packs, &b->pack_count, "");
	return LS_OK;
}

static enum ls_code fake_put_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_bytes wrap_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("%lld-%s", (long long)epoch, node);
	struct fake_backing *b = backing_of(store);

	(void)err;
	put(&b->wraps, &b->wrap_count, name, wrap_pem);
	return LS_OK;
}

static enum ls_code fake_get_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("%lld-%s", (long long)epoch, node);
	struct fake_backing *b = backing_of(store);

	return get(b->wraps, b->wrap_count, name, out_pem, err);
}

static enum ls_code fake_drop_wraps(struct ls_store *store, int64_t epoch, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *prefix = ls_format("%lld-", (long long)epoch);
	struct fake_backing *b = backing_of(store);

	(void)err;
	drop(b->wraps, &b->wrap_count, prefix);
	return LS_OK;
}

static int fake_watch_fd(struct ls_store *store)
{
	(void)store;
	return -1;
}

static void fake_free(struct ls_store *store)
{
	free((char *)store - offsetof(struct fake, base));
}

static const struct ls_store_ops fake_ops = {
	.free = fake_free,
	.read = fake_read,
	.publish = fake_publish,
	.fetch = fake_fetch,
	.begin = fake_begin,
	.vote = fake_vote,
	.decide = fake_decide,
	.abort = fake_abort,
	.report = fake_report,
	.revert = fake_revert,
	.close = fake_close,
	.put_wrap = fake_put_wrap,
	.get_wrap = fake_get_wrap,
	.drop_wraps = fake_drop_wraps,
	.watch_fd = fake_watch_fd,
};

struct ls_store *fake_store_open(struct fake_backing *backing)
{
	struct fake *f = ls_alloc(1, sizeof *f);

	*f = (struct fake){ .base = { &fake_ops }, .b = backing };
	return &f->base;
}
