/* RSA takes seconds of CPU: it is made in a child (this program, called with --generate-key), so
 * that a worker that waits for it can be told from one that hangs. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "pki/key.h"
#include "sys/process.h"

#define KEYGEN_MS 120000
#define KEY_MAX_BYTES (64 * 1024)

enum ls_code ls_daemon_generate(
	const struct ls_key_spec *spec, struct evp_pkey_st **out, struct ls_err *err)
{
	LS_CLEANUP(ls_process_result_done) struct ls_process_result result = { 0 };
	char self[PATH_MAX], text[32];
	char option[] = "--generate-key";
	char *argv[] = { self, option, text, NULL };
	ssize_t n;

	if (spec->type != LS_KEY_RSA)
		return ls_key_generate(spec, out, err);
	n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return LS_FAIL_ERRNO(err, "find this program");
	self[n] = '\0';
	ls_key_spec_text(spec, text);
	LS_TRY(ls_process_run(
		&(struct ls_process){
			.argv = argv, .timeout_ms = KEYGEN_MS, .output_max = KEY_MAX_BYTES },
		&result, err));
	if (result.exit_status != 0) /* the output is never quoted: it could hold a key */
		return LS_FAIL(err, LS_E_FAILED, "generating a %s key failed (exit status %d)",
			text, result.exit_status);
	return ls_key_from_pem("the generated key", ls_secret_bytes(&result.output),
		(struct ls_bytes){ 0 }, out, err);
}

int ls_daemon_generate_child(const char *text)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	struct ls_key_spec spec;
	struct ls_err err = { 0 };
	size_t done = 0;

	if (ls_key_spec_parse(text, &spec, &err) != LS_OK ||
		ls_key_generate(&spec, &key, &err) != LS_OK ||
		ls_key_to_pem(key, &pem, &err) != LS_OK)
		return 1;
	while (done < pem.len) {
		ssize_t n = write(STDOUT_FILENO, pem.data + done, pem.len - done);

		if (n <= 0)
			return 1;
		done += (size_t)n;
	}
	return 0;
}
