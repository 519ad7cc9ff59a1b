/* Reading generations: the commit, its tree as files, the state. */
#include <stdlib.h>
#include <string.h>

#include "history/commit.h"
#include "history/pack.h"
#include "history/repo.h"

#define DEPTH_MAX 3 /* components/<name>/<file> */
#define MODE_FILE "100644 "
#define MODE_DIR "40000 "

void ls_snapshot_done(struct ls_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		free(snapshot->entries[i].path);
		ls_buf_done(&snapshot->entries[i].bytes);
	}
	free(snapshot->entries);
	*snapshot = (struct ls_snapshot){ 0 };
}

struct load {
	struct ls_history *history;
	const struct ls_snapshot *reuse;
	struct ls_snapshot made;
	size_t room;
	size_t bytes; /* of all files so far */
	struct ls_buf scratch;
};

static void load_done(struct load *load)
{
	ls_snapshot_done(&load->made);
	ls_buf_done(&load->scratch);
}

static struct ls_snapshot_entry *add_entry(
	struct load *load, const char *path, const git_oid *oid, bool is_dir)
{
	struct ls_snapshot_entry *entry;

	if (load->made.count == load->room) {
		load->room = load->room ? 2 * load->room : 64;
		load->made.entries =
			ls_realloc(load->made.entries, load->room, sizeof *load->made.entries);
	}
	entry = &load->made.entries[load->made.count++];
	*entry = (struct ls_snapshot_entry){ ls_strdup(path), *oid, is_dir, { 0 } };
	return entry;
}

/* The first entry at or behind `path`. */
static size_t lower_bound(const struct ls_snapshot *snapshot, const char *path)
{
	size_t low = 0, high = snapshot->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(snapshot->entries[mid].path, path) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static const struct ls_snapshot_entry *find_same(
	const struct ls_snapshot *snapshot, const char *path, const git_oid *oid, bool is_dir)
{
	size_t at = snapshot ? lower_bound(snapshot, path) : 0;

	if (!snapshot || at == snapshot->count || strcmp(snapshot->entries[at].path, path) != 0 ||
		snapshot->entries[at].is_dir != is_dir ||
		!git_oid_equal(&snapshot->entries[at].oid, oid))
		return NULL;
	return &snapshot->entries[at];
}

/* What is below a folder that both have: a contiguous range, whatever its depth. */
static void copy_below(struct load *load, const char *path)
{
	LS_CLEANUP(ls_free_str) char *prefix = ls_format("%s%s", path, path[0] ? "/" : "");
	size_t len = strlen(prefix);

	for (size_t i = lower_bound(load->reuse, prefix); i < load->reuse->count; i++) {
		const struct ls_snapshot_entry *from = &load->reuse->entries[i];

		if (strncmp(from->path, prefix, len) != 0)
			return;
		if (from->path[0] == '\0') /* the root itself is there already */
			continue;
		ls_buf_copy(&add_entry(load, from->path, &from->oid, from->is_dir)->bytes,
			&from->bytes);
	}
}

static enum ls_code load_file(
	struct load *load, const char *path, const git_oid *oid, struct ls_err *err)
{
	const struct ls_snapshot_entry *same = find_same(load->reuse, path, oid, false);
	struct ls_snapshot_entry *entry = add_entry(load, path, oid, false);

	if (same)
		ls_buf_copy(&entry->bytes, &same->bytes);
	else if (ls_repo_read(load->history, oid, GIT_OBJECT_BLOB, &entry->bytes, err) != LS_OK)
		return LS_WRAP(err, "%s", path);
	load->bytes += entry->bytes.len;
	return LS_OK;
}

/* A few objects can name one another so often that the tree has millions of files. */
static enum ls_code check_room(const struct load *load, const char *path, struct ls_err *err)
{
	if (load->made.count <= LS_PACK_OBJECTS_MAX && load->bytes <= LS_PACK_BYTES_MAX)
		return LS_OK;
	return LS_FAIL(err, LS_E_DAMAGED, "%s: the tree has over %d entries or over %d MiB", path,
		LS_PACK_OBJECTS_MAX, (int)(LS_PACK_BYTES_MAX >> 20));
}

/* One entry of a tree object: "MODE NAME\0" and 20 bytes. */
struct raw_entry {
	bool is_dir;
	const char *name;
	git_oid oid;
};

static bool next_entry(const struct ls_buf *tree, size_t *at, struct raw_entry *out)
{
	const char *text = tree->data + *at;
	const char *end = tree->data + tree->len, *nul;

	out->is_dir = strncmp(text, MODE_DIR, strlen(MODE_DIR)) == 0;
	if (!out->is_dir && strncmp(text, MODE_FILE, strlen(MODE_FILE)) != 0)
		return false;
	out->name = text + (out->is_dir ? strlen(MODE_DIR) : strlen(MODE_FILE));
	nul = memchr(out->name, '\0', (size_t)(end - out->name));
	if (!nul || nul == out->name || end - nul - 1 < GIT_OID_RAWSZ || strchr(out->name, '/'))
		return false;
	if (git_oid_fromraw(&out->oid, (const unsigned char *)nul + 1) != 0)
		return false;
	*at = (size_t)(nul + 1 + GIT_OID_RAWSZ - tree->data);
	return true;
}

static enum ls_code load_dir(
	struct load *load, const char *path, const git_oid *oid, int depth, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf tree = { 0 };
	LS_CLEANUP(ls_free_str) char *last = NULL;

	(void)add_entry(load, path, oid, true);
	if (find_same(load->reuse, path, oid, true)) {
		copy_below(load, path);
		return LS_OK;
	}
	if (ls_repo_read(load->history, oid, GIT_OBJECT_TREE, &tree, err) != LS_OK)
		return LS_WRAP(err, "%s/", path);
	for (size_t at = 0; at < tree.len;) {
		LS_CLEANUP(ls_free_str) char *child = NULL;
		LS_CLEANUP(ls_free_str) char *key = NULL;
		struct raw_entry entry;

		if (!next_entry(&tree, &at, &entry))
			return LS_FAIL(err, LS_E_DAMAGED, "%s/: not a tree of plain files", path);
		/* git's order compares a folder as if its name ended in a slash. */
		key = ls_format("%s%s", entry.name, entry.is_dir ? "/" : "");
		if (last && strcmp(last, key) >= 0)
			return LS_FAIL(err, LS_E_DAMAGED, "%s/: not in order", path);
		ls_free_str(&last);
		last = LS_TAKE(key);
		child = ls_format("%s%s%s", path, path[0] ? "/" : "", entry.name);
		if (entry.is_dir && depth + 1 >= DEPTH_MAX)
			return LS_FAIL(err, LS_E_DAMAGED, "%s: a folder too deep", child);
		LS_TRY(entry.is_dir ? load_dir(load, child, &entry.oid, depth + 1, err)
				    : load_file(load, child, &entry.oid, err));
		LS_TRY(check_room(load, child, err));
	}
	return LS_OK;
}

static int compare_entries(const void *a, const void *b)
{
	const struct ls_snapshot_entry *x = a, *y = b;

	return strcmp(x->path, y->path);
}

enum ls_code ls_snapshot_load(struct ls_history *history, const char *tree_hex,
	const struct ls_snapshot *reuse, struct ls_snapshot *out, struct ls_err *err)
{
	LS_CLEANUP(load_done) struct load load = { .history = history, .reuse = reuse };
	git_oid oid;

	if (git_oid_fromstr(&oid, tree_hex) != 0)
		return LS_FAIL(err, LS_E_DAMAGED, "'%s' is not the id of a tree", tree_hex);
	LS_TRY(load_dir(&load, "", &oid, 0, err));
	qsort(load.made.entries, load.made.count, sizeof *load.made.entries, compare_entries);
	ls_snapshot_done(out);
	*out = load.made;
	load.made = (struct ls_snapshot){ 0 };
	return LS_OK;
}

static void free_files(struct ls_tree_file **files)
{
	free(*files); /* paths and bytes are the snapshot's */
	*files = NULL;
}

enum ls_code ls_snapshot_state(
	const struct ls_snapshot *snapshot, struct ls_state *out, struct ls_err *err)
{
	LS_CLEANUP(free_files)
	struct ls_tree_file *files = ls_alloc(snapshot->count, sizeof *files);
	struct ls_tree tree = { files, 0 };

	for (size_t i = 0; i < snapshot->count; i++)
		if (!snapshot->entries[i].is_dir)
			files[tree.count++] = (struct ls_tree_file){ snapshot->entries[i].path,
				snapshot->entries[i].bytes };
	return ls_state_from_tree(&tree, out, err);
}

enum ls_code ls_history_read(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_generation *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
	git_oid oid;

	LS_TRY(ls_repo_oid(id, &oid, err));
	LS_TRY(ls_repo_read(history, &oid, GIT_OBJECT_COMMIT, &raw, err));
	if (ls_commit_parse(ls_buf_bytes(&raw), out, NULL, NULL, err) != LS_OK)
		return LS_WRAP(err, "commit %s", id->hex);
	out->commit = *id;
	return LS_OK;
}

enum ls_code ls_history_load(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_state *out, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_snapshot_done) struct ls_snapshot snapshot = { 0 };

	LS_TRY(ls_history_read(history, id, &about, err));
	if (ls_snapshot_load(history, about.tree, NULL, &snapshot, err) != LS_OK ||
		ls_snapshot_state(&snapshot, out, err) != LS_OK)
		return LS_WRAP(err, "generation %lld (commit %.12s)", (long long)about.generation,
			id->hex);
	return LS_OK;
}

enum ls_code ls_history_find(struct ls_history *history, const struct ls_commit_id *from,
	int64_t generation, struct ls_commit_id *out, struct ls_err *err)
{
	struct ls_commit_id id = *from;

	while (id.hex[0]) {
		LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

		LS_TRY(ls_history_read(history, &id, &about, err));
		if (about.generation == generation) {
			*out = id;
			return LS_OK;
		}
		if (about.generation < generation)
			break;
		id = about.parent;
	}
	return LS_FAIL(err, LS_E_NOT_FOUND, "there is no generation %lld", (long long)generation);
}
