/* helper -- a small process beside the daemon that does what the daemon's own sandbox forbids it.
 *
 * It is forked before there are threads, before any secret is read and before the sandbox closes
 * (sandbox.h), and it is no "run this for me": a request is a verb and a few bounded words, and
 * what they lead to is decided by a function of the program (daemon/errand.c), from files that the
 * daemon cannot write. Each request is worked on in a child of the helper's, so that one that hangs
 * delays no other; it answers on a socket of its own, which came along with the request. When the
 * asker closes that, or dies, the child sees it (`gone_fd`) and ends with what it started. When the
 * daemon dies, the helper ends too.
 *
 * There is at most one in a program. Without one (the command line, the helper itself, unit tests)
 * everything is done directly: callers look with ls_helper_here.
 */
#ifndef LS_SYS_HELPER_H
#define LS_SYS_HELPER_H

#include <stdint.h>

#include "base/bytes.h"

/* What can be asked for: the verb, then its words. */
#define LS_ASK_REREAD "reread"     /* takes in the templates anew; in the helper itself */
#define LS_ASK_VALIDATE "validate" /* node/reload.c: runs a template's `validate` … */
#define LS_ASK_RELOAD "reload"     /* … or one of its reload entries */
#define LS_ASK_PASSWORD "password" /* component, reload entry: content of its password_file */
#define LS_ASK_CONNECT "connect"   /* a UNIX endpoint that a template names; milliseconds */
#define LS_ASK_GENERATE "generate" /* a key's type: the key as PEM */
#define LS_ASK_GROUP "group"       /* a group's name: its number */
#define LS_ASK_USER "user"         /* a user's number: the name */
#define LS_ASK_MODE "mode"         /* octal; of the descriptor, which must be in a directory … */
#define LS_ASK_OWNER "owner"   /* … of the daemon's. user and group as numbers, -1: as it is */
#define LS_ASK_TOUCH "touch"   /* sets the times of the descriptor to now */
#define LS_ASK_SETTLE "settle" /* intake/removal.c: removes a file from incoming/ */

/* A request as the helper's side sees it. */
struct ls_helper_call {
	char **words;           /* NULL-ended, the verb first */
	size_t count;           /* of words */
	int fd;                 /* came along; -1: none */
	int gone_fd;            /* readable as soon as the asker is gone */
	struct ls_secret value; /* the answer, set by the function; at most 128 KiB */
	int out_fd;             /* goes along with the answer; -1: none */
	int errnum;             /* beside an error; 0: none */
};
typedef enum ls_code ls_helper_func(void *arg, struct ls_helper_call *call, struct ls_err *err);

struct ls_helper_service {
	ls_helper_func *func; /* in a child of the helper's */
	/* In the helper itself, for what must not wait for a fork or changes what later requests
	 * see: false when this verb is not for it. Must not block. */
	bool (*at_once)(const char *verb);
	void *arg;
};

/* Forks it. From here on it is there for all threads. */
LS_CHECK enum ls_code ls_helper_start(const struct ls_helper_service *service, struct ls_err *err);
bool ls_helper_here(void);
/* Readable when the helper has ended, which it never does by itself; -1 without one. */
int ls_helper_fd(void);
/* Lets it go: it ends with all that it runs. */
void ls_helper_stop(void);

struct ls_helper_answer {
	struct ls_secret value;
	int fd; /* -1: none */
	int errnum;
};
void ls_helper_answer_done(struct ls_helper_answer *answer);
/* Asks and waits. `fd` (-1: none) goes along. `out` (may be NULL) is set whatever the code is. The
 * code and words are those of the helper's function; LS_E_TIMEOUT: no answer in time, and what was
 * begun is being stopped; LS_E_FAILED: the helper or its child is gone. Any thread. */
LS_CHECK enum ls_code ls_helper_ask(const char *const *words, int fd, int64_t timeout_ms,
	struct ls_helper_answer *out, struct ls_err *err);

#endif
