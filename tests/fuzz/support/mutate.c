#include "tests/fuzz/support/mutate.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/support/der.h"
#include "tests/fuzz/support/fixed.h"

#define NODES_MAX 512
#define BLOCKS_MAX 32

/* xorshift: the whole sequence follows from the seed that libFuzzer gives. */
static uint32_t chance;

static uint32_t below(size_t n)
{
	chance ^= chance << 13;
	chance ^= chance >> 17;
	chance ^= chance << 5;
	return n ? (uint32_t)(chance % n) : 0;
}

static void seed_with(unsigned seed)
{
	chance = seed * 2654435761u | 1u;
}

/* ---- DER ---- */

static const unsigned char tags[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x14,
	0x16, 0x17, 0x18, 0x1a, 0x1c, 0x1e, 0x30, 0x31, 0x80, 0x81, 0x82, 0x84, 0x86, 0x87, 0xa0,
	0xa1, 0xa2, 0xa3, 0xa4 };

static const struct {
	const char *bytes;
	size_t len;
} odd[] = {
	{ "", 0 },
	{ "\x00", 1 },
	{ "\xff", 1 },
	{ "\x7f", 1 },
	{ "\x80", 1 },
	{ "\x00\x80", 2 },
	{ "\xff\xff", 2 },
	{ "\x7f\xff\xff\xff", 4 },
	{ "\x80\x00\x00\x00", 4 },
	{ "\x00\xff\xff\xff\xff", 5 },
	{ "\x7f\xff\xff\xff\xff\xff\xff\xff", 8 },
	{ "\x00\xff\xff\xff\xff\xff\xff\xff\xff", 9 },
	{ "99991231235959Z", 15 },
	{ "000101000000Z", 13 },
	{ "20500101000000.5+0100", 21 },
	{ "\x55\x1d\x0f", 3 },
	{ "\x55\x1d\x11", 3 },
	{ "\x55\x1d\x13", 3 },
	{ "\x55\x1d\x1e", 3 },
	{ "\x55\x1d\x25", 3 },
	{ "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 9 },
	{ "\x60\x86\x48\x01\x65\x03\x04\x02\x01", 9 },
};

static struct ls_bytes element(struct ls_bytes der, const struct der_node *node)
{
	return (struct ls_bytes){ (const char *)der.data + node->at, node->head + node->len };
}

/* A content changed as bytes. */
static void change_content(struct ls_bytes der, const struct der_node *node, struct ls_buf *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf content = { 0 };
	uint8_t bytes[4096 + 64];
	size_t len = node->len < 4096 ? node->len : 4096;

	memcpy(bytes, (const char *)der.data + node->at + node->head, len);
	len = LLVMFuzzerMutate(bytes, len, len + 64);
	ls_buf_add(&content, bytes, len);
	if (node->len > 0)
		der_splice(der, node->at + node->head, node->len, ls_buf_bytes(&content), out);
}

/* The same length in more bytes than it needs, or in the indefinite form. */
static void spell_length(struct ls_bytes der, const struct der_node *node, struct ls_buf *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf again = { 0 };
	const unsigned char *tag = (const unsigned char *)der.data + node->at;
	unsigned char wide[6] = { *tag, 0x84, (unsigned char)(node->len >> 24),
		(unsigned char)(node->len >> 16), (unsigned char)(node->len >> 8),
		(unsigned char)node->len };
	unsigned char open[2] = { *tag, 0x80 };
	bool indefinite = below(2);

	ls_buf_add(&again, indefinite ? open : wide, indefinite ? sizeof open : sizeof wide);
	ls_buf_add(&again, (const char *)der.data + node->at + node->head, node->len);
	if (indefinite)
		ls_buf_add(&again, "\0\0", 2);
	der_splice(der, node->at, node->head + node->len, ls_buf_bytes(&again), out);
}

static void change_one(
	struct ls_bytes der, const struct der_node *nodes, size_t count, struct ls_buf *out)
{
	const struct der_node *node = &nodes[below(count)], *other = &nodes[below(count)];
	struct ls_bytes whole = element(der, node), from = element(der, other);
	LS_CLEANUP(ls_buf_done) struct ls_buf put = { 0 };
	size_t pick = below(LS_COUNT(odd));
	unsigned char tag;

	switch (below(9)) {
	case 0: /* another type */
		tag = tags[below(sizeof tags)];
		ls_buf_add(&put, &tag, 1);
		ls_buf_add(&put, (const char *)whole.data + 1, whole.len - 1);
		break;
	case 1: /* gone */
		break;
	case 2: /* twice */
		ls_buf_add_bytes(&put, whole);
		ls_buf_add_bytes(&put, whole);
		break;
	case 3: /* another one of the same text */
		ls_buf_add_bytes(&put, from);
		break;
	case 4: /* another one in front */
		ls_buf_add_bytes(&put, from);
		ls_buf_add_bytes(&put, whole);
		break;
	case 5: /* a value that is often wrong */
		der_add(&put, *(const unsigned char *)whole.data,
			(struct ls_bytes){ odd[pick].bytes, odd[pick].len });
		break;
	case 6:
		spell_length(der, node, out);
		return;
	case 7: /* wrapped */
		der_add(&put, tags[below(sizeof tags)], whole);
		break;
	default:
		change_content(der, node, out);
		return;
	}
	der_splice(der, node->at, whole.len, ls_buf_bytes(&put), out);
}

static void change_der(struct ls_bytes der, struct ls_buf *out)
{
	static struct der_node nodes[NODES_MAX];
	LS_CLEANUP(ls_buf_done) struct ls_buf from = { 0 };

	ls_buf_clear(out);
	ls_buf_add_bytes(out, der);
	for (size_t times = 1 + below(3); times > 0; times--) {
		size_t count = der_nodes(ls_buf_bytes(out), nodes, NODES_MAX);

		if (count == 0)
			return;
		ls_buf_copy(&from, out);
		change_one(ls_buf_bytes(&from), nodes, count, out);
	}
}

static size_t give(const struct ls_buf *from, uint8_t *data, size_t size, size_t max_size)
{
	if (from->len == 0 || from->len > max_size)
		return LLVMFuzzerMutate(data, size, max_size);
	memcpy(data, from->data, from->len);
	return from->len;
}

size_t mutate_der(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf out = { 0 };

	seed_with(seed);
	if (size == 0 || below(8) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	change_der((struct ls_bytes){ data, size }, &out);
	return give(&out, data, size, max_size);
}

/* ---- PEM ---- */

struct block {
	size_t at, body, body_end, end;
	char label[48];
};

static size_t find_blocks(struct ls_bytes text, struct block *out)
{
	const char *begin = text.data, *end = begin + text.len, *at = begin;
	size_t count = 0;

	while (count < BLOCKS_MAX &&
		(at = memmem(at, (size_t)(end - at), "-----BEGIN ", 11)) != NULL) {
		const char *label = at + 11;
		const char *dashes = memmem(label, (size_t)(end - label), "-----", 5);
		const char *body = dashes ? memchr(dashes, '\n', (size_t)(end - dashes)) : NULL;
		const char *tail = body ? memmem(body, (size_t)(end - body), "-----END ", 9) : NULL;
		const char *last = tail ? memchr(tail, '\n', (size_t)(end - tail)) : NULL;

		if (!tail || dashes - label >= 48) {
			at = label;
			continue;
		}
		out[count] = (struct block){ (size_t)(at - begin), (size_t)(body + 1 - begin),
			(size_t)(tail - begin), (size_t)((last ? last + 1 : end) - begin), "" };
		memcpy(out[count++].label, label, (size_t)(dashes - label));
		at = last ? last + 1 : end;
	}
	return count;
}

static bool decode(struct ls_bytes text, const struct block *block, struct ls_buf *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf line = { 0 };
	const char *at = text.data;
	struct ls_err err;

	for (size_t i = block->body; i < block->body_end; i++)
		if (at[i] != '\n' && at[i] != '\r')
			ls_buf_add(&line, at + i, 1);
	return ls_unbase64(ls_buf_text(&line), out, &err) == LS_OK;
}

/* Puts the fixed key's signature under a certificate. */
static void sign_again(struct ls_buf *cert)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf from = { 0 };
	struct ls_bytes der;
	struct der_node outer, body, algorithm, signature;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char made[257] = { 0 };
	size_t len = sizeof made - 1;

	ls_buf_copy(&from, cert);
	der = ls_buf_bytes(&from);
	if (der_head(der, 0, &outer) && der_head(der, outer.head, &body) &&
		der_head(der, body.at + body.head + body.len, &algorithm) &&
		der_head(der, algorithm.at + algorithm.head + algorithm.len, &signature) &&
		EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, fixed_key()) == 1 &&
		EVP_DigestSign(ctx, made + 1, &len, (const unsigned char *)der.data + body.at,
			body.head + body.len) == 1) {
		LS_CLEANUP(ls_buf_done) struct ls_buf put = { 0 };

		der_add(&put, 0x03, (struct ls_bytes){ made, len + 1 });
		der_splice(der, signature.at, signature.head + signature.len, ls_buf_bytes(&put),
			cert);
	}
	EVP_MD_CTX_free(ctx);
}

static void add_block(struct ls_bytes text, const struct block *block, struct ls_buf *out)
{
	ls_buf_add(out, (const char *)text.data + block->at, block->end - block->at);
}

static void change_block(struct ls_bytes text, const struct block *block, struct ls_buf *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf changed = { 0 };

	if (!decode(text, block, &der)) {
		add_block(text, block, out);
		return;
	}
	change_der(ls_buf_bytes(&der), &changed);
	if (strcmp(block->label, "CERTIFICATE") == 0 && below(4) != 0)
		sign_again(&changed);
	der_to_pem(ls_buf_bytes(&changed), block->label, out);
}

static void change_blocks(
	struct ls_bytes text, const struct block *blocks, size_t count, struct ls_buf *out)
{
	static const char *const labels[] = { "CERTIFICATE", "X509 CERTIFICATE",
		"TRUSTED CERTIFICATE", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY",
		"RSA PRIVATE KEY", "EC PARAMETERS", "PKCS7", "CMS", "SIGNED MESSAGE",
		"CERTIFICATE REQUEST" };
	size_t one = below(count), two = below(count), what = below(10);
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };

		ls_buf_add(out, (const char *)text.data + at, blocks[i].at - at);
		at = blocks[i].end;
		if (i == one && what == 0) /* gone */
			continue;
		if (i == one && what == 1) { /* twice */
			add_block(text, &blocks[i], out);
			add_block(text, &blocks[i], out);
		} else if (i == one && what == 2) { /* changes places */
			add_block(text, &blocks[two], out);
		} else if (i == two && what == 2) {
			add_block(text, &blocks[one], out);
		} else if (i == one && what == 3 && decode(text, &blocks[i], &der)) {
			der_to_pem(ls_buf_bytes(&der), labels[below(LS_COUNT(labels))], out);
		} else if (i == one && what > 3) {
			change_block(text, &blocks[i], out);
		} else {
			add_block(text, &blocks[i], out);
		}
	}
	ls_buf_add(out, (const char *)text.data + at, text.len - at);
}

size_t mutate_pem(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static struct block blocks[BLOCKS_MAX];
	struct ls_bytes text = { data, size };
	LS_CLEANUP(ls_buf_done) struct ls_buf out = { 0 };
	size_t count;

	seed_with(seed);
	memset(blocks, 0, sizeof blocks);
	count = size ? find_blocks(text, blocks) : 0;
	if (count == 0 || below(6) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	change_blocks(text, blocks, count, &out);
	return give(&out, data, size, max_size);
}
