/* errand -- what the helper process does when it is asked (sys/helper.h), and the checks that make
 * it more than a way around the sandbox: commands, units, sockets and password files are those that
 * an operator wrote into a template, looked up here in a copy of the templates that the helper read
 * itself; modes and owners are changed below the daemon's own directories only.
 *
 * Runs in the helper, never in the daemon.
 */
#ifndef LS_DAEMON_ERRAND_H
#define LS_DAEMON_ERRAND_H

#include "base/paths.h"
#include "node/service.h"
#include "sys/helper.h"

struct ls_errand {
	const struct ls_paths *paths;
	struct ls_services services;
	bool as_units; /* the daemon is a unit */
	pid_t daemon_pid;
};

bool ls_errand_at_once(const char *verb);
enum ls_code ls_errand_do(void *errand, struct ls_helper_call *call, struct ls_err *err);

#endif
