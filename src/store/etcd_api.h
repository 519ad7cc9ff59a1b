/* etcd_api -- etcd's version 3 interface as its JSON gateway speaks it: reads, transactions and
 * the watch, over HTTPS with a client certificate, with fail-over between endpoints.
 *
 * Blocking. A handle belongs to one thread; the watch has a thread and a connection of its own.
 * What the engine does in each case was measured against 3.4; other versions differ in white space
 * and in the shape of errors only, so nothing here depends on either.
 */
#ifndef LS_STORE_ETCD_API_H
#define LS_STORE_ETCD_API_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "net/https.h"

struct ls_etcd_settings {
	char **endpoints; /* "https://HOST:PORT" */
	struct ls_https_tls tls;
	int64_t timeout_ms; /* of one call on one endpoint */
};
/* Copies all that it points to. */
void ls_etcd_settings_copy(struct ls_etcd_settings *to, const struct ls_etcd_settings *from);
void ls_etcd_settings_done(struct ls_etcd_settings *copied);

struct ls_etcd_kv {
	char *key;
	struct ls_buf value;
	int64_t changed; /* the engine's revision when it was written */
};
struct ls_etcd_list {
	struct ls_etcd_kv *kvs;
	size_t count;
	int64_t revision; /* of the engine when it answered */
};
void ls_etcd_list_done(struct ls_etcd_list *list);
/* NULL: not there. */
const struct ls_buf *ls_etcd_list_get(const struct ls_etcd_list *list, const char *key);

/* That a key's value is `value`, or with value.data NULL that the key is not there. Never a
 * revision: one from before a restored engine would fit other content. */
struct ls_etcd_compare {
	const char *key;
	struct ls_bytes value;
};
/* Puts `value`; with value.data NULL removes the key; `prefix` removes all keys that begin so,
 * `until` all from the key to it, which stays. With a lease the key goes when the lease ends. */
struct ls_etcd_change {
	const char *key;
	const char *until;
	struct ls_bytes value;
	bool prefix;
	int64_t lease;
};

struct ls_etcd;
/* Copies the settings. Nothing is asked yet. */
void ls_etcd_new(const struct ls_etcd_settings *settings, struct ls_etcd **out);
void ls_etcd_free(struct ls_etcd **etcd);

/* Codes of all calls. LS_E_UNREACHABLE: no endpoint did it, and none will: not connected, or
 * refused before it was proposed. LS_E_UNKNOWN (changes only): it was sent and may be done, now or
 * later. LS_E_REFUSED: the engine says that the request is not acceptable. LS_E_IO: its space is
 * used up. LS_E_DAMAGED: an answer that is none. */

/* All keys that begin with one of `prefixes` (a key is a prefix of itself), as they were at one
 * revision; linearizable. At most 100,000 keys and 64 MiB. */
LS_CHECK enum ls_code ls_etcd_read(
	struct ls_etcd *etcd, char *const *prefixes, struct ls_etcd_list *out, struct ls_err *err);
/* The same, where of some only the keys are of interest: their values are empty. */
struct ls_etcd_range {
	const char *prefix;
	bool keys_only;
};
LS_CHECK enum ls_code ls_etcd_read_ranges(struct ls_etcd *etcd, const struct ls_etcd_range *ranges,
	size_t count, struct ls_etcd_list *out, struct ls_err *err);
/* All changes if all compares hold, at one revision; else none, and *out_done is false. A key may
 * stand in one change only; at most 128 compares and changes. */
/* The revision that the latest answer named. */
int64_t ls_etcd_revision(const struct ls_etcd *etcd);
LS_CHECK enum ls_code ls_etcd_txn(struct ls_etcd *etcd, const struct ls_etcd_compare *compares,
	size_t compare_count, const struct ls_etcd_change *changes, size_t change_count,
	bool *out_done, struct ls_err *err);

/* A lease: a hint whether its holder lives, no lock. It ends ttl_s after it was last kept alive, or
 * later (a change of the engine's leader starts it anew). LS_E_NOT_FOUND of keep: it has ended. */
LS_CHECK enum ls_code ls_etcd_lease_grant(
	struct ls_etcd *etcd, int64_t ttl_s, int64_t *out_lease, struct ls_err *err);
/* Ends it at once, with all that hangs on it; one endpoint is asked, half a second at most. */
void ls_etcd_lease_revoke(struct ls_etcd *etcd, int64_t lease);
LS_CHECK enum ls_code ls_etcd_lease_keep(struct ls_etcd *etcd, int64_t lease, struct ls_err *err);

/* A watch of a prefix. Its descriptor becomes readable when something under it may have changed, at
 * the first connection, after each reconnection, and when the engine's history was compacted past
 * what was seen: it says "look", never what. A member that falls silent is left after 3 of its
 * progress periods. */
struct ls_etcd_watch;
LS_CHECK enum ls_code ls_etcd_watch_start(const struct ls_etcd_settings *settings,
	const char *prefix, struct ls_etcd_watch **out, struct ls_err *err);
void ls_etcd_watch_stop(struct ls_etcd_watch **watch); /* ends its lease; waits for its thread: 1 s
							 at most */
int ls_etcd_watch_fd(const struct ls_etcd_watch *watch);
void ls_etcd_watch_seen(struct ls_etcd_watch *watch); /* makes the descriptor unreadable again */
/* For how long no member of the engine has said anything on it. */
int64_t ls_etcd_watch_silent_ms(const struct ls_etcd_watch *watch);
/* Has the watch's thread keep a lease alive, three times in ttl_s, as long as `alive` (asked in
 * that thread; NULL: always) says so. When it has ended the descriptor becomes readable. 0: none.
 */
void ls_etcd_watch_keep(struct ls_etcd_watch *watch, int64_t lease, int64_t ttl_s,
	bool (*alive)(void *arg), void *arg);
/* The lease that is kept; 0 once it has ended. */
int64_t ls_etcd_watch_lease(struct ls_etcd_watch *watch);

#endif
