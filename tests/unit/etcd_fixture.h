/* etcd_fixture -- a real etcd member on loopback for tests of what speaks to it, in a directory of
 * its own, on ports that were free; and a signer whose signatures are easy to forge wrongly. */
#ifndef LS_TESTS_UNIT_ETCD_FIXTURE_H
#define LS_TESTS_UNIT_ETCD_FIXTURE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "pki/digest.h"
#include "store/etcd_api.h"
#include "store/store.h"
#include "sys/file.h"
#include "tests/unit/runner.h"

#define ETCD_START_MS 60000

static struct {
	char dir[64];
	char *endpoints[2];
	pid_t pid;
} etcd_member;

/* A listening socket on a free port of loopback; the port stays ours until it is closed. */
static int etcd_free_port(int *out_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 8) != 0 ||
		getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		abort();
	*out_port = ntohs(at.sin_port);
	return fd;
}

static void etcd_exec(const char *client, const char *peer)
{
	LS_CLEANUP(ls_free_str) char *log = ls_format("%s/log", etcd_member.dir);
	LS_CLEANUP(ls_free_str) char *data = ls_format("%s/data", etcd_member.dir);
	LS_CLEANUP(ls_free_str) char *initial = ls_format("t=%s", peer);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	execlp("etcd", "etcd", "--name", "t", "--data-dir", data, "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", initial, "--logger",
		"zap", "--log-outputs", "stderr", "--unsafe-no-fsync", "--heartbeat-interval", "50",
		"--election-timeout", "500", "--experimental-watch-progress-notify-interval", "2s",
		(char *)NULL);
	_exit(127);
}

static void etcd_settings_of(struct ls_etcd_settings *out)
{
	*out = (struct ls_etcd_settings){ .endpoints = etcd_member.endpoints, .timeout_ms = 10000 };
}

/* Waits until it answers. */
static void etcd_wait(void)
{
	int64_t until_ms = ls_mono_ms() + ETCD_START_MS;
	struct ls_etcd_settings settings;
	struct ls_etcd *etcd = NULL;
	char any[] = "/any";
	char *prefixes[] = { any, NULL };
	struct ls_etcd_list list = { 0 };
	struct ls_err err = { 0 };

	etcd_settings_of(&settings);
	ls_etcd_new(&settings, &etcd);
	while (ls_etcd_read(etcd, prefixes, &list, &err) != LS_OK) {
		if (ls_mono_ms() > until_ms) {
			(void)fprintf(stderr, "etcd does not start: %s\n", err.text);
			abort();
		}
		(void)usleep(20000);
	}
	ls_etcd_list_done(&list);
	ls_etcd_free(&etcd);
}

/* A signal takes its time to reach all threads of a busy process. */
static bool etcd_is_frozen(void)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("/proc/%d/task", (int)etcd_member.pid);
	LS_CLEANUP(ls_free_strv) char **tasks = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;

	if (ls_dir_open(path, &fd, NULL) != LS_OK || ls_dir_list(fd, 1000, &tasks, NULL) != LS_OK)
		abort();
	for (size_t i = 0; i < ls_strv_count(tasks); i++) {
		LS_CLEANUP(ls_free_str) char *name = ls_format("%s/%s/stat", path, tasks[i]);
		char text[256] = "";
		int stat_fd = open(name, O_RDONLY | O_CLOEXEC);

		if (stat_fd >= 0 && read(stat_fd, text, sizeof text - 1) > 0 &&
			!strstr(text, ") T "))
			i = ls_strv_count(tasks) + 1;
		(void)close(stat_fd);
		if (i > ls_strv_count(tasks))
			return false;
	}
	return true;
}

__attribute__((unused)) static void etcd_freeze(void)
{
	int64_t until_ms = ls_mono_ms() + ETCD_START_MS;

	if (kill(etcd_member.pid, SIGSTOP) != 0)
		abort();
	while (!etcd_is_frozen() && ls_mono_ms() < until_ms)
		(void)usleep(1000);
}

static void etcd_stop(void)
{
	struct ls_err err;

	if (etcd_member.pid > 0) {
		(void)kill(etcd_member.pid, SIGKILL);
		(void)waitpid(etcd_member.pid, NULL, 0);
	}
	LS_IGNORE(ls_dir_remove(AT_FDCWD, etcd_member.dir, &err)); /* a test's remains */
	free(etcd_member.endpoints[0]);
}

static void etcd_start(void)
{
	int client, peer;
	int client_fd = etcd_free_port(&client), peer_fd = etcd_free_port(&peer);
	LS_CLEANUP(ls_free_str) char *peer_url = ls_format("http://127.0.0.1:%d", peer);

	(void)snprintf(etcd_member.dir, sizeof etcd_member.dir, "%s/lockstep-etcd-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(etcd_member.dir))
		abort();
	etcd_member.endpoints[0] = ls_format("http://127.0.0.1:%d", client);
	(void)close(client_fd);
	(void)close(peer_fd);
	etcd_member.pid = fork();
	if (etcd_member.pid == 0)
		etcd_exec(etcd_member.endpoints[0], peer_url);
	etcd_wait();
}

/* "<node> <sha256 of node, NUL and content>": enough to see that the right things are signed. */
static void etcd_signature(const char *node, struct ls_bytes content, struct ls_buf *out)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf all = { 0 };
	char hex[LS_SHA256_TEXT];

	ls_buf_add(&all, node, strlen(node) + 1);
	ls_buf_add_bytes(&all, content);
	ls_sha256_text(ls_buf_bytes(&all), hex);
	ls_buf_clear(out);
	ls_buf_printf(out, "%s %s", node, hex);
}

static enum ls_code etcd_sign(void *arg, const char *node, struct ls_bytes content,
	struct ls_buf *out_signature, struct ls_err *err)
{
	(void)arg, (void)err;
	etcd_signature(node, content, out_signature);
	return LS_OK;
}

static enum ls_code etcd_verify(void *arg, const char *node, struct ls_bytes content,
	struct ls_bytes signature, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf want = { 0 };

	(void)arg;
	etcd_signature(node, content, &want);
	if (strcmp(node, "mallory") == 0 || !ls_bytes_equal(ls_buf_bytes(&want), signature))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' is no member or did not sign it", node);
	return LS_OK;
}

static const struct ls_store_trust etcd_trust = { .sign = etcd_sign, .verify = etcd_verify };

#endif
