/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of vhost-user: a VMM and its guest in one, for tests and benches. The guest's memory
 * is a sealed memfd like Firecracker's; the driver's rings, heads and data lie at fixed places in it,
 * so that tests can spoil them.
 */
#ifndef TESTS_VHOST_CLIENT_H
#define TESTS_VHOST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/vhost_user_wire.h"

enum {
	CLIENT_DESCRIPTORS = 0x1000,
	CLIENT_AVAILABLE = 0x6000,
	CLIENT_USED = 0x8000,
	CLIENT_QUEUE_BYTES = 0x10000, /* each queue's rings are so much further */
	CLIENT_HEADS = 0x100000,      /* 32 bytes for each slot */
	CLIENT_INDIRECT = 0x180000,   /* a table for each slot */
	CLIENT_DATA = 0x200000,
};
#define CLIENT_USER 0x7f1200000000ULL /* where memory begins, in the frontend's addresses */

struct client_queue {
	struct vring_descriptor *descriptors;
	struct vring_available *available;
	struct vring_used *used;
	unsigned size;
	uint16_t next;   /* of available */
	uint16_t kicked; /* the same, when there was need to kick last */
	uint16_t seen;   /* of used */
	int kick, call;
};

struct client {
	int socket, memory_fd;
	uint8_t *memory;
	uint64_t memory_size;
	uint64_t features; /* agreed */
	uint64_t offered, protocol_offered;
	struct virtio_blk_configuration configuration;
	struct client_queue queues[4];
	unsigned slot_bytes; /* of data */
};

/* Memory, and a connection. false: errno tells. */
bool client_open(struct client *client, const char *path, uint64_t memory_size, bool sealed);
/* A new connection; memory and rings stay. */
bool client_connect(struct client *client, const char *path);
void client_close(struct client *client);

bool client_send(struct client *client, uint32_t request, uint32_t flags, const void *payload,
	uint32_t size, const int *fds, unsigned fd_count);
bool client_send_number(struct client *client, uint32_t request, uint64_t number);
bool client_send_vring(struct client *client, uint32_t request, uint32_t index, uint32_t value);
/* The next message within 5 s: bytes of payload, or -1 (the end of the connection is one). */
int client_receive(struct client *client, uint32_t request, void *payload, uint32_t most, int *fd);
bool client_ask(struct client *client, uint32_t request, uint64_t *number);
/* Whether something is there to be read, the end too, within so long. */
bool client_hears(struct client *client, int milliseconds);
/* The connection was ended by the other side, within 5 s. */
bool client_ended(struct client *client);

/* Features and configuration, as Firecracker asks for them: wanted are the driver's features. */
bool client_negotiate(struct client *client, uint64_t wanted, uint64_t protocol);
/* Features, memory and one queue, in Firecracker's order. */
bool client_activate(struct client *client, unsigned queue_size);
bool client_share_memory(struct client *client);
/* One queue, from base on; its rings are as they are. */
bool client_start_queue(struct client *client, unsigned queue, unsigned size, uint16_t base);
/* Rings as a driver has them that starts: all zeros. */
void client_clear_queue(struct client *client, unsigned queue, unsigned size);

/* Make a slot's request available: head, data (if any), state. Slots are below size / 3. */
void client_put(struct client *client, unsigned queue, unsigned slot, uint32_t type,
	uint64_t sector, uint32_t bytes);
/* The same by an indirect table. */
void client_put_indirect(struct client *client, unsigned queue, unsigned slot, uint32_t type,
	uint64_t sector, uint32_t bytes);
/* Make the chain at head available, whatever it is. */
void client_offer(struct client_queue *queue, uint16_t head);
/* Kick, if it is wanted. */
void client_kick(struct client *client, unsigned queue);
/* A slot that is done: its number, or -1 when none is within milliseconds (-1: ever). */
int client_take(struct client *client, unsigned queue, int milliseconds);
uint8_t *client_data(struct client *client, unsigned slot);
uint8_t *client_state(struct client *client, unsigned slot);
/* One request, to its end: the state, or -1 when there was no answer for 5 s. */
int client_do(struct client *client, uint32_t type, uint64_t sector, uint32_t bytes);

#endif
