#include <event2/http.h>
#include <string.h>

#include "base/text.h"
#include "net/server_conn.h"

/* What a limit counts. */
struct share {
	bool strangers;              /* only them */
	const unsigned char *origin; /* only this one's; NULL: all */
	int max;
};

static bool in_share(const struct ls_conn *conn, const struct share *share)
{
	return !conn->no_room && !(share->strangers && conn->trusted) &&
	       (!share->origin ||
		       memcmp(share->origin, conn->peer.origin, sizeof conn->peer.origin) == 0);
}

/* Who has been waiting for its request longest, and for long enough; NULL: nobody. */
static struct ls_conn *find_spare(
	const struct ls_server *server, const struct share *share, int *out_count)
{
	struct ls_conn *spare = NULL;
	int64_t before_ms = ls_mono_ms() - server->limits.spare_ms;

	*out_count = 0;
	for (struct ls_conn *conn = server->conns; conn; conn = conn->next) {
		if (!in_share(conn, share))
			continue;
		++*out_count;
		if (!conn->held && conn->waiting_since_ms <= before_ms &&
			(!spare || conn->waiting_since_ms <= spare->waiting_since_ms))
			spare = conn;
	}
	return spare;
}

/* Room for one more in the share; if need be the spare one is given up for it. */
static bool make_room(struct ls_server *server, const struct share *share)
{
	int count;
	struct ls_conn *spare = find_spare(server, share, &count);

	if (count < share->max)
		return true;
	if (!spare)
		return false;
	evhttp_connection_free(spare->evcon); /* which frees spare */
	return true;
}

/* The socket is open to every user: they must not be able to lock root out by holding all. */
bool ls_server_has_room(struct ls_server *server, const struct ls_peer *peer, bool trusted)
{
	const struct ls_server_limits *limits = &server->limits;
	const struct share all = { false, NULL, limits->connections };
	const struct share strangers = { true, NULL,
		limits->stranger_connections ?: limits->connections / 2 };
	const struct share own = { true, peer->origin,
		limits->peer_connections ?: limits->connections / 8 };

	return (trusted || (make_room(server, &own) && make_room(server, &strangers))) &&
	       make_room(server, &all);
}

/* Few wait for that answer: the oldest makes room for the newest, who is likely to ask just now. */
void ls_server_room_to_hear(struct ls_server *server, bool trusted)
{
	struct ls_conn *oldest = NULL;
	int count = 0;

	for (struct ls_conn *conn = server->conns; conn; conn = conn->next) {
		if (conn->no_room && conn->trusted == trusted) {
			oldest = conn;
			count++;
		}
	}
	if (count > server->limits.connections / 8)
		evhttp_connection_free(oldest->evcon);
}

void ls_server_close_spare(struct ls_server *server)
{
	const struct share all = { false, NULL, 0 };

	(void)make_room(server, &all);
}
