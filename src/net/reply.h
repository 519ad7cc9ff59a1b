/* reply -- reads one HTTP/1.1 response as its bytes come (RFC 9112), within bounds.
 *
 * Pure. Strict: what is not plain ends it, since what follows cannot be told from it. Its body is
 * as long as Content-Length says, or chunked (no extensions but skipped ones, no trailers), or goes
 * to the end of the connection. Interim answers (1xx) are refused: nothing that makes them is asked
 * for.
 */
#ifndef LS_NET_REPLY_H
#define LS_NET_REPLY_H

#include <stdbool.h>

#include "base/bytes.h"

#define LS_REPLY_HEAD_MAX 16384
#define LS_REPLY_TYPE_SIZE 128

struct ls_reply {
	/* Set by the caller before the first byte. */
	size_t body_max;
	/* Known when it is whole. */
	int status;
	char type[LS_REPLY_TYPE_SIZE]; /* Content-Type, printable ASCII; "" without one */
	struct ls_buf body;
	/* The reader's own. */
	struct ls_buf pending; /* came, and is not understood yet */
	size_t head_len, left;
	enum {
		LS_REPLY_STATUS,
		LS_REPLY_HEADER,
		LS_REPLY_LENGTH,
		LS_REPLY_TO_END,
		LS_REPLY_CHUNK,
		LS_REPLY_CHUNK_DATA,
		LS_REPLY_CHUNK_END,
		LS_REPLY_LAST,
		LS_REPLY_WHOLE
	} state;
	bool has_length, chunked;
};

void ls_reply_done(struct ls_reply *reply);
/* Takes in what came. LS_E_FAILED: it is no such response, or its body is over body_max; what comes
 * after a whole one is that too. */
LS_CHECK enum ls_code ls_reply_feed(
	struct ls_reply *reply, struct ls_bytes bytes, struct ls_err *err);
bool ls_reply_whole(const struct ls_reply *reply);
/* The connection ended. LS_E_FAILED: in the middle of it. */
LS_CHECK enum ls_code ls_reply_end(struct ls_reply *reply, struct ls_err *err);

#endif
