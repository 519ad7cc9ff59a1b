#include "intake/dropin.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/credential.h"
#include "pki/digest.h"
#include "pki/key.h"
#include "sys/file.h"

#define NAMES_MAX 10000
#define RETRY_MS 200
#define RETRY_DOUBLINGS_MAX 6 /* every 12.8 s: what is in the way then is no running rotation */
#define LOOK_AGAIN_MS 1000    /* at captured files: nothing tells that their writer goes on */
#define COMPONENT_TEXT_MAX                                                                         \
	64 /* of a file name's part before the suffix; longer ones are no component */

enum half { HALF_CERT, HALF_KEY, HALF_BOTH, HALF_COUNT };

/* What makes a file the same file with the same content. */
struct seen {
	ino_t inode;
	off_t size;
	struct timespec mtime, ctime;
};

struct part {
	bool there;
	bool present_in_scan;
	char *file_name;
	struct ls_secret bytes;
	char *fault;
	bool unread; /* the fault is this machine's (EIO, EACCES): each scan tries again */
	struct seen seen;
	int fd; /* of a captured live file: its writer may not be done yet */
};

struct slot {
	struct slot *next;
	enum ls_dropin_origin origin;
	char component[COMPONENT_TEXT_MAX + 1];
	struct part parts[HALF_COUNT];
	int64_t first_ms;   /* when the oldest half came */
	int64_t changed_ms; /* when something last changed */
	int64_t not_before_ms;
	bool tried; /* as it is now, and found incomplete */
	int retries;
};

struct ls_dropin {
	char *incoming;
	struct ls_dropin_settings settings;
	struct slot *slots;
	struct slot *offered;
};

static void part_clear(struct part *part)
{
	free(part->file_name);
	free(part->fault);
	ls_secret_done(&part->bytes);
	ls_fd_close(&part->fd);
	*part = (struct part){ .fd = -1 };
}

static void slot_free(struct slot *slot)
{
	for (int i = 0; i < HALF_COUNT; i++)
		part_clear(&slot->parts[i]);
	free(slot);
}

static bool slot_empty(const struct slot *slot)
{
	for (int i = 0; i < HALF_COUNT; i++)
		if (slot->parts[i].there)
			return false;
	return true;
}

void ls_dropin_new(
	const char *incoming, const struct ls_dropin_settings *settings, struct ls_dropin **out)
{
	struct ls_dropin *d = ls_alloc(1, sizeof *d);

	d->incoming = ls_strdup(incoming);
	d->settings = *settings;
	*out = d;
}

void ls_dropin_free(struct ls_dropin **dropin)
{
	struct ls_dropin *d = *dropin;

	if (!d)
		return;
	while (d->slots) {
		struct slot *next = d->slots->next;

		slot_free(d->slots);
		d->slots = next;
	}
	free(d->incoming);
	free(d);
	*dropin = NULL;
}

void ls_dropin_set(struct ls_dropin *d, const struct ls_dropin_settings *settings)
{
	d->settings = *settings;
}

static struct slot *slot_get(
	struct ls_dropin *d, enum ls_dropin_origin origin, const char *component, int64_t now_ms)
{
	struct slot *slot;

	for (slot = d->slots; slot; slot = slot->next)
		if (slot->origin == origin && strcmp(slot->component, component) == 0)
			return slot;
	slot = ls_alloc(1, sizeof *slot);
	slot->origin = origin;
	(void)snprintf(slot->component, sizeof slot->component, "%s", component);
	for (int i = 0; i < HALF_COUNT; i++)
		slot->parts[i].fd = -1;
	slot->first_ms = slot->changed_ms = now_ms;
	slot->next = d->slots;
	d->slots = slot;
	return slot;
}

static void touched(struct slot *slot, int64_t now_ms)
{
	if (slot_empty(slot))
		slot->first_ms = now_ms;
	slot->changed_ms = now_ms;
	slot->not_before_ms = 0;
	slot->tried = false;
	slot->retries = 0;
}

/* "proxy_cert.pem": component and half. False: not a name for us. */
static bool parse_name(
	const char *name, char component[COMPONENT_TEXT_MAX + 1], enum half *out_half)
{
	static const struct {
		const char *suffix;
		enum half half;
	} forms[] = { { "_cert.pem", HALF_CERT }, { "_key.pem", HALF_KEY }, { ".pem", HALF_BOTH } };

	for (size_t i = 0; i < LS_COUNT(forms); i++) {
		size_t len = strlen(name), cut = strlen(forms[i].suffix);

		if (!ls_has_suffix(name, forms[i].suffix) || len == cut)
			continue;
		if (len - cut > COMPONENT_TEXT_MAX)
			return false;
		memcpy(component, name, len - cut);
		component[len - cut] = '\0';
		*out_half = forms[i].half;
		return ls_name_valid(component);
	}
	return false;
}

/* A name may hold anything, and ends up in the log. */
static char *printable(const char *name)
{
	char *text = ls_strdup(name);

	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	return text;
}

/* Each file of another name is a slot of its own, under a name that no component has. Long ones
 * that begin alike must not share one: they would displace each other for ever. */
static void foreign_name(const char *name, char out[COMPONENT_TEXT_MAX + 1])
{
	unsigned char sha256[LS_SHA256_BYTES];
	char hex[2 * 8 + 1];

	LS_CLEANUP(ls_free_str) char *shown = printable(name);

	(void)snprintf(out, COMPONENT_TEXT_MAX + 1, "?%s", shown);
	if (strlen(name) < COMPONENT_TEXT_MAX && strcmp(shown, name) == 0)
		return;
	ls_sha256(LS_BYTES_STR(name), sha256);
	ls_hex(sha256, 8, hex);
	(void)snprintf(out, COMPONENT_TEXT_MAX + 1, "?%.40s~%s", shown, hex);
}

static struct seen seen_of(const struct stat *st)
{
	return (struct seen){ st->st_ino, st->st_size, st->st_mtim, st->st_ctim };
}

static bool same_time(struct timespec x, struct timespec y)
{
	return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
}

static bool same_seen(const struct seen *x, const struct seen *y)
{
	return x->inode == y->inode && x->size == y->size && same_time(x->mtime, y->mtime) &&
	       same_time(x->ctime, y->ctime);
}

/* One file of incoming/: read it when it is new or has changed. */
static void take_file(struct ls_dropin *d, int dir_fd, const char *name, int64_t now_ms)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	char component[COMPONENT_TEXT_MAX + 1];
	enum half half = HALF_CERT;
	struct ls_err err = { 0 };
	struct slot *slot;
	struct part *part;
	struct stat st;
	struct seen seen;
	bool ours = parse_name(name, component, &half), known;
	enum ls_code code;

	if (name[0] == '.' || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (!ours)
		foreign_name(name, component);
	slot = slot_get(d, LS_DROPIN_INCOMING, component, now_ms);
	part = &slot->parts[half];
	seen = seen_of(&st);
	part->present_in_scan = true;
	known = part->there && same_seen(&part->seen, &seen);
	if (known && !part->unread)
		return;
	if (!known)
		touched(slot, now_ms);
	part_clear(part);
	part->there = part->present_in_scan = true;
	part->file_name = ls_strdup(name);
	part->seen = seen;
	if (!ours) {
		part->fault = ls_format("'%s': the name is none of <component>_cert.pem, "
					"<component>_key.pem, <component>.pem",
			component + 1);
		return;
	}
	code = ls_file_read_untrusted(
		dir_fd, name, d->settings.bytes_max, false, &bytes, NULL, &err);
	if (code == LS_OK)
		ls_secret_set(&part->bytes, ls_buf_bytes(&bytes));
	else
		part->fault = ls_strdup(err.text);
	part->unread = code != LS_OK && code != LS_E_REFUSED;
	if (bytes.data)
		ls_wipe(bytes.data, bytes.cap);
}

static void drop_vanished(struct ls_dropin *d, int64_t now_ms)
{
	for (struct slot **at = &d->slots; *at;) {
		struct slot *slot = *at;

		for (int i = 0; slot->origin == LS_DROPIN_INCOMING && i < HALF_COUNT; i++) {
			if (slot->parts[i].there && !slot->parts[i].present_in_scan) {
				part_clear(&slot->parts[i]);
				touched(slot, now_ms);
			}
		}
		if (slot_empty(slot) && slot != d->offered) {
			*at = slot->next;
			slot_free(slot);
			continue;
		}
		at = &slot->next;
	}
}

enum ls_code ls_dropin_scan(struct ls_dropin *d, int64_t now_ms, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;
	LS_CLEANUP(ls_free_strv) char **names = NULL;

	if (d->offered) /* what is being judged must not change under the judge; there is a scan
			   afterwards */
		return LS_OK;
	LS_TRY(ls_dir_open(d->incoming, &dir_fd, err));
	LS_TRY(ls_dir_list(dir_fd, NAMES_MAX, &names, err));
	for (struct slot *slot = d->slots; slot; slot = slot->next)
		for (int i = 0; i < HALF_COUNT; i++)
			slot->parts[i].present_in_scan = false;
	for (size_t i = 0; i < ls_strv_count(names); i++)
		take_file(d, dir_fd, names[i], now_ms);
	drop_vanished(d, now_ms);
	return LS_OK;
}

void ls_dropin_capture(
	struct ls_dropin *d, const char *component, enum ls_live_kind kind, int fd, int64_t now_ms)
{
	static const enum half halves[] = {
		[LS_LIVE_CERT] = HALF_CERT, [LS_LIVE_KEY] = HALF_KEY, [LS_LIVE_BOTH] = HALF_BOTH
	};
	struct slot *slot;
	struct part *part;

	if (fd < 0)
		return;
	if (kind ==
		LS_LIVE_CA) { /* a trust file follows from the certificate; it is only put back */
		(void)close(fd);
		return;
	}
	slot = slot_get(d, LS_DROPIN_LIVE, component, now_ms);
	part = &slot->parts[halves[kind]];
	touched(slot, now_ms);
	part_clear(part);
	part->there = true;
	part->file_name = ls_format(kind == LS_LIVE_BOTH  ? "%s.pem"
				    : kind == LS_LIVE_KEY ? "%s_key.pem"
							  : "%s_cert.pem",
		component);
	part->fd = fd;
}

/* Reads a captured file again: its writer may have gone on after it was put aside. True: it has
 * changed since. */
static bool reread(struct ls_dropin *d, struct part *part)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf bytes = { 0 };
	struct ls_err err;
	struct stat st;
	struct seen seen;

	if (part->fd < 0 || fstat(part->fd, &st) != 0)
		return false;
	seen = seen_of(&st);
	if (part->bytes.data && part->seen.size == seen.size &&
		same_time(part->seen.mtime, seen.mtime))
		return false;
	part->seen = seen;
	free(part->fault);
	part->fault = NULL;
	(void)lseek(part->fd, 0, SEEK_SET);
	if (ls_file_read_fd(part->fd, part->file_name, d->settings.bytes_max, &bytes, &err) !=
		LS_OK)
		part->fault = ls_strdup(err.text);
	ls_secret_set(&part->bytes, ls_buf_bytes(&bytes));
	if (bytes.data)
		ls_wipe(bytes.data, bytes.cap);
	return true;
}

static bool last_chance(const struct ls_dropin *d, const struct slot *slot, int64_t now_ms)
{
	return now_ms - slot->first_ms >= d->settings.patience_ms;
}

static bool slot_due(const struct ls_dropin *d, const struct slot *slot, int64_t now_ms)
{
	if (slot_empty(slot) || now_ms < slot->not_before_ms ||
		now_ms - slot->changed_ms < d->settings.settle_ms)
		return false;
	return !slot->tried || last_chance(d, slot, now_ms);
}

static void fill_offer(const struct ls_dropin *d, const struct slot *slot, int64_t now_ms,
	struct ls_dropin_offer *out)
{
	const struct part *cert = &slot->parts[HALF_CERT], *key = &slot->parts[HALF_KEY],
			  *both = &slot->parts[HALF_BOTH];

	if (!cert->there)
		cert = both;
	if (!key->there)
		key = both;
	*out = (struct ls_dropin_offer){
		.origin = slot->origin,
		.component = slot->component,
		.last_chance = last_chance(d, slot, now_ms),
	};
	if (cert->there) {
		out->cert = ls_secret_bytes(&cert->bytes);
		out->cert_name = cert->file_name;
	}
	if (key->there) {
		out->key = ls_secret_bytes(&key->bytes);
		out->key_name = key->file_name;
	}
	for (int i = 0; i < HALF_COUNT; i++) {
		const struct part *part = &slot->parts[i];

		if (!part->fault || (out->fault && part->unread))
			continue;
		out->fault = part->fault;
		out->unread = part->unread;
	}
}

/* Reads captured files again. True: one has changed since it was read. */
static bool slot_went_on(struct ls_dropin *d, struct slot *slot)
{
	bool changed = false;

	for (int i = 0; i < HALF_COUNT; i++) {
		bool first = !slot->parts[i].bytes.data && !slot->parts[i].fault;

		changed |= reread(d, &slot->parts[i]) && !first;
	}
	return changed;
}

static bool slot_captured(const struct slot *slot)
{
	for (int i = 0; i < HALF_COUNT; i++)
		if (slot->parts[i].fd >= 0)
			return true;
	return false;
}

bool ls_dropin_next(struct ls_dropin *d, int64_t now_ms, struct ls_dropin_offer *out)
{
	assert(!d->offered);
	for (struct slot *slot = d->slots; slot; slot = slot->next) {
		bool due = slot_due(d, slot, now_ms);

		if ((due || slot->tried) && slot_went_on(d, slot)) {
			touched(slot, now_ms);
			continue;
		}
		if (!due)
			continue;
		fill_offer(d, slot, now_ms, out);
		d->offered = slot;
		return true;
	}
	return false;
}

/* What was judged goes; but what only bears a name that is not for us, or is a directory with
 * something in it, may be an operator's only copy: it is put aside under a name that is not looked
 * at. The file is moved before it is compared, so that what somebody writes at this instant under
 * the old name is not what goes. */
static void remove_file(int dir_fd, const struct part *part, bool keep)
{
	LS_CLEANUP(ls_free_str)
	char *aside = ls_format(".refused-%lld-%.200s", (long long)ls_now_ms(), part->file_name);
	struct seen seen;
	struct stat st;

	if (renameat2(dir_fd, part->file_name, dir_fd, aside, RENAME_NOREPLACE) != 0 ||
		fstatat(dir_fd, aside, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return; /* gone, or still there: then it is offered again */
	seen = seen_of(&st);
	if (seen.inode != part->seen.inode || seen.size != part->seen.size ||
		!same_time(seen.mtime, part->seen.mtime))
		(void)renameat2(dir_fd, aside, dir_fd, part->file_name, RENAME_NOREPLACE);
	else if (S_ISDIR(st.st_mode))
		(void)unlinkat(dir_fd, aside, AT_REMOVEDIR); /* only an empty one */
	else if (!keep)
		(void)unlinkat(dir_fd, aside, 0);
}

static void remove_files(struct ls_dropin *d, struct slot *slot)
{
	LS_CLEANUP(ls_fd_close) int dir_fd = -1;

	if (slot->origin != LS_DROPIN_INCOMING || ls_dir_open(d->incoming, &dir_fd, NULL) != LS_OK)
		return;
	for (int i = 0; i < HALF_COUNT; i++)
		if (slot->parts[i].there)
			remove_file(dir_fd, &slot->parts[i], slot->component[0] == '?');
}

void ls_dropin_settle(struct ls_dropin *d, enum ls_dropin_verdict verdict, int64_t now_ms)
{
	struct slot *slot = d->offered;

	assert(slot);
	d->offered = NULL;
	switch (verdict) {
	case LS_DROPIN_TAKEN:
	case LS_DROPIN_REFUSED:
		remove_files(d, slot);
		for (int i = 0; i < HALF_COUNT; i++)
			part_clear(&slot->parts[i]);
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
}

int64_t ls_dropin_wake_ms(const struct ls_dropin *d, int64_t now_ms)
{
	int64_t soonest = -1;

	for (const struct slot *slot = d->slots; slot; slot = slot->next) {
		int64_t at;

		if (slot_empty(slot) || slot == d->offered)
			continue;
		at = slot->changed_ms + d->settings.settle_ms;
		if (slot->tried)
			at = slot->first_ms + d->settings.patience_ms;
		if (at < slot->not_before_ms)
			at = slot->not_before_ms;
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

/* The certificates of a text, and nothing else: what stands between or beside them may be a key,
 * and so may what is only labelled a certificate. */
static void certificates_only(struct ls_bytes text, struct ls_buf *out)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----",
			  end[] = "-----END CERTIFICATE-----";
	const char *at = text.data, *stop = at ? at + text.len : NULL;

	while (at && at < stop) {
		const char *from = memmem(at, (size_t)(stop - at), begin, sizeof begin - 1);
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
		const char *to, *nested;

		if (!from)
			return;
		to = memmem(from, (size_t)(stop - from), end, sizeof end - 1);
		if (!to)
			return;
		nested = memmem(from + sizeof begin - 1, (size_t)(to - from) - sizeof begin + 1,
			"-----", 5);
		at = to + sizeof end - 1;
		if (nested || ls_cert_info_read((struct ls_bytes){ from, (size_t)(at - from) },
				      &info, NULL) != LS_OK)
			continue;
		ls_buf_add(out, from, (size_t)(at - from));
		ls_buf_str(out, "\n");
	}
}

static enum ls_code fill_rejected(const char *path, const char *component, const char *reason,
	struct ls_bytes cert, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf certs = { 0 };
	LS_CLEANUP(ls_free_str) char *text = ls_format("%s\n", reason);
	LS_CLEANUP(ls_fd_close) int fd = -1;

	LS_TRY(ls_dir_open(path, &fd, err));
	certificates_only(cert, &certs);
	if (certs.len) {
		LS_CLEANUP(ls_free_str) char *name = ls_format("%s_cert.pem", component);

		LS_TRY(ls_file_replace(fd, name, ls_buf_bytes(&certs), 0600, (gid_t)-1, err));
	}
	return ls_file_replace(fd, "reason.txt", LS_BYTES_STR(text), 0600, (gid_t)-1, err);
}

enum ls_code ls_dropin_reject(const char *rejected, int64_t at_ms, const char *component,
	const char *reason, struct ls_bytes cert, char **out_path, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *path = NULL;
	enum ls_code code;
	char stamp[LS_TIME_TEXT_SIZE];

	if (!ls_name_valid(component))
		component = "unknown";
	for (int i = 0; i < 1000;
		i++) { /* two refusals within a millisecond must not share a directory */
		ls_time_stamp(at_ms + i, stamp);
		ls_free_str(&path);
		path = ls_format("%s/%s-%s", rejected, stamp, component);
		if (mkdir(path, 0700) == 0 || access(path, F_OK) != 0)
			break;
	}
	LS_TRY(ls_dir_make(path, 0700, err));
	code = fill_rejected(path, component, reason, cert, err);
	if (code != LS_OK) { /* it is tried again: half a refusal each time would pile up */
		LS_IGNORE(ls_dir_remove(AT_FDCWD, path, NULL));
		return code;
	}
	if (out_path)
		*out_path = LS_TAKE(path);
	return LS_OK;
}

/* "20261121T225100.123Z-…" */
static bool begins_with_stamp(const char *name)
{
	static const char form[] = "00000000T000000.000Z-";

	for (size_t i = 0; i < sizeof form - 1; i++)
		if (form[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != form[i])
			return false;
	return true;
}

enum ls_code ls_dropin_expire(
	const char *rejected, int64_t now_ms, int64_t keep_days, struct ls_err *err)
{
	LS_CLEANUP(ls_fd_close) int fd = -1;
	LS_CLEANUP(ls_free_strv) char **names = NULL;
	char limit[LS_TIME_TEXT_SIZE];

	ls_time_stamp(now_ms - keep_days * 86400000, limit);
	LS_TRY(ls_dir_open(rejected, &fd, err));
	LS_TRY(ls_dir_list(fd, NAMES_MAX * 10, &names, err));
	for (size_t i = 0; i < ls_strv_count(names);
		i++) /* the names begin with the time, so text order is time order */
		if (begins_with_stamp(names[i]) && strcmp(names[i], limit) < 0)
			LS_TRY(ls_dir_remove(fd, names[i], err));
	return LS_OK;
}
