/* record_moves -- rotations, ballots, reports and outcomes by number, for tests of the record and
 * of stores. Participants are n1 and n2; texts are borrowed from static memory. */
#ifndef LS_TESTS_UNIT_RECORD_MOVES_H
#define LS_TESTS_UNIT_RECORD_MOVES_H

#include <stdio.h>
#include <string.h>

#include "store/record.h"
#include "tests/unit/runner.h"

static char moves_n1[] = "n1", moves_n2[] = "n2", moves_none[] = "";
static char moves_warning[] = "an endpoint was down before";
static char *moves_participants[] = { moves_n1, moves_n2, NULL };
static char *moves_lines[] = { moves_warning, NULL };

static const char *moves_text(int width, int number)
{
	static char texts[16][41];
	static int at;
	char *text = texts[at++ % 16];

	(void)snprintf(text, sizeof texts[0], "%0*x", width, (unsigned)number);
	return text;
}

static const char *moves_commit(int number)
{
	return moves_text(40, number);
}

static const char *moves_nonce(int number)
{
	return moves_text(32, number);
}

/* The next rotation after `tip`, to commit `number`. */
static void moves_rotation(const struct ls_tip *tip, int number, struct ls_rotation *out)
{
	*out = (struct ls_rotation){
		.generation = tip->generation + 1,
		.initiator = "n1",
		.participants = moves_participants,
		.began_at_s = 1000,
		.vote_deadline_s = 1020,
	};
	memcpy(out->nonce, moves_nonce(number), sizeof out->nonce);
	memcpy(out->commit, moves_commit(number), sizeof out->commit);
	memcpy(out->parent, tip->commit, sizeof out->parent);
}

static void moves_ballot(const char *node, bool yes, struct ls_ballot *out)
{
	*out = (struct ls_ballot){ .yes = yes, .reason = moves_none, .baseline = moves_lines };
	(void)snprintf(out->node, sizeof out->node, "%s", node);
}

static void moves_report(const char *node, const char *commit, bool good, struct ls_report *out)
{
	*out = (struct ls_report){ .good = good, .reason = moves_none, .warnings = moves_lines };
	(void)snprintf(out->node, sizeof out->node, "%s", node);
	(void)snprintf(out->commit, sizeof out->commit, "%s", commit);
}

static void moves_outcome(int number, const char *result, struct ls_outcome *out)
{
	*out = (struct ls_outcome){
		.generation = 1, .why = moves_none, .warnings = moves_lines, .ended_at_s = 1030
	};
	memcpy(out->nonce, moves_nonce(number), sizeof out->nonce);
	(void)snprintf(out->result, sizeof out->result, "%s", result);
}

#endif
