/* reader -- reads a component's live files in a tight loop and judges each pair that it gets.
 *
 * usage: reader CERTS-DIRECTORY COMPONENT [PAUSE_US]
 *
 * One way is ..data opened once and key and certificate read relative to it, the other is the
 * combined file by its path alone. With a pause between the reads it leaves the processor to
 * others. A pair is good when both files are whole and belong together. On SIGTERM it prints one
 * JSON object: reads, bad ones, those where a file had vanished, and how many different generations
 * were seen. The first bad one is told on standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX 65536
#define NAME_SIZE 4096

static volatile sig_atomic_t stop;

struct text {
	char bytes[FILE_MAX];
	size_t len;
};

static struct {
	long reads, bad, vanished, swaps;
} count;

static void on_term(int signum)
{
	(void)signum;
	stop = 1;
}

/* False: it could not be read; errno says why. */
static bool slurp(int dir_fd, const char *name, struct text *out)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	out->len = 0;
	if (fd < 0)
		return false;
	while (n > 0 && out->len < FILE_MAX) {
		n = read(fd, out->bytes + out->len, FILE_MAX - out->len);
		if (n > 0)
			out->len += (size_t)n;
	}
	(void)close(fd);
	return n == 0;
}

static bool ends(const struct text *text, const char *with)
{
	size_t len = strlen(with);

	return text->len > len && memcmp(text->bytes + text->len - len, with, len) == 0;
}

static bool belong_together(const struct text *key_text, const struct text *cert_text)
{
	BIO *key_bio = BIO_new_mem_buf(key_text->bytes, (int)key_text->len);
	BIO *cert_bio = BIO_new_mem_buf(cert_text->bytes, (int)cert_text->len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	X509 *cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
	bool good = key && cert && X509_check_private_key(cert, key) == 1;

	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return good;
}

static bool same(const struct text *x, const struct text *y)
{
	return x->len == y->len && memcmp(x->bytes, y->bytes, x->len) == 0;
}

static void bad(const char *way, const char *what)
{
	if (count.bad++ == 0)
		fprintf(stderr, "reader: %s: %s: %m\n", way, what);
}

static void unreadable(const char *way, const char *what)
{
	if (errno == ENOENT && count.vanished++ == 0)
		fprintf(stderr, "reader: %s: %s vanished\n", way, what);
	bad(way, what);
}

/* What was judged before need not be judged again: that keeps the loop tight. */
static void judge(const char *way, const struct text *key, const struct text *cert,
	struct text *known_key, struct text *known_cert)
{
	if (same(key, known_key) && same(cert, known_cert))
		return;
	errno = 0;
	if (!ends(cert, "-----END CERTIFICATE-----\n"))
		bad(way, "the certificate is not whole");
	else if (!belong_together(key, cert))
		bad(way, "key and certificate do not belong together");
	else {
		*known_key = *key;
		*known_cert = *cert;
	}
}

static void read_relative(const char *certs, const char *component)
{
	static struct text key, cert, known_key, known_cert;
	char name[NAME_SIZE];
	int fd;

	count.reads++;
	(void)snprintf(name, sizeof name, "%s/..data", certs);
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		unreadable("relative", "..data");
		return;
	}
	(void)snprintf(name, sizeof name, "%s_cert.pem", component);
	if (!slurp(fd, name, &cert)) {
		unreadable("relative", name);
	} else {
		(void)snprintf(name, sizeof name, "%s_key.pem", component);
		if (!slurp(fd, name, &key))
			unreadable("relative", name);
		else
			judge("relative", &key, &cert, &known_key, &known_cert);
	}
	(void)close(fd);
}

static void read_combined(const char *certs, const char *component)
{
	static struct text both, known_key, known_cert;
	char name[NAME_SIZE];

	count.reads++;
	(void)snprintf(name, sizeof name, "%s/%s.pem", certs, component);
	if (!slurp(AT_FDCWD, name, &both))
		unreadable("combined", name);
	else
		judge("combined", &both, &both, &known_key, &known_cert);
}

static void watch_link(const char *certs)
{
	static char last[NAME_SIZE];
	char name[NAME_SIZE], now[NAME_SIZE];
	ssize_t n;

	(void)snprintf(name, sizeof name, "%s/..data", certs);
	n = readlink(name, now, sizeof now - 1);
	if (n < 0)
		return;
	now[n] = '\0';
	if (strcmp(now, last) != 0 && last[0])
		count.swaps++;
	memcpy(last, now, (size_t)n + 1);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_term };
	struct timespec gap = { 0, 0 };

	if (argc != 3 && argc != 4) {
		fputs("usage: reader CERTS-DIRECTORY COMPONENT [PAUSE_US]\n", stderr);
		return 2;
	}
	if (argc == 4)
		gap.tv_nsec = strtol(argv[3], NULL, 10) * 1000;
	(void)sigaction(SIGTERM, &act, NULL);
	while (!stop) {
		watch_link(argv[1]);
		read_relative(argv[1], argv[2]);
		read_combined(argv[1], argv[2]);
		if (gap.tv_nsec > 0)
			(void)nanosleep(&gap, NULL);
	}
	printf("{\"reads\": %ld, \"bad\": %ld, \"vanished\": %ld, \"swaps\": %ld}\n", count.reads,
		count.bad, count.vanished, count.swaps);
	return 0;
}
