#include "tests/fuzz/support/der.h"

#include <string.h>

#define DEPTH_MAX 40
#define OCTETS 0x04
#define BITS 0x03
#define CONSTRUCTED 0x20

static const unsigned char *bytes_at(struct ls_bytes der, size_t at)
{
	return (const unsigned char *)der.data + at;
}

bool der_head(struct ls_bytes der, size_t at, struct der_node *out)
{
	const unsigned char *p = bytes_at(der, at);
	size_t left = der.len - at, more;

	if (at >= der.len || left < 2 || (p[0] & 0x1f) == 0x1f)
		return false;
	*out = (struct der_node){ .at = at, .head = 2, .len = p[1] };
	if (p[1] & 0x80) {
		more = p[1] & 0x7fu;
		if (more == 0 || more > 4 || left < 2 + more)
			return false;
		out->len = 0;
		for (size_t i = 0; i < more; i++)
			out->len = out->len << 8 | p[2 + i];
		out->head = 2 + more;
	}
	return out->len <= left - out->head;
}

/* Whether [at, end) is whole elements. */
static bool whole(struct ls_bytes der, size_t at, size_t end)
{
	struct ls_bytes part = { der.data, end };
	struct der_node node;

	while (at < end) {
		if (!der_head(part, at, &node))
			return false;
		at += node.head + node.len;
	}
	return true;
}

/* Where the elements inside begin; 0 when there are none. */
static size_t inside(struct ls_bytes der, const struct der_node *node)
{
	unsigned char tag = *bytes_at(der, node->at);
	size_t at = node->at + node->head;
	size_t skip = tag == BITS ? 1 : 0;

	if (!(tag & CONSTRUCTED) && tag != OCTETS && tag != BITS)
		return 0;
	if (node->len <= skip + 1 || (skip && *bytes_at(der, at) != 0) ||
		!whole(der, at + skip, at + node->len))
		return 0;
	return at + skip;
}

static bool collect(struct ls_bytes der, size_t at, size_t end, int depth, struct der_node *out,
	size_t max, size_t *count)
{
	struct ls_bytes part = { der.data, end };

	while (at < end) {
		struct der_node node;
		size_t in;

		if (!der_head(part, at, &node))
			return false;
		in = depth < DEPTH_MAX ? inside(der, &node) : 0;
		node.depth = depth;
		node.nested = in != 0;
		if (*count < max)
			out[(*count)++] = node;
		if (in)
			(void)collect(der, in, node.at + node.head + node.len, depth + 1, out, max,
				count);
		at += node.head + node.len;
	}
	return true;
}

size_t der_nodes(struct ls_bytes der, struct der_node *out, size_t max)
{
	size_t count = 0;

	return collect(der, 0, der.len, 0, out, max, &count) ? count : 0;
}

void der_add(struct ls_buf *out, unsigned char tag, struct ls_bytes content)
{
	unsigned char head[6] = { tag, (unsigned char)content.len };
	size_t len = 2, more = 0;

	if (content.len >= 0x80) {
		while (more < 4 && content.len >> (8 * more))
			more++;
		head[1] = (unsigned char)(0x80 | more);
		for (size_t i = 0; i < more; i++)
			head[len++] = (unsigned char)(content.len >> (8 * (more - 1 - i)));
	}
	ls_buf_add(out, head, len);
	ls_buf_add_bytes(out, content);
}

struct edit {
	size_t at, gone;
	struct ls_bytes put;
};

static void rewrite(struct ls_bytes der, size_t at, size_t end, const struct edit *edit, int depth,
	struct ls_buf *out)
{
	struct ls_bytes part = { der.data, end };
	struct der_node node;

	for (; at < end && der_head(part, at, &node); at = node.at + node.head + node.len) {
		LS_CLEANUP(ls_buf_done) struct ls_buf content = { 0 };
		size_t start = node.at + node.head, stop = start + node.len;
		bool within = edit->at >= start && edit->at < stop &&
			      edit->at + edit->gone <= stop && depth < DEPTH_MAX;
		size_t in = within ? inside(der, &node) : 0;

		if (!within) {
			if (edit->at >= at && edit->at < start + node.len)
				break; /* this element goes, or something comes before it */
			ls_buf_add(out, bytes_at(der, at), stop - at);
			continue;
		}
		if (in && edit->at >= in) {
			ls_buf_add(&content, bytes_at(der, start), in - start);
			rewrite(der, in, stop, edit, depth + 1, &content);
		} else {
			ls_buf_add(&content, bytes_at(der, start), edit->at - start);
			ls_buf_add_bytes(&content, edit->put);
			ls_buf_add(&content, bytes_at(der, edit->at + edit->gone),
				stop - edit->at - edit->gone);
		}
		der_add(out, *bytes_at(der, at), ls_buf_bytes(&content));
	}
	if (at >= end)
		return;
	/* The edit is at this level, or from here on nothing reads as DER. */
	if (edit->at >= at && edit->at + edit->gone <= end) {
		ls_buf_add(out, bytes_at(der, at), edit->at - at);
		ls_buf_add_bytes(out, edit->put);
		at = edit->at + edit->gone;
	}
	ls_buf_add(out, bytes_at(der, at), end - at);
}

void der_splice(
	struct ls_bytes der, size_t at, size_t gone, struct ls_bytes put, struct ls_buf *out)
{
	const struct edit edit = { at, gone, put };

	ls_buf_clear(out);
	rewrite(der, 0, der.len, &edit, 0, out);
}

void der_to_pem(struct ls_bytes der, const char *label, struct ls_buf *out)
{
	LS_CLEANUP(ls_free_str) char *text = ls_base64(der);
	size_t len = strlen(text);

	ls_buf_printf(out, "-----BEGIN %s-----\n", label);
	for (size_t at = 0; at < len; at += 64)
		ls_buf_printf(out, "%.64s\n", text + at);
	ls_buf_printf(out, "-----END %s-----\n", label);
}
