#include "pki/rules.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "pki/issue.h"
#include "pki/key.h"
#include "pki/ossl.h"
#include "pki/san.h"

#define DAY_S 86400
#define FUTURE_MAX_S 300 /* clocks of nodes and CAs differ */

/* RFC 5280 section 4.1.2.5: whole seconds, UTC. ASN1_TIME_to_tm also takes fractions, offsets and
 * times without seconds, which other verifiers refuse or read as another time. */
static bool is_whole(const ASN1_TIME *time)
{
	int digits = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? 12 : 14;
	const unsigned char *text = ASN1_STRING_get0_data(time);

	if (ASN1_STRING_length(time) != digits + 1 || text[digits] != 'Z')
		return false;
	for (int i = 0; i < digits; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return true;
}

bool ls_rules_time(const ASN1_TIME *time, int64_t *out_s)
{
	struct tm tm;

	if (!is_whole(time) || ASN1_TIME_to_tm(time, &tm) != 1)
		return false;
	*out_s = timegm(&tm);
	return true;
}

static enum ls_code check_issuer(const struct ls_chain_cert *cert, struct ls_err *err)
{
	uint32_t usage = X509_get_key_usage(cert->x509); /* all bits when there is none */

	if (!(X509_get_extension_flags(cert->x509) & EXFLAG_CA))
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: issuer: found '%s' without CA:TRUE, wanted a CA (RFC 5280 section "
			"4.2.1.9)",
			cert->file, ls_chain_label(cert->x509).text);
	if (!(usage & KU_KEY_CERT_SIGN))
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: issuer: found '%s' with a key usage without keyCertSign, wanted it "
			"(RFC 5280 section 4.2.1.3)",
			cert->file, ls_chain_label(cert->x509).text);
	return LS_OK;
}

static enum ls_code check_validity(
	const struct ls_chain_cert *cert, int64_t now_s, struct ls_err *err)
{
	int64_t not_before_s, not_after_s;
	char found[LS_TIME_TEXT_SIZE], wanted[LS_TIME_TEXT_SIZE];

	if (!ls_rules_time(X509_get0_notBefore(cert->x509), &not_before_s) ||
		!ls_rules_time(X509_get0_notAfter(cert->x509), &not_after_s)) {
		ERR_clear_error();
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: validity: found times that cannot be read in '%s', wanted UTCTime or "
			"GeneralizedTime (RFC 5280 section 4.1.2.5)",
			cert->file, ls_chain_label(cert->x509).text);
	}
	ls_time_text(now_s, wanted);
	if (now_s >= not_after_s) { /* in its last second OpenSSL refuses it already */
		ls_time_text(not_after_s, found);
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: expired: found '%s' valid until %s, wanted after %s (RFC 5280 section "
			"4.1.2.5)",
			cert->file, ls_chain_label(cert->x509).text, found, wanted);
	}
	if (not_before_s > now_s + FUTURE_MAX_S) {
		ls_time_text(not_before_s, found);
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: not yet valid: found '%s' valid from %s, wanted before %s (RFC 5280 "
			"section 4.1.2.5)",
			cert->file, ls_chain_label(cert->x509).text, found, wanted);
	}
	return LS_OK;
}

static enum ls_code check_strength(
	const struct ls_chain_cert *cert, const struct ls_policy *policy, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf wanted = { 0 };
	struct ls_key_spec spec;
	char found[32];
	bool good = false;

	ls_key_describe(cert->key, &spec);
	if (spec.type == LS_KEY_RSA)
		good = spec.bits >= policy->rsa_min;
	else if (spec.type == LS_KEY_EC)
		good = ls_strv_has(policy->curves, spec.curve);
	else if (spec.type == LS_KEY_ED25519)
		good = policy->ed25519;
	if (good)
		return LS_OK;
	ls_buf_printf(&wanted, "rsa:%lld or more", (long long)policy->rsa_min);
	for (size_t i = 0; i < ls_strv_count(policy->curves); i++)
		ls_buf_printf(&wanted, ", ec:%s", policy->curves[i]);
	if (policy->ed25519)
		ls_buf_str(&wanted, ", ed25519");
	ls_key_spec_text(&spec, found);
	return LS_FAIL(err, LS_E_REFUSED, "%s: key strength: found %s in '%s', wanted %s",
		cert->file, found, ls_chain_label(cert->x509).text, ls_buf_text(&wanted));
}

/* By the length of their output digests are comparable; MD5's is below every bound. */
static int digest_bits(int nid)
{
	const EVP_MD *md = EVP_get_digestbynid(nid);

	return md ? EVP_MD_get_size(md) * 8 : 0;
}

static enum ls_code check_digest(
	const struct ls_chain_cert *cert, const struct ls_policy *policy, struct ls_err *err)
{
	const EVP_MD *least = EVP_get_digestbyname(policy->digest_min);
	int digest = NID_undef, algorithm = NID_undef;

	if (cert->self_signed) /* proves possession only; nobody relies on its digest */
		return LS_OK;
	if (X509_get_signature_info(cert->x509, &digest, &algorithm, NULL, NULL) == 1) {
		if (algorithm == NID_ED25519) /* hashes with SHA-512 (RFC 8032 section 5.1) */
			return LS_OK;
		if (least && digest_bits(digest) >= EVP_MD_get_size(least) * 8)
			return LS_OK;
	}
	ERR_clear_error();
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: signature digest: found %s on '%s', wanted %s or longer", cert->file,
		digest == NID_undef ? "an unknown one" : OBJ_nid2ln(digest),
		ls_chain_label(cert->x509).text, policy->digest_min);
}

static enum ls_code check_lifetime(
	const struct ls_chain_cert *leaf, const struct ls_policy *policy, struct ls_err *err)
{
	int64_t from_s = 0, to_s = 0;

	if (policy->days_max == 0)
		return LS_OK;
	if (ls_rules_time(X509_get0_notBefore(leaf->x509), &from_s) &&
		ls_rules_time(X509_get0_notAfter(leaf->x509), &to_s) &&
		to_s - from_s <= policy->days_max * DAY_S + LS_BACKDATE_S)
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: lifetime: found %lld days in '%s', wanted at most %lld", leaf->file,
		(long long)((to_s - from_s + DAY_S - 1) / DAY_S), ls_chain_label(leaf->x509).text,
		(long long)policy->days_max);
}

static enum ls_code check_usage(const struct ls_chain_cert *leaf, struct ls_err *err)
{
	if (X509_get_key_usage(leaf->x509) & KU_DIGITAL_SIGNATURE)
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: key usage: found one without digitalSignature in '%s', wanted it (RFC 5280 "
		"section 4.2.1.3)",
		leaf->file, ls_chain_label(leaf->x509).text);
}

static enum ls_code check_eku(
	const struct ls_chain_cert *leaf, const char *name, struct ls_err *err)
{
	uint32_t found = X509_get_extended_key_usage(leaf->x509);
	bool present = X509_get_extension_flags(leaf->x509) & EXFLAG_XKUSAGE;
	uint32_t wanted = strcmp(name, "clientAuth") == 0 ? XKU_SSL_CLIENT : XKU_SSL_SERVER;

	if (present && (found & wanted))
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: extended key usage: found %s in '%s', wanted %s (RFC 5280 section 4.2.1.12)",
		leaf->file, present ? "one without it" : "none", ls_chain_label(leaf->x509).text,
		name);
}

static enum ls_code check_ekus(
	const struct ls_rules *rules, const struct ls_chain_cert *leaf, struct ls_err *err)
{
	for (size_t i = 0; i < ls_strv_count(rules->policy->eku); i++)
		LS_TRY(check_eku(leaf, rules->policy->eku[i], err));
	/* It is the client where it replicates from the other cluster. */
	if (strcmp(rules->component, "syncer") == 0)
		return check_eku(leaf, "clientAuth", err);
	return LS_OK;
}

static enum ls_code check_critical(const struct ls_chain_cert *cert, struct ls_err *err)
{
	for (int i = 0; i < X509_get_ext_count(cert->x509); i++) {
		X509_EXTENSION *ext = X509_get_ext(cert->x509, i);
		char oid[80];

		if (!X509_EXTENSION_get_critical(ext) || X509_supported_extension(ext))
			continue;
		(void)OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(ext), 1);
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: critical extension: found the unknown %s in '%s', wanted known ones "
			"(RFC 5280 section 4.2)",
			cert->file, oid, ls_chain_label(cert->x509).text);
	}
	return LS_OK;
}

static void ctx_free(X509_STORE_CTX **ctx)
{
	X509_STORE_CTX_free(*ctx);
	*ctx = NULL;
}

static void store_free(X509_STORE **store)
{
	X509_STORE_free(*store);
	*store = NULL;
}

static void stack_free(STACK_OF(X509) * *stack)
{
	sk_X509_free(*stack);
	*stack = NULL;
}

/* RFC 5280 demands these of a CA, private CAs leave them out, and nobody's safety hangs on them. */
static bool is_waived(int why)
{
	return why == X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER ||
	       why == X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER ||
	       why == X509_V_ERR_CA_BCONS_NOT_CRITICAL ||
	       why == X509_V_ERR_CA_CERT_MISSING_KEY_USAGE;
}

static int on_fault(int ok, X509_STORE_CTX *ctx)
{
	return ok || is_waived(X509_STORE_CTX_get_error(ctx));
}

/* What is left of RFC 5280 section 6.1: path lengths, name constraints, policies, what CAs may be
 * used for. The top of the path is taken as trusted, and times were judged before. */
static enum ls_code check_path(const struct ls_chain *chain, int purpose, struct ls_err *err)
{
	LS_CLEANUP(store_free) X509_STORE *store = X509_STORE_new();
	LS_CLEANUP(stack_free) STACK_OF(X509) *others = sk_X509_new_null();
	LS_CLEANUP(ctx_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	size_t depth;
	int why;

	if (!store || !others || !ctx)
		return ls_ossl_fail(err, LS_E_CRYPTO, "validate a path");
	for (size_t i = 1; i < chain->count; i++)
		if (sk_X509_push(others, chain->certs[i].x509) == 0)
			return ls_ossl_fail(err, LS_E_CRYPTO, "validate a path");
	if (X509_STORE_add_cert(store, chain->certs[chain->count - 1].x509) != 1 ||
		X509_STORE_CTX_init(ctx, store, chain->certs[0].x509, others) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "validate a path");
	X509_STORE_CTX_set_flags(ctx,
		X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_X509_STRICT);
	if (X509_STORE_CTX_set_purpose(ctx, purpose) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "validate a path");
	X509_STORE_CTX_set_verify_cb(ctx, on_fault);
	X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(ctx), LS_CHAIN_MAX);
	if (X509_verify_cert(ctx) == 1)
		return LS_OK;
	ERR_clear_error();
	why = X509_STORE_CTX_get_error(ctx);
	depth = (size_t)X509_STORE_CTX_get_error_depth(ctx);
	if (depth >= chain->count)
		depth = 0;
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: path: found '%s' at '%s', wanted a valid path (RFC 5280 section 6.1)",
		chain->certs[depth].file, X509_verify_cert_error_string(why),
		ls_chain_label(chain->certs[depth].x509).text);
}

/* A CA may be bound to purposes too; so the path is walked for each one that the leaf must have. */
static enum ls_code check_paths(
	const struct ls_rules *rules, const struct ls_chain *chain, struct ls_err *err)
{
	bool client = ls_strv_has(rules->policy->eku, "clientAuth") ||
		      strcmp(rules->component, "syncer") == 0;

	if (ls_strv_has(rules->policy->eku, "serverAuth"))
		LS_TRY(check_path(chain, X509_PURPOSE_SSL_SERVER, err));
	else if (!client)
		return check_path(chain, X509_PURPOSE_ANY, err);
	return client ? check_path(chain, X509_PURPOSE_SSL_CLIENT, err) : LS_OK;
}

static enum ls_code check_sans(const struct ls_rules *rules, const struct ls_chain_cert *leaf,
	char ***warnings, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **sans = ls_san_list(leaf->x509);

	if (!sans)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: subject alternative name: found none in '%s', wanted the names that "
			"clients use (RFC 9525 section 6.1)",
			leaf->file, ls_chain_label(leaf->x509).text);
	for (size_t i = 0; i < ls_strv_count(rules->wanted_sans); i++) {
		const char *wanted = rules->wanted_sans[i];
		LS_CLEANUP(ls_free_str) char *text = NULL;

		if (ls_san_covers(sans, wanted))
			continue;
		text = ls_format("%s: subject alternative name: found %zu names that do not cover "
				 "'%.260s' ('%.120s'%s), wanted it covered (RFC 9525 section 6.3)",
			leaf->file, ls_strv_count(sans), wanted, sans[0], sans[1] ? ", ..." : "");
		if (rules->policy->san == LS_SAN_REFUSE)
			return LS_FAIL(err, LS_E_REFUSED, "%s", text);
		ls_strv_add(warnings, text);
	}
	return LS_OK;
}

static enum ls_code check_leaf(const struct ls_rules *rules, const struct ls_chain *chain,
	char ***warnings, struct ls_err *err)
{
	const struct ls_chain_cert *leaf = &chain->certs[0];

	LS_TRY(check_lifetime(leaf, rules->policy, err));
	LS_TRY(check_usage(leaf, err));
	LS_TRY(check_ekus(rules, leaf, err));
	for (size_t i = 0; i < chain->count; i++)
		LS_TRY(check_critical(&chain->certs[i], err));
	LS_TRY(check_paths(rules, chain, err));
	return check_sans(rules, leaf, warnings, err);
}

enum ls_code ls_rules_judge(const struct ls_rules *rules, const struct ls_chain *chain,
	char ***warnings, struct ls_err *err)
{
	const struct ls_chain_cert *certs = chain->certs;

	for (size_t i = 1; i < chain->count; i++)
		LS_TRY(check_issuer(&certs[i], err));
	for (size_t i = 0; i < chain->count; i++)
		LS_TRY(check_validity(&certs[i], rules->now_s, err));
	if (X509_get_extension_flags(certs[0].x509) & EXFLAG_CA)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: leaf: found '%s' with CA:TRUE, wanted a certificate that is not a CA "
			"(RFC 5280 section 4.2.1.9)",
			certs[0].file, ls_chain_label(certs[0].x509).text);
	for (size_t i = 0; i < chain->count; i++)
		LS_TRY(check_strength(&certs[i], rules->policy, err));
	for (size_t i = 0; i < chain->count; i++)
		LS_TRY(check_digest(&certs[i], rules->policy, err));
	return check_leaf(rules, chain, warnings, err);
}
