#include "daemon/access.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/file.h"

/* So long a group that is made or removed may go unnoticed. */
#define KEEP_MS 1000

static const struct {
	enum ls_access access;
	const char *method, *path;
} allowed[] = {
	{ LS_ACCESS_READ, "GET", "/v1/status" },
	{ LS_ACCESS_READ, "GET", "/v1/metrics" },
	{ LS_ACCESS_GATEWAY, "GET", "/v1/cluster" },
	{ LS_ACCESS_GATEWAY, "POST", "/v1/join" },
	{ LS_ACCESS_GATEWAY, "POST", "/v1/join/history" },
	{ LS_ACCESS_GATEWAY, "GET", "/v1/metrics" },
};

bool ls_access_may(enum ls_access access, const char *method, const char *path)
{
	if (access == LS_ACCESS_FULL)
		return true;
	for (size_t i = 0; i < LS_COUNT(allowed); i++)
		if (allowed[i].access == access && strcmp(allowed[i].method, method) == 0 &&
			strcmp(allowed[i].path, path) == 0)
			return true;
	return false;
}

/* A user of this machine's own, as systemd-sysusers makes it: files say it, no directory is asked.
 */
static bool find_user(const char *name, uid_t *out)
{
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (getpwnam_r(name, &pw, buf, sizeof buf, &found) != 0 || !found)
		return false;
	*out = found->pw_uid;
	return true;
}

/* Once in a while: each connection asks, and anybody can connect a thousand times in a second. */
static void look_up(struct ls_access_ids *ids)
{
	int64_t now_ms = ls_mono_ms();

	if (ids->until_ms > now_ms)
		return;
	ids->until_ms = now_ms + KEEP_MS;
	ids->has_full = ls_group_find("lockstep", &ids->full, NULL) == LS_OK;
	ids->has_read = ls_group_find("lockstep-ro", &ids->read, NULL) == LS_OK;
	ids->has_gateway = find_user(LS_GATEWAY_USER, &ids->gateway);
}

static bool in_group(const struct ls_peer *peer, gid_t gid)
{
	if (peer->gid == gid)
		return true;
	for (size_t i = 0; i < peer->group_count; i++)
		if (peer->groups[i] == gid)
			return true;
	return false;
}

enum ls_access ls_access_of(struct ls_access_ids *ids, const struct ls_peer *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return LS_ACCESS_FULL;
	look_up(ids);
	if (ids->has_gateway && peer->uid == ids->gateway)
		return LS_ACCESS_GATEWAY;
	if (ids->has_full && in_group(peer, ids->full))
		return LS_ACCESS_FULL;
	return ids->has_read && in_group(peer, ids->read) ? LS_ACCESS_READ : LS_ACCESS_NONE;
}
