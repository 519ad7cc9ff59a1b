/* Any JSON as the store's record; one that is taken is written and read as the same one, and the
 * moves keep to it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text_of(const struct ls_store_view *view)
{
	json_auto_t *json = ls_record_to_json(view);
	char *text = json ? json_dumps(json, JSON_SORT_KEYS) : NULL;

	if (!text)
		abort();
	return text;
}

/* Each move either is refused and changes nothing, or leaves a record that can be written. */
static void moves(struct ls_store_view *view)
{
	const char *nonce = view->rotation ? view->rotation->nonce : "n";
	LS_CLEANUP(ls_free_str) char *own = ls_strdup(nonce);
	LS_CLEANUP(ls_free_str) char *before = text_of(view);
	LS_CLEANUP(ls_free_str) char *after = NULL;
	char no_text[] = "";
	struct ls_ballot ballot = { .node = "n1", .yes = true, .reason = no_text };
	struct ls_err err = { 0 };

	if (ls_record_vote(view, own, &ballot, &err) != LS_OK) {
		after = text_of(view);
		if (strcmp(before, after) != 0)
			abort();
	}
	if (ls_record_decide(view, own, 1, &err) != LS_OK &&
		ls_record_abort(view, own, "why", 1, &err) == LS_OK && view->rotation)
		abort();
	ls_free_str(&after);
	after = text_of(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_auto_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 }, again = { 0 };
	json_auto_t *written = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	LS_CLEANUP(ls_free_str) char *text_again = NULL;
	struct ls_err err = { 0 };

	if (ls_record_from_json(json, &view, &err) != LS_OK) {
		if (err.code != LS_E_DAMAGED || view.rotation || view.last)
			abort();
		return 0;
	}
	text = text_of(&view);
	written = ls_record_to_json(&view);
	if (ls_record_from_json(written, &again, &err) != LS_OK)
		abort();
	text_again = text_of(&again);
	if (strcmp(text, text_again) != 0)
		abort();
	moves(&view);
	return 0;
}
