/* Generations for a node that lacks them: their objects, as one pack of the form that `accept`
 * takes. */
#include <stdlib.h>
#include <string.h>

#include "history/commit.h"
#include "history/pack.h"
#include "history/repo.h"

static bool has(const struct ls_snapshot *snapshot, const git_oid *oid)
{
	for (size_t i = 0; i < snapshot->count; i++)
		if (git_oid_equal(&snapshot->entries[i].oid, oid))
			return true;
	return false;
}

struct bundle {
	struct ls_pack pack;
	git_oid *oids; /* what is in it: git takes no object twice */
	size_t count;
};

static void bundle_done(struct bundle *b)
{
	ls_pack_done(&b->pack);
	free(b->oids);
}

static enum ls_code add_object(struct ls_history *history, const git_oid *oid, git_object_t type,
	struct bundle *b, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };

	for (size_t i = 0; i < b->count; i++)
		if (git_oid_equal(&b->oids[i], oid))
			return LS_OK;
	LS_TRY(ls_repo_read(history, oid, type, &raw, err));
	LS_TRY(ls_pack_add(&b->pack, type, ls_buf_bytes(&raw), err));
	b->oids = ls_realloc(b->oids, b->count + 1, sizeof *b->oids);
	b->oids[b->count++] = *oid;
	return LS_OK;
}

/* What this generation's tree holds and the one before it does not. */
static enum ls_code add_tree(struct ls_history *history, const struct ls_snapshot *tree,
	const struct ls_snapshot *before, struct bundle *b, struct ls_err *err)
{
	for (size_t i = 0; i < tree->count; i++) {
		const struct ls_snapshot_entry *entry = &tree->entries[i];
		git_object_t type = entry->is_dir ? GIT_OBJECT_TREE : GIT_OBJECT_BLOB;

		if (!has(before, &entry->oid))
			LS_TRY(add_object(history, &entry->oid, type, b, err));
	}
	return LS_OK;
}

static enum ls_code add_generation(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_snapshot *before, struct bundle *b, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_snapshot_done) struct ls_snapshot tree = { 0 };
	git_oid oid;

	LS_TRY(ls_repo_oid(id, &oid, err));
	LS_TRY(ls_history_read(history, id, &about, err));
	LS_TRY(ls_snapshot_load(history, about.tree, before, &tree, err));
	LS_TRY(add_tree(history, &tree, before, b, err));
	LS_TRY(add_object(history, &oid, GIT_OBJECT_COMMIT, b, err));
	ls_snapshot_done(before);
	*before = tree;
	tree = (struct ls_snapshot){ 0 };
	return LS_OK;
}

static enum ls_code tree_of(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_snapshot *out, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

	if (!id->hex[0])
		return LS_OK;
	LS_TRY(ls_history_read(history, id, &about, err));
	return ls_snapshot_load(history, about.tree, NULL, out, err);
}

enum ls_code ls_history_export(struct ls_history *history, const struct ls_commit_id *head,
	int64_t from, size_t bytes, struct ls_commit_id *out_last, int64_t *out_generation,
	struct ls_buf *out_pack, struct ls_err *err)
{
	LS_CLEANUP(ls_snapshot_done) struct ls_snapshot before = { 0 };
	LS_CLEANUP(bundle_done) struct bundle bundle = { 0 };
	struct ls_commit_id *ids = NULL, last = *head;
	size_t count = 0;
	enum ls_code code = LS_OK;

	for (struct ls_commit_id at = *head; at.hex[0] && code == LS_OK;) { /* newest first */
		LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

		code = ls_history_read(history, &at, &about, err);
		if (code != LS_OK || about.generation < from)
			break;
		ids = ls_realloc(ids, count + 1, sizeof *ids);
		ids[count++] = at;
		if (about.generation == from)
			code = tree_of(history, &about.parent, &before, err);
		at = about.parent;
	}
	*out_generation = from - 1;
	for (size_t i = count; i > 0 && code == LS_OK && bundle.pack.objects.len < bytes; i--) {
		last = ids[i - 1];
		code = add_generation(history, &last, &before, &bundle, err);
		++*out_generation;
	}
	free(ids);
	LS_TRY(code);
	if (count == 0)
		return LS_FAIL(err, LS_E_NOT_FOUND, "there is no generation %lld", (long long)from);
	LS_TRY(ls_pack_finish(&bundle.pack, out_pack, err));
	*out_last = last;
	return LS_OK;
}
