/* The event loop: timers, descriptors, signals, and wake-ups from other threads. */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "net/loop.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static struct ls_loop *loop;
static char trace[64];
static size_t traced;

static void setup(void)
{
	ck_ok(ls_loop_new(&loop, &err));
	traced = 0;
	memset(trace, 0, sizeof trace);
}

static void teardown(void)
{
	ls_loop_free(&loop);
}

static void note(void *arg)
{
	trace[traced++] = *(const char *)arg;
}

static void stop(void *arg)
{
	(void)arg;
	ls_loop_stop(loop);
}

START_TEST(timers_fire_in_order_and_never_early)
{
	struct ls_source *late = ls_loop_timer(loop, stop, NULL);
	struct ls_source *early = ls_loop_timer(loop, note, (char[]){ "a" });
	struct ls_source *never = ls_loop_timer(loop, note, (char[]){ "x" });
	int64_t start = ls_mono_ms();

	ls_source_arm(never, 5);
	ls_source_arm(late, 40);
	ls_source_arm(early, 10);
	ls_source_arm(never, -1);
	ls_loop_run(loop);
	ck_assert_int_ge(ls_mono_ms() - start, 40);
	ck_assert_str_eq(trace, "a");
}
END_TEST

static void free_itself(void *arg)
{
	note((char[]){ "f" });
	ls_source_free(arg);
}

START_TEST(a_source_may_free_itself)
{
	struct ls_source *self = NULL;
	struct ls_source *end = ls_loop_timer(loop, stop, NULL);

	self = ls_loop_timer(loop, free_itself, &self);
	ls_source_arm(self, 0);
	ls_source_arm(end, 5);
	ls_loop_run(loop);
	ck_assert_ptr_null(self);
	ck_assert_str_eq(trace, "f");
}
END_TEST

static void drain(void *arg)
{
	char c;

	ck_assert_int_eq(read(*(int *)arg, &c, 1), 1);
	note(&c);
	if (c == 'z')
		ls_loop_stop(loop);
}

START_TEST(a_readable_descriptor_is_reported_until_it_is_read)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	(void)ls_loop_readable(loop, fds[0], drain, &fds[0]);
	ck_assert_int_eq(write(fds[1], "xyz", 3), 3);
	ls_loop_run(loop);
	ck_assert_str_eq(trace, "xyz");
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

START_TEST(signals_arrive_in_the_loop)
{
	(void)ls_loop_signal(loop, SIGUSR1, stop, NULL);
	ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
	ls_loop_run(loop);
}
END_TEST

#define POSTS 5000

static int seen[2];

static void count_even(void *arg)
{
	ck_assert_int_eq(*(int *)arg, seen[0]);
	seen[0]++;
}

static void count_odd(void *arg)
{
	ck_assert_int_eq(*(int *)arg, seen[1]);
	seen[1]++;
}

static int numbers[POSTS];

static void *post_many(void *arg)
{
	for (int i = 0; i < POSTS; i++)
		ls_loop_post(loop, *(int *)arg ? count_odd : count_even, &numbers[i]);
	ls_loop_post(loop, stop, NULL);
	return NULL;
}

START_TEST(posts_from_threads_keep_their_order)
{
	pthread_t threads[2];
	int which[2] = { 0, 1 };

	seen[0] = seen[1] = 0;
	for (int i = 0; i < POSTS; i++)
		numbers[i] = i;
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, &which[i]), 0);
	while (seen[0] < POSTS || seen[1] < POSTS)
		ls_loop_run(loop);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

static void post_again(void *arg)
{
	note((char[]){ "1" });
	ls_loop_post(loop, stop, arg);
}

START_TEST(a_post_may_post)
{
	ls_loop_post(loop, post_again, NULL);
	ls_loop_run(loop);
	ck_assert_str_eq(trace, "1");
}
END_TEST

START_TEST(an_early_stop_is_kept_and_waiting_posts_are_dropped)
{
	ls_loop_stop(loop);
	ls_loop_post(loop, note, (char[]){ "x" });
	ls_loop_run(loop);
	ck_assert_str_eq(trace, "");
}
END_TEST

START_TEST(an_idle_loop_sleeps)
{
	struct ls_source *end = ls_loop_timer(loop, stop, NULL);
	struct rusage before, after;

	ls_source_arm(end, 300);
	ck_assert_int_eq(getrusage(RUSAGE_SELF, &before), 0);
	ls_loop_run(loop);
	ck_assert_int_eq(getrusage(RUSAGE_SELF, &after), 0);
	ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 5);
}
END_TEST

LS_TEST_MAIN_FIXTURE("loop", setup, teardown, timers_fire_in_order_and_never_early,
	a_source_may_free_itself, a_readable_descriptor_is_reported_until_it_is_read,
	signals_arrive_in_the_loop, posts_from_threads_keep_their_order, a_post_may_post,
	an_early_stop_is_kept_and_waiting_posts_are_dropped, an_idle_loop_sleeps)
