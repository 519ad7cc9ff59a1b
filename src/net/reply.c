#include "net/reply.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define CHUNK_LINE_MAX 256
/* RFC 9110 section 5.6.2 */
#define TOKEN "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

void ls_reply_done(struct ls_reply *reply)
{
	ls_buf_done(&reply->body);
	ls_buf_done(&reply->pending);
}

bool ls_reply_whole(const struct ls_reply *reply)
{
	return reply->state == LS_REPLY_WHOLE;
}

static enum ls_code no_reply(struct ls_err *err, const char *what)
{
	return LS_FAIL(err, LS_E_FAILED, "this is no HTTP answer: %s", what);
}

/* "HTTP/1.1 200 OK" */
static enum ls_code read_status(struct ls_reply *reply, const char *line, struct ls_err *err)
{
	int64_t status;
	char digits[4];

	if ((!ls_has_prefix(line, "HTTP/1.1 ") && !ls_has_prefix(line, "HTTP/1.0 ")) ||
		strlen(line) < 12 || (line[12] != '\0' && line[12] != ' '))
		return no_reply(err, "its first line");
	(void)snprintf(digits, sizeof digits, "%.3s", line + 9);
	if (!ls_text_number(digits, 200, 599, &status))
		return no_reply(err, "its status");
	reply->status = (int)status;
	reply->state = LS_REPLY_HEADER;
	return LS_OK;
}

/* RFC 9112 section 6.3. */
static enum ls_code head_ended(struct ls_reply *reply, struct ls_err *err)
{
	if (reply->has_length && reply->chunked)
		return no_reply(err, "two lengths");
	if (reply->status == 204 || reply->status == 304)
		reply->state = LS_REPLY_WHOLE;
	else if (reply->chunked)
		reply->state = LS_REPLY_CHUNK;
	else if (reply->has_length)
		reply->state = reply->left > 0 ? LS_REPLY_LENGTH : LS_REPLY_WHOLE;
	else
		reply->state = LS_REPLY_TO_END;
	return LS_OK;
}

static enum ls_code read_length(struct ls_reply *reply, const char *value, struct ls_err *err)
{
	int64_t length;

	if (reply->has_length || !ls_text_number(value, 0, INT32_MAX, &length))
		return no_reply(err, "its length");
	if ((size_t)length > reply->body_max)
		return LS_FAIL(err, LS_E_FAILED, "the answer is over %zu bytes", reply->body_max);
	reply->has_length = true;
	reply->left = (size_t)length;
	return LS_OK;
}

static enum ls_code read_header(struct ls_reply *reply, char *line, struct ls_err *err)
{
	char *value = strchr(line, ':');
	size_t len;

	if (line[0] == '\0')
		return head_ended(reply, err);
	if (!value || value == line || strspn(line, TOKEN) != (size_t)(value - line))
		return no_reply(err, "a header");
	*value++ = '\0';
	value += strspn(value, " \t");
	for (len = strlen(value); len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t');)
		value[--len] = '\0';
	if (strcasecmp(line, "Content-Length") == 0)
		return read_length(reply, value, err);
	if (strcasecmp(line, "Transfer-Encoding") == 0) {
		if (reply->chunked || strcasecmp(value, "chunked") != 0)
			return no_reply(err, "its encoding");
		reply->chunked = true;
	}
	if (strcasecmp(line, "Content-Type") == 0)
		(void)snprintf(reply->type, sizeof reply->type, "%s",
			len < sizeof reply->type ? value : "");
	return LS_OK;
}

/* "1a;name=value" */
static enum ls_code read_chunk_size(struct ls_reply *reply, const char *line, struct ls_err *err)
{
	size_t digits = strspn(line, "0123456789abcdefABCDEF");
	size_t size = 0;

	if (digits == 0 || digits > 8 || (line[digits] != '\0' && line[digits] != ';'))
		return no_reply(err, "a chunk");
	for (size_t i = 0; i < digits; i++)
		size = size * 16 +
		       (size_t)(line[i] <= '9' ? line[i] - '0' : (line[i] | 32) - 'a' + 10);
	if (size > reply->body_max - reply->body.len)
		return LS_FAIL(err, LS_E_FAILED, "the answer is over %zu bytes", reply->body_max);
	reply->left = size;
	reply->state = size > 0 ? LS_REPLY_CHUNK_DATA : LS_REPLY_LAST;
	return LS_OK;
}

static enum ls_code read_line(struct ls_reply *reply, char *line, struct ls_err *err)
{
	switch (reply->state) {
	case LS_REPLY_STATUS:
		return read_status(reply, line, err);
	case LS_REPLY_HEADER:
		return read_header(reply, line, err);
	case LS_REPLY_CHUNK:
		return read_chunk_size(reply, line, err);
	case LS_REPLY_CHUNK_END:
	case LS_REPLY_LAST:
		if (line[0] != '\0')
			return no_reply(err, "the end of a chunk");
		reply->state = reply->state == LS_REPLY_LAST ? LS_REPLY_WHOLE : LS_REPLY_CHUNK;
		return LS_OK;
	case LS_REPLY_LENGTH:
	case LS_REPLY_TO_END:
	case LS_REPLY_CHUNK_DATA:
	case LS_REPLY_WHOLE:
		break;
	}
	return no_reply(err, "a line");
}

static bool wants_data(const struct ls_reply *reply)
{
	return reply->state == LS_REPLY_LENGTH || reply->state == LS_REPLY_TO_END ||
	       reply->state == LS_REPLY_CHUNK_DATA;
}

/* How much of it was body. */
static enum ls_code take_data(
	struct ls_reply *reply, struct ls_bytes bytes, size_t *out_taken, struct ls_err *err)
{
	size_t len = bytes.len;

	if (reply->state != LS_REPLY_TO_END && len > reply->left)
		len = reply->left;
	if (len > reply->body_max - reply->body.len)
		return LS_FAIL(err, LS_E_FAILED, "the answer is over %zu bytes", reply->body_max);
	ls_buf_add(&reply->body, bytes.data, len);
	*out_taken = len;
	if (reply->state == LS_REPLY_TO_END)
		return LS_OK;
	reply->left -= len;
	if (reply->left == 0)
		reply->state =
			reply->state == LS_REPLY_LENGTH ? LS_REPLY_WHOLE : LS_REPLY_CHUNK_END;
	return LS_OK;
}

static bool is_text(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 32 && line[i] != '\t')
			return false;
	return true;
}

/* Up to and with the next newline; *out_taken is all when there is none yet. */
static enum ls_code take_line(
	struct ls_reply *reply, struct ls_bytes bytes, size_t *out_taken, struct ls_err *err)
{
	const char *newline = memchr(bytes.data, '\n', bytes.len);
	size_t len = newline ? (size_t)(newline - (const char *)bytes.data) + 1 : bytes.len;
	bool in_head = reply->state == LS_REPLY_STATUS || reply->state == LS_REPLY_HEADER;
	enum ls_code code;

	*out_taken = len;
	reply->head_len += in_head ? len : 0;
	if (reply->head_len > LS_REPLY_HEAD_MAX ||
		(!in_head && reply->pending.len + len > CHUNK_LINE_MAX))
		return no_reply(err, "its head is too long");
	ls_buf_add(&reply->pending, bytes.data, len);
	if (!newline)
		return LS_OK;
	len = reply->pending.len - 1;
	if (len > 0 && reply->pending.data[len - 1] == '\r')
		len--;
	reply->pending.data[len] = '\0';
	if (!is_text(reply->pending.data, len))
		return no_reply(err, "a control character");
	code = read_line(reply, reply->pending.data, err);
	ls_buf_clear(&reply->pending);
	return code;
}

enum ls_code ls_reply_feed(struct ls_reply *reply, struct ls_bytes bytes, struct ls_err *err)
{
	while (bytes.len > 0) {
		size_t taken = 0;

		if (reply->state == LS_REPLY_WHOLE)
			return no_reply(err, "more than one");
		if (wants_data(reply))
			LS_TRY(take_data(reply, bytes, &taken, err));
		else
			LS_TRY(take_line(reply, bytes, &taken, err));
		bytes.data = (const char *)bytes.data + taken;
		bytes.len -= taken;
	}
	return LS_OK;
}

enum ls_code ls_reply_end(struct ls_reply *reply, struct ls_err *err)
{
	if (reply->state == LS_REPLY_TO_END)
		reply->state = LS_REPLY_WHOLE;
	if (reply->state != LS_REPLY_WHOLE)
		return LS_FAIL(err, LS_E_FAILED, "the answer broke off");
	return LS_OK;
}
