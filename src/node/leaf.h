/* leaf -- one PEM file with a TLS leaf of the cluster CA (pki/authority.h) that is kept fit for
 * use: private key, leaf, then the CA's certificate.
 *
 * One file, because readers load key and certificate anew at each handshake: with two they would
 * now and then meet a key that is not the certificate's. It is replaced whole, by rename, so a
 * reader needs no restart. Blocking small I/O; one writer for a file.
 */
#ifndef LS_NODE_LEAF_H
#define LS_NODE_LEAF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pki/authority.h"

struct ls_leaf_place {
	const char *dir; /* must be there */
	const char *name;
	mode_t mode;
	gid_t group; /* (gid_t)-1: whichever it gets */
};

/* Whose leaf it is to be. The CA's key is asked for only when one must be issued. */
struct ls_leaf_issuer {
	const char *cluster;
	struct ls_bytes ca_pem;
	/* Gives the CA's certificate and key; the caller releases them at once. */
	enum ls_code (*open)(void *arg, struct ls_signer *out, struct ls_err *err);
	void *arg;
};

/* With the same key and leaf, only the CA's part is exchanged when it is another. Leaves a file
 * alone that holds what is wished for: key and leaf belong together, ls_leaf_fits, not ls_leaf_due,
 * and mode, owner and group are right (with a wider mode somebody else may know the key). Else a
 * new key and leaf take its place. *out_issued says which. On failure the old file stays; it may
 * still be good. */
LS_CHECK enum ls_code ls_leaf_keep(const struct ls_leaf_place *place,
	const struct ls_leaf_wish *wish, const struct ls_leaf_issuer *issuer, int64_t now_s,
	bool *out_issued, struct ls_err *err);

#endif
