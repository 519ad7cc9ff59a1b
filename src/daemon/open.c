/* From waiting for init to a running node; rereading the configuration; the reconcile timer. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <syslog.h>

#include "daemon/command.h"
#include "daemon/daemon.h"
#include "daemon/protect.h"
#include "sys/file.h"
#include "sys/systemd.h"

#define RETRY_MS 2000
/* `lockstep init` is about to end. */
#define RETRY_BUSY_MS 200
#define LIFE_MAX_MS 60000
/* Members of etcd speak every two seconds, and one that does not is left after seven. */
#define DEAF_MS 30000
#define SOCKET_CONNECTIONS 256
#define SOCKET_IDLE_S 60
#define SOCKET_HEADER_BYTES 8192
/* The largest cert set --from: base64 of many credentials at the policy's bound. */
#define SOCKET_BODY_BYTES (64 * 1024 * 1024)
/* For whom there is no room. */
#define SOCKET_BUSY_BODY_BYTES 4096
#define SOCKET_SPARE_MS 100 /* a client asks when it has connected */

struct open_job {
	struct ls_daemon *d;
	struct ls_agent *agent, *reader;
	struct ls_live *live;
	struct ls_live_plan *plan;
	struct ls_err err;
	enum ls_code code;
	int64_t wait_s;
	int64_t silent_ms; /* of the store's watch */
	bool limited;      /* see daemon.h */
	char *waits;       /* why nothing was reconciled at the start; NULL: it was */
	char *restored;    /* what was done about an engine that was behind; NULL: nothing */
	char *ended;       /* how a rotation ended that nobody here waits for; NULL: none did */
	enum ls_event ended_event;
	struct ls_leaf_look leaves;
};

static void open_job_free(struct open_job *job)
{
	ls_leaf_look_done(&job->leaves);
	free(job->ended);
	free(job->waits);
	free(job->restored);
	free(job);
}

static void open_drop(void *arg)
{
	struct open_job *job = arg;

	ls_agent_free(&job->agent);
	ls_agent_free(&job->reader);
	ls_live_free(&job->live);
	ls_live_plan_free(&job->plan);
	open_job_free(job);
}

/* A rotation that was cut short (a crash, a full disk) ends here, with nobody to tell but the
 * journal. */
static enum ls_code reconcile(struct open_job *job, struct ls_agent *a)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view before = { 0 }, after = { 0 };
	enum ls_code code = ls_agent_read(a, &before, &job->err);
	bool own;

	if (code == LS_OK)
		code = ls_agent_reconcile(a, &job->wait_s, &job->err);
	if (a->peers.restored_to > 0) {
		job->restored = ls_format("etcd was at generation %lld, as after a restore from a "
					  "backup: it was put forward to %lld, which was decided",
			(long long)a->peers.restored_from, (long long)a->peers.restored_to);
		a->peers.restored_from = a->peers.restored_to = 0;
	}
	if (!before.rotation || ls_store_read(a->store, &after, NULL) != LS_OK || !after.last ||
		strcmp(after.last->nonce, before.rotation->nonce) != 0)
		return code;
	own = strcmp(before.rotation->initiator, a->identity.node) == 0;
	job->ended_event = strcmp(after.last->result, "done") == 0 ? LS_EVENT_CHANGE
			   : strcmp(after.last->result, "rolled back") == 0
				   ? LS_EVENT_ROLLED_BACK
				   : LS_EVENT_CHANGE_FAILED;
	job->ended = ls_format("the rotation to generation %lld, %s%s: %s%s%s",
		(long long)before.rotation->generation, own ? "which was interrupted" : "begun by ",
		own ? "" : before.rotation->initiator, after.last->result,
		after.last->why[0] ? ": " : "", after.last->why);
	return code;
}

static void log_ended(struct ls_daemon *d, const struct open_job *job)
{
	if (job->restored)
		ls_log(d, LOG_WARNING, LS_EVENT_ENGINE, NULL, "%s", job->restored);
	if (job->ended)
		ls_log(d, job->ended_event == LS_EVENT_CHANGE ? LOG_NOTICE : LOG_ERR,
			job->ended_event, NULL, "%s", job->ended);
}

/* The plan of what is live now: what the main thread heals by until the next rotation. */
static enum ls_code present_plan(
	struct ls_agent *a, struct ls_live_plan **out, char **warning, struct ls_err *err)
{
	char dir[LS_LIVE_DIR_SIZE];

	LS_TRY(ls_live_current(a->live, dir, err));
	return ls_live_plan_new(&a->tip, &a->services, &a->keyring, dir, out, warning, err);
}

/* While a template cannot be read nothing was reconciled: a plan is only made when the live
 * directory is the one that the record wants, or there is none. */
static enum ls_code limited_plan(struct ls_agent *a, struct ls_live_plan **out, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	char current[LS_LIVE_DIR_SIZE], wanted[LS_LIVE_DIR_SIZE];

	LS_TRY(ls_store_read(a->store, &view, err));
	ls_live_dir_name(view.tip.dir_generation, view.tip.dir_commit, wanted);
	if (view.rotation ||
		(ls_live_current(a->live, current, NULL) == LS_OK && strcmp(current, wanted) != 0))
		return LS_OK;
	return ls_live_plan_new(&a->tip, &a->services, &a->keyring, wanted, out, NULL, err);
}

/* A node whose worker hangs must not be counted on. A hook may rightly take a while. */
bool ls_daemon_worker_lives(void *arg)
{
	struct ls_daemon *d = arg;
	bool lives;

	(void)pthread_mutex_lock(&d->guard.mutex);
	lives = !d->counted_on || ls_worker_silent_ms(d->counted_on) < LIFE_MAX_MS;
	(void)pthread_mutex_unlock(&d->guard.mutex);
	return lives;
}

/* Without its engine a node opens, heals and answers with what it has. */
static enum ls_code start_reconcile(struct open_job *job)
{
	enum ls_code code = reconcile(job, job->agent);

	if (!ls_store_shared(job->agent->store) && !job->agent->engine.migrating)
		return code;
	if (code != LS_OK)
		job->waits = ls_strdup(job->err.text);
	return LS_OK;
}

static enum ls_code open_all(struct open_job *job)
{
	struct ls_daemon *d = job->d;
	const char *root = d->paths.root, *config = d->paths.config;

	LS_TRY(ls_agent_open(root, config, true, &job->agent, &job->err));
	job->agent->generate = ls_daemon_generate;
	job->limited = job->agent->faults != NULL;
	(void)pthread_mutex_lock(&d->guard.mutex);
	d->counted_on = d->writer;
	(void)pthread_mutex_unlock(&d->guard.mutex);
	job->agent->lives = ls_daemon_worker_lives;
	job->agent->lives_arg = d;
	ls_store_set_lease(job->agent->store, job->agent->config.lease_ttl_s, job->agent->lives,
		job->agent->lives_arg);
	if (!job->limited)
		LS_TRY(start_reconcile(job));
	atomic_store(&d->store_fd, ls_store_watch_fd(job->agent->store));
	LS_TRY(ls_agent_open(root, config, false, &job->reader, &job->err));
	LS_TRY(ls_live_open(d->paths.certs, &job->live, &job->err));
	ls_leaf_look(job->agent, &job->leaves);
	if (job->limited)
		return limited_plan(job->agent, &job->plan, &job->err);
	return present_plan(job->agent, &job->plan, NULL, &job->err);
}

static void open_work(void *arg)
{
	struct open_job *job = arg;

	job->code = open_all(job);
}

static struct ls_dropin_settings dropin_settings(const struct ls_agent *a)
{
	return (struct ls_dropin_settings){
		.settle_ms = a->config.settle_ms,
		.patience_ms = a->config.patience_s * 1000,
		.bytes_max = (size_t)a->tip.policy.intake_bytes_max,
	};
}

/* Copies: the agent may be with the writer. */
static void take_config(
	struct ls_daemon *d, const struct ls_config *c, const struct ls_dropin_settings *settings)
{
	d->log_level = c->log_level;
	d->reconcile_ms = c->reconcile_s * 1000;
	d->rejected_keep_days = c->rejected_keep_days;
	if (d->dropin)
		ls_dropin_set(d->dropin, settings);
	else
		ls_dropin_new(d->paths.incoming, settings, &d->dropin);
}

static void adopt_templates(struct ls_daemon *d);

/* A quarter of the descriptors at most: a change needs some as well. */
static int connections_max(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 4 * SOCKET_CONNECTIONS)
		return (int)(files.rlim_cur / 4);
	return SOCKET_CONNECTIONS;
}

static enum ls_code start_serving(struct ls_daemon *d, struct ls_err *err)
{
	struct ls_server_limits limits = {
		.body_bytes = SOCKET_BODY_BYTES,
		.header_bytes = SOCKET_HEADER_BYTES,
		.connections = connections_max(),
		.idle_s = SOCKET_IDLE_S,
		.spare_ms = SOCKET_SPARE_MS,
		.trusted = ls_daemon_trusts,
		.body_of = ls_daemon_body_of,
		.stranger_body_bytes = SOCKET_BUSY_BODY_BYTES,
		.busy = "{\"error\":{\"code\":\"unreachable\",\"message\":\"the daemon has too "
			"many "
			"connections\",\"hint\":\"nothing was done; try again in a moment\"}}",
	};

	return ls_server_new_at(d->loop, &d->place, &limits, ls_daemon_request, d, &d->server, err);
}

static void say_unlocked(struct ls_daemon *d)
{
	if (d->said_unlocked || !ls_protect_unlocked())
		return;
	d->said_unlocked = true;
	ls_log(d, LOG_WARNING, LS_EVENT_START, NULL, "%s; %s", ls_protect_unlocked_text,
		ls_protect_unlocked_hint);
}

static void open_failed(struct ls_daemon *d, struct open_job *job)
{
	bool busy = job->code == LS_E_CONFLICT;
	LS_CLEANUP(ls_free_str)
	char *status = ls_format("READY=1\nSTATUS=cannot open the node: %s", job->err.text);

	/* Ready all the same: units ordered after this one start with the live files that are
	 * there, and systemd does not restart what restarting cannot mend. */
	ls_systemd_notify(status);
	if (busy && (!d->stuck || strcmp(d->stuck, job->err.text) != 0))
		ls_log(d, LOG_NOTICE, LS_EVENT_START, NULL, "waiting: %s", job->err.text);
	else if (!d->stuck || strcmp(d->stuck, job->err.text) != 0)
		ls_log(d, LOG_ERR, LS_EVENT_STUCK, NULL,
			"the node cannot be opened: %s; tried again every %d s%s%s", job->err.text,
			RETRY_MS / 1000, job->err.hint[0] ? "; " : "", job->err.hint);
	free(d->stuck);
	d->stuck = ls_strdup(job->err.text);
	ls_agent_free(&job->agent);
	ls_agent_free(&job->reader);
	ls_live_free(&job->live);
	ls_live_plan_free(&job->plan);
	ls_source_arm(d->retry_timer, busy ? RETRY_BUSY_MS : RETRY_MS);
}

/* The agent is the writer's as soon as the first job is posted: before that. */
static void say_ready(struct ls_daemon *d)
{
	const struct ls_agent *a = d->agent;
	LS_CLEANUP(ls_free_str) char *status = NULL;

	ls_log(d, LOG_NOTICE, LS_EVENT_READY, NULL, "node %s of cluster %s is ready",
		a->identity.node, a->identity.cluster);
	for (size_t i = 0; i < ls_strv_count(a->faults); i++)
		ls_log(d, LOG_ERR, LS_EVENT_STUCK, NULL,
			"a template cannot be read: %s; live files are healed, no change is made",
			a->faults[i]);
	if (d->limited)
		d->stuck = ls_strdup(a->faults[0]);
	status = d->limited ? ls_format("READY=1\nSTATUS=no change is made: %s", a->faults[0])
			    : ls_strdup("READY=1\nSTATUS=ready");
	ls_systemd_notify(status);
}

static void open_done(void *arg)
{
	struct open_job *job = arg;
	struct ls_daemon *d = job->d;
	struct ls_dropin_settings settings;

	d->opening = false;
	if (job->code == LS_OK && !d->server)
		job->code = start_serving(d, &job->err);
	if (job->code != LS_OK) {
		open_failed(d, job);
		open_job_free(job);
		return;
	}
	free(d->stuck);
	d->stuck = NULL;
	d->agent = job->agent;
	d->reader_agent = job->reader;
	d->live = job->live;
	d->guard.plan = job->plan;
	d->agent->guard = &d->guard;
	settings = dropin_settings(d->agent);
	take_config(d, &d->agent->config, &settings);
	d->ready = true;
	d->limited = job->limited;
	say_ready(d);
	say_unlocked(d);
	log_ended(d, job);
	ls_leaf_log(d, &job->leaves);
	if (job->waits) {
		ls_log(d, LOG_ERR, LS_EVENT_STUCK, NULL, "%s; tried again every %lld s", job->waits,
			(long long)(d->reconcile_ms / 1000));
		if (!d->stuck)
			d->stuck = ls_strdup(job->waits);
	}
	open_job_free(job);
	ls_daemon_follow_store(d);
	ls_daemon_look(d);
	if (ls_watch_mode(d->watch) == LS_WATCH_POLL)
		ls_log(d, LOG_WARNING, LS_EVENT_WATCH, NULL, "files are watched by timer only: %s",
			ls_watch_reason(d->watch));
	ls_source_arm(d->reconcile_timer, d->reconcile_ms);
	if (d->reread) /* asked for while the old files were being read */
		ls_daemon_reload(d);
	else if (!d->limited)
		adopt_templates(d);
}

void ls_daemon_open(struct ls_daemon *d)
{
	struct open_job *job;

	if (d->ready || d->opening)
		return;
	if (!ls_agent_initialised(&d->paths)) {
		ls_source_arm(d->retry_timer, RETRY_MS);
		return;
	}
	job = ls_alloc(1, sizeof *job);
	job->d = d;
	job->code = d->writer ? LS_OK : ls_daemon_confine(d, &job->err);
	if (job->code == LS_E_FAILED) { /* half closed: to go on would be to pretend */
		ls_log(d, LOG_ERR, LS_EVENT_SANDBOX, NULL, "the sandbox does not close: %s",
			job->err.text);
		d->exit_status = 1;
		ls_loop_stop(d->loop);
	}
	if (job->code != LS_OK) {
		open_failed(d, job);
		open_job_free(job);
		return;
	}
	d->opening = true;
	ls_worker_post(d->writer, open_work, open_done, open_drop, job);
}

/* Templates that bring a new component. */

struct adopt_job {
	struct ls_daemon *d;
	struct ls_err err;
	enum ls_code code;
	json_t *answer;
};

static void adopt_work(void *arg)
{
	struct adopt_job *job = arg;
	struct ls_change change = { .kind = LS_CHANGE_ADOPT };
	struct ls_author author = { 0 };

	author.name = ls_strdup("template");
	author.email = ls_format("template@%s", job->d->agent->identity.node);
	ls_daemon_rotation_begin(job->d);
	job->code = ls_command_change(job->d->agent, &change, &author, &job->answer, &job->err);
	ls_daemon_rotation_end(job->d);
	ls_author_done(&author);
}

static void adopt_drop(void *arg)
{
	struct adopt_job *job = arg;

	json_decref(job->answer);
	free(job);
}

static void adopt_done(void *arg)
{
	struct adopt_job *job = arg;
	struct ls_daemon *d = job->d;
	LS_CLEANUP(ls_log_change_done) struct ls_log_change about = { 0 };

	if (job->code != LS_OK)
		ls_log(d, LOG_ERR, LS_EVENT_CHANGE_FAILED, NULL, "new templates: %s",
			job->err.text);
	else if (!json_is_true(json_object_get(job->answer, "unchanged"))) {
		ls_log_change_from(job->answer, &about);
		ls_log_change(d, LOG_NOTICE, LS_EVENT_CHANGE, &about,
			"generation %lld: components of new templates",
			(long long)about.generation);
	}
	json_decref(job->answer);
	free(job);
	ls_daemon_follow_store(d);
	ls_daemon_look(d);
	ls_daemon_reconcile(d); /* whoever has it reread its files wants a look at all */
}

static void adopt_templates(struct ls_daemon *d)
{
	struct adopt_job *job = ls_alloc(1, sizeof *job);

	job->d = d;
	ls_worker_post(d->writer, adopt_work, adopt_done, adopt_drop, job);
}

/* SIGHUP. */

struct reload_job {
	struct ls_daemon *d;
	struct ls_config config;
	struct ls_dropin_settings settings;
	struct ls_err err;
	enum ls_code code;
};

static void reload_work(void *arg)
{
	struct reload_job *job = arg;
	struct ls_agent *a = job->d->agent;
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = NULL;

	bool limited = a->faults != NULL;

	job->code = ls_agent_reload_config(a, &job->err);
	if (job->code == LS_OK) /* file modes may have changed */
		job->code = limited ? limited_plan(a, &plan, &job->err)
				    : present_plan(a, &plan, NULL, &job->err);
	a->leaves_again_ms = 0; /* looked at by the reconciliation that follows */
	if (job->code != LS_OK)
		return;
	job->config = a->config;
	job->settings = dropin_settings(a);
	ls_daemon_note_store(job->d);
	/* Here, before the next job: a later one may activate another directory, and healing by an
	 * older plan would take that back. */
	(void)pthread_mutex_lock(&job->d->guard.mutex);
	ls_live_plan_free(&job->d->guard.plan);
	job->d->guard.plan = LS_TAKE(plan);
	(void)pthread_mutex_unlock(&job->d->guard.mutex);
}

static void reload_done(void *arg)
{
	struct reload_job *job = arg;
	struct ls_daemon *d = job->d;
	LS_CLEANUP(ls_free_str) char *status = NULL;

	if (job->code == LS_OK) {
		atomic_store(&d->reader_stale, true);
		take_config(d, &job->config, &job->settings);
		ls_log(d, LOG_NOTICE, LS_EVENT_RELOAD, NULL, "configuration and templates reread");
		if (d->limited) {
			free(d->stuck);
			d->stuck = NULL;
		}
		d->limited = false;
		adopt_templates(d);
	} else if (!d->limited || strcmp(d->stuck, job->err.text) != 0) {
		ls_log(d, LOG_ERR, LS_EVENT_RELOAD, NULL, "%s: %s",
			d->limited ? "no change is made" : "the old configuration stays in force",
			job->err.text);
	}
	if (d->limited) {
		free(d->stuck);
		d->stuck = ls_strdup(job->err.text);
	}
	status = job->code == LS_OK ? ls_strdup("READY=1\nSTATUS=ready")
				    : ls_format("READY=1\nSTATUS=%s: %s",
					      d->limited ? "no change is made"
							 : "the old configuration stays in force",
					      job->err.text);
	ls_source_arm(d->reconcile_timer, d->reconcile_ms);
	ls_systemd_notify(status);
	free(job);
	ls_daemon_follow_store(d);
	ls_daemon_look(d);
}

void ls_daemon_reload(struct ls_daemon *d)
{
	struct reload_job *job;
	LS_CLEANUP(ls_free_str) char *state = NULL;

	d->reread = !d->ready;
	if (!d->ready)
		return;
	state = ls_format("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)ls_mono_ms() * 1000);
	ls_systemd_notify(state);
	job = ls_alloc(1, sizeof *job);
	job->d = d;
	ls_worker_post(d->writer, reload_work, reload_done, free, job);
}

/* Changes by other nodes. */

void ls_daemon_note_store(struct ls_daemon *d)
{
	const struct ls_peers *peers = &d->agent->peers;

	atomic_store(&d->store_fd, ls_store_watch_fd(d->agent->store));
	(void)pthread_mutex_lock(&d->guard.mutex);
	free(d->guard.away);
	d->guard.away = ls_alloc(peers->away_count + 1, sizeof *d->guard.away);
	if (peers->away_count)
		memcpy(d->guard.away, peers->away, peers->away_count * sizeof *peers->away);
	d->guard.away_count = peers->away_count;
	(void)pthread_mutex_unlock(&d->guard.mutex);
}

/* It stays readable until the store is read, which is the writer's work: one look at a time. */
static void on_store(void *arg)
{
	struct ls_daemon *d = arg;

	ls_source_free(&d->store_source);
	ls_daemon_reconcile(d);
}

void ls_daemon_leave_store(struct ls_daemon *d)
{
	ls_source_free(&d->store_source);
}

void ls_daemon_follow_store(struct ls_daemon *d)
{
	int fd = atomic_load(&d->store_fd);

	if (!d->store_source && fd >= 0 && ls_worker_pending(d->writer) == 0)
		d->store_source = ls_loop_readable(d->loop, fd, on_store, d);
}

/* The timer: looks whatever events said. */

static void reconcile_work(void *arg)
{
	struct open_job *job = arg;

	ls_daemon_rotation_begin(job->d);
	job->code = reconcile(job, job->d->agent);
	ls_daemon_rotation_end(job->d);
	/* Whatever became of that: without its certificate a member of the engine cannot come back.
	 */
	ls_leaf_look(job->d->agent, &job->leaves);
	ls_daemon_note_store(job->d);
	job->silent_ms = ls_store_watch_silent_ms(job->d->agent->store);
}

/* When only time has something to do, sooner than the timer would look: a deadline of a rotation.
 */
static int64_t next_look_ms(const struct ls_daemon *d, const struct open_job *job)
{
	int64_t in_s = job->wait_s - ls_now_s();

	if (job->code != LS_OK || job->wait_s == 0 || job->wait_s == INT64_MAX ||
		in_s * 1000 >= d->reconcile_ms)
		return d->reconcile_ms;
	return in_s > 0 ? in_s * 1000 : 0;
}

static void reconcile_done(void *arg)
{
	struct open_job *job = arg;
	struct ls_daemon *d = job->d;

	if (job->code != LS_OK && (!d->stuck || strcmp(d->stuck, job->err.text) != 0))
		ls_log(d, LOG_ERR, LS_EVENT_STUCK, NULL,
			"this node is stuck: %s; tried again every %lld s", job->err.text,
			(long long)(d->reconcile_ms / 1000));
	free(d->stuck);
	d->stuck = job->code != LS_OK ? ls_strdup(job->err.text) : NULL;
	d->store_silent_ms = job->code == LS_OK && job->silent_ms > DEAF_MS ? job->silent_ms : 0;
	ls_source_arm(d->reconcile_timer, next_look_ms(d, job));
	say_unlocked(d);
	log_ended(d, job);
	ls_leaf_log(d, &job->leaves);
	open_job_free(job);
	ls_daemon_follow_store(d);
	ls_daemon_look(d);
}

void ls_daemon_reconcile(struct ls_daemon *d)
{
	struct open_job *job;

	if (!d->ready)
		return;
	ls_log_left_out(d);
	if (ls_watch_rearm(d->watch)) {
		ls_daemon_listen(d);
		ls_daemon_look(d);
	}
	if (d->limited) { /* perhaps the template was mended */
		ls_daemon_reload(d);
		return;
	}
	if (ls_worker_pending(d->writer) >
		0) { /* a change is at it: it does all that is to be done */
		ls_source_arm(d->reconcile_timer, d->reconcile_ms);
		return;
	}
	job = ls_alloc(1, sizeof *job);
	job->d = d;
	ls_worker_post(d->writer, reconcile_work, reconcile_done, open_drop, job);
}
