/* rejected -- the part of dropin.h that keeps what was refused, and not for ever. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "intake/dropin.h"
#include "pki/credential.h"
#include "sys/file.h"

/* Of certificates in one entry: a chain is a tenth of that. */
#define CERTS_BYTES_MAX (64 * 1024)

/* The certificates of a text, and nothing else: what stands between or beside them may be a key,
 * and so may what is only labelled a certificate. Whole ones, as many as fit. */
static void certificates_only(struct ls_bytes text, struct ls_buf *out)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----",
			  end[] = "-----END CERTIFICATE-----";
	const char *at = text.data, *stop = at ? at + text.len : NULL;

	while (at && at < stop) {
		const char *from = memmem(at, (size_t)(stop - at), begin, sizeof begin - 1);
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
		const char *to, *nested;

		if (!from)
			return;
		to = memmem(from, (size_t)(stop - from), end, sizeof end - 1);
		if (!to)
			return;
		nested = memmem(from + sizeof begin - 1, (size_t)(to - from) - sizeof begin + 1,
			"-----", 5);
		at = to + sizeof end - 1;
		if (nested || ls_cert_info_read((struct ls_bytes){ from, (size_t)(at - from) },
				      &info, NULL) != LS_OK)
			continue;
		if (out->len + (size_t)(at - from) >= CERTS_BYTES_MAX)
			return;
		ls_buf_add(out, from, (size_t)(at - from));
		ls_buf_str(out, "\n");
	}
}

static enum ls_code fill_rejected(const char *path, const char *component, const char *reason,
	struct ls_bytes cert, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf certs = { 0 };
	LS_CLEANUP(ls_free_str) char *text = ls_format("%s\n", reason);
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_open(path, &fd, err));
	certificates_only(cert, &certs);
	if (certs.len) {
		LS_CLEANUP(ls_free_str) char *name = ls_format("%s_cert.pem", component);

		LS_TRY(ls_file_replace(fd, name, ls_buf_bytes(&certs), 0600, (gid_t)-1, err));
	}
	return ls_file_replace(fd, "reason.txt", LS_BYTES_STR(text), 0600, (gid_t)-1, err);
}

enum ls_code ls_dropin_reject(const char *rejected, int64_t at_ms, const char *component,
	const char *reason, struct ls_bytes cert, char **out_path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = NULL;
	enum ls_code code;
	char stamp[LS_TIME_TEXT_SIZE];

	if (!ls_name_valid(component))
		component = "unknown";
	for (int i = 0; i < 1000;
		i++) { /* two refusals within a millisecond must not share a directory */
		ls_time_stamp(at_ms + i, stamp);
		ls_free_str(&path);
		path = ls_format("%s/%s-%s", rejected, stamp, component);
		if (mkdir(path, 0700) == 0 || access(path, F_OK) != 0)
			break;
	}
	LS_TRY(ls_dir_make(path, 0700, err));
	code = fill_rejected(path, component, reason, cert, err);
	if (code != LS_OK) { /* it is tried again: half a refusal each time would pile up */
		LS_IGNORE(ls_dir_remove(AT_FDCWD, path, NULL));
		return code;
	}
	if (out_path)
		*out_path = LS_TAKE(path);
	return LS_OK;
}

/* "20261121T225100.123Z-…" */
static bool begins_with_stamp(const char *name)
{
	static const char form[] = "00000000T000000.000Z-";

	for (size_t i = 0; i < sizeof form - 1; i++)
		if (form[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != form[i])
			return false;
	return true;
}

enum ls_code ls_dropin_expire(
	const char *rejected, int64_t now_ms, int64_t keep_days, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	char limit[LS_TIME_TEXT_SIZE];
	size_t ours = 0;

	ls_time_stamp(now_ms - keep_days * 86400000, limit);
	LS_TRY(ls_dir_open(rejected, &fd, err));
	LS_TRY(ls_dir_list(fd, SIZE_MAX, &names, err));
	for (size_t i = 0; names[i]; i++)
		ours += begins_with_stamp(names[i]);
	/* The names begin with the time, so text order is time order. */
	for (size_t i = 0; names[i]; i++) {
		if (!begins_with_stamp(names[i]) ||
			(strcmp(names[i], limit) >= 0 && ours <= LS_REJECTED_MAX))
			continue;
		LS_TRY(ls_dir_remove(fd, names[i], err));
		ours--;
	}
	return LS_OK;
}
