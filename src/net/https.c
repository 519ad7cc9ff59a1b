#include "net/https.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ls_https {
	CURL *easy;
	struct ls_buf ca_pem, cert_pem;
	struct ls_secret key_pem;
	char *ca_file, *cert_file, *key_file;
	bool insecure;
};

/* What is being received. */
struct answer {
	const struct ls_https_call *call;
	struct ls_buf *body;
	bool too_long;
	bool stopped; /* by a callback */
};

static void init_library(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT); /* curl_easy_init fails when this did */
}

static void slist_free(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

void ls_https_new(const struct ls_https_tls *tls, struct ls_https **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct ls_https *h = ls_alloc(1, sizeof *h);

	(void)pthread_once(&once, init_library);
	ls_buf_add_bytes(&h->ca_pem, tls->ca_pem);
	ls_buf_add_bytes(&h->cert_pem, tls->cert_pem);
	if (tls->key_pem.len > 0)
		ls_secret_set(&h->key_pem, tls->key_pem);
	h->ca_file = tls->ca_file ? ls_strdup(tls->ca_file) : NULL;
	h->cert_file = tls->cert_file ? ls_strdup(tls->cert_file) : NULL;
	h->key_file = tls->key_file ? ls_strdup(tls->key_file) : NULL;
	h->insecure = tls->insecure;
	ls_https_free(out);
	*out = h;
}

void ls_https_free(struct ls_https **https)
{
	struct ls_https *h = *https;

	if (!h)
		return;
	if (h->easy)
		curl_easy_cleanup(h->easy);
	ls_buf_done(&h->ca_pem);
	ls_buf_done(&h->cert_pem);
	ls_secret_done(&h->key_pem);
	free(h->ca_file);
	free(h->cert_file);
	free(h->key_file);
	free(h);
	*https = NULL;
}

/* Gives away whole lines; false: the callback has had enough. */
static bool give_lines(struct answer *a)
{
	const char *newline;
	size_t start = 0;

	while ((newline = memchr(a->body->data + start, '\n', a->body->len - start)) != NULL) {
		size_t end = (size_t)(newline - a->body->data);

		if (!a->call->on_line(a->call->arg, a->body->data + start, end - start))
			return false;
		start = end + 1;
		if (start == a->body->len)
			break;
	}
	if (start > 0) {
		memmove(a->body->data, a->body->data + start, a->body->len - start);
		a->body->len -= start;
		a->body->data[a->body->len] = '\0';
	}
	return true;
}

static size_t body_came(char *data, size_t size, size_t count, void *arg)
{
	struct answer *a = arg;
	size_t len = size * count;

	if (len > a->call->body_max - a->body->len) {
		a->too_long = true;
		return 0;
	}
	ls_buf_add(a->body, data, len);
	if (a->call->on_line && a->body->len > 0 && !give_lines(a)) {
		a->stopped = true;
		return 0;
	}
	return len;
}

static int ticked(
	void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct answer *a = arg;

	(void)down_total, (void)down, (void)up_total, (void)up;
	if (a->call->on_tick && !a->call->on_tick(a->call->arg))
		a->stopped = true;
	return a->stopped;
}

static struct curl_blob blob(struct ls_bytes pem)
{
	/* Ours outlive the handle, so curl makes no copy of the key. */
	return (struct curl_blob){
		.data = (void *)(uintptr_t)pem.data, .len = pem.len, .flags = CURL_BLOB_NOCOPY
	};
}

static void set_tls_files(struct ls_https *h)
{
	(void)curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(h->easy, CURLOPT_CAINFO, h->ca_file);
	/* It would go on trusting for a day what stood there first. */
	(void)curl_easy_setopt(h->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	(void)curl_easy_setopt(h->easy, CURLOPT_CAPATH, NULL);
	if (h->cert_file && h->key_file) {
		(void)curl_easy_setopt(h->easy, CURLOPT_SSLCERT, h->cert_file);
		(void)curl_easy_setopt(h->easy, CURLOPT_SSLKEY, h->key_file);
	}
}

static void set_tls(struct ls_https *h)
{
	struct curl_blob ca = blob(ls_buf_bytes(&h->ca_pem));
	struct curl_blob cert = blob(ls_buf_bytes(&h->cert_pem));
	struct curl_blob key = blob(ls_secret_bytes(&h->key_pem));

	(void)curl_easy_setopt(h->easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	if (h->ca_file) {
		set_tls_files(h);
		return;
	}
	if (h->insecure) {
		(void)curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "https");
		(void)curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYHOST, 0L);
		return;
	}
	if (ca.len == 0) {
		(void)curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "http");
		return;
	}
	(void)curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(h->easy, CURLOPT_CAINFO_BLOB, &ca);
	(void)curl_easy_setopt(h->easy, CURLOPT_CAPATH, NULL); /* the system's are not trusted */
	(void)curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (cert.len > 0 && key.len > 0) {
		(void)curl_easy_setopt(h->easy, CURLOPT_SSLCERTTYPE, "PEM");
		(void)curl_easy_setopt(h->easy, CURLOPT_SSLCERT_BLOB, &cert);
		(void)curl_easy_setopt(h->easy, CURLOPT_SSLKEYTYPE, "PEM");
		(void)curl_easy_setopt(h->easy, CURLOPT_SSLKEY_BLOB, &key);
	}
}

static void set_body(struct ls_https *h, const struct ls_https_call *call)
{
	(void)curl_easy_setopt(h->easy, CURLOPT_POST, 1L);
	(void)curl_easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
	(void)curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, call->body.data ?: "");
}

static void set_call(struct ls_https *h, struct answer *a)
{
	const struct ls_https_call *call = a->call;
	bool stream = call->on_line || call->on_tick;

	(void)curl_easy_setopt(h->easy, CURLOPT_URL, call->url);
	(void)curl_easy_setopt(h->easy, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(h->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->connect_ms);
	(void)curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
	(void)curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, body_came);
	(void)curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, a);
	(void)curl_easy_setopt(h->easy, CURLOPT_NOPROGRESS, stream ? 0L : 1L);
	(void)curl_easy_setopt(h->easy, CURLOPT_XFERINFOFUNCTION, ticked);
	(void)curl_easy_setopt(h->easy, CURLOPT_XFERINFODATA, a);
}

static enum ls_code call_failed(struct ls_https *h, CURLcode rc, const struct answer *a,
	const char *detail, struct ls_err *err)
{
	const char *why = detail[0] ? detail : curl_easy_strerror(rc);
	curl_off_t connected_us = 0;
	long sent = 0;

	(void)curl_easy_getinfo(h->easy, CURLINFO_REQUEST_SIZE, &sent);
	(void)curl_easy_getinfo(h->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
	if (a->too_long)
		return LS_FAIL(err, LS_E_UNKNOWN, "%s: the answer is over %zu bytes", a->call->url,
			a->call->body_max);
	if (sent == 0 && connected_us == 0)
		return LS_FAIL(err, LS_E_UNREACHABLE, "%s: %s", a->call->url, why);
	return LS_FAIL(err, LS_E_UNKNOWN, "%s: %s", a->call->url, why);
}

static int64_t date_of(struct ls_https *h)
{
	struct curl_header *header;
	time_t at_s = -1;

	if (curl_easy_header(h->easy, "Date", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
		at_s = curl_getdate(header->value, NULL);
	return at_s < 0 ? 0 : (int64_t)at_s;
}

static enum ls_code perform(struct ls_https *h, const struct ls_https_call *call, bool post,
	int *out_status, struct ls_buf *out_body, struct ls_err *err)
{
	LS_CLEANUP(slist_free) struct curl_slist *headers = NULL;
	LS_CLEANUP(ls_buf_done) struct ls_buf body = { 0 };
	struct answer answer = { .call = call, .body = &body };
	char detail[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode rc;

	if (!h->easy)
		h->easy = curl_easy_init();
	if (!h->easy)
		return LS_FAIL(err, LS_E_FAILED, "the HTTP library does not start");
	curl_easy_reset(h->easy); /* connections and sessions stay */
	headers = curl_slist_append(headers, "Expect:");
	if (post)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	for (size_t i = 0; i < ls_strv_count(call->headers); i++)
		headers = curl_slist_append(headers, call->headers[i]);
	(void)curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, detail);
	set_tls(h);
	set_call(h, &answer);
	if (post)
		set_body(h, call);
	rc = curl_easy_perform(h->easy);
	if (rc != CURLE_OK && !answer.stopped)
		return call_failed(h, rc, &answer, detail, err);
	(void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	*out_status = (int)status;
	if (call->out_date_s)
		*call->out_date_s = date_of(h);
	ls_buf_done(out_body);
	*out_body = body;
	body = (struct ls_buf){ 0 };
	return LS_OK;
}

enum ls_code ls_https_post(struct ls_https *h, const struct ls_https_call *call, int *out_status,
	struct ls_buf *out_body, struct ls_err *err)
{
	return perform(h, call, true, out_status, out_body, err);
}

enum ls_code ls_https_get(struct ls_https *h, const struct ls_https_call *call, int *out_status,
	struct ls_buf *out_body, struct ls_err *err)
{
	return perform(h, call, false, out_status, out_body, err);
}
