/* SPDX-License-Identifier: Apache-2.0 */
/* Moves: what one of them needs to know, and how it is handed to the ring or to a thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/engine_inside.h"

struct move *move_take(struct engine *engine, struct block_request *request)
{
	struct move *move = engine->free;
	if (!move)
		return NULL;
	engine->free = move->next;
	engine->free_moves--;
	move->request = request;
	move->allocated = NULL;
	request->moves++;
	return move;
}

void move_give(struct move *move)
{
	struct engine *engine = move->engine;
	free(move->allocated);
	if (move->request)
		move->request->moves--;
	move->allocated = NULL;
	move->next = engine->free;
	engine->free = move;
	engine->free_moves++;
}

/* Where in the request's memory byte at is: the piece, and at becomes the offset in it. */
static unsigned piece_at(const struct block_request *request, uint64_t *at)
{
	unsigned first = 0;
	for (; *at >= request->vector[first].iov_len; first++)
		*at -= request->vector[first].iov_len;
	return first;
}

static unsigned pieces_of(const struct iovec *first, uint64_t bytes)
{
	unsigned count = 0;
	for (uint64_t seen = 0; seen < bytes; count++)
		seen += first[count].iov_len;
	return count;
}

/* count pieces from first on, without the first skip bytes, length in all. */
static void copy_pieces(struct iovec *pieces, const struct iovec *first, unsigned count,
	uint64_t skip, uint64_t length)
{
	memcpy(pieces, first, count * sizeof *pieces);
	pieces[0].iov_base = (char *)pieces[0].iov_base + skip;
	pieces[0].iov_len -= skip;
	for (unsigned i = 0; i + 1 < count; i++)
		length -= pieces[i].iov_len;
	pieces[count - 1].iov_len = length;
}

unsigned request_pieces(const struct block_request *request, uint64_t at, uint64_t length,
	struct iovec *pieces, unsigned most)
{
	const struct iovec *first = request->vector + piece_at(request, &at);
	unsigned count = pieces_of(first, at + length);
	if (count > most)
		return 0;
	copy_pieces(pieces, first, count, at, length);
	return count;
}

int move_set_vector(struct move *move, uint64_t at, uint64_t length)
{
	const struct block_request *request = move->request;
	const struct iovec *first = request->vector + piece_at(request, &at);
	unsigned count = pieces_of(first, at + length);
	move->vector = move->small;
	if (count > SMALL_VECTOR) {
		move->allocated = malloc(count * sizeof(struct iovec));
		if (!move->allocated)
			return -ENOMEM;
		move->vector = move->allocated;
	}
	move->count = count;
	copy_pieces(move->vector, first, count, at, length);
	return 0;
}

void request_fill(struct block_request *request, uint64_t at, const char *bytes, uint64_t length)
{
	for (unsigned i = piece_at(request, &at); length; i++, at = 0) {
		size_t part = MIN(request->vector[i].iov_len - (size_t)at, length);
		char *memory = (char *)request->vector[i].iov_base + at;
		if (bytes)
			memcpy(memory, bytes, part);
		else
			memset(memory, 0, part);
		bytes = bytes ? bytes + part : NULL;
		length -= part;
	}
}

void move_skip(struct move *move, uint64_t bytes)
{
	move->extent.offset += bytes;
	move->extent.length -= bytes;
	for (; bytes && bytes >= move->vector->iov_len; move->vector++, move->count--)
		bytes -= move->vector->iov_len;
	if (bytes) {
		move->vector->iov_base = (char *)move->vector->iov_base + bytes;
		move->vector->iov_len -= bytes;
	}
}

static void move_work(struct work *work)
{
	struct move *move = (struct move *)work;
	const struct block_extent *extent = &move->extent;
	struct block_device *device = move->engine->device;
	if (extent->kind == BLOCK_WAIT)
		move->result = device->ops->ready(device, extent);
	else if (move->request->operation == BLOCK_DISCARD)
		move->result = device->ops->discard(device, extent->offset, extent->length);
	else {
		ssize_t n = move->request->operation == BLOCK_READ
				    ? preadv(extent->fd, move->vector, (int)move->count,
					      (off_t)extent->offset)
				    : pwritev(extent->fd, move->vector, (int)move->count,
					      (off_t)extent->offset);
		move->result = n < 0 ? -errno : n;
	}
}

void move_start(struct move *move)
{
	struct engine *engine = move->engine;
	bool data = move->extent.kind == BLOCK_DATA && move->request->operation != BLOCK_DISCARD;
	if (data && engine->ring) {
		const struct ring_transfer transfer = {
			.write = move->request->operation == BLOCK_WRITE,
			.fd = move->extent.fd,
			.offset = move->extent.offset,
			.vector = move->vector,
			.count = move->count,
			.owner = move,
		};
		ring_add(engine->ring, &transfer);
		return;
	}
	move->work.run = move_work;
	workers_add(engine->workers, &move->work);
}
