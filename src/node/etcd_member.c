#include "node/etcd_member.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pki/san.h"

#define HOSTS_MAX 16
#define SANS_MAX 64
#define PATH_BYTES_MAX 4000
#define GROUP_BYTES_MAX 32
#define SCHEME "https://"

void ls_etcd_member_done(struct ls_etcd_member *member)
{
	free(member->name);
	free(member->data_dir);
	free(member->group);
	ls_free_strv(&member->listen);
	ls_free_strv(&member->initial_cluster);
	ls_free_strv(&member->sans);
	*member = (struct ls_etcd_member){ 0 };
}

/* ---- reading ---- */

static enum ls_code read_strings(
	const json_t *json, const char *what, size_t max, char ***out, struct ls_err *err)
{
	if (!json)
		return LS_OK;
	if (!json_is_array(json) || json_array_size(json) > max)
		return LS_FAIL(err, LS_E_USAGE, "%s: wanted a list of at most %zu", what, max);
	for (size_t i = 0; i < json_array_size(json); i++) {
		const char *text = json_string_value(json_array_get(json, i));

		if (!text)
			return LS_FAIL(err, LS_E_USAGE, "%s: wanted words", what);
		ls_strv_add(out, text);
	}
	return LS_OK;
}

static void replace(char **at, char *text)
{
	free(*at);
	*at = text;
}

/* etcd binds addresses only, and each in its shortest form is compared with others. */
static enum ls_code check_listen(struct ls_etcd_member *m, struct ls_err *err)
{
	if (!m->listen)
		return LS_FAIL(err, LS_E_REFUSED, "etcd member '%s' listens nowhere", m->name);
	for (char **at = m->listen; *at; at++) {
		LS_CLEANUP(ls_free_str) char *san = ls_san_of_host(*at);

		if (!san || !ls_has_prefix(san, "IP:")) {
			LS_FAIL(err, LS_E_REFUSED, "listen: found '%.100s', wanted an address",
				*at);
			LS_HINT(err, "a name that clients use goes into --san");
			return LS_E_REFUSED;
		}
		replace(at, ls_strdup(san + strlen("IP:")));
	}
	return LS_OK;
}

static enum ls_code check_sans(struct ls_etcd_member *m, struct ls_err *err)
{
	for (char **at = m->sans; at && *at; at++) {
		const char *host = ls_has_prefix(*at, "IP:")    ? *at + strlen("IP:")
				   : ls_has_prefix(*at, "DNS:") ? *at + strlen("DNS:")
								: *at;
		char *san = ls_san_of_host(host);

		if (!san && ls_has_prefix(*at, "DNS:*."))
			san = ls_strdup(*at);
		if (!san || (host != *at && strncmp(san, *at, 3) != 0) ||
			ls_san_check(san, NULL) != LS_OK) {
			free(san);
			return LS_FAIL(err, LS_E_REFUSED,
				"san: found '%.100s', wanted an address or a host name", *at);
		}
		replace(at, san);
	}
	return LS_OK;
}

static bool is_wildcard(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* "name=https://host:port", taken apart: the host as a SAN. NULL: it is none. */
static char *peer_parse(const char *entry, char **out_name, int64_t *out_port)
{
	const char *equals = strchr(entry, '='), *host, *colon;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	char *san;

	if (!equals || !ls_has_prefix(equals + 1, SCHEME))
		return NULL;
	host = equals + 1 + strlen(SCHEME);
	colon = strrchr(host, ':');
	if (!colon || !ls_text_number(colon + 1, 1, 65535, out_port))
		return NULL;
	text = ls_strndup(host, (size_t)(colon - host));
	san = strchr(text, ':') && text[0] != '[' ? NULL : ls_san_of_host(text);
	if (san)
		*out_name = ls_strndup(entry, (size_t)(equals - entry));
	return san;
}

/* The SAN of this member's URL. */
static char *own_san(const struct ls_etcd_member *m, int64_t *out_port)
{
	for (size_t i = 0; i < ls_strv_count(m->initial_cluster); i++) {
		LS_CLEANUP(ls_free_str) char *name = NULL;
		LS_CLEANUP(ls_free_str)
		char *san = peer_parse(m->initial_cluster[i], &name, out_port);

		if (san && strcmp(name, m->name) == 0)
			return LS_TAKE(san);
	}
	return NULL;
}

static char *host_text(const char *address)
{
	return strchr(address, ':') ? ls_format("[%s]", address) : ls_strdup(address);
}

static enum ls_code assume_alone(struct ls_etcd_member *m, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *host = host_text(m->listen[0]);
	LS_CLEANUP(ls_free_str)
	char *entry = ls_format("%s=" SCHEME "%s:%lld", m->name, host,
		(long long)(m->peer_port ? m->peer_port : LS_ETCD_PEER_PORT));

	if (is_wildcard(m->listen[0]))
		return LS_FAIL(err, LS_E_REFUSED,
			"initial cluster: wanted, since %s is where it listens, not where others "
			"reach it",
			m->listen[0]);
	ls_strv_add(&m->initial_cluster, entry);
	return LS_OK;
}

static enum ls_code check_cluster(struct ls_etcd_member *m, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_free_str) char *san = NULL;
	int64_t port = 0;

	if (!m->initial_cluster)
		LS_TRY(assume_alone(m, err));
	for (char **at = m->initial_cluster; *at; at++) {
		LS_CLEANUP(ls_free_str) char *name = NULL;
		LS_CLEANUP(ls_free_str) char *host = peer_parse(*at, &name, &port);

		if (!host || !ls_cluster_name_valid(name))
			return LS_FAIL(err, LS_E_REFUSED,
				"initial cluster: found '%.200s', wanted NAME=https://HOST:PORT",
				*at);
		if (ls_strv_has(names, name))
			return LS_FAIL(
				err, LS_E_REFUSED, "initial cluster: found '%s' twice", name);
		ls_strv_add(&names, name);
	}
	san = own_san(m, &port);
	if (!san)
		return LS_FAIL(err, LS_E_REFUSED,
			"initial cluster: '%s' is not in it, wanted this member, too", m->name);
	if (!m->peer_port)
		m->peer_port = port;
	return LS_OK;
}

static enum ls_code check_ports(const struct ls_etcd_member *m, struct ls_err *err)
{
	const struct {
		int64_t port, min;
	} ports[] = { { m->client_port, 1 }, { m->peer_port, 0 }, { m->metrics_port, 0 } };

	for (size_t i = 0; i < LS_COUNT(ports); i++)
		if (ports[i].port < ports[i].min || ports[i].port > 65535)
			return LS_FAIL(err, LS_E_REFUSED, "port: found %lld, wanted 1 to 65535",
				(long long)ports[i].port);
	return LS_OK;
}

static enum ls_code check_twice(const struct ls_etcd_member *m, struct ls_err *err)
{
	const int64_t twice = m->client_port == m->peer_port || m->client_port == m->metrics_port
				      ? m->client_port
			      : m->peer_port == m->metrics_port ? m->peer_port
								: 0;

	if (twice)
		return LS_FAIL(err, LS_E_REFUSED, "port: found %lld twice, wanted different ones",
			(long long)twice);
	return LS_OK;
}

static enum ls_code check_place(const struct ls_etcd_member *m, struct ls_err *err)
{
	static const char path[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "/._-+@:,=";
	static const char group[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._-";

	if (m->data_dir && (m->data_dir[0] != '/' || strlen(m->data_dir) > PATH_BYTES_MAX ||
				   m->data_dir[strspn(m->data_dir, path)]))
		return LS_FAIL(err, LS_E_REFUSED,
			"data directory: found '%.200s', wanted an absolute path of plain letters",
			m->data_dir);
	if (m->group && (!m->group[0] || strlen(m->group) > GROUP_BYTES_MAX ||
				m->group[strspn(m->group, group)]))
		return LS_FAIL(err, LS_E_REFUSED, "group: found '%.100s', wanted a group's name",
			m->group);
	if (m->group && !m->data_dir) {
		LS_FAIL(err, LS_E_REFUSED,
			"data directory: wanted, since a member of group '%s' cannot make one "
			"beside the configuration",
			m->group);
		LS_HINT(err, "give one of etcd's own with --data-dir, such as /var/lib/etcd/%s",
			m->name);
		return LS_E_REFUSED;
	}
	return LS_OK;
}

static enum ls_code unpack(const json_t *json, struct ls_etcd_member *m, struct ls_err *err)
{
	const json_t *listen, *cluster = NULL, *sans = NULL;
	const char *name, *state = NULL, *data_dir = NULL, *group = NULL;
	json_int_t client = LS_ETCD_CLIENT_PORT, peer = 0, metrics = LS_ETCD_METRICS_PORT;
	json_error_t why;

	/* jansson's unpacking changes nothing, whatever its type says. */
	if (json_unpack_ex((json_t *)(uintptr_t)json, &why, JSON_STRICT,
		    "{s:s, s:o, s?I, s?I, s?I, s?o, s?s, s?o, s?s, s?s}", "member", &name, "listen",
		    &listen, "client_port", &client, "peer_port", &peer, "metrics_port", &metrics,
		    "initial_cluster", &cluster, "initial_state", &state, "sans", &sans, "data_dir",
		    &data_dir, "group", &group) != 0)
		return LS_FAIL(err, LS_E_USAGE, "an etcd member: %s", why.text);
	if (state && strcmp(state, "new") != 0 && strcmp(state, "existing") != 0)
		return LS_FAIL(err, LS_E_USAGE,
			"initial state: found '%.40s', wanted new or existing", state);
	m->name = ls_strdup(name);
	m->existing = state && strcmp(state, "existing") == 0;
	m->data_dir = data_dir ? ls_strdup(data_dir) : NULL;
	m->group = group ? ls_strdup(group) : NULL;
	m->client_port = client;
	m->peer_port = peer;
	m->metrics_port = metrics;
	LS_TRY(read_strings(listen, "listen", HOSTS_MAX, &m->listen, err));
	LS_TRY(read_strings(cluster, "initial cluster", HOSTS_MAX, &m->initial_cluster, err));
	return read_strings(sans, "sans", SANS_MAX, &m->sans, err);
}

enum ls_code ls_etcd_member_from_json(
	const json_t *json, struct ls_etcd_member *out, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member m = { 0 };

	LS_TRY(unpack(json, &m, err));
	if (!ls_cluster_name_valid(m.name))
		return LS_FAIL(err, LS_E_REFUSED,
			"member: found '%.100s', wanted 1 to 64 letters, digits, '.', '_' and '-', "
			"a letter or digit first",
			m.name);
	LS_TRY(check_listen(&m, err));
	LS_TRY(check_sans(&m, err));
	LS_TRY(check_ports(&m, err));
	LS_TRY(check_cluster(&m, err));
	LS_TRY(check_twice(&m, err));
	LS_TRY(check_place(&m, err));
	ls_etcd_member_done(out);
	*out = m;
	m = (struct ls_etcd_member){ 0 };
	return LS_OK;
}

static json_t *strings(char *const *strv)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ls_strv_count(strv); i++)
		(void)json_array_append_new(array, json_string(strv[i]));
	return array;
}

json_t *ls_etcd_member_to_json(const struct ls_etcd_member *m)
{
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:o, s:s, s:o, s:s*, s:s*}", "member", m->name,
		"listen", strings(m->listen), "client_port", (json_int_t)m->client_port,
		"peer_port", (json_int_t)m->peer_port, "metrics_port", (json_int_t)m->metrics_port,
		"initial_cluster", strings(m->initial_cluster), "initial_state",
		m->existing ? "existing" : "new", "sans", strings(m->sans), "data_dir", m->data_dir,
		"group", m->group);
}

/* ---- what follows from it ---- */

static void add_once(char ***strv, const char *text)
{
	if (!ls_strv_has(*strv, text))
		ls_strv_add(strv, text);
}

char **ls_etcd_member_sans(const struct ls_etcd_member *m)
{
	static const char *const loopback[] = { "DNS:localhost", "IP:127.0.0.1", "IP:::1" };
	LS_CLEANUP(ls_free_str) char *own = NULL;
	char **sans = NULL;
	int64_t port;

	for (size_t i = 0; i < ls_strv_count(m->listen); i++) {
		LS_CLEANUP(ls_free_str) char *san = ls_format("IP:%s", m->listen[i]);

		if (!is_wildcard(m->listen[i]))
			add_once(&sans, san);
	}
	own = own_san(m, &port);
	if (own)
		add_once(&sans, own);
	for (size_t i = 0; i < LS_COUNT(loopback); i++)
		add_once(&sans, loopback[i]);
	for (size_t i = 0; i < ls_strv_count(m->sans); i++)
		add_once(&sans, m->sans[i]);
	return sans;
}

/* YAML reads JSON's strings. */
static void add(struct ls_buf *out, const char *indent, const char *key, const char *value)
{
	json_t *json = json_string(value);
	char *text = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;

	ls_buf_printf(out, "%s%s: %s\n", indent, key, text ? text : "\"\"");
	free(text);
	json_decref(json);
}

static void add_listeners(
	struct ls_buf *out, const struct ls_etcd_member *m, const char *key, int64_t port)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf urls = { 0 };

	for (size_t i = 0; i < ls_strv_count(m->listen); i++) {
		LS_CLEANUP(ls_free_str) char *host = host_text(m->listen[i]);

		ls_buf_printf(&urls, "%s" SCHEME "%s:%lld", i ? "," : "", host, (long long)port);
	}
	add(out, "", key, ls_buf_text(&urls));
}

/* Where others reach it: by the host of its own URL. */
static void add_advertised(struct ls_buf *out, const struct ls_etcd_member *m)
{
	LS_CLEANUP(ls_free_str) char *client = NULL, *peer = NULL;
	int64_t port = 0;
	LS_CLEANUP(ls_free_str) char *san = own_san(m, &port);
	LS_CLEANUP(ls_free_str) char *host = host_text(strchr(san, ':') + 1);

	client = ls_format(SCHEME "%s:%lld", host, (long long)m->client_port);
	peer = ls_format(SCHEME "%s:%lld", host, (long long)port);
	add(out, "", "advertise-client-urls", client);
	add(out, "", "initial-advertise-peer-urls", peer);
}

static void add_security(struct ls_buf *out, const char *key, const char *dir)
{
	LS_CLEANUP(ls_free_str) char *pem = ls_format("%s/member.pem", dir);
	LS_CLEANUP(ls_free_str) char *ca = ls_format("%s/ca.pem", dir);

	ls_buf_printf(out, "%s:\n", key);
	add(out, "  ", "cert-file", pem);
	add(out, "  ", "key-file", pem);
	add(out, "  ", "trusted-ca-file", ca);
	ls_buf_str(out, "  client-cert-auth: true\n");
}

enum ls_code ls_etcd_member_config(const struct ls_etcd_member *m, const char *dir,
	const char *token, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *data = ls_format("%s/data", dir);
	LS_CLEANUP(ls_buf_done) struct ls_buf cluster = { 0 };
	json_t *text = json_string(dir);

	json_decref(text);
	if (!text)
		return LS_FAIL(err, LS_E_REFUSED, "the path '%s' is not UTF-8", dir);
	for (size_t i = 0; i < ls_strv_count(m->initial_cluster); i++)
		ls_buf_printf(&cluster, "%s%s", i ? "," : "", m->initial_cluster[i]);
	ls_buf_clear(out);
	ls_buf_str(out,
		"# An etcd member of the cluster's own, for etcd --config-file. etcd then ignores\n"
		"# flags and its environment. Made by lockstep etcd-config, which writes it "
		"anew.\n");
	add(out, "", "name", m->name);
	add(out, "", "data-dir", m->data_dir ? m->data_dir : data);
	add_listeners(out, m, "listen-client-urls", m->client_port);
	add_listeners(out, m, "listen-peer-urls", m->peer_port);
	add_advertised(out, m);
	if (m->metrics_port)
		ls_buf_printf(out, "listen-metrics-urls: \"http://127.0.0.1:%lld\"\n",
			(long long)m->metrics_port);
	add(out, "", "initial-cluster", ls_buf_text(&cluster));
	add(out, "", "initial-cluster-token", token);
	add(out, "", "initial-cluster-state", m->existing ? "existing" : "new");
	add_security(out, "client-transport-security", dir);
	add_security(out, "peer-transport-security", dir);
	/* Off by default in a file; the other two differ from the defaults for a reason: a member
	 * that comes back must not stop writes, and a watcher must notice a cut within seconds. */
	ls_buf_str(out, "enable-grpc-gateway: true\n"
			"pre-vote: true\n"
			"# nanoseconds; etcd 3.6 knows the second name\n"
			"experimental-watch-progress-notify-interval: 2000000000\n"
			"watch-progress-notify-interval: 2000000000\n"
			"auto-compaction-mode: periodic\n"
			"auto-compaction-retention: \"1h\"\n"
			"snapshot-count: 10000\n"
			"quota-backend-bytes: 2147483648\n"
			"logger: zap\n"
			"log-outputs: [stderr]\n");
	return LS_OK;
}
