/* doctor: what is wrong on this node, and the command that mends it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "daemon/doctor.h"

#define ASK_MS 10000
#define NAME_WIDTH 13
#define INDENT 10
#define WIDTH_LEAST 40
#define WIDTH_MOST 100

static const struct state {
	const char *name, *mark;
	enum ls_tint tint;
} states[] = {
	{ "ok", "ok", LS_TINT_GOOD },
	{ "note", "note", LS_TINT_NONE },
	{ "skipped", "skipped", LS_TINT_DIM },
	{ "wrong", "WRONG", LS_TINT_BAD },
};

static const struct state *state_of(const json_t *check)
{
	for (size_t i = 0; i < LS_COUNT(states); i++)
		if (strcmp(states[i].name, ls_cli_text(check, "state")) == 0)
			return &states[i];
	return &states[LS_COUNT(states) - 1]; /* an unknown one is not well */
}

/* Words of ASCII and UTF-8, broken at blanks; the cursor stands at column `from` already, further
 * lines begin there. A word that is too long (a path) is not cut. */
static void print_wrapped(const char *text, int from, int width)
{
	int at = from;

	while (*text) {
		int len = (int)strcspn(text, " "), columns = 0;

		for (int i = 0; i < len; i++)
			columns += ((unsigned char)text[i] & 0xc0) != 0x80;
		if (at > from && at + 1 + columns > width) {
			printf("\n%*s", from, "");
			at = from;
		} else if (at > from) {
			putchar(' ');
			at++;
		}
		printf("%.*s", len, text);
		at += columns;
		text += len + (text[len] == ' ');
	}
	putchar('\n');
}

static void print_paragraph(const char *text, int width)
{
	if (!*text)
		return;
	printf("%*s", INDENT, "");
	print_wrapped(text, INDENT, width);
}

static bool same(const json_t *x, const json_t *y, const char *key)
{
	return strcmp(ls_cli_text(x, key), ls_cli_text(y, key)) == 0;
}

/* Whether the next finding is mended by the same command for the same reason: then both are told
 * once, behind the last. */
static bool goes_on(const json_t *check, const json_t *next)
{
	return next && same(check, next, "name") && same(check, next, "state") &&
	       same(check, next, "why") && same(check, next, "hint");
}

/* A command stands in one line, however long: it is there to be copied. */
static void print_check(const json_t *check, const json_t *next, int width, bool *gap)
{
	const struct state *state = state_of(check);
	const char *hint = ls_cli_text(check, "hint"), *does = ls_cli_text(check, "does");
	LS_CLEANUP(ls_free_str) char *what = NULL;

	if (*gap)
		putchar('\n');
	ls_cli_tinted(stdout, state->tint, state->mark);
	printf("%*s%-*s ", INDENT - (int)strlen(state->mark), "", NAME_WIDTH - 1,
		ls_cli_text(check, "name"));
	print_wrapped(ls_cli_text(check, "text"), INDENT + NAME_WIDTH, width);
	*gap = (*hint || *does) && !goes_on(check, next);
	if (goes_on(check, next))
		return;
	print_paragraph(ls_cli_text(check, "why"), width);
	if (*does) {
		what = *hint ? ls_format("This %s:", does) : ls_format("It %s.", does);
		print_paragraph(what, width);
	}
	if (*hint) {
		printf("%*s", INDENT + 2, "");
		ls_cli_tinted(stdout, LS_TINT_BOLD, hint);
		putchar('\n');
	}
}

static void print_checks(const json_t *answer)
{
	const json_t *checks = json_object_get(answer, "checks");
	int width = ls_cli_columns();
	size_t wrong = 0;
	bool gap = false;

	width = width > WIDTH_MOST ? WIDTH_MOST : width < WIDTH_LEAST ? WIDTH_LEAST : width;
	for (size_t i = 0; i < json_array_size(checks); i++) {
		const json_t *check = json_array_get(checks, i);

		print_check(check, json_array_get(checks, i + 1), width, &gap);
		wrong += state_of(check)->tint == LS_TINT_BAD;
	}
	putchar('\n');
	if (json_is_true(json_object_get(answer, "healthy")))
		ls_cli_tinted(stdout, LS_TINT_GOOD, "All is well.\n");
	else if (wrong)
		printf("%zu finding%s. Run the command%s from the top, then lockstep doctor "
		       "again.\n",
			wrong, wrong == 1 ? "" : "s", wrong == 1 ? "" : "s in order");
}

static enum ls_code examine(struct ls_cli *cli, json_t **out, struct ls_err *err)
{
	struct ls_doctor_about about = { .config_given = cli->config != NULL };
	json_t *status = NULL;
	struct ls_err none = { 0 };
	enum ls_code code;

	if (cli->timeout_ms == 0) /* a daemon that hangs is a finding */
		cli->timeout_ms = ASK_MS;
	code = ls_cli_ask(cli, "GET", "/v1/status", (struct ls_bytes){ 0 }, &status, &none);
	about.answers = code != LS_E_UNREACHABLE && code != LS_E_UNKNOWN && code != LS_E_TIMEOUT;
	about.status = status;
	code = ls_doctor_examine(&cli->paths, &about, out, err);
	json_decref(status);
	/* Who may not read the files may still ask who can. */
	if (code == LS_E_IO && about.answers)
		return ls_cli_ask(cli, "GET", "/v1/doctor", (struct ls_bytes){ 0 }, out, err);
	return code;
}

static int mend(struct ls_cli *cli, const char *what, const char *from)
{
	struct ls_err err = { 0 };
	json_t *answer = NULL;

	if (ls_doctor_mend(&cli->paths, what, from, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	if (ls_cli_json(cli, answer))
		return 0;
	if (!cli->quiet)
		printf("%s\n", ls_cli_text(answer, "text"));
	json_decref(answer);
	return 0;
}

int ls_cli_doctor(struct ls_cli *cli, const struct ls_cli_verb *verb, int argc, char **argv)
{
	const char *what = NULL, *from = NULL;
	const struct ls_cli_option options[] = { { "--mend", &what, NULL },
		{ "--from", &from, NULL }, { 0 } };
	struct ls_err err = { 0 };
	json_t *answer = NULL;
	char **rest;
	int code;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 0, 0, &rest))
		return ls_cli_usage_code(cli);
	free(rest);
	if (from && (!what || strcmp(what, "objects") != 0)) {
		fprintf(stderr, "lockstep: doctor: --from goes with --mend objects\n");
		return 2;
	}
	if (what)
		return mend(cli, what, from);
	if (examine(cli, &answer, &err) != LS_OK)
		return ls_cli_fail(cli, &err);
	code = json_is_true(json_object_get(answer, "healthy")) ? 0 : 1;
	if (ls_cli_json(cli, answer))
		return code;
	if (!cli->quiet)
		print_checks(answer);
	json_decref(answer);
	return code;
}
