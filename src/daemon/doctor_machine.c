/* The doctor's checks of what is around the node: the machine, its configuration, the daemon. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "daemon/doctor_checks.h"
#include "sys/file.h"

#define CLOCK_OFF_S 300
#define ENTRIES_MAX 65536
/* What one change needs: two packs, a record, and a directory with four files and four links for
 * each component, in blocks of 4 KiB; the rest is for merging packs. */
#define NEED_BYTES ((int64_t)512 * 1024)
#define NEED_BYTES_EACH ((int64_t)64 * 1024)
#define NEED_FILES 32
#define NEED_FILES_EACH 8

/* ---- init ---- */

void ls_doctor_init(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *running = ls_format("%s/init-running", d->paths.lib);

	if (access(running, F_OK) == 0)
		ls_doctor_wrong(d, ls_strdup("lockstep init was begun here and not ended"),
			"There is no node yet.", "begins anew; what is unfinished is replaced",
			ls_format("%s init --cluster NAME", d->self));
	else if (!d->has_identity && !d->has_record && !d->has_frame &&
		 access(d->paths.identity, F_OK) != 0 && access(d->paths.history, F_OK) != 0)
		ls_doctor_wrong(d,
			ls_format(
				"this node is not initialised: '%s' holds no state", d->paths.lib),
			"There is no node yet.", "makes this the first node of a cluster",
			ls_format("%s init --cluster NAME", d->self));
}

/* ---- clock ---- */

static bool ntp_unsynchronised(void)
{
	struct timex t = { 0 };

	return adjtimex(&t) == TIME_ERROR && (t.status & STA_UNSYNC);
}

void ls_doctor_clock_wrong(struct ls_doctor *d, char *text)
{
	bool systemd = access("/run/systemd/system", F_OK) == 0;

	ls_doctor_wrong(d, text,
		"Certificates look as if they were not valid yet or still valid, and new ones get "
		"wrong dates.",
		systemd ? "has systemd set the clock from the network"
			: "sets the clock, with the right time for TIME (2026-11-22T10:00:00Z)",
		ls_strdup(systemd ? "timedatectl set-ntp true" : "date -u -s TIME"));
}

void ls_doctor_clock(struct ls_doctor *d)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation g = { 0 };
	int64_t newest_s = d->view.last ? d->view.last->ended_at_s : 0;
	char now[LS_TIME_TEXT_SIZE], then[LS_TIME_TEXT_SIZE];

	if (d->has_tip && ls_history_read(d->a->history, &d->goal, &g, NULL) == LS_OK &&
		g.time_s > newest_s)
		newest_s = g.time_s;
	ls_time_text(ls_now_s(), now);
	ls_time_text(newest_s, then);
	if (ls_now_s() + CLOCK_OFF_S < newest_s)
		ls_doctor_clock_wrong(
			d, ls_format("the clock says %s, but the newest generation is of %s", now,
				   then));
	else if (!d->paths.root[0] && ntp_unsynchronised())
		ls_doctor_note(d,
			ls_strdup("nothing keeps the clock right (the kernel calls it "
				  "unsynchronised)"),
			"A clock that drifts renews too late.",
			"has systemd set the clock from the network",
			ls_strdup("timedatectl set-ntp true"));
}

/* ---- disk ---- */

struct sum {
	int64_t bytes, files;
};

static void add_tree(const char *path, int depth, struct sum *sum)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct stat st;

	if (lstat(path, &st) != 0)
		return;
	sum->bytes += (int64_t)st.st_blocks * 512;
	sum->files++;
	if (!S_ISDIR(st.st_mode) || depth == 0 || ls_dir_open(path, &fd, NULL) != LS_OK ||
		ls_dir_list(fd, ENTRIES_MAX, &names, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_free_str) char *child = ls_format("%s/%s", path, names[i]);

		add_tree(child, depth - 1, sum);
	}
}

/* The command that removes what only records what was (refused drop-ins, damaged packs that were
 * replaced), if that is enough; NULL: it is not. */
static char *removable(const struct ls_doctor *d, dev_t device, const struct sum *lacking)
{
	LS_CLEANUP(ls_free_str) char *damaged = ls_format("%s/damaged", d->paths.history);
	const char *const dirs[] = { d->paths.rejected, damaged };
	LS_CLEANUP(ls_buf_done) struct ls_buf words = { 0 };
	struct sum sum = { 0 };

	for (size_t i = 0; i < LS_COUNT(dirs); i++) {
		LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(dirs[i]);
		struct stat st;

		if (lstat(dirs[i], &st) != 0 || !S_ISDIR(st.st_mode) || st.st_dev != device)
			continue;
		add_tree(dirs[i], 8, &sum);
		sum.files--; /* it stays */
		ls_buf_printf(&words, " %s", word);
	}
	if (sum.bytes < lacking->bytes || sum.files < lacking->files)
		return NULL;
	return ls_format("find%s -xdev -mindepth 1 -delete", ls_buf_text(&words));
}

/* The directory at which the file system of `path` is mounted. */
static char *mount_point(const char *path)
{
	char *at = realpath(path, NULL);
	struct stat st, above;

	if (!at)
		return ls_strdup(path);
	while (strcmp(at, "/") != 0) {
		LS_CLEANUP(ls_free_str) char *parent = ls_strdup(at);
		char *slash = strrchr(parent, '/');

		slash[slash == parent ? 1 : 0] = '\0';
		if (stat(at, &st) != 0 || stat(parent, &above) != 0 || st.st_dev != above.st_dev)
			break;
		free(at);
		at = LS_TAKE(parent);
	}
	return at;
}

static void tell_full(struct ls_doctor *d, const char *path, const struct stat *st, char *text,
	struct sum lacking)
{
	LS_CLEANUP(ls_free_str) char *mount = mount_point(path);
	LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(mount);
	char *remove = removable(d, st->st_dev, &lacking);

	ls_doctor_wrong(d, text,
		"A change stages all files before it is decided, so now each is refused; live "
		"files stay as they are.",
		remove ? "removes refused drop-ins and damaged packs, which are only kept to be "
			 "looked at"
		       : "shows what takes the room, the largest first",
		remove ? remove : ls_format("du -xka %s | sort -rn | head -n 20", word));
}

static void check_disk(struct ls_doctor *d, const char *path, const struct stat *st)
{
	int64_t each = d->has_tip ? (int64_t)d->a->tip.component_count : 5;
	int64_t need = NEED_BYTES + NEED_BYTES_EACH * each, free_bytes;
	int64_t files = NEED_FILES + NEED_FILES_EACH * each;
	LS_CLEANUP(ls_free_str) char *mount = NULL;
	struct statvfs v;

	if (statvfs(path, &v) != 0)
		return;
	free_bytes = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
	mount = mount_point(path);
	if (v.f_flag & ST_RDONLY) {
		LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(mount);

		ls_doctor_wrong(d, ls_format("%s: its file system is read-only", path),
			"No change is possible and nothing is healed; live files stay as they are.",
			"makes it writable; if the kernel made it read-only, dmesg says why",
			ls_format("mount -o remount,rw %s", word));
	} else if (free_bytes < need) {
		tell_full(d, path, st,
			ls_format("%s: %lld KiB are free in %s, a change needs %lld", path,
				(long long)free_bytes / 1024, mount, (long long)need / 1024),
			(struct sum){ .bytes = need - free_bytes });
	} else if (v.f_files > 0 && (int64_t)v.f_favail < files) {
		tell_full(d, path, st,
			ls_format("%s: %lld files can still be made in %s, a change needs %lld",
				path, (long long)v.f_favail, mount, (long long)files),
			(struct sum){ .files = files - (int64_t)v.f_favail });
	}
}

void ls_doctor_disk(struct ls_doctor *d)
{
	const char *const dirs[] = { d->paths.certs, d->paths.incoming, d->paths.lib,
		d->paths.history, d->paths.store, d->paths.identity, d->paths.run };
	dev_t seen[LS_COUNT(dirs)];
	size_t count = 0;

	for (size_t i = 0; i < LS_COUNT(dirs); i++) {
		bool known = false;
		struct stat st;

		if (stat(dirs[i], &st) != 0)
			continue;
		for (size_t k = 0; k < count; k++)
			known |= seen[k] == st.st_dev;
		if (known)
			continue;
		seen[count++] = st.st_dev;
		check_disk(d, dirs[i], &st);
	}
}

/* ---- configuration ---- */

/* "PATH:LINE: what". */
static bool split_place(const char *text, char **path, int64_t *line)
{
	const char *colon = text;
	char digits[16];

	while (*text == '/' && (colon = strchr(colon, ':'))) {
		size_t len = strspn(++colon, "0123456789");

		if (len == 0 || len > 9 || colon[len] != ':')
			continue;
		(void)snprintf(digits, sizeof digits, "%.*s", (int)len, colon);
		*path = ls_strndup(text, (size_t)(colon - 1 - text));
		return ls_text_number(digits, 0, INT32_MAX, line);
	}
	return false;
}

/* The shipped file that this one hides; NULL: none. */
static char *hidden_by(char *const *dirs, const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	for (size_t i = 1; dirs && dirs[0] && dirs[i]; i++) {
		char *shipped = ls_format("%s/%s", dirs[i], name);

		if (ls_has_prefix(path, dirs[0]) && access(shipped, F_OK) == 0)
			return shipped;
		free(shipped);
	}
	return NULL;
}

/* What stands between the first quotes of a message. */
static bool quoted(const char *text, char **out)
{
	const char *from = strchr(text, '\'');
	const char *end = from ? strchr(from + 1, '\'') : NULL;

	if (end)
		*out = ls_strndup(from + 1, (size_t)(end - from - 1));
	return end != NULL;
}

static void config_fault(struct ls_doctor *d, const char *text, char *const *dirs, const char *why)
{
	LS_CLEANUP(ls_free_str) char *path = NULL;
	LS_CLEANUP(ls_free_str) char *word = NULL;
	LS_CLEANUP(ls_free_str) char *shipped = NULL;
	LS_CLEANUP(ls_free_str) char *does = NULL;
	int64_t line = 0;

	if (strstr(text, "writable by everybody") && quoted(text, &path)) {
		word = ls_doctor_quote(path);
		ls_doctor_wrong(d, ls_strdup(text), why, "lets root and its group alone write it",
			ls_format("chmod o-w %s", word));
		return;
	}
	if (!split_place(text, &path, &line)) {
		LS_CLEANUP(ls_free_str)
		char *dir = ls_doctor_quote(dirs ? dirs[0] : d->paths.config);

		ls_doctor_wrong(
			d, ls_strdup(text), why, "shows what is there", ls_format("ls -l %s", dir));
		return;
	}
	word = ls_doctor_quote(path);
	shipped = hidden_by(dirs, path);
	does = ls_format("opens the file at that line%s%s%s",
		d->daemon_pid ? ", then has lockstepd read it" : "",
		shipped ? "; under a name that does not end in .conf it would leave that place to "
			: "",
		shipped ? shipped : "");
	ls_doctor_wrong(d, ls_strdup(text), why, does,
		ls_format("${EDITOR:-vi} +%lld %s%s%s", (long long)line, word,
			d->daemon_pid ? " && " : "", d->daemon_pid ? d->reload : ""));
}

static void check_policies(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_strv) char **seen = NULL;

	for (size_t i = 0; d->paths.policies[i]; i++) {
		LS_CLEANUP(ls_free_strv) char **names = NULL;
		LS_CLEANUP(ls_fd_close)
		int fd = open(d->paths.policies[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || ls_dir_list(fd, ENTRIES_MAX, &names, NULL) != LS_OK)
			continue;
		for (size_t k = 0; k < ls_strv_count(names); k++) {
			LS_CLEANUP(ls_policy_done) struct ls_policy policy = { 0 };
			LS_CLEANUP(ls_free_str) char *name = NULL;
			struct ls_err err = { 0 };

			if (names[k][0] == '.' || !ls_has_suffix(names[k], ".conf") ||
				ls_strv_has(seen, names[k]))
				continue;
			ls_strv_add(&seen, names[k]);
			name = ls_strndup(names[k], strlen(names[k]) - strlen(".conf"));
			if (ls_policy_load(&d->paths, name, &policy, &err) != LS_OK)
				config_fault(d, err.text, d->paths.policies,
					"This policy cannot be chosen. The one in force is part of "
					"the state and stays.");
		}
	}
}

void ls_doctor_config(struct ls_doctor *d)
{
	LS_CLEANUP(ls_services_done) struct ls_services services = { 0 };
	LS_CLEANUP(ls_free_strv) char **faults = NULL;
	struct ls_config config;
	struct ls_err err = { 0 };

	if (ls_config_load(d->paths.config, &config, &err) != LS_OK)
		config_fault(d, err.text, NULL,
			"lockstepd does not start with it; one that runs keeps the earlier "
			"settings.");
	if (ls_services_load_some(&d->paths, NULL, &services, &faults, &err) != LS_OK)
		config_fault(d, err.text, d->paths.templates, "No template can be read.");
	for (size_t i = 0; i < ls_strv_count(faults); i++)
		config_fault(d, faults[i], d->paths.templates,
			"A lockstepd that starts with it heals live files, and makes no change; "
			"one that runs keeps the earlier template.");
	check_policies(d);
}

/* ---- locks ---- */

static bool has_open(const char *fds, const struct stat *wanted)
{
	DIR *dir = opendir(fds);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		struct stat st;

		found = fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
			st.st_ino == wanted->st_ino && st.st_dev == wanted->st_dev;
	}
	if (dir)
		(void)closedir(dir);
	return found;
}

int64_t ls_doctor_holder(const char *path, char **out_name)
{
	struct stat wanted;
	DIR *proc = stat(path, &wanted) == 0 ? opendir("/proc") : NULL;
	struct dirent *entry;
	int64_t found = 0, pid;

	while (proc && !found && (entry = readdir(proc))) {
		LS_CLEANUP(ls_free_str) char *fds = ls_format("/proc/%s/fd", entry->d_name);

		if (ls_text_number(entry->d_name, 1, INT32_MAX, &pid) && pid != getpid() &&
			has_open(fds, &wanted))
			found = pid;
	}
	if (proc)
		(void)closedir(proc);
	if (found && out_name) {
		LS_CLEANUP(ls_free_str) char *comm = ls_format("/proc/%lld/comm", (long long)found);
		LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
		LS_CLEANUP(ls_fd_close) int fd = open(comm, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && ls_file_read_fd(fd, comm, 64, &text, NULL) == LS_OK && text.len)
			text.data[text.len - 1] = '\0';
		*out_name = ls_strdup(text.len ? text.data : "?");
	}
	return found;
}

static void git_lock(struct ls_doctor *d, const char *path)
{
	LS_CLEANUP(ls_free_str) char *name = NULL;
	LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(path);
	int64_t pid = ls_doctor_holder(path, &name);

	if (pid)
		ls_doctor_note(d,
			ls_format("%s: held by process %lld (%s)", path, (long long)pid, name),
			"Somebody works on the history; lockstepd does not wait for it.",
			"waits until that process has ended",
			ls_format("tail --pid=%lld -f /dev/null", (long long)pid));
	else
		ls_doctor_wrong(d, ls_format("%s is left over: no process has it open", path),
			"Whoever made it has died; git refuses to work there as long as it exists.",
			"removes it, as lockstepd does whenever it starts",
			ls_format("rm -f -- %s", word));
}

static void find_locks(struct ls_doctor *d, const char *dir, int depth)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || ls_dir_list(fd, ENTRIES_MAX, &names, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", dir, names[i]);
		struct stat st;

		if (fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISREG(st.st_mode) && ls_has_suffix(names[i], ".lock"))
			git_lock(d, path);
		else if (S_ISDIR(st.st_mode) && depth > 0 && strcmp(names[i], "damaged") != 0)
			find_locks(d, path, depth - 1);
	}
}

void ls_doctor_locks(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/lock", d->paths.lib);
	LS_CLEANUP(ls_free_str) char *name = NULL;
	int64_t pid = d->about->answers ? 0 : ls_doctor_holder(path, &name);

	find_locks(d, d->paths.history, 4);
	if (!pid || pid == d->daemon_pid)
		return;
	if (strcmp(name, "lockstep") == 0 || strcmp(name, "lockstepd") == 0)
		ls_doctor_note(d,
			ls_format("process %lld (%s) works on this node", (long long)pid, name),
			NULL, "waits until it has ended",
			ls_format("tail --pid=%lld -f /dev/null", (long long)pid));
	else
		ls_doctor_wrong(d,
			ls_format("%s is held by process %lld (%s)", path, (long long)pid, name),
			"lockstepd cannot open the node as long as another process has its lock.",
			"ends that process", ls_format("kill %lld", (long long)pid));
}

/* ---- certificates ---- */

void ls_doctor_certificates(struct ls_doctor *d)
{
	int64_t now_s = ls_now_s();

	if (!d->has_tip) {
		ls_doctor_skip(d, "not known before the history is mended");
		return;
	}
	for (size_t i = 0; i < d->a->tip.component_count; i++) {
		const struct ls_component *c = &d->a->tip.components[i];
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
		bool ours = c->origin == LS_ORIGIN_GENERATED;
		char end[LS_TIME_TEXT_SIZE];

		if (ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, NULL) != LS_OK ||
			now_s < info.chain_not_after_s)
			continue;
		ls_time_text(info.chain_not_after_s, end);
		ls_doctor_wrong(d, ls_format("%s: expired since %s", c->name, end),
			"Clients refuse it.",
			ours ? "issues it anew by its template"
			     : "installs its successor, which your CA must issue",
			ours ? ls_format("%s cert renew %s", d->self, c->name)
			     : ls_format(
				       "%s cert set %s --cert CHAIN --key KEY", d->self, c->name));
	}
}

/* ---- the daemon ---- */

static size_t wrong_so_far(const struct ls_doctor *d)
{
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(d->checks); i++)
		count += strcmp(json_string_value(
					json_object_get(json_array_get(d->checks, i), "state")),
				 "wrong") == 0;
	return count;
}

static char *argv_words(char *const *argv)
{
	struct ls_buf out = { 0 };

	for (size_t i = 0; i < ls_strv_count(argv); i++) {
		LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(argv[i]);

		ls_buf_printf(&out, "%s%s", i ? " " : "", word);
	}
	return ls_buf_take(&out);
}

/* How the service that a problem is about is told to read its files; NULL: no single command. */
static char *reload_command(const struct ls_doctor *d, const char *problem)
{
	size_t len = strcspn(problem, ":");
	LS_CLEANUP(ls_free_str) char *name = ls_strndup(problem, len);
	const struct ls_service *s =
		strstr(problem, ": endpoint ") ? ls_services_find(&d->a->services, name) : NULL;

	if (!s || s->reload_count == 0)
		return NULL;
	if (s->reloads[0].kind == LS_RELOAD_SYSTEMD)
		return ls_format("systemctl reload-or-restart %s", s->reloads[0].target);
	if (s->reloads[0].kind == LS_RELOAD_EXEC)
		return argv_words(s->reloads[0].argv);
	if (s->reloads[0].kind == LS_RELOAD_SIGNAL) {
		LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(s->reloads[0].target);

		return ls_format("kill -%s $(cat %s)", sigabbrev_np(s->reloads[0].signum), word);
	}
	return NULL;
}

static void tell_problems(struct ls_doctor *d)
{
	const json_t *problems = json_object_get(d->about->status, "problems");

	for (size_t i = 0; i < json_array_size(problems); i++) {
		const char *text = json_string_value(json_array_get(problems, i));
		char *reload = reload_command(d, text);

		ls_doctor_wrong(d, ls_strdup(text), "lockstep status says so.",
			reload ? "has the service read its files again"
			       : "shows whether it persists",
			reload ? reload : ls_format("%s status", d->self));
	}
}

void ls_doctor_daemon(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *pid_path = ls_format("%s/lockstepd.pid", d->paths.run);

	if (d->about->answers) {
		if (wrong_so_far(d) == 0) /* else they are the same in other words */
			tell_problems(d);
	} else if (!d->daemon_pid) {
		ls_doctor_wrong(d,
			ls_format("lockstepd does not run%s",
				access(pid_path, F_OK) == 0 ? ": its pid file is of one that died"
							    : ""),
			"Nothing is renewed, healed or taken in; live files stay as they are.",
			"starts it", ls_strdup(d->start));
	} else if (wrong_so_far(d) > 0) {
		ls_doctor_note(d,
			ls_format("lockstepd (process %lld) runs, but cannot open the node",
				(long long)d->daemon_pid),
			NULL, "tries again every 2 s and needs no restart", NULL);
	} else {
		ls_doctor_wrong(d,
			ls_format("lockstepd (process %lld) runs, but does not answer",
				(long long)d->daemon_pid),
			"Nothing is renewed, healed or taken in; live files stay as they are.",
			"ends it and starts it again",
			ls_format("kill %lld && tail --pid=%lld -f /dev/null; %s",
				(long long)d->daemon_pid, (long long)d->daemon_pid, d->start));
	}
}
