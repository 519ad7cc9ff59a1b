#include "daemon/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/epoch.h"
#include "daemon/migrate.h"
#include "pki/key.h"
#include "pki/seal.h"

/* How far back a superseded certificate is looked for. */
#define SUPERSEDED_GENERATIONS 200

static json_t *strv_json(char *const *strv)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ls_strv_count(strv); i++) {
		json_t *text = json_string(strv[i]);

		(void)json_array_append_new(array, text ? text : json_string("?"));
	}
	return array;
}

static struct ls_named_bytes named(const struct ls_change_file *file)
{
	if (!file->name)
		return (struct ls_named_bytes){ 0 };
	return (struct ls_named_bytes){ file->name,
		{ file->bytes.data ? (const void *)file->bytes.data : "", file->bytes.len } };
}

static enum ls_code make_install(const struct ls_candidate_context *context,
	const struct ls_change *change, struct ls_candidate *out, struct ls_err *err)
{
	struct ls_install *installs = ls_alloc(change->set_count, sizeof *installs);
	enum ls_code code;

	for (size_t i = 0; i < change->set_count; i++) {
		const struct ls_change_set *set = &change->sets[i];

		installs[i] = (struct ls_install){
			.component = set->component,
			.cert = named(&set->cert),
			.chain = named(&set->chain),
			.key = named(&set->key),
			.passphrase = ls_secret_bytes(&set->passphrase.bytes),
		};
	}
	code = ls_candidate_install(context, installs, change->set_count,
		change->kind == LS_CHANGE_DROP_IN ? "drop-in" : "operator", out, err);
	free(installs);
	return code;
}

static enum ls_code make_rollback(struct ls_agent *a, const struct ls_candidate_context *context,
	int64_t number, struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_state_done) struct ls_state earlier = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id id;
	enum ls_code code;

	code = ls_history_find(a->history, &a->tip_commit, number, &id, err);
	if (code == LS_E_NOT_FOUND) {
		LS_FAIL(err, LS_E_REFUSED, "there is no generation %lld", (long long)number);
		LS_HINT(err, "lockstep history lists them");
		return LS_E_REFUSED;
	}
	if (code != LS_OK)
		return code;
	LS_TRY(ls_history_load(a->history, &id, &earlier, err));
	LS_TRY(ls_history_read(a->history, &id, &about, err));
	return ls_candidate_rollback(context, &earlier, &about, out, err);
}

/* What is prepared for an epoch that is never decided is removed again (steps.c, tidy). */
static enum ls_code make_seal_rotate(struct ls_agent *a, const struct ls_candidate_context *context,
	struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_epoch_done) struct ls_epoch epoch = { 0 };

	LS_TRY(ls_epoch_prepare(a, NULL, &epoch, err));
	return ls_candidate_seal_rotate(context, &epoch.wish, out, err);
}

/* Whether a node of that name was removed as compromised; the newest such removal, as only it can
 * be half done. */
static bool was_compromised(struct ls_agent *a, const char *node)
{
	LS_CLEANUP(ls_free_str) char *removal = ls_format("node %s" LS_REMOVED_COMPROMISED, node);
	struct ls_commit_id id = a->tip_commit;
	bool is = false, any = false;

	while (!any && id.hex[0]) {
		LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

		if (ls_history_read(a->history, &id, &about, NULL) != LS_OK)
			break;
		is = strcmp(about.subject, removal) == 0;
		any = strcmp(about.cause, "removal") == 0 &&
		      ls_has_suffix(about.subject, LS_REMOVED_COMPROMISED);
		id = about.parent;
	}
	return is;
}

static enum ls_code make_remove(struct ls_agent *a, const struct ls_candidate_context *context,
	const char *node, bool compromised, struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_epoch_done) struct ls_epoch epoch = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 };

	if (!ls_store_shared(a->store)) {
		LS_FAIL(err, LS_E_REFUSED, "this is the only node");
		return LS_E_REFUSED;
	}
	if (!ls_state_member(&a->tip, node) && compromised && was_compromised(a, node) &&
		ls_ca_first_bytes(ls_buf_bytes(&a->tip.ca_pem)) < a->tip.ca_pem.len)
		return ls_candidate_drop_ca(context, out, err);
	if (!ls_state_member(&a->tip, node)) {
		LS_FAIL(err, LS_E_REFUSED, "there is no node '%s'", node);
		LS_HINT(err, "lockstep node list shows them");
		return LS_E_REFUSED;
	}
	if (compromised)
		LS_TRY(ls_authority_create(a->tip.cluster, context->now_s, &ca, err));
	LS_TRY(ls_epoch_prepare(a, node, &epoch, err));
	return ls_candidate_remove(context, node, &epoch.wish, compromised ? &ca : NULL, out, err);
}

static enum ls_code make_candidate(struct ls_agent *a, const struct ls_candidate_context *context,
	const struct ls_change *change, struct ls_candidate *out, struct ls_err *err)
{
	struct ls_renew renew = {
		.names = change->names,
		.force = change->force,
		.replace_installed = change->replace_installed,
	};

	switch (change->kind) {
	case LS_CHANGE_SET:
	case LS_CHANGE_DROP_IN:
		return make_install(context, change, out, err);
	case LS_CHANGE_RENEW:
		return ls_candidate_renew(context, &renew, out, err);
	case LS_CHANGE_REQUEST:
		return ls_candidate_request(context, change->names[0], out, err);
	case LS_CHANGE_ROLLBACK:
		return make_rollback(a, context, change->number, out, err);
	case LS_CHANGE_SEAL_ROTATE:
		return make_seal_rotate(a, context, out, err);
	case LS_CHANGE_SEAL_FORGET:
		return ls_candidate_seal_forget(context, change->number, out, err);
	case LS_CHANGE_ADOPT:
		return ls_candidate_adopt(context, out, err);
	case LS_CHANGE_REMOVE:
		return make_remove(a, context, change->names[0], change->force, out, err);
	case LS_CHANGE_MIGRATE:
	case LS_CHANGE_KIND_COUNT:
		break;
	}
	return LS_FAIL(err, LS_E_USAGE, "no such change");
}

static json_t *answer(struct ls_agent *a, const struct ls_change *change,
	const struct ls_candidate *candidate, int64_t generation)
{
	json_t *json = json_pack("{s:I, s:s, s:o, s:o, s:b, s:b}", "generation",
		(json_int_t)generation, "commit", a->tip_commit.hex, "changed",
		strv_json(candidate->components), "warnings", strv_json(candidate->warnings),
		"unchanged", (int)candidate->unchanged, "dry_run", (int)change->dry_run);

	if (candidate->output.len)
		(void)json_object_set_new(
			json, "request", json_string(ls_buf_text(&candidate->output)));
	if (change->kind == LS_CHANGE_SEAL_ROTATE)
		(void)json_object_set_new(json, "epoch", json_integer(a->tip.kek_epoch));
	return json;
}

/* No change of the state: only where it is agreed upon. */
static enum ls_code migrate(
	struct ls_agent *a, const struct ls_change *change, json_t **out, struct ls_err *err)
{
	const struct ls_change_set *own = change->set_count ? &change->sets[0] : NULL;
	struct ls_migrate wish = { .endpoints = change->names[0] };
	bool unchanged = false;
	int64_t wait_s;

	if (own)
		wish = (struct ls_migrate){
			.endpoints = change->names[0],
			.ca_pem = ls_secret_bytes(&own->chain.bytes),
			.cert_pem = ls_secret_bytes(&own->cert.bytes),
			.key_pem = ls_secret_bytes(&own->key.bytes),
		};
	/* A node that was shared before may need this because its engine is empty. */
	if (!ls_store_shared(a->store))
		LS_TRY(ls_agent_reconcile(a, &wait_s, err));
	LS_TRY(ls_migrate(a, &wish, &unchanged, err));
	LS_TRY(ls_agent_reconcile(a, &wait_s, err));
	*out = json_pack("{s:s, s:b, s:I}", "store", "etcd", "unchanged", (int)unchanged,
		"generation", (json_int_t)a->peers.tip.generation);
	return LS_OK;
}

/* Forgetting is done when every member has done it. */
static void warn_of_away(const struct ls_agent *a, struct ls_candidate *candidate)
{
	for (size_t i = 0; i < a->peers.away_count; i++) {
		LS_CLEANUP(ls_free_str)
		char *text =
			ls_format("node %s is away: it can open the epoch until it comes back and "
				  "destroys its key",
				a->peers.away[i].node);

		ls_strv_add(&candidate->warnings, text);
	}
}

enum ls_code ls_command_change(struct ls_agent *a, const struct ls_change *change,
	const struct ls_author *author, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate candidate = { 0 };
	struct ls_candidate_context context;
	int64_t generation = 0, wait_s;
	enum ls_code code;

	if (change->kind == LS_CHANGE_MIGRATE)
		return migrate(a, change, out, err);
	LS_TRY(ls_agent_reconcile(a, &wait_s, err));
	ls_agent_context(a, &context);
	code = make_candidate(a, &context, change, &candidate, err);
	if (code == LS_OK && !change->dry_run)
		code = ls_agent_change(a, &candidate, author, &generation, err);
	if ((change->kind == LS_CHANGE_SEAL_ROTATE || change->kind == LS_CHANGE_REMOVE) &&
		code != LS_OK)
		a->tidied = false; /* what was prepared for the epoch goes */
	if (code != LS_OK)
		return code;
	if (change->kind == LS_CHANGE_SEAL_FORGET)
		warn_of_away(a, &candidate);
	if (change->dry_run) {
		LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };

		LS_TRY(ls_store_read(a->store, &view, err));
		generation = view.tip.generation;
	}
	*out = answer(a, change, &candidate, generation);
	return LS_OK;
}

enum ls_code ls_command_escrow(
	struct ls_agent *a, struct ls_bytes cert_pem, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	json_t *epochs = json_array();

	LS_TRY(ls_agent_load_keyring(a, err));
	if (ls_kek_escrow(&a->keyring, cert_pem, ls_now_s(), &pem, err) != LS_OK) {
		json_decref(epochs);
		return err ? err->code : LS_E_FAILED;
	}
	for (size_t i = 0; i < a->keyring.count; i++)
		(void)json_array_append_new(epochs, json_integer(a->keyring.entries[i].epoch));
	*out = json_pack("{s:s, s:o}", "escrow", ls_buf_text(&pem), "epochs", epochs);
	return LS_OK;
}

bool ls_command_superseded(struct ls_agent *a, const char *component, const char *sha256)
{
	LS_CLEANUP(ls_free_str) char *line = ls_format("%s=%s", component, sha256);
	struct ls_commit_id at = a->tip_commit;

	for (int i = 0; i < SUPERSEDED_GENERATIONS && at.hex[0]; i++) {
		LS_CLEANUP(ls_generation_done) struct ls_generation g = { 0 };

		if (ls_history_read(a->history, &at, &g, NULL) != LS_OK)
			return false;
		if (ls_strv_has(g.old_sha256, line))
			return true;
		at = g.parent;
	}
	return false;
}
