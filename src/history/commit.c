#include "history/commit.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define GPGSIG "gpgsig "
#define ID_HEX 40
#define TRAILER "Lockstep-"
#define TEXT_MAX 512

void ls_generation_done(struct ls_generation *generation)
{
	free(generation->author_name);
	free(generation->author_email);
	free(generation->committer_name);
	free(generation->committer_email);
	free(generation->subject);
	free(generation->cause);
	ls_free_strv(&generation->components);
	ls_free_strv(&generation->old_sha256);
	ls_free_strv(&generation->new_sha256);
	ls_free_strv(&generation->participants);
	ls_free_strv(&generation->away);
	*generation = (struct ls_generation){ 0 };
}

bool ls_commit_equal(const struct ls_commit_id *a, const struct ls_commit_id *b)
{
	return strcmp(a->hex, b->hex) == 0;
}

/* ---- what may stand in a commit ---- */

static bool hex_valid(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

/* One line that begins and ends with something to see. */
static bool line_valid(const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || len > TEXT_MAX || text[0] == ' ' || text[len - 1] == ' ')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return false;
	return true;
}

static bool person_valid(const char *name, const char *email)
{
	return line_valid(name) && line_valid(email) && !strpbrk(name, "<>") &&
	       !strpbrk(email, "<> ");
}

static bool names_valid(char *const *names)
{
	for (size_t i = 0; names && names[i]; i++)
		if (!ls_name_valid(names[i]))
			return false;
	return true;
}

/* "name=<64 hex digits>" */
static bool digests_valid(char *const *digests)
{
	for (size_t i = 0; digests && digests[i]; i++) {
		const char *sign = strchr(digests[i], '=');
		char name[LS_NAME_MAX + 1];

		if (!sign || sign - digests[i] > LS_NAME_MAX || !hex_valid(sign + 1, 64))
			return false;
		(void)snprintf(name, sizeof name, "%.*s", (int)(sign - digests[i]), digests[i]);
		if (!ls_name_valid(name))
			return false;
	}
	return true;
}

static bool cause_valid(const char *cause)
{
	return cause && cause[0] != '\0' && strlen(cause) <= LS_NAME_MAX &&
	       strspn(cause, "abcdefghijklmnopqrstuvwxyz-") == strlen(cause);
}

static bool id_valid(const char *hex)
{
	return hex[0] == '\0' || hex_valid(hex, ID_HEX);
}

static const char *what_is_wrong(const struct ls_generation *about)
{
	if (!hex_valid(about->tree, ID_HEX) || !id_valid(about->parent.hex) ||
		!id_valid(about->restores.hex))
		return "an object id";
	if (about->generation < 1 || about->time_s < 0)
		return "generation or time";
	if (!person_valid(about->author_name, about->author_email))
		return "the author";
	if (!person_valid(about->committer_name, about->committer_email))
		return "the committer";
	if (!line_valid(about->subject))
		return "the subject";
	if (!cause_valid(about->cause))
		return "the cause";
	if (!names_valid(about->components) || !names_valid(about->participants) ||
		!names_valid(about->away))
		return "a name";
	if (!digests_valid(about->old_sha256) || !digests_valid(about->new_sha256))
		return "a fingerprint";
	return NULL;
}

/* ---- writing ---- */

static void add_names(struct ls_buf *out, const char *key, char *const *names)
{
	for (size_t i = 0; names && names[i]; i++)
		ls_buf_printf(out, "%s%s", i ? ", " : key, names[i]);
	if (names && names[0])
		ls_buf_str(out, "\n");
}

static void add_each(struct ls_buf *out, const char *key, char *const *values)
{
	for (size_t i = 0; values && values[i]; i++)
		ls_buf_printf(out, "%s%s\n", key, values[i]);
}

enum ls_code ls_commit_format(
	const struct ls_generation *about, struct ls_buf *out, struct ls_err *err)
{
	const char *wrong = what_is_wrong(about);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };

	if (wrong)
		return LS_FAIL(err, LS_E_REFUSED, "%s cannot stand in a commit", wrong);
	ls_buf_printf(&text, "tree %s\n", about->tree);
	if (about->parent.hex[0])
		ls_buf_printf(&text, "parent %s\n", about->parent.hex);
	ls_buf_printf(&text, "author %s <%s> %lld +0000\n", about->author_name, about->author_email,
		(long long)about->time_s);
	ls_buf_printf(&text, "committer %s <%s> %lld +0000\n\n", about->committer_name,
		about->committer_email, (long long)about->time_s);
	ls_buf_printf(&text, "%s\n\n", about->subject);
	ls_buf_printf(&text, TRAILER "Generation: %lld\n", (long long)about->generation);
	ls_buf_printf(&text, TRAILER "Cause: %s\n", about->cause);
	add_names(&text, TRAILER "Components: ", about->components);
	add_each(&text, TRAILER "Old: ", about->old_sha256);
	add_each(&text, TRAILER "New: ", about->new_sha256);
	add_names(&text, TRAILER "Participants: ", about->participants);
	add_names(&text, TRAILER "Away: ", about->away);
	if (about->restores.hex[0])
		ls_buf_printf(&text, TRAILER "Restores: %s\n", about->restores.hex);
	ls_buf_copy(out, &text);
	return LS_OK;
}

void ls_commit_attach(
	struct ls_bytes unsigned_commit, struct ls_bytes signature_pem, struct ls_buf *out)
{
	const char *text = unsigned_commit.data, *sig = signature_pem.data;
	const char *body = memmem(text, unsigned_commit.len, "\n\n", 2);
	size_t head = body ? (size_t)(body - text) + 1 : unsigned_commit.len;
	const char *end = sig + signature_pem.len;

	ls_buf_clear(out);
	ls_buf_add(out, text, head);
	ls_buf_str(out, GPGSIG);
	while (sig < end) {
		const char *newline = memchr(sig, '\n', (size_t)(end - sig));
		const char *next = newline ? newline + 1 : end;

		ls_buf_add(out, sig, (size_t)(next - sig));
		if (next < end)
			ls_buf_str(out, " "); /* a header's value goes on in indented lines */
		sig = next;
	}
	ls_buf_add(out, text + head, unsigned_commit.len - head);
}

/* ---- reading ---- */

/* Takes the signature out of the header: the reverse of ls_commit_attach. */
static enum ls_code detach(struct ls_bytes commit, struct ls_buf *out_unsigned,
	struct ls_buf *out_signature, struct ls_err *err)
{
	const char *text = commit.data, *all_end = text + commit.len;
	const char *body = memmem(text, commit.len, "\n\n", 2);
	const char *at = body ? memmem(text, (size_t)(body - text), "\n" GPGSIG, 8) : NULL;
	const char *start;

	if (!body)
		return LS_FAIL(err, LS_E_DAMAGED, "not a commit");
	if (!at)
		return LS_FAIL(err, LS_E_REFUSED, "the commit is not signed");
	start = ++at;
	at += strlen(GPGSIG);
	do {
		const char *next = (const char *)memchr(at, '\n', (size_t)(all_end - at)) + 1;

		ls_buf_add(out_signature, at, (size_t)(next - at));
		at = next;
	} while (*at == ' ' && at++);
	ls_buf_add(out_unsigned, text, (size_t)(start - text));
	ls_buf_add(out_unsigned, at, (size_t)(all_end - at));
	return LS_OK;
}

/* The rest of the line behind `key`, as fresh text, stepping over it; NULL when the line is
 * another. */
static char *take_line(const char **at, const char *key)
{
	const char *end = strchr(*at, '\n');
	char *value;

	if (!end || !ls_has_prefix(*at, key) || end < *at + strlen(key))
		return NULL;
	value = ls_strndup(*at + strlen(key), (size_t)(end - *at) - strlen(key));
	*at = end + 1;
	return value;
}

static void take_id(const char **at, const char *key, char out[41])
{
	LS_CLEANUP(ls_free_str) char *value = take_line(at, key);

	if (value)
		(void)snprintf(out, 41, "%s", value);
}

/* "NAME <EMAIL> SECONDS +0000" */
static bool take_person(
	const char **at, const char *key, char **out_name, char **out_email, int64_t *out_s)
{
	LS_CLEANUP(ls_free_str) char *line = take_line(at, key);
	char *open = line ? strstr(line, " <") : NULL;
	char *close = open ? strstr(open, "> ") : NULL;
	char *zone = close ? strchr(close + 2, ' ') : NULL;

	if (!zone)
		return false;
	*open = *close = *zone = '\0';
	*out_name = ls_strdup(line);
	*out_email = ls_strdup(open + 2);
	return ls_text_number(close + 2, 0, INT64_MAX, out_s);
}

static void take_names(const char **at, const char *key, char ***out)
{
	LS_CLEANUP(ls_free_str) char *line = take_line(at, key);
	char *name = line;

	while (name) {
		char *comma = strstr(name, ", ");

		if (comma)
			*comma = '\0';
		ls_strv_add(out, name);
		name = comma ? comma + 2 : NULL;
	}
}

static void take_each(const char **at, const char *key, char ***out)
{
	while (ls_has_prefix(*at, key)) {
		LS_CLEANUP(ls_free_str) char *value = take_line(at, key);

		if (!value)
			return;
		ls_strv_add(out, value);
	}
}

/* Reads what is there; whether that is all is seen when it is written again. */
static bool scan(const char *at, struct ls_generation *out)
{
	LS_CLEANUP(ls_free_str) char *number = NULL;
	LS_CLEANUP(ls_free_str) char *blank = NULL;

	take_id(&at, "tree ", out->tree);
	take_id(&at, "parent ", out->parent.hex);
	if (!take_person(&at, "author ", &out->author_name, &out->author_email, &out->time_s) ||
		!take_person(&at, "committer ", &out->committer_name, &out->committer_email,
			&out->time_s))
		return false;
	blank = take_line(&at, "");
	out->subject = blank ? take_line(&at, "") : NULL;
	ls_free_str(&blank);
	blank = out->subject ? take_line(&at, "") : NULL;
	number = blank ? take_line(&at, TRAILER "Generation: ") : NULL;
	if (!number || !ls_text_number(number, 1, INT64_MAX, &out->generation))
		return false;
	out->cause = take_line(&at, TRAILER "Cause: ");
	take_names(&at, TRAILER "Components: ", &out->components);
	take_each(&at, TRAILER "Old: ", &out->old_sha256);
	take_each(&at, TRAILER "New: ", &out->new_sha256);
	take_names(&at, TRAILER "Participants: ", &out->participants);
	take_names(&at, TRAILER "Away: ", &out->away);
	take_id(&at, TRAILER "Restores: ", out->restores.hex);
	return true;
}

enum ls_code ls_commit_parse(struct ls_bytes commit, struct ls_generation *out,
	struct ls_buf *out_unsigned, struct ls_buf *out_signature, struct ls_err *err)
{
	LS_CLEANUP(ls_generation_done) struct ls_generation read = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf signature = { 0 };
	LS_CLEANUP(ls_buf_done) struct ls_buf again = { 0 };

	LS_TRY(detach(commit, &text, &signature, err));
	if (!scan(ls_buf_text(&text), &read) || ls_commit_format(&read, &again, NULL) != LS_OK ||
		!ls_bytes_equal(ls_buf_bytes(&text), ls_buf_bytes(&again)))
		return LS_FAIL(err, LS_E_DAMAGED, "not a commit in the form of a generation");
	ls_commit_attach(ls_buf_bytes(&text), ls_buf_bytes(&signature), &again);
	if (!ls_bytes_equal(commit, ls_buf_bytes(&again)))
		return LS_FAIL(err, LS_E_DAMAGED, "the signature stands in an unusual place");
	ls_generation_done(out);
	*out = read;
	read = (struct ls_generation){ 0 };
	if (out_unsigned)
		ls_buf_copy(out_unsigned, &text);
	if (out_signature)
		ls_buf_copy(out_signature, &signature);
	return LS_OK;
}
