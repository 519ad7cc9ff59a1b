/* A history whose files on the disk are damaged: packs, indexes, refs, configuration. The input is
 * a list of edits to a small repository of two generations (support/disk); half of them put the
 * file's checksum right again. What verifies must be what was written. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history/history.h"
#include "pki/sha1.h"
#include "sys/file.h"
#include "tests/fuzz/support/repo.h"
#include "tests/fuzz/support/scratch.h"

#define FIXTURE "tests/fuzz/support/disk/"
#define EDITS_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct file {
	const char *fixture; /* NULL: not there at first */
	const char *name;
	bool has_sum;
	struct ls_buf right;
} files[] = {
	{ "1.pack", "objects/pack/pack-1111111111111111111111111111111111111111.pack", true,
		{ 0 } },
	{ "1.idx", "objects/pack/pack-1111111111111111111111111111111111111111.idx", true, { 0 } },
	{ "2.pack", "objects/pack/pack-2222222222222222222222222222222222222222.pack", true,
		{ 0 } },
	{ "2.idx", "objects/pack/pack-2222222222222222222222222222222222222222.idx", true, { 0 } },
	{ "main", "refs/heads/main", false, { 0 } },
	{ NULL, "packed-refs", false, { 0 } },
	{ "HEAD", "HEAD", false, { 0 } },
	{ "config", "config", false, { 0 } },
	{ NULL, "objects/info/alternates", false, { 0 } },
	{ NULL, "objects/pack/multi-pack-index", true, { 0 } },
	{ NULL, "objects/info/commit-graph", true, { 0 } },
};

static char *path;
static struct ls_commit_id first, second;
static struct ls_tree want;

static void put(const struct file *file, const struct ls_buf *bytes)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("history.git/%s", file->name);

	scratch_put(name, ls_buf_bytes(bytes));
}

/* A commit's id as a fixture file. */
static void read_id(const char *name, struct ls_commit_id *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_free_str) char *file = ls_format(FIXTURE "%s", name);
	struct ls_err err;

	if (ls_file_read(AT_FDCWD, file, 64, &text, &err) != LS_OK || text.len < 40)
		abort();
	memcpy(out->hex, text.data, 40);
	out->hex[40] = '\0';
}

static void read_fixture(void)
{
	struct ls_err err;

	for (size_t i = 0; i < LS_COUNT(files); i++) {
		LS_CLEANUP(ls_free_str) char *name = NULL;

		if (!files[i].fixture)
			continue;
		name = ls_format(FIXTURE "%s", files[i].fixture);
		if (ls_file_read(AT_FDCWD, name, 1 << 20, &files[i].right, &err) != LS_OK) {
			fprintf(stderr, "%s (start it in the source's folder)\n", err.text);
			abort();
		}
		put(&files[i], &files[i].right);
	}
	read_id("first", &first);
	read_id("main", &second);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	LS_CLEANUP(ls_history_free) struct ls_history *history = NULL;
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_err err;
	int64_t count;

	(void)argc;
	(void)argv;
	path = ls_format("%s/history.git", scratch_dir());
	if (ls_history_create(path, &err) != LS_OK)
		abort();
	read_fixture();
	if (ls_history_open(path, &history, &err) != LS_OK ||
		ls_history_load(history, &second, &state, &err) != LS_OK ||
		ls_history_verify(history, &second, &first, NULL, NULL, &count, &err) != LS_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	ls_state_to_tree(&state, &want);
	return 0;
}

struct edits {
	const uint8_t *at, *end;
	struct ls_buf now[LS_COUNT(files)];
	bool touched[LS_COUNT(files)];
};

static unsigned take(struct edits *e)
{
	return e->at < e->end ? *e->at++ : 0;
}

static void put_checksum(struct ls_buf *bytes)
{
	if (bytes->len >= LS_SHA1_BYTES)
		ls_sha1((struct ls_bytes){ bytes->data, bytes->len - LS_SHA1_BYTES },
			(unsigned char *)bytes->data + bytes->len - LS_SHA1_BYTES);
}

static void edit_one(struct edits *e)
{
	size_t which = take(e) % LS_COUNT(files);
	unsigned how = take(e), high = take(e);
	size_t at = high << 8 | take(e), len = take(e);
	LS_CLEANUP(ls_buf_done) struct ls_buf from = { 0 };
	struct ls_buf *to = &e->now[which];
	struct ls_bytes fresh = { e->at, 0 };

	if (how & 2 || how & 8)
		fresh.len = len < (size_t)(e->end - e->at) ? len : (size_t)(e->end - e->at);
	e->at += fresh.len;
	e->touched[which] = true;
	ls_buf_copy(&from, to);
	at = from.len ? at % from.len : 0;
	if (how & 4) /* counted from the end */
		at = from.len - at;
	ls_buf_clear(to);
	ls_buf_add(to, from.data ? from.data : "", at);
	ls_buf_add_bytes(to, fresh);
	if (how & 8) /* written over */
		at += fresh.len;
	else if (!(how & 2)) /* taken out */
		at += len;
	if (at < from.len && !(how & 16)) /* else cut off */
		ls_buf_add(to, from.data + at, from.len - at);
	if (how & 1 && files[which].has_sum)
		put_checksum(to);
}

static void look(void)
{
	LS_CLEANUP(ls_history_free) struct ls_history *history = NULL;
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_tree_done) struct ls_tree tree = { 0 };
	struct ls_commit_id head, found;
	struct ls_err err = { 0 };
	int64_t count;

	if (ls_history_open(path, &history, &err) != LS_OK) {
		if (!err.text[0])
			abort();
		return;
	}
	if (ls_history_head(history, &head, &err) != LS_OK && !err.text[0])
		abort();
	LS_IGNORE(ls_history_find(history, &second, 1, &found, &err)); /* may fail, not fall over */
	if (ls_history_load(history, &second, &state, &err) != LS_OK) {
		if (!err.text[0])
			abort();
	} else {
		ls_state_to_tree(&state, &tree);
		if (tree.count != want.count)
			abort();
		for (size_t i = 0; i < tree.count; i++)
			if (!ls_bytes_equal(ls_buf_bytes(&tree.files[i].bytes),
				    ls_buf_bytes(&want.files[i].bytes)))
				abort();
	}
	if (ls_history_verify(history, &second, &first, NULL, NULL, &count, &err) == LS_OK
			? count != 2
			: !err.text[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct edits e = { .at = data, .end = data + size };

	if (size > 1u << 16)
		return 0;
	for (size_t i = 0; i < LS_COUNT(files); i++)
		ls_buf_copy(&e.now[i], &files[i].right);
	for (int i = 0; i < EDITS_MAX && e.at < e.end; i++)
		edit_one(&e);
	for (size_t i = 0; i < LS_COUNT(files); i++)
		if (e.touched[i])
			put(&files[i], &e.now[i]);
	look();
	for (size_t i = 0; i < LS_COUNT(files); i++) {
		LS_CLEANUP(ls_free_str) char *name = ls_format("%s/%s", path, files[i].name);

		if (e.touched[i] && files[i].fixture)
			put(&files[i], &files[i].right);
		else if (e.touched[i])
			(void)unlink(name);
		ls_buf_done(&e.now[i]);
	}
	return 0;
}
