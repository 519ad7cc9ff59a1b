/* What a node of several tells the others while nothing is to be done. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/view_parts.h"
#include "pki/key.h"
#include "sys/file.h"

#define PROOF_BYTES_MAX (4 << 20)

static json_t *components_json(struct ls_agent *a)
{
	json_t *all = json_object();

	for (size_t i = 0; i < a->tip.component_count; i++) {
		const struct ls_component *c = &a->tip.components[i];
		LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
		char disk[LS_SHA256_TEXT] = "";

		LS_IGNORE(ls_cert_info_read(ls_buf_bytes(&c->chain_pem), &info, NULL)); /* "" */
		LS_IGNORE(ls_live_leaf(a->live, c->name, disk, NULL));
		(void)json_object_set_new(all, c->name,
			json_pack("{s:s, s:o}", "disk", disk, "served",
				ls_view_served(ls_services_find(&a->services, c->name), info.sha256,
					NULL)));
	}
	return all;
}

static json_t *presence_json(struct ls_agent *a)
{
	const struct ls_tip *tip = &a->peers.tip;
	char current[LS_LIVE_DIR_SIZE] = "", wanted[LS_LIVE_DIR_SIZE];
	struct ls_commit_id head = { "" };
	LS_CLEANUP(ls_generation_done) struct ls_generation about = { 0 };

	ls_live_dir_name(tip->dir_generation, tip->dir_commit, wanted);
	LS_IGNORE(ls_live_current(a->live, current, NULL)); /* not ready */
	LS_IGNORE(ls_history_head(a->history, &head, NULL));
	LS_IGNORE(ls_history_read(a->history, &head, &about, NULL));
	return json_pack("{s:I, s:s, s:b, s:o}", "generation", (json_int_t)about.generation,
		"commit", head.hex, "ready",
		strcmp(current, wanted) == 0 && strcmp(head.hex, tip->commit) == 0, "components",
		components_json(a));
}

/* The time goes along but is not compared: a node that is well says so once. */
enum ls_code ls_cluster_announce(struct ls_agent *a, struct ls_err *err)
{
	json_auto_t *json = NULL;
	LS_CLEANUP(ls_free_str) char *text = NULL;
	LS_CLEANUP(ls_free_str) char *body = NULL;
	LS_CLEANUP(ls_free_str) char *name = ls_format(LS_NOTE_ALIVE "%s", a->identity.node);

	if (!ls_store_shared(a->store))
		return LS_OK;
	json = presence_json(a);
	text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
	if (a->peers.announced && strcmp(a->peers.announced, text) == 0 && a->peers.here)
		return LS_OK;
	(void)json_object_set_new(json, "at", json_integer(ls_now_s()));
	body = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
	LS_TRY(ls_store_put_note(a->store, name, body, LS_NOTE_LEASED, err));
	free(a->peers.announced);
	a->peers.announced = LS_TAKE(text);
	return LS_OK;
}

/* So that whoever starts the next epoch can wrap its KEK to every member, also one that is away.
 * The key stays here. */
enum ls_code ls_cluster_offer(struct ls_agent *a, struct ls_err *err)
{
	int64_t epoch = a->tip.kek_epoch + 1;
	LS_CLEANUP(ls_free_str)
	char *name = ls_format("offer/%lld/%s", (long long)epoch, a->identity.node);
	LS_CLEANUP(ls_signer_done) struct ls_signer ca = { 0 }, wrapping = { 0 };
	LS_CLEANUP(ls_notes_done) struct ls_notes notes = { 0 };
	bool have;

	if (!ls_store_shared(a->store) || a->peers.offered == epoch)
		return LS_OK;
	have = ls_identity_load_wrapping(a->paths.identity, epoch, &wrapping, NULL) == LS_OK &&
	       ls_authority_check(ls_buf_bytes(&a->tip.ca_pem), ls_buf_bytes(&wrapping.cert_pem),
		       a->tip.cluster, a->identity.node, NULL) == LS_OK;
	LS_TRY(ls_store_get_notes(a->store, name, &notes, err));
	if (!have || notes.count != 1 ||
		strcmp(notes.items[0].body, ls_buf_text(&wrapping.cert_pem)) != 0) {
		if (!have) {
			LS_TRY(ls_agent_ca(a, &ca, err));
			LS_TRY(ls_authority_certify(&ca, a->tip.cluster, a->identity.node,
				LS_NODE_CERT_WRAPPING, ls_now_s(), &wrapping, err));
			LS_TRY(ls_identity_save_wrapping(a->paths.identity, epoch, &wrapping, err));
		}
		LS_TRY(ls_store_put_note(
			a->store, name, ls_buf_text(&wrapping.cert_pem), LS_NOTE_REPLACE, err));
	}
	a->peers.offered = epoch;
	return LS_OK;
}

/* A generation's pack and proof, again. */
static enum ls_code publish_again(struct ls_agent *a, struct ls_store *to,
	const struct ls_commit_id *head, int64_t generation, struct ls_err *err)
{
	LS_CLEANUP(ls_free_str)
	char *path = ls_format("%s/proof/%lld.json", a->paths.store, (long long)generation);
	LS_CLEANUP(ls_buf_done) struct ls_buf proof = { 0 }, pack = { 0 };
	struct ls_commit_id id;
	int64_t last;
	enum ls_code code = ls_file_read(AT_FDCWD, path, PROOF_BYTES_MAX, &proof, err);

	if (code == LS_E_NOT_FOUND)
		return LS_OK; /* so old that members which lack it have to join again */
	LS_TRY(code);
	LS_TRY(ls_history_export(a->history, head, generation, 1, &id, &last, &pack, err));
	LS_TRY(ls_store_publish(to, id.hex, ls_buf_bytes(&pack), err));
	return ls_store_put_proof(to, generation, ls_buf_text(&proof), err);
}

enum ls_code ls_cluster_republish(struct ls_agent *a, struct ls_store *to, int64_t after,
	const struct ls_generation *head, struct ls_err *err)
{
	int64_t from = head->generation - LS_PROOFS_KEPT;

	for (int64_t g = (after > from ? after : from) + 1; g <= head->generation; g++)
		if (g > 1) /* which every node has: it was in the history that it joined with */
			LS_TRY(publish_again(a, to, &head->commit, g, err));
	return LS_OK;
}

enum ls_code ls_cluster_restore(
	struct ls_agent *a, const struct ls_store_view *view, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation head = { 0 };
	struct ls_tip tip = { 0 };
	enum ls_code code;

	if (!ls_store_shared(a->store) || !ls_agent_record_is_older(a->history, &view->tip, &head))
		return LS_OK;
	LS_TRY(ls_cluster_republish(a, a->store, view->tip.generation, &head, err));
	tip.generation = tip.dir_generation = head.generation;
	(void)snprintf(tip.commit, sizeof tip.commit, "%s", head.commit.hex);
	(void)snprintf(tip.dir_commit, sizeof tip.dir_commit, "%s", head.commit.hex);
	code = ls_store_restore(a->store, &tip, err);
	if (code == LS_E_CONFLICT)
		return LS_OK; /* another member was as fast; what is there is looked at next time */
	LS_TRY(code);
	a->peers.restored_from = view->tip.generation;
	a->peers.restored_to = head.generation;
	return LS_OK;
}
