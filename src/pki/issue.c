#include "pki/issue.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "pki/build.h"
#include "pki/key.h"
#include "pki/ossl.h"
#include "pki/san.h"

#define DAYS_MAX 36500
#define DAY_S 86400
#define SANS_MAX 100
#define SUBJECT_MAX 16

/* Bounds of RFC 5280 appendix A.1. */
static const struct {
	const char *type;
	int nid;
	size_t max;
} rdn_types[] = {
	{ "CN", NID_commonName, 64 },
	{ "O", NID_organizationName, 64 },
	{ "OU", NID_organizationalUnitName, 64 },
	{ "C", NID_countryName, 2 },
	{ "ST", NID_stateOrProvinceName, 128 },
	{ "L", NID_localityName, 128 },
	{ "serialNumber", NID_serialNumber, 64 },
};

static const struct {
	const char *name;
	int nid;
} ekus[] = {
	{ "serverAuth", NID_server_auth },
	{ "clientAuth", NID_client_auth },
};

static void name_free(X509_NAME **name)
{
	X509_NAME_free(*name);
	*name = NULL;
}

static void eku_free(EXTENDED_KEY_USAGE **eku)
{
	sk_ASN1_OBJECT_pop_free(*eku, ASN1_OBJECT_free);
	*eku = NULL;
}

void ls_issue_done(struct ls_issue *issue)
{
	for (size_t i = 0; i < issue->subject_count; i++) {
		free(issue->subject[i].type);
		free(issue->subject[i].value);
	}
	free(issue->subject);
	ls_free_strv(&issue->sans);
	ls_free_str(&issue->key);
	ls_free_strv(&issue->eku);
	*issue = (struct ls_issue){ 0 };
}

static void add_rdn(struct ls_issue *issue, const char *type, const char *value)
{
	issue->subject =
		ls_realloc(issue->subject, issue->subject_count + 1, sizeof *issue->subject);
	issue->subject[issue->subject_count++] =
		(struct ls_rdn){ ls_strdup(type), ls_strdup(value) };
}

void ls_issue_copy(struct ls_issue *to, const struct ls_issue *from)
{
	struct ls_issue copy = { .days = from->days };

	memcpy(copy.component, from->component, sizeof copy.component);
	for (size_t i = 0; i < from->subject_count; i++)
		add_rdn(&copy, from->subject[i].type, from->subject[i].value);
	copy.sans = ls_strv_copy(from->sans);
	copy.key = from->key ? ls_strdup(from->key) : NULL;
	copy.eku = ls_strv_copy(from->eku);
	ls_issue_done(to);
	*to = copy;
}

/* Puts variables in. LS_E_REFUSED: one that is not known, or not closed. */
static enum ls_code expand(
	const char *text, const struct ls_issue_vars *vars, char **out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf buf = { 0 };

	while (*text) {
		const char *var = strstr(text, "${");

		if (!var) {
			ls_buf_str(&buf, text);
			break;
		}
		ls_buf_add(&buf, text, (size_t)(var - text));
		if (ls_has_prefix(var, "${fqdn}"))
			ls_buf_str(&buf, vars->fqdn);
		else if (ls_has_prefix(var, "${cluster}"))
			ls_buf_str(&buf, vars->cluster);
		else if (ls_has_prefix(var, "${node}"))
			ls_buf_str(&buf, vars->node);
		else
			return LS_FAIL(err, LS_E_REFUSED,
				"variable: found '%.40s', wanted ${fqdn}, ${cluster} or ${node}",
				var);
		text = strchr(var, '}') + 1;
	}
	*out = ls_buf_take(&buf);
	return LS_OK;
}

static enum ls_code expand_sans(const struct ls_issue *issue, const struct ls_issue_vars *vars,
	char ***out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv)
	char **sans = ls_alloc(ls_strv_count(issue->sans) + 1, sizeof *sans);

	for (size_t i = 0; i < ls_strv_count(issue->sans); i++)
		LS_TRY(expand(issue->sans[i], vars, &sans[i], err));
	ls_free_strv(out);
	*out = LS_TAKE(sans);
	return LS_OK;
}

char **ls_issue_sans(const struct ls_issue *issue, const struct ls_issue_vars *vars)
{
	char **sans = NULL;
	struct ls_err err;

	/* Variables were checked when the template was read; one made by hand gets no names. */
	if (expand_sans(issue, vars, &sans, &err) != LS_OK)
		sans = ls_alloc(1, sizeof *sans);
	return sans;
}

static size_t find_rdn(const char *type)
{
	size_t i = 0;

	while (i < LS_COUNT(rdn_types) && strcmp(rdn_types[i].type, type) != 0)
		i++;
	return i;
}

/* A CN over its bound is left out, as public CAs do: names are in the SAN, nobody reads the CN (RFC
 * 9525 section 6.3), and a cluster's FQDN may be longer than 64 characters. */
static enum ls_code add_name_entry(X509_NAME *name, const struct ls_rdn *rdn,
	const struct ls_issue_vars *vars, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *value = NULL;
	size_t type = find_rdn(rdn->type);

	if (type == LS_COUNT(rdn_types))
		return LS_FAIL(err, LS_E_REFUSED,
			"subject: found '%.40s', wanted CN, O, OU, C, ST, L or serialNumber",
			rdn->type);
	LS_TRY(expand(rdn->value, vars, &value, err));
	if (rdn_types[type].nid == NID_commonName && strlen(value) > rdn_types[type].max)
		return LS_OK;
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return LS_FAIL(err, LS_E_REFUSED,
				"subject: found a control character in %s, wanted text", rdn->type);
	if (!*value || X509_NAME_add_entry_by_NID(name, rdn_types[type].nid, MBSTRING_UTF8,
			       (const unsigned char *)value, -1, -1, 0) != 1) {
		ERR_clear_error();
		return LS_FAIL(err, LS_E_REFUSED,
			"subject: found %s = '%.130s', wanted %s%zu characters (RFC 5280 appendix "
			"A.1)",
			rdn->type, value, rdn_types[type].max == 2 ? "" : "1 to ",
			rdn_types[type].max);
	}
	return LS_OK;
}

static enum ls_code make_name(const struct ls_issue *issue, const struct ls_issue_vars *vars,
	X509_NAME **out, struct ls_err *err)
{
	LS_CLEANUP(name_free) X509_NAME *name = X509_NAME_new();

	if (!name)
		return ls_ossl_fail(err, LS_E_CRYPTO, "make a name");
	for (size_t i = 0; i < issue->subject_count; i++)
		LS_TRY(add_name_entry(name, &issue->subject[i], vars, err));
	if (X509_NAME_entry_count(name) == 0)
		return LS_FAIL(err, LS_E_REFUSED,
			"subject: found it empty, wanted at least one of CN (64 characters at "
			"most), O, OU (RFC 5280 section 4.1.2.4)");
	*out = LS_TAKE(name);
	return LS_OK;
}

static int eku_nid(const char *name)
{
	for (size_t i = 0; i < LS_COUNT(ekus); i++)
		if (strcmp(ekus[i].name, name) == 0)
			return ekus[i].nid;
	return NID_undef;
}

/* What both readers hold a template against. Names are judged by making them once, with values as
 * they could be. */
static enum ls_code check(const struct ls_issue *issue, struct ls_err *err)
{
	static const struct ls_issue_vars sample = { "a.example", "cluster", "node" };
	LS_CLEANUP(ls_general_names_free) GENERAL_NAMES *names = NULL;
	LS_CLEANUP(name_free) X509_NAME *subject = NULL;
	LS_CLEANUP(ls_free_strv) char **sans = NULL;
	struct ls_key_spec spec;

	if (issue->subject_count == 0 || issue->subject_count > SUBJECT_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "subject: found %zu entries, wanted 1 to %d",
			issue->subject_count, SUBJECT_MAX);
	LS_TRY(make_name(issue, &sample, &subject, err));
	if (ls_strv_count(issue->sans) == 0 || ls_strv_count(issue->sans) > SANS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "san: found %zu names, wanted 1 to %d",
			ls_strv_count(issue->sans), SANS_MAX);
	LS_TRY(expand_sans(issue, &sample, &sans, err));
	LS_TRY(ls_san_encode(sans, &names, err));
	LS_TRY(ls_key_spec_parse(issue->key, &spec, err));
	if (issue->days < 1 || issue->days > DAYS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "days: found %lld, wanted 1 to %d",
			(long long)issue->days, DAYS_MAX);
	if (ls_strv_count(issue->eku) == 0 || ls_strv_count(issue->eku) > LS_COUNT(ekus))
		return LS_FAIL(err, LS_E_REFUSED, "eku: found %zu usages, wanted 1 to %zu",
			ls_strv_count(issue->eku), LS_COUNT(ekus));
	for (size_t i = 0; issue->eku[i]; i++)
		if (eku_nid(issue->eku[i]) == NID_undef)
			return LS_FAIL(err, LS_E_REFUSED,
				"eku: found '%.40s', wanted serverAuth or clientAuth",
				issue->eku[i]);
	return LS_OK;
}

static enum ls_code set_component(struct ls_issue *issue, const char *component, struct ls_err *err)
{
	if (!component || !ls_name_valid(component))
		return LS_FAIL(err, LS_E_REFUSED,
			"component: found '%.40s', wanted 1 to %d of a-z, 0-9 and '_'",
			component ? component : "", LS_NAME_MAX);
	(void)snprintf(issue->component, sizeof issue->component, "%s", component);
	return LS_OK;
}

static void set_defaults(struct ls_issue *issue)
{
	*issue = (struct ls_issue){ .days = 365, .key = ls_strdup("ec:P-256") };
	for (size_t i = 0; i < LS_COUNT(ekus); i++)
		ls_strv_add(&issue->eku, ekus[i].name);
}

static enum ls_code read_conf(
	const struct ls_conf_node *root, struct ls_issue *issue, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *component = NULL;
	const struct ls_conf_node *subject = ls_conf_get(root, "subject");

	set_defaults(issue);
	LS_TRY(ls_conf_string(root, "component", &component, err));
	LS_TRY(ls_conf_strings(root, "san", &issue->sans, err));
	LS_TRY(ls_conf_string(root, "key", &issue->key, err));
	LS_TRY(ls_conf_int(root, "days", 1, DAYS_MAX, &issue->days, err));
	LS_TRY(ls_conf_strings(root, "eku", &issue->eku, err));
	if (subject && !ls_conf_is_group(subject))
		return ls_conf_refuse(subject, err, "'subject' must be a group");
	for (size_t i = 0; subject && i < ls_conf_count(subject); i++) {
		const struct ls_conf_node *rdn = ls_conf_elem(subject, i);

		if (!ls_conf_is_string(rdn))
			return ls_conf_refuse(
				rdn, err, "'%s' must be a string in quotes", ls_conf_name(rdn));
		add_rdn(issue, ls_conf_name(rdn), ls_conf_text(rdn));
	}
	if (set_component(issue, component, err) != LS_OK || check(issue, err) != LS_OK)
		return LS_WRAP(err, "%s", ls_conf_origin(root));
	return LS_OK;
}

enum ls_code ls_issue_from_conf(
	const struct ls_conf_node *root, struct ls_issue *out, struct ls_err *err)
{
	LS_CLEANUP(ls_issue_done) struct ls_issue issue = { 0 };

	LS_TRY(read_conf(root, &issue, err));
	ls_issue_done(out);
	*out = issue;
	issue = (struct ls_issue){ 0 };
	return LS_OK;
}

static json_t *strings_to_json(char *const *strv)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ls_strv_count(strv); i++)
		(void)json_array_append_new(array, json_string(strv[i]));
	return array;
}

json_t *ls_issue_to_json(const struct ls_issue *issue)
{
	json_t *subject = json_array();

	for (size_t i = 0; i < issue->subject_count; i++)
		(void)json_array_append_new(
			subject, json_pack("{s:s, s:s}", "type", issue->subject[i].type, "value",
					 issue->subject[i].value));
	return json_pack("{s:s, s:o, s:o, s:s, s:I, s:o}", "component", issue->component, "subject",
		subject, "san", strings_to_json(issue->sans), "key", issue->key, "days",
		(json_int_t)issue->days, "eku", strings_to_json(issue->eku));
}

static enum ls_code strings_from_json(
	const json_t *array, const char *key, char ***out, struct ls_err *err)
{
	const json_t *value;
	size_t i;

	if (!json_is_array(array))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' must be a list of strings", key);
	json_array_foreach(array, i, value)
	{
		if (!json_is_string(value))
			return LS_FAIL(err, LS_E_REFUSED, "'%s' must hold strings only", key);
		ls_strv_add(out, json_string_value(value));
	}
	return LS_OK;
}

static enum ls_code read_json(const json_t *json, struct ls_issue *issue, struct ls_err *err)
{
	const char *component, *key, *type, *value;
	json_t *subject, *san, *eku;
	json_error_t why = { 0 };
	json_int_t days;
	json_t *rdn;
	size_t i;

	/* '!': a member that is not named here is an error. */
	if (json_unpack_ex((json_t *)(uintptr_t)json, &why, 0, "{s:s, s:o, s:o, s:s, s:I, s:o !}",
		    "component", &component, "subject", &subject, "san", &san, "key", &key, "days",
		    &days, "eku", &eku) != 0)
		return LS_FAIL(err, LS_E_REFUSED, "%s", why.text);
	LS_TRY(set_component(issue, component, err));
	issue->key = ls_strdup(key);
	issue->days = days;
	LS_TRY(strings_from_json(san, "san", &issue->sans, err));
	LS_TRY(strings_from_json(eku, "eku", &issue->eku, err));
	if (!json_is_array(subject))
		return LS_FAIL(err, LS_E_REFUSED, "'subject' must be a list");
	json_array_foreach(subject, i, rdn)
	{
		if (json_unpack_ex(rdn, &why, 0, "{s:s, s:s !}", "type", &type, "value", &value) !=
			0)
			return LS_FAIL(err, LS_E_REFUSED, "'subject': %s", why.text);
		add_rdn(issue, type, value);
	}
	return check(issue, err);
}

enum ls_code ls_issue_from_json(const json_t *json, struct ls_issue *out, struct ls_err *err)
{
	LS_CLEANUP(ls_issue_done) struct ls_issue issue = { 0 };

	if (read_json(json, &issue, err) != LS_OK)
		return LS_WRAP(err, "template");
	ls_issue_done(out);
	*out = issue;
	issue = (struct ls_issue){ 0 };
	return LS_OK;
}

static enum ls_code add_eku(
	const struct ls_issue *issue, STACK_OF(X509_EXTENSION) * *exts, struct ls_err *err)
{
	LS_CLEANUP(eku_free) EXTENDED_KEY_USAGE *eku = sk_ASN1_OBJECT_new_null();

	/* Objects of OBJ_nid2obj are static: freeing one does nothing. */
	for (size_t i = 0; eku && i < ls_strv_count(issue->eku); i++)
		if (sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(eku_nid(issue->eku[i]))) == 0)
			return ls_ossl_fail(err, LS_E_CRYPTO, "encode an extended key usage");
	if (!eku)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode an extended key usage");
	return ls_build_ext(exts, NID_ext_key_usage, eku, false, err);
}

/* What certificate and request have in common. */
static enum ls_code add_exts(const struct ls_issue *issue, const struct ls_issue_vars *vars,
	EVP_PKEY *key, STACK_OF(X509_EXTENSION) * *exts, struct ls_err *err)
{
	LS_CLEANUP(ls_general_names_free) GENERAL_NAMES *names = NULL;
	LS_CLEANUP(ls_free_strv) char **sans = NULL;
	bool rsa = EVP_PKEY_is_a(key, "RSA");

	LS_TRY(expand_sans(issue, vars, &sans, err));
	LS_TRY(ls_san_encode(sans, &names, err));
	LS_TRY(ls_build_key_usage(
		exts, KU_DIGITAL_SIGNATURE | (rsa ? KU_KEY_ENCIPHERMENT : 0), err));
	LS_TRY(add_eku(issue, exts, err));
	return ls_build_ext(exts, NID_subject_alt_name, names, false, err);
}

enum ls_code ls_issue_self_signed(const struct ls_issue *issue, const struct ls_issue_vars *vars,
	int64_t days, EVP_PKEY *key, int64_t now_s, struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_x509_free) X509 *cert = X509_new();
	LS_CLEANUP(ls_build_exts_free) STACK_OF(X509_EXTENSION) *exts = NULL;
	LS_CLEANUP(name_free) X509_NAME *name = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };

	if (days < 1 || days > DAYS_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "days: found %lld, wanted 1 to %d",
			(long long)days, DAYS_MAX);
	if (!cert)
		return ls_ossl_fail(err, LS_E_CRYPTO, "make a certificate");
	LS_TRY(make_name(issue, vars, &name, err));
	LS_TRY(ls_build_start(cert, now_s - LS_BACKDATE_S, now_s + days * DAY_S, err));
	LS_TRY(ls_build_cert_key(cert, key, err));
	LS_TRY(ls_build_not_ca(&exts, err));
	LS_TRY(ls_build_key_id(cert, &exts, err));
	LS_TRY(add_exts(issue, vars, key, &exts, err));
	LS_TRY(ls_build_add_exts(cert, exts, err));
	if (X509_set_subject_name(cert, name) != 1 || X509_set_issuer_name(cert, name) != 1 ||
		X509_sign(cert, key, ls_build_digest(key)) <= 0)
		return ls_ossl_fail(err, LS_E_CRYPTO, "sign a certificate");
	LS_TRY(ls_x509_to_pem(cert, &pem, err));
	ls_buf_done(out_pem);
	*out_pem = pem;
	pem = (struct ls_buf){ 0 };
	return LS_OK;
}

enum ls_code ls_issue_request(const struct ls_issue *issue, const struct ls_issue_vars *vars,
	EVP_PKEY *key, struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_x509_req_free) X509_REQ *request = X509_REQ_new();
	LS_CLEANUP(ls_build_exts_free) STACK_OF(X509_EXTENSION) *exts = NULL;
	LS_CLEANUP(ls_bio_free) BIO *bio = BIO_new(BIO_s_mem());
	LS_CLEANUP(name_free) X509_NAME *name = NULL;

	if (!request || !bio)
		return ls_ossl_fail(err, LS_E_CRYPTO, "make a request");
	LS_TRY(make_name(issue, vars, &name, err));
	LS_TRY(ls_build_request_key(request, key, err));
	LS_TRY(add_exts(issue, vars, key, &exts, err));
	if (X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
		X509_REQ_set_subject_name(request, name) != 1 ||
		X509_REQ_add_extensions(request, exts) != 1 ||
		X509_REQ_sign(request, key, ls_build_digest(key)) <= 0 ||
		PEM_write_bio_X509_REQ(bio, request) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "sign a request");
	ls_buf_clear(out_pem);
	ls_bio_take(bio, out_pem);
	return LS_OK;
}

bool ls_request_has_key(struct ls_bytes request_pem, const char *key_id)
{
	LS_CLEANUP(ls_bio_free) BIO *bio = BIO_new_mem_buf(request_pem.data, (int)request_pem.len);
	LS_CLEANUP(ls_x509_req_free) X509_REQ *request = NULL;
	EVP_PKEY *key;
	char id[65] = "";

	request = bio ? PEM_read_bio_X509_REQ(bio, NULL, ls_no_passphrase, NULL) : NULL;
	key = request ? X509_REQ_get0_pubkey(request) : NULL;
	if (key)
		ls_key_id(key, id);
	ERR_clear_error();
	return key && strcmp(id, key_id) == 0;
}
