#include "daemon/bootstrap.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/digest.h"
#include "pki/key.h"
#include "sys/file.h"

#define MARK "init-running"
#define NAMES_MAX 100000
#define CLUSTER_ID_BYTES 16

void ls_bootstrap_node_name(const char *wish, char out[LS_NAME_MAX + 1])
{
	char host[256] = "";
	size_t n = 0;

	if (wish) {
		(void)snprintf(out, LS_NAME_MAX + 1, "%s", wish);
		return;
	}

	(void)gethostname(host, sizeof host - 1); /* none: "node" */
	for (; host[n] && host[n] != '.' && n < LS_NAME_MAX; n++)
		out[n] = isalnum((unsigned char)host[n]) ? (char)tolower((unsigned char)host[n])
							 : '_';
	out[n] = '\0';
	if (n == 0)
		(void)snprintf(out, LS_NAME_MAX + 1, "node");
}

static enum ls_code check_names(
	const struct ls_bootstrap *wish, const char *node, const char *fqdn, struct ls_err *err)
{
	if (!ls_cluster_name_valid(wish->cluster))
		return LS_FAIL(err, LS_E_REFUSED,
			"cluster name '%s': wanted 1 to 64 letters, digits, '.', '_', '-', "
			"beginning with a "
			"letter or digit",
			wish->cluster);
	if (!ls_name_valid(node))
		return LS_FAIL(err, LS_E_REFUSED,
			"node name '%s': wanted 1 to 32 of a-z, 0-9 and '_'", node);
	if (!ls_host_name_valid(fqdn)) {
		LS_FAIL(err, LS_E_REFUSED, "fqdn '%s' is not a host name (RFC 1123 section 2.1)",
			fqdn);
		LS_HINT(err, "give one with --fqdn, such as prod.example.com");
		return LS_E_REFUSED;
	}
	return LS_OK;
}

static enum ls_code make_dirs(const struct ls_paths *paths, struct ls_err *err)
{
	LS_TRY(ls_dir_make(paths->certs, 0755, err));
	LS_TRY(ls_dir_make(paths->incoming, 0700, err));
	LS_TRY(ls_dir_make(paths->lib, 0700, err));
	LS_TRY(ls_dir_make(paths->rejected, 0700, err));
	return ls_dir_make(paths->identity, 0700, err);
}

static void add_live_names(const char *component, char ***names)
{
	LS_CLEANUP(ls_free_str) char *cert = ls_format("%s_cert.pem", component);
	LS_CLEANUP(ls_free_str) char *key = ls_format("%s_key.pem", component);
	LS_CLEANUP(ls_free_str) char *both = ls_format("%s.pem", component);
	LS_CLEANUP(ls_free_str) char *ca = ls_format("ca/%s.pem", component);

	ls_strv_add(names, cert);
	ls_strv_add(names, key);
	ls_strv_add(names, both);
	ls_strv_add(names, ca);
}

/* An operator's own files must not vanish under our links. */
static enum ls_code refuse_foreign(
	int certs_fd, const struct ls_services *services, struct ls_err *err)
{
	for (size_t i = 0; i < services->count; i++) {
		const char *component = services->items[i].component;
		LS_CLEANUP(ls_free_strv) char **names = NULL;

		add_live_names(component, &names);
		for (size_t k = 0; k < ls_strv_count(names); k++) {
			const char *name = names[k];
			struct stat st;

			if (fstatat(certs_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
				S_ISLNK(st.st_mode))
				continue;
			LS_FAIL(err, LS_E_REFUSED, "the live directory already holds a file '%s'",
				name);
			LS_HINT(err, "move it away; after init, lockstep cert set installs it");
			return LS_E_REFUSED;
		}
	}
	return LS_OK;
}

/* What an interrupted init left. The mark says that nothing of it was ever in force. */
static enum ls_code remove_unfinished(
	const struct ls_paths *paths, int lib_fd, int certs_fd, struct ls_err *err)
{
	static const char *const dirs[] = { "identity", "history.git", "store" };
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	for (size_t i = 0; i < LS_COUNT(dirs); i++)
		LS_TRY(ls_dir_remove(lib_fd, dirs[i], err));
	LS_TRY(ls_dir_list(certs_fd, NAMES_MAX, &names, err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		if (ls_has_prefix(names[i], "..gen-"))
			LS_TRY(ls_dir_remove(certs_fd, names[i], err));
		else if (ls_has_prefix(names[i], "..data"))
			LS_TRY(ls_file_remove(certs_fd, names[i], err));
	}
	return ls_dir_make(paths->identity, 0700, err);
}

/* Writes the mark, after making sure that nothing of value is there. */
static enum ls_code mark_begin(
	const struct ls_paths *paths, int lib_fd, int certs_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int identity_fd = -1;

	if (ls_file_exists(lib_fd, MARK))
		return remove_unfinished(paths, lib_fd, certs_fd, err);
	LS_TRY(ls_dir_open(paths->identity, &identity_fd, err));
	if (ls_file_exists(lib_fd, "history.git") || ls_file_exists(identity_fd, "node.json")) {
		LS_FAIL(err, LS_E_REFUSED,
			"'%s' holds a history or an identity but no readable store record",
			paths->lib);
		LS_HINT(err, "restore store/record.json from a backup, or move the directory away");
		return LS_E_REFUSED;
	}
	return ls_file_replace(lib_fd, MARK, (struct ls_bytes){ "", 0 }, 0600, (gid_t)-1, err);
}

static enum ls_code mark_end(int lib_fd, struct ls_err *err)
{
	LS_TRY(ls_file_remove(lib_fd, MARK, err));
	return ls_dir_sync(lib_fd, err);
}

/* CA, the node's signing and wrapping keys, and the first KEK. */
static enum ls_code make_keys(struct ls_agent *a, const char *cluster, int64_t now_s,
	struct ls_state *state, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 }, wrapping = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 }, ca_key = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
	struct ls_identity *identity = &a->identity;
	struct ls_member *self;
	char check[LS_SHA256_TEXT];

	LS_TRY(ls_authority_create(cluster, now_s, &ca, err));
	LS_TRY(ls_authority_certify(
		&ca, cluster, identity->node, LS_NODE_CERT_SIGNING, now_s, &identity->signer, err));
	LS_TRY(ls_authority_certify(
		&ca, cluster, identity->node, LS_NODE_CERT_WRAPPING, now_s, &wrapping, err));
	ls_buf_copy(&identity->ca_pem, &ca.cert_pem);
	ls_buf_copy(&state->ca_pem, &ca.cert_pem);
	ls_kek_generate(&kek);
	ls_keyring_put(&a->keyring, 1, ls_secret_bytes(&kek));
	ls_kek_check_value(ls_secret_bytes(&kek), state->cluster_id, 1, check);
	ls_state_add_epoch(state, 1, check);
	state->kek_epoch = 1;
	LS_TRY(ls_key_to_pem(ca.key, &ca_key, err));
	LS_TRY(ls_seal(
		ls_secret_bytes(&ca_key), ls_secret_bytes(&kek), 1, &state->ca_key_cms, err));
	self = ls_state_add_member(state, identity->node);
	self->joined = 1;
	ls_buf_copy(&self->signing_cert_pem, &identity->signer.cert_pem);
	ls_buf_copy(&self->wrapping_cert_pem, &wrapping.cert_pem);
	LS_TRY(ls_identity_save_wrapping(a->paths.identity, 1, &wrapping, err));
	LS_TRY(ls_kek_wrap(ls_secret_bytes(&kek), ls_buf_bytes(&wrapping.cert_pem),
		&identity->signer, &wrap, err));
	return ls_store_put_wrap(a->store, 1, identity->node, ls_buf_bytes(&wrap), err);
}

static enum ls_code first_state(struct ls_agent *a, const struct ls_bootstrap *wish,
	const char *fqdn, struct ls_policy *policy, struct ls_candidate *first, struct ls_err *err)
{
	struct ls_state *state = &first->state;
	unsigned char id[CLUSTER_ID_BYTES];
	char id_text[2 * CLUSTER_ID_BYTES + 1];
	struct ls_candidate_context context;

	ls_random_bytes(id, sizeof id);
	ls_hex(id, sizeof id, id_text);
	state->cluster = ls_strdup(wish->cluster);
	state->fqdn = ls_strdup(fqdn);
	state->cluster_id = ls_strdup(id_text);
	state->settings = a->config.settings;
	ls_policy_copy(&state->policy, policy);
	a->identity.cluster = ls_strdup(wish->cluster);
	a->identity.cluster_id = ls_strdup(id_text);
	LS_TRY(make_keys(a, wish->cluster, ls_now_s(), state, err));
	ls_agent_context(a, &context);
	context.tip = state;
	for (size_t i = 0; i < a->services.count; i++) {
		const struct ls_service *service = &a->services.items[i];
		struct ls_component *component = ls_state_add_component(state, service->component);

		ls_issue_copy(&component->issue, &service->issue);
		LS_TRY(ls_candidate_generate(&context, state, component, err));
		ls_strv_add(&first->components, service->component);
	}
	first->cause = ls_strdup("init");
	first->subject = ls_format("begin cluster %s", wish->cluster);
	return LS_OK;
}

static enum ls_code open_first(struct ls_agent *a, struct ls_err *err)
{
	LS_TRY(ls_history_create(a->paths.history, err));
	LS_TRY(ls_history_open(a->paths.history, &a->history, err));
	LS_TRY(ls_store_local_open(a->paths.store, &a->store, err));
	return ls_live_open(a->paths.certs, &a->live, err);
}

static enum ls_code make_first(struct ls_agent *a, const struct ls_bootstrap *wish,
	const char *fqdn, struct ls_policy *policy, int lib_fd, int certs_fd,
	int64_t *out_generation, struct ls_err *err)
{
	LS_CLEANUP(ls_candidate_done) struct ls_candidate first = { 0 };

	LS_TRY(mark_begin(&a->paths, lib_fd, certs_fd, err));
	LS_TRY(open_first(a, err));
	LS_TRY(first_state(a, wish, fqdn, policy, &first, err));
	LS_TRY(ls_agent_change(a, &first, wish->author, out_generation, err));
	memcpy(a->identity.root, a->tip_commit.hex, sizeof a->identity.root);
	LS_TRY(ls_identity_save(a->paths.identity, &a->identity, err));
	return mark_end(lib_fd, err);
}

enum ls_code ls_bootstrap(const struct ls_paths *paths, const struct ls_bootstrap *wish,
	bool *out_done_before, int64_t *out_generation, struct ls_err *err)
{
	LS_CLEANUP(ls_agent_free) struct ls_agent *a = ls_alloc(1, sizeof *a);
	LS_CLEANUP(ls_policy_done) struct ls_policy policy = { 0 };
	LS_CLEANUP(ls_fd_close) int lib_fd = -1;
	LS_CLEANUP(ls_fd_close) int certs_fd = -1;
	LS_CLEANUP(ls_free_str) char *lock = ls_format("%s/lock", paths->lib);
	const char *fqdn = wish->fqdn ? wish->fqdn : wish->cluster;
	struct ls_err ignored = { 0 };

	a->lock_fd = -1;
	a->tidy_again_at_s = INT64_MAX;
	a->generate = ls_key_generate;
	ls_paths_init(&a->paths, paths->root, paths->config);
	ls_bootstrap_node_name(wish->node, a->identity.node);
	*out_done_before = ls_agent_initialised(paths);
	if (*out_done_before) {
		LS_CLEANUP(ls_agent_free) struct ls_agent *present = NULL;

		*out_generation = 0;
		LS_TRY(ls_identity_check(paths->identity, err));
		if (ls_agent_open(paths->root, paths->config, false, &present, &ignored) == LS_OK) {
			LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };

			if (ls_store_read(present->store, &view, &ignored) == LS_OK)
				*out_generation = view.tip.generation;
		}
		return LS_OK;
	}
	LS_TRY(check_names(wish, wish->node ? wish->node : a->identity.node, fqdn, err));
	LS_TRY(ls_config_load(paths->config, &a->config, err));
	LS_TRY(ls_policy_load(paths, wish->policy ? wish->policy : "default", &policy, err));
	LS_TRY(ls_services_load(paths, fqdn, &a->services, err));
	if (a->services.count == 0) {
		LS_FAIL(err, LS_E_REFUSED, "no template was found");
		LS_HINT(err,
			"make install puts them into share/lockstep/templates; own ones go to '%s'",
			paths->templates[0]);
		return LS_E_REFUSED;
	}
	LS_TRY(make_dirs(paths, err));
	if (ls_file_lock(lock, false, &a->lock_fd, err) != LS_OK) {
		LS_WRAP(err, "another lockstep process works on this node");
		return err ? err->code : LS_E_CONFLICT;
	}
	*out_done_before = ls_agent_initialised(paths);
	if (*out_done_before) /* another init ended while this one got ready */
		return LS_OK;
	LS_TRY(ls_dir_open(paths->lib, &lib_fd, err));
	LS_TRY(ls_dir_open(paths->certs, &certs_fd, err));
	LS_TRY(refuse_foreign(certs_fd, &a->services, err));
	return make_first(a, wish, fqdn, &policy, lib_fd, certs_fd, out_generation, err);
}

enum ls_code ls_bootstrap_prepare(
	const struct ls_paths *paths, int *out_lock_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_services_done) struct ls_services services = { 0 };
	LS_CLEANUP(ls_free_str) char *lock = ls_format("%s/lock", paths->lib);
	LS_CLEANUP(ls_fd_close) int certs_fd = -1;
	LS_CLEANUP(ls_fd_close) int lock_fd = -1;

	LS_TRY(ls_services_load(paths, "localhost", &services, err));
	LS_TRY(make_dirs(paths, err));
	if (ls_file_lock(lock, false, &lock_fd, err) != LS_OK) {
		LS_WRAP(err, "another lockstep process works on this node");
		return err ? err->code : LS_E_CONFLICT;
	}
	LS_TRY(ls_dir_open(paths->certs, &certs_fd, err));
	LS_TRY(refuse_foreign(certs_fd, &services, err));
	*out_lock_fd = lock_fd;
	lock_fd = -1;
	return LS_OK;
}
