/* seal -- encryption of private keys under the cluster key (KEK), and of the KEK to members and to
 * an escrow.
 *
 * Formats (DESIGN 3), all PEM with the label CMS:
 *  - sealed: CMS AuthEnvelopedData (RFC 5083), AES-256-GCM, one KEKRecipientInfo (RFC 5652
 * section 6.2.3) whose key identifier is the epoch as 4 bytes big-endian. Opens with: openssl cms
 * -decrypt -secretkey HEX -secretkeyid HEX.
 *  - wrap: CMS SignedData by the wrapper around CMS AuthEnvelopedData to the member's wrapping
 * certificate (ECDH, RFC 5753), holding the KEK as 64 hex digits and a newline.
 *  - escrow: CMS AuthEnvelopedData to the escrow certificate (RSA or EC), one line "EPOCH HEX\n"
 * per epoch known. The check value of an epoch is HMAC-SHA256(KEK, "lockstep kek check " CLUSTER-ID
 * " " EPOCH) in hex: public, it stands in the signed tree. Plain EnvelopedData (CBC) is never
 * written and never read: it gives garbage with success when tampered with.
 */
#ifndef LS_PKI_SEAL_H
#define LS_PKI_SEAL_H

#include <stdint.h>

#include "base/bytes.h"
#include "pki/digest.h"
#include "pki/sign.h"

#define LS_KEK_BYTES 32

/* The epochs that this node can open. */
struct ls_keyring {
	struct ls_keyring_entry {
		int64_t epoch;
		struct ls_secret kek;
	} * entries;
	size_t count;
};

void ls_keyring_done(struct ls_keyring *ring);
/* NULL when the epoch is not there. */
const struct ls_secret *ls_keyring_get(const struct ls_keyring *ring, int64_t epoch);
void ls_keyring_put(
	struct ls_keyring *ring, int64_t epoch, struct ls_bytes kek); /* copies; replaces */
void ls_keyring_drop(struct ls_keyring *ring, int64_t epoch);
void ls_keyring_copy(struct ls_keyring *to, const struct ls_keyring *from);

void ls_kek_generate(struct ls_secret *out);
void ls_kek_check_value(
	struct ls_bytes kek, const char *cluster_id, int64_t epoch, char out[LS_SHA256_TEXT]);

LS_CHECK enum ls_code ls_seal(struct ls_bytes plain, struct ls_bytes kek, int64_t epoch,
	struct ls_buf *out_pem, struct ls_err *err);
/* LS_E_REFUSED: the ring lacks the epoch (forgotten, or never given); LS_E_DAMAGED: not intact or
 * not in this format. */
LS_CHECK enum ls_code ls_unseal(struct ls_bytes pem, const struct ls_keyring *ring,
	struct ls_secret *out, struct ls_err *err);
/* The epoch that a sealed text names, without opening it. */
LS_CHECK enum ls_code ls_seal_epoch(struct ls_bytes pem, int64_t *out_epoch, struct ls_err *err);

LS_CHECK enum ls_code ls_kek_wrap(struct ls_bytes kek, struct ls_bytes recipient_cert_pem,
	const struct ls_signer *wrapper, struct ls_buf *out_pem, struct ls_err *err);
/* The signer must be one of `allowed_cert_pems` (NULL-ended PEM texts). LS_E_REFUSED: it is not;
 * LS_E_DAMAGED: not intact. */
LS_CHECK enum ls_code ls_kek_unwrap(struct ls_bytes wrap_pem, struct evp_pkey_st *wrapping_key,
	struct ls_bytes wrapping_cert_pem, char *const *allowed_cert_pems,
	struct ls_secret *out_kek, struct ls_err *err);
/* `to_cert_pem` comes from outside: refused unless it parses, is RSA >= 2048 or EC, and is not
 * expired at now_s. */
LS_CHECK enum ls_code ls_kek_escrow(const struct ls_keyring *ring, struct ls_bytes to_cert_pem,
	int64_t now_s, struct ls_buf *out_pem, struct ls_err *err);

#endif
