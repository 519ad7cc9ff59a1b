/* The state and its files: one form, and nothing else is read. */
#include "tests/unit/sample.h"

static struct sample sample;
static struct ls_tree tree;
static struct ls_err err;

static void setup(void)
{
	sample_init(&sample);
	struct ls_pending *pending = ls_state_add_pending(&sample.state, "proxy");

	ls_buf_copy(&pending->key_cms, &sample.state.ca_key_cms);
	ls_buf_str(&pending->request_pem, "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END "
					  "CERTIFICATE REQUEST-----\n");
	ls_state_to_tree(&sample.state, &tree);
}

static void teardown(void)
{
	ls_tree_done(&tree);
	sample_done(&sample);
}

static struct ls_tree_file *file_of(const char *path)
{
	for (size_t i = 0; i < tree.count; i++)
		if (strcmp(tree.files[i].path, path) == 0)
			return &tree.files[i];
	ck_abort_msg("no file %s", path);
	return NULL;
}

static void assert_same(const struct ls_tree *a, const struct ls_tree *b)
{
	ck_assert_uint_eq(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		ck_assert_str_eq(a->files[i].path, b->files[i].path);
		ck_assert_str_eq(ls_buf_text(&a->files[i].bytes), ls_buf_text(&b->files[i].bytes));
	}
}

START_TEST(a_state_reads_back_and_writes_the_same_bytes)
{
	static const char *const paths[] = { "cluster/ca-key.cms", "cluster/ca.pem",
		"cluster/cluster.json", "cluster/kek.json", "cluster/nodes/n1.json",
		"components/api/chain.pem", "components/api/credential.json",
		"components/api/key.cms", "components/api/template.json",
		"components/proxy/chain.pem", "components/proxy/credential.json",
		"components/proxy/key.cms", "components/proxy/template.json", "format",
		"pending/proxy/key.cms", "pending/proxy/request.pem", "policy.json",
		"settings.json", "trust/api.pem" };
	LS_CLEANUP(ls_state_done) struct ls_state read = { 0 };
	LS_CLEANUP(ls_state_done) struct ls_state copy = { 0 };
	LS_CLEANUP(ls_tree_done) struct ls_tree again = { 0 };

	ck_assert_uint_eq(tree.count, LS_COUNT(paths));
	for (size_t i = 0; i < tree.count; i++)
		ck_assert_str_eq(tree.files[i].path, paths[i]);
	ck_ok(ls_state_from_tree(&tree, &read, &err));
	ls_state_to_tree(&read, &again);
	assert_same(&tree, &again);
	ls_state_copy(&copy, &read);
	ls_state_to_tree(&copy, &again);
	assert_same(&tree, &again);
	ck_assert_int_eq(ls_state_component(&read, "api")->origin, LS_ORIGIN_INSTALLED);
	ck_assert_int_eq(ls_state_component(&read, "proxy")->origin, LS_ORIGIN_GENERATED);
	ck_assert_str_eq(file_of("format")->bytes.data, "1\n");
	ck_assert_ptr_nonnull(strstr(file_of("settings.json")->bytes.data, "\"rollback\": true"));
}
END_TEST

static void assert_damaged(const char *path)
{
	LS_CLEANUP(ls_state_done) struct ls_state read = { 0 };

	ck_code(ls_state_from_tree(&tree, &read, &err), LS_E_DAMAGED);
	ck_assert_msg(strstr(err.text, path) != NULL, "'%s' does not name '%s'", err.text, path);
	ck_assert_ptr_null(read.cluster);
}

START_TEST(a_missing_file_is_named)
{
	for (size_t i = 0; i < tree.count; i++) {
		struct ls_tree_file gone = tree.files[i];
		size_t behind = --tree.count - i;
		LS_CLEANUP(ls_state_done) struct ls_state read = { 0 };

		memmove(&tree.files[i], &tree.files[i + 1], behind * sizeof gone);
		if (strcmp(gone.path, "trust/api.pem") == 0)
			ck_ok(ls_state_from_tree(&tree, &read, &err));
		else if (strcmp(gone.path, "cluster/nodes/n1.json") == 0)
			assert_damaged("no member");
		else
			assert_damaged(gone.path);
		memmove(&tree.files[i + 1], &tree.files[i], behind * sizeof gone);
		tree.files[i] = gone;
		tree.count++;
	}
}
END_TEST

START_TEST(a_file_of_no_known_kind_is_named)
{
	static const char *const paths[] = { "README", "cluster/x", "cluster/nodes/N1.json",
		"cluster/nodes/.json", "cluster/nodes/a/b.json", "components/proxy/hook.sh",
		"components/proxy/a/b", "components/chain.pem", "components/Proxy/chain.pem",
		"components//chain.pem", "components/../chain.pem", "pending/proxy/chain.pem",
		"trust/nobody.pem", "trust/api.pem/x", "zz",
		"components/abcdefghijklmnopqrstuvwxyz0123456/chain.pem" };

	for (size_t i = 0; i < LS_COUNT(paths); i++) {
		ls_tree_done(&tree);
		ls_state_to_tree(&sample.state, &tree);
		ls_tree_add(&tree, paths[i], ls_buf_bytes(&sample.ca.cert_pem));
		assert_damaged(paths[i]);
	}
	ls_tree_done(&tree);
	ls_state_to_tree(&sample.state, &tree);
	ls_tree_add(&tree, "format", LS_BYTES_STR("1\n"));
	assert_damaged("format");
}
END_TEST

START_TEST(only_the_written_form_is_read)
{
	static const struct {
		const char *path, *text;
	} cases[] = {
		{ "format", "2\n" },
		{ "format", "1" },
		{ "settings.json", "" },
		{ "settings.json", "{}" },
		{ "settings.json", "{\"rotation\": {\"require\": \"alive\"}}\n" },
		{ "settings.json", "{\"rotation\":{\"away_after_s\":30,\"require\":\"alive\","
				   "\"rollback\":true,\"served_s\":10,\"timeout_s\":120,\"vote_s\":"
				   "10}}\n" },
		{ "cluster/cluster.json",
			"{\n  \"cluster\": \"prod\",\n  \"fqdn\": \"a b\",\n  \"id\": "
			"\"0123456789abcdef0123456789abcdef\"\n}\n" },
		{ "cluster/cluster.json",
			"{\n  \"cluster\": \"prod\",\n  \"fqdn\": \"a.b\",\n  \"id\": "
			"\"0123456789ABCDEF0123456789abcdef\"\n}\n" },
		{ "cluster/cluster.json",
			"{\n  \"cluster\": \"prod\",\n  \"fqdn\": \"a.b\",\n  \"id\": "
			"\"0123456789abcdef0123456789abcdef\",\n  \"z\": 1\n}\n" },
		{ "cluster/kek.json", "{\n  \"epoch\": 1,\n  \"epochs\": []\n}\n" },
		{ "cluster/kek.json", "{\n  \"epoch\": 1,\n  \"epochs\": {}\n}\n" },
		{ "cluster/kek.json", "[]" },
		{ "components/api/credential.json", "{\n  \"origin\": \"found\"\n}\n" },
		{ "components/api/credential.json",
			"{\n  \"origin\": \"installed\",\n  \"origin\": \"generated\"\n}\n" },
		{ "components/api/template.json", "{}\n" },
		{ "components/api/chain.pem", "" },
		{ "components/api/chain.pem",
			"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" },
		{ "components/api/chain.pem",
			"x\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" },
		{ "components/api/chain.pem",
			"-----BEGIN CERTIFICATE-----\r\nMIIB\r\n-----END CERTIFICATE-----\r\n" },
		{ "components/api/key.cms",
			"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n" },
		{ "components/api/key.cms", "-----BEGIN CMS-----\nMIIB\n" },
		{ "components/api/key.cms",
			"-----BEGIN CMS-----\nMIIB\n-----END CMS-----\n-----BEGIN CMS-----\nMIIB\n"
			"-----END CMS-----\n" },
		{ "trust/api.pem", "" },
		{ "policy.json", "{}\n" },
		{ "cluster/nodes/n1.json", "{\n  \"name\": \"n1\"\n}\n" },
	};

	for (size_t i = 0; i < LS_COUNT(cases); i++) {
		struct ls_buf *bytes;

		ls_tree_done(&tree);
		ls_state_to_tree(&sample.state, &tree);
		bytes = &file_of(cases[i].path)->bytes;
		ls_buf_clear(bytes);
		ls_buf_str(bytes, cases[i].text);
		assert_damaged(cases[i].path);
	}
}
END_TEST

START_TEST(a_clear_key_anywhere_is_refused)
{
	for (size_t i = 0; i < tree.count; i++) {
		size_t was = tree.files[i].bytes.len;

		ls_buf_str(&tree.files[i].bytes, "-----BEGIN EC PRIVATE KEY-----\n");
		assert_damaged(tree.files[i].path);
		ck_assert_ptr_nonnull(strstr(err.text, "in the clear"));
		tree.files[i].bytes.len = was;
		tree.files[i].bytes.data[was] = '\0';
	}
}
END_TEST

START_TEST(zero_bytes_and_large_files_are_refused)
{
	struct ls_buf *bytes = &file_of("components/api/chain.pem")->bytes;

	ls_buf_add(bytes, "\0x", 2);
	assert_damaged("components/api/chain.pem");
	while (bytes->len <= 1 << 20)
		ls_buf_str(
			bytes, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
	assert_damaged("over 1 MiB");
}
END_TEST

START_TEST(a_changed_byte_gives_another_state_or_none)
{
	for (size_t i = 0; i < tree.count; i++)
		for (size_t k = 0; k < tree.files[i].bytes.len; k++) {
			LS_CLEANUP(ls_state_done) struct ls_state read = { 0 };
			LS_CLEANUP(ls_tree_done) struct ls_tree again = { 0 };
			char *at = &tree.files[i].bytes.data[k];
			char was = *at;

			*at = was == '1' ? '2' : '1';
			if (ls_state_from_tree(&tree, &read, &err) == LS_OK) {
				ls_state_to_tree(&read, &again);
				assert_same(&tree, &again);
			}
			*at = was;
		}
}
END_TEST

START_TEST(elements_stay_sorted_and_are_found)
{
	static const char *const names[] = { "m", "a", "z", "b", "y", "n" };
	struct ls_state state = { 0 };

	for (size_t i = 0; i < LS_COUNT(names); i++) {
		(void)ls_state_add_component(&state, names[i]);
		(void)ls_state_add_pending(&state, names[i]);
		ls_state_add_member(&state, names[i])->joined = (int64_t)i + 1;
	}
	for (size_t i = 1; i < LS_COUNT(names); i++) {
		ck_assert_int_lt(strcmp(state.components[i - 1].name, state.components[i].name), 0);
		ck_assert_int_lt(strcmp(state.pendings[i - 1].name, state.pendings[i].name), 0);
		ck_assert_int_lt(strcmp(state.members[i - 1].name, state.members[i].name), 0);
	}
	ck_assert_int_eq(ls_state_member(&state, "z")->joined, 3);
	ck_assert_ptr_null(ls_state_component(&state, "c"));
	ls_state_drop_pending(&state, "a");
	ls_state_drop_pending(&state, "a");
	ck_assert_uint_eq(state.pending_count, LS_COUNT(names) - 1);
	ck_assert_ptr_null(ls_state_pending(&state, "a"));
	ls_state_add_epoch(&state, 3, "c");
	ls_state_add_epoch(&state, 1, "a");
	ls_state_add_epoch(&state, 2, "b");
	ck_assert_int_eq(state.kek_epochs[0].epoch, 1);
	ck_assert_str_eq(ls_state_epoch_check(&state, 2), "b");
	ck_assert_ptr_null(ls_state_epoch_check(&state, 4));
	ls_state_done(&state);
}
END_TEST

LS_TEST_MAIN_FIXTURE("state", setup, teardown, a_state_reads_back_and_writes_the_same_bytes,
	a_missing_file_is_named, a_file_of_no_known_kind_is_named, only_the_written_form_is_read,
	a_clear_key_anywhere_is_refused, zero_bytes_and_large_files_are_refused,
	a_changed_byte_gives_another_state_or_none, elements_stay_sorted_and_are_found)
