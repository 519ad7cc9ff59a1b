/* Requests on the control socket that are about the cluster: tokens, joining, the running rotation.
 */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/daemon.h"
#include "daemon/joining.h"
#include "daemon/view.h"

#define JSON_TYPE "application/json"

/* For the writer: what changes something. */

enum member_ask { ASK_TOKEN, ASK_JOIN };

struct member_job {
	struct ls_daemon *d;
	struct ls_request *req;
	enum member_ask ask;
	json_t *body, *answer;
	struct ls_err err;
	enum ls_code code;
};

static void job_free(struct member_job *job)
{
	json_decref(job->body);
	json_decref(job->answer);
	free(job);
}

static enum ls_code make_token(struct member_job *job)
{
	int64_t ttl_s = json_integer_value(json_object_get(job->body, "ttl_s")), wait_s;

	if (ttl_s < 1 || ttl_s > LS_TOKEN_TTL_MAX_S)
		return LS_FAIL(&job->err, LS_E_REFUSED, "a token lives for one second to %d days",
			LS_TOKEN_TTL_MAX_S / 86400);
	LS_TRY(ls_agent_reconcile(job->d->agent, &wait_s, &job->err));
	return ls_joining_token(job->d->agent, ttl_s, &job->answer, &job->err);
}

static void member_work(void *arg)
{
	struct member_job *job = arg;
	struct ls_daemon *d = job->d;

	ls_daemon_rotation_begin(d);
	job->code = job->ask == ASK_TOKEN
			    ? make_token(job)
			    : ls_joining_answer(d->agent, job->body, &job->answer, &job->err);
	ls_daemon_rotation_end(d);
	ls_daemon_note_store(d);
}

static void member_done(void *arg)
{
	struct member_job *job = arg;
	struct ls_daemon *d = job->d;

	if (job->ask == ASK_JOIN && job->code == LS_OK)
		ls_log(d, LOG_NOTICE, LS_EVENT_CHANGE, NULL, "a node was taken into the cluster");
	else if (job->ask == ASK_JOIN && job->code != LS_E_CONFLICT)
		ls_log(d, LOG_WARNING, LS_EVENT_CHANGE_FAILED, NULL, "a node asks to join: %s",
			job->err.text);
	if (job->code == LS_OK)
		ls_daemon_reply(job->req, 200, LS_TAKE(job->answer));
	else
		ls_daemon_reply_error(job->req, &job->err);
	job_free(job);
	ls_source_arm(d->reconcile_timer, 0);
	ls_daemon_follow_store(d);
	ls_daemon_look(d);
}

static void member_drop(void *arg)
{
	struct member_job *job = arg;

	ls_request_reply(job->req, 503, JSON_TYPE, (struct ls_bytes){ "", 0 });
	job_free(job);
}

static void refuse(struct ls_request *req, enum ls_code code, const char *what)
{
	struct ls_err err = { 0 };

	LS_FAIL(&err, code, "%s", what);
	ls_daemon_reply_error(req, &err);
}

static void post_member(struct ls_daemon *d, struct ls_request *req, enum member_ask ask)
{
	struct ls_bytes text = ls_request_body(req);
	json_t *body = json_loadb(text.data ?: "", text.len, JSON_REJECT_DUPLICATES, NULL);
	struct member_job *job;

	ls_request_forget_body(req);
	if (!json_is_object(body)) {
		json_decref(body);
		refuse(req, LS_E_USAGE, "the request's body is not a JSON object");
		return;
	}
	/* Waiting for it on the writer, a hook that a rotation runs would wait for itself. */
	if (d->change_queued || atomic_load(&d->rotating)) {
		json_decref(body);
		refuse(req, LS_E_CONFLICT, "a change is running; this waits for its end");
		return;
	}
	job = ls_alloc(1, sizeof *job);
	job->d = d;
	job->req = req;
	job->ask = ask;
	job->body = body;
	ls_worker_post(d->writer, member_work, member_done, member_drop, job);
}

bool ls_daemon_cluster_request(struct ls_daemon *d, struct ls_request *req, const char *path)
{
	if (strcmp(path, "/v1/token") == 0)
		post_member(d, req, ASK_TOKEN);
	else if (strcmp(path, "/v1/join") == 0)
		post_member(d, req, ASK_JOIN);
	else
		return false;
	return true;
}
