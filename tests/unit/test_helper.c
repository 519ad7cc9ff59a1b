/* The helper process: what is asked and answered, who waits for whom, and every end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/helper.h"
#include "sys/process.h"
#include "tests/unit/runner.h"

#define LONG_MS 60000
#define WORDS(...)                                                                                 \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static struct ls_err err;
static struct ls_helper_answer answer;
static int count_at_once; /* the helper's own copy */

static enum ls_code run_for(struct ls_helper_call *call, const char *script, struct ls_err *e)
{
	LS_CLEANUP(ls_process_result_done) struct ls_process_result result = { 0 };
	char sh[] = "/bin/sh", dash_c[] = "-c";
	char *argv[] = { sh, dash_c, ls_strdup(script), NULL };
	const struct ls_process process = {
		.argv = argv, .timeout_ms = LONG_MS, .output_max = 1000, .stop_fd = call->gone_fd
	};
	enum ls_code code = ls_process_run(&process, &result, e);

	free(argv[2]);
	if (code == LS_OK)
		ls_secret_set(&call->value, ls_secret_bytes(&result.output));
	return code;
}

static enum ls_code func(void *arg, struct ls_helper_call *call, struct ls_err *e)
{
	const char *verb = call->words[0];

	(void)arg;
	if (strcmp(verb, "echo") == 0) {
		ls_secret_set(&call->value, LS_BYTES_STR(call->words[1]));
		return LS_OK;
	}
	if (strcmp(verb, "refuse") == 0) {
		call->errnum = EPERM;
		LS_FAIL(e, LS_E_REFUSED, "said %zu words", call->count);
		LS_HINT(e, "a hint");
		return LS_E_REFUSED;
	}
	if (strcmp(verb, "count") == 0) {
		char text[16];

		(void)snprintf(text, sizeof text, "%d", ++count_at_once);
		ls_secret_set(&call->value, LS_BYTES_STR(text));
		return LS_OK;
	}
	if (strcmp(verb, "inode") == 0) {
		struct stat st;

		ck_assert_int_eq(fstat(call->fd, &st), 0);
		ls_secret_set(&call->value, (struct ls_bytes){ &st.st_ino, sizeof st.st_ino });
		return LS_OK;
	}
	if (strcmp(verb, "open") == 0) {
		call->out_fd = open(call->words[1], O_RDONLY | O_CLOEXEC);
		return LS_OK;
	}
	if (strcmp(verb, "crash") == 0)
		(void)kill(getpid(), SIGKILL);
	return run_for(call, call->words[1], e);
}

static bool at_once(const char *verb)
{
	return strcmp(verb, "count") == 0;
}

static void setup(void)
{
	static const struct ls_helper_service service = { .func = func, .at_once = at_once };

	answer = (struct ls_helper_answer){ .fd = -1 };
	ck_assert(!ls_helper_here());
	ck_ok(ls_helper_start(&service, &err));
	ck_assert(ls_helper_here());
}

static void teardown(void)
{
	ls_helper_answer_done(&answer);
	ls_helper_stop();
}

static enum ls_code ask(const char *const *words, int fd)
{
	ls_helper_answer_done(&answer);
	return ls_helper_ask(words, fd, LONG_MS, &answer, &err);
}

static bool answered(const char *text)
{
	return ls_bytes_equal(ls_secret_bytes(&answer.value), LS_BYTES_STR(text));
}

START_TEST(words_values_and_errors_come_through)
{
	ck_ok(ask(WORDS("echo", "hello"), -1));
	ck_assert(answered("hello"));
	ck_ok(ask(WORDS("echo", ""), -1));
	ck_assert_uint_eq(answer.value.len, 0);
	ck_code(ask(WORDS("refuse", "", "b"), -1), LS_E_REFUSED);
	ck_assert_str_eq(err.text, "said 3 words");
	ck_assert_str_eq(err.hint, "a hint");
	ck_assert_int_eq(answer.errnum, EPERM);
}
END_TEST

START_TEST(descriptors_go_both_ways)
{
	LS_CLEANUP(ls_fd_close) int fd = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat mine, theirs;

	ck_assert_int_eq(fstat(fd, &mine), 0);
	ck_ok(ask(WORDS("inode"), fd));
	ck_assert_uint_eq(answer.value.len, sizeof mine.st_ino);
	ck_assert_int_eq(memcmp(answer.value.data, &mine.st_ino, sizeof mine.st_ino), 0);
	ck_ok(ask(WORDS("open", "/etc"), -1));
	ck_assert_int_eq(fstat(answer.fd, &theirs), 0);
	ck_assert(theirs.st_ino == mine.st_ino);
	ck_assert_int_eq(fcntl(answer.fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(what_is_done_at_once_is_remembered_the_rest_is_forgotten)
{
	ck_ok(ask(WORDS("count"), -1));
	ck_ok(ask(WORDS("count"), -1));
	ck_assert(answered("2"));
	ck_assert_int_eq(count_at_once, 0); /* here */
}
END_TEST

START_TEST(a_child_that_dies_is_an_error_and_the_helper_goes_on)
{
	ck_code(ask(WORDS("crash"), -1), LS_E_FAILED);
	ck_assert_ptr_nonnull(strstr(err.text, "no answer"));
	ck_ok(ask(WORDS("echo", "x"), -1));
}
END_TEST

START_TEST(too_long_a_request_is_not_sent)
{
	LS_CLEANUP(ls_free_str) char *text = ls_format("%09000d", 1);

	ck_code(ask(WORDS("echo", text), -1), LS_E_REFUSED);
	ck_ok(ask(WORDS("echo", "x"), -1));
}
END_TEST

static void await_end_of(const char *file)
{
	int64_t deadline_ms = ls_mono_ms() + LONG_MS, pid;
	char text[32] = "";

	while (!ls_text_number(text, 2, INT32_MAX, &pid)) {
		LS_CLEANUP(ls_fd_close) int fd = open(file, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

		ck_assert_int_lt(ls_mono_ms(), deadline_ms);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		(void)poll(NULL, 0, 5);
	}
	LS_CLEANUP(ls_fd_close) int pid_fd = pidfd_open((pid_t)pid, 0);

	if (pid_fd >= 0) /* else it is gone */
		ck_assert_int_eq(
			poll(&(struct pollfd){ .fd = pid_fd, .events = POLLIN }, 1, LONG_MS), 1);
	(void)unlink(file);
}

/* The whole group of a command, also who is not its leader. */
START_TEST(who_gives_up_waiting_stops_what_was_begun)
{
	char file[] = "/tmp/ls-helper-XXXXXX";
	LS_CLEANUP(ls_fd_close) int fd = mkstemp(file);
	LS_CLEANUP(ls_free_str)
	char *script = ls_format("sleep 600 & echo $! >%s; wait", file);

	ck_code(ls_helper_ask(WORDS("run", script), -1, 300, NULL, &err), LS_E_TIMEOUT);
	/* Meanwhile, and afterwards, others are answered. */
	ck_ok(ask(WORDS("echo", "x"), -1));
	await_end_of(file);
}
END_TEST

START_TEST(its_end_can_be_seen_and_asking_then_fails)
{
	struct pollfd end = { .fd = ls_helper_fd(), .events = POLLIN };

	ck_assert_int_eq(poll(&end, 1, 0), 0);
	/* Its child's parent is the helper. */
	ck_code(ask(WORDS("run", "read -r _ _ _ helper _ </proc/$PPID/stat; kill -KILL $helper; "
				 "sleep 600"),
			-1),
		LS_E_FAILED);
	ck_assert_int_eq(poll(&end, 1, LONG_MS), 1);
	ck_code(ask(WORDS("echo", "x"), -1), LS_E_FAILED);
}
END_TEST

LS_TEST_MAIN_FIXTURE("helper", setup, teardown, words_values_and_errors_come_through,
	descriptors_go_both_ways, what_is_done_at_once_is_remembered_the_rest_is_forgotten,
	a_child_that_dies_is_an_error_and_the_helper_goes_on, too_long_a_request_is_not_sent,
	who_gives_up_waiting_stops_what_was_begun, its_end_can_be_seen_and_asking_then_fails)
