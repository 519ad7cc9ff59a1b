/* text -- names, numbers and instants as text.
 *
 * Pure but for ls_now_s and ls_mono_ms, which read the clocks.
 */
#ifndef LS_BASE_TEXT_H
#define LS_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LS_NAME_MAX 32       /* characters of a component's or node's name */
#define LS_TIME_TEXT_SIZE 25 /* "2026-11-21T22:51:00Z" and room for years of five digits */

/* [a-z0-9_]{1,32}: what may name an entry of the state's tree. */
bool ls_name_valid(const char *name);
/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}: a cluster's name. */
bool ls_cluster_name_valid(const char *name);
/* A host name of RFC 1123 section 2.1, 253 characters at most, no trailing dot. */
bool ls_host_name_valid(const char *name);
bool ls_has_prefix(const char *text, const char *prefix);
bool ls_has_suffix(const char *text, const char *suffix);
/* Puts '?' for each byte outside ASCII: for text that turned out not to be UTF-8. */
void ls_text_ascii(char *text);

/* A decimal number within [min, max] and nothing else. */
bool ls_text_number(const char *text, int64_t min, int64_t max, int64_t *out);
/* "90", "30s", "5m", "1h", "7d": seconds. */
bool ls_text_duration(const char *text, int64_t *out_s);

int64_t ls_now_s(void);
int64_t ls_now_ms(void);  /* wall clock */
int64_t ls_mono_ms(void); /* CLOCK_MONOTONIC */
/* RFC 3339, UTC, whole seconds. */
void ls_time_text(int64_t at_s, char out[LS_TIME_TEXT_SIZE]);
/* Exactly what ls_time_text writes. */
bool ls_time_parse(const char *text, int64_t *out_s);
/* "20261121T225100.123Z", for names of files. */
void ls_time_stamp(int64_t at_ms, char out[LS_TIME_TEXT_SIZE]);

#endif
