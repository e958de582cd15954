/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that are answered with the file's own pages: the header, and then sendfile(2), which hands
 * references to the page cache to the socket. So a large read is copied once, by the client, and not
 * three times; and the header wakes the client while its bytes are still being handed over.
 *
 * Only what is in the page cache is lent, for the loop must not wait for a disk. That is looked at when
 * the request comes, and again when the client has left the reply lying for a while: what is not there
 * any more is read by the engine as usual, and the reply waits for it.
 *
 * An error after the header cannot be told, and ends the connection. That takes a file that became
 * shorter, or a disk that fails where it was read before; when the client comes back it is told. What is
 * written where a read is under way may be in its reply: as if the read had come later.
 */
#include <errno.h>
#include <sys/sendfile.h>

#include "export/nbd_inside.h"

#define LENT_LEAST ((uint32_t)16 << 10) /* less is copied with less effort */

bool nbd_lend(struct nbd_request *request)
{
	const struct nbd_connection *c = request->connection;
	request->lent = request->length >= LENT_LEAST &&
			engine_lend(c->device->engine, request->offset, request->length,
				&request->place);
	request->since = c->server->time;
	return request->lent;
}

static void filled(struct block_request *block, int result)
{
	struct nbd_request *request = (struct nbd_request *)block;
	struct nbd_connection *c = request->connection;
	c->under_way--;
	request->filling = false;
	if (c->dead)
		nbd_request_free(request);
	else if (result < 0)
		nbd_connection_drop(c, "what was promised to it cannot be read any more");
}

/* It was left lying: what is not sent of it is read like any other. */
static int fill(struct nbd_request *request, uint32_t done)
{
	struct nbd_connection *c = request->connection;
	if (!nbd_may_have(c, nbd_memory_size(request->length)) ||
		!nbd_request_take_buffer(request, request->length)) {
		nbd_connection_drop(c, "there is no memory for the answers that it left lying");
		return -ENOMEM;
	}
	request->lent = false;
	request->filling = true;
	request->piece = (struct iovec){request->buffer + done, request->length - done};
	request->block = (struct block_request){.operation = BLOCK_READ,
		.offset = request->offset + done,
		.length = request->length - done,
		.vector = &request->piece,
		.vector_count = 1,
		.done = filled};
	c->under_way++;
	engine_submit(c->device->engine, &request->block);
	return 0;
}

static bool is_stale(const struct nbd_request *request, uint32_t done)
{
	const struct nbd_connection *c = request->connection;
	struct block_extent place;
	return c->server->time - request->since > 1 && !c->ending &&
	       !engine_lend(
		       c->device->engine, request->offset + done, request->length - done, &place);
}

ssize_t nbd_lend_send(struct nbd_request *request, uint32_t done)
{
	struct nbd_connection *c = request->connection;
	if (is_stale(request, done)) {
		int r = fill(request, done);
		return r < 0 ? r : -EINTR;
	}
	off_t at = (off_t)(request->place.offset + done);
	ssize_t n = sendfile(c->fd.fd, request->place.fd, &at, request->length - done);
	if (n == 0 || (n < 0 && errno == EIO))
		nbd_connection_drop(c, "what was promised to it cannot be read any more");
	return n < 0 ? -errno : n;
}
