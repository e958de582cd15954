/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves of extents with a group: whoever has the bytes may not answer for ever, and holds up nobody
 * but those who ask for them.
 *
 * - Only workers touch the files, the pool grows when all of them are stuck (workers.c), and io_uring
 *   has no part in it: its own threads could be all stuck.
 * - A group has at most half of the moves, and leaves the last quarter to groups with fewer; requests
 *   beyond that are parked, which needs no move. Files are made ready once for all who ask.
 * - What takes longer than the device's stall_ms is told to the device. Where it then fails, the
 *   request is done at once, and the move stays until the read has ended: it reads into memory of its
 *   own, so that nothing is written to the guest's after it was told of the failure.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block/engine_inside.h"

enum { FEW = 2 };

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

int groups_prepare(struct engine *engine)
{
	for (unsigned i = 0; i < GROUPS; i++)
		requests_init(&engine->groups[i].parked);
	if (!engine->device->stall_ms)
		return 0;
	engine->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	engine->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (engine->timer < 0 || engine->poll_fd < 0)
		return -errno;
	struct epoll_event event = {.events = EPOLLIN};
	if (epoll_ctl(engine->poll_fd, EPOLL_CTL_ADD, engine->fd, &event) < 0 ||
		epoll_ctl(engine->poll_fd, EPOLL_CTL_ADD, engine->timer, &event) < 0)
		return -errno;
	return 0;
}

/* Look after what stalls at that time, if not before. */
static void arm(struct engine *engine, uint64_t at, uint64_t time)
{
	if (!engine->device->stall_ms || (engine->check_at && engine->check_at <= at))
		return;
	uint64_t wait = at > time ? at - time : 1;
	const struct itimerspec spec = {
		.it_value = {(time_t)(wait / 1000), (long)(wait % 1000) * 1000000}};
	timerfd_settime(engine->timer, 0, &spec, NULL);
	engine->check_at = time + wait;
}

static struct group *group_of(struct engine *engine, const struct block_extent *extent)
{
	return &engine->groups[extent->group % GROUPS];
}

static bool may_take(const struct engine *engine, const struct group *group)
{
	return group->moves < MAX(engine->depth / 2, 1) &&
	       (engine->free_moves > engine->depth / 4 || group->moves < FEW);
}

static void list_move(struct engine *engine, struct move *move)
{
	move->later = NULL;
	move->earlier = engine->last;
	*(engine->last ? &engine->last->later : &engine->first) = move;
	engine->last = move;
}

static void unlist_move(struct engine *engine, struct move *move)
{
	*(move->earlier ? &move->earlier->later : &engine->first) = move->later;
	*(move->later ? &move->later->earlier : &engine->last) = move->earlier;
}

static struct move *find_wait(const struct engine *engine, uint32_t source)
{
	struct move *move = engine->first;
	while (move && !(move->extent.kind == BLOCK_WAIT && move->extent.source == source))
		move = move->later;
	return move;
}

/* In a worker. The request may be done, and gone, by then. */
static void group_work(struct work *work)
{
	struct move *move = (struct move *)work;
	struct block_extent *extent = &move->extent;
	struct block_device *device = move->engine->device;
	if (extent->kind == BLOCK_WAIT) {
		move->result = device->ops->ready(device, extent);
		return;
	}
	int failed = 0;
	while (extent->length && !failed) {
		ssize_t n = preadv(
			extent->fd, move->vector, (int)move->count, (off_t)extent->offset);
		if (n > 0)
			move_skip(move, (uint64_t)n);
		else if (n == 0)
			failed = EIO;
		else if (errno != EINTR)
			failed = errno;
	}
	extent->failed = failed;
	int r = extent->held ? device->ops->put(device, extent) : 0;
	move->result = r < 0 ? r : -failed;
}

/* ------------------------------------------------------------------------------------------- */

static void wait_in(struct engine *engine, struct requests *list, struct block_request *request)
{
	request->stage = STARVES;
	request->since = now();
	requests_add(list, request);
	if (engine->device->fail_stalled)
		arm(engine, request->since + engine->device->stall_ms, request->since);
}

static int set_memory(struct move *move, uint64_t length)
{
	if (!move->engine->device->fail_stalled)
		return move_set_vector(move, move->at, length);
	void *own = malloc(length);
	move->allocated = own;
	move->small[0] = (struct iovec){own, length};
	move->vector = move->small;
	move->count = 1;
	return own ? 0 : -ENOMEM;
}

static int start(struct engine *engine, struct move *move, const struct block_extent *extent)
{
	struct block_request *request = move->request;
	move->extent = *extent;
	move->at = request->mapped;
	move->length = extent->length;
	if (extent->kind == BLOCK_DATA) {
		int r = set_memory(move, extent->length);
		if (r < 0)
			return r;
		request->mapped += extent->length;
	}
	requests_init(&move->joined);
	move->late = move->given_up = false;
	move->since = now();
	list_move(engine, move);
	group_of(engine, extent)->moves++;
	arm(engine, move->since + engine->device->stall_ms, move->since);
	move->work.run = group_work;
	workers_add(engine->workers, &move->work);
	return 0;
}

enum begun group_begin(
	struct engine *engine, struct block_request *request, const struct block_extent *extent)
{
	struct group *group = group_of(engine, extent);
	struct move *same = extent->kind == BLOCK_WAIT ? find_wait(engine, extent->source) : NULL;
	if (same && same->given_up) {
		request->failed = -EIO;
		return PARKED;
	}
	if (same || !may_take(engine, group)) {
		engine->parked += !same;
		wait_in(engine, same ? &same->joined : &group->parked, request);
		return PARKED;
	}
	struct move *move = move_take(engine, request);
	if (!move)
		return NO_MOVE;
	int r = start(engine, move, extent);
	if (r == 0)
		return BEGUN;
	request->failed = r;
	move_give(move);
	return PARKED;
}

/* A request leaves a list that it was in. */
static void resume(struct engine *engine, struct block_request *request, int failed)
{
	request->stage = ON_ITS_WAY;
	if (failed < 0 && request->failed == 0)
		request->failed = failed;
	request_advance(engine, request);
}

static void resume_all(struct engine *engine, struct requests list, int failed)
{
	for (struct block_request *request = list.first, *next; request; request = next) {
		next = request->next;
		resume(engine, request, failed);
	}
}

static void unpark(struct engine *engine, struct group *group, int failed)
{
	engine->parked--;
	resume(engine, requests_take(&group->parked), failed);
}

void groups_feed(struct engine *engine)
{
	for (unsigned i = 0; i < GROUPS && engine->parked; i++) {
		struct group *group = &engine->groups[i];
		while (engine->free && group->parked.first && may_take(engine, group))
			unpark(engine, group, 0);
	}
}

void group_end(struct engine *engine, struct work *work)
{
	struct move *move = (struct move *)work;
	struct block_request *request = move->request;
	struct block_device *device = engine->device;
	struct requests joined = move->joined;
	int result = (int)move->result;
	unlist_move(engine, move);
	group_of(engine, &move->extent)->moves--;
	if (move->late && device->ops->stalled)
		device->ops->stalled(device, &move->extent, true);
	if (request && move->extent.kind == BLOCK_DATA && result == 0 && device->fail_stalled)
		request_fill(request, move->at, move->allocated, move->length);
	bool waited = move->extent.kind == BLOCK_WAIT;
	move_give(move);
	if (request && waited) {
		resume(engine, request, result);
	} else if (request) {
		if (result < 0)
			request->failed = result;
		request_advance(engine, request);
	}
	resume_all(engine, joined, result);
	groups_feed(engine);
}

/* ------------------------------------------------------------------------------------------- */

/* The request and those that wait with it fail; the move ends when it ends. */
static void give_up(struct engine *engine, struct move *move)
{
	struct block_request *request = move->request;
	struct requests joined = move->joined;
	requests_init(&move->joined);
	move->given_up = true;
	move->request = NULL;
	request->moves--;
	request->failed = -EIO;
	if (move->extent.kind == BLOCK_WAIT)
		request->stage = ON_ITS_WAY;
	request_advance(engine, request);
	resume_all(engine, joined, -EIO);
}

static void check_moves(struct engine *engine, uint64_t before)
{
	struct block_device *device = engine->device;
	for (struct move *move = engine->first; move; move = move->later) {
		if (move->late || move->since > before)
			continue;
		move->late = true;
		if (device->ops->stalled)
			device->ops->stalled(device, &move->extent, false);
		if (device->fail_stalled)
			give_up(engine, move);
	}
}

static void check_parked(struct engine *engine, uint64_t before)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *group = &engine->groups[i];
		while (group->parked.first && group->parked.first->since <= before)
			unpark(engine, group, -EIO);
	}
}

static void arm_next(struct engine *engine, uint64_t time)
{
	unsigned stall_ms = engine->device->stall_ms;
	for (const struct move *move = engine->first; move; move = move->later)
		if (!move->late) {
			arm(engine, move->since + stall_ms, time);
			break;
		}
	for (unsigned i = 0; i < GROUPS && engine->device->fail_stalled; i++)
		if (engine->groups[i].parked.first)
			arm(engine, engine->groups[i].parked.first->since + stall_ms, time);
}

void groups_check(struct engine *engine)
{
	uint64_t time = engine->check_at ? now() : 0, ignored;
	if (!engine->check_at || time < engine->check_at)
		return;
	ssize_t n = read(engine->timer, &ignored, sizeof ignored);
	(void)n;
	engine->check_at = 0;
	uint64_t before = time - MIN(time, engine->device->stall_ms);
	check_moves(engine, before);
	if (engine->device->fail_stalled)
		check_parked(engine, before);
	arm_next(engine, time);
}
