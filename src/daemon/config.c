#include "daemon/config.h"

#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/text.h"
#include "net/probe.h"
#include "sys/file.h"

#define CONFIG_MAX_BYTES (256 * 1024)
#define GATEWAY_LISTEN "0.0.0.0:7443"

static const struct {
	const char *text;
	int level;
} levels[] = { { "error", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO }, { "debug", LOG_DEBUG } };

/* By this machine's name, unless it was given. */
static void default_address(struct ls_config *c)
{
	char name[256] = "";
	int64_t port = 0;

	(void)gethostname(name, sizeof name - 1);
	if (c->gateway_address[0] || !ls_host_name_valid(name) ||
		!ls_listen_valid(c->gateway_listen, &port) || port == 0)
		return;
	(void)snprintf(
		c->gateway_address, sizeof c->gateway_address, "%s:%lld", name, (long long)port);
}

static void defaults(struct ls_config *config)
{
	*config = (struct ls_config){
		.log_level = LOG_INFO,
		.settle_ms = 300,
		.patience_s = 20,
		.rejected_keep_days = 30,
		.reconcile_s = 30,
		.lease_ttl_s = 10,
		.gateway_listen = GATEWAY_LISTEN,
	};
	ls_settings_defaults(&config->settings);
}

static enum ls_code need_group(const struct ls_conf_node *root, const char *name,
	const struct ls_conf_node **out, struct ls_err *err)
{
	*out = ls_conf_get(root, name);
	if (*out && !ls_conf_is_group(*out))
		return ls_conf_refuse(*out, err, "'%s' must be a group { … }", name);
	return LS_OK;
}

static enum ls_code read_log(
	const struct ls_conf_node *root, struct ls_config *c, struct ls_err *err)
{
	static const char *const known[] = { "level", NULL };
	LS_CLEANUP(ls_free_str) char *level = NULL;
	const struct ls_conf_node *group;

	LS_TRY(need_group(root, "log", &group, err));
	if (!group)
		return LS_OK;
	LS_TRY(ls_conf_only(group, known, err));
	LS_TRY(ls_conf_string(group, "level", &level, err));
	if (!level)
		return LS_OK;
	for (size_t i = 0; i < LS_COUNT(levels); i++) {
		if (strcmp(levels[i].text, level) == 0) {
			c->log_level = levels[i].level;
			return LS_OK;
		}
	}
	return ls_conf_refuse(
		group, err, "log level '%s': wanted error, warning, notice, info or debug", level);
}

static enum ls_code read_store(const struct ls_conf_node *root, struct ls_err *err)
{
	static const char *const known[] = { "type", NULL };
	LS_CLEANUP(ls_free_str) char *type = NULL;
	const struct ls_conf_node *group;

	LS_TRY(need_group(root, "store", &group, err));
	if (!group)
		return LS_OK;
	LS_TRY(ls_conf_only(group, known, err));
	LS_TRY(ls_conf_string(group, "type", &type, err));
	if (type && strcmp(type, "local") != 0)
		return ls_conf_refuse(group, err,
			"store type '%s': wanted local; to etcd goes lockstep store migrate", type);
	return LS_OK;
}

static enum ls_code read_intake(
	const struct ls_conf_node *root, struct ls_config *c, struct ls_err *err)
{
	static const char *const known[] = { "settle_ms", "patience_s", "rejected_keep_days",
		NULL };
	const struct ls_conf_node *group;

	LS_TRY(need_group(root, "intake", &group, err));
	if (!group)
		return LS_OK;
	LS_TRY(ls_conf_only(group, known, err));
	LS_TRY(ls_conf_int(group, "settle_ms", 10, 60000, &c->settle_ms, err));
	LS_TRY(ls_conf_int(group, "patience_s", 1, 3600, &c->patience_s, err));
	return ls_conf_int(group, "rejected_keep_days", 1, 3650, &c->rejected_keep_days, err);
}

static enum ls_code read_rotation(
	const struct ls_conf_node *root, struct ls_settings *s, struct ls_err *err)
{
	static const char *const known[] = { "require", "away_after_s", "vote_s", "served_s",
		"timeout_s", "rollback", NULL };
	LS_CLEANUP(ls_free_str) char *require = NULL;
	const struct ls_conf_node *group;

	LS_TRY(need_group(root, "rotation", &group, err));
	if (!group)
		return LS_OK;
	LS_TRY(ls_conf_only(group, known, err));
	LS_TRY(ls_conf_string(group, "require", &require, err));
	if (require && strcmp(require, "all") != 0 && strcmp(require, "alive") != 0)
		return ls_conf_refuse(
			group, err, "rotation.require '%s': wanted all or alive", require);
	if (require)
		s->require_all = strcmp(require, "all") == 0;
	LS_TRY(ls_conf_int(group, "away_after_s", 1, 86400, &s->away_after_s, err));
	LS_TRY(ls_conf_int(group, "vote_s", 1, 3600, &s->vote_s, err));
	LS_TRY(ls_conf_int(group, "served_s", 1, 3600, &s->served_s, err));
	LS_TRY(ls_conf_int(group, "timeout_s", 1, 86400, &s->timeout_s, err));
	return ls_conf_bool(group, "rollback", &s->rollback, err);
}

static enum ls_code read_gateway(
	const struct ls_conf_node *root, struct ls_config *c, struct ls_err *err)
{
	static const char *const known[] = { "listen", "address", NULL };
	LS_CLEANUP(ls_free_str) char *listen = NULL;
	LS_CLEANUP(ls_free_str) char *address = NULL;
	const struct ls_conf_node *group;

	LS_TRY(need_group(root, "gateway", &group, err));
	if (!group)
		return LS_OK;
	LS_TRY(ls_conf_only(group, known, err));
	LS_TRY(ls_conf_string(group, "listen", &listen, err));
	LS_TRY(ls_conf_string(group, "address", &address, err));
	if (listen && !ls_listen_valid(listen, NULL))
		return ls_conf_refuse(
			group, err, "gateway.listen '%s': wanted IP:PORT or [IPv6]:PORT", listen);
	if (address && (!ls_endpoint_valid(address) || ls_has_prefix(address, "unix:") ||
			       strlen(address) >= sizeof c->gateway_address))
		return ls_conf_refuse(
			group, err, "gateway.address '%s': wanted HOST:PORT", address);
	if (listen)
		(void)snprintf(c->gateway_listen, sizeof c->gateway_listen, "%s", listen);
	if (address)
		(void)snprintf(c->gateway_address, sizeof c->gateway_address, "%s", address);
	return LS_OK;
}

enum ls_code ls_config_parse(
	const char *origin, struct ls_bytes text, struct ls_config *out, struct ls_err *err)
{
	static const char *const known[] = { "log", "store", "intake", "reconcile_s", "lease_ttl_s",
		"rotation", "gateway", NULL };
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;
	const struct ls_conf_node *root;
	struct ls_config c;

	defaults(&c);
	LS_TRY(ls_conf_parse(origin, text, &conf, err));
	root = ls_conf_root(conf);
	LS_TRY(ls_conf_only(root, known, err));
	LS_TRY(read_log(root, &c, err));
	LS_TRY(read_store(root, err));
	LS_TRY(read_intake(root, &c, err));
	LS_TRY(read_rotation(root, &c.settings, err));
	LS_TRY(read_gateway(root, &c, err));
	LS_TRY(ls_conf_int(root, "reconcile_s", 1, 86400, &c.reconcile_s, err));
	LS_TRY(ls_conf_int(root, "lease_ttl_s", 2, 600, &c.lease_ttl_s, err));
	default_address(&c);
	*out = c;
	return LS_OK;
}

enum ls_code ls_config_load(const char *path, struct ls_config *out, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	enum ls_code code = ls_file_read_guarded(AT_FDCWD, path, CONFIG_MAX_BYTES, &text, err);

	if (code == LS_E_NOT_FOUND) {
		defaults(out);
		default_address(out);
		return LS_OK;
	}
	if (code != LS_OK)
		return code;
	return ls_config_parse(path, ls_buf_bytes(&text), out, err);
}
