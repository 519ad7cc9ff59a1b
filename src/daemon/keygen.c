/* RSA takes seconds of CPU: it is made by the helper, so that a worker that waits for it can be
 * told from one that hangs, and the daemon stays able to stop. */
#include "daemon/daemon.h"
#include "pki/key.h"
#include "sys/helper.h"

#define KEYGEN_MS 120000

enum ls_code ls_daemon_generate(
	const struct ls_key_spec *spec, struct evp_pkey_st **out, struct ls_err *err)
{
	LS_CLEANUP(ls_helper_answer_done) struct ls_helper_answer answer = { .fd = -1 };
	char text[32];

	if (spec->type != LS_KEY_RSA || !ls_helper_here())
		return ls_key_generate(spec, out, err);
	ls_key_spec_text(spec, text);
	if (ls_helper_ask((const char *[]){ LS_ASK_GENERATE, text, NULL }, -1, KEYGEN_MS, &answer,
		    err) != LS_OK)
		return LS_WRAP(err, "generating a %s key failed", text);
	return ls_key_from_pem("the generated key", ls_secret_bytes(&answer.value),
		(struct ls_bytes){ 0 }, out, err);
}
