#include "pki/seal.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/text.h"
#include "pki/cms.h"

#define LABEL "CMS"
#define EPOCH_BYTES 4
#define EPOCH_TEXT_MAX 10
#define KEK_HEX (2 * LS_KEK_BYTES)
#define GCM_TAG_BYTES 16
#define RSA_BITS_MIN 2048

/* ---- the ring ---- */

void ls_keyring_done(struct ls_keyring *ring)
{
	for (size_t i = 0; i < ring->count; i++)
		ls_secret_done(&ring->entries[i].kek);
	free(ring->entries);
	*ring = (struct ls_keyring){ 0 };
}

static struct ls_keyring_entry *ring_find(const struct ls_keyring *ring, int64_t epoch)
{
	for (size_t i = 0; i < ring->count; i++)
		if (ring->entries[i].epoch == epoch)
			return &ring->entries[i];
	return NULL;
}

const struct ls_secret *ls_keyring_get(const struct ls_keyring *ring, int64_t epoch)
{
	const struct ls_keyring_entry *entry = ring_find(ring, epoch);

	return entry ? &entry->kek : NULL;
}

void ls_keyring_put(struct ls_keyring *ring, int64_t epoch, struct ls_bytes kek)
{
	struct ls_keyring_entry *entry = ring_find(ring, epoch);
	size_t at = ring->count;

	if (entry) {
		ls_secret_set(&entry->kek, kek);
		return;
	}
	ring->entries = ls_realloc(ring->entries, ring->count + 1, sizeof *ring->entries);
	while (at > 0 && ring->entries[at - 1].epoch > epoch) {
		ring->entries[at] = ring->entries[at - 1];
		at--;
	}
	ring->entries[at] = (struct ls_keyring_entry){ .epoch = epoch };
	ls_secret_set(&ring->entries[at].kek, kek);
	ring->count++;
}

void ls_keyring_drop(struct ls_keyring *ring, int64_t epoch)
{
	struct ls_keyring_entry *entry = ring_find(ring, epoch);
	size_t at = entry ? (size_t)(entry - ring->entries) : 0;

	if (!entry)
		return;
	ls_secret_done(&entry->kek);
	memmove(entry, entry + 1, (ring->count - at - 1) * sizeof *entry);
	ring->count--;
}

void ls_keyring_copy(struct ls_keyring *to, const struct ls_keyring *from)
{
	struct ls_keyring copy = { 0 };

	for (size_t i = 0; i < from->count; i++)
		ls_keyring_put(
			&copy, from->entries[i].epoch, ls_secret_bytes(&from->entries[i].kek));
	ls_keyring_done(to);
	*to = copy;
}

void ls_kek_generate(struct ls_secret *out)
{
	ls_secret_alloc(out, LS_KEK_BYTES);
	ls_random_bytes(out->data, out->len);
}

void ls_kek_check_value(
	struct ls_bytes kek, const char *cluster_id, int64_t epoch, char out[LS_SHA256_TEXT])
{
	LS_CLEANUP(ls_free_str)
	char *text = ls_format("lockstep kek check %s %lld", cluster_id, (long long)epoch);
	unsigned char mac[LS_SHA256_BYTES];

	ls_hmac_sha256(kek, LS_BYTES_STR(text), mac);
	ls_hex(mac, sizeof mac, out);
}

/* ---- the one shape of AuthEnvelopedData that is read ---- */

struct der {
	const unsigned char *at;
	const unsigned char *end;
};

/* Steps over the next element, which must have this tag, and gives its content. */
static bool der_next(struct der *in, int want_tag, int want_class, struct der *out_body)
{
	const unsigned char *at = in->at;
	int tag, class, ret;
	long len;

	if (at >= in->end)
		return false;
	ret = ASN1_get_object(&at, &len, &tag, &class, in->end - in->at);
	if (ret & 0x81 || tag != want_tag || class != want_class) /* 0x80 bad, 1 indefinite */
		return false;
	*out_body = (struct der){ at, at + len };
	in->at = at + len;
	return true;
}

static bool der_is(struct der body, const void *want, size_t len)
{
	return (size_t)(body.end - body.at) == len && memcmp(body.at, want, len) == 0;
}

/* EncryptedContentInfo: id-data, AES-256-GCM with a tag of 16 bytes (RFC 5084 section 3.2). */
static bool content_is_gcm(struct der info)
{
	static const unsigned char data[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07,
		0x01 };
	static const unsigned char gcm[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e };
	static const unsigned char tag_len[] = { GCM_TAG_BYTES };
	struct der oid, algorithm, cipher, params, nonce, icv, content;

	return der_next(&info, V_ASN1_OBJECT, V_ASN1_UNIVERSAL, &oid) &&
	       der_is(oid, data, sizeof data) &&
	       der_next(&info, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &algorithm) &&
	       der_next(&algorithm, V_ASN1_OBJECT, V_ASN1_UNIVERSAL, &cipher) &&
	       der_is(cipher, gcm, sizeof gcm) &&
	       der_next(&algorithm, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &params) &&
	       der_next(&params, V_ASN1_OCTET_STRING, V_ASN1_UNIVERSAL, &nonce) &&
	       nonce.end - nonce.at == 12 &&
	       der_next(&params, V_ASN1_INTEGER, V_ASN1_UNIVERSAL, &icv) &&
	       der_is(icv, tag_len, sizeof tag_len) &&
	       der_next(&info, 0, V_ASN1_CONTEXT_SPECIFIC, &content) && info.at == info.end;
}

/* AuthEnvelopedData with one recipient, no attributes and a whole tag. OpenSSL takes the tag's
 * length from the message: a tag of one byte would be guessed in 256 tries. It also passes over
 * authenticated attributes without authenticating them. */
static bool shape_is_ours(struct ls_bytes der)
{
	struct der all = { der.data, (const unsigned char *)der.data + der.len };
	struct der outer, type, tagged, body, version, recipients, one, info, mac;
	bool framed = der_next(&all, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &outer) &&
		      der_next(&outer, V_ASN1_OBJECT, V_ASN1_UNIVERSAL, &type) &&
		      der_next(&outer, 0, V_ASN1_CONTEXT_SPECIFIC, &tagged) &&
		      der_next(&tagged, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &body) &&
		      der_next(&body, V_ASN1_INTEGER, V_ASN1_UNIVERSAL, &version) &&
		      der_next(&body, V_ASN1_SET, V_ASN1_UNIVERSAL, &recipients);
	int tag, class;
	long len;

	if (!framed || recipients.at >= recipients.end)
		return false;
	one = recipients;
	if (ASN1_get_object(&one.at, &len, &tag, &class, one.end - one.at) & 0x81 ||
		one.at + len != recipients.end)
		return false;
	return der_next(&body, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &info) && content_is_gcm(info) &&
	       der_next(&body, V_ASN1_OCTET_STRING, V_ASN1_UNIVERSAL, &mac) &&
	       mac.end - mac.at == GCM_TAG_BYTES && body.at == body.end;
}

/* The one recipient when the CMS is what this module writes, of this kind. */
static enum ls_code only_recipient(
	CMS_ContentInfo *cms, int kind, CMS_RecipientInfo **out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };
	STACK_OF(CMS_RecipientInfo) * all;

	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_id_smime_ct_authEnvelopedData)
		return LS_FAIL(err, LS_E_DAMAGED, "not an AuthEnvelopedData (RFC 5083)");
	LS_TRY(ls_cms_to_der(cms, &der, err));
	if (!shape_is_ours(ls_buf_bytes(&der)))
		return LS_FAIL(err, LS_E_DAMAGED,
			"not AES-256-GCM with a whole tag for one recipient (RFC 5084)");
	all = CMS_get0_RecipientInfos(cms);
	if (sk_CMS_RecipientInfo_num(all) != 1 ||
		CMS_RecipientInfo_type(sk_CMS_RecipientInfo_value(all, 0)) != kind)
		return LS_FAIL(err, LS_E_DAMAGED, "for another kind of recipient");
	*out = sk_CMS_RecipientInfo_value(all, 0);
	return LS_OK;
}

/* ---- content in and out, without copies that nobody wipes ---- */

/* CMS_final would pass the content through buffers that it does not wipe. */
static enum ls_code encrypt(CMS_ContentInfo *cms, struct ls_bytes plain, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *chain = NULL;

	if (plain.len > LS_CMS_BYTES_MAX / 2)
		return LS_FAIL(err, LS_E_CRYPTO, "%zu bytes are too many to seal", plain.len);
	chain = CMS_dataInit(cms, NULL);
	if (!chain ||
		(plain.len > 0 && BIO_write(chain, plain.data, (int)plain.len) != (int)plain.len) ||
		BIO_flush(chain) != 1 || CMS_dataFinal(cms, chain) != 1)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encrypt");
	return LS_OK;
}

/* After the recipient's key was set. Nothing is given out before the tag has been checked. */
static enum ls_code decrypt(CMS_ContentInfo *cms, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_bio_free) BIO *chain = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret plain = { 0 };
	ASN1_OCTET_STRING **content = CMS_get0_content(cms);
	size_t have = 0;
	int n = 0;

	if (!content || !*content)
		return LS_FAIL(err, LS_E_DAMAGED, "without its content");
	ls_secret_alloc(&plain, (size_t)ASN1_STRING_length(*content));
	chain = CMS_dataInit(cms, NULL);
	if (!chain)
		return ls_ossl_fail(err, LS_E_DAMAGED, "cannot be decrypted");
	while (have < plain.len &&
		(n = BIO_read(chain, plain.data + have, (int)(plain.len - have))) > 0)
		have += (size_t)n;
	if (n >= 0) { /* the end is where the cipher checks the tag */
		unsigned char beyond;

		n = BIO_read(chain, &beyond, 1);
	}
	if (have != plain.len || n > 0 || BIO_get_cipher_status(chain) != 1)
		return ls_ossl_fail(err, LS_E_DAMAGED, "not intact: the tag does not match");
	ls_secret_done(out);
	*out = plain;
	plain = (struct ls_secret){ 0 };
	return LS_OK;
}

static CMS_ContentInfo *new_envelope(void)
{
	CMS_ContentInfo *cms = CMS_AuthEnvelopedData_create(EVP_aes_256_gcm());

	if (cms)
		(void)CMS_set_detached(cms, 0); /* or the content is dropped */
	return cms;
}

/* ---- under the KEK ---- */

static void free_ossl(unsigned char **mem)
{
	OPENSSL_free(*mem);
	*mem = NULL;
}

enum ls_code ls_seal(struct ls_bytes plain, struct ls_bytes kek, int64_t epoch,
	struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	LS_CLEANUP(free_ossl) unsigned char *id = NULL;
	unsigned char *key = NULL;

	if (kek.len != LS_KEK_BYTES || epoch < 0 || epoch > UINT32_MAX)
		return LS_FAIL(err, LS_E_CRYPTO, "seal: no such epoch or key");
	cms = new_envelope();
	id = OPENSSL_malloc(EPOCH_BYTES);
	key = OPENSSL_memdup(kek.data, kek.len);
	if (id)
		for (int i = 0; i < EPOCH_BYTES; i++)
			id[i] = (unsigned char)(epoch >> (8 * (EPOCH_BYTES - 1 - i)));
	if (!cms || !id || !key ||
		!CMS_add0_recipient_key(
			cms, NID_id_aes256_wrap, key, kek.len, id, EPOCH_BYTES, NULL, NULL, NULL)) {
		OPENSSL_clear_free(key, kek.len);
		return ls_ossl_fail(err, LS_E_CRYPTO, "seal");
	}
	id = NULL; /* both are the envelope's now; it wipes the key */
	LS_TRY(encrypt(cms, plain, err));
	return ls_cms_to_pem(cms, LABEL, out_pem, err);
}

/* The envelope and the epoch that it names. */
static enum ls_code read_sealed(
	struct ls_bytes pem, CMS_ContentInfo **out, int64_t *out_epoch, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	CMS_RecipientInfo *recipient;
	ASN1_OCTET_STRING *id = NULL;
	const unsigned char *bytes;

	LS_TRY(ls_cms_from_pem(pem, LABEL, &cms, err));
	LS_TRY(only_recipient(cms, CMS_RECIPINFO_KEK, &recipient, err));
	if (CMS_RecipientInfo_kekri_get0_id(recipient, NULL, &id, NULL, NULL, NULL) != 1 || !id ||
		ASN1_STRING_length(id) != EPOCH_BYTES)
		return LS_FAIL(err, LS_E_DAMAGED, "names no epoch");
	bytes = ASN1_STRING_get0_data(id);
	*out_epoch = (int64_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
	*out = LS_TAKE(cms);
	return LS_OK;
}

enum ls_code ls_seal_epoch(struct ls_bytes pem, int64_t *out_epoch, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;

	if (read_sealed(pem, &cms, out_epoch, err) != LS_OK)
		return LS_WRAP(err, "sealed text");
	return LS_OK;
}

enum ls_code ls_unseal(struct ls_bytes pem, const struct ls_keyring *ring, struct ls_secret *out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	const struct ls_secret *kek;
	int64_t epoch = 0;

	if (read_sealed(pem, &cms, &epoch, err) != LS_OK)
		return LS_WRAP(err, "unseal");
	kek = ls_keyring_get(ring, epoch);
	if (!kek)
		return LS_FAIL(err, LS_E_REFUSED,
			"unseal: this node does not have the cluster key of epoch %lld",
			(long long)epoch);
	/* The id was matched above; without one OpenSSL tries the only recipient. */
	if (CMS_decrypt_set1_key(cms, kek->data, kek->len, NULL, 0) != 1)
		return ls_ossl_fail(err, LS_E_DAMAGED,
			"unseal: does not open with the key of epoch %lld", (long long)epoch);
	if (decrypt(cms, out, err) != LS_OK)
		return LS_WRAP(err, "unseal (epoch %lld)", (long long)epoch);
	return LS_OK;
}

/* ---- to a certificate ---- */

/* OpenSSL's defaults are SHA-1 in the ECDH key derivation and RSA with PKCS#1 v1.5. */
static bool harden_recipient(CMS_RecipientInfo *recipient)
{
	EVP_PKEY_CTX *ctx = CMS_RecipientInfo_get0_pkey_ctx(recipient);

	if (!ctx)
		return false;
	if (CMS_RecipientInfo_type(recipient) == CMS_RECIPINFO_AGREE)
		return EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()) > 0;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) > 0;
}

static enum ls_code envelop(
	X509 *cert, struct ls_bytes plain, CMS_ContentInfo **out, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = new_envelope();
	CMS_RecipientInfo *recipient =
		cms ? CMS_add1_recipient_cert(cms, cert, CMS_KEY_PARAM) : NULL;

	if (!recipient || !harden_recipient(recipient))
		return ls_ossl_fail(err, LS_E_CRYPTO, "encrypt to a certificate");
	LS_TRY(encrypt(cms, plain, err));
	*out = LS_TAKE(cms);
	return LS_OK;
}

enum ls_code ls_kek_wrap(struct ls_bytes kek, struct ls_bytes recipient_cert_pem,
	const struct ls_signer *wrapper, struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret text = { 0 };
	LS_CLEANUP(ls_x509_free) X509 *to = NULL, *by = NULL;
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *inner = NULL, *outer = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf der = { 0 };

	if (kek.len != LS_KEK_BYTES)
		return LS_FAIL(err, LS_E_CRYPTO, "wrap: not a cluster key");
	LS_TRY(ls_x509_from_pem(recipient_cert_pem, "the wrapping certificate", &to, err));
	LS_TRY(ls_x509_from_pem(
		ls_buf_bytes(&wrapper->cert_pem), "the wrapper's signing certificate", &by, err));
	if (EVP_PKEY_get_base_id(X509_get0_pubkey(to)) != EVP_PKEY_EC)
		return LS_FAIL(err, LS_E_REFUSED, "the wrapping certificate's key is not EC");
	ls_secret_alloc(&text, KEK_HEX + 1);
	ls_hex(kek.data, kek.len, (char *)text.data);
	text.data[KEK_HEX] = '\n';
	LS_TRY(envelop(to, ls_secret_bytes(&text), &inner, err));
	LS_TRY(ls_cms_to_der(inner, &der, err));
	LS_TRY(ls_cms_sign(ls_buf_bytes(&der), false, by, wrapper->key, &outer, err));
	return ls_cms_to_pem(outer, LABEL, out_pem, err);
}

/* The envelope inside a wrap, once its signer is known to be one of the allowed. */
static enum ls_code open_wrap(struct ls_bytes wrap_pem, char *const *allowed_cert_pems,
	CMS_ContentInfo **out_inner, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *outer = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf signer = { 0 };
	ASN1_OCTET_STRING **content;

	LS_TRY(ls_cms_from_pem(wrap_pem, LABEL, &outer, err));
	if (ls_cms_verify(outer, NULL, &signer, err) != LS_OK) {
		err->code = LS_E_DAMAGED; /* not intact; who signed it is another question */
		return err->code;
	}
	if (!ls_strv_has(allowed_cert_pems, ls_buf_text(&signer)))
		return LS_FAIL(err, LS_E_REFUSED, "signed by none of the allowed members");
	content = CMS_get0_content(outer);
	if (!content || !*content)
		return LS_FAIL(err, LS_E_DAMAGED, "without its content");
	return ls_cms_from_der((struct ls_bytes){ ASN1_STRING_get0_data(*content),
				       (size_t)ASN1_STRING_length(*content) },
		out_inner, err);
}

static enum ls_code unwrap(struct ls_bytes wrap_pem, EVP_PKEY *wrapping_key, X509 *cert,
	char *const *allowed_cert_pems, struct ls_secret *out_kek, struct ls_err *err)
{
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *inner = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret text = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 };
	CMS_RecipientInfo *recipient;

	LS_TRY(open_wrap(wrap_pem, allowed_cert_pems, &inner, err));
	LS_TRY(only_recipient(inner, CMS_RECIPINFO_AGREE, &recipient, err));
	if (CMS_decrypt_set1_pkey(inner, wrapping_key, cert) != 1)
		return ls_ossl_fail(
			err, LS_E_DAMAGED, "does not open with this node's wrapping key");
	LS_TRY(decrypt(inner, &text, err));
	ls_secret_alloc(&kek, LS_KEK_BYTES);
	if (text.len != KEK_HEX + 1 || text.data[KEK_HEX] != '\n')
		return LS_FAIL(err, LS_E_DAMAGED, "does not hold a cluster key");
	text.data[KEK_HEX] = '\0';
	if (!ls_unhex((const char *)text.data, kek.data, LS_KEK_BYTES))
		return LS_FAIL(err, LS_E_DAMAGED, "does not hold a cluster key");
	ls_secret_done(out_kek);
	*out_kek = kek;
	kek = (struct ls_secret){ 0 };
	return LS_OK;
}

enum ls_code ls_kek_unwrap(struct ls_bytes wrap_pem, struct evp_pkey_st *wrapping_key,
	struct ls_bytes wrapping_cert_pem, char *const *allowed_cert_pems,
	struct ls_secret *out_kek, struct ls_err *err)
{
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	struct ls_err why = { 0 };

	LS_TRY(ls_x509_from_pem(wrapping_cert_pem, "the wrapping certificate", &cert, err));
	if (unwrap(wrap_pem, wrapping_key, cert, allowed_cert_pems, out_kek, &why) != LS_OK)
		return LS_FAIL(err, why.code, "unwrap the cluster key: %s", why.text);
	return LS_OK;
}

/* ---- escrow ---- */

static enum ls_code check_escrow_cert(X509 *cert, int64_t now_s, struct ls_err *err)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	time_t now = (time_t)now_s;
	int type = key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;

	if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
		return ls_ossl_fail(
			err, LS_E_REFUSED, "the escrow certificate's key is neither RSA nor EC");
	if (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
		return LS_FAIL(err, LS_E_REFUSED,
			"the escrow certificate's key: found RSA of %d bits, wanted %d or more",
			EVP_PKEY_get_bits(key), RSA_BITS_MIN);
	if (X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0)
		return LS_FAIL(err, LS_E_REFUSED, "the escrow certificate has expired");
	return LS_OK;
}

enum ls_code ls_kek_escrow(const struct ls_keyring *ring, struct ls_bytes to_cert_pem,
	int64_t now_s, struct ls_buf *out_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret text = { 0 };
	size_t have = 0;

	LS_TRY(ls_x509_from_pem(to_cert_pem, "the escrow certificate", &cert, err));
	LS_TRY(check_escrow_cert(cert, now_s, err));
	ls_secret_alloc(&text, ring->count * (EPOCH_TEXT_MAX + 1 + KEK_HEX + 1) + 1);
	for (size_t i = 0; i < ring->count; i++) {
		const struct ls_keyring_entry *entry = &ring->entries[i];
		char *line = (char *)text.data + have;
		int n = snprintf(line, text.len - have, "%lld ", (long long)entry->epoch);

		ls_hex(entry->kek.data, LS_KEK_BYTES, line + n);
		line[n + KEK_HEX] = '\n';
		have += (size_t)n + KEK_HEX + 1;
	}
	LS_TRY(envelop(cert, (struct ls_bytes){ text.data, have }, &cms, err));
	return ls_cms_to_pem(cms, LABEL, out_pem, err);
}
