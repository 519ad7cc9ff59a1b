/* The gate: what is taken and in which form, and each refusal with its file, rule, found and
 * wanted. Certificates are made here; the clock is a number. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/credential.h"
#include "pki/key.h"
#include "tests/unit/runner.h"

#define NOW 1700000000
#define DAY 86400

struct made {
	X509 *cert;
	EVP_PKEY *key;
};

/* How a certificate differs from a good one; zero is good. */
struct how {
	const char *cn;
	const char *issuer_cn; /* when it is to lie */
	const struct made *by; /* NULL: signs itself */
	EVP_PKEY *key;         /* NULL: the shared P-256 one of its kind */
	bool ca;
	bool no_basic;
	const char *usage;
	const char *eku; /* "" for none */
	const char *san; /* "" for none */
	const char *constraints;
	const EVP_MD *md;
	int64_t from_s, to_s;
	bool critical; /* an extension that nobody knows */
	bool bad_san;  /* one that is not DER */
};

static struct ls_err err;
static struct ls_policy policy;
static struct ls_credential out;
static struct made root, mid, leaf;

static EVP_PKEY *ec_key(void)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

static void add_ext(X509 *cert, const struct made *by, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	if (!value || !*value)
		return;
	X509V3_set_ctx(&ctx, by ? by->cert : cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ck_assert_msg(ext != NULL, "extension '%s'", value);
	ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static void add_raw_ext(X509 *cert, const char *oid, int critical, const char *bytes)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;

	ASN1_OCTET_STRING_set(value, (const unsigned char *)bytes, (int)strlen(bytes));
	ext = X509_EXTENSION_create_by_OBJ(NULL, object, critical, value);
	ck_assert_int_eq(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(object);
}

static void set_cn(X509_NAME *name, const char *cn)
{
	ck_assert_int_eq(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
				 (const unsigned char *)cn, -1, -1, 0),
		1);
}

static struct made make(struct how how)
{
	static int64_t serial = 1;
	struct made m = { X509_new(), how.key ? how.key : ec_key() };
	EVP_PKEY *signer = how.by ? how.by->key : m.key;
	const EVP_MD *md = how.md ? how.md : EVP_sha256();

	X509_set_version(m.cert, X509_VERSION_3);
	ASN1_INTEGER_set_int64(X509_get_serialNumber(m.cert), serial++);
	ASN1_TIME_set(X509_getm_notBefore(m.cert), how.from_s ? how.from_s : NOW - DAY);
	ASN1_TIME_set(X509_getm_notAfter(m.cert), how.to_s ? how.to_s : NOW + 40 * DAY);
	set_cn(X509_get_subject_name(m.cert), how.cn);
	if (how.by && !how.issuer_cn)
		X509_set_issuer_name(m.cert, X509_get_subject_name(how.by->cert));
	else
		set_cn(X509_get_issuer_name(m.cert), how.issuer_cn ? how.issuer_cn : how.cn);
	X509_set_pubkey(m.cert, m.key);
	if (!how.no_basic)
		add_ext(m.cert, how.by, NID_basic_constraints,
			how.constraints ? how.constraints
			: how.ca        ? "critical,CA:TRUE"
					: "CA:FALSE");
	add_ext(m.cert, how.by, NID_key_usage,
		how.usage ? how.usage
		: how.ca  ? "keyCertSign"
			  : "digitalSignature");
	if (!how.ca) {
		add_ext(m.cert, how.by, NID_ext_key_usage, how.eku ? how.eku : "serverAuth");
		add_ext(m.cert, how.by, NID_subject_alt_name, how.san ? how.san : "DNS:a.example");
	}
	if (how.critical)
		add_raw_ext(m.cert, "1.3.6.1.4.1.55555.1", 1, "\x05");
	if (how.bad_san)
		add_raw_ext(m.cert, "2.5.29.17", 0, "\x30\x05junk");
	ck_assert_int_gt(
		X509_sign(m.cert, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : md), 0);
	return m;
}

static void made_free(struct made *m)
{
	X509_free(m->cert);
	EVP_PKEY_free(m->key);
}

static void add_bio(struct ls_buf *pem, BIO *bio)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);

	ls_buf_add(pem, data, (size_t)len);
	BIO_free(bio);
}

static void add_cert(struct ls_buf *pem, const struct made *m)
{
	BIO *bio = BIO_new(BIO_s_mem());

	ck_assert_int_eq(PEM_write_bio_X509(bio, m->cert), 1);
	add_bio(pem, bio);
}

static void add_key(struct ls_buf *pem, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	add_bio(pem, bio);
}

/* A file of these certificates, in this order. */
#define PEM(...) pem_of((const struct made *const[]){ __VA_ARGS__, NULL })

static struct ls_buf pem_of(const struct made *const *made)
{
	struct ls_buf pem = { 0 };

	for (; *made; made++)
		add_cert(&pem, *made);
	return pem;
}

static enum ls_code judge_as(const char *component, struct ls_buf *pem)
{
	struct ls_credential_input input = {
		.component = component, .cert = { "f_cert.pem", ls_buf_bytes(pem) }, .now_s = NOW
	};
	enum ls_code rc = ls_credential_judge(&input, &policy, &out, &err);

	ls_buf_done(pem);
	return rc;
}

#define judge(...) judge_as("proxy", (struct ls_buf[]){ __VA_ARGS__ })

static void said(const char *part)
{
	ck_assert_msg(strncmp(err.text, part, strlen(part)) == 0 || strstr(err.text, part) != NULL,
		"'%s' lacks '%s'", err.text, part);
	ck_assert_ptr_null(strstr(err.text, "PRIVATE KEY-----"));
}

/* A refusal is one line that names the file, the rule, what was found and what is wanted. */
static void said_all(const char *rule, const char *found, const char *wanted, const char *rfc)
{
	LS_CLEANUP(ls_free_str) char *start = ls_format("f_cert.pem: %s: found ", rule);

	ck_assert_msg(strncmp(err.text, start, strlen(start)) == 0, "'%s' does not begin '%s'",
		err.text, start);
	said(found);
	said(", wanted ");
	said(wanted);
	said(rfc);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_uint_eq(ERR_peek_error(), 0);
}

#define refused(pem, rule, found, wanted, rfc)                                                     \
	do {                                                                                       \
		ck_code(judge(pem), LS_E_REFUSED);                                                 \
		said_all(rule, found, wanted, rfc);                                                \
	} while (0)

static void is_chain(const struct ls_buf *pem, const struct made *const *made)
{
	struct ls_buf want = pem_of(made);

	ck_assert_str_eq(ls_buf_text(pem), ls_buf_text(&want));
	ls_buf_done(&want);
}

#define CHAIN(buf, ...) is_chain(&(buf), (const struct made *const[]){ __VA_ARGS__, NULL })

static void setup(void)
{
	ck_ok(ls_policy_parse("p", "default", LS_BYTES_STR(""), &policy, &err));
	root = make((struct how){ .cn = "root", .ca = true });
	mid = make((struct how){ .cn = "mid", .ca = true, .by = &root });
	leaf = make((struct how){ .cn = "leaf", .by = &mid });
}

static void teardown(void)
{
	made_free(&leaf);
	made_free(&mid);
	made_free(&root);
	ls_credential_done(&out);
	ls_policy_done(&policy);
}

/* A leaf that the intermediate issued, judged with its chain; freed. */
static struct ls_buf under_mid(struct how how)
{
	struct made m;
	struct ls_buf pem;

	how.by = &mid;
	if (!how.cn)
		how.cn = "leaf";
	m = make(how);
	pem = PEM(&m, &mid);
	made_free(&m);
	return pem;
}

/* ---- what is taken ---- */

START_TEST(a_chain_is_taken_without_its_root)
{
	ck_ok(judge(PEM(&leaf, &mid, &root)));
	CHAIN(out.chain_pem, &leaf, &mid);
	CHAIN(out.trust_pem, &root);
	ck_assert_ptr_null(out.key_pem.data);
	ck_assert_ptr_null(out.warnings);
	ck_assert(!out.info.self_signed);
}
END_TEST

START_TEST(without_a_root_the_topmost_issuer_is_trusted)
{
	ck_ok(judge(PEM(&leaf, &mid)));
	CHAIN(out.chain_pem, &leaf, &mid);
	CHAIN(out.trust_pem, &mid);
	ck_ok(judge(PEM(&leaf)));
	CHAIN(out.chain_pem, &leaf);
	ck_assert_uint_eq(out.trust_pem.len, 0);
}
END_TEST

START_TEST(a_self_signed_leaf_is_its_own_trust)
{
	struct made self = make((struct how){ .cn = "self" });
	struct made plain = make((struct how){ .cn = "self", .no_basic = true });

	ck_ok(judge(PEM(&self)));
	CHAIN(out.chain_pem, &self);
	CHAIN(out.trust_pem, &self);
	ck_assert(out.info.self_signed);
	ck_ok(judge(PEM(&plain)));
	made_free(&self);
	made_free(&plain);
}
END_TEST

START_TEST(a_shuffled_chain_is_put_in_order)
{
	struct made low = make((struct how){ .cn = "low", .ca = true, .by = &mid });
	struct made end = make((struct how){ .cn = "end", .by = &low });

	ck_ok(judge(PEM(&root, &low, &end, &mid)));
	CHAIN(out.chain_pem, &end, &low, &mid);
	CHAIN(out.trust_pem, &root);
	ck_ok(judge(PEM(&end, &root, &mid, &low)));
	CHAIN(out.chain_pem, &end, &low, &mid);
	made_free(&end);
	made_free(&low);
}
END_TEST

START_TEST(repeated_certificates_are_dropped)
{
	ck_ok(judge(PEM(&leaf, &mid, &mid, &leaf, &root, &root)));
	CHAIN(out.chain_pem, &leaf, &mid);
}
END_TEST

START_TEST(the_chain_may_be_a_file_of_its_own)
{
	struct ls_buf cert = PEM(&leaf), chain = PEM(&mid, &root);
	struct ls_credential_input input = { .component = "proxy",
		.cert = { "f_cert.pem", ls_buf_bytes(&cert) },
		.chain = { "f_chain.pem", ls_buf_bytes(&chain) },
		.now_s = NOW };

	ck_ok(ls_credential_judge(&input, &policy, &out, &err));
	CHAIN(out.chain_pem, &leaf, &mid);
	/* A fault in it names it. */
	ls_buf_str(&chain, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
	input.chain.bytes = ls_buf_bytes(&chain);
	ck_code(ls_credential_judge(&input, &policy, &out, &err), LS_E_REFUSED);
	said("f_chain.pem: DER: found ");
	ls_buf_done(&cert);
	ls_buf_done(&chain);
}
END_TEST

START_TEST(line_ends_marks_and_text_between_vanish)
{
	struct ls_buf clean = PEM(&leaf, &mid), pem = { 0 };

	ls_buf_str(&pem, "\xef\xbb\xbf");
	for (size_t i = 0; i < clean.len; i++) {
		if (clean.data[i] == '\n')
			ls_buf_str(&pem, i % 3 ? "\r" : " \t\r");
		ls_buf_add(&pem, &clean.data[i], 1);
		if (i > 26 && strncmp(&clean.data[i + 1], "-----BEGIN", 10) == 0)
			ls_buf_str(&pem, "subject=CN = mid\r\n\r\nCertificate:\r\n    Data:\r\n");
	}
	ls_buf_str(&pem, "-----BEGIN DH PARAMETERS-----\r\nMAA=\r\n-----END DH PARAMETERS-----");
	ck_ok(judge(pem));
	ck_assert_str_eq(ls_buf_text(&out.chain_pem), ls_buf_text(&clean));
	ls_buf_done(&clean);
}
END_TEST

static enum ls_code judge_pair(
	const struct ls_buf *cert, const struct ls_buf *key, const char *passphrase)
{
	struct ls_credential_input input = { .component = "proxy",
		.cert = { "f_cert.pem", ls_buf_bytes(cert) },
		.key = { "f_key.pem", key ? ls_buf_bytes(key) : (struct ls_bytes){ 0 } },
		.passphrase = LS_BYTES_STR(passphrase),
		.now_s = NOW };

	return ls_credential_judge(&input, &policy, &out, &err);
}

static void traditional(struct ls_buf *pem, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	ck_assert_int_eq(
		PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	add_bio(pem, bio);
}

START_TEST(every_form_of_key_becomes_pkcs8)
{
	EVP_PKEY *rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	struct made of_rsa = make((struct how){ .cn = "rsa", .key = rsa });
	const struct made *const both[] = { &leaf, &of_rsa };

	for (size_t i = 0; i < LS_COUNT(both); i++) {
		struct ls_buf cert = PEM(both[i]), p8 = { 0 }, old = { 0 };

		add_key(&p8, both[i]->key);
		traditional(&old, both[i]->key);
		ck_ok(judge_pair(&cert, &p8, ""));
		ck_assert(ls_bytes_equal(ls_secret_bytes(&out.key_pem), ls_buf_bytes(&p8)));
		ck_ok(judge_pair(&cert, &old, ""));
		ck_assert(ls_bytes_equal(ls_secret_bytes(&out.key_pem), ls_buf_bytes(&p8)));
		ls_buf_done(&cert);
		ls_buf_done(&p8);
		ls_buf_done(&old);
	}
	made_free(&of_rsa);
}
END_TEST

START_TEST(an_encrypted_key_needs_its_passphrase)
{
	struct ls_buf cert = PEM(&leaf), key = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());

	ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(
				 bio, leaf.key, EVP_aes_256_cbc(), "sesame", 6, NULL, NULL),
		1);
	add_bio(&key, bio);
	ck_ok(judge_pair(&cert, &key, "sesame"));
	ck_assert_ptr_nonnull(strstr((char *)out.key_pem.data, "BEGIN PRIVATE KEY"));
	ck_code(judge_pair(&cert, &key, ""), LS_E_REFUSED);
	said("f_key.pem: private key: found an encrypted key, wanted ");
	ck_code(judge_pair(&cert, &key, "wrong"), LS_E_REFUSED);
	said("f_key.pem: private key: found an encrypted key that the passphrase does not open");
	ls_buf_done(&cert);
	ls_buf_done(&key);
}
END_TEST

START_TEST(a_key_in_the_certificate_file_is_found)
{
	struct ls_buf cert = { 0 }, key = { 0 };
	struct made other = make((struct how){ .cn = "other" });

	add_key(&cert, leaf.key);
	add_cert(&cert, &leaf);
	add_cert(&cert, &mid);
	ck_ok(judge_pair(&cert, NULL, ""));
	ck_assert_ptr_nonnull(out.key_pem.data);
	CHAIN(out.chain_pem, &leaf, &mid); /* and does not get into the chain */
	/* A key file has precedence. */
	add_key(&key, other.key);
	ck_code(judge_pair(&cert, &key, ""), LS_E_REFUSED);
	said("f_key.pem: key match: ");
	made_free(&other);
	ls_buf_done(&cert);
	ls_buf_done(&key);
}
END_TEST

START_TEST(a_key_of_another_certificate_is_refused)
{
	struct made other = make((struct how){ .cn = "other" });
	struct ls_buf cert = PEM(&leaf), key = { 0 };

	add_key(&key, other.key);
	ck_code(judge_pair(&cert, &key, ""), LS_E_REFUSED);
	said("f_key.pem: key match: found a key (ec:P-256) that does not belong to 'CN=leaf' in "
	     "f_cert.pem, wanted its private key");
	ls_buf_clear(&key);
	ls_buf_str(&key, "hello");
	ck_code(judge_pair(&cert, &key, ""), LS_E_REFUSED);
	said("f_key.pem: private key: found no PRIVATE KEY block, wanted ");
	made_free(&other);
	ls_buf_done(&cert);
	ls_buf_done(&key);
}
END_TEST

/* A key file whose public half was exchanged for the leaf's. */
START_TEST(a_public_half_alone_proves_nothing)
{
	struct made other = make((struct how){ .cn = "other" });
	unsigned char mine[65], theirs[65], *der = NULL;
	struct ls_buf cert = PEM(&leaf), key = { 0 };
	size_t len = 0;
	int der_len = i2d_PrivateKey(other.key, &der);
	unsigned char *at;
	BIO *bio = BIO_new(BIO_s_mem());

	ck_assert_int_eq(EVP_PKEY_get_octet_string_param(leaf.key, "pub", mine, 65, &len), 1);
	ck_assert_int_eq(EVP_PKEY_get_octet_string_param(other.key, "pub", theirs, 65, &len), 1);
	at = memmem(der, (size_t)der_len, theirs, 65);
	ck_assert_ptr_nonnull(at);
	memcpy(at, mine, 65);
	PEM_write_bio(bio, "EC PRIVATE KEY", "", der, der_len);
	add_bio(&key, bio);
	ck_code(judge_pair(&cert, &key, ""), LS_E_REFUSED);
	said("f_key.pem: ");
	OPENSSL_free(der);
	made_free(&other);
	ls_buf_done(&cert);
	ls_buf_done(&key);
}
END_TEST

START_TEST(what_a_certificate_says_is_told)
{
	struct ls_buf pem = PEM(&leaf, &mid);
	struct made odd = make((struct how){ .cn = "a,b+\"c\"\n\xc3\xa9",
		.san = "DNS:a.example,IP:192.0.2.7,IP:2001:db8::7,URI:https://x/,email:a@b.example,"
		       "RID:1.2.3.4" });
	struct ls_buf odd_pem = PEM(&odd);
	struct ls_cert_info info = { 0 };
	char id[65];

	ck_ok(ls_cert_info_read(ls_buf_bytes(&pem), &info, &err));
	ck_assert_str_eq(info.subject, "CN=leaf");
	ck_assert_str_eq(info.issuer, "CN=mid");
	ck_assert_str_eq(info.key, "ec:P-256");
	ls_key_id(leaf.key, id);
	ck_assert_str_eq(info.key_id, id);
	ck_assert_uint_eq(strlen(info.sha256), 64);
	ck_assert_int_eq(info.not_before_s, NOW - DAY);
	ck_assert_int_eq(info.not_after_s, NOW + 40 * DAY);
	ck_assert(!info.self_signed);
	ck_ok(ls_cert_info_read(ls_buf_bytes(&odd_pem), &info, &err));
	ck_assert_str_eq(info.subject, "CN=a\\,b\\+\\\"c\\\"\\0A\xc3\xa9");
	ck_assert_uint_eq(ls_strv_count(info.sans), 6);
	ck_assert_str_eq(info.sans[1], "IP:192.0.2.7");
	ck_assert_str_eq(info.sans[2], "IP:2001:db8::7");
	ck_assert_str_eq(info.sans[4], "email:a@b.example");
	ck_assert(info.self_signed);
	ck_code(ls_cert_info_read(LS_BYTES_STR("x"), &info, &err), LS_E_REFUSED);
	ls_cert_info_done(&info);
	made_free(&odd);
	ls_buf_done(&odd_pem);
	ls_buf_done(&pem);
}
END_TEST

START_TEST(the_chain_ends_with_its_first_certificate_to_end)
{
	struct made soon =
		make((struct how){ .cn = "soon", .ca = true, .by = &root, .to_s = NOW + 5 * DAY });
	struct made end = make((struct how){ .cn = "end", .by = &soon });

	ck_ok(judge(PEM(&end, &soon)));
	ck_assert_int_eq(out.info.not_after_s, NOW + 40 * DAY);
	ck_assert_int_eq(out.info.chain_not_after_s, NOW + 5 * DAY);
	made_free(&end);
	made_free(&soon);
}
END_TEST

START_TEST(judging_again_and_matching_use_the_chain_alone)
{
	struct ls_buf pem = PEM(&leaf, &mid);

	ck_ok(ls_credential_rejudge("proxy", ls_buf_bytes(&pem), &policy, NOW, &err));
	ck_code(ls_credential_rejudge("proxy", ls_buf_bytes(&pem), &policy, NOW + 41 * DAY, &err),
		LS_E_REFUSED);
	said("proxy_cert.pem: expired: ");
	ck_assert(ls_credential_matches(ls_buf_bytes(&pem), leaf.key));
	ck_assert(!ls_credential_matches(ls_buf_bytes(&pem), mid.key));
	ck_assert(!ls_credential_matches(LS_BYTES_STR("x"), leaf.key));
	ls_buf_done(&pem);
}
END_TEST

/* ---- what is refused: the text ---- */

START_TEST(too_many_bytes)
{
	struct ls_buf pem = PEM(&leaf);

	while (pem.len <= 1048576)
		ls_buf_str(&pem, "text between blocks counts as well, wherever it stands\n");
	refused(pem, "size", "1048", "wanted at most 1048576", "");
}
END_TEST

START_TEST(too_many_certificates)
{
	struct ls_buf pem = { 0 };

	for (int i = 0; i < 17; i++)
		add_cert(&pem, &leaf);
	refused(pem, "certificates", "more than 16", "at most", "");
}
END_TEST

START_TEST(no_certificate)
{
	struct ls_buf der = { 0 };
	unsigned char *bytes = NULL;
	int len = i2d_X509(leaf.cert, &bytes);

	refused((struct ls_buf){ 0 }, "certificates", "no file", "a certificate", "");
	ls_buf_str(&der, " ");
	refused(der, "certificates", "no CERTIFICATE block", "at least one", "RFC 7468");
	der = (struct ls_buf){ 0 };
	ls_buf_add(&der, bytes, (size_t)len);
	refused(der, "certificates", "no CERTIFICATE block", "at least one", "RFC 7468");
	ck_assert_ptr_nonnull(strstr(err.hint, "-inform DER"));
	der = (struct ls_buf){ 0 };
	ls_buf_str(&der, "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n");
	refused(der, "certificates", "no CERTIFICATE block", "at least one", "RFC 7468");
	ck_assert_ptr_nonnull(strstr(err.hint, "pkcs7"));
	OPENSSL_free(bytes);
}
END_TEST

START_TEST(damaged_pem)
{
	struct ls_buf pem = PEM(&leaf);

	pem.data[pem.len - 40] = '\0';
	pem.len -= 40;
	refused(pem, "PEM", "a damaged block (number 1", "whole blocks", "RFC 7468 section 2");
	pem = PEM(&leaf, &mid);
	pem.data[60] = '!';
	refused(pem, "PEM", "a damaged block (number 1", "whole blocks", "RFC 7468 section 2");
	/* A begin line that lacks a dash must not lose the certificate in silence. */
	pem = PEM(&leaf, &mid);
	*(strstr(pem.data + 10, "-----BEGIN") + 26) = ' ';
	refused(pem, "PEM", "2 lines that begin a block and 1 whole", "as many", "RFC 7468");
}
END_TEST

static struct ls_buf pem_of_der(const unsigned char *der, long len)
{
	struct ls_buf pem = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio(bio, "CERTIFICATE", "", der, len);
	add_bio(&pem, bio);
	return pem;
}

START_TEST(damaged_der)
{
	unsigned char *der = NULL, more[2048] = { 0 };
	int len = i2d_X509(leaf.cert, &der);

	refused(pem_of_der((const unsigned char *)"garbage", 7), "DER",
		"a certificate that cannot be read (block 1", "whole", "RFC 5280 section 4.1");
	for (int cut = 1; cut < len; cut += 37)
		refused(pem_of_der(der, cut), "DER", "cannot be read", "whole", "RFC 5280");
	memcpy(more, der, (size_t)len);
	refused(pem_of_der(more, len + 2), "DER", "2 bytes behind the certificate of block 1",
		"none", "RFC 7468 section 5.1");
	/* The outer length in one byte more than it takes. */
	more[0] = 0x30;
	more[1] = 0x83;
	more[2] = 0;
	memcpy(more + 3, der + 2, (size_t)len - 2);
	refused(pem_of_der(more, len + 1), "DER", "BER in block 1", "distinguished encoding",
		"RFC 5280 section 4.1");
	OPENSSL_free(der);
}
END_TEST

START_TEST(unreadable_extension)
{
	refused(under_mid((struct how){ .san = "", .bad_san = true }), "extensions",
		"some that cannot be read in 'CN=leaf'", "well-formed", "RFC 5280 section 4.2");
}
END_TEST

/* ---- what is refused: the path ---- */

START_TEST(two_leaves)
{
	struct made other = make((struct how){ .cn = "other", .by = &mid });

	refused(PEM(&leaf, &mid, &other), "second leaf", "'CN=other'", "only issuers of 'CN=leaf'",
		"RFC 8446 section 4.4.2");
	/* Both could be it, and the first is neither. */
	refused(PEM(&mid, &leaf, &other), "leaf",
		"2 certificates that could be it ('CN=leaf', 'CN=other')", "exactly one",
		"RFC 8446 section 4.4.2");
	made_free(&other);
}
END_TEST

START_TEST(a_certificate_off_the_path)
{
	struct made stray = make((struct how){ .cn = "stray", .ca = true, .by = &root });

	refused(PEM(&leaf, &mid, &stray), "certificate off the path", "'CN=stray'",
		"only issuers of 'CN=leaf'", "RFC 8446 section 4.4.2");
	made_free(&stray);
}
END_TEST

START_TEST(a_ring_has_no_leaf)
{
	struct made a = make((struct how){ .cn = "a", .issuer_cn = "b", .by = &mid, .ca = true });
	struct made b = make((struct how){ .cn = "b", .issuer_cn = "a", .by = &mid, .ca = true });

	refused(PEM(&a, &b), "leaf", "only certificates that issued one another",
		"one that issued none", "");
	made_free(&a);
	made_free(&b);
}
END_TEST

START_TEST(signatures_that_do_not_hold)
{
	struct made false_mid = make((struct how){ .cn = "mid", .ca = true, .by = &root });
	struct made tampered = make((struct how){ .cn = "self", .issuer_cn = "self", .by = &mid });

	refused(PEM(&leaf, &false_mid), "signature",
		"one on 'CN=leaf' that the key of 'CN=mid' did not make", "the issuer's",
		"RFC 5280 section 6.1.3");
	/* It claims to have signed itself. */
	refused(PEM(&tampered), "signature", "one on 'CN=self'", "the issuer's", "RFC 5280");
	/* Of two with the right name the one that signed is found, the other is off the path. */
	refused(PEM(&leaf, &false_mid, &mid), "certificate off the path", "'CN=mid'", "only", "");
	made_free(&false_mid);
	made_free(&tampered);
}
END_TEST

START_TEST(a_cross_signed_root_leads_further_up)
{
	struct made other = make((struct how){ .cn = "other root", .ca = true });
	struct made cross = { X509_dup(root.cert), NULL };

	X509_set_issuer_name(cross.cert, X509_get_subject_name(other.cert));
	X509_sign(cross.cert, other.key, EVP_sha256());
	ck_ok(judge(PEM(&leaf, &mid, &cross, &other)));
	CHAIN(out.chain_pem, &leaf, &mid, &cross);
	CHAIN(out.trust_pem, &other);
	made_free(&cross);
	made_free(&other);
}
END_TEST

START_TEST(an_issuer_that_is_no_ca)
{
	struct made no_ca =
		make((struct how){ .cn = "no ca", .by = &root, .usage = "keyCertSign" });
	struct made no_sign = make((struct how){
		.cn = "no sign", .by = &root, .ca = true, .usage = "digitalSignature" });
	struct made a = make((struct how){ .cn = "a", .by = &no_ca });
	struct made b = make((struct how){ .cn = "b", .by = &no_sign });

	refused(PEM(&a, &no_ca), "issuer", "'CN=no ca' without CA:TRUE", "a CA",
		"RFC 5280 section 4.2.1.9");
	refused(PEM(&b, &no_sign), "issuer", "'CN=no sign' with a key usage without keyCertSign",
		"wanted it", "RFC 5280 section 4.2.1.3");
	made_free(&a);
	made_free(&b);
	made_free(&no_ca);
	made_free(&no_sign);
}
END_TEST

START_TEST(constraints_of_the_path_are_kept)
{
	struct made short_ca = make((struct how){
		.cn = "short", .ca = true, .constraints = "critical,CA:TRUE,pathlen:0" });
	struct made low = make((struct how){ .cn = "low", .ca = true, .by = &short_ca });
	struct made end = make((struct how){ .cn = "end", .by = &low });
	struct made named = make((struct how){ .cn = "named", .ca = true, .by = NULL });
	struct made wrong;

	refused(PEM(&end, &low, &short_ca), "path", "path length constraint exceeded",
		"a valid path", "RFC 5280 section 6.1");
	add_ext(named.cert, NULL, NID_name_constraints, "critical,permitted;DNS:b.example");
	X509_sign(named.cert, named.key, EVP_sha256());
	wrong = make((struct how){ .cn = "wrong", .by = &named });
	refused(PEM(&wrong, &named), "path", "permitted subtree violation", "a valid path",
		"RFC 5280 section 6.1");
	made_free(&wrong);
	made_free(&named);
	made_free(&end);
	made_free(&low);
	made_free(&short_ca);
}
END_TEST

/* ---- what is refused: time ---- */

START_TEST(expired)
{
	struct made old =
		make((struct how){ .cn = "old", .ca = true, .by = &root, .to_s = NOW - 1 });
	struct made end = make((struct how){ .cn = "end", .by = &old });
	struct made old_root = make((struct how){ .cn = "r", .ca = true, .to_s = NOW - 1 });
	struct made low = make((struct how){ .cn = "low", .by = &old_root });

	refused(under_mid((struct how){ .to_s = NOW - 1 }), "expired",
		"'CN=leaf' valid until 2023-11-14T22:13:19Z", "after 2023-11-14T22:13:20Z",
		"RFC 5280 section 4.1.2.5");
	refused(PEM(&end, &old), "expired", "'CN=old'", "after", "RFC 5280 section 4.1.2.5");
	refused(PEM(&low, &old_root), "expired", "'CN=r'", "after", "RFC 5280 section 4.1.2.5");
	ck_code(judge(under_mid((struct how){ .to_s = NOW })), LS_E_REFUSED); /* as OpenSSL */
	ck_ok(judge(under_mid((struct how){ .to_s = NOW + 1 })));
	made_free(&low);
	made_free(&old_root);
	made_free(&end);
	made_free(&old);
}
END_TEST

START_TEST(not_yet_valid)
{
	refused(under_mid((struct how){ .from_s = NOW + 301 }), "not yet valid",
		"'CN=leaf' valid from 2023-11-14T22:18:21Z", "before 2023-11-14T22:13:20Z",
		"RFC 5280 section 4.1.2.5");
	ck_ok(judge(under_mid((struct how){ .from_s = NOW + 300 }))); /* clocks differ */
}
END_TEST

START_TEST(times_that_are_none)
{
	struct made bad = make((struct how){ .cn = "bad" });

	ASN1_STRING_set(X509_getm_notAfter(bad.cert), "991332000000Z", 13);
	X509_sign(bad.cert, bad.key, EVP_sha256());
	refused(PEM(&bad), "validity", "times that cannot be read", "UTCTime", "RFC 5280");
	made_free(&bad);
}
END_TEST

START_TEST(too_long_a_life)
{
	policy.days_max = 47;
	refused(under_mid((struct how){ .from_s = NOW - DAY, .to_s = NOW + 47 * DAY }), "lifetime",
		"48 days in 'CN=leaf'", "at most 47", "");
	/* An hour of backdating does not count. */
	ck_ok(judge(under_mid((struct how){ .from_s = NOW - 3600, .to_s = NOW + 47 * DAY })));
}
END_TEST

/* ---- what is refused: the leaf's kind and strength ---- */

START_TEST(a_ca_as_leaf)
{
	refused(PEM(&root), "leaf", "'CN=root' with CA:TRUE", "not a CA",
		"RFC 5280 section 4.2.1.9");
	refused(PEM(&mid, &root), "leaf", "'CN=mid' with CA:TRUE", "not a CA",
		"RFC 5280 section 4.2.1.9");
}
END_TEST

START_TEST(weak_keys)
{
	EVP_PKEY *small = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	EVP_PKEY *ca_small = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
	struct made weak_ca =
		make((struct how){ .cn = "weak", .ca = true, .by = &root, .key = ca_small });
	struct made end = make((struct how){ .cn = "end", .by = &weak_ca });

	EVP_PKEY_up_ref(small);
	refused(under_mid((struct how){ .key = small }), "key strength", "rsa:1024 in 'CN=leaf'",
		"rsa:2048 or more", "");
	refused(PEM(&end, &weak_ca), "key strength", "rsa:1024 in 'CN=weak'", "rsa:2048", "");
	policy.rsa_min = 1024;
	ck_ok(judge(under_mid((struct how){ .key = small })));
	refused(under_mid((struct how){ .key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1") }),
		"key strength", "ec:secp256k1", "ec:P-256, ec:P-384, ec:P-521, ed25519", "");
	ck_ok(judge(under_mid((struct how){ .key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") })));
	policy.ed25519 = false;
	refused(under_mid((struct how){ .key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") }),
		"key strength", "ed25519", "rsa:1024 or more", "");
	made_free(&end);
	made_free(&weak_ca);
}
END_TEST

START_TEST(weak_signature_digests)
{
	struct made sha1_mid =
		make((struct how){ .cn = "sha1", .ca = true, .by = &root, .md = EVP_sha1() });
	struct made end = make((struct how){ .cn = "end", .by = &sha1_mid });
	struct made self = make((struct how){ .cn = "self", .md = EVP_sha1() });
	struct made sha1_root = make((struct how){ .cn = "r1", .ca = true, .md = EVP_sha1() });
	struct made low = make((struct how){ .cn = "low", .by = &sha1_root });
	struct made rsa_root = make((struct how){ .cn = "rsa",
		.ca = true,
		.key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048) });
	struct made md5 = make((struct how){ .cn = "md5", .by = &rsa_root, .md = EVP_md5() });

	refused(PEM(&end, &sha1_mid), "signature digest", "sha1 on 'CN=sha1'", "sha256 or longer",
		"");
	refused(under_mid((struct how){ .md = EVP_sha1() }), "signature digest",
		"sha1 on 'CN=leaf'", "sha256", "");
	/* Nobody relies on a self-signature. */
	ck_ok(judge(PEM(&self)));
	ck_ok(judge(PEM(&low, &sha1_root)));
	policy.digest_min[0] = '\0';
	memcpy(policy.digest_min, "sha1", 5);
	ck_ok(judge(PEM(&end, &sha1_mid)));
	refused(PEM(&md5, &rsa_root), "signature digest", "md5 on 'CN=md5'", "sha1", "");
	made_free(&md5);
	made_free(&rsa_root);
	made_free(&low);
	made_free(&sha1_root);
	made_free(&self);
	made_free(&end);
	made_free(&sha1_mid);
}
END_TEST

/* ---- what is refused: usages, extensions, names ---- */

START_TEST(usages)
{
	refused(under_mid((struct how){ .usage = "keyEncipherment" }), "key usage",
		"one without digitalSignature in 'CN=leaf'", "wanted it",
		"RFC 5280 section 4.2.1.3");
	ck_ok(judge(under_mid((struct how){ .usage = "" })));
	refused(under_mid((struct how){ .eku = "" }), "extended key usage", "none in 'CN=leaf'",
		"serverAuth", "RFC 5280 section 4.2.1.12");
	refused(under_mid((struct how){ .eku = "clientAuth" }), "extended key usage",
		"one without it", "serverAuth", "RFC 5280 section 4.2.1.12");
	refused(under_mid((struct how){ .eku = "anyExtendedKeyUsage" }), "extended key usage",
		"one without it", "serverAuth", "RFC 5280 section 4.2.1.12");
}
END_TEST

START_TEST(the_syncer_is_a_client_as_well)
{
	struct ls_buf pem = PEM(&leaf, &mid);

	ck_code(judge_as("syncer", &pem), LS_E_REFUSED);
	said_all("extended key usage", "one without it", "clientAuth", "RFC 5280 section 4.2.1.12");
	pem = under_mid((struct how){ .eku = "serverAuth,clientAuth" });
	ck_ok(judge_as("syncer", &pem));
}
END_TEST

START_TEST(unknown_critical_extensions)
{
	struct made odd =
		make((struct how){ .cn = "odd", .ca = true, .by = &root, .critical = true });
	struct made end = make((struct how){ .cn = "end", .by = &odd });

	refused(under_mid((struct how){ .critical = true }), "critical extension",
		"the unknown 1.3.6.1.4.1.55555.1 in 'CN=leaf'", "known", "RFC 5280 section 4.2");
	refused(PEM(&end, &odd), "critical extension", "in 'CN=odd'", "known", "RFC 5280");
	made_free(&end);
	made_free(&odd);
}
END_TEST

START_TEST(no_names)
{
	refused(under_mid((struct how){ .san = "" }), "subject alternative name",
		"none in 'CN=leaf'", "the names that clients use", "RFC 9525");
}
END_TEST

static size_t uncovered(const char *san, const char *wanted)
{
	struct ls_buf pem = under_mid((struct how){ .san = san });
	char *text = ls_strdup(wanted);
	char *const names[] = { text, NULL };
	struct ls_credential_input input = { .component = "proxy",
		.cert = { "f_cert.pem", ls_buf_bytes(&pem) },
		.wanted_sans = names,
		.now_s = NOW };

	ck_ok(ls_credential_judge(&input, &policy, &out, &err));
	policy.san = LS_SAN_REFUSE;
	if (ls_strv_count(out.warnings) == 0) {
		ck_ok(ls_credential_judge(&input, &policy, &out, &err));
	} else {
		ck_assert_ptr_nonnull(strstr(out.warnings[0], wanted));
		ck_code(ls_credential_judge(&input, &policy, &out, &err), LS_E_REFUSED);
		said_all("subject alternative name", "names that do not cover", wanted,
			"RFC 9525 section 6.3");
	}
	policy.san = LS_SAN_WARN;
	ls_free_str(&text);
	ls_buf_done(&pem);
	return ls_strv_count(out.warnings);
}

START_TEST(names_cover_as_clients_see_it)
{
	static const struct {
		const char *san;
		const char *wanted;
		size_t warnings;
	} cases[] = {
		{ "DNS:a.example", "DNS:a.example", 0 },
		{ "DNS:A.Example", "DNS:a.eXample", 0 },
		{ "DNS:x.example,DNS:a.example", "DNS:a.example", 0 },
		{ "DNS:*.example.com", "DNS:a.example.com", 0 },
		{ "DNS:*.example.com", "DNS:*.example.com", 0 },
		{ "DNS:*.example.com", "DNS:example.com", 1 },
		{ "DNS:*.example.com", "DNS:b.a.example.com", 1 },
		{ "DNS:a.example.com", "DNS:*.example.com", 1 },
		{ "DNS:*.example.com", "DNS:*.a.example.com", 1 },
		{ "DNS:*.com", "DNS:*.example.com", 1 },
		{ "DNS:b.example", "DNS:a.example", 1 },
		{ "IP:2001:db8::1", "IP:2001:0db8:0::1", 0 },
		{ "IP:192.0.2.1", "IP:192.0.2.2", 1 },
		{ "DNS:192.0.2.1", "IP:192.0.2.1", 1 },
		{ "URI:https://x/", "URI:https://x/", 0 },
		{ "email:a@x", "DNS:x", 1 },
	};

	for (size_t i = 0; i < LS_COUNT(cases); i++)
		ck_assert_msg(uncovered(cases[i].san, cases[i].wanted) == cases[i].warnings,
			"'%s' and '%s'", cases[i].san, cases[i].wanted);
}
END_TEST

/* "a.example\0.evil": what C would end early is another name. */
START_TEST(a_nul_in_a_name_hides_nothing)
{
	struct made m = make((struct how){ .cn = "leaf", .san = "" });
	static const char san[] = "\x30\x10\x82\x0e"
				  "a.example\0evil";
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;
	struct ls_buf pem;

	ASN1_OCTET_STRING_set(value, (const unsigned char *)san, sizeof san - 1);
	ext = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
	X509_add_ext(m.cert, ext, -1);
	X509_sign(m.cert, m.key, EVP_sha256());
	pem = PEM(&m);
	ck_ok(judge(pem));
	ck_assert_str_eq(out.info.sans[0], "DNS:a.example\\x00evil");
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(value);
	made_free(&m);
}
END_TEST

START_TEST(a_refusal_leaves_the_output_alone)
{
	ck_ok(judge(PEM(&leaf, &mid)));
	ck_code(judge(PEM(&root)), LS_E_REFUSED);
	CHAIN(out.chain_pem, &leaf, &mid);
}
END_TEST

LS_TEST_MAIN_FIXTURE("credential", setup, teardown, a_chain_is_taken_without_its_root,
	without_a_root_the_topmost_issuer_is_trusted, a_self_signed_leaf_is_its_own_trust,
	a_shuffled_chain_is_put_in_order, repeated_certificates_are_dropped,
	the_chain_may_be_a_file_of_its_own, line_ends_marks_and_text_between_vanish,
	every_form_of_key_becomes_pkcs8, an_encrypted_key_needs_its_passphrase,
	a_key_in_the_certificate_file_is_found, a_key_of_another_certificate_is_refused,
	a_public_half_alone_proves_nothing, what_a_certificate_says_is_told,
	the_chain_ends_with_its_first_certificate_to_end,
	judging_again_and_matching_use_the_chain_alone, too_many_bytes, too_many_certificates,
	no_certificate, damaged_pem, damaged_der, unreadable_extension, two_leaves,
	a_certificate_off_the_path, a_ring_has_no_leaf, signatures_that_do_not_hold,
	a_cross_signed_root_leads_further_up, an_issuer_that_is_no_ca,
	constraints_of_the_path_are_kept, expired, not_yet_valid, times_that_are_none,
	too_long_a_life, a_ca_as_leaf, weak_keys, weak_signature_digests, usages,
	the_syncer_is_a_client_as_well, unknown_critical_extensions, no_names,
	names_cover_as_clients_see_it, a_nul_in_a_name_hides_nothing,
	a_refusal_leaves_the_output_alone)
