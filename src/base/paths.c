#include "base/paths.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"

static char *absolute_root(const char *root)
{
	LS_CLEANUP(ls_free_str) char *cwd = NULL;
	char *out;
	size_t len;

	if (!root || !*root)
		return ls_strdup("");
	if (*root != '/')
		cwd = getcwd(NULL, 0);
	out = cwd ? ls_format("%s/%s", cwd, root) : ls_strdup(root);
	for (len = strlen(out); len > 0 && out[len - 1] == '/'; len--)
		out[len - 1] = '\0';
	return out;
}

/* The first where an operator writes, then what ships below the root, then what was installed. */
static void search_path(char *out[4], const char *root, const char *what)
{
	out[0] = ls_format("%s/etc/lockstep/%s", root, what);
	out[1] = ls_format("%s/usr/share/lockstep/%s", root, what);
	out[2] = ls_format("%s/share/lockstep/%s", LS_PREFIX, what);
	if (strcmp(out[1], out[2]) == 0) {
		free(out[2]);
		out[2] = NULL;
	}
	out[3] = NULL;
}

void ls_paths_init(struct ls_paths *paths, const char *root, const char *config)
{
	char *r = absolute_root(root);

	*paths = (struct ls_paths){ .root = r };
	paths->config = config ? ls_strdup(config) : ls_format("%s/etc/lockstep/lockstep.conf", r);
	paths->certs = ls_format("%s/etc/lockstep/certs", r);
	paths->incoming = ls_format("%s/etc/lockstep/incoming", r);
	paths->lib = ls_format("%s/var/lib/lockstep", r);
	paths->history = ls_format("%s/var/lib/lockstep/history.git", r);
	paths->rejected = ls_format("%s/var/lib/lockstep/rejected", r);
	paths->identity = ls_format("%s/var/lib/lockstep/identity", r);
	paths->store = ls_format("%s/var/lib/lockstep/store", r);
	paths->run = ls_format("%s/run/lockstep", r);
	search_path(paths->templates, r, "templates");
	search_path(paths->policies, r, "policies");
}

void ls_paths_done(struct ls_paths *paths)
{
	free(paths->root);
	free(paths->config);
	free(paths->certs);
	free(paths->incoming);
	free(paths->lib);
	free(paths->history);
	free(paths->rejected);
	free(paths->identity);
	free(paths->store);
	free(paths->run);
	for (size_t i = 0; i < LS_COUNT(paths->templates); i++) {
		free(paths->templates[i]);
		free(paths->policies[i]);
	}
	*paths = (struct ls_paths){ 0 };
}
