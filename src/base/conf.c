#include "base/conf.h"

#include <libconfig.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (1024 * 1024)
#define DEPTH_MAX 8
#define DIGITS_MAX 9

struct ls_conf {
	config_t config;
	char *origin;
};

static const config_setting_t *setting(const struct ls_conf_node *node)
{
	return (const config_setting_t *)(const void *)node;
}

static const struct ls_conf_node *node_of(const config_setting_t *s)
{
	return (const struct ls_conf_node *)(const void *)s;
}

/* What the scanner is inside of: only bare text is looked at for what is refused. */
enum scan { SCAN_BARE, SCAN_STRING, SCAN_LINE_COMMENT, SCAN_BLOCK_COMMENT };

static enum scan scan_next(enum scan in, const char *at)
{
	switch (in) {
	case SCAN_BARE:
		if (*at == '"')
			return SCAN_STRING;
		if (*at == '#' || (at[0] == '/' && at[1] == '/'))
			return SCAN_LINE_COMMENT;
		if (at[0] == '/' && at[1] == '*')
			return SCAN_BLOCK_COMMENT;
		return in;
	case SCAN_STRING:
		return *at == '"' ? SCAN_BARE : in;
	case SCAN_LINE_COMMENT:
		return *at == '\n' ? SCAN_BARE : in;
	case SCAN_BLOCK_COMMENT:
		return at[0] == '*' && at[1] == '/' ? SCAN_BARE : in;
	}
	return in;
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '_';
}

/* The length of a word that starts here; numbers (first character a digit) are judged. */
static enum ls_code check_word(
	const char *origin, int line, const char *at, size_t *out_len, struct ls_err *err)
{
	size_t len = 0;

	while (is_word(at[len]))
		len++;
	*out_len = len;
	if (!(at[0] >= '0' && at[0] <= '9'))
		return LS_OK;
	if (at[len] == '.')
		return LS_FAIL(err, LS_E_REFUSED, "%s:%d: a number with a fraction is not taken",
			origin, line);
	if (strspn(at, "0123456789") != len)
		return LS_FAIL(err, LS_E_REFUSED, "%s:%d: '%.*s' is not a decimal integer", origin,
			line, (int)(len > 40 ? 40 : len), at);
	if (len > DIGITS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "%s:%d: the integer %.*s has more than %d digits",
			origin, line, (int)(len > 40 ? 40 : len), at, DIGITS_MAX);
	return LS_OK;
}

/* libconfig 1.5 wraps integers over 32 bits silently and lets @include read any file: both are
 * found here, before it. */
static enum ls_code check_raw(const char *origin, const char *text, struct ls_err *err)
{
	enum scan in = SCAN_BARE;
	int line = 1, depth = 0;

	for (const char *at = text; *at; at++) {
		enum scan next;
		size_t len;

		if (*at == '\n')
			line++;
		if (in == SCAN_STRING && at[0] == '\\' && at[1]) {
			if (*++at == '\n')
				line++;
			continue;
		}
		if (in == SCAN_BARE && *at == '@')
			return LS_FAIL(err, LS_E_REFUSED,
				"%s:%d: directives such as @include are not taken", origin, line);
		if (in == SCAN_BARE && strchr("{([", *at) && ++depth > DEPTH_MAX)
			return LS_FAIL(err, LS_E_REFUSED, "%s:%d: nested deeper than %d", origin,
				line, DEPTH_MAX);
		if (in == SCAN_BARE && strchr("})]", *at))
			depth--;
		if (in == SCAN_BARE && is_word(*at)) {
			LS_TRY(check_word(origin, line, at, &len, err));
			at += len - 1;
			continue;
		}
		next = scan_next(in, at);
		if (next != in && (next == SCAN_BLOCK_COMMENT || in == SCAN_BLOCK_COMMENT))
			at++; /* the second character of the mark is not the first of another */
		in = next;
	}
	return LS_OK;
}

/* The length of the UTF-8 sequence that begins here (RFC 3629: shortest form, no surrogates); 0: it
 * is none. */
static size_t utf8_len(const unsigned char *at, size_t left)
{
	size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

	if (len == 0 || at[0] > 0xf4 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
		(at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return len;
}

/* Control characters never belong into a configuration; NUL would end the text early. What is in it
 * gets into JSON and certificates, which are UTF-8. */
static enum ls_code check_bytes(const char *origin, struct ls_bytes text, struct ls_err *err)
{
	const unsigned char *c = text.data;
	size_t len;
	int line = 1;

	for (size_t i = 0; i < text.len; i += len) {
		len = utf8_len(c + i, text.len - i);
		if (len == 0)
			return LS_FAIL(err, LS_E_REFUSED, "%s:%d: byte 0x%02x is not UTF-8", origin,
				line, c[i]);
		if ((c[i] < 0x20 && c[i] != '\n' && c[i] != '\t' && c[i] != '\r') || c[i] == 0x7f)
			return LS_FAIL(err, LS_E_REFUSED,
				"%s:%d: control character 0x%02x: not a text file", origin, line,
				c[i]);
		line += c[i] == '\n';
	}
	return LS_OK;
}

enum ls_code ls_conf_parse(
	const char *origin, struct ls_bytes text, struct ls_conf **out_conf, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *copy = NULL;
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;

	if (text.len > TEXT_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "%s: %zu bytes, at most %d are taken", origin,
			text.len, TEXT_MAX);
	LS_TRY(check_bytes(origin, text, err));
	copy = ls_alloc(text.len + 1, 1);
	if (text.len)
		memcpy(copy, text.data, text.len);
	LS_TRY(check_raw(origin, copy, err));
	conf = ls_alloc(1, sizeof *conf);
	conf->origin = ls_strdup(origin);
	config_init(&conf->config);
	if (config_read_string(&conf->config, copy) != CONFIG_TRUE)
		return LS_FAIL(err, LS_E_REFUSED, "%s:%d: %s", origin,
			config_error_line(&conf->config), config_error_text(&conf->config));
	config_setting_set_hook(config_root_setting(&conf->config), conf->origin);
	*out_conf = LS_TAKE(conf);
	return LS_OK;
}

void ls_conf_free(struct ls_conf **conf)
{
	if (!*conf)
		return;
	config_destroy(&(*conf)->config);
	free((*conf)->origin);
	free(*conf);
	*conf = NULL;
}

const struct ls_conf_node *ls_conf_root(const struct ls_conf *conf)
{
	return node_of(config_root_setting(&conf->config));
}

const char *ls_conf_origin(const struct ls_conf_node *node)
{
	const config_setting_t *s = setting(node);

	while (!config_setting_is_root(s))
		s = config_setting_parent(s);
	return config_setting_get_hook(s);
}

const struct ls_conf_node *ls_conf_get(const struct ls_conf_node *group, const char *name)
{
	if (!group || !ls_conf_is_group(group))
		return NULL;
	for (size_t i = 0; i < ls_conf_count(group); i++) {
		const struct ls_conf_node *member = ls_conf_elem(group, i);

		if (strcmp(ls_conf_name(member), name) == 0)
			return member;
	}
	return NULL;
}

size_t ls_conf_count(const struct ls_conf_node *node)
{
	return config_setting_is_aggregate(setting(node))
		       ? (size_t)config_setting_length(setting(node))
		       : 0;
}

const struct ls_conf_node *ls_conf_elem(const struct ls_conf_node *node, size_t index)
{
	return node_of(config_setting_get_elem(setting(node), (unsigned)index));
}

const char *ls_conf_name(const struct ls_conf_node *node)
{
	return config_setting_name(setting(node));
}

bool ls_conf_is_group(const struct ls_conf_node *node)
{
	return config_setting_is_group(setting(node)) == CONFIG_TRUE;
}

bool ls_conf_is_string(const struct ls_conf_node *node)
{
	return config_setting_type(setting(node)) == CONFIG_TYPE_STRING;
}

const char *ls_conf_text(const struct ls_conf_node *node)
{
	return ls_conf_is_string(node) ? config_setting_get_string(setting(node)) : "";
}

enum ls_code ls_conf_refuse(
	const struct ls_conf_node *node, struct ls_err *err, const char *fmt, ...)
{
	LS_CLEANUP(ls_free_str) char *what = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	return LS_FAIL(err, LS_E_REFUSED, "%s:%u: %s", ls_conf_origin(node),
		config_setting_source_line(setting(node)), what ? what : "");
}

enum ls_code ls_conf_only(
	const struct ls_conf_node *group, const char *const *allowed, struct ls_err *err)
{
	for (size_t i = 0; i < ls_conf_count(group); i++) {
		const struct ls_conf_node *member = ls_conf_elem(group, i);
		const char *name = ls_conf_name(member);
		size_t k = 0;

		while (allowed[k] && (!name || strcmp(allowed[k], name) != 0))
			k++;
		if (!allowed[k])
			return ls_conf_refuse(
				member, err, "unknown setting '%s'", name ? name : "");
	}
	return LS_OK;
}

enum ls_code ls_conf_string(
	const struct ls_conf_node *group, const char *name, char **out, struct ls_err *err)
{
	const struct ls_conf_node *member = ls_conf_get(group, name);

	if (!member)
		return LS_OK;
	if (!ls_conf_is_string(member))
		return ls_conf_refuse(member, err, "'%s' must be a string in quotes", name);
	free(*out);
	*out = ls_strdup(ls_conf_text(member));
	return LS_OK;
}

enum ls_code ls_conf_int(const struct ls_conf_node *group, const char *name, int64_t min,
	int64_t max, int64_t *out, struct ls_err *err)
{
	const struct ls_conf_node *member = ls_conf_get(group, name);
	int64_t value;

	if (!member)
		return LS_OK;
	if (config_setting_type(setting(member)) != CONFIG_TYPE_INT)
		return ls_conf_refuse(member, err, "'%s' must be an integer", name);
	value = config_setting_get_int(setting(member));
	if (value < min || value > max)
		return ls_conf_refuse(member, err, "'%s' is %lld, wanted %lld to %lld", name,
			(long long)value, (long long)min, (long long)max);
	*out = value;
	return LS_OK;
}

enum ls_code ls_conf_bool(
	const struct ls_conf_node *group, const char *name, bool *out, struct ls_err *err)
{
	const struct ls_conf_node *member = ls_conf_get(group, name);

	if (!member)
		return LS_OK;
	if (config_setting_type(setting(member)) != CONFIG_TYPE_BOOL)
		return ls_conf_refuse(member, err, "'%s' must be true or false", name);
	*out = config_setting_get_bool(setting(member)) != 0;
	return LS_OK;
}

enum ls_code ls_conf_strings(
	const struct ls_conf_node *group, const char *name, char ***out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **strv = NULL;
	const struct ls_conf_node *member = ls_conf_get(group, name);

	if (!member)
		return LS_OK;
	if (ls_conf_is_group(member) || !config_setting_is_aggregate(setting(member)))
		return ls_conf_refuse(member, err, "'%s' must be a list of strings", name);
	strv = ls_alloc(1, sizeof *strv);
	for (size_t i = 0; i < ls_conf_count(member); i++) {
		const struct ls_conf_node *elem = ls_conf_elem(member, i);

		if (!ls_conf_is_string(elem))
			return ls_conf_refuse(member, err, "'%s' must hold strings only", name);
		ls_strv_add(&strv, ls_conf_text(elem));
	}
	ls_free_strv(out);
	*out = LS_TAKE(strv);
	return LS_OK;
}

enum ls_code ls_conf_ints(const struct ls_conf_node *group, const char *name, int64_t min,
	int64_t max, size_t max_count, int64_t *out, size_t *out_count, struct ls_err *err)
{
	const struct ls_conf_node *member = ls_conf_get(group, name);

	if (!member)
		return LS_OK;
	if (ls_conf_is_group(member) || !config_setting_is_aggregate(setting(member)))
		return ls_conf_refuse(member, err, "'%s' must be a list of integers", name);
	if (ls_conf_count(member) > max_count)
		return ls_conf_refuse(member, err, "'%s' has %zu values, at most %zu are taken",
			name, ls_conf_count(member), max_count);
	for (size_t i = 0; i < ls_conf_count(member); i++) {
		const config_setting_t *elem = setting(ls_conf_elem(member, i));
		int value = config_setting_get_int(elem);

		if (config_setting_type(elem) != CONFIG_TYPE_INT)
			return ls_conf_refuse(member, err, "'%s' must hold integers only", name);
		if (value < min || value > max)
			return ls_conf_refuse(member, err, "'%s' holds %d, wanted %lld to %lld",
				name, value, (long long)min, (long long)max);
	}
	for (size_t i = 0; i < ls_conf_count(member); i++)
		out[i] = config_setting_get_int(setting(ls_conf_elem(member, i)));
	*out_count = ls_conf_count(member);
	return LS_OK;
}
