/* live -- the live directory: staging a generation, changing to it with one rename, healing what
 * was tampered with (DESIGN 16).
 *
 * certs/<name>_cert.pem -> ..data/<name>_cert.pem, likewise _key.pem, <name>.pem and ca/<name>.pem
 * (link target ../..data/ca/<name>.pem); ..data -> ..gen-<generation>-<commit, 8 digits>. A
 * generation directory is 0755, written once, never linked with another. A component without known
 * trust has no ca file.
 *
 * A plan holds what the files of a generation must be; private ones stay sealed in it and are
 * opened only while they are written, into wiped memory. A plan is immutable once built and may be
 * read by any thread. ls_live handles belong to one thread each; only the worker stages and
 * activates.
 */
#ifndef LS_NODE_LIVE_H
#define LS_NODE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "history/state.h"
#include "node/service.h"

#define LS_LIVE_DIR_SIZE 64

/* "..gen-12-3f9c2ab1" */
void ls_live_dir_name(int64_t generation, const char *commit_hex, char out[LS_LIVE_DIR_SIZE]);

enum ls_live_kind { LS_LIVE_CERT, LS_LIVE_KEY, LS_LIVE_BOTH, LS_LIVE_CA };

struct ls_live_file {
	char *name; /* "proxy_cert.pem", "ca/proxy.pem" */
	char component[LS_NAME_MAX + 1];
	enum ls_live_kind kind;
	mode_t mode;
	gid_t group;                /* -1: leave it */
	struct ls_buf public_bytes; /* of certificates; of BOTH: the chain that follows the key */
	struct ls_buf key_cms;      /* sealed; KEY and BOTH */
};

struct ls_live_plan {
	char dir[LS_LIVE_DIR_SIZE];
	struct ls_live_file *files; /* sorted by name */
	size_t count;
	struct ls_keyring keyring; /* what opens the keys */
};

/* `services` gives groups and modes; a component without a template gets 0644/0640 root. Groups
 * that do not exist, or running without privileges: groups are left alone and *out_warning (may be
 * NULL) says so once. */
LS_CHECK enum ls_code ls_live_plan_new(const struct ls_state *state,
	const struct ls_services *services, const struct ls_keyring *keyring, const char *dir,
	struct ls_live_plan **out, char **out_warning, struct ls_err *err);
void ls_live_plan_free(struct ls_live_plan **plan);

struct ls_live;
/* Opens the live directory, making it (0755) if absent. LS_E_REFUSED: its file system cannot rename
 * atomically over a link. */
LS_CHECK enum ls_code ls_live_open(const char *path, struct ls_live **out, struct ls_err *err);
void ls_live_free(struct ls_live **live);
int ls_live_fd(const struct ls_live *live);

/* Writes the plan's directory, synced, then the links that new components need and the temporary
 * link "..data.next". What an interrupted attempt left under that name is removed first; a
 * directory that is already right (checked file by file) is kept. On failure nothing of it remains.
 */
LS_CHECK enum ls_code ls_live_stage(
	struct ls_live *live, const struct ls_live_plan *plan, struct ls_err *err);
/* Makes `dir` the live one: one rename, then a sync. Nothing to do when it is. If "..data.next"
 * does not name it, it is made first. */
LS_CHECK enum ls_code ls_live_activate(struct ls_live *live, const char *dir, struct ls_err *err);
/* The directory that ..data names; LS_E_NOT_FOUND: none yet. */
LS_CHECK enum ls_code ls_live_current(
	struct ls_live *live, char out[LS_LIVE_DIR_SIZE], struct ls_err *err);
/* Removes generation directories other than the two named (either may be NULL or ""), links of
 * components that the plan does not have, and remains of healing. */
LS_CHECK enum ls_code ls_live_tidy(struct ls_live *live, const struct ls_live_plan *plan,
	const char *keep_a, const char *keep_b, struct ls_err *err);
/* The hex SHA-256 of the leaf in the live <name>_cert.pem as read through ..data; LS_E_NOT_FOUND,
 * LS_E_DAMAGED. */
LS_CHECK enum ls_code ls_live_leaf(
	struct ls_live *live, const char *component, char out_sha256[65], struct ls_err *err);

/* What healing found written over a live file. `fd` is the open foreign file (owned by the callee):
 * a writer may still be busy with it. -1 when it was not a readable regular file. */
struct ls_live_foreign {
	const char *component;
	enum ls_live_kind kind;
	int fd;
};
/* Compares everything that services read with the plan and puts back what differs: links and ..data
 * by rename, files of the generation directory by rename of a fresh file. What was written is
 * handed to `on_foreign` before it is replaced (not for a removed file, and not for wrong modes or
 * ownership, which are only mended). *out_healed counts the mended things. A directory that is
 * missing altogether is staged anew. */
LS_CHECK enum ls_code ls_live_heal(struct ls_live *live, const struct ls_live_plan *plan,
	void (*on_foreign)(void *arg, const struct ls_live_foreign *foreign), void *arg,
	int *out_healed, struct ls_err *err);

#endif
