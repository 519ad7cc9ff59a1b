/* Making a generation in memory: objects, signature, pack. */
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <stdlib.h>
#include <string.h>

#include "history/commit.h"
#include "history/repo.h"

/* Objects in the order in which they were made. */
struct draft {
	git_odb *odb; /* of memory alone: what is written here reaches no disk */
	const struct ls_snapshot *parent;
	git_oid *parent_oids; /* sorted */
	git_oid *made;
	size_t made_count;
};

static void draft_done(struct draft *draft)
{
	ls_odb_free(&draft->odb);
	free(draft->parent_oids);
	free(draft->made);
}

static int compare_oids(const void *a, const void *b)
{
	return git_oid_cmp(a, b);
}

static enum ls_code draft_init(
	struct draft *draft, const struct ls_snapshot *parent, struct ls_err *err)
{
	git_odb_backend *backend = NULL;
	int rc = git_odb_new(&draft->odb);

	if (rc == 0)
		rc = git_mempack_new(&backend);
	if (rc == 0)
		rc = git_odb_add_backend(draft->odb, backend, 1);
	if (rc < 0)
		return ls_repo_fail(err, rc, "make objects in memory");
	draft->parent = parent;
	draft->parent_oids = ls_alloc(parent->count, sizeof *draft->parent_oids);
	for (size_t i = 0; i < parent->count; i++)
		draft->parent_oids[i] = parent->entries[i].oid;
	qsort(draft->parent_oids, parent->count, sizeof *draft->parent_oids, compare_oids);
	return LS_OK;
}

/* Only the parent's own tree counts as known. An object that happens to be in our repository may
 * have come with a generation that was never decided, and other nodes lack it. */
static enum ls_code add_object(struct draft *draft, git_object_t type, struct ls_bytes bytes,
	git_oid *out, struct ls_err *err)
{
	int rc = git_odb_hash(out, bytes.data, bytes.len, type);

	if (rc == 0 &&
		bsearch(out, draft->parent_oids, draft->parent->count, sizeof *out, compare_oids))
		return LS_OK;
	if (rc == 0)
		rc = git_odb_write(out, draft->odb, bytes.data, bytes.len, type);
	if (rc < 0)
		return ls_repo_fail(err, rc, "make an object in memory");
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

static enum ls_code pack(struct draft *draft, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_repository_free) git_repository *repo = NULL;
	LS_CLEANUP(ls_packbuilder_free) git_packbuilder *builder = NULL;
	git_buf bytes = GIT_BUF_INIT;
	int rc = git_repository_wrap_odb(&repo, draft->odb);

	if (rc == 0)
		rc = git_packbuilder_new(&builder, repo);
	for (size_t i = draft->made_count; rc == 0 && i > 0; i--) /* the commit first */
		rc = git_packbuilder_insert(builder, &draft->made[i - 1], NULL);
	if (rc == 0)
		rc = git_packbuilder_write_buf(&bytes, builder);
	if (rc < 0)
		return ls_repo_fail(err, rc, "make a pack");
	ls_buf_clear(out);
	ls_buf_add(out, bytes.ptr, bytes.size);
	git_buf_dispose(&bytes);
	return LS_OK;
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
	/* A generation that no node could read again must not come to be. */
	if (ls_state_from_tree(&tree, &again, err) != LS_OK)
		return LS_WRAP(err, "compose a generation");
	LS_TRY(load_parent(history, &about->parent, &parent, err));
	LS_TRY(draft_init(&draft, &parent, err));
	LS_TRY(add_folder(&draft, &tree, &at, 0, &root, err));
	LS_TRY(add_commit(&draft, about, &root, signer, &commit, err));
	LS_TRY(pack(&draft, out_pack, err));
	ls_repo_id(&commit, out_id);
	return LS_OK;
}
