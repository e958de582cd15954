/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock, two queues. A thread that finds nothing to do sleeps; one more is started only when work
 * waits and none sleeps, so a device that never blocks has no threads at all.
 *
 * When the pool is as large as usual one thread more, the watch, waits beside it. If work waits, and for
 * a while none ends, the others are stuck: the watch does the work, and there will be another watch.
 */
#include "block/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/thread.h"

/* What runs in them is pread, open and fsync, for which this is plenty. */
#define STACK_SIZE ((size_t)128 * 1024)
#define STUCK_MS   2

struct queue {
	struct work *first, **end;
};

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t more, watched;
	struct queue waiting, back;
	pthread_t *threads;
	unsigned started, sleeping, usual, most;
	unsigned unbegun; /* in waiting */
	unsigned running;
	unsigned ended; /* any that did: it wraps around */
	int eventfd;
	bool ending;
	bool watch, born; /* there is one; it was started, and has not begun */
};

static void push(struct queue *queue, struct work *work)
{
	work->next = NULL;
	*queue->end = work;
	queue->end = &work->next;
}

static struct work *pop(struct queue *queue)
{
	struct work *work = queue->first;
	if (work && !(queue->first = work->next))
		queue->end = &queue->first;
	return work;
}

/* The counter of an eventfd does not run full here, so this does not fail. */
static void notify(const struct workers *workers)
{
	ssize_t ignored = write(workers->eventfd, &(uint64_t){1}, sizeof(uint64_t));
	(void)ignored;
}

static bool behind(const struct workers *workers)
{
	return workers->unbegun > workers->sleeping;
}

/* Until the others are stuck. */
static void watch(struct workers *workers)
{
	workers->born = false;
	while (!workers->ending) {
		if (!behind(workers)) {
			pthread_cond_wait(&workers->watched, &workers->lock);
			continue;
		}
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += STUCK_MS * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		unsigned ended = workers->ended;
		while (!workers->ending &&
			pthread_cond_timedwait(&workers->watched, &workers->lock, &until) == 0)
			;
		if (ended == workers->ended && behind(workers))
			break;
	}
	workers->watch = false;
}

static bool start(struct workers *workers);

/* There is more to do than threads. */
static void grow(struct workers *workers)
{
	if (workers->started < workers->usual) {
		start(workers);
	} else if (workers->watch) {
		pthread_cond_signal(&workers->watched);
	} else if (workers->started < workers->most) {
		workers->watch = workers->born = true;
		if (!start(workers))
			workers->watch = workers->born = false;
	}
}

static void *serve(void *argument)
{
	struct workers *workers = argument;
	pthread_mutex_lock(&workers->lock);
	if (workers->born)
		watch(workers);
	while (!workers->ending) {
		struct work *work = pop(&workers->waiting);
		if (!work) {
			workers->sleeping++;
			pthread_cond_wait(&workers->more, &workers->lock);
			workers->sleeping--;
			continue;
		}
		workers->unbegun--;
		workers->running++;
		if (behind(workers))
			grow(workers);
		pthread_mutex_unlock(&workers->lock);
		work->run(work);
		pthread_mutex_lock(&workers->lock);
		workers->running--;
		workers->ended++;
		push(&workers->back, work);
		notify(workers);
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

static bool start(struct workers *workers)
{
	bool started = thread_start(
		&workers->threads[workers->started], STACK_SIZE, serve, workers);
	workers->started += started;
	return started;
}

int workers_new(unsigned usual, unsigned most, int eventfd, struct workers **out)
{
	struct workers *workers = calloc(1, sizeof *workers);
	if (!workers || !(workers->threads = calloc(most, sizeof *workers->threads))) {
		free(workers);
		return -ENOMEM;
	}
	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->more, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&workers->watched, &monotonic);
	pthread_condattr_destroy(&monotonic);
	workers->waiting.end = &workers->waiting.first;
	workers->back.end = &workers->back.first;
	workers->usual = usual;
	workers->most = most;
	workers->eventfd = eventfd;
	*out = workers;
	return 0;
}

void workers_add(struct workers *workers, struct work *work)
{
	pthread_mutex_lock(&workers->lock);
	if (workers->unbegun >= workers->sleeping && workers->started < workers->usual)
		start(workers);
	bool alone = workers->started == 0;
	if (!alone) {
		push(&workers->waiting, work);
		workers->unbegun++;
		pthread_cond_signal(&workers->more);
		if (behind(workers) && workers->started >= workers->usual)
			grow(workers);
	}
	pthread_mutex_unlock(&workers->lock);
	if (!alone)
		return;
	work->run(work);
	push(&workers->back, work);
	notify(workers);
}

bool workers_any(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	bool any = workers->back.first;
	pthread_mutex_unlock(&workers->lock);
	return any;
}

struct work *workers_take(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	struct work *first = workers->back.first;
	workers->back.first = NULL;
	workers->back.end = &workers->back.first;
	pthread_mutex_unlock(&workers->lock);
	return first;
}

static void end_threads(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	workers->ending = true;
	pthread_cond_broadcast(&workers->more);
	pthread_cond_broadcast(&workers->watched);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->started; i++)
		pthread_join(workers->threads[i], NULL);
	workers->started = 0;
	workers->ending = false;
}

int workers_rest(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	bool busy = workers->unbegun || workers->running;
	pthread_mutex_unlock(&workers->lock);
	if (busy)
		return -EBUSY;
	end_threads(workers);
	return 0;
}

struct work *workers_steal(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	struct work *work = pop(&workers->waiting);
	workers->unbegun -= work != NULL;
	pthread_mutex_unlock(&workers->lock);
	return work;
}

bool workers_waiting(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	bool waiting = workers->waiting.first;
	pthread_mutex_unlock(&workers->lock);
	return waiting;
}

void workers_free(struct workers *workers)
{
	if (!workers)
		return;
	end_threads(workers);
	pthread_cond_destroy(&workers->more);
	pthread_cond_destroy(&workers->watched);
	pthread_mutex_destroy(&workers->lock);
	free(workers->threads);
	free(workers);
}
