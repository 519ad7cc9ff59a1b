#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

#define KILL_AFTER_MS 2000
/* What the command itself wrote is in the pipe when it ends; a background child of it may hold the
 * pipe open for ever. */
#define DRAIN_MS 100
#define LAST_LINES_MAX 400

struct run {
	pid_t pid;
	int pid_fd, in_fd, out_fd; /* our ends; -1 when closed */
	int stop_fd;               /* borrowed; -1: none, or no longer looked at */
	struct ls_bytes input;     /* what is left of it */
	struct ls_secret output;
	size_t output_max;
	int64_t deadline_ms; /* of the present stage */
	enum { STAGE_RUNS, STAGE_TERM, STAGE_KILLED } stage;
	bool timed_out;
	bool ended; /* seen, not yet waited for: its number stays reserved */
};

static void run_done(struct run *run)
{
	ls_fd_close(&run->pid_fd);
	ls_fd_close(&run->in_fd);
	ls_fd_close(&run->out_fd);
	ls_secret_done(&run->output);
}

/* The child's 0, 1 and 2 are made by dup2 from these, so none of them may be 0, 1 or 2 itself,
 * which happens in a program that was started without them. */
static bool move_up(int *fd)
{
	int moved;

	if (*fd > STDERR_FILENO)
		return true;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	ls_fd_close(fd);
	*fd = moved;
	return moved >= 0;
}

static enum ls_code make_pipes(struct run *run, int *child_in, int *child_out, struct ls_err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return LS_FAIL_ERRNO(err, "make a pipe");
	run->out_fd = fds[0];
	*child_out = fds[1];
	if (run->input.len == 0) {
		*child_in = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (*child_in < 0)
			return LS_FAIL_ERRNO(err, "open /dev/null");
	} else {
		if (pipe2(fds, O_CLOEXEC) != 0)
			return LS_FAIL_ERRNO(err, "make a pipe");
		*child_in = fds[0];
		run->in_fd = fds[1];
	}
	if (!move_up(child_in) || !move_up(child_out))
		return LS_FAIL_ERRNO(err, "move a descriptor");
	(void)fcntl(run->out_fd, F_SETFL, O_NONBLOCK); /* cannot fail on a pipe of ours */
	if (run->in_fd >= 0)
		(void)fcntl(run->in_fd, F_SETFL, O_NONBLOCK);
	return LS_OK;
}

static char *const *environment(const struct ls_process *process)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	static char lang[] = "LANG=C";
	static char *const bare[] = { path, lang, NULL };

	return process->envp ? process->envp : bare;
}

static int spawn_plain(
	struct run *run, const struct ls_process *process, int child_in, int child_out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t all, none;
	int rc;

	(void)sigfillset(&all);
	(void)sigemptyset(&none);
	rc = posix_spawn_file_actions_init(&actions);
	if (rc != 0)
		return rc;
	rc = posix_spawnattr_init(&attr);
	if (rc != 0) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return rc;
	}
	rc = posix_spawn_file_actions_adddup2(&actions, child_in, STDIN_FILENO);
	rc = rc ?: posix_spawn_file_actions_adddup2(&actions, child_out, STDOUT_FILENO);
	rc = rc ?: posix_spawn_file_actions_adddup2(&actions, child_out, STDERR_FILENO);
	rc = rc ?: posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	rc = rc
		     ?: posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
								POSIX_SPAWN_SETSIGDEF |
								POSIX_SPAWN_SETSIGMASK);
	rc = rc ?: posix_spawnattr_setpgroup(&attr, 0);
	rc = rc ?: posix_spawnattr_setsigdefault(&attr, &all);
	rc = rc ?: posix_spawnattr_setsigmask(&attr, &none);
	rc = rc
		     ?: posix_spawn(&run->pid, process->argv[0], &actions, &attr, process->argv,
				environment(process));
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* In the child: the files look different from here on, for it and what it starts. Without the
 * privilege for that nothing has changed. */
static void bind_view(const char *from, const char *to)
{
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount(from, to, NULL, MS_BIND, NULL) != 0)
		return;
	(void)mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL); /* best effort */
}

/* The child of a fork in a program with threads: async-signal-safe calls only, no locks, no heap.
 */
static _Noreturn void become(const struct ls_process *process, char *const *envp, int child_in,
	int child_out, int report_fd)
{
	struct sigaction deflt = { .sa_handler = SIG_DFL };
	sigset_t none;
	int why;

	(void)setpgid(0, 0); /* the parent does it as well: whoever is first */
	for (int signum = 1; signum < NSIG; signum++)
		(void)sigaction(signum, &deflt, NULL); /* some cannot be changed, nor need it */
	if (process->stop_fd > 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (process->bind_from && process->bind_to)
		bind_view(process->bind_from, process->bind_to);
	if (dup2(child_in, STDIN_FILENO) >= 0 && dup2(child_out, STDOUT_FILENO) >= 0 &&
		dup2(child_out, STDERR_FILENO) >= 0 &&
		close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) {
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		(void)execve(process->argv[0], process->argv, envp);
	}
	why = errno;
	(void)!write(report_fd, &why, sizeof why); /* nobody else is left to tell */
	_exit(127);
}

/* posix_spawn cannot give the child another view of the files, nor tie its life to ours. */
static int spawn_forked(
	struct run *run, const struct ls_process *process, int child_in, int child_out)
{
	char *const *envp = environment(process);
	sigset_t all, before;
	int report[2], why = 0;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC) != 0)
		return errno;
	(void)sigfillset(&all);
	/* No handler of this program may run in the child. */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	run->pid = fork();
	if (run->pid == 0) {
		if (move_up(&report[1]))
			become(process, envp, child_in, child_out, report[1]);
		_exit(127);
	}
	why = run->pid < 0 ? errno : 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	ls_fd_close(&report[1]);
	if (why == 0) {
		(void)setpgid(run->pid, run->pid); /* fails once the child did it and went on */
		do
			n = read(report[0], &why, sizeof why);
		while (n < 0 && errno == EINTR);
		if (n != sizeof why)
			why = 0; /* closed by execve */
		else
			(void)waitpid(run->pid, NULL, 0);
	}
	ls_fd_close(&report[0]);
	return why;
}

static int spawn(struct run *run, const struct ls_process *process, int child_in, int child_out)
{
	if ((process->bind_from && process->bind_to) || process->stop_fd > 0)
		return spawn_forked(run, process, child_in, child_out);
	return spawn_plain(run, process, child_in, child_out);
}

/* A command that closes its input early must not end this program by SIGPIPE, and other threads'
 * handling of that signal is not ours to change. */
static ssize_t write_without_signal(int fd, struct ls_bytes data)
{
	sigset_t pipe_set, before, pending;
	bool was_pending;
	ssize_t n;
	int saved;

	(void)sigemptyset(&pipe_set);
	(void)sigaddset(&pipe_set, SIGPIPE);
	(void)sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	(void)pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
	n = write(fd, data.data, data.len);
	saved = errno;
	if (n < 0 && saved == EPIPE && !was_pending)
		(void)sigtimedwait(&pipe_set, NULL, &(struct timespec){ 0 });
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return n;
}

static void feed(struct run *run)
{
	ssize_t n = write_without_signal(run->in_fd, run->input);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		run->input.data = (const char *)run->input.data + n;
		run->input.len -= (size_t)n;
	}
	if (n < 0 || run->input.len == 0) /* a command may choose not to read all */
		ls_fd_close(&run->in_fd);
}

static void collect(struct run *run)
{
	char dropped[4096];
	size_t room = run->output_max - run->output.len;
	ssize_t n = room > 0 ? read(run->out_fd, run->output.data + run->output.len, room)
			     : read(run->out_fd, dropped, sizeof dropped);

	if (n > 0 && room > 0)
		run->output.len += (size_t)n;
	else if (n > 0)
		ls_wipe(dropped, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		ls_fd_close(&run->out_fd);
}

/* The group's number cannot have been taken by others: its leader has not been waited for. */
static void next_stage(struct run *run)
{
	run->timed_out = true;
	if (run->stage == STAGE_RUNS) {
		(void)kill(-run->pid, SIGTERM);
		run->stage = STAGE_TERM;
		run->deadline_ms = ls_mono_ms() + KILL_AFTER_MS;
	} else {
		(void)kill(-run->pid, SIGKILL);
		run->stage = STAGE_KILLED;
		run->deadline_ms = INT64_MAX;
	}
}

static int poll_timeout(int64_t deadline_ms)
{
	int64_t left = deadline_ms - ls_mono_ms();

	if (deadline_ms == INT64_MAX)
		return -1;
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Until the command has ended and its output is read. Of a group that was told to end, also until
 * nobody holds the pipe, which is how its other members show that they are gone. */
static void attend(struct run *run)
{
	while (!run->ended || run->out_fd >= 0) {
		struct pollfd fds[] = { { .fd = run->out_fd, .events = POLLIN },
			{ .fd = run->in_fd, .events = POLLOUT },
			{ .fd = run->ended ? -1 : run->pid_fd, .events = POLLIN },
			{ .fd = run->stage == STAGE_RUNS ? run->stop_fd : -1, .events = POLLIN } };
		int ready = poll(fds, LS_COUNT(fds), poll_timeout(run->deadline_ms));

		if (ready > 0 && fds[0].revents)
			collect(run);
		if (ready > 0 && fds[1].revents)
			feed(run);
		if (ready > 0 && fds[2].revents) {
			run->ended = true;
			ls_fd_close(&run->in_fd);
			if (run->stage != STAGE_TERM)
				run->deadline_ms = ls_mono_ms() + DRAIN_MS;
		}
		if (ready > 0 && fds[3].revents && !run->ended)
			run->deadline_ms = ls_mono_ms();
		if (ls_mono_ms() < run->deadline_ms)
			continue;
		if (run->ended && run->stage != STAGE_TERM)
			break;
		next_stage(run);
		if (run->ended)
			break;
	}
}

static void reap(struct run *run, struct ls_process_result *out)
{
	siginfo_t info = { 0 };

	if (run->timed_out) /* members that neither ended nor held the pipe */
		(void)kill(-run->pid, SIGKILL);
	while (waitid(P_PID, (id_t)run->pid, &info, WEXITED) != 0 && errno == EINTR)
		continue;
	*out = (struct ls_process_result){ .exit_status = -1, .timed_out = run->timed_out };
	if (info.si_code == CLD_EXITED)
		out->exit_status = info.si_status;
	else
		out->term_signal = info.si_status;
	out->output = run->output;
	run->output = (struct ls_secret){ 0 };
}

void ls_process_result_done(struct ls_process_result *result)
{
	ls_secret_done(&result->output);
}

enum ls_code ls_process_run(
	const struct ls_process *process, struct ls_process_result *out, struct ls_err *err)
{
	LS_CLEANUP(run_done)
	struct run run = { .pid_fd = -1,
		.in_fd = -1,
		.out_fd = -1,
		.stop_fd = process->stop_fd > 0 ? process->stop_fd : -1,
		.input = process->input,
		.output_max = process->output_max };
	LS_CLEANUP(ls_fd_close) int child_in = -1;
	LS_CLEANUP(ls_fd_close) int child_out = -1;
	int rc;

	LS_TRY(make_pipes(&run, &child_in, &child_out, err));
	ls_secret_alloc(&run.output, process->output_max);
	run.output.len = 0;
	rc = spawn(&run, process, child_in, child_out);
	if (rc != 0)
		return ls_err_set_errno(err, rc, "start '%s'", process->argv[0]);
	ls_fd_close(&child_in);
	ls_fd_close(&child_out);
	run.deadline_ms = ls_mono_ms() + process->timeout_ms;
	run.pid_fd = pidfd_open(run.pid, 0);
	if (run.pid_fd < 0) {
		struct ls_process_result lost;
		int errnum = errno;

		(void)kill(-run.pid, SIGKILL);
		reap(&run, &lost);
		ls_process_result_done(&lost);
		return ls_err_set_errno(err, errnum, "follow '%s'", process->argv[0]);
	}
	attend(&run);
	reap(&run, out);
	return LS_OK;
}

/* The two last lines with something in them, joined by "; ": checkers often say what is wrong first
 * and that it is wrong last. As far as it is plain ASCII: it goes to logs. */
static void last_lines(struct ls_bytes output, char out[LAST_LINES_MAX + 1])
{
	const char *text = output.data;
	size_t end = output.len, start, n = 0;
	int newlines = 0;

	while (end > 0 && strchr(" \t\r\n", text[end - 1])) /* strchr matches NUL too */
		end--;
	for (start = end; start > 0; start--)
		if (text[start - 1] == '\n' && ++newlines == 2)
			break;
	while (start < end && strchr(" \t\r\n", text[start]))
		start++;
	for (; start < end && n < LAST_LINES_MAX - 1; start++) {
		if (text[start] == '\r' || (text[start] == '\n' && n > 0 && out[n - 1] == ' '))
			continue;
		if (text[start] == '\n')
			out[n++] = ';';
		out[n++] = text[start] == '\n'                         ? ' '
			   : text[start] >= 0x20 && text[start] < 0x7f ? text[start]
								       : '?';
	}
	out[n] = '\0';
}

enum ls_code ls_process_check(
	const char *name, const struct ls_process_result *result, struct ls_err *err)
{
	char line[LAST_LINES_MAX + 1];
	const char *sep;

	last_lines(ls_secret_bytes(&result->output), line);
	sep = line[0] ? ": " : "";
	if (result->timed_out)
		return LS_FAIL(err, LS_E_FAILED, "%s did not end in time and was stopped%s%s", name,
			sep, line);
	if (result->term_signal != 0)
		return LS_FAIL(err, LS_E_FAILED, "%s was ended by signal %d (%s)%s%s", name,
			result->term_signal, sigdescr_np(result->term_signal) ?: "unknown", sep,
			line);
	if (result->exit_status != 0)
		return LS_FAIL(err, LS_E_FAILED, "%s ended with status %d%s%s", name,
			result->exit_status, sep, line);
	return LS_OK;
}
