/* etcd_record -- what a cluster's members wrote into etcd, as one view: values that carry their
 * writer's signature together with their key, so that none can be moved to another place.
 *
 *   record                    tip, the rotation without votes and reports, the last outcome, the
 *                             ids of the latest moves; every move compares its whole value
 *   begin                     what was begun, signed by the initiator; votes compare it
 *   vote/<nonce>/<node>       created once
 *   report/<nonce>/<node>
 *
 * For etcd.c alone. Blocking.
 */
#ifndef LS_STORE_ETCD_RECORD_H
#define LS_STORE_ETCD_RECORD_H

#include "store/etcd_api.h"
#include "store/record.h"

struct ls_etcd_place {
	struct ls_etcd *api;
	char *prefix; /* of all keys, with its last '/' */
	char *node;   /* that signs moves of the record */
	struct ls_store_trust trust;
};
void ls_etcd_place_done(struct ls_etcd_place *place);
char *ls_etcd_key(const struct ls_etcd_place *place, const char *name);

/* {"by", "body", "signature"} as text from the heap. */
LS_CHECK enum ls_code ls_etcd_sign_value(const struct ls_etcd_place *place, const char *by,
	const char *key, const json_t *body, char **out, struct ls_err *err);

/* The body of a signed value. LS_E_DAMAGED: nobody who may has signed it under this key. `by` NULL:
 * any member, and *out_by (may be NULL; from the heap) says which. */
LS_CHECK enum ls_code ls_etcd_open_value(const struct ls_etcd_place *place, const char *by,
	const char *key, const struct ls_buf *value, char **out_by, json_t **out_body,
	struct ls_err *err);

/* What etcd holds at one revision. */
struct ls_etcd_snapshot {
	struct ls_etcd_list list;
	struct ls_store_view view;
	char **moves;                        /* ids of the latest */
	const struct ls_buf *record, *begin; /* in list; NULL: not there */
};
void ls_etcd_snapshot_done(struct ls_etcd_snapshot *snapshot);
/* LS_E_DAMAGED: record or begin bear no signature of who must have written them. A vote or report
 * without a good one is as none: whoever wrote it can keep the real one out, not stand for it. */
LS_CHECK enum ls_code ls_etcd_snapshot_take(
	const struct ls_etcd_place *place, struct ls_etcd_snapshot *out, struct ls_err *err);
/* The signed values of `view` as the record after a move with this id, and as the begin. */
LS_CHECK enum ls_code ls_etcd_record_value(const struct ls_etcd_place *place,
	const struct ls_etcd_snapshot *snapshot, const char *id, char **out, struct ls_err *err);
LS_CHECK enum ls_code ls_etcd_begin_value(const struct ls_etcd_place *place,
	const struct ls_rotation *rotation, char **out, struct ls_err *err);

#endif
