/* Served: three right handshakes in a row, and never one more than needed. The handshake itself is
 * net/probe's; here it is played from a script. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/probe.h"
#include "node/serve.h"
#include "tests/unit/runner.h"

#define WANT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OLD "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct ls_err err;
/* For each endpoint: n new, o old, x nobody there; the last letter goes on for ever. */
static const char *script[2];
static int asked[2];
static int64_t longest_ms;

enum ls_code ls_probe(const char *endpoint, const char *name, int64_t timeout_ms,
	char out_sha256[65], struct ls_err *probe_err)
{
	int which = endpoint[1] - '1';
	const char *at = script[which];
	int step = asked[which]++;

	ck_assert_ptr_null(name);
	if (timeout_ms > longest_ms)
		longest_ms = timeout_ms;
	at += step < (int)strlen(at) ? step : (int)strlen(at) - 1;
	if (*at == 'x')
		return LS_FAIL(probe_err, LS_E_UNREACHABLE, "connection refused");
	(void)snprintf(out_sha256, 65, "%s", *at == 'n' ? WANT : OLD);
	return LS_OK;
}

static char e1[] = "h1:1", e2[] = "h2:2";
static struct ls_serve serves[] = { { .endpoint = e1 }, { .endpoint = e2 } };
static const struct ls_service service = { .serves = serves, .serve_count = 2 };
static const bool both[] = { true, true }, first[] = { true, false };

static void play(const char *one, const char *two)
{
	script[0] = one;
	script[1] = two;
	asked[0] = asked[1] = 0;
	longest_ms = 0;
}

START_TEST(a_look_tells_what_is_shown_or_why_nothing)
{
	struct ls_served out[2];

	play("o", "x");
	ls_serve_look(&service, 500, out);
	ck_assert_str_eq(out[0].sha256, OLD);
	ck_assert_str_eq(out[0].why, "");
	ck_assert_str_eq(out[1].sha256, "");
	ck_assert_str_eq(out[1].why, "connection refused");
}
END_TEST

START_TEST(three_in_a_row_are_enough_and_needed)
{
	play("nnn", "n");
	ck_ok(ls_serve_await(&service, both, WANT, 5000, &err));
	ck_assert_int_eq(asked[0], 3);
	ck_assert_int_eq(asked[1], 3);
	/* Old and new mixed, as some services do while they reload. */
	play("onnonxnnn", "n");
	ck_ok(ls_serve_await(&service, both, WANT, 5000, &err));
	ck_assert_int_eq(asked[0], 9);
	ck_assert_int_eq(asked[1], 3);
}
END_TEST

START_TEST(an_endpoint_that_is_not_watched_is_not_asked)
{
	play("n", "x");
	ck_ok(ls_serve_await(&service, first, WANT, 5000, &err));
	ck_assert_int_eq(asked[1], 0);
}
END_TEST

START_TEST(after_the_deadline_the_refusal_names_endpoint_found_and_wanted)
{
	int64_t from = ls_mono_ms();

	play("o", "n");
	ck_code(ls_serve_await(&service, both, WANT, 200, &err), LS_E_FAILED);
	ck_assert_int_lt(ls_mono_ms() - from, 1000);
	ck_assert_ptr_nonnull(strstr(err.text, "h1:1"));
	ck_assert_ptr_nonnull(strstr(err.text, OLD));
	ck_assert_ptr_nonnull(strstr(err.text, WANT));
	ck_assert_int_le(longest_ms, 200);
	play("n", "x");
	ck_code(ls_serve_await(&service, both, WANT, 200, &err), LS_E_FAILED);
	ck_assert_ptr_nonnull(strstr(err.text, "h2:2"));
	ck_assert_ptr_nonnull(strstr(err.text, "connection refused"));
	play("nnonnonnonnonnonnonnonno", "n");
	ck_code(ls_serve_await(&service, both, WANT, 200, &err), LS_E_FAILED);
}
END_TEST

LS_TEST_MAIN("serve", a_look_tells_what_is_shown_or_why_nothing,
	three_in_a_row_are_enough_and_needed, an_endpoint_that_is_not_watched_is_not_asked,
	after_the_deadline_the_refusal_names_endpoint_found_and_wanted)
