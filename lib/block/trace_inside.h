/* SPDX-License-Identifier: Apache-2.0 */
/* What counting (trace.c) and keeping (record.c) share. */
#ifndef BLOCK_TRACE_INSIDE_H
#define BLOCK_TRACE_INSIDE_H

#include "block/trace.h"

struct block_trace {
	uint64_t size;           /* of the device, in bytes */
	uint64_t *asked, *ahead; /* a bit for each unit; one allocation, at asked */
	bool ordered, full;      /* full: the record has ended */
	struct trace_runs runs;
	struct block_trace_figures figures;
};

#endif
