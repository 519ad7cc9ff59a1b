#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "daemon/bootstrap.h"
#include "daemon/daemon.h"
#include "daemon/protect.h"

static int report(
	struct ls_cli *cli, const struct ls_bootstrap *wish, bool before, int64_t generation)
{
	json_t *json = json_pack("{s:s, s:I, s:b}", "cluster", wish->cluster, "generation",
		(json_int_t)generation, "already", (int)before);

	if (ls_cli_json(cli, json))
		return 0;
	json_decref(json);
	if (cli->quiet)
		return 0;
	if (before) {
		printf("already initialised; nothing was changed (lockstep status shows the "
		       "node)\n");
		return 0;
	}
	printf("cluster %s: generation %lld is in force\n", wish->cluster, (long long)generation);
	printf("certificates: %s\n", cli->paths.certs);
	printf("next: start lockstepd, then lockstep status\n");
	return 0;
}

int ls_cli_init(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_bootstrap wish = { 0 };
	struct ls_cli_etcd etcd = { 0 };
	const struct ls_cli_option options[] = { { "--cluster", &wish.cluster, NULL },
		{ "--fqdn", &wish.fqdn, NULL }, { "--node", &wish.node, NULL },
		{ "--policy", &wish.policy, NULL }, { "--etcd", &etcd.urls, NULL },
		{ "--etcd-ca", &etcd.ca, NULL }, { "--etcd-cert", &etcd.cert, NULL },
		{ "--etcd-key", &etcd.key, NULL }, { 0 } };
	json_t *moved = NULL;
	LS_CLEANUP(ls_author_done) struct ls_author author = { 0 };
	struct ls_err err = { 0 };
	int64_t generation = 0;
	bool before = false;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (!wish.cluster) {
		fprintf(stderr, "lockstep: init: --cluster NAME is missing\n");
		return 2;
	}
	if (!ls_cli_etcd_whole(&etcd, "init"))
		return 2;
	ls_author_of(getuid(), wish.node ? wish.node : "init", &author);
	wish.author = &author;
	if (ls_bootstrap(&cli->paths, &wish, &before, &generation, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	/* A first node like any other, whose store then moves: what an interrupted one left is
	 * finished by the same words again. */
	if (etcd.urls && ls_cli_migrate(cli, &etcd, &moved, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	json_decref(moved);
	if (ls_protect_unlocked() && !ls_secret_unlocked()) /* main says it of the latter */
		ls_cli_unlocked(cli);
	return report(cli, &wish, before, generation);
}
