/* etcd_member -- one etcd member of this cluster as an operator asked for it: the words, the names
 * that its certificate needs, and the configuration file that etcd reads (--config-file).
 *
 * Pure. Values are checked when they are read, so that what reaches the configuration and the
 * certificate comes from small sets of characters. The file is for etcd 3.4 and later; etcd ignores
 * flags and environment beside it, and without enable-grpc-gateway in it 3.4 has no JSON gateway.
 */
#ifndef LS_NODE_ETCD_MEMBER_H
#define LS_NODE_ETCD_MEMBER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define LS_ETCD_CLIENT_PORT 2379
#define LS_ETCD_PEER_PORT 2380
#define LS_ETCD_METRICS_PORT 2381

struct ls_etcd_member {
	char *name;             /* as in `initial_cluster`; a directory's name, too */
	char **listen;          /* addresses that both listeners bind; etcd takes no names there */
	char **initial_cluster; /* "n1=https://10.0.0.1:2380"; one each, this one among them */
	bool existing;          /* joins a cluster that is there */
	char **sans;            /* beside those that follow from the rest */
	char *data_dir;         /* NULL: data/ beside the configuration */
	char *group;            /* whose members may read the files; NULL: none */
	int64_t client_port, peer_port, metrics_port; /* metrics: on loopback; 0: none */
};

void ls_etcd_member_done(struct ls_etcd_member *member);
/* Absent: initial_cluster (this member alone, at its first address), ports (the peer port is that
 * of its URL), existing, sans, data_dir, group. LS_E_USAGE: not of this form; LS_E_REFUSED: a value
 * that cannot be. What is read is written again as it is understood. */
LS_CHECK enum ls_code ls_etcd_member_from_json(
	const json_t *json, struct ls_etcd_member *out, struct ls_err *err);
json_t *ls_etcd_member_to_json(const struct ls_etcd_member *member); /* new reference */

/* "DNS:…", "IP:…": the addresses it binds and the host of its URL, since peers ask whether a
 * connection's source is among the names of who connects; loopback; then `sans`. */
char **ls_etcd_member_sans(const struct ls_etcd_member *member);
/* `dir` has member.pem and ca.pem; `token` is what keeps clusters apart. LS_E_REFUSED: the path of
 * `dir` is not UTF-8. */
LS_CHECK enum ls_code ls_etcd_member_config(const struct ls_etcd_member *member, const char *dir,
	const char *token, struct ls_buf *out, struct ls_err *err);

#endif
