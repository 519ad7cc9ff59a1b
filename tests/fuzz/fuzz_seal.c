/* Bytes that claim to be a sealed text, a signature, a wrapped cluster key, an escrow's certificate
 * or a node's. The first byte picks what they are taken for: text as it comes (capitals), or DER
 * that is put into PEM first. */
#include <assert.h>
#include <string.h>

#include "pki/authority.h"
#include "pki/cms.h"
#include "pki/seal.h"
#include "tests/fuzz/support/der.h"
#include "tests/fuzz/support/fixed.h"
#include "tests/fuzz/support/mutate.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct ls_signer ca, signer, wrapping;
static struct ls_keyring ring;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	unsigned char kek[LS_KEK_BYTES];

	(void)argc;
	(void)argv;
	memset(kek, 0x42, sizeof kek); /* the corpus is sealed under it */
	ls_keyring_put(&ring, 7, (struct ls_bytes){ kek, sizeof kek });
	fixed_ca(&ca);
	fixed_member(&signer);
	fixed_wrapping(&wrapping);
	return 0;
}

static void unseal(struct ls_bytes pem)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret plain = { 0 };
	struct ls_err err;
	int64_t epoch;

	if (ls_unseal(pem, &ring, &plain, &err) == LS_OK)
		assert(ls_seal_epoch(pem, &epoch, &err) == LS_OK && epoch == 7);
}

static void verify(struct ls_bytes pem)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf cert = { 0 };
	struct ls_err err;

	if (ls_sign_verify(LS_BYTES_STR("content"), pem, &cert, &err) == LS_OK)
		assert(strncmp(ls_buf_text(&cert), "-----BEGIN CERTIFICATE-----\n", 28) == 0);
}

static void unwrap(struct ls_bytes pem)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 };
	char *allowed[] = { signer.cert_pem.data, NULL };
	struct ls_err err;

	if (ls_kek_unwrap(pem, wrapping.key, ls_buf_bytes(&wrapping.cert_pem), allowed, &kek,
		    &err) == LS_OK)
		assert(kek.len == LS_KEK_BYTES);
}

/* What a member signed, so that the envelope inside is reached. */
static void unwrap_signed(struct ls_bytes der)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	LS_CLEANUP(ls_x509_free) X509 *cert = NULL;
	LS_CLEANUP(ls_cms_free) CMS_ContentInfo *cms = NULL;
	struct ls_err err;

	assert(ls_x509_from_pem(ls_buf_bytes(&signer.cert_pem), "cert", &cert, &err) == LS_OK);
	assert(ls_cms_sign(der, false, cert, signer.key, &cms, &err) == LS_OK);
	assert(ls_cms_to_pem(cms, "CMS", &pem, &err) == LS_OK);
	unwrap(ls_buf_bytes(&pem));
}

static void escrow(struct ls_bytes pem)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf out = { 0 };
	struct ls_err err;

	if (ls_kek_escrow(&ring, pem, 1800000000, &out, &err) == LS_OK)
		assert(strncmp(ls_buf_text(&out), "-----BEGIN CMS-----\n", 20) == 0);
}

static void check_node(struct ls_bytes pem)
{
	struct ls_err err = { 0 };

	if (ls_authority_check(ls_buf_bytes(&ca.cert_pem), pem, "prod", "n1", &err) != LS_OK)
		assert(err.text[0]);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (size < 2 || seed % 64 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	if (data[0] >= 'A' && data[0] <= 'Z')
		return 1 + mutate_pem(data + 1, size - 1, max_size - 1, seed);
	return 1 + mutate_der(data + 1, size - 1, max_size - 1, seed);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf pem = { 0 };
	struct ls_bytes rest = { data + 1, size - 1 };

	if (size < 1)
		return 0;
	der_to_pem(rest, data[0] == 's' ? "SIGNED MESSAGE" : "CMS", &pem);
	switch (data[0]) {
	case 'U':
		unseal(rest);
		break;
	case 'u':
		unseal(ls_buf_bytes(&pem));
		break;
	case 'S':
		verify(rest);
		break;
	case 's':
		verify(ls_buf_bytes(&pem));
		break;
	case 'W':
		unwrap(rest);
		break;
	case 'w':
		unwrap(ls_buf_bytes(&pem));
		break;
	case 'E':
		escrow(rest);
		break;
	case 'A':
		check_node(rest);
		break;
	default:
		unwrap_signed(rest);
	}
	return 0;
}
