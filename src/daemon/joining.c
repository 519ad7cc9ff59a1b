#include "daemon/joining.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/join.h"
#include "daemon/epoch.h"
#include "pki/key.h"
#include "sys/file.h"

#define SLICE_BYTES ((size_t)1 << 20)
#define PUBLIC_PEM_MAX 4096
#define EPOCHS_MAX 1000

/* Tokens. */

static enum ls_code no_address(struct ls_err *err)
{
	LS_FAIL(err, LS_E_REFUSED,
		"it is not known by which address other nodes reach the gateway");
	LS_HINT(err, "set gateway = { address = \"HOST:PORT\"; }; in lockstep.conf, then reload");
	return LS_E_REFUSED;
}

enum ls_code ls_joining_token(struct ls_agent *a, int64_t ttl_s, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_token_done) struct ls_token token = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret text = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf sealed = { 0 };
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info ca = { 0 };
	LS_CLEANUP(ls_free_str) char *name = NULL;
	LS_CLEANUP(ls_free_str) char *body = NULL;
	json_auto_t *note = NULL;
	const struct ls_secret *kek = ls_keyring_get(&a->keyring, a->tip.kek_epoch);
	int64_t expires_s = ls_now_s() + ttl_s;
	char expires[LS_TIME_TEXT_SIZE];

	if (!a->config.gateway_address[0])
		return no_address(err);
	if (!kek)
		return LS_FAIL(err, LS_E_FAILED, "the key of epoch %lld is not here",
			(long long)a->tip.kek_epoch);
	ls_token_make(&token);
	(void)snprintf(token.address, sizeof token.address, "%s", a->config.gateway_address);
	LS_TRY(ls_cert_info_read(ls_buf_bytes(&a->tip.ca_pem), &ca, err));
	(void)snprintf(token.ca_sha256, sizeof token.ca_sha256, "%s", ca.sha256);
	LS_TRY(ls_seal(ls_secret_bytes(&token.secret), ls_secret_bytes(kek), a->tip.kek_epoch,
		&sealed, err));
	note = json_pack(
		"{s:I, s:s}", "expires", (json_int_t)expires_s, "secret", ls_buf_text(&sealed));
	body = json_dumps(note, JSON_SORT_KEYS | JSON_COMPACT);
	name = ls_format("token/%s", token.id);
	LS_TRY(ls_store_put_note(a->store, name, body, LS_NOTE_CREATE, err));
	ls_token_text(&token, &text);
	ls_time_text(expires_s, expires);
	*out = json_pack(
		"{s:s%, s:s}", "token", (const char *)text.data, text.len, "expires", expires);
	return LS_OK;
}

static enum ls_code unknown_token(struct ls_err *err)
{
	LS_FAIL(err, LS_E_REFUSED, "the token is unknown, expired or used");
	LS_HINT(err, "lockstep token create on a member makes a new one");
	return LS_E_REFUSED;
}

/* A token ends with the epoch that it was made in: a node that was removed could open all that was
 * sealed until then, and would come back with a token that was meant for another. */
static enum ls_code open_secret(
	struct ls_agent *a, const char *sealed, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_keyring_done) struct ls_keyring present = { 0 };
	const struct ls_secret *kek = ls_keyring_get(&a->keyring, a->tip.kek_epoch);

	if (kek)
		ls_keyring_put(&present, a->tip.kek_epoch, ls_secret_bytes(kek));
	return ls_unseal(LS_BYTES_STR(sealed), &present, out, NULL) == LS_OK ? LS_OK
									     : unknown_token(err);
}

/* The secret of the token that a request names, and the request's body if it was made with it. */
static enum ls_code open_request(struct ls_agent *a, const char *words, const json_t *request,
	struct ls_secret *out_secret, const char **out_body, struct ls_err *err)
{
	const char *id = json_string_value(json_object_get(request, "token"));
	LS_CLEANUP(ls_free_str) char *name = NULL;
	LS_CLEANUP(ls_notes_done) struct ls_notes notes = { 0 };
	json_auto_t *note = NULL;
	const char *sealed;

	if (!id || strlen(id) != 2 * LS_TOKEN_ID_BYTES || !ls_name_valid(id))
		return LS_FAIL(err, LS_E_REFUSED, "a message of joining without a token's name");
	name = ls_format("token/%s", id);
	LS_TRY(ls_store_get_notes(a->store, name, &notes, err));
	if (notes.count != 1)
		return unknown_token(err);
	note = json_loads(notes.items[0].body, JSON_REJECT_DUPLICATES, NULL);
	sealed = json_string_value(json_object_get(note, "secret"));
	if (!sealed || json_integer_value(json_object_get(note, "expires")) < ls_now_s())
		return unknown_token(err);
	LS_TRY(open_secret(a, sealed, out_secret, err));
	return ls_join_open(words, request, out_secret, out_body, err);
}

/* The request. */

struct wish {
	const char *token;
	json_t *body;
	const char *node, *signing_key, *etcd_key;
	const json_t *wrapping_keys;
	bool replace;
};

static void wish_done(struct wish *w)
{
	json_decref(w->body);
}

static enum ls_code parse_wish(
	const char *token, const char *text, struct wish *w, struct ls_err *err)
{
	const json_t *keys;

	w->token = token;
	w->body = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	w->node = json_string_value(json_object_get(w->body, "node"));
	w->signing_key = json_string_value(json_object_get(w->body, "signing_key"));
	w->etcd_key = json_string_value(json_object_get(w->body, "etcd_key"));
	w->replace = json_is_true(json_object_get(w->body, "replace"));
	w->wrapping_keys = keys = json_object_get(w->body, "wrapping_keys");
	if (!w->node || !w->signing_key || !w->etcd_key || !json_is_object(keys) ||
		json_object_size(keys) > EPOCHS_MAX || strlen(w->signing_key) > PUBLIC_PEM_MAX ||
		strlen(w->etcd_key) > PUBLIC_PEM_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "a request to join that is not of its form");
	if (!ls_name_valid(w->node))
		return LS_FAIL(err, LS_E_REFUSED,
			"node name '%.64s': wanted 1 to 32 of a-z, 0-9 and '_'", w->node);
	return LS_OK;
}

static const char *wrapping_key_of(const struct wish *w, int64_t epoch)
{
	char number[24];

	(void)snprintf(number, sizeof number, "%lld", (long long)epoch);
	return json_string_value(json_object_get(w->wrapping_keys, number));
}

/* All that is certified for it; `replace` may be said at a later try. */
static char *keys_of(const struct wish *w)
{
	json_auto_t *keys = json_pack("{s:s, s:s, s:O}", "signing", w->signing_key, "etcd",
		w->etcd_key, "wrapping", w->wrapping_keys);

	return json_dumps(keys, JSON_SORT_KEYS | JSON_COMPACT);
}

/* A token is for one node: the keys that used it first. Public keys can be read by many, so whoever
 * comes with some of them and others of its own is another. */
static enum ls_code bind_token(
	struct ls_agent *a, const struct wish *w, bool *out_again, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("bound/%s", w->token);
	LS_CLEANUP(ls_notes_done) struct ls_notes notes = { 0 };
	LS_CLEANUP(ls_free_str) char *keys = keys_of(w);
	LS_CLEANUP(ls_free_str) char *body = NULL;
	char sha256[LS_SHA256_TEXT];
	enum ls_code code;

	if (!keys)
		return LS_FAIL(err, LS_E_REFUSED, "a request to join that is not of its form");
	ls_sha256_text(LS_BYTES_STR(keys), sha256);
	body = ls_format("%s %s", w->node, sha256);
	code = ls_store_put_note(a->store, name, body, LS_NOTE_CREATE, err);
	*out_again = code == LS_E_CONFLICT;
	if (code != LS_E_CONFLICT)
		return code;
	LS_TRY(ls_store_get_notes(a->store, name, &notes, err));
	if (notes.count != 1 || strcmp(notes.items[0].body, body) != 0)
		return unknown_token(err);
	return LS_OK;
}

static bool is_key_of(const struct ls_buf *cert_pem, const char *public_pem)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;

	return ls_key_from_public_pem("key", LS_BYTES_STR(public_pem), &key, NULL) == LS_OK &&
	       ls_credential_matches(ls_buf_bytes(cert_pem), key);
}

/* Taking it in. */

struct papers {
	struct ls_buf signing, etcd;
	struct ls_buf *wrappings; /* of each epoch of the tip */
	size_t count;
};

static void papers_done(struct papers *p)
{
	ls_buf_done(&p->signing);
	ls_buf_done(&p->etcd);
	for (size_t i = 0; i < p->count; i++)
		ls_buf_done(&p->wrappings[i]);
	free(p->wrappings);
}

/* `member`: it is one already; then its certificates are those that the state has. */
static enum ls_code certify(struct ls_agent *a, const struct wish *w,
	const struct ls_member *member, struct papers *p, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 };
	const struct ls_leaf_wish client = { .use = LS_LEAF_CLIENT };
	int64_t now_s = ls_now_s();

	LS_TRY(ls_agent_ca(a, &ca, err));
	if (member)
		ls_buf_copy(&p->signing, &member->signing_cert_pem);
	else
		LS_TRY(ls_authority_certify_key(&ca, a->tip.cluster, w->node, LS_NODE_CERT_SIGNING,
			LS_BYTES_STR(w->signing_key), now_s, &p->signing, err));
	LS_TRY(ls_authority_leaf_key(
		&ca, a->tip.cluster, &client, LS_BYTES_STR(w->etcd_key), now_s, &p->etcd, err));
	p->wrappings = ls_alloc(a->tip.kek_epoch_count, sizeof *p->wrappings);
	for (; p->count < a->tip.kek_epoch_count; p->count++) {
		int64_t epoch = a->tip.kek_epochs[p->count].epoch;
		const char *key = wrapping_key_of(w, epoch);
		struct ls_buf *to = &p->wrappings[p->count];

		if (member && epoch == a->tip.kek_epoch)
			ls_buf_copy(to, &member->wrapping_cert_pem);
		else if (key)
			LS_TRY(ls_authority_certify_key(&ca, a->tip.cluster, w->node,
				LS_NODE_CERT_WRAPPING, LS_BYTES_STR(key), now_s, to, err));
		else if (epoch == a->tip.kek_epoch)
			return LS_FAIL(err, LS_E_CONFLICT, "a new epoch, %lld, has begun meanwhile",
				(long long)epoch);
	}
	return LS_OK;
}

/* Of each epoch that it sent a key for, so that it can go back as far as the others. */
static enum ls_code wrap_all(
	struct ls_agent *a, const struct wish *w, const struct papers *p, struct ls_err *err)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct ls_kek_epoch *e = &a->tip.kek_epochs[i];
		const struct ls_secret *kek = ls_keyring_get(&a->keyring, e->epoch);
		LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
		LS_CLEANUP(ls_free_str)
		char *name = ls_epoch_wrap_name(ls_store_shared(a->store), w->node, e->check);

		if (!kek || !p->wrappings[i].len)
			continue; /* this node has forgotten it too */
		LS_TRY(ls_kek_wrap(ls_secret_bytes(kek), ls_buf_bytes(&p->wrappings[i]),
			&a->identity.signer, &wrap, err));
		LS_TRY(ls_store_put_wrap(a->store, e->epoch, name, ls_buf_bytes(&wrap), err));
	}
	return LS_OK;
}

static enum ls_code take_in(
	struct ls_agent *a, const struct wish *w, const struct papers *p, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate candidate = { 0 };
	LS_CLEANUP(ls_free_str) char *email = ls_format("%s@%s", w->node, a->identity.node);
	struct ls_author author = { (char *)(uintptr_t)w->node, email };
	struct ls_candidate_context context;
	struct ls_new_member member = {
		.node = w->node,
		.replace = w->replace,
		.signing_cert_pem = ls_buf_bytes(&p->signing),
		.wrapping_cert_pem = ls_buf_bytes(&p->wrappings[p->count - 1]),
	};
	int64_t generation;

	if (w->replace && strcmp(w->node, a->identity.node) == 0) {
		LS_FAIL(err, LS_E_REFUSED, "node '%s' is the one that answers: it is not lost",
			w->node);
		LS_HINT(err, "choose another name with --node");
		return LS_E_REFUSED;
	}
	ls_agent_context(a, &context);
	LS_TRY(ls_candidate_join(
		&context, &member, a->peers.trusted_generation + 1, &candidate, err));
	LS_TRY(wrap_all(a, w, p, err));
	return ls_agent_change(a, &candidate, &author, &generation, err);
}

static json_t *etcd_json(struct ls_agent *a, const struct papers *p)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/" LS_ENGINE_CA, a->paths.identity);
	LS_CLEANUP(ls_buf_done) struct ls_buf ca = { 0 };
	json_t *endpoints = json_array();

	if (a->engine.own_pki) /* without it the joiner cannot reach etcd, and says so */
		LS_IGNORE(ls_file_read(AT_FDCWD, path, PUBLIC_PEM_MAX * 4, &ca, NULL));

	for (size_t i = 0; i < ls_strv_count(a->engine.endpoints); i++)
		(void)json_array_append_new(endpoints, json_string(a->engine.endpoints[i]));
	return json_pack("{s:o, s:s, s:s, s:s}", "endpoints", endpoints, "pki",
		a->engine.own_pki ? "own" : "cluster", "ca", ls_buf_text(&ca), "cert",
		ls_buf_text(&p->etcd));
}

static enum ls_code answer(struct ls_agent *a, const struct papers *p,
	const struct ls_secret *secret, json_t **out, struct ls_err *err)
{
	json_auto_t *json = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	json_t *wrappings = json_object();

	for (size_t i = 0; i < p->count; i++) {
		char number[24];

		(void)snprintf(
			number, sizeof number, "%lld", (long long)a->tip.kek_epochs[i].epoch);
		if (p->wrappings[i].len)
			(void)json_object_set_new(
				wrappings, number, json_string(ls_buf_text(&p->wrappings[i])));
	}
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:s}", "cluster", a->tip.cluster,
		"cluster_id", a->tip.cluster_id, "root", a->identity.root, "ca",
		ls_buf_text(&a->tip.ca_pem), "signing_cert", ls_buf_text(&p->signing),
		"wrapping_certs", wrappings, "etcd", etcd_json(a, p), "generation",
		(json_int_t)a->peers.trusted_generation, "commit", a->tip_commit.hex);
	text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
	*out = text ? ls_join_seal(LS_JOIN_ANSWER, NULL, text, secret) : NULL;
	return *out ? LS_OK : LS_FAIL(err, LS_E_FAILED, "the answer cannot be written as JSON");
}

/* Anybody can ask: only who has a token is worth a reconciliation. */
static enum ls_code check_token(struct ls_agent *a, const json_t *request, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret secret = { 0 };
	const char *body;

	LS_TRY(ls_agent_refresh(a, err));
	LS_TRY(ls_agent_load_keyring(a, err));
	return open_request(a, LS_JOIN_ASK, request, &secret, &body, err);
}

enum ls_code ls_joining_answer(
	struct ls_agent *a, const json_t *request, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret secret = { 0 };
	LS_CLEANUP(wish_done) struct wish w = { 0 };
	LS_CLEANUP(papers_done) struct papers p = { 0 };
	const struct ls_member *member;
	const char *body;
	int64_t wait_s;
	bool again;

	LS_TRY(check_token(a, request, err));
	LS_TRY(ls_agent_reconcile(a, &wait_s, err));
	LS_TRY(open_request(a, LS_JOIN_ASK, request, &secret, &body, err));
	LS_TRY(parse_wish(json_string_value(json_object_get(request, "token")), body, &w, err));
	LS_TRY(bind_token(a, &w, &again, err));
	member = ls_state_member(&a->tip, w.node);
	/* Else another node of that name, or with no more than its public key. */
	if (member && (!again || !is_key_of(&member->signing_cert_pem, w.signing_key)))
		member = NULL;
	LS_TRY(certify(a, &w, member, &p, err));
	if (member)
		LS_TRY(wrap_all(a, &w, &p, err)); /* asked again: it may not have them */
	else
		LS_TRY(take_in(a, &w, &p, err));
	return answer(a, &p, &secret, out, err);
}

enum ls_code ls_joining_history(
	struct ls_agent *a, const json_t *request, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret secret = { 0 };
	json_auto_t *wish = NULL, *json = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	LS_CLEANUP(ls_free_str) char *pack64 = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	struct ls_commit_id last;
	int64_t from, to;
	const char *body;

	LS_TRY(ls_agent_refresh(a, err));
	LS_TRY(ls_agent_load_keyring(a, err));
	LS_TRY(open_request(a, LS_JOIN_HISTORY_ASK, request, &secret, &body, err));
	wish = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	from = json_integer_value(json_object_get(wish, "from"));
	if (from < 1)
		return LS_FAIL(err, LS_E_REFUSED, "a request for history that is not of its form");
	LS_TRY(ls_history_export(
		a->history, &a->tip_commit, from, SLICE_BYTES, &last, &to, &pack, err));
	pack64 = ls_base64(ls_buf_bytes(&pack));
	json = json_pack("{s:I, s:I, s:s, s:s}", "from", (json_int_t)from, "to", (json_int_t)to,
		"commit", last.hex, "pack", pack64);
	text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
	*out = text ? ls_join_seal(LS_JOIN_HISTORY_ANSWER, NULL, text, &secret) : NULL;
	return *out ? LS_OK : LS_FAIL(err, LS_E_FAILED, "the answer cannot be written as JSON");
}

enum ls_code ls_joining_cluster(struct ls_agent *a, json_t **out, struct ls_err *err)
{
	json_t *epochs;

	LS_TRY(ls_agent_refresh(a, err));
	epochs = json_array();
	for (size_t i = 0; i < a->tip.kek_epoch_count; i++)
		(void)json_array_append_new(epochs, json_integer(a->tip.kek_epochs[i].epoch));
	*out = json_pack("{s:s, s:s, s:s, s:o}", "cluster", a->tip.cluster, "cluster_id",
		a->tip.cluster_id, "ca", ls_buf_text(&a->tip.ca_pem), "epochs", epochs);
	return LS_OK;
}

enum ls_code ls_joining_tidy(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_notes_done) struct ls_notes notes = { 0 };
	int64_t now_s = ls_now_s();

	if (!ls_store_shared(a->store))
		return LS_OK;
	LS_TRY(ls_store_get_notes(a->store, "token/", &notes, err));
	for (size_t i = 0; i < notes.count; i++) {
		json_auto_t *note = json_loads(notes.items[i].body, JSON_REJECT_DUPLICATES, NULL);
		LS_CLEANUP(ls_free_str)
		char *bound = ls_format("bound/%s", notes.items[i].name + strlen("token/"));

		if (json_integer_value(json_object_get(note, "expires")) >= now_s)
			continue;
		LS_TRY(ls_store_drop_notes(a->store, notes.items[i].name, err));
		LS_TRY(ls_store_drop_notes(a->store, bound, err));
	}
	return LS_OK;
}
