/* watch -- says when something in a set of directories may have changed (inotify), and never claims
 * to be complete.
 *
 * Level-triggered use: an event means "look now". After an overflow, a replaced directory or a
 * failed watch `lost` is reported and the caller looks everywhere; a timer looks anyway. Belongs to
 * one thread. Directories that vanish are re-armed when they come back: the directory above is
 * watched too.
 */
#ifndef LS_SYS_WATCH_H
#define LS_SYS_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct ls_watch;

enum ls_watch_mode { LS_WATCH_INOTIFY, LS_WATCH_POLL };

/* Never fails for want of inotify instances or watches: it then runs in LS_WATCH_POLL mode, and the
 * caller's timer does the work. */
void ls_watch_new(struct ls_watch **out);
void ls_watch_free(struct ls_watch **watch);
/* -1 in poll mode. ls_watch_add, _read and _rearm may change the mode and thereby the descriptor.
 */
int ls_watch_fd(const struct ls_watch *watch);
enum ls_watch_mode ls_watch_mode(const struct ls_watch *watch);
/* Why it polls, "" when it does not. */
const char *ls_watch_reason(const struct ls_watch *watch);
/* Adds a directory under the caller's number; an absent one is awaited. Adding the same number
 * again replaces its path. */
void ls_watch_add(struct ls_watch *watch, int number, const char *path);
void ls_watch_drop(struct ls_watch *watch, int number);
/* Reads what there is without blocking. `on_change(arg, number, name)`: an entry of that directory
 * was made, written and closed, moved, changed or removed; name NULL: look at the whole directory.
 * `on_lost(arg)`: look everywhere. The callbacks must not add or drop. */
void ls_watch_read(struct ls_watch *watch,
	void (*on_change)(void *arg, int number, const char *name), void (*on_lost)(void *arg),
	void *arg);
/* Tries again to arm what could not be armed, and notices directories that were replaced unseen
 * (called by the timer); leaves poll mode when it can; true when something was newly armed, so look
 * there. */
bool ls_watch_rearm(struct ls_watch *watch);

#endif
