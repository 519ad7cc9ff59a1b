/* seal rotate, forget, export. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/command.h"

int ls_cli_seal_rotate(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_change change = { .kind = LS_CHANGE_SEAL_ROTATE };
	char **rest;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	return ls_cli_report_change(cli, &change, "sealed anew");
}

int ls_cli_seal_forget(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_change change = { .kind = LS_CHANGE_SEAL_FORGET };
	int code;

	if (!ls_cli_parse_number(cli, verb, NULL, argc, argv, "an epoch", &change.number))
		return ls_cli_usage_code(cli);
	code = ls_cli_report_change(cli, &change, "forgotten");
	if (code == 0 && !cli->quiet)
		fputs("note: copies elsewhere (backups of the identity directory, escrowed keys) "
		      "can still open it\n",
			stderr);
	return code;
}

int ls_cli_seal_export(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	const char *to = NULL;
	const struct ls_cli_option options[] = { { "--to", &to, NULL }, { 0 } };
	LS_CLEANUP(ls_secret_done) struct ls_secret cert = { 0 };
	LS_CLEANUP(ls_agent_free) struct ls_agent *agent = NULL;
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	enum ls_code code;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (!to) {
		fprintf(stderr, "lockstep: seal export: --to CERT is missing\n");
		return 2;
	}
	code = ls_cli_read(to, &cert, &err);
	if (code == LS_OK)
		code = ls_cli_ask(cli, "POST", "/v1/escrow", ls_secret_bytes(&cert), &answer, &err);
	if (code == LS_E_UNREACHABLE) {
		code = ls_agent_open(cli->root, cli->config, false, &agent, &err);
		if (code == LS_OK)
			code = ls_command_escrow(agent, ls_secret_bytes(&cert), &answer, &err);
	}
	if (code != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	fputs(ls_cli_text(answer, "escrow"), stdout);
	json_decref(answer);
	return 0;
}
