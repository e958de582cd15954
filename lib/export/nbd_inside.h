/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the NBD server share.
 *
 *   nbd.c             a socket that is listened to      nbd_device.c      /dev/nbdN
 *        \                                             /
 *         nbd_server.c       connections, and what they have in common
 *         nbd_connection.c   bytes in, bytes out
 *         nbd_option.c       the handshake
 *         nbd_request.c      requests and their replies   nbd_status.c   where data and zeros are
 *         nbd_lend.c         replies with the file's own pages
 *
 * Memory is bounded: a connection has at most NBD_CONNECTION_REQUESTS requests under way or waiting
 * to be sent, with NBD_CONNECTION_BYTES of memory; all together have NBD_SHARED_BYTES, and beyond
 * those a connection always has NBD_RESERVED_BYTES of its own. One that is at its limit is not read
 * from until it has got rid of something.
 */
#ifndef EXPORT_NBD_INSIDE_H
#define EXPORT_NBD_INSIDE_H

#include "base/text.h"
#include "export/export.h"
#include "export/nbd_memory.h"

#define NBD_CONNECTIONS         64
#define NBD_CONNECTION_REQUESTS 256
#define NBD_CONNECTION_BYTES    NBD_MEMORY_MOST
#define NBD_SHARED_BYTES        ((size_t)64 << 20)
#define NBD_RESERVED_BYTES      ((size_t)256 << 10)
#define NBD_INPUT_BYTES         ((size_t)16 << 10)
#define NBD_NAME_BYTES          ((size_t)4096)
#define NBD_STATUS_BYTES        ((size_t)16 << 10)
#define NBD_SECTOR              512u /* what is written begins and ends at one */

struct nbd_connection;

struct nbd_request {
	struct block_request block; /* first */
	struct iovec piece;
	struct nbd_connection *connection;
	struct nbd_request *next; /* in the queue of replies, or of those to use again */
	uint64_t cookie, offset, step;
	uint32_t length;
	uint16_t command, flags;
	/* Memory for capacity bytes; payload of them follow the header of the reply. */
	uint8_t *buffer;
	size_t capacity, payload;
	/* Without a buffer: the payload is sent from where it is. */
	bool lent;
	bool filling; /* the rest of a reply that was lent is being read; it is the first one */
	struct block_extent place;
	uint64_t since; /* when it was lent, by the server's clock */
	int refused; /* a negative errno: only its bytes are still to come, and are thrown away */
	uint8_t header[28];
	size_t header_length;
};

struct nbd_connection {
	struct loop_fd fd; /* first */
	struct nbd_server *server;
	struct nbd_connection *next;
	/* What the next bytes of the input are: 1 when some were consumed, 0 when there are too few of
	 * them, or no room; negative when this client is to be dropped. */
	int (*consume)(struct nbd_connection *connection);
	const struct export_device *device, *meta_device;
	bool fixed, no_zeroes, structured, meta;
	bool ending; /* to be closed when everything was sent */
	bool dead;   /* closed already, but for what is under way */
	bool more;   /* there may be whole requests in the input */
	bool hungry; /* it waits for the shared memory */
	uint8_t *input;
	size_t begin, end;            /* of what is in the input */
	uint64_t skip;                /* bytes that come and do not matter */
	struct nbd_request *incoming; /* a write whose bytes come */
	size_t received;
	struct text greeting; /* of the handshake, to be sent */
	struct nbd_request *replies, **replies_end;
	size_t sent; /* bytes of the greeting, or of the first reply */
	unsigned requests, under_way;
	size_t memory;
	uint64_t progress; /* when bytes last moved, by the server's clock */
	uint64_t since;    /* when it came, by nbd_seconds() */
};

struct nbd_server {
	struct loop *loop;
	struct export_device *devices;
	size_t device_count;
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
	unsigned notes, notes_lost; /* in this turn of the clock */
	struct loop_hook hook;
	struct loop_timer clock;
	bool ticking, active;
	uint64_t time; /* turns of the clock: seconds, while somebody is busy */
	struct nbd_memory memory;
	struct nbd_request *spare;
	struct nbd_connection *connections;
	unsigned connection_count;
	bool starved; /* a connection waits for the shared memory */
	bool relief;  /* memory was given back */
	/* A connection is gone; may be NULL. */
	void (*gone)(struct nbd_server *server, struct nbd_connection *connection);
};

/* nbd_server.c */
uint64_t nbd_seconds(void);
/* All places are taken: have somebody go who keeps his for nothing. Whether there was one. */
bool nbd_server_make_room(struct nbd_server *server);
int nbd_server_start(
	struct nbd_server *server, const struct export_options *options, struct ramet_error *err);
/* Serve a client; fd is taken over, also in failure. device NULL: after a handshake. -ENOMEM. */
int nbd_server_adopt(struct nbd_server *server, int fd, const struct export_device *device);
void nbd_server_stop(struct nbd_server *server);
void nbd_server_finish(struct nbd_server *server);
void nbd_server_note(struct nbd_server *server, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Something happens: the clock runs. */
void nbd_server_stir(struct nbd_server *server);

/* nbd_connection.c */
struct nbd_connection *nbd_connection_new(struct nbd_server *server, int fd);
/* Nothing of it is under way. */
void nbd_connection_free(struct nbd_connection *connection);
/* Consume what is in the input, as far as it goes. */
void nbd_connection_advance(struct nbd_connection *connection);
void nbd_connection_send(struct nbd_connection *connection);
/* Close it; why NULL: nothing to tell an operator. */
void nbd_connection_drop(struct nbd_connection *connection, const char *why);

/* nbd_option.c */
void nbd_greet(struct nbd_connection *connection);
uint16_t nbd_export_flags(
	const struct nbd_connection *connection, const struct export_device *export);

/* nbd_request.c */
int nbd_consume_request(struct nbd_connection *connection);
/* All bytes of a write are there. */
void nbd_request_received(struct nbd_request *request);
/* It has been sent, or never will be. */
void nbd_request_free(struct nbd_request *request);
void nbd_request_reply(struct nbd_request *request, int result);
/* Whether a request may have so much memory (nbd_memory_size) now; and then it takes it. */
bool nbd_may_have(struct nbd_connection *connection, size_t bytes);
bool nbd_request_take_buffer(struct nbd_request *request, size_t length);
/* The reply is a chunk with so many bytes of the buffer. */
void nbd_request_chunk(struct nbd_request *request, uint16_t type, size_t payload);

/* nbd_lend.c */
/* A read: whether the file's own pages can be the answer. */
bool nbd_lend(struct nbd_request *request);
/* Send what is left of it after done bytes. Answers how many were, or a negative errno, after which the
 * reply may be filling, or the connection dropped. */
ssize_t nbd_lend_send(struct nbd_request *request, uint32_t done);

/* nbd_status.c */
void nbd_status_reply(struct nbd_request *request);

#endif
