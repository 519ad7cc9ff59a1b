/* state -- the TLS state: everything that is equal on all nodes, and its form as plain files in a
 * tree.
 *
 * The files (DESIGN 1; JSON is written sorted, indented by 2, ending in a newline, so that equal
 * states give equal trees):
 *  - format: "1\n"
 *  - cluster/cluster.json: {"cluster", "fqdn", "id"}
 *  - cluster/ca.pem (after a removal for compromise the earlier one follows, until nothing needs
 * it), cluster/ca-key.cms
 *  - cluster/nodes/<name>.json: {"name", "signing_cert", "wrapping_cert", "joined"}
 *  - cluster/kek.json: {"epoch", "epochs": [{"epoch", "check"}]}
 *  - components/<name>/chain.pem: leaf, then intermediates
 *  - components/<name>/key.cms: sealed PKCS#8
 *  - components/<name>/template.json: the issuing part
 *  - components/<name>/credential.json: {"origin": "generated" | "installed"}, and
 *    "exposed": true as long as its key is known to a node that was removed as compromised
 *  - pending/<name>/key.cms, pending/<name>/request.pem: an open CSR
 *  - trust/<name>.pem: what a client of the component needs to trust; absent when unknown
 *  - policy.json, settings.json
 *
 * Reading refuses (LS_E_DAMAGED) unknown entries, missing ones, names outside [a-z0-9_]{1,32},
 * files over 1 MiB, any file that holds a clear private key, a state without members, and any file
 * that is not byte for byte what would be written. A .pem or .cms file is PEM blocks of its one
 * label and nothing else. Nothing in here names a command, a path or a user. Pure: no I/O.
 */
#ifndef LS_HISTORY_STATE_H
#define LS_HISTORY_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"
#include "pki/issue.h"
#include "pki/policy.h"
#include "pki/seal.h"

enum ls_origin { LS_ORIGIN_GENERATED, LS_ORIGIN_INSTALLED };
const char *ls_origin_text(enum ls_origin origin);

struct ls_component {
	char name[LS_NAME_MAX + 1];
	enum ls_origin origin;
	bool exposed; /* its key is known to a compromised node that is no member any more */
	struct ls_issue issue;
	struct ls_buf chain_pem;
	struct ls_buf key_cms;
	struct ls_buf trust_pem;
};

struct ls_pending {
	char name[LS_NAME_MAX + 1];
	struct ls_buf key_cms;
	struct ls_buf request_pem;
};

struct ls_member {
	char name[LS_NAME_MAX + 1];
	struct ls_buf signing_cert_pem;
	struct ls_buf wrapping_cert_pem;
	int64_t joined; /* generation */
};

struct ls_kek_epoch {
	int64_t epoch;
	char check[LS_SHA256_TEXT];
};

struct ls_settings {      /* settings.json: {"rotation": {…}} */
	bool require_all; /* rotation.require = "all" */
	int64_t away_after_s, vote_s, served_s, timeout_s;
	bool rollback;
};

struct ls_state {
	char *cluster;
	char *fqdn;
	char *cluster_id; /* 32 hex digits */
	struct ls_policy policy;
	struct ls_settings settings;
	struct ls_component *components; /* sorted by name */
	size_t component_count;
	struct ls_pending *pendings; /* sorted by name */
	size_t pending_count;
	struct ls_member *members; /* sorted by name */
	size_t member_count;
	struct ls_buf ca_pem;
	struct ls_buf ca_key_cms;
	int64_t kek_epoch;
	struct ls_kek_epoch *kek_epochs; /* ascending */
	size_t kek_epoch_count;
};

void ls_settings_defaults(struct ls_settings *settings);
void ls_state_done(struct ls_state *state);
void ls_state_copy(struct ls_state *to, const struct ls_state *from);
struct ls_component *ls_state_component(const struct ls_state *state, const char *name);
struct ls_pending *ls_state_pending(const struct ls_state *state, const char *name);
struct ls_member *ls_state_member(const struct ls_state *state, const char *name);
/* Adds an empty one at its sorted place; the pointer is valid until the next add. The name must not
 * be there. */
struct ls_component *ls_state_add_component(struct ls_state *state, const char *name);
struct ls_pending *ls_state_add_pending(struct ls_state *state, const char *name);
struct ls_member *ls_state_add_member(struct ls_state *state, const char *name);
void ls_state_drop_pending(struct ls_state *state, const char *name);
void ls_state_add_epoch(struct ls_state *state, int64_t epoch, const char *check);
const char *ls_state_epoch_check(const struct ls_state *state, int64_t epoch); /* NULL: none */

/* The tree as a flat list. */
struct ls_tree_file {
	char *path; /* "components/proxy/chain.pem" */
	struct ls_buf bytes;
};
struct ls_tree {
	struct ls_tree_file *files; /* sorted by path */
	size_t count;
};
void ls_tree_done(struct ls_tree *tree);
void ls_tree_add(struct ls_tree *tree, const char *path, struct ls_bytes bytes);
void ls_state_to_tree(const struct ls_state *state, struct ls_tree *out);
LS_CHECK enum ls_code ls_state_from_tree(
	const struct ls_tree *tree, struct ls_state *out, struct ls_err *err);

#endif
