/* steady -- a steady load of TLS connections on one endpoint, while something happens to it.
 *
 * usage: steady PORT redis|http RATE KEPT NAME
 *
 * Opens RATE new connections a second on 127.0.0.1 (full handshake, one request, close) and keeps
 * KEPT others, of which each makes a request about once a second. On SIGTERM it prints one JSON
 * object and ends: how many handshakes, how many of them failed, how many kept connections were
 * lost, how many different certificates were shown. The first failure is told on standard error.
 */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX 100
#define SEEN_MAX 1000
#define PATIENCE_S 5

struct load {
	SSL_CTX *ctx;
	const char *name, *request, *answer_end;
	int port;
	SSL *kept[KEPT_MAX];
	int kept_count;
	unsigned char seen[SEEN_MAX][32];
	int seen_count;
	long handshakes, failed, kept_lost, requests;
};

/* SIGTERM ends the load between two handshakes: within one it would count as a failed one. */
static bool told_to_stop(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

static void tell(const struct load *l, const char *what)
{
	unsigned long code = ERR_get_error();

	if (l->failed + l->kept_lost == 0)
		fprintf(stderr, "steady: %s: %s: %m\n", what,
			code ? ERR_error_string(code, NULL) : "no TLS error");
	ERR_clear_error();
}

static void hang_up(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	(void)SSL_shutdown(ssl);
	SSL_free(ssl);
	(void)close(fd);
}

static void remember(struct load *l, SSL *ssl)
{
	unsigned char id[32];
	unsigned int len = sizeof id;
	X509 *cert = SSL_get1_peer_certificate(ssl);

	if (!cert || X509_digest(cert, EVP_sha256(), id, &len) != 1)
		abort();
	X509_free(cert);
	for (int i = l->seen_count; i-- > 0;)
		if (memcmp(l->seen[i], id, sizeof id) == 0)
			return;
	if (l->seen_count < SEEN_MAX)
		memcpy(l->seen[l->seen_count++], id, sizeof id);
}

static SSL *dial(struct load *l)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)l->port) };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = SSL_new(l->ctx);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || !ssl)
		abort();
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (SSL_set_fd(ssl, fd) != 1 || SSL_set_tlsext_host_name(ssl, l->name) != 1)
		abort();
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && SSL_connect(ssl) == 1) {
		remember(l, ssl);
		return ssl;
	}
	tell(l, "handshake");
	SSL_free(ssl);
	(void)close(fd);
	return NULL;
}

static bool ask(struct load *l, SSL *ssl)
{
	char answer[4096];
	int have = 0;

	if (SSL_write(ssl, l->request, (int)strlen(l->request)) <= 0)
		return false;
	while (have < (int)sizeof answer - 1) {
		int n = SSL_read(ssl, answer + have, (int)sizeof answer - 1 - have);

		if (n <= 0)
			return false;
		have += n;
		answer[have] = '\0';
		if (strstr(answer, l->answer_end)) {
			l->requests++;
			return true;
		}
	}
	return false;
}

static void one_more(struct load *l)
{
	SSL *ssl = dial(l);

	l->handshakes++;
	if (ssl && ask(l, ssl)) {
		hang_up(ssl);
		return;
	}
	if (ssl) {
		tell(l, "request on a new connection");
		hang_up(ssl);
	}
	l->failed++;
}

static void use_kept(struct load *l, int i)
{
	if (!l->kept[i] || ask(l, l->kept[i]))
		return;
	tell(l, "kept connection");
	l->kept_lost++;
	hang_up(l->kept[i]);
	l->kept[i] = NULL;
}

static void run(struct load *l, long rate)
{
	struct timespec next;
	long tick = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &next);
	while (!told_to_stop()) {
		one_more(l);
		/* Each kept connection has its turn once in `rate` ticks, a second. */
		for (int i = 0; i < l->kept_count; i++)
			if (tick % rate == i % rate)
				use_kept(l, i);
		tick++;
		next.tv_nsec += 1000000000 / rate;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
	for (int i = 0; i < l->kept_count; i++)
		use_kept(l, i);
}

int main(int argc, char **argv)
{
	static struct load l;
	sigset_t term;
	bool redis = argc == 6 && strcmp(argv[2], "redis") == 0;
	long rate = argc == 6 ? atol(argv[3]) : 0;

	if (argc != 6 || rate < 1 || atol(argv[4]) < 0 || atol(argv[4]) > KEPT_MAX) {
		fputs("usage: steady PORT redis|http RATE KEPT NAME\n", stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &term, NULL);
	l.port = (int)atol(argv[1]);
	l.kept_count = atol(argv[4]);
	l.name = argv[5];
	l.request = redis ? "PING\r\n" : "GET / HTTP/1.1\r\nHost: prod.example.com\r\n\r\n";
	l.answer_end = redis ? "+PONG\r\n" : "\r\n\r\n";
	l.ctx = SSL_CTX_new(TLS_client_method());
	if (!l.ctx)
		return 1;
	(void)SSL_CTX_set_session_cache_mode(l.ctx, SSL_SESS_CACHE_OFF);
	for (int i = 0; i < l.kept_count; i++) {
		l.kept[i] = dial(&l);
		if (!l.kept[i])
			return 1;
	}
	run(&l, rate);
	printf("{\"handshakes\": %ld, \"failed\": %ld, \"kept\": %d, \"kept_lost\": %ld, "
	       "\"requests\": %ld, \"certificates\": %d}\n",
		l.handshakes, l.failed, l.kept_count, l.kept_lost, l.requests, l.seen_count);
	for (int i = 0; i < l.kept_count; i++)
		if (l.kept[i])
			hang_up(l.kept[i]);
	SSL_CTX_free(l.ctx);
	return 0;
}
