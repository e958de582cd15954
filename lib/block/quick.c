/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the page cache is read on the spot: a move of it would take a turn through the ring, or
 * through another thread, to do the same copy. RWF_NOWAIT answers at once with what is there. Where
 * that fails again and again (a cold file, a file system that has no such thing) tries become rare.
 */
#include <errno.h>
#include <sys/uio.h>

#include "base/checked.h"
#include "block/engine_inside.h"

enum { MISSES = 4, PAUSE = 64 };

/* More than that at once would keep others waiting; large ones of requests that come many at a time are
 * shared (share.c), or the ring's. */
#define QUICK_BYTES   ((uint64_t)1 << 20)
#define QUICK_BATCHED ((uint64_t)32 << 10)

void quick_tell(struct engine *engine, bool some)
{
	engine->misses = some ? 0 : engine->misses + 1;
	if (engine->misses < MISSES)
		return;
	engine->misses = 0;
	engine->pause = PAUSE;
}

static bool may_try(struct engine *engine)
{
	if (engine->pause) {
		engine->pause--;
		return false;
	}
	return true;
}

uint64_t quick_read(struct engine *engine, const struct block_request *request,
	const struct block_extent *extent)
{
	struct iovec pieces[SMALL_VECTOR];
	if (!engine->quick || extent->length > (request->batched ? QUICK_BATCHED : QUICK_BYTES) ||
		!may_try(engine))
		return 0;
	unsigned count = request_pieces(
		request, request->mapped, extent->length, pieces, SMALL_VECTOR);
	if (!count)
		return 0;
	ssize_t n = preadv2(extent->fd, pieces, (int)count, (off_t)extent->offset, RWF_NOWAIT);
	quick_tell(engine, n > 0);
	return n > 0 ? (uint64_t)n : 0;
}

bool quick_worth(struct engine *engine, uint64_t bytes)
{
	return bytes > QUICK_BATCHED && bytes <= QUICK_BYTES && may_try(engine);
}

int64_t quick_move(const struct move *move)
{
	ssize_t n = preadv2(move->extent.fd, move->vector, (int)move->count,
		(off_t)move->extent.offset, RWF_NOWAIT);
	return n < 0 ? -errno : n;
}

bool engine_lend(
	struct engine *engine, uint64_t offset, uint64_t length, struct block_extent *extent)
{
	struct block_device *device = engine->device;
	/* Where something was missing of late, a read is tried: it begins the reading ahead. */
	if (!device->ops->cached || !engine->quick || engine->misses || engine->pause ||
		length == 0 || length > QUICK_BYTES ||
		!range_within(offset, length, device->size) ||
		!device->ops->cached(device, offset, length) ||
		device->ops->map(device, offset, length, extent, 1) != 1)
		return false;
	if (engine->trace)
		block_trace_read(engine->trace, offset, length);
	return true;
}
