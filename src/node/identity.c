#include "node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/credential.h"
#include "pki/key.h"
#include "sys/file.h"

#define FILE_BYTES_MAX (64 * 1024)
#define NAME_SIZE 64
#define NAMES_MAX 100000
#define KEEP_GROUP ((gid_t)-1)
#define HEX "0123456789abcdef"

static const char node_name[] = "node.json";
static const char ca_name[] = "ca.pem";

void ls_identity_done(struct ls_identity *identity)
{
	free(identity->cluster);
	free(identity->cluster_id);
	ls_buf_done(&identity->ca_pem);
	ls_signer_done(&identity->signer);
	*identity = (struct ls_identity){ 0 };
}

/* Whoever reads these keys is this node. */
static enum ls_code check_private(
	const struct stat *st, const char *path, const char *name, struct ls_err *err)
{
	const char *slash = *name ? "/" : "";

	if (st->st_uid != geteuid() && st->st_uid != 0) {
		LS_FAIL(err, LS_E_REFUSED, "'%s%s%s' belongs to user %u", path, slash, name,
			(unsigned)st->st_uid);
		LS_HINT(err, "chown root %s%s%s", path, slash, name);
		return LS_E_REFUSED;
	}
	if (st->st_mode & 077) {
		LS_FAIL(err, LS_E_REFUSED,
			"'%s%s%s' can be read by others (mode %04o); if somebody may have read it, "
			"run 'lockstep seal rotate' and 'lockstep cert renew --force' when it is "
			"mended",
			path, slash, name, (unsigned)(st->st_mode & 07777));
		LS_HINT(err, "chmod %s %s%s%s", *name ? "600" : "700", path, slash, name);
		return LS_E_REFUSED;
	}
	return LS_OK;
}

static enum ls_code open_dir(const char *path, int *out_fd, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct stat st;

	LS_TRY(ls_dir_open(path, &fd, err));
	if (fstat(fd, &st) != 0)
		return LS_FAIL_ERRNO(err, "look at '%s'", path);
	LS_TRY(check_private(&st, path, "", err));
	*out_fd = fd;
	fd = -1;
	return LS_OK;
}

static enum ls_code make_dir(const char *path, int *out_fd, struct ls_err *err)
{
	LS_TRY(ls_dir_make(path, 0700, err));
	return open_dir(path, out_fd, err);
}

static enum ls_code load_key(int dir_fd, const char *path, const char *name,
	struct evp_pkey_st **out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return LS_FAIL_ERRNO(err, "read '%s/%s'", path, name);
	LS_TRY(check_private(&st, path, name, err));
	LS_TRY(ls_file_read_secret(dir_fd, name, FILE_BYTES_MAX, &pem, err));
	return ls_key_from_pem(name, ls_secret_bytes(&pem), (struct ls_bytes){ 0 }, out, err);
}

/* Of every epoch: one that is not needed today opens what was sealed then. */
static enum ls_code check_keys(int dir_fd, const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	LS_TRY(ls_dir_list(dir_fd, NAMES_MAX, &names, err));
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		struct stat st;

		if (!ls_has_suffix(names[i], "-key.pem") ||
			fstatat(dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue; /* gone meanwhile: an epoch was forgotten */
		LS_TRY(check_private(&st, path, names[i], err));
	}
	return LS_OK;
}

enum ls_code ls_identity_check(const char *path, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(open_dir(path, &fd, err));
	return check_keys(fd, path, err);
}

static enum ls_code damaged(struct ls_err *err, const char *path, const char *name, const char *why)
{
	return LS_FAIL(err, LS_E_DAMAGED, "'%s/%s': %s", path, name, why);
}

/* A key and the certificate that goes with it. LS_E_NOT_FOUND is about the key only. */
static enum ls_code load_signer(int dir_fd, const char *path, const char *key_name,
	const char *cert_name, struct ls_signer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer signer = { 0 };
	enum ls_code rc;

	LS_TRY(load_key(dir_fd, path, key_name, &signer.key, err));
	rc = ls_file_read(dir_fd, cert_name, FILE_BYTES_MAX, &signer.cert_pem, err);
	if (rc == LS_E_NOT_FOUND)
		return damaged(err, path, cert_name, "missing, its key is there");
	LS_TRY(rc);
	if (!ls_credential_matches(ls_buf_bytes(&signer.cert_pem), signer.key))
		return damaged(err, path, cert_name, "not of the key beside it");
	*out = signer;
	signer = (struct ls_signer){ 0 };
	return LS_OK;
}

static bool is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, HEX) == len;
}

static enum ls_code parse_node(
	const char *path, struct ls_bytes text, struct ls_identity *identity, struct ls_err *err)
{
	const char *cluster, *cluster_id, *node, *root;
	json_error_t why;
	json_t *json =
		json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &why);
	bool read = json &&
		    json_unpack_ex(json, &why, JSON_STRICT, "{s:s, s:s, s:s, s:s}", "cluster",
			    &cluster, "cluster_id", &cluster_id, "node", &node, "root", &root) == 0;

	if (read && ls_cluster_name_valid(cluster) && is_hex(cluster_id, 32) &&
		ls_name_valid(node) && is_hex(root, 40)) {
		identity->cluster = ls_strdup(cluster);
		identity->cluster_id = ls_strdup(cluster_id);
		(void)snprintf(identity->node, sizeof identity->node, "%s", node);
		(void)snprintf(identity->root, sizeof identity->root, "%s", root);
		json_decref(json);
		return LS_OK;
	}
	json_decref(json);
	return damaged(err, path, node_name, read ? "a value is not of its form" : why.text);
}

enum ls_code ls_identity_load(const char *path, struct ls_identity *out, struct ls_err *err)
{
	LS_CLEANUP(ls_identity_done) struct ls_identity identity = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	enum ls_code rc;

	LS_TRY(open_dir(path, &fd, err));
	LS_TRY(check_keys(fd, path, err));
	LS_TRY(ls_file_read(fd, node_name, FILE_BYTES_MAX, &text, err));
	LS_TRY(parse_node(path, ls_buf_bytes(&text), &identity, err));
	rc = ls_file_read(fd, ca_name, FILE_BYTES_MAX, &identity.ca_pem, err);
	if (rc == LS_OK)
		rc = load_signer(
			fd, path, "signing-key.pem", "signing-cert.pem", &identity.signer, err);
	/* node.json is written last: with it there, nothing else may be missing. */
	if (rc == LS_E_NOT_FOUND && err)
		err->code = LS_E_DAMAGED;
	if (rc != LS_OK)
		return LS_WRAP(err, "the node's identity"),
		       rc == LS_E_NOT_FOUND ? LS_E_DAMAGED : rc;
	*out = identity;
	identity = (struct ls_identity){ 0 };
	return LS_OK;
}

static enum ls_code save_key(
	int dir_fd, const char *name, struct evp_pkey_st *key, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };

	LS_TRY(ls_key_to_pem(key, &pem, err));
	return ls_file_replace(dir_fd, name, ls_secret_bytes(&pem), 0600, KEEP_GROUP, err);
}

static enum ls_code save_public(
	int dir_fd, const char *name, struct ls_bytes bytes, struct ls_err *err)
{
	return ls_file_replace(dir_fd, name, bytes, 0644, KEEP_GROUP, err);
}

enum ls_code ls_identity_save(
	const char *path, const struct ls_identity *identity, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	json_t *json;
	char *dumped;

	LS_TRY(make_dir(path, &fd, err));
	LS_TRY(save_public(fd, ca_name, ls_buf_bytes(&identity->ca_pem), err));
	LS_TRY(save_key(fd, "signing-key.pem", identity->signer.key, err));
	LS_TRY(save_public(fd, "signing-cert.pem", ls_buf_bytes(&identity->signer.cert_pem), err));
	json = json_pack("{s:s, s:s, s:s, s:s}", "cluster", identity->cluster, "cluster_id",
		identity->cluster_id, "node", identity->node, "root", identity->root);
	dumped = json ? json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
	json_decref(json);
	if (!dumped)
		return LS_FAIL(err, LS_E_FAILED, "the node's names cannot be written as JSON");
	ls_buf_printf(&text, "%s\n", dumped);
	free(dumped);
	return save_public(fd, node_name, ls_buf_bytes(&text), err);
}

enum ls_code ls_identity_save_ca(
	const char *path, struct ls_identity *identity, struct ls_bytes ca_pem, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(make_dir(path, &fd, err));
	LS_TRY(save_public(fd, ca_name, ca_pem, err));
	ls_buf_clear(&identity->ca_pem);
	ls_buf_add_bytes(&identity->ca_pem, ca_pem);
	return LS_OK;
}

static void wrapping_name(int64_t epoch, const char *what, char out[NAME_SIZE])
{
	(void)snprintf(out, NAME_SIZE, "wrapping-%lld-%s.pem", (long long)epoch, what);
}

enum ls_code ls_identity_save_wrapping(
	const char *path, int64_t epoch, const struct ls_signer *wrapping, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	char name[NAME_SIZE];

	LS_TRY(make_dir(path, &fd, err));
	/* The key last: its presence says that the pair is whole. */
	wrapping_name(epoch, "cert", name);
	LS_TRY(save_public(fd, name, ls_buf_bytes(&wrapping->cert_pem), err));
	wrapping_name(epoch, "key", name);
	return save_key(fd, name, wrapping->key, err);
}

enum ls_code ls_identity_load_wrapping(
	const char *path, int64_t epoch, struct ls_signer *out, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	char key_name[NAME_SIZE], cert_name[NAME_SIZE];

	LS_TRY(open_dir(path, &fd, err));
	wrapping_name(epoch, "key", key_name);
	wrapping_name(epoch, "cert", cert_name);
	return load_signer(fd, path, key_name, cert_name, out, err);
}

/* In place, before the name goes: what is left on a plain disk is noise. Copy-on-write file systems
 * and backups keep the old blocks; the documentation of `seal forget` says so. */
static enum ls_code overwrite(int dir_fd, const char *name, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	unsigned char noise[4096];
	struct stat st;

	fd = openat(dir_fd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return LS_FAIL_ERRNO(err, "overwrite '%s'", name);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return LS_FAIL(err, LS_E_REFUSED, "overwrite '%s': not a regular file", name);
	for (off_t at = 0; at < st.st_size;) {
		size_t len = st.st_size - at < (off_t)sizeof noise ? (size_t)(st.st_size - at)
								   : sizeof noise;
		ssize_t n;

		ls_random_bytes(noise, len);
		n = pwrite(fd, noise, len, at);
		if (n < 0 && errno != EINTR)
			return LS_FAIL_ERRNO(err, "overwrite '%s'", name);
		at += n > 0 ? n : 0;
	}
	if (fsync(fd) != 0)
		return LS_FAIL_ERRNO(err, "overwrite '%s'", name);
	return LS_OK;
}

static enum ls_code destroy(int dir_fd, const char *name, struct ls_err *err)
{
	if (!ls_file_exists(dir_fd, name))
		return LS_OK;
	LS_TRY(overwrite(dir_fd, name, err));
	return ls_file_remove(dir_fd, name, err);
}

struct wrapping_names {
	char name[NAME_SIZE], cut[NAME_SIZE + 8]; /* `cut`: what a crash left of a save */
};

static bool any_there(int dir_fd, const struct wrapping_names *names)
{
	return ls_file_exists(dir_fd, names->name) || ls_file_exists(dir_fd, names->cut);
}

enum ls_code ls_identity_destroy_wrapping(const char *path, int64_t epoch, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct wrapping_names key, cert;
	enum ls_code rc = open_dir(path, &fd, err);

	if (rc == LS_E_NOT_FOUND)
		return LS_OK;
	LS_TRY(rc);
	wrapping_name(epoch, "key", key.name);
	wrapping_name(epoch, "cert", cert.name);
	(void)snprintf(key.cut, sizeof key.cut, ".%s.new", key.name);
	(void)snprintf(cert.cut, sizeof cert.cut, ".%s.new", cert.name);
	if (!any_there(fd, &key) && !any_there(fd, &cert))
		return LS_OK;
	LS_TRY(destroy(fd, key.cut, err));
	LS_TRY(destroy(fd, key.name, err));
	LS_TRY(ls_file_remove(fd, cert.cut, err));
	LS_TRY(ls_file_remove(fd, cert.name, err));
	return ls_dir_sync(fd, err);
}
