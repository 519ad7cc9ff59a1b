#include "tests/fuzz/support/repo.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "pki/sha1.h"
#include "tests/fuzz/support/fixed.h"

#define PEM(label) "-----BEGIN " label "-----\nMIIB\n-----END " label "-----\n"

static void must(enum ls_code code)
{
	if (code != LS_OK)
		abort();
}

static void add_component(struct ls_state *state, const char *note)
{
	struct ls_component *made = ls_state_add_component(state, "proxy");

	(void)snprintf(made->issue.component, sizeof made->issue.component, "proxy");
	made->issue.subject = ls_alloc(1, sizeof *made->issue.subject);
	made->issue.subject[made->issue.subject_count++] =
		(struct ls_rdn){ ls_strdup("CN"), ls_strdup(note) };
	ls_strv_add(&made->issue.sans, "DNS:${fqdn}");
	ls_strv_add(&made->issue.eku, "serverAuth");
	made->issue.key = ls_strdup("ec:P-256");
	made->issue.days = 365;
	ls_buf_str(&made->chain_pem, PEM("CERTIFICATE"));
	ls_buf_str(&made->key_cms, PEM("CMS"));
}

void repo_state(const char *note, struct ls_state *out)
{
	struct ls_signer signer = { 0 };
	struct ls_member *member;
	struct ls_err err;

	out->cluster = ls_strdup("prod");
	out->fqdn = ls_strdup("prod.example.com");
	out->cluster_id = ls_strdup("0123456789abcdef0123456789abcdef");
	must(ls_policy_parse(
		"fuzz", "default", LS_BYTES_STR("rsa_min = 2048;"), &out->policy, &err));
	ls_settings_defaults(&out->settings);
	add_component(out, note);
	member = ls_state_add_member(out, "n1");
	member->joined = 1;
	fixed_member(&signer);
	ls_buf_copy(&member->signing_cert_pem, &signer.cert_pem);
	fixed_wrapping(&signer);
	ls_buf_copy(&member->wrapping_cert_pem, &signer.cert_pem);
	ls_buf_done(&signer.cert_pem);
	ls_buf_str(&out->ca_pem, PEM("CERTIFICATE"));
	ls_buf_str(&out->ca_key_cms, PEM("CMS"));
	out->kek_epoch = 1;
	ls_state_add_epoch(
		out, 1, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
}

void repo_compose(struct ls_history *history, const char *note, int64_t number,
	const struct ls_commit_id *parent, struct ls_commit_id *out_id, struct ls_buf *out_pack)
{
	static char node[] = "n1", email[] = "n1@prod", subject[] = "cert set proxy",
		    cause[] = "operator", proxy[] = "proxy";
	static char *components[] = { proxy, NULL };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	const struct ls_generation about = { .parent = *parent,
		.generation = number,
		.time_s = 1800000000 + number,
		.author_name = node,
		.author_email = email,
		.committer_name = node,
		.committer_email = email,
		.subject = subject,
		.cause = cause,
		.components = components };
	struct ls_signer signer = { 0 };
	struct ls_err err;

	repo_state(note, &state);
	fixed_member(&signer);
	must(ls_history_compose(history, &state, &about, &signer, out_id, out_pack, &err));
	ls_buf_done(&signer.cert_pem);
}

void repo_clear_packs(const char *path)
{
	LS_CLEANUP(ls_free_str) char *folder = ls_format("%s/objects/pack", path);
	DIR *dir = opendir(folder);

	if (!dir)
		abort();
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	(void)closedir(dir);
}

void repo_put_loose(const char *path, const char *hex, struct ls_bytes raw)
{
	LS_CLEANUP(ls_free_str) char *folder = ls_format("%s/objects/%.2s", path, hex);
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/%s", folder, hex + 2);
	int fd;

	(void)mkdir(folder, 0700);
	(void)unlink(file);
	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (fd < 0 || write(fd, raw.len ? raw.data : "", raw.len) != (ssize_t)raw.len)
		abort();
	(void)close(fd);
}

void repo_drop_loose(const char *path, const char *hex)
{
	LS_CLEANUP(ls_free_str) char *file = ls_format("%s/objects/%.2s/%s", path, hex, hex + 2);

	(void)unlink(file);
}

void repo_loose(const char *type, struct ls_bytes content, struct ls_buf *out, char out_hex[41])
{
	LS_CLEANUP(ls_buf_done) struct ls_buf object = { 0 };
	LS_CLEANUP(ls_free_str) char *packed = NULL;
	unsigned char id[LS_SHA1_BYTES];
	uLongf len;

	ls_buf_printf(&object, "%s %zu", type, content.len);
	ls_buf_add(&object, "", 1);
	ls_buf_add_bytes(&object, content);
	ls_sha1(ls_buf_bytes(&object), id);
	ls_hex(id, sizeof id, out_hex);
	len = compressBound(object.len);
	packed = ls_alloc(len, 1);
	if (compress2((Bytef *)packed, &len, (const Bytef *)object.data, object.len, 1) != Z_OK)
		abort();
	ls_buf_clear(out);
	ls_buf_add(out, packed, len);
}
