/* The driver: gathers facts, asks core/rotation for the next action, has it done, and looks again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/migrate.h"
#include "pki/digest.h"

#define NONCE_BYTES 16
/* A bound that no honest rotation comes near: a loop of conflicts must end in words. */
#define STEPS_MAX 1000
#define ATTEMPTS_MAX 4
/* An engine ends a lease up to half a second late. */
#define LEASE_SLACK_MS 1500

void ls_progress_done(struct ls_progress *p)
{
	ls_state_done(&p->state);
	ls_state_done(&p->before);
	ls_live_plan_free(&p->plan);
	ls_free_strv(&p->changed);
	ls_free_strv(&p->baseline);
	ls_free_strv(&p->warnings);
	free(p->reason);
	*p = (struct ls_progress){ 0 };
}

static const char *target_commit(const struct ls_store_view *view)
{
	return view->rotation && view->rotation->phase == LS_PHASE_VOTING ? view->rotation->commit
									  : view->tip.commit;
}

static int64_t target_generation(const struct ls_store_view *view)
{
	return view->rotation && view->rotation->phase == LS_PHASE_VOTING
		       ? view->rotation->generation
		       : view->tip.generation;
}

static void target_dir(const struct ls_store_view *view, char out[LS_LIVE_DIR_SIZE])
{
	if (view->rotation && view->rotation->phase == LS_PHASE_VOTING)
		ls_live_dir_name(view->rotation->generation, view->rotation->commit, out);
	else
		ls_live_dir_name(view->tip.dir_generation, view->tip.dir_commit, out);
}

/* Participants that can no longer vote. */
static int count_gone(const struct ls_agent *a, const struct ls_store_view *view)
{
	const struct ls_rotation *r = view->rotation;
	int gone = 0;

	for (size_t i = 0; i < ls_strv_count(r->participants); i++)
		gone += ls_cluster_away(a, r->participants[i]) &&
			!ls_rotation_ballot(r, r->participants[i]);
	return gone;
}

static void gather_record(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_rotation_facts *f)
{
	const struct ls_rotation *r = view->rotation;
	const struct ls_ballot *mine;

	f->phase = r ? r->phase : LS_PHASE_IDLE;
	if (!r)
		return;
	f->participant = ls_strv_has(r->participants, a->identity.node);
	f->initiator = strcmp(r->initiator, a->identity.node) == 0;
	f->vote_deadline_s = r->vote_deadline_s;
	f->verify_deadline_s = r->verify_deadline_s;
	f->participants = (int)ls_strv_count(r->participants);
	for (size_t i = 0; i < r->ballot_count; i++)
		*(r->ballots[i].yes ? &f->yes_votes : &f->no_votes) += 1;
	for (size_t i = 0; i < r->report_count; i++)
		*(r->reports[i].good ? &f->good_reports : &f->bad_reports) += 1;
	f->takeover_at_s = INT64_MAX; /* with one machine there is nobody to take over from */
	if (ls_store_shared(a->store)) {
		f->takeover_at_s = ls_cluster_takeover(a, view);
		f->gone = count_gone(a, view);
		if (r->phase == LS_PHASE_VOTING && ls_cluster_ended(a, r->nonce)) {
			f->no_votes = 1; /* it was put back: whoever sees it ends it */
			f->initiator = true;
		}
	}
	mine = ls_rotation_ballot(r, a->identity.node);
	if (mine)
		f->my_vote = mine->yes ? LS_DONE_WELL : LS_DONE_BADLY;
	f->my_report = ls_rotation_report(r, a->identity.node) != NULL;
}

static int64_t earliest_end(const struct ls_state *state)
{
	int64_t end_s = INT64_MAX;

	for (size_t i = 0; i < state->component_count; i++) {
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };

		if (ls_cert_info_read(ls_buf_bytes(&state->components[i].chain_pem), &info, NULL) !=
			LS_OK)
			return 0;
		if (info.chain_not_after_s < end_s)
			end_s = info.chain_not_after_s;
	}
	return end_s;
}

static bool may_revert(struct ls_agent *a, const struct ls_store_view *view, int64_t now_s)
{
	const struct ls_progress *p = &a->progress;
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id id;

	/* A node that was away has more to compare with than what would be undone. */
	if (!view->rotation || view->rotation->phase != LS_PHASE_VERIFYING || !p->has_before ||
		strcmp(p->before_commit, view->rotation->earlier.commit) != 0)
		return false;
	/* A record that is put back long after, with what was signed then, must not undo what has
	 * been in force since. */
	if (ls_store_shared(a->store) && now_s > view->rotation->verify_deadline_s)
		return false;
	(void)snprintf(id.hex, sizeof id.hex, "%s", view->rotation->commit);
	if (ls_history_read(a->history, &id, &about, NULL) != LS_OK)
		return false;
	return ls_rotation_may_revert(&(struct ls_revert_case){
		.setting = p->state.settings.rollback,
		.is_rollback = about.restores.hex[0] != '\0',
		.changes_members_or_kek = ls_cluster_members_or_kek_differ(&p->state, &p->before),
		.has_earlier = view->rotation->earlier.commit[0] != '\0',
		.earlier_not_after_s = earliest_end(&p->before),
		.now_s = now_s,
	});
}

/* A new target: nothing is known to be done for it but what the disk and the record show. */
static void retarget(
	struct ls_agent *a, const struct ls_store_view *view, const struct ls_rotation_facts *f)
{
	struct ls_progress *p = &a->progress;
	const struct ls_ballot *mine;
	const char *commit = target_commit(view);

	if (strcmp(p->commit, commit) == 0)
		return;
	ls_progress_done(p);
	(void)snprintf(p->commit, sizeof p->commit, "%s", commit);
	a->tidied = false; /* what the earlier target left */
	mine = view->rotation ? ls_rotation_ballot(view->rotation, a->identity.node) : NULL;
	if (mine)
		p->baseline = ls_strv_copy(mine->baseline);
	/* Idle and already there: services were told before the ref moved. Generation 1 has no
	 * services yet. */
	if ((!view->rotation && f->live && f->advanced) || target_generation(view) == 1)
		p->reloaded = p->checked = LS_DONE_WELL;
}

static enum ls_code gather(struct ls_agent *a, const struct ls_store_view *view,
	struct ls_rotation_facts *f, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	char current[LS_LIVE_DIR_SIZE] = "", wanted[LS_LIVE_DIR_SIZE];
	struct ls_commit_id head = { "" };
	enum ls_code code;

	*f = (struct ls_rotation_facts){ .now_s = ls_now_s() };
	gather_record(a, view, f);
	/* A link or a ref that is damaged is one that is not there yet: both are derived from the
	 * record. */
	code = ls_live_current(a->live, current, err);
	if (code != LS_OK && code != LS_E_NOT_FOUND && code != LS_E_DAMAGED)
		return code;
	code = ls_history_head(a->history, &head, err);
	if (code != LS_OK && code != LS_E_NOT_FOUND && code != LS_E_DAMAGED)
		return code;
	target_dir(view, wanted);
	f->live = strcmp(current, wanted) == 0;
	f->advanced = strcmp(head.hex, target_commit(view)) == 0;
	retarget(a, view, f);
	f->fetched = p->fetched;
	f->probed = p->probed;
	f->staged = p->staged;
	f->validated = p->validated;
	f->reloaded = p->reloaded;
	f->checked = p->checked;
	f->debris = !a->tidied;
	f->revert_allowed = f->bad_reports > 0 && may_revert(a, view, f->now_s);
	return LS_OK;
}

static void tell(struct ls_agent *a, const struct ls_store_view *view, enum ls_action action)
{
	if (a->on_progress && view->rotation)
		a->on_progress(a->on_progress_arg, ls_phase_text(view->rotation->phase),
			ls_action_text(action), view->rotation->generation);
}

/* One action. *out_wait_s is set when there was none to do. */
static enum ls_code drive_step(struct ls_agent *a, const struct ls_store_view *view,
	int64_t *out_wait_s, struct ls_err *err)
{
	struct ls_rotation_facts facts;
	struct ls_rotation_step step;

	if (!view->tip.commit[0] && !view->rotation) {
		*out_wait_s = INT64_MAX;
		return LS_OK;
	}
	LS_TRY(gather(a, view, &facts, err));
	step = ls_rotation_step(&facts);
	if (step.action == LS_ACT_WAIT) {
		*out_wait_s = step.until_s;
		return LS_OK;
	}
	tell(a, view, step.action);
	return ls_agent_do(a, view, step.action, err);
}

/* Steps until there is nothing to do, or `nonce` is no longer running (NULL: not looked at). */
static enum ls_code drive(
	struct ls_agent *a, const char *nonce, int64_t *out_wait_s, struct ls_err *err)
{
	*out_wait_s = 0;
	for (int i = 0; i < STEPS_MAX; i++) {
		LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
		enum ls_code code;

		LS_TRY(ls_agent_read(a, &view, err));
		if (nonce && (!view.rotation || strcmp(view.rotation->nonce, nonce) != 0))
			return LS_OK;
		code = drive_step(a, &view, out_wait_s, err);
		if (code != LS_OK &&
			code != LS_E_CONFLICT) /* a conflict: the record moved, so look again */
			return code;
		if (*out_wait_s == 0)
			continue;
		if (!nonce || !ls_store_shared(a->store))
			return LS_OK;
		/* Whoever waits for the end of this rotation waits for the others' part of it. */
		tell(a, &view, LS_ACT_WAIT);
		ls_cluster_wait(a, (*out_wait_s - ls_now_s()) * 1000);
		*out_wait_s = 0;
		i--;
	}
	return LS_FAIL(err, LS_E_FAILED, "the rotation makes no progress");
}

/* Every step that stages needs to know the modes of all files, and every one that ends a rotation
 * whom to tell. */
static enum ls_code refuse_faults(const struct ls_agent *a, struct ls_err *err)
{
	if (!a->faults)
		return LS_OK;
	LS_FAIL(err, LS_E_IO, "no change is made while a template cannot be read: %s",
		a->faults[0]);
	LS_HINT(err, "mend the file, then reload lockstepd (SIGHUP); lockstep doctor shows it");
	return LS_E_IO;
}

/* Main moves only after the record did. To follow the record would quietly take back generations
 * that were in force. */
static enum ls_code refuse_older_record(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation head = { 0 };

	if (ls_store_shared(a->store))
		return LS_OK;
	LS_TRY(ls_store_read(a->store, &view, err));
	if (!ls_agent_record_is_older(a->history, &view.tip, &head))
		return LS_OK;
	LS_FAIL(err, LS_E_DAMAGED,
		"the store's record names generation %lld, but the history is at generation %lld: "
		"the record is an older one",
		(long long)view.tip.generation, (long long)head.generation);
	LS_HINT(err, "lockstep doctor names the command that mends it");
	return LS_E_DAMAGED;
}

/* What only a shared store can have wrong. An empty one is not filled by itself: the endpoints may
 * name another engine, and there would be two truths. */
static enum ls_code look_at_engine(struct ls_agent *a, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };

	if (!ls_store_shared(a->store))
		return LS_OK;
	LS_TRY(ls_agent_read(a, &view, err));
	if (!view.tip.commit[0]) {
		LS_FAIL(err, LS_E_DAMAGED,
			"etcd holds nothing of this cluster: it was reset, or the endpoints name "
			"another one");
		LS_HINT(err, "if it was reset: lockstep doctor prints the command that fills it "
			     "again");
		return LS_E_DAMAGED;
	}
	LS_TRY(ls_cluster_check_member(a, err));
	return ls_cluster_restore(a, &view, err);
}

/* Leaves and offers of the CA that is no longer trusted are made anew now, not in a minute. */
static enum ls_code follow_ca(struct ls_agent *a, struct ls_err *err)
{
	a->leaves_again_ms = 0;
	a->peers.offered = 0;
	return ls_identity_save_ca(
		a->paths.identity, &a->identity, ls_buf_bytes(&a->tip.ca_pem), err);
}

/* What the others are told while nothing else is to be done. */
static enum ls_code settle(struct ls_agent *a, struct ls_err *err)
{
	if (!ls_store_shared(a->store) || !a->peers.idle)
		return LS_OK;
	if (!ls_bytes_equal(ls_buf_bytes(&a->identity.ca_pem), ls_buf_bytes(&a->tip.ca_pem)))
		LS_TRY(follow_ca(a, err));
	LS_TRY(ls_cluster_announce(a, err));
	return ls_cluster_offer(a, err);
}

enum ls_code ls_agent_reconcile(struct ls_agent *a, int64_t *out_wait_s, struct ls_err *err)
{
	LS_TRY(refuse_faults(a, err));
	LS_TRY(refuse_older_record(a, err));
	LS_TRY(ls_migrate_finish(a, err));
	LS_TRY(look_at_engine(a, err));
	if (ls_now_s() >= a->tidy_again_at_s)
		a->tidied = false;
	LS_TRY(drive(a, NULL, out_wait_s, err));
	LS_TRY(ls_agent_refresh(a, err));
	return settle(a, err);
}

/* Others were so fast that the record speaks of the next change already: the history knows. */
static enum ls_code overtaken(struct ls_agent *a, const char *commit, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	struct ls_commit_id tip, id, same;

	LS_TRY(ls_agent_read(a, &view, err));
	if (view.rotation && strcmp(view.rotation->commit, commit) == 0)
		return LS_FAIL(err, LS_E_UNKNOWN, "the rotation is still running on the cluster");
	LS_TRY(ls_cluster_catch_up(a, view.tip.generation, err));
	(void)snprintf(id.hex, sizeof id.hex, "%s", commit);
	(void)snprintf(tip.hex, sizeof tip.hex, "%s", view.tip.commit);
	LS_TRY(ls_history_read(a->history, &id, &about, err));
	if (ls_history_find(a->history, &tip, about.generation, &same, NULL) != LS_OK ||
		!ls_commit_equal(&same, &id)) {
		LS_FAIL(err, LS_E_CONFLICT, "another change was decided instead of this one");
		LS_HINT(err, "nothing was changed");
		return LS_E_CONFLICT;
	}
	return LS_OK;
}

static enum ls_code verdict(struct ls_agent *a, const char *nonce, const char *commit,
	struct ls_candidate *candidate, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	const struct ls_outcome *o;

	LS_TRY(ls_agent_read(a, &view, err));
	o = view.last;
	if (!o || strcmp(o->nonce, nonce) != 0)
		return ls_store_shared(a->store)
			       ? overtaken(a, commit, err)
			       : LS_FAIL(err, LS_E_UNKNOWN,
					 "the rotation is still running on the cluster");
	for (size_t i = 0; i < ls_strv_count(o->warnings); i++)
		ls_strv_add(&candidate->warnings, o->warnings[i]);
	if (strcmp(o->result, "done") == 0)
		return LS_OK;
	if (strcmp(o->result, "aborted") == 0) {
		LS_FAIL(err, a->own_fault ? LS_E_IO : LS_E_REFUSED, "%s", o->why);
		LS_HINT(err, "nothing was changed");
		return err ? err->code : LS_E_REFUSED;
	}
	if (strcmp(o->result, "rolled back") == 0) {
		LS_FAIL(err, LS_E_ROLLED_BACK, "%s", o->why);
		LS_HINT(err, "the earlier state is in force again, as generation %lld",
			(long long)o->generation + 1);
		return LS_E_ROLLED_BACK;
	}
	LS_FAIL(err, LS_E_FAILED, "generation %lld is in force, but: %s", (long long)o->generation,
		o->why);
	LS_HINT(err, "lockstep status shows what is not well; lockstep rollback %lld goes back",
		(long long)o->generation - 1);
	return LS_E_FAILED;
}

/* What the commit says about the change: which leaf each component had and gets. */
static void describe_leaves(
	const struct ls_agent *a, const struct ls_candidate *candidate, struct ls_generation *about)
{
	for (size_t i = 0; i < ls_strv_count(candidate->components); i++) {
		const char *name = candidate->components[i];
		const struct ls_component *was = ls_state_component(&a->tip, name);
		const struct ls_component *is = ls_state_component(&candidate->state, name);
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info before = { 0 }, after = { 0 };
		LS_CLEANUP(ls_free_str) char *text_old = NULL;
		LS_CLEANUP(ls_free_str) char *text_new = NULL;

		if (was && ls_cert_info_read(ls_buf_bytes(&was->chain_pem), &before, NULL) == LS_OK)
			text_old = ls_format("%s=%s", name, before.sha256);
		if (is && ls_cert_info_read(ls_buf_bytes(&is->chain_pem), &after, NULL) == LS_OK)
			text_new = ls_format("%s=%s", name, after.sha256);
		if (text_old && text_new && strcmp(text_old, text_new) == 0)
			continue;
		if (text_old)
			ls_strv_add(&about->old_sha256, text_old);
		if (text_new)
			ls_strv_add(&about->new_sha256, text_new);
	}
}

static void describe(const struct ls_agent *a, const struct ls_store_view *view,
	const struct ls_candidate *candidate, const struct ls_author *author,
	struct ls_generation *about)
{
	(void)snprintf(about->parent.hex, sizeof about->parent.hex, "%s", view->tip.commit);
	about->restores = candidate->restores;
	about->generation = view->tip.generation + 1;
	about->time_s = ls_now_s();
	about->author_name = ls_strdup(author->name);
	about->author_email = ls_strdup(author->email);
	about->committer_name = ls_strdup(a->identity.node);
	about->committer_email = ls_format("%s@%s", a->identity.node, a->identity.cluster);
	about->subject = ls_strdup(candidate->subject);
	about->cause = ls_strdup(candidate->cause);
	about->components = ls_strv_copy(candidate->components);
	describe_leaves(a, candidate, about);
}

/* Who takes part; waits until it is known of each member whether it is away. */
static enum ls_code gather_participants(struct ls_agent *a, struct ls_store_view *view,
	const struct ls_candidate *candidate, struct ls_generation *about, struct ls_err *err)
{
	int64_t wait_ms = 0;

	if (!ls_store_shared(a->store)) {
		ls_strv_add(&about->participants, a->identity.node);
		return LS_OK;
	}
	for (;;) {
		if (view->rotation)
			return LS_FAIL(err, LS_E_CONFLICT,
				"a rotation to generation %lld is running (begun by %s)",
				(long long)view->rotation->generation, view->rotation->initiator);
		if (strcmp(view->tip.commit, a->tip_commit.hex) != 0)
			return LS_FAIL(err, LS_E_CONFLICT,
				"the state moved to generation %lld meanwhile",
				(long long)view->tip.generation);
		LS_TRY(ls_cluster_participants(a, view, &candidate->state, &about->participants,
			&about->away, &wait_ms, err));
		if (wait_ms == 0)
			return LS_OK;
		if (a->on_progress)
			a->on_progress(a->on_progress_arg, "waiting",
				"wait for a node that is not here", view->tip.generation + 1);
		ls_cluster_wait(a, wait_ms);
		LS_TRY(ls_agent_read(a, view, err));
	}
}

/* A change in work. */
struct attempt {
	char nonce[LS_NONCE_SIZE];
	char commit[41];
	char **participants;
};

static void attempt_done(struct attempt *at)
{
	ls_free_strv(&at->participants);
}

static enum ls_code begin(struct ls_agent *a, struct ls_store_view *view,
	const struct ls_candidate *candidate, const struct ls_author *author, struct attempt *out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	const struct ls_settings *settings = &candidate->state.settings;
	unsigned char random[NONCE_BYTES];
	struct ls_rotation rotation = { 0 };
	struct ls_commit_id id;

	a->tidied = a->own_fault = false;
	LS_TRY(gather_participants(a, view, candidate, &about, err));
	describe(a, view, candidate, author, &about);
	LS_TRY(ls_history_compose(
		a->history, &candidate->state, &about, &a->identity.signer, &id, &pack, err));
	LS_TRY(ls_store_publish(a->store, id.hex, ls_buf_bytes(&pack), err));
	ls_random_bytes(random, sizeof random);
	ls_hex(random, sizeof random, out->nonce);
	(void)snprintf(out->commit, sizeof out->commit, "%s", id.hex);
	out->participants = ls_strv_copy(about.participants);
	(void)snprintf(rotation.nonce, sizeof rotation.nonce, "%s", out->nonce);
	(void)snprintf(rotation.commit, sizeof rotation.commit, "%s", id.hex);
	(void)snprintf(rotation.parent, sizeof rotation.parent, "%s", view->tip.commit);
	(void)snprintf(rotation.initiator, sizeof rotation.initiator, "%s", a->identity.node);
	rotation.generation = about.generation;
	rotation.participants = about.participants;
	rotation.began_at_s = about.time_s;
	/* With one machine there is nobody who could be waited for in vain. */
	rotation.vote_deadline_s =
		about.time_s + (ls_store_shared(a->store) ? settings->vote_s : settings->timeout_s);
	return ls_store_begin(a->store, &rotation, err);
}

/* A step failed; begin too may have moved the record before it did. Undecided, the rotation is
 * taken back, or it would be carried on by the next timer although the caller was told that it
 * failed; when that fails too, the caller is told so. */
static enum ls_code broke_off(
	struct ls_agent *a, const char *nonce, enum ls_code code, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view now = { 0 };
	LS_CLEANUP(ls_free_str) char *why = ls_strdup(err ? err->text : "");
	bool read = ls_agent_read(a, &now, NULL) == LS_OK;

	if (read && (!now.rotation || strcmp(now.rotation->nonce, nonce) != 0))
		return code;
	if (read && now.rotation->phase != LS_PHASE_VOTING)
		return LS_WRAP(err,
			"generation %lld is decided, but this node is stuck (it is tried "
			"again)",
			(long long)now.tip.generation);
	if (read && ls_agent_abort(a, now.rotation, why, NULL) == LS_OK) {
		LS_HINT(err, "nothing was changed");
		if (code != LS_E_UNKNOWN)
			return code;
		if (err)
			err->code = LS_E_IO; /* whether the record moved is of no interest now */
		return LS_E_IO;
	}
	LS_WRAP(err, "the rotation broke off, and is carried on when this is mended");
	LS_HINT(err, "lockstep status shows what became of it");
	if (err)
		err->code = LS_E_UNKNOWN;
	return LS_E_UNKNOWN;
}

/* Who died right before the vote began may be missed by its deadline sooner than its lease ends. */
static bool somebody_left(struct ls_agent *a, char *const *participants)
{
	int64_t until_ms = ls_mono_ms() + LEASE_SLACK_MS;

	while (ls_mono_ms() < until_ms) {
		LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };

		if (!ls_store_shared(a->store) || ls_agent_read(a, &view, NULL) != LS_OK)
			return false;
		for (size_t i = 0; i < ls_strv_count(participants); i++)
			if (ls_cluster_away(a, participants[i]))
				return true;
		ls_cluster_wait(a, until_ms - ls_mono_ms());
	}
	return false;
}

/* Once. *out_again: a participant went away before it had voted; without it, or with it again, it
 * may be done. */
static enum ls_code attempt(struct ls_agent *a, struct ls_store_view *view,
	struct ls_candidate *candidate, const struct ls_author *author, bool *out_again,
	struct ls_err *err)
{
	LS_CLEANUP(attempt_done) struct attempt at = { "", "", NULL };
	int64_t wait_s = 0;
	enum ls_code code = begin(a, view, candidate, author, &at, err);

	if (code == LS_OK)
		code = drive(a, at.nonce, &wait_s, err);
	if (code != LS_OK)
		return at.nonce[0] ? broke_off(a, at.nonce, code, err) : code;
	code = verdict(a, at.nonce, at.commit, candidate, err);
	*out_again = err && ((code == LS_E_REFUSED && ls_has_prefix(err->text, LS_WENT_AWAY)) ||
				    (ls_has_prefix(err->text, LS_NOT_IN_TIME) &&
					    somebody_left(a, at.participants)));
	return code;
}

enum ls_code ls_agent_change(struct ls_agent *a, struct ls_candidate *candidate,
	const struct ls_author *author, int64_t *out_generation, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	enum ls_code code = LS_E_FAILED;

	LS_TRY(ls_agent_read(a, &view, err));
	*out_generation = view.tip.generation;
	if (candidate->unchanged)
		return LS_OK;
	if (view.tip.commit[0] && strcmp(view.tip.commit, a->tip_commit.hex) != 0)
		return LS_FAIL(err, LS_E_CONFLICT, "the state moved to generation %lld meanwhile",
			(long long)view.tip.generation);
	for (int i = 0; i < ATTEMPTS_MAX; i++) {
		bool again = false;

		if (i > 0)
			LS_TRY(ls_agent_read(a, &view, err));
		code = attempt(a, &view, candidate, author, &again, err);
		if (!again)
			break;
	}
	if (code != LS_OK && code != LS_E_ROLLED_BACK && code != LS_E_REFUSED &&
		code != LS_E_FAILED)
		return code;
	LS_TRY(ls_agent_refresh(a, code == LS_OK ? err : NULL));
	*out_generation = view.tip.generation + 1;
	if (code == LS_E_ROLLED_BACK)
		*out_generation = view.tip.generation + 2;
	if (code == LS_E_REFUSED)
		*out_generation = view.tip.generation;
	return code;
}
