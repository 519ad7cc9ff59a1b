/* candidate -- makes the next TLS state out of the present one and what somebody wants changed: the
 * one place where a change is thought up.
 *
 * No I/O and no clock: facts come in the context. Every function starts from context->tip and fills
 * *out, or refuses and leaves *out empty. A refusal is LS_E_REFUSED and names file, rule, found and
 * wanted. `unchanged` set: there is nothing to do.
 */
#ifndef LS_INTAKE_CANDIDATE_H
#define LS_INTAKE_CANDIDATE_H

#include "history/history.h"
#include "node/service.h"
#include "pki/credential.h"
#include "pki/key.h"
#include "pki/seal.h"

struct ls_candidate_context {
	const struct ls_state *tip;
	const struct ls_keyring *keyring;
	const struct ls_services *services; /* templates on this node */
	const char *node;
	int64_t now_s;
	/* Makes a private key; ls_key_generate, or a child process where the caller must stay
	 * responsive. */
	enum ls_code (*generate)(
		const struct ls_key_spec *spec, struct evp_pkey_st **out, struct ls_err *err);
};

struct ls_candidate {
	struct ls_state state;
	bool unchanged;
	char *cause; /* of the commit */
	char *subject;
	char **components; /* those that changed */
	struct ls_commit_id restores;
	char **warnings;
	struct ls_buf output; /* a request (CSR) for the caller */
};
void ls_candidate_done(struct ls_candidate *candidate);

struct ls_install {
	const char *component; /* an alias such as "metrics" is understood */
	struct ls_named_bytes cert, chain, key;
	struct ls_bytes passphrase;
};
/* Installs credentials, all or none. A certificate without a key is taken when its key is the
 * present one or that of an open request. `cause` is "operator" or "drop-in". */
LS_CHECK enum ls_code ls_candidate_install(const struct ls_candidate_context *context,
	const struct ls_install *installs, size_t count, const char *cause,
	struct ls_candidate *out, struct ls_err *err);

struct ls_renew {
	char *const *names; /* none: all */
	bool force;         /* although not due */
	bool replace_installed;
};
/* Issues anew by the template. Due: in the last third of its life. An installed credential is
 * passed over with a warning, or refused when it was named. */
LS_CHECK enum ls_code ls_candidate_renew(const struct ls_candidate_context *context,
	const struct ls_renew *renew, struct ls_candidate *out, struct ls_err *err);
/* A new sealed key and its request; out->output is the request in PEM. An earlier open request of
 * the component is replaced. */
LS_CHECK enum ls_code ls_candidate_request(const struct ls_candidate_context *context,
	const char *component, struct ls_candidate *out, struct ls_err *err);
/* The components, settings and trust of `earlier` (generation `number`) with the members, CA, KEK,
 * policy and open requests of the tip; keys sealed anew. */
LS_CHECK enum ls_code ls_candidate_rollback(const struct ls_candidate_context *context,
	const struct ls_state *earlier, const struct ls_generation *about, struct ls_candidate *out,
	struct ls_err *err);
/* A new KEK epoch, and the certificates to which it is wrapped: one for each member. */
struct ls_new_epoch {
	struct ls_bytes kek;
	const struct ls_new_wrapping {
		const char *node;
		struct ls_bytes cert_pem;
	} * wrappings;
	size_t wrapping_count;
};
/* Everything sealed anew. */
LS_CHECK enum ls_code ls_candidate_seal_rotate(const struct ls_candidate_context *context,
	const struct ls_new_epoch *epoch, struct ls_candidate *out, struct ls_err *err);
/* One member more, from generation `generation` on; `replace`: in place of one of that name. */
struct ls_new_member {
	const char *node;
	bool replace;
	struct ls_bytes signing_cert_pem, wrapping_cert_pem;
};
LS_CHECK enum ls_code ls_candidate_join(const struct ls_candidate_context *context,
	const struct ls_new_member *member, int64_t generation, struct ls_candidate *out,
	struct ls_err *err);
/* How the subject of a removal with a new CA ends, behind "node NAME"; by it its second step is
 * known. */
#define LS_REMOVED_COMPROMISED " is removed, compromised"
/* One member fewer: a new epoch for the others, and new generated credentials. With `new_ca` the
 * member is thought to be in others' hands: the cluster's CA is replaced (the old certificate stays
 * beside it), and credentials that an operator installed are marked as known to it. */
LS_CHECK enum ls_code ls_candidate_remove(const struct ls_candidate_context *context,
	const char *node, const struct ls_new_epoch *epoch, const struct ls_signer *new_ca,
	struct ls_candidate *out, struct ls_err *err);
/* Afterwards only the first certificate of the CA's stays; `unchanged` if it is the only one. */
LS_CHECK enum ls_code ls_candidate_drop_ca(
	const struct ls_candidate_context *context, struct ls_candidate *out, struct ls_err *err);
/* Takes an epoch off the list; nodes then destroy what opens it. */
LS_CHECK enum ls_code ls_candidate_seal_forget(const struct ls_candidate_context *context,
	int64_t epoch, struct ls_candidate *out, struct ls_err *err);
/* Adds a component, with a generated credential, for each template on this node that the state has
 * none of. */
LS_CHECK enum ls_code ls_candidate_adopt(
	const struct ls_candidate_context *context, struct ls_candidate *out, struct ls_err *err);
/* One generated credential of a component that is in `state` with its template: the building block
 * of all of the above and of bootstrap. */
LS_CHECK enum ls_code ls_candidate_generate(const struct ls_candidate_context *context,
	struct ls_state *state, struct ls_component *component, struct ls_err *err);

/* The component's proper name: "metrics" is "metrics_exporter". */
const char *ls_component_alias(const char *name);

#endif
