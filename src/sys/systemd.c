#include "sys/systemd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/text.h"

#define MANAGER "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER_IFACE "org.freedesktop.systemd1.Manager"
#define UNIT_IFACE "org.freedesktop.systemd1.Unit"
#define SERVICE_IFACE "org.freedesktop.systemd1.Service"
#define NO_SUCH_UNIT "org.freedesktop.systemd1.NoSuchUnit"
#define JOB_NOT_APPLICABLE "org.freedesktop.systemd1.JobTypeNotApplicable"
#define USEC_PER_MS 1000
/* Beyond the command's own limit, for systemd to stop it and to say so. */
#define STOP_MARGIN_MS 10000
#define JOURNAL_FIELDS_MAX 24
/* systemd.exec(5): what systemd itself ends with when the command cannot be executed. */
#define EXIT_EXEC 203

void ls_systemd_notify(const char *state)
{
	(void)sd_notify(0, state); /* nobody to tell, or nothing to be done about it */
}

int64_t ls_systemd_watchdog_ms(void)
{
	uint64_t usec = 0;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	return (int64_t)(usec / USEC_PER_MS);
}

enum ls_code ls_systemd_listener(int *out_fd, struct ls_err *err)
{
	int count = sd_listen_fds(1);

	if (count > 1)
		return LS_FAIL(err, LS_E_REFUSED,
			"%d sockets were handed over, one is all that is served", count);
	*out_fd = count == 1 ? SD_LISTEN_FDS_START : -1;
	return LS_OK;
}

bool ls_systemd_booted(void)
{
	return sd_booted() > 0;
}

bool ls_systemd_is_unit(void)
{
	/* A service's own processes carry it; a shell that a person opened does not have the PID
	 * right. */
	const char *pid = getenv("SYSTEMD_EXEC_PID");
	int64_t value;

	return pid && ls_text_number(pid, 1, INT32_MAX, &value) && value == getpid();
}

static enum ls_code bus_failed(
	const sd_bus_error *error, int rc, const char *what, const char *unit, struct ls_err *err)
{
	const char *why = error && error->message ? error->message : strerrordesc_np(-rc);

	if (rc == -ETIMEDOUT)
		return LS_FAIL(err, LS_E_TIMEOUT, "%s %s: no answer from systemd", what, unit);
	return LS_FAIL(err, LS_E_FAILED, "%s %s: %s", what, unit, why ? why : "unknown error");
}

static enum ls_code bus_open(sd_bus **out, struct ls_err *err)
{
	int rc = sd_bus_open_system(out);

	if (rc < 0) {
		LS_FAIL(err, LS_E_UNREACHABLE, "no connection to the system bus: %s",
			strerrordesc_np(-rc));
		LS_HINT(err, "is this machine run by systemd, with D-Bus?");
		return LS_E_UNREACHABLE;
	}
	return LS_OK;
}

/* The job that is waited for. Its end may be told before we know its path, so all are kept. */
struct job {
	char *path;
	char **ended; /* path, result, path, result, … */
	char *result;
};

static void job_done(struct job *job)
{
	ls_free_str(&job->path);
	ls_free_strv(&job->ended);
	ls_free_str(&job->result);
}

static void job_settle(struct job *job)
{
	for (size_t i = 0; job->path && job->ended && job->ended[i] && !job->result; i += 2)
		if (strcmp(job->ended[i], job->path) == 0)
			job->result = ls_strdup(job->ended[i + 1]);
	if (job->path)
		ls_free_strv(&job->ended);
}

static int job_removed(sd_bus_message *message, void *arg, sd_bus_error *error)
{
	const char *path, *unit, *result;
	struct job *job = arg;
	uint32_t id;

	(void)error;
	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0)
		return 0; /* not ours to judge; the time limit holds */
	ls_strv_add(&job->ended, path);
	ls_strv_add(&job->ended, result);
	job_settle(job);
	return 0;
}

static enum ls_code job_watch(sd_bus *bus, struct job *job, struct ls_err *err)
{
	LS_CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int rc = sd_bus_match_signal(
		bus, NULL, MANAGER, MANAGER_PATH, MANAGER_IFACE, "JobRemoved", job_removed, job);

	if (rc < 0)
		return bus_failed(NULL, rc, "listen for", "jobs", err);
	/* systemd emits signals only while a client asked for them. */
	rc = sd_bus_call_method(
		bus, MANAGER, MANAGER_PATH, MANAGER_IFACE, "Subscribe", &error, NULL, NULL);
	if (rc < 0)
		return bus_failed(&error, rc, "subscribe to", "jobs", err);
	return LS_OK;
}

/* sd_bus_wait, and an eye on `stop_fd` (0: none). */
static int bus_wait(sd_bus *bus, int stop_fd, int64_t left_ms, bool *out_stop)
{
	struct pollfd fds[] = { { .fd = sd_bus_get_fd(bus),
					.events = (short)sd_bus_get_events(bus) },
		{ .fd = stop_fd > 0 ? stop_fd : -1, .events = POLLIN } };
	int rc;

	if (stop_fd <= 0)
		return sd_bus_wait(bus, (uint64_t)left_ms * USEC_PER_MS);
	rc = poll(fds, LS_COUNT(fds), left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
	*out_stop = rc > 0 && fds[1].revents != 0;
	return rc < 0 ? -errno : rc;
}

static enum ls_code job_await(sd_bus *bus, struct job *job, sd_bus_message *reply,
	int64_t deadline_ms, int stop_fd, const char *unit, struct ls_err *err)
{
	bool stop = false;
	const char *path;
	int rc = sd_bus_message_read(reply, "o", &path);

	if (rc < 0)
		return bus_failed(NULL, rc, "read the answer about", unit, err);
	job->path = ls_strdup(path);
	job_settle(job);
	while (!job->result) {
		int64_t left = deadline_ms - ls_mono_ms();

		rc = sd_bus_process(bus, NULL);
		if (rc < 0)
			return LS_FAIL(err, LS_E_UNKNOWN, "%s: lost the system bus: %s", unit,
				strerrordesc_np(-rc));
		if (rc > 0)
			continue;
		if (left <= 0)
			return LS_FAIL(err, LS_E_TIMEOUT, "%s: the job did not end in time", unit);
		if (stop)
			return LS_FAIL(err, LS_E_UNKNOWN, "%s: nobody waits for it any more", unit);
		rc = bus_wait(bus, stop_fd, left, &stop);
		if (rc < 0 && rc != -EINTR)
			return bus_failed(NULL, rc, "wait for", unit, err);
	}
	return LS_OK;
}

static enum ls_code unit_object(sd_bus *bus, const char *unit, char **out_path, struct ls_err *err)
{
	LS_CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	LS_CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *path;
	int rc = sd_bus_call_method(
		bus, MANAGER, MANAGER_PATH, MANAGER_IFACE, "LoadUnit", &error, &reply, "s", unit);

	if (rc >= 0)
		rc = sd_bus_message_read(reply, "o", &path);
	if (rc < 0)
		return bus_failed(&error, rc, "look up", unit, err);
	*out_path = ls_strdup(path);
	return LS_OK;
}

static enum ls_code unit_text(sd_bus *bus, const char *object, const char *unit,
	const char *property, char **out, struct ls_err *err)
{
	LS_CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int rc =
		sd_bus_get_property_string(bus, MANAGER, object, UNIT_IFACE, property, &error, out);

	return rc < 0 ? bus_failed(&error, rc, "ask about", unit, err) : LS_OK;
}

enum ls_code ls_systemd_unit_state(const char *unit, enum ls_unit_state *out, struct ls_err *err)
{
	LS_CLEANUP(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	LS_CLEANUP(ls_free_str) char *object = NULL;
	LS_CLEANUP(ls_free_str) char *load = NULL;
	LS_CLEANUP(ls_free_str) char *active = NULL;

	if (!ls_systemd_booted()) {
		*out = LS_UNIT_MISSING;
		return LS_OK;
	}
	LS_TRY(bus_open(&bus, err));
	LS_TRY(unit_object(bus, unit, &object, err));
	LS_TRY(unit_text(bus, object, unit, "LoadState", &load, err));
	LS_TRY(unit_text(bus, object, unit, "ActiveState", &active, err));
	/* While it reloads it is up; an unknown word would be a state that serves nothing. */
	if (strcmp(active, "active") == 0 || strcmp(active, "reloading") == 0)
		*out = LS_UNIT_ACTIVE;
	else if (strcmp(load, "not-found") == 0)
		*out = LS_UNIT_MISSING;
	else
		*out = LS_UNIT_INACTIVE;
	return LS_OK;
}

enum ls_code ls_systemd_reload(const char *unit, int64_t timeout_ms, struct ls_err *err)
{
	LS_CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	LS_CLEANUP(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	LS_CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	LS_CLEANUP(job_done) struct job job = { 0 };
	int64_t deadline_ms = ls_mono_ms() + timeout_ms;
	int rc;

	LS_TRY(bus_open(&bus, err));
	(void)sd_bus_set_method_call_timeout(bus, (uint64_t)timeout_ms * USEC_PER_MS);
	LS_TRY(job_watch(bus, &job, err));
	rc = sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_IFACE, "ReloadUnit", &error,
		&reply, "ss", unit, "replace");
	if (rc < 0) {
		enum ls_code code = bus_failed(&error, rc, "reload", unit, err);

		if (sd_bus_error_has_name(&error, JOB_NOT_APPLICABLE))
			LS_HINT(err, "give %s an ExecReload=, or use a command instead", unit);
		return code;
	}
	LS_TRY(job_await(bus, &job, reply, deadline_ms, 0, unit, err));
	if (strcmp(job.result, "done") != 0) {
		LS_FAIL(err, LS_E_FAILED, "reload %s: its job ended with '%s'", unit, job.result);
		LS_HINT(err, "see 'systemctl status %s'", unit);
		return LS_E_FAILED;
	}
	return LS_OK;
}

struct transient {
	const char *description;
	char *const *argv;
	char *const *envp;
	const char *bind_from, *bind_to;
	int64_t timeout_ms;
};

static int append_strings(sd_bus_message *message, char *const *strings)
{
	int rc = sd_bus_message_open_container(message, 'a', "s");

	for (size_t i = 0; rc >= 0 && strings && strings[i]; i++)
		rc = sd_bus_message_append(message, "s", strings[i]);
	return rc < 0 ? rc : sd_bus_message_close_container(message);
}

static int append_command(sd_bus_message *message, char *const *argv)
{
	int rc = sd_bus_message_open_container(message, 'r', "sv");

	rc = rc < 0 ? rc : sd_bus_message_append(message, "s", "ExecStartEx");
	rc = rc < 0 ? rc : sd_bus_message_open_container(message, 'v', "a(sasas)");
	rc = rc < 0 ? rc : sd_bus_message_open_container(message, 'a', "(sasas)");
	rc = rc < 0 ? rc : sd_bus_message_open_container(message, 'r', "sasas");
	rc = rc < 0 ? rc : sd_bus_message_append(message, "s", argv[0]);
	rc = rc < 0 ? rc : append_strings(message, argv);
	/* Words are handed over as they are, as ls_process_run does. */
	rc = rc < 0 ? rc : sd_bus_message_append(message, "as", 1, "no-env-expand");
	for (int i = 0; rc >= 0 && i < 4; i++)
		rc = sd_bus_message_close_container(message);
	return rc;
}

static int append_environment(sd_bus_message *message, char *const *envp)
{
	int rc = sd_bus_message_open_container(message, 'r', "sv");

	rc = rc < 0 ? rc : sd_bus_message_append(message, "s", "Environment");
	rc = rc < 0 ? rc : sd_bus_message_open_container(message, 'v', "as");
	rc = rc < 0 ? rc : append_strings(message, envp);
	for (int i = 0; rc >= 0 && i < 2; i++)
		rc = sd_bus_message_close_container(message);
	return rc;
}

static int append_properties(sd_bus_message *message, const struct transient *run)
{
	uint64_t limit_usec = (uint64_t)run->timeout_ms * USEC_PER_MS;
	int rc = sd_bus_message_open_container(message, 'a', "(sv)");

	/* AddRef: it stays loaded until we have asked how it ended, or are gone. */
	rc = rc < 0 ? rc
		    : sd_bus_message_append(message, "(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
			      run->description, "Type", "s", "oneshot", "TimeoutStartUSec", "t",
			      limit_usec, "StandardOutput", "s", "journal", "CollectMode", "s",
			      "inactive-or-failed", "AddRef", "b", 1);
	rc = rc < 0 ? rc : append_command(message, run->argv);
	rc = rc < 0 ? rc : append_environment(message, run->envp);
	if (rc >= 0 && run->bind_from)
		rc = sd_bus_message_append(message, "(sv)", "BindReadOnlyPaths", "a(ssbt)", 1,
			run->bind_from, run->bind_to, 0, (uint64_t)0);
	return rc < 0 ? rc : sd_bus_message_close_container(message);
}

static int start_call(sd_bus *bus, const char *unit, const struct transient *run,
	sd_bus_message **out_reply, sd_bus_error *error)
{
	LS_CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int rc = sd_bus_message_new_method_call(
		bus, &message, MANAGER, MANAGER_PATH, MANAGER_IFACE, "StartTransientUnit");

	rc = rc < 0 ? rc : sd_bus_message_append(message, "ss", unit, "fail");
	rc = rc < 0 ? rc : append_properties(message, run);
	rc = rc < 0 ? rc : sd_bus_message_append(message, "a(sa(sv))", 0); /* no other units */
	return rc < 0 ? rc : sd_bus_call(bus, message, 0, error, out_reply);
}

static enum ls_code explain_end(sd_bus *bus, const char *unit, const struct transient *run,
	const char *job_result, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *result = NULL;
	LS_CLEANUP(ls_free_str) char *object = NULL;
	int32_t status = -1;

	if (unit_object(bus, unit, &object, NULL) == LS_OK) {
		(void)sd_bus_get_property_string(
			bus, MANAGER, object, SERVICE_IFACE, "Result", NULL, &result);
		(void)sd_bus_get_property_trivial(
			bus, MANAGER, object, SERVICE_IFACE, "ExecMainStatus", NULL, 'i', &status);
	}
	if (result && strcmp(result, "exit-code") == 0 && status == EXIT_EXEC)
		LS_FAIL(err, LS_E_FAILED, "%s could not be started", run->argv[0]);
	else if (result && strcmp(result, "exit-code") == 0)
		LS_FAIL(err, LS_E_FAILED, "%s ended with status %d", run->argv[0], (int)status);
	else if (result && strcmp(result, "timeout") == 0)
		LS_FAIL(err, LS_E_FAILED, "%s did not end in time and was stopped", run->argv[0]);
	else
		LS_FAIL(err, LS_E_FAILED, "%s failed: %s", run->argv[0],
			result && strcmp(result, "success") != 0 ? result : job_result);
	LS_HINT(err, "its output: journalctl -u %s", unit);
	return LS_E_FAILED;
}

enum ls_code ls_systemd_run(const char *description, char *const *argv, char *const *envp,
	const char *bind_from, const char *bind_to, int64_t timeout_ms, int stop_fd,
	struct ls_err *err)
{
	LS_CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	LS_CLEANUP(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	LS_CLEANUP(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	LS_CLEANUP(job_done) struct job job = { 0 };
	struct transient run = { description, argv, envp, bind_from, bind_to, timeout_ms };
	int64_t deadline_ms = ls_mono_ms() + timeout_ms + STOP_MARGIN_MS;
	enum ls_code code;
	uint64_t random;
	char unit[64];
	int rc;

	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return LS_FAIL_ERRNO(err, "draw a unit's name");
	(void)snprintf(unit, sizeof unit, "lockstep-run-%016jx.service", (uintmax_t)random);
	LS_TRY(bus_open(&bus, err));
	LS_TRY(job_watch(bus, &job, err));
	rc = start_call(bus, unit, &run, &reply, &error);
	if (rc < 0)
		return bus_failed(&error, rc, "start a unit for", argv[0], err);
	code = job_await(bus, &job, reply, deadline_ms, stop_fd, unit, err);
	if (code == LS_E_UNKNOWN) /* best effort: its own time limit holds as well */
		(void)sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_IFACE, "StopUnit",
			NULL, NULL, "ss", unit, "replace");
	if (code == LS_OK && strcmp(job.result, "done") != 0)
		code = explain_end(bus, unit, &run, job.result, err);
	return code;
}

/* Whether fd 2 is the stream that the service manager connected to the journal. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) != 0)
		return false;
	(void)snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, own) == 0;
}

static const char *program = "lockstepd";

void ls_journal_as(const char *name)
{
	program = name;
}

static void to_stderr(int priority, const char *message)
{
	static const char *const levels[] = {
		[LOG_EMERG] = "error",
		[LOG_ALERT] = "error",
		[LOG_CRIT] = "error",
		[LOG_ERR] = "error",
		[LOG_WARNING] = "warning",
		[LOG_NOTICE] = "notice",
		[LOG_INFO] = "info",
		[LOG_DEBUG] = "debug",
	};
	LS_CLEANUP(ls_free_str)
	char *line = ls_format("%s: %s: %s\n", program, levels[priority & LOG_PRIMASK], message);

	(void)!write(STDERR_FILENO, line, strlen(line)); /* in one piece; nowhere else to say it */
}

void ls_journal(int priority, const char *message_id, char *const *fields, const char *message)
{
	struct iovec iov[JOURNAL_FIELDS_MAX];
	char *own[3] = { ls_format("MESSAGE=%s", message),
		ls_format("PRIORITY=%d", priority & LOG_PRIMASK),
		message_id ? ls_format("MESSAGE_ID=%s", message_id) : NULL };
	int count = 0;

	for (size_t i = 0; i < LS_COUNT(own) && own[i]; i++)
		iov[count++] = (struct iovec){ own[i], strlen(own[i]) };
	for (size_t i = 0; fields && fields[i] && count < JOURNAL_FIELDS_MAX; i++)
		iov[count++] = (struct iovec){ fields[i], strlen(fields[i]) };
	if (!stderr_is_journal() || sd_journal_sendv(iov, count) < 0)
		to_stderr(priority, message);
	for (size_t i = 0; i < LS_COUNT(own); i++)
		ls_free_str(&own[i]);
}
