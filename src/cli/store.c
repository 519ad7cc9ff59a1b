/* store migrate; and the same at the end of init --etcd. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/command.h"
#include "daemon/daemon.h"

static enum ls_code add_file(const char *name, struct ls_change_file *to, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret bytes = { 0 };

	LS_TRY(ls_cli_read(name, &bytes, err));
	ls_change_file_set(to, name, ls_secret_bytes(&bytes));
	return LS_OK;
}

static enum ls_code make_change(
	const struct ls_cli_etcd *etcd, struct ls_change *change, struct ls_err *err)
{
	struct ls_change_set *set;

	change->kind = LS_CHANGE_MIGRATE;
	ls_strv_add(&change->names, etcd->urls);
	if (!etcd->ca)
		return LS_OK;
	set = ls_change_add_set(change, "etcd");
	LS_TRY(add_file(etcd->ca, &set->chain, err));
	LS_TRY(add_file(etcd->cert, &set->cert, err));
	return add_file(etcd->key, &set->key, err);
}

bool ls_cli_etcd_whole(const struct ls_cli_etcd *etcd, const char *verb)
{
	int files = (etcd->ca != NULL) + (etcd->cert != NULL) + (etcd->key != NULL);

	if (files == 0 || (files == 3 && etcd->urls))
		return true;
	fprintf(stderr,
		"lockstep: %s: --etcd-ca, --etcd-cert and --etcd-key go together, with --etcd\n",
		verb);
	return false;
}

static enum ls_code without_daemon(
	struct ls_cli *cli, const struct ls_change *change, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_agent_free) struct ls_agent *agent = NULL;
	struct ls_author author = { 0 };

	LS_TRY(ls_agent_open(cli->root, cli->config, true, &agent, err));
	return ls_command_change(agent, change, &author, out, err);
}

enum ls_code ls_cli_migrate(
	struct ls_cli *cli, const struct ls_cli_etcd *etcd, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { 0 };
	enum ls_code code;

	LS_TRY(make_change(etcd, &change, err));
	code = ls_cli_change(cli, &change, out, err);
	return code == LS_E_UNREACHABLE && !ls_cli_daemon_runs(cli)
		       ? without_daemon(cli, &change, out, err)
		       : code;
}

int ls_cli_store_migrate(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_cli_etcd etcd = { 0 };
	const struct ls_cli_option options[] = { { "--etcd", &etcd.urls, NULL },
		{ "--etcd-ca", &etcd.ca, NULL }, { "--etcd-cert", &etcd.cert, NULL },
		{ "--etcd-key", &etcd.key, NULL }, { 0 } };
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (!etcd.urls) {
		fprintf(stderr, "lockstep: store migrate: --etcd URL[,URL…] is missing\n");
		return 2;
	}
	if (!ls_cli_etcd_whole(&etcd, "store migrate"))
		return 2;
	if (ls_cli_migrate(cli, &etcd, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	if (!cli->quiet)
		printf("%s\n", json_is_true(json_object_get(answer, "unchanged"))
				       ? "the store is there already; nothing was changed"
				       : "the store is in etcd; other nodes can join (lockstep "
					 "token create)");
	json_decref(answer);
	return 0;
}
