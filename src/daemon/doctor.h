/* doctor -- what is wrong on this node, and the command that mends it.
 *
 * Reads the files of the node itself, each part by itself, so that it works without a daemon and
 * where a daemon cannot open the node. Examining changes nothing. Runs in the command line, or in
 * the daemon's reading thread for those who may not read the files.
 */
#ifndef LS_DAEMON_DOCTOR_H
#define LS_DAEMON_DOCTOR_H

#include <jansson.h>

#include "daemon/agent.h"

struct ls_doctor_about {
	bool config_given;    /* --config: commands repeat it */
	bool answers;         /* the daemon does */
	const json_t *status; /* its answer about the status; NULL: none */
};

/* {"healthy", "checks": [{"name", "state", "text", "why", "does", "hint"}]}, a new reference. A
 * check has one entry, or one for each finding. The state is "ok", "note" (worth knowing, no
 * fault), "skipped" (cannot be looked at before something else is mended) or "wrong"; `why` it
 * matters, what the command `does`, and in `hint` the command; "" where there is none. LS_E_IO:
 * the files may not be read by this user. */
LS_CHECK enum ls_code ls_doctor_examine(const struct ls_paths *paths,
	const struct ls_doctor_about *about, json_t **out, struct ls_err *err);

/* The names that ls_doctor_mend knows, NULL-ended. */
extern const char *const ls_doctor_mends[];
/* Mends what no command of the system can: "objects" (lost or damaged objects of the history, from
 * what is on this node and from the copy `from`, which may be NULL), "record" (the store's, from
 * the history), "identity" (all but keys, from the history). Waits up to 10 s for the daemon's
 * lock; LS_E_CONFLICT: the daemon works. *out: {"mended", "text"}. LS_E_DAMAGED: something is
 * left, and what. */
LS_CHECK enum ls_code ls_doctor_mend(const struct ls_paths *paths, const char *what,
	const char *from, json_t **out, struct ls_err *err);

#endif
