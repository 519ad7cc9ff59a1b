#include "sys/watch.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SELF_EVENTS                                                                                \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_MODIFY |        \
		IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define ABOVE_EVENTS                                                                               \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |     \
		IN_ONLYDIR)

/* inotify gives one descriptor per inode: two entries may share one (the directory above one may be
 * another's own), so a descriptor's events are a union and its removal waits for the last user. */
struct entry {
	int number;
	char *path;       /* no slash at the end */
	char *above;      /* its directory */
	const char *name; /* within `path` */
	int self_wd;      /* -1: not armed */
	int above_wd;
	bool above_near; /* above_wd is of `above` itself, not of a directory further up */
};

struct ls_watch {
	int fd;
	char reason[160];
	struct entry *entries;
	size_t count;
	bool busy; /* within ls_watch_read: entries must not move */
};

static void go_polling(struct ls_watch *watch, const char *what, int errnum)
{
	const char *limit = errnum == ENOSPC   ? " (limit fs.inotify.max_user_watches)"
			    : errnum == EMFILE ? " (limit fs.inotify.max_user_instances)"
					       : "";

	(void)snprintf(watch->reason, sizeof watch->reason, "%s: %s%s", what,
		strerrordesc_np(errnum), limit);
	ls_fd_close(&watch->fd);
	for (size_t i = 0; i < watch->count; i++)
		watch->entries[i].self_wd = watch->entries[i].above_wd = -1;
}

static bool open_instance(struct ls_watch *watch)
{
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0) {
		go_polling(watch, "no inotify instance", errno);
		return false;
	}
	watch->reason[0] = '\0';
	return true;
}

void ls_watch_new(struct ls_watch **out)
{
	struct ls_watch *watch = ls_alloc(1, sizeof *watch);

	(void)open_instance(watch); /* then it polls, and says why */
	*out = watch;
}

static void entry_done(struct entry *entry)
{
	ls_free_str(&entry->path);
	ls_free_str(&entry->above);
}

void ls_watch_free(struct ls_watch **watch_ptr)
{
	struct ls_watch *watch = LS_TAKE(*watch_ptr);

	if (!watch)
		return;
	ls_fd_close(&watch->fd);
	for (size_t i = 0; i < watch->count; i++)
		entry_done(&watch->entries[i]);
	free(watch->entries);
	free(watch);
}

int ls_watch_fd(const struct ls_watch *watch)
{
	return watch->fd;
}

enum ls_watch_mode ls_watch_mode(const struct ls_watch *watch)
{
	return watch->fd >= 0 ? LS_WATCH_INOTIFY : LS_WATCH_POLL;
}

const char *ls_watch_reason(const struct ls_watch *watch)
{
	return watch->reason;
}

static void unwatch(struct ls_watch *watch, int wd)
{
	if (wd < 0 || watch->fd < 0)
		return;
	for (size_t i = 0; i < watch->count; i++)
		if (watch->entries[i].self_wd == wd || watch->entries[i].above_wd == wd)
			return;
	(void)inotify_rm_watch(watch->fd, wd); /* it may be gone already */
}

static void disarm(struct ls_watch *watch, int *wd)
{
	int old = *wd;

	*wd = -1;
	unwatch(watch, old);
}

/* -1 with the mode gone to polling when the system's limit is met; -1 alone when absent. */
static int arm_path(struct ls_watch *watch, const char *path, uint32_t events)
{
	int wd = inotify_add_watch(watch->fd, path, events | IN_MASK_ADD);

	if (wd < 0 && (errno == ENOSPC || errno == EMFILE || errno == ENOMEM))
		go_polling(watch, "no inotify watch", errno);
	return wd;
}

/* The directory above, or while that is missing the nearest one that is there. */
static int arm_above(struct ls_watch *watch, const struct entry *entry, bool *out_near)
{
	LS_CLEANUP(ls_free_str) char *path = ls_strdup(entry->above);
	int wd;

	*out_near = true;
	for (;;) {
		char *slash = strrchr(path, '/');

		wd = arm_path(watch, path, ABOVE_EVENTS);
		if (wd >= 0 || watch->fd < 0 || !slash || strcmp(path, "/") == 0)
			return wd;
		*out_near = false;
		slash[slash == path ? 1 : 0] = '\0';
	}
}

/* What is made between the look at one level and the watch on the one above it raises no event, so
 * this looks until it finds the same twice. */
static int arm_nearest(struct ls_watch *watch, const struct entry *entry, bool *out_near)
{
	int last = -1;

	for (;;) {
		int wd = arm_above(watch, entry, out_near);

		if (last >= 0 && last != wd)
			unwatch(watch, last);
		if (wd < 0 || *out_near || wd == last)
			return wd;
		last = wd;
	}
}

/* Looks where the paths lead now; true when the directory is another one than before, or is newly
 * there. */
static bool arm(struct ls_watch *watch, struct entry *entry)
{
	bool near = false;
	int before, wd;

	if (watch->fd < 0)
		return false;
	/* Above first: what replaces the directory between the two calls is then not missed. */
	wd = arm_nearest(watch, entry, &near);
	if (watch->fd < 0)
		return false;
	before = entry->above_wd;
	entry->above_wd = wd;
	entry->above_near = near;
	if (before != wd)
		unwatch(watch, before);
	wd = arm_path(watch, entry->path, SELF_EVENTS);
	if (watch->fd < 0)
		return false;
	before = entry->self_wd;
	entry->self_wd = wd;
	if (before != wd)
		unwatch(watch, before);
	return wd >= 0 && wd != before;
}

static struct entry *entry_find(struct ls_watch *watch, int number)
{
	for (size_t i = 0; i < watch->count; i++)
		if (watch->entries[i].number == number)
			return &watch->entries[i];
	return NULL;
}

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return ls_strdup(".");
	return slash == path ? ls_strdup("/") : ls_strndup(path, (size_t)(slash - path));
}

void ls_watch_add(struct ls_watch *watch, int number, const char *path)
{
	struct entry *entry;
	const char *slash;
	size_t len = strlen(path);

	assert(!watch->busy);
	ls_watch_drop(watch, number);
	watch->entries = ls_realloc(watch->entries, watch->count + 1, sizeof *watch->entries);
	entry = &watch->entries[watch->count++];
	while (len > 1 && path[len - 1] == '/')
		len--;
	*entry = (struct entry){ .number = number, .self_wd = -1, .above_wd = -1 };
	entry->path = ls_strndup(path, len);
	entry->above = directory_of(entry->path);
	slash = strrchr(entry->path, '/');
	entry->name = slash ? slash + 1 : entry->path;
	(void)arm(watch, entry);
}

void ls_watch_drop(struct ls_watch *watch, int number)
{
	struct entry *entry = entry_find(watch, number);

	assert(!watch->busy);
	if (!entry)
		return;
	disarm(watch, &entry->self_wd);
	disarm(watch, &entry->above_wd);
	entry_done(entry);
	*entry = watch->entries[--watch->count];
}

struct reader {
	void (*on_change)(void *arg, int number, const char *name);
	void (*on_lost)(void *arg);
	void *arg;
};

/* The kernel dropped the watch: the directory was removed, or its file system unmounted. */
static void watch_ended(struct ls_watch *watch, int wd, struct reader *reader)
{
	for (size_t i = 0; i < watch->count; i++) {
		struct entry *entry = &watch->entries[i];
		bool used = entry->self_wd == wd || entry->above_wd == wd;

		if (!used)
			continue;
		if (entry->self_wd == wd)
			entry->self_wd = -1;
		if (entry->above_wd == wd)
			entry->above_wd = -1;
		(void)arm(watch, entry);
		reader->on_change(reader->arg, entry->number, NULL);
	}
}

static bool concerns_place(const struct entry *entry, const struct inotify_event *event)
{
	if (entry->above_wd != event->wd)
		return false;
	/* From further up any change may bring the way there into being. */
	return !entry->above_near || event->len == 0 || strcmp(event->name, entry->name) == 0;
}

static void give(struct ls_watch *watch, const struct inotify_event *event, struct reader *reader)
{
	const uint32_t self_gone = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT;

	if (event->mask & IN_Q_OVERFLOW) {
		for (size_t i = 0; i < watch->count; i++)
			(void)arm(watch, &watch->entries[i]);
		reader->on_lost(reader->arg);
		return;
	}
	if (event->mask & IN_IGNORED) {
		watch_ended(watch, event->wd, reader);
		return;
	}
	for (size_t i = 0; i < watch->count; i++) {
		struct entry *entry = &watch->entries[i];
		bool mine = entry->self_wd == event->wd;

		if ((mine && (event->mask & self_gone)) || concerns_place(entry, event)) {
			(void)arm(watch, entry);
			reader->on_change(reader->arg, entry->number, NULL);
		} else if (mine) {
			reader->on_change(
				reader->arg, entry->number, event->len ? event->name : NULL);
		}
	}
}

void ls_watch_read(struct ls_watch *watch,
	void (*on_change)(void *arg, int number, const char *name), void (*on_lost)(void *arg),
	void *arg)
{
	_Alignas(struct inotify_event) char buf[16384];
	struct reader reader = { on_change, on_lost, arg };

	watch->busy = true;
	while (watch->fd >= 0) {
		ssize_t n = read(watch->fd, buf, sizeof buf);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (ssize_t at = 0; at < n && watch->fd >= 0;) {
			const struct inotify_event *event = (const void *)(buf + at);

			give(watch, event, &reader);
			at += (ssize_t)(sizeof *event + event->len);
		}
		if (watch->fd < 0)
			on_lost(arg);
	}
	watch->busy = false;
}

bool ls_watch_rearm(struct ls_watch *watch)
{
	bool news = false;

	if (watch->fd < 0 && !open_instance(watch))
		return false;
	for (size_t i = 0; i < watch->count; i++)
		if (arm(watch, &watch->entries[i]))
			news = true;
	return news && watch->fd >= 0;
}
