/* join -- what passes between a joining node and a member, through the gateway: both ends' share of
 * the format (DESIGN 17).
 *
 * The token's secret never travels. A request carries an HMAC-SHA256 under it over the words below
 * and the body, an answer one over its body; so the gateway, which sees both, can neither ask nor
 * answer in a member's or a newcomer's name. Pure.
 *
 *   POST /v1/join          {"token", "body": TEXT, "mac"}; TEXT is JSON {"node", "replace",
 *                          "signing_key", "wrapping_keys": {EPOCH: PEM}, "etcd_key"}
 *                          -> {"body": TEXT, "mac"}; TEXT: {"cluster", "cluster_id", "root", "ca",
 *                          "signing_cert", "wrapping_certs": {EPOCH: PEM}, "etcd": {"endpoints",
 *                          "pki", "ca", "cert"}, "generation", "commit"}
 *   POST /v1/join/history  {"token", "body": {"from"}, "mac"} -> {"body": {"from", "to", "commit",
 *                          "pack"}, "mac"}; pack in base64
 *   GET  /v1/cluster       {"cluster", "cluster_id", "ca", "epochs"}; believed for its CA alone,
 * whose SHA-256 the token names
 */
#ifndef LS_CONTROL_JOIN_H
#define LS_CONTROL_JOIN_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/text.h"
#include "pki/digest.h"

#define LS_TOKEN_ID_BYTES 8
#define LS_TOKEN_SECRET_BYTES 32
#define LS_TOKEN_ADDRESS_MAX 270

/* What is said, so that one message cannot stand for another. */
#define LS_JOIN_ASK "lockstep join request"
#define LS_JOIN_ANSWER "lockstep join answer"
#define LS_JOIN_HISTORY_ASK "lockstep history request"
#define LS_JOIN_HISTORY_ANSWER "lockstep history answer"

struct ls_token {
	char id[2 * LS_TOKEN_ID_BYTES + 1];
	struct ls_secret secret;
	char ca_sha256[LS_SHA256_TEXT];         /* of the CA certificate's DER */
	char address[LS_TOKEN_ADDRESS_MAX + 1]; /* HOST:PORT of a gateway */
};
void ls_token_done(struct ls_token *token);
/* New id and secret; the other two are the caller's to set. */
void ls_token_make(struct ls_token *token);
/* One word; into *out, since whoever reads it may join. */
void ls_token_text(const struct ls_token *token, struct ls_secret *out);
/* LS_E_REFUSED; white space around it is fine. */
LS_CHECK enum ls_code ls_token_parse(
	struct ls_bytes text, struct ls_token *out, struct ls_err *err);

/* {"token", "body", "mac"}; without a token's id {"body", "mac"}. New reference; NULL: body is not
 * UTF-8. */
json_t *ls_join_seal(
	const char *words, const char *token_id, const char *body, const struct ls_secret *secret);
/* The body, borrowed. LS_E_REFUSED: it is not of this form, or the MAC does not hold. */
LS_CHECK enum ls_code ls_join_open(const char *words, const json_t *json,
	const struct ls_secret *secret, const char **out_body, struct ls_err *err);

#endif
