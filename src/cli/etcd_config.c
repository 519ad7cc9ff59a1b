/* etcd-config: the files of an etcd member. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/leaves.h"

struct words {
	const char *member, *listen, *cluster, *state, *client_port, *peer_port, *metrics_port;
	const char *sans, *data_dir, *group;
};

static void add_list(json_t *json, const char *key, const char *list)
{
	json_t *array = list ? json_array() : NULL;

	while (list && *list) {
		size_t len = strcspn(list, ",");

		if (len > 0)
			(void)json_array_append_new(array, json_stringn(list, len));
		list += len + (list[len] == ',');
	}
	if (array)
		(void)json_object_set_new(json, key, array);
}

static bool add_port(json_t *json, const char *key, const char *option, const char *text)
{
	int64_t port;

	if (!text)
		return true;
	if (!ls_text_number(text, strcmp(key, "metrics_port") == 0 ? 0 : 1, 65535, &port)) {
		fprintf(stderr, "lockstep: etcd-config: %s '%s': wanted a port\n", option, text);
		return false;
	}
	(void)json_object_set_new(json, key, json_integer(port));
	return true;
}

/* NULL: wrong, and said. */
static json_t *wish_of(const struct words *w)
{
	json_t *json;

	if (!w->member || !w->listen) {
		fprintf(stderr, "lockstep: etcd-config: %s is missing\n",
			w->member ? "--listen ADDRESS" : "--member NAME");
		return NULL;
	}
	if (w->state && strcmp(w->state, "new") != 0 && strcmp(w->state, "existing") != 0) {
		fprintf(stderr,
			"lockstep: etcd-config: --initial-state '%s': wanted new or existing\n",
			w->state);
		return NULL;
	}
	json = json_pack("{s:s, s:s*, s:s*, s:s*}", "member", w->member, "initial_state", w->state,
		"data_dir", w->data_dir, "group", w->group);
	add_list(json, "listen", w->listen);
	add_list(json, "initial_cluster", w->cluster);
	add_list(json, "sans", w->sans);
	if (json && add_port(json, "client_port", "--client-port", w->client_port) &&
		add_port(json, "peer_port", "--peer-port", w->peer_port) &&
		add_port(json, "metrics_port", "--metrics-port", w->metrics_port))
		return json;
	json_decref(json);
	return NULL;
}

/* Without the daemon: a member whose certificate ended while everything was off must come back
 * first of all. */
static enum ls_code offline(
	struct ls_cli *cli, const json_t *wish, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member member = { 0 };
	LS_CLEANUP(ls_agent_free) struct ls_agent *agent = NULL;

	LS_TRY(ls_etcd_member_from_json(wish, &member, err));
	LS_TRY(ls_agent_open(cli->root, cli->config, true, &agent, err));
	return ls_agent_etcd_member(agent, &member, out, err);
}

static int report(struct ls_cli *cli, json_t *answer)
{
	if (ls_cli_json(cli, answer))
		return 0;
	if (!cli->quiet) {
		printf("etcd member %s: %s\n", ls_cli_text(answer, "member"),
			ls_cli_text(answer, "directory"));
		printf("certificate: %s\n", json_is_true(json_object_get(answer, "issued"))
						    ? "issued"
						    : "as it was; it has the names and is not due");
		printf("next: etcd --config-file %s\n", ls_cli_text(answer, "config"));
	}
	json_decref(answer);
	return 0;
}

int ls_cli_etcd_config(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct words w = { 0 };
	const struct ls_cli_option options[] = { { "--member", &w.member, NULL },
		{ "--listen", &w.listen, NULL }, { "--initial-cluster", &w.cluster, NULL },
		{ "--initial-state", &w.state, NULL }, { "--client-port", &w.client_port, NULL },
		{ "--peer-port", &w.peer_port, NULL }, { "--metrics-port", &w.metrics_port, NULL },
		{ "--san", &w.sans, NULL }, { "--data-dir", &w.data_dir, NULL },
		{ "--group", &w.group, NULL }, { 0 } };
	struct ls_err err = { 0 };
	json_t *wish, *answer = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	enum ls_code code;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	wish = wish_of(&w);
	if (!wish)
		return 2;
	text = json_dumps(wish, JSON_COMPACT);
	code = ls_cli_ask(
		cli, "POST", "/v1/etcd-member", LS_BYTES_STR(text ? text : ""), &answer, &err);
	if (code == LS_E_UNREACHABLE)
		code = offline(cli, wish, &answer, &err);
	json_decref(wish);
	return code == LS_OK ? report(cli, answer) : ls_cli_fail(cli, &err);
}
