#include "intake/dropin.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "intake/candidate.h"
#include "intake/removal.h"
#include "pki/credential.h"
#include "pki/key.h"
#include "sys/file.h"

#define RETRY_MS 200
#define RETRY_DOUBLINGS_MAX 6 /* every 12.8 s: what is in the way then is no running rotation */
#define LOOK_AGAIN_MS 1000    /* at captured files: nothing tells that their writer goes on */
/* Live files that are kept open. What is beyond is read at once: descriptors are few. */
#define CAPTURED_OPEN_MAX 128
#define GATHER_MAX 2000 /* so that putting them aside takes a moment, not the main thread */
#define GATHER_SHOWN 5
#define GATHER_PAUSE_MS 1000 /* a slow flood must not become a flood of small batches */

struct ls_dropin {
	char *incoming;
	struct ls_dropin_settings settings;
	struct ls_slots slots;
	struct ls_slot *offered;
	char **known; /* components, sorted; NULL: not said */
	size_t known_count;
	int captured_open;
	int64_t strays_not_before_ms;
};

void ls_dropin_new(
	const char *incoming, const struct ls_dropin_settings *settings, struct ls_dropin **out)
{
	struct ls_dropin *d = ls_alloc(1, sizeof *d);

	ls_removal_put_back(incoming);
	d->incoming = ls_strdup(incoming);
	d->settings = *settings;
	ls_slots_init(&d->slots);
	*out = d;
}

void ls_dropin_free(struct ls_dropin **dropin)
{
	struct ls_dropin *d = *dropin;

	if (!d)
		return;
	ls_slots_done(&d->slots);
	ls_free_strv(&d->known);
	free(d->incoming);
	free(d);
	*dropin = NULL;
}

void ls_dropin_set(struct ls_dropin *d, const struct ls_dropin_settings *settings)
{
	d->settings = *settings;
}

static int compare_names(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

void ls_dropin_know(struct ls_dropin *d, char ***components)
{
	ls_free_strv(&d->known);
	d->known = LS_TAKE(*components);
	d->known_count = ls_strv_count(d->known);
	if (d->known)
		qsort(d->known, d->known_count, sizeof *d->known, compare_names);
}

/* Whether it bears no component's name, so that nothing but a refusal can come of it. */
static bool is_stray(const struct ls_dropin *d, const struct ls_slot *slot)
{
	const char *name = ls_component_alias(slot->component);

	if (slot->live)
		return false;
	return slot->component[0] == '?' || (d->known && !bsearch(&name, d->known, d->known_count,
								 sizeof *d->known, compare_names));
}

/* One file of incoming/: looked at, and read when its turn comes. */
static void take_file(struct ls_dropin *d, int dir_fd, const char *name, int64_t now_ms)
{
	char component[LS_SLOT_NAME_MAX + 1];
	enum ls_half half;
	struct ls_slot *slot;
	struct ls_part *part;
	struct ls_seen seen;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	(void)ls_slot_name(name, component, &half);
	slot = ls_slots_get(&d->slots, false, component, now_ms);
	part = &slot->parts[half];
	seen = ls_seen_of(&st);
	part->present_in_scan = true;
	if (part->there && ls_seen_same(&part->seen, &seen))
		return;
	ls_slot_touched(slot, now_ms);
	ls_part_clear(part);
	part->there = part->present_in_scan = true;
	part->file_name = ls_strdup(name);
	part->seen = seen;
}

static void drop_vanished(struct ls_dropin *d, int64_t now_ms)
{
	for (struct ls_slot *slot = d->slots.first; slot; slot = slot->next) {
		for (int i = 0; !slot->live && i < LS_HALF_COUNT; i++) {
			if (slot->parts[i].there && !slot->parts[i].present_in_scan) {
				ls_part_clear(&slot->parts[i]);
				ls_slot_touched(slot, now_ms);
			}
		}
	}
	ls_slots_sweep(&d->slots, d->offered);
}

static void dir_close(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir); /* only read from */
}

/* Entry by entry: what the directory holds beyond the bound, and what begins with a dot, takes no
 * memory. */
static enum ls_code take_files(struct ls_dropin *d, DIR *dir, int64_t now_ms, struct ls_err *err)
{
	struct dirent *entry;
	int count = 0;

	while (errno = 0, (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (count++ == LS_DROPIN_FILES_MAX)
			return LS_FAIL(err, LS_E_REFUSED,
				"it holds more than %d files; those beyond are looked at when "
				"these are gone",
				LS_DROPIN_FILES_MAX);
		take_file(d, dirfd(dir), entry->d_name, now_ms);
	}
	return errno == 0 ? LS_OK : LS_FAIL_ERRNO(err, "read the directory");
}

enum ls_code ls_dropin_scan(struct ls_dropin *d, int64_t now_ms, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;
	LS_CLEANUP(dir_close) DIR *dir = NULL;
	enum ls_code code;

	if (d->offered) /* what is being judged must not change under the judge; there is a scan
			   afterwards */
		return LS_OK;
	LS_TRY(ls_dir_open(d->incoming, &dir_fd, err));
	dir = fdopendir(dir_fd);
	if (!dir)
		return LS_FAIL_ERRNO(err, "list the directory");
	dir_fd = -1;
	for (struct ls_slot *slot = d->slots.first; slot; slot = slot->next)
		for (int i = 0; i < LS_HALF_COUNT; i++)
			slot->parts[i].present_in_scan = false;
	code = take_files(d, dir, now_ms, err);
	if (code == LS_OK || code == LS_E_REFUSED)
		drop_vanished(d, now_ms);
	return code;
}

/* Reads a captured file, from its beginning. */
static void load_captured(const struct ls_dropin *d, struct ls_part *part)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	struct ls_err err;
	struct stat st;

	if (part->fd < 0)
		return; /* it was read when it was captured */
	if (fstat(part->fd, &st) == 0)
		part->seen = ls_seen_of(&st); /* before reading: what is written meanwhile shows */
	part->read = true;
	(void)lseek(part->fd, 0, SEEK_SET);
	if (ls_file_read_fd(part->fd, part->file_name, d->settings.bytes_max, &bytes, &err) !=
		LS_OK)
		part->fault = ls_strdup(err.text);
	ls_secret_set(&part->bytes, ls_buf_bytes(&bytes));
	if (bytes.data)
		ls_wipe(bytes.data, bytes.cap);
}

void ls_dropin_capture(
	struct ls_dropin *d, const char *component, enum ls_live_kind kind, int fd, int64_t now_ms)
{
	static const enum ls_half halves[] = { [LS_LIVE_CERT] = LS_HALF_CERT,
		[LS_LIVE_KEY] = LS_HALF_KEY,
		[LS_LIVE_BOTH] = LS_HALF_BOTH };
	struct ls_slot *slot;
	struct ls_part *part;

	if (fd < 0)
		return;
	if (kind ==
		LS_LIVE_CA) { /* a trust file follows from the certificate; it is only put back */
		(void)close(fd);
		return;
	}
	slot = ls_slots_get(&d->slots, true, component, now_ms);
	part = &slot->parts[halves[kind]];
	ls_slot_touched(slot, now_ms);
	d->captured_open -= part->fd >= 0;
	ls_part_clear(part);
	part->there = true;
	part->file_name = ls_format(kind == LS_LIVE_BOTH  ? "%s.pem"
				    : kind == LS_LIVE_KEY ? "%s_key.pem"
							  : "%s_cert.pem",
		component);
	part->fd = fd;
	if (d->captured_open < CAPTURED_OPEN_MAX) {
		d->captured_open++;
		return;
	}
	load_captured(d, part);
	ls_fd_close(&part->fd);
}

/* Whether the writer of a captured file has gone on since it was read. */
static bool part_went_on(struct ls_part *part)
{
	struct ls_seen seen;
	struct stat st;

	if (part->fd < 0 || !part->read || fstat(part->fd, &st) != 0)
		return false;
	seen = ls_seen_of(&st);
	return !ls_seen_same_content(&seen, &part->seen);
}

static bool slot_went_on(struct ls_slot *slot)
{
	for (int i = 0; i < LS_HALF_COUNT; i++) {
		if (part_went_on(&slot->parts[i])) {
			slot->parts[i].read = false;
			return true;
		}
	}
	return false;
}

/* Reads a file of incoming/. False: it is not the one that was seen any more, or not as it was:
 * somebody is at it. Between the look before and the one after stands the reading, so what was read
 * is what lay there quietly. */
static bool load_file(const struct ls_dropin *d, int dir_fd, struct ls_part *part)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	LS_CLEANUP(ls_fd_close) int fd = -1;
	struct ls_err err = { 0 };
	struct ls_seen seen;
	struct stat st;
	enum ls_code code = ls_file_read_untrusted(
		dir_fd, part->file_name, d->settings.bytes_max, false, &bytes, &fd, &err);
	int rc = code == LS_OK ? fstat(fd, &st)
			       : fstatat(dir_fd, part->file_name, &st, AT_SYMLINK_NOFOLLOW);

	if (rc == 0)
		seen = ls_seen_of(&st);
	if (rc != 0 || !ls_seen_same(&seen, &part->seen)) {
		if (bytes.data)
			ls_wipe(bytes.data, bytes.cap);
		return false;
	}
	if (code == LS_OK)
		ls_secret_set(&part->bytes, ls_buf_bytes(&bytes));
	else
		part->fault = ls_strdup(err.text);
	part->unread = code != LS_OK && code != LS_E_REFUSED;
	if (bytes.data)
		ls_wipe(bytes.data, bytes.cap);
	return true;
}

static void slot_release(struct ls_slot *slot)
{
	for (int i = 0; i < LS_HALF_COUNT; i++)
		ls_part_release(&slot->parts[i], slot->live);
}

/* The content of a slot's files. False: they are not quiet after all. */
static bool load_slot(const struct ls_dropin *d, struct ls_slot *slot, int64_t now_ms)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;

	if (slot->component[0] == '?') {
		slot->parts[LS_HALF_CERT].fault =
			ls_format("'%s': the name is none of <component>_cert.pem, "
				  "<component>_key.pem, <component>.pem",
				slot->component + 1);
		return true;
	}
	if (!slot->live && ls_dir_open(d->incoming, &dir_fd, NULL) != LS_OK) {
		slot->not_before_ms = now_ms + LOOK_AGAIN_MS;
		return false;
	}
	for (int i = 0; i < LS_HALF_COUNT; i++) {
		struct ls_part *part = &slot->parts[i];

		if (!part->there)
			continue;
		if (slot->live)
			load_captured(d, part);
		else if (!load_file(d, dir_fd, part)) {
			slot_release(slot);
			ls_slot_touched(slot, now_ms);
			return false;
		}
	}
	return true;
}

static bool last_chance(const struct ls_dropin *d, const struct ls_slot *slot, int64_t now_ms)
{
	return now_ms - slot->first_ms >= d->settings.patience_ms;
}

static bool slot_due(const struct ls_dropin *d, const struct ls_slot *slot, int64_t now_ms)
{
	if (ls_slot_empty(slot) || now_ms < slot->not_before_ms ||
		now_ms - slot->changed_ms < d->settings.settle_ms)
		return false;
	return !slot->tried || last_chance(d, slot, now_ms);
}

static void fill_offer(const struct ls_dropin *d, const struct ls_slot *slot, int64_t now_ms,
	struct ls_dropin_offer *out)
{
	const struct ls_part *cert = &slot->parts[LS_HALF_CERT], *key = &slot->parts[LS_HALF_KEY],
			     *both = &slot->parts[LS_HALF_BOTH];

	if (!cert->there)
		cert = both;
	if (!key->there)
		key = both;
	*out = (struct ls_dropin_offer){
		.origin = slot->live ? LS_DROPIN_LIVE : LS_DROPIN_INCOMING,
		.component = slot->component,
		.last_chance = last_chance(d, slot, now_ms),
		.stray = is_stray(d, slot),
	};
	if (cert->there) {
		out->cert = ls_secret_bytes(&cert->bytes);
		out->cert_name = cert->file_name;
	}
	if (key->there) {
		out->key = ls_secret_bytes(&key->bytes);
		out->key_name = key->file_name;
	}
	for (int i = 0; i < LS_HALF_COUNT; i++) {
		const struct ls_part *part = &slot->parts[i];

		if (!part->fault || (out->fault && part->unread))
			continue;
		out->fault = part->fault;
		out->unread = part->unread;
	}
}

static bool offer(
	struct ls_dropin *d, struct ls_slot *slot, int64_t now_ms, struct ls_dropin_offer *out)
{
	if (!load_slot(d, slot, now_ms))
		return false;
	fill_offer(d, slot, now_ms, out);
	d->offered = slot;
	return true;
}

static bool slot_captured(const struct ls_slot *slot)
{
	for (int i = 0; i < LS_HALF_COUNT; i++)
		if (slot->parts[i].fd >= 0)
			return true;
	return false;
}

/* Components before strays: a flood of the latter must not delay the former. */
bool ls_dropin_next(struct ls_dropin *d, int64_t now_ms, struct ls_dropin_offer *out)
{
	struct ls_slot *stray = NULL;

	assert(!d->offered);
	for (struct ls_slot *slot = d->slots.first; slot; slot = slot->next) {
		bool due = slot_due(d, slot, now_ms);

		if ((due || slot->tried) && slot_went_on(slot)) {
			ls_slot_touched(slot, now_ms);
			continue;
		}
		if (!due)
			continue;
		if (!is_stray(d, slot) && offer(d, slot, now_ms, out))
			return true;
		if (!stray && now_ms >= d->strays_not_before_ms && is_stray(d, slot))
			stray = slot;
	}
	return stray && offer(d, stray, now_ms, out);
}

size_t ls_dropin_gather(struct ls_dropin *d, int64_t now_ms, struct ls_buf *out_names)
{
	size_t count = 0;

	if (!d->offered || !is_stray(d, d->offered))
		return 0;
	for (struct ls_slot *slot = d->slots.first; slot && count < GATHER_MAX; slot = slot->next) {
		if (slot != d->offered && (!slot_due(d, slot, now_ms) || !is_stray(d, slot)))
			continue;
		slot->gathered = true;
		slot_release(slot);
		for (int i = 0; i < LS_HALF_COUNT; i++) {
			if (!slot->parts[i].there || count++ > GATHER_SHOWN)
				continue;
			ls_buf_str(out_names, count > GATHER_SHOWN ? ", …" : count > 1 ? ", " : "");
			if (count <= GATHER_SHOWN)
				ls_buf_str(out_names, slot->component[0] == '?'
							      ? slot->component + 1
							      : slot->parts[i].file_name);
		}
	}
	return count;
}

/* With the files that are to go, or without when they cannot be reached. The key before the
 * certificate, which alone is known to be in force, where a key alone would be refused. So what
 * follows a file that stays, stays too, and is found and offered again. */
static void consume(struct ls_dropin *d, struct ls_slot *slot, int dir_fd)
{
	bool goes = dir_fd >= 0;

	for (int i = LS_HALF_COUNT; i-- > 0;) {
		struct ls_part *part = &slot->parts[i];

		if (part->there && !slot->live && goes)
			goes = ls_removal_do(
				dir_fd, part, slot->gathered || slot->component[0] == '?');
		d->captured_open -= part->fd >= 0;
		ls_part_clear(part);
	}
}

static void settle(struct ls_dropin *d, struct ls_slot *slot, enum ls_dropin_verdict verdict,
	int dir_fd, int64_t now_ms)
{
	switch (verdict) {
	case LS_DROPIN_TAKEN:
	case LS_DROPIN_REFUSED:
		consume(d, slot, dir_fd);
		break;
	case LS_DROPIN_WAIT:
		slot->tried = true;
		/* It has had its last chance, and could not even be refused. */
		if (last_chance(d, slot, now_ms))
			slot->not_before_ms = now_ms + d->settings.patience_ms;
		break;
	case LS_DROPIN_RETRY:
		slot->not_before_ms = now_ms + ((int64_t)RETRY_MS << slot->retries);
		if (slot->retries < RETRY_DOUBLINGS_MAX)
			slot->retries++;
		break;
	}
	slot->gathered = false;
	slot_release(slot);
}

void ls_dropin_settle(struct ls_dropin *d, enum ls_dropin_verdict verdict, int64_t now_ms)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;
	struct ls_slot *offered = LS_TAKE(d->offered);

	assert(offered);
	LS_IGNORE(ls_dir_open(d->incoming, &dir_fd, NULL)); /* then they are offered again */
	if (!offered->gathered) {
		settle(d, offered, verdict, dir_fd, now_ms);
		return;
	}
	d->strays_not_before_ms = now_ms + GATHER_PAUSE_MS;
	for (struct ls_slot *slot = d->slots.first; slot; slot = slot->next)
		if (slot->gathered)
			settle(d, slot, verdict, dir_fd, now_ms);
}

int64_t ls_dropin_wake_ms(const struct ls_dropin *d, int64_t now_ms)
{
	int64_t soonest = -1;

	for (const struct ls_slot *slot = d->slots.first; slot; slot = slot->next) {
		int64_t at;

		if (ls_slot_empty(slot) || slot == d->offered)
			continue;
		at = slot->changed_ms + d->settings.settle_ms;
		if (slot->tried)
			at = slot->first_ms + d->settings.patience_ms;
		if (at < slot->not_before_ms)
			at = slot->not_before_ms;
		if (at < d->strays_not_before_ms && is_stray(d, slot))
			at = d->strays_not_before_ms;
		if (slot->tried && at > now_ms + LOOK_AGAIN_MS && slot_captured(slot))
			at = now_ms + LOOK_AGAIN_MS;
		at = at > now_ms ? at - now_ms : 0;
		if (soonest < 0 || at < soonest)
			soonest = at;
	}
	return soonest;
}

bool ls_dropin_complete(const struct ls_state *state, const char *component, struct ls_bytes cert,
	struct ls_bytes key)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 }, present = { 0 };
	LS_CLEANUP(ls_key_free) struct evp_pkey_st *pkey = NULL;
	const struct ls_component *c = ls_state_component(state, component);
	const struct ls_bytes none = { 0 };
	char id[65];

	if (!cert.data || ls_cert_info_read(cert, &info, NULL) != LS_OK)
		return false;
	if (!key.data)
		key = cert; /* it may be a combined file */
	if (ls_key_from_pem("key", key, none, &pkey, NULL) == LS_OK) {
		ls_key_id(pkey, id);
		return strcmp(id, info.key_id) == 0;
	}
	if (key.data != cert.data || !c)
		return false;
	if (ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &present, NULL) == LS_OK &&
		strcmp(present.key_id, info.key_id) == 0)
		return true;
	return ls_state_pending(state, component) &&
	       ls_request_has_key(
		       ls_buf_bytes(&ls_state_pending(state, component)->request_pem), info.key_id);
}
