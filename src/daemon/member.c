/* The files of an etcd member, asked for on the control socket: a job for the writer, which is the
 * one that renews them. */
#include <stdlib.h>
#include <syslog.h>

#include "daemon/daemon.h"
#include "daemon/leaves.h"

struct member_job {
	struct ls_daemon *d;
	struct ls_request *req;
	struct ls_etcd_member member;
	struct ls_author author;
	json_t *answer;
	struct ls_err err;
	enum ls_code code;
};

static void job_free(struct member_job *job)
{
	ls_etcd_member_done(&job->member);
	ls_author_done(&job->author);
	json_decref(job->answer);
	free(job);
}

static void work(void *arg)
{
	struct member_job *job = arg;

	job->code = ls_agent_etcd_member(job->d->agent, &job->member, &job->answer, &job->err);
}

static void done(void *arg)
{
	struct member_job *job = arg;

	if (job->code == LS_OK)
		ls_log(job->d, LOG_NOTICE, LS_EVENT_LEAF, NULL,
			"the files of etcd member %s were written, asked for by %s",
			job->member.name, job->author.name);
	ls_daemon_answer(job->req, job->code, LS_TAKE(job->answer), &job->err);
	job_free(job);
}

/* The daemon stops. */
static void drop(void *arg)
{
	struct member_job *job = arg;
	struct ls_err err = { 0 };

	LS_FAIL(&err, LS_E_UNKNOWN, "the daemon is stopping");
	ls_daemon_answer(job->req, LS_E_UNKNOWN, NULL, &err);
	job_free(job);
}

static enum ls_code read_request(
	struct ls_request *req, struct ls_etcd_member *out, struct ls_err *err)
{
	struct ls_bytes body = ls_request_body(req);
	json_t *json =
		json_loadb(body.data ? body.data : "", body.len, JSON_REJECT_DUPLICATES, NULL);
	enum ls_code code = json ? ls_etcd_member_from_json(json, out, err)
				 : LS_FAIL(err, LS_E_USAGE, "the request is not JSON");

	json_decref(json);
	return code;
}

void ls_daemon_etcd_member(struct ls_daemon *d, struct ls_request *req)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member member = { 0 };
	struct member_job *job;
	struct ls_err err = { 0 };
	enum ls_code code = read_request(req, &member, &err);

	/* A hook of a rotation must not wait for the writer, which waits for the hook. */
	if (code == LS_OK && (d->change_queued || atomic_load(&d->rotating))) {
		code = LS_FAIL(&err, LS_E_CONFLICT, "a change is running on this node");
		LS_HINT(&err, "nothing was written; try again when it has ended");
	}
	if (code != LS_OK) {
		ls_daemon_answer(req, code, NULL, &err);
		return;
	}
	job = ls_alloc(1, sizeof *job);
	job->d = d;
	job->req = req;
	job->member = member;
	member = (struct ls_etcd_member){ 0 };
	ls_author_of(ls_request_peer(req)->uid, d->agent->identity.node, &job->author);
	ls_worker_post(d->writer, work, done, drop, job);
}
