/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: moves bytes between a block device's places and the memory of those who ask. Requests
 * are many at once and end in any order. Data go by io_uring where the kernel lets us have one, and
 * by threads otherwise; what is in the page cache is read on the spot; what blocks (opening files,
 * flushing, giving space back) is always a thread's.
 *
 * An engine belongs to one thread: it calls everything below, and every done() is called in it. A loop
 * around an engine waits for engine_fd() beside its own fds:
 *
 *     for (;;) {
 *             engine_run(engine);
 *             ... more requests, answers ...
 *             if (engine_sleep(engine))
 *                     poll(engine_fd(engine) and others);
 *     }
 */
#ifndef BLOCK_ENGINE_H
#define BLOCK_ENGINE_H

#include <sys/uio.h>

#include "block/device.h"

enum block_operation {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,   /* offset and length do not matter */
	BLOCK_DISCARD, /* give the space back; the bytes read as zeros afterwards */
};

struct block_request {
	/* The caller's. The request and the memory of vector belong to the engine from engine_submit
	 * until done is called. */
	enum block_operation operation;
	uint64_t offset, length;    /* length of reads and writes: the sum of vector's */
	const struct iovec *vector; /* where the bytes go to or come from */
	unsigned vector_count;
	bool ahead;   /* BLOCK_READ for nobody (prefetch.h) */
	bool batched; /* many come at once: see quick.c, share.c */
	bool durable; /* BLOCK_WRITE, BLOCK_DISCARD: as if a flush came right after (FUA) */
	/* result: 0 or a negative errno. May submit more, also this request again. */
	void (*done)(struct block_request *request, int result);
	/* The engine's. */
	uint64_t mapped; /* so far is it known where the bytes are */
	unsigned moves;  /* under way */
	int failed;
	enum { ON_ITS_WAY, WAITS, STARVES } stage; /* STARVES: it is in a list */
	uint64_t since;                            /* milliseconds: when it came into that list */
	struct block_request *next;
};

struct block_trace;

struct engine_options {
	unsigned depth;            /* moves of bytes at once; 0: 128 */
	unsigned workers;          /* threads at most, but for those that are stuck; 0: 16 */
	bool no_ring;              /* never io_uring */
	bool no_quick;             /* what is cached is not read on the spot either */
	struct block_trace *trace; /* is told of each read; borrowed, may be NULL */
	/* May be NULL. Told, in the engine's thread, of each request that the device could not do: not of
	 * those that engine_submit refuses. code: a negative errno. */
	void (*failed)(void *ctx, enum block_operation operation, int code);
	void *failed_ctx;
};

struct engine;

/* device is borrowed. Errors: ENOMEM, EMFILE. */
int engine_new(struct block_device *device, const struct engine_options *options,
	struct engine **engine, struct ramet_error *err);
/* Everything submitted must be done: engine_drain() first. Waits for reads that were given up
 * (block_device.fail_stalled) and have not ended. NULL is fine. */
void engine_free(struct engine *engine);

/* Take a request. What cannot be (beyond the end, a write to what is read-only) is done at once, with
 * -EINVAL, -ENOSPC (a write beyond the end, as a disk says it) or -EROFS; everything else in
 * engine_run, not before this returns. */
void engine_submit(struct engine *engine, struct block_request *request);
/* A read whose bytes the caller sends on himself: whether all of them are in the page cache now, and
 * where. false: submit it. Never of more than 1 MiB. */
bool engine_lend(
	struct engine *engine, uint64_t offset, uint64_t length, struct block_extent *extent);
/* Hand to the kernel what was submitted, and finish what has ended. Never blocks. */
void engine_run(struct engine *engine);
/* Make ready to wait for engine_fd() to become readable. false: there is something to run already. */
bool engine_sleep(struct engine *engine);
/* Whether engine_run has something to do besides what the ring and workers have ended; and whether
 * another thread copies from the page cache, so that in microseconds it will have. */
bool engine_ready(const struct engine *engine);
bool engine_copies(const struct engine *engine);
int engine_fd(const struct engine *engine);
/* Run until nothing is under way. Blocks. */
void engine_drain(struct engine *engine);
/* No thread of the engine is left; there are new ones when there is work for them. For whoever gives
 * rights away, which threads keep that are there already. -EBUSY: one is at work. */
int engine_end_threads(struct engine *engine);
/* How many requests are under way that are not reads ahead. */
unsigned engine_busy(const struct engine *engine);
struct block_device *engine_device(const struct engine *engine);
/* "io_uring" or "threads". Static. */
const char *engine_kind(const struct engine *engine);

#endif
