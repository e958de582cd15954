/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two bits for each unit of 4 KiB (asked for; read ahead), and, when the order is kept, a list of runs
 * of units as they were first asked for. A gigabyte costs 64 KiB, and its list at most 512 KiB.
 */
#include "block/trace.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/trace_inside.h"

int block_trace_new(uint64_t size, bool ordered, struct block_trace **out)
{
	uint64_t units = size / TRACE_UNIT + (size % TRACE_UNIT != 0);
	if (units > UINT32_MAX)
		return -EFBIG;
	struct block_trace *trace = calloc(1, sizeof *trace);
	uint64_t *bits = calloc((size_t)units / 64 + 1, 2 * sizeof *bits);
	if (!trace || !bits) {
		free(trace);
		free(bits);
		return -ENOMEM;
	}
	*trace = (struct block_trace){
		.size = size, .asked = bits, .ahead = bits + units / 64 + 1, .ordered = ordered};
	*out = trace;
	return 0;
}

void block_trace_free(struct block_trace *trace)
{
	if (!trace)
		return;
	trace_runs_free(&trace->runs);
	free(trace->asked);
	free(trace);
}

static bool is_set(const uint64_t *bits, uint64_t unit)
{
	return bits[unit / 64] >> (unit % 64) & 1;
}

static void set(uint64_t *bits, uint64_t unit)
{
	bits[unit / 64] |= (uint64_t)1 << (unit % 64);
}

/* Without memory, as with a full list, the record ends here. */
static void append(struct block_trace *trace, uint32_t unit)
{
	struct trace_runs *runs = &trace->runs;
	struct trace_run *last = runs->count ? &runs->items[runs->count - 1] : NULL;
	if (last && last->first + last->count == unit) {
		last->count++;
		return;
	}
	struct trace_run *run = runs->count < TRACE_RUNS ? vector_push(runs) : NULL;
	if (run)
		*run = (struct trace_run){.first = unit, .count = 1};
	else
		trace->full = true;
}

static uint64_t unit_bytes(const struct block_trace *trace, uint64_t unit)
{
	return MIN(TRACE_UNIT, trace->size - unit * TRACE_UNIT);
}

void block_trace_read(struct block_trace *trace, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	trace->figures.reads++;
	trace->figures.bytes_asked += length;
	for (uint64_t unit = offset / TRACE_UNIT; unit * TRACE_UNIT < end; unit++) {
		bool asked = is_set(trace->asked, unit);
		if (asked || is_set(trace->ahead, unit))
			trace->figures.bytes_hit += MIN(end, (unit + 1) * TRACE_UNIT) -
						    MAX(offset, unit * TRACE_UNIT);
		if (asked)
			continue;
		set(trace->asked, unit);
		trace->figures.bytes_unique += unit_bytes(trace, unit);
		if (trace->ordered && !trace->full)
			append(trace, (uint32_t)unit);
	}
}

void block_trace_ahead(struct block_trace *trace, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	for (uint64_t unit = offset / TRACE_UNIT; unit * TRACE_UNIT < end; unit++) {
		if (is_set(trace->asked, unit) || is_set(trace->ahead, unit))
			continue;
		set(trace->ahead, unit);
		trace->figures.bytes_ahead += unit_bytes(trace, unit);
	}
}

void block_trace_describe(const struct block_trace *trace, struct block_trace_figures *figures)
{
	*figures = trace->figures;
}
