/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block status: where a device has data and where it has nothing but zeros. What a device does not
 * know yet is data. A reply is as long as its buffer allows, and as what may be asked of the device
 * at once: a client asks on from where it ends.
 */
#include <errno.h>

#include "base/cleanup.h"
#include "export/nbd_inside.h"
#include "export/nbd_protocol.h"

enum { EXTENTS = 16, MAPS = 256, CONTEXT_ID = 1, DESCRIPTOR = 8 };

struct status {
	uint8_t *at;
	size_t count, most;
	uint32_t length, flags; /* of the descriptor that is being made; length 0: there is none */
};

static void put_descriptor(struct status *status)
{
	if (!status->length)
		return;
	status->at = nbd_put32(nbd_put32(status->at, status->length), status->flags);
	status->count++;
	status->length = 0;
}

/* false: there is no room for it. */
static bool add(struct status *status, uint32_t length, uint32_t flags)
{
	if (status->length && status->flags != flags)
		put_descriptor(status);
	if (status->count == status->most)
		return false;
	status->flags = flags;
	status->length += length;
	return true;
}

/* Answers the end of what is known now, or a negative errno. */
static int64_t ask(
	struct block_device *device, uint64_t offset, uint64_t end, struct status *status)
{
	struct block_extent extents[EXTENTS];
	int count = (device->ops->status ? device->ops->status : device->ops->map)(
		device, offset, end - offset, extents, EXTENTS);
	bool room = true;
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++) {
		if (extents[i].held) {
			/* Not read, so nothing is asked of the source, which may hang. */
			extents[i].failed = ECANCELED;
			device->ops->put(device, &extents[i]);
		}
		uint64_t length = MIN(extents[i].length, end - offset);
		uint32_t flags = extents[i].kind == BLOCK_ZERO ? NBD_STATE_HOLE | NBD_STATE_ZERO
							       : 0;
		room = room && length && add(status, (uint32_t)length, flags);
		if (room)
			offset += length;
	}
	return (int64_t)offset;
}

void nbd_status_reply(struct nbd_request *request)
{
	struct block_device *device = request->connection->device->device;
	const uint64_t end = request->offset + request->length;
	struct status status = {.at = nbd_put32(request->buffer, CONTEXT_ID),
		.most = request->flags & NBD_CMD_FLAG_REQ_ONE
				? 1
				: (NBD_STATUS_BYTES - 4) / DESCRIPTOR};
	uint64_t offset = request->offset;
	for (unsigned i = 0; i < MAPS && offset < end; i++) {
		int64_t next = ask(device, offset, end, &status);
		if (next < 0 && offset == request->offset) {
			nbd_request_reply(request, (int)next);
			return;
		}
		if (next < 0 || (uint64_t)next == offset)
			break;
		offset = (uint64_t)next;
	}
	put_descriptor(&status);
	nbd_request_chunk(
		request, NBD_REPLY_TYPE_BLOCK_STATUS, (size_t)(status.at - request->buffer));
	nbd_request_reply(request, 0);
}
