/* rladmin -- the Redis Enterprise grammar, for hands and scripts that know it. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int usage(FILE *to)
{
	fputs("usage: rladmin cluster certificate set NAME certificate_file FILE [key_file FILE]\n",
		to);
	return to == stdout ? 0 : 2;
}

int ls_cli_rladmin(struct ls_cli *cli, int argc, char **argv)
{
	const char *cert = NULL, *key = NULL;
	char **words = ls_alloc((size_t)argc + 1, sizeof *words);
	size_t count = 0;
	int code = -1;

	for (int at = 1; at < argc;) {
		int taken =
			argv[at][0] == '-' && argv[at][1] ? ls_cli_global(cli, argc, argv, &at) : 0;

		if (taken < 0)
			code = 2;
		if (taken < 0)
			break;
		if (taken == 0)
			words[count++] = argv[at++];
	}
	if (cli->help)
		code = usage(stdout);
	if (code < 0 &&
		(count < 6 || count % 2 != 0 || strcmp(words[0], "cluster") != 0 ||
			strcmp(words[1], "certificate") != 0 || strcmp(words[2], "set") != 0))
		code = usage(stderr);
	for (size_t i = 4; code < 0 && i + 1 < count; i += 2) {
		if (strcmp(words[i], "certificate_file") == 0)
			cert = words[i + 1];
		else if (strcmp(words[i], "key_file") == 0)
			key = words[i + 1];
		else
			code = usage(stderr);
	}
	if (code < 0 && !cert)
		code = usage(stderr);
	if (code < 0) {
		ls_paths_init(&cli->paths, cli->root, cli->config);
		code = ls_cli_set_one(cli, words[3], cert, key, NULL, NULL, false, false);
	}
	free(words);
	return code;
}
