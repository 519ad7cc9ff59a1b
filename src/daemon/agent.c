#include "daemon/agent.h"

#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/cluster.h"
#include "daemon/epoch.h"
#include "pki/key.h"
#include "sys/file.h"
#include "sys/helper.h"

#define REREAD_MS 30000
/* Of one endpoint, for who only looks: what is known without etcd must not be long in coming. */
#define LOOK_MS 2000

bool ls_agent_initialised(const struct ls_paths *paths)
{
	LS_CLEANUP(ls_free_str) char *record = ls_format("%s/record.json", paths->store);
	LS_CLEANUP(ls_free_str) char *engine = ls_format("%s/etcd.json", paths->store);
	LS_CLEANUP(ls_free_str) char *running = ls_format("%s/init-running", paths->lib);

	return (access(record, F_OK) == 0 || access(engine, F_OK) == 0) &&
	       access(running, F_OK) != 0;
}

static void free_contents(struct ls_agent *a)
{
	ls_progress_done(&a->progress);
	ls_state_done(&a->tip);
	ls_live_free(&a->live);
	ls_store_free(&a->store);
	ls_engine_done(&a->engine);
	ls_peers_done(&a->peers);
	ls_history_free(&a->history);
	ls_services_done(&a->services);
	ls_free_strv(&a->faults);
	ls_keyring_done(&a->keyring);
	ls_identity_done(&a->identity);
	ls_fd_close(&a->lock_fd);
	ls_paths_done(&a->paths);
}

void ls_agent_free(struct ls_agent **agent)
{
	if (!*agent)
		return;
	free_contents(*agent);
	free(*agent);
	*agent = NULL;
}

enum ls_code ls_agent_not_initialised(const struct ls_paths *paths, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *node = ls_format("%s/node.json", paths->identity);
	LS_CLEANUP(ls_free_str) char *running = ls_format("%s/init-running", paths->lib);

	if (access(paths->lib, X_OK) != 0 && access(paths->lib, F_OK) == 0)
		return LS_FAIL(err, LS_E_IO, "'%s' may not be read by this user", paths->lib);
	if (access(node, F_OK) == 0 && access(running, F_OK) != 0) {
		LS_FAIL(err, LS_E_DAMAGED, "'%s/record.json' is missing, but '%s' is a node",
			paths->store, paths->lib);
		LS_HINT(err, "lockstep doctor names the command that mends it; the live files stay "
			     "as they are");
		return LS_E_DAMAGED;
	}
	LS_FAIL(err, LS_E_NOT_FOUND, "this node is not initialised: '%s' holds no state",
		paths->lib);
	LS_HINT(err, "lockstep init --cluster NAME makes this the first node");
	return LS_E_NOT_FOUND;
}

/* The file that the local store keeps it in is, with a shared store, this node's own copy: so the
 * node opens without the engine. */
static enum ls_code open_wrap(struct ls_agent *a, const struct ls_kek_epoch *e,
	const struct ls_signer *wrapping, struct ls_bytes wrap, char *const *signers,
	struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 };
	char check[LS_SHA256_TEXT];

	LS_TRY(ls_kek_unwrap(
		wrap, wrapping->key, ls_buf_bytes(&wrapping->cert_pem), signers, &kek, err));
	ls_kek_check_value(ls_secret_bytes(&kek), a->tip.cluster_id, e->epoch, check);
	if (strcmp(check, e->check) != 0)
		return LS_FAIL(err, LS_E_DAMAGED,
			"the wrapped key of epoch %lld is not the one that the state names",
			(long long)e->epoch);
	ls_keyring_put(&a->keyring, e->epoch, ls_secret_bytes(&kek));
	return LS_OK;
}

/* Wrapped anew by this node itself: whoever wrapped it may be no member any more when it is needed.
 */
static enum ls_code keep_copy(struct ls_agent *a, int64_t epoch, const struct ls_signer *wrapping,
	struct ls_store *copies, struct ls_err *err)
{
	const struct ls_secret *kek = ls_keyring_get(&a->keyring, epoch);
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };

	LS_TRY(ls_kek_wrap(ls_secret_bytes(kek), ls_buf_bytes(&wrapping->cert_pem),
		&a->identity.signer, &wrap, err));
	return ls_store_put_wrap(copies, epoch, a->identity.node, ls_buf_bytes(&wrap), err);
}

static enum ls_code open_epoch(
	struct ls_agent *a, const struct ls_kek_epoch *e, char *const *signers, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer wrapping = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
	LS_CLEANUP(ls_store_free) struct ls_store *copies = NULL;
	LS_CLEANUP(ls_free_str) char *name = NULL;

	LS_TRY(ls_identity_load_wrapping(a->paths.identity, e->epoch, &wrapping, err));
	if (ls_store_shared(a->store)) {
		LS_TRY(ls_store_local_open(a->paths.store, &copies, err));
		if (ls_store_get_wrap(copies, e->epoch, a->identity.node, &wrap, NULL) == LS_OK &&
			open_wrap(a, e, &wrapping, ls_buf_bytes(&wrap), signers, NULL) == LS_OK)
			return LS_OK;
	}
	name = ls_epoch_wrap_name(ls_store_shared(a->store), a->identity.node, e->check);
	LS_TRY(ls_store_get_wrap(a->store, e->epoch, name, &wrap, err));
	LS_TRY(open_wrap(a, e, &wrapping, ls_buf_bytes(&wrap), signers, err));
	return copies && a->lock_fd >= 0 ? keep_copy(a, e->epoch, &wrapping, copies, err) : LS_OK;
}

enum ls_code ls_agent_load_keyring(struct ls_agent *a, struct ls_err *err)
{
	const struct ls_member *self = ls_state_member(&a->tip, a->identity.node);
	LS_CLEANUP(ls_free_strv) char **signers = NULL;

	for (size_t i = 0; i < a->tip.member_count; i++)
		ls_strv_add(&signers, ls_buf_text(&a->tip.members[i].signing_cert_pem));
	for (size_t i = 0; self && i < a->tip.kek_epoch_count; i++) {
		const struct ls_kek_epoch *e = &a->tip.kek_epochs[i];

		/* An old epoch may have been forgotten by a crash in between; the present one must
		 * be there. */
		if (!ls_keyring_get(&a->keyring, e->epoch) &&
			open_epoch(a, e, signers, err) != LS_OK && e->epoch == a->tip.kek_epoch)
			return LS_WRAP(err, "open the key of epoch %lld", (long long)e->epoch),
			       err ? err->code : LS_E_FAILED;
	}
	return LS_OK;
}

enum ls_code ls_agent_ca(struct ls_agent *a, struct ls_signer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 };

	LS_TRY(ls_unseal(ls_buf_bytes(&a->tip.ca_key_cms), &a->keyring, &pem, err));
	LS_TRY(ls_key_from_pem("the cluster CA's key", ls_secret_bytes(&pem),
		(struct ls_bytes){ 0 }, &ca.key, err));
	ls_buf_copy(&ca.cert_pem, &a->tip.ca_pem);
	ls_signer_done(out);
	*out = ca;
	ca = (struct ls_signer){ 0 };
	return LS_OK;
}

/* Whether this generation's directory, or of one that goes back, the one that it goes back to, is
 * live. */
static bool is_live(struct ls_agent *a, const struct ls_commit_id *id)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 }, earlier = { 0 };
	char dir[LS_LIVE_DIR_SIZE], live[LS_LIVE_DIR_SIZE];

	if (!a->live || ls_live_current(a->live, live, NULL) != LS_OK ||
		ls_history_read(a->history, id, &about, NULL) != LS_OK)
		return false;
	ls_live_dir_name(about.generation, id->hex, dir);
	if (strcmp(dir, live) == 0)
		return true;
	if (!about.restores.hex[0] ||
		ls_history_read(a->history, &about.restores, &earlier, NULL) != LS_OK)
		return false;
	ls_live_dir_name(earlier.generation, about.restores.hex, dir);
	return strcmp(dir, live) == 0;
}

/* What a node knows without being told: what its ref names; or what it had put in force when a
 * crash came before its ref was moved. */
static enum ls_code own_tip(struct ls_agent *a, struct ls_commit_id *out, struct ls_err *err)
{
	struct ls_commit_id next;

	LS_TRY(ls_history_head(a->history, out, err));
	if (!is_live(a, out) && ls_history_staged(a->history, &next, NULL) == LS_OK &&
		is_live(a, &next))
		*out = next;
	return LS_OK;
}

/* What the record names counts here when it was shown to be decided, and is fetched. Else whoever
 * can write to the engine would have this node heal its live files by an older generation, or by
 * one that was voted down. */
static enum ls_code known_tip(struct ls_agent *a, const struct ls_store_view *view,
	struct ls_commit_id *out, struct ls_err *err)
{
	if (view->tip.commit[0] && strcmp(view->tip.commit, a->peers.trusted_commit.hex) == 0) {
		*out = a->peers.trusted_commit;
		return LS_OK;
	}
	return own_tip(a, out, err);
}

/* A generation that goes back is decided before any node has fetched it. Until this one has (the
 * next step does it), what it knows is what its own ref names. */
static void own_head(struct ls_agent *a, struct ls_commit_id *tip)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id head;

	if (ls_history_read(a->history, tip, &about, NULL) == LS_E_NOT_FOUND &&
		ls_history_head(a->history, &head, NULL) == LS_OK)
		*tip = head;
}

enum ls_code ls_agent_refresh(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_commit_id tip;
	enum ls_code code = ls_agent_read(a, &view, err);

	if (ls_store_shared(a->store)) { /* also without the engine */
		if (known_tip(a, &view, &tip, NULL) != LS_OK)
			return code;
	} else {
		LS_TRY(code);
		memcpy(tip.hex, view.tip.commit, sizeof tip.hex);
		if (!tip.hex[0])
			return LS_OK;
	}
	if (ls_commit_equal(&tip, &a->tip_commit))
		return LS_OK;
	own_head(a, &tip);
	LS_TRY(ls_history_load(a->history, &tip, &state, err));
	ls_state_done(&a->tip);
	a->tip = state;
	state = (struct ls_state){ 0 };
	a->tip_commit = tip;
	return LS_OK;
}

/* What the helper runs is what this agent means. */
static enum ls_code tell_helper(const struct ls_agent *a, struct ls_err *err)
{
	if (a->lock_fd < 0 || !ls_helper_here())
		return LS_OK;
	return ls_helper_ask((const char *[]){ LS_ASK_REREAD, NULL }, -1, REREAD_MS, NULL, err);
}

enum ls_code ls_agent_reload_config(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_services_done) struct ls_services services = { 0 };
	struct ls_config config;

	LS_TRY(ls_config_load(a->paths.config, &config, err));
	LS_TRY(ls_services_load(&a->paths, a->tip.fqdn, &services, err));
	LS_TRY(tell_helper(a, err));
	a->config = config;
	ls_store_set_lease(a->store, a->config.lease_ttl_s, a->lives, a->lives_arg);
	ls_services_done(&a->services);
	ls_free_strv(&a->faults);
	a->services = services;
	services = (struct ls_services){ 0 };
	return LS_OK;
}

/* Never wider than a template may say. */
static mode_t mode_of(const struct ls_agent *a, const char *component, const char *suffix,
	mode_t most, gid_t *out_group)
{
	LS_CLEANUP(ls_free_str)
	char *path = ls_format("%s/..data/%s%s", a->paths.certs, component, suffix);
	struct stat st;

	if (lstat(path, &st) != 0)
		return most;
	*out_group = st.st_gid;
	return st.st_mode & most;
}

/* Without its template nobody knows who reads a component's files; taking the group away from a
 * service would be worse than leaving what is there. */
static void assume_live(struct ls_agent *a, const char *component)
{
	gid_t gid = 0;
	mode_t cert = mode_of(a, component, "_cert.pem", 0644, &gid);
	mode_t key = mode_of(a, component, "_key.pem", 0640, &gid);
	struct group group, *found = NULL;
	char buf[16384];

	(void)getgrgid_r(gid, &group, buf, sizeof buf, &found); /* none: the group is left alone */
	ls_services_assume(&a->services, component, cert, key, found ? found->gr_name : NULL);
}

enum ls_code ls_agent_load_services(struct ls_agent *a, struct ls_err *err)
{
	LS_TRY(ls_services_load_some(&a->paths, a->tip.fqdn, &a->services, &a->faults, err));
	for (size_t i = 0; a->faults && i < a->tip.component_count; i++)
		assume_live(a, a->tip.components[i].name);
	/* With a fault nothing is run until reload_config has found none. */
	return a->faults ? LS_OK : tell_helper(a, err);
}

bool ls_agent_record_is_older(
	struct ls_history *history, const struct ls_tip *tip, struct ls_generation *out_head)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id head = { "" }, same = { "" };

	if (!tip->commit[0] || ls_history_head(history, &head, NULL) != LS_OK ||
		strcmp(head.hex, tip->commit) == 0 ||
		ls_history_read(history, &head, &about, NULL) != LS_OK ||
		about.generation <= tip->generation ||
		ls_history_find(history, &head, tip->generation, &same, NULL) != LS_OK ||
		strcmp(same.hex, tip->commit) != 0 ||
		ls_history_judge(history, &head, NULL, NULL) != LS_OK)
		return false;
	if (out_head) {
		*out_head = about;
		about = (struct ls_generation){ 0 };
	}
	return true;
}

/* While it migrates the local store stays what this node goes by. */
enum ls_code ls_agent_open_store(struct ls_agent *a, struct ls_err *err)
{
	struct ls_etcd_settings settings = { 0 };
	LS_CLEANUP(ls_store_free) struct ls_store *store = NULL;
	struct ls_store_trust trust;

	LS_TRY(ls_engine_load(&a->paths, &a->engine, err));
	if (!a->engine.endpoints || a->engine.migrating) {
		LS_TRY(ls_store_local_open(a->paths.store, &store, err));
		ls_store_free(&a->store);
		a->store = LS_TAKE(store);
		return LS_OK;
	}
	ls_cluster_trust(a, &trust);
	ls_engine_settings(&a->paths, &a->engine, &settings);
	if (a->lock_fd < 0)
		settings.timeout_ms = LOOK_MS;
	ls_store_etcd_open(&settings, a->identity.cluster_id, a->identity.node, &trust, &store);
	ls_etcd_settings_done(&settings);
	ls_store_free(&a->store);
	a->store = LS_TAKE(store);
	ls_store_set_lease(a->store, a->config.lease_ttl_s, a->lives, a->lives_arg);
	return LS_OK;
}

static enum ls_code open_parts(struct ls_agent *a, bool writer, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *lock = ls_format("%s/lock", a->paths.lib);

	if (writer) {
		if (ls_file_lock(lock, false, &a->lock_fd, err) != LS_OK) {
			LS_WRAP(err, "another lockstep process works on this node");
			return err ? err->code : LS_E_CONFLICT;
		}
	}
	LS_TRY(ls_identity_load(a->paths.identity, &a->identity, err));
	LS_TRY(ls_history_open(a->paths.history, &a->history, err));
	if (writer)
		LS_TRY(ls_history_clean(a->history, err));
	LS_TRY(ls_config_load(a->paths.config, &a->config, err));
	LS_TRY(ls_agent_open_store(a, err));
	LS_TRY(ls_live_open(a->paths.certs, &a->live, err));
	LS_TRY(ls_agent_refresh(a, err));
	return ls_agent_load_services(a, err);
}

enum ls_code ls_agent_open(const char *root, const char *config_path, bool writer,
	struct ls_agent **out, struct ls_err *err)
{
	LS_CLEANUP(ls_agent_free) struct ls_agent *a = ls_alloc(1, sizeof *a);

	a->lock_fd = -1;
	a->tidy_again_at_s = INT64_MAX;
	a->generate = ls_key_generate;
	ls_paths_init(&a->paths, root, config_path);
	if (!ls_agent_initialised(&a->paths))
		return ls_agent_not_initialised(&a->paths, err);
	LS_TRY(open_parts(a, writer, err));
	if (writer)
		LS_TRY(ls_agent_load_keyring(a, err));
	*out = LS_TAKE(a);
	return LS_OK;
}

void ls_agent_context(struct ls_agent *a, struct ls_candidate_context *out)
{
	*out = (struct ls_candidate_context){
		.tip = &a->tip,
		.keyring = &a->keyring,
		.services = &a->services,
		.node = a->identity.node,
		.now_s = ls_now_s(),
		.generate = a->generate,
	};
}
