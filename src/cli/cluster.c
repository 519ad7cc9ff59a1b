/* token create, join, node list and remove, rotation show and abort. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/enrol.h"

#define JOIN_MS 120000
#define TTL_S 3600

int ls_cli_token_create(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	const char *ttl = NULL;
	const struct ls_cli_option options[] = { { "--ttl", &ttl, NULL }, { 0 } };
	LS_CLEANUP(ls_free_str) char *body = NULL;
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	int64_t ttl_s = TTL_S;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (ttl && (!ls_text_duration(ttl, &ttl_s) || ttl_s < 1)) {
		fprintf(stderr,
			"lockstep: token create: --ttl '%s': wanted a time such as 30m or 1h\n",
			ttl);
		return 2;
	}
	body = ls_format("{\"ttl_s\":%lld}", (long long)ttl_s);
	if (ls_cli_ask(cli, "POST", "/v1/token", LS_BYTES_STR(body), &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	printf("%s\n", ls_cli_text(answer, "token"));
	if (!cli->quiet)
		fprintf(stderr,
			"note: whoever has it can make one node a member until %s; give it to "
			"lockstep "
			"join --token-file\n",
			ls_cli_text(answer, "expires"));
	json_decref(answer);
	return 0;
}

static void say(void *arg, const char *text)
{
	const struct ls_cli *cli = arg;

	if (!cli->quiet && !cli->json)
		fprintf(stderr, "join: %s\n", text);
}

int ls_cli_join(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	const char *file = NULL;
	LS_CLEANUP(ls_secret_done) struct ls_secret text = { 0 };
	LS_CLEANUP(ls_token_done) struct ls_token token = { 0 };
	struct ls_enrol wish = { .token = &token, .progress = say, .arg = cli };
	const struct ls_cli_option options[] = { { "--token-file", &file, NULL },
		{ "--node", &wish.node, NULL }, { "--replace", NULL, &wish.replace }, { 0 } };
	char node[LS_NAME_MAX + 1];
	struct ls_err err = { 0 };
	int64_t generation = 0;
	enum ls_code code;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (!file) {
		fprintf(stderr, "lockstep: join: --token-file FILE is missing\n");
		return 2;
	}
	wish.timeout_ms = cli->timeout_ms ? cli->timeout_ms : JOIN_MS;
	code = ls_cli_read(file, &text, &err);
	if (code == LS_OK)
		code = ls_token_parse(ls_secret_bytes(&text), &token, &err);
	if (code == LS_OK)
		code = ls_enrol(&cli->paths, &wish, node, &generation, &err);
	if (code != LS_OK)
		return ls_cli_fail(cli, &err);
	if (cli->json)
		(void)ls_cli_json(cli, json_pack("{s:s, s:I}", "node", node, "generation",
					       (json_int_t)generation));
	else if (!cli->quiet)
		printf("node %s is a member from generation %lld on\n"
		       "certificates: %s\nnext: start lockstepd, then lockstep status\n",
			node, (long long)generation, cli->paths.certs);
	return 0;
}

int ls_cli_node_list(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_err err = { 0 };
	json_t *status = NULL;
	char **rest;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (ls_cli_look(cli, "/v1/status", ls_cli_status_offline, NULL, &status, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (cli->json) {
		json_t *nodes = json_pack("{s:O}", "nodes", json_object_get(status, "nodes"));

		json_decref(status);
		(void)ls_cli_json(cli, nodes);
		return 0;
	}
	ls_cli_print_nodes(json_object_get(status, "nodes"));
	json_decref(status);
	return 0;
}

int ls_cli_node_remove(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { .kind = LS_CHANGE_REMOVE };
	const struct ls_cli_option options[] = { { "--compromised", NULL, &change.force }, { 0 } };
	char **rest;
	int code;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 1, 1, &rest))
		return ls_cli_usage_code(cli);
	ls_strv_add(&change.names, rest[0]);
	free(rest);
	code = ls_cli_report_change(cli, &change, "removed");
	if (code == 0 && !cli->quiet && !cli->json)
		fputs("note: what that machine had stays readable to it; what comes now is not\n",
			stderr);
	return code;
}

int ls_cli_rotation_show(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	const json_t *last;
	char **rest;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (ls_cli_ask(cli, "GET", "/v1/rotation", (struct ls_bytes){ 0 }, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	last = json_object_get(answer, "last");
	if (json_is_null(json_object_get(answer, "rotation")))
		puts("no rotation is running");
	else
		ls_cli_print_rotation(json_object_get(answer, "rotation"));
	if (!json_is_null(last))
		printf("the last one: generation %lld, %s%s%s\n",
			(long long)json_integer_value(json_object_get(last, "generation")),
			ls_cli_text(last, "result"), ls_cli_text(last, "why")[0] ? ": " : "",
			ls_cli_text(last, "why"));
	json_decref(answer);
	return 0;
}

int ls_cli_rotation_abort(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	char **rest;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (ls_cli_ask(cli, "POST", "/v1/rotation/abort", LS_BYTES_STR("{}"), &answer, &err) !=
		LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	if (!cli->quiet)
		printf("the rotation to generation %lld was aborted; nothing was changed\n",
			(long long)json_integer_value(json_object_get(answer, "generation")));
	json_decref(answer);
	return 0;
}
