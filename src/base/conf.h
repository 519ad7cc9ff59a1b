/* conf -- reads the project's configuration texts (libconfig's grammar), strictly.
 *
 * Refused before libconfig sees the text: @include (it reads any file), integers of more than nine
 * digits (they wrap), floats, nesting deeper than 8, control characters, what is not UTF-8. Every
 * refusal is LS_E_REFUSED and reads "ORIGIN:LINE: what". Texts over 1 MiB are refused.
 */
#ifndef LS_BASE_CONF_H
#define LS_BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct ls_conf;      /* owns a parsed text */
struct ls_conf_node; /* a place in it; lives as long as the conf */

/* `origin` names the text in refusals (a path); it is copied. The caller frees *out_conf. */
LS_CHECK enum ls_code ls_conf_parse(
	const char *origin, struct ls_bytes text, struct ls_conf **out_conf, struct ls_err *err);
void ls_conf_free(struct ls_conf **conf);
const struct ls_conf_node *ls_conf_root(const struct ls_conf *conf);
const char *ls_conf_origin(const struct ls_conf_node *node);

/* The member called `name`, NULL when there is none. */
const struct ls_conf_node *ls_conf_get(const struct ls_conf_node *group, const char *name);
/* Elements of a list, array or group. */
size_t ls_conf_count(const struct ls_conf_node *node);
const struct ls_conf_node *ls_conf_elem(const struct ls_conf_node *node, size_t index);
/* The name under which a group's member stands; NULL for elements of lists. */
const char *ls_conf_name(const struct ls_conf_node *node);
bool ls_conf_is_group(const struct ls_conf_node *node);
bool ls_conf_is_string(const struct ls_conf_node *node);
const char *ls_conf_text(const struct ls_conf_node *node); /* of a string node, else "" */

/* Refuses a member whose name is not in the NULL-ended list. */
LS_CHECK enum ls_code ls_conf_only(
	const struct ls_conf_node *group, const char *const *allowed, struct ls_err *err);

/* Each leaves *out alone when the member is absent and refuses one of another type. Strings and
 * vectors are copied; the caller's old value in *out is freed. */
LS_CHECK enum ls_code ls_conf_string(
	const struct ls_conf_node *group, const char *name, char **out, struct ls_err *err);
LS_CHECK enum ls_code ls_conf_int(const struct ls_conf_node *group, const char *name, int64_t min,
	int64_t max, int64_t *out, struct ls_err *err);
LS_CHECK enum ls_code ls_conf_bool(
	const struct ls_conf_node *group, const char *name, bool *out, struct ls_err *err);
/* A list ( ) or array [ ] of strings; *out is a NULL-ended vector. */
LS_CHECK enum ls_code ls_conf_strings(
	const struct ls_conf_node *group, const char *name, char ***out, struct ls_err *err);

/* A list or array of at most `max_count` integers; out_count is set with them. */
LS_CHECK enum ls_code ls_conf_ints(const struct ls_conf_node *group, const char *name, int64_t min,
	int64_t max, size_t max_count, int64_t *out, size_t *out_count, struct ls_err *err);

/* A refusal at this place. */
enum ls_code ls_conf_refuse(
	const struct ls_conf_node *node, struct ls_err *err, const char *fmt, ...) LS_PRINTF(3, 4);

#endif
