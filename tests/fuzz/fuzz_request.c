/* Any bytes as a request; one that is taken survives the way through its own text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_change_done) struct ls_change change = { 0 }, again = { 0 };
	LS_CLEANUP(ls_free_str) char *text = NULL;
	LS_CLEANUP(ls_free_str) char *text_again = NULL;
	struct ls_err err = { 0 };

	if (ls_change_from_text((struct ls_bytes){ data, size }, &change, &err) != LS_OK) {
		if (err.code != LS_E_USAGE || !err.text[0])
			abort();
		return 0;
	}
	if (change.kind >= LS_CHANGE_ADOPT) /* the daemon's own */
		abort();
	text = ls_change_to_text(&change);
	if (ls_change_from_text(LS_BYTES_STR(text), &again, &err) != LS_OK)
		abort();
	text_again = ls_change_to_text(&again);
	if (strcmp(text, text_again) != 0)
		abort();
	return 0;
}
