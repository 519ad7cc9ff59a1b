#include "daemon/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cluster.h"
#include "daemon/epoch.h"
#include "daemon/leaves.h"
#include "pki/credential.h"
#include "pki/key.h"
#include "sys/file.h"

#define RECORD "record.json"
#define RETIRED "record.json.retired"

/* A handle on the engine that `engine` names, whatever this node goes by now. */
static void open_engine(struct ls_agent *a, const struct ls_engine *engine, struct ls_store **out)
{
	struct ls_etcd_settings settings = { 0 };
	struct ls_store_trust trust;

	ls_cluster_trust(a, &trust);
	ls_engine_settings(&a->paths, engine, &settings);
	ls_store_etcd_open(&settings, a->identity.cluster_id, a->identity.node, &trust, out);
	ls_etcd_settings_done(&settings);
}

/* Nothing is taken on trust that could not work: the pair must match before it is written. */
enum ls_code ls_migrate_save_pki(const struct ls_paths *paths, struct ls_bytes ca_pem,
	struct ls_bytes cert_pem, struct ls_bytes key_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret both = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_key_from_pem("the key for etcd", key_pem, (struct ls_bytes){ 0 }, &key, err));
	if (!ls_credential_matches(cert_pem, key))
		return LS_FAIL(err, LS_E_REFUSED,
			"the certificate for etcd is not that of the key for etcd");
	ls_secret_alloc(&both, key_pem.len + 1 + cert_pem.len);
	memcpy(both.data, key_pem.data, key_pem.len);
	both.data[key_pem.len] = '\n';
	memcpy(both.data + key_pem.len + 1, cert_pem.data, cert_pem.len);
	LS_TRY(ls_dir_open(paths->identity, &fd, err));
	LS_TRY(ls_file_replace(fd, LS_ENGINE_CA, ca_pem, 0600, (gid_t)-1, err));
	return ls_file_replace(fd, LS_ENGINE_PEM, ls_secret_bytes(&both), 0600, (gid_t)-1, err);
}

static enum ls_code take_wish(struct ls_agent *a, const struct ls_migrate *wish,
	struct ls_engine *engine, struct ls_err *err)
{
	LS_TRY(ls_engine_parse(wish->endpoints, engine, err));
	engine->own_pki = wish->ca_pem.len > 0;
	if (engine->own_pki)
		return ls_migrate_save_pki(
			&a->paths, wish->ca_pem, wish->cert_pem, wish->key_pem, err);
	return ls_has_prefix(engine->endpoints[0], "https:")
		       ? ls_agent_keep_client_leaf(a, NULL, err)
		       : LS_OK;
}

static enum ls_code copy_wraps(struct ls_agent *a, struct ls_store *to, struct ls_err *err)
{
	LS_CLEANUP(ls_store_free) struct ls_store *copies = NULL;

	LS_TRY(ls_store_local_open(a->paths.store, &copies, err));
	for (size_t i = 0; i < a->tip.kek_epoch_count; i++) {
		int64_t epoch = a->tip.kek_epochs[i].epoch;
		LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
		LS_CLEANUP(ls_free_str) char *name = NULL;
		enum ls_code code = ls_store_get_wrap(copies, epoch, a->identity.node, &wrap, err);

		if (code == LS_E_NOT_FOUND && epoch != a->tip.kek_epoch)
			continue; /* this node cannot open it either */
		LS_TRY(code);
		name = ls_epoch_wrap_name(true, a->identity.node, a->tip.kek_epochs[i].check);
		LS_TRY(ls_store_put_wrap(to, epoch, name, ls_buf_bytes(&wrap), err));
	}
	return LS_OK;
}

/* The record there is ours, or none: then it becomes ours. */
static enum ls_code fill(struct ls_agent *a, struct ls_store *to, const struct ls_tip *tip,
	bool *out_filled, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view there = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation head = { 0 };
	struct ls_commit_id id;
	enum ls_code code;

	*out_filled = false;
	LS_TRY(ls_store_read(to, &there, err));
	if (there.tip.commit[0] && strcmp(there.tip.commit, tip->commit) != 0) {
		LS_FAIL(err, LS_E_CONFLICT,
			"etcd holds generation %lld (%.12s) of this cluster, this node is at %lld "
			"(%.12s)",
			(long long)there.tip.generation, there.tip.commit,
			(long long)tip->generation, tip->commit);
		return LS_E_CONFLICT;
	}
	LS_TRY(copy_wraps(a, to, err));
	if (there.tip.commit[0])
		return LS_OK;
	*out_filled = true;
	/* Before the tip, after which nobody would look for what is missing. */
	(void)snprintf(id.hex, sizeof id.hex, "%s", tip->commit);
	LS_TRY(ls_history_read(a->history, &id, &head, err));
	LS_TRY(ls_cluster_republish(a, to, 0, &head, err));
	code = ls_store_restore(to, tip, err);
	/* An earlier attempt of ours, whose answer was lost, may have come first. */
	if (code == LS_E_CONFLICT && ls_store_read(to, &there, NULL) == LS_OK &&
		strcmp(there.tip.commit, tip->commit) == 0)
		return LS_OK;
	return code;
}

static enum ls_code retire_local(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_open(a->paths.store, &fd, err));
	if (!ls_file_exists(fd, RECORD))
		return LS_OK;
	if (renameat(fd, RECORD, fd, RETIRED) != 0 && errno != ENOENT)
		return LS_FAIL_ERRNO(err, "retire '%s/" RECORD "'", a->paths.store);
	return ls_dir_sync(fd, err);
}

/* From the mark on. */
static enum ls_code move_over(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	LS_CLEANUP(ls_store_free) struct ls_store *to = NULL;
	struct ls_engine active = { .endpoints = a->engine.endpoints,
		.own_pki = a->engine.own_pki };
	bool filled;

	LS_TRY(ls_store_read(a->store, &view, err));
	open_engine(a, &a->engine, &to);
	LS_TRY(fill(a, to, &view.tip, &filled, err));
	LS_TRY(ls_engine_save(&a->paths, &active, err));
	LS_TRY(retire_local(a, err));
	return ls_agent_open_store(a, err);
}

enum ls_code ls_migrate_finish(struct ls_agent *a, struct ls_err *err)
{
	if (!a->engine.migrating) /* a crash may have come right before the end */
		return a->engine.endpoints && a->lock_fd >= 0 ? retire_local(a, err) : LS_OK;
	if (move_over(a, err) != LS_OK) {
		LS_WRAP(err, "the move to etcd was begun and is not finished");
		LS_HINT(err, "it is tried again; until then no change is made");
		return err ? err->code : LS_E_FAILED;
	}
	return LS_OK;
}

/* A node that is in a cluster already. */
static enum ls_code change_engine(
	struct ls_agent *a, struct ls_engine *engine, bool *out_unchanged, struct ls_err *err)
{
	LS_CLEANUP(ls_store_free) struct ls_store *to = NULL;
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id head;
	struct ls_tip tip = { 0 };
	bool filled;

	LS_TRY(ls_history_head(a->history, &head, err));
	LS_TRY(ls_history_read(a->history, &head, &about, err));
	tip.generation = tip.dir_generation = about.generation;
	memcpy(tip.commit, head.hex, sizeof tip.commit);
	memcpy(tip.dir_commit, head.hex, sizeof tip.dir_commit);
	open_engine(a, engine, &to);
	LS_TRY(fill(a, to, &tip, &filled, err));
	*out_unchanged =
		!filled && ls_strv_count(engine->endpoints) == ls_strv_count(a->engine.endpoints);
	for (size_t i = 0; *out_unchanged && i < ls_strv_count(engine->endpoints); i++)
		*out_unchanged = ls_strv_has(a->engine.endpoints, engine->endpoints[i]);
	LS_TRY(ls_engine_save(&a->paths, engine, err));
	if (*out_unchanged)
		return LS_OK;
	return ls_agent_open_store(a, err);
}

enum ls_code ls_migrate(
	struct ls_agent *a, const struct ls_migrate *wish, bool *out_unchanged, struct ls_err *err)
{
	LS_CLEANUP(ls_engine_done) struct ls_engine engine = { 0 };
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 }, there = { 0 };
	LS_CLEANUP(ls_store_free) struct ls_store *to = NULL;

	*out_unchanged = false;
	LS_TRY(ls_migrate_finish(a, err));
	LS_TRY(take_wish(a, wish, &engine, err));
	if (ls_store_shared(a->store))
		return change_engine(a, &engine, out_unchanged, err);
	LS_TRY(ls_store_read(a->store, &view, err));
	if (view.rotation)
		return LS_FAIL(err, LS_E_CONFLICT, "a rotation to generation %lld is running",
			(long long)view.rotation->generation);
	/* Nothing is marked before the engine is seen to answer, to be empty of us. */
	open_engine(a, &engine, &to);
	LS_TRY(ls_store_read(to, &there, err));
	if (there.tip.commit[0])
		return LS_FAIL(err, LS_E_CONFLICT,
			"etcd holds generation %lld of this cluster already, this node's store is "
			"another one",
			(long long)there.tip.generation);
	engine.migrating = true;
	LS_TRY(ls_engine_save(&a->paths, &engine, err));
	ls_engine_done(&a->engine);
	a->engine = engine;
	engine = (struct ls_engine){ 0 };
	return ls_migrate_finish(a, err);
}
