/* Any bytes as the daemon's answer to the command line: HTTP, then JSON, then tables. The first
 * byte picks the verb. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tests/fuzz/support/peer.h"
#include "tests/fuzz/support/scratch.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct call {
	ls_cli_run *run;
	const char *words[3];
} calls[] = {
	{ ls_cli_status, { NULL } },
	{ ls_cli_cert_list, { NULL } },
	{ ls_cli_cert_show, { "proxy", NULL } },
	{ ls_cli_cert_renew, { "proxy", NULL } },
	{ ls_cli_history, { NULL } },
	{ ls_cli_history_show, { "1", NULL } },
	{ ls_cli_history_verify, { NULL } },
	{ ls_cli_rollback, { "1", NULL } },
	{ ls_cli_seal_rotate, { NULL } },
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	(void)peer_start();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ls_cli_verb verb = { .name = "fuzz" };
	struct ls_cli cli = { .root = scratch_dir(), .timeout_ms = 10000 };
	struct call *call;
	char *words[4] = { NULL };
	int count = 0, code;

	if (size < 1)
		return 0;
	call = &calls[(data[0] & 0x3f) % LS_COUNT(calls)];
	cli.json = data[0] & 0x40;
	while (call->words[count]) {
		words[count] = ls_strdup(call->words[count]);
		count++;
	}
	peer_answer((struct ls_bytes){ data + 1, size - 1 }, -1);
	code = call->run(&cli, &verb, count, words);
	if (code < 0 || code > 6)
		abort();
	ls_paths_done(&cli.paths);
	for (int i = 0; i < count; i++)
		free(words[i]);
	return 0;
}
