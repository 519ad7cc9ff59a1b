#include "control/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define SETS_MAX 1000

static const char *const kinds[] = {
	[LS_CHANGE_SET] = "set",
	[LS_CHANGE_RENEW] = "renew",
	[LS_CHANGE_REQUEST] = "request",
	[LS_CHANGE_ROLLBACK] = "rollback",
	[LS_CHANGE_SEAL_ROTATE] = "seal-rotate",
	[LS_CHANGE_SEAL_FORGET] = "seal-forget",
	[LS_CHANGE_MIGRATE] = "migrate",
	[LS_CHANGE_REMOVE] = "remove",
	[LS_CHANGE_ADOPT] = "adopt",
	[LS_CHANGE_DROP_IN] = "drop-in",
};
static_assert(LS_COUNT(kinds) == LS_CHANGE_KIND_COUNT, "a kind without a text");

static void file_done(struct ls_change_file *file)
{
	free(file->name);
	ls_secret_done(&file->bytes);
	file->name = NULL;
}

void ls_change_done(struct ls_change *change)
{
	for (size_t i = 0; i < change->set_count; i++) {
		struct ls_change_set *set = &change->sets[i];

		free(set->component);
		file_done(&set->cert);
		file_done(&set->chain);
		file_done(&set->key);
		file_done(&set->passphrase);
	}
	free(change->sets);
	ls_free_strv(&change->names);
	*change = (struct ls_change){ 0 };
}

struct ls_change_set *ls_change_add_set(struct ls_change *change, const char *component)
{
	struct ls_change_set *set;

	change->sets = ls_realloc(change->sets, change->set_count + 1, sizeof *change->sets);
	set = &change->sets[change->set_count++];
	*set = (struct ls_change_set){ .component = ls_strdup(component) };
	return set;
}

void ls_change_file_set(struct ls_change_file *file, const char *name, struct ls_bytes bytes)
{
	free(file->name);
	file->name = ls_strdup(name);
	ls_secret_set(&file->bytes, bytes);
}

/* File names are bytes, and messages quote them; JSON is UTF-8. */
static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	if (!json) {
		LS_CLEANUP(ls_free_str) char *ascii = ls_strdup(text);

		ls_text_ascii(ascii);
		json = json_string(ascii);
	}
	return json;
}

static void file_to_json(json_t *obj, const char *key, const struct ls_change_file *file)
{
	char *data;

	if (!file->name)
		return;
	data = ls_base64(ls_secret_bytes(&file->bytes));
	(void)json_object_set_new(
		obj, key, json_pack("{s:o, s:s}", "name", text_json(file->name), "data", data));
	ls_wipe(data, strlen(data));
	free(data);
}

char *ls_change_to_text(const struct ls_change *change)
{
	json_auto_t *json = json_object();
	json_t *sets = json_array(), *names = json_array();
	char *text;

	for (size_t i = 0; i < change->set_count; i++) {
		const struct ls_change_set *set = &change->sets[i];
		json_t *obj = json_pack("{s:o}", "component", text_json(set->component));

		file_to_json(obj, "cert", &set->cert);
		file_to_json(obj, "chain", &set->chain);
		file_to_json(obj, "key", &set->key);
		file_to_json(obj, "passphrase", &set->passphrase);
		(void)json_array_append_new(sets, obj);
	}
	for (size_t i = 0; i < ls_strv_count(change->names); i++)
		(void)json_array_append_new(names, text_json(change->names[i]));
	(void)json_object_set_new(json, "kind", json_string(kinds[change->kind]));
	(void)json_object_set_new(json, "sets", sets);
	(void)json_object_set_new(json, "names", names);
	(void)json_object_set_new(json, "number", json_integer(change->number));
	(void)json_object_set_new(json, "force", json_boolean(change->force));
	(void)json_object_set_new(
		json, "replace_installed", json_boolean(change->replace_installed));
	(void)json_object_set_new(json, "dry_run", json_boolean(change->dry_run));
	(void)json_object_set_new(json, "detach", json_boolean(change->detach));
	text = json_dumps(json, JSON_COMPACT);
	assert(text);
	return text;
}

static enum ls_code malformed(struct ls_err *err, const char *what)
{
	return LS_FAIL(err, LS_E_USAGE, "request: '%s' is missing or of the wrong type", what);
}

static enum ls_code file_from_json(
	const json_t *obj, const char *key, struct ls_change_file *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	const json_t *file = json_object_get(obj, key);
	const char *name = json_string_value(json_object_get(file, "name"));
	const char *data = json_string_value(json_object_get(file, "data"));

	if (!file)
		return LS_OK;
	if (!name || !data)
		return malformed(err, key);
	if (ls_unbase64(data, &bytes, err) != LS_OK)
		return malformed(err, key);
	ls_change_file_set(out, name, ls_buf_bytes(&bytes));
	ls_wipe(bytes.data, bytes.cap);
	return LS_OK;
}

static enum ls_code sets_from_json(const json_t *sets, struct ls_change *change, struct ls_err *err)
{
	if (!json_is_array(sets) || json_array_size(sets) > SETS_MAX)
		return malformed(err, "sets");
	for (size_t i = 0; i < json_array_size(sets); i++) {
		const json_t *obj = json_array_get(sets, i);
		const char *component = json_string_value(json_object_get(obj, "component"));
		struct ls_change_set *set;

		if (!component)
			return malformed(err, "component");
		set = ls_change_add_set(change, component);
		LS_TRY(file_from_json(obj, "cert", &set->cert, err));
		LS_TRY(file_from_json(obj, "chain", &set->chain, err));
		LS_TRY(file_from_json(obj, "key", &set->key, err));
		LS_TRY(file_from_json(obj, "passphrase", &set->passphrase, err));
		if (!set->cert.name)
			return malformed(err, "cert");
	}
	return LS_OK;
}

static enum ls_code flag(const json_t *json, const char *key, bool *out, struct ls_err *err)
{
	const json_t *value = json_object_get(json, key);

	if (!json_is_boolean(value))
		return malformed(err, key);
	*out = json_is_true(value);
	return LS_OK;
}

static enum ls_code kind_from_json(const json_t *json, enum ls_change_kind *out, struct ls_err *err)
{
	const char *text = json_string_value(json_object_get(json, "kind"));

	for (size_t i = 0; text && i < LS_CHANGE_ADOPT; i++) {
		if (strcmp(kinds[i], text) == 0) {
			*out = (enum ls_change_kind)i;
			return LS_OK;
		}
	}
	return malformed(err, "kind");
}

enum ls_code ls_change_from_text(struct ls_bytes text, struct ls_change *out, struct ls_err *err)
{
	json_auto_t *json = NULL;
	LS_CLEANUP(ls_change_done) struct ls_change change = { 0 };
	const json_t *names, *number;

	json = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json))
		return LS_FAIL(err, LS_E_USAGE, "request: the body is not a JSON object");
	LS_TRY(kind_from_json(json, &change.kind, err));
	LS_TRY(sets_from_json(json_object_get(json, "sets"), &change, err));
	names = json_object_get(json, "names");
	if (!json_is_array(names) || json_array_size(names) > SETS_MAX)
		return malformed(err, "names");
	for (size_t i = 0; i < json_array_size(names); i++) {
		if (!json_is_string(json_array_get(names, i)))
			return malformed(err, "names");
		ls_strv_add(&change.names, json_string_value(json_array_get(names, i)));
	}
	number = json_object_get(json, "number");
	if (!json_is_integer(number))
		return malformed(err, "number");
	change.number = json_integer_value(number);
	LS_TRY(flag(json, "force", &change.force, err));
	LS_TRY(flag(json, "replace_installed", &change.replace_installed, err));
	LS_TRY(flag(json, "dry_run", &change.dry_run, err));
	LS_TRY(flag(json, "detach", &change.detach, err));
	if (change.kind == LS_CHANGE_SET && change.set_count == 0)
		return malformed(err, "sets");
	if ((change.kind == LS_CHANGE_REQUEST || change.kind == LS_CHANGE_MIGRATE ||
		    change.kind == LS_CHANGE_REMOVE) &&
		ls_strv_count(change.names) != 1)
		return malformed(err, "names");
	ls_change_done(out);
	*out = change;
	change = (struct ls_change){ 0 };
	return LS_OK;
}

json_t *ls_error_to_json(const struct ls_err *err)
{
	return json_pack("{s:{s:s, s:o, s:o}}", "error", "code", ls_code_text(err->code), "message",
		text_json(err->text), "hint", text_json(err->hint));
}

enum ls_code ls_error_from_json(const json_t *json, struct ls_err *err)
{
	const json_t *obj = json_object_get(json, "error");
	const char *code = json_string_value(json_object_get(obj, "code"));
	const char *message = json_string_value(json_object_get(obj, "message"));
	const char *hint = json_string_value(json_object_get(obj, "hint"));
	enum ls_code parsed;

	if (!obj)
		return LS_OK;
	parsed = ls_code_parse(code ? code : "");
	if (parsed == LS_OK)
		parsed = LS_E_FAILED;
	LS_FAIL(err, parsed, "%s", message ? message : "the daemon gave no reason");
	if (hint && *hint)
		LS_HINT(err, "%s", hint);
	return parsed;
}
