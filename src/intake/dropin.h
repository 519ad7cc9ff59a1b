/* dropin -- collects what operators drop: files in incoming/ and what was written over live files,
 * until a pair is whole and quiet (DESIGN "Drop-in").
 *
 * Belongs to the main thread. It looks and remembers; judging and installing are done elsewhere
 * with what `next` offers, and `settle` says how that went. A file is read when it is offered,
 * whole and once, and only if it is still the one that lay there quietly: the bytes read are the
 * bytes judged. 10,000 files that wait take about 4 MB, whatever is in them. Times are
 * milliseconds of the monotonic clock. Names: <component>_cert.pem, <component>_key.pem,
 * <component>.pem (both). Names beginning with a dot are other programs' temporaries and are left
 * alone; other names are refused.
 */
#ifndef LS_INTAKE_DROPIN_H
#define LS_INTAKE_DROPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"
#include "history/state.h"
#include "node/live.h"

/* Of incoming/ at a time. */
#define LS_DROPIN_FILES_MAX 10000
/* Entries of rejected/. */
#define LS_REJECTED_MAX 1000

struct ls_dropin;

struct ls_dropin_settings {
	int64_t settle_ms;
	int64_t patience_ms;
	size_t bytes_max; /* of one file */
};

enum ls_dropin_origin { LS_DROPIN_INCOMING, LS_DROPIN_LIVE };

/* A component's halves, quiet for settle_ms. Borrowed: valid until the next call with this
 * ls_dropin. */
struct ls_dropin_offer {
	enum ls_dropin_origin origin;
	const char *component; /* from the file's name; may be unknown */
	struct ls_bytes cert;  /* data NULL: not there. A combined file stands in both. */
	struct ls_bytes key;
	const char *cert_name; /* for messages */
	const char *key_name;
	const char *fault; /* the file itself is not acceptable: why; else NULL */
	bool unread;       /* the fault is this machine's, not the file's */
	bool stray;        /* it bears no component's name: it can only be refused */
	bool last_chance;  /* patience is over: what is still incomplete is refused */
};

enum ls_dropin_verdict {
	LS_DROPIN_TAKEN,   /* installed, or quietly consumed: the files go */
	LS_DROPIN_REFUSED, /* the files go; the caller has kept what rejected/ should hold */
	LS_DROPIN_WAIT,    /* incomplete so far: offered again when a half changes, or at the last
			      chance */
	LS_DROPIN_RETRY,   /* something else is in the way: offered again soon, then less often */
};

void ls_dropin_new(
	const char *incoming, const struct ls_dropin_settings *settings, struct ls_dropin **out);
void ls_dropin_free(struct ls_dropin **dropin);
void ls_dropin_set(struct ls_dropin *dropin, const struct ls_dropin_settings *settings);

/* Which components there are: files of other names are strays and come after those of components.
 * Taken over; NULL: not known. */
void ls_dropin_know(struct ls_dropin *dropin, char ***components);

/* Looks into incoming/. LS_E_REFUSED: it holds more files than LS_DROPIN_FILES_MAX; so many of them
 * are looked at, the others when these are gone. */
LS_CHECK enum ls_code ls_dropin_scan(struct ls_dropin *dropin, int64_t now_ms, struct ls_err *err);
/* Something was written over a live file; the descriptor is taken over (-1: there is nothing to
 * read). */
void ls_dropin_capture(struct ls_dropin *dropin, const char *component, enum ls_live_kind kind,
	int fd, int64_t now_ms);
/* The next pair to be judged; false: none now. Until `settle` nothing else is offered. */
bool ls_dropin_next(struct ls_dropin *dropin, int64_t now_ms, struct ls_dropin_offer *out);
/* When the offer is a stray: adds all other strays that are due (a batch of them), to be settled
 * with it. A refusal then puts all of them aside, unread. Their number with the first; some of
 * their names are appended. */
size_t ls_dropin_gather(struct ls_dropin *dropin, int64_t now_ms, struct ls_buf *out_names);
void ls_dropin_settle(struct ls_dropin *dropin, enum ls_dropin_verdict verdict, int64_t now_ms);
/* Milliseconds until `next` may have something by time alone; -1: never. */
int64_t ls_dropin_wake_ms(const struct ls_dropin *dropin, int64_t now_ms);

/* Whether halves make a credential that can be judged for good: the certificate parses and has its
 * key with it, at present, or in an open request. Needs no file. `state` is the tip. */
bool ls_dropin_complete(const struct ls_state *state, const char *component, struct ls_bytes cert,
	struct ls_bytes key);

/* rejected/<time>-<component>/: reason.txt and the certificates (64 KiB of them at most), never a
 * key. *out_path (heap, may
 * be NULL) is the directory. */
LS_CHECK enum ls_code ls_dropin_reject(const char *rejected, int64_t at_ms, const char *component,
	const char *reason, struct ls_bytes cert, char **out_path, struct ls_err *err);
/* Removes entries of rejected/ older than keep_days, and the oldest beyond LS_REJECTED_MAX. */
LS_CHECK enum ls_code ls_dropin_expire(
	const char *rejected, int64_t now_ms, int64_t keep_days, struct ls_err *err);

#endif
