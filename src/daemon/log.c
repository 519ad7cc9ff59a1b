#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include "daemon/daemon.h"
#include "sys/systemd.h"

/* Fixed ids: what the journal's catalog and filters hold on to. */
static const char *const message_ids[] = {
	[LS_EVENT_START] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c01",
	[LS_EVENT_READY] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c02",
	[LS_EVENT_STOP] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c03",
	[LS_EVENT_RELOAD] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c04",
	[LS_EVENT_CHANGE] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c05",
	[LS_EVENT_CHANGE_FAILED] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c06",
	[LS_EVENT_ROLLED_BACK] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c07",
	[LS_EVENT_DROPIN_TAKEN] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c08",
	[LS_EVENT_DROPIN_REFUSED] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c09",
	[LS_EVENT_HEALED] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0a",
	[LS_EVENT_SUPERSEDED] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0b",
	[LS_EVENT_STUCK] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0c",
	[LS_EVENT_WATCH] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0d",
};
static_assert(LS_COUNT(message_ids) == LS_EVENT_COUNT, "an event without a MESSAGE_ID");

void ls_log(struct ls_daemon *d, int priority, enum ls_event event, const char *component,
	const char *fmt, ...)
{
	LS_CLEANUP(ls_free_strv) char **fields = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	va_list ap;

	if (priority > d->log_level)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (component) {
		LS_CLEANUP(ls_free_str) char *field = ls_format("LOCKSTEP_COMPONENT=%s", component);

		ls_strv_add(&fields, field);
	}
	ls_journal(priority, message_ids[event], fields, text ? text : fmt);
}
