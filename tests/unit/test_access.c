/* Who may ask for what on the control socket: each kind of peer, each thing there is, and things
 * there are not. */
#include <unistd.h>

#include "daemon/access.h"
#include "tests/unit/runner.h"

static const struct {
	const char *method, *path;
	bool read, gateway;
} things[] = {
	{ "GET", "/v1/status", true, false },
	{ "GET", "/v1/cluster", false, true },
	{ "POST", "/v1/join", false, true },
	{ "POST", "/v1/join/history", false, true },
	{ "GET", "/v1/metrics", true, true },
	{ "POST", "/v1/status", false, false },
	{ "POST", "/v1/cluster", false, false },
	{ "GET", "/v1/join", false, false },
	{ "GET", "/v1/join/history", false, false },
	{ "POST", "/v1/metrics", false, false },
	{ "POST", "/v1/change", false, false },
	{ "POST", "/v1/escrow", false, false },
	{ "GET", "/v1/certs", false, false },
	{ "GET", "/v1/certs/proxy", false, false },
	{ "GET", "/v1/history", false, false },
	{ "GET", "/v1/history/1", false, false },
	{ "GET", "/v1/doctor", false, false },
	{ "GET", "/v1/verify", false, false },
	/* Near misses. */
	{ "GET", "/v1/status/", false, false },
	{ "GET", "/v1/statusx", false, false },
	{ "GET", "//v1/status", false, false },
	{ "GET", "/V1/STATUS", false, false },
	{ "POST", "/v1/join/", false, false },
	{ "POST", "/v1/join/historyx", false, false },
	{ "POST", "/v1/join/../change", false, false },
	{ "get", "/v1/cluster", false, false },
	{ "GET", "", false, false },
	{ "", "", false, false },
};

START_TEST(what_is_not_named_is_not_allowed)
{
	for (size_t i = 0; i < LS_COUNT(things); i++) {
		const char *method = things[i].method, *path = things[i].path;

		ck_assert(!ls_access_may(LS_ACCESS_NONE, method, path));
		ck_assert_msg(ls_access_may(LS_ACCESS_READ, method, path) == things[i].read,
			"%s %s", method, path);
		ck_assert_msg(ls_access_may(LS_ACCESS_GATEWAY, method, path) == things[i].gateway,
			"%s %s", method, path);
		ck_assert(ls_access_may(LS_ACCESS_FULL, method, path));
	}
}
END_TEST

/* As after a look-up that holds for long. */
static struct ls_access_ids ids = { .until_ms = INT64_MAX,
	.full = 60001,
	.read = 60002,
	.gateway = 60003,
	.has_full = true,
	.has_read = true,
	.has_gateway = true };

static enum ls_access access_of(uid_t uid, gid_t gid, gid_t further)
{
	gid_t groups[] = { 60009, further };
	const struct ls_peer peer = { .uid = uid, .gid = gid, .groups = groups, .group_count = 2 };

	return ls_access_of(&ids, &peer);
}

START_TEST(a_peer_is_known_by_user_and_groups)
{
	ck_assert_int_eq(access_of(0, 60000, 60000), LS_ACCESS_FULL);
	ck_assert_int_eq(access_of(geteuid(), 60000, 60000), LS_ACCESS_FULL);
	ck_assert_int_eq(access_of(60000, 60000, 60000), LS_ACCESS_NONE);
	ck_assert_int_eq(access_of((uid_t)-1, (gid_t)-1, (gid_t)-1), LS_ACCESS_NONE);
	ck_assert_int_eq(access_of(60000, 60001, 60000), LS_ACCESS_FULL);
	ck_assert_int_eq(access_of(60000, 60000, 60001), LS_ACCESS_FULL);
	ck_assert_int_eq(access_of(60000, 60002, 60000), LS_ACCESS_READ);
	ck_assert_int_eq(access_of(60000, 60000, 60002), LS_ACCESS_READ);
	ck_assert_int_eq(access_of(60000, 60002, 60001), LS_ACCESS_FULL);
	/* The gateway's user by its number, not its group; and no group makes it more. */
	ck_assert_int_eq(access_of(60003, 60003, 60003), LS_ACCESS_GATEWAY);
	ck_assert_int_eq(access_of(60003, 60001, 60002), LS_ACCESS_GATEWAY);
	ck_assert_int_eq(access_of(60000, 60003, 60003), LS_ACCESS_NONE);
}
END_TEST

START_TEST(who_does_not_exist_here_is_nobody)
{
	const struct ls_access_ids before = ids;

	/* Numbers that were never found are not taken for numbers. */
	ids.has_full = ids.has_read = ids.has_gateway = false;
	ck_assert_int_eq(access_of(60003, 60001, 60002), LS_ACCESS_NONE);
	ids = (struct ls_access_ids){ 0 }; /* looked up for real: nobody has these numbers */
	ck_assert_int_eq(access_of(60003, 60001, 60002), LS_ACCESS_NONE);
	ck_assert_int_gt(ids.until_ms, 0);
	ids = before;
}
END_TEST

LS_TEST_MAIN("access", what_is_not_named_is_not_allowed, a_peer_is_known_by_user_and_groups,
	who_does_not_exist_here_is_nobody)
