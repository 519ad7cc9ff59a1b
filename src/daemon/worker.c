#include "daemon/worker.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/text.h"

struct job {
	struct job *next;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void (*drop)(void *arg);
	void *arg;
};

struct ls_worker {
	struct ls_loop *loop;
	const char *name;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;  /* a job came, or the end */
	pthread_cond_t ended; /* the thread is over */
	struct job *first, **last;
	struct job *ended_first, **ended_last; /* worked, not yet answered */
	bool stopping, over;
	_Atomic int64_t life_ms; /* last sign of life of the running job; 0: idle */
	int pending;             /* loop's thread only */
};

/* A job stays the worker's until it is answered: the loop may end before. */
static void answer_next(void *arg)
{
	struct ls_worker *w = arg;
	struct job *job;

	(void)pthread_mutex_lock(&w->mutex);
	job = w->ended_first;
	w->ended_first = job->next;
	if (!w->ended_first)
		w->ended_last = &w->ended_first;
	(void)pthread_mutex_unlock(&w->mutex);
	w->pending--;
	job->done(job->arg);
	free(job);
}

static void jobs_free(struct job *job)
{
	while (job) {
		struct job *next = job->next;

		if (job->drop)
			job->drop(job->arg);
		free(job);
		job = next;
	}
}

static void *run(void *arg)
{
	struct ls_worker *w = arg;
	bool worked = false;

	(void)prctl(PR_SET_NAME, w->name);
	(void)pthread_mutex_lock(&w->mutex);
	for (;;) {
		struct job *job;

		/* A change uses some MB for a moment; what is idle for weeks gives them back. */
		if (!w->first && worked)
			(void)malloc_trim(0);
		worked = true;
		while (!w->first && !w->stopping)
			(void)pthread_cond_wait(&w->wake, &w->mutex);
		if (w->stopping)
			break;
		job = w->first;
		w->first = job->next;
		if (!w->first)
			w->last = &w->first;
		(void)pthread_mutex_unlock(&w->mutex);
		atomic_store(&w->life_ms, ls_mono_ms());
		job->work(job->arg);
		atomic_store(&w->life_ms, 0);
		(void)pthread_mutex_lock(&w->mutex);
		job->next = NULL;
		*w->ended_last = job;
		w->ended_last = &job->next;
		ls_loop_post(w->loop, answer_next, w);
	}
	w->over = true;
	(void)pthread_cond_signal(&w->ended);
	(void)pthread_mutex_unlock(&w->mutex);
	return NULL;
}

enum ls_code ls_worker_new(
	struct ls_loop *loop, const char *name, struct ls_worker **out, struct ls_err *err)
{
	struct ls_worker *w = ls_alloc(1, sizeof *w);
	pthread_condattr_t attr;
	sigset_t all, old;
	int rc;

	/* Where malloc is replaced (a sanitizer), this call is the C library's first look at its
	 * own heap, which two threads must not have at once: it sets the heap up, without a lock.
	 */
	(void)malloc_trim(0);
	w->name = name;
	w->loop = loop;
	w->last = &w->first;
	w->ended_last = &w->ended_first;
	(void)pthread_mutex_init(&w->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->wake, &attr);
	(void)pthread_cond_init(&w->ended, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)sigfillset(&all); /* signals are the loop's */
	/* But a fault is the thread's own: blocked, it would end the process without a word. */
	(void)sigdelset(&all, SIGSEGV);
	(void)sigdelset(&all, SIGBUS);
	(void)sigdelset(&all, SIGFPE);
	(void)sigdelset(&all, SIGILL);
	(void)sigdelset(&all, SIGABRT);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, run, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		free(w);
		errno = rc;
		return LS_FAIL_ERRNO(err, "start the thread '%s'", name);
	}
	*out = w;
	return LS_OK;
}

void ls_worker_post(struct ls_worker *w, void (*work)(void *arg), void (*done)(void *arg),
	void (*drop)(void *arg), void *arg)
{
	struct job *job = ls_alloc(1, sizeof *job);

	*job = (struct job){ .work = work, .done = done, .drop = drop, .arg = arg };
	w->pending++;
	(void)pthread_mutex_lock(&w->mutex);
	*w->last = job;
	w->last = &job->next;
	(void)pthread_cond_signal(&w->wake);
	(void)pthread_mutex_unlock(&w->mutex);
}

int ls_worker_pending(const struct ls_worker *w)
{
	return w->pending;
}

int64_t ls_worker_silent_ms(struct ls_worker *w)
{
	int64_t at = atomic_load(&w->life_ms);

	return at ? ls_mono_ms() - at : 0;
}

void ls_worker_alive(struct ls_worker *w)
{
	atomic_store(&w->life_ms, ls_mono_ms());
}

bool ls_worker_stop(struct ls_worker **worker, int64_t wait_ms)
{
	struct ls_worker *w = *worker;
	struct timespec until;
	bool over;

	if (!w)
		return true;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&w->mutex);
	w->stopping = true;
	(void)pthread_cond_signal(&w->wake);
	while (!w->over && pthread_cond_timedwait(&w->ended, &w->mutex, &until) == 0)
		;
	over = w->over;
	(void)pthread_mutex_unlock(&w->mutex);
	if (!over)
		return false;
	(void)pthread_join(w->thread, NULL);
	jobs_free(w->first);
	jobs_free(w->ended_first);
	(void)pthread_mutex_destroy(&w->mutex);
	(void)pthread_cond_destroy(&w->wake);
	(void)pthread_cond_destroy(&w->ended);
	free(w);
	*worker = NULL;
	return true;
}
