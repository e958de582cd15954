/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for what blocks. They are started when there is work for them, and end with the pool. */
#ifndef BLOCK_WORKERS_H
#define BLOCK_WORKERS_H

#include <stdbool.h>

/* A piece of work. Belongs to the caller, and stays where it is until it has come back. */
struct work {
	void (*run)(struct work *work); /* in a thread of the pool */
	struct work *next;              /* the pool's, and the caller's once it is back */
};

struct workers;

/* A pool of usual threads, which signals the eventfd when work has come back. While nothing ends and
 * work waits it becomes larger, up to most. -errno. */
int workers_new(unsigned usual, unsigned most, int eventfd, struct workers **workers);
/* Work is begun in the order in which it came; a pool without a free thread keeps it. When not even
 * one thread can be started it is done on the spot. */
void workers_add(struct workers *workers, struct work *work);
/* Whether work has come back that was not taken yet. */
bool workers_any(struct workers *workers);
/* All that has come back since the last call, in a list, the oldest first; NULL for none. */
struct work *workers_take(struct workers *workers);
/* Every thread ends; new ones are started when there is work again. -EBUSY: there is some now. */
int workers_rest(struct workers *workers);
/* Work that no thread has begun, for the caller to do; it does not come back. NULL for none. */
struct work *workers_steal(struct workers *workers);
/* Whether there is such work. */
bool workers_waiting(struct workers *workers);
/* Waits for the work that is being done; what has not begun is dropped. NULL is fine. */
void workers_free(struct workers *workers);

#endif
