/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a virtio block device (virtio 1.2, 5.2.6). How the guest cuts them into descriptors does
 * not matter: the head is the first 16 bytes that it wrote, the state the last byte that we may, and
 * what is between them is data, which goes between the device and the guest's memory without a copy.
 *
 * A request that makes no sense as one of a disk (beyond the end, not of whole sectors) fails; one that
 * has no place for its state breaks the queue.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

enum {
	SEG_MAX = 126, /* with head and state, a queue of 128 */
	PHYSICAL_EXPONENT = 3,
	RANGE_SECTORS_MOST = 1 << 21, /* 1 GiB at once */
	ZEROS = 1 << 16,
	ZEROS_TIMES = 16,
	UNDER_WAY = -1, /* no state yet */
};

static bool is_writable(const struct block_device *device)
{
	return !device->read_only && device->ops->prepare_write;
}

static bool can_discard(const struct block_device *device)
{
	return is_writable(device) && device->ops->discard;
}

uint64_t vhost_block_features(const struct block_device *device)
{
	uint64_t features = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_TOPOLOGY;
	features |= is_writable(device) ? VIRTIO_BLK_F_FLUSH : VIRTIO_BLK_F_RO;
	if (can_discard(device))
		features |= VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;
	return features;
}

void vhost_block_tell_flushes(struct vhost_session *session)
{
	const struct vhost_export *export = session->export;
	if (session->told || !is_writable(export->device.device) ||
		session->features & VIRTIO_BLK_F_FLUSH)
		return;
	session->told = true;
	vhost_note(session->export,
		"the VMM at %s takes no flushes: what its guest has written is lost with the host's "
		"power, flushed or not; Firecracker takes them with \"cache_type\": \"Writeback\"",
		export->socket.path);
}

void vhost_block_configuration(
	const struct block_device *device, struct virtio_blk_configuration *configuration)
{
	*configuration = (struct virtio_blk_configuration){
		.capacity = device->size / VIRTIO_BLK_SECTOR,
		.seg_max = SEG_MAX,
		.block_size = VIRTIO_BLK_SECTOR,
		.physical_block_exponent = PHYSICAL_EXPONENT,
		.min_io_size = 1 << PHYSICAL_EXPONENT,
		.queues = VHOST_QUEUES,
	};
	if (!can_discard(device))
		return;
	configuration->max_discard_sectors = configuration->max_zeroes_sectors = RANGE_SECTORS_MOST;
	configuration->max_discard_seg = configuration->max_zeroes_seg = 1;
	configuration->discard_sector_alignment = 1 << PHYSICAL_EXPONENT;
	configuration->zeroes_may_unmap = 1;
}

/* ------------------------------------------------------------------------------------------- */

/* Take length bytes off the front of pieces, and copy them. There are as many. */
static void take_front(struct iovec **pieces, unsigned *count, void *to, size_t length)
{
	for (size_t part; length; length -= part, to = (uint8_t *)to + part) {
		struct iovec *piece = *pieces;
		part = MIN(length, piece->iov_len);
		vhost_copy(to, piece->iov_base, part);
		piece->iov_base = (uint8_t *)piece->iov_base + part;
		piece->iov_len -= part;
		if (piece->iov_len == 0) {
			(*pieces)++;
			(*count)--;
		}
	}
}

static void finish(struct vhost_request *request, int state)
{
	struct vhost_queue *queue = request->queue;
	*request->state = (uint8_t)state;
	free(TAKE_PTR(request->allocated));
	vhost_queue_put(queue, request->head, state == VIRTIO_BLK_OK ? request->written + 1 : 1);
	request->next = queue->free;
	queue->free = request;
	queue->under_way--;
	queue->session->under_way--;
}

static int state_of(int result)
{
	return result == 0             ? VIRTIO_BLK_OK
	       : result == -EOPNOTSUPP ? VIRTIO_BLK_UNSUPPORTED
				       : VIRTIO_BLK_IOERR;
}

static void done(struct block_request *block, int result)
{
	finish((struct vhost_request *)block, state_of(result));
}

/* The pieces are in memory that the next chain is read into: the request gets its own. */
static bool set_vector(
	struct vhost_request *request, const struct iovec *pieces, unsigned count, uint64_t bytes)
{
	struct iovec *vector = request->small;
	if (count > VHOST_SMALL_VECTOR)
		vector = request->allocated = malloc(count * sizeof *vector);
	if (!vector)
		return false;
	memcpy(vector, pieces, count * sizeof *vector);
	request->block.vector = vector;
	request->block.vector_count = count;
	request->block.length = bytes;
	return true;
}

static int submit(struct vhost_request *request)
{
	request->block.done = done;
	engine_submit(request->queue->session->export->device.engine, &request->block);
	return UNDER_WAY;
}

static bool is_within(
	const struct vhost_request *request, uint64_t sector, uint64_t bytes, uint64_t *offset)
{
	const struct block_device *device = request->queue->session->export->device.device;
	return checked_mul(sector, (uint64_t)VIRTIO_BLK_SECTOR, offset) &&
	       bytes % VIRTIO_BLK_SECTOR == 0 && range_within(*offset, bytes, device->size);
}

/* ------------------------------------------------------------------------------------------- */

/* What a request has between head and state. */
struct data {
	uint64_t sector;
	struct iovec *pieces;
	unsigned count;
	uint64_t bytes;
};

static int transfer(
	struct vhost_request *request, const struct data *data, enum block_operation operation)
{
	request->block.operation = operation;
	if (!is_within(request, data->sector, data->bytes, &request->block.offset))
		return VIRTIO_BLK_IOERR;
	if (data->bytes == 0)
		return VIRTIO_BLK_OK;
	if (!set_vector(request, data->pieces, data->count, data->bytes))
		return VIRTIO_BLK_IOERR;
	return submit(request);
}

static int begin_in(struct vhost_request *request, struct data *data)
{
	request->written = (uint32_t)MIN(data->bytes, UINT32_MAX - 1);
	return transfer(request, data, BLOCK_READ);
}

static int begin_out(struct vhost_request *request, struct data *data)
{
	return transfer(request, data, BLOCK_WRITE);
}

static int begin_flush(struct vhost_request *request, struct data *data)
{
	if (!is_writable(request->queue->session->export->device.device))
		return VIRTIO_BLK_OK;
	request->block.operation = BLOCK_FLUSH;
	request->block.offset = request->block.length = 0;
	return submit(request);
}

static int begin_id(struct vhost_request *request, struct data *data)
{
	char id[VIRTIO_BLK_ID_BYTES] = {0};
	const char *name = request->queue->session->export->device.name;
	memcpy(id, name, strnlen(name, sizeof id));
	size_t left = MIN(data->bytes, sizeof id);
	request->written = (uint32_t)left;
	for (unsigned i = 0; left; i++) {
		size_t part = MIN(left, data->pieces[i].iov_len);
		memcpy(data->pieces[i].iov_base, id + request->written - left, part);
		left -= part;
	}
	return VIRTIO_BLK_OK;
}

/* flags: those that may be there, and then those that are. */
static int take_range(struct vhost_request *request, struct data *data, uint32_t *flags)
{
	struct virtio_blk_range range;
	if (!can_discard(request->queue->session->export->device.device))
		return VIRTIO_BLK_UNSUPPORTED;
	if (data->bytes != sizeof range)
		return VIRTIO_BLK_IOERR;
	take_front(&data->pieces, &data->count, &range, sizeof range);
	if (range.flags & ~*flags)
		return VIRTIO_BLK_UNSUPPORTED;
	*flags = range.flags;
	request->block.length = (uint64_t)range.sectors * VIRTIO_BLK_SECTOR;
	if (range.sectors == 0 || range.sectors > RANGE_SECTORS_MOST ||
		!is_within(request, range.sector, request->block.length, &request->block.offset))
		return VIRTIO_BLK_IOERR;
	request->block.operation = BLOCK_DISCARD;
	return UNDER_WAY;
}

static int begin_discard(struct vhost_request *request, struct data *data)
{
	uint32_t flags = 0;
	int state = take_range(request, data, &flags);
	return state == UNDER_WAY ? submit(request) : state;
}

/* Where space cannot be given back, or is not to be, zeros have to be written, a piece at a time. */
static void write_zeros(struct block_request *block, int result)
{
	static const uint8_t zeros[ZEROS];
	struct vhost_request *request = (struct vhost_request *)block;
	block->offset += block->length;
	uint64_t left = request->end - block->offset;
	if (result < 0 || left == 0) {
		finish(request, state_of(result));
		return;
	}
	struct iovec *vector = (struct iovec *)block->vector;
	block->length = 0;
	for (block->vector_count = 0; left && block->vector_count < ZEROS_TIMES;
		left -= vector[block->vector_count++].iov_len) {
		vector[block->vector_count] = (struct iovec){
			.iov_base = (void *)zeros, .iov_len = (size_t)MIN(left, sizeof zeros)};
		block->length += vector[block->vector_count].iov_len;
	}
	block->operation = BLOCK_WRITE;
	block->done = write_zeros;
	engine_submit(request->queue->session->export->device.engine, block);
}

static void start_zeros(struct vhost_request *request)
{
	struct block_request *block = &request->block;
	request->end = block->offset + block->length;
	block->length = 0;
	block->vector = request->allocated = calloc(ZEROS_TIMES, sizeof *block->vector);
	write_zeros(block, block->vector ? 0 : -ENOMEM);
}

static void zeroed(struct block_request *block, int result)
{
	struct vhost_request *request = (struct vhost_request *)block;
	if (result == -EOPNOTSUPP)
		start_zeros(request);
	else
		finish(request, state_of(result));
}

static int begin_zeroes(struct vhost_request *request, struct data *data)
{
	uint32_t flags = VIRTIO_BLK_UNMAP;
	int state = take_range(request, data, &flags);
	if (state != UNDER_WAY)
		return state;
	/* The guest wants the space kept. */
	if (!(flags & VIRTIO_BLK_UNMAP)) {
		start_zeros(request);
		return UNDER_WAY;
	}
	request->block.done = zeroed;
	engine_submit(request->queue->session->export->device.engine, &request->block);
	return UNDER_WAY;
}

/* ------------------------------------------------------------------------------------------- */

static const struct request_kind {
	uint32_t type;
	bool reads; /* its data is what we may write to */
	int (*begin)(struct vhost_request *request, struct data *data);
} kinds[] = {
	{VIRTIO_BLK_IN, true, begin_in},
	{VIRTIO_BLK_OUT, false, begin_out},
	{VIRTIO_BLK_FLUSH, false, begin_flush},
	{VIRTIO_BLK_GET_ID, true, begin_id},
	{VIRTIO_BLK_DISCARD, false, begin_discard},
	{VIRTIO_BLK_WRITE_ZEROES, false, begin_zeroes},
};

static int begin(struct vhost_request *request, struct vhost_chain *chain)
{
	struct iovec *readable = chain->vector, *writable = readable + chain->readable;
	struct virtio_blk_head head;
	unsigned readable_count = chain->readable;
	take_front(&readable, &readable_count, &head, sizeof head);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].type != head.type)
			continue;
		struct data data = {.sector = head.sector,
			.pieces = kinds[i].reads ? writable : readable,
			.count = kinds[i].reads ? chain->writable : readable_count,
			.bytes = kinds[i].reads ? chain->writable_bytes
						: chain->readable_bytes - sizeof head};
		return kinds[i].begin(request, &data);
	}
	return VIRTIO_BLK_UNSUPPORTED;
}

/* The last byte that we may write to is not data. */
static uint8_t *take_state(struct vhost_chain *chain)
{
	struct iovec *last = &chain->vector[chain->readable + chain->writable - 1];
	chain->writable_bytes--;
	last->iov_len--;
	chain->writable -= last->iov_len == 0;
	return (uint8_t *)last->iov_base + last->iov_len;
}

const char *vhost_block_begin(struct vhost_queue *queue, uint16_t head, struct vhost_chain *chain)
{
	struct vhost_request *request = queue->free;
	if (chain->readable_bytes < sizeof(struct virtio_blk_head))
		return "a request has no head";
	if (chain->writable_bytes == 0)
		return "a request has no place for its state";
	queue->free = request->next;
	request->head = head;
	request->written = 0;
	request->state = take_state(chain);
	request->block.durable = false;
	request->block.batched = true;
	queue->under_way++;
	queue->session->under_way++;
	int state = begin(request, chain);
	if (state != UNDER_WAY)
		finish(request, state);
	return NULL;
}
