/* paths -- where everything of a node is, below --root (DESIGN, "Files of a node"). */
#ifndef LS_BASE_PATHS_H
#define LS_BASE_PATHS_H

struct ls_paths {
	char *root;   /* "" for /, else absolute, no slash at the end */
	char *config; /* lockstep.conf */
	char *certs;  /* the live directory */
	char *incoming;
	char *lib; /* /var/lib/lockstep */
	char *history;
	char *rejected;
	char *identity;
	char *store;
	char *run;          /* /run/lockstep */
	char *templates[4]; /* directories in order of precedence, NULL-ended */
	char *policies[4];
};

/* `root` may be NULL or "" for none; a relative one is resolved against the present directory.
 * `config` may be NULL. */
void ls_paths_init(struct ls_paths *paths, const char *root, const char *config);
void ls_paths_done(struct ls_paths *paths);

#endif
