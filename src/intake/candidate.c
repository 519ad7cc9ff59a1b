#include "intake/candidate_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ls_candidate_done(struct ls_candidate *candidate)
{
	ls_state_done(&candidate->state);
	free(candidate->cause);
	free(candidate->subject);
	ls_free_strv(&candidate->components);
	ls_free_strv(&candidate->warnings);
	ls_buf_done(&candidate->output);
	*candidate = (struct ls_candidate){ 0 };
}

const char *ls_component_alias(const char *name)
{
	return strcmp(name, "metrics") == 0 ? "metrics_exporter" : name;
}

void ls_candidate_hand_over(struct ls_candidate *out, struct ls_candidate *made)
{
	ls_candidate_done(out);
	*out = *made;
	*made = (struct ls_candidate){ 0 };
}

char *ls_candidate_list(char *const *strv)
{
	struct ls_buf text = { 0 };

	for (size_t i = 0; i < ls_strv_count(strv); i++)
		ls_buf_printf(&text, "%s%s", i ? ", " : "", strv[i]);
	return ls_buf_take(&text);
}

static enum ls_code unknown_component(
	const struct ls_state *state, const char *name, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **known = NULL;
	LS_CLEANUP(ls_free_str) char *list = NULL;

	for (size_t i = 0; i < state->component_count; i++)
		ls_strv_add(&known, state->components[i].name);
	list = ls_candidate_list(known);
	LS_FAIL(err, LS_E_REFUSED, "component '%s' is unknown", name);
	LS_HINT(err, "known are: %s; a new one needs a template in etc/lockstep/templates", list);
	return LS_E_REFUSED;
}

static const struct ls_secret *present_kek(const struct ls_candidate_context *c)
{
	return ls_keyring_get(c->keyring, c->tip->kek_epoch);
}

static enum ls_code seal_key(const struct ls_candidate_context *c, struct ls_bytes key_pem,
	struct ls_buf *out, struct ls_err *err)
{
	const struct ls_secret *kek = present_kek(c);

	if (!kek)
		return LS_FAIL(err, LS_E_FAILED,
			"the key of epoch %lld that seals the private keys is not here",
			(long long)c->tip->kek_epoch);
	return ls_seal(key_pem, ls_secret_bytes(kek), c->tip->kek_epoch, out, err);
}

static struct ls_issue_vars vars_of(
	const struct ls_candidate_context *c, const struct ls_state *state)
{
	return (struct ls_issue_vars){
		.fqdn = state->fqdn, .cluster = state->cluster, .node = c->node
	};
}

enum ls_code ls_candidate_generate(const struct ls_candidate_context *c, struct ls_state *state,
	struct ls_component *component, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	struct ls_issue_vars vars = vars_of(c, state);
	struct ls_key_spec spec;
	int64_t days = component->issue.days;

	if (state->policy.days_max > 0 && days > state->policy.days_max)
		days = state->policy.days_max;
	LS_TRY(ls_key_spec_parse(component->issue.key, &spec, err));
	LS_TRY(c->generate(&spec, &key, err));
	ls_buf_clear(&component->chain_pem);
	LS_TRY(ls_issue_self_signed(
		&component->issue, &vars, days, key, c->now_s, &component->chain_pem, err));
	LS_TRY(ls_key_to_pem(key, &pem, err));
	ls_buf_clear(&component->key_cms);
	LS_TRY(seal_key(c, ls_secret_bytes(&pem), &component->key_cms, err));
	ls_buf_copy(&component->trust_pem, &component->chain_pem);
	component->origin = LS_ORIGIN_GENERATED;
	component->exposed = false;
	return LS_OK;
}

/* Where the private key of a certificate that came without one is: with the present credential, or
 * with an open request. */
static enum ls_code find_key(const struct ls_candidate_context *c, struct ls_state *state,
	struct ls_component *component, const struct ls_credential *credential,
	struct ls_buf *out_key_cms, struct ls_err *err)
{
	struct ls_pending *pending = ls_state_pending(state, component->name);
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info present = { 0 };

	if (pending) {
		LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
		LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
		char id[65];

		LS_TRY(ls_unseal(ls_buf_bytes(&pending->key_cms), c->keyring, &pem, err));
		LS_TRY(ls_key_from_pem("the open request's key", ls_secret_bytes(&pem),
			(struct ls_bytes){ 0 }, &key, err));
		ls_key_id(key, id);
		if (strcmp(id, credential->info.key_id) == 0) {
			ls_buf_copy(out_key_cms, &pending->key_cms);
			ls_state_drop_pending(state, component->name);
			return LS_OK;
		}
	}
	LS_TRY(ls_cert_info_read(ls_buf_bytes(&component->chain_pem), &present, err));
	if (strcmp(present.key_id, credential->info.key_id) == 0) {
		ls_buf_copy(out_key_cms, &component->key_cms);
		return LS_OK;
	}
	return LS_E_NOT_FOUND;
}

/* The chain that is there already, this time with the root that clients need. Sent without it, what
 * is kept for clients stays. */
static bool brings_root(
	const struct ls_credential *credential, const struct ls_component *component)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info top = { 0 };

	return !ls_bytes_equal(
		       ls_buf_bytes(&credential->trust_pem), ls_buf_bytes(&component->trust_pem)) &&
	       ls_cert_info_read(ls_buf_bytes(&credential->trust_pem), &top, NULL) == LS_OK &&
	       top.self_signed;
}

static bool keeps_key(const struct ls_component *component, const struct ls_credential *credential)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info present = { 0 };

	return ls_cert_info_read(ls_buf_bytes(&component->chain_pem), &present, NULL) != LS_OK ||
	       strcmp(present.key_id, credential->info.key_id) == 0;
}

static enum ls_code install_one(const struct ls_candidate_context *c,
	const struct ls_install *install, struct ls_candidate *made, struct ls_err *err)
{
	LS_CLEANUP(ls_credential_done) struct ls_credential credential = { 0 };
	LS_CLEANUP(ls_free_strv) char **wanted = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf key_cms = { 0 };
	const char *name = ls_component_alias(install->component);
	struct ls_component *component = ls_state_component(&made->state, name);
	struct ls_issue_vars vars = vars_of(c, &made->state);
	struct ls_credential_input input = {
		.component = name,
		.cert = install->cert,
		.chain = install->chain,
		.key = install->key,
		.passphrase = install->passphrase,
		.now_s = c->now_s,
	};
	enum ls_code code;

	if (!component)
		return unknown_component(&made->state, install->component, err);
	if (ls_strv_has(made->components, name))
		return LS_FAIL(err, LS_E_REFUSED, "component '%s' is named twice", name);
	wanted = ls_issue_sans(&component->issue, &vars);
	input.wanted_sans = wanted;
	LS_TRY(ls_credential_judge(&input, &made->state.policy, &credential, err));
	for (size_t i = 0; i < ls_strv_count(credential.warnings); i++)
		ls_strv_add(&made->warnings, credential.warnings[i]);
	if (credential.key_pem.len) {
		LS_TRY(seal_key(c, ls_secret_bytes(&credential.key_pem), &key_cms, err));
	} else {
		code = find_key(c, &made->state, component, &credential, &key_cms, err);
		if (code == LS_E_NOT_FOUND) {
			LS_FAIL(err, LS_E_REFUSED,
				"%s: key: none was given, and the certificate's is neither the "
				"present key "
				"of '%s' nor that of an open request",
				install->cert.name, name);
			LS_HINT(err, "give the private key as well");
			return LS_E_REFUSED;
		}
		if (code != LS_OK)
			return code;
	}
	if (ls_bytes_equal(
		    ls_buf_bytes(&credential.chain_pem), ls_buf_bytes(&component->chain_pem))) {
		if (!brings_root(&credential, component))
			return LS_OK;
	} else {
		if (component->exposed && keeps_key(component, &credential))
			ls_strv_add(&made->warnings,
				"the private key is still the one that a compromised node knew");
		else
			component->exposed = false;
		ls_buf_copy(&component->chain_pem, &credential.chain_pem);
		ls_buf_copy(&component->key_cms, &key_cms);
		component->origin = LS_ORIGIN_INSTALLED;
	}
	ls_buf_copy(&component->trust_pem, &credential.trust_pem);
	ls_strv_add(&made->components, name);
	return LS_OK;
}

enum ls_code ls_candidate_install(const struct ls_candidate_context *c,
	const struct ls_install *installs, size_t count, const char *cause,
	struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	LS_CLEANUP(ls_free_str) char *list = NULL;

	ls_state_copy(&made.state, c->tip);
	for (size_t i = 0; i < count; i++)
		LS_TRY(install_one(c, &installs[i], &made, err));
	made.unchanged = !made.components;
	made.cause = ls_strdup(cause);
	list = ls_candidate_list(made.components);
	made.subject =
		ls_format("%s: install %s", list, count > 1 ? "certificates" : "certificate");
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

/* In the last third of its life, or past it. */
static bool renewal_due(const struct ls_cert_info *info, int64_t now_s)
{
	int64_t life = info->not_after_s - info->not_before_s;

	return now_s >= info->not_after_s - life / 3;
}

static enum ls_code renew_one(const struct ls_candidate_context *c, const struct ls_renew *renew,
	struct ls_component *component, struct ls_candidate *made, struct ls_err *err)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	LS_CLEANUP(ls_free_str) char *warning = NULL;
	char until[LS_TIME_TEXT_SIZE];

	if (component->origin == LS_ORIGIN_INSTALLED && !renew->replace_installed) {
		if (renew->names) {
			LS_FAIL(err, LS_E_REFUSED,
				"%s: an operator installed its certificate; a generated one does "
				"not replace it",
				component->name);
			LS_HINT(err,
				"install a newer one with cert set, or say --replace-installed");
			return LS_E_REFUSED;
		}
		warning = ls_format("%s: passed over, an operator installed it", component->name);
		ls_strv_add(&made->warnings, warning);
		return LS_OK;
	}
	LS_TRY(ls_cert_info_read(ls_buf_bytes(&component->chain_pem), &info, err));
	if (!renew->force && component->origin == LS_ORIGIN_GENERATED &&
		!renewal_due(&info, c->now_s)) {
		ls_time_text(info.not_after_s, until);
		warning = ls_format("%s: not due yet, valid until %s (--force renews all the same)",
			component->name, until);
		ls_strv_add(&made->warnings, warning);
		return LS_OK;
	}
	LS_TRY(ls_candidate_generate(c, &made->state, component, err));
	ls_strv_add(&made->components, component->name);
	return LS_OK;
}

enum ls_code ls_candidate_renew(const struct ls_candidate_context *c, const struct ls_renew *renew,
	struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	LS_CLEANUP(ls_free_str) char *list = NULL;

	ls_state_copy(&made.state, c->tip);
	for (size_t i = 0; i < ls_strv_count(renew->names); i++)
		if (!ls_state_component(&made.state, ls_component_alias(renew->names[i])))
			return unknown_component(&made.state, renew->names[i], err);
	for (size_t i = 0; i < made.state.component_count; i++) {
		struct ls_component *component = &made.state.components[i];
		bool named = !renew->names;

		for (size_t k = 0; k < ls_strv_count(renew->names) && !named; k++)
			named = strcmp(component->name, ls_component_alias(renew->names[k])) == 0;
		if (named)
			LS_TRY(renew_one(c, renew, component, &made, err));
	}
	made.unchanged = !made.components;
	made.cause = ls_strdup("operator");
	list = ls_candidate_list(made.components);
	made.subject = ls_format("%s: renew by template", list);
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

enum ls_code ls_candidate_request(const struct ls_candidate_context *c, const char *component,
	struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	const char *name = ls_component_alias(component);
	struct ls_component *to = ls_state_component(c->tip, name);
	struct ls_issue_vars vars = vars_of(c, c->tip);
	struct ls_pending *pending;
	struct ls_key_spec spec;

	if (!to)
		return unknown_component(c->tip, component, err);
	ls_state_copy(&made.state, c->tip);
	LS_TRY(ls_key_spec_parse(to->issue.key, &spec, err));
	LS_TRY(c->generate(&spec, &key, err));
	LS_TRY(ls_key_to_pem(key, &pem, err));
	pending = ls_state_pending(&made.state, name);
	if (pending)
		ls_strv_add(&made.warnings,
			"the earlier open request of this component is no longer valid");
	else
		pending = ls_state_add_pending(&made.state, name);
	ls_buf_clear(&pending->key_cms);
	ls_buf_clear(&pending->request_pem);
	LS_TRY(seal_key(c, ls_secret_bytes(&pem), &pending->key_cms, err));
	LS_TRY(ls_issue_request(&to->issue, &vars, key, &pending->request_pem, err));
	ls_buf_copy(&made.output, &pending->request_pem);
	ls_strv_add(&made.components, name);
	made.cause = ls_strdup("request");
	made.subject = ls_format("%s: new key and certificate request", name);
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

/* A member of then who is none of today's knew the keys of then. */
static bool knew_departed_member(const struct ls_state *earlier, const struct ls_state *tip)
{
	for (size_t i = 0; i < earlier->member_count; i++) {
		const struct ls_member *now = ls_state_member(tip, earlier->members[i].name);

		if (!now || !ls_bytes_equal(ls_buf_bytes(&now->signing_cert_pem),
				    ls_buf_bytes(&earlier->members[i].signing_cert_pem)))
			return true;
	}
	return false;
}

static enum ls_code restore_one(const struct ls_candidate_context *c,
	const struct ls_state *earlier, const struct ls_component *from, struct ls_candidate *made,
	struct ls_err *err)
{
	const struct ls_component *present = ls_state_component(c->tip, from->name);
	struct ls_component *to = ls_state_add_component(&made->state, from->name);
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };

	to->origin = from->origin;
	to->exposed = from->exposed;
	ls_issue_copy(&to->issue, &from->issue);
	ls_buf_copy(&to->chain_pem, &from->chain_pem);
	ls_buf_copy(&to->trust_pem, &from->trust_pem);
	if (present &&
		ls_bytes_equal(ls_buf_bytes(&present->chain_pem), ls_buf_bytes(&from->chain_pem))) {
		ls_buf_copy(&to->key_cms, &present->key_cms);
		to->exposed = present->exposed;
		return LS_OK;
	}
	if (ls_credential_rejudge(from->name, ls_buf_bytes(&from->chain_pem), &made->state.policy,
		    c->now_s, err) != LS_OK)
		return LS_WRAP(err, "%s: its certificate of then no longer passes", from->name);
	if (knew_departed_member(earlier, c->tip))
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: its key of then is known to a node that is no member any more",
			from->name);
	if (ls_unseal(ls_buf_bytes(&from->key_cms), c->keyring, &key, err) != LS_OK)
		return LS_WRAP(err, "%s: its private key of then cannot be opened", from->name);
	LS_TRY(seal_key(c, ls_secret_bytes(&key), &to->key_cms, err));
	ls_strv_add(&made->components, from->name);
	return LS_OK;
}

static void drop_all_components(struct ls_state *state)
{
	for (size_t i = 0; i < state->component_count; i++) {
		ls_issue_done(&state->components[i].issue);
		ls_buf_done(&state->components[i].chain_pem);
		ls_buf_done(&state->components[i].key_cms);
		ls_buf_done(&state->components[i].trust_pem);
	}
	free(state->components);
	state->components = NULL;
	state->component_count = 0;
}

/* Member by member: the bytes between them are nobody's. */
static bool same_settings(const struct ls_settings *x, const struct ls_settings *y)
{
	return x->require_all == y->require_all && x->away_after_s == y->away_after_s &&
	       x->vote_s == y->vote_s && x->served_s == y->served_s &&
	       x->timeout_s == y->timeout_s && x->rollback == y->rollback;
}

enum ls_code ls_candidate_rollback(const struct ls_candidate_context *c,
	const struct ls_state *earlier, const struct ls_generation *about, struct ls_candidate *out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };

	ls_state_copy(&made.state, c->tip);
	drop_all_components(&made.state);
	made.state.settings = earlier->settings;
	for (size_t i = 0; i < earlier->component_count; i++)
		LS_TRY(restore_one(c, earlier, &earlier->components[i], &made, err));
	for (size_t i = 0; i < c->tip->component_count; i++)
		if (!ls_state_component(earlier, c->tip->components[i].name))
			ls_strv_add(&made.components, c->tip->components[i].name);
	for (size_t i = 0; i < c->tip->pending_count; i++)
		if (!ls_state_component(earlier, c->tip->pendings[i].name))
			ls_state_drop_pending(&made.state, c->tip->pendings[i].name);
	made.unchanged = !made.components && same_settings(&made.state.settings, &c->tip->settings);
	made.cause = ls_strdup("rollback");
	made.subject = ls_format("go back to generation %lld", (long long)about->generation);
	made.restores = about->commit;
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

enum ls_code ls_candidate_adopt(
	const struct ls_candidate_context *c, struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	LS_CLEANUP(ls_free_str) char *list = NULL;

	ls_state_copy(&made.state, c->tip);
	for (size_t i = 0; i < c->services->count; i++) {
		const struct ls_service *service = &c->services->items[i];
		struct ls_component *component;

		if (ls_state_component(&made.state, service->component))
			continue;
		component = ls_state_add_component(&made.state, service->component);
		ls_issue_copy(&component->issue, &service->issue);
		LS_TRY(ls_candidate_generate(c, &made.state, component, err));
		ls_strv_add(&made.components, service->component);
	}
	made.unchanged = !made.components;
	made.cause = ls_strdup("template");
	list = ls_candidate_list(made.components);
	made.subject = ls_format("%s: new component", list);
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}
