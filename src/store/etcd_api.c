#include "store/etcd_api.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define CONNECT_MS 2000
#define REVOKE_MS 500
#define ANSWER_MAX_BYTES ((size_t)64 << 20)
#define OPS_MAX 128 /* the engine's own limit */

struct ls_etcd {
	char **endpoints;
	size_t at; /* that is asked first */
	int64_t timeout_ms;
	int64_t revision;
	struct ls_https *https;
};

void ls_etcd_list_done(struct ls_etcd_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->kvs[i].key);
		ls_buf_done(&list->kvs[i].value);
	}
	free(list->kvs);
	*list = (struct ls_etcd_list){ 0 };
}

const struct ls_buf *ls_etcd_list_get(const struct ls_etcd_list *list, const char *key)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->kvs[i].key, key) == 0)
			return &list->kvs[i].value;
	return NULL;
}

static struct ls_bytes copy_bytes(struct ls_bytes from)
{
	char *data = from.data ? ls_alloc(from.len + 1, 1) : NULL;

	if (data)
		memcpy(data, from.data, from.len);
	return (struct ls_bytes){ data, from.len };
}

static void free_bytes(struct ls_bytes *bytes)
{
	if (bytes->data)
		ls_wipe((void *)(uintptr_t)bytes->data, bytes->len);
	free((void *)(uintptr_t)bytes->data);
}

static const char *copy_path(const char *path)
{
	return path ? ls_strdup(path) : NULL;
}

void ls_etcd_settings_copy(struct ls_etcd_settings *to, const struct ls_etcd_settings *from)
{
	*to = (struct ls_etcd_settings){
		.endpoints = ls_strv_copy(from->endpoints),
		.timeout_ms = from->timeout_ms,
		.tls = {
			.ca_pem = copy_bytes(from->tls.ca_pem),
			.cert_pem = copy_bytes(from->tls.cert_pem),
			.key_pem = copy_bytes(from->tls.key_pem),
			.ca_file = copy_path(from->tls.ca_file),
			.cert_file = copy_path(from->tls.cert_file),
			.key_file = copy_path(from->tls.key_file),
		},
	};
}

void ls_etcd_settings_done(struct ls_etcd_settings *s)
{
	ls_free_strv(&s->endpoints);
	free_bytes(&s->tls.ca_pem);
	free_bytes(&s->tls.cert_pem);
	free_bytes(&s->tls.key_pem);
	free((void *)(uintptr_t)s->tls.ca_file);
	free((void *)(uintptr_t)s->tls.cert_file);
	free((void *)(uintptr_t)s->tls.key_file);
	*s = (struct ls_etcd_settings){ 0 };
}

void ls_etcd_new(const struct ls_etcd_settings *settings, struct ls_etcd **out)
{
	struct ls_etcd *e = ls_alloc(1, sizeof *e);

	e->endpoints = ls_strv_copy(settings->endpoints);
	e->timeout_ms = settings->timeout_ms;
	ls_https_new(&settings->tls, &e->https);
	ls_etcd_free(out);
	*out = e;
}

void ls_etcd_free(struct ls_etcd **etcd)
{
	if (!*etcd)
		return;
	ls_free_strv(&(*etcd)->endpoints);
	ls_https_free(&(*etcd)->https);
	free(*etcd);
	*etcd = NULL;
}

/* Requests. */

static json_t *base64_json(struct ls_bytes bytes)
{
	LS_CLEANUP(ls_free_str) char *text = ls_base64(bytes);

	return json_string(text);
}

/* The first key after all that begin with `prefix`. */
static json_t *prefix_end(const char *prefix)
{
	LS_CLEANUP(ls_free_str) char *end = ls_strdup(prefix);

	end[strlen(end) - 1]++; /* keys are ASCII */
	return base64_json(LS_BYTES_STR(end));
}

static json_t *key_json(const char *key)
{
	return base64_json(LS_BYTES_STR(key));
}

static json_t *range_json(const char *prefix)
{
	return json_pack("{s:o, s:o}", "key", key_json(prefix), "range_end", prefix_end(prefix));
}

static json_t *compare_json(const struct ls_etcd_compare *c)
{
	if (!c->value.data)
		return json_pack("{s:s, s:s, s:o, s:s}", "target", "CREATE", "result", "EQUAL",
			"key", key_json(c->key), "create_revision", "0");
	return json_pack("{s:s, s:s, s:o, s:o}", "target", "VALUE", "result", "EQUAL", "key",
		key_json(c->key), "value", base64_json(c->value));
}

/* As text: a number would go through a double somewhere. */
static json_t *id_json(int64_t id)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%lld", (long long)id);
	return json_string(text);
}

static json_t *change_json(const struct ls_etcd_change *c)
{
	if (c->prefix)
		return json_pack("{s:o}", "request_delete_range", range_json(c->key));
	if (!c->value.data)
		return json_pack("{s:{s:o, s:o*}}", "request_delete_range", "key", key_json(c->key),
			"range_end", c->until ? key_json(c->until) : NULL);
	return json_pack("{s:{s:o, s:o, s:o}}", "request_put", "key", key_json(c->key), "value",
		base64_json(c->value), "lease", id_json(c->lease));
}

/* Answers. */

/* int64 fields are decimal strings, and left out when they are 0. */
static int64_t number_of(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);

	if (json_is_string(value))
		return strtoll(json_string_value(value), NULL, 10);
	return json_integer_value(value);
}

/* An error as any version and either gateway words it. */
struct refusal {
	int64_t code;
	const char *message;
};

static struct refusal refusal_of(const json_t *answer)
{
	const json_t *inner = json_object_get(answer, "error");
	struct refusal r = { 0 };

	if (!json_is_object(inner))
		inner = answer;
	r.code = number_of(inner, json_object_get(inner, "grpc_code") ? "grpc_code" : "code");
	r.message = json_string_value(json_object_get(inner, "message"));
	if (!r.message)
		r.message = json_string_value(json_object_get(inner, "error"));
	return r;
}

/* gRPC's status codes. */
enum {
	GRPC_UNKNOWN = 2,
	GRPC_INVALID = 3,
	GRPC_DEADLINE = 4,
	GRPC_FORBIDDEN = 7,
	GRPC_EXHAUSTED = 8,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16
};

/* `change`: what may have been done although the answer says otherwise. */
static enum ls_code judge_refusal(
	const char *endpoint, bool change, const struct refusal *r, struct ls_err *err)
{
	const char *message = r->message ?: "no reason is given";
	enum ls_code code;

	switch (r->code) {
	case GRPC_INVALID:
	case GRPC_FORBIDDEN:
	case GRPC_UNAUTHENTICATED:
		code = LS_E_REFUSED;
		break;
	case GRPC_EXHAUSTED:
		code = strstr(message, "space exceeded") ? LS_E_IO : LS_E_REFUSED;
		break;
	case GRPC_UNKNOWN:
	case GRPC_DEADLINE:
		code = change ? LS_E_UNKNOWN : LS_E_UNREACHABLE;
		break;
	case GRPC_UNAVAILABLE:
		/* The header asks for it: refused before it was proposed. */
		code = change && !strstr(message, "no leader") ? LS_E_UNKNOWN : LS_E_UNREACHABLE;
		break;
	default:
		code = LS_E_FAILED;
	}
	LS_FAIL(err, code, "etcd at %s: %s", endpoint, message);
	if (code == LS_E_IO)
		LS_HINT(err, "compact and defragment etcd, then clear its NOSPACE alarm");
	return code;
}

static enum ls_code ask_one(struct ls_etcd *e, const char *endpoint, const char *path,
	const char *body, bool change, json_t **out, struct ls_err *err)
{
	static char has_leader[] = "Grpc-Metadata-hasleader: true";
	char *headers[] = { has_leader, NULL };
	LS_CLEANUP(ls_free_str) char *url = ls_format("%s%s", endpoint, path);
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	json_auto_t *json = NULL;
	struct ls_https_call call = {
		.url = url,
		.headers = headers,
		.body = LS_BYTES_STR(body),
		.connect_ms = CONNECT_MS,
		.timeout_ms = e->timeout_ms,
		.body_max = ANSWER_MAX_BYTES,
	};
	enum ls_code code;
	int status = 0;

	code = ls_https_post(e->https, &call, &status, &answer, err);
	if (code == LS_E_UNKNOWN && !change) {
		if (err)
			err->code = LS_E_UNREACHABLE;
		return LS_E_UNREACHABLE;
	}
	LS_TRY(code);
	json = json_loadb(answer.data, answer.len, JSON_REJECT_DUPLICATES, NULL);
	if (status != 200 && json_is_object(json)) {
		struct refusal r = refusal_of(json);

		return judge_refusal(endpoint, change, &r, err);
	}
	if (status != 200 || !json_is_object(json))
		return LS_FAIL(err, LS_E_DAMAGED,
			"%s answers with HTTP status %d, and not as etcd does", url, status);
	e->revision = number_of(json_object_get(json, "header"), "revision");
	*out = LS_TAKE(json);
	return LS_OK;
}

int64_t ls_etcd_revision(const struct ls_etcd *e)
{
	return e->revision;
}

/* Goes through the endpoints until one has done it, or may have. */
static enum ls_code ask(struct ls_etcd *e, const char *path, const json_t *request, bool change,
	json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *body = json_dumps(request, JSON_COMPACT);
	size_t count = ls_strv_count(e->endpoints);
	enum ls_code code = LS_E_FAILED;

	if (!body)
		return LS_FAIL(err, LS_E_FAILED, "the request to etcd cannot be written as JSON");
	if (count == 0)
		return LS_FAIL(err, LS_E_UNREACHABLE, "etcd: no endpoint is configured");
	for (size_t i = 0; i < count; i++) {
		code = ask_one(e, e->endpoints[e->at], path, body, change, out, err);
		if (code != LS_E_UNREACHABLE && code != LS_E_UNKNOWN && code != LS_E_DAMAGED)
			return code;
		e->at = (e->at + 1) % count;
		if (code == LS_E_UNKNOWN)
			return code;
	}
	return code;
}

/* {"kvs": [...]} of one range, appended. */
static enum ls_code take_kvs(const json_t *range, struct ls_etcd_list *list, struct ls_err *err)
{
	const json_t *kvs = json_object_get(range, "kvs");
	const json_t *kv;
	size_t i;

	json_array_foreach(kvs, i, kv)
	{
		const char *key64 = json_string_value(json_object_get(kv, "key"));
		const char *value64 = json_string_value(json_object_get(kv, "value"));
		LS_CLEANUP(ls_buf_done) struct ls_buf key = { 0 };
		LS_CLEANUP(ls_buf_done) struct ls_buf value = { 0 };

		if (!key64 || ls_unbase64(key64, &key, NULL) != LS_OK ||
			(value64 && ls_unbase64(value64, &value, NULL) != LS_OK))
			return LS_FAIL(err, LS_E_DAMAGED, "etcd: an entry that is no base64");
		list->kvs = ls_realloc(list->kvs, list->count + 1, sizeof *list->kvs);
		list->kvs[list->count].changed = number_of(kv, "mod_revision");
		list->kvs[list->count].key = ls_buf_take(&key);
		list->kvs[list->count++].value = value;
		value = (struct ls_buf){ 0 };
	}
	return LS_OK;
}

enum ls_code ls_etcd_read_ranges(struct ls_etcd *e, const struct ls_etcd_range *ranges,
	size_t count, struct ls_etcd_list *out, struct ls_err *err)
{
	json_auto_t *request = json_pack("{s:[]}", "success");
	json_auto_t *answer = NULL;
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	json_t *ops = json_object_get(request, "success");
	const json_t *responses, *response;
	size_t i;

	/* One transaction, so that all of it is of one revision. */
	for (i = 0; i < count; i++) {
		json_t *range = range_json(ranges[i].prefix);

		if (ranges[i].keys_only)
			(void)json_object_set_new(range, "keys_only", json_true());
		(void)json_array_append_new(ops, json_pack("{s:o}", "request_range", range));
	}
	LS_TRY(ask(e, "/v3/kv/txn", request, false, &answer, err));
	responses = json_object_get(answer, "responses");
	if (json_array_size(responses) != count)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: an answer without what was asked for");
	json_array_foreach(responses, i, response)
		LS_TRY(take_kvs(json_object_get(response, "response_range"), &list, err));
	list.revision = number_of(json_object_get(answer, "header"), "revision");
	ls_etcd_list_done(out);
	*out = list;
	list = (struct ls_etcd_list){ 0 };
	return LS_OK;
}

enum ls_code ls_etcd_read(
	struct ls_etcd *e, char *const *prefixes, struct ls_etcd_list *out, struct ls_err *err)
{
	size_t count = ls_strv_count(prefixes);
	struct ls_etcd_range *ranges = ls_alloc(count + 1, sizeof *ranges);
	enum ls_code code;

	for (size_t i = 0; i < count; i++)
		ranges[i].prefix = prefixes[i];
	code = ls_etcd_read_ranges(e, ranges, count, out, err);
	free(ranges);
	return code;
}

enum ls_code ls_etcd_txn(struct ls_etcd *e, const struct ls_etcd_compare *compares,
	size_t compare_count, const struct ls_etcd_change *changes, size_t change_count,
	bool *out_done, struct ls_err *err)
{
	json_auto_t *request = json_pack("{s:[], s:[]}", "compare", "success");
	json_auto_t *answer = NULL;

	if (compare_count > OPS_MAX || change_count > OPS_MAX)
		return LS_FAIL(
			err, LS_E_REFUSED, "etcd: over %d steps in one transaction", OPS_MAX);
	for (size_t i = 0; i < compare_count; i++)
		(void)json_array_append_new(
			json_object_get(request, "compare"), compare_json(&compares[i]));
	for (size_t i = 0; i < change_count; i++)
		(void)json_array_append_new(
			json_object_get(request, "success"), change_json(&changes[i]));
	LS_TRY(ask(e, "/v3/kv/txn", request, true, &answer, err));
	*out_done = json_is_true(json_object_get(answer, "succeeded"));
	return LS_OK;
}

enum ls_code ls_etcd_lease_grant(
	struct ls_etcd *e, int64_t ttl_s, int64_t *out_lease, struct ls_err *err)
{
	json_auto_t *request = json_pack("{s:o}", "TTL", id_json(ttl_s));
	json_auto_t *answer = NULL;

	LS_TRY(ask(e, "/v3/lease/grant", request, true, &answer, err));
	*out_lease = number_of(answer, "ID");
	if (*out_lease == 0)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: a lease without a number");
	return LS_OK;
}

enum ls_code ls_etcd_lease_keep(struct ls_etcd *e, int64_t lease, struct ls_err *err)
{
	json_auto_t *request = json_pack("{s:o}", "ID", id_json(lease));
	json_auto_t *answer = NULL;

	/* Once more does no harm, so a lost answer is none. */
	LS_TRY(ask(e, "/v3/lease/keepalive", request, false, &answer, err));
	if (number_of(json_object_get(answer, "result"), "TTL") <= 0)
		return LS_FAIL(err, LS_E_NOT_FOUND, "etcd: the lease has ended");
	return LS_OK;
}

void ls_etcd_lease_revoke(struct ls_etcd *e, int64_t lease)
{
	json_auto_t *request = json_pack("{s:o}", "ID", id_json(lease));
	LS_CLEANUP(ls_free_str) char *body = json_dumps(request, JSON_COMPACT);
	json_auto_t *answer = NULL;
	int64_t timeout_ms = e->timeout_ms;

	if (!body || !e->endpoints)
		return;
	e->timeout_ms = REVOKE_MS;
	/* Unheard, it ends by itself. */
	LS_IGNORE(ask_one(e, e->endpoints[e->at], "/v3/lease/revoke", body, true, &answer, NULL));
	e->timeout_ms = timeout_ms;
}
