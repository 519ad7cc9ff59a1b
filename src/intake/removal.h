/* removal -- how a drop-in's files leave incoming/: those that were judged go, others are put
 * aside under a name that is not looked at. Used by dropin alone, but for the helper's side.
 *
 * A file is moved before it is compared with what was judged, so that what somebody writes at this
 * instant under its name is not what goes. On its way out it bears a name of its own, which a crash
 * may leave: then it comes back.
 */
#ifndef LS_INTAKE_REMOVAL_H
#define LS_INTAKE_REMOVAL_H

#include "intake/slots.h"
#include "sys/helper.h"

/* True: it is gone, put aside (`keep`, and a directory with something in it, may be an operator's
 * only copy), or was another file by now. False: the disk did not let it go; it is there as before.
 */
bool ls_removal_do(int dir_fd, const struct ls_part *part, bool keep);
/* At a start: what a crash left on its way out comes back under its name. */
void ls_removal_put_back(const char *incoming);
/* The helper's side of LS_ASK_SETTLE. LS_E_IO: it stays; LS_E_REFUSED: no file of a drop-in. */
LS_CHECK enum ls_code ls_removal_serve(
	const char *incoming, const struct ls_helper_call *call, struct ls_err *err);

#endif
