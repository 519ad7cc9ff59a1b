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
	[LS_EVENT_WARNING] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0e",
	[LS_EVENT_SANDBOX] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c0f",
	[LS_EVENT_LEAF] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c10",
	[LS_EVENT_ENGINE] = "5b8a3c0e6f5d4d0f9d3b6f0f6f2a1c11",
};
static_assert(LS_COUNT(message_ids) == LS_EVENT_COUNT, "an event without a MESSAGE_ID");

/* What the world outside can cause as often as it likes. A burst is written, then one entry in ten
 * seconds; how many were left out is said by the timer. */
#define BURST 50
#define REFILL_MS 10000

static bool is_limited(enum ls_event event)
{
	return event == LS_EVENT_DROPIN_REFUSED || event == LS_EVENT_HEALED ||
	       event == LS_EVENT_SUPERSEDED;
}

static bool may_write(struct ls_daemon *d, enum ls_event event)
{
	struct ls_log_limit *limit = &d->log_limits[event];
	int64_t now_ms = ls_mono_ms(), refilled;

	if (!is_limited(event))
		return true;
	refilled = (now_ms - limit->since_ms) / REFILL_MS;
	if (limit->since_ms == 0 || refilled >= limit->used) {
		limit->since_ms = now_ms;
		limit->used = 0;
	} else {
		limit->since_ms += refilled * REFILL_MS;
		limit->used -= refilled;
	}
	if (limit->used < BURST) {
		limit->used++;
		return true;
	}
	limit->left_out++;
	return false;
}

static void add_field(char ***fields, const char *name, const char *value)
{
	LS_CLEANUP(ls_free_str) char *field = ls_format("LOCKSTEP_%s=%s", name, value);

	ls_strv_add(fields, field);
}

static void write_entry(struct ls_daemon *d, int priority, enum ls_event event, char **fields,
	const char *fmt, va_list ap) LS_PRINTF(5, 0);
static void write_entry(struct ls_daemon *d, int priority, enum ls_event event, char **fields,
	const char *fmt, va_list ap)
{
	LS_CLEANUP(ls_free_str) char *text = NULL;

	if (priority > d->log_level || !may_write(d, event))
		return;
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	ls_journal(priority, message_ids[event], fields, text ? text : fmt);
}

void ls_log(struct ls_daemon *d, int priority, enum ls_event event, const char *component,
	const char *fmt, ...)
{
	LS_CLEANUP(ls_free_strv) char **fields = NULL;
	va_list ap;

	if (component)
		add_field(&fields, "COMPONENT", component);
	va_start(ap, fmt);
	write_entry(d, priority, event, fields, fmt, ap);
	va_end(ap);
}

void ls_log_left_out(struct ls_daemon *d)
{
	static const char *const what[LS_EVENT_COUNT] = {
		[LS_EVENT_DROPIN_REFUSED] = "about refused drop-ins",
		[LS_EVENT_HEALED] = "about live files that were put back",
		[LS_EVENT_SUPERSEDED] = "about earlier certificates over live files",
	};

	for (int event = 0; event < LS_EVENT_COUNT; event++) {
		LS_CLEANUP(ls_free_str) char *text = NULL;
		int64_t count = d->log_limits[event].left_out;

		if (count == 0)
			continue;
		d->log_limits[event].left_out = 0;
		text = ls_format("%lld more entr%s %s left out: there are too many",
			(long long)count, count == 1 ? "y" : "ies", what[event]);
		ls_journal(LOG_WARNING, message_ids[event], NULL, text);
	}
}

void ls_log_change(struct ls_daemon *d, int priority, enum ls_event event,
	const struct ls_log_change *change, const char *fmt, ...)
{
	LS_CLEANUP(ls_free_strv) char **fields = NULL;
	char number[32];
	va_list ap;

	for (size_t i = 0; i < ls_strv_count(change->components); i++)
		add_field(&fields, "COMPONENT", change->components[i]);
	if (change->code != LS_OK)
		add_field(&fields, "CODE", ls_code_text(change->code));
	(void)snprintf(number, sizeof number, "%lld", (long long)change->generation);
	if (change->generation > 0)
		add_field(&fields, "GENERATION", number);
	va_start(ap, fmt);
	write_entry(d, priority, event, fields, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < ls_strv_count(change->warnings); i++)
		ls_journal(LOG_WARNING, message_ids[LS_EVENT_WARNING], fields, change->warnings[i]);
}

static char **strings(const json_t *array)
{
	char **out = NULL;

	for (size_t i = 0; i < json_array_size(array); i++)
		ls_strv_add(&out, json_string_value(json_array_get(array, i)));
	return out;
}

void ls_log_change_from(const json_t *answer, struct ls_log_change *out)
{
	ls_free_strv(&out->components);
	ls_free_strv(&out->warnings);
	out->components = strings(json_object_get(answer, "changed"));
	out->warnings = strings(json_object_get(answer, "warnings"));
	out->generation = json_integer_value(json_object_get(answer, "generation"));
}

void ls_log_change_done(struct ls_log_change *change)
{
	ls_free_strv(&change->components);
	ls_free_strv(&change->warnings);
}
