/* policy -- what a credential must satisfy, as data. Judging is in credential.h.
 *
 * Read from policies/NAME.conf (libconfig, CONTRACT) and kept in the state as policy.json; both
 * readers refuse unknown keys.
 */
#ifndef LS_PKI_POLICY_H
#define LS_PKI_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/paths.h"

enum ls_san_rule { LS_SAN_WARN, LS_SAN_REFUSE };

struct ls_policy {
	char *name;      /* of the policy: "default", "strict", "legacy", or an operator's */
	int64_t rsa_min; /* bits; below is refused */
	char **curves;   /* NULL-ended: "P-256" ... */
	bool ed25519;
	char *digest_min; /* "sha1", "sha256", "sha384", "sha512": of the signatures on the path,
			     not of self-signatures */
	int64_t days_max; /* lifetime of a credential; 0: no bound */
	char **eku;       /* NULL-ended: each must be in the leaf */
	enum ls_san_rule san;
	int64_t intake_bytes_max; /* of all files of one credential together */
	char *tls_min;            /* "1", "1.1", "1.2", "1.3" */
	int64_t alert_days[16];   /* descending */
	size_t alert_days_count;
};

void ls_policy_done(struct ls_policy *policy);
void ls_policy_copy(struct ls_policy *to, const struct ls_policy *from);
/* An absent key has CONTRACT's default value. */
LS_CHECK enum ls_code ls_policy_parse(const char *origin, const char *name, struct ls_bytes text,
	struct ls_policy *out, struct ls_err *err);
/* Finds NAME.conf in the policy directories, first match wins. LS_E_REFUSED: no such policy. */
LS_CHECK enum ls_code ls_policy_load(
	const struct ls_paths *paths, const char *name, struct ls_policy *out, struct ls_err *err);
json_t *ls_policy_to_json(const struct ls_policy *policy); /* new reference */
LS_CHECK enum ls_code ls_policy_from_json(
	const json_t *json, struct ls_policy *out, struct ls_err *err);

#endif
