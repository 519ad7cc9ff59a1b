#include "node/engine.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "sys/file.h"

#define FILE_BYTES_MAX (64 * 1024)
#define ENDPOINTS_MAX 32
#define CALL_MS 5000
#define NAME "etcd.json"

void ls_engine_done(struct ls_engine *engine)
{
	ls_free_strv(&engine->endpoints);
	*engine = (struct ls_engine){ 0 };
}

/* "HOST:PORT" after the scheme, nothing behind it. */
static bool address_valid(const char *address)
{
	const char *colon = strrchr(address, ':');
	LS_CLEANUP(ls_free_str) char *host = NULL;
	int64_t port;

	if (!colon || !ls_text_number(colon + 1, 1, 65535, &port))
		return false;
	host = ls_strndup(address, (size_t)(colon - address));
	if (host[0] == '[')
		return ls_has_suffix(host, "]") &&
		       strspn(host + 1, "0123456789abcdefABCDEF:.") == strlen(host) - 2;
	return ls_host_name_valid(host);
}

static bool endpoint_valid(const char *url)
{
	if (ls_has_prefix(url, "https://"))
		return address_valid(url + strlen("https://"));
	if (!ls_has_prefix(url, "http://127.0.0.1:") && !ls_has_prefix(url, "http://[::1]:"))
		return false; /* whoever is on the way could stop us; and etcd would be open to all
			       */
	return address_valid(url + strlen("http://"));
}

static enum ls_code add_endpoint(struct ls_engine *engine, const char *url, struct ls_err *err)
{
	if (ls_strv_count(engine->endpoints) >= ENDPOINTS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "etcd: over %d endpoints", ENDPOINTS_MAX);
	if (!endpoint_valid(url)) {
		LS_FAIL(err, LS_E_REFUSED,
			"etcd endpoint '%.200s': wanted https://HOST:PORT (http:// on loopback "
			"only)",
			url);
		return LS_E_REFUSED;
	}
	ls_strv_add(&engine->endpoints, url);
	return LS_OK;
}

enum ls_code ls_engine_parse(const char *urls, struct ls_engine *out, struct ls_err *err)
{
	LS_CLEANUP(ls_engine_done) struct ls_engine engine = { 0 };
	const char *at = urls;

	for (;;) {
		size_t len = strcspn(at, ",");
		LS_CLEANUP(ls_free_str) char *url = ls_strndup(at, len);

		if (len > 1 && url[len - 1] == '/')
			url[len - 1] = '\0';
		LS_TRY(add_endpoint(&engine, url, err));
		if (at[len] == '\0')
			break;
		at += len + 1;
	}
	*out = engine;
	engine = (struct ls_engine){ 0 };
	return LS_OK;
}

static enum ls_code parse(const json_t *json, struct ls_engine *engine, struct ls_err *err)
{
	const char *pki = json_string_value(json_object_get(json, "pki"));
	const char *state = json_string_value(json_object_get(json, "state"));
	const json_t *endpoints = json_object_get(json, "endpoints"), *url;
	size_t i;

	json_array_foreach(endpoints, i, url)
		LS_TRY(add_endpoint(engine, json_string_value(url) ?: "", err));
	if (!pki || !state || !engine->endpoints ||
		(strcmp(pki, "own") != 0 && strcmp(pki, "cluster") != 0) ||
		(strcmp(state, "active") != 0 && strcmp(state, "migrating") != 0))
		return LS_FAIL(err, LS_E_DAMAGED, "a value is not of its form");
	engine->own_pki = strcmp(pki, "own") == 0;
	engine->migrating = strcmp(state, "migrating") == 0;
	return LS_OK;
}

enum ls_code ls_engine_load(const struct ls_paths *paths, struct ls_engine *out, struct ls_err *err)
{
	LS_CLEANUP(ls_engine_done) struct ls_engine engine = { 0 };
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/" NAME, paths->store);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	json_auto_t *json = NULL;
	enum ls_code code = ls_file_read(AT_FDCWD, path, FILE_BYTES_MAX, &text, err);

	if (code != LS_OK && code != LS_E_NOT_FOUND)
		return code;
	if (code == LS_OK) {
		json = json_loadb(text.data ?: "", text.len, JSON_REJECT_DUPLICATES, NULL);
		if (parse(json, &engine, err) != LS_OK)
			return LS_WRAP(err, "'%s'", path), LS_E_DAMAGED;
	}
	ls_engine_done(out);
	*out = engine;
	engine = (struct ls_engine){ 0 };
	return LS_OK;
}

enum ls_code ls_engine_save(
	const struct ls_paths *paths, const struct ls_engine *engine, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	json_t *endpoints = json_array(), *json;

	for (size_t i = 0; i < ls_strv_count(engine->endpoints); i++)
		(void)json_array_append_new(endpoints, json_string(engine->endpoints[i]));
	json = json_pack("{s:o, s:s, s:s}", "endpoints", endpoints, "pki",
		engine->own_pki ? "own" : "cluster", "state",
		engine->migrating ? "migrating" : "active");
	text = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
	json_decref(json);
	if (!text)
		return LS_FAIL(err, LS_E_FAILED, "the endpoints cannot be written as JSON");
	LS_TRY(ls_dir_make(paths->store, 0700, err));
	LS_TRY(ls_dir_open(paths->store, &fd, err));
	return ls_file_replace(fd, NAME, LS_BYTES_STR(text), 0600, (gid_t)-1, err);
}

void ls_engine_settings(
	const struct ls_paths *paths, const struct ls_engine *engine, struct ls_etcd_settings *out)
{
	LS_CLEANUP(ls_free_str) char *pem = ls_format("%s/" LS_ENGINE_PEM, paths->identity);
	LS_CLEANUP(ls_free_str)
	char *ca = ls_format("%s/%s", paths->identity, engine->own_pki ? LS_ENGINE_CA : "ca.pem");
	struct ls_etcd_settings settings = { .endpoints = engine->endpoints,
		.timeout_ms = CALL_MS };

	if (!engine->endpoints || ls_has_prefix(engine->endpoints[0], "https:")) {
		settings.tls.ca_file = ca;
		settings.tls.cert_file = settings.tls.key_file = pem;
	}
	ls_etcd_settings_copy(out, &settings);
}
