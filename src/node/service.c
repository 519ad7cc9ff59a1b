#include "node/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/probe.h"
#include "sys/file.h"

#define TEMPLATE_BYTES_MAX (64 * 1024)
#define TEMPLATES_MAX 4096
#define CERT_MODE_MAX 0644
#define KEY_MODE_MAX 0640
#define RELOAD_TIMEOUT_S 30
#define RELOAD_TIMEOUT_MAX_S 300

/* What the libraries and services behind these take literally; a space or a semicolon would end a
 * word in HAProxy's runtime language. */
#define UNIT_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.@\\-"
#define GROUP_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define CERT_NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@+:-"

static void reload_done(struct ls_reload *reload)
{
	free(reload->target);
	ls_free_strv(&reload->argv);
	free(reload->user);
	free(reload->password_file);
	free(reload->cert);
	*reload = (struct ls_reload){ 0 };
}

static void service_done(struct ls_service *service)
{
	free(service->path);
	ls_issue_done(&service->issue);
	free(service->group);
	ls_free_strv(&service->validate);
	for (size_t i = 0; i < service->reload_count; i++)
		reload_done(&service->reloads[i]);
	free(service->reloads);
	for (size_t i = 0; i < service->serve_count; i++) {
		free(service->serves[i].endpoint);
		free(service->serves[i].name);
	}
	free(service->serves);
	*service = (struct ls_service){ 0 };
}

void ls_services_done(struct ls_services *services)
{
	for (size_t i = 0; i < services->count; i++)
		service_done(&services->items[i]);
	free(services->items);
	*services = (struct ls_services){ 0 };
}

static bool only_chars(const char *text, const char *chars, size_t max)
{
	size_t n = strspn(text, chars);

	return n >= 1 && n <= max && text[n] == '\0';
}

static enum ls_code need_absolute(
	const struct ls_conf_node *node, const char *name, const char *path, struct ls_err *err)
{
	if (path && *path != '/')
		return ls_conf_refuse(
			node, err, "'%s' is '%s', wanted an absolute path", name, path);
	return LS_OK;
}

static enum ls_code read_command(
	const struct ls_conf_node *group, const char *name, char ***out, struct ls_err *err)
{
	const struct ls_conf_node *node = ls_conf_get(group, name);

	if (!node)
		return LS_OK;
	LS_TRY(ls_conf_strings(group, name, out, err));
	if (ls_strv_count(*out) == 0)
		return ls_conf_refuse(node, err, "'%s' is empty, wanted a command", name);
	return need_absolute(node, name, (*out)[0], err);
}

/* "0640": three or four octal digits; the owner reads, nothing beyond `widest`. */
static enum ls_code read_mode(const struct ls_conf_node *files, const char *name, mode_t widest,
	mode_t *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *text = NULL;
	mode_t mode = 0;
	size_t len;

	LS_TRY(ls_conf_string(files, name, &text, err));
	if (!text)
		return LS_OK;
	len = strlen(text);
	if (len < 3 || len > 4 || strspn(text, "01234567") != len)
		return ls_conf_refuse(ls_conf_get(files, name), err,
			"'%s' is '%s', wanted octal digits such as \"%04o\"", name, text,
			(unsigned)widest);
	for (size_t i = 0; i < len; i++)
		mode = mode * 8 + (mode_t)(text[i] - '0');
	if ((mode & ~widest) || !(mode & S_IRUSR))
		return ls_conf_refuse(ls_conf_get(files, name), err,
			"'%s' is '%s', wanted at most \"%04o\" and readable by the owner", name,
			text, (unsigned)widest);
	*out = mode;
	return LS_OK;
}

static enum ls_code read_files(
	const struct ls_conf_node *root, struct ls_service *service, struct ls_err *err)
{
	static const char *const allowed[] = { "owner", "group", "cert_mode", "key_mode", NULL };
	LS_CLEANUP(ls_free_str) char *owner = NULL;
	const struct ls_conf_node *files = ls_conf_get(root, "files");

	service->cert_mode = CERT_MODE_MAX;
	service->key_mode = KEY_MODE_MAX;
	if (!files)
		return LS_OK;
	if (!ls_conf_is_group(files))
		return ls_conf_refuse(files, err, "'files' must be a group { }");
	LS_TRY(ls_conf_only(files, allowed, err));
	LS_TRY(ls_conf_string(files, "owner", &owner, err));
	if (owner && strcmp(owner, "root") != 0)
		return ls_conf_refuse(ls_conf_get(files, "owner"), err,
			"'owner' is '%s', wanted \"root\": an owner could rewrite its own "
			"certificate cluster-wide; give it the files by 'group'",
			owner);
	LS_TRY(ls_conf_string(files, "group", &service->group, err));
	if (service->group && !only_chars(service->group, GROUP_CHARS, 32))
		return ls_conf_refuse(ls_conf_get(files, "group"), err,
			"'group' is '%s', which cannot be a group's name", service->group);
	LS_TRY(read_mode(files, "cert_mode", CERT_MODE_MAX, &service->cert_mode, err));
	return read_mode(files, "key_mode", KEY_MODE_MAX, &service->key_mode, err);
}

/* Only those that services take as "read your files again". */
static enum ls_code read_signal(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	static const struct {
		const char *name;
		int signum;
	} known[] = {
		{ "HUP", SIGHUP },
		{ "USR1", SIGUSR1 },
		{ "USR2", SIGUSR2 },
		{ "WINCH", SIGWINCH },
		{ "INT", SIGINT },
		{ "QUIT", SIGQUIT },
		{ "TERM", SIGTERM },
	};
	LS_CLEANUP(ls_free_str) char *text = NULL;
	const char *name;

	LS_TRY(ls_conf_string(entry, "signal", &text, err));
	if (!text) {
		reload->signum = SIGHUP;
		return LS_OK;
	}
	name = ls_has_prefix(text, "SIG") ? text + 3 : text;
	for (size_t i = 0; i < LS_COUNT(known); i++)
		if (strcmp(known[i].name, name) == 0)
			reload->signum = known[i].signum;
	if (!reload->signum)
		return ls_conf_refuse(ls_conf_get(entry, "signal"), err,
			"'signal' is '%s', wanted HUP, USR1, USR2, WINCH, INT, QUIT or TERM", text);
	return LS_OK;
}

static enum ls_code read_systemd(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	LS_TRY(ls_conf_string(entry, "systemd", &reload->target, err));
	if (!only_chars(reload->target, UNIT_CHARS, 255) || !strchr(reload->target, '.'))
		return ls_conf_refuse(ls_conf_get(entry, "systemd"), err,
			"'systemd' is '%s', wanted a unit such as \"haproxy.service\"",
			reload->target);
	return LS_OK;
}

static enum ls_code read_exec(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	return read_command(entry, "exec", &reload->argv, err);
}

static enum ls_code read_pidfile(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	LS_TRY(ls_conf_string(entry, "pidfile", &reload->target, err));
	LS_TRY(need_absolute(ls_conf_get(entry, "pidfile"), "pidfile", reload->target, err));
	return read_signal(entry, reload, err);
}

static enum ls_code read_redis(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	LS_TRY(ls_conf_string(entry, "redis", &reload->target, err));
	if (!ls_endpoint_valid(reload->target))
		return ls_conf_refuse(ls_conf_get(entry, "redis"), err,
			"'redis' is '%s', wanted \"HOST:PORT\" or \"unix:/PATH\"", reload->target);
	LS_TRY(ls_conf_bool(entry, "tls", &reload->tls, err));
	LS_TRY(ls_conf_string(entry, "user", &reload->user, err));
	LS_TRY(ls_conf_string(entry, "password_file", &reload->password_file, err));
	if (reload->user && !reload->password_file)
		return ls_conf_refuse(
			ls_conf_get(entry, "user"), err, "'user' needs 'password_file' beside it");
	return need_absolute(
		ls_conf_get(entry, "password_file"), "password_file", reload->password_file, err);
}

static enum ls_code read_haproxy(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	LS_TRY(ls_conf_string(entry, "haproxy_socket", &reload->target, err));
	LS_TRY(need_absolute(
		ls_conf_get(entry, "haproxy_socket"), "haproxy_socket", reload->target, err));
	LS_TRY(ls_conf_string(entry, "cert", &reload->cert, err));
	if (reload->cert && !only_chars(reload->cert, CERT_NAME_CHARS, 1024))
		return ls_conf_refuse(ls_conf_get(entry, "cert"), err,
			"'cert' is '%s', wanted the name that haproxy shows in 'show ssl cert'",
			reload->cert);
	return LS_OK;
}

static const struct {
	const char *key; /* its presence makes the kind */
	enum ls_code (*read)(const struct ls_conf_node *, struct ls_reload *, struct ls_err *);
	const char *allowed[6];
} reload_kinds[] = {
	[LS_RELOAD_SYSTEMD] = { "systemd", read_systemd, { "systemd", "timeout_s" } },
	[LS_RELOAD_EXEC] = { "exec", read_exec, { "exec", "timeout_s" } },
	[LS_RELOAD_SIGNAL] = { "pidfile", read_pidfile, { "pidfile", "signal", "timeout_s" } },
	[LS_RELOAD_REDIS] = { "redis", read_redis,
		{ "redis", "tls", "user", "password_file", "timeout_s" } },
	[LS_RELOAD_HAPROXY] = { "haproxy_socket", read_haproxy,
		{ "haproxy_socket", "cert", "timeout_s" } },
};

static enum ls_code read_reload(
	const struct ls_conf_node *entry, struct ls_reload *reload, struct ls_err *err)
{
	size_t kind = LS_COUNT(reload_kinds);

	if (!ls_conf_is_group(entry))
		return ls_conf_refuse(entry, err, "an entry of 'reload' must be a group { }");
	for (size_t i = 0; i < LS_COUNT(reload_kinds) && kind == LS_COUNT(reload_kinds); i++)
		if (ls_conf_get(entry, reload_kinds[i].key))
			kind = i;
	if (kind == LS_COUNT(reload_kinds))
		return ls_conf_refuse(entry, err,
			"an entry of 'reload' needs one of systemd, exec, pidfile, redis, "
			"haproxy_socket");
	LS_TRY(ls_conf_only(entry, reload_kinds[kind].allowed, err));
	reload->kind = (enum ls_reload_kind)kind;
	reload->timeout_s = RELOAD_TIMEOUT_S;
	LS_TRY(ls_conf_int(entry, "timeout_s", 1, RELOAD_TIMEOUT_MAX_S, &reload->timeout_s, err));
	return reload_kinds[kind].read(entry, reload, err);
}

/* The one variable that makes sense here; NULL when there is no value for it. */
static enum ls_code put_fqdn(const struct ls_conf_node *entry, const char *text, const char *fqdn,
	char **out, struct ls_err *err)
{
	static const char variable[] = "${fqdn}";
	LS_CLEANUP(ls_buf_done) struct ls_buf buf = { 0 };
	const char *at = text, *found;

	while ((found = strstr(at, variable))) {
		ls_buf_add(&buf, at, (size_t)(found - at));
		ls_buf_str(&buf, fqdn ? fqdn : "");
		at = found + sizeof variable - 1;
	}
	ls_buf_str(&buf, at);
	if (at != text && !fqdn)
		return LS_OK;
	if (!ls_host_name_valid(ls_buf_text(&buf)))
		return ls_conf_refuse(ls_conf_get(entry, "name"), err,
			"'name' is '%s', wanted a host name, in which ${fqdn} may stand", text);
	*out = ls_buf_take(&buf);
	return LS_OK;
}

static enum ls_code read_serve(const struct ls_conf_node *entry, const char *fqdn,
	struct ls_serve *serve, struct ls_err *err)
{
	static const char *const allowed[] = { "endpoint", "name", "required", NULL };
	LS_CLEANUP(ls_free_str) char *name = NULL;

	if (!ls_conf_is_group(entry))
		return ls_conf_refuse(entry, err, "an entry of 'serve' must be a group { }");
	LS_TRY(ls_conf_only(entry, allowed, err));
	LS_TRY(ls_conf_string(entry, "endpoint", &serve->endpoint, err));
	if (!serve->endpoint)
		return ls_conf_refuse(entry, err, "an entry of 'serve' needs 'endpoint'");
	if (!ls_endpoint_valid(serve->endpoint))
		return ls_conf_refuse(ls_conf_get(entry, "endpoint"), err,
			"'endpoint' is '%s', wanted \"HOST:PORT\", \"[V6]:PORT\" or \"unix:/PATH\"",
			serve->endpoint);
	LS_TRY(ls_conf_bool(entry, "required", &serve->required, err));
	LS_TRY(ls_conf_string(entry, "name", &name, err));
	return name ? put_fqdn(entry, name, fqdn, &serve->name, err) : LS_OK;
}

/* A list of groups; one group alone would be libconfig's other spelling and is refused with it. */
static enum ls_code entries_of(const struct ls_conf_node *root, const char *name,
	const struct ls_conf_node **out, size_t *out_count, struct ls_err *err)
{
	const struct ls_conf_node *list = ls_conf_get(root, name);

	*out = list;
	*out_count = 0;
	if (!list)
		return LS_OK;
	if (ls_conf_is_group(list) || ls_conf_is_string(list))
		return ls_conf_refuse(list, err, "'%s' must be a list ( { }, { } )", name);
	*out_count = ls_conf_count(list);
	return LS_OK;
}

static enum ls_code check_component(
	const struct ls_conf_node *root, const char *component, struct ls_err *err)
{
	const struct ls_conf_node *node = ls_conf_get(root, "component");

	if (!ls_name_valid(component))
		return ls_conf_refuse(node ? node : root, err,
			"'component' is '%s', wanted 1 to %d of a-z, 0-9 and _", component,
			LS_NAME_MAX);
	/* x_cert's combined file would be x's certificate. */
	if (ls_has_suffix(component, "_cert") || ls_has_suffix(component, "_key"))
		return ls_conf_refuse(node, err,
			"'component' is '%s': a name that ends in _cert or _key would collide "
			"with another component's files",
			component);
	return LS_OK;
}

static enum ls_code read_service(const struct ls_conf_node *root, const char *fqdn,
	struct ls_service *service, struct ls_err *err)
{
	static const char *const allowed[] = { "component", "subject", "san", "key", "days", "eku",
		"files", "validate", "reload", "serve", NULL };
	const struct ls_conf_node *list;
	size_t count;

	LS_TRY(ls_conf_only(root, allowed, err));
	LS_TRY(ls_issue_from_conf(root, &service->issue, err));
	LS_TRY(check_component(root, service->issue.component, err));
	(void)snprintf(
		service->component, sizeof service->component, "%s", service->issue.component);
	LS_TRY(read_files(root, service, err));
	LS_TRY(read_command(root, "validate", &service->validate, err));
	LS_TRY(entries_of(root, "reload", &list, &count, err));
	service->reloads = ls_alloc(count, sizeof *service->reloads);
	for (size_t i = 0; i < count; i++)
		LS_TRY(read_reload(
			ls_conf_elem(list, i), &service->reloads[service->reload_count++], err));
	LS_TRY(entries_of(root, "serve", &list, &count, err));
	service->serves = ls_alloc(count, sizeof *service->serves);
	for (size_t i = 0; i < count; i++)
		LS_TRY(read_serve(ls_conf_elem(list, i), fqdn,
			&service->serves[service->serve_count++], err));
	return LS_OK;
}

static enum ls_code read_template(int dir_fd, const char *dir, const char *name, const char *fqdn,
	struct ls_service *service, struct ls_err *err)
{
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	service->path = ls_format("%s/%s", dir, name);
	if (ls_file_read_guarded(dir_fd, name, TEMPLATE_BYTES_MAX, &text, err) != LS_OK)
		return LS_WRAP(err, "template '%s'", service->path);
	LS_TRY(ls_conf_parse(service->path, ls_buf_bytes(&text), &conf, err));
	return read_service(ls_conf_root(conf), fqdn, service, err);
}

/* Moves the service to its sorted place; *service is empty afterwards. */
static void insert(struct ls_services *services, struct ls_service *service)
{
	size_t at = services->count;

	services->items = ls_realloc(services->items, services->count + 1, sizeof *services->items);
	while (at > 0 && strcmp(services->items[at - 1].component, service->component) > 0)
		at--;
	memmove(&services->items[at + 1], &services->items[at],
		(services->count - at) * sizeof *services->items);
	services->items[at] = *service;
	services->count++;
	*service = (struct ls_service){ 0 };
}

/* Hidden files are editors' remains. */
static bool is_template(const char *name)
{
	return name[0] != '.' && ls_has_suffix(name, ".conf");
}

/* `seen` collects file names: a name of an earlier directory hides the one here, whatever it
 * holds. A component of an earlier directory hides one here under another file name too. */
static enum ls_code load_dir(const char *dir, const char *fqdn, char ***seen, char ***faults,
	struct ls_services *out, struct ls_err *err)
{
	LS_CLEANUP(ls_services_done) struct ls_services here = { 0 };
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;
	enum ls_code rc = ls_dir_open(dir, &dir_fd, err);

	if (rc == LS_E_NOT_FOUND)
		return LS_OK;
	if (rc != LS_OK || ls_dir_check_guarded(dir_fd, dir, err) != LS_OK ||
		ls_dir_list(dir_fd, TEMPLATES_MAX, &names, err) != LS_OK)
		return LS_WRAP(err, "templates in '%s'", dir);
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(service_done) struct ls_service service = { 0 };
		const struct ls_service *twin;
		struct ls_err why = { 0 };

		if (!is_template(names[i]) || ls_strv_has(*seen, names[i]))
			continue;
		ls_strv_add(seen, names[i]);
		rc = read_template(dir_fd, dir, names[i], fqdn, &service, &why);
		twin = rc == LS_OK ? ls_services_find(&here, service.component) : NULL;
		if (twin)
			rc = LS_FAIL(&why, LS_E_REFUSED,
				"%s: a second template for component '%s', the first is '%s'",
				service.path, service.component, twin->path);
		if (rc == LS_OK) {
			insert(&here, &service);
		} else if (faults) {
			ls_strv_add(faults, why.text);
		} else {
			if (err)
				*err = why;
			return rc;
		}
	}
	for (size_t i = 0; i < here.count; i++)
		if (!ls_services_find(out, here.items[i].component))
			insert(out, &here.items[i]);
	return LS_OK;
}

static enum ls_code load(const struct ls_paths *paths, const char *fqdn, struct ls_services *out,
	char ***faults, struct ls_err *err)
{
	LS_CLEANUP(ls_services_done) struct ls_services services = { 0 };
	LS_CLEANUP(ls_free_strv) char **seen = NULL;

	for (size_t i = 0; paths->templates[i] && !(faults && *faults); i++)
		LS_TRY(load_dir(paths->templates[i], fqdn, &seen, faults, &services, err));
	*out = services;
	services = (struct ls_services){ 0 };
	return LS_OK;
}

enum ls_code ls_services_load(
	const struct ls_paths *paths, const char *fqdn, struct ls_services *out, struct ls_err *err)
{
	return load(paths, fqdn, out, NULL, err);
}

enum ls_code ls_services_load_some(const struct ls_paths *paths, const char *fqdn,
	struct ls_services *out, char ***out_faults, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **faults = NULL;

	LS_TRY(load(paths, fqdn, out, &faults, err));
	*out_faults = LS_TAKE(faults);
	return LS_OK;
}

void ls_services_assume(struct ls_services *services, const char *component, mode_t cert_mode,
	mode_t key_mode, const char *group)
{
	LS_CLEANUP(service_done)
	struct ls_service service = { .cert_mode = cert_mode, .key_mode = key_mode };

	if (ls_services_find(services, component))
		return;
	(void)snprintf(service.component, sizeof service.component, "%s", component);
	service.path = ls_strdup("");
	service.group = group ? ls_strdup(group) : NULL;
	insert(services, &service);
}

const struct ls_service *ls_services_find(const struct ls_services *services, const char *component)
{
	size_t low = 0, high = services->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(services->items[mid].component, component);

		if (order == 0)
			return &services->items[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
