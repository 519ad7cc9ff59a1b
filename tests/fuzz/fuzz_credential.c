/* Any bytes as certificate and as key: judged without a fault, and what passes is canonical, so it
 * passes again and stays the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pki/credential.h"
#include "pki/key.h"
#include "tests/fuzz/support/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ls_policy policy;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_pem(data, size, max_size, seed);
}

static void judge(struct ls_bytes bytes, struct ls_bytes key, int64_t now_s)
{
	LS_CLEANUP(ls_credential_done) struct ls_credential first = { 0 }, second = { 0 };
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	char *wanted[] = { (char[]){ "DNS:a.example" }, (char[]){ "IP:192.0.2.1" }, NULL };
	struct ls_err err = { 0 };
	struct ls_credential_input input = { .component = "syncer",
		.cert = { "cert", bytes },
		.key = { "key", key },
		.passphrase = LS_BYTES_STR("sesame"),
		.wanted_sans = wanted,
		.now_s = now_s };

	if (ls_credential_judge(&input, &policy, &first, &err) != LS_OK) {
		if (err.code != LS_E_REFUSED || !err.text[0] || strchr(err.text, '\n'))
			abort();
		return;
	}
	input.cert.bytes = ls_buf_bytes(&first.chain_pem);
	input.key.bytes = ls_secret_bytes(&first.key_pem);
	if (ls_credential_judge(&input, &policy, &second, &err) != LS_OK ||
		!ls_bytes_equal(ls_buf_bytes(&first.chain_pem), ls_buf_bytes(&second.chain_pem)) ||
		!ls_bytes_equal(
			ls_secret_bytes(&first.key_pem), ls_secret_bytes(&second.key_pem)) ||
		ls_cert_info_read(ls_buf_bytes(&first.chain_pem), &info, &err) != LS_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	struct ls_bytes bytes = { size ? (const void *)data : "", size };
	struct ls_err err = { 0 };

	/* What is weak or of no use gets further under a policy that asks for little. */
	if (!policy.name &&
		ls_policy_parse("fuzz", "fuzz",
			LS_BYTES_STR("rsa_min = 512; digest_min = \"sha1\"; eku = [ ];"), &policy,
			&err) != LS_OK)
		abort();
	judge(bytes, (struct ls_bytes){ 0 }, 1700000000);
	judge(bytes, bytes, 1700000000);
	judge(bytes, (struct ls_bytes){ 0 }, 1800000000); /* the fixed key's certificates */
	judge(bytes, bytes, 1800000000);
	(void)ls_cert_info_read(bytes, &info, &err);
	(void)ls_key_from_pem("key", bytes, LS_BYTES_STR("sesame"), &key, &err);
	return 0;
}
