/* doctor_checks -- what the doctor's checks share. Private to doctor*.c. */
#ifndef LS_DAEMON_DOCTOR_CHECKS_H
#define LS_DAEMON_DOCTOR_CHECKS_H

#include "daemon/doctor.h"
#include "store/etcd_status.h"

/* One member of etcd, as it answered the doctor. */
struct ls_doctor_endpoint {
	char *url;
	char *own;  /* its name, if lockstep made its files on this machine; NULL: it did not */
	bool named; /* the node's store is there */
	struct ls_etcd_status status;
	struct ls_err err; /* why it did not answer; code LS_OK: it did */
	int64_t ahead_s;   /* its clock, of ours; 0 if it did not say */
};

/* How the record in etcd stands to the history of this node. */
enum ls_doctor_relation {
	LS_DOCTOR_UNKNOWN,  /* it could not be asked */
	LS_DOCTOR_SAME,     /* main is its tip, or the tip is a child that main is about to name */
	LS_DOCTOR_EMPTY,    /* etcd holds nothing of this cluster */
	LS_DOCTOR_OLDER,    /* it names a generation that this node has behind it */
	LS_DOCTOR_AHEAD,    /* of this node, which can catch up */
	LS_DOCTOR_FAR,      /* so far ahead that what lies between is no longer kept */
	LS_DOCTOR_DIVERGED, /* neither follows the other */
	LS_DOCTOR_FORGED    /* no member signed it */
};

struct ls_doctor {
	const struct ls_doctor_about *about;
	struct ls_agent *a;    /* as far as it could be opened; a reading one */
	struct ls_paths paths; /* borrows a->paths */
	char *self;            /* "lockstep --root /r": how commands begin */
	char *start;           /* the command that starts the daemon */
	char *reload;          /* … that has it look at everything */
	int64_t daemon_pid;    /* 0: none runs */

	/* What could be read; no_kek: the folder of the wraps is missing; older: than the history,
	 * the record is. */
	bool has_identity, has_record, has_frame, has_head, has_tip, has_keys, no_kek, older;
	struct ls_err no_identity, no_record, no_frame, no_head, no_tip, no_keys;
	struct ls_err no_config;
	struct ls_store_view view;
	struct ls_commit_id head; /* main */
	struct ls_commit_id goal; /* the record's tip, else main; "" for neither */

	/* Of a node whose store is in etcd; the view's tip is then what this node has, unless the
	 * relation is SAME. */
	bool shared;
	struct ls_err no_engine; /* why store/etcd.json cannot be read */
	struct ls_doctor_endpoint *endpoints;
	size_t endpoint_count;
	enum ls_doctor_relation relation;
	struct ls_tip stored; /* the record's, when it could be read */
	int64_t head_generation;
	bool knows_tip; /* the view's tip is what must be live */
	bool removed;   /* the tip has no such node, or another machine in its place */

	struct ls_live_plan *plan; /* of what must be live; NULL: not known */

	json_t *checks;
	const char *name; /* of the check that runs */
	size_t found;     /* by it, notes apart */
	char *skipped;    /* why it cannot look; NULL: it can */
};

/* All but `why` and `does` are from the heap and taken; `hint` may be NULL. */
void ls_doctor_wrong(
	struct ls_doctor *d, char *text, const char *why, const char *does, char *hint);
void ls_doctor_note(struct ls_doctor *d, char *text, const char *why, const char *does, char *hint);
void ls_doctor_skip(struct ls_doctor *d, const char *why);

/* A word of a shell's command line, from the heap. */
char *ls_doctor_quote(const char *word);
/* "lockstep … doctor --mend WHAT[ MORE]"; around it what stops and starts a daemon that holds the
 * lock. */
char *ls_doctor_mend_command(const struct ls_doctor *d, const char *what, const char *more);
/* "lockstep store migrate --etcd URL,…" with the endpoints that the node has. */
char *ls_doctor_migrate_command(const struct ls_doctor *d);
/* "… && " or "…; ", what ends the daemon of this node before another command; "" if none runs. */
char *ls_doctor_stop_command(const struct ls_doctor *d);
/* "curl … URL/v3/PATH -d 'JSON'": a request to etcd with this node's certificate. */
char *ls_doctor_etcd_command(
	const struct ls_doctor *d, const char *url, const char *path, const char *json);
/* What has the daemon look at everything now, running or not. */
char *ls_doctor_look_command(const struct ls_doctor *d);
/* The clock of this machine is wrong, as `text` says. */
void ls_doctor_clock_wrong(struct ls_doctor *d, char *text);
/* Asks all endpoints, and the etcd members of this machine; some seconds at most. */
void ls_doctor_ask_engine(struct ls_doctor *d);
void ls_doctor_endpoints_done(struct ls_doctor *d);
/* Whether it answers reads, and that what it answers is what a majority has. */
bool ls_doctor_endpoint_well(const struct ls_doctor_endpoint *endpoint);
/* Opens the store in etcd, reads its record and judges how it stands to the history, which is open.
 */
void ls_doctor_open_shared(struct ls_doctor *d);
/* The record, where it is in etcd. */
void ls_doctor_shared_record(struct ls_doctor *d);
/* Who has this file open: the process, its name in *out_name (heap; may be NULL). 0: nobody that we
 * may see. */
int64_t ls_doctor_holder(const char *path, char **out_name);
/* What of a lost file may be found on this node: public live files and the like. */
struct ls_doctor_blobs {
	struct ls_buf *bufs;
	struct ls_bytes *bytes;
	size_t count;
};
void ls_doctor_blobs_load(const struct ls_paths *paths, struct ls_doctor_blobs *out);
void ls_doctor_blobs_done(struct ls_doctor_blobs *blobs);

typedef void ls_doctor_check(struct ls_doctor *d);
/* doctor_engine.c */
ls_doctor_check ls_doctor_engine;
/* doctor_cluster.c */
ls_doctor_check ls_doctor_members;
/* doctor_state.c */
ls_doctor_check ls_doctor_identity, ls_doctor_objects, ls_doctor_record, ls_doctor_ref;
/* doctor_files.c */
ls_doctor_check ls_doctor_modes, ls_doctor_live, ls_doctor_foreign;
/* doctor_machine.c */
ls_doctor_check ls_doctor_init, ls_doctor_clock, ls_doctor_disk, ls_doctor_config, ls_doctor_locks,
	ls_doctor_certificates, ls_doctor_daemon;

#endif
