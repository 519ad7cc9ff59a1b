#include "history/pack.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "history/repo.h"
#include "pki/sha1.h"

#define HEAD_BYTES 12 /* "PACK", version, number of objects */
#define STEP_BYTES 65536

void ls_pack_done(struct ls_pack *pack)
{
	ls_buf_done(&pack->objects);
	pack->count = 0;
}

static bool type_valid(unsigned type)
{
	return type == GIT_OBJECT_COMMIT || type == GIT_OBJECT_TREE || type == GIT_OBJECT_BLOB;
}

/* ---- writing ---- */

/* Type and size: four bits of the size in the first byte, seven in each further one. */
static void add_head(struct ls_buf *out, unsigned type, size_t size)
{
	unsigned char byte = (unsigned char)(type << 4 | (size & 15));

	for (size >>= 4; size; size >>= 7) {
		byte |= 0x80;
		ls_buf_add(out, &byte, 1);
		byte = size & 0x7f;
	}
	ls_buf_add(out, &byte, 1);
}

enum ls_code ls_pack_add(
	struct ls_pack *pack, git_object_t type, struct ls_bytes content, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *packed = NULL;
	uLongf len;

	if (content.len > LS_OBJECT_BYTES_MAX || pack->count == LS_PACK_OBJECTS_MAX)
		return LS_FAIL(err, LS_E_REFUSED,
			"a generation with a file of %zu bytes or over %d files is too large",
			content.len, LS_PACK_OBJECTS_MAX);
	len = compressBound(content.len);
	packed = ls_alloc(1, len);
	if (compress((Bytef *)packed, &len, content.len ? content.data : (const Bytef *)"",
		    content.len) != Z_OK)
		return LS_FAIL(err, LS_E_FAILED, "deflate an object");
	add_head(&pack->objects, (unsigned)type, content.len);
	ls_buf_add(&pack->objects, packed, len);
	pack->count++;
	return LS_OK;
}

enum ls_code ls_pack_finish(const struct ls_pack *pack, struct ls_buf *out, struct ls_err *err)
{
	unsigned char head[HEAD_BYTES] = { 'P', 'A', 'C', 'K', 0, 0, 0, 2,
		(unsigned char)(pack->count >> 24), (unsigned char)(pack->count >> 16),
		(unsigned char)(pack->count >> 8), (unsigned char)pack->count };
	unsigned char sum[LS_SHA1_BYTES];

	ls_buf_clear(out);
	ls_buf_add(out, head, sizeof head);
	ls_buf_add_bytes(out, ls_buf_bytes(&pack->objects));
	ls_sha1(ls_buf_bytes(out), sum);
	ls_buf_add(out, sum, sizeof sum);
	if (ls_pack_check(ls_buf_bytes(out), err) == LS_OK)
		return LS_OK;
	if (err) /* nothing is damaged yet: it is more than fits */
		err->code = LS_E_REFUSED;
	return LS_E_REFUSED;
}

/* ---- checking ---- */

struct reader {
	const unsigned char *at, *end;
	unsigned char *step; /* STEP_BYTES to inflate into */
	size_t inflated;     /* so far, of all objects */
};

static void reader_done(struct reader *reader)
{
	free(reader->step);
}

static void stream_done(z_stream *stream)
{
	(void)inflateEnd(stream); /* inflate said whether the stream was whole */
}

static const char *read_head(struct reader *r, size_t *out_size)
{
	unsigned shift = 4;
	unsigned char byte;

	if (r->at == r->end)
		return "fewer objects than it says";
	byte = *r->at++;
	if (!type_valid(byte >> 4 & 7))
		return "an object that is no commit, tree or file";
	*out_size = byte & 15;
	for (; byte & 0x80; shift += 7) {
		if (r->at == r->end || shift > 25)
			return "an object without end of its size";
		byte = *r->at++;
		*out_size |= (size_t)(byte & 0x7f) << shift;
	}
	return *out_size > LS_OBJECT_BYTES_MAX ? "an object over 1 MiB" : NULL;
}

static const char *read_object(struct reader *r)
{
	LS_CLEANUP(stream_done) z_stream stream = { 0 };
	size_t size = 0, left;
	const char *wrong = read_head(r, &size);
	int rc;

	if (wrong)
		return wrong;
	r->inflated += size;
	if (r->inflated > LS_PACK_BYTES_MAX)
		return "more than 64 MiB of contents";
	rc = inflateInit(&stream);
	left = (size_t)(r->end - r->at);
	stream.next_in = (Bytef *)(uintptr_t)r->at;
	stream.avail_in = (uInt)left; /* a pack is far below 4 GiB */
	while (rc == Z_OK && stream.total_out <= size) {
		stream.next_out = r->step;
		stream.avail_out = STEP_BYTES;
		rc = inflate(&stream, Z_NO_FLUSH);
	}
	if (rc != Z_STREAM_END || stream.total_out != size)
		return "an object that is not of the size that it says";
	r->at += left - stream.avail_in;
	return NULL;
}

static const char *what_is_wrong(struct ls_bytes pack)
{
	LS_CLEANUP(reader_done) struct reader r = { .at = pack.data };
	unsigned char sum[LS_SHA1_BYTES];
	uint32_t count;

	if (pack.len > LS_PACK_BYTES_MAX)
		return "more than 64 MiB";
	if (pack.len < HEAD_BYTES + LS_SHA1_BYTES)
		return "cut off";
	ls_sha1((struct ls_bytes){ pack.data, pack.len - LS_SHA1_BYTES }, sum);
	r.end = r.at + pack.len - LS_SHA1_BYTES;
	if (memcmp(r.end, sum, sizeof sum) != 0)
		return "the checksum does not match";
	if (memcmp(r.at, "PACK\0\0\0\2", 8) != 0)
		return "not a pack of version 2";
	count = (uint32_t)r.at[8] << 24 | (uint32_t)r.at[9] << 16 | (uint32_t)r.at[10] << 8 |
		r.at[11];
	if (count == 0 || count > LS_PACK_OBJECTS_MAX)
		return "no objects, or too many";
	r.at += HEAD_BYTES;
	r.step = ls_alloc(1, STEP_BYTES);
	for (uint32_t i = 0; i < count; i++) {
		const char *wrong = read_object(&r);

		if (wrong)
			return wrong;
	}
	return r.at == r.end ? NULL : "bytes behind the last object";
}

enum ls_code ls_pack_check(struct ls_bytes pack, struct ls_err *err)
{
	const char *wrong = what_is_wrong(pack);

	return wrong ? LS_FAIL(err, LS_E_DAMAGED, "pack of a generation: %s", wrong) : LS_OK;
}
