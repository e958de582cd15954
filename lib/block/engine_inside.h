/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the engine share: requests (engine.c) are cut into moves (move.c). */
#ifndef BLOCK_ENGINE_INSIDE_H
#define BLOCK_ENGINE_INSIDE_H

#include "block/engine.h"
#include "block/ring.h"
#include "block/trace.h"
#include "block/workers.h"

#define SMALL_VECTOR 8 /* pieces of memory that need no allocation */

/* One run of bytes in one file; or a wait for a source, or a discard, which are a worker's. */
struct move {
	struct work work; /* first: a worker hands back what it got */
	struct engine *engine;
	struct block_request *request;
	struct block_extent extent; /* what is left of it */
	struct iovec small[SMALL_VECTOR], *vector, *allocated;
	unsigned count;
	int64_t result; /* of a worker */
	struct move *next;
};

struct requests {
	struct block_request *first, **end;
};

struct engine {
	struct block_device *device;
	struct ring *ring; /* NULL: threads */
	struct workers *workers;
	struct move *moves, *free;
	struct requests starved;  /* want a move */
	struct requests finished; /* in engine_submit, to be told of in engine_run */
	bool submitting;
	bool quick;             /* reads may be tried on the spot */
	unsigned misses, pause; /* of such tries in a row; reads for which none is made */
	bool slept;             /* its fd may have been signalled... */
	unsigned quiet;         /* ...though nothing had ended, so often in a row */
	struct requests flushing, to_flush;
	struct work flush;
	int flush_result;
	bool flush_runs;
	unsigned under_way; /* requests */
	unsigned ahead;     /* of them: reads for nobody */
	struct block_trace *trace;
	int fd;
};

/* A move for the request, counted in it; NULL when all are under way. */
struct move *move_take(struct engine *engine, struct block_request *request);
void move_give(struct move *move);
/* Its memory: the length bytes of the request's from offset at on. -ENOMEM. */
int move_set_vector(struct move *move, uint64_t at, uint64_t length);
/* The length bytes of the request's memory from offset at on, in at most most pieces. Answers how many;
 * 0: they are more. */
unsigned request_pieces(const struct block_request *request, uint64_t at, uint64_t length,
	struct iovec *pieces, unsigned most);
/* So many bytes have been moved: what is left of the extent and the memory. */
void move_skip(struct move *move, uint64_t bytes);
/* Hand it to the ring, or to a worker. */
void move_start(struct move *move);

/* Read what the kernel has in its cache of an extent, which is where request->mapped is. Answers how
 * many bytes. */
uint64_t quick_read(struct engine *engine, const struct block_request *request,
	const struct block_extent *extent);

#endif
