/* pem -- steps through the blocks of a PEM text (RFC 7468) whoever wrote it: CRLF, a byte order
 * mark and text between blocks are fine; a block that is cut off or damaged is LS_E_REFUSED.
 *
 * The contents may be private keys: they are wiped when the reader moves on.
 */
#ifndef LS_PKI_PEM_H
#define LS_PKI_PEM_H

#include <stdbool.h>

#include "base/bytes.h"

struct bio_st;

struct ls_pem {
	const char *name; /* of the file, for messages; borrowed */
	struct ls_bytes text;
	struct bio_st *bio;
	size_t index; /* of the present block, from 1 */
	/* The present block; the reader's. */
	char *label;  /* "CERTIFICATE" */
	char *header; /* "Proc-Type: …" lines of RFC 1421, else "" */
	unsigned char *der;
	size_t der_len;
};

void ls_pem_done(struct ls_pem *pem);
LS_CHECK enum ls_code ls_pem_open(
	struct ls_pem *pem, const char *name, struct ls_bytes text, struct ls_err *err);
/* Moves to the next block; *out_more is false behind the last one. */
LS_CHECK enum ls_code ls_pem_next(struct ls_pem *pem, bool *out_more, struct ls_err *err);
bool ls_pem_is_cert(const struct ls_pem *pem);
bool ls_pem_is_private_key(const struct ls_pem *pem); /* of any kind, encrypted ones too */

#endif
