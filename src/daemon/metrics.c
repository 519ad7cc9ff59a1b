#include "daemon/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "node/serve.h"

#define PROBE_MS 2000

/* A label's value: backslash, quote and newline are escaped. */
static void label(struct ls_buf *out, const char *name, const char *value)
{
	ls_buf_printf(out, "%s=\"", name);
	for (const char *at = value; *at; at++) {
		if (*at == '\n')
			ls_buf_str(out, "\\n");
		else if (*at == '\\' || *at == '"')
			ls_buf_printf(out, "\\%c", *at);
		else
			ls_buf_add(out, at, 1);
	}
	ls_buf_str(out, "\"");
}

static void head(struct ls_buf *out, const char *name, const char *help)
{
	ls_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void plain(struct ls_buf *out, const char *name, const char *help, int64_t value)
{
	head(out, name, help);
	ls_buf_printf(out, "%s %lld\n", name, (long long)value);
}

struct cert {
	const struct ls_component *component;
	struct ls_cert_info info;
};

static void add_time(struct ls_buf *out, const struct ls_agent *a, const struct cert *c,
	const char *name, int64_t at_s)
{
	ls_buf_printf(out, "%s{", name);
	label(out, "component", c->component->name);
	ls_buf_str(out, ",");
	label(out, "node", a->identity.node);
	ls_buf_printf(out, "} %lld\n", (long long)at_s);
}

static void add_info(struct ls_buf *out, const struct cert *c)
{
	ls_buf_str(out, "lockstep_certificate_info{");
	label(out, "component", c->component->name);
	ls_buf_str(out, ",");
	label(out, "sha256", c->info.sha256);
	ls_buf_str(out, ",");
	label(out, "serial", c->info.serial);
	ls_buf_str(out, ",");
	label(out, "origin", ls_origin_text(c->component->origin));
	ls_buf_str(out, "} 1\n");
}

/* -1: no endpoint is configured, so nothing is said. */
static int serves(const struct ls_service *service, const char *desired)
{
	struct ls_served *served;
	int all = 1;

	if (!service || service->serve_count == 0)
		return -1;
	served = ls_alloc(service->serve_count, sizeof *served);
	ls_serve_look(service, PROBE_MS, served);
	for (size_t i = 0; i < service->serve_count; i++)
		all &= strcmp(served[i].sha256, desired) == 0;
	free(served);
	return all;
}

static void add_certificates(
	struct ls_buf *out, struct ls_agent *a, struct cert *certs, size_t count)
{
	static const char after[] = "lockstep_certificate_not_after_timestamp_seconds";
	static const char before[] = "lockstep_certificate_not_before_timestamp_seconds";

	head(out, after, "The earliest end of validity in the chain.");
	for (size_t i = 0; i < count; i++)
		add_time(out, a, &certs[i], after, certs[i].info.chain_not_after_s);
	head(out, before, "The beginning of validity of the leaf.");
	for (size_t i = 0; i < count; i++)
		add_time(out, a, &certs[i], before, certs[i].info.not_before_s);
	head(out, "lockstep_certificate_info", "Which certificate a component has.");
	for (size_t i = 0; i < count; i++)
		add_info(out, &certs[i]);
	head(out, "lockstep_served_matches_desired",
		"Whether handshakes with the component's endpoints show the certificate in force.");
	for (size_t i = 0; i < count; i++) {
		const char *name = certs[i].component->name;
		int all = serves(ls_services_find(&a->services, name), certs[i].info.sha256);

		if (all < 0)
			continue;
		ls_buf_str(out, "lockstep_served_matches_desired{");
		label(out, "component", name);
		ls_buf_printf(out, "} %d\n", all);
	}
}

static void add_members(
	struct ls_buf *out, const struct ls_agent *a, const struct ls_store_view *view)
{
	if (!ls_store_shared(a->store))
		return;
	head(out, "lockstep_node_alive", "Whether a member gives signs of life.");
	for (size_t i = 0; i < a->tip.member_count; i++) {
		ls_buf_str(out, "lockstep_node_alive{");
		label(out, "node", a->tip.members[i].name);
		ls_buf_printf(out, "} %d\n", ls_strv_has(view->alive, a->tip.members[i].name) != 0);
	}
}

enum ls_code ls_metrics(struct ls_agent *a, struct ls_buf *out, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct cert *certs;
	size_t count = 0;
	bool reached;

	LS_TRY(ls_agent_refresh(a, err));
	reached = ls_agent_read(a, &view, NULL) == LS_OK;
	LS_TRY(ls_history_read(a->history, &a->tip_commit, &about, err));
	ls_buf_clear(out);
	plain(out, "lockstep_generation", "The generation that this node knows to be in force.",
		about.generation);
	plain(out, "lockstep_store_reachable", "Whether the store could be read.", reached);
	if (reached) {
		plain(out, "lockstep_rotation_phase", "0 idle, 1 voting, 2 verifying, 3 reverting.",
			view.rotation ? (int64_t)view.rotation->phase : LS_PHASE_IDLE);
		add_members(out, a, &view);
	}
	certs = ls_alloc(a->tip.component_count + 1, sizeof *certs);
	for (size_t i = 0; i < a->tip.component_count; i++) {
		certs[count].component = &a->tip.components[i];
		if (ls_cert_info_read(ls_buf_bytes(&a->tip.components[i].chain_pem),
			    &certs[count].info, NULL) == LS_OK)
			count++;
	}
	add_certificates(out, a, certs, count);
	for (size_t i = 0; i < count; i++)
		ls_cert_info_done(&certs[i].info);
	free(certs);
	return LS_OK;
}
