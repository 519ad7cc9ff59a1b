/* repair -- which objects of the history are lost, and getting them back from copies.
 *
 * A survey changes nothing and may run beside the daemon. A repair belongs to the writer, under the
 * daemon's lock. Neither judges signatures: that is verify's task.
 */
#ifndef LS_HISTORY_REPAIR_H
#define LS_HISTORY_REPAIR_H

#include "history/history.h"

/* An object that the history needs and that cannot be read. */
struct ls_lost {
	char id[41];
	const char *kind;   /* "commit", "tree", "blob" */
	int64_t generation; /* the newest one that needs it; 0: not known */
	char *path;         /* "components/proxy/chain.pem"; "" for a commit or its whole tree */
	bool missing;       /* else damaged */
};

struct ls_survey {
	struct ls_lost *lost; /* newest first */
	size_t lost_count;
	char **files; /* packs, indexes and loose objects that are not intact, below the repository;
			 an object in them may be intact elsewhere */
};
void ls_survey_done(struct ls_survey *survey);

/* Reads every object that `head` reaches, as the daemon would, and checks every file. What lies
 * behind a lost commit or tree is not known. LS_OK also when something is lost. */
LS_CHECK enum ls_code ls_history_survey(struct ls_history *history, const struct ls_commit_id *head,
	struct ls_survey *out, struct ls_err *err);

/* Where lost objects are looked for besides the damaged files themselves. */
struct ls_copies {
	const char *from;             /* a copy of the repository, or of the directory that holds
					 history.git; NULL: none */
	const struct ls_bytes *blobs; /* contents that may be those of lost files */
	size_t blob_count;
};

/* How many objects a repair with these copies would leave lost, as far as can be told without
 * changing anything. `survey` is of the same head. */
LS_CHECK enum ls_code ls_history_repairable(struct ls_history *history,
	const struct ls_commit_id *head, const struct ls_survey *survey,
	const struct ls_copies *copies, size_t *out_left, struct ls_err *err);
/* Gets back what `head` needs: objects are taken only if their id is that of their content. They go
 * into one new pack, with all that is intact in damaged packs; then the damaged files are moved to
 * damaged/ in the repository, where nothing reads them. Fine to repeat after a crash.
 * *out_restored: how many objects are in the new pack. *out_left: what is still lost. */
LS_CHECK enum ls_code ls_history_repair(struct ls_history *history, const struct ls_commit_id *head,
	const struct ls_copies *copies, size_t *out_restored, struct ls_survey *out_left,
	struct ls_err *err);

/* Makes a repository that can be opened out of one whose HEAD, config or folders are gone or
 * damaged; what is replaced is moved to damaged/. Objects and refs are not touched. */
LS_CHECK enum ls_code ls_history_mend_frame(const char *path, struct ls_err *err);

#endif
