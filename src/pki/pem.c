#include "pki/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/text.h"
#include "pki/ossl.h"

#define SECURE_TEXT_MAX (64 * 1024)
#define TEXT_MAX (64 * 1024 * 1024) /* far above every policy's bound; BIO lengths are int */

static void block_done(struct ls_pem *pem)
{
	OPENSSL_secure_free(pem->label);
	OPENSSL_secure_free(pem->header);
	OPENSSL_secure_clear_free(pem->der, pem->der_len);
	pem->label = NULL;
	pem->header = NULL;
	pem->der = NULL;
	pem->der_len = 0;
}

void ls_pem_done(struct ls_pem *pem)
{
	block_done(pem);
	ls_bio_free(&pem->bio);
}

enum ls_code ls_pem_open(
	struct ls_pem *pem, const char *name, struct ls_bytes text, struct ls_err *err)
{
	*pem = (struct ls_pem){ .name = name, .text = text };
	if (text.len > TEXT_MAX)
		return LS_FAIL(err, LS_E_REFUSED, "%s: size: found %zu bytes, wanted at most %d",
			name, text.len, TEXT_MAX);
	pem->bio = BIO_new_mem_buf(text.len ? text.data : "", (int)text.len);
	if (!pem->bio)
		return ls_ossl_fail(err, LS_E_CRYPTO, "%s: read PEM", name);
	return LS_OK;
}

/* Lines that open a block, in OpenSSL's or a damaged spelling: OpenSSL passes over the latter as
 * over any text, and a certificate would be lost in silence. */
static size_t count_begin_lines(struct ls_bytes text)
{
	static const char begin[] = "-----BEGIN ";
	const char *at = text.data, *end = at + text.len;
	size_t count = 0;

	if (text.len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
		at += 3;
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if ((size_t)(end - at) >= sizeof begin - 1 &&
			memcmp(at, begin, sizeof begin - 1) == 0)
			count++;
		if (!newline)
			break;
		at = newline + 1;
	}
	return count;
}

enum ls_code ls_pem_next(struct ls_pem *pem, bool *out_more, struct ls_err *err)
{
	long len = 0;

	unsigned flags = PEM_FLAG_EAY_COMPATIBLE;

	block_done(pem);
	ERR_clear_error();
	/* The memory for keys is small: a long text goes through plain memory, wiped as well. */
	if (pem->text.len <= SECURE_TEXT_MAX)
		flags |= PEM_FLAG_SECURE;
	if (PEM_read_bio_ex(pem->bio, &pem->label, &pem->header, &pem->der, &len, flags) == 1) {
		pem->der_len = (size_t)len;
		pem->index++;
		*out_more = true;
		return LS_OK;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: PEM: found a damaged block (number %zu: %s), wanted whole blocks "
			"(RFC 7468 section 2)",
			pem->name, pem->index + 1, ls_ossl_reason());
	ERR_clear_error();
	if (pem->text.len && count_begin_lines(pem->text) != pem->index)
		return LS_FAIL(err, LS_E_REFUSED,
			"%s: PEM: found %zu lines that begin a block and %zu whole blocks, wanted "
			"as many (RFC 7468 section 2)",
			pem->name, count_begin_lines(pem->text), pem->index);
	*out_more = false;
	return LS_OK;
}

bool ls_pem_is_cert(const struct ls_pem *pem)
{
	return strcmp(pem->label, PEM_STRING_X509) == 0 ||
	       strcmp(pem->label, PEM_STRING_X509_OLD) == 0;
}

bool ls_pem_is_private_key(const struct ls_pem *pem)
{
	return ls_has_suffix(pem->label, "PRIVATE KEY");
}
