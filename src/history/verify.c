/* Judging generations, and the whole history. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "history/commit.h"
#include "history/packs.h"
#include "history/repo.h"
#include "pki/sha1.h"
#include "sys/file.h"

/* How long an index may be there without its pack. */
#define HALF_TRIES 20
#define HALF_WAIT_MS 50
#define PACKS_MAX 1000000
#define LOOSE_BYTES_MAX (64u << 20) /* not only ours: whatever was put there */

/* A commit with all that is needed to judge it or its child. */
struct judged {
	struct ls_generation about;
	struct ls_buf text;
	struct ls_buf signature;
	struct ls_snapshot snapshot;
	struct ls_state state;
};

static void judged_done(struct judged *judged)
{
	ls_generation_done(&judged->about);
	ls_buf_done(&judged->text);
	ls_buf_done(&judged->signature);
	ls_snapshot_done(&judged->snapshot);
	ls_state_done(&judged->state);
}

static enum ls_code judged_load(struct ls_history *history, const struct ls_commit_id *id,
	const struct ls_snapshot *reuse, struct judged *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf raw = { 0 };
	git_oid oid;

	LS_TRY(ls_repo_oid(id, &oid, err));
	LS_TRY(ls_repo_read(history, &oid, GIT_OBJECT_COMMIT, &raw, err));
	LS_TRY(ls_commit_parse(ls_buf_bytes(&raw), &out->about, &out->text, &out->signature, err));
	out->about.commit = *id;
	LS_TRY(ls_snapshot_load(history, out->about.tree, reuse, &out->snapshot, err));
	return ls_snapshot_state(&out->snapshot, &out->state, err);
}

static const struct ls_member *member_of(const struct ls_state *state, const struct ls_buf *cert)
{
	for (size_t i = 0; i < state->member_count; i++)
		if (ls_bytes_equal(
			    ls_buf_bytes(&state->members[i].signing_cert_pem), ls_buf_bytes(cert)))
			return &state->members[i];
	return NULL;
}

static enum ls_code judge_signer(
	const struct judged *commit, const struct ls_state *members, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };
	LS_CLEANUP(ls_free_str) char *email = NULL;
	const struct ls_member *member;

	LS_TRY(ls_sign_verify(
		ls_buf_bytes(&commit->text), ls_buf_bytes(&commit->signature), &cert, err));
	member = member_of(members, &cert);
	if (!member)
		return LS_FAIL(err, LS_E_REFUSED, "the signer is not a member in %s",
			commit->about.parent.hex[0] ? "the parent's tree" : "its own tree");
	email = ls_format("%s@%s", member->name, members->cluster);
	if (strcmp(commit->about.committer_name, member->name) != 0 ||
		strcmp(commit->about.committer_email, email) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "the committer is '%s <%s>', the signer '%s'",
			commit->about.committer_name, commit->about.committer_email, member->name);
	return LS_OK;
}

/* `parent` is NULL for the first generation. */
static enum ls_code judge(
	const struct judged *commit, const struct judged *parent, struct ls_err *err)
{
	int64_t want = parent ? parent->about.generation + 1 : 1;

	if (commit->about.generation != want)
		return LS_FAIL(err, LS_E_REFUSED, "says generation %lld, wanted %lld",
			(long long)commit->about.generation, (long long)want);
	if (parent && (strcmp(commit->state.cluster_id, parent->state.cluster_id) != 0 ||
			      strcmp(commit->state.cluster, parent->state.cluster) != 0))
		return LS_FAIL(err, LS_E_REFUSED, "belongs to another cluster than its parent");
	return judge_signer(commit, parent ? &parent->state : &commit->state, err);
}

enum ls_code ls_history_judge(struct ls_history *history, const struct ls_commit_id *id,
	struct ls_state *out_state, struct ls_err *err)
{
	LS_CLEANUP(judged_done) struct judged commit = { 0 };
	LS_CLEANUP(judged_done) struct judged parent = { 0 };
	struct ls_err why = { 0 };
	bool has_parent;
	enum ls_code rc = judged_load(history, id, NULL, &commit, &why);

	has_parent = commit.about.parent.hex[0] != '\0';
	if (rc == LS_OK && has_parent)
		rc = judged_load(history, &commit.about.parent, &commit.snapshot, &parent, &why);
	if (rc == LS_OK)
		rc = judge(&commit, has_parent ? &parent : NULL, &why);
	if (rc != LS_OK)
		return LS_FAIL(err, rc == LS_E_NOT_FOUND || rc == LS_E_IO ? rc : LS_E_REFUSED,
			"commit %.12s: %s", id->hex, why.text);
	if (out_state) {
		ls_state_done(out_state);
		*out_state = commit.state;
		commit.state = (struct ls_state){ 0 };
	}
	return LS_OK;
}

/* ---- the whole history ---- */

static enum ls_code fault(struct ls_err *err, int64_t generation, const struct ls_commit_id *id,
	const struct ls_err *why)
{
	if (generation > 0)
		return LS_FAIL(err, LS_E_DAMAGED, "generation %lld (commit %.12s): %s",
			(long long)generation, id->hex, why->text);
	return LS_FAIL(err, LS_E_DAMAGED, "commit %.12s: %s", id->hex, why->text);
}

static void move(struct judged *to, struct judged *from)
{
	judged_done(to);
	*to = *from;
	*from = (struct judged){ 0 };
}

static enum ls_code walk(struct ls_history *history, const struct ls_commit_id *head,
	const struct ls_commit_id *root, void (*progress)(void *arg, int64_t done, int64_t total),
	void *arg, int64_t *out_count, struct ls_err *err)
{
	LS_CLEANUP(judged_done) struct judged commit = { 0 };
	struct ls_err why = { 0 };
	int64_t total;

	if (judged_load(history, head, NULL, &commit, &why) != LS_OK)
		return fault(err, commit.about.generation, head, &why);
	total = commit.about.generation;
	for (;;) {
		LS_CLEANUP(judged_done) struct judged parent = { 0 };
		struct ls_commit_id id = commit.about.commit, above = commit.about.parent;
		int64_t generation = commit.about.generation;

		if (above.hex[0] &&
			judged_load(history, &above, &commit.snapshot, &parent, &why) != LS_OK)
			return fault(err, generation - 1, &above, &why);
		if (judge(&commit, above.hex[0] ? &parent : NULL, &why) != LS_OK)
			return fault(err, generation, &id, &why);
		if (!above.hex[0] && root->hex[0] && !ls_commit_equal(&id, root))
			return LS_FAIL(err, LS_E_DAMAGED,
				"generation %lld (commit %.12s): not the first one that this node "
				"knows (%.12s)",
				(long long)generation, id.hex, root->hex);
		++*out_count;
		if (progress)
			progress(arg, *out_count, total);
		if (!above.hex[0])
			return LS_OK;
		move(&commit, &parent);
	}
}

/* ---- files: what no walk reads ---- */

struct map {
	void *data;
	size_t len;
};

static void map_done(struct map *map)
{
	if (map->data)
		(void)munmap(map->data, map->len);
	*map = (struct map){ 0 };
}

static enum ls_code map_file(int dir_fd, const char *name, struct map *out, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close)
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st) != 0)
		return LS_FAIL_ERRNO(err, "open '%s'", name);
	if (!S_ISREG(st.st_mode) || st.st_size < 2 * LS_SHA1_BYTES)
		return LS_FAIL(err, LS_E_DAMAGED, "objects/pack/%s: cut off", name);
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return LS_FAIL_ERRNO(err, "map '%s'", name);
	*out = (struct map){ data, (size_t)st.st_size };
	return LS_OK;
}

static const unsigned char *trailer(const struct map *map)
{
	return (const unsigned char *)map->data + map->len - LS_SHA1_BYTES;
}

/* Every file of this kind ends in the SHA-1 of what is before; an index also names its pack's. */
static enum ls_code check_pack_file(int dir_fd, const char *name, struct ls_err *err)
{
	LS_CLEANUP(map_done) struct map map = { 0 };
	LS_CLEANUP(map_done) struct map pack = { 0 };
	LS_CLEANUP(ls_free_str) char *pack_name = NULL;
	unsigned char sum[LS_SHA1_BYTES];

	LS_TRY(map_file(dir_fd, name, &map, err));
	ls_sha1((struct ls_bytes){ map.data, map.len - LS_SHA1_BYTES }, sum);
	if (memcmp(sum, trailer(&map), sizeof sum) != 0)
		return LS_FAIL(
			err, LS_E_DAMAGED, "objects/pack/%s: the checksum does not match", name);
	if (!ls_has_suffix(name, ".idx"))
		return LS_OK;
	pack_name = ls_format("%.*s.pack", (int)(strlen(name) - 4), name);
	LS_TRY(map_file(dir_fd, pack_name, &pack, err));
	if (memcmp(trailer(&map) - LS_SHA1_BYTES, trailer(&pack), LS_SHA1_BYTES) != 0)
		return LS_FAIL(err, LS_E_DAMAGED, "objects/pack/%s: of another pack", name);
	return LS_OK;
}

/* The daemon goes on working while another process verifies. A file that is gone since the listing
 * was merged, and its objects were read by the walk; an index is there shortly before its pack. */
enum ls_code ls_packs_check(int dir_fd, const char *name, struct ls_err *err)
{
	enum ls_code code = check_pack_file(dir_fd, name, err);

	for (int i = 0; i < HALF_TRIES && code == LS_E_NOT_FOUND; i++) {
		if (!ls_file_exists(dir_fd, name))
			return LS_OK;
		(void)poll(NULL, 0, HALF_WAIT_MS);
		code = check_pack_file(dir_fd, name, err);
	}
	return code;
}

bool ls_packs_checkable(const char *name)
{
	static const char *const kinds[] = { ".pack", ".idx", ".rev", ".bitmap", ".mtimes",
		"multi-pack-index" };

	for (size_t k = 0; k < LS_COUNT(kinds); k++)
		if (ls_has_suffix(name, kinds[k]))
			return name[0] != '.';
	return false;
}

static enum ls_code check_packs(struct ls_history *history, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_dir_list(fd, PACKS_MAX, &names, err));
	for (size_t i = 0; names && names[i]; i++)
		if (ls_packs_checkable(names[i]))
			LS_TRY(ls_packs_check(fd, names[i], err));
	return LS_OK;
}

struct loose {
	struct ls_history *history;
	struct ls_err *err;
};

static int check_loose_one(const git_oid *oid, void *arg)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	struct loose *loose = arg;
	git_object_t type;

	return ls_loose_read(loose->history, oid, LOOSE_BYTES_MAX, &type, &bytes, loose->err) ==
			       LS_OK
		       ? 0
		       : GIT_EUSER;
}

/* Loose objects come from stock git alone; those that the walk did not reach are read here. */
static enum ls_code check_loose(struct ls_history *history, struct ls_err *err)
{
	struct ls_err why = { 0 };
	struct loose loose = { history, &why };
	int rc;

	LS_TRY(ls_repo_ready(history, err));
	rc = git_odb_foreach(history->loose, check_loose_one, &loose);
	if (rc == GIT_EUSER)
		return LS_FAIL(err, LS_E_DAMAGED, "%s", why.text);
	if (rc < 0)
		return ls_repo_fail(err, rc, "list the loose objects");
	return LS_OK;
}

enum ls_code ls_history_verify(struct ls_history *history, const struct ls_commit_id *head,
	const struct ls_commit_id *root, void (*progress)(void *arg, int64_t done, int64_t total),
	void *arg, int64_t *out_count, struct ls_err *err)
{
	*out_count = 0;
	/* Without what libgit2 has open already: the disk is to be judged. */
	LS_TRY(ls_repo_reopen(history, err));
	LS_TRY(walk(history, head, root, progress, arg, out_count, err));
	LS_TRY(check_packs(history, err));
	return check_loose(history, err);
}
