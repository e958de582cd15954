/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the engine share: requests (engine.c) are cut into moves (move.c). */
#ifndef BLOCK_ENGINE_INSIDE_H
#define BLOCK_ENGINE_INSIDE_H

#include "block/engine.h"
#include "block/ring.h"
#include "block/trace.h"
#include "block/workers.h"

#define SMALL_VECTOR 8 /* pieces of memory that need no allocation */

struct requests {
	struct block_request *first, **end;
};

static inline void requests_init(struct requests *list)
{
	*list = (struct requests){.end = &list->first};
}

static inline void requests_add(struct requests *list, struct block_request *request)
{
	request->next = NULL;
	*list->end = request;
	list->end = &request->next;
}

static inline struct block_request *requests_take(struct requests *list)
{
	struct block_request *request = list->first;
	if (request && !(list->first = request->next))
		list->end = &list->first;
	return request;
}

/* One run of bytes in one file; or a wait for a source, or a discard, which are a worker's. */
struct move {
	struct work work; /* first: a worker hands back what it got */
	struct engine *engine;
	struct block_request *request;
	struct block_extent extent; /* what is left of it */
	struct iovec small[SMALL_VECTOR], *vector;
	void *allocated; /* a longer vector, or memory to read into (groups.c) */
	unsigned count;
	int64_t result; /* of a worker */
	struct move *next;
	/* Of extents with a group: */
	struct requests joined; /* wait for what this one waits for */
	uint64_t at, length;    /* in the request: extent and vector shrink while it is read */
	uint64_t since;         /* milliseconds */
	bool late, given_up;    /* the device knows; the request is done, and not ours any more */
	struct move *earlier, *later; /* under way */
};

struct group {
	unsigned moves;         /* under way */
	struct requests parked; /* want one */
};
#define GROUPS 16

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
	void (*failed)(void *ctx, enum block_operation operation, int code);
	void *failed_ctx;
	int fd;
	unsigned depth, free_moves;
	struct workers *copiers; /* NULL: nobody shares copies */
	struct work *to_copy, **to_copy_end;
	unsigned copying; /* that were handed to the copiers */
	struct group groups[GROUPS];
	unsigned parked;           /* requests, in all of them */
	struct move *first, *last; /* moves of groups, the oldest first */
	uint64_t check_at;         /* milliseconds: when to look for what stalls; 0: never */
	int timer, poll_fd;        /* -1 where nothing stalls; fd and timer in one */
};

/* Go on with a request that is in no list. */
void request_advance(struct engine *engine, struct block_request *request);
/* Nothing of it is under way any more. */
void request_end(struct engine *engine, struct block_request *request);
/* Put length bytes into the request's memory from offset at on; NULL: zeros. */
void request_fill(struct block_request *request, uint64_t at, const char *bytes, uint64_t length);

/* Flush, and end the request then (flush.c); the worker has flushed. */
void flush_add(struct engine *engine, struct block_request *request);
void flush_end(struct engine *engine);

/* Moves of groups (groups.c). -errno. */
int groups_prepare(struct engine *engine);
enum begun {
	BEGUN,
	NO_MOVE, /* there is none left */
	PARKED,  /* the request is in a list, or has failed */
};
enum begun group_begin(
	struct engine *engine, struct block_request *request, const struct block_extent *extent);
/* A worker is done with it. */
void group_end(struct engine *engine, struct work *work);
/* Begin what is parked: there are moves again. Whoever gives one back sees to that: when the last of a
 * group ended, others may have taken all. */
void groups_feed(struct engine *engine);
/* Look for what stalls, if it is time to. */
void groups_check(struct engine *engine);

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

/* What the cache had of a shared one is copied; the rest is as of others. */
void move_copied(struct move *move);

/* Copies that two threads share (share.c). -ENOMEM. */
int share_prepare(struct engine *engine);
/* Take a move of a read up; false: it is none to share. */
bool share_add(struct engine *engine, struct move *move);
void share_run(struct engine *engine);
/* A copy has ended that was not taken yet; there is one to make. */
bool share_any(const struct engine *engine);
bool share_waits(const struct engine *engine);

/* Read what the kernel has in its cache of an extent, which is where request->mapped is. Answers how
 * many bytes. */
uint64_t quick_read(struct engine *engine, const struct block_request *request,
	const struct block_extent *extent);
/* Whether to try that for a large read; each answer counts as a try. */
bool quick_worth(struct engine *engine, uint64_t bytes);
/* The try: how many bytes, or a negative errno. In any thread. */
int64_t quick_move(const struct move *move);
/* How a try ended. */
void quick_tell(struct engine *engine, bool some);

#endif
