/* Any bytes as PEM, to each of our readers: damaged blocks are refused in words, and no block is
 * passed over in silence. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pki/cms.h"
#include "pki/issue.h"
#include "pki/pem.h"
#include "tests/fuzz/support/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_pem(data, size, max_size, seed);
}

static void blocks(struct ls_bytes text)
{
	LS_CLEANUP(ls_pem_done) struct ls_pem pem = { 0 };
	struct ls_err err = { 0 };
	bool more = true;
	size_t count = 0;

	if (ls_pem_open(&pem, "file", text, &err) != LS_OK)
		abort();
	while (more) {
		if (ls_pem_next(&pem, &more, &err) != LS_OK) {
			if (err.code != LS_E_REFUSED || !err.text[0])
				abort();
			return;
		}
		if (!more)
			break;
		if (pem.index != ++count || !pem.label || !pem.header ||
			(pem.der_len && !pem.der) || count > text.len / 20)
			abort();
		(void)ls_pem_is_cert(&pem);
		(void)ls_pem_is_private_key(&pem);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char label[] = "SIGNED MESSAGE";
	struct ls_bytes text = { size ? (const void *)data : "", size };
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	struct ls_err err;

	blocks(text);
	if (ls_x509_from_pem(text, "certificate", &cert, &err) == LS_OK && !cert)
		abort();
	if (ls_cms_from_pem(text, label, &cms, &err) == LS_OK && !cms)
		abort();
	(void)ls_request_has_key(text, "no such key");
	return 0;
}
