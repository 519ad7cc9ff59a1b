/* The doctor's checks of what the node is: identity, history, record, ref. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/doctor_checks.h"
#include "history/repair.h"
#include "sys/file.h"

#define LOST_SHOWN 12
#define FILES_MAX 4096
#define BLOB_BYTES_MAX (1024 * 1024)

/* ---- identity ---- */

static bool readable_key(const struct ls_doctor *d, const char *name)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", d->paths.identity, name);
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };

	/* What is in it is judged by loading it; here: whether there is something to load. */
	return ls_file_read_secret(AT_FDCWD, path, 65536, &pem, NULL) == LS_OK &&
	       memmem(pem.data, pem.len, "PRIVATE KEY", strlen("PRIVATE KEY"));
}

/* `part` of /var/lib/lockstep, from a backup of it. */
static void restore(struct ls_doctor *d, const char *what, const char *why, const char *part)
{
	LS_CLEANUP(ls_free_str) char *lib = ls_doctor_quote(d->paths.lib);
	const char *slash = strchr(part, '/');

	ls_doctor_wrong(d, ls_strdup(what), why,
		"puts them back from a backup of the whole directory, for BACKUP; without one, "
		"recovery.md says how to get every key and certificate back with the escrowed "
		"sealing key, for a node that is made anew with lockstep init",
		ls_format("cp -a BACKUP/%s %s/%.*s", part, lib, slash ? (int)(slash - part) + 1 : 0,
			part));
}

static bool is_member(const struct ls_doctor *d)
{
	const struct ls_identity *own = &d->a->identity;
	const struct ls_state *tip = &d->a->tip;
	const struct ls_member *self = ls_state_member(tip, own->node);

	return self && strcmp(own->cluster_id, tip->cluster_id) == 0 &&
	       ls_bytes_equal(ls_buf_bytes(&own->ca_pem), ls_buf_bytes(&tip->ca_pem)) &&
	       ls_bytes_equal(
		       ls_buf_bytes(&own->signer.cert_pem), ls_buf_bytes(&self->signing_cert_pem));
}

void ls_doctor_identity(struct ls_doctor *d)
{
	static const char lost[] = "Without its keys this node can neither sign a change nor open "
				   "a private key; the live files stay as they are.";
	bool key = readable_key(d, "signing-key.pem");
	LS_CLEANUP(ls_free_str) char *wrapping = NULL;

	if (!d->has_identity) {
		/* A mode or an owner: the hint is the command. */
		if (ls_has_prefix(d->no_identity.hint, "ch")) {
			ls_doctor_wrong(d, ls_strdup(d->no_identity.text), lost,
				"gives the key back to root alone", ls_strdup(d->no_identity.hint));
		} else if (!key) {
			restore(d, d->no_identity.text, lost, "identity");
		} else if (d->has_tip) {
			ls_doctor_wrong(d, ls_strdup(d->no_identity.text), lost,
				"makes everything but keys anew, from the history",
				ls_doctor_mend_command(d, "identity", ""));
		} else {
			restore(d, d->no_identity.text, lost, "identity");
		}
		return;
	}
	if (d->no_kek) {
		restore(d, d->no_record.text, lost, "store/kek");
		return;
	}
	if (!d->has_tip || !d->a->store) {
		ls_doctor_skip(d, "not known before record and history can be read");
		return;
	}
	if (d->removed)
		return; /* told under members */
	if (!is_member(d)) {
		ls_doctor_wrong(d,
			ls_format("'%s' is not what the history says of node %s", d->paths.identity,
				d->a->identity.node),
			"What is signed with it is refused as a stranger's.",
			"makes everything but keys anew, from the history",
			ls_doctor_mend_command(d, "identity", ""));
		return;
	}
	if (d->has_keys)
		return;
	wrapping = ls_format("wrapping-%lld-key.pem", (long long)d->a->tip.kek_epoch);
	if (!readable_key(d, wrapping))
		restore(d, d->no_keys.text, lost, "identity");
	else if (d->shared && !d->has_record)
		ls_doctor_skip(d, "this node's copy of the cluster's key is missing, and etcd, "
				  "which has it, does not answer");
	else if (strstr(d->no_keys.text, "-cert.pem"))
		ls_doctor_wrong(d, ls_strdup(d->no_keys.text), lost,
			"makes everything but keys anew, from the history",
			ls_doctor_mend_command(d, "identity", ""));
	else
		restore(d, d->no_keys.text, lost, "store/kek");
}

/* ---- objects ---- */

void ls_doctor_blobs_done(struct ls_doctor_blobs *blobs)
{
	for (size_t i = 0; i < blobs->count; i++)
		ls_buf_done(&blobs->bufs[i]);
	free(blobs->bufs);
	free(blobs->bytes);
}

static void add_blob(struct ls_doctor_blobs *blobs, struct ls_buf *buf)
{
	blobs->bufs = ls_realloc(blobs->bufs, blobs->count + 1, sizeof *blobs->bufs);
	blobs->bufs[blobs->count++] = *buf;
	*buf = (struct ls_buf){ 0 };
}

static void add_files(const char *dir, const char *suffix, struct ls_doctor_blobs *blobs)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || ls_dir_list(fd, FILES_MAX, &names, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_buf_done) struct ls_buf buf = { 0 };

		if (ls_has_suffix(names[i], suffix) &&
			ls_file_read(fd, names[i], BLOB_BYTES_MAX, &buf, NULL) == LS_OK)
			add_blob(blobs, &buf);
	}
}

void ls_doctor_blobs_load(const struct ls_paths *paths, struct ls_doctor_blobs *out)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = open(paths->certs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct ls_buf format = { 0 };

	*out = (struct ls_doctor_blobs){ 0 };
	ls_buf_str(&format, "1\n");
	add_blob(out, &format);
	add_files(paths->identity, "ca.pem", out);
	if (fd >= 0 && ls_dir_list(fd, FILES_MAX, &names, NULL) != LS_OK)
		ls_free_strv(&names);
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_free_str) char *dir = ls_format("%s/%s", paths->certs, names[i]);
		LS_CLEANUP(ls_free_str) char *ca = ls_format("%s/ca", dir);

		if (!ls_live_dir_valid(names[i]))
			continue;
		add_files(dir, "_cert.pem", out);
		add_files(ca, ".pem", out);
	}
	out->bytes = ls_alloc(out->count, sizeof *out->bytes);
	for (size_t i = 0; i < out->count; i++)
		out->bytes[i] = ls_buf_bytes(&out->bufs[i]);
}

static char *lost_text(const struct ls_lost *lost)
{
	LS_CLEANUP(ls_free_str)
	char *generation = lost->generation
				   ? ls_format("generation %lld", (long long)lost->generation)
				   : ls_strdup("the newest generation");
	const char *what = lost->path[0]                     ? lost->path
			   : strcmp(lost->kind, "tree") == 0 ? "its whole tree"
							     : "the commit itself";

	return ls_format("%s: %s (%s %.12s) is %s", generation, what, lost->kind, lost->id,
		lost->missing ? "missing" : "damaged");
}

static void tell_lost(struct ls_doctor *d, const struct ls_survey *s)
{
	static const char why[] =
		"What lies in a lost object is in no other place of the history: a rollback to "
		"that generation, or, for the newest one, any change is impossible. Live files "
		"stay as they are.";
	LS_CLEANUP(ls_doctor_blobs_done) struct ls_doctor_blobs blobs = { 0 };
	struct ls_copies copies = { 0 };
	size_t left = 1;

	ls_doctor_blobs_load(&d->paths, &blobs);
	copies.blobs = blobs.bytes;
	copies.blob_count = blobs.count;
	LS_IGNORE(ls_history_repairable(
		d->a->history, &d->goal, s, &copies, &left, NULL)); /* then a copy is asked for */
	for (size_t i = 0; i < s->lost_count && i < LOST_SHOWN; i++)
		ls_doctor_wrong(d, lost_text(&s->lost[i]), why,
			left ? "takes what is lost out of a copy of history.git, for BACKUP; only "
			       "objects whose id is that of their content are taken, and what is "
			       "intact here is kept"
			     : "puts it back: its content is found on this node",
			ls_doctor_mend_command(d, "objects", left ? " --from BACKUP" : ""));
	if (s->lost_count > LOST_SHOWN)
		ls_doctor_wrong(d, ls_format("and %zu more", s->lost_count - LOST_SHOWN), why,
			"see above",
			ls_doctor_mend_command(d, "objects", left ? " --from BACKUP" : ""));
}

static void tell_files(struct ls_doctor *d, const struct ls_survey *s)
{
	for (size_t i = 0; i < ls_strv_count(s->files); i++)
		ls_doctor_wrong(d, ls_format("history.git/%s is damaged", s->files[i]),
			"What was needed of it is intact elsewhere, but stock git and history "
			"verify refuse the repository.",
			"makes a new pack of all that is intact and moves the damaged file to "
			"history.git/damaged",
			ls_doctor_mend_command(d, "objects", ""));
}

static void tell_frame(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *folder = ls_format("%s/objects", d->paths.history);
	bool objects = access(folder, F_OK) == 0;

	ls_doctor_wrong(d, ls_strdup(d->no_frame.text),
		"Without the history no change is possible. Live files stay as they are.",
		objects ? "makes the repository's own files anew"
			: "makes the repository anew and fills it from a copy, for BACKUP",
		ls_doctor_mend_command(d, "objects", objects ? "" : " --from BACKUP"));
}

/* What reads well, but is not what was signed. */
static void check_signatures(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *history = ls_doctor_quote(d->paths.history);
	struct ls_commit_id root = { "" };
	struct ls_err err = { 0 };
	int64_t count;

	if (d->has_identity)
		memcpy(root.hex, d->a->identity.root, sizeof root.hex);
	if (ls_history_verify(d->a->history, &d->goal, &root, NULL, NULL, &count, &err) == LS_OK)
		return;
	ls_doctor_wrong(d, ls_strdup(err.text),
		"The history is not the one that the members of this cluster signed.",
		"puts a backup of the repository, for BACKUP, in its place; what was there is kept "
		"beside it",
		ls_format("mv -T %s %s.forged && cp -aT BACKUP %s", history, history, history));
}

void ls_doctor_objects(struct ls_doctor *d)
{
	LS_CLEANUP(ls_survey_done) struct ls_survey s = { 0 };
	struct ls_err err = { 0 };

	if (!d->has_frame) {
		tell_frame(d);
		return;
	}
	if (!d->goal.hex[0]) {
		ls_doctor_skip(d, "neither record nor main says which commit is the newest");
		return;
	}
	if (ls_history_survey(d->a->history, &d->goal, &s, &err) != LS_OK) {
		ls_doctor_wrong(d, ls_strdup(err.text), "The history cannot be read through.",
			"shows the disk's own complaints", ls_strdup("dmesg | tail -n 30"));
		return;
	}
	if (s.lost_count)
		tell_lost(d, &s);
	else if (s.files)
		tell_files(d, &s);
	else
		check_signatures(d);
}

/* ---- record and ref ---- */

void ls_doctor_record(struct ls_doctor *d)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation head = { 0 };
	static const char does[] =
		"judges the whole history and makes the record anew from its newest generation; "
		"what is there is kept beside it";

	if (d->shared)
		ls_doctor_shared_record(d);
	else if (d->no_kek)
		ls_doctor_skip(d, "not known before store/kek is there");
	else if (!d->has_record && !d->has_head)
		ls_doctor_wrong(d, ls_strdup(d->no_record.text),
			"Record and main are both gone: nothing says which generation is in force.",
			"restores both from a backup, for BACKUP",
			ls_format("cp -a BACKUP/store BACKUP/history.git %s/", d->paths.lib));
	else if (!d->has_record)
		ls_doctor_wrong(d, ls_strdup(d->no_record.text),
			"The record says which generation is in force. Without it lockstepd does "
			"not open the node: nothing is healed, and no change is possible.",
			does, ls_doctor_mend_command(d, "record", ""));
	else if (d->older && ls_agent_record_is_older(d->a->history, &d->view.tip, &head))
		ls_doctor_wrong(d,
			ls_format("the record names generation %lld, the history is at %lld",
				(long long)d->view.tip.generation, (long long)head.generation),
			"Main moves only after the record did, so the record is an older one, such "
			"as from a backup. Followed, it would take back generations that were in "
			"force.",
			does, ls_doctor_mend_command(d, "record", ""));
}

void ls_doctor_ref(struct ls_doctor *d)
{
	const char *does = d->about->answers ? "has it look at everything now"
					     : "starts the daemon, which puts main where the "
					       "record says before it does anything else";

	if (!d->has_record || !d->has_frame || d->view.rotation || d->removed ||
		(d->shared && !d->has_head))
		return;
	if (d->older)
		return; /* told under record */
	if (!d->has_head)
		ls_doctor_wrong(d, ls_strdup(d->no_head.text),
			"History and stock git show main; the record, which decides, is intact.",
			does, ls_doctor_look_command(d));
	else if (strcmp(d->head.hex, d->view.tip.commit) != 0)
		ls_doctor_wrong(d,
			ls_format("main is %.12s, the record names %.12s (generation %lld)",
				d->head.hex, d->view.tip.commit, (long long)d->view.tip.generation),
			"The record decides; main follows it, and has not: a crash in between, or "
			"somebody moved it.",
			does, ls_doctor_look_command(d));
}
