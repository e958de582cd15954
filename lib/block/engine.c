/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is cut into moves: a move is one run of bytes in one file. There is a fixed number of
 * them, so the memory of an engine and its load on the kernel are bounded, whatever is asked of it; a
 * request that finds none waits its turn.
 *
 *   read    map -> moves (zeros are filled in at once, a WAIT is a worker's) -> done
 *   write   prepare_write -> moves -> commit_write -> [flush] -> done
 *   discard worker -> [flush] -> done
 *   flush   worker -> done; those that come while one runs are all served by the next one
 *
 * Short reads and writes go on where they stopped. Reading nothing where bytes should be means that a
 * file became shorter: an I/O error, as from a disk.
 */
#include "block/engine_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

enum { DEPTH = 128, WORKERS = 16, EXTENTS = 16, QUIET = 4 };

/* ------------------------------------------------------------------------------------------- */

static void finish(struct engine *engine, struct block_request *request)
{
	if (engine->submitting) {
		requests_add(&engine->finished, request);
		return;
	}
	engine->under_way--;
	engine->ahead -= request->ahead;
	if (engine->trace && request->ahead && request->failed == 0)
		block_trace_ahead(engine->trace, request->offset, request->length);
	request->done(request, request->failed);
}

/* It was done, or the device could not. */
void request_end(struct engine *engine, struct block_request *request)
{
	if (request->failed < 0 && engine->failed)
		engine->failed(engine->failed_ctx, request->operation, request->failed);
	finish(engine, request);
}

/* Those that finish meanwhile wait for the next turn: a chain of requests, each submitted by the end
 * of the one before, must not keep the caller here. */
static void tell_finished(struct engine *engine)
{
	struct block_request *request = engine->finished.first;
	requests_init(&engine->finished);
	while (request) {
		struct block_request *next = request->next;
		finish(engine, request);
		request = next;
	}
}

/* ------------------------------------------------------------------------------------------- */

/* The bytes of an extent have been read, or never will be. */
static void put(
	struct engine *engine, struct block_request *request, const struct block_extent *extent)
{
	int r = extent->held ? engine->device->ops->put(engine->device, extent) : 0;
	if (r < 0)
		request->failed = r;
}

static bool start_data(
	struct engine *engine, struct block_request *request, const struct block_extent *extent)
{
	struct move *move = move_take(engine, request);
	if (!move)
		return false;
	move->extent = *extent;
	int r = move_set_vector(move, request->mapped, extent->length);
	request->mapped += extent->length;
	if (r < 0) {
		put(engine, request, extent);
		request->failed = r;
		move_give(move);
	} else if (request->operation != BLOCK_READ || !share_add(engine, move)) {
		move_start(move);
	}
	return true;
}

static bool begin_data(
	struct engine *engine, struct block_request *request, struct block_extent *extent)
{
	uint64_t bytes = request->operation == BLOCK_READ ? quick_read(engine, request, extent) : 0;
	request->mapped += bytes;
	extent->offset += bytes;
	extent->length -= bytes;
	if (!extent->length) {
		put(engine, request, extent);
		return true;
	}
	if (start_data(engine, request, extent))
		return true;
	/* What was read of it counts, so it is not just let go of. */
	if (bytes) {
		put(engine, request, extent);
		extent->held = false;
	}
	return false;
}

/* A wait, or a discard: a worker's. */
static bool begin_work(
	struct engine *engine, struct block_request *request, struct block_extent *extent)
{
	struct move *move = move_take(engine, request);
	if (!move)
		return false;
	move->extent = *extent;
	move_start(move);
	return true;
}

/* Begin one extent of a request. What is left of it when there is no move was not begun. */
static enum begun begin_extent(
	struct engine *engine, struct block_request *request, struct block_extent *extent)
{
	if (extent->kind == BLOCK_ZERO) {
		request_fill(request, request->mapped, NULL, extent->length);
		request->mapped += extent->length;
		return BEGUN;
	}
	if (extent->group)
		return group_begin(engine, request, extent);
	bool begun = (extent->kind == BLOCK_DATA ? begin_data : begin_work)(
		engine, request, extent);
	return begun ? BEGUN : NO_MOVE;
}

/* What was mapped but not begun lets go of its files. */
static void let_go(struct engine *engine, struct block_extent *extents, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (extents[i].held) {
			extents[i].failed = ECANCELED;
			engine->device->ops->put(engine->device, &extents[i]);
		}
}

static void starve(struct engine *engine, struct block_request *request)
{
	request->stage = STARVES;
	requests_add(&engine->starved, request);
}

/* Ask the device for more of the request. Answers whether to ask again. */
static bool map_more(struct engine *engine, struct block_request *request)
{
	struct block_extent extents[EXTENTS];
	struct block_device *device = engine->device;
	uint64_t left = request->length - request->mapped;
	int (*map)(struct block_device *, uint64_t, uint64_t, struct block_extent *,
		unsigned) = request->operation == BLOCK_READ ? device->ops->map
							     : device->ops->prepare_write;
	int count = map(device, request->offset + request->mapped, left, extents, EXTENTS);
	if (count < 0) {
		request->failed = count;
		return false;
	}
	for (unsigned i = 0; i < (unsigned)count; i++) {
		enum begun begun = begin_extent(engine, request, &extents[i]);
		if (begun != BEGUN) {
			let_go(engine, extents + i, (unsigned)count - i);
			if (begun == NO_MOVE)
				starve(engine, request);
			return false;
		}
		if (extents[i].kind == BLOCK_WAIT) {
			request->stage = WAITS;
			return false;
		}
	}
	return true;
}

static bool discard_all(struct engine *engine, struct block_request *request)
{
	struct block_device *device = engine->device;
	if (!device->ops->discard) {
		request->failed = -EOPNOTSUPP;
		return false;
	}
	struct block_extent all = {
		.kind = BLOCK_DATA, .fd = -1, .offset = request->offset, .length = request->length};
	if (!begin_work(engine, request, &all)) {
		starve(engine, request);
		return false;
	}
	request->mapped = request->length;
	return true;
}

/* Everything has been moved, or something went wrong. */
static void conclude(struct engine *engine, struct block_request *request)
{
	struct block_device *device = engine->device;
	if (request->failed == 0 && request->operation == BLOCK_WRITE && device->ops->commit_write)
		request->failed = device->ops->commit_write(
			device, request->offset, request->length);
	if (request->failed == 0 && request->durable) {
		flush_add(engine, request);
		return;
	}
	request_end(engine, request);
}

void request_advance(struct engine *engine, struct block_request *request)
{
	while (request->stage == ON_ITS_WAY && request->failed == 0 &&
		request->mapped < request->length)
		if (!(request->operation == BLOCK_DISCARD ? discard_all : map_more)(
			    engine, request))
			break;
	bool over = request->failed < 0 || request->mapped == request->length;
	if (over && request->moves == 0 && request->stage != STARVES)
		conclude(engine, request);
}

/* Groups first: they take few. */
static void feed_starved(struct engine *engine)
{
	if (engine->parked)
		groups_feed(engine);
	while (engine->free && engine->starved.first) {
		struct block_request *request = requests_take(&engine->starved);
		request->stage = ON_ITS_WAY;
		request_advance(engine, request);
	}
}

/* Part of a move is done; the whole when it answers true. */
static bool move_progress(struct move *move, int64_t result)
{
	struct block_request *request = move->request;
	if (move->extent.kind == BLOCK_WAIT) {
		request->stage = ON_ITS_WAY;
	} else if (request->operation != BLOCK_DISCARD && result > 0) {
		move_skip(move, (uint64_t)result);
		if (move->extent.length)
			return false;
	} else if (request->operation != BLOCK_DISCARD && result == 0) {
		result = -EIO;
	}
	if (result == -EINTR || result == -EAGAIN)
		return false;
	if (result < 0)
		request->failed = (int)result;
	return true;
}

static void move_end(struct move *move, int64_t result)
{
	struct engine *engine = move->engine;
	struct block_request *request = move->request;
	if (!move_progress(move, result)) {
		move_start(move);
		return;
	}
	if (move->extent.kind == BLOCK_DATA) {
		move->extent.failed = result < 0 ? (int)-result : 0;
		put(engine, request, &move->extent);
	}
	move_give(move);
	request_advance(engine, request);
	feed_starved(engine);
}

void move_copied(struct move *move)
{
	quick_tell(move->engine, move->result > 0);
	if (move->result > 0)
		move_end(move, move->result);
	else
		move_start(move);
}

/* ------------------------------------------------------------------------------------------- */

static int check(const struct engine *engine, const struct block_request *request)
{
	const struct block_device *device = engine->device;
	bool reads = request->operation == BLOCK_READ || request->operation == BLOCK_FLUSH;
	if (!reads && (device->read_only || !device->ops->prepare_write))
		return -EROFS;
	if (request->operation == BLOCK_FLUSH ||
		range_within(request->offset, request->length, device->size))
		return 0;
	return reads ? -EINVAL : -ENOSPC;
}

void engine_submit(struct engine *engine, struct block_request *request)
{
	request->mapped = 0;
	request->moves = 0;
	request->stage = ON_ITS_WAY;
	request->failed = check(engine, request);
	engine->under_way++;
	engine->ahead += request->ahead;
	if (engine->trace && request->operation == BLOCK_READ && !request->ahead &&
		request->failed == 0)
		block_trace_read(engine->trace, request->offset, request->length);
	if (request->failed < 0) {
		finish(engine, request);
	} else if (request->operation == BLOCK_FLUSH) {
		flush_add(engine, request);
	} else {
		engine->submitting = true;
		request_advance(engine, request);
		engine->submitting = false;
	}
}

static void take_back(struct engine *engine)
{
	struct work *next;
	for (struct work *work = workers_take(engine->workers); work; work = next) {
		next = work->next;
		if (work == &engine->flush) {
			flush_end(engine);
		} else if (((struct move *)work)->extent.group) {
			group_end(engine, work);
			feed_starved(engine);
		} else {
			move_end((struct move *)work, ((struct move *)work)->result);
		}
	}
}

static void run_ring(struct engine *engine)
{
	void *owner;
	int64_t result;
	ring_submit(engine->ring);
	while (ring_next(engine->ring, &owner, &result))
		move_end(owner, result);
	ring_submit(engine->ring);
}

/*
 * A caller that waits for other fds too wakes up often though nothing has ended here, so the eventfd
 * is read only when something has; and before that is taken, or the signal of what comes meanwhile
 * would be lost. A signal that stays costs the caller some turns for nothing.
 */
static void quieten(struct engine *engine)
{
	uint64_t ignored;
	bool some = workers_any(engine->workers) || share_any(engine) ||
		    (engine->ring && ring_any(engine->ring));
	if (!some && (!engine->slept || ++engine->quiet < QUIET))
		return;
	engine->slept = false;
	engine->quiet = 0;
	ssize_t n = read(engine->fd, &ignored, sizeof ignored);
	(void)n;
}

void engine_run(struct engine *engine)
{
	quieten(engine);
	take_back(engine);
	groups_check(engine);
	tell_finished(engine);
	share_run(engine);
	if (engine->ring)
		run_ring(engine);
}

bool engine_sleep(struct engine *engine)
{
	engine->slept = true;
	if (engine->ring)
		ring_submit(engine->ring);
	return !engine->finished.first && !share_waits(engine) &&
	       (!engine->ring || ring_sleep(engine->ring));
}

bool engine_ready(const struct engine *engine)
{
	return engine->finished.first || share_any(engine) || share_waits(engine);
}

bool engine_copies(const struct engine *engine)
{
	return engine->copying != 0;
}

int engine_fd(const struct engine *engine)
{
	return engine->poll_fd >= 0 ? engine->poll_fd : engine->fd;
}

void engine_drain(struct engine *engine)
{
	engine_run(engine);
	while (engine->under_way) {
		struct pollfd waited = {.fd = engine_fd(engine), .events = POLLIN};
		if (engine_sleep(engine))
			poll(&waited, 1, -1);
		engine_run(engine);
	}
}

unsigned engine_busy(const struct engine *engine)
{
	return engine->under_way - engine->ahead;
}

struct block_device *engine_device(const struct engine *engine)
{
	return engine->device;
}

const char *engine_kind(const struct engine *engine)
{
	return engine->ring ? "io_uring" : "threads";
}

int engine_end_threads(struct engine *engine)
{
	int r = workers_rest(engine->workers);
	return r < 0 || !engine->copiers ? r : workers_rest(engine->copiers);
}

static int prepare(
	struct engine *engine, const struct engine_options *options, struct ramet_error *err)
{
	unsigned depth = options->depth ? options->depth : DEPTH;
	engine->trace = options->trace;
	engine->failed = options->failed;
	engine->failed_ctx = options->failed_ctx;
	engine->moves = calloc(depth, sizeof *engine->moves);
	if (!engine->moves)
		return error_memory(err);
	for (unsigned i = 0; i < depth; i++) {
		engine->moves[i].engine = engine;
		engine->moves[i].next = engine->free;
		engine->free = &engine->moves[i];
	}
	engine->depth = engine->free_moves = depth;
	engine->quick = !options->no_quick;
	requests_init(&engine->starved);
	requests_init(&engine->finished);
	requests_init(&engine->flushing);
	requests_init(&engine->to_flush);
	engine->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (engine->fd < 0)
		return error_errno(err, errno, "cannot make the engine of a block device");
	unsigned workers = options->workers ? options->workers : WORKERS;
	if (workers_new(workers, engine->device->stall_ms ? workers + depth : workers, engine->fd,
		    &engine->workers) < 0)
		return error_memory(err);
	int r = groups_prepare(engine);
	if (r == 0)
		r = share_prepare(engine);
	if (r < 0)
		return error_errno(err, -r, "cannot make the engine of a block device");
	if (!options->no_ring)
		engine->ring = ring_new(depth, engine->fd);
	return 0;
}

int engine_new(struct block_device *device, const struct engine_options *options,
	struct engine **out, struct ramet_error *err)
{
	struct engine *engine = calloc(1, sizeof *engine);
	if (!engine)
		return error_memory(err);
	engine->device = device;
	engine->fd = engine->timer = engine->poll_fd = -1;
	int r = prepare(engine, options, err);
	if (r < 0) {
		engine_free(engine);
		return r;
	}
	*out = engine;
	return 0;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	workers_free(engine->workers);
	workers_free(engine->copiers);
	ring_free(engine->ring);
	cleanup_close(&engine->poll_fd);
	cleanup_close(&engine->timer);
	cleanup_close(&engine->fd);
	/* Of reads that were given up, and ended meanwhile. */
	for (unsigned i = 0; i < engine->depth; i++)
		free(engine->moves[i].allocated);
	free(engine->moves);
	free(engine);
}
