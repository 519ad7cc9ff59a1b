/* worker -- one thread with a queue of jobs: everything that blocks is done there, one after the
 * other (DESIGN 18).
 *
 * `post` and `free` belong to the loop's thread. A job's `work` runs in the worker, then its `done`
 * in the loop's thread.
 */
#ifndef LS_DAEMON_WORKER_H
#define LS_DAEMON_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"

struct ls_worker;

/* `name` is the thread's; borrowed for as long as it is there. */
LS_CHECK enum ls_code ls_worker_new(
	struct ls_loop *loop, const char *name, struct ls_worker **out, struct ls_err *err);
/* `drop` (may be NULL) frees arg in place of `done` when the worker is stopped before that. */
void ls_worker_post(struct ls_worker *worker, void (*work)(void *arg), void (*done)(void *arg),
	void (*drop)(void *arg), void *arg);
/* Jobs posted and not yet done. */
int ls_worker_pending(const struct ls_worker *worker);
/* Milliseconds for which the present job has shown no sign of life; 0 when idle. `alive` is that
 * sign, from any thread. */
int64_t ls_worker_silent_ms(struct ls_worker *worker);
void ls_worker_alive(struct ls_worker *worker);
/* Waits for the running job for at most wait_ms and ends the thread; jobs that had not begun are
 * dropped, and so are answers: the loop must not run any more. False: it did not end in time; the
 * process should exit without touching what the job uses. */
bool ls_worker_stop(struct ls_worker **worker, int64_t wait_ms);

#endif
