/* bare_init -- the floor for `lockstep init`: makes five P-256 self-signed pairs and writes them,
 * with as many fsyncs.
 *
 *   bare_init DIR FSYNCS
 *
 * Only OpenSSL, no other library, no history, no checks. Each pair is written as certificate, key,
 * both and trust file (20 files), each synced; the rest of the fsyncs are spent on small files and
 * their directory by turns, as a store and a history spend them.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAIRS 5

static int fsyncs_left, dir_fd;

static void sync_fd(int fd)
{
	if (fsyncs_left > 0 && fsync(fd) != 0)
		exit(1);
	fsyncs_left--;
}

static void put(const char *name, mode_t mode, const char *data, size_t len)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		exit(1);
	sync_fd(fd);
	close(fd);
}

static void extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *self_sign(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	unsigned char serial[16];
	BIGNUM *bn;

	RAND_bytes(serial, sizeof serial);
	serial[0] &= 0x7f;
	bn = BN_bin2bn(serial, sizeof serial, NULL);
	BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	BN_free(bn);
	X509_set_version(cert, 2);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 365L * 86400);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_ASC, (const unsigned char *)"prod.example.com", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	extension(cert, NID_basic_constraints, "critical,CA:FALSE");
	extension(cert, NID_key_usage, "critical,digitalSignature");
	extension(cert, NID_ext_key_usage, "serverAuth,clientAuth");
	extension(cert, NID_subject_key_identifier, "hash");
	extension(cert, NID_subject_alt_name,
		"DNS:prod.example.com,DNS:*.prod.example.com,DNS:internal.prod.example.com,"
		"DNS:*.internal.prod.example.com");
	X509_sign(cert, key, EVP_sha256());
	return cert;
}

static void pair(int number)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *cert = self_sign(key);
	BIO *key_pem = BIO_new(BIO_s_mem()), *cert_pem = BIO_new(BIO_s_mem());
	char *key_text, *cert_text, name[64], both[8192];
	long key_len, cert_len;

	PEM_write_bio_PKCS8PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL);
	PEM_write_bio_X509(cert_pem, cert);
	key_len = BIO_get_mem_data(key_pem, &key_text);
	cert_len = BIO_get_mem_data(cert_pem, &cert_text);
	memcpy(both, key_text, (size_t)key_len);
	memcpy(both + key_len, cert_text, (size_t)cert_len);
	snprintf(name, sizeof name, "c%d_cert.pem", number);
	put(name, 0644, cert_text, (size_t)cert_len);
	snprintf(name, sizeof name, "c%d_key.pem", number);
	put(name, 0600, key_text, (size_t)key_len);
	snprintf(name, sizeof name, "c%d.pem", number);
	put(name, 0600, both, (size_t)(key_len + cert_len));
	snprintf(name, sizeof name, "ca%d.pem", number);
	put(name, 0644, cert_text, (size_t)cert_len);
	BIO_free(key_pem);
	BIO_free(cert_pem);
	X509_free(cert);
	EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
	char name[64], filler[400];

	if (argc != 3 || mkdir(argv[1], 0755) != 0)
		return 2;
	dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY);
	fsyncs_left = (int)strtol(argv[2], NULL, 10);
	memset(filler, 'x', sizeof filler);
	for (int i = 0; i < PAIRS; i++)
		pair(i);
	for (int i = 0; fsyncs_left > 0; i++) {
		snprintf(name, sizeof name, "more%d", i);
		put(name, 0600, filler, sizeof filler);
		sync_fd(dir_fd);
	}
	return 0;
}
