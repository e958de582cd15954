/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place of the device is looked up in the lazy file's table by halving, and what follows is the table
 * in order. Nothing is allocated for a request. The source index of an extent is that of the lazy file
 * while it waits, and the place among the open files (sources.h) once it is data.
 */
#include "block/layout_device.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "block/sources.h"

enum { STALL_MS = 30000 };

struct layout_device {
	struct block_device device;
	const struct lazy *lazy;
	uint64_t extents;
	struct sources *sources;
	int fd;
};

/* Cut to what one move may have. */
static void point_to_file(const struct layout_device *layout, struct block_extent *extent)
{
	if (extent->group && layout->device.fail_stalled)
		extent->length = MIN(extent->length, BLOCK_GROUP_MOST);
}

static int map_file(struct layout_device *layout, uint32_t file, struct block_extent *extent)
{
	int result = 0;
	extent->held = sources_take(layout->sources, file, extent, &result);
	if (extent->held) {
		extent->kind = BLOCK_DATA;
		point_to_file(layout, extent);
		return 0;
	}
	extent->kind = BLOCK_WAIT;
	extent->fd = -1;
	extent->source = file;
	extent->group = sources_group(layout->sources, file);
	return result;
}

/* What stands at offset, of at most length bytes; index: the first extent that ends after offset. */
static int map_one(struct layout_device *layout, uint64_t index, uint64_t offset, uint64_t length,
	struct block_extent *extent)
{
	struct lazy_extent found = {.place = UINT64_MAX};
	if (index < layout->extents)
		lazy_extent(layout->lazy, index, &found);
	*extent = (struct block_extent){.kind = BLOCK_ZERO, .fd = -1, .length = length};
	if (found.place > offset) {
		extent->length = MIN(length, found.place - offset);
		return 0;
	}
	uint64_t within = offset - found.place;
	extent->offset = found.offset + within;
	extent->length = MIN(length, found.length - within);
	if (found.file != LAZY_METADATA)
		return map_file(layout, found.file, extent);
	extent->kind = BLOCK_DATA;
	extent->fd = layout->fd;
	return 0;
}

/* The next extent begins where this one ended, or it goes on. */
static uint64_t next_index(const struct layout_device *layout, uint64_t index, uint64_t offset)
{
	struct lazy_extent found;
	if (index == layout->extents)
		return index;
	lazy_extent(layout->lazy, index, &found);
	return found.place + found.length <= offset ? index + 1 : index;
}

static int layout_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct layout_device *layout = (struct layout_device *)device;
	uint64_t index = lazy_find(layout->lazy, offset);
	unsigned count = 0;
	while (length && count < most) {
		int r = map_one(layout, index, offset, length, &extents[count]);
		/* What comes before it is answered first, and this when it is asked for again. */
		if (r < 0)
			return count ? (int)count : r;
		offset += extents[count].length;
		length -= extents[count].length;
		if (extents[count++].kind == BLOCK_WAIT)
			break;
		index = next_index(layout, index, offset);
	}
	return (int)count;
}

static int layout_ready(struct block_device *device, const struct block_extent *extent)
{
	return sources_ready(((struct layout_device *)device)->sources, extent->source);
}

static int layout_put(struct block_device *device, const struct block_extent *extent)
{
	return sources_put(((struct layout_device *)device)->sources, extent);
}

static void layout_stalled(
	struct block_device *device, const struct block_extent *extent, bool over)
{
	sources_stalled(((struct layout_device *)device)->sources, extent, over);
}

static void layout_close(struct block_device *device)
{
	struct layout_device *layout = (struct layout_device *)device;
	sources_free(layout->sources);
	free(layout);
}

static const struct block_ops layout_ops = {
	.name = "layout",
	.map = layout_map,
	.ready = layout_ready,
	.put = layout_put,
	.stalled = layout_stalled,
	.close = layout_close,
};

int block_layout_open(const struct lazy *lazy, int fd, const struct block_layout_options *options,
	struct block_device **out, struct ramet_error *err)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	struct block_layout_options all = *options;
	if (!all.stall_ms)
		all.stall_ms = STALL_MS;
	struct layout_device *layout = malloc(sizeof *layout);
	if (!layout)
		return error_memory(err);
	*layout = (struct layout_device){
		.device = {.ops = &layout_ops,
			.size = facts.image_bytes,
			.read_only = true,
			.stall_ms = all.stall_ms,
			.fail_stalled = options->fail_stalled},
		.lazy = lazy,
		.extents = facts.extents,
		.fd = fd,
	};
	if (sources_new(lazy, &all, &layout->sources) < 0) {
		free(layout);
		return error_memory(err);
	}
	*out = &layout->device;
	return 0;
}
