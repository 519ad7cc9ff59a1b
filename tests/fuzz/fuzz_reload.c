/* Any bytes as answers of redis and haproxy to a reload. The first byte says whose; a NUL ends one
 * connection's answer and begins the next one's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/reload.h"
#include "tests/fuzz/support/peer.h"
#include "tests/fuzz/support/scratch.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *password_file, *redis, *socket_path;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	LS_CLEANUP(ls_free_str) char *dir = ls_format("%s/..data", scratch_dir());

	(void)argc;
	(void)argv;
	if (mkdir(dir, 0700) != 0)
		abort();
	scratch_put("..data/proxy.pem", LS_BYTES_STR("-----BEGIN X-----\nAA==\n-----END X-----\n"));
	scratch_put("password", LS_BYTES_STR("sesame\n"));
	password_file = ls_format("%s/password", scratch_dir());
	socket_path = ls_strdup(peer_start());
	redis = ls_format("unix:%s", socket_path);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ls_reload reload = { .kind = LS_RELOAD_REDIS, .target = redis, .timeout_s = 30 };
	struct ls_service service = { .component = "proxy", .reloads = &reload, .reload_count = 1 };
	const struct ls_reload_about about = { .certs_path = scratch_dir(),
		.dir = "..gen-1",
		.present_dir = "",
		.node = "n1",
		.generation = 1,
		.old_sha256 = "",
		.new_sha256 = "" };
	LS_CLEANUP(ls_free_str) char *warning = NULL;
	struct ls_err err = { 0 };

	if (size < 1)
		return 0;
	if (data[0] == 'h') {
		reload.kind = LS_RELOAD_HAPROXY;
		reload.target = socket_path;
	} else if (data[0] == 'a') {
		reload.password_file = password_file;
	}
	peer_answer((struct ls_bytes){ data + 1, size - 1 }, data[0] == 'h' ? 0 : -1);
	if (ls_reload_run(&service, &about, &warning, &err) == LS_OK)
		return 0;
	if (!err.text[0] || (strstr(err.text, "sesame") && !memmem(data, size, "sesame", 6)))
		abort();
	for (const char *c = err.text; *c; c++)
		if ((unsigned char)*c < 0x20)
			abort();
	return 0;
}
