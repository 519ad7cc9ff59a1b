/* key -- private keys: making, reading and writing them.
 *
 * A key is an OpenSSL EVP_PKEY behind its forward name, so that no other folder needs OpenSSL's
 * headers. Generating RSA takes 0.2 to 10 s of CPU: callers that must stay responsive do it in a
 * child process. Thread-safe for distinct keys.
 */
#ifndef LS_PKI_KEY_H
#define LS_PKI_KEY_H

#include "base/bytes.h"

struct evp_pkey_st;

enum ls_key_type { LS_KEY_EC, LS_KEY_RSA, LS_KEY_ED25519, LS_KEY_OTHER };

struct ls_key_spec {
	enum ls_key_type type;
	int bits;       /* of an RSA modulus; of an EC field */
	char curve[16]; /* "P-256", "P-384", "P-521"; for other curves OpenSSL's short name, empty
			   for one that is spelled out by its numbers; for LS_KEY_OTHER the type */
};

/* "ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048", "rsa:3072", "rsa:4096", "ed25519"; all else is
 * LS_E_REFUSED. */
LS_CHECK enum ls_code ls_key_spec_parse(
	const char *text, struct ls_key_spec *out, struct ls_err *err);
/* The same spelling, such as "rsa:1024" also for what the parser does not take. `out` has 32 bytes.
 */
void ls_key_spec_text(const struct ls_key_spec *spec, char out[32]);
void ls_key_describe(struct evp_pkey_st *key, struct ls_key_spec *out);

LS_CHECK enum ls_code ls_key_generate(
	const struct ls_key_spec *spec, struct evp_pkey_st **out, struct ls_err *err);
/* Reads the one private key of a PEM text: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), SEC1 (RFC 5915; a
 * leading EC PARAMETERS block is passed over), encrypted forms with `passphrase` (may be empty: an
 * encrypted key is then refused with a hint). CRLF and text between blocks are fine; certificate
 * blocks are passed over. No key, or two: LS_E_REFUSED. `name` is the file's name for the message.
 * Never asks on a terminal. */
LS_CHECK enum ls_code ls_key_from_pem(const char *name, struct ls_bytes pem,
	struct ls_bytes passphrase, struct evp_pkey_st **out, struct ls_err *err);
/* PKCS#8 PEM, unencrypted. */
LS_CHECK enum ls_code ls_key_to_pem(
	struct evp_pkey_st *key, struct ls_secret *out, struct ls_err *err);
/* The public half: SubjectPublicKeyInfo in PEM (RFC 7468 section 13). */
LS_CHECK enum ls_code ls_key_public_pem(
	struct evp_pkey_st *key, struct ls_buf *out, struct ls_err *err);
/* Reads such a text, whoever wrote it: one PUBLIC KEY block that is DER to its last byte, and no
 * other block. LS_E_REFUSED. `name` is for the message. */
LS_CHECK enum ls_code ls_key_from_public_pem(
	const char *name, struct ls_bytes pem, struct evp_pkey_st **out, struct ls_err *err);
/* Hex SHA-256 of the SubjectPublicKeyInfo; equal for a private key and its public half. */
void ls_key_id(struct evp_pkey_st *key, char out[65]);
void ls_key_free(struct evp_pkey_st **key);

#endif
