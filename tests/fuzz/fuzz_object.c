/* Loose objects and trees on disk. The first byte says what the rest is: 'z' a file as it lies
 * there, 'o' what it holds ("TYPE SIZE", NUL, content), 't' the root tree of a generation, 'c' a
 * commit that still has to be signed, in which 40 times 't' and 40 times 'p' stand for a real tree
 * and parent. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "history/commit.h"
#include "history/repo.h"
#include "pki/sha1.h"
#include "tests/fuzz/support/fixed.h"
#include "tests/fuzz/support/repo.h"
#include "tests/fuzz/support/scratch.h"

#define NOBODY "0123456789abcdef0123456789abcdef01234567"
#define INFLATED_MAX (1u << 22)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *path;
static struct ls_history *history;
static struct ls_commit_id first;
static char tree[41];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct ls_commit_id none = { "" };
	static const char *const texts[] = { "1\n", "hello\n", "" };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	struct ls_err err;

	(void)argc;
	(void)argv;
	path = ls_format("%s/history.git", scratch_dir());
	if (ls_history_create(path, &err) != LS_OK ||
		ls_history_open(path, &history, &err) != LS_OK)
		abort();
	repo_compose(history, "${fqdn}", 1, &none, &first, &pack);
	if (ls_history_accept(history, &first, ls_buf_bytes(&pack), &err) != LS_OK ||
		ls_history_judge(history, &first, NULL, &err) != LS_OK ||
		ls_history_read(history, &first, &about, &err) != LS_OK)
		abort();
	memcpy(tree, about.tree, sizeof tree);
	/* What the trees of the corpus name. */
	for (size_t i = 0; i < LS_COUNT(texts); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
		char hex[41];

		repo_loose("blob", LS_BYTES_STR(texts[i]), &raw, hex);
		repo_put_loose(path, hex, ls_buf_bytes(&raw));
	}
	return 0;
}

/* What a stream holds, as far as it is one: its id decides whether the reader takes it. */
static void id_of_stream(struct ls_bytes raw, char out_hex[41])
{
	LS_CLEANUP(ls_free_str) char *plain = ls_alloc(INFLATED_MAX, 1);
	unsigned char id[LS_SHA1_BYTES];
	uLongf len = INFLATED_MAX;

	memcpy(out_hex, NOBODY, 41);
	if (uncompress((Bytef *)plain, &len, raw.data, raw.len) != Z_OK)
		return;
	ls_sha1((struct ls_bytes){ plain, len }, id);
	ls_hex(id, sizeof id, out_hex);
}

static void read_loose(struct ls_bytes raw, const char *hex)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	struct ls_err err = { 0 };
	git_object_t type;
	git_oid oid;

	repo_put_loose(path, hex, raw);
	if (git_oid_fromstr(&oid, hex) != 0)
		abort();
	if (ls_loose_read(history, &oid, LS_OBJECT_BYTES_MAX, &type, &bytes, &err) != LS_OK
			? !err.text[0]
			: bytes.len > LS_OBJECT_BYTES_MAX)
		abort();
	repo_drop_loose(path, hex);
}

static void read_content(struct ls_bytes object)
{
	LS_CLEANUP(ls_free_str) char *packed = NULL;
	unsigned char id[LS_SHA1_BYTES];
	char hex[41];
	uLongf len = compressBound(object.len);

	ls_sha1(object, id);
	ls_hex(id, sizeof id, hex);
	packed = ls_alloc(len, 1);
	if (compress2((Bytef *)packed, &len, object.data, object.len, 1) != Z_OK)
		abort();
	read_loose((struct ls_bytes){ packed, len }, hex);
}

static void read_tree(struct ls_bytes content)
{
	LS_CLEANUP(ls_snapshot_done) struct ls_snapshot snapshot = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
	struct ls_err err = { 0 };
	char hex[41];

	repo_loose("tree", content, &raw, hex);
	repo_put_loose(path, hex, ls_buf_bytes(&raw));
	if (ls_snapshot_load(history, hex, NULL, &snapshot, &err) == LS_OK)
		LS_IGNORE(ls_snapshot_state(&snapshot, &state, &err)); /* rarely a whole one */
	else if (!err.text[0])
		abort();
	repo_drop_loose(path, hex);
}

static void put_ids(struct ls_buf *text)
{
	char mark[41] = "";
	char *at;

	memset(mark, 't', 40);
	at = strstr(text->data, mark);
	if (at)
		memcpy(at, tree, 40);
	memset(mark, 'p', 40);
	at = strstr(text->data, mark);
	if (at)
		memcpy(at, first.hex, 40);
}

/* Signed by the member, so that everything behind the signature is reached. */
static void judge_commit(struct ls_bytes unsigned_text)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf commit = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
	struct ls_signer signer = { 0 };
	const struct ls_commit_id none = { "" };
	struct ls_commit_id id;
	struct ls_err err = { 0 };
	int64_t count;

	ls_buf_add(&text, "", 0);
	ls_buf_add_bytes(&text, unsigned_text);
	put_ids(&text);
	fixed_member(&signer);
	if (ls_sign(ls_buf_bytes(&text), &signer, &signature, &err) != LS_OK)
		abort();
	ls_buf_done(&signer.cert_pem);
	ls_commit_attach(ls_buf_bytes(&text), ls_buf_bytes(&signature), &commit);
	repo_loose("commit", ls_buf_bytes(&commit), &raw, id.hex);
	repo_put_loose(path, id.hex, ls_buf_bytes(&raw));
	if (ls_history_judge(history, &id, NULL, &err) == LS_OK) {
		/* What one commit is judged by holds for the whole way to the root. */
		if (ls_history_verify(history, &id, &none, NULL, NULL, &count, &err) != LS_OK &&
			strstr(err.text, "generation"))
			abort();
	} else if (!err.text[0]) {
		abort();
	}
	repo_drop_loose(path, id.hex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_bytes rest = { data + 1, size - 1 };
	char hex[41];

	if (size < 1 || size > 1u << 20)
		return 0;
	switch (data[0]) {
	case 'z':
		id_of_stream(rest, hex);
		read_loose(rest, hex);
		break;
	case 'o':
		read_content(rest);
		break;
	case 't':
		read_tree(rest);
		break;
	default:
		judge_commit(rest);
	}
	return 0;
}
