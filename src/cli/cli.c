#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/protect.h"
#include "net/client.h"
#include "sys/file.h"

#define FILE_MAX_BYTES (16 * 1024 * 1024)
#define TIMEOUT_MAX_S 86400

/* The argument of an option, as "--name value" or "--name=value". NULL: missing. */
static const char *argument(int argc, char **argv, int *at, size_t name_len)
{
	if (argv[*at][name_len] == '=')
		return argv[(*at)++] + name_len + 1;
	if (*at + 1 >= argc) {
		fprintf(stderr, "lockstep: option '%s' needs an argument\n", argv[*at]);
		return NULL;
	}
	*at += 2;
	return argv[*at - 1];
}

static bool is_option(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) == 0 &&
	       (word[len] == '\0' || (word[len] == '=' && len > 2));
}

static int global_value(struct ls_cli *cli, const char *name, const char *value)
{
	int64_t s;

	if (!value)
		return -1;
	if (strcmp(name, "--root") == 0) {
		cli->root = value;
	} else if (strcmp(name, "--config") == 0) {
		cli->config = value;
	} else if (strcmp(name, "--timeout") == 0) {
		if (!ls_text_number(value, 1, TIMEOUT_MAX_S, &s)) {
			fprintf(stderr, "lockstep: --timeout '%s': wanted seconds, 1 to %d\n",
				value, TIMEOUT_MAX_S);
			return -1;
		}
		cli->timeout_ms = s * 1000;
	} else if (strcmp(value, "json") == 0 || strcmp(value, "text") == 0) {
		cli->json = strcmp(value, "json") == 0;
	} else {
		fprintf(stderr, "lockstep: -o '%s': wanted text or json\n", value);
		return -1;
	}
	return 1;
}

int ls_cli_global(struct ls_cli *cli, int argc, char **argv, int *at)
{
	static const char *const with_value[] = { "--root", "--config", "--timeout", "-o",
		"--output" };
	const char *word = argv[*at];

	for (size_t i = 0; i < LS_COUNT(with_value); i++)
		if (is_option(word, with_value[i]))
			return global_value(cli, with_value[i],
				argument(argc, argv, at, strlen(with_value[i])));
	if (strcmp(word, "--quiet") == 0 || strcmp(word, "-q") == 0)
		cli->quiet = true;
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		cli->help = true;
	else if (strcmp(word, "--version") == 0) {
		puts("lockstep " LS_VERSION);
		exit(0);
	} else
		return 0;
	(*at)++;
	return 1;
}

/* 1: taken, 0: not this verb's, -1: wrong. */
static int verb_option(const struct ls_cli_option *options, int argc, char **argv, int *at)
{
	for (; options && options->name; options++) {
		if (!is_option(argv[*at], options->name))
			continue;
		if (options->flag) {
			if (strcmp(argv[*at], options->name) != 0) {
				fprintf(stderr, "lockstep: option '%s' takes no argument\n",
					options->name);
				return -1;
			}
			*options->flag = true;
			(*at)++;
			return 1;
		}
		*options->value = argument(argc, argv, at, strlen(options->name));
		return *options->value ? 1 : -1;
	}
	return 0;
}

static void print_help(const struct ls_cli_verb *verb, FILE *to)
{
	fprintf(to, "usage: lockstep %s%s%s %s\n", verb->name, verb->sub ? " " : "",
		verb->sub ? verb->sub : "", verb->args);
	if (to == stdout) {
		fprintf(to, "\n%s\n", verb->what);
		if (verb->more)
			fprintf(to, "\n%s\n", verb->more);
	}
}

bool ls_cli_parse(struct ls_cli *cli, const struct ls_cli_verb *verb,
	const struct ls_cli_option *options, int argc, char **argv, size_t min_rest,
	size_t max_rest, char ***out_rest)
{
	char **rest = ls_alloc((size_t)argc + 1, sizeof *rest);
	bool only_words = false, wrong = false;
	size_t count = 0;
	int at = 0;

	while (at < argc && !wrong) {
		int taken = 0;

		if (only_words || argv[at][0] != '-' || !argv[at][1]) {
			rest[count++] = argv[at++];
			continue;
		}
		if (strcmp(argv[at], "--") == 0) {
			only_words = true;
			at++;
			continue;
		}
		taken = verb_option(options, argc, argv, &at);
		if (taken == 0)
			taken = ls_cli_global(cli, argc, argv, &at);
		if (taken == 0)
			fprintf(stderr, "lockstep: unknown option '%s'\n", argv[at]);
		wrong = taken <= 0;
	}
	if (!wrong && cli->help) {
		print_help(verb, stdout);
		wrong = true;
	} else if (wrong || count < min_rest || count > max_rest) {
		if (!wrong)
			fprintf(stderr,
				count < min_rest ? "lockstep: %s%s%s: something is missing\n"
						 : "lockstep: %s%s%s: too many words\n",
				verb->name, verb->sub ? " " : "", verb->sub ? verb->sub : "");
		print_help(verb, stderr);
		cli->help = false;
		wrong = true;
	}
	if (wrong) {
		free(rest);
		return false;
	}
	ls_paths_init(&cli->paths, cli->root, cli->config);
	*out_rest = rest;
	return true;
}

bool ls_cli_parse_number(struct ls_cli *cli, const struct ls_cli_verb *verb,
	const struct ls_cli_option *options, int argc, char **argv, const char *what, int64_t *out)
{
	char **rest;
	bool ok;

	if (!ls_cli_parse(cli, verb, options, argc, argv, 1, 1, &rest))
		return false;
	ok = ls_text_number(rest[0], 1, INT64_MAX, out);
	if (!ok)
		fprintf(stderr, "lockstep: %s%s%s: '%s': wanted the number of %s\n", verb->name,
			verb->sub ? " " : "", verb->sub ? verb->sub : "", rest[0], what);
	free(rest);
	return ok;
}

int ls_cli_usage_code(const struct ls_cli *cli)
{
	return cli->help ? 0 : 2;
}

void ls_cli_unlocked(const struct ls_cli *cli)
{
	if (!cli->quiet)
		fprintf(stderr, "warning: %s; %s\n", ls_protect_unlocked_text,
			ls_protect_unlocked_hint);
}

int ls_cli_fail(struct ls_cli *cli, const struct ls_err *err)
{
	fprintf(stderr, "lockstep: %s\n", err->text);
	if (err->hint[0])
		fprintf(stderr, "hint: %s\n", err->hint);
	if (cli->json)
		(void)ls_cli_json(cli, ls_error_to_json(err));
	return ls_code_exit(err->code);
}

int ls_cli_unknown(struct ls_cli *cli, const char *component)
{
	struct ls_err err = { 0 };

	LS_FAIL(&err, LS_E_REFUSED, "component '%s' is unknown", component);
	LS_HINT(&err, "lockstep cert list shows the known ones");
	return ls_cli_fail(cli, &err);
}

bool ls_cli_json(struct ls_cli *cli, json_t *json)
{
	char *text;

	if (!cli->json)
		return false;
	text = json_dumps(json, JSON_INDENT(2));
	if (text)
		puts(text);
	free(text);
	json_decref(json);
	return true;
}

void ls_cli_warnings(const struct ls_cli *cli, const json_t *warnings)
{
	for (size_t i = 0; !cli->quiet && i < json_array_size(warnings); i++)
		fprintf(stderr, "warning: %s\n", ls_cli_item(warnings, i));
}

enum ls_code ls_cli_read(const char *name, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	enum ls_code code;

	if (strcmp(name, "-") != 0) {
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0) {
			LS_FAIL_ERRNO(err, "open '%s'", name);
			return err ? err->code : LS_E_IO;
		}
	}
	code = ls_file_read_fd(fd < 0 ? STDIN_FILENO : fd, name, FILE_MAX_BYTES, &bytes, err);
	if (code == LS_OK)
		ls_secret_set(out, ls_buf_bytes(&bytes));
	if (bytes.data)
		ls_wipe(bytes.data, bytes.cap);
	return code;
}

/* The daemon's answers. */

struct stream {
	struct ls_cli *cli;
	json_t *result;
	struct ls_err err;
	enum ls_code code;
	bool ended, shown;
};

/* What a step is about, in an operator's words; an unknown one is shown as it is called. */
static const char *step_words(const char *step)
{
	static const struct {
		const char *step, *words;
	} known[] = {
		{ "fetch", "checks the signed commit" },
		{ "probe", "looks at what is served now" },
		{ "stage", "writes and syncs the files" },
		{ "validate", "has the services check the staged files" },
		{ "vote yes", "votes yes" },
		{ "vote no", "votes no" },
		{ "decide", "decides" },
		{ "activate", "changes over" },
		{ "advance", "records it in the history" },
		{ "reload", "waits for the services to reload" },
		{ "check", "waits until the endpoints serve it" },
		{ "revert", "takes the cluster back" },
		{ "close", "closes the rotation" },
		{ "wait", "waits for the other nodes" },
	};

	for (size_t i = 0; i < LS_COUNT(known); i++)
		if (strcmp(known[i].step, step) == 0)
			return known[i].words;
	return step;
}

/* One line, rewritten in place on a terminal: what the rotation does now. */
static void show_progress(struct stream *s, const json_t *progress)
{
	if (s->cli->quiet || s->cli->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[Kgeneration %lld, %s: %s %s …",
		(long long)json_integer_value(json_object_get(progress, "generation")),
		ls_cli_text(progress, "phase"), ls_cli_text(progress, "node"),
		step_words(ls_cli_text(progress, "step")));
	s->shown = true;
}

static void end_progress(struct stream *s)
{
	if (s->shown)
		fputs("\r\033[K", stderr);
	s->shown = false;
}

static void on_line(void *arg, const char *line)
{
	struct stream *s = arg;
	json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	json_t *result = json_object_get(json, "result");

	if (json_object_get(json, "progress"))
		show_progress(s, json_object_get(json, "progress"));
	if (!s->ended && (result || json_object_get(json, "error"))) {
		s->ended = true;
		s->code = ls_error_from_json(json, &s->err);
		s->result = json_incref(result);
	}
	json_decref(json);
}

static struct ls_client_call call_of(struct ls_cli *cli, const char *socket_path,
	const char *method, const char *path, struct ls_bytes body)
{
	return (struct ls_client_call){
		.socket_path = socket_path,
		.method = method,
		.path = path,
		.body = body,
		.timeout_ms = cli->timeout_ms,
	};
}

bool ls_cli_daemon_runs(const struct ls_cli *cli)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/lockstepd.pid", cli->paths.run);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	int64_t pid;

	if (ls_file_read(AT_FDCWD, path, 32, &text, NULL) != LS_OK || !text.len)
		return false;
	text.data[text.len - 1] = '\0'; /* the newline */
	return ls_text_number(text.data, 1, INT32_MAX, &pid) &&
	       (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

static enum ls_code no_daemon(struct ls_cli *cli, enum ls_code code, struct ls_err *err)
{
	if (code != LS_E_UNREACHABLE || !err)
		return code;
	if (!ls_agent_initialised(&cli->paths) && access(cli->paths.lib, F_OK) != 0)
		LS_HINT(err, "this node is not initialised; lockstep init --cluster NAME makes it "
			     "the first one");
	else if (ls_cli_daemon_runs(cli))
		LS_HINT(err, "lockstepd runs, but is not ready: its log says why");
	else
		LS_HINT(err, "start it with lockstepd, or systemctl start lockstepd");
	return code;
}

enum ls_code ls_cli_change(
	struct ls_cli *cli, const struct ls_change *change, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *socket_path = ls_format("%s/control.sock", cli->paths.run);
	LS_CLEANUP(ls_buf_done) struct ls_buf body = { 0 };
	char *text = ls_change_to_text(change);
	struct stream stream = { .cli = cli };
	struct ls_client_call call =
		call_of(cli, socket_path, "POST", "/v1/change", LS_BYTES_STR(text));
	enum ls_code code;
	int status = 0;

	call.on_line = on_line;
	call.arg = &stream;
	code = ls_client_call(&call, &status, &body, err);
	ls_wipe(text, strlen(text));
	free(text);
	if (!stream.ended && code == LS_OK && body.len) /* an answer in one piece has no newline */
		on_line(&stream, ls_buf_text(&body));
	end_progress(&stream);
	if (code != LS_OK || (stream.ended && stream.code != LS_OK))
		json_decref(LS_TAKE(stream.result));
	if (code != LS_OK)
		return no_daemon(cli, code, err);
	if (stream.ended && stream.code != LS_OK && err)
		*err = stream.err;
	if (stream.ended && stream.code == LS_OK)
		*out = stream.result;
	if (stream.ended)
		return stream.code;
	if (change->detach) {
		*out = json_pack("{s:b}", "detached", 1);
		return LS_OK;
	}
	LS_FAIL(err, LS_E_UNKNOWN, "the daemon went away before it said how the change ended");
	LS_HINT(err, "lockstep status tells");
	return LS_E_UNKNOWN;
}

enum ls_code ls_cli_ask(struct ls_cli *cli, const char *method, const char *path,
	struct ls_bytes body, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *socket_path = ls_format("%s/control.sock", cli->paths.run);
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	struct ls_client_call call = call_of(cli, socket_path, method, path, body);
	enum ls_code code;
	json_t *json;
	int status = 0;

	code = ls_client_call(&call, &status, &answer, err);
	if (code != LS_OK)
		return no_daemon(cli, code, err);
	json = json_loadb(answer.data ? answer.data : "", answer.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json)
		return LS_FAIL(err, LS_E_FAILED, "the daemon's answer is not JSON (HTTP status %d)",
			status);
	code = ls_error_from_json(json, err);
	if (code != LS_OK) {
		json_decref(json);
		return code;
	}
	*out = json;
	return LS_OK;
}

enum ls_code ls_cli_look(struct ls_cli *cli, const char *path,
	enum ls_code (*offline)(
		struct ls_agent *agent, void *arg, json_t **out, struct ls_err *err),
	void *arg, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_agent_free) struct ls_agent *agent = NULL;
	enum ls_code code = ls_cli_ask(cli, "GET", path, (struct ls_bytes){ 0 }, out, err);

	if (code != LS_E_UNREACHABLE)
		return code;
	LS_TRY(ls_agent_open(cli->root, cli->config, false, &agent, err));
	return offline(agent, arg, out, err);
}
