/* Any bytes as a template file: issuing and service part, as the daemon reads it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/probe.h"
#include "node/service.h"
#include "tests/fuzz/support/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* As in fuzz_conf. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void check(const struct ls_service *service)
{
	if (!ls_name_valid(service->component) || service->cert_mode & ~(mode_t)0644 ||
		service->key_mode & ~(mode_t)0640)
		abort();
	if (service->validate && service->validate[0][0] != '/')
		abort();
	for (size_t i = 0; i < service->serve_count; i++)
		if (!ls_endpoint_valid(service->serves[i].endpoint))
			abort();
	for (size_t i = 0; i < service->reload_count; i++)
		if (service->reloads[i].timeout_s < 1 || service->reloads[i].timeout_s > 300 ||
			(service->reloads[i].kind == LS_RELOAD_EXEC &&
				service->reloads[i].argv[0][0] != '/'))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *dir;
	LS_CLEANUP(ls_services_done) struct ls_services services = { 0 };
	struct ls_paths paths = { 0 };
	struct ls_err err = { 0 };

	if (!dir)
		dir = ls_strdup(scratch_dir());
	paths.templates[0] = dir;
	scratch_put("fuzz.conf", (struct ls_bytes){ data, size });
	if (ls_services_load(&paths, size % 2 ? "prod.example.com" : NULL, &services, &err) !=
		LS_OK) {
		if (err.code != LS_E_REFUSED || !err.text[0])
			abort();
		return 0;
	}
	if (services.count != 1)
		abort();
	check(&services.items[0]);
	return 0;
}
