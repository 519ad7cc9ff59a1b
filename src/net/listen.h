/* listen -- TCP sockets to listen at. Before the sandbox closes, which forbids it. */
#ifndef LS_NET_LISTEN_H
#define LS_NET_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LS_LISTEN_TEXT_SIZE 64 /* "[ADDRESS]:PORT" */

/* "IP:PORT" or "[IPv6]:PORT", numbers only, shorter than LS_LISTEN_TEXT_SIZE; port 0: one that is
 * free. *out_port may be NULL. */
bool ls_listen_valid(const char *text, int64_t *out_port);
/* A listening socket, non-blocking and close-on-exec; [::] takes IPv4 as well. LS_E_REFUSED: not
 * such a text; LS_E_IO: the system says no, as when the port is taken or there is no such address.
 */
LS_CHECK enum ls_code ls_listen_tcp(const char *text, int *out_fd, struct ls_err *err);
/* Makes a socket that somebody else opened what ls_listen_tcp would have made. LS_E_REFUSED: it
 * does not listen for TCP. */
LS_CHECK enum ls_code ls_listen_adopt(int fd, struct ls_err *err);
/* Where it really listens. */
void ls_listen_text(int fd, char out[LS_LISTEN_TEXT_SIZE]);

#endif
