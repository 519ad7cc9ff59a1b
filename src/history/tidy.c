/* Merging packs. */
#include <fcntl.h>
#include <git2/sys/repository.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "history/packs.h"
#include "sys/file.h"

#define PACKS_FEW 8
#define FACTOR 2
/* A pack of this size is left as it is, or each merge of all would take longer than the last: 60 s
 * at 20,000 generations on a busy machine, while a change waits. */
#define BIG_BYTES (512 * 1024)

struct pack {
	char *idx_name;
	int64_t bytes;
};

struct packs {
	struct pack *all; /* smallest first */
	size_t count;
};

static void packs_done(struct packs *packs)
{
	for (size_t i = 0; i < packs->count; i++)
		free(packs->all[i].idx_name);
	free(packs->all);
}

static int compare_packs(const void *a, const void *b)
{
	const struct pack *x = a, *y = b;

	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Big ones, and packs that somebody marked with a .keep file, are left alone. */
static enum ls_code packs_load(int fd, struct packs *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	LS_TRY(ls_packs_list(fd, &names, err));
	out->all = ls_alloc(ls_strv_count(names), sizeof *out->all);
	for (size_t i = 0; names && names[i]; i++) {
		int stem = (int)(strlen(names[i]) - strlen(".idx"));
		LS_CLEANUP(ls_free_str) char *pack = ls_format("%.*s.pack", stem, names[i]);
		LS_CLEANUP(ls_free_str) char *keep = ls_format("%.*s.keep", stem, names[i]);
		struct stat st;

		if (fstatat(fd, pack, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size >= BIG_BYTES ||
			ls_file_exists(fd, keep))
			continue;
		out->all[out->count++] = (struct pack){ ls_strdup(names[i]), st.st_size };
	}
	if (out->count > 0)
		qsort(out->all, out->count, sizeof *out->all, compare_packs);
	return LS_OK;
}

/* How many of the smallest to merge, so that afterwards each pack is at least FACTOR times the sum
 * of the smaller ones; an object is then rewritten only when its pack has grown by as much. */
static size_t to_merge(const struct packs *packs)
{
	int64_t sum = 0;
	size_t split = 0;

	for (size_t i = 0; i < packs->count; i++) {
		if (i > 0 && packs->all[i].bytes < FACTOR * sum)
			split = i + 1;
		sum += packs->all[i].bytes;
	}
	return split;
}

static enum ls_code insert_all(const struct ls_history *history, const struct packs *packs,
	size_t count, git_packbuilder *builder, struct ls_err *err)
{
	for (size_t i = 0; i < count; i++) {
		git_oid *oids = NULL;
		size_t n = 0;
		int rc = 0;

		LS_TRY(ls_packs_objects(history, packs->all[i].idx_name, &oids, &n, err));
		for (size_t k = 0; rc == 0 && k < n; k++)
			rc = git_packbuilder_insert(builder, &oids[k], NULL);
		free(oids);
		if (rc < 0)
			return ls_repo_fail(err, rc, "merge '%s'", packs->all[i].idx_name);
	}
	return LS_OK;
}

/* Every object of the merged ones is in the new pack, whole. */
static enum ls_code check_merged(const struct ls_history *history, const struct packs *packs,
	size_t count, const char *idx_name, struct ls_err *err)
{
	LS_CLEANUP(ls_odb_free) git_odb *merged = NULL;

	LS_TRY(ls_repo_one_pack(history, idx_name, &merged, err));
	for (size_t i = 0; i < count; i++) {
		git_oid *oids = NULL;
		size_t n = 0, k = 0;

		LS_TRY(ls_packs_objects(history, packs->all[i].idx_name, &oids, &n, err));
		while (k < n) {
			git_odb_object *object = NULL;

			if (git_odb_read(&object, merged, &oids[k]) != 0)
				break;
			git_odb_object_free(object);
			k++;
		}
		free(oids);
		if (k < n)
			return LS_FAIL(err, LS_E_DAMAGED,
				"the merged pack lacks an object of '%s'; nothing was removed",
				packs->all[i].idx_name);
	}
	return LS_OK;
}

static enum ls_code merge(struct ls_history *history, int fd, const struct packs *packs,
	size_t count, struct ls_err *err)
{
	LS_CLEANUP(ls_packbuilder_free) git_packbuilder *builder = NULL;
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/objects/pack", history->path);
	LS_CLEANUP(ls_free_str) char *idx_name = NULL;
	LS_CLEANUP(ls_repository_free) git_repository *repo = NULL;
	int64_t bytes = 0;
	int rc;

	for (size_t i = 0; i < count; i++)
		bytes += packs->all[i].bytes;
	LS_TRY(ls_packs_room(fd, bytes, err));
	LS_TRY(ls_repo_ready(history, err));
	rc = git_repository_wrap_odb(&repo, history->packs);
	if (rc == 0)
		rc = git_packbuilder_new(&builder, repo);
	if (rc < 0)
		return ls_repo_fail(err, rc, "merge packs");
	LS_TRY(insert_all(history, packs, count, builder, err));
	rc = git_packbuilder_write(builder, path, 0, NULL, NULL);
	if (rc < 0) {
		enum ls_code code = ls_repo_fail(err, rc, "merge packs");

		LS_IGNORE(ls_packs_clean_halves(fd, NULL)); /* the next start does it too */
		return code;
	}
	/* The new pack is synced by now, as accept's is. */
	idx_name = ls_format("pack-%s.idx", git_packbuilder_name(builder));
	LS_TRY(check_merged(history, packs, count, idx_name, err));
	for (size_t i = 0; i < count; i++)
		if (strcmp(packs->all[i].idx_name, idx_name) != 0)
			LS_TRY(ls_packs_remove(history, fd, packs->all[i].idx_name, err));
	LS_TRY(ls_dir_sync(fd, err));
	return ls_repo_reopen(history, err);
}

enum ls_code ls_history_tidy(struct ls_history *history, struct ls_err *err)
{
	LS_CLEANUP(packs_done) struct packs packs = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	size_t count;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_packs_clean_unfinished(fd, err));
	LS_TRY(packs_load(fd, &packs, err));
	if (packs.count <= PACKS_FEW)
		return LS_OK;
	count = to_merge(&packs);
	if (count < 2)
		return LS_OK;
	if (merge(history, fd, &packs, count, err) != LS_OK)
		return LS_WRAP(err, "tidy the history");
	return LS_OK;
}
