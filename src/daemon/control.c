/* The control socket: who may ask for what, and how requests become jobs. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/command.h"
#include "daemon/daemon.h"
#include "daemon/doctor.h"
#include "daemon/joining.h"
#include "daemon/metrics.h"
#include "daemon/view.h"
#include "sys/file.h"
#include "sys/helper.h"
#include "sys/sandbox.h"

#define JSON_TYPE "application/json"
#define METRICS_TYPE "text/plain; version=0.0.4"
#define ASK_MS 10000
#define LINES_TYPE "application/x-ndjson"
/* Who may only look sends none. */
#define STRANGER_BODY_BYTES 4096

/* A directory of users that is asked over a socket (sssd, systemd) is out of reach of the sandbox.
 */
static char *ask_user(uid_t uid)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };
	char text[16];

	(void)snprintf(text, sizeof text, "%u", (unsigned)uid);
	if (!ls_sandbox_closed() || ls_helper_ask((const char *[]){ LS_ASK_USER, text, NULL }, -1,
					    ASK_MS, &answer, NULL) != LS_OK)
		return NULL;
	return ls_strndup((const char *)answer.value.data, answer.value.len);
}

void ls_author_of(uid_t uid, const char *node, struct ls_author *out)
{
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (getpwuid_r(uid, &pw, buf, sizeof buf, &found) == 0 && found)
		out->name = ls_strdup(pw.pw_name);
	else
		out->name = ask_user(uid);
	if (!out->name)
		out->name = ls_format("uid-%u", (unsigned)uid);
	out->email = ls_format("%s@%s", out->name, node);
}

void ls_author_done(struct ls_author *author)
{
	free(author->name);
	free(author->email);
	*author = (struct ls_author){ 0 };
}

bool ls_daemon_trusts(void *arg, const struct ls_peer *peer)
{
	struct ls_daemon *d = arg;

	return ls_access_of(&d->ids, peer) == LS_ACCESS_FULL;
}

size_t ls_daemon_body_of(void *arg, const struct ls_peer *peer)
{
	struct ls_daemon *d = arg;

	return ls_access_of(&d->ids, peer) == LS_ACCESS_GATEWAY ? LS_GATEWAY_BODY_BYTES
								: STRANGER_BODY_BYTES;
}

void ls_daemon_reply(struct ls_request *req, int status, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	ls_request_reply(req, status, JSON_TYPE, LS_BYTES_STR(text ? text : "{}"));
	free(text);
	json_decref(json);
}

static void forbid(struct ls_request *req)
{
	struct ls_err err = { 0 };

	LS_FAIL(&err, LS_E_REFUSED, "this user may not do that");
	LS_HINT(&err, "root and the group lockstep may; lockstep-ro may see the status");
	ls_daemon_reply(req, 403, ls_error_to_json(&err));
}

void ls_daemon_reply_error(struct ls_request *req, const struct ls_err *err)
{
	int status = err->code == LS_E_CONFLICT ? 409 : err->code == LS_E_USAGE ? 400 : 422;

	ls_daemon_reply(req, status, ls_error_to_json(err));
}

static void refuse(struct ls_request *req, enum ls_code code, const char *what, const char *hint)
{
	struct ls_err err = { 0 };

	LS_FAIL(&err, code, "%s", what);
	if (hint)
		LS_HINT(&err, "%s", hint);
	ls_daemon_reply_error(req, &err);
}

/* Changes. */

struct change_job {
	struct ls_daemon *d;
	struct ls_request *req;
	struct ls_change change;
	struct ls_author author;
	json_t *answer;
	struct ls_err err;
	enum ls_code code;
	bool detached;               /* answered already */
	struct progress_note *notes; /* all that were sent; the worker adds, the end frees */
};

struct progress_note {
	struct progress_note *next;
	struct change_job *job;
	char *line;
};

static void change_free(struct change_job *job)
{
	while (job->notes) {
		struct progress_note *note = job->notes;

		job->notes = note->next;
		free(note->line);
		free(note);
	}
	json_decref(job->answer);
	ls_change_done(&job->change);
	ls_author_done(&job->author);
	free(job);
}

/* The daemon stops: the server is gone, so ending the request only frees it. */
static void change_drop(void *arg)
{
	struct change_job *job = arg;

	if (!job->detached)
		ls_request_stream_end(job->req);
	change_free(job);
}

static void send_line(struct ls_request *req, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	if (text)
		ls_request_stream_line(req, text);
	free(text);
	json_decref(json);
}

static void progress_main(void *arg)
{
	struct progress_note *note = arg;

	if (!note->job->detached) {
		ls_request_stream_line(note->job->req, note->line);
		if (note->job->change.detach) { /* it has begun: that is all the caller waits for */
			ls_request_stream_end(note->job->req);
			note->job->detached = true;
		}
	}
}

/* Worker thread. */
static void on_progress(void *arg, const char *phase, const char *step, int64_t generation)
{
	struct change_job *job = arg;
	struct progress_note *note = ls_alloc(1, sizeof *note);
	json_t *json = json_pack("{s:{s:s, s:s, s:s, s:I}}", "progress", "node",
		job->d->agent->identity.node, "phase", phase, "step", step, "generation",
		(json_int_t)generation);

	atomic_store(&job->d->rotating, true);
	ls_worker_alive(job->d->writer);
	note->job = job;
	note->next = job->notes;
	job->notes = note;
	note->line = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	ls_loop_post(job->d->loop, progress_main,
		note); /* posted before the job's end, so it runs before it */
}

static void change_work(void *arg)
{
	struct change_job *job = arg;
	struct ls_agent *a = job->d->agent;

	a->on_progress = on_progress;
	a->on_progress_arg = job;
	job->code = ls_command_change(a, &job->change, &job->author, &job->answer, &job->err);
	a->on_progress = NULL;
	atomic_store(&job->d->rotating, false);
	if (job->change.kind == LS_CHANGE_MIGRATE)
		atomic_store(&job->d->reader_stale, true);
	ls_daemon_note_store(job->d);
}

static void on_rotation(void *arg, const char *phase, const char *step, int64_t generation)
{
	struct ls_daemon *d = arg;

	(void)phase;
	(void)step;
	(void)generation;
	atomic_store(&d->rotating, true);
	ls_worker_alive(d->writer);
}

void ls_daemon_rotation_begin(struct ls_daemon *d)
{
	d->agent->on_progress = on_rotation;
	d->agent->on_progress_arg = d;
}

void ls_daemon_rotation_end(struct ls_daemon *d)
{
	d->agent->on_progress = NULL;
	atomic_store(&d->rotating, false);
}

/* Which components a change that failed was about, as far as its words tell. */
static void asked_for(const struct ls_change *change, char ***out)
{
	for (size_t i = 0; i < change->set_count; i++)
		ls_strv_add(out, ls_component_alias(change->sets[i].component));
	for (size_t i = 0; i < ls_strv_count(change->names); i++)
		ls_strv_add(out, ls_component_alias(change->names[i]));
}

static void change_log(struct change_job *job)
{
	struct ls_daemon *d = job->d;
	LS_CLEANUP(ls_log_change_done) struct ls_log_change about = { .code = job->code };

	if (job->change.dry_run)
		return;
	if (job->code == LS_OK)
		ls_log_change_from(job->answer, &about);
	else
		asked_for(&job->change, &about.components);
	if (job->code == LS_OK && !json_is_true(json_object_get(job->answer, "unchanged")))
		ls_log_change(d, LOG_NOTICE, LS_EVENT_CHANGE, &about,
			"generation %lld is in force, asked for by %s", (long long)about.generation,
			job->author.name);
	else if (job->code == LS_E_ROLLED_BACK)
		ls_log_change(d, LOG_ERR, LS_EVENT_ROLLED_BACK, &about,
			"rolled back a change asked for by %s: %s", job->author.name,
			job->err.text);
	else if (job->code != LS_OK)
		ls_log_change(d, LOG_WARNING, LS_EVENT_CHANGE_FAILED, &about,
			"a change asked for by %s: %s: %s", job->author.name,
			ls_code_text(job->code), job->err.text);
}

static void change_done(void *arg)
{
	struct change_job *job = arg;
	struct ls_daemon *d = job->d;

	d->change_queued = false;
	change_log(job);
	if (!job->detached) {
		json_t *line = job->code == LS_OK ? json_pack("{s:O}", "result", job->answer)
						  : ls_error_to_json(&job->err);

		send_line(job->req, line);
		ls_request_stream_end(job->req);
	}
	change_free(job);
	ls_daemon_follow_store(d);
	ls_source_arm(d->reconcile_timer, 0); /* tidies; the caller need not wait for that */
	ls_daemon_look(d);
}

static void post_change(struct ls_daemon *d, struct ls_request *req)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { 0 };
	struct change_job *job;
	struct ls_err err = { 0 };

	enum ls_code code = ls_change_from_text(ls_request_body(req), &change, &err);

	ls_request_forget_body(req);
	if (code != LS_OK) {
		ls_daemon_reply_error(req, &err);
		return;
	}
	if (d->change_queued || atomic_load(&d->rotating)) {
		refuse(req, LS_E_CONFLICT, "another change is running on this node",
			"nothing was changed; lockstep status shows it, try again when it has "
			"ended");
		return;
	}
	job = ls_alloc(1, sizeof *job);
	job->d = d;
	job->req = req;
	job->change = change;
	change = (struct ls_change){ 0 };
	ls_author_of(ls_request_peer(req)->uid, d->agent->identity.node, &job->author);
	d->change_queued = true;
	if (job->change.kind == LS_CHANGE_MIGRATE)
		ls_daemon_leave_store(d);
	ls_request_stream_start(req, LINES_TYPE);
	ls_worker_post(d->writer, change_work, change_done, change_drop, job);
}

/* What is looked at. */

enum look {
	LOOK_STATUS,
	LOOK_CERTS,
	LOOK_CERT,
	LOOK_HISTORY,
	LOOK_GENERATION,
	LOOK_VERIFY,
	LOOK_DOCTOR,
	LOOK_ESCROW,
	LOOK_CLUSTER,
	LOOK_JOIN_HISTORY,
	LOOK_ROTATION,
	LOOK_ABORT,
	LOOK_METRICS
};

struct look_job {
	struct ls_daemon *d;
	struct ls_request *req;
	enum look look;
	char *name;
	int64_t number;
	struct ls_buf body;
	char **problems;
	json_t *answer;
	struct ls_buf text; /* instead of it: metrics */
	struct ls_err err;
	enum ls_code code;
};

static void verify_alive(void *arg, int64_t done, int64_t total)
{
	(void)done;
	(void)total;
	ls_worker_alive(arg);
}

static enum ls_code look_doctor(
	struct look_job *job, struct ls_agent *a, const struct ls_view_about *about)
{
	struct ls_doctor_about doctor = { .answers = true };
	json_t *status = NULL;
	enum ls_code code;

	if (ls_view_status(a, about, &status, NULL) == LS_OK)
		doctor.status = status;
	code = ls_doctor_examine(&job->d->paths, &doctor, &job->answer, &job->err);
	json_decref(status);
	return code;
}

static enum ls_code look_join_history(struct look_job *job, struct ls_agent *a)
{
	json_t *request =
		json_loadb(job->body.data ?: "", job->body.len, JSON_REJECT_DUPLICATES, NULL);
	enum ls_code code = ls_joining_history(a, request, &job->answer, &job->err);

	json_decref(request);
	return code;
}

/* From the heap. */
static struct ls_away *copy_away(struct ls_daemon *d, size_t *out_count)
{
	struct ls_away *copy;

	(void)pthread_mutex_lock(&d->guard.mutex);
	copy = ls_alloc(d->guard.away_count + 1, sizeof *copy);
	if (d->guard.away_count)
		memcpy(copy, d->guard.away, d->guard.away_count * sizeof *copy);
	*out_count = d->guard.away_count;
	(void)pthread_mutex_unlock(&d->guard.mutex);
	return copy;
}

static enum ls_code look_status(
	struct look_job *job, struct ls_agent *a, struct ls_view_about *about, json_t **out)
{
	struct ls_away *away = copy_away(job->d, &about->away_count);
	enum ls_code code;

	about->away = away;
	code = ls_view_status(a, about, out, &job->err);
	about->away = NULL;
	about->away_count = 0;
	free(away);
	return code;
}

static void look_work(void *arg)
{
	struct look_job *job = arg;
	struct ls_daemon *d = job->d;
	struct ls_agent *a = d->reader_agent;
	struct ls_view_about about = { .daemon_alive = true, .problems = job->problems };

	if (atomic_exchange(&d->reader_stale, false)) {
		LS_IGNORE(ls_agent_reload_config(
			a, NULL)); /* the writer's reload has said what is wrong */
		LS_IGNORE(ls_agent_open_store(a, NULL)); /* likewise */
	}
	switch (job->look) {
	case LOOK_STATUS:
		job->code = look_status(job, a, &about, &job->answer);
		break;
	case LOOK_CERTS:
	case LOOK_CERT:
		job->code = ls_view_certs(a, job->name, &job->answer, &job->err);
		break;
	case LOOK_HISTORY:
		job->code = ls_view_history(a, job->name, job->number, &job->answer, &job->err);
		break;
	case LOOK_GENERATION:
		job->code = ls_view_generation(a, job->number, &job->answer, &job->err);
		break;
	case LOOK_VERIFY:
		job->code = ls_view_verify(a, verify_alive, d->reader, &job->answer, &job->err);
		break;
	case LOOK_DOCTOR:
		job->code = look_doctor(job, a, &about);
		break;
	case LOOK_ESCROW:
		job->code = ls_agent_refresh(a, &job->err);
		if (job->code == LS_OK)
			job->code = ls_command_escrow(
				a, ls_buf_bytes(&job->body), &job->answer, &job->err);
		ls_keyring_done(&a->keyring); /* the reader holds keys no longer than it must */
		break;
	case LOOK_CLUSTER:
		job->code = ls_joining_cluster(a, &job->answer, &job->err);
		break;
	case LOOK_JOIN_HISTORY:
		job->code = look_join_history(job, a);
		ls_keyring_done(&a->keyring);
		break;
	case LOOK_ROTATION:
		job->code = ls_view_rotation(a, &job->answer, &job->err);
		break;
	case LOOK_ABORT:
		job->code = ls_rotation_stop(a, &job->answer, &job->err);
		break;
	case LOOK_METRICS:
		job->code = ls_metrics(a, &job->text, &job->err);
		break;
	}
}

static void look_free(struct look_job *job)
{
	json_decref(job->answer);
	ls_free_strv(&job->problems);
	ls_buf_done(&job->body);
	ls_buf_done(&job->text);
	free(job->name);
	free(job);
}

static void look_done(void *arg)
{
	struct look_job *job = arg;

	if (job->code == LS_OK && job->look == LOOK_METRICS)
		ls_request_reply(job->req, 200, METRICS_TYPE, ls_buf_bytes(&job->text));
	else if (job->code == LS_OK)
		ls_daemon_reply(job->req, 200, LS_TAKE(job->answer));
	else
		ls_daemon_reply_error(job->req, &job->err);
	look_free(job);
}

static void look_drop(void *arg)
{
	struct look_job *job = arg;

	ls_request_reply(job->req, 503, JSON_TYPE, (struct ls_bytes){ "", 0 });
	look_free(job);
}

static char **problems_of(struct ls_daemon *d)
{
	char **problems = NULL;

	if (d->stuck)
		ls_strv_add(&problems, d->stuck);
	if (d->leaf_fault)
		ls_strv_add(&problems, d->leaf_fault);
	if (d->intake_fault)
		ls_strv_add(&problems, d->intake_fault);
	if (d->intake_waits)
		ls_strv_add(&problems, d->intake_waits);
	ls_daemon_exposed(d, &problems);
	if (d->store_silent_ms) {
		LS_CLEANUP(ls_free_str)
		char *text = ls_format(
			"the watch of etcd has told nothing for %lld s: changes by other "
			"nodes are seen by timer only (every %lld s); does a member hang? "
			"lockstep doctor asks each",
			(long long)(d->store_silent_ms / 1000),
			(long long)(d->reconcile_ms / 1000));

		ls_strv_add(&problems, text);
	}
	if (ls_watch_mode(d->watch) == LS_WATCH_POLL) {
		LS_CLEANUP(ls_free_str)
		char *text = ls_format("files are watched by timer only (every %lld s): %s",
			(long long)(d->reconcile_ms / 1000), ls_watch_reason(d->watch));

		ls_strv_add(&problems, text);
	}
	return problems;
}

static void post_look(struct ls_daemon *d, struct ls_request *req, enum look look, const char *name,
	int64_t number)
{
	struct look_job *job = ls_alloc(1, sizeof *job);

	job->d = d;
	job->req = req;
	job->look = look;
	job->name = name ? ls_strdup(name) : NULL;
	job->number = number;
	if (look == LOOK_STATUS || look == LOOK_DOCTOR)
		job->problems = problems_of(d);
	if (look == LOOK_ESCROW || look == LOOK_JOIN_HISTORY)
		ls_buf_add_bytes(&job->body, ls_request_body(req));
	ls_worker_post(d->reader, look_work, look_done, look_drop, job);
}

static void route_get(struct ls_daemon *d, struct ls_request *req, const char *path)
{
	const char *text = ls_request_query(req, "n");
	int64_t number = 0;

	if (strcmp(path, "/v1/status") == 0)
		post_look(d, req, LOOK_STATUS, NULL, 0);
	else if (strcmp(path, "/v1/certs") == 0)
		post_look(d, req, LOOK_CERTS, NULL, 0);
	else if (ls_has_prefix(path, "/v1/certs/"))
		post_look(d, req, LOOK_CERT, path + strlen("/v1/certs/"), 0);
	else if (strcmp(path, "/v1/doctor") == 0)
		post_look(d, req, LOOK_DOCTOR, NULL, 0);
	else if (strcmp(path, "/v1/cluster") == 0)
		post_look(d, req, LOOK_CLUSTER, NULL, 0);
	else if (strcmp(path, "/v1/metrics") == 0)
		post_look(d, req, LOOK_METRICS, NULL, 0);
	else if (strcmp(path, "/v1/rotation") == 0)
		post_look(d, req, LOOK_ROTATION, NULL, 0);
	else if (strcmp(path, "/v1/verify") == 0)
		post_look(d, req, LOOK_VERIFY, NULL, 0);
	else if (strcmp(path, "/v1/history") == 0 &&
		 (!text || ls_text_number(text, 0, INT32_MAX, &number)))
		post_look(d, req, LOOK_HISTORY, ls_request_query(req, "name"), number);
	else if (ls_has_prefix(path, "/v1/history/") &&
		 ls_text_number(path + strlen("/v1/history/"), 1, INT64_MAX, &number))
		post_look(d, req, LOOK_GENERATION, NULL, number);
	else
		refuse(req, LS_E_USAGE, "no such resource", NULL);
}

void ls_daemon_request(void *arg, struct ls_request *req)
{
	struct ls_daemon *d = arg;
	const char *path = ls_request_path(req);
	bool get = strcmp(ls_request_method(req), "GET") == 0;
	enum ls_access access = ls_access_of(&d->ids, ls_request_peer(req));

	if (!ls_access_may(access, ls_request_method(req), path))
		forbid(req);
	else if (get)
		route_get(d, req, path);
	else if (strcmp(path, "/v1/change") == 0)
		post_change(d, req);
	else if (strcmp(path, "/v1/escrow") == 0)
		post_look(d, req, LOOK_ESCROW, NULL, 0);
	else if (strcmp(path, "/v1/join/history") == 0)
		post_look(d, req, LOOK_JOIN_HISTORY, NULL, 0);
	else if (strcmp(path, "/v1/rotation/abort") == 0)
		post_look(d, req, LOOK_ABORT, NULL, 0);
	else if (strcmp(path, "/v1/etcd-member") == 0)
		ls_daemon_etcd_member(d, req);
	else if (!ls_daemon_cluster_request(d, req, path))
		refuse(req, LS_E_USAGE, "no such resource", NULL);
}
