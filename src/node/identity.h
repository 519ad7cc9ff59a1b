/* identity -- this node's keys on disk (identity/, 0700), which no component uses (DESIGN:
 * "identity").
 *
 *   node.json               {"cluster", "cluster_id", "node", "root"}: root is the commit id of
 * generation 1, the anchor of the history ca.pem                  the cluster CA's certificate
 *   signing-key.pem  signing-cert.pem
 *   wrapping-<epoch>-key.pem  wrapping-<epoch>-cert.pem   one pair for each KEK epoch not forgotten
 */
#ifndef LS_NODE_IDENTITY_H
#define LS_NODE_IDENTITY_H

#include <stdint.h>

#include "base/text.h"
#include "pki/authority.h"
#include "pki/seal.h"

struct ls_identity {
	char *cluster;
	char *cluster_id;
	char node[LS_NAME_MAX + 1];
	char root[41];
	struct ls_buf ca_pem;
	struct ls_signer signer;
};

void ls_identity_done(struct ls_identity *identity);
/* Refuses a directory or key (of any epoch) that others can read, or that belongs to another user:
 * LS_E_REFUSED, with the command that mends it. */
LS_CHECK enum ls_code ls_identity_check(const char *path, struct ls_err *err);
/* Refuses likewise. */
LS_CHECK enum ls_code ls_identity_load(
	const char *path, struct ls_identity *out, struct ls_err *err);
/* Writes all but wrapping keys; each file whole and synced, node.json last. */
LS_CHECK enum ls_code ls_identity_save(
	const char *path, const struct ls_identity *identity, struct ls_err *err);
/* The cluster's CA certificate alone; the identity in memory follows. */
LS_CHECK enum ls_code ls_identity_save_ca(
	const char *path, struct ls_identity *identity, struct ls_bytes ca_pem, struct ls_err *err);
LS_CHECK enum ls_code ls_identity_save_wrapping(
	const char *path, int64_t epoch, const struct ls_signer *wrapping, struct ls_err *err);
/* LS_E_NOT_FOUND: never had or destroyed. */
LS_CHECK enum ls_code ls_identity_load_wrapping(
	const char *path, int64_t epoch, struct ls_signer *out, struct ls_err *err);
/* Overwrites, removes and syncs; absent is fine. */
LS_CHECK enum ls_code ls_identity_destroy_wrapping(
	const char *path, int64_t epoch, struct ls_err *err);

#endif
