#include "history/walk.h"

#include <stdlib.h>
#include <string.h>

#define HEX_LINE "0123456789abcdef"
#define SEEN_FIRST 256

/* Ids that were met, in a table that is at most half full. */
struct seen {
	git_oid *slots;
	bool *used;
	size_t room, count;
};

struct walk {
	struct ls_history *history;
	ls_walk_lost *lost;
	void *arg;
	struct seen seen;
	struct ls_walk_object *stack;
	size_t count, room;
};

static void walk_done(struct walk *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->stack[i].path);
	free(w->stack);
	free(w->seen.slots);
	free(w->seen.used);
}

static size_t slot_of(const struct seen *seen, const git_oid *oid)
{
	size_t at;

	memcpy(&at, oid->id, sizeof at); /* as good as random */
	at &= seen->room - 1;
	while (seen->used[at] && !git_oid_equal(&seen->slots[at], oid))
		at = (at + 1) & (seen->room - 1);
	return at;
}

static void grow(struct seen *seen)
{
	struct seen wider = { .room = seen->room ? 2 * seen->room : SEEN_FIRST };

	wider.slots = ls_alloc(wider.room, sizeof *wider.slots);
	wider.used = ls_alloc(wider.room, sizeof *wider.used);
	for (size_t i = 0; i < seen->room; i++) {
		size_t at;

		if (!seen->used[i])
			continue;
		at = slot_of(&wider, &seen->slots[i]);
		wider.slots[at] = seen->slots[i];
		wider.used[at] = true;
		wider.count++;
	}
	free(seen->slots);
	free(seen->used);
	*seen = wider;
}

/* False: it was met before. */
static bool meet(struct seen *seen, const git_oid *oid)
{
	size_t at;

	if (2 * seen->count >= seen->room)
		grow(seen);
	at = slot_of(seen, oid);
	if (seen->used[at])
		return false;
	seen->slots[at] = *oid;
	seen->used[at] = true;
	seen->count++;
	return true;
}

static void push(
	struct walk *w, const git_oid *oid, git_object_t type, int64_t generation, const char *path)
{
	if (!meet(&w->seen, oid))
		return;
	if (w->count == w->room) {
		w->room = w->room ? 2 * w->room : 64;
		w->stack = ls_realloc(w->stack, w->room, sizeof *w->stack);
	}
	w->stack[w->count++] = (struct ls_walk_object){ *oid, type, generation, ls_strdup(path) };
}

/* The id behind a header's name at the beginning of a line. */
static bool header_id(const char *line, const char *name, git_oid *out)
{
	size_t len = strlen(name);

	return strncmp(line, name, len) == 0 && strspn(line + len, HEX_LINE) == GIT_OID_HEXSZ &&
	       git_oid_fromstrn(out, line + len, GIT_OID_HEXSZ) == 0;
}

static int64_t own_number(const char *text)
{
	static const char key[] = "\nLockstep-Generation: ";
	const char *found = strstr(text, key);
	int64_t number = 0;
	char digits[24];

	if (!found)
		return 0;
	found += sizeof key - 1;
	(void)snprintf(digits, sizeof digits, "%.*s", (int)strcspn(found, "\n"), found);
	return ls_text_number(digits, 1, INT64_MAX, &number) ? number : 0;
}

/* The parent first, so that the tree is popped before it. */
static void push_commit(
	struct walk *w, const struct ls_walk_object *commit, const struct ls_buf *raw)
{
	const char *text = ls_buf_text(raw);
	int64_t number = own_number(text);
	git_oid tree, parent;
	bool has_tree = header_id(text, "tree ", &tree);

	number = number ? number : commit->generation;
	for (const char *line = text; line && *line && *line != '\n';) {
		if (header_id(line, "parent ", &parent))
			push(w, &parent, GIT_OBJECT_COMMIT, number > 1 ? number - 1 : 0, "");
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (has_tree)
		push(w, &tree, GIT_OBJECT_TREE, number, "");
}

/* "MODE NAME\0" and 20 bytes, again and again. */
static void push_tree(struct walk *w, const struct ls_walk_object *tree, const struct ls_buf *raw)
{
	const char *at = ls_buf_text(raw), *end = at + raw->len;

	while (at < end) {
		LS_CLEANUP(ls_free_str) char *path = NULL;
		const char *name = memchr(at, ' ', (size_t)(end - at));
		const char *nul = name ? memchr(name, '\0', (size_t)(end - name)) : NULL;
		git_oid oid;

		if (!nul || end - nul - 1 < GIT_OID_RAWSZ ||
			git_oid_fromraw(&oid, (const unsigned char *)nul + 1) != 0)
			return;
		path = ls_format("%s%s%s", tree->path, tree->path[0] ? "/" : "", name + 1);
		push(w, &oid, *at == '4' ? GIT_OBJECT_TREE : GIT_OBJECT_BLOB, tree->generation,
			path);
		at = nul + 1 + GIT_OID_RAWSZ;
	}
}

void ls_walk(struct ls_history *history, const git_oid *head, ls_walk_lost *lost, void *arg)
{
	LS_CLEANUP(walk_done)
	struct walk w = { .history = history, .lost = lost, .arg = arg };

	push(&w, head, GIT_OBJECT_COMMIT, 0, "");
	while (w.count > 0) {
		struct ls_walk_object object = w.stack[--w.count];
		LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
		struct ls_err why = { 0 };
		bool have = ls_repo_read(history, &object.oid, object.type, &raw, &why) == LS_OK;

		if (!have)
			have = lost(arg, &object, &why, &raw);
		if (have && object.type == GIT_OBJECT_COMMIT)
			push_commit(&w, &object, &raw);
		else if (have && object.type == GIT_OBJECT_TREE)
			push_tree(&w, &object, &raw);
		free(object.path);
	}
}
