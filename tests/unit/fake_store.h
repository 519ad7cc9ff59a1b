/* fake_store -- a store in memory that keeps the promises of store/store.h, for tests of what uses
 * one. Handles on one backing see one record, as nodes of a cluster do. */
#ifndef LS_TESTS_UNIT_FAKE_STORE_H
#define LS_TESTS_UNIT_FAKE_STORE_H

#include "store/record.h"

struct fake_blob {
	char *name;
	struct ls_buf bytes;
};
struct fake_backing {
	struct ls_store_view view;
	struct fake_blob *packs, *wraps, *notes, *proofs;
	size_t pack_count, wrap_count, note_count, proof_count;
};

void fake_backing_done(struct fake_backing *backing);
/* The backing must outlive the handle. */
struct ls_store *fake_store_open(struct fake_backing *backing);

#endif
