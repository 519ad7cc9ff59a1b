/* Odd certificates: the gate's verdict beside OpenSSL's own. What we take, OpenSSL takes as a TLS
 * server's: the same bytes, the root as the operator's anchor, RFC 5280 to the letter. What we
 * refuse although OpenSSL takes it falls under a rule that lockstep-policy(5) gives a reason for.
 */
#include <assert.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pki/credential.h"
#include "pki/key.h"
#include "tests/fuzz/support/der.h"
#include "tests/unit/runner.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define MIDDLE_MAX 8
#define EXTS_MAX 16

/* ---- building certificates out of pieces ---- */

/* The places at which a certificate can be odd. Values are hex, but for extensions. */
enum part {
	NOTHING,
	VERSION, /* the element in [0], "" for none */
	SERIAL,  /* the element */
	ALG_IN,  /* the AlgorithmIdentifier in the signed part */
	ALG_OUT, /* the one outside */
	ALG_BOTH,
	ISSUER, /* a Name */
	SUBJECT,
	VALIDITY, /* its two elements */
	SPKI,
	UNIQUE,    /* elements behind the key */
	EXT_ADD,   /* "name=value" as in openssl.cnf, or "OID=hex" */
	EXT_SET,   /* the same, in place of the one of that type */
	EXT_DROP,  /* "name" */
	EXTS,      /* all extensions: what is in [3], "" for none */
	SIGNATURE, /* the BIT STRING's content */
	TAIL,      /* bytes behind the certificate */
	NULLED,    /* the certificate is given, its signature's bytes are flipped */
};

struct change {
	enum part part;
	const char *value;
};

struct ext {
	const char *text;
};

struct spec {
	EVP_PKEY *key;    /* whose certificate it is */
	EVP_PKEY *signer; /* who signs */
	const char *cn;
	struct ext exts[EXTS_MAX];
	size_t ext_count;
	struct change changes[4];
	size_t change_count;
};

static EVP_PKEY *keys[3]; /* of root, middle and leaf */
static struct ls_policy policy;

static void add_hex(struct ls_buf *out, const char *hex)
{
	size_t len = strlen(hex) / 2;
	LS_CLEANUP(ls_free_str) char *bytes = ls_alloc(1, len + 1);

	ck_assert_msg(ls_unhex(hex, bytes, len), "'%s' is not hex", hex);
	ls_buf_add(out, bytes, len);
}

/* Replaces what `out` holds by an element around it. */
static void wrap(struct ls_buf *out, unsigned char tag)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf in = { 0 };

	ls_buf_copy(&in, out);
	ls_buf_clear(out);
	der_add(out, tag, ls_buf_bytes(&in));
}

static const char *changed(const struct spec *spec, enum part part)
{
	for (size_t i = 0; i < spec->change_count; i++)
		if (spec->changes[i].part == part)
			return spec->changes[i].value;
	return NULL;
}

static void add_name(struct ls_buf *out, const char *cn)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf name = { 0 };

	add_hex(&name, "0603550403");
	der_add(&name, 0x0c, LS_BYTES_STR(cn));
	wrap(&name, 0x30);
	wrap(&name, 0x31);
	wrap(&name, 0x30);
	ls_buf_add_bytes(out, ls_buf_bytes(&name));
}

static void add_key(struct ls_buf *out, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	ck_assert_int_gt(len, 0);
	ls_buf_add(out, der, (size_t)len);
	OPENSSL_free(der);
}

/* The names of openssl.cnf, with their OIDs as content in hex. */
static int nid_of(const char *text)
{
	LS_CLEANUP(ls_free_str) char *name = ls_strndup(text, strcspn(text, "="));

	return OBJ_txt2nid(name);
}

static void add_conf_ext(struct ls_buf *out, const char *text, X509 *subject, X509 *issuer)
{
	const char *value = strchr(text, '=');
	X509_EXTENSION *ext;
	unsigned char *der = NULL;
	X509V3_CTX ctx;
	int len;

	ck_assert_msg(value != NULL, "'%s'", text);
	X509V3_set_ctx(&ctx, issuer, subject, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid_of(text), value + 1);
	ck_assert_msg(ext != NULL, "extension '%s': %s", text,
		ERR_reason_error_string(ERR_peek_last_error()));
	len = i2d_X509_EXTENSION(ext, &der);
	ck_assert_int_gt(len, 0);
	ls_buf_add(out, der, (size_t)len);
	OPENSSL_free(der);
	X509_EXTENSION_free(ext);
}

/* "!2.5.29.17=3000": critical with '!', the value's bytes in hex. */
static void add_raw_ext(struct ls_buf *out, const char *text)
{
	bool critical = text[0] == '!';
	LS_CLEANUP(ls_free_str)
	char *oid = ls_strndup(text + critical, strcspn(text + critical, "="));
	LS_CLEANUP(ls_buf_done) struct ls_buf value = { 0 };
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	unsigned char *der = NULL;
	int len = i2d_ASN1_OBJECT(object, &der);
	LS_CLEANUP(ls_buf_done) struct ls_buf ext = { 0 };

	ck_assert_int_gt(len, 0);
	ls_buf_add(&ext, der, (size_t)len);
	OPENSSL_free(der);
	ASN1_OBJECT_free(object);
	if (critical)
		add_hex(&ext, "0101ff");
	add_hex(&value, strchr(text, '=') + 1);
	wrap(&value, 0x04);
	ls_buf_add_bytes(&ext, ls_buf_bytes(&value));
	wrap(&ext, 0x30);
	ls_buf_add_bytes(out, ls_buf_bytes(&ext));
}

static bool is_raw(const char *text)
{
	return text[0] == '!' || (text[0] >= '0' && text[0] <= '9');
}

static void add_ext(struct ls_buf *out, const char *text, X509 *subject, X509 *issuer)
{
	if (is_raw(text))
		add_raw_ext(out, text);
	else
		add_conf_ext(out, text, subject, issuer);
}

static bool same_type(const char *a, const char *b)
{
	LS_CLEANUP(ls_free_str) char *oid = NULL;

	if (is_raw(b)) {
		b += b[0] == '!';
		oid = ls_strndup(b, strcspn(b, "="));
		return nid_of(a) == OBJ_txt2nid(oid);
	}
	return nid_of(a) == nid_of(b);
}

static void add_exts(const struct spec *spec, struct ls_buf *out, X509 *subject, X509 *issuer)
{
	const char *all = changed(spec, EXTS);
	LS_CLEANUP(ls_buf_done) struct ls_buf exts = { 0 };

	if (all) {
		add_hex(&exts, all);
		if (exts.len)
			wrap(&exts, 0xa3);
		ls_buf_add_bytes(out, ls_buf_bytes(&exts));
		return;
	}
	for (size_t i = 0; i < spec->ext_count; i++) {
		const char *text = spec->exts[i].text;

		for (size_t k = 0; k < spec->change_count; k++) {
			const struct change *change = &spec->changes[k];

			if (change->part == EXT_DROP && same_type(text, change->value))
				text = NULL;
			else if (change->part == EXT_SET && same_type(text, change->value))
				text = change->value;
			if (!text)
				break;
		}
		if (text)
			add_ext(&exts, text, subject, issuer);
	}
	for (size_t k = 0; k < spec->change_count; k++)
		if (spec->changes[k].part == EXT_ADD)
			add_ext(&exts, spec->changes[k].value, subject, issuer);
	wrap(&exts, 0x30);
	wrap(&exts, 0xa3);
	ls_buf_add_bytes(out, ls_buf_bytes(&exts));
}

/* What key identifiers are made of. */
static X509 *stand_in(const char *cn, EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName, MBSTRING_UTF8,
		(const unsigned char *)cn, -1, -1, 0);
	X509_set_pubkey(cert, key);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_key_identifier, "hash");
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return cert;
}

static void or_hex(struct ls_buf *out, const struct spec *spec, enum part part, const char *plain)
{
	const char *hex = changed(spec, part);

	add_hex(out, hex ? hex : plain);
}

#define ECDSA_SHA256 "300a06082a8648ce3d040302"

static const char *algorithm(const struct spec *spec, enum part part)
{
	const char *hex = changed(spec, part);

	hex = hex ? hex : changed(spec, ALG_BOTH);
	return hex ? hex : ECDSA_SHA256;
}

static void sign(struct ls_bytes body, EVP_PKEY *key, struct ls_buf *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char made[513] = { 0 };
	size_t len = sizeof made - 1;

	ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
	ck_assert_int_eq(EVP_DigestSign(ctx, made + 1, &len, body.data, body.len), 1);
	EVP_MD_CTX_free(ctx);
	ls_buf_add(out, made, len + 1);
}

/* `parent` is the issuer's spec, the spec itself for a root. */
static void build(const struct spec *spec, const struct spec *parent, struct ls_buf *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf body = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf part = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	X509 *subject = stand_in(spec->cn, spec->key);
	X509 *issuer = spec == parent ? X509_dup(subject) : stand_in(parent->cn, parent->key);
	const char *version = changed(spec, VERSION), *names = changed(spec, ISSUER);
	static unsigned serial = 0x100000;
	char number[16];

	ls_buf_clear(out);
	add_hex(&part, version ? version : "020102");
	if (part.len)
		wrap(&part, 0xa0);
	ls_buf_add_bytes(&body, ls_buf_bytes(&part));
	(void)snprintf(number, sizeof number, "0203%06x", serial++);
	or_hex(&body, spec, SERIAL, number);
	add_hex(&body, algorithm(spec, ALG_IN));
	names = names ? names : changed(parent, SUBJECT);
	if (names)
		add_hex(&body, names);
	else
		add_name(&body, parent->cn);
	ls_buf_clear(&part);
	or_hex(&part, spec, VALIDITY,
		"170d3236303130313030303030305a170d3238303130313030303030305a");
	wrap(&part, 0x30);
	ls_buf_add_bytes(&body, ls_buf_bytes(&part));
	if (changed(spec, SUBJECT))
		add_hex(&body, changed(spec, SUBJECT));
	else
		add_name(&body, spec->cn);
	if (changed(spec, SPKI))
		add_hex(&body, changed(spec, SPKI));
	else
		add_key(&body, spec->key);
	or_hex(&body, spec, UNIQUE, "");
	add_exts(spec, &body, subject, issuer);
	wrap(&body, 0x30);
	if (changed(spec, SIGNATURE))
		add_hex(&signature, changed(spec, SIGNATURE));
	else
		sign(ls_buf_bytes(&body), spec->signer, &signature);
	if (changed(spec, NULLED))
		signature.data[signature.len - 1] ^= 1;
	add_hex(&body, algorithm(spec, ALG_OUT));
	der_add(&body, 0x03, ls_buf_bytes(&signature));
	wrap(&body, 0x30);
	or_hex(&body, spec, TAIL, "");
	ls_buf_add_bytes(out, ls_buf_bytes(&body));
	X509_free(subject);
	X509_free(issuer);
}

/* ---- the three that are good ---- */

enum who { ROOT, MID, LEAF };

static struct spec good(enum who who)
{
	static const char *const cns[] = { "Root", "Mid", "a.example" };
	struct spec spec = { .key = keys[who], .signer = keys[who ? who - 1 : 0], .cn = cns[who] };
	const char *const ca[] = { "basicConstraints=critical,CA:TRUE",
		"keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash",
		"authorityKeyIdentifier=keyid" };
	const char *const end[] = { "basicConstraints=critical,CA:FALSE",
		"keyUsage=critical,digitalSignature", "subjectKeyIdentifier=hash",
		"authorityKeyIdentifier=keyid", "extendedKeyUsage=serverAuth",
		"subjectAltName=DNS:a.example" };
	size_t count = who == LEAF ? LS_COUNT(end) : who == MID ? 4 : 3;

	for (size_t i = 0; i < count; i++)
		spec.exts[spec.ext_count++].text = who == LEAF ? end[i] : ca[i];
	return spec;
}

/* ---- the two verdicts ---- */

struct set {
	struct ls_buf certs[MIDDLE_MAX + 2]; /* leaf, what is between, root */
	size_t count;
	EVP_PKEY *key; /* given with it */
};

static void set_done(struct set *set)
{
	for (size_t i = 0; i < LS_COUNT(set->certs); i++)
		ls_buf_done(&set->certs[i]);
	set->count = 0;
}

static struct ls_err err;
static int64_t ends[2]; /* of the leaf, as each side reads it; 0: not read */

/* What RFC 5280 demands and private CAs leave out: no verifier refuses it unasked, and nothing
 * depends on it. lockstep-policy(5) says so. */
static bool waived(int why)
{
	return why == X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER ||
	       why == X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER ||
	       why == X509_V_ERR_CA_BCONS_NOT_CRITICAL ||
	       why == X509_V_ERR_CA_CERT_MISSING_KEY_USAGE;
}

static int last_fault;

static int on_fault(int ok, X509_STORE_CTX *ctx)
{
	int why = X509_STORE_CTX_get_error(ctx);

	if (ok || waived(why))
		return 1;
	last_fault = why;
	return 0;
}

/* As `openssl verify -x509_strict -purpose sslserver -CAfile ROOT -untrusted … LEAF` reads it: PEM,
 * so what stands behind the element is left. */
static X509 *read_cert(const struct ls_buf *der)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	BIO *bio;
	X509 *cert;

	der_to_pem(ls_buf_bytes(der), "CERTIFICATE", &pem);
	bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	return cert;
}

static bool openssl_takes(const struct set *set)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *between = sk_X509_new_null();
	X509 *leaf = read_cert(&set->certs[0]), *top = NULL;
	bool takes = leaf != NULL;
	struct tm tm;

	last_fault = X509_V_ERR_UNSPECIFIED;
	ends[1] = 0;
	for (size_t i = 1; takes && i < set->count; i++) {
		X509 *cert = read_cert(&set->certs[i]);

		takes = cert != NULL;
		if (cert && i + 1 == set->count)
			top = cert;
		else if (cert)
			(void)sk_X509_push(between, cert);
	}
	if (takes) {
		ck_assert_int_eq(X509_STORE_add_cert(store, top ? top : leaf), 1);
		ck_assert_int_eq(X509_STORE_CTX_init(ctx, store, leaf, between), 1);
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
		/* What is no root can still be what an operator trusts: -partial_chain. */
		if (top && !(X509_get_extension_flags(top) & EXFLAG_SS))
			X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
		X509_STORE_CTX_set_time(ctx, 0, NOW);
		ck_assert_int_eq(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER), 1);
		X509_STORE_CTX_set_verify_cb(ctx, on_fault);
		takes = X509_verify_cert(ctx) == 1 && X509_check_private_key(leaf, set->key) == 1;
	}
	if (leaf && ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) == 1)
		ends[1] = (int64_t)timegm(&tm);
	X509_free(leaf);
	X509_free(top);
	sk_X509_pop_free(between, X509_free);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return takes;
}

static bool we_take(const struct set *set)
{
	LS_CLEANUP(ls_credential_done) struct ls_credential out = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	struct ls_credential_input input = { .component = "proxy", .now_s = NOW };
	bool takes;

	for (size_t i = 0; i < set->count; i++)
		der_to_pem(ls_buf_bytes(&set->certs[i]), "CERTIFICATE", &pem);
	ck_ok(ls_key_to_pem(set->key, &key, &err));
	input.cert = (struct ls_named_bytes){ "f", ls_buf_bytes(&pem) };
	input.key = (struct ls_named_bytes){ "k", ls_secret_bytes(&key) };
	takes = ls_credential_judge(&input, &policy, &out, &err) == LS_OK;
	if (!takes)
		ck_assert_msg(err.code == LS_E_REFUSED && strstr(err.text, ": found ") &&
				      !strchr(err.text, '\n'),
			"a refusal without its form: %s", err.text);
	ends[0] = takes ? out.info.not_after_s : 0;
	return takes;
}

/* ---- where we are stricter, and why ---- */

static struct stricter {
	const char *rule;
	const char *why; /* in short; lockstep-policy(5) has it */
	size_t count;
} stricter[] = {
	{ "DER", "an encoding with two readings is read in two ways", 0 },
	{ "leaf", "exactly one certificate is served first; a CA is no leaf", 0 },
	{ "second leaf", "what is not on the path is not served", 0 },
	{ "certificate off the path", "what is not on the path is not served", 0 },
	{ "signature", "a root's own signature must hold as well", 0 },
	{ "key strength", "the policy's", 0 },
	{ "signature digest", "the policy's", 0 },
	{ "lifetime", "the policy's", 0 },
	{ "key usage", "TLS 1.3 signs", 0 },
	{ "extended key usage", "the policy's: it must be there", 0 },
	{ "critical extension", "nobody here knows it", 0 },
	{ "subject alternative name", "clients look at nothing else", 0 },
};

static size_t counts[2][2]; /* ours, OpenSSL's */

static bool is_documented(const char *text)
{
	const char *rule = strchr(text, ' ');

	for (size_t i = 0; rule && i < LS_COUNT(stricter); i++) {
		size_t len = strlen(stricter[i].rule);

		if (strncmp(rule + 1, stricter[i].rule, len) == 0 && rule[1 + len] == ':') {
			stricter[i].count++;
			return true;
		}
	}
	return false;
}

/* The one thing in which we are more lenient: clocks of nodes and CAs differ. */
static bool is_early(const struct set *set)
{
	X509 *leaf = read_cert(&set->certs[0]);
	time_t late = NOW + 300;
	bool early = leaf && last_fault == X509_V_ERR_CERT_NOT_YET_VALID &&
		     X509_cmp_time(X509_get0_notBefore(leaf), &late) <= 0;

	X509_free(leaf);
	return early;
}

static size_t differences;

/* All of them are told, not only the first. */
static void differs(const char *class, const char *name, const char *why)
{
	differences++;
	printf("%s, %s: %s\n", class, name, why);
}

static void compare(const struct set *set, const char *class, const char *name)
{
	bool theirs = openssl_takes(set), ours = we_take(set);

	counts[ours][theirs]++;
	if (ours != theirs && getenv("LOCKSTEP_SAY"))
		printf("%s, %s: %s\n", class, name,
			ours ? X509_verify_cert_error_string(last_fault) : err.text);
	if (ours && theirs && ends[0] != ends[1])
		differs(class, name, "two readings of its end");
	if (ours && !theirs && !is_early(set))
		differs(class, name, X509_verify_cert_error_string(last_fault));
	if (!ours && theirs && !is_documented(err.text))
		differs(class, name, err.text);
}

/* ---- what is odd about one certificate, wherever it stands ---- */

#define P256_OID "06082a8648ce3d030107"
#define RSA_SHA256 "300d06092a864886f70d01010b0500"

static const struct odd {
	const char *class, *name;
	struct change change;
} odds[] = {
	{ "version", "1, with extensions", { VERSION, "" } },
	{ "version", "1, spelled out", { VERSION, "020100" } },
	{ "version", "2", { VERSION, "020101" } },
	{ "version", "4", { VERSION, "020103" } },
	{ "version", "255", { VERSION, "020200ff" } },
	{ "version", "negative", { VERSION, "0201ff" } },
	{ "version", "no number", { VERSION, "040102" } },
	{ "version", "of no bytes", { VERSION, "0200" } },
	{ "version", "padded", { VERSION, "02020002" } },
	{ "serial", "0", { SERIAL, "020100" } },
	{ "serial", "-1", { SERIAL, "0201ff" } },
	{ "serial", "-128", { SERIAL, "020180" } },
	{ "serial", "20 bytes", { SERIAL, "02147fffffffffffffffffffffffffffffffffffffff" } },
	{ "serial", "20 bytes, negative",
		{ SERIAL, "0214ffffffffffffffffffffffffffffffffffffff00" } },
	{ "serial", "21 bytes", { SERIAL, "021500ffffffffffffffffffffffffffffffffffffffff" } },
	{ "serial", "40 bytes",
		{ SERIAL, "02287fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
			  "ffffffffffffff" } },
	{ "serial", "padded", { SERIAL, "02020001" } },
	{ "serial", "padded negative", { SERIAL, "0202ffff" } },
	{ "serial", "of no bytes", { SERIAL, "0200" } },
	{ "serial", "text", { SERIAL, "0c0131" } },
	{ "serial", "enumerated", { SERIAL, "0a0101" } },
	{ "algorithm", "inside SHA-384", { ALG_IN, "300a06082a8648ce3d040303" } },
	{ "algorithm", "outside SHA-384", { ALG_OUT, "300a06082a8648ce3d040303" } },
	{ "algorithm", "both SHA-384", { ALG_BOTH, "300a06082a8648ce3d040303" } },
	{ "algorithm", "NULL parameters", { ALG_BOTH, "300c06082a8648ce3d0403020500" } },
	{ "algorithm", "NULL parameters inside", { ALG_IN, "300c06082a8648ce3d0403020500" } },
	{ "algorithm", "NULL parameters outside", { ALG_OUT, "300c06082a8648ce3d0403020500" } },
	{ "algorithm", "parameters of a sequence", { ALG_BOTH, "300c06082a8648ce3d0403023000" } },
	{ "algorithm", "RSA for an EC key", { ALG_BOTH, RSA_SHA256 } },
	{ "algorithm", "RSA inside", { ALG_IN, RSA_SHA256 } },
	{ "algorithm", "RSA without parameters", { ALG_BOTH, "300b06092a864886f70d01010b" } },
	{ "algorithm", "PSS without parameters", { ALG_BOTH, "300b06092a864886f70d01010a" } },
	{ "algorithm", "PSS of an empty sequence", { ALG_BOTH, "300d06092a864886f70d01010a3000" } },
	{ "algorithm", "ECDSA with SHA-1", { ALG_BOTH, "300906072a8648ce3d0401" } },
	{ "algorithm", "MD5", { ALG_BOTH, "300d06092a864886f70d0101040500" } },
	{ "algorithm", "Ed25519", { ALG_BOTH, "300506032b6570" } },
	{ "algorithm", "unknown", { ALG_BOTH, "300506032a0304" } },
	{ "algorithm", "no OID", { ALG_BOTH, "30030c0131" } },
	{ "algorithm", "empty", { ALG_BOTH, "3000" } },
	{ "signature", "flipped", { NULLED, "" } },
	{ "signature", "empty", { SIGNATURE, "00" } },
	{ "signature", "of no bits", { SIGNATURE, "" } },
	{ "signature", "unused bits", { SIGNATURE, "0730060201010201f0" } },
	{ "signature", "zeros", { SIGNATURE, "003006020100020100" } },
	{ "signature", "ones", { SIGNATURE, "003006020101020101" } },
	{ "signature", "negative", { SIGNATURE, "0030060201ff0201ff" } },
	{ "subject", "empty", { SUBJECT, "3000" } },
	{ "subject", "Printable", { SUBJECT, "300c310a3008060355040313014a" } },
	{ "subject", "Teletex", { SUBJECT, "300c310a3008060355040314014a" } },
	{ "subject", "BMP", { SUBJECT, "300d310b300906035504031e02004a" } },
	{ "subject", "BMP of one byte", { SUBJECT, "300c310a300806035504031e014a" } },
	{ "subject", "Universal", { SUBJECT, "300f310d300b06035504031c040000004a" } },
	{ "subject", "IA5 beyond ASCII", { SUBJECT, "300c310a30080603550403160180" } },
	{ "subject", "Printable beyond its letters", { SUBJECT, "300c310a3008060355040313012a" } },
	{ "subject", "broken UTF-8", { SUBJECT, "300d310b300906035504030c02c328" } },
	{ "subject", "a NUL within", { SUBJECT, "300e310c300a06035504030c03610062" } },
	{ "subject", "a newline within", { SUBJECT, "300e310c300a06035504030c03610a62" } },
	{ "subject", "an integer", { SUBJECT, "300c310a3008060355040302014a" } },
	{ "subject", "two in a set",
		{ SUBJECT, "3016311430080603550403130161300806035504030c0162" } },
	{ "subject", "an empty set", { SUBJECT, "30023100" } },
	{ "subject", "no OID", { SUBJECT, "300a3108300613014a13014a" } },
	{ "subject", "a set outside", { SUBJECT, "310c310a3008060355040313014a" } },
	{ "subject", "empty text", { SUBJECT, "300b3109300706035504030c00" } },
	{ "subject", "a country of three letters",
		{ SUBJECT, "300e310c300a06035504061303444555" } },
	{ "issuer", "empty", { ISSUER, "3000" } },
	{ "issuer", "another", { ISSUER, "300c310a3008060355040313014a" } },
	{ "issuer", "no name", { ISSUER, "0500" } },
	{ "validity", "past",
		{ VALIDITY, "170d3230303130313030303030305a170d3231303130313030303030305a" } },
	{ "validity", "future",
		{ VALIDITY, "170d3237303630313030303030305a170d3238303130313030303030305a" } },
	{ "validity", "reversed",
		{ VALIDITY, "170d3238303130313030303030305a170d3236303130313030303030305a" } },
	{ "validity", "four minutes ahead",
		{ VALIDITY, "170d3237303131353038303430305a170d3238303130313030303030305a" } },
	{ "validity", "six minutes ahead",
		{ VALIDITY, "170d3237303131353038303630305a170d3238303130313030303030305a" } },
	{ "validity", "ends now",
		{ VALIDITY, "170d3236303130313030303030305a170d3237303131353038303030305a" } },
	{ "validity", "ended a second ago",
		{ VALIDITY, "170d3236303130313030303030305a170d3237303131353037353935395a" } },
	{ "validity", "without seconds",
		{ VALIDITY, "170b323630313031303030305a170d3238303130313030303030305a" } },
	{ "validity", "end without seconds",
		{ VALIDITY, "170d3236303130313030303030305a170b323830313031303030305a" } },
	{ "validity", "with an offset",
		{ VALIDITY, "170d3236303130313030303030305a1711323830313031303030303030"
			    "2b30313030" } },
	{ "validity", "begins with an offset",
		{ VALIDITY,
			"17113236303130313030303030302b30313030170d3238303130313030303030305a" } },
	{ "validity", "general time",
		{ VALIDITY,
			"180f32303236303130313030303030305a180f32303238303130313030303030305a" } },
	{ "validity", "the end of time",
		{ VALIDITY, "170d3236303130313030303030305a180f39393939313233313233353935395a" } },
	{ "validity", "a fraction",
		{ VALIDITY,
			"170d3236303130313030303030305a181132303238303130313030303030302e355a" } },
	{ "validity", "general time with an offset",
		{ VALIDITY, "170d3236303130313030303030305a181332303238303130313030303030302b303130"
			    "30" } },
	{ "validity", "general time without zone",
		{ VALIDITY, "170d3236303130313030303030305a180e3230323830313031303030303030" } },
	{ "validity", "month 13",
		{ VALIDITY, "170d3236303130313030303030305a170d3238313330313030303030305a" } },
	{ "validity", "the 31st of February",
		{ VALIDITY, "170d3236303130313030303030305a170d3238303233313030303030305a" } },
	{ "validity", "hour 24",
		{ VALIDITY, "170d3236303130313030303030305a170d3238303130313234303030305a" } },
	{ "validity", "second 60",
		{ VALIDITY, "170d3236303130313030303030305a170d3238303130313030303036305a" } },
	{ "validity", "letters",
		{ VALIDITY, "170d3236303130313030303030305a170d6161616161616161616161615a" } },
	{ "validity", "year 0",
		{ VALIDITY, "180f30303030303130313030303030305a170d3238303130313030303030305a" } },
	{ "validity", "1950",
		{ VALIDITY, "170d3530303130313030303030305a170d3238303130313030303030305a" } },
	{ "validity", "one time only", { VALIDITY, "170d3238303130313030303030305a" } },
	{ "validity", "three times",
		{ VALIDITY, "170d3236303130313030303030305a170d3238303130313030303030305a"
			    "170d3238303130313030303030305a" } },
	{ "validity", "integers", { VALIDITY, "020101020102" } },
	{ "key", "none", { SPKI, "3000" } },
	{ "key", "a point off the curve",
		{ SPKI, "305930130607"
			"2a8648ce3d0201" P256_OID "034200"
			"04000000000000000000000000000000000000000000000000000000000000000"
			"1000000000000000000000000000000000000000000000000000000000000000"
			"1" } },
	{ "key", "the point at infinity",
		{ SPKI, "30193013060"
			"72a8648ce3d0201" P256_OID "03020000" } },
	{ "key", "an unknown curve", { SPKI, "3015300e06072a8648ce3d020106032a030403030004aa" } },
	{ "key", "an unknown kind", { SPKI, "300c300506032a0304030300aabb" } },
	{ "key", "RSA of modulus 0",
		{ SPKI, "301a300d06092a864886f70d0101010500030900300602010002010"
			"3" } },
	{ "key", "unused bits", { SPKI, "300c300506032b6570030304aabb" } },
	{ "unique id", "issuer's", { UNIQUE, "81020001" } },
	{ "unique id", "subject's", { UNIQUE, "82020001" } },
	{ "unique id", "both in the wrong order", { UNIQUE, "8202000181020001" } },
	{ "extensions", "none", { EXTS, "" } },
	{ "extensions", "an empty list", { EXTS, "3000" } },
	{ "extensions", "an empty one", { EXTS, "30023000" } },
	{ "extensions", "no list", { EXTS, "0500" } },
	{ "extensions", "of a set", { EXTS, "3100" } },
	{ "extensions", "critical of FALSE", { EXT_ADD, "1.3.6.1.4.1.55555.1=0500" } },
	{ "unknown", "critical", { EXT_ADD, "!1.3.6.1.4.1.55555.1=0500" } },
	{ "unknown", "plain", { EXT_ADD, "1.3.6.1.4.1.55555.1=0500" } },
	{ "unknown", "plain, empty", { EXT_ADD, "1.3.6.1.4.1.55555.1=" } },
	{ "unknown", "critical nonce", { EXT_ADD, "!1.3.6.1.5.5.7.48.1.2=0500" } },
	{ "unknown", "critical CRL distribution",
		{ EXT_ADD, "crlDistributionPoints=critical,URI:http://x.example/c" } },
	{ "unknown", "critical subject directory", { EXT_ADD, "!2.5.29.9=3000" } },
	{ "unknown", "critical private key usage period", { EXT_ADD, "!2.5.29.16=3000" } },
	{ "unknown", "critical freshest CRL",
		{ EXT_ADD, "freshestCRL=critical,URI:http://x.example/c" } },
	{ "twice", "basic constraints", { EXT_ADD, "basicConstraints=CA:FALSE" } },
	{ "twice", "basic constraints, CA", { EXT_ADD, "basicConstraints=CA:TRUE" } },
	{ "twice", "key usage", { EXT_ADD, "keyUsage=digitalSignature,keyCertSign" } },
	{ "twice", "extended key usage", { EXT_ADD, "extendedKeyUsage=clientAuth" } },
	{ "twice", "alternative names", { EXT_ADD, "subjectAltName=DNS:b.example" } },
	{ "twice", "subject key identifier", { EXT_ADD, "subjectKeyIdentifier=hash" } },
	{ "twice", "authority key identifier", { EXT_ADD, "2.5.29.35=300480020102" } },
	{ "constraints", "none", { EXT_DROP, "basicConstraints" } },
	{ "constraints", "CA", { EXT_SET, "basicConstraints=critical,CA:TRUE" } },
	{ "constraints", "CA, not critical", { EXT_SET, "basicConstraints=CA:TRUE" } },
	{ "constraints", "no CA", { EXT_SET, "basicConstraints=critical,CA:FALSE" } },
	{ "constraints", "no CA, a length", { EXT_SET, "!2.5.29.19=3003020100" } },
	{ "constraints", "no CA, spelled out", { EXT_SET, "!2.5.29.19=3003010100" } },
	{ "constraints", "TRUE of 01", { EXT_SET, "!2.5.29.19=3003010101" } },
	{ "constraints", "length 0", { EXT_SET, "basicConstraints=critical,CA:TRUE,pathlen:0" } },
	{ "constraints", "length 1", { EXT_SET, "basicConstraints=critical,CA:TRUE,pathlen:1" } },
	{ "constraints", "length -1", { EXT_SET, "!2.5.29.19=30060101ff0201ff" } },
	{ "constraints", "length of 9 bytes",
		{ EXT_SET, "!2.5.29.19=300e0101ff020900ffffffffffffffff" } },
	{ "constraints", "cut off", { EXT_SET, "!2.5.29.19=3006" } },
	{ "constraints", "empty", { EXT_SET, "!2.5.29.19=" } },
	{ "constraints", "bytes behind", { EXT_SET, "!2.5.29.19=30030101ff00" } },
	{ "constraints", "elements behind", { EXT_SET, "!2.5.29.19=30090101ff020100020100" } },
	{ "usage", "none", { EXT_DROP, "keyUsage" } },
	{ "usage", "keyEncipherment", { EXT_SET, "keyUsage=critical,keyEncipherment" } },
	{ "usage", "keyAgreement", { EXT_SET, "keyUsage=critical,keyAgreement" } },
	{ "usage", "nonRepudiation", { EXT_SET, "keyUsage=critical,nonRepudiation" } },
	{ "usage", "cRLSign", { EXT_SET, "keyUsage=critical,cRLSign" } },
	{ "usage", "keyCertSign", { EXT_SET, "keyUsage=critical,keyCertSign" } },
	{ "usage", "both", { EXT_SET, "keyUsage=critical,digitalSignature,keyCertSign" } },
	{ "usage", "both, not critical", { EXT_SET, "keyUsage=digitalSignature,keyCertSign" } },
	{ "usage", "no bits", { EXT_SET, "!2.5.29.15=030100" } },
	{ "usage", "zero bits", { EXT_SET, "!2.5.29.15=03020700" } },
	{ "usage", "16 bits", { EXT_SET, "!2.5.29.15=03030780ff" } },
	{ "usage", "unused bits set", { EXT_SET, "!2.5.29.15=030207ff" } },
	{ "usage", "an integer", { EXT_SET, "!2.5.29.15=020101" } },
	{ "usage", "cut off", { EXT_SET, "!2.5.29.15=0302" } },
	{ "purpose", "none", { EXT_DROP, "extendedKeyUsage" } },
	{ "purpose", "server", { EXT_ADD, "extendedKeyUsage=serverAuth" } },
	{ "purpose", "clientAuth", { EXT_SET, "extendedKeyUsage=clientAuth" } },
	{ "purpose", "mail, in addition", { EXT_ADD, "extendedKeyUsage=emailProtection" } },
	{ "purpose", "mail", { EXT_SET, "extendedKeyUsage=emailProtection" } },
	{ "purpose", "any", { EXT_SET, "extendedKeyUsage=anyExtendedKeyUsage" } },
	{ "purpose", "any, in addition", { EXT_ADD, "extendedKeyUsage=anyExtendedKeyUsage" } },
	{ "purpose", "server and OCSP",
		{ EXT_SET, "extendedKeyUsage=critical,serverAuth,OCSPSigning" } },
	{ "purpose", "time stamping", { EXT_ADD, "extendedKeyUsage=critical,timeStamping" } },
	{ "purpose", "server gated", { EXT_SET, "extendedKeyUsage=msSGC" } },
	{ "purpose", "Netscape gated", { EXT_SET, "extendedKeyUsage=nsSGC" } },
	{ "purpose", "unknown", { EXT_SET, "extendedKeyUsage=1.2.3.4" } },
	{ "purpose", "empty list", { EXT_SET, "2.5.29.37=3000" } },
	{ "purpose", "server twice", { EXT_SET, "extendedKeyUsage=serverAuth,serverAuth" } },
	{ "purpose", "cut off", { EXT_SET, "2.5.29.37=300a" } },
	{ "Netscape type", "server", { EXT_ADD, "nsCertType=server" } },
	{ "Netscape type", "client", { EXT_ADD, "nsCertType=client" } },
	{ "Netscape type", "mail CA", { EXT_ADD, "nsCertType=emailCA" } },
	{ "names", "none", { EXT_DROP, "subjectAltName" } },
	{ "names", "an empty list", { EXT_SET, "2.5.29.17=3000" } },
	{ "names", "critical", { EXT_SET, "subjectAltName=critical,DNS:a.example" } },
	{ "names", "an empty name", { EXT_SET, "2.5.29.17=30028200" } },
	{ "names", "a NUL within", { EXT_SET, "2.5.29.17=30098207612e6500782e79" } },
	{ "names", "beyond ASCII", { EXT_SET, "2.5.29.17=30048202c3a4" } },
	{ "names", "a blank",
		{ EXT_SET, "2.5.29.17=300382"
			   "0120" } },
	{ "names", "an address of 3 bytes", { EXT_SET, "2.5.29.17=300587037f0000" } },
	{ "names", "an address of 16 bytes", { EXT_SET, "subjectAltName=IP:2001:db8::1" } },
	{ "names", "a directory name", { EXT_SET, "2.5.29.17=3004a4023000" } },
	{ "names", "a registered id", { EXT_SET, "subjectAltName=RID:1.2.3.4" } },
	{ "names", "another name", { EXT_SET, "2.5.29.17=300ca00a06032a0304a0030c0131" } },
	{ "names", "tag 9", { EXT_SET, "2.5.29.17=3003890161" } },
	{ "names", "a constructed DNS name", { EXT_SET, "2.5.29.17=3005a203160161" } },
	{ "names", "wildcards", { EXT_SET, "subjectAltName=DNS:*.*.example,DNS:*,DNS:f*.x" } },
	{ "names", "cut off", { EXT_SET, "2.5.29.17=300d820b612e" } },
	{ "names", "bytes behind", { EXT_SET, "2.5.29.17=300382016100" } },
	{ "name constraints", "permitted",
		{ EXT_ADD, "nameConstraints=critical,permitted;DNS:example" } },
	{ "name constraints", "permitted elsewhere",
		{ EXT_ADD, "nameConstraints=critical,permitted;DNS:other" } },
	{ "name constraints", "excluded",
		{ EXT_ADD, "nameConstraints=critical,excluded;DNS:a.example" } },
	{ "name constraints", "excluded, not critical",
		{ EXT_ADD, "nameConstraints=excluded;DNS:example" } },
	{ "name constraints", "of addresses",
		{ EXT_ADD, "nameConstraints=critical,permitted;IP:10.0.0.0/255.0.0.0" } },
	{ "name constraints", "of directories",
		{ EXT_ADD, "!2.5.29.30=300aa0083006a4043002"
			   "3100" } },
	{ "name constraints", "an odd mask",
		{ EXT_ADD, "!2.5.29.30=300da00b300987070a0000ff0000ff" } },
	{ "name constraints", "a minimum",
		{ EXT_ADD, "!2.5.29.30=300ea00c300a8205"
			   "6578616d70"
			   "800101" } },
	{ "name constraints", "empty", { EXT_ADD, "!2.5.29.30=3000" } },
	{ "name constraints", "an empty subtree", { EXT_ADD, "!2.5.29.30=3002a000" } },
	{ "name constraints", "an empty name", { EXT_ADD, "!2.5.29.30=3006a10430028200" } },
	{ "name constraints", "registered ids",
		{ EXT_ADD, "!2.5.29.30=3009a00730058803"
			   "2a0304" } },
	{ "identifiers", "no subject's", { EXT_DROP, "subjectKeyIdentifier" } },
	{ "identifiers", "no authority's", { EXT_DROP, "authorityKeyIdentifier" } },
	{ "identifiers", "another subject's", { EXT_SET, "2.5.29.14=04020102" } },
	{ "identifiers", "an empty subject's", { EXT_SET, "2.5.29.14=0400" } },
	{ "identifiers", "a critical subject's", { EXT_SET, "!2.5.29.14=04020102" } },
	{ "identifiers", "another authority's", { EXT_SET, "2.5.29.35=300480020102" } },
	{ "identifiers", "a critical authority's", { EXT_SET, "!2.5.29.35=300480020102" } },
	{ "identifiers", "an empty authority's", { EXT_SET, "2.5.29.35=3000" } },
	{ "identifiers", "a serial only", { EXT_SET, "2.5.29.35=3003820101" } },
	{ "identifiers", "cut off", { EXT_SET, "2.5.29.35=3004" } },
	{ "policies", "one", { EXT_ADD, "2.5.29.32=3007300506032a0304" } },
	{ "policies", "critical", { EXT_ADD, "!2.5.29.32=3007300506032a0304" } },
	{ "policies", "twice the same", { EXT_ADD, "2.5.29.32=300e300506032a0304300506032a0304" } },
	{ "policies", "an empty list", { EXT_ADD, "2.5.29.32=3000" } },
	{ "policies", "cut off", { EXT_ADD, "!2.5.29.32=3005" } },
	{ "policies", "explicit required",
		{ EXT_ADD, "policyConstraints=critical,requireExplicitPolicy:0" } },
	{ "policies", "mapping inhibited",
		{ EXT_ADD, "policyConstraints=critical,inhibitPolicyMapping:0" } },
	{ "policies", "empty constraints", { EXT_ADD, "!2.5.29.36=3000" } },
	{ "policies", "any inhibited", { EXT_ADD, "inhibitAnyPolicy=critical,0" } },
	{ "policies", "any to any", { EXT_ADD, "!2.5.29.33=300e300c0604551d20000604551d2000" } },
	{ "addresses", "RFC 3779, critical", { EXT_ADD, "!1.3.6.1.5.5.7.1.7=3000" } },
	{ "addresses", "RFC 3779, of all",
		{ EXT_ADD, "sbgp-ipAddrBlock=critical,IPv4:0.0.0.0/0" } },
	{ "addresses", "AS numbers", { EXT_ADD, "sbgp-autonomousSysNum=critical,AS:1" } },
	{ "proxy", "a proxy certificate",
		{ EXT_ADD, "!1.3.6.1.5.5.7.1.14=300c300a06082b06010505071501" } },
	{ "TLS feature", "staple", { EXT_ADD, "tlsfeature=status_request" } },
	{ "TLS feature", "critical staple", { EXT_ADD, "tlsfeature=critical,status_request" } },
	{ "poison", "a precertificate", { EXT_ADD, "!1.3.6.1.4.1.11129.2.4.3=0500" } },
	{ "behind", "a byte", { TAIL, "00" } },
	{ "behind", "an element", { TAIL, "0500" } },
	{ "behind", "half an element", { TAIL, "3082" } },
};

static void make_set(struct set *set, const struct spec specs[3])
{
	set_done(set);
	for (int who = LEAF; who >= ROOT; who--)
		build(&specs[who], &specs[who ? who - 1 : 0], &set->certs[set->count++]);
	set->key = keys[LEAF];
}

static void setup(void)
{
	for (size_t i = 0; i < LS_COUNT(keys); i++)
		keys[i] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	ck_ok(ls_policy_parse("p", "default", LS_BYTES_STR(""), &policy, &err));
	memset(counts, 0, sizeof counts);
}

static void teardown(void)
{
	for (size_t i = 0; i < LS_COUNT(keys); i++)
		EVP_PKEY_free(keys[i]);
	ls_policy_done(&policy);
}

static size_t report(const char *what)
{
	size_t all = counts[0][0] + counts[0][1] + counts[1][0] + counts[1][1];

	printf("%s: %zu certificates with their chains: both take %zu, both refuse %zu, we alone "
	       "refuse %zu, we alone take %zu\n",
		what, all, counts[1][1], counts[0][0], counts[0][1], counts[1][0]);
	for (size_t i = 0; i < LS_COUNT(stricter); i++)
		if (stricter[i].count)
			printf("  stricter by '%s' (%s): %zu\n", stricter[i].rule, stricter[i].why,
				stricter[i].count);
	fflush(stdout);
	ck_assert_uint_eq(differences, 0);
	return all;
}

static_assert(3 * LS_COUNT(odds) >= 400, "fewer odd certificates than promised");

static void each_at(enum who who, const char *place)
{
	struct set set = { 0 };
	struct spec specs[3];

	for (int k = ROOT; k <= LEAF; k++)
		specs[k] = good((enum who)k);
	make_set(&set, specs);
	ck_assert_msg(openssl_takes(&set) && we_take(&set), "the good one: %s", err.text);
	for (size_t i = 0; i < LS_COUNT(odds); i++) {
		LS_CLEANUP(ls_free_str)
		char *name = ls_format("%s, at the %s", odds[i].name, place);

		specs[who] = good(who);
		specs[who].changes[specs[who].change_count++] = odds[i].change;
		make_set(&set, specs);
		compare(&set, odds[i].class, name);
	}
	ck_assert_uint_eq(report(place), LS_COUNT(odds));
	ck_assert_uint_gt(counts[1][1], 20);
	ck_assert_uint_gt(counts[0][0], 20);
	set_done(&set);
}

START_TEST(an_odd_leaf_gets_the_same_verdict_or_a_stricter_one)
{
	each_at(LEAF, "leaf");
}
END_TEST

START_TEST(an_odd_issuer_gets_the_same_verdict_or_a_stricter_one)
{
	each_at(MID, "middle");
}
END_TEST

START_TEST(an_odd_root_gets_the_same_verdict_or_a_stricter_one)
{
	each_at(ROOT, "root");
}
END_TEST

/* ---- odd chains ---- */

/* A chain of `count` CAs between, each changed by `change` (may be NULL). */
static void long_chain(struct set *set, size_t count, const struct change *change)
{
	struct spec specs[MIDDLE_MAX + 2];
	char names[MIDDLE_MAX + 2][8];

	set_done(set);
	specs[0] = good(ROOT);
	for (size_t i = 1; i <= count; i++) {
		specs[i] = good(MID);
		(void)snprintf(names[i], sizeof names[i], "M%zu", i);
		specs[i].cn = names[i];
		specs[i].signer = specs[i - 1].key;
		if (change)
			specs[i].changes[specs[i].change_count++] = *change;
	}
	specs[count + 1] = good(LEAF);
	specs[count + 1].signer = specs[count].key;
	for (size_t i = count + 2; i > 0; i--)
		build(&specs[i - 1], &specs[i > 1 ? i - 2 : 0], &set->certs[set->count++]);
	set->key = keys[LEAF];
}

START_TEST(odd_chains_get_the_same_verdict_or_a_stricter_one)
{
	static const char *const lengths[] = { "basicConstraints=critical,CA:TRUE,pathlen:0",
		"basicConstraints=critical,CA:TRUE,pathlen:1",
		"basicConstraints=critical,CA:TRUE,pathlen:2",
		"basicConstraints=critical,CA:TRUE,pathlen:7" };
	struct set set = { 0 };
	struct spec specs[3];

	for (size_t count = 0; count <= MIDDLE_MAX; count++) {
		long_chain(&set, count, NULL);
		compare(&set, "lengths", "none");
		for (size_t i = 0; i < LS_COUNT(lengths); i++) {
			const struct change change = { EXT_SET, lengths[i] };

			long_chain(&set, count, &change);
			compare(&set, "lengths", lengths[i]);
		}
	}
	for (int what = 0; what < 8; what++) {
		struct ls_buf kept;

		for (int who = ROOT; who <= LEAF; who++)
			specs[who] = good((enum who)who);
		if (what == 0) /* a middle that issued itself */
			specs[MID].changes[specs[MID].change_count++] =
				(struct change){ ISSUER, "300e310c300a06035504030c034d6964" };
		if (what == 1) /* two of the same name and key */
			specs[MID].cn = specs[ROOT].cn;
		if (what == 2) /* the leaf has its issuer's name */
			specs[LEAF].cn = specs[MID].cn;
		if (what == 3) /* the leaf's key is its issuer's */
			specs[LEAF].key = keys[MID];
		if (what == 4) /* signed by the root, but named after the middle */
			specs[LEAF].signer = keys[ROOT];
		make_set(&set, specs);
		if (what == 3)
			set.key = keys[MID];
		if (what == 5) /* the private key is another */
			set.key = keys[MID];
		kept = set.certs[0];
		if (what == 6) { /* the root comes first */
			set.certs[0] = set.certs[2];
			set.certs[2] = kept;
		}
		if (what == 7) { /* the middle is missing */
			ls_buf_done(&set.certs[1]);
			set.certs[1] = set.certs[2];
			set.certs[2] = (struct ls_buf){ 0 };
			set.count = 2;
		}
		if (what != 6) /* OpenSSL is told which one is the leaf */
			compare(&set, "chains", "structure");
	}
	ck_assert_uint_ge(report("odd chains"), 50);
	set_done(&set);
}
END_TEST

/* ---- changes by chance ---- */

static uint32_t chance;

static uint32_t below(size_t n)
{
	chance ^= chance << 13;
	chance ^= chance >> 17;
	chance ^= chance << 5;
	return (uint32_t)(chance % n);
}

/* Changes one element of a certificate; its signature is made anew, so that the change is all. */
static void change_element(struct ls_buf *cert, EVP_PKEY *signer)
{
	static const unsigned char tags[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16,
		0x17, 0x18, 0x1e, 0x30, 0x31, 0x82, 0xa0, 0xa3 };
	static struct der_node nodes[256];
	LS_CLEANUP(ls_buf_done) struct ls_buf from = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf put = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	struct der_node outer, body, algorithm, last;
	size_t count = der_nodes(ls_buf_bytes(cert), nodes, LS_COUNT(nodes));
	const struct der_node *node = &nodes[below(count)], *other = &nodes[below(count)];

	ls_buf_copy(&from, cert);
	ls_buf_add(&put, from.data + node->at, node->head + node->len);
	switch (below(6)) {
	case 0:
		put.data[0] = (char)tags[below(sizeof tags)];
		break;
	case 1:
		put.data[put.len - 1 - (node->len ? below(node->len) : 0)] ^= (char)(1 << below(8));
		break;
	case 2:
		ls_buf_add(&put, from.data + node->at, node->head + node->len);
		break;
	case 3:
		ls_buf_clear(&put);
		break;
	case 4:
		ls_buf_clear(&put);
		ls_buf_add(&put, from.data + other->at, other->head + other->len);
		break;
	default:
		wrap(&put, tags[below(sizeof tags)]);
	}
	der_splice(ls_buf_bytes(&from), node->at, node->head + node->len, ls_buf_bytes(&put), cert);
	if (!signer || !der_head(ls_buf_bytes(cert), 0, &outer) ||
		!der_head(ls_buf_bytes(cert), outer.head, &body) ||
		!der_head(ls_buf_bytes(cert), body.at + body.head + body.len, &algorithm) ||
		!der_head(ls_buf_bytes(cert), algorithm.at + algorithm.head + algorithm.len, &last))
		return;
	ls_buf_copy(&from, cert);
	sign((struct ls_bytes){ from.data + body.at, body.head + body.len }, signer, &signature);
	ls_buf_clear(&put);
	der_add(&put, 0x03, ls_buf_bytes(&signature));
	der_splice(ls_buf_bytes(&from), last.at, last.head + last.len, ls_buf_bytes(&put), cert);
}

START_TEST(certificates_changed_by_chance_get_the_same_verdict_or_a_stricter_one)
{
	const char *given = getenv("LOCKSTEP_SEED");
	uint32_t seed = given ? (uint32_t)strtoul(given, NULL, 10) : 20270115;
	struct set right = { 0 }, set = { 0 };
	struct spec specs[3];

	printf("seed: %" PRIu32 " (LOCKSTEP_SEED)\n", seed);
	chance = seed ? seed : 1;
	for (int who = ROOT; who <= LEAF; who++)
		specs[who] = good((enum who)who);
	make_set(&right, specs);
	for (int i = 0; i < 500; i++) {
		size_t which = below(3);
		LS_CLEANUP(ls_free_str) char *name = ls_format("number %d of seed %u", i, seed);

		set_done(&set);
		for (size_t k = 0; k < right.count; k++)
			ls_buf_copy(&set.certs[k], &right.certs[k]);
		set.count = right.count;
		set.key = right.key;
		change_element(&set.certs[which], below(4) ? specs[LEAF - which].signer : NULL);
		compare(&set, "by chance", name);
	}
	ck_assert_uint_eq(report("changed by chance"), 500);
	set_done(&set);
	set_done(&right);
}
END_TEST

/* Without a new signature no changed bit may pass. */
START_TEST(no_flipped_bit_of_a_leaf_passes)
{
	struct set set = { 0 };
	struct spec specs[3];
	size_t count;

	for (int who = ROOT; who <= LEAF; who++)
		specs[who] = good((enum who)who);
	make_set(&set, specs);
	count = set.certs[0].len;
	chance = 1;
	for (size_t i = 0; i < count; i++) {
		char kept = set.certs[0].data[i];

		set.certs[0].data[i] = (char)(kept ^ (1 << below(8)));
		ck_assert_msg(!we_take(&set), "byte %zu", i);
		set.certs[0].data[i] = kept;
	}
	ck_assert(we_take(&set) && openssl_takes(&set));
	set_done(&set);
}
END_TEST

LS_TEST_MAIN_FIXTURE("differential", setup, teardown,
	an_odd_leaf_gets_the_same_verdict_or_a_stricter_one,
	an_odd_issuer_gets_the_same_verdict_or_a_stricter_one,
	an_odd_root_gets_the_same_verdict_or_a_stricter_one,
	odd_chains_get_the_same_verdict_or_a_stricter_one,
	certificates_changed_by_chance_get_the_same_verdict_or_a_stricter_one,
	no_flipped_bit_of_a_leaf_passes)
