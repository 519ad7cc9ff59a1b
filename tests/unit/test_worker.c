/* The worker: one job after the other, answers in the loop's thread, and an orderly end. */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static struct ls_loop *loop;
static struct ls_worker *worker;
static pthread_t loop_thread;
static int gate[2]; /* a job that reads from it is busy until somebody writes or closes */
static char worked[64], answered[64];
static int worked_count, answered_count;
static bool wrong_thread;

static void setup(void)
{
	loop_thread = pthread_self();
	ck_assert_int_eq(pipe(gate), 0);
	ck_ok(ls_loop_new(&loop, &err));
	ck_ok(ls_worker_new(loop, "tested", &worker, &err));
}

static void teardown(void)
{
	ck_assert(ls_worker_stop(&worker, 60000));
	ls_loop_free(&loop);
	ls_fd_close(&gate[0]);
	ls_fd_close(&gate[1]);
	ck_assert(!wrong_thread);
}

static void work(void *arg)
{
	wrong_thread |= pthread_equal(pthread_self(), loop_thread);
	worked[worked_count++] = *(char *)arg;
}

static void wait_at_gate(void *arg)
{
	char byte;

	(void)!read(gate[0], &byte, 1);
	work(arg);
}

static void answer(void *arg)
{
	wrong_thread |= !pthread_equal(pthread_self(), loop_thread);
	answered[answered_count++] = *(char *)arg;
}

static void answer_and_stop(void *arg)
{
	answer(arg);
	ls_loop_stop(loop);
}

START_TEST(jobs_are_done_in_order_and_answered_in_the_loop)
{
	ls_worker_post(worker, work, answer, NULL, (char[]){ "a" });
	ls_worker_post(worker, wait_at_gate, answer, NULL, (char[]){ "b" });
	ls_worker_post(worker, work, answer, NULL, (char[]){ "c" });
	ls_worker_post(worker, work, answer_and_stop, NULL, (char[]){ "d" });
	ck_assert_int_eq(ls_worker_pending(worker), 4); /* answers come in the loop only */
	ck_assert_int_eq(write(gate[1], "", 1), 1);
	ls_loop_run(loop);
	ck_assert_str_eq(worked, "abcd");
	ck_assert_str_eq(answered, "abcd");
	ck_assert_int_eq(ls_worker_pending(worker), 0);
	ck_assert_int_eq(ls_worker_silent_ms(worker), 0);
}
END_TEST

static void post_again(void *arg)
{
	answer(arg);
	if (answered_count < 20)
		ls_worker_post(worker, work, post_again, NULL, arg);
	else
		ls_loop_stop(loop);
}

START_TEST(an_answer_may_post_the_next_job)
{
	ls_worker_post(worker, work, post_again, NULL, (char[]){ "x" });
	ls_loop_run(loop);
	ck_assert_int_eq(worked_count, 20);
	ck_assert_int_eq(ls_worker_pending(worker), 0);
}
END_TEST

/* True once the job has begun. */
static bool busy(void)
{
	for (int i = 0; i < 10000 && ls_worker_silent_ms(worker) == 0; i++)
		(void)poll(NULL, 0, 1);
	return ls_worker_silent_ms(worker) > 0;
}

START_TEST(a_silent_job_is_noticed_until_it_gives_a_sign)
{
	int64_t silent_ms;

	ck_assert_int_eq(ls_worker_silent_ms(worker), 0);
	ls_worker_post(worker, wait_at_gate, answer_and_stop, NULL, (char[]){ "a" });
	ck_assert(busy());
	while (ls_worker_silent_ms(worker) < 50)
		(void)poll(NULL, 0, 1);
	silent_ms = ls_worker_silent_ms(worker);
	ls_worker_alive(worker);
	ck_assert_int_lt(ls_worker_silent_ms(worker), silent_ms);
	ck_assert_int_eq(write(gate[1], "", 1), 1);
	ls_loop_run(loop);
}
END_TEST

START_TEST(stopping_an_idle_worker_drops_nothing)
{
	ck_assert(ls_worker_stop(&worker, 0) || ls_worker_stop(&worker, 60000));
	ck_assert_ptr_null(worker);
	ck_assert(ls_worker_stop(&worker, 0));
}
END_TEST

START_TEST(stopping_does_not_wait_for_ever_and_drops_what_has_not_begun)
{
	ls_worker_post(worker, wait_at_gate, answer, NULL, (char[]){ "a" });
	ls_worker_post(worker, work, answer, NULL, (char[]){ "b" });
	ck_assert(busy());
	ck_assert(!ls_worker_stop(&worker, 0));
	ck_assert_ptr_nonnull(worker);
	ck_assert_int_eq(write(gate[1], "", 1), 1);
	ck_assert(ls_worker_stop(&worker, 60000));
	ck_assert_str_eq(worked, "a");
	ck_assert_str_eq(answered, "");
}
END_TEST

static void *open_gate_soon(void *arg)
{
	(void)poll(NULL, 0, 20);
	(void)!write(gate[1], "", 1);
	return arg;
}

START_TEST(stopping_waits_for_parts_of_a_second_as_well)
{
	pthread_t thread;

	ls_worker_post(worker, wait_at_gate, answer, NULL, (char[]){ "a" });
	ck_assert(busy());
	ck_assert_int_eq(pthread_create(&thread, NULL, open_gate_soon, NULL), 0);
	ck_assert(ls_worker_stop(&worker, 999));
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_str_eq(worked, "a");
}
END_TEST

LS_TEST_MAIN_FIXTURE("worker", setup, teardown, jobs_are_done_in_order_and_answered_in_the_loop,
	an_answer_may_post_the_next_job, a_silent_job_is_noticed_until_it_gives_a_sign,
	stopping_an_idle_worker_drops_nothing,
	stopping_does_not_wait_for_ever_and_drops_what_has_not_begun,
	stopping_waits_for_parts_of_a_second_as_well)
