/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client. Its bytes are read many requests at a time into one small buffer; the bytes of a write
 * go straight to where they are written from. Replies are gathered and sent many at a time.
 *
 * A client that is gone, or was dropped, leaves its requests behind: they end when the engine says so,
 * and the connection's memory stays until the last one has.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "export/nbd_inside.h"

#define BATCH 16 /* requests taken in one turn... */
#define BATCH_BYTES \
	((size_t)128 << 10) /* ...with so much memory: it stays in the processor's cache */
#define PIECES 64           /* of memory sent by one call */

/* It is read from while there is room for what comes. */
static void watch(struct nbd_connection *c)
{
	bool room = c->end - c->begin < NBD_INPUT_BYTES;
	c->fd.events = (short)((!c->ending && !c->more && room ? POLLIN : 0) |
			       (c->fd.events & POLLOUT));
}

void nbd_connection_drop(struct nbd_connection *c, const char *why)
{
	if (c->dead)
		return;
	if (why)
		nbd_server_note(c->server, "an NBD client of %s was dropped: %s",
			c->device ? c->device->name : "nothing yet", why);
	c->dead = true;
	c->more = false;
	loop_remove(c->server->loop, &c->fd);
	cleanup_close(&c->fd.fd);
	struct nbd_request *next;
	for (struct nbd_request *reply = c->replies; reply; reply = next) {
		next = reply->next;
		if (!reply->filling)
			nbd_request_free(reply);
	}
	c->replies = NULL;
	c->replies_end = &c->replies;
	if (c->incoming)
		nbd_request_free(TAKE_PTR(c->incoming));
	nbd_server_stir(c->server);
}

/* ------------------------------------------------------------------------------------------- */

/* Bytes that came: the first of them belong to a write or to nobody. */
static void came(struct nbd_connection *c, size_t bytes)
{
	struct nbd_request *incoming = c->incoming;
	if (incoming) {
		size_t part = MIN(bytes, incoming->length - c->received);
		c->received += part;
		bytes -= part;
	}
	c->end += bytes;
	c->progress = c->server->time;
}

/* false: nothing more can be read now. */
static bool receive(struct nbd_connection *c)
{
	struct iovec pieces[2];
	struct msghdr message = {.msg_iov = pieces};
	struct nbd_request *incoming = c->incoming;
	if (incoming && incoming->buffer && c->received < incoming->length)
		pieces[message.msg_iovlen++] = (struct iovec){
			incoming->buffer + c->received, incoming->length - c->received};
	if (c->end < NBD_INPUT_BYTES)
		pieces[message.msg_iovlen++] = (struct iovec){
			c->input + c->end, NBD_INPUT_BYTES - c->end};
	ssize_t n = recvmsg(c->fd.fd, &message, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		nbd_connection_drop(c, NULL);
		return false;
	}
	if (incoming && incoming->buffer)
		came(c, (size_t)n);
	else
		c->end += (size_t)n;
	c->progress = c->server->time;
	return true;
}

/* Throw away, or hand to a write, what stands first in the input. true: what follows can be looked at. */
static bool settle_input(struct nbd_connection *c)
{
	size_t there = c->end - c->begin;
	size_t skipped = MIN(c->skip, there);
	c->skip -= skipped;
	c->begin += skipped;
	there -= skipped;
	struct nbd_request *incoming = c->incoming;
	if (incoming) {
		size_t part = MIN(there, incoming->length - c->received);
		if (incoming->buffer)
			memcpy(incoming->buffer + c->received, c->input + c->begin, part);
		c->received += part;
		c->begin += part;
		if (c->received < incoming->length)
			return false;
		nbd_request_received(TAKE_PTR(c->incoming));
	}
	return c->skip == 0;
}

void nbd_connection_advance(struct nbd_connection *c)
{
	int r = 0;
	size_t enough = c->memory + BATCH_BYTES;
	c->more = c->hungry = false;
	for (unsigned i = 0; i < BATCH && c->memory < enough && !c->dead && !c->ending; i++) {
		r = settle_input(c) ? c->consume(c) : 0;
		if (r <= 0)
			break;
	}
	if (c->dead)
		return;
	c->more = r > 0 && !c->ending;
	if (c->begin == c->end)
		c->begin = c->end = 0;
	/* Only a rest too short to be a request is moved. */
	if (c->begin && !c->more) {
		memmove(c->input, c->input + c->begin, c->end - c->begin);
		c->end -= c->begin;
		c->begin = 0;
	}
	watch(c);
}

static void ready(struct loop_fd *fd, short revents)
{
	struct nbd_connection *c = (struct nbd_connection *)fd;
	nbd_server_stir(c->server);
	if (revents & POLLOUT) {
		fd->events &= (short)~POLLOUT;
		nbd_connection_send(c);
	}
	/* What is in the input already comes before what is to be read: a write's bytes may be there. */
	if (!c->dead && !c->more && (revents & (POLLIN | POLLHUP | POLLERR)) && receive(c))
		nbd_connection_advance(c);
}

/* ------------------------------------------------------------------------------------------- */

static void add_piece(struct msghdr *message, void *bytes, size_t length, size_t *sent)
{
	if (*sent >= length) {
		*sent -= length;
		return;
	}
	message->msg_iov[message->msg_iovlen++] = (struct iovec){
		(char *)bytes + *sent, length - *sent};
	*sent = 0;
}

static void gather(const struct nbd_connection *c, struct msghdr *message)
{
	size_t sent = c->sent;
	add_piece(message, c->greeting.data, c->greeting.length, &sent);
	for (struct nbd_request *reply = c->replies; reply && message->msg_iovlen + 2 <= PIECES;
		reply = reply->next) {
		add_piece(message, reply->header, reply->header_length, &sent);
		if (reply->lent)
			break;
		add_piece(message, reply->buffer, reply->payload, &sent);
	}
}

/* Answers how many bytes, or a negative errno. */
static ssize_t send_some(const struct nbd_connection *c)
{
	struct nbd_request *first = c->replies;
	if (c->greeting.length == 0 && first->lent && c->sent >= first->header_length)
		return nbd_lend_send(first, (uint32_t)(c->sent - first->header_length));
	struct iovec pieces[PIECES];
	struct msghdr message = {.msg_iov = pieces};
	gather(c, &message);
	ssize_t n = sendmsg(c->fd.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static bool may_send(const struct nbd_connection *c)
{
	return !c->dead && !(c->fd.events & POLLOUT) &&
	       (c->greeting.length || (c->replies && !c->replies->filling));
}

/* So many bytes more have been sent. */
static void went(struct nbd_connection *c, size_t bytes)
{
	c->sent += bytes;
	c->progress = c->server->time;
	if (c->greeting.length && c->sent >= c->greeting.length) {
		c->sent -= c->greeting.length;
		text_free(&c->greeting);
	}
	while (c->replies && c->greeting.length == 0) {
		struct nbd_request *reply = c->replies;
		if (c->sent < reply->header_length + reply->payload)
			break;
		c->sent -= reply->header_length + reply->payload;
		c->replies = reply->next;
		if (!c->replies)
			c->replies_end = &c->replies;
		nbd_request_free(reply);
	}
}

void nbd_connection_send(struct nbd_connection *c)
{
	if (c->greeting.failed)
		nbd_connection_drop(c, "there is not enough memory to answer it");
	while (may_send(c)) {
		ssize_t n = send_some(c);
		if (n > 0)
			went(c, (size_t)n);
		else if (n == -EAGAIN)
			c->fd.events |= POLLOUT;
		else if (n != -EINTR)
			nbd_connection_drop(c, NULL);
		/* Sending makes room for what may have waited. */
		if (n > 0 && c->begin < c->end && !c->dead)
			c->more = true;
		if (n > 0 && c->requests == 0)
			loop_expect(c->server->loop);
	}
	if (!c->dead && c->ending && c->requests == 0 && c->greeting.length == 0)
		nbd_connection_drop(c, NULL);
}

struct nbd_connection *nbd_connection_new(struct nbd_server *server, int fd)
{
	struct nbd_connection *c = calloc(1, sizeof *c);
	if (!c || !(c->input = malloc(NBD_INPUT_BYTES))) {
		free(c);
		close(fd);
		return NULL;
	}
	c->server = server;
	c->fd = (struct loop_fd){.fd = fd, .events = POLLIN, .ready = ready};
	c->replies_end = &c->replies;
	c->progress = server->time;
	c->since = nbd_seconds();
	return c;
}

void nbd_connection_free(struct nbd_connection *c)
{
	cleanup_close(&c->fd.fd);
	text_free(&c->greeting);
	free(c->input);
	free(c);
}
