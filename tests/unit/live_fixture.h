/* live_fixture -- a live directory of its own for each test, and generations of components whose
 * files tell component and generation. For one test program each: everything is static.
 */
#ifndef LS_TESTS_UNIT_LIVE_FIXTURE_H
#define LS_TESTS_UNIT_LIVE_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/live.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define EPOCH 1

static struct ls_err err;
static char root[] = "/tmp/ls-live-XXXXXX";
static char *certs;
static struct ls_keyring ring;
static struct ls_services none;
static struct ls_live *live;

static void setup(void)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret kek = { 0 };

	ck_assert_ptr_nonnull(mkdtemp(root));
	certs = ls_format("%s/certs", root);
	ls_kek_generate(&kek);
	ls_keyring_put(&ring, EPOCH, ls_secret_bytes(&kek));
	ck_ok(ls_live_open(certs, &live, &err));
}

static void teardown(void)
{
	ls_live_free(&live);
	ls_keyring_done(&ring);
	ls_free_str(&certs);
	ck_ok(ls_dir_remove(AT_FDCWD, root, &err));
}

static void add_component(struct ls_state *state, const char *name, int tag)
{
	LS_CLEANUP(ls_free_str) char *key = ls_format("key of %s %d\n", name, tag);
	struct ls_component *c = ls_state_add_component(state, name);

	ls_buf_printf(&c->chain_pem, "chain of %s %d\n", name, tag);
	if (strcmp(name, "proxy") == 0)
		ls_buf_printf(&c->trust_pem, "trust of %s %d\n", name, tag);
	ck_ok(ls_seal(LS_BYTES_STR(key), ls_secret_bytes(ls_keyring_get(&ring, EPOCH)), EPOCH,
		&c->key_cms, &err));
}

static void dir_of(int tag, char out[LS_LIVE_DIR_SIZE])
{
	ls_live_dir_name(tag, "3f9c2ab1deadbeef", out);
}

/* Generation `tag` with the components named (up to NULL). */
static struct ls_live_plan *plan_of(int tag, const char *a, const char *b)
{
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_live_plan *plan = NULL;
	char dir[LS_LIVE_DIR_SIZE];

	add_component(&state, a, tag);
	if (b)
		add_component(&state, b, tag);
	dir_of(tag, dir);
	ck_ok(ls_live_plan_new(&state, &none, &ring, dir, &plan, NULL, &err));
	return plan;
}

static void go_live(int tag, struct ls_live_plan **out)
{
	*out = plan_of(tag, "proxy", "api");
	ck_ok(ls_live_stage(live, *out, &err));
	ck_ok(ls_live_activate(live, (*out)->dir, &err));
}

/* The content through the path that services use. */
static void shows(const char *name, const char *want)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/%s", certs, name);
	char text[256] = "";
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);

	(void)close(fd);
	ck_assert_msg(n >= 0, "%s cannot be read", name);
	ck_assert_msg(strcmp(text, want) == 0, "%s holds '%s'", name, text);
}

static void all_right(int tag)
{
	static const char *const formats[][2] = { { "proxy_cert.pem", "chain of proxy %d\n" },
		{ "proxy_key.pem", "key of proxy %d\n" },
		{ "proxy.pem", "key of proxy %d\nchain of proxy %d\n" },
		{ "ca/proxy.pem", "trust of proxy %d\n" }, { "api_cert.pem", "chain of api %d\n" },
		{ "api_key.pem", "key of api %d\n" },
		{ "api.pem", "key of api %d\nchain of api %d\n" } };

	for (size_t i = 0; i < LS_COUNT(formats); i++) {
		char want[128];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(want, sizeof want, formats[i][1], tag, tag);
#pragma GCC diagnostic pop
		shows(formats[i][0], want);
	}
}

static struct stat stat_of(const char *name)
{
	struct stat st;

	ck_assert_msg(fstatat(ls_live_fd(live), name, &st, AT_SYMLINK_NOFOLLOW) == 0,
		"'%s' is not there", name);
	return st;
}

static mode_t mode_of(const char *dir, const char *name)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s%s%s", dir, *name ? "/" : "", name);

	return stat_of(path).st_mode & 07777;
}

static void write_over(const char *name, const char *text, int flags)
{
	int fd = openat(ls_live_fd(live), name, O_WRONLY | flags, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

#endif
