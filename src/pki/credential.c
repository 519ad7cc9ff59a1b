#include "pki/credential.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "pki/build.h"
#include "pki/chain.h"
#include "pki/key.h"
#include "pki/ossl.h"
#include "pki/pem.h"
#include "pki/rules.h"
#include "pki/san.h"

void ls_cert_info_done(struct ls_cert_info *info)
{
	free(info->subject);
	free(info->issuer);
	free(info->serial);
	ls_free_strv(&info->sans);
	*info = (struct ls_cert_info){ 0 };
}

void ls_credential_done(struct ls_credential *credential)
{
	ls_buf_done(&credential->chain_pem);
	ls_buf_done(&credential->trust_pem);
	ls_secret_done(&credential->key_pem);
	ls_cert_info_done(&credential->info);
	ls_free_strv(&credential->warnings);
	*credential = (struct ls_credential){ 0 };
}

static void number_free(BIGNUM **number)
{
	BN_free(*number);
	*number = NULL;
}

static char *serial_text(const X509 *cert)
{
	LS_CLEANUP(number_free)
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;
	char *text = ls_strdup(hex ? hex : "");

	OPENSSL_free(hex);
	for (char *c = text; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c - 'A' + 'a');
	return text;
}

static enum ls_code read_times(
	const struct ls_chain *chain, size_t served, struct ls_cert_info *info, struct ls_err *err)
{
	for (size_t i = 0; i < served; i++) {
		int64_t from_s, to_s;

		if (!ls_rules_time(X509_get0_notBefore(chain->certs[i].x509), &from_s) ||
			!ls_rules_time(X509_get0_notAfter(chain->certs[i].x509), &to_s))
			return ls_ossl_fail(
				err, LS_E_REFUSED, "%s: validity", chain->certs[i].file);
		if (i == 0) {
			info->not_before_s = from_s;
			info->not_after_s = to_s;
		}
		if (i == 0 || to_s < info->chain_not_after_s)
			info->chain_not_after_s = to_s;
	}
	return LS_OK;
}

static enum ls_code read_info(
	const struct ls_chain *chain, size_t served, struct ls_cert_info *out, struct ls_err *err)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	LS_CLEANUP(ls_der_free) unsigned char *der = NULL;
	const struct ls_chain_cert *leaf = &chain->certs[0];
	struct ls_key_spec spec;
	int len = i2d_X509(leaf->x509, &der);

	if (len <= 0)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode a certificate");
	LS_TRY(read_times(chain, served, &info, err));
	ls_sha256_text((struct ls_bytes){ der, (size_t)len }, info.sha256);
	info.subject = ls_chain_subject(leaf->x509);
	info.issuer = ls_chain_issuer(leaf->x509);
	info.sans = ls_san_list(leaf->x509);
	info.serial = serial_text(leaf->x509);
	info.self_signed = leaf->self_signed;
	ls_key_describe(leaf->key, &spec);
	ls_key_spec_text(&spec, info.key);
	ls_key_id(leaf->key, info.key_id);
	ls_cert_info_done(out);
	*out = info;
	info = (struct ls_cert_info){ 0 };
	return LS_OK;
}

enum ls_code ls_cert_info_read(
	struct ls_bytes chain_pem, struct ls_cert_info *out, struct ls_err *err)
{
	LS_CLEANUP(ls_chain_done) struct ls_chain chain = { 0 };
	struct ls_chain_cert *leaf = &chain.certs[0];

	LS_TRY(ls_chain_read(&chain, "certificate", chain_pem, err));
	if (chain.count == 0)
		return LS_FAIL(err, LS_E_REFUSED, "certificate: found no CERTIFICATE block");
	leaf->self_signed =
		X509_check_issued(leaf->x509, leaf->x509) != X509_V_ERR_SUBJECT_ISSUER_MISMATCH &&
		X509_verify(leaf->x509, leaf->key) == 1;
	ERR_clear_error();
	return read_info(&chain, chain.count, out, err);
}

static enum ls_code check_size(
	const struct ls_credential_input *input, const struct ls_policy *policy, struct ls_err *err)
{
	size_t bytes = input->cert.bytes.len + input->chain.bytes.len + input->key.bytes.len;

	if (bytes <= (size_t)policy->intake_bytes_max)
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: size: found %zu bytes in all files together, wanted at most %lld",
		input->cert.name, bytes, (long long)policy->intake_bytes_max);
}

/* People bring other formats under these names; the words say how to turn them into PEM. */
static enum ls_code hint_format(const struct ls_named_bytes *file, struct ls_err *err)
{
	const unsigned char *bytes = file->bytes.data;

	if (file->bytes.len > 2 && bytes[0] == 0x30 && bytes[1] >= 0x80)
		LS_HINT(err, "this looks like DER: openssl x509 -inform DER -in FILE, or openssl "
			     "pkcs12 -in FILE, writes PEM");
	else if (file->bytes.len && memmem(bytes, file->bytes.len, "BEGIN PKCS7", 11))
		LS_HINT(err, "openssl pkcs7 -print_certs -in FILE writes certificates in PEM");
	return err ? err->code : LS_E_REFUSED;
}

static enum ls_code read_chain(
	const struct ls_credential_input *input, struct ls_chain *chain, struct ls_err *err)
{
	if (!input->cert.bytes.data)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: certificates: found no file, wanted a certificate",
			input->cert.name ? input->cert.name : "certificate");
	LS_TRY(ls_chain_read(chain, input->cert.name, input->cert.bytes, err));
	if (input->chain.bytes.data)
		LS_TRY(ls_chain_read(chain, input->chain.name, input->chain.bytes, err));
	if (ls_chain_order(chain, input->cert.name, err) == LS_OK)
		return LS_OK;
	return chain->count == 0 ? hint_format(&input->cert, err) : LS_E_REFUSED;
}

static enum ls_code has_private_key(
	const struct ls_named_bytes *file, bool *out, struct ls_err *err)
{
	LS_CLEANUP(ls_pem_done) struct ls_pem pem = { 0 };
	bool more = true;

	*out = false;
	LS_TRY(ls_pem_open(&pem, file->name, file->bytes, err));
	while (more && !*out) {
		LS_TRY(ls_pem_next(&pem, &more, err));
		*out = more && ls_pem_is_private_key(&pem);
	}
	return LS_OK;
}

/* The file that holds the key, NULL when none was given. */
static enum ls_code find_key(const struct ls_credential_input *input,
	const struct ls_named_bytes **out, struct ls_err *err)
{
	bool combined = false;

	*out = input->key.bytes.data ? &input->key : NULL;
	if (*out)
		return LS_OK;
	LS_TRY(has_private_key(&input->cert, &combined, err));
	if (combined)
		*out = &input->cert;
	return LS_OK;
}

/* A key file may carry the public half of another key: only a signature proves the private one. */
static bool proves(EVP_PKEY *private_key, EVP_PKEY *public_key)
{
	static const unsigned char words[] = "lockstep: do these two belong together?";
	LS_CLEANUP(ls_md_ctx_free) EVP_MD_CTX *sign = EVP_MD_CTX_new();
	LS_CLEANUP(ls_md_ctx_free) EVP_MD_CTX *verify = EVP_MD_CTX_new();
	LS_CLEANUP(ls_free_str) char *signature = NULL;
	const EVP_MD *md = ls_build_digest(private_key);
	size_t len = 0;

	if (!sign || !verify || EVP_DigestSignInit(sign, NULL, md, NULL, private_key) != 1 ||
		EVP_DigestSign(sign, NULL, &len, words, sizeof words) != 1)
		return false;
	signature = ls_alloc(len, 1);
	return EVP_DigestSign(sign, (unsigned char *)signature, &len, words, sizeof words) == 1 &&
	       EVP_DigestVerifyInit(verify, NULL, md, NULL, public_key) == 1 &&
	       EVP_DigestVerify(verify, (unsigned char *)signature, len, words, sizeof words) == 1;
}

static enum ls_code take_key(const struct ls_credential_input *input,
	const struct ls_named_bytes *file, const struct ls_chain_cert *leaf, struct ls_secret *out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) EVP_PKEY *key = NULL;
	struct ls_key_spec spec;
	bool match;
	char found[32];

	LS_TRY(ls_key_from_pem(file->name, file->bytes, input->passphrase, &key, err));
	match = EVP_PKEY_eq(key, leaf->key) == 1 && proves(key, leaf->key);
	ERR_clear_error();
	if (match)
		return ls_key_to_pem(key, out, err);
	ls_key_describe(key, &spec);
	ls_key_spec_text(&spec, found);
	return LS_FAIL(err, LS_E_REFUSED,
		"%s: key match: found a key (%s) that does not belong to '%s' in %s, wanted its "
		"private key",
		file->name, found, ls_chain_label(leaf->x509).text, leaf->file);
}

static enum ls_code write_chain(
	const struct ls_chain *chain, struct ls_credential *out, struct ls_err *err)
{
	size_t served = ls_chain_served(chain);
	const struct ls_chain_cert *top = &chain->certs[chain->count - 1];

	for (size_t i = 0; i < served; i++)
		LS_TRY(ls_x509_to_pem(chain->certs[i].x509, &out->chain_pem, err));
	if (chain->count > 1 || top->self_signed)
		LS_TRY(ls_x509_to_pem(top->x509, &out->trust_pem, err));
	return read_info(chain, served, &out->info, err);
}

enum ls_code ls_credential_judge(const struct ls_credential_input *input,
	const struct ls_policy *policy, struct ls_credential *out, struct ls_err *err)
{
	LS_CLEANUP(ls_chain_done) struct ls_chain chain = { 0 };
	LS_CLEANUP(ls_credential_done) struct ls_credential credential = { 0 };
	struct ls_rules rules = { .component = input->component,
		.policy = policy,
		.wanted_sans = input->wanted_sans,
		.now_s = input->now_s };
	const struct ls_named_bytes *key;

	LS_TRY(check_size(input, policy, err));
	LS_TRY(read_chain(input, &chain, err));
	LS_TRY(ls_rules_judge(&rules, &chain, &credential.warnings, err));
	LS_TRY(find_key(input, &key, err));
	if (key)
		LS_TRY(take_key(input, key, &chain.certs[0], &credential.key_pem, err));
	LS_TRY(write_chain(&chain, &credential, err));
	ls_credential_done(out);
	*out = credential;
	credential = (struct ls_credential){ 0 };
	return LS_OK;
}

enum ls_code ls_credential_rejudge(const char *component, struct ls_bytes chain_pem,
	const struct ls_policy *policy, int64_t now_s, struct ls_err *err)
{
	LS_CLEANUP(ls_chain_done) struct ls_chain chain = { 0 };
	LS_CLEANUP(ls_free_strv) char **warnings = NULL;
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s_cert.pem", component);
	struct ls_credential_input input = {
		.component = component, .cert = { file, chain_pem }, .now_s = now_s
	};
	struct ls_rules rules = { .component = component, .policy = policy, .now_s = now_s };

	LS_TRY(check_size(&input, policy, err));
	LS_TRY(read_chain(&input, &chain, err));
	return ls_rules_judge(&rules, &chain, &warnings, err);
}

bool ls_credential_matches(struct ls_bytes chain_pem, EVP_PKEY *key)
{
	LS_CLEANUP(ls_chain_done) struct ls_chain chain = { 0 };
	struct ls_err err;
	bool match;

	if (ls_chain_read(&chain, "certificate", chain_pem, &err) != LS_OK || chain.count == 0)
		return false;
	match = EVP_PKEY_eq(key, chain.certs[0].key) == 1;
	ERR_clear_error();
	return match;
}
