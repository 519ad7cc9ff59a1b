/* plan -- what the files of a generation directory must be.
 *
 * Private files stay sealed in a plan and are opened only while they are written, into wiped
 * memory; a plan keeps the SHA-256 of their clear content, so that comparing needs no key. A plan
 * is immutable once built and may be read by any thread. No I/O but for looking up groups.
 */
#ifndef LS_NODE_PLAN_H
#define LS_NODE_PLAN_H

#include <stdint.h>
#include <sys/types.h>

#include "history/state.h"
#include "node/service.h"

#define LS_LIVE_DIR_SIZE 64

/* "..gen-12-3f9c2ab1" */
void ls_live_dir_name(int64_t generation, const char *commit_hex, char out[LS_LIVE_DIR_SIZE]);
/* Whether a name is one that ls_live_dir_name makes. */
bool ls_live_dir_valid(const char *name);

enum ls_live_kind { LS_LIVE_CERT, LS_LIVE_KEY, LS_LIVE_BOTH, LS_LIVE_CA };

struct ls_live_file {
	char *name; /* "proxy_cert.pem", "ca/proxy.pem" */
	char component[LS_NAME_MAX + 1];
	enum ls_live_kind kind;
	mode_t mode;
	gid_t group;                /* -1: leave it */
	struct ls_buf public_bytes; /* of certificates; of BOTH: the chain that follows the key */
	struct ls_buf key_cms;      /* sealed; KEY and BOTH */
	size_t len;                 /* of the whole clear content */
	unsigned char sha256[LS_SHA256_BYTES];
};

struct ls_live_plan {
	char dir[LS_LIVE_DIR_SIZE];
	struct ls_live_file *files; /* sorted by name */
	size_t count;
	struct ls_keyring keyring; /* what opens the keys */
};

/* `services` gives groups and modes (a component's group gets all its files; keys and the combined
 * file have key_mode); a component without a template gets 0644/0640 root. Groups that do not
 * exist, or running without privileges: groups are left alone and *out_warning (may be NULL) says
 * so once. Each key is opened once, for its digest, and wiped. LS_E_REFUSED: the keyring lacks a
 * key's epoch, or two components would have one file name; LS_E_DAMAGED: a sealed key is not
 * intact. The caller frees *out and *out_warning. */
LS_CHECK enum ls_code ls_live_plan_new(const struct ls_state *state,
	const struct ls_services *services, const struct ls_keyring *keyring, const char *dir,
	struct ls_live_plan **out, char **out_warning, struct ls_err *err);
void ls_live_plan_free(struct ls_live_plan **plan);

/* What the live directory's link of that name points to: "..data/proxy_cert.pem",
 * "../..data/ca/proxy.pem". */
void ls_live_link_target(const char *name, char out[LS_LIVE_DIR_SIZE]);

/* The clear content of a file: `*out` borrows from the plan or from `hold`, which the caller wipes
 * with ls_secret_done as soon as it is written. */
LS_CHECK enum ls_code ls_live_content(const struct ls_live_plan *plan,
	const struct ls_live_file *file, struct ls_secret *hold, struct ls_bytes *out,
	struct ls_err *err);

#endif
