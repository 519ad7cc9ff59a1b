/* Any bytes as configuration text, and as lockstep.conf. */
#include <stdint.h>
#include <stdlib.h>

#include "base/conf.h"
#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 drops the strings it was reading when it meets a syntax error: some 128 bytes for
 * each text that is refused. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void walk(const struct ls_conf_node *node)
{
	if (ls_conf_is_string(node) && !ls_conf_text(node))
		abort();
	for (size_t i = 0; i < ls_conf_count(node); i++)
		walk(ls_conf_elem(node, i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LS_CLEANUP(ls_conf_free) struct ls_conf *conf = NULL;
	struct ls_bytes bytes = { data, size };
	struct ls_err err = { 0 };
	struct ls_config config;

	if (ls_conf_parse("fuzz", bytes, &conf, &err) == LS_OK)
		walk(ls_conf_root(conf));
	else if (err.code != LS_E_REFUSED || !err.text[0])
		abort();
	if (ls_config_parse("fuzz", bytes, &config, &err) != LS_OK)
		return 0;
	if (config.settle_ms < 10 || config.settle_ms > 60000 || config.reconcile_s < 1 ||
		config.settings.served_s < 1)
		abort();
	return 0;
}
