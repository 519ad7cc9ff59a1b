#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "daemon/view.h"

enum ls_code ls_cli_status_offline(
	struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err)
{
	struct ls_view_about about = { .daemon_alive = false };

	(void)arg;
	return ls_view_status(agent, &about, out, err);
}

static const char *yes(const json_t *value)
{
	return json_is_true(value) ? "yes" : "no";
}

static void print_noes(json_t *votes)
{
	const char *node;
	json_t *vote;

	json_object_foreach(votes, node, vote) if (!json_is_true(json_object_get(vote, "yes")))
		printf("  %s votes no: %s\n", node, ls_cli_text(vote, "reason"));
}

void ls_cli_print_rotation(const json_t *rotation)
{
	json_t *votes = json_object_get(rotation, "votes");
	const json_t *participants = json_object_get(rotation, "participants");

	if (json_is_null(rotation))
		return;
	printf("rotation to generation %lld: %s since %s, %zu of %zu voted\n",
		(long long)json_integer_value(json_object_get(rotation, "generation")),
		ls_cli_text(rotation, "phase"), ls_cli_text(rotation, "since"),
		json_object_size(votes), json_array_size(participants));
	print_noes(votes);
	putchar('\n');
}

static bool somebody_is_away(const json_t *nodes)
{
	for (size_t i = 0; i < json_array_size(nodes); i++)
		if (!json_is_true(json_object_get(json_array_get(nodes, i), "alive")))
			return true;
	return false;
}

void ls_cli_print_nodes(const json_t *nodes)
{
	static const char *const heads[] = { "NODE", "ALIVE", "GENERATION", "COMMIT", "READY",
		"AWAY SINCE" };
	/* The last one only where somebody is away. */
	struct ls_table *table =
		ls_table_new(heads, LS_COUNT(heads) - (somebody_is_away(nodes) ? 0 : 1));

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *n = json_array_get(nodes, i);
		char generation[32], commit[16];
		const char *cells[] = { ls_cli_text(n, "name"), yes(json_object_get(n, "alive")),
			generation, commit, yes(json_object_get(n, "ready")),
			ls_cli_text(n, "away_since") };
		enum ls_tint alive =
			json_is_true(json_object_get(n, "alive")) ? LS_TINT_GOOD : LS_TINT_BAD;
		enum ls_tint ready =
			json_is_true(json_object_get(n, "ready")) ? LS_TINT_GOOD : LS_TINT_BAD;
		enum ls_tint tints[] = { LS_TINT_NONE, alive, LS_TINT_NONE, LS_TINT_NONE, ready,
			LS_TINT_BAD };

		(void)snprintf(generation, sizeof generation, "%lld",
			(long long)json_integer_value(json_object_get(n, "generation")));
		(void)snprintf(commit, sizeof commit, "%.10s", ls_cli_text(n, "commit"));
		ls_table_row(table, cells, tints);
	}
	ls_table_print(&table, stdout);
}

static long long days_left(const json_t *component)
{
	int64_t end_s = 0;

	if (!ls_time_parse(ls_cli_text(component, "not_after"), &end_s))
		return 0;
	return (long long)((end_s - ls_now_s()) / 86400);
}

static void component_row(struct ls_table *table, const json_t *c)
{
	const char *desired = ls_cli_text(c, "desired"), *disk = ls_cli_text(c, "disk");
	const json_t *served = json_object_get(c, "served");
	bool disk_ok = strcmp(desired, disk) == 0;
	bool served_ok = json_is_null(served) || strcmp(ls_cli_text(c, "served"), desired) == 0;
	const char *served_text = json_is_null(served)        ? "-"
				  : served_ok                 ? "ok"
				  : *ls_cli_text(c, "served") ? "other"
							      : "down";
	char date[32], days[32], sha[16];
	const char *cells[] = { ls_cli_text(c, "name"), ls_cli_text(c, "origin"),
		ls_cli_date(json_object_get(c, "not_after"), date), days, sha,
		disk_ok ? "ok" : "differs", served_text };
	enum ls_tint tints[] = { LS_TINT_NONE, LS_TINT_NONE,
		days_left(c) < 0 ? LS_TINT_BAD : LS_TINT_NONE,
		days_left(c) < 0 ? LS_TINT_BAD : LS_TINT_NONE, LS_TINT_NONE,
		disk_ok ? LS_TINT_GOOD : LS_TINT_BAD,
		json_is_null(served) ? LS_TINT_NONE
		: served_ok          ? LS_TINT_GOOD
				     : LS_TINT_BAD };

	(void)snprintf(days, sizeof days, "%lld", days_left(c));
	(void)snprintf(sha, sizeof sha, "%.10s", desired);
	ls_table_row(table, cells, tints);
}

static void print_components(const json_t *components)
{
	static const char *const heads[] = { "COMPONENT", "ORIGIN", "NOT AFTER", "DAYS", "SHA256",
		"DISK", "SERVED" };
	struct ls_table *table = ls_table_new(heads, LS_COUNT(heads));

	for (size_t i = 0; i < json_array_size(components); i++)
		component_row(table, json_array_get(components, i));
	ls_table_print(&table, stdout);
}

static const json_t *next_expiry(const json_t *components)
{
	const json_t *first = NULL;

	for (size_t i = 0; i < json_array_size(components); i++) {
		const json_t *c = json_array_get(components, i);

		if (!first ||
			strcmp(ls_cli_text(c, "not_after"), ls_cli_text(first, "not_after")) < 0)
			first = c;
	}
	return first;
}

static void print_status(const json_t *s)
{
	const json_t *problems = json_object_get(s, "problems");
	const json_t *next = next_expiry(json_object_get(s, "components"));
	bool healthy = json_is_true(json_object_get(s, "healthy"));

	printf("cluster ");
	ls_cli_tinted(stdout, LS_TINT_BOLD, ls_cli_text(s, "cluster"));
	printf(", generation %lld, store %s: ",
		(long long)json_integer_value(json_object_get(s, "generation")),
		ls_cli_text(s, "store"));
	ls_cli_tinted(
		stdout, healthy ? LS_TINT_GOOD : LS_TINT_BAD, healthy ? "healthy" : "not well");
	printf("\n\n");
	ls_cli_print_rotation(json_object_get(s, "rotation"));
	ls_cli_print_nodes(json_object_get(s, "nodes"));
	putchar('\n');
	print_components(json_object_get(s, "components"));
	if (next)
		printf("\nnext expiry: %s, %s (%lld days)\n", ls_cli_text(next, "name"),
			ls_cli_text(next, "not_after"), days_left(next));
	if (json_array_size(problems) > 0)
		putchar('\n');
	for (size_t i = 0; i < json_array_size(problems); i++) {
		ls_cli_tinted(stdout, LS_TINT_BAD, "problem: ");
		printf("%s\n", ls_cli_item(problems, i));
	}
}

static int show_once(struct ls_cli *cli)
{
	struct ls_err err = { 0 };
	json_t *status = NULL;
	int code;

	if (ls_cli_look(cli, "/v1/status", ls_cli_status_offline, NULL, &status, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	code = json_is_true(json_object_get(status, "healthy")) ? 0 : 1;
	if (ls_cli_json(cli, status))
		return code;
	if (!cli->quiet)
		print_status(status);
	json_decref(status);
	return code;
}

int ls_cli_status(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	bool watch = false;
	const struct ls_cli_option options[] = { { "--watch", NULL, &watch }, { 0 } };
	const struct timespec second = { .tv_sec = 1 };
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	while (watch) { /* until it is interrupted */
		if (isatty(STDOUT_FILENO) && !cli->json)
			fputs("\033[H\033[2J", stdout);
		(void)show_once(cli);
		if (fflush(stdout) != 0)
			return 1;
		(void)nanosleep(&second, NULL);
	}
	return show_once(cli);
}
