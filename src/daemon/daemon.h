/* daemon -- lockstepd's main thread: what it holds, and the parts of its work, one file each.
 *
 * The main thread runs the loop, answers the control socket, collects drop-ins and heals live
 * files; the writer does changes, the reader answers what is looked at. They share queues, and the
 * live guard (agent.h). All functions here belong to the main thread unless they say otherwise.
 */
#ifndef LS_DAEMON_DAEMON_H
#define LS_DAEMON_DAEMON_H

#include <jansson.h>
#include <stdatomic.h>

#include "control/request.h"
#include "daemon/access.h"
#include "daemon/agent.h"
#include "daemon/worker.h"
#include "intake/dropin.h"
#include "net/server.h"
#include "sys/watch.h"

enum ls_event {
	LS_EVENT_START,
	LS_EVENT_READY,
	LS_EVENT_STOP,
	LS_EVENT_RELOAD,
	LS_EVENT_CHANGE,
	LS_EVENT_CHANGE_FAILED,
	LS_EVENT_ROLLED_BACK,
	LS_EVENT_DROPIN_TAKEN,
	LS_EVENT_DROPIN_REFUSED,
	LS_EVENT_HEALED,
	LS_EVENT_SUPERSEDED,
	LS_EVENT_STUCK,
	LS_EVENT_WATCH,
	LS_EVENT_WARNING, /* of a change that is in force */
	LS_EVENT_SANDBOX,
	LS_EVENT_LEAF,   /* of the cluster's own TLS files: issued, or not */
	LS_EVENT_ENGINE, /* the shared store lost something, and was mended */
	LS_EVENT_COUNT
};
/* Of an event that others cause: how much of it was written lately, and what was not. */
struct ls_log_limit {
	int64_t since_ms, used;
	int64_t left_out;
};

/* A key that was seen open to others: it stays a problem until another one is live. Known until
 * the daemon ends; the journal keeps it. */
struct ls_exposed {
	char component[LS_NAME_MAX + 1];
	unsigned char key_sha256[LS_SHA256_BYTES]; /* of the live file with the key */
	mode_t mode;                               /* that the file had */
};

struct ls_daemon {
	struct ls_paths paths;
	struct ls_loop *loop;
	struct ls_server_place *place; /* where the server will be; bound, not yet to be seen */
	struct ls_server *server;
	struct ls_worker *writer, *reader;
	struct ls_worker *counted_on;  /* the writer, for the thread that keeps the lease; under the
					  guard's mutex, NULL once the writer is to end */
	struct ls_agent *agent;        /* the writer's, after opening */
	struct ls_agent *reader_agent; /* the reader's */
	_Atomic bool reader_stale;     /* configuration was reread */
	struct ls_live_guard guard;
	struct ls_live *live; /* the main thread's own handle, for healing */
	struct ls_dropin *dropin;
	struct ls_watch *watch;
	struct ls_source *watch_source, *helper_source;
	int watch_fd;                   /* that watch_source is for */
	struct ls_source *store_source; /* NULL while a job looks at the store anyway */
	int64_t store_silent_ms; /* the store can be read, but its watch tells nothing; 0: all
				    is well */
	_Atomic int store_fd;    /* of the agent's store; -1: it cannot tell */
	struct ls_source *reconcile_timer, *intake_timer, *watchdog_timer, *retry_timer;
	char watched_dir[LS_LIVE_DIR_SIZE];
	int64_t reconcile_ms;
	int64_t watchdog_ms;
	int64_t rejected_keep_days;
	bool ready;   /* initialised and opened */
	bool limited; /* opened without all templates: it heals and answers, and changes nothing */
	bool opening;
	bool reread;                /* SIGHUP came before it was opened */
	_Atomic bool rotating;      /* the writer is between begin and close */
	bool change_queued;         /* a change waits for the writer, or runs in it */
	bool intake_busy;           /* a drop-in is with the writer */
	char *stuck;                /* why the last reconciliation failed; NULL */
	char *leaf_fault;           /* why a leaf of the cluster CA could not be issued; NULL */
	char *intake_fault;         /* why incoming/ cannot be looked at; NULL */
	int64_t scan_not_before_ms; /* of incoming/ */
	int64_t strays_since_ms;    /* when counting them began */
	int strays;                 /* refused one by one since then */
	struct ls_access_ids ids;   /* of who may use the socket */
	struct ls_log_limit log_limits[LS_EVENT_COUNT];
	char *intake_waits;         /* what the latest drop-in waits for; NULL */
	struct ls_exposed *exposed; /* keys that others could read and that are still in use */
	size_t exposed_count;
	bool said_unlocked; /* that memory with keys cannot be locked */
	int log_level;
	int pid_fd;
	int exit_status;
};

/* log.c: one failure is one entry, where it is handled. `component` may be NULL. */
void ls_log(struct ls_daemon *d, int priority, enum ls_event event, const char *component,
	const char *fmt, ...) LS_PRINTF(5, 6);
/* Says how many entries were left out since the last time because there were too many of a kind. */
void ls_log_left_out(struct ls_daemon *d);
/* The fields by which the entry about a change can be found: LOCKSTEP_COMPONENT (one for each),
 * _CODE when it failed, _GENERATION. Each warning becomes an entry of its own, with the same. */
struct ls_log_change {
	char **components, **warnings; /* owned; may be NULL */
	enum ls_code code;
	int64_t generation; /* 0: none */
};
void ls_log_change(struct ls_daemon *d, int priority, enum ls_event event,
	const struct ls_log_change *change, const char *fmt, ...) LS_PRINTF(5, 6);
/* Components, warnings and generation out of an answer of ls_command_change. */
void ls_log_change_from(const json_t *answer, struct ls_log_change *out);
void ls_log_change_done(struct ls_log_change *change);

/* open.c: waits for init, opens the node, rereads configuration. */
void ls_daemon_open(struct ls_daemon *d);
void ls_daemon_reload(struct ls_daemon *d);
void ls_daemon_reconcile(struct ls_daemon *d);
/* The writer's jobs end with the first in its thread and the second in the loop's; the last before
 * a job that may open another store. */
void ls_daemon_note_store(struct ls_daemon *d);
void ls_daemon_follow_store(struct ls_daemon *d);
void ls_daemon_leave_store(struct ls_daemon *d);
/* Any thread: whether the daemon's (the argument's) writer makes progress, so that the node may be
 * counted on. */
bool ls_daemon_worker_lives(void *daemon);

/* heal.c */
void ls_daemon_listen(struct ls_daemon *
		d); /* the watch's descriptor changes when it falls back to the timer and returns */
void ls_daemon_await_init(struct ls_daemon *d);
void ls_daemon_watch(struct ls_daemon
		*d); /* (re)arms the watches of certs/, its generation directory and incoming/ */
void ls_daemon_heal(struct ls_daemon *d);
/* Adds what status must say about keys that others could read. */
void ls_daemon_exposed(struct ls_daemon *d, char ***problems);
void ls_daemon_look(
	struct ls_daemon *d); /* something may have changed anywhere: heal and collect */

/* collect.c */
void ls_daemon_collect(struct ls_daemon *d);

/* control.c */
void ls_daemon_request(void *arg, struct ls_request *req);
void ls_daemon_reply(struct ls_request *req, int status, json_t *json); /* takes the reference */
void ls_daemon_reply_error(struct ls_request *req, const struct ls_err *err);
/* control_cluster.c: false: it is not about the cluster. */
bool ls_daemon_cluster_request(struct ls_daemon *d, struct ls_request *req, const char *path);
/* leaf.c: a look at the cluster's own TLS files (leaves.h), by the writer; and what the main thread
 * says of it. */
struct ls_leaf_look {
	bool looked;
	char **issued; /* one line each; owned, and so is the fault */
	char *fault;   /* why not all was issued that should be; NULL */
};
void ls_leaf_look(struct ls_agent *agent, struct ls_leaf_look *out);
void ls_leaf_log(struct ls_daemon *d, struct ls_leaf_look *look);
void ls_leaf_look_done(struct ls_leaf_look *look);
/* leaf.c: the files of an etcd member. */
void ls_daemon_etcd_member(struct ls_daemon *d, struct ls_request *req);
/* Whether a peer may do everything. */
bool ls_daemon_trusts(void *arg, const struct ls_peer *peer);
/* How long a body may be of one who may not. */
size_t ls_daemon_body_of(void *arg, const struct ls_peer *peer);
/* Worker thread: around a job that may rotate without a caller, so that a hook of that rotation
 * which asks for a change gets its conflict and does not wait for itself. */
void ls_daemon_rotation_begin(struct ls_daemon *d);
void ls_daemon_rotation_end(struct ls_daemon *d);
/* Who the peer of a socket is, as a commit names it. */
void ls_author_of(uid_t uid, const char *node, struct ls_author *out);
void ls_author_done(struct ls_author *author);

/* keygen.c: RSA in the helper, the rest at once. Any thread. */
enum ls_code ls_daemon_generate(
	const struct ls_key_spec *spec, struct evp_pkey_st **out, struct ls_err *err);

/* confine.c: makes what must be made before, closes the sandbox, and starts the threads in it.
 * Once; when it fails nothing is closed and it can be tried again. */
LS_CHECK enum ls_code ls_daemon_confine(struct ls_daemon *d, struct ls_err *err);

#endif
