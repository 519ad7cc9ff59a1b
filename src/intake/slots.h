/* slots -- what dropin remembers of the files it has seen: a slot for each component and origin,
 * with its up to three files. Used by dropin alone.
 *
 * A file's content is held only while its slot is offered; until then a part is its name and what
 * makes the file the same file. So 10,000 waiting files take some MB, whatever is in them.
 */
#ifndef LS_INTAKE_SLOTS_H
#define LS_INTAKE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/bytes.h"

/* Of a file name's part before the suffix; longer ones are no component. */
#define LS_SLOT_NAME_MAX 64

enum ls_half { LS_HALF_CERT, LS_HALF_KEY, LS_HALF_BOTH, LS_HALF_COUNT };

/* What makes a file the same file with the same content. */
struct ls_seen {
	ino_t inode;
	off_t size;
	struct timespec mtime, ctime;
};

struct ls_part {
	bool there;
	bool present_in_scan;
	char *file_name;
	struct ls_seen seen;
	/* While the slot is offered: */
	struct ls_secret bytes;
	char *fault;
	bool unread; /* the fault is this machine's (EIO, EACCES), not the file's */
	/* Of a captured live file, whose writer may not be done yet; else -1. */
	int fd;
	bool read; /* as it was when `seen` was taken */
};

struct ls_slot {
	struct ls_slot *next;
	bool live;                            /* written over live files, not in incoming/ */
	char component[LS_SLOT_NAME_MAX + 1]; /* or "?" and what is shown of a foreign name */
	struct ls_part parts[LS_HALF_COUNT];
	int64_t first_ms;   /* when the oldest half came */
	int64_t changed_ms; /* when something last changed */
	int64_t not_before_ms;
	bool tried;    /* as it is now, and found incomplete */
	bool gathered; /* settled together with the one that is offered */
	int retries;
};

struct ls_slots {
	struct ls_slot *first, **last; /* in the order in which they came */
	void *tree;                    /* the same, by origin and component */
};

void ls_slots_init(struct ls_slots *slots);
void ls_slots_done(struct ls_slots *slots);
/* The slot of that name; a new one, empty, when there is none. */
struct ls_slot *ls_slots_get(
	struct ls_slots *slots, bool live, const char *component, int64_t now_ms);
/* Frees the empty ones, but `keep` (may be NULL). */
void ls_slots_sweep(struct ls_slots *slots, const struct ls_slot *keep);

bool ls_slot_empty(const struct ls_slot *slot);
/* One of its files came, changed or went. */
void ls_slot_touched(struct ls_slot *slot, int64_t now_ms);

void ls_part_clear(struct ls_part *part);
/* Forgets the content of what can be read again. */
void ls_part_release(struct ls_part *part, bool live);

struct ls_seen ls_seen_of(const struct stat *st);
bool ls_seen_same(const struct ls_seen *x, const struct ls_seen *y);
/* The same but for the ctime, which a rename changes, too. */
bool ls_seen_same_content(const struct ls_seen *x, const struct ls_seen *y);

/* "proxy_cert.pem": component and half. False: no component's name; `component` is then a "?" and
 * something printable, different for different names. */
bool ls_slot_name(const char *file_name, char component[LS_SLOT_NAME_MAX + 1], enum ls_half *half);

#endif
