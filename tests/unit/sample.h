/* sample -- a small cluster's keys and state, for tests of the history. */
#ifndef LS_TESTS_UNIT_SAMPLE_H
#define LS_TESTS_UNIT_SAMPLE_H

#include "history/state.h"
#include "pki/authority.h"
#include "tests/unit/runner.h"

#define SAMPLE_NOW 1795000000

struct sample {
	struct ls_signer ca, n1, n2, wrap, stranger;
	struct ls_secret kek;
	struct ls_state state;
};

static void sample_policy(struct ls_policy *out)
{
	struct ls_err err = { 0 };

	ck_ok(ls_policy_parse("sample", "default", LS_BYTES_STR("rsa_min = 2048;"), out, &err));
}

static void sample_issue(const char *component, struct ls_issue *out)
{
	(void)snprintf(out->component, sizeof out->component, "%s", component);
	out->subject = ls_alloc(1, sizeof *out->subject);
	out->subject[out->subject_count++] =
		(struct ls_rdn){ ls_strdup("CN"), ls_strdup("${fqdn}") };
	ls_strv_add(&out->sans, "DNS:${fqdn}");
	ls_strv_add(&out->eku, "serverAuth");
	out->key = ls_strdup("ec:P-256");
	out->days = 365;
}

static void sample_component(struct sample *sample, const char *name)
{
	struct ls_component *component = ls_state_add_component(&sample->state, name);
	struct ls_err err = { 0 };

	sample_issue(name, &component->issue);
	ls_buf_copy(&component->chain_pem, &sample->n1.cert_pem);
	ck_ok(ls_seal(
		LS_BYTES_STR(name), ls_secret_bytes(&sample->kek), 1, &component->key_cms, &err));
}

static void sample_member(struct sample *sample, const char *name, const struct ls_signer *signer)
{
	struct ls_member *member = ls_state_add_member(&sample->state, name);

	ls_buf_copy(&member->signing_cert_pem, &signer->cert_pem);
	ls_buf_copy(&member->wrapping_cert_pem, &sample->wrap.cert_pem);
	member->joined = 1;
}

static void sample_certify(struct sample *sample, const char *node, struct ls_signer *out)
{
	struct ls_err err = { 0 };

	ck_ok(ls_authority_certify(
		&sample->ca, "prod", node, LS_NODE_CERT_SIGNING, SAMPLE_NOW, out, &err));
}

static void sample_init(struct sample *sample)
{
	struct ls_state *state = &sample->state;
	struct ls_err err = { 0 };
	char check[LS_SHA256_TEXT];

	ck_ok(ls_authority_create("prod", SAMPLE_NOW, &sample->ca, &err));
	sample_certify(sample, "n1", &sample->n1);
	sample_certify(sample, "n2", &sample->n2);
	sample_certify(sample, "n1", &sample->stranger);
	ck_ok(ls_authority_certify(
		&sample->ca, "prod", "n1", LS_NODE_CERT_WRAPPING, SAMPLE_NOW, &sample->wrap, &err));
	ls_kek_generate(&sample->kek);
	state->cluster = ls_strdup("prod");
	state->fqdn = ls_strdup("prod.example.com");
	state->cluster_id = ls_strdup("0123456789abcdef0123456789abcdef");
	sample_policy(&state->policy);
	ls_settings_defaults(&state->settings);
	ls_buf_copy(&state->ca_pem, &sample->ca.cert_pem);
	ck_ok(ls_seal(
		LS_BYTES_STR("ca"), ls_secret_bytes(&sample->kek), 1, &state->ca_key_cms, &err));
	state->kek_epoch = 1;
	ls_kek_check_value(ls_secret_bytes(&sample->kek), state->cluster_id, 1, check);
	ls_state_add_epoch(state, 1, check);
	sample_member(sample, "n1", &sample->n1);
	sample_component(sample, "proxy");
	sample_component(sample, "api");
	ls_buf_copy(&ls_state_component(state, "api")->trust_pem, &sample->ca.cert_pem);
	ls_state_component(state, "api")->origin = LS_ORIGIN_INSTALLED;
}

static void sample_done(struct sample *sample)
{
	ls_signer_done(&sample->ca);
	ls_signer_done(&sample->n1);
	ls_signer_done(&sample->n2);
	ls_signer_done(&sample->wrap);
	ls_signer_done(&sample->stranger);
	ls_secret_done(&sample->kek);
	ls_state_done(&sample->state);
}

#endif
