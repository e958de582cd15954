/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a device is read, and in what order. An engine that is given a trace (engine_options) tells
 * it of each read; the figures say how much was ever read and how much of it was there already. The
 * order in which blocks were first read can be kept as a record, a small file (docs/formats.md); a
 * later attachment reads ahead along it (prefetch.h).
 *
 * A trace belongs to the engine's thread.
 */
#ifndef BLOCK_TRACE_H
#define BLOCK_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/vector.h"

#define TRACE_UNIT     4096  /* bytes: what is counted as one */
#define TRACE_RUNS     65536 /* of a record at most; what is read later is not in it */
#define TRACE_IDENTITY 32    /* bytes */

struct block_trace;

/* For a device of size bytes, at most 16 TiB. ordered: the order is kept too, for a record.
 * -ENOMEM, -EFBIG. */
int block_trace_new(uint64_t size, bool ordered, struct block_trace **trace);
void block_trace_free(struct block_trace *trace); /* NULL is fine */

/* Someone asked for these bytes; they were read ahead. Both lie within the device. */
void block_trace_read(struct block_trace *trace, uint64_t offset, uint64_t length);
void block_trace_ahead(struct block_trace *trace, uint64_t offset, uint64_t length);

/* The hit rate is bytes_hit / bytes_asked. */
struct block_trace_figures {
	uint64_t reads;
	uint64_t bytes_asked;
	uint64_t bytes_unique; /* in units that were ever asked for: each counts once, and whole */
	uint64_t bytes_hit;   /* asked for, in units that had been asked for or read ahead before */
	uint64_t bytes_ahead; /* in units that were read ahead before anybody asked for them */
};
void block_trace_describe(const struct block_trace *trace, struct block_trace_figures *figures);

/* A run of units. */
struct trace_run {
	uint32_t first, count;
};
struct trace_runs {
	struct trace_run *items;
	size_t count, capacity;
};
static inline void trace_runs_free(struct trace_runs *runs)
{
	vector_free(runs);
}
#define _cleanup_trace_runs_ __attribute__((cleanup(trace_runs_free)))

/* Write what was first read, in its order, to the empty file fd. identity says of which image it is:
 * the SHA-256 of the file that the device is served from. A trace that is not ordered has nothing to
 * write: -EINVAL. */
int block_trace_save(const struct block_trace *trace, int fd,
	const uint8_t identity[static TRACE_IDENTITY], struct ramet_error *err);
/* Read a record: everything in it is checked, and lies within a device of size bytes. -EUCLEAN: it is
 * damaged; -ENOTSUP: of a newer version; -ESTALE: of another image. */
int block_record_load(int fd, const uint8_t identity[static TRACE_IDENTITY], uint64_t size,
	struct trace_runs *runs, struct ramet_error *err);

#endif
