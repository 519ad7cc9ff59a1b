#include "node/serve.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "net/probe.h"

#define IN_A_ROW 3 /* some services show old and new by turns for a while (nginx: 28-64 ms) */
#define PAUSE_MS 50
#define PROBE_MS_MAX 2000 /* one hanging handshake must not use up the whole time */

static void look_one(const struct ls_serve *serve, int64_t timeout_ms, struct ls_served *out)
{
	struct ls_err err = { 0 };

	*out = (struct ls_served){ 0 };
	if (ls_probe(serve->endpoint, serve->name, timeout_ms, out->sha256, &err) == LS_OK)
		return;
	out->sha256[0] = '\0';
	(void)snprintf(out->why, sizeof out->why, "%.*s", (int)sizeof out->why - 1, err.text);
}

void ls_serve_look(const struct ls_service *service, int64_t timeout_ms, struct ls_served *out)
{
	for (size_t i = 0; i < service->serve_count; i++)
		look_one(&service->serves[i], timeout_ms, &out[i]);
}

/* One endpoint's way to three right handshakes. */
struct streak {
	int right;
	struct ls_served last;
};

static void look_once(
	const struct ls_serve *serve, const char *want, int64_t timeout_ms, struct streak *streak)
{
	look_one(serve, timeout_ms, &streak->last);
	streak->right = strcmp(streak->last.sha256, want) == 0 ? streak->right + 1 : 0;
}

static enum ls_code refuse(const struct ls_serve *serve, const struct streak *streak,
	const char *want, struct ls_err *err)
{
	if (streak->last.sha256[0] == '\0')
		return LS_FAIL(err, LS_E_FAILED, "endpoint %s shows no certificate, wanted %s: %s",
			serve->endpoint, want,
			streak->last.why[0] ? streak->last.why : "not looked at in time");
	if (streak->right > 0)
		return LS_FAIL(err, LS_E_FAILED,
			"endpoint %s shows %s, but not %d times in a row in the time given",
			serve->endpoint, want, IN_A_ROW);
	return LS_FAIL(err, LS_E_FAILED, "endpoint %s shows %s, wanted %s", serve->endpoint,
		streak->last.sha256, want);
}

static int64_t at_most(int64_t value, int64_t max)
{
	return value < max ? value : max;
}

enum ls_code ls_serve_await(const struct ls_service *service, const bool *watch, const char *want,
	int64_t deadline_ms, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str)
	char *mem = ls_alloc(service->serve_count, sizeof(struct streak));
	struct streak *streaks = (struct streak *)(void *)mem;
	int64_t end = ls_mono_ms() + deadline_ms;

	for (;;) {
		size_t open = service->serve_count;
		int64_t left = end - ls_mono_ms();

		for (size_t i = service->serve_count; i-- > 0;) {
			if (!watch[i] || streaks[i].right >= IN_A_ROW)
				continue;
			if (left > 0)
				look_once(&service->serves[i], want, at_most(left, PROBE_MS_MAX),
					&streaks[i]);
			if (streaks[i].right < IN_A_ROW)
				open = i;
			left = end - ls_mono_ms();
		}
		if (open == service->serve_count)
			return LS_OK;
		if (left <= PAUSE_MS)
			return refuse(&service->serves[open], &streaks[open], want, err);
		(void)poll(NULL, 0, PAUSE_MS); /* cut short by a signal: one look earlier */
	}
}
