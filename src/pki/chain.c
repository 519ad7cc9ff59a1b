#include "pki/chain.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pki/ossl.h"
#include "pki/pem.h"

#define NONE ((size_t)-1)

void ls_chain_done(struct ls_chain *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		X509_free(chain->certs[i].x509);
	*chain = (struct ls_chain){ 0 };
}

static char *name_text(const X509_NAME *name)
{
	LS_CLEANUP(ls_bio_free) BIO *bio = BIO_new(BIO_s_mem());
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	/* RFC 4514 leaves UTF-8 as it is; OpenSSL's ESC_MSB would spell it in hex. */
	if (!bio || X509_NAME_print_ex(bio, name, 0,
			    XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0)
		return ls_format("unreadable name (%s)", ls_ossl_reason());
	ls_bio_take(bio, &text);
	return ls_buf_take(&text);
}

char *ls_chain_subject(const X509 *cert)
{
	return name_text(X509_get_subject_name(cert));
}

char *ls_chain_issuer(const X509 *cert)
{
	return name_text(X509_get_issuer_name(cert));
}

struct ls_chain_label ls_chain_label(const X509 *cert)
{
	LS_CLEANUP(ls_free_str) char *subject = ls_chain_subject(cert);
	struct ls_chain_label label;

	if (!*subject)
		(void)snprintf(label.text, sizeof label.text, "a certificate without subject");
	else
		(void)snprintf(label.text, sizeof label.text, "%.117s%s", subject,
			strlen(subject) > 117 ? "..." : "");
	return label;
}

static enum ls_code check_der(
	const struct ls_pem *pem, X509 *cert, const unsigned char *end, struct ls_err *err)
{
	LS_CLEANUP(ls_der_free) unsigned char *again = NULL;
	int len;

	if (!cert)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: DER: found a certificate that cannot be read (block %zu: %s), wanted "
			"whole ones (RFC 5280 section 4.1)",
			pem->name, pem->index, ls_ossl_reason());
	if (end != pem->der + pem->der_len)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: DER: found %zu bytes behind the certificate of block %zu, wanted none "
			"(RFC 7468 section 5.1)",
			pem->name, (size_t)(pem->der + pem->der_len - end), pem->index);
	len = i2d_X509(cert, &again);
	if (len <= 0 || !ls_bytes_equal((struct ls_bytes){ again, (size_t)len },
				(struct ls_bytes){ pem->der, pem->der_len })) {
		ERR_clear_error();
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: DER: found BER in block %zu, wanted distinguished encoding (RFC 5280 "
			"section 4.1)",
			pem->name, pem->index);
	}
	return LS_OK;
}

static enum ls_code check_readable(const struct ls_pem *pem, X509 *cert, struct ls_err *err)
{
	if (!X509_get0_pubkey(cert))
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: public key: found one that cannot be read in '%s' (%s), wanted RSA, "
			"EC or Ed25519",
			pem->name, ls_chain_label(cert).text, ls_ossl_reason());
	/* Fills the cache of extensions as well: later reads do not write. */
	if (X509_get_extension_flags(cert) & EXFLAG_INVALID)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: extensions: found some that cannot be read in '%s' (%s), wanted "
			"well-formed ones (RFC 5280 section 4.2)",
			pem->name, ls_chain_label(cert).text, ls_ossl_reason());
	return LS_OK;
}

static enum ls_code add_cert(struct ls_chain *chain, const struct ls_pem *pem, struct ls_err *err)
{
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	const unsigned char *at = pem->der;

	if (chain->blocks++ == LS_CHAIN_MAX)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: certificates: found more than %d, wanted at most as many", pem->name,
			LS_CHAIN_MAX);
	cert = d2i_X509(NULL, &at, (long)pem->der_len);
	LS_TRY(check_der(pem, cert, at, err));
	for (size_t i = 0; i < chain->count; i++)
		if (X509_cmp(chain->certs[i].x509, cert) == 0)
			return LS_OK;
	LS_TRY(check_readable(pem, cert, err));
	chain->certs[chain->count].key = X509_get0_pubkey(cert);
	chain->certs[chain->count].file = pem->name;
	chain->certs[chain->count++].x509 = LS_TAKE(cert);
	ERR_clear_error();
	return LS_OK;
}

enum ls_code ls_chain_read(
	struct ls_chain *chain, const char *file, struct ls_bytes text, struct ls_err *err)
{
	LS_CLEANUP(ls_pem_done) struct ls_pem pem = { 0 };
	bool more;

	LS_TRY(ls_pem_open(&pem, file, text, err));
	for (;;) {
		LS_TRY(ls_pem_next(&pem, &more, err));
		if (!more)
			return LS_OK;
		if (ls_pem_is_cert(&pem))
			LS_TRY(add_cert(chain, &pem, err));
	}
}

/* Names and key identifiers say that `issuer` may have issued `cert`. A key usage that forbids it
 * is left to the rules, and a kind of signature that its key cannot make to verifying it, which say
 * so in words: a root that cannot be verified is no intermediate. */
static bool names_match(X509 *issuer, X509 *cert)
{
	int rc = X509_check_issued(issuer, cert);

	ERR_clear_error();
	return rc == X509_V_OK || rc == X509_V_ERR_KEYUSAGE_NO_CERTSIGN ||
	       rc == X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH ||
	       rc == X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM;
}

static bool verifies(const struct ls_chain_cert *issuer, X509 *cert)
{
	bool yes = X509_verify(cert, issuer->key) == 1;

	ERR_clear_error();
	return yes;
}

/* How well a certificate serves as another's issuer; the best one is its parent. A cross-signed
 * twin of a root leads further up than the root does, hence the preference. */
enum fit { FIT_NO, FIT_NAME_ONLY, FIT_ROOT, FIT_INTERMEDIATE };

static enum fit fit_of(const struct ls_chain_cert *issuer, X509 *cert)
{
	if (!names_match(issuer->x509, cert))
		return FIT_NO;
	if (!verifies(issuer, cert))
		return FIT_NAME_ONLY;
	return issuer->self_signed ? FIT_ROOT : FIT_INTERMEDIATE;
}

struct links {
	size_t parent[LS_CHAIN_MAX]; /* NONE: top of its path */
	enum fit fit[LS_CHAIN_MAX];
	bool issued[LS_CHAIN_MAX]; /* is another's parent */
};

static void find_links(struct ls_chain *chain, struct links *links)
{
	*links = (struct links){ 0 };
	for (size_t i = 0; i < chain->count; i++) {
		struct ls_chain_cert *cert = &chain->certs[i];

		cert->self_signed =
			names_match(cert->x509, cert->x509) && verifies(cert, cert->x509);
	}
	for (size_t i = 0; i < chain->count; i++) {
		links->parent[i] = NONE;
		for (size_t j = 0; j < chain->count && !chain->certs[i].self_signed; j++) {
			enum fit fit =
				j == i ? FIT_NO : fit_of(&chain->certs[j], chain->certs[i].x509);

			if (fit <= links->fit[i])
				continue;
			links->fit[i] = fit;
			links->parent[i] = j;
		}
		if (links->parent[i] != NONE)
			links->issued[links->parent[i]] = true;
	}
}

static enum ls_code find_leaf(const struct ls_chain *chain, const struct links *links,
	const char *file, size_t *out_leaf, struct ls_err *err)
{
	size_t tips[LS_CHAIN_MAX] = { 0 }, count = 0;

	for (size_t i = 0; i < chain->count; i++)
		if (!links->issued[i])
			tips[count++] = i;
	if (count == 0)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: leaf: found only certificates that issued one another, wanted one "
			"that issued none",
			file);
	if (count > 1 && tips[0] != 0)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: leaf: found %zu certificates that could be it ('%s', '%s'), wanted "
			"exactly one, or the leaf first (RFC 8446 section 4.4.2)",
			file, count, ls_chain_label(chain->certs[tips[0]].x509).text,
			ls_chain_label(chain->certs[tips[1]].x509).text);
	*out_leaf = tips[0];
	return LS_OK;
}

static enum ls_code refuse_off_path(
	const struct ls_chain_cert *stray, const struct ls_chain_cert *leaf, struct ls_err *err)
{
	bool ca = X509_get_extension_flags(stray->x509) & EXFLAG_CA;

	return LS_FAIL(err, LS_E_REFUSED,
		"%s: %s: found '%s', wanted only issuers of '%s' (RFC 8446 section 4.4.2)",
		stray->file, ca ? "certificate off the path" : "second leaf",
		ls_chain_label(stray->x509).text, ls_chain_label(leaf->x509).text);
}

static enum ls_code refuse_signature(const struct ls_chain_cert *cert, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *issuer = ls_chain_issuer(cert->x509);

	return LS_FAIL(err, LS_E_REFUSED,
		"%s: signature: found one on '%s' that the key of '%.120s' did not make, wanted "
		"the issuer's (RFC 5280 section 6.1.3)",
		cert->file, ls_chain_label(cert->x509).text, issuer);
}

enum ls_code ls_chain_order(struct ls_chain *chain, const char *file, struct ls_err *err)
{
	struct ls_chain_cert ordered[LS_CHAIN_MAX];
	bool taken[LS_CHAIN_MAX] = { false };
	struct links links;
	size_t leaf = 0, count = 0;

	if (chain->count == 0)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: certificates: found no CERTIFICATE block, wanted at least one in PEM "
			"(RFC 7468 section 5.1)",
			file);
	find_links(chain, &links);
	LS_TRY(find_leaf(chain, &links, file, &leaf, err));
	for (size_t at = leaf; at != NONE && !taken[at]; at = links.parent[at]) {
		taken[at] = true;
		ordered[count++] = chain->certs[at];
	}
	for (size_t i = 0; i < chain->count; i++)
		if (!taken[i])
			return refuse_off_path(&chain->certs[i], &chain->certs[leaf], err);
	for (size_t at = leaf, n = 0; n < count; at = links.parent[at], n++) {
		bool unproven =
			links.parent[at] == NONE
				? !chain->certs[at].self_signed &&
					  names_match(chain->certs[at].x509, chain->certs[at].x509)
				: links.fit[at] == FIT_NAME_ONLY;

		if (unproven)
			return refuse_signature(&chain->certs[at], err);
	}
	memcpy(chain->certs, ordered, count * sizeof *ordered);
	return LS_OK;
}

size_t ls_chain_served(const struct ls_chain *chain)
{
	bool root = chain->count > 1 && chain->certs[chain->count - 1].self_signed;

	return chain->count - (root ? 1 : 0);
}
