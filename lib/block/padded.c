/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another device and zeros behind its end: for what is mapped into a VM's memory, which has whole
 * 2 MiB. Extents are the other device's own and go back to it as they are.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "block/device.h"

struct padded {
	struct block_device device;
	struct block_device *below;
};

static struct block_device *below(struct block_device *device)
{
	return ((struct padded *)device)->below;
}

static int padded_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct block_device *other = below(device);
	if (offset < other->size)
		return other->ops->map(
			other, offset, MIN(length, other->size - offset), extents, most);
	extents[0] = (struct block_extent){.kind = BLOCK_ZERO, .fd = -1, .length = length};
	return 1;
}

static int padded_ready(struct block_device *device, const struct block_extent *extent)
{
	return below(device)->ops->ready(below(device), extent);
}

static int padded_put(struct block_device *device, const struct block_extent *extent)
{
	return below(device)->ops->put(below(device), extent);
}

static void padded_stalled(
	struct block_device *device, const struct block_extent *extent, bool over)
{
	if (below(device)->ops->stalled)
		below(device)->ops->stalled(below(device), extent, over);
}

static void padded_close(struct block_device *device)
{
	block_close(below(device));
	free(device);
}

static const struct block_ops padded_ops = {
	.name = "padded",
	.map = padded_map,
	.ready = padded_ready,
	.put = padded_put,
	.stalled = padded_stalled,
	.close = padded_close,
};

int block_padded_open(struct block_device **device, uint64_t align, struct ramet_error *err)
{
	struct block_device *other = *device;
	uint64_t size;
	if (!checked_round_up(other->size, align, &size))
		return error_set(err, EOVERFLOW, "the device is too large");
	if (size == other->size)
		return 0;
	if (!other->read_only)
		return error_set(err, EINVAL, "a device that is written to cannot be padded");
	struct padded *padded = malloc(sizeof *padded);
	if (!padded)
		return error_memory(err);
	*padded = (struct padded){.device = *other, .below = other};
	padded->device.ops = &padded_ops;
	padded->device.size = size;
	*device = &padded->device;
	return 0;
}
