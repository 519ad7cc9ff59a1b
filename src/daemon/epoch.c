#include "daemon/epoch.h"

#include <stdlib.h>
#include <string.h>

#include "pki/key.h"

#define CHECK_DIGITS 16

void ls_epoch_done(struct ls_epoch *e)
{
	ls_secret_done(&e->kek);
	for (size_t i = 0; i < e->count; i++)
		ls_buf_done(&e->certs[i]);
	free(e->certs);
	free(e->wrappings);
	*e = (struct ls_epoch){ 0 };
}

char *ls_epoch_wrap_name(bool shared, const char *node, const char *check)
{
	return shared ? ls_format("%s-%.*s", node, CHECK_DIGITS, check) : ls_strdup(node);
}

/* This node's own, made now: it writes no offer where nobody reads one. */
static enum ls_code make_own(
	struct ls_agent *a, int64_t epoch, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 }, wrapping = { 0 };

	LS_TRY(ls_agent_ca(a, &ca, err));
	LS_TRY(ls_authority_certify(&ca, a->tip.cluster, a->identity.node, LS_NODE_CERT_WRAPPING,
		ls_now_s(), &wrapping, err));
	LS_TRY(ls_identity_save_wrapping(a->paths.identity, epoch, &wrapping, err));
	ls_buf_copy(out, &wrapping.cert_pem);
	return LS_OK;
}

static enum ls_code no_offer(const char *node, int64_t epoch, struct ls_err *err)
{
	LS_FAIL(err, LS_E_REFUSED, "node %s has offered no certificate for epoch %lld yet", node,
		(long long)epoch);
	LS_HINT(err,
		"a node does so when it is idle; start lockstepd there, or lockstep node remove %s",
		node);
	return LS_E_REFUSED;
}

/* What the store holds is judged: the member itself must have signed it, for itself. */
static enum ls_code take_offer(struct ls_agent *a, const char *node, int64_t epoch,
	const struct ls_notes *offers, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *name = ls_format("offer/%lld/%s", (long long)epoch, node);

	for (size_t i = 0; i < offers->count; i++) {
		const struct ls_note *note = &offers->items[i];

		if (strcmp(note->name, name) != 0 || strcmp(note->node, node) != 0)
			continue;
		LS_TRY(ls_authority_check(ls_buf_bytes(&a->tip.ca_pem), LS_BYTES_STR(note->body),
			a->tip.cluster, node, err));
		ls_buf_str(out, note->body);
		return LS_OK;
	}
	return no_offer(node, epoch, err);
}

static enum ls_code wrap_to(struct ls_agent *a, struct ls_epoch *e, int64_t epoch,
	const char *check, size_t at, struct ls_err *err)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf wrap = { 0 };
	LS_CLEANUP(ls_free_str)
	char *name = ls_epoch_wrap_name(ls_store_shared(a->store), e->wrappings[at].node, check);

	LS_TRY(ls_kek_wrap(ls_secret_bytes(&e->kek), ls_buf_bytes(&e->certs[at]),
		&a->identity.signer, &wrap, err));
	return ls_store_put_wrap(a->store, epoch, name, ls_buf_bytes(&wrap), err);
}

enum ls_code ls_epoch_prepare(
	struct ls_agent *a, const char *without, struct ls_epoch *out, struct ls_err *err)
{
	LS_CLEANUP(ls_epoch_done) struct ls_epoch e = { 0 };
	LS_CLEANUP(ls_notes_done) struct ls_notes offers = { 0 };
	int64_t epoch = a->tip.kek_epoch + 1;
	LS_CLEANUP(ls_free_str) char *prefix = ls_format("offer/%lld/", (long long)epoch);
	bool shared = ls_store_shared(a->store);
	char check[LS_SHA256_TEXT];

	if (shared)
		LS_TRY(ls_store_get_notes(a->store, prefix, &offers, err));
	e.certs = ls_alloc(a->tip.member_count, sizeof *e.certs);
	e.wrappings = ls_alloc(a->tip.member_count, sizeof *e.wrappings);
	ls_kek_generate(&e.kek);
	ls_kek_check_value(ls_secret_bytes(&e.kek), a->tip.cluster_id, epoch, check);
	for (size_t i = 0; i < a->tip.member_count; i++) {
		const char *node = a->tip.members[i].name;
		size_t at = e.count;

		if (without && strcmp(node, without) == 0)
			continue;
		e.count++;
		if (shared)
			LS_TRY(take_offer(a, node, epoch, &offers, &e.certs[at], err));
		else
			LS_TRY(make_own(a, epoch, &e.certs[at], err));
		e.wrappings[at] = (struct ls_new_wrapping){ node, ls_buf_bytes(&e.certs[at]) };
		LS_TRY(wrap_to(a, &e, epoch, check, at, err));
	}
	e.wish = (struct ls_new_epoch){
		.kek = ls_secret_bytes(&e.kek), .wrappings = e.wrappings, .wrapping_count = e.count
	};
	*out = e;
	e = (struct ls_epoch){ 0 };
	return LS_OK;
}
