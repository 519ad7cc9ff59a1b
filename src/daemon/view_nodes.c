/* The members of the cluster, as a node sees them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/view_parts.h"

static const struct ls_away *find_away(const struct ls_view_about *about, const char *node)
{
	for (size_t i = 0; i < about->away_count; i++)
		if (strcmp(about->away[i].node, node) == 0)
			return &about->away[i];
	return NULL;
}

json_t *ls_view_said_by(const struct ls_notes *notes, const char *node)
{
	for (size_t i = 0; i < notes->count; i++)
		if (strcmp(notes->items[i].node, node) == 0 &&
			strcmp(notes->items[i].name + strlen(LS_NOTE_ALIVE), node) == 0)
			return json_loads(notes->items[i].body, JSON_REJECT_DUPLICATES, NULL);
	return NULL;
}

static json_t *away_json(const char *node, const struct ls_away *away, json_t *problems)
{
	char since[LS_TIME_TEXT_SIZE] = "";

	if (away)
		ls_time_text(away->since_s, since);
	ls_view_problem(problems,
		"node %s is away%s%s: start lockstepd there, or lockstep node remove %s", node,
		away ? " since " : "", since, node);
	return json_pack("{s:s, s:b, s:I, s:s, s:b, s:s}", "name", node, "alive", 0, "generation",
		(json_int_t)0, "commit", "", "ready", 0, "away_since", since);
}

/* What services of other nodes show is told by those nodes. */
static void look_at_served(
	const struct ls_state *tip, const char *node, const json_t *components, json_t *problems)
{
	for (size_t i = 0; i < tip->component_count; i++) {
		const struct ls_component *c = &tip->components[i];
		const json_t *said = json_object_get(components, c->name);
		const char *disk = json_string_value(json_object_get(said, "disk"));
		const char *served = json_string_value(json_object_get(said, "served"));
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };

		if (!said || ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, NULL) != LS_OK)
			continue;
		if (disk && strcmp(disk, info.sha256) != 0)
			ls_view_problem(problems,
				"%s on node %s: the live file is not the desired certificate",
				c->name, node);
		if (served && strcmp(served, info.sha256) != 0)
			ls_view_problem(problems, "%s on node %s: an endpoint %s", c->name, node,
				served[0] ? "serves another certificate" : "does not serve");
	}
}

static json_t *other_json(struct ls_agent *a, const struct ls_store_view *view,
	const struct ls_notes *notes, const struct ls_view_about *about, const char *node,
	json_t *problems)
{
	json_auto_t *said = ls_view_said_by(notes, node);
	const char *commit = json_string_value(json_object_get(said, "commit"));
	int64_t generation = json_integer_value(json_object_get(said, "generation"));
	bool ready = json_is_true(json_object_get(said, "ready")) && commit &&
		     strcmp(commit, view->tip.commit) == 0;
	json_t *components = json_object_get(said, "components");

	if (!said || !commit)
		return away_json(node, find_away(about, node), problems);
	if (!ready && !view->rotation)
		ls_view_problem(problems, "node %s is at generation %lld, not at %lld", node,
			(long long)generation, (long long)view->tip.generation);
	else if (!view->rotation)
		look_at_served(&a->tip, node, components, problems);
	return json_pack("{s:s, s:b, s:I, s:s, s:b, s:O}", "name", node, "alive", 1, "generation",
		(json_int_t)generation, "commit", commit, "ready", (int)ready, "components",
		components);
}

json_t *ls_view_nodes(struct ls_agent *a, const struct ls_store_view *view,
	const struct ls_view_about *about, json_t *self, json_t *problems)
{
	LS_CLEANUP(ls_notes_done) struct ls_notes notes = { 0 };
	json_t *nodes = json_array();

	if (ls_store_shared(a->store) && a->peers.unreachable.code == LS_OK)
		LS_IGNORE(ls_store_get_notes(a->store, LS_NOTE_ALIVE, &notes, NULL)); /* all away */
	for (size_t i = 0; i < a->tip.member_count; i++) {
		const char *node = a->tip.members[i].name;

		if (strcmp(node, a->identity.node) == 0)
			(void)json_array_append(nodes, self);
		else if (a->peers.unreachable.code == LS_OK)
			(void)json_array_append_new(
				nodes, other_json(a, view, &notes, about, node, problems));
	}
	if (!ls_state_member(&a->tip, a->identity.node))
		(void)json_array_append(nodes, self);
	json_decref(self);
	return nodes;
}
