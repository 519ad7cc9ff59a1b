/* A state's tree with one file replaced by the input, or a commit object. The first byte picks the
 * file; what reads must write the same bytes again. */
#include <assert.h>
#include <string.h>

#include "history/commit.h"
#include "history/state.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define PEM(label) "-----BEGIN " label "-----\nMIIB\n-----END " label "-----\n"

static struct ls_tree base;

static void component(struct ls_state *state, const char *name)
{
	struct ls_component *made = ls_state_add_component(state, name);

	(void)snprintf(made->issue.component, sizeof made->issue.component, "%s", name);
	made->issue.subject = ls_alloc(1, sizeof *made->issue.subject);
	made->issue.subject[made->issue.subject_count++] =
		(struct ls_rdn){ ls_strdup("CN"), ls_strdup("${fqdn}") };
	ls_strv_add(&made->issue.sans, "DNS:${fqdn}");
	ls_strv_add(&made->issue.eku, "serverAuth");
	made->issue.key = ls_strdup("ec:P-256");
	made->issue.days = 365;
	ls_buf_str(&made->chain_pem, PEM("CERTIFICATE"));
	ls_buf_str(&made->key_cms, PEM("CMS"));
	ls_buf_str(&made->trust_pem, PEM("CERTIFICATE"));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state read = { 0 };
	struct ls_member *member;
	struct ls_err err;

	(void)argc;
	(void)argv;
	state.cluster = ls_strdup("prod");
	state.fqdn = ls_strdup("prod.example.com");
	state.cluster_id = ls_strdup("0123456789abcdef0123456789abcdef");
	assert(ls_policy_parse("fuzz", "default", LS_BYTES_STR("rsa_min = 2048;"), &state.policy,
		       &err) == LS_OK);
	ls_settings_defaults(&state.settings);
	component(&state, "proxy");
	ls_buf_str(&ls_state_add_pending(&state, "proxy")->key_cms, PEM("CMS"));
	ls_buf_str(&ls_state_pending(&state, "proxy")->request_pem, PEM("CERTIFICATE REQUEST"));
	member = ls_state_add_member(&state, "n1");
	ls_buf_str(&member->signing_cert_pem, PEM("CERTIFICATE"));
	ls_buf_str(&member->wrapping_cert_pem, PEM("CERTIFICATE"));
	member->joined = 1;
	ls_buf_str(&state.ca_pem, PEM("CERTIFICATE"));
	ls_buf_str(&state.ca_key_cms, PEM("CMS"));
	state.kek_epoch = 1;
	ls_state_add_epoch(
		&state, 1, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	ls_state_to_tree(&state, &base);
	assert(ls_state_from_tree(&base, &read, &err) == LS_OK);
	return 0;
}

static void read_state(struct ls_tree_file *file, struct ls_bytes bytes)
{
	LS_CLEANUP(ls_state_done) struct ls_state read = { 0 };
	LS_CLEANUP(ls_tree_done) struct ls_tree again = { 0 };
	struct ls_buf kept = file->bytes;
	struct ls_err err;

	file->bytes = (struct ls_buf){ 0 };
	ls_buf_add_bytes(&file->bytes, bytes);
	if (ls_state_from_tree(&base, &read, &err) == LS_OK) {
		ls_state_to_tree(&read, &again);
		assert(again.count == base.count);
		for (size_t i = 0; i < again.count; i++)
			assert(ls_bytes_equal(ls_buf_bytes(&again.files[i].bytes),
				ls_buf_bytes(&base.files[i].bytes)));
	}
	ls_buf_done(&file->bytes);
	file->bytes = kept;
}

static void read_commit(struct ls_bytes bytes)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation read = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf again = { 0 };
	struct ls_err err;

	if (ls_commit_parse(bytes, &read, &text, &signature, &err) != LS_OK)
		return;
	ls_commit_attach(ls_buf_bytes(&text), ls_buf_bytes(&signature), &again);
	assert(ls_bytes_equal(bytes, ls_buf_bytes(&again)));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf rest = { 0 };

	if (size < 1)
		return 0;
	ls_buf_add(&rest, data + 1, size - 1);
	if (data[0] == 'C')
		read_commit(ls_buf_bytes(&rest));
	else
		read_state(&base.files[data[0] % base.count], ls_buf_bytes(&rest));
	return 0;
}
