/* doctor.h: what `doctor --mend` does, under the daemon's lock. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/doctor_checks.h"
#include "history/repair.h"
#include "pki/key.h"
#include "sys/file.h"

#define LOCK_WAIT_MS 10000
#define LOCK_TRY_MS 50
#define KEY_BYTES_MAX 65536
#define LINK_MAX 256

const char *const ls_doctor_mends[] = { "objects", "record", "identity", NULL };

/* What the mends have in common: parts, opened as far as they go. */
struct mend {
	struct ls_paths paths;
	const char *from;
	struct ls_history *history;
	struct ls_store *store;
	struct ls_store_view view;
	bool has_record;
	struct ls_commit_id goal; /* the record's tip, else main */
};

static void mend_done(struct mend *m)
{
	ls_store_view_done(&m->view);
	ls_store_free(&m->store);
	ls_history_free(&m->history);
	ls_paths_done(&m->paths);
}

/* A daemon that is being stopped has it for some seconds, one that cannot open the node for an
 * instant every 2 s. */
static enum ls_code take_lock(const struct ls_paths *paths, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/lock", paths->lib);
	LS_CLEANUP(ls_free_str) char *name = NULL;
	int64_t deadline_ms = ls_mono_ms() + LOCK_WAIT_MS, pid;
	enum ls_code code;

	while ((code = ls_file_lock(path, false, out_fd, err)) == LS_E_CONFLICT &&
		ls_mono_ms() < deadline_ms)
		(void)poll(NULL, 0, LOCK_TRY_MS);
	if (code != LS_E_CONFLICT)
		return code;
	pid = ls_doctor_holder(path, &name);
	LS_FAIL(err, LS_E_CONFLICT, "another process works on this node: %s%s%lld",
		name ? name : "", name ? ", " : "", (long long)pid);
	LS_HINT(err, "stop lockstepd first: nothing but it may write while it runs");
	return LS_E_CONFLICT;
}

static void open_record(struct mend *m)
{
	LS_CLEANUP(ls_free_str) char *record = ls_format("%s/record.json", m->paths.store);

	m->has_record = access(record, F_OK) == 0 &&
			ls_store_local_open(m->paths.store, &m->store, NULL) == LS_OK &&
			ls_store_read(m->store, &m->view, NULL) == LS_OK;
	if (m->has_record)
		memcpy(m->goal.hex, m->view.tip.commit, sizeof m->goal.hex);
}

static enum ls_code open_history(struct mend *m, struct ls_err *err)
{
	LS_TRY(ls_history_open(m->paths.history, &m->history, err));
	if (!m->has_record)
		LS_TRY(ls_history_head(m->history, &m->goal, err));
	return LS_OK;
}

/* ---- objects ---- */

static enum ls_code still_lost(const struct ls_survey *left, size_t restored, struct ls_err *err)
{
	const struct ls_lost *first = &left->lost[0];

	LS_FAIL(err, LS_E_DAMAGED,
		"%zu object%s put back, %zu still lost, such as %s%s%s %.12s of generation %lld",
		restored, restored == 1 ? " was" : "s were", left->lost_count, first->path,
		first->path[0] ? ", " : "", first->kind, first->id, (long long)first->generation);
	LS_HINT(err, "give --from a copy of history.git in which it is intact; without one, what "
		     "it held is lost, and live files stay as they are");
	return LS_E_DAMAGED;
}

static enum ls_code mend_objects(struct mend *m, char **out_text, struct ls_err *err)
{
	LS_CLEANUP(ls_doctor_blobs_done) struct ls_doctor_blobs blobs = { 0 };
	LS_CLEANUP(ls_survey_done) struct ls_survey left = { 0 };
	struct ls_copies copies = { .from = m->from };
	size_t restored = 0;

	LS_TRY(ls_history_mend_frame(m->paths.history, err));
	LS_TRY(open_history(m, err));
	LS_TRY(ls_history_clean(m->history, err));
	ls_doctor_blobs_load(&m->paths, &blobs);
	copies.blobs = blobs.bytes;
	copies.blob_count = blobs.count;
	LS_TRY(ls_history_repair(m->history, &m->goal, &copies, &restored, &left, err));
	if (left.lost_count)
		return still_lost(&left, restored, err);
	*out_text = ls_format("%zu object%s put into a new pack; the history is whole", restored,
		restored == 1 ? " was" : "s were");
	return LS_OK;
}

/* ---- record ---- */

/* A generation that is live was decided, also when a crash came before main moved to it. */
static void prefer_live(struct mend *m)
{
	LS_CLEANUP(ls_free_str) char *next = ls_format("%s/refs/lockstep/next", m->paths.history);
	LS_CLEANUP(ls_free_str) char *data = ls_format("%s/..data", m->paths.certs);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	char target[LINK_MAX], wanted[LS_LIVE_DIR_SIZE];
	ssize_t len = readlink(data, target, sizeof target - 1);
	struct ls_commit_id id;

	if (len < 0 || ls_file_read(AT_FDCWD, next, 64, &text, NULL) != LS_OK)
		return;
	target[len] = '\0';
	(void)snprintf(id.hex, sizeof id.hex, "%.40s", ls_buf_text(&text));
	if (ls_history_read(m->history, &id, &about, NULL) != LS_OK ||
		!ls_commit_equal(&about.parent, &m->goal))
		return;
	ls_live_dir_name(about.generation, id.hex, wanted);
	if (strcmp(target, wanted) == 0)
		m->goal = id;
}

static enum ls_code mend_record(struct mend *m, char **out_text, struct ls_err *err)
{
	LS_CLEANUP(ls_identity_done) struct ls_identity identity = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_engine_done) struct ls_engine engine = { 0 };
	struct ls_commit_id root = { "" };
	struct ls_tip tip = { 0 };
	int64_t count;

	LS_TRY(ls_engine_load(&m->paths, &engine, err));
	if (engine.endpoints && !engine.migrating) {
		LS_FAIL(err, LS_E_REFUSED, "the record of this node is in etcd");
		LS_HINT(err, "lockstep doctor says how it stands to this node's history");
		return LS_E_REFUSED;
	}
	/* Without the root that it names, a history could have been exchanged as a whole. */
	LS_TRY(ls_identity_load(m->paths.identity, &identity, err));
	memcpy(root.hex, identity.root, sizeof root.hex);
	LS_TRY(ls_history_open(m->paths.history, &m->history, err));
	LS_TRY(ls_history_head(m->history, &m->goal, err));
	if (m->has_record && !ls_agent_record_is_older(m->history, &m->view.tip, NULL)) {
		*out_text = ls_strdup("the record is intact; nothing was changed");
		return LS_OK;
	}
	prefer_live(m);
	LS_TRY(ls_history_verify(m->history, &m->goal, &root, NULL, NULL, &count, err));
	LS_TRY(ls_history_read(m->history, &m->goal, &about, err));
	tip.generation = tip.dir_generation = about.generation;
	memcpy(tip.commit, m->goal.hex, sizeof tip.commit);
	memcpy(tip.dir_commit, m->goal.hex, sizeof tip.dir_commit);
	ls_store_free(&m->store);
	LS_TRY(ls_store_local_rebuild(m->paths.store, &tip, err));
	*out_text = ls_format("the record names generation %lld (%.12s) again",
		(long long)about.generation, m->goal.hex);
	return LS_OK;
}

/* ---- identity ---- */

static enum ls_code load_key(
	const char *dir, const char *name, struct evp_pkey_st **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", dir, name);
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };

	LS_TRY(ls_file_read_secret(AT_FDCWD, path, KEY_BYTES_MAX, &pem, err));
	return ls_key_from_pem(path, ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, out, err);
}

static const struct ls_member *member_of(const struct ls_state *state, struct evp_pkey_st *key)
{
	for (size_t i = 0; i < state->member_count; i++)
		if (ls_credential_matches(ls_buf_bytes(&state->members[i].signing_cert_pem), key))
			return &state->members[i];
	return NULL;
}

static enum ls_code mend_wrapping(const struct mend *m, const struct ls_state *state,
	const struct ls_member *self, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer wrapping = { 0 };
	LS_CLEANUP(ls_free_str)
	char *name = ls_format("wrapping-%lld-key.pem", (long long)state->kek_epoch);

	LS_TRY(load_key(m->paths.identity, name, &wrapping.key, err));
	if (!ls_credential_matches(ls_buf_bytes(&self->wrapping_cert_pem), wrapping.key))
		return LS_FAIL(err, LS_E_DAMAGED,
			"'%s/%s' is not the key that the history names for this node",
			m->paths.identity, name);
	ls_buf_copy(&wrapping.cert_pem, &self->wrapping_cert_pem);
	return ls_identity_save_wrapping(m->paths.identity, state->kek_epoch, &wrapping, err);
}

static enum ls_code mend_identity(struct mend *m, char **out_text, struct ls_err *err)
{
	LS_CLEANUP(ls_identity_done) struct ls_identity identity = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_commit_id none = { "" }, root = { "" };
	const struct ls_member *self;
	int64_t count;

	LS_TRY(load_key(m->paths.identity, "signing-key.pem", &identity.signer.key, err));
	LS_TRY(open_history(m, err));
	LS_TRY(ls_history_verify(m->history, &m->goal, &none, NULL, NULL, &count, err));
	LS_TRY(ls_history_find(m->history, &m->goal, 1, &root, err));
	LS_TRY(ls_history_load(m->history, &m->goal, &state, err));
	self = member_of(&state, identity.signer.key);
	if (!self) {
		LS_FAIL(err, LS_E_REFUSED,
			"the signing key in '%s' is that of no member of cluster %s",
			m->paths.identity, state.cluster);
		LS_HINT(err, "restore the directory from a backup");
		return LS_E_REFUSED;
	}
	identity.cluster = ls_strdup(state.cluster);
	identity.cluster_id = ls_strdup(state.cluster_id);
	(void)snprintf(identity.node, sizeof identity.node, "%s", self->name);
	memcpy(identity.root, root.hex, sizeof identity.root);
	ls_buf_copy(&identity.ca_pem, &state.ca_pem);
	ls_buf_copy(&identity.signer.cert_pem, &self->signing_cert_pem);
	LS_TRY(ls_identity_save(m->paths.identity, &identity, err));
	LS_TRY(mend_wrapping(m, &state, self, err));
	*out_text = ls_format("this is node %s of cluster %s again", self->name, state.cluster);
	return LS_OK;
}

enum ls_code ls_doctor_mend(const struct ls_paths *paths, const char *what, const char *from,
	json_t **out, struct ls_err *err)
{
	static enum ls_code (*const mends[])(struct mend * m, char **out_text,
		struct ls_err *err) = { mend_objects, mend_record, mend_identity };
	LS_CLEANUP(mend_done) struct mend m = { .from = from };
	LS_CLEANUP(ls_fd_close) int lock_fd = -1;
	LS_CLEANUP(ls_free_str) char *text = NULL;

	ls_paths_init(&m.paths, paths->root, paths->config);
	for (size_t i = 0; ls_doctor_mends[i]; i++) {
		if (strcmp(ls_doctor_mends[i], what) != 0)
			continue;
		LS_TRY(take_lock(paths, &lock_fd, err));
		open_record(&m);
		if (mends[i](&m, &text, err) != LS_OK)
			return LS_WRAP(err, "mend %s", what), err ? err->code : LS_E_FAILED;
		*out = json_pack("{s:s, s:s}", "mended", what, "text", text);
		return LS_OK;
	}
	LS_FAIL(err, LS_E_USAGE, "there is no mend called '%s'", what);
	LS_HINT(err, "lockstep doctor names the command for each finding");
	return LS_E_USAGE;
}
