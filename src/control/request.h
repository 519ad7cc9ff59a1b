/* request -- what the command line asks the daemon for on the control socket, and how it is
 * answered: both ends of the format.
 *
 * HTTP/1.1 with JSON. `POST /v1/change` carries one change and is answered by a stream of JSON
 * lines: {"progress": {"node", "phase", "step", "generation"}}, any number, then one {"result":
 * {…}} or
 * {"error": {"code", "message", "hint"}}. `GET /v1/status`, `/v1/certs`, `/v1/certs/NAME`,
 * `/v1/history`, `/v1/history/N`, `/v1/verify`, `POST /v1/escrow` and `POST /v1/etcd-member` (the
 * object of node/etcd_member.h) are answered by one JSON object, likewise an error with HTTP status
 * 4xx. Contents of files travel in base64; the daemon
 * opens no path that a caller names.
 */
#ifndef LS_CONTROL_REQUEST_H
#define LS_CONTROL_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum ls_change_kind {
	LS_CHANGE_SET,         /* cert set: sets */
	LS_CHANGE_RENEW,       /* cert renew: names, force, replace_installed */
	LS_CHANGE_REQUEST,     /* cert csr: names[0] */
	LS_CHANGE_ROLLBACK,    /* rollback: number */
	LS_CHANGE_SEAL_ROTATE, /* seal rotate */
	LS_CHANGE_SEAL_FORGET, /* seal forget: number */
	LS_CHANGE_MIGRATE,     /* store migrate: names[0] are the endpoints; sets[0], if there is
				  one, has cert, key, and the CA as chain */
	LS_CHANGE_REMOVE,      /* node remove: names[0]; force: compromised */
	LS_CHANGE_ADOPT,       /* new templates; the daemon's own */
	LS_CHANGE_DROP_IN,     /* sets; the daemon's own */
	LS_CHANGE_KIND_COUNT
};

struct ls_change_file {
	char *name; /* as the operator called it; NULL: not given */
	struct ls_secret bytes;
};

struct ls_change_set {
	char *component;
	struct ls_change_file cert, chain, key, passphrase;
};

struct ls_change {
	enum ls_change_kind kind;
	struct ls_change_set *sets;
	size_t set_count;
	char **names;
	int64_t number;
	bool force, replace_installed, dry_run, detach;
};

void ls_change_done(struct ls_change *change);
struct ls_change_set *ls_change_add_set(struct ls_change *change, const char *component);
void ls_change_file_set(struct ls_change_file *file, const char *name, struct ls_bytes bytes);

/* The request's body. */
char *ls_change_to_text(const struct ls_change *change);
/* LS_E_USAGE: not a request of this format; only kinds that callers may ask for. */
LS_CHECK enum ls_code ls_change_from_text(
	struct ls_bytes text, struct ls_change *out, struct ls_err *err);

/* {"error": {"code", "message", "hint"}}, a new reference. */
json_t *ls_error_to_json(const struct ls_err *err);
/* Sets *err from such an object and returns its code; LS_OK when it is none. */
enum ls_code ls_error_from_json(const json_t *json, struct ls_err *err);

#endif
