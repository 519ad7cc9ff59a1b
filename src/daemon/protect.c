#include "daemon/protect.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "pki/ossl.h"

const char ls_protect_unlocked_text[] =
	"memory that holds keys cannot be locked (RLIMIT_MEMLOCK is too small): they may reach the "
	"swap";
const char ls_protect_unlocked_hint[] =
	"raise the limit (LimitMEMLOCK= in the unit, ulimit -l in a shell) or encrypt the swap";

static bool heap_locked;

static void *json_alloc(size_t size)
{
	return ls_alloc(size, 1);
}

void ls_protect(void)
{
	struct rlimit none = { 0, 0 };

	/* Either may be forbidden already, and each is enough. */
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	json_set_alloc_funcs(json_alloc, ls_free); /* requests hold keys in base64 */
	heap_locked = ls_ossl_protect();
}

bool ls_protect_unlocked(void)
{
	return !heap_locked || ls_secret_unlocked();
}
