#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool ls_name_valid(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n >= 1 && n <= LS_NAME_MAX && name[n] == '\0';
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool ls_cluster_name_valid(const char *name)
{
	size_t n = 0;

	for (; name[n]; n++)
		if (n >= 64 || !(is_alnum(name[n]) || (n > 0 && strchr("._-", name[n]))))
			return false;
	return n > 0;
}

bool ls_host_name_valid(const char *name)
{
	size_t label = 0, n = 0;

	for (; name[n]; n++) {
		if (n >= 253)
			return false;
		if (name[n] == '.') {
			if (label == 0 || name[n - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!(is_alnum(name[n]) || (name[n] == '-' && label > 0)) || ++label > 63)
			return false;
	}
	return label > 0 && name[n - 1] != '-';
}

bool ls_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool ls_has_suffix(const char *text, const char *suffix)
{
	size_t a = strlen(text), b = strlen(suffix);

	return a >= b && strcmp(text + a - b, suffix) == 0;
}

void ls_text_ascii(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			*text = '?';
}

bool ls_text_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
	int64_t value = 0;
	bool negative = *text == '-';
	const char *at = text + negative;

	if (!*at)
		return false;
	for (; *at; at++) {
		if (*at < '0' || *at > '9')
			return false;
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *at - '0', &value))
			return false;
	}
	if (negative)
		value = -value;
	if (value < min || value > max)
		return false;
	*out = value;
	return true;
}

bool ls_text_duration(const char *text, int64_t *out_s)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	char digits[16];
	size_t len = strlen(text);
	int64_t factor = 1, n;

	if (len == 0 || len >= sizeof digits)
		return false;
	memcpy(digits, text, len + 1);
	for (size_t i = 0; i < LS_COUNT(units); i++) {
		if (digits[len - 1] == units[i].unit) {
			factor = units[i].s;
			digits[len - 1] = '\0';
			break;
		}
	}
	if (!ls_text_number(digits, 0, INT32_MAX, &n))
		return false;
	*out_s = n * factor;
	return true;
}

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(id, &ts); /* cannot fail for the clocks named here */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t ls_now_s(void)
{
	return clock_ms(CLOCK_REALTIME) / 1000;
}

int64_t ls_now_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t ls_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

void ls_time_text(int64_t at_s, char out[LS_TIME_TEXT_SIZE])
{
	time_t t = (time_t)at_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(out, LS_TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		memcpy(out, "invalid", sizeof "invalid");
}

bool ls_time_parse(const char *text, int64_t *out_s)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	char again[LS_TIME_TEXT_SIZE];
	int64_t at_s;

	if (!end || *end)
		return false;
	/* strptime also takes blanks, signs, short years and the 31st of February. */
	at_s = (int64_t)timegm(&tm);
	ls_time_text(at_s, again);
	if (strcmp(again, text) != 0)
		return false;
	*out_s = at_s;
	return true;
}

void ls_time_stamp(int64_t at_ms, char out[LS_TIME_TEXT_SIZE])
{
	time_t t = (time_t)(at_ms / 1000);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&t, &tm) ||
		(n = strftime(out, LS_TIME_TEXT_SIZE, "%Y%m%dT%H%M%S", &tm)) == 0) {
		memcpy(out, "invalid", sizeof "invalid");
		return;
	}
	(void)snprintf(out + n, LS_TIME_TEXT_SIZE - n, ".%03dZ", (int)(at_ms % 1000));
}
