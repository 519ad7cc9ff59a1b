#include "daemon/leaves.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/leaf.h"
#include "pki/san.h"
#include "sys/file.h"

#define AGAIN_MS 60000
#define FAILED_AGAIN_MS 5000
#define WISH_BYTES_MAX (64 * 1024)
#define MEMBERS_MAX 1000
#define HOST_SIZE 256
#define ANY_GROUP ((gid_t)-1)
#define GATEWAY_GROUP "lockstep-gateway"

static enum ls_code open_ca(void *arg, struct ls_signer *out, struct ls_err *err)
{
	LS_TRY(ls_agent_load_keyring(arg, err));
	return ls_agent_ca(arg, out, err);
}

static enum ls_code keep(struct ls_agent *a, const struct ls_leaf_place *place,
	const struct ls_leaf_wish *wish, const char *whose, bool *out_issued, char ***notes,
	struct ls_err *err)
{
	const struct ls_leaf_issuer issuer = {
		.cluster = a->tip.cluster,
		.ca_pem = ls_buf_bytes(&a->tip.ca_pem),
		.open = open_ca,
		.arg = a,
	};
	bool issued = false;

	LS_TRY(ls_leaf_keep(place, wish, &issuer, ls_now_s(), &issued, err));
	if (issued && notes) {
		LS_CLEANUP(ls_free_str)
		char *note = ls_format("the TLS certificate of %s was issued", whose);

		ls_strv_add(notes, note);
	}
	if (out_issued)
		*out_issued = issued;
	return LS_OK;
}

/* ---- etcd's members ---- */

struct member_dir {
	char *path;
	int fd;
	gid_t group;
};

static void member_dir_done(struct member_dir *dir)
{
	ls_fd_close(&dir->fd);
	free(dir->path);
}

static enum ls_code set_mode(int fd, const char *path, mode_t mode, gid_t group, struct ls_err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return LS_FAIL_ERRNO(err, "look at '%s'", path);
	if (group != ANY_GROUP && st.st_gid != group && ls_fd_set_owner(fd, (uid_t)-1, group) != 0)
		return LS_FAIL_ERRNO(err, "give '%s' to group %u", path, (unsigned)group);
	if ((st.st_mode & 07777) != mode && ls_fd_set_mode(fd, mode) != 0)
		return LS_FAIL_ERRNO(err, "set the mode of '%s'", path);
	return LS_OK;
}

/* Others may pass through to what is theirs; all else in there has modes of its own. */
static enum ls_code open_way(const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_open(path, &fd, err));
	return set_mode(fd, path, 0711, ANY_GROUP, err);
}

/* The directory with the mode and group that the wish says. */
static enum ls_code open_member(struct ls_agent *a, const struct ls_etcd_member *m,
	struct member_dir *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *above = ls_format("%s/etcd", a->paths.lib);

	*out = (struct member_dir){ .fd = -1, .group = ANY_GROUP };
	out->path = ls_format("%s/%s", above, m->name);
	if (m->group)
		LS_TRY(ls_group_find(m->group, &out->group, err));
	LS_TRY(ls_dir_make(above, 0711, err));
	LS_TRY(ls_dir_make(out->path, 0700, err));
	LS_TRY(ls_dir_open(out->path, &out->fd, err));
	LS_TRY(set_mode(out->fd, out->path, m->group ? 0750 : 0700, out->group, err));
	return m->group ? open_way(a->paths.lib, err) : LS_OK;
}

/* Replaces a file that is not as it should be. */
static enum ls_code write_if_other(const struct member_dir *dir, const char *name,
	struct ls_bytes bytes, mode_t mode, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf have = { 0 };

	if (ls_file_read(dir->fd, name, WISH_BYTES_MAX, &have, NULL) == LS_OK &&
		ls_bytes_equal(ls_buf_bytes(&have), bytes))
		return LS_OK;
	return ls_file_replace(dir->fd, name, bytes, mode, ANY_GROUP, err);
}

static enum ls_code keep_member(struct ls_agent *a, const struct ls_etcd_member *m,
	const struct member_dir *dir, bool *out_issued, char ***notes, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **sans = ls_etcd_member_sans(m);
	LS_CLEANUP(ls_free_str) char *whose = ls_format("etcd member %s", m->name);
	const struct ls_leaf_wish wish = { .use = LS_LEAF_BOTH, .sans = sans };
	const struct ls_leaf_place place = {
		.dir = dir->path,
		.name = "member.pem",
		.mode = m->group ? 0640 : 0600,
		.group = dir->group,
	};

	LS_TRY(write_if_other(dir, "ca.pem", ls_buf_bytes(&a->tip.ca_pem), 0644, err));
	return keep(a, &place, &wish, whose, out_issued, notes, err);
}

static enum ls_code write_wish(
	const struct ls_etcd_member *m, const struct member_dir *dir, struct ls_err *err)
{
	json_t *json = ls_etcd_member_to_json(m);
	LS_CLEANUP(ls_free_str) char *dumped = json_dumps(json, JSON_INDENT(2));
	LS_CLEANUP(ls_free_str) char *text = ls_format("%s\n", dumped ? dumped : "");

	json_decref(json);
	return write_if_other(dir, "wish.json", LS_BYTES_STR(text), 0600, err);
}

static json_t *answer(const struct ls_etcd_member *m, const struct member_dir *dir, bool issued)
{
	LS_CLEANUP(ls_free_strv) char **sans = ls_etcd_member_sans(m);
	LS_CLEANUP(ls_free_str) char *config = ls_format("%s/etcd.conf.yml", dir->path);
	LS_CLEANUP(ls_free_str) char *pem = ls_format("%s/member.pem", dir->path);
	LS_CLEANUP(ls_free_str) char *ca = ls_format("%s/ca.pem", dir->path);
	LS_CLEANUP(ls_free_str) char *data = ls_format("%s/data", dir->path);
	json_t *names = json_array();

	for (size_t i = 0; i < ls_strv_count(sans); i++)
		(void)json_array_append_new(names, json_string(sans[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:b}", "member", m->name, "directory",
		dir->path, "config", config, "certificate", pem, "ca", ca, "data_dir",
		m->data_dir ? m->data_dir : data, "sans", names, "issued", (int)issued);
}

/* An operator's certificate for the engine has the place of ours. */
static bool has_own_pki(const struct ls_agent *a)
{
	return a->engine.endpoints && a->engine.own_pki;
}

static bool is_client(const struct ls_agent *a)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/" LS_ENGINE_PEM, a->paths.identity);

	return !has_own_pki(a) && (a->engine.endpoints || access(path, F_OK) == 0);
}

enum ls_code ls_agent_etcd_member(
	struct ls_agent *a, const struct ls_etcd_member *m, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(member_dir_done) struct member_dir dir = { .fd = -1 };
	LS_CLEANUP(ls_buf_done) struct ls_buf config = { 0 };
	bool issued = false;

	LS_TRY(ls_agent_refresh(a, err));
	LS_TRY(open_member(a, m, &dir, err));
	LS_TRY(ls_etcd_member_config(m, dir.path, a->identity.cluster_id, &config, err));
	LS_TRY(keep_member(a, m, &dir, &issued, NULL, err));
	LS_TRY(write_if_other(&dir, "etcd.conf.yml", ls_buf_bytes(&config), 0644, err));
	/* Last: what has a wish is whole, and is renewed. */
	LS_TRY(write_wish(m, &dir, err));
	if (!has_own_pki(a))
		LS_TRY(ls_agent_keep_client_leaf(a, NULL, err));
	*out = answer(m, &dir, issued);
	return LS_OK;
}

static enum ls_code read_wish(
	const char *path, const char *name, struct ls_etcd_member *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s/wish.json", path, name);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	enum ls_code code;
	json_t *json;

	LS_TRY(ls_file_read_guarded(AT_FDCWD, file, WISH_BYTES_MAX, &text, err));
	json = json_loadb(ls_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
	code = json ? ls_etcd_member_from_json(json, out, err)
		    : LS_FAIL(err, LS_E_DAMAGED, "'%s' is not JSON", file);
	json_decref(json);
	if (code == LS_OK && strcmp(out->name, name) != 0)
		code = LS_FAIL(err, LS_E_DAMAGED, "'%s' is of member '%s'", file, out->name);
	return code;
}

static enum ls_code keep_one(
	struct ls_agent *a, const char *path, const char *name, char ***notes, struct ls_err *err)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member m = { 0 };
	LS_CLEANUP(member_dir_done) struct member_dir dir = { .fd = -1 };

	if (read_wish(path, name, &m, err) != LS_OK || open_member(a, &m, &dir, err) != LS_OK ||
		keep_member(a, &m, &dir, NULL, notes, err) != LS_OK)
		return LS_WRAP(err, "the certificate of etcd member %s", name);
	return LS_OK;
}

/* The first failure is the one to report. */
static void note_failure(enum ls_code code, const struct ls_err *one, struct ls_err *all)
{
	if (code != LS_OK && all->code == LS_OK)
		*all = *one;
}

/* A directory without a wish is none of ours, or is being made. */
static bool is_member(const char *path, const char *name)
{
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s/wish.json", path, name);

	return ls_cluster_name_valid(name) && access(file, F_OK) == 0;
}

static enum ls_code result(const struct ls_err *all, struct ls_err *err)
{
	if (err && all->code != LS_OK)
		*err = *all;
	return all->code;
}

enum ls_code ls_agent_keep_leaves(struct ls_agent *a, char ***notes, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/etcd", a->paths.lib);
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct ls_err all = { 0 };
	enum ls_code code = ls_dir_open(path, &fd, err);

	if (code == LS_OK)
		code = ls_dir_list(fd, MEMBERS_MAX, &names, err);
	if (code != LS_OK && code != LS_E_NOT_FOUND)
		return code;
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		struct ls_err one = { 0 };

		if (is_member(path, names[i]))
			note_failure(keep_one(a, path, names[i], notes, &one), &one, &all);
	}
	if (is_client(a)) {
		struct ls_err one = { 0 };

		note_failure(ls_agent_keep_client_leaf(a, notes, &one), &one, &all);
	}
	return result(&all, err);
}

enum ls_code ls_agent_keep_client_leaf(struct ls_agent *a, char ***notes, struct ls_err *err)
{
	const struct ls_leaf_wish wish = { .use = LS_LEAF_CLIENT };
	const struct ls_leaf_place place = {
		.dir = a->paths.identity, .name = LS_ENGINE_PEM, .mode = 0600, .group = ANY_GROUP
	};

	return keep(a, &place, &wish, "this node as a client of etcd", NULL, notes, err);
}

/* ---- the gateway ---- */

static void add_host(char ***sans, const char *host)
{
	LS_CLEANUP(ls_free_str) char *san = ls_san_of_host(host);

	if (san && !ls_strv_has(*sans, san))
		ls_strv_add(sans, san);
}

static char **gateway_sans(const struct ls_agent *a, const char *address)
{
	const char *colon = strrchr(address, ':');
	LS_CLEANUP(ls_free_str)
	char *host = colon ? ls_strndup(address, (size_t)(colon - address)) : ls_strdup(address);
	char **sans = NULL, name[HOST_SIZE] = "";

	add_host(&sans, host);
	if (gethostname(name, sizeof name - 1) == 0)
		add_host(&sans, name);
	add_host(&sans, a->tip.fqdn);
	add_host(&sans, "localhost");
	add_host(&sans, "127.0.0.1");
	add_host(&sans, "::1");
	return sans;
}

enum ls_code ls_agent_keep_gateway_leaf(
	struct ls_agent *a, const char *address, char ***notes, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **sans = gateway_sans(a, address);
	const struct ls_leaf_wish wish = { .use = LS_LEAF_SERVER, .sans = sans };
	struct ls_leaf_place place = {
		.dir = a->paths.run, .name = "gateway.pem", .mode = 0600, .group = ANY_GROUP
	};

	/* Without privileges the gateway is of the same user. */
	if (geteuid() == 0 && ls_group_find(GATEWAY_GROUP, &place.group, NULL) == LS_OK)
		place.mode = 0640;
	return keep(a, &place, &wish, "the gateway", NULL, notes, err);
}

enum ls_code ls_agent_keep_all(struct ls_agent *a, const char *gateway_address, bool *out_looked,
	char ***notes, struct ls_err *err)
{
	int64_t now_ms = ls_mono_ms();
	struct ls_err all = { 0 }, one = { 0 };

	*out_looked = now_ms >= a->leaves_again_ms;
	if (!*out_looked)
		return LS_OK;
	a->leaves_again_ms = now_ms + AGAIN_MS;
	note_failure(ls_agent_keep_gateway_leaf(a, gateway_address, notes, &one), &one, &all);
	note_failure(ls_agent_keep_leaves(a, notes, &one), &one, &all);
	if (all.code != LS_OK) /* such as at a start without etcd: the gateway waits for its own */
		a->leaves_again_ms = now_ms + FAILED_AGAIN_MS;
	return result(&all, err);
}
