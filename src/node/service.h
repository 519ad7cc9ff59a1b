/* service -- templates as files: the issuing part (pki/issue.h) and the part that stays on this
 * node: file modes, validate, reload, serve.
 *
 * See CONTRACT "Template". Refused with file and line: unknown keys, an owner other than root (live
 * files stay root's), modes wider than 0644 for certificates and 0640 for keys, a relative command
 * path, an unknown signal, a bad endpoint, a component named otherwise than [a-z0-9_]{1,32} or so
 * that its files would be another's (ending in _cert or _key), a second template for a component in
 * one directory.
 */
#ifndef LS_NODE_SERVICE_H
#define LS_NODE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/paths.h"
#include "pki/issue.h"

enum ls_reload_kind {
	LS_RELOAD_SYSTEMD, /* { systemd = "haproxy.service"; } */
	LS_RELOAD_EXEC,    /* { exec = [ "/path", "arg" ]; } */
	LS_RELOAD_SIGNAL,  /* { pidfile = "/run/nginx.pid"; signal = "HUP"; } */
	LS_RELOAD_REDIS,   /* { redis = "127.0.0.1:6379"; tls = true; user = "u"; password_file =
			      "/path"; }, also "unix:/path" */
	LS_RELOAD_HAPROXY, /* { haproxy_socket = "/run/haproxy/admin.sock"; cert =
			      "/etc/lockstep/certs/proxy.pem"; } */
};

struct ls_reload {
	enum ls_reload_kind kind;
	char *target; /* unit, pid file, endpoint or socket path */
	char **argv;  /* exec */
	int signum;
	bool tls;
	char *user;
	char *password_file;
	char *cert;        /* the name under which haproxy knows the certificate; default: the live
			      combined file */
	int64_t timeout_s; /* timeout_s of the entry, 1 to 300, default 30 */
};

struct ls_serve {
	char *endpoint;
	char *name;    /* SNI; ${fqdn} is put in */
	bool required; /* a down endpoint is an alert, not a warning */
};

struct ls_service {
	char component[LS_NAME_MAX + 1];
	char *path; /* of the template file */
	struct ls_issue issue;
	char *group; /* of the component's files; NULL: left alone */
	mode_t cert_mode, key_mode;
	char **validate; /* NULL: none */
	struct ls_reload *reloads;
	size_t reload_count;
	struct ls_serve *serves;
	size_t serve_count;
};

struct ls_services {
	struct ls_service *items; /* sorted by component */
	size_t count;
};

void ls_services_done(struct ls_services *services);
/* Reads *.conf of the template directories, hidden files apart; the first directory that has a file
 * of a name, or a template of a component, shadows the others. `fqdn` for ${fqdn} in serve.name;
 * with NULL such a name is left out. */
LS_CHECK enum ls_code ls_services_load(const struct ls_paths *paths, const char *fqdn,
	struct ls_services *out, struct ls_err *err);
/* The same, but a template that cannot be read or is refused is left out and named in *out_faults
 * ("PATH:LINE: what", NULL-ended, NULL when there is none). It may stand for any component, so what
 * directories behind it hold is left out too. */
LS_CHECK enum ls_code ls_services_load_some(const struct ls_paths *paths, const char *fqdn,
	struct ls_services *out, char ***out_faults, struct ls_err *err);
/* Adds what is assumed of a component whose template is not known: no commands, no endpoints.
 * `group` may be NULL. Nothing is done where there is one. */
void ls_services_assume(struct ls_services *services, const char *component, mode_t cert_mode,
	mode_t key_mode, const char *group);
const struct ls_service *ls_services_find(
	const struct ls_services *services, const char *component);

#endif
