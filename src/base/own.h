/* own -- ownership by scope.
 *
 * Every owner is a variable with LS_CLEANUP or a struct with one `done`; a value changes hands with
 * LS_TAKE and in no other way. Memory: when there is none left the process ends with a message
 * (ls_alloc): every promise of Lockstep already holds for a process that dies at any instruction,
 * and a path that is never taken would not be tested.
 */
#ifndef LS_BASE_OWN_H
#define LS_BASE_OWN_H

#include <stddef.h>

#define LS_CLEANUP(func) __attribute__((cleanup(func)))
#define LS_CHECK __attribute__((warn_unused_result))
#define LS_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Hands over a pointer: the variable is NULL afterwards, so its cleanup does nothing. */
#define LS_TAKE(var)                                                                               \
	__extension__({                                                                            \
		__typeof__(var) ls_taken_ = (var);                                                 \
		(var) = NULL;                                                                      \
		ls_taken_;                                                                         \
	})

#define LS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Zeroed memory; never NULL. The caller frees it. */
void *ls_alloc(size_t count, size_t size) __attribute__((returns_nonnull, malloc));
/* As realloc, never NULL; new bytes are not set. */
void *ls_realloc(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
/* free that wipes first, for what may have held a key; NULL is nothing. */
void ls_free(void *mem);
/* As realloc to a larger size, never NULL; what is moved away from is wiped. New bytes are not set.
 */
void *ls_regrow(void *old, size_t size) __attribute__((returns_nonnull));
char *ls_strdup(const char *text) __attribute__((returns_nonnull));
char *ls_strndup(const char *text, size_t len) __attribute__((returns_nonnull));
/* printf into fresh memory; never NULL. */
char *ls_format(const char *fmt, ...) LS_PRINTF(1, 2) __attribute__((returns_nonnull));

/* Cleanup functions for plain variables; each accepts the empty value. Texts are wiped. */
void ls_free_str(char **str);    /* any char * from the heap */
void ls_free_strv(char ***strv); /* a NULL-ended vector and its strings */
void ls_fd_close(int *fd);       /* -1: nothing to close; errno is kept */

/* A growing vector of strings, always NULL-ended. `ls_strv_count` accepts NULL. */
size_t ls_strv_count(char *const *strv);
void ls_strv_add(char ***strv, const char *text);
char **ls_strv_copy(char *const *strv);
int ls_strv_has(char *const *strv, const char *text);

#endif
