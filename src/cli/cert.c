/* cert list, show, set, renew, csr. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "daemon/view.h"
#include "sys/file.h"

#define NAMES_MAX 10000

static enum ls_code certs_offline(
	struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err)
{
	return ls_view_certs(agent, arg, out, err);
}

static enum ls_tint state_tint(const char *state)
{
	return strcmp(state, "valid") == 0 ? LS_TINT_GOOD : LS_TINT_BAD;
}

#define WIDE_COLUMNS 120

static char *joined(const json_t *array)
{
	struct ls_buf text = { 0 };

	for (size_t i = 0; i < json_array_size(array); i++)
		ls_buf_printf(&text, "%s%s", i ? " " : "", ls_cli_item(array, i));
	return ls_buf_take(&text);
}

static void list_row(struct ls_table *table, const json_t *c)
{
	LS_CLEANUP(ls_free_str) char *names = joined(json_object_get(c, "sans"));
	const char *state = ls_cli_text(c, "state");
	char date[32], days[32], sha[16];
	const char *cells[] = { ls_cli_text(c, "name"), ls_cli_text(c, "origin"),
		ls_cli_text(c, "key"), ls_cli_date(json_object_get(c, "not_after"), date), days,
		state, sha, ls_cli_text(c, "subject"), names };
	enum ls_tint tints[LS_COUNT(cells)] = { [5] = state_tint(state) };

	(void)snprintf(days, sizeof days, "%lld",
		(long long)json_integer_value(json_object_get(c, "days")));
	(void)snprintf(sha, sizeof sha, "%.10s", ls_cli_text(c, "sha256"));
	ls_table_row(table, cells, tints);
}

/* One row for each; on a narrow terminal what the certificates say of themselves stands in a second
 * table. */
static void print_certs(const json_t *certs)
{
	static const char *const heads[] = { "COMPONENT", "ORIGIN", "KEY", "NOT AFTER", "DAYS",
		"STATE", "SHA256", "SUBJECT", "NAMES" };
	static const char *const more[] = { "COMPONENT", "SUBJECT", "NAMES" };
	bool wide = ls_cli_columns() >= WIDE_COLUMNS;
	struct ls_table *table = ls_table_new(heads, wide ? LS_COUNT(heads) : LS_COUNT(heads) - 2);

	for (size_t i = 0; i < json_array_size(certs); i++)
		list_row(table, json_array_get(certs, i));
	ls_table_print(&table, stdout);
	if (wide)
		return;
	putchar('\n');
	table = ls_table_new(more, LS_COUNT(more));
	for (size_t i = 0; i < json_array_size(certs); i++) {
		const json_t *c = json_array_get(certs, i);
		LS_CLEANUP(ls_free_str) char *names = joined(json_object_get(c, "sans"));
		const char *cells[] = { ls_cli_text(c, "name"), ls_cli_text(c, "subject"), names };

		ls_table_row(table, cells, NULL);
	}
	ls_table_print(&table, stdout);
}

int ls_cli_cert_list(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	char **rest;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (ls_cli_look(cli, "/v1/certs", certs_offline, NULL, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	print_certs(json_object_get(answer, "certificates"));
	json_decref(answer);
	return 0;
}

static void print_list(const char *label, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		printf("%-12s %s\n", i == 0 ? label : "", ls_cli_item(array, i));
}

int ls_cli_cert_show(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	static const char *const keys[][2] = { { "component", "name" }, { "origin", "origin" },
		{ "state", "state" }, { "subject", "subject" }, { "issuer", "issuer" },
		{ "key", "key" }, { "serial", "serial" }, { "not before", "not_before" },
		{ "not after", "not_after" }, { "sha256", "sha256" } };
	LS_CLEANUP(ls_free_str) char *path = NULL;
	struct ls_err err = { 0 };
	json_t *c = NULL;
	char **rest;
	int code = 0;

	if (!ls_cli_parse(cli, verb, NULL, argc, argv, 1, 1, &rest))
		return ls_cli_usage_code(cli);
	path = ls_format("/v1/certs/%s", rest[0]);
	if (!ls_name_valid(rest[0]))
		code = ls_cli_unknown(cli, rest[0]);
	else if (ls_cli_look(cli, path, certs_offline, rest[0], &c, &err) != LS_OK)
		code = ls_cli_fail(cli, &err);
	free(rest);
	if (code != 0 || ls_cli_json(cli, c))
		return code;
	for (size_t i = 0; i < LS_COUNT(keys); i++)
		printf("%-12s %s\n", keys[i][0], ls_cli_text(c, keys[i][1]));
	print_list("names", json_object_get(c, "sans"));
	if (json_is_true(json_object_get(c, "open_request")))
		printf("%-12s %s\n", "request",
			"open: its certificate can be installed without a key");
	printf("\n%s", ls_cli_text(c, "chain"));
	json_decref(c);
	return 0;
}

int ls_cli_report_change(struct ls_cli *cli, const struct ls_change *change, const char *done)
{
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	long long generation;
	const json_t *changed;

	if (ls_cli_change(cli, change, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	ls_cli_warnings(cli, json_object_get(answer, "warnings"));
	if (ls_cli_json(cli, answer))
		return 0;
	generation = (long long)json_integer_value(json_object_get(answer, "generation"));
	changed = json_object_get(answer, "changed");
	if (cli->quiet) {
		json_decref(answer);
		return 0;
	}
	if (json_is_true(json_object_get(answer, "detached")))
		printf("begun; lockstep status shows how it goes\n");
	else if (json_is_true(json_object_get(answer, "unchanged")))
		printf("nothing to do: generation %lld stays in force\n", generation);
	else if (json_is_true(json_object_get(answer, "dry_run")))
		printf("would be accepted; nothing was changed (generation %lld)\n", generation);
	else
		printf("%s: generation %lld is in force (%.10s)\n", done, generation,
			ls_cli_text(answer, "commit"));
	for (size_t i = 0; i < json_array_size(changed); i++)
		printf("  %s\n", ls_cli_item(changed, i));
	json_decref(answer);
	return 0;
}

static enum ls_code add_file(const char *name, struct ls_change_file *to, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret bytes = { 0 };

	if (!name)
		return LS_OK;
	LS_TRY(ls_cli_read(name, &bytes, err));
	ls_change_file_set(
		to, strcmp(name, "-") == 0 ? "standard input" : name, ls_secret_bytes(&bytes));
	return LS_OK;
}

/* The file's last newline is the editor's, not the passphrase's. */
static void trim_newline(struct ls_secret *bytes)
{
	while (bytes->len > 0 &&
		(bytes->data[bytes->len - 1] == '\n' || bytes->data[bytes->len - 1] == '\r'))
		bytes->data[--bytes->len] = 0;
}

int ls_cli_set_one(struct ls_cli *cli, const char *component, const char *cert, const char *key,
	const char *chain, const char *passphrase, bool dry_run, bool detach)
{
	LS_CLEANUP(ls_change_done)
	struct ls_change change = { .kind = LS_CHANGE_SET, .dry_run = dry_run, .detach = detach };
	struct ls_change_set *set = ls_change_add_set(&change, component);
	struct ls_err err = { 0 };

	if (add_file(cert, &set->cert, &err) != LS_OK || add_file(key, &set->key, &err) != LS_OK ||
		add_file(chain, &set->chain, &err) != LS_OK ||
		add_file(passphrase, &set->passphrase, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	trim_newline(&set->passphrase.bytes);
	return ls_cli_report_change(cli, &change, "installed");
}

/* NAME_cert.pem, NAME_key.pem and NAME.pem of a directory; other files are not looked at. */
static enum ls_code add_dir(struct ls_change *change, const char *dir, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_open(dir, &fd, err));
	LS_TRY(ls_dir_list(fd, NAMES_MAX, &names, err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		static const char suffix[] = "_cert.pem";
		LS_CLEANUP(ls_free_str) char *component = NULL;
		LS_CLEANUP(ls_free_str) char *cert = NULL;
		LS_CLEANUP(ls_free_str) char *key = NULL;
		struct ls_change_set *set;

		if (!ls_has_suffix(names[i], suffix) || strlen(names[i]) == strlen(suffix))
			continue;
		component = ls_strndup(names[i], strlen(names[i]) - strlen(suffix));
		cert = ls_format("%s/%s", dir, names[i]);
		key = ls_format("%s/%s_key.pem", dir, component);
		set = ls_change_add_set(change, component);
		LS_TRY(add_file(cert, &set->cert, err));
		if (access(key, F_OK) == 0)
			LS_TRY(add_file(key, &set->key, err));
	}
	if (change->set_count == 0) {
		LS_FAIL(err, LS_E_FAILED, "'%s' holds no NAME_cert.pem", dir);
		return LS_E_FAILED;
	}
	return LS_OK;
}

static int set_from(struct ls_cli *cli, const char *dir, bool dry_run, bool detach)
{
	LS_CLEANUP(ls_change_done)
	struct ls_change change = { .kind = LS_CHANGE_SET, .dry_run = dry_run, .detach = detach };
	struct ls_err err = { 0 };

	if (add_dir(&change, dir, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	return ls_cli_report_change(cli, &change, "installed");
}

int ls_cli_cert_set(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	const char *cert = NULL, *key = NULL, *chain = NULL, *passphrase = NULL, *from = NULL;
	bool dry_run = false, detach = false;
	const struct ls_cli_option options[] = { { "--cert", &cert, NULL }, { "--key", &key, NULL },
		{ "--chain", &chain, NULL }, { "--passphrase-file", &passphrase, NULL },
		{ "--from", &from, NULL }, { "--dry-run", NULL, &dry_run },
		{ "--detach", NULL, &detach }, { 0 } };
	char **rest;
	const char *name;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 1, &rest))
		return ls_cli_usage_code(cli);
	name = rest[0];
	free(rest);
	if (from && !name && !cert && !key && !chain)
		return set_from(cli, from, dry_run, detach);
	if (from || !name || !cert) {
		fprintf(stderr, from ? "lockstep: cert set: --from stands alone\n"
				     : "lockstep: cert set: NAME and --cert FILE are needed\n");
		return 2;
	}
	return ls_cli_set_one(cli, name, cert, key, chain, passphrase, dry_run, detach);
}

int ls_cli_cert_renew(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { .kind = LS_CHANGE_RENEW };
	const struct ls_cli_option options[] = { { "--force", NULL, &change.force },
		{ "--replace-installed", NULL, &change.replace_installed }, { 0 } };
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 1000, &rest))
		return ls_cli_usage_code(cli);
	for (size_t i = 0; rest[i]; i++)
		ls_strv_add(&change.names, rest[i]);
	free(rest);
	return ls_cli_report_change(cli, &change, "renewed");
}

static enum ls_code write_out(int fd, const char *name, const char *text, struct ls_err *err)
{
	size_t len = strlen(text);
	ssize_t n;

	(void)!ftruncate(fd, 0); /* a pipe has nothing to cut */
	for (; len > 0; text += n, len -= (size_t)n) {
		n = write(fd, text, len);
		if (n <= 0)
			return LS_FAIL_ERRNO(err, "write '%s'", name);
	}
	return LS_OK;
}

/* Before the request is made: the earlier one ends with it, and it can be had only once. */
static enum ls_code open_out(const char *name, int *out_fd, struct ls_err *err)
{
	if (!name || strcmp(name, "-") == 0)
		return LS_OK;
	*out_fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return *out_fd < 0 ? LS_FAIL_ERRNO(err, "write '%s'", name) : LS_OK;
}

int ls_cli_cert_csr(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { .kind = LS_CHANGE_REQUEST };
	const char *out = NULL;
	const struct ls_cli_option options[] = { { "--out", &out, NULL }, { 0 } };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	enum ls_code code = LS_OK;
	char **rest;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 1, 1, &rest))
		return ls_cli_usage_code(cli);
	ls_strv_add(&change.names, rest[0]);
	free(rest);
	if (open_out(out, &fd, &err) != LS_OK ||
		ls_cli_change(cli, &change, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	ls_cli_warnings(cli, json_object_get(answer, "warnings"));
	if (fd >= 0)
		code = write_out(fd, out, ls_cli_text(answer, "request"), &err);
	else if (!cli->json)
		fputs(ls_cli_text(answer, "request"), stdout);
	if (code == LS_OK && ls_cli_json(cli, answer))
		return 0;
	json_decref(answer);
	return code == LS_OK ? 0 : ls_cli_fail(cli, &err);
}
