/* Drop-ins on their way from the files to the writer and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/command.h"
#include "daemon/daemon.h"
#include "intake/candidate.h"
#include "pki/credential.h"

/* So many strays in a minute are refused one by one, each with its certificates in rejected/; what
 * comes beyond is a flood and is refused in batches. */
#define STRAYS_SINGLY 10
#define STRAYS_WINDOW_MS 60000
/* Of scans: a tenth of the time. With 10,000 files one takes some 20 ms. */
#define SCAN_PAUSE 9

struct intake_job {
	struct ls_daemon *d;
	struct ls_change change;
	enum ls_dropin_origin origin;
	bool last_chance;
	bool has_cert;
	char *fault;
	bool unread;
	size_t gathered; /* files; 0: it is one drop-in */
	struct ls_buf names;
	bool judged;
	enum ls_dropin_verdict verdict;
	enum ls_event event;
	int priority;
	char *message;
	struct ls_log_change about;
};

static void job_free(struct intake_job *job)
{
	ls_change_done(&job->change);
	free(job->fault);
	ls_buf_done(&job->names);
	free(job->message);
	ls_log_change_done(&job->about);
	free(job);
}

static const struct ls_change_set *the_set(const struct intake_job *job)
{
	return &job->change.sets[0];
}

static void say(struct intake_job *job, int priority, enum ls_event event, char *message)
{
	free(job->message);
	job->priority = priority;
	job->event = event;
	job->message = message;
}

/* For what is not the drop-in's fault: its files stay. */
static void wait_for(struct intake_job *job, char *message)
{
	job->verdict = LS_DROPIN_RETRY;
	say(job, LOG_ERR, LS_EVENT_CHANGE_FAILED, message);
}

static void refuse(struct intake_job *job, const char *reason)
{
	struct ls_daemon *d = job->d;
	const struct ls_change_set *set = the_set(job);
	LS_CLEANUP(ls_free_str) char *path = NULL;
	struct ls_err err = { 0 };
	/* A name that no component has is marked with a question mark (dropin.c). */
	const char *shown = set->component + (set->component[0] == '?');
	int64_t now_ms = ls_now_ms();

	job->verdict = LS_DROPIN_REFUSED;
	if (job->about.code == LS_OK)
		job->about.code = LS_E_REFUSED;
	if (ls_dropin_reject(d->paths.rejected, now_ms, set->component, reason,
		    ls_secret_bytes(&set->cert.bytes), &path, &err) != LS_OK) {
		/* The files stay where they are: a refusal that leaves no trace would be worse. */
		wait_for(job,
			ls_format(
				"refused drop-in '%s': %s; it could not be moved to rejected/: %s",
				shown, reason, err.text));
		return;
	}
	say(job, LOG_ERR, LS_EVENT_DROPIN_REFUSED,
		ls_format("refused drop-in '%s': %s; see %s", shown, reason, path));
	/* Not a reason to refuse anything: it is done again next time. */
	LS_IGNORE(ls_dropin_expire(d->paths.rejected, now_ms, d->rejected_keep_days, NULL));
}

static void refuse_gathered(struct intake_job *job)
{
	struct ls_daemon *d = job->d;
	LS_CLEANUP(ls_free_str) char *path = NULL;
	LS_CLEANUP(ls_free_str)
	char *reason = ls_format("%zu file%s in incoming/ with no component's name (%s): put aside "
				 "there under names that begin with .refused-",
		job->gathered, job->gathered == 1 ? "" : "s", ls_buf_text(&job->names));
	struct ls_err err = { 0 };
	int64_t now_ms = ls_now_ms();

	job->verdict = LS_DROPIN_REFUSED;
	job->about.code = LS_E_REFUSED;
	if (ls_dropin_reject(d->paths.rejected, now_ms, "", reason, (struct ls_bytes){ 0 }, &path,
		    &err) != LS_OK) {
		wait_for(job,
			ls_format("%s; it could not be noted in rejected/: %s", reason, err.text));
		return;
	}
	say(job, LOG_ERR, LS_EVENT_DROPIN_REFUSED, ls_format("refused %s; see %s", reason, path));
	LS_IGNORE(ls_dropin_expire(d->paths.rejected, now_ms, d->rejected_keep_days, NULL));
}

/* What was written over live files is often an old copy: such a one is put back, not rotated to. */
static bool is_superseded(struct intake_job *job)
{
	const struct ls_change_set *set = the_set(job);
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 }, present = { 0 };
	const struct ls_component *c = ls_state_component(&job->d->agent->tip, set->component);

	if (job->origin != LS_DROPIN_LIVE || !c ||
		ls_cert_info_read(ls_secret_bytes(&set->cert.bytes), &info, NULL) != LS_OK ||
		ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &present, NULL) != LS_OK)
		return false;
	return strcmp(info.sha256, present.sha256) != 0 &&
	       ls_command_superseded(job->d->agent, set->component, info.sha256);
}

static void say_taken(
	struct intake_job *job, enum ls_code code, const json_t *answer, const struct ls_err *err)
{
	const char *component = the_set(job)->component;

	if (code != LS_OK)
		say(job, LOG_ERR, LS_EVENT_CHANGE_FAILED,
			ls_format("drop-in '%s': %s", component, err->text));
	else if (json_is_true(json_object_get(answer, "unchanged")))
		say(job, LOG_INFO, LS_EVENT_DROPIN_TAKEN,
			ls_format("drop-in '%s' is what is in force already", component));
	else
		say(job, LOG_NOTICE, LS_EVENT_DROPIN_TAKEN,
			ls_format("drop-in '%s' is in force as generation %lld", component,
				(long long)json_integer_value(
					json_object_get(answer, "generation"))));
}

/* Whether the certificate is the one in force: after a failure only that says that it was taken. */
static bool in_force(const struct intake_job *job)
{
	const struct ls_change_set *set = the_set(job);
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 }, present = { 0 };
	const struct ls_component *c =
		ls_state_component(&job->d->agent->tip, ls_component_alias(set->component));

	return c && ls_cert_info_read(ls_secret_bytes(&set->cert.bytes), &info, NULL) == LS_OK &&
	       ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &present, NULL) == LS_OK &&
	       strcmp(info.sha256, present.sha256) == 0;
}

/* Judged without changing anything first: afterwards a failure that is no plain refusal is this
 * machine's, and no reason to remove an operator's key. */
static enum ls_code try_first(
	struct intake_job *job, const struct ls_author *author, struct ls_err *err)
{
	json_t *answer = NULL;
	int64_t wait_s;
	enum ls_code code;

	if (ls_agent_reconcile(job->d->agent, &wait_s, err) != LS_OK)
		return LS_E_IO;
	job->change.dry_run = true;
	code = ls_command_change(job->d->agent, &job->change, author, &answer, err);
	job->change.dry_run = false;
	json_decref(answer);
	return code == LS_E_DAMAGED || code == LS_E_CRYPTO ? LS_E_REFUSED : code;
}

static void judge(struct intake_job *job)
{
	struct ls_daemon *d = job->d;
	const struct ls_change_set *set = the_set(job);
	struct ls_author author = { .name = (char *)(uintptr_t) "drop-in" };
	LS_CLEANUP(ls_free_str) char *email = ls_format("drop-in@%s", d->agent->identity.node);
	json_t *answer = NULL;
	struct ls_err err = { 0 };
	enum ls_code code;

	job->judged = true;
	author.email = email;
	code = try_first(job, &author, &err);
	if (code == LS_OK)
		code = ls_command_change(d->agent, &job->change, &author, &answer, &err);
	job->about.code = code;
	if (code == LS_OK)
		ls_log_change_from(answer, &job->about);
	if (code == LS_OK || (code == LS_E_FAILED && in_force(job))) {
		job->verdict = LS_DROPIN_TAKEN;
		say_taken(job, code, answer, &err);
	} else if (code == LS_E_REFUSED) {
		refuse(job, err.text);
	} else if (code == LS_E_ROLLED_BACK) {
		refuse(job, err.text);
		job->event = LS_EVENT_ROLLED_BACK;
	} else { /* the disk, the store, another rotation */
		wait_for(job, ls_format("drop-in '%s' waits: %s", set->component, err.text));
	}
	json_decref(answer);
}

static void look_at(struct intake_job *job)
{
	const struct ls_change_set *set = the_set(job);
	struct ls_agent *a = job->d->agent;

	if (job->fault) {
		LS_CLEANUP(ls_free_str) char *reason = ls_strdup(job->fault);

		if (job->unread)
			wait_for(job, ls_format("drop-in '%s' waits: %s", set->component, reason));
		else
			refuse(job, reason);
		return;
	}
	if (!ls_state_component(&a->tip, ls_component_alias(set->component))) {
		refuse(job, "its name is that of no component of this cluster");
		return;
	}
	if (!ls_dropin_complete(&a->tip, ls_component_alias(set->component),
		    job->has_cert ? ls_secret_bytes(&set->cert.bytes) : (struct ls_bytes){ 0 },
		    ls_secret_bytes(&set->key.bytes)) &&
		!job->last_chance) {
		job->verdict = LS_DROPIN_WAIT;
		return;
	}
	if (!job->has_cert) {
		refuse(job, "a private key came without its certificate");
		return;
	}
	if (is_superseded(job)) {
		job->verdict = LS_DROPIN_TAKEN;
		say(job, LOG_WARNING, LS_EVENT_SUPERSEDED,
			ls_format("a certificate of %s that was replaced before was written over "
				  "the live files: "
				  "they are put back; lockstep rollback goes back on purpose",
				set->component));
		return;
	}
	judge(job);
}

static void intake_work(void *arg)
{
	struct intake_job *job = arg;

	if (job->gathered) {
		refuse_gathered(job);
		return;
	}
	ls_daemon_rotation_begin(job->d);
	look_at(job);
	ls_daemon_rotation_end(job->d);
}

static const char *root_cause(const char *text)
{
	const char *at = text, *next;

	while ((next = strstr(at, ": ")))
		at = next + 2;
	return at;
}

/* The same wait of the same drop-in; in between stand names of temporary files. */
static bool same_wait(const char *x, const char *y)
{
	size_t head = strcspn(x, ":");

	return strncmp(x, y, head + 1) == 0 && strcmp(root_cause(x), root_cause(y)) == 0;
}

/* It is tried again many times: said once, and shown by status until something else happens. */
static bool said_already(struct ls_daemon *d, const struct intake_job *job)
{
	bool same = job->verdict == LS_DROPIN_RETRY && d->intake_waits &&
		    same_wait(d->intake_waits, job->message);

	free(d->intake_waits);
	d->intake_waits = job->verdict == LS_DROPIN_RETRY ? ls_strdup(job->message) : NULL;
	return same;
}

static void intake_done(void *arg)
{
	struct intake_job *job = arg;
	struct ls_daemon *d = job->d;

	d->intake_busy = false;
	if (!job->about.components && !job->gathered)
		ls_strv_add(&job->about.components, ls_component_alias(the_set(job)->component));
	if (!said_already(d, job) && job->message)
		ls_log_change(d, job->priority, job->event, &job->about, "%s", job->message);
	ls_dropin_settle(d->dropin, job->verdict, ls_mono_ms());
	if (job->judged) /* only then is there something to tidy */
		ls_source_arm(d->reconcile_timer, 0);
	job_free(job);
	ls_daemon_follow_store(d);
	ls_daemon_look(d);
}

static void intake_drop(void *arg)
{
	job_free(arg);
}

/* Whether this stray is one too many to be refused by itself. */
static bool is_flood(struct ls_daemon *d, int64_t now_ms)
{
	if (now_ms - d->strays_since_ms >= STRAYS_WINDOW_MS) {
		d->strays_since_ms = now_ms;
		d->strays = 0;
	}
	return d->strays++ >= STRAYS_SINGLY;
}

static void fill_sets(struct intake_job *job, const struct ls_dropin_offer *offer)
{
	struct ls_change_set *set = ls_change_add_set(&job->change, offer->component);
	static const struct ls_bytes empty = { "", 0 };

	job->change.kind = LS_CHANGE_DROP_IN;
	ls_change_file_set(&set->cert, offer->cert_name ? offer->cert_name : "certificate",
		offer->cert.data ? offer->cert : empty);
	if (offer->key.data &&
		(!offer->cert_name || strcmp(offer->cert_name, offer->key_name) != 0))
		ls_change_file_set(&set->key, offer->key_name, offer->key);
}

static void post(struct ls_daemon *d, const struct ls_dropin_offer *offer, int64_t now_ms)
{
	struct intake_job *job = ls_alloc(1, sizeof *job);

	job->d = d;
	job->origin = offer->origin;
	job->last_chance = offer->last_chance;
	job->has_cert = offer->cert_name != NULL;
	job->fault = offer->fault ? ls_strdup(offer->fault) : NULL;
	job->unread = offer->unread;
	fill_sets(job, offer);
	if (offer->stray && is_flood(d, now_ms))
		job->gathered = ls_dropin_gather(d->dropin, now_ms, &job->names);
	d->intake_busy = true;
	ls_worker_post(d->writer, intake_work, intake_done, intake_drop, job);
}

/* The live files' plan names every component of the state. */
static void learn_components(struct ls_daemon *d)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	const struct ls_live_plan *plan;
	size_t count = 0;

	(void)pthread_mutex_lock(&d->guard.mutex);
	plan = d->guard.plan;
	if (plan)
		names = ls_alloc(plan->count + 1, sizeof *names);
	for (size_t i = 0; plan && i < plan->count; i++)
		if (plan->files[i].kind == LS_LIVE_CERT)
			names[count++] = ls_strdup(plan->files[i].component);
	(void)pthread_mutex_unlock(&d->guard.mutex);
	ls_dropin_know(d->dropin, &names);
}

/* False: not yet again. */
static bool scan(struct ls_daemon *d, int64_t now_ms)
{
	struct ls_err err = { 0 };
	enum ls_code code;
	int64_t end_ms;

	if (now_ms < d->scan_not_before_ms)
		return false;
	code = ls_dropin_scan(d->dropin, now_ms, &err);
	end_ms = ls_mono_ms();
	d->scan_not_before_ms = end_ms + SCAN_PAUSE * (end_ms - now_ms);
	free(d->intake_fault);
	d->intake_fault = NULL;
	if (code != LS_OK)
		d->intake_fault = ls_format("incoming/ cannot be looked at: %s", err.text);
	return true;
}

void ls_daemon_collect(struct ls_daemon *d)
{
	struct ls_dropin_offer offer;
	int64_t now_ms = ls_mono_ms(), wake_ms, pause_ms;
	bool scanned;

	if (!d->ready || d->intake_busy)
		return;
	scanned = scan(d, now_ms);
	learn_components(d);
	if (ls_dropin_next(d->dropin, now_ms, &offer)) {
		post(d, &offer, now_ms);
		return;
	}
	wake_ms = ls_dropin_wake_ms(d->dropin, now_ms);
	if (wake_ms < 0 && scanned) { /* somebody took away what was waiting */
		free(d->intake_waits);
		d->intake_waits = NULL;
	}
	pause_ms = d->scan_not_before_ms - now_ms;
	if (!scanned && (wake_ms < 0 || wake_ms > pause_ms))
		wake_ms = pause_ms;
	ls_source_arm(d->intake_timer, wake_ms);
}
