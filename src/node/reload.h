/* reload -- has a service take the files that are live now, or asks it about staged ones. Blocking;
 * worker thread.
 *
 * Commands get a clean environment: PATH, LANG=C and LOCKSTEP_EVENT ("validate" or "reload"),
 * _COMPONENT, _CERT_PATH, _KEY_PATH, _GENERATION, _NODE, _OLD_SHA256, _NEW_SHA256. No text from a
 * certificate gets into a command line. Under systemd (this process being a unit) commands run as
 * transient units.
 *
 * Where there is a helper (sys/helper.h) it runs commands, reloads units, sends signals and reads
 * password files: it is asked by component and entry, and looks into its own copy of the templates.
 */
#ifndef LS_NODE_RELOAD_H
#define LS_NODE_RELOAD_H

#include "base/paths.h"
#include "node/service.h"

struct ls_reload_about {
	const char *certs_path;  /* the live directory's path */
	const char *dir;         /* of the generation in question, "..gen-…" */
	const char *present_dir; /* of the one that is live now */
	const char *node;
	int64_t generation;
	const char *old_sha256; /* "" when there was none */
	const char *new_sha256;
	bool as_units;    /* this is a unit: ls_systemd_is_unit */
	pid_t daemon_pid; /* never signalled */
	int stop_fd;      /* see struct ls_process; 0: none */
};

/* Runs the template's `validate` against the staged directory: LOCKSTEP_CERT_PATH and _KEY_PATH
 * name the staged files, and where the system lets us (root, or a transient unit) the command also
 * sees the staged directory in place of the live one, so that a service's own configuration check
 * reads the staged files at their usual paths. LS_E_REFUSED with the command's last words; another
 * code: it could not be run. 30 seconds at most. */
LS_CHECK enum ls_code ls_reload_validate(
	const struct ls_service *service, const struct ls_reload_about *about, struct ls_err *err);
/* Does each reload entry in order. A systemd unit that is not active is left alone: *out_warning
 * (heap, may stay NULL) says so. All entries are tried; the first failure is returned. redis: one
 * CONFIG SET with both paths (after AUTH when user or password_file is given). haproxy: "set ssl
 * cert NAME <<", "commit ssl cert NAME"; answers are checked. */
LS_CHECK enum ls_code ls_reload_run(const struct ls_service *service,
	const struct ls_reload_about *about, char **out_warning, struct ls_err *err);

/* The helper's side. */
struct ls_helper_call;
/* Reads words 1 to 7 of LS_ASK_VALIDATE and LS_ASK_RELOAD: component, directory, present directory,
 * node, generation, old and new fingerprint. They are borrowed by *out. LS_E_REFUSED: not such as
 * the daemon sends. */
LS_CHECK enum ls_code ls_reload_about_read(struct ls_helper_call *call,
	const struct ls_services *services, const struct ls_service **out_service,
	struct ls_reload_about *out, struct ls_err *err);
/* Does entry words[8] of LS_ASK_RELOAD, whose kind must be words[9]; a warning is its value. */
LS_CHECK enum ls_code ls_reload_answer(struct ls_helper_call *call,
	const struct ls_service *service, const struct ls_reload_about *about, struct ls_err *err);
/* Words 1 and 2 of LS_ASK_PASSWORD: component, entry. */
LS_CHECK enum ls_code ls_reload_password_answer(
	struct ls_helper_call *call, const struct ls_services *services, struct ls_err *err);

#endif
