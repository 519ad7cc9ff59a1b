/* The part of a node's judgement before its vote that needs the keys. */
#include "daemon/agent.h"
#include "pki/key.h"

static enum ls_code judge_key(struct ls_agent *a, const struct ls_component *c, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;

	if (ls_unseal(ls_buf_bytes(&c->key_cms), &a->keyring, &pem, err) != LS_OK ||
		ls_key_from_pem("it", ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, &key, err) !=
			LS_OK) {
		LS_WRAP(err, "%s: the sealed key", c->name);
		return err ? err->code : LS_E_REFUSED;
	}
	if (!ls_credential_matches(ls_buf_bytes(&c->chain_pem), key))
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: the sealed key is not the one of its certificate", c->name);
	return LS_OK;
}

static bool same_pair(const struct ls_component *x, const struct ls_component *y)
{
	return ls_bytes_equal(ls_buf_bytes(&x->chain_pem), ls_buf_bytes(&y->chain_pem)) &&
	       ls_bytes_equal(ls_buf_bytes(&x->key_cms), ls_buf_bytes(&y->key_cms));
}

enum ls_code ls_agent_judge_keys(struct ls_agent *a, struct ls_err *err)
{
	const struct ls_progress *p = &a->progress;

	for (size_t i = 0; i < p->state.component_count; i++) {
		const struct ls_component *c = &p->state.components[i];
		const struct ls_component *was =
			p->has_before ? ls_state_component(&p->before, c->name) : NULL;

		if (!was || !same_pair(c, was))
			LS_TRY(judge_key(a, c, err));
	}
	return LS_OK;
}
