/* The cluster's own TLS files in the daemon: the look at them behind each reconciliation, and an
 * etcd member's, asked for on the control socket. Both are the writer's work: it is the one that
 * writes them. */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/daemon.h"
#include "daemon/leaves.h"

/* Beside the reconciliation: neither is a hindrance to the other. */
void ls_leaf_look(struct ls_agent *a, struct ls_leaf_look *out)
{
	struct ls_err err = { 0 };

	if (ls_agent_keep_all(a, a->config.gateway_address, &out->looked, &out->issued, &err) !=
		LS_OK)
		out->fault = ls_strdup(err.text);
}

void ls_leaf_log(struct ls_daemon *d, struct ls_leaf_look *look)
{
	for (size_t i = 0; i < ls_strv_count(look->issued); i++)
		ls_log(d, LOG_NOTICE, LS_EVENT_LEAF, NULL, "%s", look->issued[i]);
	if (!look->looked)
		return;
	if (look->fault && (!d->leaf_fault || strcmp(d->leaf_fault, look->fault) != 0))
		ls_log(d, LOG_ERR, LS_EVENT_LEAF, NULL,
			"a TLS certificate of the cluster's own cannot be renewed: %s; tried again "
			"every minute",
			look->fault);
	free(d->leaf_fault);
	d->leaf_fault = LS_TAKE(look->fault);
}

void ls_leaf_look_done(struct ls_leaf_look *look)
{
	ls_free_strv(&look->issued);
	free(look->fault);
	look->fault = NULL;
}

/* An etcd member's files. */

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
	if (job->code == LS_OK)
		ls_daemon_reply(job->req, 200, LS_TAKE(job->answer));
	else
		ls_daemon_reply_error(job->req, &job->err);
	job_free(job);
}

/* The daemon stops. */
static void drop(void *arg)
{
	struct member_job *job = arg;
	struct ls_err err = { 0 };

	LS_FAIL(&err, LS_E_UNKNOWN, "the daemon is stopping");
	ls_daemon_reply_error(job->req, &err);
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
		ls_daemon_reply_error(req, &err);
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
