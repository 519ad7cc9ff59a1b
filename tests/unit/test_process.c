/* Commands: limits, signals, descriptors and what they leave behind. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/process.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static struct ls_process_result result;

static void setup(void)
{
	memset(&result, 0, sizeof result);
}

static void teardown(void)
{
	ls_process_result_done(&result);
}

static enum ls_code shell(const char *script, struct ls_bytes input, int64_t timeout_ms)
{
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, ls_strdup(script), NULL };
	struct ls_process process = {
		.argv = argv, .input = input, .timeout_ms = timeout_ms, .output_max = 1000
	};
	enum ls_code code;

	ls_process_result_done(&result);
	code = ls_process_run(&process, &result, &err);
	free(argv[2]);
	return code;
}

static const char *output(void)
{
	return (const char *)result.output.data;
}

START_TEST(status_and_output_come_back)
{
	ck_ok(shell("echo out; echo err >&2; exit 3", (struct ls_bytes){ 0 }, 20000));
	ck_assert_int_eq(result.exit_status, 3);
	ck_assert_int_eq(result.term_signal, 0);
	ck_assert(!result.timed_out);
	ck_assert_str_eq(output(), "out\nerr\n");
	ck_code(ls_process_check("hook", &result, &err), LS_E_FAILED);
	ck_assert_str_eq(err.text, "hook ended with status 3: out; err");
	ck_ok(shell("kill -SEGV $$", (struct ls_bytes){ 0 }, 20000));
	ck_assert_int_eq(result.exit_status, -1);
	ck_assert_int_eq(result.term_signal, SIGSEGV);
	ck_code(ls_process_check("hook", &result, &err), LS_E_FAILED);
	ck_assert_ptr_nonnull(strstr(err.text, "Segmentation fault"));
	ck_ok(shell("exit 0", (struct ls_bytes){ 0 }, 20000));
	ck_ok(ls_process_check("hook", &result, &err));
}
END_TEST

START_TEST(what_cannot_be_started_says_so)
{
	char *argv[] = { (char[]){ "/nonexistent/x" }, NULL };
	struct ls_process process = { .argv = argv, .timeout_ms = 1000 };

	ck_code(ls_process_run(&process, &result, &err), LS_E_NOT_FOUND);
	argv[0] = (char[]){ "/etc/passwd" };
	ck_code(ls_process_run(&process, &result, &err), LS_E_IO);
	ck_assert_ptr_nonnull(strstr(err.text, "start '/etc/passwd'"));
}
END_TEST

START_TEST(more_output_than_is_kept_blocks_nobody)
{
	ck_ok(shell(
		"head -c 3000000 /dev/zero | tr '\\0' x; exit 4", (struct ls_bytes){ 0 }, 60000));
	ck_assert_int_eq(result.exit_status, 4);
	ck_assert_uint_eq(result.output.len, 1000);
}
END_TEST

START_TEST(input_and_output_larger_than_a_pipe_do_not_deadlock)
{
	struct ls_buf in = { 0 };

	while (in.len < 2000000)
		ls_buf_str(&in, "0123456789");
	ck_ok(shell("cat; cat >/dev/null", ls_buf_bytes(&in), 60000));
	ck_assert_int_eq(result.exit_status, 0);
	ck_assert_uint_eq(result.output.len, 1000);
	/* a command that does not read its input, or closes it, is no reason to die */
	(void)signal(SIGPIPE, SIG_DFL);
	ck_ok(shell("exec <&-; echo done", ls_buf_bytes(&in), 60000));
	ck_assert_str_eq(output(), "done\n");
	ls_buf_done(&in);
}
END_TEST

START_TEST(without_input_it_reads_the_end)
{
	ck_ok(shell("cat; echo end", (struct ls_bytes){ 0 }, 20000));
	ck_assert_str_eq(output(), "end\n");
}
END_TEST

START_TEST(the_time_limit_ends_the_whole_group)
{
	LS_CLEANUP(ls_fd_close) int pid_fd = -1;
	int64_t start = ls_mono_ms();
	int64_t pid;

	ck_ok(shell("sleep 100 & echo $!; wait", (struct ls_bytes){ 0 }, 300));
	ck_assert(result.timed_out);
	ck_assert_int_eq(result.term_signal, SIGTERM);
	ck_assert_int_lt(ls_mono_ms() - start, 2000);
	((char *)result.output.data)[result.output.len - 1] = '\0';
	ck_assert(ls_text_number(output(), 2, INT32_MAX, &pid));
	pid_fd = pidfd_open((pid_t)pid, 0);
	if (pid_fd >= 0) /* else nothing is left of it */
		ck_assert_int_eq(
			poll(&(struct pollfd){ .fd = pid_fd, .events = POLLIN }, 1, 20000), 1);
	ck_code(ls_process_check("hook", &result, &err), LS_E_FAILED);
	ck_assert_ptr_nonnull(strstr(err.text, "did not end in time"));
}
END_TEST

START_TEST(who_ignores_the_polite_signal_is_killed)
{
	int64_t start = ls_mono_ms();

	ck_ok(shell("trap '' TERM; while :; do sleep 1; done", (struct ls_bytes){ 0 }, 200));
	ck_assert(result.timed_out);
	ck_assert_int_eq(result.term_signal, SIGKILL);
	ck_assert_int_ge(ls_mono_ms() - start, 2200);
	ck_assert_int_lt(ls_mono_ms() - start, 10000);
}
END_TEST

START_TEST(a_grandchild_that_keeps_the_pipe_holds_nobody)
{
	int64_t start = ls_mono_ms();

	ck_ok(shell("sleep 5 & echo started", (struct ls_bytes){ 0 }, 60000));
	ck_assert_int_lt(ls_mono_ms() - start, 4000);
	ck_assert(!result.timed_out);
	ck_assert_int_eq(result.exit_status, 0);
	ck_assert_str_eq(output(), "started\n");
	ck_ok(shell("yes & echo started", (struct ls_bytes){ 0 }, 60000));
	ck_assert_int_lt(ls_mono_ms() - start, 4000);
	ck_assert(!result.timed_out);
}
END_TEST

START_TEST(descriptors_signals_and_environment_are_clean)
{
	int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */
	char *envp[] = { (char[]){ "ONLY=this" }, NULL };
	char *argv[] = { (char[]){ "/usr/bin/env" }, NULL };
	struct ls_process process = {
		.argv = argv, .envp = envp, .timeout_ms = 20000, .output_max = 1000
	};
	sigset_t set;

	ck_assert_int_eq(dup2(leak, 77), 77);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	ck_ok(shell("exec ls -l /proc/self/fd", (struct ls_bytes){ 0 }, 20000));
	ck_assert_ptr_null(strstr(output(), " 77 "));
	ck_assert_ptr_null(strstr(output(), " 4 ->"));
	ck_ok(shell(
		"exec grep -E '^Sig(Blk|Ign)' /proc/self/status", (struct ls_bytes){ 0 }, 20000));
	/* 32 and 33 are the C library's own, which its posix_spawn ignores for the child. */
	ck_assert_ptr_nonnull(strstr(output(), "SigBlk:\t0000000000000000\n"));
	ck_assert_ptr_nonnull(strstr(output(), "SigIgn:\t"));
	ck_assert_uint_eq(strtoull(strstr(output(), "SigIgn:\t") + 8, NULL, 16) & 0x7fffffff, 0);
	ck_ok(shell("exec env", (struct ls_bytes){ 0 }, 20000));
	ck_assert_ptr_nonnull(strstr(output(), "LANG=C\n"));
	ck_assert_ptr_null(strstr(output(), "HOME="));
	ls_process_result_done(&result);
	ck_ok(ls_process_run(&process, &result, &err));
	ck_assert_str_eq(output(), "ONLY=this\n");
	(void)close(leak);
	(void)close(77);
}
END_TEST

START_TEST(it_works_in_a_program_without_standard_streams)
{
	int saved[3];
	enum ls_code code;

	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		(void)close(i);
	}
	code = shell("cat; echo err >&2", LS_BYTES_STR("in "), 20000);
	for (int i = 0; i < 3; i++) {
		(void)dup2(saved[i], i);
		(void)close(saved[i]);
	}
	ck_ok(code);
	ck_assert_str_eq(output(), "in err\n");
}
END_TEST

START_TEST(the_last_lines_are_made_safe_for_logs)
{
	ck_ok(shell("printf 'first\\nsecond \\033[2J \\200\\n \\n\\n'; exit 1",
		(struct ls_bytes){ 0 }, 20000));
	ck_code(ls_process_check("hook", &result, &err), LS_E_FAILED);
	ck_assert_str_eq(err.text, "hook ended with status 1: first; second ?[2J ?");
	ck_ok(shell("head -c 900 /dev/zero | tr '\\0' x; exit 1", (struct ls_bytes){ 0 }, 20000));
	ck_code(ls_process_check("hook", &result, &err), LS_E_FAILED);
	ck_assert_uint_eq(strlen(err.text), strlen("hook ended with status 1: ") + 399);
}
END_TEST

/* A command that sees one directory in place of another starts and ends like any other. Without the
 * right to mount it runs without that view, as promised. */
START_TEST(a_bound_directory_is_seen_by_the_command_alone_and_only_read)
{
	char from[] = "/tmp/ls-bind-XXXXXX", to[] = "/tmp/ls-bind-XXXXXX", script[128];
	char sh[] = "/bin/sh", dash_c[] = "-c", none[] = "/no/such/command";
	char *argv[] = { sh, dash_c, script, NULL };
	struct ls_process process = { .argv = argv,
		.timeout_ms = 20000,
		.output_max = 1000,
		.bind_from = mkdtemp(from),
		.bind_to = mkdtemp(to) };
	char *seen;

	(void)snprintf(
		script, sizeof script, "touch %s/x; ls -A %s; ls /proc/self/fd | wc -w", from, to);
	ck_ok(ls_process_run(&process, &result, &err));
	ck_assert_int_eq(result.exit_status, 0);
	/* 0, 1, 2 and the one that ls opens */
	ck_assert_str_eq(output(), geteuid() == 0 ? "x\n4\n" : "4\n");
	ls_process_result_done(&result);
	(void)snprintf(script, sizeof script, "touch %s/y", to);
	ck_ok(ls_process_run(&process, &result, &err));
	ck_assert(geteuid() != 0 || result.exit_status != 0);
	ls_process_result_done(&result);
	argv[0] = none;
	ck_code(ls_process_run(&process, &result, &err), LS_E_NOT_FOUND);
	seen = ls_format("%s/x", to);
	ck_assert_int_ne(access(seen, F_OK), 0);
	free(seen);
	seen = ls_format("%s/x", from);
	ck_assert_int_eq(unlink(seen), 0);
	free(seen);
	seen = ls_format("%s/y", to);
	(void)unlink(seen); /* there only without the right to mount */
	free(seen);
	ck_assert_int_eq(rmdir(from), 0);
	ck_assert_int_eq(rmdir(to), 0);
}
END_TEST

LS_TEST_MAIN_FIXTURE("process", setup, teardown, status_and_output_come_back,
	what_cannot_be_started_says_so, more_output_than_is_kept_blocks_nobody,
	input_and_output_larger_than_a_pipe_do_not_deadlock, without_input_it_reads_the_end,
	the_time_limit_ends_the_whole_group, who_ignores_the_polite_signal_is_killed,
	a_grandchild_that_keeps_the_pipe_holds_nobody,
	descriptors_signals_and_environment_are_clean,
	it_works_in_a_program_without_standard_streams, the_last_lines_are_made_safe_for_logs,
	a_bound_directory_is_seen_by_the_command_alone_and_only_read)
