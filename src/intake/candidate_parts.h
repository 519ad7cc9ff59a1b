/* candidate_parts -- what the files of candidate share. Private to them. */
#ifndef LS_INTAKE_CANDIDATE_PARTS_H
#define LS_INTAKE_CANDIDATE_PARTS_H

#include "intake/candidate.h"

/* *made is empty afterwards. */
void ls_candidate_hand_over(struct ls_candidate *out, struct ls_candidate *made);
/* "a, b", from the heap. */
char *ls_candidate_list(char *const *strv);

#endif
