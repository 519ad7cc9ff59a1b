/* lossy_store -- any store, of which the nth change is lost on the way: the request, so that
 * nothing is done, or the answer, so that it is done; either way the caller hears LS_E_UNKNOWN. */
#ifndef LS_TESTS_UNIT_LOSSY_STORE_H
#define LS_TESTS_UNIT_LOSSY_STORE_H

#include "store/store.h"

struct lossy {
	struct ls_store base;
	struct ls_store *under; /* borrowed */
	int nth;                /* of the changes, from 1; 0: none is lost */
	bool answer;            /* what is lost of it */
	int count;              /* so many changes were asked for */
};

/* Ready for use; nothing to free. */
void lossy_init(struct lossy *lossy, struct ls_store *under);

#endif
