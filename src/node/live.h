/* live -- the live directory: staging a generation, changing to it with one rename, healing what
 * was tampered with (DESIGN 16).
 *
 * certs/<name>_cert.pem -> ..data/<name>_cert.pem, likewise _key.pem, <name>.pem and ca/<name>.pem
 * (link target ../..data/ca/<name>.pem); ..data -> ..gen-<generation>-<commit, 8 digits>. A
 * generation directory is 0755, written once, never linked with another. A component without known
 * trust has no ca file.
 *
 * What the files must be is a plan (node/plan.h). ls_live handles belong to one thread each; only
 * the worker stages and activates. Healing may run in another thread, but never while an activation
 * does: its plan would be of the generation before, and it would put ..data back.
 */
#ifndef LS_NODE_LIVE_H
#define LS_NODE_LIVE_H

#include <stdbool.h>

#include "node/plan.h"

struct ls_live;
/* Opens the live directory, making it (0755) if absent. LS_E_REFUSED: its file system cannot rename
 * atomically over a link (tried each time; a full or read-only disk passes where ..data exists). */
LS_CHECK enum ls_code ls_live_open(const char *path, struct ls_live **out, struct ls_err *err);
void ls_live_free(struct ls_live **live);
int ls_live_fd(const struct ls_live *live);

/* Writes the plan's directory, synced, then the links that new components need and the temporary
 * link "..data.next". What an interrupted attempt left under that name is removed first; a
 * directory that is already right (checked file by file) is kept and synced; one that is live and
 * not right is mended in place, as ls_live_heal does without a callback. Links that exist, right or
 * not, are left to healing. On failure nothing that was made remains. */
LS_CHECK enum ls_code ls_live_stage(
	struct ls_live *live, const struct ls_live_plan *plan, struct ls_err *err);
/* Makes `dir` the live one: one rename, then a sync. Nothing to do when it is. If "..data.next"
 * does not name it, it is made first. */
LS_CHECK enum ls_code ls_live_activate(struct ls_live *live, const char *dir, struct ls_err *err);
/* The directory that ..data names; LS_E_NOT_FOUND: none yet; LS_E_DAMAGED: it names no generation's
 * directory. */
LS_CHECK enum ls_code ls_live_current(
	struct ls_live *live, char out[LS_LIVE_DIR_SIZE], struct ls_err *err);
/* Removes generation directories other than the live one, the plan's and the two named (either may
 * be NULL or ""), links of components that the plan does not have, and old remains of healing. A
 * directory that was live until less than `grace_s` ago stays, since a reader that opened it may
 * not be done; *out_left (may be NULL) then says that there is more to do later. LS_E_DAMAGED, and
 * nothing removed: it cannot be told what is live. */
LS_CHECK enum ls_code ls_live_tidy(struct ls_live *live, const struct ls_live_plan *plan,
	const char *keep_a, const char *keep_b, int64_t grace_s, bool *out_left,
	struct ls_err *err);
/* The hex SHA-256 of the leaf in the live <name>_cert.pem as read through ..data; LS_E_NOT_FOUND,
 * LS_E_DAMAGED. */
LS_CHECK enum ls_code ls_live_leaf(
	struct ls_live *live, const char *component, char out_sha256[65], struct ls_err *err);
/* The name ("..data/proxy_key.pem") and mode of a live file with the component's key that others
 * than owner and group can read or write; false: there is none. The caller frees *out_name. */
bool ls_live_key_open(
	struct ls_live *live, const char *component, char **out_name, mode_t *out_mode);

/* What healing found written over a live file. `fd` is the open foreign file (owned by the callee):
 * a writer may still be busy with it. -1 when it was not a readable regular file. Or, with
 * `exposed`: nothing was written, but the right key lay there open to others than the template
 * says, with this mode; `fd` is -1. */
struct ls_live_foreign {
	const char *component;
	enum ls_live_kind kind;
	int fd;
	bool exposed;
	mode_t mode;
};
/* Compares everything that services read with the plan and puts back what differs: links and ..data
 * by rename, files of the generation directory by rename of a fresh file. What was written is
 * handed to `on_foreign` before it is replaced (not for a removed file, and not for wrong modes or
 * ownership, which are only mended, nor for a second link to the right content; but a key that
 * others could read is told); `on_foreign` may be NULL. Links are never followed and pipes never
 * waited for. *out_healed counts the mended things, on failure too: the rest is healed although one
 * cannot be, and the first failure is returned. A directory that is missing altogether is written
 * anew. Entries that are not ours are left alone. */
LS_CHECK enum ls_code ls_live_heal(struct ls_live *live, const struct ls_live_plan *plan,
	void (*on_foreign)(void *arg, const struct ls_live_foreign *foreign), void *arg,
	int *out_healed, struct ls_err *err);

#endif
