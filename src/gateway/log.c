#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/text.h"
#include "gateway/gateway.h"
#include "sys/systemd.h"

/* Fixed ids, as the daemon's (daemon/log.c). */
static const char *const message_ids[] = {
	[LS_GATEWAY_START] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d01",
	[LS_GATEWAY_READY] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d02",
	[LS_GATEWAY_STOP] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d03",
	[LS_GATEWAY_WAITING] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d04",
	[LS_GATEWAY_CERTIFICATE] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d05",
	[LS_GATEWAY_CERTIFICATE_REFUSED] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d06",
	[LS_GATEWAY_DAEMON] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d07",
	[LS_GATEWAY_JOIN] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d08",
	[LS_GATEWAY_SANDBOX] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1d09",
};
static_assert(LS_COUNT(message_ids) == LS_GATEWAY_EVENT_COUNT, "an event without a MESSAGE_ID");

/* Anybody can ask to join, as often as the network lets him: a burst is written, then one entry in
 * ten seconds. */
#define BURST 50
#define REFILL_MS 10000

static bool may_write(struct ls_gateway *g, enum ls_gateway_event event)
{
	int64_t now_ms = ls_mono_ms(), refilled = (now_ms - g->log_since_ms) / REFILL_MS;

	if (event != LS_GATEWAY_JOIN && event != LS_GATEWAY_DAEMON)
		return true;
	if (g->log_since_ms == 0 || refilled >= g->log_used) {
		g->log_since_ms = now_ms;
		g->log_used = 0;
	} else {
		g->log_since_ms += refilled * REFILL_MS;
		g->log_used -= refilled;
	}
	if (g->log_used >= BURST) {
		g->log_left_out++;
		return false;
	}
	g->log_used++;
	return true;
}

static void say_left_out(struct ls_gateway *g, enum ls_gateway_event event)
{
	LS_CLEANUP(ls_free_str) char *text = NULL;

	if (g->log_left_out == 0)
		return;
	text = ls_format("%lld entries before this one were left out: there are too many",
		(long long)g->log_left_out);
	g->log_left_out = 0;
	ls_journal(LOG_WARNING, message_ids[event], NULL, text);
}

void ls_gateway_log(
	struct ls_gateway *g, int priority, enum ls_gateway_event event, const char *fmt, ...)
{
	LS_CLEANUP(ls_free_str) char *text = NULL;
	va_list ap;

	if (priority > g->log_level || !may_write(g, event))
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	say_left_out(g, event);
	ls_journal(priority, message_ids[event], NULL, text ? text : fmt);
}
