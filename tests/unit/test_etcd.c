/* The store in etcd where it differs from others: answers that are lost, requests that arrive late,
 * values that somebody else wrote (DESIGN 6 and 7). Against a real etcd; a proxy in this process
 * loses things. */
#include <poll.h>
#include <pthread.h>

#include "store/etcd_status.h"
#include "tests/unit/etcd_fixture.h"
#include "tests/unit/record_moves.h"

#define WAIT_MS 20000

static struct ls_store *store;
static struct ls_store_view view;
static struct ls_etcd *api; /* straight to the member */
static struct ls_err err;
static char cluster[32];
static char *proxy_url;

/* ---- the proxy: one request for each connection ---- */

enum loss {
	LOSS_NONE,
	LOSS_ANSWER,  /* done, but the caller does not hear of it */
	LOSS_REQUEST, /* never arrives */
	LOSS_LATE,    /* the caller hears nothing, and it arrives when `deliver` is called */
	LOSS_COUNT
};
static struct {
	int listen_fd;
	pthread_t thread;
	int upstream_port;
	enum loss loss;
	int nth, seen; /* the nth change is lost */
	struct ls_buf late;
} proxy;

static int connect_upstream(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)proxy.upstream_port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
		abort();
	return fd;
}

static bool read_some(int fd, struct ls_buf *to)
{
	char piece[65536];
	ssize_t n = read(fd, piece, sizeof piece);

	if (n > 0)
		ls_buf_add(to, piece, (size_t)n);
	return n > 0;
}

static bool request_whole(const struct ls_buf *request)
{
	const char *end = request->data ? strstr(request->data, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(request->data, "content-length:") : NULL;

	return length &&
	       request->len >= (size_t)(end + 4 - request->data) +
				       strtoul(length + strlen("content-length:"), NULL, 10);
}

/* Sends it upstream with "Connection: close" and gives the answer back. */
static void forward(const struct ls_buf *request, struct ls_buf *answer)
{
	LS_CLEANUP(ls_fd_close) int fd = connect_upstream();
	const char *line = strstr(request->data, "\r\n") + 2;
	size_t first = (size_t)(line - request->data);
	LS_CLEANUP(ls_buf_done) struct ls_buf all = { 0 };

	ls_buf_add(&all, request->data, first);
	ls_buf_str(&all, "Connection: close\r\n");
	ls_buf_add(&all, line, request->len - first);
	for (size_t sent = 0; sent < all.len;) {
		ssize_t n = write(fd, all.data + sent, all.len - sent);

		if (n <= 0)
			abort();
		sent += (size_t)n;
	}
	while (read_some(fd, answer))
		;
}

static enum loss loss_for(const struct ls_buf *request)
{
	/* Reads are transactions too, without a put or a removal. */
	if (!strstr(request->data, "request_put") && !strstr(request->data, "request_delete"))
		return LOSS_NONE;
	return ++proxy.seen == proxy.nth ? proxy.loss : LOSS_NONE;
}

static void serve(int fd)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf request = { 0 }, answer = { 0 };
	enum loss loss;

	while (!request_whole(&request))
		if (!read_some(fd, &request))
			return;
	if (strstr(request.data, "/v3/watch"))
		return;
	loss = loss_for(&request);
	if (loss == LOSS_LATE)
		ls_buf_copy(&proxy.late, &request);
	if (loss == LOSS_REQUEST || loss == LOSS_LATE)
		return;
	forward(&request, &answer);
	if (loss != LOSS_ANSWER)
		for (size_t sent = 0; sent < answer.len;) {
			ssize_t n = send(fd, answer.data + sent, answer.len - sent, MSG_NOSIGNAL);

			if (n <= 0)
				return;
			sent += (size_t)n;
		}
}

static void *proxy_run(void *arg)
{
	(void)arg;
	for (;;) {
		int fd = accept(proxy.listen_fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		serve(fd);
		(void)close(fd);
	}
}

static void proxy_start(void)
{
	int port;

	proxy.listen_fd = etcd_free_port(&port);
	proxy.upstream_port = (int)strtol(strrchr(etcd_member.endpoints[0], ':') + 1, NULL, 10);
	proxy_url = ls_format("http://127.0.0.1:%d", port);
	ck_assert_int_eq(pthread_create(&proxy.thread, NULL, proxy_run, NULL), 0);
}

static void proxy_stop(void)
{
	(void)shutdown(proxy.listen_fd, SHUT_RDWR);
	(void)pthread_join(proxy.thread, NULL);
	(void)close(proxy.listen_fd);
	ls_buf_done(&proxy.late);
	free(proxy_url);
}

static void deliver_late(void)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };

	ck_assert_ptr_nonnull(proxy.late.data);
	forward(&proxy.late, &answer);
	ck_assert_msg(strstr(ls_buf_text(&answer), " 200 ") != NULL, "%s", ls_buf_text(&answer));
	ls_buf_clear(&proxy.late);
}

/* ---- fixture ---- */

static struct ls_store *open_as(const char *node, char **endpoints)
{
	struct ls_etcd_settings settings;
	struct ls_store *opened = NULL;

	etcd_settings_of(&settings);
	if (endpoints)
		settings.endpoints = endpoints;
	ls_store_etcd_open(&settings, cluster, node, &etcd_trust, &opened);
	return opened;
}

static void setup(void)
{
	struct ls_etcd_settings settings;
	unsigned char random[8];

	ls_random_bytes(random, sizeof random);
	ls_hex(random, sizeof random, cluster);
	etcd_settings_of(&settings);
	ls_etcd_new(&settings, &api);
	store = open_as("n1", NULL);
}

static void teardown(void)
{
	ls_store_free(&store);
	ls_store_view_done(&view);
	ls_etcd_free(&api);
}

static const struct ls_store_view *now(void)
{
	ck_ok(ls_store_read(store, &view, &err));
	return &view;
}

static enum ls_code begin(struct ls_store *on, int number)
{
	struct ls_rotation rotation;

	moves_rotation(&now()->tip, number, &rotation);
	return ls_store_begin(on, &rotation, &err);
}

static enum ls_code vote(struct ls_store *on, int number, const char *node, bool yes)
{
	struct ls_ballot ballot;

	moves_ballot(node, yes, &ballot);
	return ls_store_vote(on, moves_nonce(number), &ballot, &err);
}

static enum ls_code report(struct ls_store *on, int number, const char *node)
{
	struct ls_report r;

	moves_report(node, moves_commit(number), true, &r);
	return ls_store_report(on, moves_nonce(number), &r, &err);
}

static enum ls_code end(struct ls_store *on, int number)
{
	struct ls_outcome outcome;

	moves_outcome(number, "done", &outcome);
	return ls_store_close(on, moves_nonce(number), &outcome, &err);
}

static void decided(int number)
{
	ck_ok(begin(store, number));
	ck_ok(vote(store, number, "n1", true));
	ck_ok(vote(store, number, "n2", true));
	ck_ok(ls_store_decide(store, moves_nonce(number), 2000, &err));
}

/* ---- lost answers ---- */

#define STEPS 7

static enum ls_code do_step(struct ls_store *on, int number, int which)
{
	switch (which) {
	case 0:
		return begin(on, number);
	case 1:
		return vote(on, number, "n1", true);
	case 2:
		return vote(on, number, "n2", true);
	case 3:
		return ls_store_decide(on, moves_nonce(number), 2000, &err);
	case 4:
		return report(on, number, "n1");
	case 5:
		return report(on, number, "n2");
	default:
		return end(on, number);
	}
}

static char *view_text(void)
{
	json_t *json = ls_record_to_json(now());
	char *text = json_dumps(json, JSON_SORT_KEYS);

	json_decref(json);
	return text;
}

/* One rotation; the one change of step `which` is lost. What another member sees is as if nothing
 * had been lost, also after a request that was held back arrives. */
static void rotate_with_loss(struct ls_store *lossy, int number, int which, enum loss loss)
{
	for (int i = 0; i < STEPS; i++) {
		LS_CLEANUP(ls_free_str) char *before = NULL;
		LS_CLEANUP(ls_free_str) char *after = NULL;

		proxy.loss = i == which ? loss : LOSS_NONE;
		proxy.seen = 0;
		proxy.nth = 1;
		ck_ok(do_step(i == which ? lossy : store, number, i));
		if (i != which)
			continue;
		ck_assert_int_ge(proxy.seen, 1);
		before = view_text();
		if (loss == LOSS_LATE) {
			deliver_late();
			after = view_text();
			ck_assert_str_eq(before, after);
		}
	}
	ck_assert_ptr_null(now()->rotation);
	ck_assert_int_eq(view.tip.generation, number);
	ck_assert_str_eq(view.last->nonce, moves_nonce(number));
}

START_TEST(what_is_lost_on_the_way_is_found_out)
{
	char *endpoints[] = { NULL, etcd_member.endpoints[0], NULL };
	int number = 0;

	proxy_start();
	endpoints[0] = proxy_url;
	for (int which = 0; which < STEPS; which++) {
		for (enum loss loss = LOSS_ANSWER; loss < LOSS_COUNT; loss++) {
			struct ls_store *lossy = open_as("n1", endpoints);

			rotate_with_loss(lossy, ++number, which, loss);
			ls_store_free(&lossy);
		}
	}
	proxy_stop();
}
END_TEST

/* With nothing else to ask, "not done" cannot be known. */
START_TEST(without_an_answer_the_outcome_is_unknown)
{
	char *endpoints[] = { etcd_member.endpoints[0], NULL };
	struct ls_etcd_settings settings = { .endpoints = endpoints, .timeout_ms = 300 };
	struct ls_etcd_change put = { .key = "/x", .value = LS_BYTES_STR("y") };
	struct ls_etcd_list list = { 0 };
	struct ls_etcd *hasty = NULL;
	char x[] = "/x";
	char *prefixes[] = { x, NULL };
	bool done = false;

	ls_etcd_new(&settings, &hasty);
	ck_ok(ls_etcd_txn(hasty, NULL, 0, &put, 1, &done, &err));
	ck_assert(done);
	etcd_freeze();
	ck_code(ls_etcd_txn(hasty, NULL, 0, &put, 1, &done, &err), LS_E_UNKNOWN);
	ck_code(ls_etcd_read(hasty, prefixes, &list, &err), LS_E_UNREACHABLE);
	ck_assert_int_eq(kill(etcd_member.pid, SIGCONT), 0);
	ck_ok(ls_etcd_read(api, prefixes, &list, &err));
	ck_assert_uint_eq(list.count, 1);
	ls_etcd_list_done(&list);
	ls_etcd_free(&hasty);
}
END_TEST

/* One member is asked, and nobody in its place. */
START_TEST(a_member_says_how_it_is)
{
	int port;
	int fd = etcd_free_port(&port);
	LS_CLEANUP(ls_free_str) char *dead = ls_format("http://127.0.0.1:%d", port);
	LS_CLEANUP(ls_free_str) char *elsewhere = ls_format("%s/x", etcd_member.endpoints[0]);
	struct ls_etcd_settings settings = { .endpoints = etcd_member.endpoints,
		.timeout_ms = 2000 };
	LS_CLEANUP(ls_etcd_status_done) struct ls_etcd_status is = { 0 };
	const char *url = etcd_member.endpoints[0];
	enum ls_code code;

	(void)close(fd);
	ck_ok(ls_etcd_status_ask(&settings, url, &is, &err));
	ck_assert(is.leader);
	ck_assert(!is.learner);
	ck_assert_ptr_null(is.errors);
	ck_assert_int_eq(is.version[0], '3');
	ck_assert_int_ge(is.revision, 1);
	ck_assert_int_le(llabs(is.date_s - ls_now_s()), 5);
	ck_code(ls_etcd_status_ask(&settings, dead, &is, &err), LS_E_UNREACHABLE);
	ck_code(ls_etcd_status_ask(&settings, elsewhere, &is, &err), LS_E_DAMAGED);
	settings.timeout_ms = 300;
	ck_assert_int_eq(kill(etcd_member.pid, SIGSTOP), 0);
	code = ls_etcd_status_ask(&settings, url, &is, &err);
	ck_assert_int_eq(kill(etcd_member.pid, SIGCONT), 0); /* others want it, whatever came */
	ck_assert(code == LS_E_UNKNOWN || code == LS_E_UNREACHABLE);
	ck_assert(is.leader); /* outputs change on success only */
}
END_TEST

START_TEST(a_dead_endpoint_is_passed_over)
{
	int port;
	int fd = etcd_free_port(&port);
	LS_CLEANUP(ls_free_str) char *dead = ls_format("http://127.0.0.1:%d", port);
	char *endpoints[] = { dead, etcd_member.endpoints[0], NULL };
	char *only[] = { dead, NULL };
	struct ls_store *other;

	(void)close(fd);
	other = open_as("n1", endpoints);
	ck_ok(begin(other, 1));
	ls_store_free(&other);
	other = open_as("n1", only);
	ck_code(vote(other, 1, "n1", true), LS_E_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(err.text, dead));
	ls_store_free(&other);
}
END_TEST

START_TEST(what_is_too_large_is_refused_before_anything_is_written)
{
	size_t size = (size_t)17 << 20;
	char *big = ls_alloc(1, size);
	LS_CLEANUP(ls_buf_done) struct ls_buf pack = { 0 };

	ck_code(ls_store_publish(store, moves_commit(1), (struct ls_bytes){ big, size }, &err),
		LS_E_REFUSED);
	ck_code(ls_store_fetch(store, moves_commit(1), &pack, &err), LS_E_NOT_FOUND);
	for (size_t i = 0; i < size; i++)
		big[i] = (char)(i * 2654435761u >> 13);
	size = (size_t)3 << 20;
	ck_ok(ls_store_publish(store, moves_commit(1), (struct ls_bytes){ big, size }, &err));
	ck_ok(ls_store_fetch(store, moves_commit(1), &pack, &err));
	ck_assert(ls_bytes_equal(ls_buf_bytes(&pack), (struct ls_bytes){ big, size }));
	free(big);
}
END_TEST

/* ---- forged values ---- */

static char *full_key(const char *name)
{
	return ls_format("/lockstep/%s/%s", cluster, name);
}

static void put_raw(const char *name, const char *value)
{
	LS_CLEANUP(ls_free_str) char *key = full_key(name);
	struct ls_etcd_change change = { .key = key, .value = LS_BYTES_STR(value) };
	bool done = false;

	ck_ok(ls_etcd_txn(api, NULL, 0, &change, 1, &done, &err));
	ck_assert(done);
}

static char *get_raw(const char *name)
{
	LS_CLEANUP(ls_free_str) char *key = full_key(name);
	LS_CLEANUP(ls_etcd_list_done) struct ls_etcd_list list = { 0 };
	char *prefixes[] = { key, NULL };

	ck_ok(ls_etcd_read(api, prefixes, &list, &err));
	ck_assert_ptr_nonnull(ls_etcd_list_get(&list, key));
	return ls_strdup(ls_buf_text(ls_etcd_list_get(&list, key)));
}

/* As a member would write it, but by `by` and for the key `name`. */
static void put_signed(const char *to, const char *by, const char *name, const char *body)
{
	LS_CLEANUP(ls_free_str) char *key = full_key(name);
	LS_CLEANUP(ls_free_str) char *content = ls_format("%s\n%s", key, body);
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	LS_CLEANUP(ls_free_str) char *text = NULL;
	json_t *json;

	etcd_signature(by, LS_BYTES_STR(content), &signature);
	json = json_pack(
		"{s:s, s:s, s:s}", "by", by, "body", body, "signature", ls_buf_text(&signature));
	text = json_dumps(json, 0);
	json_decref(json);
	put_raw(to, text);
}

static char *body_of(const char *name)
{
	LS_CLEANUP(ls_free_str) char *raw = get_raw(name);
	json_t *json = json_loads(raw, 0, NULL);
	char *body = ls_strdup(json_string_value(json_object_get(json, "body")));

	json_decref(json);
	return body;
}

static void not_believed(const char *words)
{
	ck_code(ls_store_read(store, &view, &err), LS_E_DAMAGED);
	ck_assert_msg(strstr(err.text, words) != NULL, "'%s' is not in: %s", words, err.text);
	ck_code(vote(store, 2, "n1", true), LS_E_DAMAGED);
}

START_TEST(a_record_that_no_member_signed_is_not_believed)
{
	LS_CLEANUP(ls_free_str) char *good = NULL;
	LS_CLEANUP(ls_free_str) char *body = NULL;
	LS_CLEANUP(ls_free_str) char *bent = NULL;

	decided(1);
	ck_ok(end(store, 1));
	good = get_raw("record");
	body = body_of("record");
	put_raw("record", body);
	not_believed("is not signed");
	put_raw("record", "garbage");
	not_believed("is not signed");
	put_signed("record", "mallory", "record", body);
	not_believed("not believed");
	put_signed("record", "n1", "other", body); /* signed for another place */
	not_believed("not believed");
	bent = ls_strdup(good);
	strstr(bent, "\\\"generation\\\":1")[strlen("\\\"generation\\\":")] = '2';
	put_raw("record", bent);
	not_believed("not believed");
	put_raw("record", good);
	ck_assert_int_eq(now()->tip.generation, 1);
}
END_TEST

START_TEST(what_was_begun_is_the_initiators_word)
{
	LS_CLEANUP(ls_free_str) char *good = NULL;
	LS_CLEANUP(ls_free_str) char *body = NULL;
	LS_CLEANUP(ls_free_str) char *fewer = NULL;

	ck_ok(begin(store, 2));
	good = get_raw("begin");
	body = body_of("begin");
	put_signed("begin", "n2", "begin", body);
	not_believed("not by 'n1'");
	fewer = ls_strdup(body);
	memcpy(strstr(fewer, "\"n2\""), "\"n1\"", 4);
	put_signed("begin", "n1", "begin", fewer); /* of another attempt, say */
	not_believed("not about what");
	put_raw("begin", good);
	ck_ok(vote(store, 2, "n1", true));
}
END_TEST

/* `with` in place of the first `what`. */
static char *replaced(const char *text, const char *what, const char *with)
{
	const char *at = strstr(text, what);

	ck_assert_ptr_nonnull(at);
	return ls_format("%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
}

START_TEST(a_member_that_moves_the_record_does_not_speak_for_others)
{
	LS_CLEANUP(ls_free_str) char *good = NULL;
	LS_CLEANUP(ls_free_str) char *body = NULL;
	LS_CLEANUP(ls_free_str) char *votes = NULL;
	LS_CLEANUP(ls_free_str) char *reports = NULL;

	ck_ok(begin(store, 2));
	good = get_raw("record");
	body = body_of("record");
	votes = replaced(body, "\"ballots\":[]",
		"\"ballots\":[{\"node\":\"n2\",\"yes\":true,\"reason\":\"\",\"baseline\":[]}]");
	put_signed("record", "n1", "record", votes);
	not_believed("holds votes or reports");
	reports = replaced(body, "\"reports\":[]",
		"\"reports\":[{\"node\":\"n2\",\"commit\":\"c\",\"good\":false,\"reason\":\"\","
		"\"warnings\":[]}]");
	put_signed("record", "n1", "record", reports);
	not_believed("holds votes or reports");
	put_raw("record", good);
	ck_ok(vote(store, 2, "n1", true));
}
END_TEST

START_TEST(proofs_are_kept_for_so_many_generations)
{
	LS_CLEANUP(ls_proof_done) struct ls_proof proof = { 0 };
	struct ls_tip tip = { .generation = LS_PROOFS_KEPT + 5, .dir_generation = 5 };

	memset(tip.commit, '5', sizeof tip.commit - 1);
	memset(tip.dir_commit, '5', sizeof tip.dir_commit - 1);
	ck_ok(ls_store_put_proof(store, 3, "of a generation that was passed over", &err));
	ck_ok(ls_store_put_proof(store, 5, "the last that goes", &err));
	ck_ok(ls_store_put_proof(store, 6, "the first that stays", &err));
	ck_ok(ls_store_restore(store, &tip, &err));
	ck_ok(ls_store_tidy(store, &err));
	ck_code(ls_store_proof(store, 3, &proof, &err), LS_E_NOT_FOUND);
	ck_code(ls_store_proof(store, 5, &proof, &err), LS_E_NOT_FOUND);
	ck_code(ls_store_proof(store, 6, &proof, &err), LS_E_DAMAGED);
}
END_TEST

START_TEST(a_vote_counts_for_its_writer_alone)
{
	LS_CLEANUP(ls_free_str) char *mine = ls_format("vote/%s/n1", moves_nonce(1));
	LS_CLEANUP(ls_free_str) char *theirs = ls_format("vote/%s/n2", moves_nonce(1));
	LS_CLEANUP(ls_free_str) char *raw = NULL;
	LS_CLEANUP(ls_free_str) char *body = NULL;

	ck_ok(begin(store, 1));
	ck_ok(vote(store, 1, "n1", true));
	raw = get_raw(mine);
	body = body_of(mine);
	put_raw(theirs, raw); /* n1's vote in n2's place */
	ck_assert_uint_eq(now()->rotation->ballot_count, 1);
	put_signed(theirs, "n1", theirs, body);
	ck_assert_uint_eq(now()->rotation->ballot_count, 1);
	put_signed(theirs, "n2", theirs, body); /* n2 signs, but it says n1 */
	ck_assert_uint_eq(now()->rotation->ballot_count, 1);
	ck_code(ls_store_decide(store, moves_nonce(1), 2000, &err), LS_E_REFUSED);
	/* It keeps n2's own out, and n2 is told. */
	ck_code(vote(store, 1, "n2", true), LS_E_DAMAGED);
	ck_assert_ptr_nonnull(strstr(err.text, "did not sign"));
	ck_ok(ls_store_abort(store, moves_nonce(1), "forged", 5, &err));
	decided(3); /* and the next one is clean */
}
END_TEST

/* ---- the watch ---- */

static bool readable(int timeout_ms)
{
	struct pollfd fd = { .fd = ls_store_watch_fd(store), .events = POLLIN };

	return poll(&fd, 1, timeout_ms) == 1;
}

START_TEST(the_watch_tells_of_changes_by_others_and_of_its_return)
{
	struct ls_store *other = open_as("n2", NULL);

	ck_assert(readable(WAIT_MS)); /* it begins with a look */
	while (readable(0))
		(void)now();
	ck_ok(begin(other, 1)); /* reads through `store`, which drains */
	ck_assert(readable(WAIT_MS));
	(void)now();
	ck_assert_str_eq(view.rotation->nonce, moves_nonce(1));
	ck_ok(vote(other, 1, "n2", true));
	ck_assert(readable(WAIT_MS));
	ls_store_free(&other);
}
END_TEST

static bool silent_for(int64_t more_ms, int64_t less_ms)
{
	int64_t until_ms = ls_mono_ms() + WAIT_MS;
	int64_t silent_ms;

	do {
		silent_ms = ls_store_watch_silent_ms(store);
		if (silent_ms > more_ms && silent_ms < less_ms)
			return true;
		(void)usleep(1000);
	} while (ls_mono_ms() < until_ms);
	return false;
}

START_TEST(a_watch_that_tells_nothing_is_noticed)
{
	ck_assert(readable(WAIT_MS)); /* it has begun */
	while (readable(0))
		(void)now();
	etcd_freeze();
	ck_assert(silent_for(3000, INT64_MAX)); /* longer than between two signs of life */
	ck_assert_int_eq(kill(etcd_member.pid, SIGCONT), 0);
	ck_assert(silent_for(-1, 1000));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { what_is_lost_on_the_way_is_found_out,
		without_an_answer_the_outcome_is_unknown, a_member_says_how_it_is,
		a_dead_endpoint_is_passed_over,
		what_is_too_large_is_refused_before_anything_is_written,
		a_record_that_no_member_signed_is_not_believed,
		what_was_begun_is_the_initiators_word,
		a_member_that_moves_the_record_does_not_speak_for_others,
		proofs_are_kept_for_so_many_generations, a_vote_counts_for_its_writer_alone,
		the_watch_tells_of_changes_by_others_and_of_its_return,
		a_watch_that_tells_nothing_is_noticed };
	int failed;

	etcd_start();
	failed = runner_run("etcd", tests, LS_COUNT(tests), setup, teardown);
	etcd_stop();
	return failed;
}
