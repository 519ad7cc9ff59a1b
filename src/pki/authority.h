/* authority -- the cluster's own CA and the certificates of its nodes (DESIGN 2, 3).
 *
 * The CA is P-256, self-signed, CA:TRUE pathlen 0, keyCertSign and cRLSign, "O=<cluster>,
 * CN=Lockstep cluster CA". A signing certificate has subject "O=<cluster>, OU=<node>", SAN
 * URI:lockstep://<cluster>/<node>, KU digitalSignature, no EKU; a wrapping certificate the same
 * subject, KU keyAgreement. All end at 99991231235959Z (RFC 5280 section 4.1.2.5) and carry SKI and
 * AKI.
 */
#ifndef LS_PKI_AUTHORITY_H
#define LS_PKI_AUTHORITY_H

#include <stdint.h>

#include "pki/sign.h"

enum ls_node_cert { LS_NODE_CERT_SIGNING, LS_NODE_CERT_WRAPPING };

/* Makes key and certificate; `out` is a signer whose key is the CA's. */
LS_CHECK enum ls_code ls_authority_create(
	const char *cluster, int64_t now_s, struct ls_signer *out, struct ls_err *err);
/* Makes a P-256 key and has the CA certify it. */
LS_CHECK enum ls_code ls_authority_certify(const struct ls_signer *ca, const char *cluster,
	const char *node, enum ls_node_cert kind, int64_t now_s, struct ls_signer *out,
	struct ls_err *err);
/* True if the certificate was issued by the CA and names this node. */
LS_CHECK enum ls_code ls_authority_check(struct ls_bytes ca_pem, struct ls_bytes cert_pem,
	const char *cluster, const char *node, struct ls_err *err);

#endif
