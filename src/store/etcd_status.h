/* etcd_status -- what one member of the engine says of itself, for whoever looks for what is wrong.
 *
 * Asks that one member and nobody else, and needs no majority. Blocking.
 */
#ifndef LS_STORE_ETCD_STATUS_H
#define LS_STORE_ETCD_STATUS_H

#include "store/etcd_api.h"

#define LS_ETCD_VERSION_SIZE 32

struct ls_etcd_status {
	char version[LS_ETCD_VERSION_SIZE];
	bool leader;   /* it knows one: it is with a majority */
	bool learner;  /* has no vote yet, and answers no read that must be right */
	char **errors; /* what it complains of, such as an alarm; NULL: nothing */
	int64_t revision;
	int64_t date_s; /* its clock when it answered; 0: not said */
};
void ls_etcd_status_done(struct ls_etcd_status *status);

/* `endpoint` need not be among those of the settings. LS_E_UNREACHABLE, LS_E_UNKNOWN: no answer
 * within timeout_ms, as the text says. LS_E_DAMAGED: it is no etcd, or has no JSON gateway. */
LS_CHECK enum ls_code ls_etcd_status_ask(const struct ls_etcd_settings *settings,
	const char *endpoint, struct ls_etcd_status *out, struct ls_err *err);

#endif
