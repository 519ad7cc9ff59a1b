#include "net/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "base/text.h"
#include "net/sockpath.h"

#define BODY_MAX_BYTES (64 << 20)
/* When many connect at once. */
#define CONNECT_MS 5000
#define CONNECT_AGAIN_MS 5

struct answer {
	const struct ls_client_call *call;
	struct ls_buf body;
	size_t line_start; /* in body: what on_line has not been given yet */
	bool too_long;
};

static void init_library(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT); /* curl_easy_init fails when this did */
}

static void easy_free(CURL **easy)
{
	if (*easy)
		curl_easy_cleanup(*easy);
}

static void slist_free(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static void give_line(struct answer *answer, size_t end)
{
	LS_CLEANUP(ls_free_str)
	char *line = ls_strndup(answer->body.data + answer->line_start, end - answer->line_start);

	answer->call->on_line(answer->call->arg, line);
}

static size_t body_came(char *data, size_t size, size_t count, void *arg)
{
	struct answer *answer = arg;
	size_t len = size * count;

	if (len > BODY_MAX_BYTES - answer->body.len) {
		answer->too_long = true;
		return 0;
	}
	ls_buf_add(&answer->body, data, len);
	while (answer->call->on_line) {
		const char *start = answer->body.data + answer->line_start;
		const char *newline = memchr(start, '\n', answer->body.len - answer->line_start);

		if (!newline)
			break;
		give_line(answer, (size_t)(newline - answer->body.data));
		answer->line_start = (size_t)(newline - answer->body.data) + 1;
	}
	return len;
}

static void set_target(CURL *easy, const struct ls_client_call *call,
	const struct ls_sockpath *where, const char *url)
{
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, where->addr.sun_path);
	(void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
	if (strcmp(call->method, "POST") == 0) {
		(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(
			easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
		(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.data ?: "");
	} else if (strcmp(call->method, "GET") != 0) {
		(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
	}
}

/* A full backlog is EAGAIN at once, since libcurl's connect does not wait: not a daemon that is not
 * there. When libcurl takes that for a connection on its way, it tells no number in the end. */
static bool is_full(long errnum)
{
	return errnum == EAGAIN || errnum == 0;
}

static enum ls_code call_failed(CURL *easy, CURLcode rc, const struct answer *answer,
	const char *detail, struct ls_err *err)
{
	const char *why = detail[0] ? detail : curl_easy_strerror(rc);
	const char *path = answer->call->socket_path;
	long sent = 0, errnum = 0;

	(void)curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
	(void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &errnum);
	if (rc == CURLE_COULDNT_CONNECT && is_full(errnum)) {
		LS_FAIL(err, LS_E_UNREACHABLE,
			"the daemon did not let in a connection at %s within %d s", path,
			CONNECT_MS / 1000);
		LS_HINT(err, "it hangs, or too many connect at once; its log may say more");
		return LS_E_UNREACHABLE;
	}
	if (sent == 0) {
		LS_FAIL(err, LS_E_UNREACHABLE, "the daemon does not answer at %s: %s", path,
			errnum ? strerrordesc_np((int)errnum) ?: why : why);
		LS_HINT(err, "is lockstepd running? the socket appears when it is ready");
		return LS_E_UNREACHABLE;
	}
	if (answer->too_long)
		why = "the answer is over 64 MiB";
	else if (rc == CURLE_OPERATION_TIMEDOUT)
		why = "no answer in time";
	LS_FAIL(err, LS_E_UNKNOWN, "the daemon at %s was asked, but its answer did not come: %s",
		path, why);
	LS_HINT(err, "it may have been done: look with 'lockstep status'");
	return LS_E_UNKNOWN;
}

static CURLcode perform(CURL *easy)
{
	int64_t until_ms = ls_mono_ms() + CONNECT_MS;

	for (;;) {
		CURLcode rc = curl_easy_perform(easy);
		long errnum = 0;

		(void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &errnum);
		if (rc != CURLE_COULDNT_CONNECT || !is_full(errnum) || ls_mono_ms() > until_ms)
			return rc;
		(void)poll(NULL, 0, CONNECT_AGAIN_MS);
	}
}

enum ls_code ls_client_call(const struct ls_client_call *call, int *out_status,
	struct ls_buf *out_body, struct ls_err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	LS_CLEANUP(ls_sockpath_done) struct ls_sockpath where = { .dir_fd = -1 };
	LS_CLEANUP(ls_free_str) char *url = ls_format("http://localhost%s", call->path);
	LS_CLEANUP(slist_free) struct curl_slist *headers = NULL;
	LS_CLEANUP(easy_free) CURL *easy = NULL;
	struct answer answer = { .call = call };
	char detail[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode rc;

	if (ls_sockpath_init(&where, call->socket_path, err) != LS_OK) {
		if (err)
			err->code = LS_E_UNREACHABLE;
		(void)LS_WRAP(err, "the daemon does not answer at %s", call->socket_path);
		return LS_E_UNREACHABLE;
	}
	(void)pthread_once(&once, init_library);
	easy = curl_easy_init();
	if (!easy)
		return LS_FAIL(err, LS_E_FAILED, "the HTTP library does not start");
	headers = curl_slist_append(headers, "Expect:"); /* the server reads the body anyway */
	headers = curl_slist_append(headers, "Content-Type: application/json");
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_came);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
	set_target(easy, call, &where, url);
	rc = perform(easy);
	if (rc != CURLE_OK) {
		enum ls_code code = call_failed(easy, rc, &answer, detail, err);

		ls_buf_done(&answer.body);
		return code;
	}
	if (call->on_line && answer.line_start < answer.body.len)
		give_line(&answer, answer.body.len);
	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	*out_status = (int)status;
	ls_buf_done(out_body);
	*out_body = answer.body;
	return LS_OK;
}
