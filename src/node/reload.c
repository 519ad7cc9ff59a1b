#include "node/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/probe.h"
#include "node/plan.h"
#include "pki/digest.h"
#include "sys/file.h"
#include "sys/helper.h"
#include "sys/process.h"
#include "sys/systemd.h"

#define VALIDATE_TIMEOUT_S 30
#define OUTPUT_MAX (16 * 1024)
#define PEM_BYTES_MAX (1024 * 1024)
#define PASSWORD_BYTES_MAX 4096
#define QUOTE_MAX 160
/* For the command to be stopped, for systemd to say so. */
#define ASK_MARGIN_MS 30000
#define PATH_PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@+:-"

static void add_env(char ***envp, const char *name, const char *value)
{
	LS_CLEANUP(ls_free_str) char *entry = ls_format("LOCKSTEP_%s=%s", name, value);

	ls_strv_add(envp, entry);
}

/* `dir` of the files that the paths name: the staged ones, or "" for the live ones. */
static char **environment(const struct ls_service *service, const struct ls_reload_about *about,
	const char *event, const char *dir)
{
	const char *slash = dir[0] ? "/" : "";
	LS_CLEANUP(ls_free_str)
	char *cert =
		ls_format("%s/%s%s%s_cert.pem", about->certs_path, dir, slash, service->component);
	LS_CLEANUP(ls_free_str)
	char *key =
		ls_format("%s/%s%s%s_key.pem", about->certs_path, dir, slash, service->component);
	LS_CLEANUP(ls_free_str)
	char *generation = ls_format("%lld", (long long)about->generation);
	char **envp = NULL;

	ls_strv_add(&envp, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	ls_strv_add(&envp, "LANG=C");
	add_env(&envp, "EVENT", event);
	add_env(&envp, "COMPONENT", service->component);
	add_env(&envp, "CERT_PATH", cert);
	add_env(&envp, "KEY_PATH", key);
	add_env(&envp, "GENERATION", generation);
	add_env(&envp, "NODE", about->node);
	add_env(&envp, "OLD_SHA256", about->old_sha256);
	add_env(&envp, "NEW_SHA256", about->new_sha256);
	return envp;
}

struct command {
	const char *what; /* "validate proxy" */
	char *const *argv;
	char *const *envp;
	const char *bind_from, *bind_to; /* NULL: nothing */
	int64_t timeout_ms;
	bool as_unit;
	int stop_fd;
};

static enum ls_code run_command(const struct command *command, struct ls_err *err)
{
	LS_CLEANUP(ls_process_result_done) struct ls_process_result result = { 0 };
	LS_CLEANUP(ls_free_str) char *name = ls_format("lockstep: %s", command->what);
	const struct ls_process process = {
		.argv = command->argv,
		.envp = command->envp,
		.timeout_ms = command->timeout_ms,
		.output_max = OUTPUT_MAX,
		.bind_from = command->bind_from,
		.bind_to = command->bind_to,
		.stop_fd = command->stop_fd,
	};

	if (command->as_unit)
		return ls_systemd_run(name, command->argv, command->envp, command->bind_from,
			command->bind_to, command->timeout_ms, command->stop_fd, err);
	LS_TRY(ls_process_run(&process, &result, err));
	return ls_process_check(command->argv[0], &result, err);
}

/* `entry` NULL: validate. */
static enum ls_code ask(const struct ls_service *service, const struct ls_reload *entry,
	const struct ls_reload_about *about, char **out_warning, struct ls_err *err)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };
	int64_t timeout_ms = (entry ? entry->timeout_s : VALIDATE_TIMEOUT_S) * 1000;
	char generation[24], index[24], kind[24];
	const char *words[] = { entry ? LS_ASK_RELOAD : LS_ASK_VALIDATE, service->component,
		about->dir, about->present_dir, about->node, generation, about->old_sha256,
		about->new_sha256, entry ? index : NULL, kind, NULL };

	(void)snprintf(generation, sizeof generation, "%lld", (long long)about->generation);
	(void)snprintf(index, sizeof index, "%td", entry ? entry - service->reloads : 0);
	(void)snprintf(kind, sizeof kind, "%d", entry ? (int)entry->kind : 0);
	LS_TRY(ls_helper_ask(words, -1, timeout_ms + ASK_MARGIN_MS, &answer, err));
	if (answer.value.len && out_warning)
		*out_warning = ls_strndup((const char *)answer.value.data, answer.value.len);
	return LS_OK;
}

enum ls_code ls_reload_validate(
	const struct ls_service *service, const struct ls_reload_about *about, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **envp = environment(service, about, "validate", about->dir);
	LS_CLEANUP(ls_free_str) char *staged = ls_format("%s/%s", about->certs_path, about->dir);
	LS_CLEANUP(ls_free_str)
	char *present = ls_format("%s/%s", about->certs_path, about->present_dir);
	LS_CLEANUP(ls_free_str) char *what = ls_format("validate %s", service->component);
	/* Without an earlier generation ..data leads nowhere yet. */
	bool bind = about->present_dir[0] && strcmp(about->present_dir, about->dir) != 0;
	const struct command command = {
		.what = what,
		.argv = service->validate,
		.envp = envp,
		.bind_from = bind ? staged : NULL,
		.bind_to = bind ? present : NULL,
		.timeout_ms = VALIDATE_TIMEOUT_S * 1000,
		.as_unit = about->as_units,
		.stop_fd = about->stop_fd,
	};
	enum ls_code rc;

	if (!service->validate)
		return LS_OK;
	if (ls_helper_here())
		return ask(service, NULL, about, NULL, err);
	rc = run_command(&command, err);
	if (rc == LS_OK)
		return LS_OK;
	if (rc == LS_E_FAILED && err) /* it ran, and its answer was no */
		err->code = LS_E_REFUSED;
	(void)LS_WRAP(err, "validate of component '%s'", service->component);
	return rc == LS_E_FAILED ? LS_E_REFUSED : rc;
}

static enum ls_code reload_exec(const struct ls_service *service, const struct ls_reload *reload,
	const struct ls_reload_about *about, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **envp = environment(service, about, "reload", "");
	LS_CLEANUP(ls_free_str) char *what = ls_format("reload %s", service->component);
	const struct command command = {
		.what = what,
		.argv = reload->argv,
		.envp = envp,
		.timeout_ms = reload->timeout_s * 1000,
		.as_unit = about->as_units,
		.stop_fd = about->stop_fd,
	};

	return run_command(&command, err);
}

static enum ls_code reload_signal(
	const struct ls_reload *reload, pid_t daemon_pid, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	int64_t pid;
	size_t len;

	LS_TRY(ls_file_read(AT_FDCWD, reload->target, 64, &text, err));
	len = strcspn(ls_buf_text(&text), " \t\r\n");
	if (text.len)
		text.data[len] = '\0';
	/* 0 and below would mean groups, 1 is the machine's. */
	if (!ls_text_number(ls_buf_text(&text), 2, INT32_MAX, &pid) || pid == getpid() ||
		pid == daemon_pid)
		return LS_FAIL(err, LS_E_FAILED, "'%s' does not hold a service's process number",
			reload->target);
	if (kill((pid_t)pid, reload->signum) == 0)
		return LS_OK;
	if (errno == ESRCH)
		return LS_FAIL(err, LS_E_FAILED, "process %lld, which '%s' names, is not there",
			(long long)pid, reload->target);
	return LS_FAIL_ERRNO(err, "signal process %lld of '%s'", (long long)pid, reload->target);
}

static enum ls_code reload_systemd(
	const struct ls_reload *reload, char **out_warning, struct ls_err *err)
{
	enum ls_unit_state state;

	LS_TRY(ls_systemd_unit_state(reload->target, &state, err));
	if (state == LS_UNIT_ACTIVE)
		return ls_systemd_reload(reload->target, reload->timeout_s * 1000, err);
	*out_warning = ls_format("unit %s is %s: not reloaded", reload->target,
		state == LS_UNIT_MISSING ? "not there" : "not active");
	return LS_OK;
}

/* Under systemd the daemon is root without the right to pass over permissions. */
static void hint_socket(const char *path, struct ls_err *err)
{
	if (err && access(path, R_OK | W_OK) != 0 && errno == EACCES)
		LS_HINT(err,
			"'%s' belongs to others: name its group with SupplementaryGroups= in a "
			"drop-in of lockstepd.service",
			path);
}

/* The start of a service's answer, printable, for a message: up to `ends`, at most QUOTE_MAX. */
static void quote(struct ls_bytes answer, const char *ends, char out[QUOTE_MAX + 1])
{
	const char *text = answer.data;
	size_t n = 0;

	for (size_t i = 0; i < answer.len && n < QUOTE_MAX; i++) {
		if (text[i] == '\0' || strchr(ends, text[i])) {
			if (n > 0)
				break;
			continue;
		}
		out[n++] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	}
	out[n] = '\0';
}

/* A request that holds a secret grows in the secret's own pages, never through the heap. */
static void request_add(struct ls_secret *request, size_t *used, struct ls_bytes bytes)
{
	if (bytes.len)
		memcpy(request->data + *used, bytes.data, bytes.len);
	*used += bytes.len;
}

/* RESP: an array of bulk strings. */
static void resp_array(
	struct ls_secret *request, size_t *used, const struct ls_bytes *words, size_t count)
{
	char head[32];

	(void)snprintf(head, sizeof head, "*%zu\r\n", count);
	request_add(request, used, LS_BYTES_STR(head));
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(head, sizeof head, "$%zu\r\n", words[i].len);
		request_add(request, used, LS_BYTES_STR(head));
		request_add(request, used, words[i]);
		request_add(request, used, LS_BYTES_STR("\r\n"));
	}
}

static size_t lines(struct ls_bytes answer)
{
	const char *text = answer.data;
	size_t n = 0;

	for (size_t i = 0; i < answer.len; i++)
		n += text[i] == '\n';
	return n;
}

static bool one_line(struct ls_bytes answer)
{
	return lines(answer) >= 1;
}

static bool two_lines(struct ls_bytes answer)
{
	return lines(answer) >= 2;
}

static enum ls_code ask_password(const struct ls_service *service, const struct ls_reload *reload,
	struct ls_secret *password, struct ls_err *err)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };
	char index[24];

	(void)snprintf(index, sizeof index, "%td", reload - service->reloads);
	LS_TRY(ls_helper_ask((const char *[]){ LS_ASK_PASSWORD, service->component, index, NULL },
		-1, ASK_MARGIN_MS, &answer, err));
	*password = answer.value;
	answer.value = (struct ls_secret){ 0 };
	return LS_OK;
}

static enum ls_code read_password(const struct ls_service *service, const struct ls_reload *reload,
	struct ls_secret *password, struct ls_err *err)
{
	if (!reload->password_file)
		return LS_OK;
	if (ls_helper_here())
		LS_TRY(ask_password(service, reload, password, err));
	else
		LS_TRY(ls_file_read_secret(
			AT_FDCWD, reload->password_file, PASSWORD_BYTES_MAX, password, err));
	while (password->len && strchr("\r\n", password->data[password->len - 1]))
		password->len--;
	if (!password->len)
		return LS_FAIL(err, LS_E_FAILED, "'%s' is empty", reload->password_file);
	return LS_OK;
}

/* Both paths in one command: a pair set in two steps does not match in between and is refused. */
static void redis_request(const struct ls_service *service, const struct ls_reload *reload,
	const struct ls_reload_about *about, const struct ls_secret *password,
	struct ls_secret *request)
{
	LS_CLEANUP(ls_free_str)
	char *cert = ls_format("%s/%s_cert.pem", about->certs_path, service->component);
	LS_CLEANUP(ls_free_str)
	char *key = ls_format("%s/%s_key.pem", about->certs_path, service->component);
	struct ls_bytes auth[3], set[] = { LS_BYTES_STR("CONFIG"), LS_BYTES_STR("SET"),
		LS_BYTES_STR("tls-cert-file"), LS_BYTES_STR(cert), LS_BYTES_STR("tls-key-file"),
		LS_BYTES_STR(key) };
	size_t auth_count = 0, used = 0, room = 1024 + strlen(cert) + strlen(key);

	ls_secret_alloc(request, room + password->len + (reload->user ? strlen(reload->user) : 0));
	auth[auth_count++] = LS_BYTES_STR("AUTH");
	if (reload->user)
		auth[auth_count++] = LS_BYTES_STR(reload->user);
	auth[auth_count++] = ls_secret_bytes(password);
	if (password->len)
		resp_array(request, &used, auth, auth_count);
	resp_array(request, &used, set, LS_COUNT(set));
	request->len = used;
}

static enum ls_code live_file(const struct ls_service *service, const struct ls_reload_about *about,
	const char *suffix, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str)
	char *path = ls_format("%s/..data/%s%s", about->certs_path, service->component, suffix);

	return ls_file_read_secret(AT_FDCWD, path, PEM_BYTES_MAX, out, err);
}

/* `+OK` once, or twice after AUTH. */
static enum ls_code redis_judge(struct ls_bytes answer, bool with_auth, struct ls_err *err)
{
	const char *text = answer.data;
	const char *end = answer.len ? memchr(text, '\n', answer.len) : NULL;
	char said[QUOTE_MAX + 1];

	if (with_auth && answer.len && text[0] != '+') {
		/* Its first word only: "unknown command" repeats what was sent. */
		quote(answer, " \r\n", said);
		return LS_FAIL(err, LS_E_FAILED, "redis refused AUTH: %s", said);
	}
	if (with_auth && end) {
		answer.len -= (size_t)(end + 1 - text);
		answer.data = end + 1;
		text = answer.data;
	}
	if (answer.len >= 3 && memcmp(text, "+OK", 3) == 0)
		return LS_OK;
	quote(answer, "\r\n", said);
	return LS_FAIL(err, LS_E_FAILED, "redis did not take the new files: %s",
		said[0] ? said : "no answer");
}

static enum ls_code reload_redis(const struct ls_service *service, const struct ls_reload *reload,
	const struct ls_reload_about *about, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret password = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret request = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret cert = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	struct ls_exchange exchange = {
		.endpoint = reload->target,
		.tls = reload->tls,
		.timeout_ms = reload->timeout_s * 1000,
	};

	LS_TRY(read_password(service, reload, &password, err));
	if (reload->tls) {
		LS_TRY(live_file(service, about, "_cert.pem", &cert, err));
		LS_TRY(live_file(service, about, "_key.pem", &key, err));
		exchange.cert_pem = ls_secret_bytes(&cert);
		exchange.key_pem = ls_secret_bytes(&key);
	}
	redis_request(service, reload, about, &password, &request);
	exchange.request = ls_secret_bytes(&request);
	exchange.whole = password.len ? two_lines : one_line;
	if (ls_exchange(&exchange, &answer, err) != LS_OK) {
		if (ls_has_prefix(reload->target, "unix:"))
			hint_socket(reload->target + strlen("unix:"), err);
		return LS_WRAP(err, "redis at %s", reload->target);
	}
	return redis_judge(ls_buf_bytes(&answer), password.len > 0, err);
}

/* Without line ends of other systems and without empty lines: an empty line ends the payload. */
static void haproxy_payload(const char *name, struct ls_bytes pem, struct ls_secret *request)
{
	const char *text = pem.data, *end = text + pem.len;
	size_t used = 0;

	ls_secret_alloc(request, strlen(name) + pem.len + 64);
	request_add(request, &used, LS_BYTES_STR("set ssl cert "));
	request_add(request, &used, LS_BYTES_STR(name));
	request_add(request, &used, LS_BYTES_STR(" <<\n"));
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		const char *stop = eol ? eol : end;
		size_t len = (size_t)(stop - text);

		while (len && (text[len - 1] == '\r' || text[len - 1] == ' '))
			len--;
		if (len) {
			request_add(request, &used, (struct ls_bytes){ text, len });
			request_add(request, &used, LS_BYTES_STR("\n"));
		}
		text = eol ? eol + 1 : end;
	}
	request_add(request, &used, LS_BYTES_STR("\n"));
	request->len = used;
}

static bool says(const struct ls_buf *answer, const char *word)
{
	return strstr(ls_buf_text(answer), word) != NULL;
}

/* One request on a connection of its own, as the socket is by default. */
static enum ls_code haproxy_ask(const char *endpoint, int64_t timeout_ms, struct ls_bytes request,
	struct ls_buf *out_answer, struct ls_err *err)
{
	const struct ls_exchange exchange = {
		.endpoint = endpoint,
		.request = request,
		.timeout_ms = timeout_ms,
	};

	if (ls_exchange(&exchange, out_answer, err) != LS_OK)
		return LS_WRAP(err, "haproxy at %s", endpoint);
	return LS_OK;
}

static enum ls_code haproxy_say(const char *endpoint, int64_t timeout_ms, const char *command,
	const char *name, const char *want, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *request = ls_format("%s ssl cert %s\n", command, name);
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	char said[QUOTE_MAX + 1];

	LS_TRY(haproxy_ask(endpoint, timeout_ms, LS_BYTES_STR(request), &answer, err));
	if (says(&answer, want))
		return LS_OK;
	quote(ls_buf_bytes(&answer), "\r\n", said);
	return LS_FAIL(err, LS_E_FAILED, "haproxy did not %s '%s': %s", command, name, said);
}

static enum ls_code haproxy_set(const char *endpoint, int64_t timeout_ms, const char *name,
	struct ls_bytes pem, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret request = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	char said[QUOTE_MAX + 1];

	haproxy_payload(name, pem, &request);
	LS_TRY(haproxy_ask(endpoint, timeout_ms, ls_secret_bytes(&request), &answer, err));
	if (says(&answer, "Transaction created") || says(&answer, "Transaction updated"))
		return LS_OK;
	quote(ls_buf_bytes(&answer), "\r\n", said);
	LS_FAIL(err, LS_E_FAILED, "haproxy did not take certificate '%s': %s", name, said);
	LS_HINT(err, "'show ssl cert' on its socket lists the names it knows");
	return LS_E_FAILED;
}

static enum ls_code reload_haproxy(const struct ls_service *service, const struct ls_reload *reload,
	const struct ls_reload_about *about, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ls_free_str) char *endpoint = ls_format("unix:%s", reload->target);
	LS_CLEANUP(ls_free_str)
	char *name = reload->cert ? ls_strdup(reload->cert)
				  : ls_format("%s/%s.pem", about->certs_path, service->component);
	int64_t timeout_ms = reload->timeout_s * 1000;

	if (name[strspn(name, PATH_PLAIN)])
		return LS_FAIL(err, LS_E_REFUSED,
			"'%s' holds a character that haproxy's runtime language cannot carry",
			name);
	LS_TRY(live_file(service, about, ".pem", &pem, err));
	if (haproxy_set(endpoint, timeout_ms, name, ls_secret_bytes(&pem), err) != LS_OK ||
		haproxy_say(endpoint, timeout_ms, "commit", name, "Success!", err) != LS_OK)
		goto rollback;
	return LS_OK;
rollback:
	hint_socket(reload->target, err);
	/* An open transaction would refuse the next one; that there is none is no failure. */
	(void)!haproxy_say(endpoint, timeout_ms, "abort", name, "aborted", NULL);
	return LS_WRAP(err, "socket '%s'", reload->target);
}

/* What a sandbox forbids, and the helper does. */
static bool is_asked_for(enum ls_reload_kind kind)
{
	return kind == LS_RELOAD_SYSTEMD || kind == LS_RELOAD_EXEC || kind == LS_RELOAD_SIGNAL;
}

static enum ls_code reload_one(const struct ls_service *service, const struct ls_reload *reload,
	const struct ls_reload_about *about, char **out_warning, struct ls_err *err)
{
	if (ls_helper_here() && is_asked_for(reload->kind))
		return ask(service, reload, about, out_warning, err);
	switch (reload->kind) {
	case LS_RELOAD_SYSTEMD:
		return reload_systemd(reload, out_warning, err);
	case LS_RELOAD_EXEC:
		return reload_exec(service, reload, about, err);
	case LS_RELOAD_SIGNAL:
		return reload_signal(reload, about->daemon_pid, err);
	case LS_RELOAD_REDIS:
		return reload_redis(service, reload, about, err);
	case LS_RELOAD_HAPROXY:
		return reload_haproxy(service, reload, about, err);
	}
	return LS_FAIL(err, LS_E_FAILED, "unknown kind of reload %d", (int)reload->kind);
}

enum ls_code ls_reload_run(const struct ls_service *service, const struct ls_reload_about *about,
	char **out_warning, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf warnings = { 0 };
	enum ls_code first = LS_OK;

	for (size_t i = 0; i < service->reload_count; i++) {
		LS_CLEANUP(ls_free_str) char *warning = NULL;
		struct ls_err own = { 0 };
		enum ls_code rc = reload_one(service, &service->reloads[i], about, &warning, &own);

		if (warning)
			ls_buf_printf(&warnings, "%s%s", warnings.len ? "; " : "", warning);
		if (rc == LS_OK || first != LS_OK)
			continue;
		first = rc;
		(void)LS_WRAP(&own, "reload of component '%s'", service->component);
		if (err)
			*err = own;
	}
	if (warnings.len && out_warning)
		*out_warning = ls_buf_take(&warnings);
	return first;
}

/* ---- the helper's side ---- */

static bool is_sha256(const char *text)
{
	size_t len = strspn(text, "0123456789abcdef");

	return text[len] == '\0' && (len == 0 || len == LS_SHA256_TEXT - 1);
}

enum ls_code ls_reload_about_read(struct ls_helper_call *call, const struct ls_services *services,
	const struct ls_service **out_service, struct ls_reload_about *out, struct ls_err *err)
{
	char *const *w = call->words;

	if (call->count < 8 || !ls_name_valid(w[1]) || !ls_live_dir_valid(w[2]) ||
		(w[3][0] && !ls_live_dir_valid(w[3])) || !ls_name_valid(w[4]) ||
		!ls_text_number(w[5], 0, INT64_MAX, &out->generation) || !is_sha256(w[6]) ||
		!is_sha256(w[7]))
		return LS_FAIL(err, LS_E_REFUSED, "%s: not a request of lockstepd", w[0]);
	out->dir = w[2];
	out->present_dir = w[3];
	out->node = w[4];
	out->old_sha256 = w[6];
	out->new_sha256 = w[7];
	*out_service = ls_services_find(services, w[1]);
	if (!*out_service)
		return LS_FAIL(err, LS_E_REFUSED, "%s: no template for '%s'", w[0], w[1]);
	return LS_OK;
}

static enum ls_code find_entry(const struct ls_service *service, const char *index,
	const struct ls_reload **out, struct ls_err *err)
{
	int64_t at;

	if (!ls_text_number(index, 0, INT32_MAX, &at) || (size_t)at >= service->reload_count)
		return LS_FAIL(
			err, LS_E_REFUSED, "'%s' has no reload entry %s", service->path, index);
	*out = &service->reloads[at];
	return LS_OK;
}

enum ls_code ls_reload_answer(struct ls_helper_call *call, const struct ls_service *service,
	const struct ls_reload_about *about, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *warning = NULL;
	const struct ls_reload *reload;
	int64_t kind;
	enum ls_code code;

	if (call->count != 10)
		return LS_FAIL(err, LS_E_REFUSED, "%s: not a request of lockstepd", call->words[0]);
	LS_TRY(find_entry(service, call->words[8], &reload, err));
	if (!ls_text_number(call->words[9], 0, INT32_MAX, &kind) || kind != (int)reload->kind ||
		!is_asked_for(reload->kind))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' has another reload entry %s", service->path,
			call->words[8]);
	code = reload_one(service, reload, about, &warning, err);
	if (warning)
		ls_secret_set(&call->value, LS_BYTES_STR(warning));
	return code;
}

enum ls_code ls_reload_password_answer(
	struct ls_helper_call *call, const struct ls_services *services, struct ls_err *err)
{
	const struct ls_service *service =
		call->count == 3 ? ls_services_find(services, call->words[1]) : NULL;
	const struct ls_reload *reload;

	if (!service)
		return LS_FAIL(err, LS_E_REFUSED, "%s: no such template", call->words[0]);
	LS_TRY(find_entry(service, call->words[2], &reload, err));
	if (!reload->password_file)
		return LS_FAIL(err, LS_E_REFUSED, "'%s': its reload entry %s has no password_file",
			service->path, call->words[2]);
	return ls_file_read_secret(
		AT_FDCWD, reload->password_file, PASSWORD_BYTES_MAX, &call->value, err);
}
