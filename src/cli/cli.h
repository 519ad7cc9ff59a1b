/* cli -- what the verbs of the command line share: options, talking to the daemon, printing.
 *
 * A verb is one function in one file named after it; main.c has the table. It returns the exit code
 * of CONTRACT.
 */
#ifndef LS_CLI_CLI_H
#define LS_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/paths.h"
#include "control/request.h"
#include "daemon/agent.h"

struct ls_cli {
	const char *root, *config;
	struct ls_paths paths; /* set before a verb runs */
	bool json, quiet, help;
	int64_t timeout_ms; /* 0: none */
	char *const *words; /* of the verb's line, for usage */
};

/* One option of a verb. */
struct ls_cli_option {
	const char *name;   /* "--cert" or "-n" */
	const char **value; /* gets the argument; NULL: a flag */
	bool *flag;
};

struct ls_cli_verb {
	const char *name; /* "cert" */
	const char *sub;  /* "set"; NULL: none */
	const char *args; /* "NAME --cert FILE …" */
	const char *what; /* one line */
	const char *more; /* for --help; may be NULL */
	int (*run)(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv);
};

/* Takes a verb's options and the global ones out of argv, wherever they stand; *out_rest (argv's
 * own strings, NULL-ended, to be freed) is what remains. False: the call's words are wrong (said on
 * standard error), or
 * --help was asked for and printed; the verb then returns ls_cli_usage_code. */
bool ls_cli_parse(struct ls_cli *cli, const struct ls_cli_verb *verb,
	const struct ls_cli_option *options, int argc, char **argv, size_t min_rest,
	size_t max_rest, char ***out_rest);
/* The same for a verb with one word, which is a number from 1 on: of `what`, "a generation". */
bool ls_cli_parse_number(struct ls_cli *cli, const struct ls_cli_verb *verb,
	const struct ls_cli_option *options, int argc, char **argv, const char *what, int64_t *out);
int ls_cli_usage_code(const struct ls_cli *cli); /* 0 after --help, else 2 */
/* One global option at argv[*at]; moves *at behind it. 1: taken, 0: not global, -1: wrong. */
int ls_cli_global(struct ls_cli *cli, int argc, char **argv, int *at);

/* Says what failed, on standard error and with -o json on standard output; returns the exit code.
 */
int ls_cli_fail(struct ls_cli *cli, const struct ls_err *err);
/* Warns that keys in this process may have reached the swap. */
void ls_cli_unlocked(const struct ls_cli *cli);
int ls_cli_unknown(struct ls_cli *cli, const char *component);
/* With -o json: prints the object (and takes the reference). False: the verb prints text. */
bool ls_cli_json(struct ls_cli *cli, json_t *json);
void ls_cli_warnings(const struct ls_cli *cli, const json_t *warnings);

/* A file that the operator names: "-" is standard input, pipes are fine; at most 16 MiB. */
LS_CHECK enum ls_code ls_cli_read(const char *name, struct ls_secret *out, struct ls_err *err);

/* Sends a change to the daemon, shows its progress and returns its answer. */
LS_CHECK enum ls_code ls_cli_change(
	struct ls_cli *cli, const struct ls_change *change, json_t **out, struct ls_err *err);
/* Asks the daemon for something to look at; LS_E_UNREACHABLE: there is none. */
LS_CHECK enum ls_code ls_cli_ask(struct ls_cli *cli, const char *method, const char *path,
	struct ls_bytes body, json_t **out, struct ls_err *err);
/* Asks the daemon, or reads the files when there is none. */
LS_CHECK enum ls_code ls_cli_look(struct ls_cli *cli, const char *path,
	enum ls_code (*offline)(
		struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err),
	void *arg, json_t **out, struct ls_err *err);

/* print.c */
bool ls_cli_colour(FILE *to);
enum ls_tint { LS_TINT_NONE, LS_TINT_GOOD, LS_TINT_BAD, LS_TINT_DIM, LS_TINT_BOLD };
/* A table in columns as wide as they must be; cells are copied. The last column may be cut to the
 * terminal's width. */
struct ls_table;
struct ls_table *ls_table_new(const char *const *heads, size_t columns);
void ls_table_row(struct ls_table *table, const char *const *cells, const enum ls_tint *tints);
void ls_table_print(struct ls_table **table, FILE *to); /* and frees it */
void ls_cli_tinted(FILE *to, enum ls_tint tint, const char *text);
/* The first 10 characters of an RFC 3339 time, "?" for none. */
const char *ls_cli_date(const json_t *time, char out[32]);
const char *ls_cli_text(const json_t *object, const char *key); /* "" when it is no string */
const char *ls_cli_item(const json_t *array, size_t index);     /* likewise */
int ls_cli_columns(void);

/* The verbs. */
typedef int ls_cli_run(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv);
ls_cli_run ls_cli_init, ls_cli_status, ls_cli_cert_list, ls_cli_cert_show, ls_cli_cert_set,
	ls_cli_cert_renew, ls_cli_cert_csr, ls_cli_history, ls_cli_history_show,
	ls_cli_history_verify, ls_cli_rollback, ls_cli_seal_rotate, ls_cli_seal_forget,
	ls_cli_seal_export, ls_cli_etcd_config, ls_cli_doctor, ls_cli_store_migrate,
	ls_cli_token_create, ls_cli_join, ls_cli_node_list, ls_cli_node_remove,
	ls_cli_rotation_show, ls_cli_rotation_abort;
int ls_cli_rladmin(struct ls_cli *cli, int argc, char **argv);
/* Where the store is to be: --etcd and what goes with it; NULL: not given. */
struct ls_cli_etcd {
	const char *urls, *ca, *cert, *key;
};
/* False, and said: a part is missing. */
bool ls_cli_etcd_whole(const struct ls_cli_etcd *etcd, const char *verb);
/* Through the daemon, or without one. */
LS_CHECK enum ls_code ls_cli_migrate(
	struct ls_cli *cli, const struct ls_cli_etcd *etcd, json_t **out, struct ls_err *err);
/* It has no socket as long as it cannot open the node. For a hint this is sure enough. */
bool ls_cli_daemon_runs(const struct ls_cli *cli);
/* Parts of the status. */
enum ls_code ls_cli_status_offline(
	struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err);
void ls_cli_print_nodes(const json_t *nodes);
void ls_cli_print_rotation(const json_t *rotation);
/* What cert set and rladmin share. */
int ls_cli_set_one(struct ls_cli *cli, const char *component, const char *cert, const char *key,
	const char *chain, const char *passphrase, bool dry_run, bool detach);
int ls_cli_report_change(struct ls_cli *cli, const struct ls_change *change, const char *done);

#endif
