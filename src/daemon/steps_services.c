/* What a rotation has to do with the services of this node: what they show before it, their
 * validation, reload, and what they show then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/steps.h"
#include "node/reload.h"
#include "node/serve.h"
#include "sys/systemd.h"

#define PROBE_MS 2000

/* An endpoint is in order when it shows the certificate that is in force before the change. */
void ls_step_probe(struct ls_agent *a)
{
	struct ls_progress *p = &a->progress;

	p->probed = LS_DONE_WELL;
	if (!p->has_before)
		return;
	for (size_t i = 0; i < ls_strv_count(p->changed); i++) {
		const struct ls_service *service = ls_services_find(&a->services, p->changed[i]);
		struct ls_served *served;
		char old[LS_SHA256_TEXT];

		if (!service || service->serve_count == 0)
			continue;
		ls_step_leaf(&p->before, p->changed[i], old);
		served = ls_alloc(service->serve_count, sizeof *served);
		ls_serve_look(service, PROBE_MS, served);
		for (size_t k = 0; k < service->serve_count; k++) {
			const char *why = served[k].why;
			LS_CLEANUP(ls_free_str) char *line = NULL;

			if (served[k].sha256[0])
				why = strcmp(served[k].sha256, old) == 0
					      ? "ok"
					      : "it serves another certificate";
			line = ls_format(
				"%s %s=%s", p->changed[i], service->serves[k].endpoint, why);
			ls_strv_add(&p->baseline, line);
		}
		free(served);
	}
}

static void about_component(const struct ls_agent *a, const struct ls_store_view *view,
	const char *component, const char *present_dir, char old_sha[LS_SHA256_TEXT],
	char new_sha[LS_SHA256_TEXT], struct ls_reload_about *out)
{
	const struct ls_progress *p = &a->progress;

	ls_step_leaf(&p->before, component, old_sha);
	ls_step_leaf(&p->state, component, new_sha);
	*out = (struct ls_reload_about){
		.certs_path = a->paths.certs,
		.dir = p->plan ? p->plan->dir : present_dir,
		.present_dir = present_dir,
		.node = a->identity.node,
		.generation = view->rotation && view->rotation->phase == LS_PHASE_VOTING
				      ? view->rotation->generation
				      : view->tip.generation,
		.old_sha256 = old_sha,
		.new_sha256 = new_sha,
		.as_units = ls_systemd_is_unit(),
		.daemon_pid = getpid(),
	};
}

void ls_step_validate(struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	char present[LS_LIVE_DIR_SIZE] = "";

	p->validated = LS_DONE_WELL;
	if (!p->has_before || ls_live_current(a->live, present, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(p->changed); i++) {
		const struct ls_service *service = ls_services_find(&a->services, p->changed[i]);
		char old_sha[LS_SHA256_TEXT], new_sha[LS_SHA256_TEXT];
		struct ls_reload_about about;
		enum ls_code code;

		if (!service || !service->validate)
			continue;
		about_component(a, view, p->changed[i], present, old_sha, new_sha, &about);
		code = ls_reload_validate(service, &about, err);
		if (code != LS_OK) {
			ls_step_reason(p, err->text);
			a->own_fault = code != LS_E_REFUSED;
			p->validated = LS_DONE_BADLY;
			return;
		}
	}
}

static bool was_in_order(const struct ls_progress *p, const char *component, const char *endpoint)
{
	LS_CLEANUP(ls_free_str) char *line = ls_format("%s %s=ok", component, endpoint);

	return ls_strv_has(p->baseline, line);
}

/* A service that was down before the change cannot take it, and that is no fault of the change
 * (DESIGN 9). */
static void note_reload_failure(
	struct ls_progress *p, const struct ls_service *service, const struct ls_err *err)
{
	LS_CLEANUP(ls_free_str) char *line = NULL;
	bool down = service->serve_count > 0;

	for (size_t k = 0; k < service->serve_count; k++)
		if (was_in_order(p, service->component, service->serves[k].endpoint))
			down = false;
	line = ls_format("%s%s failed: %s%s%s%s",
		down ? "not serving before, and reload of " : LS_STEP_RELOAD_FAILED,
		service->component, err->text, err->hint[0] ? " (" : "", err->hint,
		err->hint[0] ? ")" : "");
	ls_strv_add(&p->warnings, line);
	if (!down)
		p->reloaded = LS_DONE_BADLY;
}

void ls_step_reload(struct ls_agent *a, const struct ls_store_view *view)
{
	struct ls_progress *p = &a->progress;
	char present[LS_LIVE_DIR_SIZE] = "";

	p->reloaded = LS_DONE_WELL;
	if (ls_live_current(a->live, present, NULL) != LS_OK)
		return;
	for (size_t i = 0; i < ls_strv_count(p->changed); i++) {
		const struct ls_service *service = ls_services_find(&a->services, p->changed[i]);
		char old_sha[LS_SHA256_TEXT], new_sha[LS_SHA256_TEXT];
		LS_CLEANUP(ls_free_str) char *warning = NULL;
		struct ls_reload_about about;
		struct ls_err err = { 0 };

		if (!service || service->reload_count == 0)
			continue;
		about_component(a, view, p->changed[i], present, old_sha, new_sha, &about);
		about.dir = present;
		if (ls_reload_run(service, &about, &warning, &err) != LS_OK)
			note_reload_failure(p, service, &err);
		if (warning)
			ls_strv_add(&p->warnings, warning);
	}
}

/* Endpoints that were down or wrong before cannot cause a rollback; they are looked at once and
 * spoken of. */
static void warn_unwatched(struct ls_progress *p, const struct ls_service *service,
	const bool *watch, const char *want)
{
	struct ls_served *served = ls_alloc(service->serve_count, sizeof *served);

	ls_serve_look(service, PROBE_MS, served);
	for (size_t k = 0; k < service->serve_count; k++) {
		LS_CLEANUP(ls_free_str) char *line = NULL;

		if (watch[k] || strcmp(served[k].sha256, want) == 0)
			continue;
		line = ls_format("%s%s: endpoint %s did not serve rightly before the change and "
				 "does not now: %s",
			service->serves[k].required ? "required: " : "", service->component,
			service->serves[k].endpoint,
			served[k].sha256[0] ? "it serves another certificate" : served[k].why);
		ls_strv_add(&p->warnings, line);
	}
	free(served);
}

static void check_component(
	struct ls_agent *a, const struct ls_service *service, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;
	bool *watch = ls_alloc(service->serve_count, sizeof *watch);
	bool any = false, all = true;
	char want[LS_SHA256_TEXT];

	ls_step_leaf(&p->state, service->component, want);
	for (size_t k = 0; k < service->serve_count; k++) {
		watch[k] = was_in_order(p, service->component, service->serves[k].endpoint);
		any |= watch[k];
		all &= watch[k];
	}
	if (any && ls_serve_await(service, watch, want, p->state.settings.served_s * 1000, err) !=
			   LS_OK) {
		p->checked = LS_DONE_BADLY;
		ls_step_reason(p, err->text);
	}
	if (!all)
		warn_unwatched(p, service, watch, want);
	free(watch);
}

void ls_step_check(struct ls_agent *a, struct ls_err *err)
{
	struct ls_progress *p = &a->progress;

	p->checked = LS_DONE_WELL;
	for (size_t i = 0; i < ls_strv_count(p->changed); i++) {
		const struct ls_service *service = ls_services_find(&a->services, p->changed[i]);

		if (service && service->serve_count > 0)
			check_component(a, service, err);
	}
}
