/* rules -- holds an ordered path of certificates against the policy; which rules, and in which
 * order, says credential.h.
 *
 * Pure but for OpenSSL.
 */
#ifndef LS_PKI_RULES_H
#define LS_PKI_RULES_H

#include <stdint.h>

#include "pki/chain.h"
#include "pki/policy.h"

struct asn1_string_st;

struct ls_rules {
	const char *component;
	const struct ls_policy *policy;
	char *const *wanted_sans; /* may be NULL */
	int64_t now_s;
};

/* `chain` was ordered. Warnings are appended to *warnings. */
LS_CHECK enum ls_code ls_rules_judge(const struct ls_rules *rules, const struct ls_chain *chain,
	char ***warnings, struct ls_err *err);
/* False when the certificate's time is not one. */
bool ls_rules_time(const struct asn1_string_st *time, int64_t *out_s);

#endif
