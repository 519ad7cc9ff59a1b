#include "intake/slots.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pki/digest.h"

static int compare(const void *x, const void *y)
{
	const struct ls_slot *a = x, *b = y;

	return a->live != b->live ? a->live - b->live : strcmp(a->component, b->component);
}

void ls_part_clear(struct ls_part *part)
{
	free(part->file_name);
	free(part->fault);
	ls_secret_done(&part->bytes);
	ls_fd_close(&part->fd);
	*part = (struct ls_part){ .fd = -1 };
}

void ls_part_release(struct ls_part *part, bool live)
{
	if (live && part->fd < 0)
		return;
	ls_secret_done(&part->bytes);
	ls_free_str(&part->fault);
	part->unread = false;
}

static void slot_free(struct ls_slot *slot)
{
	for (int i = 0; i < LS_HALF_COUNT; i++)
		ls_part_clear(&slot->parts[i]);
	free(slot);
}

bool ls_slot_empty(const struct ls_slot *slot)
{
	for (int i = 0; i < LS_HALF_COUNT; i++)
		if (slot->parts[i].there)
			return false;
	return true;
}

void ls_slots_init(struct ls_slots *slots)
{
	*slots = (struct ls_slots){ 0 };
	slots->last = &slots->first;
}

void ls_slots_done(struct ls_slots *slots)
{
	while (slots->first) {
		struct ls_slot *next = slots->first->next;

		(void)tdelete(slots->first, &slots->tree, compare);
		slot_free(slots->first);
		slots->first = next;
	}
	slots->last = &slots->first;
}

struct ls_slot *ls_slots_get(
	struct ls_slots *slots, bool live, const char *component, int64_t now_ms)
{
	struct ls_slot *slot = ls_alloc(1, sizeof *slot), **found;

	slot->live = live;
	(void)snprintf(slot->component, sizeof slot->component, "%s", component);
	found = tsearch(slot, &slots->tree, compare);
	if (!found)
		abort(); /* out of memory, as ls_alloc does */
	if (*found != slot) {
		free(slot);
		return *found;
	}
	for (int i = 0; i < LS_HALF_COUNT; i++)
		slot->parts[i].fd = -1;
	slot->first_ms = slot->changed_ms = now_ms;
	*slots->last = slot;
	slots->last = &slot->next;
	return slot;
}

void ls_slots_sweep(struct ls_slots *slots, const struct ls_slot *keep)
{
	struct ls_slot **at = &slots->first;

	while (*at) {
		struct ls_slot *slot = *at;

		if (!ls_slot_empty(slot) || slot == keep) {
			at = &slot->next;
			continue;
		}
		*at = slot->next;
		(void)tdelete(slot, &slots->tree, compare);
		slot_free(slot);
	}
	slots->last = at;
}

void ls_slot_touched(struct ls_slot *slot, int64_t now_ms)
{
	if (ls_slot_empty(slot))
		slot->first_ms = now_ms;
	slot->changed_ms = now_ms;
	slot->not_before_ms = 0;
	slot->tried = false;
	slot->retries = 0;
}

struct ls_seen ls_seen_of(const struct stat *st)
{
	return (struct ls_seen){ st->st_ino, st->st_size, st->st_mtim, st->st_ctim };
}

static bool same_time(struct timespec x, struct timespec y)
{
	return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
}

bool ls_seen_same_content(const struct ls_seen *x, const struct ls_seen *y)
{
	return x->inode == y->inode && x->size == y->size && same_time(x->mtime, y->mtime);
}

bool ls_seen_same(const struct ls_seen *x, const struct ls_seen *y)
{
	return ls_seen_same_content(x, y) && same_time(x->ctime, y->ctime);
}

static bool parse_name(
	const char *name, char component[LS_SLOT_NAME_MAX + 1], enum ls_half *out_half)
{
	static const struct {
		const char *suffix;
		enum ls_half half;
	} forms[] = { { "_cert.pem", LS_HALF_CERT }, { "_key.pem", LS_HALF_KEY },
		{ ".pem", LS_HALF_BOTH } };

	for (size_t i = 0; i < LS_COUNT(forms); i++) {
		size_t len = strlen(name), cut = strlen(forms[i].suffix);

		if (!ls_has_suffix(name, forms[i].suffix) || len == cut)
			continue;
		if (len - cut > LS_SLOT_NAME_MAX)
			return false;
		memcpy(component, name, len - cut);
		component[len - cut] = '\0';
		*out_half = forms[i].half;
		return ls_name_valid(component);
	}
	return false;
}

/* A name may hold anything, and ends up in the journal and on terminals, which take more than ASCII
 * as commands (C1 controls, marks that turn the direction of text). */
static char *printable(const char *name)
{
	char *text = ls_strdup(name);

	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
			*at = '?';
	return text;
}

/* Each file of another name is a slot of its own, under a name that no component has. Those that
 * look alike must not share one: they would displace each other for ever. */
static void foreign_name(const char *name, char out[LS_SLOT_NAME_MAX + 1])
{
	unsigned char sha256[LS_SHA256_BYTES];
	char hex[2 * 8 + 1];

	LS_CLEANUP(ls_free_str) char *shown = printable(name);

	(void)snprintf(out, LS_SLOT_NAME_MAX + 1, "?%s", shown);
	if (strlen(name) < LS_SLOT_NAME_MAX && strcmp(shown, name) == 0)
		return;
	ls_sha256(LS_BYTES_STR(name), sha256);
	ls_hex(sha256, 8, hex);
	(void)snprintf(out, LS_SLOT_NAME_MAX + 1, "?%.40s~%s", shown, hex);
}

bool ls_slot_name(const char *file_name, char component[LS_SLOT_NAME_MAX + 1], enum ls_half *half)
{
	*half = LS_HALF_CERT;
	if (parse_name(file_name, component, half))
		return true;
	*half = LS_HALF_CERT;
	foreign_name(file_name, component);
	return false;
}
