/* banned -- calls that this project does not make; using one is a compile error.
 *
 * Included by the Makefile before every source file of ours. The system headers come first, so that
 * only our own uses meet the macros.
 */
#ifndef LS_BASE_BANNED_H
#define LS_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LS_BANNED(func, instead) ls_banned_##func##_use_##instead

#undef strcpy
#define strcpy(d, s) LS_BANNED(strcpy, snprintf)
#undef strcat
#define strcat(d, s) LS_BANNED(strcat, ls_buf_printf)
#undef strncpy
#define strncpy(d, s, n) LS_BANNED(strncpy, snprintf)
#undef strncat
#define strncat(d, s, n) LS_BANNED(strncat, ls_buf_printf)
#undef sprintf
#define sprintf(...) LS_BANNED(sprintf, snprintf)
#undef vsprintf
#define vsprintf(...) LS_BANNED(vsprintf, vsnprintf)
#undef strtok
#define strtok(s, d) LS_BANNED(strtok, strsep)
#undef system
#define system(c) LS_BANNED(system, ls_process_run)
#undef popen
#define popen(c, m) LS_BANNED(popen, ls_process_run)
#undef mktemp
#define mktemp(t) LS_BANNED(mktemp, mkstemp)
#undef tmpnam
#define tmpnam(s) LS_BANNED(tmpnam, mkstemp)
#undef rand
#define rand() LS_BANNED(rand, ls_random_bytes)
#undef gmtime
#define gmtime(t) LS_BANNED(gmtime, gmtime_r)
#undef localtime
#define localtime(t) LS_BANNED(localtime, localtime_r)
#undef atoi
#define atoi(s) LS_BANNED(atoi, ls_text_number)

#endif
