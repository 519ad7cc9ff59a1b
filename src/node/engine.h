/* engine -- where a node's store is: store/etcd.json, absent for the store of one machine.
 *
 *   {"endpoints": ["https://…"], "pki": "cluster" | "own", "state": "migrating" | "active"}
 *
 * With "cluster" the engine's certificates come from the cluster's CA: the node shows
 * identity/etcd.pem and trusts identity/ca.pem. With "own" an operator gave identity/etcd.pem (key
 * and certificate) and identity/etcd-ca.pem. While it is "migrating" neither store takes a change
 * (daemon/migrate.h).
 */
#ifndef LS_NODE_ENGINE_H
#define LS_NODE_ENGINE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/paths.h"
#include "store/etcd_api.h"

#define LS_ENGINE_PEM "etcd.pem"
#define LS_ENGINE_CA "etcd-ca.pem"

struct ls_engine {
	char **endpoints; /* NULL: the store is of this machine alone */
	bool own_pki;
	bool migrating;
};

void ls_engine_done(struct ls_engine *engine);
/* An endpoint as an operator may name it: http(s)://HOST:PORT; without certificates of the
 * cluster's or an own PKI only loopback may be http. LS_E_REFUSED. */
LS_CHECK enum ls_code ls_engine_parse(const char *urls, struct ls_engine *out, struct ls_err *err);
/* Absent: LS_OK without endpoints. */
LS_CHECK enum ls_code ls_engine_load(
	const struct ls_paths *paths, struct ls_engine *out, struct ls_err *err);
LS_CHECK enum ls_code ls_engine_save(
	const struct ls_paths *paths, const struct ls_engine *engine, struct ls_err *err);
/* Settings for a handle; to be given back with ls_etcd_settings_done. */
void ls_engine_settings(
	const struct ls_paths *paths, const struct ls_engine *engine, struct ls_etcd_settings *out);

#endif
