/* repair.h: what is lost. */
#include <stdlib.h>
#include <string.h>

#include "history/packs.h"
#include "history/repair.h"
#include "history/walk.h"
#include "sys/file.h"

#define LOOSE_BYTES_MAX (64u << 20) /* not only ours: whatever was put there */

void ls_survey_done(struct ls_survey *survey)
{
	for (size_t i = 0; i < survey->lost_count; i++)
		free(survey->lost[i].path);
	free(survey->lost);
	ls_free_strv(&survey->files);
	*survey = (struct ls_survey){ 0 };
}

static bool note(void *arg, const struct ls_walk_object *object, const struct ls_err *why,
	struct ls_buf *bytes)
{
	struct ls_survey *survey = arg;
	struct ls_lost *lost;

	(void)bytes;
	survey->lost = ls_realloc(survey->lost, survey->lost_count + 1, sizeof *survey->lost);
	lost = &survey->lost[survey->lost_count++];
	*lost = (struct ls_lost){ .kind = git_object_type2string(object->type),
		.generation = object->generation,
		.path = ls_strdup(object->path),
		.missing = why->code == LS_E_NOT_FOUND };
	(void)git_oid_tostr(lost->id, sizeof lost->id, &object->oid);
	return false;
}

static enum ls_code survey_packs(
	struct ls_history *history, struct ls_survey *survey, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_repo_dir(history, "objects/pack", &fd, err));
	LS_TRY(ls_dir_list(fd, LS_PACKS_MAX, &names, err));
	for (size_t i = 0; names && names[i]; i++) {
		LS_CLEANUP(ls_free_str) char *path = ls_format("objects/pack/%s", names[i]);

		if (ls_packs_checkable(names[i]) && ls_packs_check(fd, names[i], NULL) != LS_OK)
			ls_strv_add(&survey->files, path);
	}
	return LS_OK;
}

struct loose {
	struct ls_history *history;
	struct ls_survey *survey;
};

static int survey_loose(const git_oid *oid, void *arg)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	LS_CLEANUP(ls_free_str) char *path = NULL;
	struct loose *loose = arg;
	char hex[GIT_OID_HEXSZ + 1];
	git_object_t type;

	if (ls_loose_read(loose->history, oid, LOOSE_BYTES_MAX, &type, &bytes, NULL) == LS_OK)
		return 0;
	(void)git_oid_tostr(hex, sizeof hex, oid);
	path = ls_format("objects/%.2s/%s", hex, hex + 2);
	ls_strv_add(&loose->survey->files, path);
	return 0;
}

enum ls_code ls_history_survey(struct ls_history *history, const struct ls_commit_id *head,
	struct ls_survey *out, struct ls_err *err)
{
	LS_CLEANUP(ls_survey_done) struct ls_survey survey = { 0 };
	struct loose loose = { history, &survey };
	git_oid oid;
	int rc;

	LS_TRY(ls_repo_oid(head, &oid, err));
	/* Without what libgit2 has open already: the disk is to be looked at. */
	LS_TRY(ls_repo_reopen(history, err));
	ls_walk(history, &oid, note, &survey);
	LS_TRY(survey_packs(history, &survey, err));
	LS_TRY(ls_repo_ready(history, err));
	rc = git_odb_foreach(history->loose, survey_loose, &loose);
	if (rc < 0)
		return ls_repo_fail(err, rc, "list the loose objects");
	ls_survey_done(out);
	*out = survey;
	survey = (struct ls_survey){ 0 };
	return LS_OK;
}
