/* doctor_checks -- what the doctor's checks share. Private to doctor*.c. */
#ifndef LS_DAEMON_DOCTOR_CHECKS_H
#define LS_DAEMON_DOCTOR_CHECKS_H

#include "daemon/doctor.h"

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
/* doctor_state.c */
ls_doctor_check ls_doctor_identity, ls_doctor_objects, ls_doctor_record, ls_doctor_ref;
/* doctor_files.c */
ls_doctor_check ls_doctor_modes, ls_doctor_live, ls_doctor_foreign;
/* doctor_machine.c */
ls_doctor_check ls_doctor_init, ls_doctor_clock, ls_doctor_disk, ls_doctor_config, ls_doctor_locks,
	ls_doctor_certificates, ls_doctor_daemon;

#endif
