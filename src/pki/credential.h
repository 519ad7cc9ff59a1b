/* credential -- reads what an operator brings (certificate, chain, key) and judges it: the one gate
 * on every way in.
 *
 * Pure but for OpenSSL: no files, no clock. A refusal is LS_E_REFUSED and one line: "FILE: RULE:
 * found VALUE, wanted VALUE (RFC … section …)". Nothing of a private key gets into an error.
 *
 * The rules, in this order:
 *  - total size (policy.intake_bytes_max); PEM parses, at least one certificate (at most 16
 * blocks), each well-formed DER to the last byte; a certificate that comes twice is dropped;
 *  - exactly one leaf: the first certificate, or, when that one issued another, the only one that
 *    issued none; every other certificate lies on the leaf's path (else refused, naming its
 *    subject); a self-signed root at the end is taken off the served chain and kept as trust;
 *  - each signature on the path verifies, a self-signed one's too;
 *  - issuers have CA:TRUE, and keyCertSign where KU is present (RFC 5280 section 4.2.1.9, 4.2.1.3);
 *  - each certificate of the path, the root too, is not expired and not before the future (a
 *    NotBefore up to 5 minutes ahead is tolerated); times are whole seconds in UTC;
 *  - the leaf is not a CA (CA:TRUE is refused, self-signed or not);
 *  - key strength of each certificate; signature digest of each but a self-signed one;
 *  - lifetime of the leaf (days_max; LS_BACKDATE_S more is tolerated, as CAs backdate);
 *  - KU of the leaf has digitalSignature if present; EKU of the leaf has each of policy.eku, and
 *    clientAuth for component "syncer" (RFC 5280 section 4.2.1.12); an absent EKU has none;
 *  - no unknown critical extension in leaf or chain (RFC 5280 section 4.2);
 *  - what else RFC 5280 section 6.1 asks of a path: path lengths, name constraints, purposes of
 * CAs; and what section 4 asks of each certificate in it, as OpenSSL's strict mode has it, but for
 * key identifiers, and for key usage and critical basic constraints of CAs, which may be missing;
 *  - SAN present whatever the policy (RFC 9525: CN is not looked at) and covering each wanted name
 *    (policy.san: warning or refusal); "*.x" is covered only by the same wildcard, a plain name
 * also by one wildcard label;
 *  - the private key matches the leaf and signs for it.
 */
#ifndef LS_PKI_CREDENTIAL_H
#define LS_PKI_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "pki/digest.h"
#include "pki/policy.h"

struct evp_pkey_st;

/* What a certificate says, as text for people and JSON. */
struct ls_cert_info {
	char *subject; /* RFC 4514 */
	char *issuer;
	char **sans;  /* "DNS:…" */
	char key[32]; /* "ec:P-256" */
	char key_id[LS_SHA256_TEXT];
	char *serial; /* lower-case hex */
	char sha256[LS_SHA256_TEXT];
	int64_t not_before_s;
	int64_t not_after_s;
	int64_t chain_not_after_s; /* the earliest of the whole chain */
	bool self_signed;
};

void ls_cert_info_done(struct ls_cert_info *info);
/* Of the first certificate in the text; `chain_not_after_s` over all of them. */
LS_CHECK enum ls_code ls_cert_info_read(
	struct ls_bytes chain_pem, struct ls_cert_info *out, struct ls_err *err);

struct ls_named_bytes {
	const char *name;      /* of the file, for messages */
	struct ls_bytes bytes; /* data NULL: not given */
};

struct ls_credential_input {
	const char *component;
	struct ls_named_bytes cert;  /* required; may hold chain, root and key as well */
	struct ls_named_bytes chain; /* further certificates */
	struct ls_named_bytes key;   /* a key in `cert` is used only when this is not given */
	struct ls_bytes passphrase;
	char *const *wanted_sans; /* the names that the SAN should cover, "DNS:…"; may be NULL */
	int64_t now_s;
};

struct ls_credential {
	struct ls_buf
		chain_pem; /* leaf first, then intermediates in order; canonical PEM, no root */
	struct ls_buf trust_pem;  /* the root if one was given, else the self-signed leaf, else the
				     topmost issuer given, else empty */
	struct ls_secret key_pem; /* PKCS#8 PEM; empty when no key was given */
	struct ls_cert_info info;
	char **warnings; /* such as a SAN that does not cover a name */
};

void ls_credential_done(struct ls_credential *credential);
/* Judges; on LS_OK *out holds the credential in canonical form. When no key is given all else is
 * judged, and the caller finds the key by info.key_id. */
LS_CHECK enum ls_code ls_credential_judge(const struct ls_credential_input *input,
	const struct ls_policy *policy, struct ls_credential *out, struct ls_err *err);
/* Judges again what the state holds (chain with its key) against a policy; used before a vote and
 * for a rollback. */
LS_CHECK enum ls_code ls_credential_rejudge(const char *component, struct ls_bytes chain_pem,
	const struct ls_policy *policy, int64_t now_s, struct ls_err *err);
/* True if the leaf of the text has this key. */
bool ls_credential_matches(struct ls_bytes chain_pem, struct evp_pkey_st *key);

#endif
