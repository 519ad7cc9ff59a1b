#include "base/bytes.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool ls_bytes_equal(struct ls_bytes a, struct ls_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool ls_bytes_equal_secret(struct ls_bytes a, struct ls_bytes b)
{
	const volatile unsigned char *x = a.data, *y = b.data;
	unsigned char diff = 0;

	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		diff |= x[i] ^ y[i];
	return diff == 0;
}

void ls_buf_done(struct ls_buf *buf)
{
	ls_free(buf->data);
	*buf = (struct ls_buf){ 0 };
}

void ls_buf_clear(struct ls_buf *buf)
{
	buf->len = 0;
	if (buf->data)
		buf->data[0] = '\0';
}

static void reserve(struct ls_buf *buf, size_t more)
{
	size_t want = buf->len + more + 1;
	size_t cap = buf->cap ? buf->cap : 64;

	if (want <= buf->cap)
		return;
	while (cap < want)
		cap *= 2;
	buf->data = ls_regrow(buf->data, cap);
	buf->cap = cap;
}

void ls_buf_add(struct ls_buf *buf, const void *data, size_t len)
{
	reserve(buf, len);
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void ls_buf_add_bytes(struct ls_buf *buf, struct ls_bytes bytes)
{
	ls_buf_add(buf, bytes.data, bytes.len);
}

void ls_buf_str(struct ls_buf *buf, const char *text)
{
	ls_buf_add(buf, text, strlen(text));
}

void ls_buf_printf(struct ls_buf *buf, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n <= 0)
		return;
	reserve(buf, (size_t)n);
	va_start(ap, fmt);
	(void)vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf->len += (size_t)n;
}

struct ls_bytes ls_buf_bytes(const struct ls_buf *buf)
{
	return (struct ls_bytes){ buf->data, buf->len };
}

const char *ls_buf_text(const struct ls_buf *buf)
{
	return buf->data ? buf->data : "";
}

char *ls_buf_take(struct ls_buf *buf)
{
	char *data;

	reserve(buf, 0);
	buf->data[buf->len] = '\0';
	data = buf->data;
	*buf = (struct ls_buf){ 0 };
	return data;
}

void ls_buf_copy(struct ls_buf *to, const struct ls_buf *from)
{
	ls_buf_clear(to);
	ls_buf_add_bytes(to, ls_buf_bytes(from));
}

void ls_wipe(void *data, size_t len)
{
	if (data && len)
		explicit_bzero(data, len);
}

static atomic_bool unlocked;

bool ls_secret_unlocked(void)
{
	return atomic_load(&unlocked);
}

void ls_secret_alloc(struct ls_secret *secret, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (len + page) / page * page; /* at least one byte beyond: text gets its NUL */
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		abort();
	/* RLIMIT_MEMLOCK may forbid it; wiping still holds, and the programs say it. */
	if (mlock(mem, bytes) != 0)
		atomic_store(&unlocked, true);
	(void)madvise(mem, bytes, MADV_DONTDUMP);
	ls_secret_done(secret);
	secret->data = mem;
	secret->len = len;
	secret->mapped_bytes = bytes;
}

void ls_secret_set(struct ls_secret *secret, struct ls_bytes from)
{
	struct ls_secret fresh = { 0 };

	ls_secret_alloc(&fresh, from.len);
	if (from.len)
		memcpy(fresh.data, from.data, from.len);
	ls_secret_done(secret);
	*secret = fresh;
}

struct ls_bytes ls_secret_bytes(const struct ls_secret *secret)
{
	return (struct ls_bytes){ secret->data, secret->len };
}

void ls_secret_done(struct ls_secret *secret)
{
	if (secret->data) {
		ls_wipe(secret->data, secret->mapped_bytes);
		(void)munmap(secret->data, secret->mapped_bytes);
	}
	*secret = (struct ls_secret){ 0 };
}

void ls_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *in = data;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool ls_unhex(const char *text, void *out, size_t len)
{
	unsigned char *bytes = out;

	if (strlen(text) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *ls_base64(struct ls_bytes bytes)
{
	const unsigned char *in = bytes.data;
	char *out = ls_alloc((bytes.len + 2) / 3 * 4 + 1, 1);
	char *to = out;

	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		unsigned v = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) |
			     (left > 2 ? in[i + 2] : 0u);

		*to++ = base64_digits[v >> 18];
		*to++ = base64_digits[v >> 12 & 63];
		*to++ = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		*to++ = left > 2 ? base64_digits[v & 63] : '=';
	}
	*to = '\0';
	return out;
}

static int base64_value(char c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? (int)(at - base64_digits) : -1;
}

enum ls_code ls_unbase64(const char *text, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	LS_CLEANUP(ls_free_str) char *again = NULL;
	size_t len = strlen(text);

	if (len % 4 != 0)
		return LS_FAIL(err, LS_E_REFUSED, "base64: length %zu is not a multiple of 4", len);
	for (size_t i = 0; i < len; i += 4) {
		int pad = (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=');
		unsigned v = 0;
		unsigned char three[3];

		for (int k = 0; k < 4; k++) {
			int d = k < 4 - pad ? base64_value(text[i + (size_t)k]) : 0;

			if (d < 0 || (pad && i + 4 != len))
				return LS_FAIL(
					err, LS_E_REFUSED, "base64: bad character at %zu", i);
			v = v << 6 | (unsigned)d;
		}
		three[0] = (unsigned char)(v >> 16);
		three[1] = (unsigned char)(v >> 8);
		three[2] = (unsigned char)v;
		ls_buf_add(&bytes, three, (size_t)(3 - pad));
	}
	/* Bits behind the padding would give one content two spellings. */
	again = ls_base64(ls_buf_bytes(&bytes));
	if (strcmp(again, text) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "base64: not in canonical form");
	ls_buf_done(out);
	*out = bytes;
	bytes = (struct ls_buf){ 0 };
	return LS_OK;
}
