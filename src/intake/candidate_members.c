/* Candidates that change who is a member, or the key that they share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intake/candidate_parts.h"
#include "pki/authority.h"

static enum ls_code reseal(const struct ls_candidate_context *c, struct ls_buf *cms,
	struct ls_bytes kek, int64_t epoch, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret plain = { 0 };

	LS_TRY(ls_unseal(ls_buf_bytes(cms), c->keyring, &plain, err));
	ls_buf_clear(cms);
	return ls_seal(ls_secret_bytes(&plain), kek, epoch, cms, err);
}

/* A new epoch of `state`: everything sealed anew, each member with its new wrapping certificate. */
static enum ls_code new_epoch(const struct ls_candidate_context *c,
	const struct ls_new_epoch *epoch, struct ls_state *state, struct ls_err *err)
{
	int64_t number = c->tip->kek_epoch + 1;
	char check[LS_SHA256_TEXT];

	for (size_t i = 0; i < state->component_count; i++)
		LS_TRY(reseal(c, &state->components[i].key_cms, epoch->kek, number, err));
	for (size_t i = 0; i < state->pending_count; i++)
		LS_TRY(reseal(c, &state->pendings[i].key_cms, epoch->kek, number, err));
	LS_TRY(reseal(c, &state->ca_key_cms, epoch->kek, number, err));
	ls_kek_check_value(epoch->kek, state->cluster_id, number, check);
	ls_state_add_epoch(state, number, check);
	state->kek_epoch = number;
	if (epoch->wrapping_count != state->member_count)
		return LS_FAIL(err, LS_E_FAILED, "a new epoch needs a certificate of each member");
	for (size_t i = 0; i < epoch->wrapping_count; i++) {
		struct ls_member *member = ls_state_member(state, epoch->wrappings[i].node);

		if (!member)
			return LS_FAIL(
				err, LS_E_FAILED, "'%s' is not a member", epoch->wrappings[i].node);
		ls_buf_clear(&member->wrapping_cert_pem);
		ls_buf_add_bytes(&member->wrapping_cert_pem, epoch->wrappings[i].cert_pem);
	}
	return LS_OK;
}

enum ls_code ls_candidate_seal_rotate(const struct ls_candidate_context *c,
	const struct ls_new_epoch *epoch, struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };

	ls_state_copy(&made.state, c->tip);
	LS_TRY(new_epoch(c, epoch, &made.state, err));
	made.cause = ls_strdup("seal");
	made.subject = ls_format("new sealing key, epoch %lld", (long long)made.state.kek_epoch);
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

enum ls_code ls_candidate_seal_forget(const struct ls_candidate_context *c, int64_t epoch,
	struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	size_t kept = 0;

	if (epoch == c->tip->kek_epoch) {
		LS_FAIL(err, LS_E_REFUSED,
			"epoch %lld is the present one: forgetting it would lose every key",
			(long long)epoch);
		LS_HINT(err, "lockstep seal rotate starts a new one");
		return LS_E_REFUSED;
	}
	ls_state_copy(&made.state, c->tip);
	if (!ls_state_epoch_check(c->tip, epoch)) {
		if (epoch < 1 || epoch > c->tip->kek_epoch)
			return LS_FAIL(err, LS_E_REFUSED,
				"there is no epoch %lld; the present one is %lld", (long long)epoch,
				(long long)c->tip->kek_epoch);
		made.unchanged = true;
		ls_candidate_hand_over(out, &made);
		return LS_OK;
	}
	for (size_t i = 0; i < made.state.kek_epoch_count; i++)
		if (made.state.kek_epochs[i].epoch != epoch)
			made.state.kek_epochs[kept++] = made.state.kek_epochs[i];
	made.state.kek_epoch_count = kept;
	made.cause = ls_strdup("seal");
	made.subject = ls_format("forget sealing key, epoch %lld", (long long)epoch);
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

static void drop_member(struct ls_state *state, const char *node)
{
	size_t kept = 0;

	for (size_t i = 0; i < state->member_count; i++) {
		if (strcmp(state->members[i].name, node) == 0) {
			ls_buf_done(&state->members[i].signing_cert_pem);
			ls_buf_done(&state->members[i].wrapping_cert_pem);
		} else {
			state->members[kept++] = state->members[i];
		}
	}
	state->member_count = kept;
}

enum ls_code ls_candidate_join(const struct ls_candidate_context *c,
	const struct ls_new_member *member, int64_t generation, struct ls_candidate *out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	struct ls_member *to;

	if (ls_state_member(c->tip, member->node) && !member->replace) {
		LS_FAIL(err, LS_E_REFUSED, "the cluster has a node '%s' already", member->node);
		LS_HINT(err, "choose another name with --node; if its disk is lost, say --replace");
		return LS_E_REFUSED;
	}
	ls_state_copy(&made.state, c->tip);
	drop_member(&made.state, member->node);
	to = ls_state_add_member(&made.state, member->node);
	to->joined = generation;
	ls_buf_add_bytes(&to->signing_cert_pem, member->signing_cert_pem);
	ls_buf_add_bytes(&to->wrapping_cert_pem, member->wrapping_cert_pem);
	made.cause = ls_strdup("join");
	made.subject = ls_format("node %s %s", member->node,
		ls_state_member(c->tip, member->node) ? "joins again" : "joins");
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

/* Everything that the departing node could open and that Lockstep itself can replace. */
static enum ls_code replace_generated(const struct ls_candidate_context *c,
	const struct ls_new_epoch *epoch, struct ls_candidate *made, struct ls_err *err)
{
	LS_CLEANUP(ls_keyring_done) struct ls_keyring ring = { 0 };
	struct ls_candidate_context under = *c;

	ls_keyring_put(&ring, made->state.kek_epoch, epoch->kek);
	under.tip = &made->state;
	under.keyring = &ring;
	for (size_t i = 0; i < made->state.component_count; i++) {
		struct ls_component *component = &made->state.components[i];

		if (component->origin != LS_ORIGIN_GENERATED)
			continue;
		LS_TRY(ls_candidate_generate(&under, &made->state, component, err));
		ls_strv_add(&made->components, component->name);
	}
	return LS_OK;
}

/* What an operator brought, Lockstep cannot replace: it stays in force and is spoken of. */
static void mark_known(struct ls_candidate *made, const char *node)
{
	for (size_t i = 0; i < made->state.component_count; i++) {
		struct ls_component *component = &made->state.components[i];
		LS_CLEANUP(ls_free_str) char *warning = NULL;

		if (component->origin != LS_ORIGIN_INSTALLED)
			continue;
		component->exposed = true;
		warning = ls_format(
			"%s: its private key is known to %s: replace it (lockstep cert set "
			"%s --cert FILE --key FILE)",
			component->name, node, component->name);
		ls_strv_add(&made->warnings, warning);
	}
}

/* The second step after a removal for compromise, when etcd's members trust the new CA. */
enum ls_code ls_candidate_drop_ca(
	const struct ls_candidate_context *c, struct ls_candidate *out, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };
	size_t first = ls_ca_first_bytes(ls_buf_bytes(&c->tip->ca_pem));

	(void)err;
	ls_state_copy(&made.state, c->tip);
	made.unchanged = first == c->tip->ca_pem.len;
	ls_buf_clear(&made.state.ca_pem);
	ls_buf_add(&made.state.ca_pem, c->tip->ca_pem.data, first);
	made.cause = ls_strdup("removal");
	made.subject = ls_strdup("the earlier cluster CA is not trusted any more");
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}

enum ls_code ls_candidate_remove(const struct ls_candidate_context *c, const char *node,
	const struct ls_new_epoch *epoch, const struct ls_signer *new_ca, struct ls_candidate *out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate made = { 0 };

	if (!ls_state_member(c->tip, node)) {
		LS_FAIL(err, LS_E_REFUSED, "there is no node '%s'", node);
		LS_HINT(err, "lockstep node list shows them");
		return LS_E_REFUSED;
	}
	if (strcmp(node, c->node) == 0) {
		LS_FAIL(err, LS_E_REFUSED, "a node does not remove itself");
		LS_HINT(err, "say so on another node");
		return LS_E_REFUSED;
	}
	ls_state_copy(&made.state, c->tip);
	drop_member(&made.state, node);
	LS_TRY(new_epoch(c, epoch, &made.state, err));
	LS_TRY(replace_generated(c, epoch, &made, err));
	if (new_ca) {
		LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
		LS_CLEANUP(ls_buf_done) struct ls_buf both = { 0 };

		LS_TRY(ls_key_to_pem(new_ca->key, &pem, err));
		ls_buf_clear(&made.state.ca_key_cms);
		LS_TRY(ls_seal(ls_secret_bytes(&pem), epoch->kek, made.state.kek_epoch,
			&made.state.ca_key_cms, err));
		/* The old one is trusted until etcd's members have been told of the new one. */
		ls_buf_add_bytes(&both, ls_buf_bytes(&new_ca->cert_pem));
		ls_buf_add_bytes(&both, ls_buf_bytes(&made.state.ca_pem));
		ls_buf_copy(&made.state.ca_pem, &both);
		mark_known(&made, node);
	}
	made.cause = ls_strdup("removal");
	made.subject = new_ca ? ls_format("node %s" LS_REMOVED_COMPROMISED, node)
			      : ls_format("node %s is removed", node);
	ls_candidate_hand_over(out, &made);
	return LS_OK;
}
