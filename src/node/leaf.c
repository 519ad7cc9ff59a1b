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

/* Key and leaf are fit for use; *out_pem is the file. What stands behind them is another matter. */
static bool stands(int dir_fd, const struct ls_leaf_place *place, const struct ls_leaf_wish *wish,
	const struct ls_leaf_issuer *issuer, int64_t now_s, struct ls_secret *out_pem)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	struct ls_bytes text;

	if (!guarded(dir_fd, place) ||
		ls_file_read_secret(dir_fd, place->name, FILE_BYTES_MAX, out_pem, NULL) != LS_OK)
		return false;
	text = ls_secret_bytes(out_pem);
	return !ls_leaf_due(text, issuer->ca_pem, now_s) && ls_leaf_fits(text, wish) &&
	       ls_key_from_pem(place->name, text, (struct ls_bytes){ 0 }, &key, NULL) == LS_OK &&
	       ls_credential_matches(text, key);
}

/* The same key and leaf before the CA's certificates of today: what issued the leaf may still be
 * trusted while another has become the first. */
static bool with_ca(const struct ls_secret *old, struct ls_bytes ca, struct ls_secret *out)
{
	static const char end[] = "-----END CERTIFICATE-----\n";
	const char *leaf_end = memmem(old->data, old->len, end, sizeof end - 1);
	size_t len;

	if (!leaf_end)
		return false;
	len = (size_t)(leaf_end - (const char *)old->data) + sizeof end - 1;
	ls_secret_alloc(out, len + ca.len);
	memcpy(out->data, old->data, len);
	memcpy(out->data + len, ca.data, ca.len);
	return true;
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
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 }, old = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	bool fit;

	LS_TRY(ls_dir_open(place->dir, &fd, err));
	fit = stands(fd, place, wish, issuer, now_s, &old);
	if (fit && ends_with(ls_secret_bytes(&old), issuer->ca_pem)) {
		*out_issued = false;
		return LS_OK;
	}
	if ((!(fit && with_ca(&old, issuer->ca_pem, &pem)) &&
		    issue(wish, issuer, now_s, &pem, err) != LS_OK) ||
		ls_file_replace(fd, place->name, ls_secret_bytes(&pem), place->mode, place->group,
			err) != LS_OK)
		return LS_WRAP(err, "issue '%s/%s'", place->dir, place->name);
	*out_issued = true;
	return LS_OK;
}
