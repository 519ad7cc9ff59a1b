#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *text;
	int exit_code;
	bool retry;
} codes[] = {
#define LS_CODE_ROW(name, words, exit_value, again)                                                \
	[name] = { .text = words, .exit_code = exit_value, .retry = again },
	LS_CODES(LS_CODE_ROW)
#undef LS_CODE_ROW
};
static_assert(LS_COUNT(codes) == LS_CODE_COUNT, "a code without a row");

const char *ls_code_text(enum ls_code code)
{
	assert(code < LS_CODE_COUNT);
	return codes[code].text;
}

enum ls_code ls_code_parse(const char *text)
{
	for (size_t i = 0; i < LS_COUNT(codes); i++)
		if (strcmp(codes[i].text, text) == 0)
			return (enum ls_code)i;
	return LS_E_FAILED;
}

int ls_code_exit(enum ls_code code)
{
	assert(code < LS_CODE_COUNT);
	return codes[code].exit_code;
}

bool ls_code_retry(enum ls_code code)
{
	assert(code < LS_CODE_COUNT);
	return codes[code].retry;
}

/* Control characters would let foreign bytes (a file's name, a certificate's text) forge a second
 * line in a log. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

enum ls_code ls_err_set(struct ls_err *err, enum ls_code code, const char *fmt, ...)
{
	va_list ap;

	assert(code != LS_OK);
	if (!err)
		return code;
	err->code = code;
	err->hint[0] = '\0';
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	make_printable(err->text);
	return code;
}

enum ls_code ls_err_set_errno(struct ls_err *err, int errnum, const char *fmt, ...)
{
	enum ls_code code = errnum == ENOENT ? LS_E_NOT_FOUND : LS_E_IO;
	char why[128];
	size_t used, room;
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	err->hint[0] = '\0';
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	room = sizeof err->text - sizeof why;
	used = strlen(err->text);
	if (used > room)
		used = room;
	(void)snprintf(why, sizeof why, ": %s", strerrordesc_np(errnum) ?: "unknown error");
	memcpy(err->text + used, why, strlen(why) + 1);
	make_printable(err->text);
	if (errnum == ENOSPC || errnum == EDQUOT)
		LS_HINT(err, "free space on that file system, then run it again");
	return code;
}

enum ls_code ls_err_wrap(struct ls_err *err, const char *fmt, ...)
{
	char outer[sizeof err->text];
	size_t inner_len, outer_len, room;
	va_list ap;

	if (!err)
		return LS_E_FAILED;
	assert(err->code != LS_OK);
	va_start(ap, fmt);
	(void)vsnprintf(outer, sizeof outer, fmt, ap);
	va_end(ap);
	make_printable(outer);
	inner_len = strlen(err->text);
	if (inner_len + 3 >= sizeof err->text)
		return err->code; /* no room for more than the root */
	room = sizeof err->text - inner_len - 3;
	outer_len = strlen(outer);
	if (outer_len > room)
		outer_len = room;
	memmove(err->text + outer_len + 2, err->text, inner_len + 1);
	memcpy(err->text, outer, outer_len);
	memcpy(err->text + outer_len, ": ", 2);
	return err->code;
}

void ls_err_hint(struct ls_err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(err->hint, sizeof err->hint, fmt, ap);
	va_end(ap);
	make_printable(err->hint);
}
