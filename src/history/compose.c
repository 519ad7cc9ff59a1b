/* Making a generation in memory: objects, signature, pack. */
#include <stdlib.h>
#include <string.h>

#include "history/commit.h"
#include "history/pack.h"
#include "history/repo.h"

struct draft {
	struct ls_pack pack;
	git_oid *parent_oids; /* sorted */
	size_t parent_count;
	git_oid *made; /* what the pack has */
	size_t made_count;
};

static void draft_done(struct draft *draft)
{
	ls_pack_done(&draft->pack);
	free(draft->parent_oids);
	free(draft->made);
}

static int compare_oids(const void *a, const void *b)
{
	return git_oid_cmp(a, b);
}

static void draft_init(struct draft *draft, const struct ls_snapshot *parent)
{
	draft->parent_count = parent->count;
	draft->parent_oids = ls_alloc(parent->count, sizeof *draft->parent_oids);
	for (size_t i = 0; i < parent->count; i++)
		draft->parent_oids[i] = parent->entries[i].oid;
	qsort(draft->parent_oids, parent->count, sizeof *draft->parent_oids, compare_oids);
}

static bool made_already(const struct draft *draft, const git_oid *oid)
{
	for (size_t i = 0; i < draft->made_count; i++)
		if (git_oid_equal(&draft->made[i], oid))
			return true;
	return false;
}

/* Only the parent's own tree counts as known. An object that happens to be in our repository may
 * have come with a generation that was never decided, and other nodes lack it. */
static enum ls_code add_object(struct draft *draft, git_object_t type, struct ls_bytes bytes,
	git_oid *out, struct ls_err *err)
{
	int rc = git_odb_hash(out, bytes.data, bytes.len, type);

	if (rc < 0)
		return ls_repo_fail(err, rc, "make an object");
	if (bsearch(out, draft->parent_oids, draft->parent_count, sizeof *out, compare_oids) ||
		made_already(draft, out))
		return LS_OK;
	LS_TRY(ls_pack_add(&draft->pack, type, bytes, err));
	draft->made = ls_realloc(draft->made, draft->made_count + 1, sizeof *draft->made);
	draft->made[draft->made_count++] = *out;
	return LS_OK;
}

/* The tree object of the files [*at, …) that begin with the `prefix_len` bytes of the first. The
 * order of full paths is the order that git wants in each folder. */
static enum ls_code add_folder(struct draft *draft, const struct ls_tree *tree, size_t *at,
	size_t prefix_len, git_oid *out, struct ls_err *err)
{
	const char *prefix = tree->files[*at].path;
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };

	while (*at < tree->count && strncmp(tree->files[*at].path, prefix, prefix_len) == 0) {
		const struct ls_tree_file *file = &tree->files[*at];
		const char *name = file->path + prefix_len;
		const char *slash = strchr(name, '/');
		size_t len = slash ? (size_t)(slash - name) : strlen(name);
		git_oid oid;

		if (slash) {
			LS_TRY(add_folder(draft, tree, at, prefix_len + len + 1, &oid, err));
		} else {
			LS_TRY(add_object(
				draft, GIT_OBJECT_BLOB, ls_buf_bytes(&file->bytes), &oid, err));
			++*at;
		}
		ls_buf_printf(&raw, "%s %.*s", slash ? "40000" : "100644", (int)len, name);
		ls_buf_add(&raw, "", 1);
		ls_buf_add(&raw, oid.id, GIT_OID_RAWSZ);
	}
	return add_object(draft, GIT_OBJECT_TREE, ls_buf_bytes(&raw), out, err);
}

static enum ls_code add_commit(struct draft *draft, const struct ls_generation *about,
	const git_oid *tree, const struct ls_signer *signer, git_oid *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
	struct ls_generation with_tree = *about; /* borrows */

	(void)git_oid_tostr(with_tree.tree, sizeof with_tree.tree, tree);
	LS_TRY(ls_commit_format(&with_tree, &text, err));
	LS_TRY(ls_sign(ls_buf_bytes(&text), signer, &signature, err));
	ls_commit_attach(ls_buf_bytes(&text), ls_buf_bytes(&signature), &raw);
	return add_object(draft, GIT_OBJECT_COMMIT, ls_buf_bytes(&raw), out, err);
}

static enum ls_code load_parent(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_snapshot *out, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

	if (id->hex[0] == '\0')
		return LS_OK;
	LS_TRY(ls_history_read(history, id, &about, err));
	return ls_snapshot_load(history, about.tree, NULL, out, err);
}

/* What no node would load again. */
static enum ls_code check_size(const struct ls_tree *tree, struct ls_err *err)
{
	size_t bytes = 0;

	for (size_t i = 0; i < tree->count; i++)
		bytes += tree->files[i].bytes.len;
	if (tree->count < LS_PACK_OBJECTS_MAX / 4 && bytes <= LS_PACK_BYTES_MAX)
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED,
		"the state has %zu files and %zu bytes, wanted fewer than %d and at most %d MiB",
		tree->count, bytes, LS_PACK_OBJECTS_MAX / 4, (int)(LS_PACK_BYTES_MAX >> 20));
}

enum ls_code ls_history_compose(struct ls_history *history, const struct ls_state *state,
	const struct ls_generation *about, const struct ls_signer *signer,
	struct ls_commit_id *out_id, struct ls_buf *out_pack, struct ls_err *err)
{
	LS_CLEANUP(ls_tree_done) struct ls_tree tree = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state again = { 0 };
	LS_CLEANUP(ls_snapshot_done) struct ls_snapshot parent = { 0 };
	LS_CLEANUP(draft_done) struct draft draft = { 0 };
	git_oid root, commit;
	size_t at = 0;

	ls_state_to_tree(state, &tree);
	LS_TRY(check_size(&tree, err));
	/* A generation that no node could read again must not come to be. */
	if (ls_state_from_tree(&tree, &again, err) != LS_OK)
		return LS_WRAP(err, "compose a generation");
	LS_TRY(load_parent(history, &about->parent, &parent, err));
	draft_init(&draft, &parent);
	LS_TRY(add_folder(&draft, &tree, &at, 0, &root, err));
	LS_TRY(add_commit(&draft, about, &root, signer, &commit, err));
	LS_TRY(ls_pack_finish(&draft.pack, out_pack, err));
	ls_repo_id(&commit, out_id);
	return LS_OK;
}
