/* The doctor's checks of files: owners and modes, what is live, what is foreign there. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/doctor_checks.h"
#include "node/gendir.h"
#include "node/links.h"
#include "sys/file.h"

#define ENTRIES_MAX 65536
/* A running daemon heals at once; what is still wrong then is a finding. */
#define HEAL_TRIES 20
#define HEAL_WAIT_MS 100

/* ---- owners and modes ---- */

static char *owner_command(const char *path, const struct stat *st)
{
	LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(path);

	if (geteuid() != 0 || st->st_uid == 0)
		return NULL;
	return ls_format("chown root %s", word);
}

/* One finding for owner and mode together. `mode` is what chmod gets. */
static void loose(struct ls_doctor *d, const char *path, const struct stat *st, bool mode_wrong,
	const char *mode, const char *why)
{
	LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(path);
	LS_CLEANUP(ls_free_str) char *chown = owner_command(path, st);
	LS_CLEANUP(ls_free_str)
	char *chmod = mode_wrong ? ls_format("chmod %s %s", mode, word) : NULL;

	if (!chown && !chmod)
		return;
	ls_doctor_wrong(d,
		ls_format("%s: mode %04o, owner %u", path, (unsigned)(st->st_mode & 07777),
			(unsigned)st->st_uid),
		why, "sets what it was made with",
		ls_format("%s%s%s", chown ? chown : "", chown && chmod ? " && " : "",
			chmod ? chmod : ""));
}

static void check_dir(struct ls_doctor *d, const char *path, mode_t mode, const char *why)
{
	char text[8];
	struct stat st;

	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return; /* whether it must be there is another's check */
	(void)snprintf(text, sizeof text, "%04o", (unsigned)mode);
	loose(d, path, &st, (st.st_mode & 07777) != mode, text, why);
}

static void check_keys(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close)
	int fd = open(d->paths.identity, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || ls_dir_list(fd, ENTRIES_MAX, &names, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_free_str)
		char *path = ls_format("%s/%s", d->paths.identity, names[i]);
		struct stat st;

		if (ls_has_suffix(names[i], "-key.pem") && lstat(path, &st) == 0)
			loose(d, path, &st, (st.st_mode & 07777) != 0600, "0600",
				"Whoever reads this key is this node. lockstepd refuses to start "
				"with it, and the key may be known by now: renew what it protects "
				"(lockstep seal rotate).");
	}
}

/* Templates name commands that root runs. */
static void check_writable(struct ls_doctor *d, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
		loose(d, path, &st, (st.st_mode & 022) != 0, "go-w",
			"Whoever may write here says which commands lockstepd runs, and what a "
			"certificate must satisfy.");
}

static void check_configuration(struct ls_doctor *d)
{
	const char *dirs[] = { d->paths.templates[0], d->paths.policies[0] };
	LS_CLEANUP(ls_free_str) char *etc = ls_format("%s/etc/lockstep", d->paths.root);

	check_writable(d, etc);
	check_writable(d, d->paths.config);
	for (size_t i = 0; i < LS_COUNT(dirs); i++) {
		LS_CLEANUP(ls_free_strv) char **names = NULL;
		LS_CLEANUP(ls_fd_close) int fd = open(dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		check_writable(d, dirs[i]);
		if (fd < 0 || ls_dir_list(fd, ENTRIES_MAX, &names, NULL) != LS_OK)
			continue;
		for (size_t k = 0; k < ls_strv_count(names); k++) {
			LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", dirs[i], names[k]);

			if (ls_has_suffix(names[k], ".conf"))
				check_writable(d, path);
		}
	}
}

/* Opened without making anything. */
static bool open_gendir(const struct ls_doctor *d, struct ls_gendir *out)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", d->paths.certs, d->plan->dir);

	if (ls_dir_open(path, &out->fd, NULL) != LS_OK)
		return false;
	if (ls_dir_open_at(out->fd, "ca", &out->ca_fd, NULL) == LS_OK)
		return true;
	ls_fd_close(&out->fd);
	return false;
}

static void loose_live(struct ls_doctor *d, const struct ls_live_file *file)
{
	LS_CLEANUP(ls_free_str)
	char *path = ls_format("%s/%s/%s", d->paths.certs, d->plan->dir, file->name);
	LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(path);
	LS_CLEANUP(ls_free_str) char *group = NULL;
	struct stat st;

	if (lstat(path, &st) != 0)
		return;
	group = file->group == (gid_t)-1
			? ls_strdup("")
			: ls_format("chown 0:%u %s && ", (unsigned)file->group, word);
	ls_doctor_wrong(d,
		ls_format("%s: mode %04o, owner %u, group %u; the template of %s wants %04o", path,
			(unsigned)(st.st_mode & 07777), (unsigned)st.st_uid, (unsigned)st.st_gid,
			file->component, (unsigned)file->mode),
		"Services may be unable to read the file, or others may read a private key.",
		"sets what the template says, as a running lockstepd does by itself",
		ls_format("%schmod %04o %s", group, (unsigned)file->mode, word));
}

static void check_live_modes(struct ls_doctor *d)
{
	LS_CLEANUP(ls_gendir_done) struct ls_gendir dir = LS_GENDIR_CLOSED;
	LS_CLEANUP(ls_free_str) char *ca = ls_format("%s/ca", d->paths.certs);
	static const char why[] = "Services must be able to find their files here, and only root "
				  "to replace them.";

	check_dir(d, d->paths.certs, 0755, why);
	check_dir(d, ca, 0755, why);
	if (d->plan) {
		LS_CLEANUP(ls_free_str)
		char *live = ls_format("%s/%s", d->paths.certs, d->plan->dir);
		LS_CLEANUP(ls_free_str) char *live_ca = ls_format("%s/ca", live);

		check_dir(d, live, 0755, why);
		check_dir(d, live_ca, 0755, why);
	}
	if (!d->plan || !open_gendir(d, &dir))
		return;
	for (size_t i = 0; i < d->plan->count; i++) {
		LS_CLEANUP(ls_fd_close) int fd = -1;
		enum ls_gendir_state state;

		if (ls_gendir_look(&dir, &d->plan->files[i], &state, &fd, NULL) == LS_OK &&
			state == LS_GENDIR_LOOSE)
			loose_live(d, &d->plan->files[i]);
	}
}

/* Others pass through it to the files of an etcd member when these were handed to a group; all in
 * it has modes of its own. */
static mode_t lib_mode(const struct ls_doctor *d)
{
	struct stat st;

	return lstat(d->paths.lib, &st) == 0 && (st.st_mode & 07777) == 0711 ? 0711 : 0700;
}

void ls_doctor_modes(struct ls_doctor *d)
{
	static const char secret[] = "The keys of this node, or what they sign, lie below; nobody "
				     "else may enter.";
	LS_CLEANUP(ls_free_str) char *kek = ls_format("%s/kek", d->paths.store);

	check_dir(d, d->paths.lib, lib_mode(d), secret);
	check_dir(d, d->paths.identity, 0700, secret);
	check_keys(d);
	check_dir(d, d->paths.store, 0700, secret);
	check_dir(d, kek, 0700, secret);
	check_dir(d, d->paths.history, 0700, secret);
	check_dir(d, d->paths.rejected, 0700, secret);
	check_dir(d, d->paths.incoming, 0700,
		"Whoever writes here installs certificates, and private keys pass through.");
	check_dir(d, d->paths.run, 0755,
		"Callers must reach the control socket, and only root may put another in its "
		"place.");
	check_configuration(d);
	check_live_modes(d);
}

/* ---- what is live ---- */

static void fault(struct ls_buf *faults, const char *name, const char *what)
{
	ls_buf_printf(faults, "%s%s %s", faults->len ? ", " : "", name, what);
}

static void look_at_data(const struct ls_doctor *d, int live_fd, struct ls_buf *faults)
{
	LS_CLEANUP(ls_free_str) char *target = NULL;
	char wanted[LS_LIVE_DIR_SIZE];
	struct stat st;

	ls_live_dir_name(d->view.tip.dir_generation, d->view.tip.dir_commit, wanted);
	if (ls_link_read(live_fd, LS_LINKS_DATA, &target, NULL) != LS_OK)
		fault(faults, LS_LINKS_DATA,
			fstatat(live_fd, LS_LINKS_DATA, &st, AT_SYMLINK_NOFOLLOW) == 0
				? "is not a link"
				: "is missing");
	else if (strcmp(target, wanted) != 0)
		fault(faults, LS_LINKS_DATA, "names another directory than the record");
	if (fstatat(live_fd, wanted, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
		fault(faults, wanted, "is missing");
}

static void look_at_files(const struct ls_doctor *d, struct ls_buf *faults)
{
	static const char *const words[] = {
		[LS_GENDIR_ABSENT] = "is missing",
		[LS_GENDIR_SHARED] = "is linked elsewhere too",
		[LS_GENDIR_OTHER] = "has other content",
	};
	LS_CLEANUP(ls_gendir_done) struct ls_gendir dir = LS_GENDIR_CLOSED;

	if (!open_gendir(d, &dir)) {
		if (!faults->len)
			fault(faults, d->plan->dir, "is not whole");
		return;
	}
	for (size_t i = 0; i < d->plan->count; i++) {
		LS_CLEANUP(ls_fd_close) int fd = -1;
		enum ls_gendir_state state;

		if (ls_gendir_look(&dir, &d->plan->files[i], &state, &fd, NULL) != LS_OK)
			state = LS_GENDIR_OTHER;
		if (state != LS_GENDIR_RIGHT && state != LS_GENDIR_LOOSE)
			fault(faults, d->plan->files[i].name, words[state]);
	}
}

static void look_at_links(const struct ls_doctor *d, int live_fd, struct ls_buf *faults)
{
	for (size_t i = 0; i < d->plan->count; i++) {
		const struct ls_live_file *file = &d->plan->files[i];
		char target[LS_LIVE_DIR_SIZE];

		ls_live_link_target(file->name, target);
		if (!ls_links_is(live_fd, file->name, target))
			fault(faults, file->name,
				ls_file_exists(live_fd, file->name) ? "is not the link it must be"
								    : "is missing");
	}
}

static void look(const struct ls_doctor *d, struct ls_buf *faults)
{
	LS_CLEANUP(ls_fd_close) int fd = open(d->paths.certs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ls_buf_clear(faults);
	if (fd < 0) {
		fault(faults, d->paths.certs, "is missing");
		return;
	}
	look_at_data(d, fd, faults);
	if (!d->plan)
		return;
	look_at_files(d, faults);
	look_at_links(d, fd, faults);
}

void ls_doctor_live(struct ls_doctor *d)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf faults = { 0 };

	if (d->removed)
		return; /* they stay as they are */
	if (!d->knows_tip || d->older) {
		ls_doctor_skip(d, "not known before the record is mended");
		return;
	}
	if (d->view.rotation) {
		ls_doctor_note(d, ls_strdup("a rotation is under way: not compared"), NULL, NULL,
			ls_format("%s rotation show", d->self));
		return;
	}
	look(d, &faults);
	for (int i = 0; faults.len && d->about->answers && i < HEAL_TRIES; i++) {
		(void)poll(NULL, 0, HEAL_WAIT_MS);
		look(d, &faults);
	}
	if (faults.len)
		ls_doctor_wrong(d, ls_format("%s: %s", d->paths.certs, ls_buf_text(&faults)),
			"This is where services read their certificates and keys.",
			d->about->answers
				? "has lockstepd look at everything; it puts back what it can"
				: "starts lockstepd, which puts everything back from the history; "
				  "what was written over a live file is then judged as a drop-in",
			ls_strdup(d->about->answers ? d->reload : d->start));
	else if (!d->plan)
		ls_doctor_skip(d, "contents are not known before identity and history are mended");
}

/* ---- what is foreign ---- */

static bool plan_has(const struct ls_live_plan *plan, bool ca, const char *base)
{
	for (size_t i = 0; i < plan->count; i++)
		if (ca == (plan->files[i].kind == LS_LIVE_CA) &&
			strcmp(ls_links_base(&plan->files[i]), base) == 0)
			return true;
	return false;
}

/* Links of a component that was there once, and temporaries: lockstepd tidies them. */
static bool is_remains(int fd, bool ca, const char *name)
{
	LS_CLEANUP(ls_free_str)
	char *ours = ls_format("%s%s", ca ? "../..data/ca/" : "..data/", name);

	return ls_has_prefix(name, LS_LINKS_TMP_PREFIX) ||
	       (name[0] == '.' && ls_has_suffix(name, ".new")) || ls_links_is(fd, name, ours);
}

static bool belongs(bool top, bool ca, const char *name)
{
	if (!top)
		return !ca && strcmp(name, "ca") == 0;
	return ls_live_dir_valid(name) || strcmp(name, LS_LINKS_DATA) == 0 ||
	       strcmp(name, LS_LINKS_NEXT) == 0 || strcmp(name, "ca") == 0;
}

static void find_foreign(const struct ls_doctor *d, const char *below, bool top, bool ca,
	struct ls_buf *names, struct ls_buf *words)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", d->paths.certs, below);
	LS_CLEANUP(ls_free_strv) char **found = NULL;
	LS_CLEANUP(ls_fd_close)
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || ls_dir_list(fd, ENTRIES_MAX, &found, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(found); i++) {
		LS_CLEANUP(ls_free_str) char *one = NULL;
		LS_CLEANUP(ls_free_str) char *word = NULL;

		if (plan_has(d->plan, ca, found[i]) ||
			(!(top && ca) && belongs(top, ca, found[i])) ||
			is_remains(fd, ca, found[i]))
			continue;
		one = ls_format("%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", found[i]);
		word = ls_doctor_quote(one);
		ls_buf_printf(names, "%s%s%s%s", names->len ? ", " : "", below, below[0] ? "/" : "",
			found[i]);
		ls_buf_printf(words, " %s", word);
	}
}

void ls_doctor_foreign(struct ls_doctor *d)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf names = { 0 }, words = { 0 };
	LS_CLEANUP(ls_free_str) char *ca = NULL;
	LS_CLEANUP(ls_free_str) char *aside = NULL;
	LS_CLEANUP(ls_free_str) char *to = NULL;

	if (!d->plan) {
		if (!d->view.rotation && !d->removed)
			ls_doctor_skip(d, "not known before identity and history are mended");
		return;
	}
	ca = ls_format("%s/ca", d->plan->dir);
	find_foreign(d, "", true, false, &names, &words);
	find_foreign(d, "ca", true, true, &names, &words);
	find_foreign(d, d->plan->dir, false, false, &names, &words);
	find_foreign(d, ca, false, true, &names, &words);
	if (!names.len)
		return;
	aside = ls_format("%s/aside", d->paths.lib);
	to = ls_doctor_quote(aside);
	ls_doctor_wrong(d, ls_format("%s: %s", d->paths.certs, ls_buf_text(&names)),
		"lockstepd neither reads nor renews nor guards what it did not make; a service "
		"that uses such a file keeps it when everything else is renewed, and a directory "
		"of a generation goes with all that is in it.",
		"moves them aside, where only root can read them; what must be installed goes "
		"through lockstep cert set",
		ls_format("mkdir -p -m 700 %s && mv --backup=numbered -t %s --%s", to, to,
			ls_buf_text(&words)));
}
