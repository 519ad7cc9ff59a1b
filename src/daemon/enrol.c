#include "daemon/enrol.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/request.h"
#include "daemon/agent.h"
#include "daemon/bootstrap.h"
#include "daemon/migrate.h"
#include "net/https.h"
#include "pki/key.h"
#include "sys/file.h"

#define CONNECT_MS 5000
#define CALL_MIN_MS 1000
#define CLUSTER_MAX_BYTES ((size_t)64 << 10)
#define ANSWER_MAX_BYTES ((size_t)256 << 10)
#define HISTORY_MAX_BYTES ((size_t)4 << 20)
#define EPOCHS_MAX 1000
#define AGAIN_MS 500
#define KEY_BYTES_MAX (64 * 1024)

struct enrol {
	const struct ls_enrol *wish;
	const struct ls_paths *paths;
	char node[LS_NAME_MAX + 1];
	struct ls_buf ca_pem;
	json_t *cluster;
	struct ls_https *https;
	json_t *body; /* of the answer */
	int64_t until_ms;
};

static void enrol_done(struct enrol *e)
{
	ls_buf_done(&e->ca_pem);
	json_decref(e->cluster);
	json_decref(e->body);
	ls_https_free(&e->https);
}

static void say(const struct enrol *e, const char *text)
{
	if (e->wish->progress)
		e->wish->progress(e->wish->arg, text);
}

/* The gateway. */

static int64_t left_ms(const struct enrol *e)
{
	int64_t left = e->until_ms - ls_mono_ms();

	return left < CALL_MIN_MS ? CALL_MIN_MS : left;
}

static enum ls_code call(struct enrol *e, const char *path, const char *body, size_t answer_max,
	json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str)
	char *url = ls_format("https://%s%s", e->wish->token->address, path);
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	json_auto_t *json = NULL;
	struct ls_https_call what = {
		.url = url,
		.connect_ms = CONNECT_MS,
		.timeout_ms = left_ms(e),
		.body_max = answer_max,
		.body = body ? LS_BYTES_STR(body) : (struct ls_bytes){ 0 },
	};
	int status = 0;

	if (body)
		LS_TRY(ls_https_post(e->https, &what, &status, &answer, err));
	else
		LS_TRY(ls_https_get(e->https, &what, &status, &answer, err));
	json = json_loadb(answer.data ?: "", answer.len, JSON_REJECT_DUPLICATES, NULL);
	LS_TRY(ls_error_from_json(json, err));
	if (status != 200 || !json_is_object(json))
		return LS_FAIL(err, LS_E_FAILED,
			"%s answers with HTTP status %d, and not as a gateway of Lockstep does",
			url, status);
	*out = LS_TAKE(json);
	return LS_OK;
}

/* Whoever answers is believed for one thing: a CA certificate whose digest the token names. From
 * then on it is the cluster's CA that says who is the gateway. */
static enum ls_code pin(struct enrol *e, struct ls_err *err)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	struct ls_https_tls tls = { .insecure = true };
	const char *ca;

	ls_https_new(&tls, &e->https);
	LS_TRY(call(e, "/v1/cluster", NULL, CLUSTER_MAX_BYTES, &e->cluster, err));
	ca = json_string_value(json_object_get(e->cluster, "ca"));
	if (!ca || ls_cert_info_read(LS_BYTES_STR(ca), &info, err) != LS_OK ||
		strcmp(info.sha256, e->wish->token->ca_sha256) != 0) {
		LS_FAIL(err, LS_E_REFUSED,
			"%s is not the cluster that the token is of: its CA has another "
			"fingerprint",
			e->wish->token->address);
		LS_HINT(err,
			"somebody may be in between; if the cluster's CA was replaced, make a new "
			"token");
		return LS_E_REFUSED;
	}
	ls_buf_str(&e->ca_pem, ca);
	tls = (struct ls_https_tls){ .ca_pem = ls_buf_bytes(&e->ca_pem) };
	ls_https_new(&tls, &e->https);
	return LS_OK;
}

/* Keys. */

static enum ls_code keep_key(
	int dir_fd, const char *name, struct evp_pkey_st **out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	struct ls_key_spec spec;
	enum ls_code code = ls_file_read_secret(dir_fd, name, KEY_BYTES_MAX, &pem, err);

	if (code == LS_OK)
		return ls_key_from_pem(
			name, ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, out, err);
	if (code != LS_E_NOT_FOUND)
		return code;
	LS_TRY(ls_key_spec_parse("ec:P-256", &spec, err));
	LS_TRY(ls_key_generate(&spec, out, err));
	LS_TRY(ls_key_to_pem(*out, &pem, err));
	return ls_file_replace(dir_fd, name, ls_secret_bytes(&pem), 0600, (gid_t)-1, err);
}

/* The public half of a key that is made when it is not there. */
static enum ls_code public_of(
	int dir_fd, const char *name, json_t *to, const char *key, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *made = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };

	LS_TRY(keep_key(dir_fd, name, &made, err));
	LS_TRY(ls_key_public_pem(made, &pem, err));
	(void)json_object_set_new(to, key, json_string(ls_buf_text(&pem)));
	return LS_OK;
}

static void wrapping_name(int64_t epoch, const char *what, char *out, size_t size)
{
	(void)snprintf(out, size, "wrapping-%lld-%s.pem", (long long)epoch, what);
}

static enum ls_code request_body(struct enrol *e, int dir_fd, char **out, struct ls_err *err)
{
	json_auto_t *body = json_object();
	json_t *wrappings = json_object();
	const json_t *epochs = json_object_get(e->cluster, "epochs"), *epoch;
	size_t i;

	(void)json_object_set_new(body, "node", json_string(e->node));
	(void)json_object_set_new(body, "replace", json_boolean(e->wish->replace));
	(void)json_object_set_new(body, "wrapping_keys", wrappings);
	LS_TRY(public_of(dir_fd, "signing-key.pem", body, "signing_key", err));
	LS_TRY(public_of(dir_fd, "etcd-key.pem", body, "etcd_key", err));
	if (json_array_size(epochs) > EPOCHS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "the cluster names over %d epochs", EPOCHS_MAX);
	json_array_foreach(epochs, i, epoch)
	{
		int64_t number = json_integer_value(epoch);
		char name[64], text[24];

		if (number < 1)
			return LS_FAIL(
				err, LS_E_REFUSED, "the cluster names an epoch that is none");
		wrapping_name(number, "key", name, sizeof name);
		(void)snprintf(text, sizeof text, "%lld", (long long)number);
		LS_TRY(public_of(dir_fd, name, wrappings, text, err));
	}
	*out = json_dumps(body, JSON_SORT_KEYS | JSON_COMPACT);
	return *out ? LS_OK : LS_FAIL(err, LS_E_FAILED, "the request cannot be written as JSON");
}

/* A rotation that runs, or a gateway that starts, is waited for. */
static enum ls_code ask_until(struct enrol *e, const char *text, json_t **out, struct ls_err *err)
{
	enum ls_code code;
	bool said = false;

	for (;;) {
		code = call(e, "/v1/join", text, ANSWER_MAX_BYTES, out, err);
		if ((code != LS_E_CONFLICT && code != LS_E_UNREACHABLE && code != LS_E_UNKNOWN) ||
			ls_mono_ms() >= e->until_ms)
			return code;
		if (!said)
			say(e, "waiting until the cluster can take this node in");
		said = true;
		(void)poll(NULL, 0, AGAIN_MS);
	}
}

static enum ls_code ask(struct enrol *e, int dir_fd, struct ls_err *err)
{
	const struct ls_token *token = e->wish->token;
	LS_CLEANUP(ls_free_str) char *body = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	json_auto_t *request = NULL, *answer = NULL;
	const char *opened;

	LS_TRY(request_body(e, dir_fd, &body, err));
	request = ls_join_seal(LS_JOIN_ASK, token->id, body, &token->secret);
	text = json_dumps(request, JSON_COMPACT);
	LS_TRY(ask_until(e, text, &answer, err));
	LS_TRY(ls_join_open(LS_JOIN_ANSWER, answer, &token->secret, &opened, err));
	e->body = json_loads(opened, JSON_REJECT_DUPLICATES, NULL);
	return e->body ? LS_OK : LS_FAIL(err, LS_E_DAMAGED, "the answer is not JSON");
}

/* What was answered. */

static const char *text_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key)) ?: "";
}

static enum ls_code save_wrapping(
	struct enrol *e, int dir_fd, const char *epoch, const char *cert, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_free_str) char *key_name = ls_format("wrapping-%s-key.pem", epoch);
	LS_CLEANUP(ls_free_str) char *cert_name = ls_format("wrapping-%s-cert.pem", epoch);
	int64_t number;

	if (!ls_text_number(epoch, 1, INT64_MAX, &number))
		return LS_FAIL(err, LS_E_DAMAGED, "the answer names an epoch that is none");
	LS_TRY(keep_key(dir_fd, key_name, &key, err));
	if (!ls_credential_matches(LS_BYTES_STR(cert), key))
		return LS_FAIL(
			err, LS_E_DAMAGED, "the answer's certificates are not of this node's keys");
	(void)e;
	return ls_file_replace(dir_fd, cert_name, LS_BYTES_STR(cert), 0644, (gid_t)-1, err);
}

static enum ls_code need_own(struct ls_err *err)
{
	LS_FAIL(err, LS_E_REFUSED,
		"etcd's certificates are an operator's, not of the cluster's CA, so the cluster "
		"cannot give this node one");
	LS_HINT(err, "join again with --etcd-cert FILE --etcd-key FILE");
	return LS_E_REFUSED;
}

static enum ls_code save_etcd(struct enrol *e, int dir_fd, struct ls_err *err)
{
	const json_t *etcd = json_object_get(e->body, "etcd");
	const char *cert = text_of(etcd, "cert");
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 }, both = { 0 };

	if (strcmp(text_of(etcd, "pki"), "own") == 0)
		return e->wish->etcd_key_pem.len == 0
			       ? need_own(err)
			       : ls_migrate_save_pki(e->paths, LS_BYTES_STR(text_of(etcd, "ca")),
					 e->wish->etcd_cert_pem, e->wish->etcd_key_pem, err);

	LS_TRY(ls_file_read_secret(dir_fd, "etcd-key.pem", KEY_BYTES_MAX, &key, err));
	ls_secret_alloc(&both, key.len + strlen(cert));
	memcpy(both.data, key.data, key.len);
	memcpy(both.data + key.len, cert, strlen(cert));
	return ls_file_replace(dir_fd, LS_ENGINE_PEM, ls_secret_bytes(&both), 0600, (gid_t)-1, err);
}

static enum ls_code save_identity(struct enrol *e, int dir_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_identity_done) struct ls_identity identity = { 0 };
	json_t *wrappings = json_object_get(e->body, "wrapping_certs"), *cert;
	const char *epoch, *ca = text_of(e->body, "ca"),
			   *signing = text_of(e->body, "signing_cert");

	json_object_foreach(wrappings, epoch, cert)
		LS_TRY(save_wrapping(e, dir_fd, epoch, json_string_value(cert) ?: "", err));
	LS_TRY(keep_key(dir_fd, "signing-key.pem", &identity.signer.key, err));
	LS_TRY(ls_authority_check(LS_BYTES_STR(ca), LS_BYTES_STR(signing),
		text_of(e->body, "cluster"), e->node, err));
	if (!ls_credential_matches(LS_BYTES_STR(signing), identity.signer.key))
		return LS_FAIL(
			err, LS_E_DAMAGED, "the answer's certificate is not of this node's key");
	LS_TRY(save_etcd(e, dir_fd, err));
	identity.cluster = ls_strdup(text_of(e->body, "cluster"));
	identity.cluster_id = ls_strdup(text_of(e->body, "cluster_id"));
	(void)snprintf(identity.node, sizeof identity.node, "%s", e->node);
	(void)snprintf(identity.root, sizeof identity.root, "%s", text_of(e->body, "root"));
	ls_buf_str(&identity.ca_pem, ca);
	ls_buf_str(&identity.signer.cert_pem, signing);
	return ls_identity_save(e->paths->identity, &identity, err);
}

/* The history. */

static enum ls_code slice(struct enrol *e, struct ls_history *history, int64_t *from,
	struct ls_commit_id *out_last, struct ls_err *err)
{
	const struct ls_token *token = e->wish->token;
	LS_CLEANUP(ls_free_str) char *body = ls_format("{\"from\":%lld}", (long long)*from);
	json_auto_t *request = ls_join_seal(LS_JOIN_HISTORY_ASK, token->id, body, &token->secret);
	LS_CLEANUP(ls_free_str) char *text = json_dumps(request, JSON_COMPACT);
	json_auto_t *answer = NULL, *part = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	const char *opened;
	int64_t to;

	LS_TRY(call(e, "/v1/join/history", text, HISTORY_MAX_BYTES, &answer, err));
	LS_TRY(ls_join_open(LS_JOIN_HISTORY_ANSWER, answer, &token->secret, &opened, err));
	part = json_loads(opened, JSON_REJECT_DUPLICATES, NULL);
	to = json_integer_value(json_object_get(part, "to"));
	if (json_integer_value(json_object_get(part, "from")) != *from || to < *from)
		return LS_FAIL(err, LS_E_DAMAGED, "an answer about another part of the history");
	LS_TRY(ls_unbase64(text_of(part, "pack"), &pack, err));
	(void)snprintf(out_last->hex, sizeof out_last->hex, "%s", text_of(part, "commit"));
	LS_TRY(ls_history_accept(history, out_last, ls_buf_bytes(&pack), err));
	*from = to + 1;
	return LS_OK;
}

/* Every commit is judged before any of it counts. */
static enum ls_code get_history(struct enrol *e, int64_t *out_generation, struct ls_err *err)
{
	LS_CLEANUP(ls_history_free) struct ls_history *history = NULL;
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_commit_id head = { "" }, root = { "" }, last = { "" };
	int64_t generation = json_integer_value(json_object_get(e->body, "generation")), count = 0;
	const struct ls_member *self;

	(void)snprintf(head.hex, sizeof head.hex, "%s", text_of(e->body, "commit"));
	(void)snprintf(root.hex, sizeof root.hex, "%s", text_of(e->body, "root"));
	LS_TRY(ls_history_create(e->paths->history, err));
	LS_TRY(ls_history_open(e->paths->history, &history, err));
	LS_TRY(ls_history_clean(history, err));
	for (int64_t from = 1; from <= generation;)
		LS_TRY(slice(e, history, &from, &last, err));
	LS_TRY(ls_history_verify(history, &head, &root, NULL, NULL, &count, err));
	LS_TRY(ls_history_load(history, &head, &state, err));
	self = ls_state_member(&state, e->node);
	if (!self ||
		strcmp(ls_buf_text(&self->signing_cert_pem), text_of(e->body, "signing_cert")) != 0)
		return LS_FAIL(err, LS_E_DAMAGED,
			"the history that was sent does not list this node as a member");
	*out_generation = generation;
	return ls_history_advance(history, &head, err);
}

static enum ls_code save_engine(struct enrol *e, struct ls_err *err)
{
	const json_t *etcd = json_object_get(e->body, "etcd");
	const json_t *endpoints = json_object_get(etcd, "endpoints"), *url;
	LS_CLEANUP(ls_engine_done) struct ls_engine engine = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf urls = { 0 };
	size_t i;

	json_array_foreach(endpoints, i, url)
		ls_buf_printf(&urls, "%s%s", i ? "," : "", json_string_value(url) ?: "");
	LS_TRY(ls_engine_parse(ls_buf_text(&urls), &engine, err));
	engine.own_pki = strcmp(text_of(etcd, "pki"), "own") == 0;
	return ls_engine_save(e->paths, &engine, err);
}

static enum ls_code already(const struct ls_paths *paths, struct ls_err *err)
{
	LS_CLEANUP(ls_identity_done) struct ls_identity identity = { 0 };

	if (!ls_agent_initialised(paths))
		return LS_OK;
	LS_TRY(ls_identity_load(paths->identity, &identity, err));
	LS_FAIL(err, LS_E_REFUSED, "this machine is node %s of cluster %s already", identity.node,
		identity.cluster);
	LS_HINT(err, "to leave it behind: stop lockstepd and move '%s' away", paths->lib);
	return LS_E_REFUSED;
}

static enum ls_code stage(struct enrol *e, struct ls_err *err)
{
	LS_CLEANUP(ls_agent_free) struct ls_agent *agent = NULL;
	int64_t wait_s;

	LS_TRY(ls_agent_open(e->paths->root, e->paths->config, true, &agent, err));
	return ls_agent_reconcile(agent, &wait_s, err);
}

enum ls_code ls_enrol(const struct ls_paths *paths, const struct ls_enrol *wish,
	char out_node[LS_NAME_MAX + 1], int64_t *out_generation, struct ls_err *err)
{
	LS_CLEANUP(enrol_done) struct enrol e = { .wish = wish, .paths = paths };
	LS_CLEANUP(ls_fd_close) int lock_fd = -1;
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;

	e.until_ms = ls_mono_ms() + wish->timeout_ms;
	LS_TRY(already(paths, err));
	ls_bootstrap_node_name(wish->node, e.node);
	if (!ls_name_valid(e.node))
		return LS_FAIL(err, LS_E_REFUSED,
			"node name '%s': wanted 1 to 32 of a-z, 0-9 and '_'", e.node);
	LS_TRY(ls_bootstrap_prepare(paths, &lock_fd, err));
	LS_TRY(ls_dir_open(paths->identity, &dir_fd, err));
	say(&e, "looking at the gateway");
	LS_TRY(pin(&e, err));
	say(&e, "asking to be taken in");
	LS_TRY(ask(&e, dir_fd, err));
	say(&e, "fetching and judging the history");
	LS_TRY(get_history(&e, out_generation, err));
	LS_TRY(save_identity(&e, dir_fd, err));
	LS_TRY(save_engine(&e, err));
	ls_fd_close(&lock_fd);
	say(&e, "staging the present generation");
	LS_TRY(stage(&e, err));
	(void)snprintf(out_node, LS_NAME_MAX + 1, "%s", e.node);
	return LS_OK;
}
