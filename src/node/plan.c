#include "node/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/file.h"

#define COMMIT_DIGITS 8

static const char dir_prefix[] = "..gen-";

void ls_live_dir_name(int64_t generation, const char *commit_hex, char out[LS_LIVE_DIR_SIZE])
{
	(void)snprintf(out, LS_LIVE_DIR_SIZE, "%s%lld-%.*s", dir_prefix, (long long)generation,
		COMMIT_DIGITS, commit_hex);
}

bool ls_live_dir_valid(const char *name)
{
	const char *number = name + sizeof dir_prefix - 1;
	size_t digits, hex;

	if (!ls_has_prefix(name, dir_prefix))
		return false;
	digits = strspn(number, "0123456789");
	if (digits < 1 || digits > 19 || number[digits] != '-')
		return false;
	hex = strspn(number + digits + 1, "0123456789abcdef");
	return hex == COMMIT_DIGITS && number[digits + 1 + hex] == '\0';
}

void ls_live_link_target(const char *name, char out[LS_LIVE_DIR_SIZE])
{
	(void)snprintf(out, LS_LIVE_DIR_SIZE, "%s..data/%s", strchr(name, '/') ? "../" : "", name);
}

void ls_live_plan_free(struct ls_live_plan **plan)
{
	struct ls_live_plan *p = LS_TAKE(*plan);

	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++) {
		free(p->files[i].name);
		ls_buf_done(&p->files[i].public_bytes);
		ls_buf_done(&p->files[i].key_cms);
	}
	free(p->files);
	ls_keyring_done(&p->keyring);
	free(p);
}

/* How the files of one component are to stand. */
struct stand {
	mode_t cert_mode, key_mode;
	gid_t group;
};

static void warn_once(char **warning, char *text)
{
	if (warning && !*warning)
		*warning = text;
	else
		free(text);
}

static struct stand stand_of(const struct ls_service *service, char **warning)
{
	struct stand stand = { .cert_mode = 0644, .key_mode = 0640, .group = 0 };
	struct ls_err err = { 0 };

	if (service) {
		stand.cert_mode = service->cert_mode;
		stand.key_mode = service->key_mode;
		stand.group = (gid_t)-1;
	}
	if (geteuid() != 0) {
		stand.group = (gid_t)-1;
		warn_once(warning, ls_strdup("running without privileges: owner and group of live "
					     "files are left alone"));
		return stand;
	}
	if (!service || !service->group)
		return stand;
	if (ls_group_find(service->group, &stand.group, &err) != LS_OK) {
		stand.group = (gid_t)-1;
		warn_once(warning,
			ls_format("%s: group '%s' is not there: its files keep the group root",
				service->component, service->group));
	}
	return stand;
}

static struct ls_live_file *add(struct ls_live_plan *plan, const struct ls_component *component,
	enum ls_live_kind kind, const struct stand *stand)
{
	static const struct {
		const char *before, *after;
	} names[] = {
		[LS_LIVE_CERT] = { "", "_cert.pem" },
		[LS_LIVE_KEY] = { "", "_key.pem" },
		[LS_LIVE_BOTH] = { "", ".pem" },
		[LS_LIVE_CA] = { "ca/", ".pem" },
	};
	struct ls_live_file *file = &plan->files[plan->count++];

	file->name = ls_format("%s%s%s", names[kind].before, component->name, names[kind].after);
	(void)snprintf(file->component, sizeof file->component, "%s", component->name);
	file->kind = kind;
	file->group = stand->group;
	file->mode =
		kind == LS_LIVE_KEY || kind == LS_LIVE_BOTH ? stand->key_mode : stand->cert_mode;
	if (kind == LS_LIVE_CA)
		ls_buf_copy(&file->public_bytes, &component->trust_pem);
	else if (kind != LS_LIVE_KEY)
		ls_buf_copy(&file->public_bytes, &component->chain_pem);
	if (kind == LS_LIVE_KEY || kind == LS_LIVE_BOTH)
		ls_buf_copy(&file->key_cms, &component->key_cms);
	return file;
}

/* Key, then chain: HAProxy takes either order, and a reader that stops early has the key only. */
static void join(struct ls_bytes key, struct ls_bytes chain, struct ls_secret *out)
{
	const char *text = key.data;
	size_t gap = key.len && text[key.len - 1] != '\n' ? 1 : 0;

	ls_secret_alloc(out, key.len + gap + chain.len);
	if (key.len)
		memcpy(out->data, key.data, key.len);
	if (gap)
		out->data[key.len] = '\n';
	if (chain.len)
		memcpy(out->data + key.len + gap, chain.data, chain.len);
}

static void set_digest(struct ls_live_file *file, struct ls_bytes clear)
{
	file->len = clear.len;
	ls_sha256(clear, file->sha256);
}

static enum ls_code add_component(struct ls_live_plan *plan, const struct ls_component *component,
	const struct stand *stand, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };
	LS_CLEANUP(ls_secret_done) struct ls_secret both = { 0 };
	struct ls_live_file *file;

	if (ls_unseal(ls_buf_bytes(&component->key_cms), &plan->keyring, &key, err) != LS_OK)
		return LS_WRAP(err, "the key of '%s'", component->name);
	file = add(plan, component, LS_LIVE_CERT, stand);
	set_digest(file, ls_buf_bytes(&file->public_bytes));
	file = add(plan, component, LS_LIVE_KEY, stand);
	set_digest(file, ls_secret_bytes(&key));
	file = add(plan, component, LS_LIVE_BOTH, stand);
	join(ls_secret_bytes(&key), ls_buf_bytes(&file->public_bytes), &both);
	set_digest(file, ls_secret_bytes(&both));
	if (component->trust_pem.len) {
		file = add(plan, component, LS_LIVE_CA, stand);
		set_digest(file, ls_buf_bytes(&file->public_bytes));
	}
	return LS_OK;
}

static int by_name(const void *a, const void *b)
{
	const struct ls_live_file *x = a, *y = b;

	return strcmp(x->name, y->name);
}

enum ls_code ls_live_plan_new(const struct ls_state *state, const struct ls_services *services,
	const struct ls_keyring *keyring, const char *dir, struct ls_live_plan **out,
	char **out_warning, struct ls_err *err)
{
	LS_CLEANUP(ls_live_plan_free) struct ls_live_plan *plan = ls_alloc(1, sizeof *plan);
	LS_CLEANUP(ls_free_str) char *warning = NULL;

	if (!ls_live_dir_valid(dir))
		return LS_FAIL(err, LS_E_DAMAGED, "'%s' cannot name a generation directory", dir);
	(void)snprintf(plan->dir, sizeof plan->dir, "%s", dir);
	ls_keyring_copy(&plan->keyring, keyring);
	plan->files = ls_alloc(state->component_count * 4, sizeof *plan->files);
	for (size_t i = 0; i < state->component_count; i++) {
		const struct ls_component *component = &state->components[i];
		struct stand stand =
			stand_of(ls_services_find(services, component->name), &warning);

		LS_TRY(add_component(plan, component, &stand, err));
	}
	qsort(plan->files, plan->count, sizeof *plan->files, by_name);
	for (size_t i = 1; i < plan->count; i++)
		if (strcmp(plan->files[i - 1].name, plan->files[i].name) == 0)
			return LS_FAIL(err, LS_E_REFUSED,
				"components '%s' and '%s' would both have the live file '%s'",
				plan->files[i - 1].component, plan->files[i].component,
				plan->files[i].name);
	*out = LS_TAKE(plan);
	if (out_warning)
		*out_warning = LS_TAKE(warning);
	return LS_OK;
}

enum ls_code ls_live_content(const struct ls_live_plan *plan, const struct ls_live_file *file,
	struct ls_secret *hold, struct ls_bytes *out, struct ls_err *err)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret key = { 0 };

	if (!file->key_cms.len) {
		*out = ls_buf_bytes(&file->public_bytes);
		return LS_OK;
	}
	if (ls_unseal(ls_buf_bytes(&file->key_cms), &plan->keyring, &key, err) != LS_OK)
		return LS_WRAP(err, "the key for '%s'", file->name);
	if (file->kind == LS_LIVE_BOTH)
		join(ls_secret_bytes(&key), ls_buf_bytes(&file->public_bytes), hold);
	else
		ls_secret_set(hold, ls_secret_bytes(&key));
	*out = ls_secret_bytes(hold);
	return LS_OK;
}
