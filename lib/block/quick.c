/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the page cache is read on the spot: a move of it would take a turn through the ring, or
 * through another thread, to do the same copy. RWF_NOWAIT answers at once with what is there. Where
 * that fails again and again (a cold file, a file system that has no such thing) tries become rare.
 */
#include <sys/uio.h>

#include "base/checked.h"
#include "block/engine_inside.h"

enum { MISSES = 4, PAUSE = 64 };

/* More than that at once would keep others waiting; of requests that come many at a time the ring takes
 * large ones with less effort. */
#define QUICK_BYTES   ((uint64_t)1 << 20)
#define QUICK_BATCHED ((uint64_t)32 << 10)

static void miss(struct engine *engine)
{
	if (++engine->misses < MISSES)
		return;
	engine->misses = 0;
	engine->pause = PAUSE;
}

uint64_t quick_read(struct engine *engine, const struct block_request *request,
	const struct block_extent *extent)
{
	struct iovec pieces[SMALL_VECTOR];
	if (!engine->quick || extent->length > (request->batched ? QUICK_BATCHED : QUICK_BYTES))
		return 0;
	if (engine->pause) {
		engine->pause--;
		return 0;
	}
	unsigned count = request_pieces(
		request, request->mapped, extent->length, pieces, SMALL_VECTOR);
	if (!count)
		return 0;
	ssize_t n = preadv2(extent->fd, pieces, (int)count, (off_t)extent->offset, RWF_NOWAIT);
	if (n <= 0) {
		miss(engine);
		return 0;
	}
	engine->misses = 0;
	return (uint64_t)n;
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
