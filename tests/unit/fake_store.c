#include "tests/unit/fake_store.h"

#include <stdio.h>
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
	drop(b->notes, &b->note_count, "");
	drop(b->proofs, &b->proof_count, "");
	free(b->packs);
	free(b->wraps);
	free(b->notes);
	free(b->proofs);
	*b = (struct fake_backing){ 0 };
}

static enum ls_code fake_read(struct ls_store *store, struct ls_store_view *out, struct ls_err *err)
{
	json_auto_t *json = ls_record_to_json(&backing_of(store)->view);

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

/* "commit parent d|r participants…" */
static void note_proof(struct fake_backing *b, int64_t generation, const char *commit,
	const char *parent, bool revert, char *const *participants)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("%lld", (long long)generation);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	ls_buf_printf(&text, "%s %s %c", commit, parent[0] ? parent : "-", revert ? 'r' : 'd');
	for (size_t i = 0; i < ls_strv_count(participants); i++)
		ls_buf_printf(&text, " %s", participants[i]);
	put(&b->proofs, &b->proof_count, name, ls_buf_bytes(&text));
}

static enum ls_code fake_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	LS_TRY(ls_record_decide(&b->view, nonce, verify_deadline_s, err));
	note_proof(b, b->view.tip.generation, b->view.tip.commit, b->view.rotation->parent, false,
		b->view.rotation->participants);
	return LS_OK;
}

static enum ls_code fake_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);
	LS_CLEANUP(ls_free_str) char *commit = NULL;

	commit = ls_strdup(b->view.rotation ? b->view.rotation->commit : "");
	LS_TRY(ls_record_abort(&b->view, nonce, why, now_s, err));
	drop(b->packs, &b->pack_count, commit);
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
	static char self[] = "n1";
	static char *who[] = { self, NULL };
	struct fake_backing *b = backing_of(store);
	bool bad = false;

	for (size_t i = 0; b->view.rotation && i < b->view.rotation->report_count; i++)
		bad |= !b->view.rotation->reports[i].good;
	if (b->view.rotation && b->view.rotation->phase == LS_PHASE_VERIFYING && !bad)
		return LS_FAIL(err, LS_E_REFUSED, "nobody reports that it was not taken");
	LS_TRY(ls_record_revert(&b->view, nonce, commit, why, verify_deadline_s, err));
	note_proof(b, b->view.tip.generation, commit, b->view.rotation->commit, true, who);
	return LS_OK;
}

static enum ls_code fake_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	return ls_record_close(&backing_of(store)->view, nonce, outcome, err);
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

/* Notes and proofs. One handle is one node, n1; nobody here writes what it may not. */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct ls_note *)a)->name, ((const struct ls_note *)b)->name);
}

static enum ls_code fake_put_note(struct ls_store *store, const char *name, const char *body,
	enum ls_note_how how, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);
	LS_CLEANUP(ls_buf_done) struct ls_buf before = { 0 };

	if (how == LS_NOTE_CREATE && get(b->notes, b->note_count, name, &before, NULL) == LS_OK)
		return LS_FAIL(err, LS_E_CONFLICT, "'%s' is there already", name);
	put(&b->notes, &b->note_count, name, LS_BYTES_STR(body));
	return LS_OK;
}

static enum ls_code fake_get_notes(
	struct ls_store *store, const char *prefix, struct ls_notes *out, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	(void)err;
	ls_notes_done(out);
	for (size_t i = 0; i < b->note_count; i++) {
		if (!ls_has_prefix(b->notes[i].name, prefix))
			continue;
		out->items = ls_realloc(out->items, out->count + 1, sizeof *out->items);
		out->items[out->count++] = (struct ls_note){ .name = ls_strdup(b->notes[i].name),
			.node = "n1",
			.body = ls_strdup(ls_buf_text(&b->notes[i].bytes)) };
	}
	if (out->count)
		qsort(out->items, out->count, sizeof *out->items, by_name);
	return LS_OK;
}

static enum ls_code fake_drop_notes(struct ls_store *store, const char *prefix, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);

	(void)err;
	drop(b->notes, &b->note_count, prefix);
	return LS_OK;
}

static void fake_set_lease(
	struct ls_store *store, int64_t ttl_s, bool (*alive)(void *arg), void *arg)
{
	(void)store, (void)ttl_s, (void)alive, (void)arg;
}

static enum ls_code fake_proof(
	struct ls_store *store, int64_t generation, struct ls_proof *out, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);
	LS_CLEANUP(ls_free_str) char *name = ls_format("%lld", (long long)generation);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	char *word, *rest;

	LS_TRY(get(b->proofs, b->proof_count, name, &text, err));
	ls_proof_done(out);
	out->text = ls_strdup(ls_buf_text(&text));
	out->generation = generation;
	word = strtok_r(text.data, " ", &rest);
	(void)snprintf(out->commit, sizeof out->commit, "%s", word);
	word = strtok_r(NULL, " ", &rest);
	(void)snprintf(out->parent, sizeof out->parent, "%s", strcmp(word, "-") == 0 ? "" : word);
	out->revert = strtok_r(NULL, " ", &rest)[0] == 'r';
	while ((word = strtok_r(NULL, " ", &rest)) != NULL)
		ls_strv_add(&out->participants, word);
	return LS_OK;
}

static enum ls_code fake_put_proof(
	struct ls_store *store, int64_t generation, const char *text, struct ls_err *err)
{
	struct fake_backing *b = backing_of(store);
	LS_CLEANUP(ls_free_str) char *name = ls_format("%lld", (long long)generation);

	(void)err;
	put(&b->proofs, &b->proof_count, name, LS_BYTES_STR(text));
	return LS_OK;
}

static enum ls_code fake_restore(
	struct ls_store *store, const struct ls_tip *tip, struct ls_err *err)
{
	return ls_record_restore(&backing_of(store)->view, tip, err);
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
	.put_note = fake_put_note,
	.get_notes = fake_get_notes,
	.drop_notes = fake_drop_notes,
	.set_lease = fake_set_lease,
	.proof = fake_proof,
	.put_proof = fake_put_proof,
	.restore = fake_restore,
};

struct ls_store *fake_store_open(struct fake_backing *backing)
{
	struct fake *f = ls_alloc(1, sizeof *f);

	*f = (struct fake){ .base = { &fake_ops }, .b = backing };
	return &f->base;
}
