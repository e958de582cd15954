/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often one has tried says nothing on a busy machine, so what counts is that nothing moves at all,
 * and that a try that began when that was so for long has failed too: whoever has slept through what
 * moved meanwhile learns nothing from an old try.
 *
 * A moment is short while there is hope, as what is waited for may stand in line behind who waits; it
 * becomes longer with the shortage, so that many who wait are no load.
 */
#include "block/shortage.h"

#include <time.h>

#include "base/cleanup.h"

/* A shortage that nobody met for so long is over: nobody asked. */
enum { OVER_MS = 1000, HOPELESS_MS = 5000, MOMENT_MS = 1, LONG_MOMENT_MS = 50, PART = 4 };

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

void shortage_init(struct shortage *shortage)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&shortage->moved, &monotonic);
	pthread_condattr_destroy(&monotonic);
	shortage->held = 0;
	shortage->since = shortage->last = 0;
}

void shortage_destroy(struct shortage *shortage)
{
	pthread_cond_destroy(&shortage->moved);
}

void shortage_moved(struct shortage *shortage)
{
	shortage->since = 0;
	pthread_cond_signal(&shortage->moved);
}

uint64_t shortage_note(struct shortage *shortage)
{
	uint64_t time = now();
	if (!shortage->since || time - shortage->last > OVER_MS)
		shortage->since = time;
	shortage->last = time;
	return shortage->since;
}

bool shortage_is_hopeless(const struct shortage *shortage, uint64_t begun, uint64_t held_ms)
{
	uint64_t most = shortage->held ? held_ms : HOPELESS_MS;
	return begun > shortage->since && begun - shortage->since >= most;
}

void shortage_wait(struct shortage *shortage, pthread_mutex_t *lock)
{
	uint64_t lasted = now() - shortage->since;
	uint64_t moment = MAX(MIN(lasted / PART, LONG_MOMENT_MS), MOMENT_MS);
	uint64_t until = now() + moment;
	const struct timespec time = {(time_t)(until / 1000), (long)(until % 1000) * 1000000};
	pthread_cond_timedwait(&shortage->moved, lock, &time);
}
