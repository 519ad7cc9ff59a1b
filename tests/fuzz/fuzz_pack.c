/* Packs as they come from the store. The first byte says how the rest is meant: 'r' a pack as it
 * is, 'k' one whose checksum is put right first, else a script by which objects are packed: types,
 * sizes that may lie, streams that may be cut off, deltas. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "history/pack.h"
#include "history/repo.h"
#include "pki/sha1.h"
#include "tests/fuzz/support/repo.h"
#include "tests/fuzz/support/scratch.h"

#define OBJECTS_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *path;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct ls_err err;

	(void)argc;
	(void)argv;
	path = ls_format("%s/history.git", scratch_dir());
	if (ls_history_create(path, &err) != LS_OK)
		abort();
	return 0;
}

/* ---- the script ---- */

struct script {
	const uint8_t *at, *end;
	struct ls_buf pack;
	size_t starts[OBJECTS_MAX];
	unsigned char ids[OBJECTS_MAX][LS_SHA1_BYTES];
	size_t count;
	struct ls_commit_id commit;
};

static unsigned take(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static struct ls_bytes take_bytes(struct script *s, size_t len)
{
	struct ls_bytes bytes = { s->at, len };

	if (bytes.len > (size_t)(s->end - s->at))
		bytes.len = (size_t)(s->end - s->at);
	s->at += bytes.len;
	return bytes;
}

static void add_byte(struct ls_buf *out, unsigned byte)
{
	unsigned char c = (unsigned char)byte;

	ls_buf_add(out, &c, 1);
}

static void add_head(struct ls_buf *out, unsigned type, uint64_t size)
{
	unsigned byte = (type & 7) << 4 | (size & 15);

	for (size >>= 4; size; size >>= 7) {
		add_byte(out, byte | 0x80);
		byte = size & 0x7f;
	}
	add_byte(out, byte);
}

static void add_distance(struct ls_buf *out, uint64_t distance)
{
	unsigned char bytes[10];
	size_t at = sizeof bytes;

	bytes[--at] = distance & 0x7f;
	while (distance >>= 7)
		bytes[--at] = (unsigned char)(0x80 | (--distance & 0x7f));
	ls_buf_add(out, bytes + at, sizeof bytes - at);
}

static void add_stream(struct script *s, struct ls_bytes content, unsigned how)
{
	LS_CLEANUP(ls_free_str) char *packed = NULL;
	uLongf len = compressBound(content.len);

	if (how & 0x20) { /* what is there counts as the stream */
		ls_buf_add_bytes(&s->pack, content);
		return;
	}
	packed = ls_alloc(len, 1);
	if (compress2((Bytef *)packed, &len, content.len ? content.data : "", content.len, 1) !=
		Z_OK)
		abort();
	if (how & 0x10)
		len = len * take(s) / 256;
	ls_buf_add(&s->pack, packed, len);
}

static void set_id(struct script *s, const char *type, struct ls_bytes content)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf object = { 0 };

	ls_buf_printf(&object, "%s %zu", type, content.len);
	ls_buf_add(&object, "", 1);
	ls_buf_add_bytes(&object, content);
	ls_sha1(ls_buf_bytes(&object), s->ids[s->count]);
}

static void add_object(struct script *s)
{
	static const char *const names[] = { "", "commit", "tree", "blob", "tag", "", "", "" };
	unsigned how = take(s), type = how & 7;
	uint64_t size, distance = take(s);
	struct ls_bytes content = take_bytes(s, take(s) | take(s) << 8);

	size = content.len;
	if (how & 8)
		size = take(s) | take(s) << 8 | take(s) << 16 | (uint64_t)take(s) << 24;
	s->starts[s->count] = s->pack.len;
	set_id(s, names[type], content);
	if (type == GIT_OBJECT_COMMIT)
		ls_hex(s->ids[s->count], LS_SHA1_BYTES, s->commit.hex);
	add_head(&s->pack, type, size);
	if (type == 6 && s->count > 0 && !(how & 0x40))
		distance = s->pack.len - s->starts[distance % s->count];
	if (type == 6)
		add_distance(&s->pack, distance);
	if (type == 7)
		ls_buf_add(&s->pack, s->ids[distance % (s->count + 1)], LS_SHA1_BYTES);
	add_stream(s, content, how);
	s->count++;
}

static void by_script(struct script *s)
{
	unsigned lie = take(s);

	ls_buf_add(&s->pack, "PACK\0\0\0\2\0\0\0\0", 12);
	while (s->at < s->end && s->count < OBJECTS_MAX)
		add_object(s);
	s->pack.data[11] = (char)(lie ? lie : s->count);
}

static void put_checksum(struct ls_buf *pack)
{
	unsigned char sum[LS_SHA1_BYTES];

	ls_sha1(ls_buf_bytes(pack), sum);
	ls_buf_add(pack, sum, sizeof sum);
}

/* The commit that the pack is asked for: the first 40 bytes of the input. */
static void read_pack(struct script *s, bool right)
{
	struct ls_bytes hex = take_bytes(s, 40);

	memset(s->commit.hex, '0', 40);
	memcpy(s->commit.hex, hex.data, hex.len);
	ls_buf_add(&s->pack, "", 0);
	ls_buf_add(&s->pack, s->at, (size_t)(s->end - s->at));
	if (right && s->pack.len >= LS_SHA1_BYTES)
		s->pack.len -= LS_SHA1_BYTES;
	if (right)
		put_checksum(&s->pack);
}

/* ---- what is done with it ---- */

static void use(const struct ls_commit_id *id, struct ls_bytes pack)
{
	LS_CLEANUP(ls_history_free) struct ls_history *history = NULL;
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_err err = { 0 };
	bool whole = ls_pack_check(pack, &err) == LS_OK;
	int64_t count;

	if (ls_history_open(path, &history, &err) != LS_OK)
		abort();
	if (ls_history_accept(history, id, pack, &err) != LS_OK) {
		if (!err.text[0])
			abort();
		return;
	}
	if (!whole) /* libgit2 was to see nothing else */
		abort();
	LS_IGNORE(ls_history_read(history, id, &about, &err)); /* only for what they do to it */
	LS_IGNORE(ls_history_judge(history, id, &state, &err));
	LS_IGNORE(ls_history_verify(history, id, id, NULL, NULL, &count, &err));
	if (ls_history_discard(history, id, &err) != LS_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { .at = data + 1, .end = data + size };

	if (size < 1 || size > 1u << 20)
		return 0;
	memset(s.commit.hex, '1', 40);
	if (data[0] == 'r' || data[0] == 'k') {
		read_pack(&s, data[0] == 'k');
	} else {
		by_script(&s);
		put_checksum(&s.pack);
	}
	use(&s.commit, ls_buf_bytes(&s.pack));
	repo_clear_packs(path);
	ls_buf_done(&s.pack);
	return 0;
}
