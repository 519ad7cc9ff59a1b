#include "daemon/view_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/serve.h"

#define PROBE_MS 2000
#define LOOKS_MAX 5
#define SOON_S (45 * 86400)

static json_t *time_json(int64_t at_s)
{
	char text[LS_TIME_TEXT_SIZE];

	ls_time_text(at_s, text);
	return json_string(text);
}

static json_t *text_json(const char *text)
{
	json_t *json = json_string(text ? text : "");

	return json ? json : json_string("?");
}

static json_t *strv_json(char *const *strv)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ls_strv_count(strv); i++)
		(void)json_array_append_new(array, text_json(strv[i]));
	return array;
}

void ls_view_problem(json_t *problems, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)json_array_append_new(problems, text_json(text));
}

/* "valid", "expiring" (within 45 days), "expired", "not yet valid" */
static const char *cert_state(const struct ls_cert_info *info, int64_t now_s)
{
	if (now_s >= info->chain_not_after_s)
		return "expired";
	if (now_s < info->not_before_s)
		return "not yet valid";
	return info->chain_not_after_s - now_s < SOON_S ? "expiring" : "valid";
}

json_t *ls_view_served(const struct ls_service *service, const char *desired, json_t *problems)
{
	struct ls_served *served;
	json_t *out = NULL;

	if (!service || service->serve_count == 0)
		return json_null();
	served = ls_alloc(service->serve_count, sizeof *served);
	ls_serve_look(service, PROBE_MS, served);
	for (size_t i = 0; i < service->serve_count; i++) {
		if (strcmp(served[i].sha256, desired) == 0)
			continue;
		if (problems)
			ls_view_problem(problems, "%s: endpoint %s %s%s", service->component,
				service->serves[i].endpoint,
				served[i].sha256[0] ? "serves another certificate"
						    : "does not serve: ",
				served[i].sha256[0] ? "" : served[i].why);
		if (!out)
			out = json_string(served[i].sha256);
	}
	free(served);
	return out ? out : json_string(desired);
}

/* As it is at this moment: with the daemon running it is put back, without one it stays. */
static void look_at_key(struct ls_agent *a, const struct ls_component *c, json_t *problems)
{
	LS_CLEANUP(ls_free_str) char *name = NULL;
	mode_t mode;

	if (!ls_live_key_open(a->live, c->name, &name, &mode))
		return;
	ls_view_problem(problems,
		"%s: others can read its live key (mode %04o): chmod o= %s/%s, then replace the "
		"key: lockstep cert %s %s%s",
		c->name, (unsigned)mode, a->paths.certs, name,
		c->origin == LS_ORIGIN_GENERATED ? "renew --force" : "set", c->name,
		c->origin == LS_ORIGIN_GENERATED ? "" : " --cert FILE --key FILE");
}

static json_t *component_json(
	struct ls_agent *a, const struct ls_component *c, int64_t now_s, json_t *problems)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	char disk[LS_SHA256_TEXT] = "";
	struct ls_err err = { 0 };

	if (ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, &err) != LS_OK) {
		ls_view_problem(problems, "%s: %s", c->name, err.text);
		return json_pack("{s:s, s:s, s:s}", "name", c->name, "origin",
			ls_origin_text(c->origin), "state", "damaged");
	}
	if (ls_live_leaf(a->live, c->name, disk, &err) != LS_OK)
		ls_view_problem(problems, "%s: live file: %s", c->name, err.text);
	else if (strcmp(disk, info.sha256) != 0)
		ls_view_problem(
			problems, "%s: the live file is not the desired certificate", c->name);
	look_at_key(a, c, problems);
	if (c->exposed)
		ls_view_problem(problems,
			"%s: its key is known to a compromised node that was removed: lockstep "
			"cert "
			"set %s --cert FILE --key FILE",
			c->name, c->name);
	if (now_s >= info.chain_not_after_s)
		ls_view_problem(problems,
			"%s: expired; lockstep cert set or cert renew replaces it", c->name);
	if (now_s < info.not_before_s)
		ls_view_problem(
			problems, "%s: not yet valid; is this machine's clock right?", c->name);
	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:s}", "name", c->name, "origin",
		ls_origin_text(c->origin), "not_before", time_json(info.not_before_s), "not_after",
		time_json(info.not_after_s), "desired", info.sha256, "disk", disk, "served",
		ls_view_served(ls_services_find(&a->services, c->name), info.sha256, problems),
		"state", cert_state(&info, now_s));
}

static json_t *votes_json(const struct ls_rotation *r)
{
	json_t *votes = json_object();

	for (size_t i = 0; i < r->ballot_count; i++)
		(void)json_object_set_new(votes, r->ballots[i].node,
			json_pack("{s:b, s:o}", "yes", (int)r->ballots[i].yes, "reason",
				text_json(r->ballots[i].reason)));
	return votes;
}

static json_t *rotation_json(const struct ls_rotation *r)
{
	if (!r)
		return json_null();
	return json_pack("{s:I, s:s, s:o, s:o, s:o}", "generation", (json_int_t)r->generation,
		"phase", ls_phase_text(r->phase), "since", time_json(r->began_at_s), "participants",
		strv_json(r->participants), "votes", votes_json(r));
}

static json_t *last_json(const struct ls_outcome *o, json_t *problems)
{
	if (!o)
		return json_null();
	if (strcmp(o->result, "degraded") == 0)
		ls_view_problem(problems, "generation %lld: %s", (long long)o->generation, o->why);
	return json_pack("{s:I, s:s, s:o, s:o, s:o}", "generation", (json_int_t)o->generation,
		"result", o->result, "why", text_json(o->why), "warnings", strv_json(o->warnings),
		"ended", time_json(o->ended_at_s));
}

/* Where this node is: the generation whose directory is live and whose commit main names. */
static json_t *self_json(
	struct ls_agent *a, const struct ls_store_view *view, bool alive, json_t *problems)
{
	char current[LS_LIVE_DIR_SIZE] = "", wanted[LS_LIVE_DIR_SIZE];
	struct ls_commit_id head = { "" };
	struct ls_err err = { 0 };
	bool ready;

	if (view->tip.dir_generation > 0)
		ls_live_dir_name(view->tip.dir_generation, view->tip.dir_commit, wanted);
	else /* the engine would know */
		LS_IGNORE(ls_live_current(a->live, wanted, NULL));
	if (ls_live_current(a->live, current, &err) != LS_OK)
		ls_view_problem(problems, "live directory: %s", err.text);
	else if (strcmp(current, wanted) != 0 && !view->rotation)
		ls_view_problem(
			problems, "the live directory is '%s', wanted '%s'", current, wanted);
	if (ls_history_head(a->history, &head, &err) != LS_OK)
		ls_view_problem(problems, "history: %s", err.text);
	else if (strcmp(head.hex, view->tip.commit) != 0 && !view->rotation)
		ls_view_problem(problems, "history: main is not the commit that the store names");
	if (ls_identity_check(a->paths.identity, &err) != LS_OK)
		ls_view_problem(problems, "%s: %s", err.text, err.hint);
	ready = strcmp(current, wanted) == 0 && strcmp(head.hex, view->tip.commit) == 0;
	if (!alive)
		ls_view_problem(problems,
			"the daemon does not answer; start lockstepd, or if it runs see its log");
	return json_pack("{s:s, s:b, s:I, s:s, s:b}", "name", a->identity.node, "alive", (int)alive,
		"generation", (json_int_t)view->tip.generation, "commit", head.hex, "ready",
		(int)(alive && ready));
}

/* Without the engine: where this node is itself. */
static enum ls_code read_or_own(
	struct ls_agent *a, struct ls_store_view *view, json_t *problems, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	/* Asked a moment ago: one that hangs is not waited for again. */
	struct ls_err why = a->peers.unreachable;
	enum ls_code code = why.code == LS_OK ? ls_agent_read(a, view, &why) : why.code;

	if (code == LS_OK)
		return LS_OK;
	if (!ls_store_shared(a->store) || !a->tip_commit.hex[0]) {
		*err = why;
		return code;
	}
	ls_view_problem(problems, "%s; services keep what they have, changes wait", why.text);
	LS_TRY(ls_history_read(a->history, &a->tip_commit, &about, err));
	view->tip.generation = about.generation;
	memcpy(view->tip.commit, a->tip_commit.hex, sizeof view->tip.commit);
	return LS_OK;
}

/* In the form in which other nodes tell theirs. */
static json_t *with_components(json_t *self, const json_t *components)
{
	json_t *own = json_object();
	const json_t *c;
	size_t i;

	json_array_foreach(components, i, c)
	{
		json_t *entry = json_object();

		(void)json_object_set(entry, "disk", json_object_get(c, "disk") ?: json_null());
		(void)json_object_set(entry, "served", json_object_get(c, "served") ?: json_null());
		(void)json_object_set_new(
			own, json_string_value(json_object_get(c, "name")), entry);
	}
	(void)json_object_set_new(self, "components", own);
	return self;
}

static enum ls_code status_once(struct ls_agent *a, const struct ls_view_about *about,
	struct ls_store_view *out_view, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	json_t *problems, *components, *nodes, *last;
	int64_t now_s = ls_now_s();
	bool healthy;

	LS_TRY(ls_agent_refresh(a, err));
	problems = strv_json(about->problems);
	if (read_or_own(a, &view, problems, err) != LS_OK) {
		json_decref(problems);
		return err ? err->code : LS_E_FAILED;
	}
	for (size_t i = 0; i < ls_strv_count(a->faults); i++)
		if (!ls_strv_has(about->problems, a->faults[i]))
			ls_view_problem(problems, "%s", a->faults[i]);
	components = json_array();
	if (ls_ca_first_bytes(ls_buf_bytes(&a->tip.ca_pem)) < a->tip.ca_pem.len)
		ls_view_problem(problems, "the cluster's earlier CA, which a compromised node "
					  "knew, is still trusted: "
					  "restart each member of etcd, then: lockstep node remove "
					  "NAME --compromised, "
					  "with the same name again");
	for (size_t i = 0; i < a->tip.component_count; i++)
		(void)json_array_append_new(
			components, component_json(a, &a->tip.components[i], now_s, problems));
	nodes = ls_view_nodes(a, &view, about,
		with_components(self_json(a, &view, about->daemon_alive, problems), components),
		problems);
	last = last_json(view.last, problems);
	healthy = json_array_size(problems) == 0 && !view.rotation;
	*out = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "cluster",
		a->tip.cluster, "fqdn", a->tip.fqdn, "node", a->identity.node, "generation",
		(json_int_t)view.tip.generation, "commit", view.tip.commit, "store",
		ls_store_shared(a->store) ? "etcd" : "local", "healthy", (int)healthy, "rotation",
		rotation_json(view.rotation), "nodes", nodes, "components", components, "problems",
		problems, "last", last);
	*out_view = view;
	view = (struct ls_store_view){ 0 };
	return LS_OK;
}

static bool same_record(const struct ls_store_view *x, const struct ls_store_view *y)
{
	return strcmp(x->tip.commit, y->tip.commit) == 0 && !x->rotation == !y->rotation;
}

/* Looked at again when the record moved meanwhile: the files would be compared with a generation
 * that is no longer wanted, and a healthy node be called sick. */
enum ls_code ls_view_status(
	struct ls_agent *a, const struct ls_view_about *about, json_t **out, struct ls_err *err)
{
	for (int i = 0;; i++) {
		LS_CLEANUP(ls_store_view_done) struct ls_store_view before = { 0 }, after = { 0 };
		json_t *json = NULL;

		LS_TRY(status_once(a, about, &before, &json, err));
		if (i + 1 == LOOKS_MAX || a->peers.unreachable.code != LS_OK ||
			ls_agent_read(a, &after, NULL) != LS_OK || same_record(&before, &after)) {
			*out = json;
			return LS_OK;
		}
		json_decref(json);
	}
}

static json_t *cert_json(struct ls_agent *a, const struct ls_component *c, int64_t now_s)
{
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };

	if (ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, NULL) != LS_OK)
		return json_pack("{s:s, s:s, s:s}", "name", c->name, "origin",
			ls_origin_text(c->origin), "state", "damaged");
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:I, s:b}",
		"name", c->name, "subject", text_json(info.subject), "issuer",
		text_json(info.issuer), "sans", strv_json(info.sans), "key", info.key, "origin",
		ls_origin_text(c->origin), "not_before", time_json(info.not_before_s), "not_after",
		time_json(info.not_after_s), "serial", info.serial, "sha256", info.sha256, "state",
		cert_state(&info, now_s), "days", (json_int_t)((info.not_after_s - now_s) / 86400),
		"open_request", (int)(ls_state_pending(&a->tip, c->name) != NULL));
}

static enum ls_code unknown_component(const char *name, struct ls_err *err)
{
	LS_FAIL(err, LS_E_REFUSED, "component '%s' is unknown", name);
	LS_HINT(err, "lockstep cert list shows the known ones");
	return LS_E_REFUSED;
}

enum ls_code ls_view_certs(struct ls_agent *a, const char *name, json_t **out, struct ls_err *err)
{
	int64_t now_s = ls_now_s();
	json_t *array;

	LS_TRY(ls_agent_refresh(a, err));
	if (name) {
		const struct ls_component *c =
			ls_state_component(&a->tip, ls_component_alias(name));

		if (!c)
			return unknown_component(name, err);
		*out = cert_json(a, c, now_s);
		(void)json_object_set_new(*out, "chain", json_string(ls_buf_text(&c->chain_pem)));
		return LS_OK;
	}
	array = json_array();
	for (size_t i = 0; i < a->tip.component_count; i++)
		(void)json_array_append_new(array, cert_json(a, &a->tip.components[i], now_s));
	*out = json_pack("{s:o}", "certificates", array);
	return LS_OK;
}

static json_t *person(const char *name, const char *email)
{
	char text[512];

	(void)snprintf(text, sizeof text, "%s <%s>", name, email);
	return text_json(text);
}

static json_t *generation_json(const struct ls_generation *g)
{
	return json_pack("{s:I, s:s, s:o, s:o, s:o, s:s, s:o, s:o}", "generation",
		(json_int_t)g->generation, "commit", g->commit.hex, "author",
		person(g->author_name, g->author_email), "committer",
		person(g->committer_name, g->committer_email), "time", time_json(g->time_s),
		"cause", g->cause, "components", strv_json(g->components), "message",
		text_json(g->subject));
}

enum ls_code ls_view_history(
	struct ls_agent *a, const char *name, int64_t count, json_t **out, struct ls_err *err)
{
	const char *wanted = name ? ls_component_alias(name) : NULL;
	struct ls_commit_id at;
	json_t *array;

	LS_TRY(ls_agent_refresh(a, err));
	at = a->tip_commit;
	array = json_array();
	while (at.hex[0] && (count == 0 || json_array_size(array) < (size_t)count)) {
		LS_CLEANUP(ls_generation_done) struct ls_generation g = { 0 };
		enum ls_code code = ls_history_read(a->history, &at, &g, err);

		if (code != LS_OK) {
			json_decref(array);
			return code;
		}
		if (!wanted || ls_strv_has(g.components, wanted))
			(void)json_array_append_new(array, generation_json(&g));
		at = g.parent;
	}
	if (wanted && json_array_size(array) == 0 && !ls_state_component(&a->tip, wanted)) {
		json_decref(array);
		return unknown_component(name, err);
	}
	*out = json_pack("{s:o}", "generations", array);
	return LS_OK;
}

static json_t *tree_components(const struct ls_state *state)
{
	json_t *array = json_array();

	for (size_t i = 0; i < state->component_count; i++) {
		const struct ls_component *c = &state->components[i];
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };

		if (ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, NULL) != LS_OK)
			continue;
		(void)json_array_append_new(array,
			json_pack("{s:s, s:s, s:o, s:o, s:s}", "name", c->name, "origin",
				ls_origin_text(c->origin), "subject", text_json(info.subject),
				"not_after", time_json(info.not_after_s), "sha256", info.sha256));
	}
	return array;
}

enum ls_code ls_view_generation(
	struct ls_agent *a, int64_t generation, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation g = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state state = { 0 };
	struct ls_commit_id id;
	enum ls_code code;

	LS_TRY(ls_agent_refresh(a, err));
	code = ls_history_find(a->history, &a->tip_commit, generation, &id, err);
	if (code == LS_E_NOT_FOUND) {
		LS_FAIL(err, LS_E_REFUSED, "there is no generation %lld", (long long)generation);
		LS_HINT(err, "lockstep history lists them");
		return LS_E_REFUSED;
	}
	if (code != LS_OK)
		return code;
	LS_TRY(ls_history_read(a->history, &id, &g, err));
	LS_TRY(ls_history_load(a->history, &id, &state, err));
	*out = generation_json(&g);
	(void)json_object_set_new(*out, "parent", json_string(g.parent.hex));
	(void)json_object_set_new(*out, "restores", json_string(g.restores.hex));
	(void)json_object_set_new(*out, "old", strv_json(g.old_sha256));
	(void)json_object_set_new(*out, "new", strv_json(g.new_sha256));
	(void)json_object_set_new(*out, "participants", strv_json(g.participants));
	(void)json_object_set_new(*out, "away", strv_json(g.away));
	(void)json_object_set_new(*out, "certificates", tree_components(&state));
	return LS_OK;
}

enum ls_code ls_view_verify(struct ls_agent *a,
	void (*progress)(void *arg, int64_t done, int64_t total), void *arg, json_t **out,
	struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	struct ls_commit_id head = { "" }, root = { "" };
	int64_t count = 0;

	LS_TRY(ls_agent_read(a, &view, err));
	LS_TRY(ls_history_head(a->history, &head, err));
	if (strcmp(head.hex, view.tip.commit) != 0 && !view.rotation) {
		LS_FAIL(err, LS_E_DAMAGED,
			"main is %s, but the store says that generation %lld is %s", head.hex,
			(long long)view.tip.generation, view.tip.commit);
		LS_HINT(err, "restart lockstepd: it puts main back where the store says");
		return LS_E_DAMAGED;
	}
	(void)snprintf(root.hex, sizeof root.hex, "%s", a->identity.root);
	LS_TRY(ls_history_verify(a->history, &head, &root, progress, arg, &count, err));
	*out = json_pack("{s:b, s:I, s:s, s:s}", "verified", 1, "generations", (json_int_t)count,
		"head", head.hex, "root", root.hex);
	return LS_OK;
}

enum ls_code ls_view_rotation(struct ls_agent *a, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	json_t *problems = json_array();

	if (ls_agent_read(a, &view, err) != LS_OK) {
		json_decref(problems);
		return err ? err->code : LS_E_FAILED;
	}
	*out = json_pack("{s:o, s:o}", "rotation", rotation_json(view.rotation), "last",
		last_json(view.last, problems));
	json_decref(problems);
	return LS_OK;
}

enum ls_code ls_rotation_stop(struct ls_agent *a, json_t **out, struct ls_err *err)
{
	LS_CLEANUP(ls_store_view_done) struct ls_store_view view = { 0 };
	LS_CLEANUP(ls_free_str) char *why = ls_format("aborted on node %s", a->identity.node);
	int64_t generation;

	LS_TRY(ls_agent_read(a, &view, err));
	if (!view.rotation) {
		LS_FAIL(err, LS_E_REFUSED, "no rotation is running");
		return LS_E_REFUSED;
	}
	generation = view.rotation->generation;
	if (view.rotation->phase != LS_PHASE_VOTING) {
		LS_FAIL(err, LS_E_CONFLICT,
			"generation %lld is decided: it can no longer be aborted",
			(long long)generation);
		LS_HINT(err, "lockstep rollback %lld goes back", (long long)generation - 1);
		return LS_E_CONFLICT;
	}
	LS_TRY(ls_store_abort(a->store, view.rotation->nonce, why, ls_now_s(), err));
	*out = json_pack("{s:b, s:I}", "aborted", 1, "generation", (json_int_t)generation);
	return LS_OK;
}
