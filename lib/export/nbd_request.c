/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: what a client asked becomes a request to the engine, and its end becomes a reply. Reads
 * and block status are answered in the structured form where the client negotiated it, one chunk
 * each; everything else has the simple one, which a client must take at any time.
 *
 * What a client may not ask (beyond the end, too long, flags that do not belong, writes to what is
 * read-only or not in whole sectors) is an error of that request; bytes that are no request at all
 * end the connection, because nobody knows where the next one would begin.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/nbd_inside.h"
#include "export/nbd_protocol.h"

#define ZEROS_AT_ONCE ((size_t)1 << 20)

static uint32_t error_of(int result)
{
	switch (-result) {
	case EROFS:
	case EPERM:
	case EACCES:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
		return NBD_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NBD_ENOSPC;
	case EOPNOTSUPP:
		return NBD_ENOTSUP;
	case ESHUTDOWN:
		return NBD_ESHUTDOWN;
	default:
		return NBD_EIO;
	}
}

static struct nbd_request *request_new(struct nbd_connection *c)
{
	struct nbd_server *server = c->server;
	struct nbd_request *request = server->spare;
	if (request)
		server->spare = request->next;
	else if (!(request = malloc(sizeof *request)))
		return NULL;
	*request = (struct nbd_request){.connection = c};
	c->requests++;
	return request;
}

void nbd_request_free(struct nbd_request *request)
{
	struct nbd_connection *c = request->connection;
	struct nbd_server *server = c->server;
	if (request->buffer) {
		c->memory -= nbd_memory_size(request->capacity);
		nbd_memory_give(&server->memory, request->buffer, request->capacity);
		server->relief = true;
	}
	c->requests--;
	request->next = server->spare;
	server->spare = request;
}

bool nbd_may_have(struct nbd_connection *c, size_t bytes)
{
	size_t wanted = c->memory + bytes;
	if (wanted <= NBD_RESERVED_BYTES)
		return true;
	if (c->memory && wanted > NBD_CONNECTION_BYTES)
		return false;
	c->hungry = c->server->memory.used_bytes + bytes > NBD_SHARED_BYTES;
	return !c->hungry;
}

bool nbd_request_take_buffer(struct nbd_request *request, size_t length)
{
	request->buffer = nbd_memory_take(&request->connection->server->memory, length);
	if (!request->buffer)
		return false;
	request->capacity = length;
	request->connection->memory += nbd_memory_size(length);
	return true;
}

/* ------------------------------------------------------------------------------------------- */

static void simple_header(struct nbd_request *request, int result)
{
	uint8_t *at = nbd_put32(request->header, NBD_SIMPLE_REPLY_MAGIC);
	at = nbd_put32(at, result < 0 ? error_of(result) : 0);
	nbd_put64(at, request->cookie);
	request->header_length = NBD_SIMPLE_HEADER;
}

/* Answers where what follows the chunk's header goes. */
static uint8_t *chunk_header(struct nbd_request *request, uint16_t type, size_t length)
{
	uint8_t *at = nbd_put32(request->header, NBD_STRUCTURED_REPLY_MAGIC);
	at = nbd_put16(at, NBD_REPLY_FLAG_DONE);
	at = nbd_put16(at, type);
	at = nbd_put64(at, request->cookie);
	request->header_length = NBD_CHUNK_HEADER;
	return nbd_put32(at, (uint32_t)length);
}

void nbd_request_chunk(struct nbd_request *request, uint16_t type, size_t payload)
{
	chunk_header(request, type, payload);
	request->payload = payload;
}

static void structured_header(struct nbd_request *request, int result)
{
	if (result < 0) {
		/* The error, and a sentence of no length. */
		uint8_t *at = chunk_header(request, NBD_REPLY_TYPE_ERROR, 4 + 2);
		nbd_put16(nbd_put32(at, error_of(result)), 0);
		request->header_length += 4 + 2;
	} else if (request->command == NBD_CMD_READ && request->length) {
		uint8_t *at = chunk_header(
			request, NBD_REPLY_TYPE_OFFSET_DATA, 8 + (size_t)request->length);
		nbd_put64(at, request->offset);
		request->header_length += 8;
	} else if (request->command != NBD_CMD_BLOCK_STATUS) {
		chunk_header(request, NBD_REPLY_TYPE_NONE, 0);
	}
}

void nbd_request_reply(struct nbd_request *request, int result)
{
	struct nbd_connection *c = request->connection;
	bool structured = c->structured && (request->command == NBD_CMD_READ ||
						   request->command == NBD_CMD_BLOCK_STATUS);
	if (c->dead) {
		nbd_request_free(request);
		return;
	}
	if (result < 0)
		request->payload = 0;
	else if (request->command == NBD_CMD_READ)
		request->payload = request->length;
	if (structured)
		structured_header(request, result);
	else
		simple_header(request, result);
	request->next = NULL;
	*c->replies_end = request;
	c->replies_end = &request->next;
}

static void done(struct block_request *block, int result)
{
	struct nbd_request *request = (struct nbd_request *)block;
	request->connection->under_way--;
	/* Giving space back is a hint. */
	if (request->command == NBD_CMD_TRIM && result == -EOPNOTSUPP)
		result = 0;
	nbd_request_reply(request, result);
}

static void submit(struct nbd_request *request, enum block_operation operation)
{
	request->block.operation = operation;
	request->block.offset = request->offset;
	request->block.length = request->length;
	request->block.durable = request->flags & NBD_CMD_FLAG_FUA &&
				 (operation == BLOCK_WRITE || operation == BLOCK_DISCARD);
	if (!request->block.done)
		request->block.done = done;
	request->piece = (struct iovec){request->buffer, request->length};
	request->block.vector = &request->piece;
	request->block.vector_count = 1;
	request->connection->under_way++;
	engine_submit(request->connection->device->engine, &request->block);
}

/* ------------------------------------------------------------------------------------------- */

static void write_zeros_on(struct nbd_request *request);

static void zeros_written(struct block_request *block, int result)
{
	struct nbd_request *request = (struct nbd_request *)block;
	request->connection->under_way--;
	request->step += request->block.length;
	if (result < 0 || request->step == request->length)
		nbd_request_reply(request, result);
	else
		write_zeros_on(request);
}

static void write_zeros_on(struct nbd_request *request)
{
	uint64_t left = request->length - request->step;
	struct block_request *block = &request->block;
	*block = (struct block_request){.operation = BLOCK_WRITE,
		.offset = request->offset + request->step,
		.length = MIN(left, request->capacity),
		.vector = &request->piece,
		.vector_count = 1,
		.done = zeros_written};
	block->durable = request->flags & NBD_CMD_FLAG_FUA && block->length == left;
	request->piece = (struct iovec){request->buffer, block->length};
	request->connection->under_way++;
	engine_submit(request->connection->device->engine, block);
}

/* Where zeros cannot be had by giving space back, or must not be, they are written. */
static void write_zeros(struct nbd_request *request)
{
	memset(request->buffer, 0, request->capacity);
	write_zeros_on(request);
}

static void space_given_back(struct block_request *block, int result)
{
	struct nbd_request *request = (struct nbd_request *)block;
	if (result != -EOPNOTSUPP || request->flags & NBD_CMD_FLAG_FAST_ZERO) {
		done(block, result);
		return;
	}
	request->connection->under_way--;
	write_zeros(request);
}

static void start_zeroes(struct nbd_request *request)
{
	const struct block_device *device = request->connection->device->device;
	bool may_discard = !(request->flags & NBD_CMD_FLAG_NO_HOLE) && device->ops->discard;
	if (may_discard) {
		request->block.done = space_given_back;
		submit(request, BLOCK_DISCARD);
	} else if (request->flags & NBD_CMD_FLAG_FAST_ZERO) {
		nbd_request_reply(request, -EOPNOTSUPP);
	} else {
		write_zeros(request);
	}
}

static void start(struct nbd_request *request)
{
	switch (request->command) {
	case NBD_CMD_READ:
		submit(request, BLOCK_READ);
		break;
	case NBD_CMD_WRITE:
		submit(request, BLOCK_WRITE);
		break;
	case NBD_CMD_FLUSH:
		submit(request, BLOCK_FLUSH);
		break;
	case NBD_CMD_TRIM:
		submit(request, BLOCK_DISCARD);
		break;
	case NBD_CMD_WRITE_ZEROES:
		start_zeroes(request);
		break;
	default:
		nbd_status_reply(request);
	}
}

void nbd_request_received(struct nbd_request *request)
{
	if (request->refused)
		nbd_request_reply(request, request->refused);
	else
		submit(request, BLOCK_WRITE);
}

/* ------------------------------------------------------------------------------------------- */

static const uint16_t flags_of[] = {
	[NBD_CMD_READ] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF,
	[NBD_CMD_WRITE] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_FLUSH] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_TRIM] = NBD_CMD_FLAG_FUA,
	[NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
	[NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE,
};

static int check_written(const struct nbd_request *request, const struct block_device *device)
{
	if (device->read_only || !device->ops->prepare_write)
		return -EROFS;
	if ((request->offset | request->length) % NBD_SECTOR)
		return -EINVAL;
	return range_within(request->offset, request->length, device->size) ? 0 : -ENOSPC;
}

/* Whether the request is one that can be done. */
static int check(const struct nbd_request *request)
{
	const struct nbd_connection *c = request->connection;
	const struct block_device *device = c->device->device;
	if (request->command >= ARRAY_SIZE(flags_of) || request->command == NBD_CMD_DISC ||
		request->flags & ~flags_of[request->command])
		return -EINVAL;
	if ((request->command == NBD_CMD_READ || request->command == NBD_CMD_WRITE) &&
		request->length > NBD_MEMORY_MOST)
		return -EINVAL;
	if (request->flags & NBD_CMD_FLAG_DF && !c->structured)
		return -EINVAL;
	switch (request->command) {
	case NBD_CMD_FLUSH:
		return 0;
	case NBD_CMD_READ:
		break;
	case NBD_CMD_BLOCK_STATUS:
		if (!c->meta || request->length == 0)
			return -EINVAL;
		break;
	case NBD_CMD_WRITE:
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		return check_written(request, device);
	default:
		return -EINVAL;
	}
	return range_within(request->offset, request->length, device->size) ? 0 : -EINVAL;
}

static size_t buffer_size(const struct nbd_request *request)
{
	switch (request->command) {
	case NBD_CMD_READ:
	case NBD_CMD_WRITE:
		return request->length;
	case NBD_CMD_WRITE_ZEROES:
		return MIN(request->length, ZEROS_AT_ONCE);
	case NBD_CMD_BLOCK_STATUS:
		return NBD_STATUS_BYTES;
	default:
		return 0;
	}
}

static bool is_empty(const struct nbd_request *request)
{
	return request->length == 0 && request->command != NBD_CMD_FLUSH;
}

static void begin(struct nbd_request *request, size_t size)
{
	struct nbd_connection *c = request->connection;
	if (!request->refused && size && !nbd_request_take_buffer(request, size))
		request->refused = -ENOMEM;
	if (request->command == NBD_CMD_WRITE && request->length) {
		c->incoming = request;
		c->received = 0;
	} else if (request->refused || request->lent || is_empty(request)) {
		nbd_request_reply(request, request->refused);
	} else {
		start(request);
	}
}

int nbd_consume_request(struct nbd_connection *c)
{
	if (c->end - c->begin < NBD_REQUEST_HEADER || c->requests >= NBD_CONNECTION_REQUESTS)
		return 0;
	const uint8_t *header = c->input + c->begin;
	if (nbd_get32(header) != NBD_REQUEST_MAGIC) {
		nbd_connection_drop(c, "what it sends is no request");
		return -1;
	}
	struct nbd_request asked = {.connection = c,
		.flags = nbd_get16(header + 4),
		.command = nbd_get16(header + 6),
		.cookie = nbd_get64(header + 8),
		.offset = nbd_get64(header + 16),
		.length = nbd_get32(header + 24)};
	if (asked.command == NBD_CMD_DISC) {
		c->ending = true;
		return -1;
	}
	asked.refused = check(&asked);
	bool lent = !asked.refused && asked.command == NBD_CMD_READ && nbd_lend(&asked);
	size_t size = asked.refused || lent ? 0 : buffer_size(&asked);
	if (size && !nbd_may_have(c, nbd_memory_size(size)))
		return 0;
	struct nbd_request *request = request_new(c);
	if (!request)
		return 0;
	*request = asked;
	c->begin += NBD_REQUEST_HEADER;
	begin(request, size);
	return 1;
}
