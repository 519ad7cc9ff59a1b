/* sockpath -- the address of a UNIX socket whose path may be longer than the 107 bytes that an
 * address holds.
 *
 * A path that does not fit is reached as /proc/self/fd/N/NAME, N being its directory.
 */
#ifndef LS_NET_SOCKPATH_H
#define LS_NET_SOCKPATH_H

#include <sys/un.h>

#include "base/err.h"

struct ls_sockpath {
	int dir_fd;       /* of the directory (O_PATH); must stay open while the address is used */
	const char *name; /* the last component, borrowed from the path given */
	struct sockaddr_un addr;
};

/* LS_E_NOT_FOUND: no such directory; LS_E_REFUSED: the name itself is too long or empty. */
LS_CHECK enum ls_code ls_sockpath_init(
	struct ls_sockpath *sockpath, const char *path, struct ls_err *err);
void ls_sockpath_done(struct ls_sockpath *sockpath);

#endif
