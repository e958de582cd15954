/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel gives no more files (EMFILE, ENFILE): how long that lasts, and whether it is worth waiting.
 * Guarded by its owner's lock. Times are milliseconds of CLOCK_MONOTONIC. */
#ifndef BLOCK_SHORTAGE_H
#define BLOCK_SHORTAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct shortage {
	unsigned held; /* those who use a file, or are about to open one; the owner counts them */
	uint64_t since,
		last; /* none was to be had, and nothing has moved; 0: none that is known of */
	pthread_cond_t moved;
};

void shortage_init(struct shortage *shortage);
void shortage_destroy(struct shortage *shortage);

/* A file was opened, let go of, or closed: whoever waits for one may have it soon. */
void shortage_moved(struct shortage *shortage);
/* There was none for someone, who is not counted in held. Answers since when nothing moves. */
uint64_t shortage_note(struct shortage *shortage);
/* Whether none will come any more, for whom began to ask at begun. held_ms: how long those who hold files
 * are waited for. */
bool shortage_is_hopeless(const struct shortage *shortage, uint64_t begun, uint64_t held_ms);
/* Wait until something moves, but for a moment only. */
void shortage_wait(struct shortage *shortage, pthread_mutex_t *lock);

#endif
