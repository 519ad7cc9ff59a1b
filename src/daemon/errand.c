#include "daemon/errand.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "intake/removal.h"
#include "net/probe.h"
#include "node/reload.h"
#include "pki/key.h"
#include "sys/file.h"

#define KEYGEN_S 120
#define CONNECT_MAX_MS 300000
/* Others may not write what the daemon makes, and nothing of it runs as somebody else. */
#define MODE_NEVER 07022

static enum ls_code do_reread(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	LS_CLEANUP(ls_services_done) struct ls_services fresh = { 0 };

	(void)call;
	/* Names to ask services by are the daemon's: no fqdn is needed. */
	LS_TRY(ls_services_load(e->paths, NULL, &fresh, err));
	ls_services_done(&e->services);
	e->services = fresh;
	fresh = (struct ls_services){ 0 };
	return LS_OK;
}

static enum ls_code about(struct ls_errand *e, struct ls_helper_call *call,
	const struct ls_service **out_service, struct ls_reload_about *out, struct ls_err *err)
{
	*out = (struct ls_reload_about){ .certs_path = e->paths->certs,
		.as_units = e->as_units,
		.daemon_pid = e->daemon_pid,
		.stop_fd = call->gone_fd };
	return ls_reload_about_read(call, &e->services, out_service, out, err);
}

static enum ls_code do_validate(
	struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	const struct ls_service *service;
	struct ls_reload_about what;

	LS_TRY(about(e, call, &service, &what, err));
	return ls_reload_validate(service, &what, err);
}

static enum ls_code do_reload(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	const struct ls_service *service;
	struct ls_reload_about what;

	LS_TRY(about(e, call, &service, &what, err));
	return ls_reload_answer(call, service, &what, err);
}

static enum ls_code do_password(
	struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	return ls_reload_password_answer(call, &e->services, err);
}

static bool is_endpoint(const struct ls_service *service, const char *endpoint)
{
	for (size_t i = 0; i < service->serve_count; i++)
		if (strcmp(service->serves[i].endpoint, endpoint) == 0)
			return true;
	for (size_t i = 0; i < service->reload_count; i++) {
		const struct ls_reload *reload = &service->reloads[i];

		if (reload->kind == LS_RELOAD_REDIS && strcmp(reload->target, endpoint) == 0)
			return true;
		if (reload->kind == LS_RELOAD_HAPROXY && ls_has_prefix(endpoint, "unix:") &&
			strcmp(reload->target, endpoint + strlen("unix:")) == 0)
			return true;
	}
	return false;
}

static enum ls_code do_connect(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	int64_t timeout_ms;
	bool known = false;

	for (size_t i = 0; i < e->services.count; i++)
		known |= is_endpoint(&e->services.items[i], call->words[1]);
	if (!known || !ls_text_number(call->words[2], 1, CONNECT_MAX_MS, &timeout_ms))
		return LS_FAIL(
			err, LS_E_REFUSED, "connect: no template names '%s'", call->words[1]);
	return ls_endpoint_connect(call->words[1], timeout_ms, &call->out_fd, err);
}

/* It looks at nobody while it computes: so it ends by an alarm. */
static enum ls_code do_generate(
	struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *key = NULL;
	struct ls_key_spec spec;

	(void)e;
	(void)alarm(KEYGEN_S);
	LS_TRY(ls_key_spec_parse(call->words[1], &spec, err));
	LS_TRY(ls_key_generate(&spec, &key, err));
	return ls_key_to_pem(key, &call->value, err);
}

static enum ls_code do_group(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	gid_t gid;

	(void)e;
	LS_TRY(ls_group_find(call->words[1], &gid, err));
	ls_secret_set(&call->value, (struct ls_bytes){ &gid, sizeof gid });
	return LS_OK;
}

static enum ls_code do_user(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	struct passwd pw, *found = NULL;
	char buf[4096];
	int64_t uid;

	(void)e;
	if (!ls_text_number(call->words[1], 0, UINT32_MAX, &uid) ||
		getpwuid_r((uid_t)uid, &pw, buf, sizeof buf, &found) != 0 || !found)
		return LS_FAIL(err, LS_E_NOT_FOUND, "no user %s", call->words[1]);
	ls_secret_set(&call->value, LS_BYTES_STR(pw.pw_name));
	return LS_OK;
}

/* What the descriptor leads to lies in one of the daemon's directories. Nothing can be moved or
 * linked into them from outside by who asks: neither Landlock nor seccomp lets it. */
static enum ls_code check_ours(
	const struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	const char *const dirs[] = { e->paths->certs, e->paths->incoming, e->paths->lib,
		e->paths->run };
	LS_CLEANUP(ls_free_str) char *link = ls_format("/proc/self/fd/%d", call->fd);
	char path[PATH_MAX];
	ssize_t n = call->fd < 0 ? -1 : readlink(link, path, sizeof path - 1);

	path[n > 0 ? n : 0] = '\0';
	for (size_t i = 0; i < LS_COUNT(dirs); i++) {
		LS_CLEANUP(ls_free_str) char *dir = realpath(dirs[i], NULL);
		size_t len = dir ? strlen(dir) : 0;

		if (dir && ls_has_prefix(path, dir) && (path[len] == '/' || path[len] == '\0'))
			return LS_OK;
	}
	call->errnum = EPERM;
	return LS_FAIL(err, LS_E_REFUSED, "%s: '%s' is not in the daemon's directories",
		call->words[0], path);
}

static enum ls_code done(
	struct ls_helper_call *call, int rc, const struct ls_errand *e, struct ls_err *err)
{
	(void)e;
	if (rc == 0)
		return LS_OK;
	call->errnum = errno;
	return LS_FAIL_ERRNO(err, "%s", call->words[0]);
}

static enum ls_code do_mode(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	char *end;
	unsigned long mode = strtoul(call->words[1], &end, 8);

	LS_TRY(check_ours(e, call, err));
	if (*end || end == call->words[1] || (mode & ~07777UL) || (mode & MODE_NEVER)) {
		call->errnum = EPERM;
		return LS_FAIL(err, LS_E_REFUSED, "mode %s is never set", call->words[1]);
	}
	return done(call, fchmod(call->fd, (mode_t)mode), e, err);
}

/* Things come back to the daemon's user, and go to a group; they are given to no user. */
static enum ls_code do_owner(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	int64_t uid, gid;

	LS_TRY(check_ours(e, call, err));
	if (!ls_text_number(call->words[1], -1, UINT32_MAX, &uid) ||
		!ls_text_number(call->words[2], -1, UINT32_MAX, &gid) ||
		(uid != -1 && uid != (int64_t)geteuid())) {
		call->errnum = EPERM;
		return LS_FAIL(err, LS_E_REFUSED, "owner %s is never set", call->words[1]);
	}
	return done(call, fchown(call->fd, (uid_t)uid, (gid_t)gid), e, err);
}

static enum ls_code do_touch(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	LS_TRY(check_ours(e, call, err));
	return done(call, futimens(call->fd, NULL), e, err);
}

static enum ls_code do_settle(struct ls_errand *e, struct ls_helper_call *call, struct ls_err *err)
{
	return ls_removal_serve(e->paths->incoming, call, err);
}

static const struct verb {
	const char *name;
	size_t words; /* the verb included */
	bool at_once;
	enum ls_code (*func)(struct ls_errand *, struct ls_helper_call *, struct ls_err *);
} verbs[] = {
	{ LS_ASK_REREAD, 1, true, do_reread },
	{ LS_ASK_VALIDATE, 8, false, do_validate },
	{ LS_ASK_RELOAD, 10, false, do_reload },
	{ LS_ASK_PASSWORD, 3, false, do_password },
	{ LS_ASK_CONNECT, 3, false, do_connect },
	{ LS_ASK_GENERATE, 2, false, do_generate },
	{ LS_ASK_GROUP, 2, false, do_group },
	{ LS_ASK_USER, 2, false, do_user },
	{ LS_ASK_MODE, 2, true, do_mode },
	{ LS_ASK_OWNER, 3, true, do_owner },
	{ LS_ASK_TOUCH, 1, true, do_touch },
	{ LS_ASK_SETTLE, 4, false, do_settle },
};

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < LS_COUNT(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

bool ls_errand_at_once(const char *verb)
{
	const struct verb *found = find(verb);

	return !found || found->at_once;
}

enum ls_code ls_errand_do(void *arg, struct ls_helper_call *call, struct ls_err *err)
{
	const struct verb *verb = find(call->words[0]);

	if (!verb || verb->words != call->count) {
		call->errnum = EPERM;
		return LS_FAIL(
			err, LS_E_REFUSED, "'%s' is nothing that can be asked for", call->words[0]);
	}
	return verb->func(arg, call, err);
}
