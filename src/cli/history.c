/* history, history show, history verify, rollback. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "daemon/view.h"

struct list_args {
	const char *name;
	int64_t count;
};

static enum ls_code list_offline(
	struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err)
{
	const struct list_args *args = arg;

	return ls_view_history(agent, args->name, args->count, out, err);
}

static void list_row(struct ls_table *table, const json_t *g)
{
	char number[32], commit[16], time[32], author[64];
	const char *cells[] = { number, commit, time, ls_cli_text(g, "cause"), author,
		ls_cli_text(g, "message") };
	const char *who = ls_cli_text(g, "author");

	(void)snprintf(number, sizeof number, "%lld",
		(long long)json_integer_value(json_object_get(g, "generation")));
	(void)snprintf(commit, sizeof commit, "%.8s", ls_cli_text(g, "commit"));
	(void)snprintf(time, sizeof time, "%.10s %.5s", ls_cli_text(g, "time"),
		strlen(ls_cli_text(g, "time")) > 11 ? ls_cli_text(g, "time") + 11 : "");
	(void)snprintf(author, sizeof author, "%.*s", (int)strcspn(who, " "), who);
	ls_table_row(table, cells, NULL);
}

int ls_cli_history(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	static const char *const heads[] = { "GEN", "COMMIT", "TIME (UTC)", "CAUSE", "AUTHOR",
		"CHANGE" };
	const char *count_text = NULL;
	const struct ls_cli_option options[] = { { "-n", &count_text, NULL }, { 0 } };
	struct list_args args = { 0 };
	LS_CLEANUP(ls_free_str) char *path = NULL;
	struct ls_err err = { 0 };
	struct ls_table *table;
	json_t *answer = NULL;
	const json_t *list;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 1, &rest))
		return ls_cli_usage_code(cli);
	args.name = rest[0];
	free(rest);
	if (count_text && !ls_text_number(count_text, 1, INT32_MAX, &args.count)) {
		fprintf(stderr, "lockstep: history: -n '%s': wanted a number from 1 on\n",
			count_text);
		return 2;
	}
	if (args.name && !ls_name_valid(args.name))
		return ls_cli_unknown(cli, args.name);
	path = ls_format("/v1/history?n=%lld%s%s", (long long)args.count, args.name ? "&name=" : "",
		args.name ? args.name : "");
	if (ls_cli_look(cli, path, list_offline, &args, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	table = ls_table_new(heads, LS_COUNT(heads));
	list = json_object_get(answer, "generations");
	for (size_t i = 0; i < json_array_size(list); i++)
		list_row(table, json_array_get(list, i));
	ls_table_print(&table, stdout);
	json_decref(answer);
	return 0;
}

static enum ls_code show_offline(
	struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err)
{
	return ls_view_generation(agent, *(int64_t *)arg, out, err);
}

static void print_pairs(const char *label, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		printf("%-12s %s\n", i == 0 ? label : "", ls_cli_item(array, i));
}

static void print_generation(const json_t *g)
{
	static const char *const keys[] = { "commit", "parent", "restores", "time", "author",
		"committer", "cause", "message" };
	static const char *const heads[] = { "COMPONENT", "ORIGIN", "NOT AFTER", "SHA256",
		"SUBJECT" };
	struct ls_table *table = ls_table_new(heads, LS_COUNT(heads));
	const json_t *certs = json_object_get(g, "certificates");

	printf("%-12s %lld\n", "generation",
		(long long)json_integer_value(json_object_get(g, "generation")));
	for (size_t i = 0; i < LS_COUNT(keys); i++)
		if (*ls_cli_text(g, keys[i]))
			printf("%-12s %s\n", keys[i], ls_cli_text(g, keys[i]));
	print_pairs("participants", json_object_get(g, "participants"));
	print_pairs("away", json_object_get(g, "away"));
	print_pairs("old", json_object_get(g, "old"));
	print_pairs("new", json_object_get(g, "new"));
	putchar('\n');
	for (size_t i = 0; i < json_array_size(certs); i++) {
		const json_t *c = json_array_get(certs, i);
		char date[32], sha[16];
		const char *cells[] = { ls_cli_text(c, "name"), ls_cli_text(c, "origin"),
			ls_cli_date(json_object_get(c, "not_after"), date), sha,
			ls_cli_text(c, "subject") };

		(void)snprintf(sha, sizeof sha, "%.10s", ls_cli_text(c, "sha256"));
		ls_table_row(table, cells, NULL);
	}
	ls_table_print(&table, stdout);
}

int ls_cli_history_show(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	LS_CLEANUP(ls_free_str) char *path = NULL;
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	int64_t number = 0;

	if (!ls_cli_parse_number(cli, verb, NULL, argc, argv, "a generation", &number))
		return ls_cli_usage_code(cli);
	path = ls_format("/v1/history/%lld", (long long)number);
	if (ls_cli_look(cli, path, show_offline, &number, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	print_generation(answer);
	json_decref(answer);
	return 0;
}

static bool shows_progress(const struct ls_cli *cli)
{
	return !cli->quiet && isatty(STDERR_FILENO);
}

static void verify_progress(void *arg, int64_t done, int64_t total)
{
	if (shows_progress(arg) && (done % 100 == 0 || done == total))
		fprintf(stderr, "\r\033[Kverified %lld of %lld", (long long)done, (long long)total);
}

/* Reads the files itself where it may, so that the judge does not depend on the daemon and can show
 * how far it is. */
int ls_cli_history_verify(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	LS_CLEANUP(ls_agent_free) struct ls_agent *agent = NULL;
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	enum ls_code code;
	char **rest;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (access(cli->paths.history, R_OK | X_OK) == 0 || errno == ENOENT) {
		code = ls_agent_open(cli->root, cli->config, false, &agent, &err);
		if (code == LS_OK)
			code = ls_view_verify(agent, verify_progress, cli, &answer, &err);
		if (shows_progress(cli))
			fputs("\r\033[K", stderr);
	} else {
		code = ls_cli_ask(cli, "GET", "/v1/verify", (struct ls_bytes){ 0 }, &answer, &err);
	}
	if (code == LS_E_REFUSED) /* what does not hold is damage here: nobody asked for a change */
		err.code = LS_E_DAMAGED;
	if (code != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	if (!cli->quiet)
		printf("%lld generation%s: signatures, parents, trees, objects (head %.10s)\n",
			(long long)json_integer_value(json_object_get(answer, "generations")),
			json_integer_value(json_object_get(answer, "generations")) == 1 ? " holds"
											: "s hold",
			ls_cli_text(answer, "head"));
	json_decref(answer);
	return 0;
}

int ls_cli_rollback(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_change change = { .kind = LS_CHANGE_ROLLBACK };
	const struct ls_cli_option options[] = { { "--dry-run", NULL, &change.dry_run }, { 0 } };

	if (!ls_cli_parse_number(cli, verb, options, argc, argv, "a generation", &change.number))
		return ls_cli_usage_code(cli);
	return ls_cli_report_change(cli, &change, "rolled back");
}
