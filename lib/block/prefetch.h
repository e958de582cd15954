/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead along a record (trace.h), so that what a guest will ask for is in the page cache of
 * the host when it does. The reads are ordinary ones of the engine's, into nothing, so they fill the
 * cache of whatever the device is made of, and are checked like all others; one that fails is passed
 * over. Guests go first: nothing is read ahead while a request of theirs is under way.
 *
 * It belongs to the engine's thread and is driven by a timer:
 *
 *     static void expired(struct loop_timer *timer)
 *     {
 *             unsigned wait = prefetch_run(prefetch);
 *             if (wait == PREFETCH_OVER)
 *                     ... prefetch_free(prefetch);
 *             else
 *                     loop_set_timer(loop, timer, wait);
 *     }
 */
#ifndef BLOCK_PREFETCH_H
#define BLOCK_PREFETCH_H

#include "block/engine.h"
#include "block/trace.h"

struct prefetch;

#define PREFETCH_OVER UINT32_MAX

/* Takes the runs over when it answers 0. bytes_per_second: at most; 0: 256 MiB. -ENOMEM. */
int prefetch_new(struct engine *engine, struct trace_runs *runs, uint64_t bytes_per_second,
	struct prefetch **prefetch);
/* Do what may be done now. Answers in how many milliseconds (at least 1) to call again, or
 * PREFETCH_OVER. */
unsigned prefetch_run(struct prefetch *prefetch);
/* Begin nothing more: prefetch_run() answers PREFETCH_OVER once what is under way has ended. */
void prefetch_stop(struct prefetch *prefetch);
/* Nothing of it may be under way (PREFETCH_OVER, or after engine_drain). NULL is fine. */
void prefetch_free(struct prefetch *prefetch);
/* How far it is, in bytes. */
void prefetch_describe(const struct prefetch *prefetch, uint64_t *done, uint64_t *all);

#endif
