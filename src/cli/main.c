/* lockstep, and rladmin under that name: the table of verbs. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "daemon/protect.h"

static const struct ls_cli_verb verbs[] = {
	{ "init", NULL,
		"--cluster NAME [--fqdn FQDN] [--node NAME] [--policy NAME] [--etcd URL[,URL…] "
		"[--etcd-ca FILE --etcd-cert FILE --etcd-key FILE]]",
		"makes this machine the first node of a cluster",
		"Makes the cluster CA, this node's identity, the sealing key, one generated "
		"credential for\n"
		"each template, generation 1 and the live directory. No daemon is needed. Run "
		"again, it\n"
		"changes nothing. With --etcd the agreement is kept there, so that others can "
		"join.",
		ls_cli_init },
	{ "token", "create", "[--ttl 1h]", "prints a token with which one node can join",
		"Single use. It holds the gateway's address, the CA's fingerprint and a secret.",
		ls_cli_token_create },
	{ "join", NULL,
		"--token-file FILE [--node NAME] [--replace] [--etcd-cert FILE --etcd-key FILE]",
		"makes this machine a node of the token's cluster",
		"FILE may be '-'. Keys are made here and do not leave. The whole history is "
		"fetched "
		"and\n"
		"judged. Interrupted, run it again. --replace: in place of a node of that name "
		"whose disk\n"
		"is lost. The last two: where etcd's certificates are an operator's.",
		ls_cli_join },
	{ "status", NULL, "[--watch]", "shows whether all is well",
		"Exit 0 only if all is well. What is served is looked at with a handshake each "
		"time.",
		ls_cli_status },
	{ "cert", "list", "", "lists the components' certificates", NULL, ls_cli_cert_list },
	{ "cert", "show", "NAME", "shows one certificate", NULL, ls_cli_cert_show },
	{ "cert", "set",
		"NAME --cert FILE [--key FILE] [--chain FILE] [--passphrase-file FILE] | --from "
		"DIR  "
		"[--dry-run] [--detach]",
		"installs a credential, cluster-wide",
		"FILE may be '-' or a pipe. Without --key the certificate must be for the present "
		"key, or for\n"
		"that of an open request (cert csr). --from takes NAME_cert.pem and NAME_key.pem "
		"of several\n"
		"components from a directory, all or none. --dry-run only judges. --detach returns "
		"when the\n"
		"rotation has begun.",
		ls_cli_cert_set },
	{ "cert", "renew", "[NAME…] [--force] [--replace-installed]",
		"issues generated certificates anew, by their templates",
		"--force renews although it is not due; --replace-installed also where an "
		"operator's\n"
		"certificate stands.",
		ls_cli_cert_renew },
	{ "cert", "csr", "NAME [--out FILE]", "makes a new key and its certificate request",
		"The key stays sealed in the cluster; the signed certificate is installed later "
		"with\n"
		"cert set NAME --cert FILE alone.",
		ls_cli_cert_csr },
	{ "history", NULL, "[NAME] [-n COUNT]", "lists the generations, newest first", NULL,
		ls_cli_history },
	{ "history", "show", "N", "shows one generation", NULL, ls_cli_history_show },
	{ "history", "verify", "", "checks every signature, parent and object",
		"Exit 0 only if all hold.", ls_cli_history_verify },
	{ "rollback", NULL, "N [--dry-run]",
		"makes a new generation with the credentials of generation N", NULL,
		ls_cli_rollback },
	{ "rotation", "show", "", "shows the running rotation, and how the last one ended", NULL,
		ls_cli_rotation_show },
	{ "rotation", "abort", "", "ends the running rotation before its commit point",
		"Afterwards (exit 5) lockstep rollback is the way back.", ls_cli_rotation_abort },
	{ "node", "list", "", "lists the members", NULL, ls_cli_node_list },
	{ "node", "remove", "NAME [--compromised]",
		"takes a node out of the cluster, with a new sealing key",
		"Generated credentials are replaced: it knew the old ones. --compromised also "
		"replaces the\n"
		"cluster's CA and asks for the credentials that an operator installed.",
		ls_cli_node_remove },
	{ "seal", "rotate", "", "starts a new sealing key (KEK epoch)", NULL, ls_cli_seal_rotate },
	{ "seal", "forget", "EPOCH", "makes an old sealing key unreadable",
		"Private keys of generations sealed under it can then not be restored from this "
		"node.\n"
		"Copies elsewhere (backups of the identity directory) can still open it.",
		ls_cli_seal_forget },
	{ "seal", "export", "--to CERT", "prints the sealing keys, sealed to an escrow certificate",
		NULL, ls_cli_seal_export },
	{ "etcd-config", NULL,
		"--member NAME --listen ADDRESS[,…] [--initial-cluster NAME=URL,…] "
		"[--initial-state new|existing] [--client-port N] [--peer-port N] "
		"[--metrics-port N] [--san NAME,…] [--data-dir DIR] [--group GROUP]",
		"writes configuration and TLS files for an etcd member",
		"From the cluster's own CA, into var/lib/lockstep/etcd/NAME; lockstepd renews them "
		"in place.\n"
		"Start the member with etcd --config-file FILE. --group lets etcd run as another "
		"user.\n"
		"--metrics-port 0: none. Run again, it writes them anew; the certificate only if "
		"its names\n"
		"changed or it is due.",
		ls_cli_etcd_config },
	{ "store", "migrate", "--etcd URL[,URL…] [--etcd-ca FILE --etcd-cert FILE --etcd-key FILE]",
		"keeps the agreement in etcd, so that other nodes can join",
		"History and ids stay. Without the three files, etcd's certificates are the "
		"cluster's own\n"
		"(lockstep etcd-config). Also: other endpoints of the same etcd, and filling one "
		"that was reset.",
		ls_cli_store_migrate },
	{ "doctor", NULL, "[--mend CHECK [--from DIR]]",
		"shows what is wrong here and the command that mends it",
		"Looks at the files itself, so it works without the daemon and where the daemon "
		"cannot start.\n"
		"Exit 0 only if all is well. --mend does what no other command can (doctor names "
		"it "
		"where it\n"
		"is needed): objects, record, identity; the daemon must be stopped. --from is a "
		"copy "
		"of\n"
		"history.git to take lost objects from.",
		ls_cli_doctor },
};

static void list_verbs(FILE *to)
{
	fputs("usage: lockstep [--root DIR] [--config FILE] [-o text|json] [--quiet] [--timeout S] "
	      "VERB …\n\n",
		to);
	for (size_t i = 0; i < LS_COUNT(verbs); i++)
		fprintf(to, "  %-12s%-8s %s\n", verbs[i].name, verbs[i].sub ? verbs[i].sub : "",
			verbs[i].what);
	fputs("\nEvery verb has --help. See lockstep(1).\n", to);
}

/* A verb without a sub-word may share its first word with others that have one. */
static const struct ls_cli_verb *find_verb(const char *name, const char *next)
{
	const struct ls_cli_verb *plain = NULL;

	for (size_t i = 0; i < LS_COUNT(verbs); i++) {
		if (strcmp(verbs[i].name, name) != 0)
			continue;
		if (!verbs[i].sub)
			plain = &verbs[i];
		else if (next && strcmp(verbs[i].sub, next) == 0)
			return &verbs[i];
	}
	return plain;
}

/* The first words that are no global options, and where they stand. */
static int next_word(struct ls_cli *cli, int argc, char **argv, int at)
{
	while (at < argc && argv[at][0] == '-' && argv[at][1]) {
		int taken = ls_cli_global(cli, argc, argv, &at);

		if (taken <= 0)
			return taken < 0 ? -1 : at;
	}
	return at;
}

static int run_verb(struct ls_cli *cli, int argc, char **argv)
{
	const struct ls_cli_verb *verb;
	int first = next_word(cli, argc, argv, 1), second;

	if (first < 0)
		return 2;
	if (first >= argc || argv[first][0] == '-') {
		if (first < argc) {
			fprintf(stderr, "lockstep: unknown option '%s'\n", argv[first]);
			return 2;
		}
		list_verbs(cli->help ? stdout : stderr);
		return cli->help ? 0 : 2;
	}
	second = next_word(cli, argc, argv, first + 1);
	if (second < 0)
		return 2;
	verb = find_verb(argv[first], second < argc ? argv[second] : NULL);
	if (!verb) {
		fprintf(stderr,
			"lockstep: unknown verb '%s%s%s'\nhint: lockstep --help lists the verbs\n",
			argv[first], second < argc ? " " : "", second < argc ? argv[second] : "");
		return 2;
	}
	if (verb->sub) /* what stood between the two words was global */
		first = second;
	return verb->run(cli, verb, argc - first - 1, argv + first + 1);
}

int main(int argc, char **argv)
{
	struct ls_cli cli = { .root = getenv("LOCKSTEP_ROOT"),
		.config = getenv("LOCKSTEP_CONFIG") };
	const char *name = strrchr(argv[0], '/');
	int code;

	ls_protect();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	name = name ? name + 1 : argv[0];
	if (strcmp(name, "rladmin") == 0)
		code = ls_cli_rladmin(&cli, argc, argv);
	else
		code = run_verb(&cli, argc, argv);
	if (ls_secret_unlocked())
		ls_cli_unlocked(&cli);
	ls_paths_done(&cli.paths);
	if (fflush(stdout) != 0 && code == 0) {
		fputs("lockstep: writing to standard output failed\n", stderr);
		code = 1;
	}
	return code;
}
