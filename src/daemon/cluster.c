#include "daemon/cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pki/sign.h"
#include "sys/file.h"

#define WAIT_MAX_MS 1000
/* Those who may take over do so one after the other, most often. */
#define TAKEOVER_S 2
#define TAKEOVER_SPREAD 5

void ls_peers_done(struct ls_peers *p)
{
	ls_state_done(&p->trusted);
	free(p->away);
	free(p->announced);
	*p = (struct ls_peers){ 0 };
}

/* Whose word counts. */

/* Other handles of this process, and other processes, advance main. */
static enum ls_code refresh_trust(struct ls_agent *a, struct ls_err *err)
{
	struct ls_peers *p = &a->peers;
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id head;

	LS_TRY(ls_history_head(a->history, &head, err));
	if (ls_commit_equal(&head, &p->trusted_commit))
		p->ahead = false;
	if (p->ahead || ls_commit_equal(&head, &p->trusted_commit))
		return LS_OK;
	LS_TRY(ls_history_read(a->history, &head, &about, err));
	LS_TRY(ls_history_load(a->history, &head, &state, err));
	ls_state_done(&p->trusted);
	p->trusted = state;
	state = (struct ls_state){ 0 };
	p->trusted_commit = head;
	p->trusted_generation = about.generation;
	return LS_OK;
}

static enum ls_code trust_sign(void *arg, const char *node, struct ls_bytes content,
	struct ls_buf *out, struct ls_err *err)
{
	struct ls_agent *a = arg;

	if (strcmp(node, a->identity.node) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "this node may not sign for '%s'", node);
	return ls_sign(content, &a->identity.signer, out, err);
}

static enum ls_code trust_verify(void *arg, const char *node, struct ls_bytes content,
	struct ls_bytes signature, struct ls_err *err)
{
	struct ls_agent *a = arg;
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };
	const struct ls_member *member;

	LS_TRY(refresh_trust(a, err));
	member = ls_state_member(&a->peers.trusted, node);
	if (!member)
		return LS_FAIL(err, LS_E_REFUSED, "'%.64s' is no member", node);
	LS_TRY(ls_sign_verify(content, signature, &cert, err));
	if (!ls_bytes_equal(ls_buf_bytes(&cert), ls_buf_bytes(&member->signing_cert_pem)))
		return LS_FAIL(err, LS_E_REFUSED, "it was not signed by '%s'", node);
	return LS_OK;
}

void ls_cluster_trust(struct ls_agent *a, struct ls_store_trust *out)
{
	*out = (struct ls_store_trust){ .sign = trust_sign, .verify = trust_verify, .arg = a };
}

/* Catching up. */

static bool same_member(const struct ls_member *x, const struct ls_member *y)
{
	return y && ls_bytes_equal(
			    ls_buf_bytes(&x->signing_cert_pem), ls_buf_bytes(&y->signing_cert_pem));
}

/* Members of both: who leaves has no say in it, and who comes has none yet. */
static int stay_count(const struct ls_state *before, const struct ls_state *after)
{
	int count = 0;

	for (size_t i = 0; i < before->member_count; i++)
		count += same_member(
			&before->members[i], ls_state_member(after, before->members[i].name));
	return count;
}

static enum ls_code check_majority(int64_t generation, char *const *participants,
	const struct ls_state *before, const struct ls_state *after, struct ls_err *err)
{
	int stay = stay_count(before, after), votes = 0;

	for (size_t i = 0; i < before->member_count; i++)
		votes += same_member(&before->members[i],
				 ls_state_member(after, before->members[i].name)) &&
			 ls_strv_has(participants, before->members[i].name);
	if (2 * votes <= stay)
		return LS_FAIL(err, LS_E_DAMAGED,
			"generation %lld was decided by %d of %d members, which is no majority",
			(long long)generation, votes, stay);
	return LS_OK;
}

bool ls_cluster_members_or_kek_differ(const struct ls_state *x, const struct ls_state *y)
{
	if (x->kek_epoch != y->kek_epoch || x->kek_epoch_count != y->kek_epoch_count ||
		x->member_count != y->member_count ||
		!ls_bytes_equal(ls_buf_bytes(&x->ca_pem), ls_buf_bytes(&y->ca_pem)))
		return true;
	for (size_t i = 0; i < x->member_count; i++)
		if (strcmp(x->members[i].name, y->members[i].name) != 0 ||
			!same_member(&x->members[i], &y->members[i]))
			return true;
	return false;
}

/* What goes back brings nothing new: the state of before the change that was not taken. One report
 * is enough for it, so it is held to what an automatic rollback may do at all (DESIGN 8); else a
 * single member could bring back one that was removed. */
static enum ls_code check_revert(struct ls_agent *a, const struct ls_commit_id *id,
	const struct ls_state *state, struct ls_err *err)
{
	const struct ls_state *present = &a->peers.trusted;
	LS_CLEANUP(ls_generation_done)
	struct ls_generation about = { 0 }, undone = { 0 }, was = { 0 };

	LS_TRY(ls_history_read(a->history, id, &about, err));
	LS_TRY(ls_history_read(a->history, &about.parent, &undone, err));
	LS_TRY(ls_history_read(a->history, &undone.parent, &was, err));
	if (!ls_commit_equal(&about.restores, &undone.parent) || strcmp(about.tree, was.tree) != 0)
		return LS_FAIL(err, LS_E_DAMAGED,
			"generation %lld does not go back to what was before",
			(long long)about.generation);
	if (!present->settings.rollback || undone.restores.hex[0] ||
		ls_cluster_members_or_kek_differ(present, state))
		return LS_FAIL(err, LS_E_DAMAGED,
			"generation %lld goes back from one that no automatic rollback may undo",
			(long long)about.generation);
	return LS_OK;
}

/* It must be what is said of it: a commit judges itself against the parent that it names, which
 * need not be the one that is in force. */
static enum ls_code get_pack(struct ls_agent *a, const struct ls_commit_id *id, const char *parent,
	int64_t generation, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };

	if (ls_history_read(a->history, id, &about, NULL) != LS_OK) {
		LS_TRY(ls_store_fetch(a->store, id->hex, &pack, err));
		LS_TRY(ls_history_accept(a->history, id, ls_buf_bytes(&pack), err));
		LS_TRY(ls_history_read(a->history, id, &about, err));
	}
	if (strcmp(about.parent.hex, parent) != 0 || about.generation != generation)
		return LS_FAIL(err, LS_E_REFUSED,
			"commit %.12s does not follow generation %lld (%.12s)", id->hex,
			(long long)generation - 1, parent);
	return LS_OK;
}

/* For the day when the engine has lost it. */
static enum ls_code keep_proof(struct ls_agent *a, const struct ls_proof *proof, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *dir = ls_format("%s/proof", a->paths.store);
	LS_CLEANUP(ls_free_str) char *name = ls_format("%lld.json", (long long)proof->generation);
	LS_CLEANUP(ls_free_str)
	char *old = ls_format("%lld.json", (long long)(proof->generation - LS_PROOFS_KEPT));
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_make(dir, 0700, err));
	LS_TRY(ls_dir_open(dir, &fd, err));
	LS_TRY(ls_file_replace(fd, name, LS_BYTES_STR(proof->text), 0600, (gid_t)-1, err));
	return ls_file_remove(fd, old, err);
}

static enum ls_code diverged(
	struct ls_agent *a, int64_t generation, const char *commit, struct ls_err *err)
{
	LS_FAIL(err, LS_E_DAMAGED,
		"diverged: the cluster's generation %lld is %.12s, which does not follow this "
		"node's "
		"%lld (%.12s)",
		(long long)generation, commit, (long long)a->peers.trusted_generation,
		a->peers.trusted_commit.hex);
	LS_HINT(err, "lockstep doctor explains it; nothing live is changed");
	return LS_E_DAMAGED;
}

/* One generation further. */
static enum ls_code take_next(struct ls_agent *a, struct ls_err *err)
{
	struct ls_peers *p = &a->peers;
	LS_CLEANUP(ls_proof_done) struct ls_proof proof = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_commit_id id;

	LS_TRY(ls_store_proof(a->store, p->trusted_generation + 1, &proof, err));
	if (strcmp(proof.parent, p->trusted_commit.hex) != 0)
		return diverged(a, proof.generation, proof.commit, err);
	(void)snprintf(id.hex, sizeof id.hex, "%s", proof.commit);
	LS_TRY(get_pack(a, &id, proof.parent, proof.generation, err));
	LS_TRY(ls_history_judge(a->history, &id, &state, err));
	if (proof.revert)
		LS_TRY(check_revert(a, &id, &state, err));
	else
		LS_TRY(check_majority(
			proof.generation, proof.participants, &p->trusted, &state, err));
	LS_TRY(keep_proof(a, &proof, err));
	ls_state_done(&p->trusted);
	p->trusted = state;
	state = (struct ls_state){ 0 };
	p->trusted_commit = id;
	p->trusted_generation = proof.generation;
	p->ahead = true;
	return LS_OK;
}

enum ls_code ls_cluster_catch_up(struct ls_agent *a, int64_t generation, struct ls_err *err)
{
	LS_TRY(refresh_trust(a, err));
	while (a->peers.trusted_generation < generation)
		LS_TRY(take_next(a, err));
	return LS_OK;
}

bool ls_cluster_shown(const struct ls_agent *a, const struct ls_store_view *view)
{
	const struct ls_rotation *r = view->rotation;
	const struct ls_peers *p = &a->peers;

	if (!r || r->phase != LS_PHASE_VERIFYING || strcmp(r->commit, view->tip.commit) != 0 ||
		strcmp(r->parent, p->trusted_commit.hex) != 0 ||
		strcmp(r->commit, a->progress.commit) != 0)
		return false;
	/* Whoever began it said who takes part. */
	if (check_majority(r->generation, r->participants, &p->trusted, &a->progress.state, NULL) !=
		LS_OK)
		return false;
	for (size_t i = 0; i < ls_strv_count(r->participants); i++) {
		const struct ls_ballot *b = ls_rotation_ballot(r, r->participants[i]);

		if (!b || !b->yes)
			return false;
	}
	return true;
}

static bool is_member(const struct ls_agent *a)
{
	const struct ls_member *self = ls_state_member(&a->peers.trusted, a->identity.node);

	return self && ls_bytes_equal(ls_buf_bytes(&self->signing_cert_pem),
			       ls_buf_bytes(&a->identity.signer.cert_pem));
}

enum ls_code ls_cluster_check_member(struct ls_agent *a, struct ls_err *err)
{
	a->peers.removed = a->peers.trusted.member_count > 0 && !is_member(a);
	if (!a->peers.removed)
		return LS_OK;
	LS_FAIL(err, LS_E_REFUSED,
		"this node, '%s', was removed from the cluster; its live files stay as they are",
		a->identity.node);
	LS_HINT(err,
		"to come back: move /var/lib/lockstep away, then lockstep join --token-file FILE");
	return LS_E_REFUSED;
}

enum ls_code ls_cluster_obtain(
	struct ls_agent *a, const struct ls_store_view *view, bool decided, struct ls_err *err)
{
	struct ls_peers *p = &a->peers;
	struct ls_commit_id id;

	if (decided) {
		LS_TRY(ls_cluster_catch_up(a, view->tip.generation, err));
		LS_TRY(ls_cluster_check_member(a, err));
		if (p->trusted_generation != view->tip.generation ||
			strcmp(p->trusted_commit.hex, view->tip.commit) != 0)
			return diverged(a, view->tip.generation, view->tip.commit, err);
		return LS_OK;
	}
	LS_TRY(ls_cluster_catch_up(a, view->rotation->generation - 1, err));
	if (strcmp(view->rotation->parent, p->trusted_commit.hex) != 0)
		return diverged(a, view->rotation->generation, view->rotation->commit, err);
	(void)snprintf(id.hex, sizeof id.hex, "%s", view->rotation->commit);
	return get_pack(a, &id, view->rotation->parent, view->rotation->generation, err);
}

bool ls_cluster_ended(const struct ls_agent *a, const char *nonce)
{
	for (size_t i = 0; i < LS_ENDED_KEPT; i++)
		if (strcmp(a->peers.ended[i], nonce) == 0)
			return true;
	return false;
}

static void note_ended(struct ls_peers *p, const char *nonce)
{
	(void)snprintf(p->ended[p->ended_at], LS_NONCE_SIZE, "%s", nonce);
	p->ended_at = (p->ended_at + 1) % LS_ENDED_KEPT;
}

enum ls_code ls_agent_read(struct ls_agent *a, struct ls_store_view *out, struct ls_err *err)
{
	struct ls_err local = { 0 };
	enum ls_code code;
	int64_t known;

	if (!err)
		err = &local;
	code = ls_store_read(a->store, out, err);
	if (!ls_store_shared(a->store))
		return code;
	if (code == LS_E_DAMAGED) { /* perhaps written by who became a member while we were away */
		known = a->peers.trusted_generation;
		while (take_next(a, NULL) == LS_OK)
			;
		if (a->peers.trusted_generation > known)
			code = ls_store_read(a->store, out, err);
	}
	if (code == LS_OK)
		ls_cluster_observe(a, out);
	else
		ls_cluster_unreachable(a, err);
	return code;
}

/* Who is here. */

static struct ls_away *find_away(struct ls_peers *p, const char *node)
{
	for (size_t i = 0; i < p->away_count; i++)
		if (strcmp(p->away[i].node, node) == 0)
			return &p->away[i];
	return NULL;
}

const struct ls_away *ls_cluster_away(const struct ls_agent *a, const char *node)
{
	return find_away((struct ls_peers *)(uintptr_t)&a->peers, node);
}

static bool is_here(const struct ls_agent *a, const struct ls_store_view *view, const char *node)
{
	return strcmp(node, a->identity.node) == 0 || ls_strv_has(view->alive, node);
}

void ls_cluster_observe(struct ls_agent *a, const struct ls_store_view *view)
{
	struct ls_peers *p = &a->peers;
	struct ls_away *now = NULL;
	size_t count = 0;

	for (size_t i = 0; i < p->trusted.member_count; i++) {
		const char *node = p->trusted.members[i].name;
		const struct ls_away *was = find_away(p, node);

		if (is_here(a, view, node))
			continue;
		now = ls_realloc(now, count + 1, sizeof *now);
		if (was)
			now[count] = *was;
		else
			now[count] =
				(struct ls_away){ .since_ms = ls_mono_ms(), .since_s = ls_now_s() };
		(void)snprintf(now[count++].node, sizeof now->node, "%s", node);
	}
	free(p->away);
	p->away = now;
	p->away_count = count;
	p->unreachable = (struct ls_err){ 0 };
	if (view->last && !ls_cluster_ended(a, view->last->nonce))
		note_ended(p, view->last->nonce);
	p->tip = view->tip;
	p->idle = !view->rotation;
	p->here = ls_strv_has(view->alive, a->identity.node) != 0;
	if (!p->here) /* what else this node told may be lost as well */
		p->offered = 0;
	p->removed = p->trusted.member_count > 0 && !is_member(a);
}

/* Without the store nobody can be seen, so nobody is counted as away for it. */
void ls_cluster_unreachable(struct ls_agent *a, const struct ls_err *why)
{
	int64_t now_ms = ls_mono_ms();

	a->peers.unreachable = *why;
	for (size_t i = 0; i < a->peers.away_count; i++)
		a->peers.away[i].since_ms = now_ms;
}

static enum ls_code too_few(size_t here, int members, const struct ls_peers *p, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf names = { 0 };

	for (size_t i = 0; i < p->away_count; i++)
		ls_buf_printf(&names, "%s%s", i ? ", " : "", p->away[i].node);
	LS_FAIL(err, LS_E_REFUSED,
		"only %zu of %d members are here, which is no majority (away: %s)", here, members,
		ls_buf_text(&names));
	LS_HINT(err, "start lockstepd there, or if a machine is lost: lockstep node remove NAME");
	return LS_E_REFUSED;
}

enum ls_code ls_cluster_participants(struct ls_agent *a, const struct ls_store_view *view,
	const struct ls_state *next, char ***out_participants, char ***out_away,
	int64_t *out_wait_ms, struct ls_err *err)
{
	int64_t after_ms = a->tip.settings.away_after_s * 1000, now_ms = ls_mono_ms();
	int stay = stay_count(&a->tip, next);

	*out_wait_ms = 0;
	ls_free_strv(out_participants);
	ls_free_strv(out_away);
	for (size_t i = 0; i < a->tip.member_count; i++) {
		const char *node = a->tip.members[i].name;
		const struct ls_away *away = ls_cluster_away(a, node);
		int64_t left_ms = away ? away->since_ms + after_ms - now_ms : 0;

		if (!same_member(&a->tip.members[i], ls_state_member(next, node)))
			continue; /* who leaves is not asked */
		if (is_here(a, view, node)) {
			ls_strv_add(out_participants, node);
			continue;
		}
		if (a->tip.settings.require_all) {
			LS_FAIL(err, LS_E_REFUSED, "node %s is away, and rotation.require is 'all'",
				node);
			LS_HINT(err,
				"start lockstepd there, or take it out: lockstep node remove %s",
				node);
			return LS_E_REFUSED;
		}
		ls_strv_add(out_away, node);
		if (left_ms > *out_wait_ms)
			*out_wait_ms = left_ms;
	}
	if (*out_wait_ms == 0 && 2 * (int)ls_strv_count(*out_participants) <= stay)
		return too_few(ls_strv_count(*out_participants), stay, &a->peers, err);
	return LS_OK;
}

void ls_cluster_wait(struct ls_agent *a, int64_t ms)
{
	struct pollfd fd = { .fd = ls_store_watch_fd(a->store), .events = POLLIN };

	(void)poll(&fd, 1, (int)(ms < 1 ? 1 : ms > WAIT_MAX_MS ? WAIT_MAX_MS : ms));
}

int64_t ls_cluster_takeover(const struct ls_agent *a, const struct ls_store_view *view)
{
	const struct ls_rotation *r = view->rotation;
	const struct ls_away *away = ls_cluster_away(a, r->initiator);
	int64_t deadline_s =
		r->phase == LS_PHASE_VOTING ? r->vote_deadline_s : r->verify_deadline_s;
	int64_t from_s = away ? away->since_s : deadline_s;
	unsigned spread = 0;

	for (const char *at = a->identity.node; *at; at++)
		spread = spread * 31 + (unsigned char)*at;
	return from_s + TAKEOVER_S + (int64_t)(spread % TAKEOVER_SPREAD);
}
