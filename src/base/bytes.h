/* bytes -- spans of bytes, a growing buffer, and memory for secrets.
 *
 * `ls_bytes` borrows; `ls_buf` and `ls_secret` own and are released with their `done`. A secret
 * lives in pages of its own that are locked (where the limit allows, else ls_secret_unlocked), left
 * out of core dumps and wiped before they are given back.
 */
#ifndef LS_BASE_BYTES_H
#define LS_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/own.h"

struct ls_bytes {
	const void *data;
	size_t len;
};

#define LS_BYTES_STR(text) ((struct ls_bytes){ (text), strlen(text) })

bool ls_bytes_equal(struct ls_bytes a, struct ls_bytes b);
/* Compares in constant time for equal lengths. */
bool ls_bytes_equal_secret(struct ls_bytes a, struct ls_bytes b);

/* Always followed by a NUL that is not counted, so `data` can be read as text when non-NULL.
 * Zero-initialised is empty. Its memory is wiped when it grows and when it is given back, since a
 * file may hold a key; what stays for longer is an ls_secret. */
struct ls_buf {
	char *data;
	size_t len;
	size_t cap;
};

void ls_buf_done(struct ls_buf *buf);
void ls_buf_clear(struct ls_buf *buf);
void ls_buf_add(struct ls_buf *buf, const void *data, size_t len);
void ls_buf_add_bytes(struct ls_buf *buf, struct ls_bytes bytes);
void ls_buf_str(struct ls_buf *buf, const char *text);
void ls_buf_printf(struct ls_buf *buf, const char *fmt, ...) LS_PRINTF(2, 3);
struct ls_bytes ls_buf_bytes(const struct ls_buf *buf);
/* The text, "" when nothing was ever added; borrowed. */
const char *ls_buf_text(const struct ls_buf *buf);
/* Hands the memory over; the buffer is empty afterwards. Never NULL. */
char *ls_buf_take(struct ls_buf *buf);
void ls_buf_copy(struct ls_buf *to, const struct ls_buf *from); /* replaces what `to` held */

struct ls_secret {
	unsigned char *data; /* NULL when empty */
	size_t len;
	size_t mapped_bytes;
};

/* Whether a secret's pages could not be locked, since the program began. Any thread. */
bool ls_secret_unlocked(void);
/* Replaces what is held by `len` zero bytes. */
void ls_secret_alloc(struct ls_secret *secret, size_t len);
void ls_secret_set(struct ls_secret *secret, struct ls_bytes from);
struct ls_bytes ls_secret_bytes(const struct ls_secret *secret);
void ls_secret_done(struct ls_secret *secret);
void ls_wipe(void *data, size_t len);

/* Lower-case hex. `out` has 2 * len + 1 bytes. */
void ls_hex(const void *data, size_t len, char *out);
/* Reads exactly 2 * len hex digits of either case. */
bool ls_unhex(const char *text, void *out, size_t len);
/* Standard padded base64 (RFC 4648 section 4) in one line, as text from the heap. */
char *ls_base64(struct ls_bytes bytes);
/* The inverse; LS_E_REFUSED for anything that the encoder would not have written. */
LS_CHECK enum ls_code ls_unbase64(const char *text, struct ls_buf *out, struct ls_err *err);

#endif
