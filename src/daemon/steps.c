/* The steps of a rotation on this node. What can go wrong before the vote becomes a no with its
 * reason; after the decision it is returned, and tried again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/joining.h"
#include "daemon/steps.h"
#include "sys/file.h"

/* A reader that opened the earlier directory gets this long to read what is in it. */
#define EARLIER_GRACE_S 10

void ls_step_reason(struct ls_progress *p, const char *text)
{
	free(p->reason);
	p->reason = ls_strdup(text);
}

static struct ls_commit_id commit_id(const char *hex)
{
	struct ls_commit_id id;

	(void)snprintf(id.hex, sizeof id.hex, "%s", hex);
	return id;
}

/* The generation before the target, "" when there is none to compare with. For a node of several
 * that is where it is itself: it may have been away for some. */
static struct ls_commit_id before_commit(struct ls_agent *a, const struct ls_store_view *view)
{
	struct ls_commit_id head;

	if (ls_store_shared(a->store) && ls_history_head(a->history, &head, NULL) == LS_OK &&
		strcmp(head.hex, a->progress.commit) != 0)
		return head;
	if (!view->rotation)
		return commit_id("");
	if (view->rotation->phase == LS_PHASE_REVERTING)
		return commit_id(view->rotation->commit);
	return commit_id(view->rotation->earlier.commit);
}

static bool same_files(const struct ls_component *x, const struct ls_component *y)
{
	return ls_bytes_equal(ls_buf_bytes(&x->chain_pem), ls_buf_bytes(&y->chain_pem)) &&
	       ls_bytes_equal(ls_buf_bytes(&x->trust_pem), ls_buf_bytes(&y->trust_pem));
}

/* Components whose files differ; all, when there is nothing to compare with. */
static void find_changed(struct ls_progress *p)
{
	ls_free_strv(&p->changed);
	for (size_t i = 0; i < p->state.component_count; i++) {
		const struct ls_component *c = &p->state.components[i];
		const struct ls_component *was =
			p->has_before ? ls_state_component(&p->before, c->name) : NULL;

		if (!was || !same_files(c, was))
			ls_strv_add(&p->changed, c->name);
	}
}

void ls_step_leaf(const struct ls_state *state, const char *component, char out[LS_SHA256_TEXT])
{
	const struct ls_component *c = ls_state_component(state, component);
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };

	out[0] = '\0';
	if (c && ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, NULL) == LS_OK)
		(void)snprintf(out, LS_SHA256_TEXT, "%s", info.sha256);
}

/* What other nodes decided to sign is judged here again: nothing read from a store is believed. */
static enum ls_code judge_target(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	struct ls_commit_id id = commit_id(p->commit), before = before_commit(a, view);

	LS_TRY(ls_history_judge(a->history, &id, &p->state, err));
	p->has_before = before.hex[0] != '\0';
	memcpy(p->before_commit, before.hex, sizeof p->before_commit);
	if (p->has_before)
		LS_TRY(ls_history_load(a->history, &before, &p->before, err));
	find_changed(p);
	if (!view->rotation || view->rotation->phase != LS_PHASE_VOTING)
		return LS_OK;
	for (size_t i = 0; i < ls_strv_count(p->changed); i++) {
		const struct ls_component *c = ls_state_component(&p->state, p->changed[i]);

		LS_TRY(ls_credential_rejudge(
			c->name, ls_buf_bytes(&c->chain_pem), &p->state.policy, ls_now_s(), err));
	}
	return LS_OK;
}

static enum ls_code get_objects(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_commit_id id = commit_id(a->progress.commit);
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };

	if (ls_store_shared(a->store))
		return ls_cluster_obtain(
			a, view, !view->rotation || view->rotation->phase != LS_PHASE_VOTING, err);
	if (ls_history_read(a->history, &id, &about, NULL) == LS_OK)
		return LS_OK;
	LS_TRY(ls_store_fetch(a->store, id.hex, &pack, err));
	return ls_history_accept(a->history, &id, ls_buf_bytes(&pack), err);
}

/* The keys of the target may be sealed under an epoch that this node has not opened yet. */
static enum ls_code open_epochs(struct ls_agent *a, struct ls_err *err)
{
	struct ls_state present = a->tip;
	enum ls_code code;

	if (ls_keyring_get(&a->keyring, a->progress.state.kek_epoch))
		return LS_OK;
	a->tip = a->progress.state; /* borrowed for the call: whose wraps, signed by whom */
	code = ls_agent_load_keyring(a, err);
	a->tip = present;
	return code;
}

static enum ls_code make_plan(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	LS_CLEANUP(ls_free_str) char *warning = NULL;
	char dir[LS_LIVE_DIR_SIZE];

	LS_TRY(open_epochs(a, err));
	if (view->rotation && view->rotation->phase == LS_PHASE_VOTING)
		ls_live_dir_name(view->rotation->generation, p->commit, dir);
	else
		ls_live_dir_name(view->tip.dir_generation, view->tip.dir_commit, dir);
	LS_TRY(ls_live_plan_new(
		&p->state, &a->services, &a->keyring, dir, &p->plan, &warning, err));
	if (warning)
		ls_strv_add(&p->warnings, warning);
	return LS_OK;
}

static enum ls_code do_fetch(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	bool voting = view->rotation && view->rotation->phase == LS_PHASE_VOTING;
	enum ls_code code = get_objects(a, view, err);

	if (code == LS_OK)
		code = judge_target(a, view, err);
	if (code == LS_OK)
		code = make_plan(a, view, err);
	if (code == LS_OK && voting)
		code = ls_agent_judge_keys(a, err);
	if (code != LS_OK && !voting)
		return LS_WRAP(err, "get generation %s ready", p->commit);
	if (code != LS_OK) {
		ls_step_reason(p, err->text);
		a->own_fault = code != LS_E_REFUSED;
	}
	p->fetched = code == LS_OK ? LS_DONE_WELL : LS_DONE_BADLY;
	return LS_OK;
}

static void do_stage(struct ls_agent *a, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	struct ls_commit_id id = commit_id(p->commit);
	enum ls_code code = ls_live_stage(a->live, p->plan, err);

	if (code == LS_OK)
		code = ls_history_stage(a->history, &id, err);
	if (code != LS_OK) {
		ls_step_reason(p, err->text);
		a->own_fault = true;
	}
	p->staged = code == LS_OK ? LS_DONE_WELL : LS_DONE_BADLY;
}

static enum ls_code do_vote(
	struct ls_agent *a, const struct ls_store_view *view, bool yes, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	struct ls_ballot ballot = {
		.yes = yes,
		.reason = p->reason ? p->reason : ls_alloc(1, 1),
		.baseline = p->baseline,
	};
	enum ls_code code;

	(void)snprintf(ballot.node, sizeof ballot.node, "%s", a->identity.node);
	code = ls_store_vote(a->store, view->rotation->nonce, &ballot, err);
	if (!p->reason)
		free(ballot.reason);
	return code;
}

/* What was got ready goes first: a crash in between finds the rotation still voting, and fetches
 * again. The other way round nobody would know any more what to remove. */
enum ls_code ls_agent_abort(
	struct ls_agent *a, const struct ls_rotation *r, const char *why, struct ls_err *err)
{
	struct ls_commit_id id = commit_id(r->commit);
	char dir[LS_LIVE_DIR_SIZE], current[LS_LIVE_DIR_SIZE] = "";

	/* What stays is unreachable; that is no reason to keep the rotation open. */
	LS_IGNORE(ls_history_discard(a->history, &id, NULL));
	/* It was never live, so no reader needs the time that tidy gives. */
	ls_live_dir_name(r->generation, r->commit, dir);
	if (ls_live_current(a->live, current, NULL) == LS_OK && strcmp(current, dir) != 0)
		LS_IGNORE(ls_dir_remove(ls_live_fd(a->live), dir, NULL)); /* tidy does it again */
	ls_progress_done(&a->progress);
	return ls_store_abort(a->store, r->nonce, why, ls_now_s(), err);
}

static void say_who_is_missing(struct ls_agent *a, const struct ls_rotation *r, struct ls_buf *why)
{
	bool gone = false;

	for (size_t i = 0; i < ls_strv_count(r->participants); i++)
		gone |= ls_cluster_away(a, r->participants[i]) &&
			!ls_rotation_ballot(r, r->participants[i]);
	ls_buf_str(why, gone ? LS_WENT_AWAY : LS_NOT_IN_TIME);
	for (size_t i = 0, n = 0; i < ls_strv_count(r->participants); i++)
		if (!ls_rotation_ballot(r, r->participants[i]))
			ls_buf_printf(why, "%s%s", n++ ? ", " : "", r->participants[i]);
	a->own_fault = !gone;
}

static enum ls_code do_abort(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	const struct ls_rotation *r = view->rotation;
	LS_CLEANUP(ls_buf_done) struct ls_buf why = { 0 };

	bool several = ls_strv_count(r->participants) > 1;

	for (size_t i = 0; i < r->ballot_count; i++)
		if (!r->ballots[i].yes)
			ls_buf_printf(&why, "%s%s%s%s", why.len ? "; " : "",
				several ? r->ballots[i].node : "", several ? ": " : "",
				r->ballots[i].reason);
	if (!why.len && ls_cluster_ended(a, r->nonce))
		ls_buf_str(&why, "it had ended before: somebody put an old record back into etcd");
	if (!why.len)
		say_who_is_missing(a, r, &why);
	return ls_agent_abort(a, r, ls_buf_text(&why), err);
}

static enum ls_code do_activate(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	enum ls_code code;

	/* Whoever can write to the engine must not put in force what was not agreed upon. */
	if (ls_store_shared(a->store) && !ls_cluster_shown(a, view))
		LS_TRY(ls_cluster_obtain(a, view, true, err));
	if (!p->plan) /* handed over at the first activation; somebody has moved the link since */
		LS_TRY(make_plan(a, view, err));
	if (!a->guard)
		return ls_live_activate(a->live, p->plan->dir, err);
	(void)pthread_mutex_lock(&a->guard->mutex);
	code = ls_live_activate(a->live, p->plan->dir, err);
	if (code == LS_OK) {
		ls_live_plan_free(&a->guard->plan);
		a->guard->plan = LS_TAKE(p->plan);
	}
	(void)pthread_mutex_unlock(&a->guard->mutex);
	return code;
}

static enum ls_code do_report(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	struct ls_report report = { .good = p->checked != LS_DONE_BADLY, .warnings = p->warnings };

	(void)snprintf(report.node, sizeof report.node, "%s", a->identity.node);
	(void)snprintf(report.commit, sizeof report.commit, "%s", p->commit);
	report.reason = p->reason;
	return ls_store_report(a->store, view->rotation->nonce, &report, err);
}

static char *bad_reasons(const struct ls_rotation *r)
{
	struct ls_buf why = { 0 };

	for (size_t i = 0; i < r->report_count; i++) {
		const struct ls_report *report = &r->reports[i];

		if (report->good)
			continue;
		/* A reload that failed is why the endpoint does not show the change. */
		for (size_t k = 0; k < ls_strv_count(report->warnings); k++)
			if (ls_has_prefix(report->warnings[k], LS_STEP_RELOAD_FAILED))
				ls_buf_printf(
					&why, "%s%s", why.len ? "; " : "", report->warnings[k]);
		ls_buf_printf(&why, "%s%s", why.len ? "; " : "", report->reason);
	}
	return ls_buf_take(&why);
}

/* The cluster goes back by itself: a new generation with the state of the one before, for which no
 * node needs to write keys. */
static enum ls_code do_revert(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	const struct ls_rotation *r = view->rotation;
	struct ls_progress *p = &a->progress;
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };
	LS_CLEANUP(ls_free_str) char *why = bad_reasons(r);
	struct ls_commit_id id;

	about.parent = commit_id(r->commit);
	about.restores = commit_id(r->earlier.commit);
	about.generation = r->generation + 1;
	about.time_s = ls_now_s();
	about.author_name = ls_strdup("automatic-rollback");
	about.author_email = ls_format("automatic-rollback@%s", a->identity.node);
	about.committer_name = ls_strdup(a->identity.node);
	about.committer_email = ls_format("%s@%s", a->identity.node, a->identity.cluster);
	about.subject =
		ls_format("go back to generation %lld: %s", (long long)r->earlier.generation, why);
	about.cause = ls_strdup("automatic-rollback");
	about.components = ls_strv_copy(p->changed);
	about.participants = ls_strv_copy(r->participants);
	/* Of an attempt that died before the record named it; what stays is unreachable. */
	LS_IGNORE(ls_history_discard_after(a->history, &about.parent, NULL));
	LS_TRY(ls_history_compose(
		a->history, &p->before, &about, &a->identity.signer, &id, &pack, err));
	LS_TRY(ls_store_publish(a->store, id.hex, ls_buf_bytes(&pack), err));
	/* Before the record names it as the tip: who looks then, or starts after a crash, reads it.
	 */
	LS_TRY(ls_history_accept(a->history, &id, ls_buf_bytes(&pack), err));
	return ls_store_revert(
		a->store, r->nonce, id.hex, why, about.time_s + p->state.settings.timeout_s, err);
}

static enum ls_code do_close(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	const struct ls_rotation *r = view->rotation;
	LS_CLEANUP(ls_free_str) char *why = bad_reasons(r);
	LS_CLEANUP(ls_free_strv) char **warnings = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	struct ls_outcome outcome = { .generation = r->generation, .ended_at_s = ls_now_s() };
	bool reload_failed = false;

	(void)snprintf(outcome.nonce, sizeof outcome.nonce, "%s", r->nonce);
	ls_buf_str(&text, r->phase == LS_PHASE_REVERTING ? r->why : why);
	if (r->phase == LS_PHASE_REVERTING && why[0])
		ls_buf_printf(&text, "; after going back: %s", why);
	for (size_t i = 0; i < r->report_count; i++) {
		for (size_t k = 0; k < ls_strv_count(r->reports[i].warnings); k++) {
			const char *line = r->reports[i].warnings[k];

			ls_strv_add(&warnings, line);
			if (!ls_has_prefix(line, LS_STEP_RELOAD_FAILED))
				continue;
			reload_failed = true;
			if (r->reports[i].good) /* of a bad one it is in `why` */
				ls_buf_printf(&text, "%s%s", text.len ? "; " : "", line);
		}
	}
	for (size_t i = 0; i < ls_strv_count(r->participants); i++)
		if (!ls_rotation_report(r, r->participants[i]))
			ls_buf_printf(&text, "%snode %s did not report", text.len ? "; " : "",
				r->participants[i]);
	outcome.why = text.data ? text.data : why;
	outcome.warnings = warnings;
	(void)snprintf(outcome.result, sizeof outcome.result, "%s",
		r->phase == LS_PHASE_REVERTING  ? "rolled back"
		: text.len > 0 || reload_failed ? "degraded"
						: "done");
	return ls_store_close(a->store, r->nonce, &outcome, err);
}

/* Of wraps, which a node with a shared store keeps to open without it. */
static enum ls_code drop_copies(struct ls_agent *a, int64_t epoch, struct ls_err *err)
{
	LS_CLEANUP(ls_store_free) struct ls_store *copies = NULL;

	if (!ls_store_shared(a->store))
		return LS_OK;
	LS_TRY(ls_store_local_open(a->paths.store, &copies, err));
	return ls_store_drop_wraps(copies, epoch, err);
}

/* Keys that open an epoch which the state no longer lists are destroyed: by `seal forget`, or
 * because a new epoch was never decided. */
static enum ls_code drop_old_epochs(struct ls_agent *a, struct ls_err *err)
{
	/* What this node offered for the next epoch stays. */
	int64_t last = a->tip.kek_epoch + (ls_store_shared(a->store) ? 0 : 1);

	for (int64_t epoch = 1; epoch <= last; epoch++) {
		if (ls_state_epoch_check(&a->tip, epoch))
			continue;
		LS_TRY(ls_identity_destroy_wrapping(a->paths.identity, epoch, err));
		LS_TRY(ls_store_drop_wraps(a->store, epoch, err));
		LS_TRY(drop_copies(a, epoch, err));
		ls_keyring_drop(&a->keyring, epoch);
	}
	return LS_OK;
}

/* One of the members is enough. */
static bool tidies_store(const struct ls_agent *a, const struct ls_store_view *view)
{
	return !ls_store_shared(a->store) ||
	       (view->alive && strcmp(view->alive[0], a->identity.node) == 0);
}

static enum ls_code do_tidy(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;
	char current[LS_LIVE_DIR_SIZE];
	bool left = false;

	LS_TRY(ls_agent_refresh(a, err));
	LS_TRY(ls_live_current(a->live, current, err));
	LS_TRY(ls_live_plan_new(&a->tip, &a->services, &a->keyring, current, &plan, NULL, err));
	LS_TRY(ls_live_tidy(a->live, plan, NULL, NULL, EARLIER_GRACE_S, &left, err));
	if (view->last && strcmp(view->last->result, "aborted") == 0) {
		struct ls_commit_id aborted = commit_id(view->last->commit);

		LS_TRY(ls_history_discard(a->history, &aborted, err));
	}
	LS_TRY(drop_old_epochs(a, err));
	if (tidies_store(a, view)) {
		LS_TRY(ls_store_tidy(a->store, err));
		LS_TRY(ls_joining_tidy(a, err));
	}
	LS_TRY(ls_history_tidy(a->history, err));
	a->tidied = true;
	a->tidy_again_at_s = left ? ls_now_s() + EARLIER_GRACE_S : INT64_MAX;
	return LS_OK;
}

enum ls_code ls_agent_do(struct ls_agent *a, const struct ls_store_view *view,
	enum ls_action action, struct ls_err *err)
{
	struct ls_commit_id target = commit_id(a->progress.commit);
	struct ls_err local = { 0 };

	if (!err)
		err = &local;
	switch (action) {
	case LS_ACT_FETCH:
		return do_fetch(a, view, err);
	case LS_ACT_PROBE:
		ls_step_probe(a);
		return LS_OK;
	case LS_ACT_STAGE:
		do_stage(a, err);
		return a->progress.staged == LS_DONE_WELL ||
				       (view->rotation && view->rotation->phase == LS_PHASE_VOTING)
			       ? LS_OK
			       : err->code;
	case LS_ACT_VALIDATE:
		ls_step_validate(a, view, err);
		return LS_OK;
	case LS_ACT_VOTE_YES:
		return do_vote(a, view, true, err);
	case LS_ACT_VOTE_NO:
		return do_vote(a, view, false, err);
	case LS_ACT_DECIDE:
		return ls_store_decide(a->store, view->rotation->nonce,
			ls_now_s() + a->progress.state.settings.timeout_s, err);
	case LS_ACT_ABORT:
		return do_abort(a, view, err);
	case LS_ACT_ACTIVATE:
		return do_activate(a, view, err);
	case LS_ACT_ADVANCE:
		/* Also for its proof, which is kept. Services have been told already. */
		if (ls_store_shared(a->store))
			LS_TRY(ls_cluster_obtain(a, view, true, err));
		return ls_history_advance(a->history, &target, err);
	case LS_ACT_RELOAD:
		ls_step_reload(a, view);
		return LS_OK;
	case LS_ACT_CHECK:
		ls_step_check(a, err);
		return LS_OK;
	case LS_ACT_REPORT:
		return do_report(a, view, err);
	case LS_ACT_REVERT:
		return do_revert(a, view, err);
	case LS_ACT_CLOSE:
		return do_close(a, view, err);
	case LS_ACT_TIDY:
		return do_tidy(a, view, err);
	case LS_ACT_WAIT:
	case LS_ACT_COUNT:
		break;
	}
	return LS_FAIL(err, LS_E_FAILED, "no such step: %d", (int)action);
}
