#include "pki/policy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "sys/file.h"

#define FILE_MAX (64 * 1024)
#define DAYS_MAX 36500
#define RSA_MIN 512
#define RSA_MAX 16384
#define INTAKE_MIN 1024
#define INTAKE_MAX (16 * 1024 * 1024)

static const char *const keys[] = { "rsa_min", "curves", "ed25519", "digest_min", "days_max", "eku",
	"san", "intake_bytes_max", "tls_min", "alert_days", NULL };
static const char *const curves_known[] = { "P-256", "P-384", "P-521", NULL };
static const char *const digests_known[] = { "sha1", "sha256", "sha384", "sha512", NULL };
static const char *const ekus_known[] = { "serverAuth", "clientAuth", NULL };
static const char *const tls_known[] = { "1", "1.1", "1.2", "1.3", NULL };
static const char *const san_texts[] = { [LS_SAN_WARN] = "warn", [LS_SAN_REFUSE] = "refuse" };

_Static_assert(LS_COUNT(san_texts) == LS_SAN_REFUSE + 1, "a text for each rule");

void ls_policy_done(struct ls_policy *policy)
{
	ls_free_str(&policy->name);
	ls_free_strv(&policy->curves);
	ls_free_str(&policy->digest_min);
	ls_free_strv(&policy->eku);
	ls_free_str(&policy->tls_min);
	*policy = (struct ls_policy){ 0 };
}

void ls_policy_copy(struct ls_policy *to, const struct ls_policy *from)
{
	struct ls_policy copy = *from;

	copy.name = ls_strdup(from->name);
	copy.curves = ls_strv_copy(from->curves);
	copy.digest_min = ls_strdup(from->digest_min);
	copy.eku = ls_strv_copy(from->eku);
	copy.tls_min = ls_strdup(from->tls_min);
	ls_policy_done(to);
	*to = copy;
}

/* CONTRACT's values. */
static void set_defaults(struct ls_policy *policy, const char *name)
{
	static const int64_t alert_days[] = { 45, 30, 14, 7, 3, 1 };

	*policy = (struct ls_policy){ .rsa_min = 2048,
		.ed25519 = true,
		.san = LS_SAN_WARN,
		.intake_bytes_max = 1048576,
		.alert_days_count = LS_COUNT(alert_days) };
	policy->name = ls_strdup(name);
	for (size_t i = 0; curves_known[i]; i++)
		ls_strv_add(&policy->curves, curves_known[i]);
	policy->digest_min = ls_strdup("sha256");
	ls_strv_add(&policy->eku, "serverAuth");
	policy->tls_min = ls_strdup("1.2");
	memcpy(policy->alert_days, alert_days, sizeof alert_days);
}

static bool among(const char *const *known, const char *value)
{
	size_t i = 0;

	while (known[i] && strcmp(known[i], value) != 0)
		i++;
	return known[i] != NULL;
}

static enum ls_code check_word(const char *origin, const char *key, const char *const *known,
	const char *value, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf wanted = { 0 };

	if (among(known, value))
		return LS_OK;
	for (size_t i = 0; known[i]; i++)
		ls_buf_printf(&wanted, "%s'%s'", i ? ", " : "", known[i]);
	return LS_FAIL(err, LS_E_REFUSED, "%s: '%s': found '%.40s', wanted one of %s", origin, key,
		value, ls_buf_text(&wanted));
}

static enum ls_code check_words(const char *origin, const char *key, const char *const *known,
	char *const *values, struct ls_err *err)
{
	for (size_t i = 0; i < ls_strv_count(values); i++)
		LS_TRY(check_word(origin, key, known, values[i], err));
	return LS_OK;
}

static enum ls_code check_range(const char *origin, const char *key, int64_t value, int64_t min,
	int64_t max, struct ls_err *err)
{
	if (value >= min && value <= max)
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED, "%s: '%s': found %lld, wanted %lld to %lld", origin, key,
		(long long)value, (long long)min, (long long)max);
}

/* What both readers hold a policy against. */
static enum ls_code check(const char *origin, const struct ls_policy *policy, struct ls_err *err)
{
	if (!ls_cluster_name_valid(policy->name))
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: '%.64s' is not a policy's name: wanted letters, digits, '.', '_', '-'",
			origin, policy->name);
	LS_TRY(check_range(origin, "rsa_min", policy->rsa_min, RSA_MIN, RSA_MAX, err));
	LS_TRY(check_words(origin, "curves", curves_known, policy->curves, err));
	LS_TRY(check_word(origin, "digest_min", digests_known, policy->digest_min, err));
	LS_TRY(check_range(origin, "days_max", policy->days_max, 0, DAYS_MAX, err));
	LS_TRY(check_words(origin, "eku", ekus_known, policy->eku, err));
	LS_TRY(check_range(
		origin, "intake_bytes_max", policy->intake_bytes_max, INTAKE_MIN, INTAKE_MAX, err));
	LS_TRY(check_word(origin, "tls_min", tls_known, policy->tls_min, err));
	for (size_t i = 0; i < policy->alert_days_count; i++) {
		LS_TRY(check_range(origin, "alert_days", policy->alert_days[i], 0, DAYS_MAX, err));
		if (i && policy->alert_days[i] >= policy->alert_days[i - 1])
			return LS_FAIL(err, LS_E_REFUSED,
				"%s: 'alert_days': found %lld behind %lld, wanted them descending",
				origin, (long long)policy->alert_days[i],
				(long long)policy->alert_days[i - 1]);
	}
	return LS_OK;
}

static enum ls_code san_rule(
	const char *origin, const char *text, enum ls_san_rule *out, struct ls_err *err)
{
	for (size_t i = 0; i < LS_COUNT(san_texts); i++) {
		if (strcmp(san_texts[i], text) != 0)
			continue;
		*out = (enum ls_san_rule)i;
		return LS_OK;
	}
	return LS_FAIL(err, LS_E_REFUSED, "%s: 'san': found '%.40s', wanted 'warn' or 'refuse'",
		origin, text);
}

static enum ls_code read_conf(
	const struct ls_conf_node *root, struct ls_policy *policy, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *san = NULL;

	LS_TRY(ls_conf_only(root, keys, err));
	LS_TRY(ls_conf_int(root, "rsa_min", RSA_MIN, RSA_MAX, &policy->rsa_min, err));
	LS_TRY(ls_conf_strings(root, "curves", &policy->curves, err));
	LS_TRY(ls_conf_bool(root, "ed25519", &policy->ed25519, err));
	LS_TRY(ls_conf_string(root, "digest_min", &policy->digest_min, err));
	LS_TRY(ls_conf_int(root, "days_max", 0, DAYS_MAX, &policy->days_max, err));
	LS_TRY(ls_conf_strings(root, "eku", &policy->eku, err));
	LS_TRY(ls_conf_string(root, "san", &san, err));
	LS_TRY(ls_conf_int(
		root, "intake_bytes_max", INTAKE_MIN, INTAKE_MAX, &policy->intake_bytes_max, err));
	LS_TRY(ls_conf_string(root, "tls_min", &policy->tls_min, err));
	LS_TRY(ls_conf_ints(root, "alert_days", 0, DAYS_MAX, LS_COUNT(policy->alert_days),
		policy->alert_days, &policy->alert_days_count, err));
	return san ? san_rule(ls_conf_origin(root), san, &policy->san, err) : LS_OK;
}

enum ls_code ls_policy_parse(const char *origin, const char *name, struct ls_bytes text,
	struct ls_policy *out, struct ls_err *err)
{
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;
	LS_CLEANUP(ls_policy_done) struct ls_policy policy = { 0 };

	LS_TRY(ls_conf_parse(origin, text, &conf, err));
	set_defaults(&policy, name);
	LS_TRY(read_conf(ls_conf_root(conf), &policy, err));
	LS_TRY(check(origin, &policy, err));
	ls_policy_done(out);
	*out = policy;
	policy = (struct ls_policy){ 0 };
	return LS_OK;
}

enum ls_code ls_policy_load(
	const struct ls_paths *paths, const char *name, struct ls_policy *out, struct ls_err *err)
{
	if (!ls_cluster_name_valid(name)) /* also keeps slashes out of the path */
		return LS_FAIL(err, LS_E_REFUSED, "'%.64s' is not a policy's name", name);
	for (size_t i = 0; paths->policies[i]; i++) {
		LS_CLEANUP(ls_free_str)
		char *path = ls_format("%s/%s.conf", paths->policies[i], name);
		LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
		enum ls_code rc = ls_file_read_guarded(AT_FDCWD, path, FILE_MAX, &text, err);

		if (rc == LS_E_NOT_FOUND)
			continue;
		LS_TRY(rc);
		return ls_policy_parse(path, name, ls_buf_bytes(&text), out, err);
	}
	(void)LS_FAIL(err, LS_E_REFUSED, "no policy '%s' in %s", name,
		paths->policies[0] ? paths->policies[0] : "any directory");
	LS_HINT(err, "shipped are 'default', 'strict' and 'legacy'");
	return LS_E_REFUSED;
}

static json_t *strings_to_json(char *const *strv)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ls_strv_count(strv); i++)
		(void)json_array_append_new(array, json_string(strv[i]));
	return array;
}

json_t *ls_policy_to_json(const struct ls_policy *policy)
{
	json_t *days = json_array();

	for (size_t i = 0; i < policy->alert_days_count; i++)
		(void)json_array_append_new(days, json_integer(policy->alert_days[i]));
	return json_pack("{s:s, s:I, s:o, s:b, s:s, s:I, s:o, s:s, s:I, s:s, s:o}", "name",
		policy->name, "rsa_min", (json_int_t)policy->rsa_min, "curves",
		strings_to_json(policy->curves), "ed25519", policy->ed25519, "digest_min",
		policy->digest_min, "days_max", (json_int_t)policy->days_max, "eku",
		strings_to_json(policy->eku), "san", san_texts[policy->san], "intake_bytes_max",
		(json_int_t)policy->intake_bytes_max, "tls_min", policy->tls_min, "alert_days",
		days);
}

static enum ls_code strings_from_json(
	const json_t *array, const char *key, char ***out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **strv = ls_alloc(1, sizeof *strv);
	const json_t *value;
	size_t i;

	if (!array)
		return LS_OK;
	if (!json_is_array(array))
		return LS_FAIL(err, LS_E_REFUSED, "policy: '%s' must be a list of strings", key);
	json_array_foreach(array, i, value)
	{
		if (!json_is_string(value))
			return LS_FAIL(
				err, LS_E_REFUSED, "policy: '%s' must hold strings only", key);
		ls_strv_add(&strv, json_string_value(value));
	}
	ls_free_strv(out);
	*out = LS_TAKE(strv);
	return LS_OK;
}

static enum ls_code days_from_json(
	const json_t *array, struct ls_policy *policy, struct ls_err *err)
{
	const json_t *value;
	size_t i;

	if (!array)
		return LS_OK;
	if (!json_is_array(array) || json_array_size(array) > LS_COUNT(policy->alert_days))
		return LS_FAIL(err, LS_E_REFUSED,
			"policy: 'alert_days' must be a list of at most %zu integers",
			LS_COUNT(policy->alert_days));
	json_array_foreach(array, i, value)
	{
		if (!json_is_integer(value))
			return LS_FAIL(
				err, LS_E_REFUSED, "policy: 'alert_days' must hold integers only");
		policy->alert_days[i] = json_integer_value(value);
	}
	policy->alert_days_count = json_array_size(array);
	return LS_OK;
}

static void replace(char **to, const char *text)
{
	if (!text)
		return;
	free(*to);
	*to = ls_strdup(text);
}

enum ls_code ls_policy_from_json(const json_t *json, struct ls_policy *out, struct ls_err *err)
{
	LS_CLEANUP(ls_policy_done) struct ls_policy policy = { 0 };
	const char *name = NULL, *digest_min = NULL, *san = NULL, *tls_min = NULL;
	json_t *curves = NULL, *eku = NULL, *alert_days = NULL;
	json_int_t rsa_min, days_max, intake_bytes_max;
	json_error_t why = { 0 };
	int ed25519;

	set_defaults(&policy, "");
	rsa_min = policy.rsa_min;
	days_max = policy.days_max;
	intake_bytes_max = policy.intake_bytes_max;
	ed25519 = policy.ed25519;
	/* '!': a member that is not named here is an error. */
	if (json_unpack_ex((json_t *)(uintptr_t)json, &why, 0,
		    "{s:s, s?I, s?o, s?b, s?s, s?I, s?o, s?s, s?I, s?s, s?o !}", "name", &name,
		    "rsa_min", &rsa_min, "curves", &curves, "ed25519", &ed25519, "digest_min",
		    &digest_min, "days_max", &days_max, "eku", &eku, "san", &san,
		    "intake_bytes_max", &intake_bytes_max, "tls_min", &tls_min, "alert_days",
		    &alert_days) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "policy: %s", why.text);
	policy.rsa_min = rsa_min;
	policy.days_max = days_max;
	policy.intake_bytes_max = intake_bytes_max;
	policy.ed25519 = ed25519 != 0;
	replace(&policy.name, name);
	replace(&policy.digest_min, digest_min);
	replace(&policy.tls_min, tls_min);
	LS_TRY(strings_from_json(curves, "curves", &policy.curves, err));
	LS_TRY(strings_from_json(eku, "eku", &policy.eku, err));
	LS_TRY(days_from_json(alert_days, &policy, err));
	if (san)
		LS_TRY(san_rule("policy", san, &policy.san, err));
	LS_TRY(check("policy", &policy, err));
	ls_policy_done(out);
	*out = policy;
	policy = (struct ls_policy){ 0 };
	return LS_OK;
}
