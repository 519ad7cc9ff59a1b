#include "daemon/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/doctor_checks.h"
#include "pki/key.h"
#include "sys/file.h"

#define LINE_MAX_BYTES (1024 * 1024)

/* In the order in which their commands are to be run: what a later one needs comes first. */
static const struct {
	const char *name;
	ls_doctor_check *run;
	const char *well;
} checks[] = {
	{ "init", ls_doctor_init, "the node is initialised" },
	{ "modes", ls_doctor_modes, "owners and modes are right" },
	{ "disk", ls_doctor_disk, "there is room for a change, and it can be written" },
	{ "clock", ls_doctor_clock, "not before anything that has happened" },
	{ "config", ls_doctor_config, "lockstep.conf, templates and policies can be read" },
	{ "engine", ls_doctor_engine, "etcd answers, if the store is there" },
	{ "objects", ls_doctor_objects, "every object and signature of the history holds" },
	{ "identity", ls_doctor_identity, "the node's keys are there and open the cluster's" },
	{ "record", ls_doctor_record, "the store's record is as it was written" },
	{ "ref", ls_doctor_ref, "main is what the record names" },
	{ "locks", ls_doctor_locks, "no lock is left over" },
	{ "live", ls_doctor_live, "live links and files are those of the record" },
	{ "foreign", ls_doctor_foreign, "nothing foreign among the live files" },
	{ "certificates", ls_doctor_certificates, "none has expired" },
	{ "members", ls_doctor_members, "every node is here, at one generation" },
	{ "daemon", ls_doctor_daemon, "lockstepd answers and has no complaint" },
};

/* ---- findings ---- */

static void add(struct ls_doctor *d, const char *state, const char *text, const char *why,
	const char *does, const char *hint)
{
	json_t *t = json_string(text);

	(void)json_array_append_new(
		d->checks, json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "name", d->name, "state",
				   state, "text", t ? t : json_string("?"), "why", why ? why : "",
				   "does", does ? does : "", "hint", hint ? hint : ""));
}

void ls_doctor_wrong(struct ls_doctor *d, char *text, const char *why, const char *does, char *hint)
{
	add(d, "wrong", text, why, does, hint);
	d->found++;
	free(text);
	free(hint);
}

void ls_doctor_note(struct ls_doctor *d, char *text, const char *why, const char *does, char *hint)
{
	add(d, "note", text, why, does, hint);
	free(text);
	free(hint);
}

void ls_doctor_skip(struct ls_doctor *d, const char *why)
{
	free(d->skipped);
	d->skipped = ls_strdup(why);
}

/* ---- commands ---- */

char *ls_doctor_quote(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/._-+:@%,=";
	struct ls_buf out = { 0 };

	if (*word && strspn(word, plain) == strlen(word))
		return ls_strdup(word);
	ls_buf_str(&out, "'");
	for (; *word; word++) {
		if (*word == '\'')
			ls_buf_str(&out, "'\\''");
		else
			ls_buf_add(&out, word, 1);
	}
	ls_buf_str(&out, "'");
	return ls_buf_take(&out);
}

/* Whether systemd runs the daemon of this root. */
static bool under_systemd(const struct ls_paths *paths)
{
	static const char *const dirs[] = { "/etc/systemd/system", "/usr/lib/systemd/system",
		"/lib/systemd/system", "/usr/local/lib/systemd/system", "/run/systemd/system" };

	if (paths->root[0] || access("/run/systemd/system", F_OK) != 0)
		return false;
	for (size_t i = 0; i < LS_COUNT(dirs); i++) {
		LS_CLEANUP(ls_free_str) char *unit = ls_format("%s/lockstepd.service", dirs[i]);

		if (access(unit, F_OK) == 0)
			return true;
	}
	return false;
}

static char *options_of(const struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *root = ls_doctor_quote(d->paths.root);
	LS_CLEANUP(ls_free_str) char *config = ls_doctor_quote(d->paths.config);

	return ls_format("%s%s%s%s", d->paths.root[0] ? " --root " : "",
		d->paths.root[0] ? root : "", d->about->config_given ? " --config " : "",
		d->about->config_given ? config : "");
}

static void make_commands(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *options = options_of(d);
	LS_CLEANUP(ls_free_str) char *pid_path = ls_format("%s/lockstepd.pid", d->paths.run);
	LS_CLEANUP(ls_free_str) char *pid = ls_doctor_quote(pid_path);
	bool systemd = under_systemd(&d->paths);

	d->self = ls_format("lockstep%s", options);
	d->start = systemd ? ls_strdup("systemctl start lockstepd")
			   : ls_format("setsid -f lockstepd%s", options);
	d->reload = systemd ? ls_strdup("systemctl reload lockstepd")
			    : ls_format("kill -HUP $(cat %s)", pid);
}

char *ls_doctor_stop_command(const struct ls_doctor *d)
{
	if (!d->daemon_pid)
		return ls_strdup("");
	if (under_systemd(&d->paths))
		return ls_strdup("systemctl stop lockstepd && ");
	return ls_format("kill %lld && tail --pid=%lld -f /dev/null; ", (long long)d->daemon_pid,
		(long long)d->daemon_pid);
}

char *ls_doctor_mend_command(const struct ls_doctor *d, const char *what, const char *more)
{
	LS_CLEANUP(ls_free_str)
	char *mend = ls_format("%s doctor --mend %s%s", d->self, what, more);

	if (!d->about->answers)
		return LS_TAKE(mend);
	if (under_systemd(&d->paths))
		return ls_format("systemctl stop lockstepd && %s; %s", mend, d->start);
	return ls_format("kill %lld && %s; %s", (long long)d->daemon_pid, mend, d->start);
}

char *ls_doctor_look_command(const struct ls_doctor *d)
{
	return ls_strdup(d->about->answers ? d->reload : d->start);
}

/* ---- what is there ---- */

static int64_t running_daemon(const struct ls_paths *paths)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/lockstepd.pid", paths->run);
	LS_CLEANUP(ls_free_str) char *line_path = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 }, line = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	int64_t pid;

	if (ls_file_read(AT_FDCWD, path, 32, &text, NULL) != LS_OK || !text.len)
		return 0;
	text.data[text.len - 1] = '\0'; /* the newline */
	if (!ls_text_number(text.data, 1, INT32_MAX, &pid) ||
		(kill((pid_t)pid, 0) != 0 && errno != EPERM))
		return 0;
	line_path = ls_format("/proc/%lld/cmdline", (long long)pid);
	fd = open(line_path, O_RDONLY | O_CLOEXEC);
	/* The number may be another program's by now, or of one that has died and waits to be
	 * reaped, whose line is empty. */
	if (fd < 0 || ls_file_read_fd(fd, line_path, LINE_MAX_BYTES, &line, NULL) != LS_OK ||
		!line.len || !memmem(line.data, line.len, "lockstepd", strlen("lockstepd")))
		return 0;
	return pid;
}

static bool there(const char *dir, const char *name)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static void missing(struct ls_err *err, const char *dir, const char *name)
{
	LS_FAIL(err, LS_E_NOT_FOUND, "'%s/%s' is missing", dir, name);
}

/* Opening the store makes its folders, so it is only opened where they are. */
static void open_record(struct ls_doctor *d)
{
	struct ls_agent *a = d->a;

	if (!there(d->paths.store, "record.json"))
		missing(&d->no_record, d->paths.store, "record.json");
	else if ((d->no_kek = !there(d->paths.store, "kek")))
		missing(&d->no_record, d->paths.store, "kek");
	else if (ls_store_local_open(d->paths.store, &a->store, &d->no_record) == LS_OK)
		d->has_record = ls_store_read(a->store, &d->view, &d->no_record) == LS_OK;
	d->knows_tip = d->has_record;
	if (d->has_record)
		memcpy(d->goal.hex, d->view.tip.commit, sizeof d->goal.hex);
}

static void open_history(struct ls_doctor *d)
{
	struct ls_agent *a = d->a;

	if (!there(d->paths.history, "HEAD")) {
		missing(&d->no_frame, d->paths.history, "HEAD");
		return;
	}
	d->has_frame = ls_history_open(d->paths.history, &a->history, &d->no_frame) == LS_OK;
	if (!d->has_frame)
		return;
	d->has_head = ls_history_head(a->history, &d->head, &d->no_head) == LS_OK;
}

static void open_tip(struct ls_doctor *d)
{
	struct ls_agent *a = d->a;

	if (!d->has_frame)
		return;
	if (!d->goal.hex[0])
		d->goal = d->head;
	d->has_tip = d->goal.hex[0] &&
		     ls_history_load(a->history, &d->goal, &a->tip, &d->no_tip) == LS_OK;
	if (d->has_tip)
		a->tip_commit = d->goal;
}

/* An identity that was damaged is not the same: its key is still that of the member. */
static bool is_removed(const struct ls_doctor *d)
{
	const struct ls_identity *own = &d->a->identity;
	const struct ls_member *self = ls_state_member(&d->a->tip, own->node);

	return !self ||
	       (!ls_credential_matches(ls_buf_bytes(&self->signing_cert_pem), own->signer.key) &&
		       ls_credential_matches(ls_buf_bytes(&own->signer.cert_pem), own->signer.key));
}

static void open_parts(struct ls_doctor *d)
{
	struct ls_agent *a = d->a;

	d->has_identity =
		ls_identity_load(d->paths.identity, &a->identity, &d->no_identity) == LS_OK;
	open_history(d);
	if (ls_engine_load(&a->paths, &a->engine, &d->no_engine) == LS_OK)
		d->no_engine = (struct ls_err){ 0 }; /* a file that is absent is fine */
	d->shared = d->no_engine.code != LS_OK || (a->engine.endpoints && !a->engine.migrating);
	if (d->shared)
		ls_doctor_open_shared(d);
	else
		open_record(d);
	open_tip(d);
	d->removed = d->shared && d->has_identity && d->has_tip && is_removed(d);
	d->older = !d->shared && d->has_record && d->has_frame &&
		   ls_agent_record_is_older(a->history, &d->view.tip, NULL);
	if (ls_config_load(d->paths.config, &a->config, &d->no_config) == LS_OK && d->has_tip)
		LS_IGNORE(ls_agent_load_services(a, &d->no_config)); /* the check tells */
	if (d->has_identity && d->has_tip && a->store)
		d->has_keys = ls_agent_load_keyring(a, &d->no_keys) == LS_OK;
	if (d->has_keys && d->knows_tip && !d->view.rotation) {
		char dir[LS_LIVE_DIR_SIZE];

		ls_live_dir_name(d->view.tip.dir_generation, d->view.tip.dir_commit, dir);
		LS_IGNORE(ls_live_plan_new(&a->tip, &a->services, &a->keyring, dir, &d->plan, NULL,
			NULL)); /* what stands in its way has a check of its own */
	}
}

static void run_checks(struct ls_doctor *d)
{
	for (size_t i = 0; i < LS_COUNT(checks); i++) {
		size_t before = json_array_size(d->checks);

		d->name = checks[i].name;
		d->found = 0;
		ls_free_str(&d->skipped);
		checks[i].run(d);
		if (d->found == 0 && d->skipped)
			add(d, "skipped", d->skipped, NULL, NULL, NULL);
		else if (json_array_size(d->checks) == before)
			add(d, "ok", checks[i].well, NULL, NULL, NULL);
		/* Nothing else can be said of what is no node. */
		if (i == 0 && d->found)
			return;
	}
}

static bool healthy(const json_t *found)
{
	for (size_t i = 0; i < json_array_size(found); i++) {
		const char *state =
			json_string_value(json_object_get(json_array_get(found, i), "state"));

		if (strcmp(state, "wrong") == 0 || strcmp(state, "skipped") == 0)
			return false;
	}
	return true;
}

static void doctor_done(struct ls_doctor *d)
{
	ls_doctor_endpoints_done(d);
	ls_store_view_done(&d->view);
	ls_live_plan_free(&d->plan);
	ls_agent_free(&d->a);
	free(d->self);
	free(d->start);
	free(d->reload);
	free(d->skipped);
	json_decref(d->checks);
}

enum ls_code ls_doctor_examine(const struct ls_paths *paths, const struct ls_doctor_about *about,
	json_t **out, struct ls_err *err)
{
	LS_CLEANUP(doctor_done) struct ls_doctor d = { .about = about, .checks = json_array() };

	if (access(paths->lib, F_OK) == 0 && access(paths->lib, R_OK | X_OK) != 0)
		return LS_FAIL(err, LS_E_IO, "'%s' may not be read by this user", paths->lib);
	d.a = ls_alloc(1, sizeof *d.a);
	d.a->lock_fd = -1;
	ls_paths_init(&d.a->paths, paths->root, paths->config);
	d.paths = d.a->paths;
	d.daemon_pid = running_daemon(&d.paths);
	make_commands(&d);
	open_parts(&d);
	run_checks(&d);
	*out = json_pack("{s:b, s:O}", "healthy", (int)healthy(d.checks), "checks", d.checks);
	return LS_OK;
}
