/* The next state: what each change makes of the present one, and what it refuses in which words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intake/candidate.h"
#include "tests/unit/sample.h"

#define DAY_S 86400

static struct sample sample;
static struct ls_keyring ring;
static struct ls_services services;
static struct ls_candidate_context context;
static struct ls_candidate out;
static struct ls_err err;

struct pair {
	struct ls_buf cert;
	struct ls_secret key;
	char key_id[65];
};

static void pair_done(struct pair *pair)
{
	ls_buf_done(&pair->cert);
	ls_secret_done(&pair->key);
}

/* A certificate for the cluster's name, valid from now_s; with the key of `pair` if it has one. */
static void pair_make(struct pair *pair, int64_t now_s, int64_t days)
{
	LS_CLEANUP(ls_issue_done) struct ls_issue issue = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	struct ls_issue_vars vars = { "prod.example.com", "prod", "n1" };
	struct ls_key_spec spec;

	sample_issue("proxy", &issue);
	ck_ok(ls_key_spec_parse("ec:P-256", &spec, &err));
	if (pair->key.len)
		ck_ok(ls_key_from_pem(
			"key", ls_secret_bytes(&pair->key), (struct ls_bytes){ 0 }, &key, &err));
	else
		ck_ok(ls_key_generate(&spec, &key, &err));
	ls_buf_clear(&pair->cert);
	ck_ok(ls_issue_self_signed(&issue, &vars, days, key, now_s, &pair->cert, &err));
	ck_ok(ls_key_to_pem(key, &pair->key, &err));
	ls_key_id(key, pair->key_id);
}

static void setup(void)
{
	sample_init(&sample);
	ls_keyring_put(&ring, 1, ls_secret_bytes(&sample.kek));
	context = (struct ls_candidate_context){
		.tip = &sample.state,
		.keyring = &ring,
		.services = &services,
		.node = "n1",
		.now_s = SAMPLE_NOW,
		.generate = ls_key_generate,
	};
	sample_component(&sample, "metrics_exporter");
	for (size_t i = 0; i < sample.state.component_count; i++) {
		struct ls_component *c = &sample.state.components[i];

		ck_ok(ls_candidate_generate(&context, &sample.state, c, &err));
	}
	ls_state_component(&sample.state, "api")->origin = LS_ORIGIN_INSTALLED;
}

static void teardown(void)
{
	ls_candidate_done(&out);
	for (size_t i = 0; i < services.count; i++)
		ls_issue_done(&services.items[i].issue);
	free(services.items);
	services = (struct ls_services){ 0 };
	ls_keyring_done(&ring);
	sample_done(&sample);
}

static void said(const char *words)
{
	ck_assert_msg(strstr(err.text, words) != NULL, "'%s' lacks '%s'", err.text, words);
	ck_assert_ptr_null(strstr(err.text, "PRIVATE"));
	ck_assert_ptr_null(out.state.cluster); /* left empty */
	ck_assert_ptr_null(out.cause);
}

static void hinted(const char *words)
{
	ck_assert_msg(strstr(err.hint, words) != NULL, "'%s' lacks '%s'", err.hint, words);
}

static struct ls_install install_of(const char *component, const struct pair *pair, bool with_key)
{
	struct ls_install install = { .component = component,
		.cert = { "f_cert.pem", ls_buf_bytes(&pair->cert) } };

	if (with_key)
		install.key = (struct ls_named_bytes){ "f_key.pem", ls_secret_bytes(&pair->key) };
	return install;
}

static enum ls_code install(const char *component, const struct pair *pair, bool with_key)
{
	struct ls_install one = install_of(component, pair, with_key);

	return ls_candidate_install(&context, &one, 1, "operator", &out, &err);
}

/* The sealed key opens, with this ring, to the one of the chain. */
static void assert_key_fits(const struct ls_component *c, const struct ls_keyring *with)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;

	ck_ok(ls_unseal(ls_buf_bytes(&c->key_cms), with, &pem, &err));
	ck_ok(ls_key_from_pem("key", ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, &key, &err));
	ck_assert(ls_credential_matches(ls_buf_bytes(&c->chain_pem), key));
}

static void adopt_state(void)
{
	ls_state_copy(&sample.state, &out.state);
	ls_candidate_done(&out);
}

START_TEST(an_installed_pair_is_in_the_candidate_and_the_tip_is_untouched)
{
	LS_CLEANUP(pair_done) struct pair pair = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf before = { 0 };
	const struct ls_component *c;

	pair_make(&pair, SAMPLE_NOW, 90);
	ls_buf_copy(&before, &ls_state_component(&sample.state, "proxy")->chain_pem);
	ck_ok(install("proxy", &pair, true));
	ck_assert(!out.unchanged);
	ck_assert_str_eq(out.cause, "operator");
	ck_assert_str_eq(out.subject, "proxy: install certificate");
	ck_assert_uint_eq(ls_strv_count(out.components), 1);
	c = ls_state_component(&out.state, "proxy");
	ck_assert_int_eq(c->origin, LS_ORIGIN_INSTALLED);
	ck_assert(ls_bytes_equal(ls_buf_bytes(&c->chain_pem), ls_buf_bytes(&pair.cert)));
	ck_assert(ls_bytes_equal(ls_buf_bytes(&c->trust_pem), ls_buf_bytes(&pair.cert)));
	assert_key_fits(c, &ring);
	c = ls_state_component(&sample.state, "proxy");
	ck_assert(ls_bytes_equal(ls_buf_bytes(&c->chain_pem), ls_buf_bytes(&before)));
	adopt_state();
	ck_ok(install("proxy", &pair, true));
	ck_assert(out.unchanged);
	ck_assert_ptr_null(out.components);
}
END_TEST

START_TEST(what_may_not_be_installed)
{
	LS_CLEANUP(pair_done) struct pair pair = { 0 }, other = { 0 }, old = { 0 };
	struct ls_install two[2];

	pair_make(&pair, SAMPLE_NOW, 90);
	pair_make(&other, SAMPLE_NOW, 90);
	pair_make(&old, SAMPLE_NOW - 100 * DAY_S, 90);
	ck_code(install("nosuch", &pair, true), LS_E_REFUSED);
	said("component 'nosuch' is unknown");
	hinted("known are: api, metrics_exporter, proxy");
	ck_code(install("proxy", &old, true), LS_E_REFUSED);
	said("f_cert.pem");
	ck_code(install("proxy", &other, false), LS_E_REFUSED);
	said("f_cert.pem: key: none was given");
	hinted("give the private key");
	two[0] = install_of("proxy", &pair, true);
	two[0].key.bytes = ls_secret_bytes(&other.key);
	ck_code(ls_candidate_install(&context, two, 1, "operator", &out, &err), LS_E_REFUSED);
	said("f_");
	two[0] = install_of("proxy", &pair, true);
	two[1] = install_of("proxy", &other, true);
	ck_code(ls_candidate_install(&context, two, 2, "operator", &out, &err), LS_E_REFUSED);
	said("component 'proxy' is named twice");
	two[1] = install_of("api", &old, true); /* all or none */
	ck_code(ls_candidate_install(&context, two, 2, "operator", &out, &err), LS_E_REFUSED);
	said("f_cert.pem");
}
END_TEST

START_TEST(several_go_in_one_generation_and_aliases_are_understood)
{
	LS_CLEANUP(pair_done) struct pair pair = { 0 }, other = { 0 };
	struct ls_install two[2];

	pair_make(&pair, SAMPLE_NOW, 90);
	pair_make(&other, SAMPLE_NOW, 90);
	two[0] = install_of("metrics", &pair, true);
	two[1] = install_of("api", &other, true);
	ck_ok(ls_candidate_install(&context, two, 2, "drop-in", &out, &err));
	ck_assert_str_eq(out.cause, "drop-in");
	ck_assert_str_eq(out.subject, "metrics_exporter, api: install certificates");
	two[1] = install_of("metrics_exporter", &other, true);
	ls_candidate_done(&out);
	ck_code(ls_candidate_install(&context, two, 2, "drop-in", &out, &err), LS_E_REFUSED);
	said("named twice");
}
END_TEST

START_TEST(a_certificate_alone_finds_the_present_key)
{
	LS_CLEANUP(pair_done) struct pair pair = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf sealed = { 0 };

	pair_make(&pair, SAMPLE_NOW, 90);
	ck_ok(install("proxy", &pair, true));
	adopt_state();
	ls_buf_copy(&sealed, &ls_state_component(&sample.state, "proxy")->key_cms);
	pair_make(&pair, SAMPLE_NOW + 60, 90);
	ck_ok(install("proxy", &pair, false));
	ck_assert(!out.unchanged);
	ck_assert(ls_bytes_equal(ls_buf_bytes(&ls_state_component(&out.state, "proxy")->key_cms),
		ls_buf_bytes(&sealed)));
	ls_candidate_done(&out);
	ck_code(install("api", &pair, false), LS_E_REFUSED); /* another's key is no use */
	said("the present key of 'api'");
}
END_TEST

static void key_of_request(const char *component, struct pair *pair)
{
	const struct ls_pending *pending = ls_state_pending(&out.state, component);

	ck_assert_ptr_nonnull(pending);
	ck_ok(ls_unseal(ls_buf_bytes(&pending->key_cms), &ring, &pair->key, &err));
	ck_assert(ls_bytes_equal(ls_buf_bytes(&out.output), ls_buf_bytes(&pending->request_pem)));
	pair_make(pair, SAMPLE_NOW, 90);
	ck_assert(ls_request_has_key(ls_buf_bytes(&out.output), pair->key_id));
}

START_TEST(a_request_is_answered_by_its_certificate_alone)
{
	LS_CLEANUP(pair_done) struct pair first = { 0 }, second = { 0 };

	ck_code(ls_candidate_request(&context, "nosuch", &out, &err), LS_E_REFUSED);
	said("component 'nosuch' is unknown");
	ck_ok(ls_candidate_request(&context, "metrics", &out, &err));
	ck_assert_str_eq(out.cause, "request");
	ck_assert_str_eq(out.subject, "metrics_exporter: new key and certificate request");
	ck_assert(!out.unchanged);
	ck_assert_ptr_null(out.warnings);
	key_of_request("metrics_exporter", &first);
	adopt_state();
	ck_ok(ls_candidate_request(&context, "metrics_exporter", &out, &err));
	ck_assert_uint_eq(ls_strv_count(out.warnings), 1);
	key_of_request("metrics_exporter", &second);
	adopt_state();
	ck_code(install("metrics", &first, false), LS_E_REFUSED);
	said("nor that of an open request");
	ck_ok(install("metrics", &second, false));
	ck_assert_ptr_null(ls_state_pending(&out.state, "metrics_exporter"));
	assert_key_fits(ls_state_component(&out.state, "metrics_exporter"), &ring);
}
END_TEST

START_TEST(renewal_waits_until_it_is_due)
{
	struct ls_renew renew = { 0 };

	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	ck_assert(out.unchanged);
	ck_assert_uint_eq(ls_strv_count(out.warnings), 3);
	ck_assert_ptr_nonnull(strstr(out.warnings[0], "api: passed over"));
	ck_assert_ptr_nonnull(strstr(out.warnings[1], "not due yet, valid until 20"));
	context.now_s = SAMPLE_NOW + 244 * DAY_S; /* of 365 days */
	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	ck_assert(!out.unchanged);
	ck_assert_str_eq(out.subject, "metrics_exporter, proxy: renew by template");
	assert_key_fits(ls_state_component(&out.state, "proxy"), &ring);
	context.now_s = SAMPLE_NOW;
	renew.force = true;
	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	ck_assert_uint_eq(ls_strv_count(out.components), 2);
}
END_TEST

START_TEST(what_an_operator_installed_is_not_renewed_unasked)
{
	char api[] = "api", metrics[] = "metrics", nosuch[] = "nosuch";
	char *names[] = { api, metrics, NULL };
	struct ls_renew renew = { .names = names, .force = true };

	ck_code(ls_candidate_renew(&context, &renew, &out, &err), LS_E_REFUSED);
	said("api: an operator installed its certificate");
	hinted("--replace-installed");
	renew.replace_installed = true;
	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	ck_assert_str_eq(out.subject, "api, metrics_exporter: renew by template");
	ck_assert_int_eq(ls_state_component(&out.state, "api")->origin, LS_ORIGIN_GENERATED);
	ls_candidate_done(&out);
	names[0] = nosuch;
	ck_code(ls_candidate_renew(&context, &renew, &out, &err), LS_E_REFUSED);
	said("component 'nosuch' is unknown");
}
END_TEST

START_TEST(a_policy_bounds_what_is_issued)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	struct ls_renew renew = { .force = true };

	sample.state.policy.days_max = 47;
	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	ck_ok(ls_cert_info_read(
		ls_buf_bytes(&ls_state_component(&out.state, "proxy")->chain_pem), &info, &err));
	ck_assert_int_le(info.not_after_s - SAMPLE_NOW, 47 * DAY_S);
}
END_TEST

static enum ls_code rollback(const struct ls_state *earlier)
{
	struct ls_generation about = { .commit = { "0123" }, .generation = 7 };

	return ls_candidate_rollback(&context, earlier, &about, &out, &err);
}

START_TEST(going_back_restores_credentials_and_keeps_members)
{
	LS_CLEANUP(ls_state_done) struct ls_state earlier = { 0 };
	struct ls_renew renew = { .force = true };

	ls_state_copy(&earlier, &sample.state);
	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	adopt_state();
	ck_ok(ls_candidate_request(&context, "proxy", &out, &err));
	adopt_state();
	sample_member(&sample, "n2", &sample.n2);
	sample_component(&sample, "sixth");
	(void)ls_state_add_pending(&sample.state, "sixth");
	ck_ok(rollback(&earlier));
	ck_assert_str_eq(out.cause, "rollback");
	ck_assert_str_eq(out.subject, "go back to generation 7");
	ck_assert_str_eq(out.restores.hex, "0123");
	ck_assert_uint_eq(ls_strv_count(out.components), 3);
	ck_assert(ls_strv_has(out.components, "sixth"));
	ck_assert_uint_eq(out.state.member_count, 2);
	ck_assert_ptr_nonnull(ls_state_pending(&out.state, "proxy"));
	ck_assert_ptr_null(ls_state_pending(&out.state, "sixth"));
	ck_assert_ptr_null(ls_state_component(&out.state, "sixth"));
	ck_assert(ls_bytes_equal(ls_buf_bytes(&ls_state_component(&out.state, "proxy")->chain_pem),
		ls_buf_bytes(&ls_state_component(&earlier, "proxy")->chain_pem)));
	assert_key_fits(ls_state_component(&out.state, "proxy"), &ring);
}
END_TEST

START_TEST(going_back_to_what_is_there_changes_nothing)
{
	LS_CLEANUP(ls_state_done) struct ls_state earlier = { 0 };
	struct ls_settings *s = &earlier.settings;

	ls_state_copy(&earlier, &sample.state);
	ck_ok(rollback(&earlier));
	ck_assert(out.unchanged);
	memset(s, 0xff, sizeof *s); /* bytes between the members say nothing */
	s->require_all = false;
	s->rollback = true;
	s->away_after_s = sample.state.settings.away_after_s;
	s->vote_s = sample.state.settings.vote_s;
	s->served_s = sample.state.settings.served_s;
	s->timeout_s = sample.state.settings.timeout_s;
	ck_ok(rollback(&earlier));
	ck_assert(out.unchanged);
	s->timeout_s++;
	ck_ok(rollback(&earlier));
	ck_assert(!out.unchanged);
	ck_assert_int_eq(out.state.settings.timeout_s, s->timeout_s);
}
END_TEST

START_TEST(what_going_back_refuses)
{
	LS_CLEANUP(ls_state_done) struct ls_state earlier = { 0 };
	struct ls_renew renew = { .force = true };
	struct ls_keyring none = { 0 };

	sample_member(&sample, "n2", &sample.n2);
	ls_state_copy(&earlier, &sample.state);
	ck_ok(ls_candidate_renew(&context, &renew, &out, &err));
	adopt_state();
	context.now_s = SAMPLE_NOW + 400 * DAY_S;
	ck_code(rollback(&earlier), LS_E_REFUSED);
	said("metrics_exporter: its certificate of then no longer passes");
	context.now_s = SAMPLE_NOW;
	context.keyring = &none;
	ck_code(rollback(&earlier), LS_E_REFUSED);
	said("its private key of then cannot be opened");
	context.keyring = &ring;
	sample.state.member_count--; /* n2 has left */
	ck_code(rollback(&earlier), LS_E_REFUSED);
	sample.state.member_count++;
	said("is known to a node that is no member any more");
	/* … or came back as another: the same name with another key. */
	ls_buf_copy(
		&ls_state_member(&sample.state, "n2")->signing_cert_pem, &sample.stranger.cert_pem);
	ck_code(rollback(&earlier), LS_E_REFUSED);
	said("is known to a node that is no member any more");
}
END_TEST

/* For all members of the sample but `without`. */
static const struct ls_new_epoch *new_epoch(
	const struct ls_secret *kek, const char *cert, const char *without)
{
	static struct ls_new_wrapping wrappings[8];
	static struct ls_new_epoch epoch;

	epoch = (struct ls_new_epoch){ .kek = ls_secret_bytes(kek), .wrappings = wrappings };
	for (size_t i = 0; i < sample.state.member_count; i++)
		if (!without || strcmp(sample.state.members[i].name, without) != 0)
			wrappings[epoch.wrapping_count++] =
				(struct ls_new_wrapping){ sample.state.members[i].name,
					LS_BYTES_STR(cert) };
	return &epoch;
}

START_TEST(a_new_epoch_seals_everything_anew)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 }, plain = { 0 };
	LS_CLEANUP(ls_keyring_done) struct ls_keyring only_new = { 0 };

	ck_ok(ls_candidate_request(&context, "proxy", &out, &err));
	adopt_state();
	ls_kek_generate(&kek);
	ck_ok(ls_candidate_seal_rotate(
		&context, new_epoch(&kek, "new wrapping", NULL), &out, &err));
	ck_assert(!out.unchanged);
	ck_assert_int_eq(out.state.kek_epoch, 2);
	ck_assert_ptr_nonnull(ls_state_epoch_check(&out.state, 1));
	ck_assert_ptr_nonnull(ls_state_epoch_check(&out.state, 2));
	ck_assert_str_eq(
		ls_buf_text(&ls_state_member(&out.state, "n1")->wrapping_cert_pem), "new wrapping");
	ls_keyring_put(&only_new, 2, ls_secret_bytes(&kek));
	for (size_t i = 0; i < out.state.component_count; i++)
		assert_key_fits(&out.state.components[i], &only_new);
	ck_ok(ls_unseal(ls_buf_bytes(&out.state.ca_key_cms), &only_new, &plain, &err));
	ck_ok(ls_unseal(ls_buf_bytes(&ls_state_pending(&out.state, "proxy")->key_cms), &only_new,
		&plain, &err));
	ls_candidate_done(&out);
	sample_member(&sample, "n2", &sample.n2);
	ck_code(ls_candidate_seal_rotate(&context, new_epoch(&kek, "w", "n2"), &out, &err),
		LS_E_FAILED);
	said("a new epoch needs a certificate of each member");
}
END_TEST

START_TEST(a_node_joins_and_a_name_is_taken_once)
{
	struct ls_new_member n3 = { .node = "n3",
		.signing_cert_pem = LS_BYTES_STR("signing"),
		.wrapping_cert_pem = LS_BYTES_STR("wrapping") };
	size_t before = sample.state.member_count;

	ck_ok(ls_candidate_join(&context, &n3, 7, &out, &err));
	ck_assert(!out.unchanged);
	ck_assert_str_eq(out.cause, "join");
	ck_assert_uint_eq(out.state.member_count, before + 1);
	ck_assert_int_eq(ls_state_member(&out.state, "n3")->joined, 7);
	adopt_state();
	ck_code(ls_candidate_join(&context, &n3, 8, &out, &err), LS_E_REFUSED);
	said("has a node 'n3' already");
	hinted("--replace");
	n3.replace = true;
	n3.signing_cert_pem = LS_BYTES_STR("another");
	ck_ok(ls_candidate_join(&context, &n3, 9, &out, &err));
	ck_assert_uint_eq(out.state.member_count, before + 1);
	ck_assert_str_eq(
		ls_buf_text(&ls_state_member(&out.state, "n3")->signing_cert_pem), "another");
	ck_assert_str_eq(out.subject, "node n3 joins again");
}
END_TEST

START_TEST(who_leaves_can_open_nothing_that_comes)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 }, plain = { 0 };
	LS_CLEANUP(ls_keyring_done) struct ls_keyring only_new = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf installed = { 0 };

	sample_member(&sample, "n2", &sample.n2);
	ls_kek_generate(&kek);
	ls_buf_copy(&installed, &ls_state_component(&sample.state, "api")->chain_pem);
	ck_ok(ls_candidate_remove(&context, "n2", new_epoch(&kek, "w", "n2"), NULL, &out, &err));
	ck_assert_ptr_null(ls_state_member(&out.state, "n2"));
	ck_assert_int_eq(out.state.kek_epoch, 2);
	ls_keyring_put(&only_new, 2, ls_secret_bytes(&kek));
	for (size_t i = 0; i < out.state.component_count; i++) {
		const struct ls_component *c = &out.state.components[i];
		const struct ls_component *was = ls_state_component(&sample.state, c->name);

		assert_key_fits(c, &only_new);
		ck_code(ls_unseal(ls_buf_bytes(&c->key_cms), &ring, &plain, &err), LS_E_REFUSED);
		/* What it knew is replaced, as far as Lockstep made it. */
		ck_assert(ls_bytes_equal(
				  ls_buf_bytes(&c->chain_pem), ls_buf_bytes(&was->chain_pem)) ==
			  (c->origin == LS_ORIGIN_INSTALLED));
		ck_assert(!c->exposed);
	}
	ls_candidate_done(&out);
	ck_code(ls_candidate_remove(&context, "n1", new_epoch(&kek, "w", "n1"), NULL, &out, &err),
		LS_E_REFUSED);
	said("does not remove itself");
	ck_code(ls_candidate_remove(&context, "n7", new_epoch(&kek, "w", NULL), NULL, &out, &err),
		LS_E_REFUSED);
	said("there is no node 'n7'");
}
END_TEST

START_TEST(a_compromised_node_takes_the_ca_with_it)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 };
	LS_CLEANUP(pair_done) struct pair pair = { 0 };
	LS_CLEANUP(ls_tree_done) struct ls_tree tree = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state again = { 0 };
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info first = { 0 }, made = { 0 };

	sample_member(&sample, "n2", &sample.n2);
	ls_kek_generate(&kek);
	ck_ok(ls_authority_create(sample.state.cluster, SAMPLE_NOW, &ca, &err));
	ck_ok(ls_candidate_remove(&context, "n2", new_epoch(&kek, "w", "n2"), &ca, &out, &err));
	ck_ok(ls_cert_info_read(ls_buf_bytes(&out.state.ca_pem), &first, &err));
	ck_ok(ls_cert_info_read(ls_buf_bytes(&ca.cert_pem), &made, &err));
	ck_assert_str_eq(first.sha256, made.sha256);
	ck_assert(ls_state_component(&out.state, "api")->exposed);
	ck_assert(!ls_state_component(&out.state, "proxy")->exposed);
	ck_assert_uint_eq(ls_strv_count(out.warnings), 1);
	/* It is part of the state, until another key stands there. */
	ls_buf_clear(&ls_state_member(&out.state, "n1")->wrapping_cert_pem);
	ls_buf_copy(&ls_state_member(&out.state, "n1")->wrapping_cert_pem,
		&ls_state_member(&sample.state, "n1")->wrapping_cert_pem);
	ls_state_to_tree(&out.state, &tree);
	ck_ok(ls_state_from_tree(&tree, &again, &err));
	ck_assert(ls_state_component(&again, "api")->exposed);
	adopt_state();
	ls_keyring_put(&ring, 2, ls_secret_bytes(&kek));
	pair_make(&pair, SAMPLE_NOW, 90);
	ck_ok(install("api", &pair, true));
	ck_assert(!ls_state_component(&out.state, "api")->exposed);
}
END_TEST

START_TEST(an_epoch_is_forgotten_once_another_is_in_force)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 };

	ck_code(ls_candidate_seal_forget(&context, 1, &out, &err), LS_E_REFUSED);
	said("epoch 1 is the present one");
	hinted("seal rotate");
	ck_code(ls_candidate_seal_forget(&context, 2, &out, &err), LS_E_REFUSED);
	said("there is no epoch 2");
	ck_code(ls_candidate_seal_forget(&context, 0, &out, &err), LS_E_REFUSED);
	said("there is no epoch 0");
	ls_kek_generate(&kek);
	ck_ok(ls_candidate_seal_rotate(&context, new_epoch(&kek, "w", NULL), &out, &err));
	adopt_state();
	ck_ok(ls_candidate_seal_forget(&context, 1, &out, &err));
	ck_assert_str_eq(out.subject, "forget sealing key, epoch 1");
	ck_assert_ptr_null(ls_state_epoch_check(&out.state, 1));
	ck_assert_uint_eq(out.state.kek_epoch_count, 1);
	adopt_state();
	ck_ok(ls_candidate_seal_forget(&context, 1, &out, &err));
	ck_assert(out.unchanged);
}
END_TEST

START_TEST(without_the_sealing_key_nothing_is_made)
{
	LS_CLEANUP(pair_done) struct pair pair = { 0 };
	struct ls_renew renew = { .force = true };
	struct ls_keyring none = { 0 };

	pair_make(&pair, SAMPLE_NOW, 90);
	context.keyring = &none;
	ck_code(install("proxy", &pair, true), LS_E_FAILED);
	said("the key of epoch 1 that seals the private keys is not here");
	ck_code(ls_candidate_renew(&context, &renew, &out, &err), LS_E_FAILED);
	said("epoch 1");
	ck_code(ls_candidate_request(&context, "proxy", &out, &err), LS_E_FAILED);
	said("epoch 1");
}
END_TEST

START_TEST(a_template_without_a_component_adds_one)
{
	ck_ok(ls_candidate_adopt(&context, &out, &err));
	ck_assert(out.unchanged);
	services.items = ls_alloc(2, sizeof *services.items);
	services.count = 2;
	(void)snprintf(services.items[0].component, sizeof services.items[0].component, "proxy");
	(void)snprintf(services.items[1].component, sizeof services.items[1].component, "sixth");
	sample_issue("proxy", &services.items[0].issue);
	sample_issue("sixth", &services.items[1].issue);
	ck_ok(ls_candidate_adopt(&context, &out, &err));
	ck_assert(!out.unchanged);
	ck_assert_str_eq(out.subject, "sixth: new component");
	ck_assert_str_eq(out.cause, "template");
	ck_assert_uint_eq(out.state.component_count, 4);
	assert_key_fits(ls_state_component(&out.state, "sixth"), &ring);
	adopt_state();
	ck_ok(ls_candidate_adopt(&context, &out, &err));
	ck_assert(out.unchanged);
}
END_TEST

LS_TEST_MAIN_FIXTURE("candidate", setup, teardown,
	an_installed_pair_is_in_the_candidate_and_the_tip_is_untouched, what_may_not_be_installed,
	several_go_in_one_generation_and_aliases_are_understood,
	a_certificate_alone_finds_the_present_key, a_request_is_answered_by_its_certificate_alone,
	renewal_waits_until_it_is_due, what_an_operator_installed_is_not_renewed_unasked,
	a_policy_bounds_what_is_issued, going_back_restores_credentials_and_keeps_members,
	going_back_to_what_is_there_changes_nothing, what_going_back_refuses,
	a_new_epoch_seals_everything_anew, a_node_joins_and_a_name_is_taken_once,
	who_leaves_can_open_nothing_that_comes, a_compromised_node_takes_the_ca_with_it,
	an_epoch_is_forgotten_once_another_is_in_force, without_the_sealing_key_nothing_is_made,
	a_template_without_a_component_adds_one)
