/* Tables and colours. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

#define COLUMNS_MAX 10

static const char *const tints[] = {
	[LS_TINT_NONE] = "",
	[LS_TINT_GOOD] = "\033[32m",
	[LS_TINT_BAD] = "\033[31m",
	[LS_TINT_DIM] = "\033[2m",
	[LS_TINT_BOLD] = "\033[1m",
};

struct row {
	char *cells[COLUMNS_MAX];
	enum ls_tint tints[COLUMNS_MAX];
};

struct ls_table {
	size_t columns;
	struct row *rows; /* the first is the head */
	size_t count;
};

bool ls_cli_colour(FILE *to)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fileno(to)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

int ls_cli_columns(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20)
		return size.ws_col;
	return isatty(STDOUT_FILENO) ? 80 : 100000;
}

void ls_cli_tinted(FILE *to, enum ls_tint tint, const char *text)
{
	if (tint == LS_TINT_NONE || !ls_cli_colour(to))
		fputs(text, to);
	else
		fprintf(to, "%s%s\033[0m", tints[tint], text);
}

struct ls_table *ls_table_new(const char *const *heads, size_t columns)
{
	static const enum ls_tint dim[COLUMNS_MAX] = { LS_TINT_DIM, LS_TINT_DIM, LS_TINT_DIM,
		LS_TINT_DIM, LS_TINT_DIM, LS_TINT_DIM, LS_TINT_DIM, LS_TINT_DIM, LS_TINT_DIM,
		LS_TINT_DIM };
	struct ls_table *t = ls_alloc(1, sizeof *t);

	t->columns = columns;
	ls_table_row(t, heads, dim);
	return t;
}

void ls_table_row(struct ls_table *t, const char *const *cells, const enum ls_tint *row_tints)
{
	struct row *row;

	t->rows = ls_realloc(t->rows, t->count + 1, sizeof *t->rows);
	row = &t->rows[t->count++];
	*row = (struct row){ 0 };
	for (size_t i = 0; i < t->columns; i++) {
		row->cells[i] = ls_strdup(cells[i] ? cells[i] : "");
		if (row_tints)
			row->tints[i] = row_tints[i];
	}
}

/* Terminal columns of UTF-8 text, each character counted as one. */
static int width_of(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Cuts to `room` characters, the last one then being an ellipsis. */
static void cut_to(char **cell, int room)
{
	char *text = *cell;
	int n = 0;

	if (room < 2 || width_of(text) <= room)
		return;
	for (char *at = text; *at; at++) {
		n += ((unsigned char)*at & 0xc0) != 0x80;
		if (n == room) {
			*at = '\0';
			*cell = ls_format("%s…", text);
			free(text);
			return;
		}
	}
}

void ls_table_print(struct ls_table **table, FILE *to)
{
	struct ls_table *t = *table;
	int widths[COLUMNS_MAX] = { 0 }, before = 0;

	for (size_t r = 0; r < t->count; r++)
		for (size_t c = 0; c < t->columns; c++)
			if (width_of(t->rows[r].cells[c]) > widths[c])
				widths[c] = width_of(t->rows[r].cells[c]);
	for (size_t c = 0; c + 1 < t->columns; c++)
		before += widths[c] + 2;
	for (size_t r = 0; r < t->count; r++) {
		cut_to(&t->rows[r].cells[t->columns - 1], ls_cli_columns() - before);
		for (size_t c = 0; c < t->columns; c++) {
			char *cell = t->rows[r].cells[c];

			ls_cli_tinted(to, t->rows[r].tints[c], cell);
			if (c + 1 < t->columns)
				fprintf(to, "%*s", widths[c] - width_of(cell) + 2, "");
			free(cell);
		}
		fputc('\n', to);
	}
	free(t->rows);
	free(t);
	*table = NULL;
}

const char *ls_cli_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

const char *ls_cli_item(const json_t *array, size_t index)
{
	const char *text = json_string_value(json_array_get(array, index));

	return text ? text : "";
}

const char *ls_cli_date(const json_t *time, char out[32])
{
	const char *text = json_string_value(time);

	(void)snprintf(out, 32, "%.10s", text ? text : "?");
	return out;
}
