#include "base/own.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void)
{
	static const char text[] =
		"lockstep: out of memory: the process ends; state on disk is whole\n";

	(void)!write(STDERR_FILENO, text, sizeof text - 1); /* nothing else can be done about it */
	abort();
}

void *ls_alloc(size_t count, size_t size)
{
	void *mem = calloc(count ? count : 1, size ? size : 1);

	if (!mem)
		out_of_memory();
	return mem;
}

void *ls_realloc(void *old, size_t count, size_t size)
{
	void *mem = reallocarray(old, count ? count : 1, size ? size : 1);

	if (!mem)
		out_of_memory();
	return mem;
}

void ls_free(void *mem)
{
	if (!mem)
		return;
	/* All of the block: what it held before may have been longer than what it holds now. */
	explicit_bzero(mem, malloc_usable_size(mem));
	free(mem);
}

void *ls_regrow(void *old, size_t size)
{
	size_t have = old ? malloc_usable_size(old) : 0;
	void *mem;

	if (old && size <= have)
		return old;
	mem = ls_alloc(size, 1);
	if (old)
		memcpy(mem, old, have);
	ls_free(old);
	return mem;
}

char *ls_strdup(const char *text)
{
	return ls_strndup(text, strlen(text));
}

char *ls_strndup(const char *text, size_t len)
{
	size_t n = strnlen(text, len);
	char *copy = ls_alloc(n + 1, 1);

	memcpy(copy, text, n);
	return copy;
}

char *ls_format(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	if (n < 0)
		out_of_memory();
	return out;
}

void ls_free_str(char **str)
{
	ls_free(*str);
	*str = NULL;
}

void ls_free_strv(char ***strv)
{
	for (size_t i = 0; *strv && (*strv)[i]; i++)
		ls_free((*strv)[i]);
	free(*strv);
	*strv = NULL;
}

void ls_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd); /* data that must last was synced before */
	*fd = -1;
	errno = saved;
}

size_t ls_strv_count(char *const *strv)
{
	size_t n = 0;

	while (strv && strv[n])
		n++;
	return n;
}

void ls_strv_add(char ***strv, const char *text)
{
	size_t n = ls_strv_count(*strv);

	*strv = ls_realloc(*strv, n + 2, sizeof **strv);
	(*strv)[n] = ls_strdup(text);
	(*strv)[n + 1] = NULL;
}

char **ls_strv_copy(char *const *strv)
{
	char **copy = NULL;

	for (size_t i = 0; strv && strv[i]; i++)
		ls_strv_add(&copy, strv[i]);
	return copy;
}

int ls_strv_has(char *const *strv, const char *text)
{
	for (size_t i = 0; strv && strv[i]; i++)
		if (strcmp(strv[i], text) == 0)
			return 1;
	return 0;
}
