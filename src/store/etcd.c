/* The store in etcd (DESIGN 5 to 7). Beside what etcd_record.h names:
 *
 *   note/…, decided/…         etcd_notes.h
 *   pack/<commit>/<part>      at most PART_BYTES each; "size" comes last
 *   kek/<epoch>/<node>        signed by their wrapper (pki/seal.h), so not again here
 */
#include <stdlib.h>
#include <string.h>

#include "pki/digest.h"
#include "store/etcd_notes.h"

#define PART_BYTES ((size_t)256 << 10)
#define PARTS_MAX 64
#define PACK_MAX_BYTES (PARTS_MAX * PART_BYTES)
#define ATTEMPTS_MAX 16
#define ID_BYTES 16
#define LEASE_TTL_S 10
/* Between publishing and beginning lie milliseconds; an initiator may be stopped in between. */
#define ORPHAN_PATIENCE_MS 600000

struct etcd {
	struct ls_store base;
	struct ls_etcd_place place;
	struct ls_etcd_settings settings; /* for the watch, which begins when it is asked for */
	struct ls_etcd_watch *watch;
	char **orphans;         /* packs that seemed to belong to nothing, and since when */
	int64_t alive_revision; /* of the engine when this handle's leased note was written */
	int64_t ttl_s;
	bool (*alive)(void *arg);
	void *alive_arg;
};

static struct etcd *etcd_of(struct ls_store *store)
{
	return (struct etcd *)(void *)((char *)store - offsetof(struct etcd, base));
}

/* An engine that was restored may hold what this node said once, and even keep its lease. */
static void forget_own_stale(const struct etcd *e, struct ls_etcd_snapshot *s)
{
	LS_CLEANUP(ls_free_str)
	char *key = ls_format("%snote/" LS_NOTE_ALIVE "%s", e->place.prefix, e->place.node);
	LS_CLEANUP(ls_free_strv) char **alive = NULL;

	for (size_t i = 0; e->alive_revision && i < s->list.count; i++) {
		if (strcmp(s->list.kvs[i].key, key) != 0 ||
			s->list.kvs[i].changed == e->alive_revision)
			continue;
		for (size_t k = 0; k < ls_strv_count(s->view.alive); k++)
			if (strcmp(s->view.alive[k], e->place.node) != 0)
				ls_strv_add(&alive, s->view.alive[k]);
		ls_free_strv(&s->view.alive);
		s->view.alive = LS_TAKE(alive);
		return;
	}
}

static enum ls_code etcd_read(struct ls_store *store, struct ls_store_view *out, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_snapshot_done) struct ls_etcd_snapshot s = { 0 };

	if (etcd_of(store)->watch) /* before the look, so that what comes after it is told */
		ls_etcd_watch_seen(etcd_of(store)->watch);
	LS_TRY(ls_etcd_snapshot_take(&etcd_of(store)->place, &s, err));
	forget_own_stale(etcd_of(store), &s);
	ls_store_view_done(out);
	*out = s.view;
	s.view = (struct ls_store_view){ 0 };
	return LS_OK;
}

/* Moves of the record. */

struct move {
	enum { MOVE_BEGIN, MOVE_DECIDE, MOVE_ABORT, MOVE_REVERT, MOVE_CLOSE, MOVE_RESTORE } kind;
	const struct ls_tip *tip;
	const struct ls_rotation *rotation;
	const struct ls_outcome *outcome;
	const char *nonce, *commit, *why;
	int64_t at_s;
};

static enum ls_code apply(const struct move *m, struct ls_store_view *view, struct ls_err *err)
{
	switch (m->kind) {
	case MOVE_BEGIN:
		return ls_record_begin(view, m->rotation, err);
	case MOVE_DECIDE:
		return ls_record_decide(view, m->nonce, m->at_s, err);
	case MOVE_ABORT:
		return ls_record_abort(view, m->nonce, m->why, m->at_s, err);
	case MOVE_REVERT:
		return ls_record_revert(view, m->nonce, m->commit, m->why, m->at_s, err);
	case MOVE_CLOSE:
		return ls_record_close(view, m->nonce, m->outcome, err);
	case MOVE_RESTORE:
		return ls_record_restore(view, m->tip, err);
	}
	return LS_FAIL(err, LS_E_FAILED, "an unknown move");
}

static struct ls_etcd_compare record_is(const char *key, const struct ls_etcd_snapshot *s)
{
	return (struct ls_etcd_compare){ .key = key,
		.value = s->record ? ls_buf_bytes(s->record) : (struct ls_bytes){ 0 } };
}

#define CHANGES_MAX 6

/* What goes with the record's change into the one transaction. */
struct changes {
	struct ls_etcd_change list[CHANGES_MAX];
	char *owned[2 * CHANGES_MAX];
	size_t count, owned_count;
};

static void changes_done(struct changes *c)
{
	for (size_t i = 0; i < c->owned_count; i++)
		free(c->owned[i]);
	*c = (struct changes){ 0 };
}

/* Key and value are taken over; value NULL removes. */
static void change(struct changes *c, char *key, char *value, bool prefix)
{
	c->owned[c->owned_count++] = key;
	c->owned[c->owned_count++] = value;
	c->list[c->count++] = (struct ls_etcd_change){
		.key = key,
		.value = value ? LS_BYTES_STR(value) : (struct ls_bytes){ 0 },
		.prefix = prefix,
	};
}

static void clear_rotation(const struct etcd *e, struct changes *c)
{
	change(c, ls_etcd_key(&e->place, "begin"), NULL, false);
	change(c, ls_etcd_key(&e->place, "vote/"), NULL, true);
	change(c, ls_etcd_key(&e->place, "report/"), NULL, true);
}

/* `s` is as after the move, but for what etcd holds. */
static enum ls_code gather_changes(const struct etcd *e, const struct ls_etcd_snapshot *s,
	const struct move *m, const char *commit, struct changes *c, struct ls_err *err)
{
	char *value = NULL;

	switch (m->kind) {
	case MOVE_BEGIN:
		LS_TRY(ls_etcd_begin_value(&e->place, s->view.rotation, &value, err));
		change(c, ls_etcd_key(&e->place, "begin"), value, false);
		return LS_OK;
	case MOVE_DECIDE:
		LS_TRY(ls_etcd_proof_decided(&e->place, s, &value, err));
		change(c, ls_etcd_proof_key(&e->place, s->view.rotation->generation), value, false);
		return LS_OK;
	case MOVE_ABORT:
		change(c, ls_format("%spack/%s/", e->place.prefix, commit), NULL, true);
		clear_rotation(e, c);
		return LS_OK;
	case MOVE_CLOSE:
		clear_rotation(e, c);
		return LS_OK;
	case MOVE_REVERT:
		LS_TRY(ls_etcd_proof_reverted(&e->place, s, m->commit, &value, err));
		change(c, ls_etcd_proof_key(&e->place, s->view.rotation->generation + 1), value,
			false);
		return LS_OK;
	case MOVE_RESTORE:
		clear_rotation(e, c);
		return LS_OK;
	}
	return LS_FAIL(err, LS_E_FAILED, "an unknown move");
}

/* One attempt; *out_done false: the record moved meanwhile. */
static enum ls_code try_move(
	struct etcd *e, const struct move *m, const char *id, bool *out_done, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_snapshot_done) struct ls_etcd_snapshot s = { 0 };
	LS_CLEANUP(changes_done) struct changes c = { 0 };
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_key(&e->place, "record");
	LS_CLEANUP(ls_free_str) char *commit = NULL; /* of what runs now */
	struct ls_etcd_compare compare;
	char *value = NULL;

	LS_TRY(ls_etcd_snapshot_take(&e->place, &s, err));
	*out_done = ls_strv_has(s.moves, id) != 0; /* an earlier attempt did it */
	if (*out_done)
		return LS_OK;
	commit = ls_strdup(s.view.rotation ? s.view.rotation->commit : "");
	LS_TRY(apply(m, &s.view, err));
	LS_TRY(gather_changes(e, &s, m, commit, &c, err));
	LS_TRY(ls_etcd_record_value(&e->place, &s, id, &value, err));
	change(&c, ls_strdup(key), value, false);
	compare = record_is(key, &s);
	return ls_etcd_txn(e->place.api, &compare, 1, c.list, c.count, out_done, err);
}

/* After an attempt whose answer was lost, another one of the same move decides: it finds the first
 * one done, or it takes away the value that the first one compares, so that this cannot be done any
 * more when it arrives late. Either way it is then known. */
static enum ls_code judge(enum ls_code code, bool *unknown, struct ls_err *err)
{
	if (code == LS_E_UNKNOWN) {
		*unknown = true;
		return LS_OK;
	}
	if (code != LS_E_UNREACHABLE || !*unknown)
		return code;
	if (err)
		err->code = LS_E_UNKNOWN;
	return LS_E_UNKNOWN;
}

static enum ls_code gave_up(struct ls_err *err, bool unknown)
{
	if (!unknown)
		return LS_FAIL(err, LS_E_CONFLICT, "the record in etcd does not stand still");
	LS_WRAP(err, "etcd does not say whether it was done");
	LS_HINT(err, "lockstep status shows what became of it");
	return LS_E_UNKNOWN;
}

static enum ls_code move(struct ls_store *store, const struct move *m, struct ls_err *err)
{
	unsigned char random[ID_BYTES];
	char id[2 * ID_BYTES + 1];
	bool unknown = false, done = false;

	ls_random_bytes(random, sizeof random);
	ls_hex(random, sizeof random, id);
	for (int i = 0; i < ATTEMPTS_MAX && !done; i++)
		LS_TRY(judge(try_move(etcd_of(store), m, id, &done, err), &unknown, err));
	return done ? LS_OK : gave_up(err, unknown);
}

static enum ls_code etcd_begin(
	struct ls_store *store, const struct ls_rotation *rotation, struct ls_err *err)
{
	return move(store, &(struct move){ .kind = MOVE_BEGIN, .rotation = rotation }, err);
}

static enum ls_code etcd_decide(
	struct ls_store *store, const char *nonce, int64_t verify_deadline_s, struct ls_err *err)
{
	return move(store,
		&(struct move){ .kind = MOVE_DECIDE, .nonce = nonce, .at_s = verify_deadline_s },
		err);
}

static enum ls_code etcd_abort(struct ls_store *store, const char *nonce, const char *why,
	int64_t now_s, struct ls_err *err)
{
	return move(store,
		&(struct move){ .kind = MOVE_ABORT, .nonce = nonce, .why = why, .at_s = now_s },
		err);
}

static enum ls_code etcd_revert(struct ls_store *store, const char *nonce, const char *commit,
	const char *why, int64_t verify_deadline_s, struct ls_err *err)
{
	return move(store,
		&(struct move){ .kind = MOVE_REVERT,
			.nonce = nonce,
			.commit = commit,
			.why = why,
			.at_s = verify_deadline_s },
		err);
}

static enum ls_code etcd_close(struct ls_store *store, const char *nonce,
	const struct ls_outcome *outcome, struct ls_err *err)
{
	return move(store, &(struct move){ .kind = MOVE_CLOSE, .nonce = nonce, .outcome = outcome },
		err);
}

/* Votes and reports: entries of their own, so that members do not wait for each other. Writing the
 * same once more is harmless, so a lost answer is asked for again. */

struct word {
	const char *kind; /* "vote", "report" */
	const char *nonce, *node;
	const struct ls_ballot *ballot; /* or */
	const struct ls_report *report;
};

static enum ls_code say_once(
	struct etcd *e, const struct word *w, bool *out_done, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_snapshot_done) struct ls_etcd_snapshot s = { 0 };
	LS_CLEANUP(ls_free_str) char *begin = ls_etcd_key(&e->place, "begin");
	LS_CLEANUP(ls_free_str) char *record = ls_etcd_key(&e->place, "record");
	LS_CLEANUP(ls_free_str)
	char *key = ls_format("%s%s/%s/%s", e->place.prefix, w->kind, w->nonce, w->node);
	json_auto_t *body = NULL;
	LS_CLEANUP(ls_free_str) char *value = NULL;
	struct ls_etcd_compare compares[2];
	struct ls_etcd_change put = { .key = key };
	size_t count;

	LS_TRY(ls_etcd_snapshot_take(&e->place, &s, err));
	if (w->ballot) {
		count = s.view.rotation ? s.view.rotation->ballot_count : 0;
		LS_TRY(ls_record_vote(&s.view, w->nonce, w->ballot, err));
		*out_done = s.view.rotation->ballot_count == count; /* it says so already */
		if (*out_done)
			return LS_OK;
		if (ls_etcd_list_get(&s.list, key))
			return LS_FAIL(err, LS_E_DAMAGED,
				"etcd: '%s' is there, but '%s' did not sign it", key, w->node);
		body = ls_ballot_to_json(w->ballot);
		compares[0] = (struct ls_etcd_compare){ begin, ls_buf_bytes(s.begin) };
		compares[1] = (struct ls_etcd_compare){ .key = key };
		count = 2;
	} else {
		LS_TRY(ls_record_report(&s.view, w->nonce, w->report, err));
		body = ls_report_to_json(w->report);
		compares[0] = record_is(record, &s);
		count = 1;
	}
	LS_TRY(ls_etcd_sign_value(&e->place, w->node, key, body, &value, err));
	put.value = LS_BYTES_STR(value);
	return ls_etcd_txn(e->place.api, compares, count, &put, 1, out_done, err);
}

static enum ls_code say(struct ls_store *store, const struct word *w, struct ls_err *err)
{
	bool unknown = false, done = false;

	for (int i = 0; i < ATTEMPTS_MAX && !done; i++)
		LS_TRY(judge(say_once(etcd_of(store), w, &done, err), &unknown, err));
	return done ? LS_OK : gave_up(err, unknown);
}

static enum ls_code etcd_vote(struct ls_store *store, const char *nonce,
	const struct ls_ballot *ballot, struct ls_err *err)
{
	return say(store,
		&(struct word){
			.kind = "vote", .nonce = nonce, .node = ballot->node, .ballot = ballot },
		err);
}

static enum ls_code etcd_report(struct ls_store *store, const char *nonce,
	const struct ls_report *report, struct ls_err *err)
{
	return say(store,
		&(struct word){
			.kind = "report", .nonce = nonce, .node = report->node, .report = report },
		err);
}

/* Packs and wraps: what they hold is judged by those who read it. */

/* The same once more is harmless, so a lost answer is asked for again. */
static enum ls_code put_all(
	struct etcd *e, const struct ls_etcd_change *changes, size_t count, struct ls_err *err)
{
	bool unknown = false, done = false;

	for (int i = 0; i < ATTEMPTS_MAX && !done; i++)
		LS_TRY(judge(ls_etcd_txn(e->place.api, NULL, 0, changes, count, &done, err),
			&unknown, err));
	return done ? LS_OK : gave_up(err, unknown);
}

static enum ls_code put(struct etcd *e, const char *key, struct ls_bytes value, struct ls_err *err)
{
	struct ls_etcd_change change = { .key = key, .value = value };

	return put_all(e, &change, 1, err);
}

static enum ls_code drop(struct etcd *e, const char *prefix, struct ls_err *err)
{
	struct ls_etcd_change change = { .key = prefix, .prefix = true };
	bool done = false;

	return ls_etcd_txn(e->place.api, NULL, 0, &change, 1, &done, err);
}

static enum ls_code etcd_publish(
	struct ls_store *store, const char *commit, struct ls_bytes pack, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	LS_CLEANUP(ls_free_str)
	char *size_key = ls_format("%spack/%s/size", e->place.prefix, commit);
	LS_CLEANUP(ls_free_str) char *size = ls_format("%zu", pack.len);

	if (pack.len > PACK_MAX_BYTES)
		return LS_FAIL(err, LS_E_REFUSED, "the change is %zu bytes; etcd takes up to %zu",
			pack.len, PACK_MAX_BYTES);
	for (size_t part = 0; part * PART_BYTES < pack.len; part++) {
		LS_CLEANUP(ls_free_str)
		char *key = ls_format("%spack/%s/%02zu", e->place.prefix, commit, part);
		size_t from = part * PART_BYTES, left = pack.len - from;
		struct ls_bytes bytes = { (const char *)pack.data + from,
			left < PART_BYTES ? left : PART_BYTES };

		if (left > PART_BYTES)
			LS_TRY(put(e, key, bytes, err));
		else /* the last one, most often the only one: with the size, in one go */
			return put_all(e,
				(struct ls_etcd_change[]){ { .key = key, .value = bytes },
					{ .key = size_key, .value = LS_BYTES_STR(size) } },
				2, err);
	}
	return put(e, size_key, LS_BYTES_STR(size), err);
}

static enum ls_code etcd_fetch(
	struct ls_store *store, const char *commit, struct ls_buf *out_pack, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	LS_CLEANUP(ls_free_str) char *prefix = ls_format("%spack/%s/", e->place.prefix, commit);
	LS_CLEANUP(ls_free_str) char *size_key = ls_format("%ssize", prefix);
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	char *prefixes[] = { prefix, NULL };
	const struct ls_buf *size;
	int64_t want;

	LS_TRY(ls_etcd_read(e->place.api, prefixes, &list, err));
	size = ls_etcd_list_get(&list, size_key);
	if (!size)
		return LS_FAIL(err, LS_E_NOT_FOUND, "etcd: no pack of generation %.10s", commit);
	for (size_t i = 0; i < list.count; i++) /* sorted by key */
		if (&list.kvs[i].value != size)
			ls_buf_add_bytes(&pack, ls_buf_bytes(&list.kvs[i].value));
	if (!ls_text_number(ls_buf_text(size), 0, PACK_MAX_BYTES, &want) ||
		(size_t)want != pack.len)
		return LS_FAIL(err, LS_E_DAMAGED, "etcd: the pack of generation %.10s is not whole",
			commit);
	ls_buf_done(out_pack);
	*out_pack = pack;
	pack = (struct ls_buf){ 0 };
	return LS_OK;
}

static enum ls_code etcd_put_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_bytes wrap_pem, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	LS_CLEANUP(ls_free_str)
	char *key = ls_format("%skek/%lld/%s", e->place.prefix, (long long)epoch, node);

	return put(e, key, wrap_pem, err);
}

static enum ls_code etcd_get_wrap(struct ls_store *store, int64_t epoch, const char *node,
	struct ls_buf *out_pem, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	LS_CLEANUP(ls_free_str)
	char *key = ls_format("%skek/%lld/%s", e->place.prefix, (long long)epoch, node);
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	char *prefixes[] = { key, NULL };
	const struct ls_buf *value;

	LS_TRY(ls_etcd_read(e->place.api, prefixes, &list, err));
	value = ls_etcd_list_get(&list, key);
	if (!value)
		return LS_FAIL(err, LS_E_NOT_FOUND, "etcd: no wrap of KEK %lld for '%s'",
			(long long)epoch, node);
	ls_buf_copy(out_pem, value);
	return LS_OK;
}

static enum ls_code etcd_drop_wraps(struct ls_store *store, int64_t epoch, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	LS_CLEANUP(ls_free_str)
	char *prefix = ls_format("%skek/%lld/", e->place.prefix, (long long)epoch);

	return drop(e, prefix, err);
}

/* Who only looks now and then needs no thread for it. */
static enum ls_code start_watch(struct etcd *e, struct ls_err *err)
{
	return e->watch ? LS_OK
			: ls_etcd_watch_start(&e->settings, e->place.prefix, &e->watch, err);
}

static int etcd_watch_fd(struct ls_store *store)
{
	struct etcd *e = etcd_of(store);

	return start_watch(e, NULL) == LS_OK ? ls_etcd_watch_fd(e->watch) : -1;
}

static int64_t etcd_watch_silent_ms(const struct ls_store *store)
{
	const struct etcd *e = etcd_of((struct ls_store *)(uintptr_t)store);

	return e->watch ? ls_etcd_watch_silent_ms(e->watch) : 0;
}

/* Notes, proofs, and an engine that lost something. */

static void etcd_set_lease(
	struct ls_store *store, int64_t ttl_s, bool (*alive)(void *arg), void *arg)
{
	struct etcd *e = etcd_of(store);

	e->ttl_s = ttl_s;
	e->alive = alive;
	e->alive_arg = arg;
}

/* The lease that this handle keeps, or a new one. */
static enum ls_code need_lease(struct etcd *e, int64_t *out, struct ls_err *err)
{
	LS_TRY(start_watch(e, err));
	*out = ls_etcd_watch_lease(e->watch);
	if (*out != 0)
		return LS_OK;
	LS_TRY(ls_etcd_lease_grant(e->place.api, e->ttl_s, out, err));
	ls_etcd_watch_keep(e->watch, *out, e->ttl_s, e->alive, e->alive_arg);
	return LS_OK;
}

static enum ls_code etcd_put_note(struct ls_store *store, const char *name, const char *body,
	enum ls_note_how how, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	int64_t lease = 0;

	if (how == LS_NOTE_LEASED)
		LS_TRY(need_lease(e, &lease, err));
	LS_TRY(ls_etcd_note_put(&e->place, name, body, how == LS_NOTE_CREATE, lease, err));
	if (how == LS_NOTE_LEASED)
		e->alive_revision = ls_etcd_revision(e->place.api);
	return LS_OK;
}

static enum ls_code etcd_get_notes(
	struct ls_store *store, const char *prefix, struct ls_notes *out, struct ls_err *err)
{
	return ls_etcd_notes_get(&etcd_of(store)->place, prefix, out, err);
}

static enum ls_code etcd_drop_notes(struct ls_store *store, const char *prefix, struct ls_err *err)
{
	return ls_etcd_notes_drop(&etcd_of(store)->place, prefix, err);
}

static enum ls_code etcd_proof(
	struct ls_store *store, int64_t generation, struct ls_proof *out, struct ls_err *err)
{
	return ls_etcd_proof_get(&etcd_of(store)->place, generation, out, err);
}

static enum ls_code etcd_put_proof(
	struct ls_store *store, int64_t generation, const char *text, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);
	LS_CLEANUP(ls_free_str) char *key = ls_etcd_proof_key(&e->place, generation);

	return put(e, key, LS_BYTES_STR(text), err);
}

static enum ls_code etcd_restore(
	struct ls_store *store, const struct ls_tip *tip, struct ls_err *err)
{
	return move(store, &(struct move){ .kind = MOVE_RESTORE, .tip = tip }, err);
}

static enum ls_code etcd_tidy(struct ls_store *store, struct ls_err *err)
{
	struct etcd *e = etcd_of(store);

	return ls_etcd_tidy(&e->place, ORPHAN_PATIENCE_MS, &e->orphans, err);
}

static void etcd_free(struct ls_store *store)
{
	struct etcd *e = etcd_of(store);

	ls_free_strv(&e->orphans);

	ls_etcd_watch_stop(&e->watch);
	ls_etcd_place_done(&e->place);
	ls_etcd_settings_done(&e->settings);
	free(e);
}

static const struct ls_store_ops etcd_ops = {
	.free = etcd_free,
	.read = etcd_read,
	.publish = etcd_publish,
	.fetch = etcd_fetch,
	.begin = etcd_begin,
	.vote = etcd_vote,
	.decide = etcd_decide,
	.abort = etcd_abort,
	.report = etcd_report,
	.revert = etcd_revert,
	.close = etcd_close,
	.put_wrap = etcd_put_wrap,
	.get_wrap = etcd_get_wrap,
	.drop_wraps = etcd_drop_wraps,
	.tidy = etcd_tidy,
	.watch_fd = etcd_watch_fd,
	.watch_silent_ms = etcd_watch_silent_ms,
	.put_note = etcd_put_note,
	.get_notes = etcd_get_notes,
	.drop_notes = etcd_drop_notes,
	.set_lease = etcd_set_lease,
	.proof = etcd_proof,
	.put_proof = etcd_put_proof,
	.restore = etcd_restore,
};

void ls_store_etcd_open(const struct ls_etcd_settings *settings, const char *cluster_id,
	const char *node, const struct ls_store_trust *trust, struct ls_store **out)
{
	struct etcd *e = ls_alloc(1, sizeof *e);

	ls_store_free(out);
	e->base.ops = &etcd_ops;
	e->ttl_s = LEASE_TTL_S;
	e->place.prefix = ls_format("/lockstep/%s/", cluster_id);
	e->place.node = ls_strdup(node);
	e->place.trust = *trust;
	ls_etcd_settings_copy(&e->settings, settings);
	ls_etcd_new(settings, &e->place.api);
	*out = &e->base;
}
