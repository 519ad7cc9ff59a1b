/* san -- subject alternative names as text: "DNS:…", "IP:…", "URI:…", "email:…" (RFC 5280 section
 * 4.2.1.6). Pure.
 */
#ifndef LS_PKI_SAN_H
#define LS_PKI_SAN_H

#include <stdbool.h>

#include "base/bytes.h"

struct x509_st;
struct stack_st_GENERAL_NAME;

/* LS_E_REFUSED unless the text can stand in a certificate: a host name (one "*." in front is fine),
 * an address, an absolute URI, a mailbox. */
LS_CHECK enum ls_code ls_san_check(const char *san, struct ls_err *err);
/* The name for what a host is called: "IP:…" in the address's shortest form (brackets around one of
 * IPv6 are fine), else "DNS:…". NULL: neither an address nor a host name. From the heap. */
char *ls_san_of_host(const char *host);
/* The names for an extension; the caller frees them. */
LS_CHECK enum ls_code ls_san_encode(
	char *const *sans, struct stack_st_GENERAL_NAME **out, struct ls_err *err);
/* The names of a certificate, NULL when it has none; the caller frees them. Bytes that do not
 * belong into a name come as "\xNN", so such a name equals no other; a name of another kind comes
 * as "other:N". */
char **ls_san_list(const struct x509_st *cert);
/* True if one of the names covers the wanted one: equal, letter case aside; a plain DNS name also
 * by a wildcard in place of its first label (RFC 9525 section 6.3). */
bool ls_san_covers(char *const *sans, const char *wanted);

#endif
