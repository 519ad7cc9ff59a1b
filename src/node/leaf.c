#include "node/leaf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/credential.h"
#include "pki/key.h"
#include "sys/file.h"

#define FILE_BYTES_MAX (64 * 1024)

static bool guarded(int dir_fd, const struct ls_leaf_place *place)
{
	struct stat st;

	return fstatat(dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_uid == geteuid() && (st.st_mode & 07777) == place->mode &&
	       (place->group == (gid_t)-1 || st.st_gid == place->group);
}

static bool ends_with(struct ls_bytes text, struct ls_bytes end)
{
	return text.len >= end.len &&
	       ls_bytes_equal(
		       (struct ls_bytes){ (const char *)text.data + text.len - end.len, end.len },
		       end);
}

static bool stands(int dir_fd, const struct ls_leaf_place *place, const struct ls_leaf_wish *wish,
	const struct ls_leaf_issuer *issuer, int64_t now_s)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	struct ls_bytes text;

	if (!guarded(dir_fd, place) ||
		ls_file_read_secret(dir_fd, place->name, FILE_BYTES_MAX, &pem, NULL) != LS_OK)
		return false;
	text = ls_secret_bytes(&pem);
	return !ls_leaf_due(text, issuer->ca_pem, now_s) && ls_leaf_fits(text, wish) &&
	       ends_with(text, issuer->ca_pem) &&
	       ls_key_from_pem(place->name, text, (struct ls_bytes){ 0 }, &key, NULL) == LS_OK &&
	       ls_credential_matches(text, key);
}

static void join(const struct ls_secret *key, struct ls_bytes leaf, struct ls_bytes ca,
	struct ls_secret *out)
{
	ls_secret_alloc(out, key->len + leaf.len + ca.len);
	memcpy(out->data, key->data, key->len);
	memcpy(out->data + key->len, leaf.data, leaf.len);
	memcpy(out->data + key->len + leaf.len, ca.data, ca.len);
}

static enum ls_code issue(const struct ls_leaf_wish *wish, const struct ls_leaf_issuer *issuer,
	int64_t now_s, struct ls_secret *out, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 }, leaf = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };

	LS_TRY(issuer->open(issuer->arg, &ca, err));
	LS_TRY(ls_authority_leaf(&ca, issuer->cluster, wish, now_s, &leaf, err));
	LS_TRY(ls_key_to_pem(leaf.key, &key, err));
	join(&key, ls_buf_bytes(&leaf.cert_pem), issuer->ca_pem, out);
	return LS_OK;
}

enum ls_code ls_leaf_keep(const struct ls_leaf_place *place, const struct ls_leaf_wish *wish,
	const struct ls_leaf_issuer *issuer, int64_t now_s, bool *out_issued, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_open(place->dir, &fd, err));
	if (stands(fd, place, wish, issuer, now_s)) {
		*out_issued = false;
		return LS_OK;
	}
	if (issue(wish, issuer, now_s, &pem, err) != LS_OK ||
		ls_file_replace(fd, place->name, ls_secret_bytes(&pem), place->mode, place->group,
			err) != LS_OK)
		return LS_WRAP(err, "issue '%s/%s'", place->dir, place->name);
	*out_issued = true;
	return LS_OK;
}
