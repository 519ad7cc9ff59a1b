/* Any bytes as what shows that a generation was decided, and as a signed value such as a note. The
 * members here sign with the word "yes", so that what lies behind a signature is reached; what is
 * taken was signed by all whom it names. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/etcd_notes.h"

#define GENERATION 7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t verified;

static enum ls_code verify(void *arg, const char *node, struct ls_bytes content,
	struct ls_bytes signature, struct ls_err *err)
{
	(void)arg;
	/* The key stands in what was signed. */
	assert(content.len > 2 && ((const char *)content.data)[0] == '/');
	if (node[0] != 'n' || !ls_bytes_equal(signature, LS_BYTES_STR("yes")))
		return LS_FAIL(err, LS_E_REFUSED, "'%s' did not sign it", node);
	verified++;
	return LS_OK;
}

static void as_proof(const struct ls_etcd_place *place, const struct ls_buf *value)
{
	LS_CLEANUP(ls_proof_done) struct ls_proof proof = { 0 };
	struct ls_err err = { 0 };

	verified = 0;
	if (ls_etcd_proof_judge(place, GENERATION, value, &proof, &err) != LS_OK) {
		assert(err.code == LS_E_DAMAGED && !proof.participants && !proof.text);
		return;
	}
	assert(proof.generation == GENERATION && ls_strv_count(proof.participants) > 0);
	assert(strcmp(proof.text, ls_buf_text(value)) == 0);
	/* Who began it or went back, and each vote or the report. */
	assert(verified == 1 + (proof.revert ? 1 : ls_strv_count(proof.participants)));
}

static void as_value(const struct ls_etcd_place *place, const struct ls_buf *value)
{
	LS_CLEANUP(ls_free_str) char *by = NULL;
	json_auto_t *body = NULL;
	struct ls_err err = { 0 };

	verified = 0;
	if (ls_etcd_open_value(place, NULL, "/p/note/x", value, &by, &body, &err) != LS_OK) {
		assert(err.code == LS_E_DAMAGED && !by && !body);
		return;
	}
	assert(verified == 1 && by && body);
	json_decref(body);
	body = NULL;
	if (ls_etcd_open_value(place, "x", "/p/note/x", value, NULL, &body, &err) == LS_OK)
		abort(); /* somebody else's */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char prefix[] = "/p/", node[] = "n1";
	struct ls_etcd_place place = { .prefix = prefix, .node = node, .trust.verify = verify };
	LS_CLEANUP(ls_buf_done) struct ls_buf value = { 0 };

	ls_buf_add(&value, data, size);
	if (memchr(value.data ?: "", '\0', value.len))
		return 0; /* texts, as etcd's values are here; JSON has none */
	as_proof(&place, &value);
	as_value(&place, &value);
	return 0;
}
