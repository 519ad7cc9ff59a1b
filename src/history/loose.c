/* Loose objects. Lockstep writes none, but stock git may.
 *
 * Read here and not by libgit2 1.5, which on a damaged one writes beyond its buffer (the header
 * says fewer bytes than there are) or never returns (the stream is cut off).
 */
#include <fcntl.h>
#include <string.h>
#include <zlib.h>

#include "base/text.h"
#include "history/repo.h"
#include "sys/file.h"

#define HEADER_MAX 32
#define STEP_BYTES 65536

static void stream_done(z_stream *stream)
{
	(void)inflateEnd(stream); /* only says whether the stream was whole; inflate said it too */
}

/* The whole of a zlib stream with nothing behind it, at most max_bytes. */
static bool inflate_all(const struct ls_buf *packed, size_t max_bytes, struct ls_buf *out)
{
	LS_CLEANUP(stream_done) z_stream stream = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf part = { 0 };
	int rc = inflateInit(&stream);

	if (rc != Z_OK)
		return false;
	part.data = ls_alloc(1, STEP_BYTES);
	stream.next_in = (Bytef *)packed->data;
	stream.avail_in = (uInt)packed->len;
	while (rc == Z_OK && out->len <= max_bytes) {
		stream.next_out = (Bytef *)part.data;
		stream.avail_out = STEP_BYTES;
		rc = inflate(&stream, Z_NO_FLUSH);
		ls_buf_add(out, part.data, STEP_BYTES - stream.avail_out);
	}
	return rc == Z_STREAM_END && stream.avail_in == 0 && out->len <= max_bytes;
}

/* "TYPE SIZE\0"; gives where the content begins. */
static bool read_header(const struct ls_buf *object, git_object_t *out_type, size_t *out_head)
{
	const char *text = ls_buf_text(object);
	size_t len = strnlen(text, HEADER_MAX);
	const char *space = strchr(text, ' ');
	char type[HEADER_MAX + 1];
	int64_t size;

	if (len == HEADER_MAX || len >= object->len || !space || space > text + len ||
		!ls_text_number(space + 1, 0, INT64_MAX, &size))
		return false;
	(void)snprintf(type, sizeof type, "%.*s", (int)(space - text), text);
	*out_type = git_object_string2type(type);
	*out_head = len + 1;
	return *out_type != GIT_OBJECT_INVALID && (uint64_t)size == object->len - *out_head;
}

enum ls_code ls_loose_read(const struct ls_history *history, const git_oid *oid, size_t max_bytes,
	git_object_t *out_type, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf packed = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf object = { 0 };
	LS_CLEANUP(ls_free_str) char *path = NULL;
	char hex[GIT_OID_HEXSZ + 1];
	git_object_t type;
	git_oid again;
	size_t head;

	(void)git_oid_tostr(hex, sizeof hex, oid);
	path = ls_format("%s/objects/%.2s/%s", history->path, hex, hex + 2);
	LS_TRY(ls_file_read(AT_FDCWD, path, max_bytes + HEADER_MAX, &packed, err));
	if (!inflate_all(&packed, max_bytes + HEADER_MAX, &object) ||
		!read_header(&object, &type, &head) ||
		git_odb_hash(&again, object.data + head, object.len - head, type) != 0 ||
		!git_oid_equal(&again, oid))
		return LS_FAIL(err, LS_E_DAMAGED, "loose object %s is not intact", hex);
	*out_type = type;
	ls_buf_clear(out);
	ls_buf_add(out, object.data + head, object.len - head);
	return LS_OK;
}
