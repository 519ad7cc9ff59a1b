/* The state's form as files: one writer, and a reader that takes nothing the writer would not have
 * written. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "history/state.h"

#define FORMAT "1\n"
#define FILE_BYTES_MAX (1u << 20)
#define CLUSTER_ID_HEX 32
#define SETTING_MAX 999999999
#define LABEL_CERT "CERTIFICATE"
#define LABEL_REQUEST "CERTIFICATE REQUEST"
#define LABEL_SEALED "CMS"
#define CLEAR_KEY "PRIVATE KEY-----"

static void json_free(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

/* ---- writing ---- */

/* Takes the reference. What the state holds was checked on its way in, so NULL is our bug. */
static void add_json(struct ls_tree *tree, const char *path, json_t *json)
{
	LS_CLEANUP(ls_free_str) char *text = NULL;
	LS_CLEANUP(ls_free_str) char *line = NULL;

	assert(json);
	text = json_dumps(json, JSON_SORT_KEYS | JSON_INDENT(2));
	json_decref(json);
	assert(text);
	line = ls_format("%s\n", text);
	ls_tree_add(tree, path, LS_BYTES_STR(line));
}

static void add_file(struct ls_tree *tree, const char *folder, const char *name, const char *file,
	const struct ls_buf *bytes)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s%s", folder, name, file);

	ls_tree_add(tree, path, ls_buf_bytes(bytes));
}

static json_t *credential_json(const struct ls_component *component)
{
	json_t *json = json_pack("{s:s}", "origin", ls_origin_text(component->origin));

	if (component->exposed)
		(void)json_object_set_new(json, "exposed", json_true());
	return json;
}

static void write_component(struct ls_tree *tree, const struct ls_component *component)
{
	LS_CLEANUP(ls_free_str) char *template = NULL;
	LS_CLEANUP(ls_free_str) char *credential = NULL;

	template = ls_format("components/%s/template.json", component->name);
	credential = ls_format("components/%s/credential.json", component->name);
	add_file(tree, "components", component->name, "/chain.pem", &component->chain_pem);
	add_file(tree, "components", component->name, "/key.cms", &component->key_cms);
	add_json(tree, template, ls_issue_to_json(&component->issue));
	add_json(tree, credential, credential_json(component));
	if (component->trust_pem.len > 0)
		add_file(tree, "trust", component->name, ".pem", &component->trust_pem);
}

static void write_member(struct ls_tree *tree, const struct ls_member *member)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("cluster/nodes/%s.json", member->name);

	add_json(tree, path,
		json_pack("{s:s, s:s, s:s, s:I}", "name", member->name, "signing_cert",
			ls_buf_text(&member->signing_cert_pem), "wrapping_cert",
			ls_buf_text(&member->wrapping_cert_pem), "joined",
			(json_int_t)member->joined));
}

static json_t *kek_json(const struct ls_state *state)
{
	json_t *epochs = json_array();

	for (size_t i = 0; i < state->kek_epoch_count; i++)
		(void)json_array_append_new(epochs, /* NULL is caught by the pack below */
			json_pack("{s:I, s:s}", "epoch", (json_int_t)state->kek_epochs[i].epoch,
				"check", state->kek_epochs[i].check));
	assert(json_array_size(epochs) == state->kek_epoch_count);
	return json_pack("{s:I, s:o}", "epoch", (json_int_t)state->kek_epoch, "epochs", epochs);
}

static json_t *settings_json(const struct ls_settings *settings)
{
	return json_pack("{s:{s:s, s:I, s:I, s:I, s:I, s:b}}", "rotation", "require",
		settings->require_all ? "all" : "alive", "away_after_s",
		(json_int_t)settings->away_after_s, "vote_s", (json_int_t)settings->vote_s,
		"served_s", (json_int_t)settings->served_s, "timeout_s",
		(json_int_t)settings->timeout_s, "rollback", (int)settings->rollback);
}

void ls_state_to_tree(const struct ls_state *state, struct ls_tree *out)
{
	struct ls_tree tree = { 0 };

	ls_tree_add(&tree, "format", LS_BYTES_STR(FORMAT));
	add_json(&tree, "cluster/cluster.json",
		json_pack("{s:s, s:s, s:s}", "cluster", state->cluster, "fqdn", state->fqdn, "id",
			state->cluster_id));
	ls_tree_add(&tree, "cluster/ca.pem", ls_buf_bytes(&state->ca_pem));
	ls_tree_add(&tree, "cluster/ca-key.cms", ls_buf_bytes(&state->ca_key_cms));
	add_json(&tree, "cluster/kek.json", kek_json(state));
	add_json(&tree, "policy.json", ls_policy_to_json(&state->policy));
	add_json(&tree, "settings.json", settings_json(&state->settings));
	for (size_t i = 0; i < state->member_count; i++)
		write_member(&tree, &state->members[i]);
	for (size_t i = 0; i < state->component_count; i++)
		write_component(&tree, &state->components[i]);
	for (size_t i = 0; i < state->pending_count; i++) {
		const struct ls_pending *pending = &state->pendings[i];

		add_file(&tree, "pending", pending->name, "/key.cms", &pending->key_cms);
		add_file(&tree, "pending", pending->name, "/request.pem", &pending->request_pem);
	}
	ls_tree_done(out);
	*out = tree;
}

/* ---- reading ---- */

static enum ls_code damaged(struct ls_err *err, const struct ls_tree_file *file, const char *what)
{
	return LS_FAIL(err, LS_E_DAMAGED, "%s: %s", file->path, what);
}

static enum ls_code read_json(const struct ls_tree_file *file, json_t **out, struct ls_err *err)
{
	json_error_t why;
	json_t *json = json_loadb(
		ls_buf_text(&file->bytes), file->bytes.len, JSON_REJECT_DUPLICATES, &why);

	if (!json)
		return LS_FAIL(err, LS_E_DAMAGED, "%s:%d: %s", file->path, why.line, why.text);
	*out = json;
	return LS_OK;
}

static enum ls_code bad_json(
	struct ls_err *err, const struct ls_tree_file *file, const json_error_t *why)
{
	return LS_FAIL(err, LS_E_DAMAGED, "%s: %s", file->path, why->text);
}

static bool base64_line(const char *at, const char *end)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

	return end - at >= 1 && end - at <= 76 && strspn(at, digits) >= (size_t)(end - at);
}

/* Steps over one PEM block with this label; NULL when there is none. */
static const char *pem_block(const char *at, const char *label)
{
	char begin[64], end[64];
	size_t lines = 0;

	(void)snprintf(begin, sizeof begin, "-----BEGIN %s-----\n", label);
	(void)snprintf(end, sizeof end, "-----END %s-----\n", label);
	if (!ls_has_prefix(at, begin))
		return NULL;
	at += strlen(begin);
	while (!ls_has_prefix(at, end)) {
		const char *newline = strchr(at, '\n');

		if (!newline || !base64_line(at, newline))
			return NULL;
		at = newline + 1;
		lines++;
	}
	return lines > 0 ? at + strlen(end) : NULL;
}

/* One PEM block with this label, or more if `many`, and nothing else: so no file can hold a private
 * key in the clear. */
static bool pem_valid(const struct ls_buf *bytes, const char *label, bool many)
{
	const char *at = ls_buf_text(bytes);
	size_t blocks = 0;

	if (bytes->len == 0 || strlen(at) != bytes->len)
		return false;
	while (*at) {
		at = pem_block(at, label);
		if (!at)
			return false;
		blocks++;
	}
	return blocks == 1 || many;
}

static enum ls_code take_pem(const struct ls_tree_file *file, const char *label, bool many,
	struct ls_buf *out, struct ls_err *err)
{
	if (!pem_valid(&file->bytes, label, many))
		return LS_FAIL(err, LS_E_DAMAGED, "%s: not PEM with the label '%s' alone",
			file->path, label);
	ls_buf_copy(out, &file->bytes);
	return LS_OK;
}

static bool hex_valid(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static enum ls_code read_cluster(
	struct ls_state *state, const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;
	const char *cluster, *fqdn, *id;
	json_error_t why;

	LS_TRY(read_json(file, &json, err));
	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s, s:s, s:s}", "cluster", &cluster, "fqdn",
		    &fqdn, "id", &id) != 0)
		return bad_json(err, file, &why);
	if (!ls_cluster_name_valid(cluster) || !ls_host_name_valid(fqdn))
		return damaged(err, file, "not the names of a cluster");
	if (!hex_valid(id, CLUSTER_ID_HEX))
		return damaged(err, file, "id: not 32 hex digits");
	state->cluster = ls_strdup(cluster);
	state->fqdn = ls_strdup(fqdn);
	state->cluster_id = ls_strdup(id);
	return LS_OK;
}

static enum ls_code read_kek(
	struct ls_state *state, const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;
	json_t *epochs, *entry;
	json_int_t now, epoch, last = -1;
	json_error_t why;
	const char *check;
	size_t i;

	LS_TRY(read_json(file, &json, err));
	if (json_unpack_ex(
		    json, &why, JSON_STRICT, "{s:I, s:o}", "epoch", &now, "epochs", &epochs) != 0)
		return bad_json(err, file, &why);
	if (!json_is_array(epochs))
		return damaged(err, file, "epochs: not a list");
	json_array_foreach(epochs, i, entry)
	{
		if (json_unpack_ex(entry, &why, JSON_STRICT, "{s:I, s:s}", "epoch", &epoch, "check",
			    &check) != 0)
			return bad_json(err, file, &why);
		if (epoch <= last || epoch > UINT32_MAX || !hex_valid(check, LS_SHA256_TEXT - 1))
			return damaged(err, file, "epochs: not ascending, or not a check value");
		ls_state_add_epoch(state, epoch, check);
		last = epoch;
	}
	state->kek_epoch = now;
	if (!ls_state_epoch_check(state, now))
		return damaged(err, file, "epoch: not one of the epochs");
	return LS_OK;
}

static bool setting_valid(json_int_t value)
{
	return value > 0 && value <= SETTING_MAX;
}

static enum ls_code read_settings(
	struct ls_state *state, const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;
	json_int_t away, vote, served, timeout;
	const char *require;
	json_error_t why;
	int rollback;

	LS_TRY(read_json(file, &json, err));
	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:{s:s, s:I, s:I, s:I, s:I, s:b}}",
		    "rotation", "require", &require, "away_after_s", &away, "vote_s", &vote,
		    "served_s", &served, "timeout_s", &timeout, "rollback", &rollback) != 0)
		return bad_json(err, file, &why);
	if (strcmp(require, "all") != 0 && strcmp(require, "alive") != 0)
		return damaged(err, file, "rotation.require: neither all nor alive");
	if (!setting_valid(away) || !setting_valid(vote) || !setting_valid(served) ||
		!setting_valid(timeout))
		return damaged(err, file, "rotation: a time out of range");
	state->settings = (struct ls_settings){
		.require_all = strcmp(require, "all") == 0,
		.away_after_s = away,
		.vote_s = vote,
		.served_s = served,
		.timeout_s = timeout,
		.rollback = rollback != 0,
	};
	return LS_OK;
}

static enum ls_code read_policy(
	struct ls_state *state, const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;

	LS_TRY(read_json(file, &json, err));
	if (ls_policy_from_json(json, &state->policy, err) == LS_OK)
		return LS_OK;
	err->code = LS_E_DAMAGED; /* to the policy's reader it was somebody's input */
	return LS_WRAP(err, "%s", file->path);
}

static void text_to_buf(const char *text, struct ls_buf *out)
{
	ls_buf_clear(out);
	ls_buf_str(out, text);
}

static enum ls_code read_member(struct ls_state *state, const char *name,
	const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;
	const char *inside, *signing, *wrapping;
	struct ls_member *member;
	json_error_t why;
	json_int_t joined;

	LS_TRY(read_json(file, &json, err));
	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s, s:s, s:s, s:I}", "name", &inside,
		    "signing_cert", &signing, "wrapping_cert", &wrapping, "joined", &joined) != 0)
		return bad_json(err, file, &why);
	if (strcmp(inside, name) != 0)
		return damaged(err, file, "name: not that of the file");
	member = ls_state_add_member(state, name);
	member->joined = joined;
	text_to_buf(signing, &member->signing_cert_pem);
	text_to_buf(wrapping, &member->wrapping_cert_pem);
	if (!pem_valid(&member->signing_cert_pem, LABEL_CERT, false) ||
		!pem_valid(&member->wrapping_cert_pem, LABEL_CERT, false))
		return damaged(err, file, "not a certificate in PEM");
	if (joined < 1)
		return damaged(err, file, "joined: no generation");
	return LS_OK;
}

static enum ls_code read_origin(
	struct ls_component *component, const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;
	const char *text;
	json_error_t why;
	int exposed = 0;

	LS_TRY(read_json(file, &json, err));
	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s, s?b}", "origin", &text, "exposed",
		    &exposed) != 0)
		return bad_json(err, file, &why);
	component->exposed = exposed != 0;
	if (strcmp(text, ls_origin_text(LS_ORIGIN_INSTALLED)) == 0)
		component->origin = LS_ORIGIN_INSTALLED;
	else if (strcmp(text, ls_origin_text(LS_ORIGIN_GENERATED)) != 0)
		return damaged(err, file, "origin: unknown");
	return LS_OK;
}

static enum ls_code read_template(
	struct ls_component *component, const struct ls_tree_file *file, struct ls_err *err)
{
	LS_CLEANUP(json_free) json_t *json = NULL;

	LS_TRY(read_json(file, &json, err));
	if (ls_issue_from_json(json, &component->issue, err) != LS_OK) {
		err->code = LS_E_DAMAGED;
		return LS_WRAP(err, "%s", file->path);
	}
	if (strcmp(component->issue.component, component->name) != 0)
		return damaged(err, file, "component: not that of the folder");
	return LS_OK;
}

static enum ls_code read_component(struct ls_state *state, const char *name, const char *leaf,
	const struct ls_tree_file *file, struct ls_err *err)
{
	struct ls_component *component = ls_state_component(state, name);

	if (!component)
		component = ls_state_add_component(state, name);
	if (strcmp(leaf, "chain.pem") == 0)
		return take_pem(file, LABEL_CERT, true, &component->chain_pem, err);
	if (strcmp(leaf, "key.cms") == 0)
		return take_pem(file, LABEL_SEALED, false, &component->key_cms, err);
	if (strcmp(leaf, "template.json") == 0)
		return read_template(component, file, err);
	if (strcmp(leaf, "credential.json") == 0)
		return read_origin(component, file, err);
	return damaged(err, file, "not a file of this format");
}

static enum ls_code read_pending(struct ls_state *state, const char *name, const char *leaf,
	const struct ls_tree_file *file, struct ls_err *err)
{
	struct ls_pending *pending = ls_state_pending(state, name);

	if (!pending)
		pending = ls_state_add_pending(state, name);
	if (strcmp(leaf, "key.cms") == 0)
		return take_pem(file, LABEL_SEALED, false, &pending->key_cms, err);
	if (strcmp(leaf, "request.pem") == 0)
		return take_pem(file, LABEL_REQUEST, false, &pending->request_pem, err);
	return damaged(err, file, "not a file of this format");
}

/* Files come sorted, so a component is known before "trust/" is reached. */
static enum ls_code read_trust(struct ls_state *state, const char *name,
	const struct ls_tree_file *file, struct ls_err *err)
{
	struct ls_component *component = ls_state_component(state, name);

	if (!component)
		return damaged(err, file, "trust for an unknown component");
	return take_pem(file, LABEL_CERT, true, &component->trust_pem, err);
}

/* The name between `folder` and `suffix` of a path, when it is one. */
static bool name_in(
	const char *path, const char *folder, const char *suffix, char out[LS_NAME_MAX + 1])
{
	size_t head = strlen(folder), tail = strlen(suffix), len = strlen(path);

	if (!ls_has_prefix(path, folder) || len <= head + tail || len - head - tail > LS_NAME_MAX ||
		!ls_has_suffix(path, suffix))
		return false;
	(void)snprintf(out, LS_NAME_MAX + 1, "%.*s", (int)(len - head - tail), path + head);
	return ls_name_valid(out);
}

/* The same where a folder has the name; *out_leaf is what follows. */
static bool folder_in(
	const char *path, const char *folder, char out[LS_NAME_MAX + 1], const char **out_leaf)
{
	const char *slash = ls_has_prefix(path, folder) ? strchr(path + strlen(folder), '/') : NULL;

	if (!slash || slash - path - (ptrdiff_t)strlen(folder) > LS_NAME_MAX)
		return false;
	(void)snprintf(out, LS_NAME_MAX + 1, "%.*s",
		(int)(slash - path - (ptrdiff_t)strlen(folder)), path + strlen(folder));
	*out_leaf = slash + 1;
	return ls_name_valid(out);
}

static enum ls_code read_file(
	struct ls_state *state, const struct ls_tree_file *file, struct ls_err *err)
{
	const char *path = file->path, *leaf;
	char name[LS_NAME_MAX + 1];

	if (strcmp(path, "format") == 0)
		return strcmp(ls_buf_text(&file->bytes), FORMAT) == 0
			       ? LS_OK
			       : damaged(err, file, "a version that this program does not know");
	if (strcmp(path, "cluster/cluster.json") == 0)
		return read_cluster(state, file, err);
	if (strcmp(path, "cluster/ca.pem") == 0)
		return take_pem(file, LABEL_CERT, true, &state->ca_pem, err);
	if (strcmp(path, "cluster/ca-key.cms") == 0)
		return take_pem(file, LABEL_SEALED, false, &state->ca_key_cms, err);
	if (strcmp(path, "cluster/kek.json") == 0)
		return read_kek(state, file, err);
	if (strcmp(path, "policy.json") == 0)
		return read_policy(state, file, err);
	if (strcmp(path, "settings.json") == 0)
		return read_settings(state, file, err);
	if (name_in(path, "cluster/nodes/", ".json", name))
		return read_member(state, name, file, err);
	if (folder_in(path, "components/", name, &leaf))
		return read_component(state, name, leaf, file, err);
	if (folder_in(path, "pending/", name, &leaf))
		return read_pending(state, name, leaf, file, err);
	if (name_in(path, "trust/", ".pem", name))
		return read_trust(state, name, file, err);
	return damaged(err, file, "not a file of this format");
}

/* Refuses a file that this program would have written otherwise, and one that is missing: the state
 * is written again and compared, so equal states have equal trees without exception. */
static enum ls_code check_canonical(
	const struct ls_tree *tree, const struct ls_state *state, struct ls_err *err)
{
	LS_CLEANUP(ls_tree_done) struct ls_tree again = { 0 };

	ls_state_to_tree(state, &again);
	for (size_t i = 0; i < again.count; i++) {
		const struct ls_tree_file *want = &again.files[i];

		if (i >= tree->count || strcmp(tree->files[i].path, want->path) != 0)
			return damaged(err, want, "missing");
		if (!ls_bytes_equal(
			    ls_buf_bytes(&tree->files[i].bytes), ls_buf_bytes(&want->bytes)))
			return damaged(err, want, "not in the form in which it is written");
	}
	if (again.count != tree->count)
		return damaged(err, &tree->files[again.count], "not a file of this format");
	return LS_OK;
}

static int compare_path(const void *key, const void *file)
{
	return strcmp(key, ((const struct ls_tree_file *)file)->path);
}

static enum ls_code want_file(const struct ls_tree *tree, const char *folder, const char *name,
	const char *leaf, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s%s%s", folder, name, leaf);

	if (!bsearch(path, tree->files, tree->count, sizeof *tree->files, compare_path))
		return LS_FAIL(err, LS_E_DAMAGED, "%s: missing", path);
	return LS_OK;
}

static enum ls_code check_present(
	const struct ls_tree *tree, const struct ls_state *state, struct ls_err *err)
{
	static const char *const always[] = { "format", "cluster/cluster.json", "cluster/ca.pem",
		"cluster/ca-key.cms", "cluster/kek.json", "policy.json", "settings.json" };
	static const char *const component[] = { "/chain.pem", "/key.cms", "/template.json",
		"/credential.json" };
	static const char *const pending[] = { "/key.cms", "/request.pem" };

	for (size_t i = 0; i < LS_COUNT(always); i++)
		LS_TRY(want_file(tree, "", "", always[i], err));
	for (size_t i = 0; i < state->component_count; i++)
		for (size_t k = 0; k < LS_COUNT(component); k++)
			LS_TRY(want_file(
				tree, "components/", state->components[i].name, component[k], err));
	for (size_t i = 0; i < state->pending_count; i++)
		for (size_t k = 0; k < LS_COUNT(pending); k++)
			LS_TRY(want_file(
				tree, "pending/", state->pendings[i].name, pending[k], err));
	if (state->member_count == 0)
		return LS_FAIL(err, LS_E_DAMAGED, "cluster/nodes: no member");
	return LS_OK;
}

static enum ls_code check_files(const struct ls_tree *tree, struct ls_err *err)
{
	for (size_t i = 0; i < tree->count; i++) {
		const struct ls_tree_file *file = &tree->files[i];
		struct ls_bytes bytes = ls_buf_bytes(&file->bytes);

		if (i > 0 && strcmp(tree->files[i - 1].path, file->path) >= 0)
			return damaged(err, file, "twice, or out of order");
		if (bytes.len > FILE_BYTES_MAX)
			return damaged(err, file, "over 1 MiB");
		if (bytes.len > 0 && memmem(bytes.data, bytes.len, CLEAR_KEY, strlen(CLEAR_KEY)))
			return damaged(err, file, "holds a private key in the clear");
	}
	return LS_OK;
}

enum ls_code ls_state_from_tree(
	const struct ls_tree *tree, struct ls_state *out, struct ls_err *err)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_err why = { 0 };

	LS_TRY(check_files(tree, err));
	for (size_t i = 0; i < tree->count; i++)
		if (read_file(&state, &tree->files[i], &why) != LS_OK)
			return LS_FAIL(err, why.code, "%s", why.text);
	LS_TRY(check_present(tree, &state, err));
	LS_TRY(check_canonical(tree, &state, err));
	ls_state_done(out);
	*out = state;
	state = (struct ls_state){ 0 };
	return LS_OK;
}
