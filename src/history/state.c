#include "history/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const origin_texts[] = {
	[LS_ORIGIN_GENERATED] = "generated",
	[LS_ORIGIN_INSTALLED] = "installed",
};

const char *ls_origin_text(enum ls_origin origin)
{
	return origin_texts[origin];
}

void ls_settings_defaults(struct ls_settings *settings)
{
	*settings = (struct ls_settings){
		.require_all = false,
		.away_after_s = 30,
		.vote_s = 10,
		.served_s = 10,
		.timeout_s = 120,
		.rollback = true,
	};
}

static void component_done(struct ls_component *component)
{
	ls_issue_done(&component->issue);
	ls_buf_done(&component->chain_pem);
	ls_buf_done(&component->key_cms);
	ls_buf_done(&component->trust_pem);
}

static void pending_done(struct ls_pending *pending)
{
	ls_buf_done(&pending->key_cms);
	ls_buf_done(&pending->request_pem);
}

static void member_done(struct ls_member *member)
{
	ls_buf_done(&member->signing_cert_pem);
	ls_buf_done(&member->wrapping_cert_pem);
}

void ls_state_done(struct ls_state *state)
{
	for (size_t i = 0; i < state->component_count; i++)
		component_done(&state->components[i]);
	for (size_t i = 0; i < state->pending_count; i++)
		pending_done(&state->pendings[i]);
	for (size_t i = 0; i < state->member_count; i++)
		member_done(&state->members[i]);
	free(state->components);
	free(state->pendings);
	free(state->members);
	free(state->kek_epochs);
	free(state->cluster);
	free(state->fqdn);
	free(state->cluster_id);
	ls_policy_done(&state->policy);
	ls_buf_done(&state->ca_pem);
	ls_buf_done(&state->ca_key_cms);
	*state = (struct ls_state){ 0 };
}

static char *copy_text(const char *text)
{
	return text ? ls_strdup(text) : NULL;
}

static void copy_component(struct ls_component *to, const struct ls_component *from)
{
	to->origin = from->origin;
	to->exposed = from->exposed;
	ls_issue_copy(&to->issue, &from->issue);
	ls_buf_copy(&to->chain_pem, &from->chain_pem);
	ls_buf_copy(&to->key_cms, &from->key_cms);
	ls_buf_copy(&to->trust_pem, &from->trust_pem);
}

static void copy_pending(struct ls_pending *to, const struct ls_pending *from)
{
	ls_buf_copy(&to->key_cms, &from->key_cms);
	ls_buf_copy(&to->request_pem, &from->request_pem);
}

static void copy_member(struct ls_member *to, const struct ls_member *from)
{
	ls_buf_copy(&to->signing_cert_pem, &from->signing_cert_pem);
	ls_buf_copy(&to->wrapping_cert_pem, &from->wrapping_cert_pem);
	to->joined = from->joined;
}

void ls_state_copy(struct ls_state *to, const struct ls_state *from)
{
	struct ls_state copy = {
		.cluster = copy_text(from->cluster),
		.fqdn = copy_text(from->fqdn),
		.cluster_id = copy_text(from->cluster_id),
		.settings = from->settings,
		.kek_epoch = from->kek_epoch,
	};

	if (from->policy.name) /* a policy that was never read has nothing to copy */
		ls_policy_copy(&copy.policy, &from->policy);
	ls_buf_copy(&copy.ca_pem, &from->ca_pem);
	ls_buf_copy(&copy.ca_key_cms, &from->ca_key_cms);
	for (size_t i = 0; i < from->component_count; i++)
		copy_component(ls_state_add_component(&copy, from->components[i].name),
			&from->components[i]);
	for (size_t i = 0; i < from->pending_count; i++)
		copy_pending(
			ls_state_add_pending(&copy, from->pendings[i].name), &from->pendings[i]);
	for (size_t i = 0; i < from->member_count; i++)
		copy_member(ls_state_add_member(&copy, from->members[i].name), &from->members[i]);
	for (size_t i = 0; i < from->kek_epoch_count; i++)
		ls_state_add_epoch(&copy, from->kek_epochs[i].epoch, from->kek_epochs[i].check);
	ls_state_done(to);
	*to = copy;
}

/* Where `name` is, or belongs, among elements of `size` bytes that begin with their name. */
static size_t place(
	const void *elements, size_t count, size_t size, const char *name, bool *out_found)
{
	size_t low = 0, high = count;

	*out_found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(name, (const char *)elements + mid * size);

		if (order == 0) {
			*out_found = true;
			return mid;
		}
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Makes room for one more element at `at`, zeroed but for its name; returns the array. */
static void *insert(void *elements, size_t count, size_t size, size_t at, const char *name)
{
	char *array = ls_realloc(elements, count + 1, size);
	char *slot = array + at * size;

	memmove(slot + size, slot, (count - at) * size);
	memset(slot, 0, size);
	(void)snprintf(slot, LS_NAME_MAX + 1, "%s", name);
	return array;
}

struct ls_component *ls_state_component(const struct ls_state *state, const char *name)
{
	bool found;
	size_t at = place(
		state->components, state->component_count, sizeof *state->components, name, &found);

	return found ? &state->components[at] : NULL;
}

struct ls_pending *ls_state_pending(const struct ls_state *state, const char *name)
{
	bool found;
	size_t at =
		place(state->pendings, state->pending_count, sizeof *state->pendings, name, &found);

	return found ? &state->pendings[at] : NULL;
}

struct ls_member *ls_state_member(const struct ls_state *state, const char *name)
{
	bool found;
	size_t at =
		place(state->members, state->member_count, sizeof *state->members, name, &found);

	return found ? &state->members[at] : NULL;
}

struct ls_component *ls_state_add_component(struct ls_state *state, const char *name)
{
	bool found;
	size_t at = place(
		state->components, state->component_count, sizeof *state->components, name, &found);

	assert(!found);
	state->components = insert(
		state->components, state->component_count++, sizeof *state->components, at, name);
	return &state->components[at];
}

struct ls_pending *ls_state_add_pending(struct ls_state *state, const char *name)
{
	bool found;
	size_t at =
		place(state->pendings, state->pending_count, sizeof *state->pendings, name, &found);

	assert(!found);
	state->pendings =
		insert(state->pendings, state->pending_count++, sizeof *state->pendings, at, name);
	return &state->pendings[at];
}

struct ls_member *ls_state_add_member(struct ls_state *state, const char *name)
{
	bool found;
	size_t at =
		place(state->members, state->member_count, sizeof *state->members, name, &found);

	assert(!found);
	state->members =
		insert(state->members, state->member_count++, sizeof *state->members, at, name);
	return &state->members[at];
}

void ls_state_drop_pending(struct ls_state *state, const char *name)
{
	struct ls_pending *pending = ls_state_pending(state, name);
	size_t at = pending ? (size_t)(pending - state->pendings) : 0;

	if (!pending)
		return;
	pending_done(pending);
	memmove(pending, pending + 1, (--state->pending_count - at) * sizeof *pending);
}

void ls_state_add_epoch(struct ls_state *state, int64_t epoch, const char *check)
{
	size_t at = state->kek_epoch_count;

	state->kek_epochs = ls_realloc(state->kek_epochs, at + 1, sizeof *state->kek_epochs);
	for (; at > 0 && state->kek_epochs[at - 1].epoch > epoch; at--)
		state->kek_epochs[at] = state->kek_epochs[at - 1];
	state->kek_epochs[at] = (struct ls_kek_epoch){ .epoch = epoch };
	(void)snprintf(state->kek_epochs[at].check, LS_SHA256_TEXT, "%s", check);
	state->kek_epoch_count++;
}

const char *ls_state_epoch_check(const struct ls_state *state, int64_t epoch)
{
	for (size_t i = 0; i < state->kek_epoch_count; i++)
		if (state->kek_epochs[i].epoch == epoch)
			return state->kek_epochs[i].check;
	return NULL;
}

void ls_tree_done(struct ls_tree *tree)
{
	for (size_t i = 0; i < tree->count; i++) {
		free(tree->files[i].path);
		ls_buf_done(&tree->files[i].bytes);
	}
	free(tree->files);
	*tree = (struct ls_tree){ 0 };
}

void ls_tree_add(struct ls_tree *tree, const char *path, struct ls_bytes bytes)
{
	size_t at = tree->count;

	tree->files = ls_realloc(tree->files, tree->count + 1, sizeof *tree->files);
	for (; at > 0 && strcmp(tree->files[at - 1].path, path) > 0; at--)
		tree->files[at] = tree->files[at - 1];
	tree->files[at] = (struct ls_tree_file){ .path = ls_strdup(path) };
	ls_buf_add_bytes(&tree->files[at].bytes, bytes);
	tree->count++;
}
