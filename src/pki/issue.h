/* issue -- the issuing part of a template, and making certificates and requests by it.
 *
 * `${fqdn}`, `${cluster}` and `${node}` in subject and SANs are put in when a certificate is made,
 * so the state keeps the template as written. Certificates follow RFC 5280: version 3, positive
 * serial of 16 random bytes (section 4.1.2.2), SKI (4.2.1.2, by RFC 7093), no AKI in a self-signed
 * one (4.2.1.1), KU digitalSignature (+ keyEncipherment for RSA), CA:FALSE, EKU, SAN. A CN that
 * gets longer than 64 characters is left out: names are in the SAN.
 */
#ifndef LS_PKI_ISSUE_H
#define LS_PKI_ISSUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/conf.h"
#include "base/text.h"

struct evp_pkey_st;

#define LS_BACKDATE_S 3600

struct ls_rdn {
	char *type; /* CN, O, OU, C, ST, L, serialNumber */
	char *value;
};

struct ls_issue {
	char component[LS_NAME_MAX + 1];
	struct ls_rdn *subject; /* in the order written */
	size_t subject_count;
	char **sans; /* "DNS:…", "IP:…", "URI:…", "email:…" */
	char *key;   /* "ec:P-256" … */
	int64_t days;
	char **eku; /* "serverAuth", "clientAuth" */
};

struct ls_issue_vars {
	const char *fqdn;
	const char *cluster;
	const char *node; /* the initiator's name */
};

void ls_issue_done(struct ls_issue *issue);
void ls_issue_copy(struct ls_issue *to, const struct ls_issue *from);
/* Reads `component`, `subject`, `san`, `key`, `days`, `eku` of a template's root group; checks each
 * value (names, SAN syntax, key spec, 1 to 36500 days, known EKUs, unknown ${variables}); other
 * members are the caller's affair. Absent key, days and eku are "ec:P-256", 365 and both usages. */
LS_CHECK enum ls_code ls_issue_from_conf(
	const struct ls_conf_node *root, struct ls_issue *out, struct ls_err *err);
json_t *ls_issue_to_json(const struct ls_issue *issue); /* new reference */
LS_CHECK enum ls_code ls_issue_from_json(
	const json_t *json, struct ls_issue *out, struct ls_err *err);
/* The SANs with variables put in, NULL-ended; the caller frees them. */
char **ls_issue_sans(const struct ls_issue *issue, const struct ls_issue_vars *vars);

/* A self-signed leaf in PEM, valid from now_s - LS_BACKDATE_S for `days` days from now_s.
 * LS_E_REFUSED: with the variables put in a name is none any more, or days are out of range. */
LS_CHECK enum ls_code ls_issue_self_signed(const struct ls_issue *issue,
	const struct ls_issue_vars *vars, int64_t days, struct evp_pkey_st *key, int64_t now_s,
	struct ls_buf *out_pem, struct ls_err *err);
/* A PKCS#10 request (RFC 2986) in PEM with subject, SAN, KU and EKU of the template. */
LS_CHECK enum ls_code ls_issue_request(const struct ls_issue *issue,
	const struct ls_issue_vars *vars, struct evp_pkey_st *key, struct ls_buf *out_pem,
	struct ls_err *err);

/* Whether a PKCS#10 request in PEM is for the key with this id (pki/key.h). */
bool ls_request_has_key(struct ls_bytes request_pem, const char *key_id);

#endif
