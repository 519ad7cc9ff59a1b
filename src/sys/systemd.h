/* systemd -- notifications to the service manager, unit reloads and transient units over D-Bus,
 * journal entries.
 *
 * Everything does nothing, successfully, where systemd is not there, except ls_systemd_reload and
 * ls_systemd_run.
 */
#ifndef LS_SYS_SYSTEMD_H
#define LS_SYS_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

void ls_systemd_notify(const char *state); /* "READY=1\nSTATUS=…"; thread-safe */
/* The watchdog's period, 0 when none is asked for. */
int64_t ls_systemd_watchdog_ms(void);
/* Whether systemd runs this machine (/run/systemd/system exists). */
bool ls_systemd_booted(void);
/* Whether the service manager started this process as a unit. */
bool ls_systemd_is_unit(void);

enum ls_unit_state { LS_UNIT_ACTIVE, LS_UNIT_INACTIVE, LS_UNIT_MISSING };
LS_CHECK enum ls_code ls_systemd_unit_state(
	const char *unit, enum ls_unit_state *out, struct ls_err *err);
/* ReloadUnit, mode replace, and waits for the job to end. LS_E_FAILED: the job's result was not
 * "done"; LS_E_UNREACHABLE: no bus. A unit without ExecReload is LS_E_FAILED with a hint. */
LS_CHECK enum ls_code ls_systemd_reload(const char *unit, int64_t timeout_ms, struct ls_err *err);
/* Runs a command as a transient service unit lockstep-run-….service (Type=oneshot, outside this
 * daemon's sandbox) and waits for its end. `bind_from`/`bind_to` (may be NULL) is a read-only bind
 * mount that only the command sees. Words are taken as they are, nothing in them is expanded.
 * LS_E_FAILED: exit status not 0 (naming it), ended by a signal or by the time limit; LS_E_TIMEOUT:
 * systemd did not say how it ended within 10 s more. As soon as `stop_fd` (0: none) can be read
 * from or is hung up the unit is told to stop: LS_E_UNKNOWN. */
LS_CHECK enum ls_code ls_systemd_run(const char *description, char *const *argv, char *const *envp,
	const char *bind_from, const char *bind_to, int64_t timeout_ms, int stop_fd,
	struct ls_err *err);

/* A listening socket that the service manager handed over (sd_listen_fds), close-on-exec; *out_fd
 * is -1 when there is none. LS_E_REFUSED: more than one. Once, before there are threads. */
LS_CHECK enum ls_code ls_systemd_listener(int *out_fd, struct ls_err *err);

/* What ls_journal calls the program at standard error, "lockstepd" before; kept, not copied. */
void ls_journal_as(const char *program);
/* Priorities are syslog's. `fields` are "NAME=value" strings, NULL-ended, may be NULL. `message_id`
 * is 32 hex digits or NULL. Goes to the journal when standard error is connected to it
 * (JOURNAL_STREAM), else one line to standard error: "PROGRAM: LEVEL: message", where LEVEL is
 * error, warning, notice, info or debug. */
void ls_journal(int priority, const char *message_id, char *const *fields, const char *message);

#endif
