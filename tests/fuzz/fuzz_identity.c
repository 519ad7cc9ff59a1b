/* A node's identity with one of its files replaced by the input; the first byte picks the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/identity.h"
#include "pki/key.h"
#include "tests/fuzz/support/fixed.h"
#include "tests/fuzz/support/mutate.h"
#include "tests/fuzz/support/scratch.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct file {
	const char *name;
	struct ls_buf right;
} files[] = {
	{ "node.json", { 0 } },
	{ "ca.pem", { 0 } },
	{ "signing-cert.pem", { 0 } },
	{ "signing-key.pem", { 0 } },
	{ "wrapping-1-cert.pem", { 0 } },
	{ "wrapping-1-key.pem", { 0 } },
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (size < 2 || seed % 16 == 0 || data[0] % LS_COUNT(files) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	return 1 + mutate_pem(data + 1, size - 1, max_size - 1, seed);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char node[] =
		"{\n  \"cluster\": \"prod\",\n  \"cluster_id\": "
		"\"0123456789abcdef0123456789abcdef\",\n  \"node\": \"n1\",\n  \"root\": "
		"\"0123456789abcdef0123456789abcdef01234567\"\n}\n";
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };
	struct ls_signer ca = { 0 }, member = { 0 }, wrapping = { 0 };
	struct ls_err err;

	(void)argc;
	(void)argv;
	fixed_ca(&ca);
	fixed_member(&member);
	fixed_wrapping(&wrapping);
	if (ls_key_to_pem(member.key, &key, &err) != LS_OK)
		abort();
	ls_buf_str(&files[0].right, node);
	ls_buf_copy(&files[1].right, &ca.cert_pem);
	ls_buf_copy(&files[2].right, &member.cert_pem);
	ls_buf_add_bytes(&files[3].right, ls_secret_bytes(&key));
	ls_buf_copy(&files[4].right, &wrapping.cert_pem);
	ls_buf_add_bytes(&files[5].right, ls_secret_bytes(&key));
	for (size_t i = 0; i < LS_COUNT(files); i++)
		scratch_put(files[i].name, ls_buf_bytes(&files[i].right));
	ls_buf_done(&ca.cert_pem);
	ls_buf_done(&member.cert_pem);
	ls_buf_done(&wrapping.cert_pem);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_identity_done) struct ls_identity identity = { 0 };
	LS_CLEANUP(ls_signer_done) struct ls_signer wrapping = { 0 };
	struct ls_err err = { 0 };
	const struct file *file;

	if (size < 1)
		return 0;
	file = &files[data[0] % LS_COUNT(files)];
	scratch_put(file->name, (struct ls_bytes){ data + 1, size - 1 });
	if (ls_identity_load(scratch_dir(), &identity, &err) == LS_OK) {
		if (!ls_name_valid(identity.node) || strlen(identity.root) != 40)
			abort();
	} else if (!err.text[0]) {
		abort();
	}
	if (ls_identity_load_wrapping(scratch_dir(), 1, &wrapping, &err) != LS_OK && !err.text[0])
		abort();
	scratch_put(file->name, ls_buf_bytes(&file->right));
	return 0;
}
