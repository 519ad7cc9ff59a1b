/* config -- lockstep.conf (CONTRACT). */
#ifndef LS_DAEMON_CONFIG_H
#define LS_DAEMON_CONFIG_H

#include <stdint.h>

#include "history/state.h"
#include "net/listen.h"

#define LS_GATEWAY_ADDRESS_SIZE 264 /* a host's name, a colon, a port */

struct ls_config {
	int log_level; /* syslog's priorities: LOG_ERR … LOG_DEBUG */
	int64_t settle_ms;
	int64_t patience_s;
	int64_t rejected_keep_days;
	int64_t reconcile_s;
	int64_t lease_ttl_s; /* in a cluster: so long after its last sign of life a node counts as
				here */
	char gateway_listen[LS_LISTEN_TEXT_SIZE]; /* "0.0.0.0:7443" */
	/* By which others reach the gateway: "n1.example.com:7443". "" when it is not given and
	 * cannot be known: port 0, or this machine has no usable name. */
	char gateway_address[LS_GATEWAY_ADDRESS_SIZE];
	struct ls_settings
		settings; /* `rotation`: taken into the state by init, cluster-wide from then on */
};

/* An absent file gives the defaults; an unknown or wrong setting is LS_E_REFUSED with file and
 * line, and *out is left alone. */
LS_CHECK enum ls_code ls_config_load(const char *path, struct ls_config *out, struct ls_err *err);
LS_CHECK enum ls_code ls_config_parse(
	const char *origin, struct ls_bytes text, struct ls_config *out, struct ls_err *err);

#endif
