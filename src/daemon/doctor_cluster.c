/* The doctor's checks of what a node shares with others: the record in etcd, and the other nodes.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/doctor_checks.h"
#include "daemon/view_parts.h"
#include "node/links.h"
#include "sys/file.h"

#define READ_MS 3000
/* A node that has just heard of a change is not behind. */
#define LOOKS 20
#define LOOK_WAIT_MS 100
#define CLOCK_OFF_S 300
/* After its deadline a rotation is ended by whoever of its participants is there. */
#define OVERDUE_S 60

/* ---- the record ---- */

/* What the services read here, if it is a generation's directory. */
static void take_live_dir(const struct ls_doctor *d, struct ls_tip *tip)
{
	LS_CLEANUP(ls_free_str) char *target = NULL;
	LS_CLEANUP(ls_free_str) char *number = NULL;
	LS_CLEANUP(ls_fd_close) int fd = -1;
	const char *dash;

	if (ls_dir_open(d->paths.certs, &fd, NULL) != LS_OK ||
		ls_link_read(fd, LS_LINKS_DATA, &target, NULL) != LS_OK ||
		!ls_live_dir_valid(target))
		return;
	dash = strrchr(target, '-');
	number = ls_strndup(target, (size_t)(dash - target));
	if (ls_text_number(strrchr(number, '-') + 1, 1, INT64_MAX, &tip->dir_generation))
		(void)snprintf(tip->dir_commit, sizeof tip->dir_commit, "%s", dash + 1);
}

/* What this node has, in place of a tip that it cannot follow now. Only the record knows when the
 * cluster went back to an earlier directory; the one that is live has the same content then. */
static void go_by_head(struct ls_doctor *d)
{
	struct ls_tip *tip = &d->view.tip;

	if (!d->has_head)
		return;
	*tip = (struct ls_tip){ .generation = d->head_generation,
		.dir_generation = d->head_generation };
	memcpy(tip->commit, d->head.hex, sizeof tip->commit);
	memcpy(tip->dir_commit, d->head.hex, sizeof tip->dir_commit);
	take_live_dir(d, tip);
	d->knows_tip = true;
}

/* What shows that a generation after this node's was decided. */
static enum ls_doctor_relation judge_next(struct ls_doctor *d, enum ls_doctor_relation without)
{
	LS_CLEANUP(ls_proof_done) struct ls_proof proof = { 0 };

	if (ls_store_proof(d->a->store, d->head_generation + 1, &proof, NULL) != LS_OK)
		return without;
	return strcmp(proof.parent, d->head.hex) == 0 ? LS_DOCTOR_AHEAD : LS_DOCTOR_DIVERGED;
}

/* A crash between the decision and the move of main. */
static bool follows_head(const struct ls_doctor *d, const struct ls_tip *tip)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };
	struct ls_commit_id id;

	memcpy(id.hex, tip->commit, sizeof id.hex);
	return ls_history_read(d->a->history, &id, &about, NULL) == LS_OK &&
	       ls_commit_equal(&about.parent, &d->head);
}

static enum ls_doctor_relation judge(struct ls_doctor *d)
{
	const struct ls_tip *tip = &d->stored;

	if (!d->has_record)
		return d->no_record.code == LS_E_DAMAGED ? judge_next(d, LS_DOCTOR_FORGED)
							 : LS_DOCTOR_UNKNOWN;
	if (!tip->commit[0])
		return LS_DOCTOR_EMPTY;
	if (strcmp(tip->commit, d->head.hex) == 0 || follows_head(d, tip))
		return LS_DOCTOR_SAME;
	if (tip->generation > d->head_generation)
		return judge_next(d, LS_DOCTOR_FAR);
	return ls_agent_record_is_older(d->a->history, tip, NULL) ? LS_DOCTOR_OLDER
								  : LS_DOCTOR_DIVERGED;
}

/* Of the endpoints only those are asked that answered. */
static bool open_store(struct ls_doctor *d)
{
	struct ls_etcd_settings settings = { 0 };
	struct ls_store_trust trust;
	char **well = NULL;

	ls_doctor_ask_engine(d);
	for (size_t i = 0; i < d->endpoint_count; i++)
		if (d->endpoints[i].named && ls_doctor_endpoint_well(&d->endpoints[i]))
			ls_strv_add(&well, d->endpoints[i].url);
	ls_engine_settings(&d->paths, &d->a->engine, &settings);
	ls_free_strv(&settings.endpoints);
	settings.endpoints = well;
	settings.timeout_ms = READ_MS;
	ls_cluster_trust(d->a, &trust);
	ls_store_etcd_open(
		&settings, d->a->identity.cluster_id, d->a->identity.node, &trust, &d->a->store);
	ls_etcd_settings_done(&settings);
	if (!well)
		LS_FAIL(&d->no_record, LS_E_UNREACHABLE, "no member of etcd answers");
	return well != NULL;
}

void ls_doctor_open_shared(struct ls_doctor *d)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

	d->has_head = d->has_head &&
		      ls_history_read(d->a->history, &d->head, &about, &d->no_head) == LS_OK;
	d->head_generation = about.generation;
	if (!d->has_identity || !d->has_head || !d->a->engine.endpoints) {
		LS_FAIL(&d->no_record, LS_E_FAILED, "not known before %s can be read",
			!d->has_identity ? "the node's identity"
			: !d->has_head   ? "the history"
					 : "store/etcd.json");
		go_by_head(d);
		return;
	}
	if (open_store(d))
		d->has_record = ls_store_read(d->a->store, &d->view, &d->no_record) == LS_OK;
	d->stored = d->view.tip;
	d->relation = judge(d);
	d->knows_tip = d->relation == LS_DOCTOR_SAME;
	if (!d->knows_tip)
		go_by_head(d);
	memcpy(d->goal.hex, d->view.tip.commit, sizeof d->goal.hex);
}

/* The keys and the history go aside; etcd's data, if it has a member here, stays where it is. */
static char *join_again_command(const struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *aside = ls_format("%s/aside", d->paths.lib);
	LS_CLEANUP(ls_free_str) char *to = ls_doctor_quote(aside);
	LS_CLEANUP(ls_buf_done) struct ls_buf words = { 0 };
	LS_CLEANUP(ls_free_str) char *stop = NULL;
	const char *const parts[] = { d->paths.store, d->paths.history, d->paths.identity };

	for (size_t i = 0; i < LS_COUNT(parts); i++) {
		LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(parts[i]);

		ls_buf_printf(&words, " %s", word);
	}
	stop = ls_doctor_stop_command(d);
	return ls_format("%smkdir -p -m 700 %s && mv --backup=numbered -t %s --%s && "
			 "%s join --token-file TOKEN --replace --node %s && %s",
		stop, to, to, ls_buf_text(&words), d->self,
		d->has_identity ? d->a->identity.node : "NAME", d->start);
}

static const char joins[] = "moves aside what this node has, for you to look at, and has it join "
			    "anew, for a file TOKEN "
			    "with what lockstep token create prints on a node that is in order";

static void tell_diverged(struct ls_doctor *d)
{
	ls_doctor_wrong(d,
		ls_format("diverged: this node is at generation %lld (%.12s), which the cluster's "
			  "%lld (%.12s) does not follow",
			(long long)d->head_generation, d->head.hex, (long long)d->stored.generation,
			d->stored.commit),
		"There are two histories, such as after changes on a copy of etcd that was cut "
		"off. "
		"Neither is taken for the other by itself; live files stay as they are. If this "
		"node is alone with its history it is the one to give up; what was changed here "
		"alone is then changed again. If most nodes are like this one, do so on the "
		"others.",
		joins, join_again_command(d));
}

/* The client's certificate may remove what nobody believes. */
static char *remove_command(const struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str)
	char *key = ls_format("/lockstep/%s/record", d->a->identity.cluster_id);
	LS_CLEANUP(ls_free_str) char *key64 = ls_base64(LS_BYTES_STR(key));
	LS_CLEANUP(ls_free_str) char *json = ls_format("{\"key\":\"%s\"}", key64);
	LS_CLEANUP(ls_free_str) char *migrate = ls_doctor_migrate_command(d);
	LS_CLEANUP(ls_free_str) char *command = NULL;
	const char *url = d->a->engine.endpoints[0];

	for (size_t i = 0; i < d->endpoint_count; i++)
		if (d->endpoints[i].named && ls_doctor_endpoint_well(&d->endpoints[i]))
			url = d->endpoints[i].url;
	command = ls_doctor_etcd_command(d, url, "kv/deleterange", json);
	return ls_format("%s && %s", command, migrate);
}

void ls_doctor_shared_record(struct ls_doctor *d)
{
	switch (d->relation) {
	case LS_DOCTOR_UNKNOWN:
		if (!d->has_head && d->has_frame)
			ls_doctor_wrong(d, ls_strdup(d->no_head.text),
				"Main says which generation this node has; without it nothing that "
				"others signed can be judged.",
				joins, join_again_command(d));
		else
			ls_doctor_skip(d, d->no_record.text);
		break;
	case LS_DOCTOR_EMPTY:
		ls_doctor_wrong(d, ls_strdup("etcd holds nothing of this cluster"),
			"It was reset, or the endpoints name another etcd. It is not filled by "
			"itself, since there could be two truths then; until it is, no change is "
			"possible, and services keep what they have.",
			"fills it with the newest generation of this node; do it on the node with "
			"the highest one, and first look whether the endpoints are right",
			ls_doctor_migrate_command(d));
		break;
	case LS_DOCTOR_OLDER:
		ls_doctor_wrong(d,
			ls_format("etcd names generation %lld, the history is at %lld",
				(long long)d->stored.generation, (long long)d->head_generation),
			"etcd was restored from an older snapshot. What was decided since is in "
			"the nodes' histories with the votes that show it, so nothing goes back: "
			"lockstepd puts etcd forward again by itself.",
			"has it do so now", ls_doctor_look_command(d));
		break;
	case LS_DOCTOR_FAR:
		ls_doctor_wrong(d,
			ls_format("this node is at generation %lld, the cluster at %lld, and etcd "
				  "does not have what lies between",
				(long long)d->head_generation, (long long)d->stored.generation),
			"It was away for too many generations to catch up.", joins,
			join_again_command(d));
		break;
	case LS_DOCTOR_DIVERGED:
		tell_diverged(d);
		break;
	case LS_DOCTOR_FORGED:
		ls_doctor_wrong(d, ls_strdup(d->no_record.text),
			"Somebody who has a client certificate of etcd wrote it, and is no member, "
			"or "
			"did not sign it as one. Nobody believes it, and no change is possible as "
			"long as it is there; live files stay as they are. Find out whose "
			"certificate it was: lockstep node remove --compromised.",
			"removes it and writes the record anew from this node's history",
			remove_command(d));
		break;
	case LS_DOCTOR_SAME:  /* what may be wrong is told under ref */
	case LS_DOCTOR_AHEAD: /* told under members */
		break;
	}
}

/* ---- the nodes ---- */

static const json_t *status_node(const struct ls_doctor *d, const char *node)
{
	const json_t *nodes = json_object_get(d->about->status, "nodes"), *one;
	size_t i;

	json_array_foreach(nodes, i, one)
	{
		if (strcmp(json_string_value(json_object_get(one, "name")) ?: "", node) == 0)
			return one;
	}
	return NULL;
}

static char *there_command(const char *node)
{
	return ls_format("ssh %s lockstep doctor", node);
}

static const char there[] =
	"shows what is wrong there and the command that mends it, for a machine "
	"that is called as its node";

static void tell_away(struct ls_doctor *d, const char *node)
{
	const char *since =
		json_string_value(json_object_get(status_node(d, node), "away_since")) ?: "";

	ls_doctor_wrong(d, ls_format("node %s is away%s%s", node, since[0] ? " since " : "", since),
		"Its lockstepd gives no sign of life in etcd: it does not run, hangs, or cannot "
		"reach etcd. Changes go on without it as long as a majority is here, and it "
		"catches up when it returns. If the machine is lost: lockstep node remove.",
		there, there_command(node));
}

/* A note cannot have been written later than now. */
static void look_at_time(struct ls_doctor *d, const char *node, const json_t *said)
{
	int64_t at_s = json_integer_value(json_object_get(said, "at"));
	char text[LS_TIME_TEXT_SIZE];

	if (at_s <= ls_now_s() + CLOCK_OFF_S)
		return;
	ls_time_text(at_s, text);
	ls_doctor_wrong(d,
		ls_format("node %s says that its time is %s, which is still to come here", node,
			text),
		"One of the two clocks is wrong. Certificates look as if they were not valid yet "
		"or "
		"still valid.",
		"compares its clock with those of etcd's machines", there_command(node));
}

static bool is_current(const struct ls_doctor *d, const json_t *said)
{
	const char *commit = json_string_value(json_object_get(said, "commit"));

	return json_is_true(json_object_get(said, "ready")) && commit &&
	       strcmp(commit, d->stored.commit) == 0;
}

static void tell_behind(struct ls_doctor *d, const char *node, const json_t *said)
{
	int64_t generation = json_integer_value(json_object_get(said, "generation"));

	ls_doctor_wrong(d,
		generation == d->stored.generation
			? ls_format("node %s has generation %lld, but not live", node,
				  (long long)generation)
			: ls_format("node %s is at generation %lld, not at %lld", node,
				  (long long)generation, (long long)d->stored.generation),
		"Its services may use other certificates than the rest of the cluster. It tries "
		"again by itself; something there stands in its way.",
		there, there_command(node));
}

static void tell_self(struct ls_doctor *d, const json_t *said)
{
	if (d->about->answers && !said)
		ls_doctor_wrong(d,
			ls_strdup("lockstepd answers here, but its sign of life is not in etcd"),
			"The other nodes take this one to be away.",
			"has it look at everything now", ls_doctor_look_command(d));
}

/* How many others are here and not where they should be. */
static size_t count_behind(const struct ls_doctor *d, const struct ls_notes *notes)
{
	size_t count = 0;

	for (size_t i = 0; i < d->a->tip.member_count; i++) {
		json_auto_t *said = ls_view_said_by(notes, d->a->tip.members[i].name);

		count += said && !is_current(d, said);
	}
	return count;
}

static bool look_around(struct ls_doctor *d, struct ls_notes *notes)
{
	for (int i = 0; i < LOOKS; i++) {
		ls_notes_done(notes);
		if (ls_store_get_notes(d->a->store, LS_NOTE_ALIVE, notes, NULL) != LS_OK)
			return false;
		if (d->view.rotation || count_behind(d, notes) == 0)
			return true;
		(void)poll(NULL, 0, LOOK_WAIT_MS);
	}
	return true;
}

static void check_others(struct ls_doctor *d)
{
	LS_CLEANUP(ls_notes_done) struct ls_notes notes = { 0 };

	if (!look_around(d, &notes)) {
		ls_doctor_skip(d, "etcd does not answer any more");
		return;
	}
	for (size_t i = 0; i < d->a->tip.member_count; i++) {
		const char *node = d->a->tip.members[i].name;
		json_auto_t *said = ls_view_said_by(&notes, node);

		if (strcmp(node, d->a->identity.node) == 0)
			tell_self(d, said);
		else if (!said)
			tell_away(d, node);
		else if (!d->view.rotation && !is_current(d, said))
			tell_behind(d, node, said);
		if (said && strcmp(node, d->a->identity.node) != 0)
			look_at_time(d, node, said);
	}
}

static void check_rotation(struct ls_doctor *d)
{
	const struct ls_rotation *r = d->view.rotation;
	bool voting = r && r->phase == LS_PHASE_VOTING;
	int64_t deadline_s = r ? (voting ? r->vote_deadline_s : r->verify_deadline_s) : INT64_MAX;

	if (!r || ls_now_s() < deadline_s + OVERDUE_S)
		return;
	for (size_t i = 0; i < ls_strv_count(r->participants); i++) {
		const char *node = r->participants[i];

		if (voting ? ls_rotation_ballot(r, node) != NULL
			   : ls_rotation_report(r, node) != NULL)
			continue;
		ls_doctor_wrong(d,
			ls_format(
				"the rotation to generation %lld stands still: node %s has not %s",
				(long long)r->generation, node, voting ? "voted" : "reported"),
			"It is over its deadline, after which any participant ends it: none that "
			"could is at work.",
			there, there_command(node));
	}
}

static void tell_removed(struct ls_doctor *d)
{
	ls_doctor_wrong(d,
		ls_format("this node, %s, was removed from the cluster", d->a->identity.node),
		"It gets no further generation, and what it signs is refused; its live files stay "
		"as they are, and their credentials were replaced elsewhere. To leave it so, stop "
		"and disable lockstepd.",
		joins, join_again_command(d));
}

void ls_doctor_members(struct ls_doctor *d)
{
	if (!d->shared)
		return;
	if (!d->has_tip || !d->has_identity) {
		ls_doctor_skip(d, "not known before identity and history are mended");
		return;
	}
	if (d->removed) {
		tell_removed(d);
		return;
	}
	if (!d->has_record && d->relation != LS_DOCTOR_AHEAD) {
		ls_doctor_skip(d, "not known before etcd answers");
		return;
	}
	if (d->relation == LS_DOCTOR_AHEAD && !d->view.rotation) {
		ls_doctor_wrong(d,
			d->has_record
				? ls_format("this node is at generation %lld, the cluster at %lld",
					  (long long)d->head_generation,
					  (long long)d->stored.generation)
				: ls_format(
					  "this node is at generation %lld, the cluster further on",
					  (long long)d->head_generation),
			"It was away or stuck meanwhile; its services use what it has.",
			d->about->answers ? "has it catch up now"
					  : "starts lockstepd, which catches up at once",
			ls_doctor_look_command(d));
		return; /* who is a member may have changed */
	}
	if (d->relation != LS_DOCTOR_SAME)
		return; /* told under record */
	check_rotation(d);
	check_others(d);
}
