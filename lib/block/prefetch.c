/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few pieces are read at once, so that a source with a long way to it is kept busy, each into memory
 * of its own that nobody looks at. A budget grows with the time and shrinks with each piece; while
 * guests have requests under way it neither grows nor is spent.
 */
#include "block/prefetch.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"

enum { PIECES = 4, PIECE = 128 << 10, WAIT_MS = 2 };
#define DEFAULT_RATE ((uint64_t)256 << 20)
#define MOST_RATE    ((uint64_t)1 << 40)

struct piece {
	struct block_request request;
	struct iovec vector;
	struct prefetch *prefetch;
	bool under_way;
};

struct prefetch {
	struct engine *engine;
	struct trace_runs runs;
	size_t run;      /* the current one */
	uint64_t within; /* bytes of it that were asked for */
	uint64_t done, all, size;
	uint64_t rate;  /* bytes a second */
	int64_t budget; /* bytes that may be read now; below 0 after a piece on credit */
	uint64_t last;  /* microseconds: when the budget was last seen to */
	struct piece pieces[PIECES];
	bool stopped, pumping;
	char memory[PIECES][PIECE];
};

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

int prefetch_new(struct engine *engine, struct trace_runs *runs, uint64_t bytes_per_second,
	struct prefetch **out)
{
	struct prefetch *prefetch = calloc(1, sizeof *prefetch);
	if (!prefetch)
		return -ENOMEM;
	prefetch->engine = engine;
	prefetch->runs = *runs;
	*runs = (struct trace_runs){0};
	prefetch->size = engine_device(engine)->size;
	prefetch->rate = bytes_per_second ? MIN(bytes_per_second, MOST_RATE) : DEFAULT_RATE;
	prefetch->last = now();
	prefetch->budget = PIECES * PIECE;
	for (size_t i = 0; i < prefetch->runs.count; i++)
		prefetch->all += (uint64_t)prefetch->runs.items[i].count * TRACE_UNIT;
	*out = prefetch;
	return 0;
}

void prefetch_free(struct prefetch *prefetch)
{
	if (!prefetch)
		return;
	trace_runs_free(&prefetch->runs);
	free(prefetch);
}

/* No more is saved up than is begun at once. */
static void earn(struct prefetch *prefetch, bool busy)
{
	uint64_t time = now(), passed = MIN(time - prefetch->last, 1000000);
	prefetch->last = time;
	if (!busy)
		prefetch->budget += (int64_t)(prefetch->rate * passed / 1000000);
	prefetch->budget = MIN(prefetch->budget, PIECES * PIECE);
}

static bool at_end(const struct prefetch *prefetch)
{
	return prefetch->stopped || prefetch->run == prefetch->runs.count;
}

/* The next bytes of the record, at most a piece; none are left beyond the device's end. */
static uint64_t next_bytes(struct prefetch *prefetch, uint64_t *offset)
{
	const struct trace_run *run = &prefetch->runs.items[prefetch->run];
	uint64_t bytes = (uint64_t)run->count * TRACE_UNIT;
	*offset = (uint64_t)run->first * TRACE_UNIT + prefetch->within;
	uint64_t length = MIN(bytes - prefetch->within, PIECE);
	prefetch->within += length;
	prefetch->done += length;
	if (prefetch->within == bytes) {
		prefetch->run++;
		prefetch->within = 0;
	}
	return *offset < prefetch->size ? MIN(length, prefetch->size - *offset) : 0;
}

static void pump(struct prefetch *prefetch);

/* Also called by engine_submit() itself, for what is there at once. */
static void ended(struct block_request *request, int result)
{
	struct piece *piece = (struct piece *)request;
	piece->under_way = false;
	if (!piece->prefetch->pumping)
		pump(piece->prefetch);
}

static void begin(struct prefetch *prefetch, unsigned index)
{
	struct piece *piece = &prefetch->pieces[index];
	uint64_t offset, length = next_bytes(prefetch, &offset);
	if (!length)
		return;
	prefetch->budget -= (int64_t)length;
	piece->vector = (struct iovec){prefetch->memory[index], length};
	piece->request = (struct block_request){.operation = BLOCK_READ,
		.offset = offset,
		.length = length,
		.vector = &piece->vector,
		.vector_count = 1,
		.ahead = true,
		.done = ended};
	piece->prefetch = prefetch;
	piece->under_way = true;
	engine_submit(prefetch->engine, &piece->request);
}

static void pump(struct prefetch *prefetch)
{
	bool busy = engine_busy(prefetch->engine) > 0;
	prefetch->pumping = true;
	earn(prefetch, busy);
	for (unsigned i = 0; i < PIECES; i++)
		while (!busy && !at_end(prefetch) && prefetch->budget > 0 &&
			!prefetch->pieces[i].under_way)
			begin(prefetch, i);
	prefetch->pumping = false;
}

unsigned prefetch_run(struct prefetch *prefetch)
{
	pump(prefetch);
	bool under_way = false;
	for (unsigned i = 0; i < PIECES; i++)
		under_way |= prefetch->pieces[i].under_way;
	return at_end(prefetch) && !under_way ? PREFETCH_OVER : WAIT_MS;
}

void prefetch_stop(struct prefetch *prefetch)
{
	prefetch->stopped = true;
}

void prefetch_describe(const struct prefetch *prefetch, uint64_t *done, uint64_t *all)
{
	*done = prefetch->done;
	*all = prefetch->all;
}
