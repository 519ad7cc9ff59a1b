/* authority -- the cluster's own CA and the certificates of its nodes (DESIGN 2, 3).
 *
 * The CA is P-256, self-signed, CA:TRUE pathlen 0, keyCertSign and cRLSign, "O=<cluster>,
 * CN=Lockstep cluster CA". A signing certificate has subject "O=<cluster>, OU=<node>", SAN
 * URI:lockstep://<cluster>/<node>, KU digitalSignature, no EKU; a wrapping certificate the same
 * subject, KU keyAgreement. All end at 99991231235959Z (RFC 5280 section 4.1.2.5) and carry SKI and
 * AKI.
 *
 * A leaf is for TLS between the cluster's own parts (etcd, its clients, the gateway), never for a
 * component. Subject "O=<cluster>" alone: etcd's JSON gateway refuses clients whose certificate has
 * a CN once it has users. KU digitalSignature, an EKU by use, the SANs asked for, and an end: who
 * keeps a leaf renews it in the last third of its life.
 *
 * The functions with a public key certify a key that stays with who made it, such as a node that
 * joins: they see its SubjectPublicKeyInfo in PEM, which must be a P-256 key (LS_E_REFUSED).
 */
#ifndef LS_PKI_AUTHORITY_H
#define LS_PKI_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#include "pki/sign.h"

#define LS_LEAF_DAYS 365

enum ls_node_cert { LS_NODE_CERT_SIGNING, LS_NODE_CERT_WRAPPING };

enum ls_leaf_use {
	LS_LEAF_SERVER, /* cannot be used to log in to etcd */
	LS_LEAF_CLIENT,
	LS_LEAF_BOTH, /* an etcd member: it dials its peers and itself */
};

struct ls_leaf_wish {
	enum ls_leaf_use use;
	char *const *sans; /* "DNS:…", "IP:…"; NULL-ended; a server has one at least */
	int64_t days;      /* 0: LS_LEAF_DAYS */
};

/* Makes key and certificate; `out` is a signer whose key is the CA's. */
LS_CHECK enum ls_code ls_authority_create(
	const char *cluster, int64_t now_s, struct ls_signer *out, struct ls_err *err);
/* Makes a P-256 key and has the CA certify it. */
LS_CHECK enum ls_code ls_authority_certify(const struct ls_signer *ca, const char *cluster,
	const char *node, enum ls_node_cert kind, int64_t now_s, struct ls_signer *out,
	struct ls_err *err);
/* The same for the key of somebody else. */
LS_CHECK enum ls_code ls_authority_certify_key(const struct ls_signer *ca, const char *cluster,
	const char *node, enum ls_node_cert kind, struct ls_bytes public_pem, int64_t now_s,
	struct ls_buf *out_cert_pem, struct ls_err *err);
/* Makes a P-256 key and a leaf for it. LS_E_REFUSED: a name that cannot stand in a certificate, a
 * server without one, days above 3650 or below 0. */
LS_CHECK enum ls_code ls_authority_leaf(const struct ls_signer *ca, const char *cluster,
	const struct ls_leaf_wish *wish, int64_t now_s, struct ls_signer *out, struct ls_err *err);
LS_CHECK enum ls_code ls_authority_leaf_key(const struct ls_signer *ca, const char *cluster,
	const struct ls_leaf_wish *wish, struct ls_bytes public_pem, int64_t now_s,
	struct ls_buf *out_cert_pem, struct ls_err *err);
/* Whether the first certificate of the text must be issued anew: it is missing or cannot be read,
 * is not of this CA, is in the last third of its life or over, or begins in the future (it was
 * issued by a clock that was ahead). */
bool ls_leaf_due(struct ls_bytes cert_pem, struct ls_bytes ca_pem, int64_t now_s);
/* Whether it has exactly the names, in this order, and the use; days are not looked at. */
bool ls_leaf_fits(struct ls_bytes cert_pem, const struct ls_leaf_wish *wish);
/* How much of the CA's PEM text is its first certificate, by which new ones are issued: after a
 * removal for compromise the earlier one follows for a while. */
size_t ls_ca_first_bytes(struct ls_bytes ca_pem);
/* True if the certificate was issued by the CA (one of the text's) and names this node. */
LS_CHECK enum ls_code ls_authority_check(struct ls_bytes ca_pem, struct ls_bytes cert_pem,
	const char *cluster, const char *node, struct ls_err *err);

#endif
