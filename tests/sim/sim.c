/* The simulator's main: chooses what happens next, stops the faults, and asks for the end that was
 * promised. See sim.h.
 *
 *   sim                    seeds 1 … until four million steps are done
 *   sim --steps N          … until N steps are done
 *   sim SEED [STEPS]       one run, told step by step
 *   sim --mutants          every protocol with one thing wrong is found
 */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

#ifndef LS_MUTANT
#define LS_MUTANT 0
#endif
#define STEPS_PER_SEED 700
#define STEPS_ALL 4000000
#define SEEDS_PER_MUTANT 4000
#define ROUNDS_MAX 3000

static const char *const mutants[] = {
#define MUTANT_TEXT(name, text) [M_##name] = text,
	MUTANTS(MUTANT_TEXT)
#undef MUTANT_TEXT
};
static_assert(LS_COUNT(mutants) == M_COUNT, "a mutant without a text");

enum mutant mutant = (enum mutant)LS_MUTANT;
struct world w;
static jmp_buf out;
static char what[256];

void broken(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	longjmp(out, 1);
}

void trace(const char *fmt, ...)
{
	va_list ap;

	if (!w.trace)
		return;
	printf("%6lld %5lld ", (long long)w.steps, (long long)w.now_s);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)putchar('\n');
}

/* splitmix64 */
static uint64_t next_random(void)
{
	uint64_t z = (w.random += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t below(uint64_t limit)
{
	return next_random() % limit;
}

bool chance(int percent)
{
	return w.faults && below(100) < (uint64_t)percent;
}

/* Generation 1 everywhere; then faults. */
static void begin_world(uint64_t seed, bool tell)
{
	ls_store_view_done(&w.view);
	w = (struct world){ .random = seed, .now_s = 1000, .faults = true, .trace = tell };
	(void)next_random();
	w.node_count = 1 + (int)below(NODES_MAX);
	w.fail_percent = 1 + (int)below(5);
	w.late_percent = below(2) ? 3 : 5 + (int)below(35);
	w.crash_weight = below(3) ? 10 : 40;
	w.jump_weight = below(3) ? 3 : 30;
	w.commit_count = 1;
	(void)commit_new(0, 1, 0);
	w.commits[1] = (struct commit){ .dir = 1, .generation = 1, .decided = true };
	w.by_generation[1] = 1;
	commit_text(1, w.view.tip.commit);
	commit_text(1, w.view.tip.dir_commit);
	w.view.tip.generation = w.view.tip.dir_generation = 1;
	for (int i = 0; i < w.node_count; i++) {
		struct node *n = &w.nodes[i];

		(void)snprintf(n->name, sizeof n->name, "n%d", i + 1);
		n->takeover_s = 3 + (int64_t)below(60);
		n->live = n->main = n->served = 1;
		n->reached = 1;
		n->objects[1] = true;
		n->dirs[1] = DIR_WHOLE;
		node_start(n);
	}
}

static void check_all(void)
{
	shared_check();
	for (int i = 0; i < w.node_count; i++)
		node_check(&w.nodes[i]);
}

static void jump_clock(struct node *n)
{
	n->clock_s = below(2) ? 0 : (int64_t)below(240) - 120;
	trace("%s's clock is %lld s off", n->name, (long long)n->clock_s);
}

static void step_faulty(void)
{
	struct node *n = &w.nodes[below((uint64_t)w.node_count)];
	uint64_t event = below(1000);

	w.steps++;
	if (below(1000) < (uint64_t)w.jump_weight)
		jump_clock(n);
	else if (n->up && below(1000) < (uint64_t)w.crash_weight)
		node_crash(n);
	else if (event < 30)
		shared_deliver_late();
	else if (event < 100)
		w.now_s += 1 + (int64_t)below(5);
	else if (event < 103)
		w.now_s += 20 + (int64_t)below(60);
	else if (!n->up && event < 200)
		node_start(n);
	else if (n->up && !n->has_plan && event < 300 && !(w.view.rotation && below(10)))
		(void)node_begin(n);
	else if (n->up)
		(void)node_tick(n);
	check_all();
}

/* Every node looks once. False: none had anything to do. */
static bool round_of_all(void)
{
	bool any = false;

	for (int i = 0; i < w.node_count; i++) {
		if (!w.nodes[i].up)
			continue;
		w.steps++;
		any |= node_tick(&w.nodes[i]);
		check_all();
	}
	return any;
}

static int64_t soonest_wait(void)
{
	int64_t soonest = INT64_MAX;

	for (int i = 0; i < w.node_count; i++)
		if (w.nodes[i].up && w.nodes[i].wait_s < soonest)
			soonest = w.nodes[i].wait_s;
	return soonest;
}

static void check_arrived(const struct node *n)
{
	int dir = commit_number(w.view.tip.dir_commit);

	if (n->live != dir)
		broken("a decided generation is reached by %s: %d is live, not %d", n->name,
			n->live, dir);
	if (n->main != commit_number(w.view.tip.commit))
		broken("main of %s names the tip", n->name);
	if (n->served != dir && !(w.commits[dir].refusing & 1u << (n - w.nodes)))
		broken("services of %s are told of what is live: %d is served, not %d", n->name,
			n->served, dir);
	for (int i = 1; i < w.commit_count; i++)
		if (n->dirs[i] != DIR_ABSENT && i != dir)
			broken("%s leaves nothing behind: directory %d", n->name, i);
}

/* No more faults; one node may stay dead for good. Time goes on only when all wait, and then to
 * the time that they wait for. */
static void end_world(void)
{
	int dead = w.node_count > 1 && below(3) == 0 ? (int)below((uint64_t)w.node_count) : -1;

	w.faults = false;
	for (int i = 0; i < w.node_count; i++) {
		if (i == dead && w.nodes[i].up)
			node_crash(&w.nodes[i]);
		else if (i != dead && !w.nodes[i].up)
			node_start(&w.nodes[i]);
	}
	while (w.late_count > 0) {
		shared_deliver_late();
		check_all();
	}
	trace("faults stop%s", dead < 0 ? "" : "; one node stays dead");
	for (int i = 0; i < ROUNDS_MAX; i++) {
		int64_t soonest;

		if (round_of_all())
			continue;
		soonest = soonest_wait();
		if (soonest == INT64_MAX && !w.view.rotation) {
			for (int k = 0; k < w.node_count; k++)
				if (w.nodes[k].up)
					check_arrived(&w.nodes[k]);
			return;
		}
		if (soonest == INT64_MAX)
			broken("a rotation does not wait for ever");
		if (soonest > w.now_s)
			w.now_s = soonest;
	}
	broken("the record becomes idle");
}

struct totals {
	int64_t seeds, steps, decided, reverted, aborted, crashes, taken_over;
};

/* True: every promise was kept. */
static bool run(uint64_t seed, int64_t steps, bool tell, struct totals *totals)
{
	if (setjmp(out) != 0)
		return false;
	begin_world(seed, tell);
	while (w.steps < steps)
		step_faulty();
	end_world();
	totals->seeds++;
	totals->steps += w.steps;
	totals->decided += w.decided_count;
	totals->reverted += w.reverted_count;
	totals->aborted += w.aborted_count;
	totals->crashes += w.crash_count;
	totals->taken_over += w.taken_over_count;
	return true;
}

static int found(uint64_t seed)
{
	printf("sim: seed %llu, step %lld: not kept: %s\n", (unsigned long long)seed,
		(long long)w.steps, what);
	printf("sim: again, told step by step: sim %llu\n", (unsigned long long)seed);
	return 1;
}

static int run_many(int64_t steps)
{
	struct totals t = { 0 };
	clock_t from = clock();
	double took;

	for (uint64_t seed = 1; t.steps < steps; seed++)
		if (!run(seed, STEPS_PER_SEED, false, &t))
			return found(seed);
	took = (double)(clock() - from) / CLOCKS_PER_SEC;
	printf("sim: seeds 1 to %lld, %lld steps in %.1f s: %lld decided, %lld rolled back, "
	       "%lld aborted, %lld crashes, %lld moves by others than the initiator\n",
		(long long)t.seeds, (long long)t.steps, took, (long long)t.decided,
		(long long)t.reverted, (long long)t.aborted, (long long)t.crashes,
		(long long)t.taken_over);
	/* A run in which nothing happens keeps every promise. */
	return t.decided == 0 || t.reverted == 0 || t.aborted == 0 || t.taken_over == 0;
}

static int run_mutants(void)
{
	int missed = 0;

	for (int i = 1; i < M_COUNT; i++) {
		struct totals t = { 0 };
		uint64_t seed = 1;

		mutant = (enum mutant)i;
		while (seed <= SEEDS_PER_MUTANT && run(seed, STEPS_PER_SEED, false, &t))
			seed++;
		if (seed <= SEEDS_PER_MUTANT)
			printf("found at seed %4llu: %s: not kept: %s\n", (unsigned long long)seed,
				mutants[i], what);
		else
			printf("NOT FOUND: %s\n", mutants[i]);
		missed += seed > SEEDS_PER_MUTANT;
	}
	printf("sim: %d of %d mutants found\n", M_COUNT - 1 - missed, M_COUNT - 1);
	return missed > 0;
}

int main(int argc, char **argv)
{
	struct totals t = { 0 };
	uint64_t seed;
	int code = 0;

	if (argc == 2 && strcmp(argv[1], "--mutants") == 0) {
		code = run_mutants();
	} else if (argc == 3 && strcmp(argv[1], "--steps") == 0) {
		code = run_many(strtoll(argv[2], NULL, 10));
	} else if (argc > 1) {
		seed = strtoull(argv[1], NULL, 10);
		if (!run(seed, argc > 2 ? strtoll(argv[2], NULL, 10) : STEPS_PER_SEED, true, &t))
			code = found(seed);
	} else {
		code = run_many(STEPS_ALL);
	}
	ls_store_view_done(&w.view);
	return code;
}
