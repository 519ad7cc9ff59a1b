/* The daemon's answers as the gateway reads them: all at once, and in pieces whose size is the
 * first byte. Both must come to the same end, within bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/reply.h"

#define BODY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ls_code read_in(struct ls_reply *reply, const uint8_t *data, size_t size, size_t piece)
{
	struct ls_err err;

	while (size > 0) {
		size_t len = size < piece ? size : piece;

		LS_TRY(ls_reply_feed(reply, (struct ls_bytes){ data, len }, &err));
		data += len;
		size -= len;
	}
	return ls_reply_end(reply, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_reply whole = { .body_max = BODY_MAX }, pieces = { .body_max = BODY_MAX };
	enum ls_code code;

	if (size < 1)
		return 0;
	code = read_in(&whole, data + 1, size - 1, size);
	if (read_in(&pieces, data + 1, size - 1, data[0] ? data[0] : 1) != code)
		abort();
	if (whole.body.len > BODY_MAX || pieces.body.len > BODY_MAX)
		abort();
	if (code == LS_OK &&
		(!ls_reply_whole(&whole) || whole.status < 200 || whole.status > 599 ||
			whole.status != pieces.status || strcmp(whole.type, pieces.type) != 0 ||
			!ls_bytes_equal(ls_buf_bytes(&whole.body), ls_buf_bytes(&pieces.body))))
		abort();
	ls_reply_done(&whole);
	ls_reply_done(&pieces);
	return 0;
}
