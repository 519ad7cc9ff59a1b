/* loop -- the main thread's event loop (libevent): descriptors, timers, signals, wake-ups from
 * other threads.
 *
 * All calls belong to the loop's thread, except ls_loop_post. Idle, it sleeps until the next timer.
 * The first loop makes the whole program ignore SIGPIPE (children get it back, see process.h).
 */
#ifndef LS_NET_LOOP_H
#define LS_NET_LOOP_H

#include <stdint.h>

#include "base/err.h"

struct ls_loop;
struct ls_source; /* a descriptor, timer or signal; freed with the loop at the latest */

LS_CHECK enum ls_code ls_loop_new(struct ls_loop **out, struct ls_err *err);
void ls_loop_free(struct ls_loop **loop);
void ls_loop_run(struct ls_loop *loop); /* until ls_loop_stop */
void ls_loop_stop(struct ls_loop *loop);

struct ls_source *ls_loop_readable(
	struct ls_loop *loop, int fd, void (*func)(void *arg), void *arg);
struct ls_source *ls_loop_timer(struct ls_loop *loop, void (*func)(void *arg), void *arg);
struct ls_source *ls_loop_signal(
	struct ls_loop *loop, int signum, void (*func)(void *arg), void *arg);
/* Arms a timer once, `in_ms` from now, replacing what it was set to; negative: stops it. */
void ls_source_arm(struct ls_source *timer, int64_t in_ms);
void ls_source_free(struct ls_source **source);

/* Has the loop's thread call func(arg) soon, in order. From any thread. What is still waiting when
 * the loop is freed is never called. */
void ls_loop_post(struct ls_loop *loop, void (*func)(void *arg), void *arg);

struct event_base;
struct event_base *ls_loop_base(struct ls_loop *loop); /* for net's own use */

#endif
