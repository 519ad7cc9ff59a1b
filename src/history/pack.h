/* pack -- the pack that carries one generation from node to node: git's version 2, each object
 * whole and deflated, no deltas. So what comes from the store can be judged to the last byte before
 * libgit2, or anybody, unpacks it.
 *
 * Private to src/history. Pure but for zlib.
 */
#ifndef LS_HISTORY_PACK_H
#define LS_HISTORY_PACK_H

#include <git2.h>
#include <stdint.h>

#include "base/bytes.h"

/* Of a whole pack, and of what its objects inflate to. A state of a hundred components is some
 * hundred KiB. */
#define LS_PACK_BYTES_MAX (64u << 20)
#define LS_PACK_OBJECTS_MAX 100000

struct ls_pack {
	struct ls_buf objects;
	uint32_t count;
};

void ls_pack_done(struct ls_pack *pack);
/* LS_E_REFUSED: an object that no node would take. */
LS_CHECK enum ls_code ls_pack_add(
	struct ls_pack *pack, git_object_t type, struct ls_bytes content, struct ls_err *err);
/* LS_E_REFUSED: more than a node would take. */
LS_CHECK enum ls_code ls_pack_finish(
	const struct ls_pack *pack, struct ls_buf *out, struct ls_err *err);
/* LS_E_DAMAGED unless the pack is one that ls_pack_finish could have written: its checksum, the
 * number, types and sizes of its objects, each stream whole and of the size that it says, nothing
 * behind the last. */
LS_CHECK enum ls_code ls_pack_check(struct ls_bytes pack, struct ls_err *err);

#endif
