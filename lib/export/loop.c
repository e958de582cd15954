/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server waits for few fds, so poll(2) over an array is as quick as anything. What is removed while
 * its turn is being dispatched leaves a gap, which the next turn closes.
 *
 * A client that waits for each answer sends its next request microseconds after it. To fall asleep and
 * be woken takes longer than that, on both sides, and more of the processor; so the loop lingers: it
 * asks poll(2) again and again for a while, and lets others have the processor in between, the client
 * first of all. It does so where those who were expected have come, on the average of the last few
 * times, sooner than a sleep is worth; one that comes late, or not at all, makes it sleep again.
 */
#include "export/loop.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/vector.h"

/* Nanoseconds. */
enum {
	LINGER = 128000,  /* in which a client can take an answer of 128 KiB, and ask on */
	WORTH_IT = 64000, /* what a sleep costs, both sides together */
	WAKING = 40000,   /* of a sleep: is in what is measured */
	LATE = 512000,    /* later counts no more */
};

struct loop {
	VECTOR(struct loop_fd *) fds; /* NULL: a gap */
	VECTOR(struct pollfd) polled;
	VECTOR(struct engine *) engines;
	struct loop_hook *hooks;
	struct loop_timer *timers; /* the next one first */
	bool stopped;
	int result;
	bool expects;   /* in this turn */
	uint64_t usual; /* nanoseconds after which those who are expected come */
};

int loop_new(struct loop **loop, struct ramet_error *err)
{
	*loop = calloc(1, sizeof **loop);
	if (!*loop)
		return error_memory(err);
	(*loop)->usual = LATE;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	vector_free(&loop->fds);
	vector_free(&loop->polled);
	vector_free(&loop->engines);
	free(loop);
}

/* There is always room to poll what is listed and one more: the loop itself must not fail. */
static bool reserve(struct loop *loop)
{
	while (loop->polled.count < loop->fds.count + loop->engines.count + 1)
		if (!vector_push(&loop->polled))
			return false;
	return true;
}

int loop_add(struct loop *loop, struct loop_fd *fd)
{
	if (!reserve(loop))
		return -ENOMEM;
	struct loop_fd **place = vector_push(&loop->fds);
	if (!place)
		return -ENOMEM;
	*place = fd;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_fd *fd)
{
	for (size_t i = 0; i < loop->fds.count; i++)
		if (loop->fds.items[i] == fd)
			loop->fds.items[i] = NULL;
}

int loop_add_engine(struct loop *loop, struct engine *engine)
{
	if (!reserve(loop))
		return -ENOMEM;
	struct engine **place = vector_push(&loop->engines);
	if (!place)
		return -ENOMEM;
	*place = engine;
	return 0;
}

void loop_remove_engine(struct loop *loop, struct engine *engine)
{
	size_t kept = 0;
	for (size_t i = 0; i < loop->engines.count; i++)
		if (loop->engines.items[i] != engine)
			loop->engines.items[kept++] = loop->engines.items[i];
	loop->engines.count = kept;
}

void loop_add_hook(struct loop *loop, struct loop_hook *hook)
{
	hook->next = loop->hooks;
	loop->hooks = hook;
}

void loop_remove_hook(struct loop *loop, struct loop_hook *hook)
{
	for (struct loop_hook **at = &loop->hooks; *at; at = &(*at)->next)
		if (*at == hook) {
			*at = hook->next;
			return;
		}
}

static uint64_t now_nanoseconds(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t now(void)
{
	return now_nanoseconds() / 1000000;
}

void loop_set_timer(struct loop *loop, struct loop_timer *timer, unsigned milliseconds)
{
	loop_clear_timer(loop, timer);
	timer->at = now() + milliseconds;
	struct loop_timer **at = &loop->timers;
	while (*at && (*at)->at <= timer->at)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

void loop_clear_timer(struct loop *loop, struct loop_timer *timer)
{
	for (struct loop_timer **at = &loop->timers; *at; at = &(*at)->next)
		if (*at == timer) {
			*at = timer->next;
			return;
		}
}

static void expire(struct loop *loop)
{
	while (loop->timers && !loop->stopped && loop->timers->at <= now()) {
		struct loop_timer *timer = loop->timers;
		loop->timers = timer->next;
		timer->expired(timer);
	}
}

static int milliseconds_to_wait(const struct loop *loop, bool busy)
{
	if (busy)
		return 0;
	if (!loop->timers)
		return -1;
	uint64_t time = now();
	return loop->timers->at > time ? (int)MIN(loop->timers->at - time, 3600000) : 0;
}

/* true: all of it is ready to be waited for. */
static bool settle(struct loop *loop)
{
	bool more = false;
	for (size_t i = 0; i < loop->engines.count; i++)
		engine_run(loop->engines.items[i]);
	for (struct loop_hook *hook = loop->hooks, *next; hook; hook = next) {
		next = hook->next;
		more |= hook->run(hook);
	}
	for (size_t i = 0; i < loop->engines.count && !more; i++)
		more = !engine_sleep(loop->engines.items[i]);
	return !more;
}

static void close_gaps(struct loop *loop)
{
	size_t kept = 0;
	for (size_t i = 0; i < loop->fds.count; i++)
		if (loop->fds.items[i])
			loop->fds.items[kept++] = loop->fds.items[i];
	loop->fds.count = kept;
}

void loop_expect(struct loop *loop)
{
	loop->expects = true;
}

static int linger(struct loop *loop, nfds_t count, uint64_t begin)
{
	int r;
	do {
		sched_yield();
		r = poll(loop->polled.items, count, 0);
	} while (r == 0 && now_nanoseconds() - begin < LINGER);
	return r;
}

/* Somebody is expected. */
static int await(struct loop *loop, nfds_t count, int milliseconds)
{
	uint64_t begin = now_nanoseconds();
	bool lingers = loop->usual < WORTH_IT;
	int r = lingers ? linger(loop, count, begin) : 0;
	if (r == 0)
		r = poll(loop->polled.items, count, milliseconds);
	uint64_t after = now_nanoseconds() - begin;
	if (!lingers)
		after -= MIN(after, WAKING);
	loop->usual += MIN(after, LATE) / 8 - loop->usual / 8;
	return r;
}

static void turn(struct loop *loop)
{
	loop->expects = false;
	bool quiet = settle(loop);
	if (loop->stopped)
		return;
	close_gaps(loop);
	struct pollfd *polled = loop->polled.items;
	size_t count = loop->fds.count, engines = loop->engines.count;
	for (size_t i = 0; i < count; i++)
		polled[i] = (struct pollfd){
			/* One with no events would still tell of a hang-up, for ever. */
			.fd = loop->fds.items[i]->events ? loop->fds.items[i]->fd : -1,
			.events = loop->fds.items[i]->events};
	for (size_t i = 0; i < engines; i++)
		polled[count + i] = (struct pollfd){
			.fd = engine_fd(loop->engines.items[i]), .events = POLLIN};
	int wait = milliseconds_to_wait(loop, !quiet);
	nfds_t all = (nfds_t)(count + engines);
	int r = loop->expects && wait ? await(loop, all, wait) : poll(polled, all, wait);
	expire(loop);
	/* What ready() adds stands behind count, and may have moved the arrays. */
	for (size_t i = 0; i < count && r > 0 && !loop->stopped; i++)
		if (loop->polled.items[i].revents && loop->fds.items[i])
			loop->fds.items[i]->ready(
				loop->fds.items[i], loop->polled.items[i].revents);
}

int loop_run(struct loop *loop)
{
	loop->stopped = false;
	while (!loop->stopped)
		turn(loop);
	return loop->result;
}

void loop_stop(struct loop *loop, int result)
{
	loop->stopped = true;
	loop->result = result;
}
