/* commit -- a generation as the bytes of a git commit object, and back.
 *
 * Private to src/history. Pure. There is one form: what is read must be, byte for byte, what would
 * be written, so nothing can hide in a header line or a trailer that we pass over.
 */
#ifndef LS_HISTORY_COMMIT_H
#define LS_HISTORY_COMMIT_H

#include "history/history.h"

/* The commit without its signature: what is signed. Uses all of `about` but `commit`.
 * LS_E_REFUSED: a text that git or the trailers could not carry. */
LS_CHECK enum ls_code ls_commit_format(
	const struct ls_generation *about, struct ls_buf *out, struct ls_err *err);
/* Puts the signature's text into the gpgsig header, as git does. */
void ls_commit_attach(
	struct ls_bytes unsigned_commit, struct ls_bytes signature_pem, struct ls_buf *out);
/* Reads a signed commit; `commit` stays empty. LS_E_DAMAGED: not in our form; LS_E_REFUSED: not
 * signed. */
LS_CHECK enum ls_code ls_commit_parse(struct ls_bytes commit, struct ls_generation *out,
	struct ls_buf *out_unsigned, struct ls_buf *out_signature, struct ls_err *err);

#endif
