/* What holds without a service manager, and notifications to one that the test plays. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/systemd.h"
#include "tests/unit/runner.h"

static struct ls_err err;
static char *dir;

static void setup(void)
{
	char template[] = "/tmp/ls-systemd-XXXXXX";

	dir = ls_strdup(mkdtemp(template));
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("JOURNAL_STREAM");
}

static void teardown(void)
{
	ck_ok(ls_dir_remove(AT_FDCWD, dir, &err));
	ls_free_str(&dir);
}

START_TEST(the_manager_is_notified_when_there_is_one)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[64] = "";

	ls_systemd_notify("READY=1");
	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/notify", dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	(void)setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	ls_systemd_notify("READY=1\nSTATUS=up");
	ck_assert_int_gt(recv(fd, text, sizeof text - 1, MSG_DONTWAIT), 0);
	ck_assert_str_eq(text, "READY=1\nSTATUS=up");
	(void)close(fd);
}
END_TEST

START_TEST(the_watchdog_is_this_process_own)
{
	char pid[16];

	ck_assert_int_eq(ls_systemd_watchdog_ms(), 0);
	(void)setenv("WATCHDOG_USEC", "30000000", 1);
	(void)setenv("WATCHDOG_PID", "1", 1);
	ck_assert_int_eq(ls_systemd_watchdog_ms(), 0);
	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	(void)setenv("WATCHDOG_PID", pid, 1);
	ck_assert_int_eq(ls_systemd_watchdog_ms(), 30000);
}
END_TEST

START_TEST(a_unit_knows_that_it_is_one)
{
	char pid[16];

	(void)unsetenv("SYSTEMD_EXEC_PID");
	ck_assert(!ls_systemd_is_unit());
	(void)setenv("SYSTEMD_EXEC_PID", "1", 1);
	ck_assert(!ls_systemd_is_unit());
	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	(void)setenv("SYSTEMD_EXEC_PID", pid, 1);
	ck_assert(ls_systemd_is_unit());
}
END_TEST

START_TEST(without_a_bus_nothing_hangs_and_the_code_says_so)
{
	char *argv[] = { (char[]){ "/bin/true" }, NULL };
	enum ls_unit_state state = LS_UNIT_ACTIVE;

	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	ck_code(ls_systemd_reload("x.service", 1000, &err), LS_E_UNREACHABLE);
	ck_assert_str_ne(err.hint, "");
	ck_code(ls_systemd_run("d", argv, NULL, NULL, NULL, 1000, 0, &err), LS_E_UNREACHABLE);
	if (!ls_systemd_booted()) {
		ck_ok(ls_systemd_unit_state("x.service", &state, &err));
		ck_assert_int_eq(state, LS_UNIT_MISSING);
	}
}
END_TEST

START_TEST(away_from_the_journal_a_line_goes_to_standard_error)
{
	char *fields[] = { (char[]){ "LOCKSTEP_STEP=x" }, NULL };
	int saved = dup(STDERR_FILENO), fds[2];
	char text[256] = "";

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	(void)setenv("JOURNAL_STREAM", "1:2", 1); /* somebody else's */
	ls_journal(LOG_WARNING, "0123456789abcdef0123456789abcdef", fields, "look out");
	ls_journal(LOG_DEBUG, NULL, NULL, "detail");
	(void)dup2(saved, STDERR_FILENO);
	ck_assert_int_gt(read(fds[0], text, sizeof text - 1), 0);
	ck_assert_str_eq(text, "lockstepd: warning: look out\nlockstepd: debug: detail\n");
	(void)close(saved);
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

LS_TEST_MAIN_FIXTURE("systemd", setup, teardown, the_manager_is_notified_when_there_is_one,
	the_watchdog_is_this_process_own, a_unit_knows_that_it_is_one,
	without_a_bus_nothing_hangs_and_the_code_says_so,
	away_from_the_journal_a_line_goes_to_standard_error)
