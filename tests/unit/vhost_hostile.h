/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests and VMMs that mean ill. After each of them the same server must serve the next VMM, whose
 * bytes are right. What is told of them is part of the promise: the operator learns why.
 */
#ifndef TESTS_VHOST_HOSTILE_H
#define TESTS_VHOST_HOSTILE_H

#include "tests/tools/vhost_client.h"
#include "tests/unit/vhost_server.h"

enum { DISK = 1 << 20, MEMORY = 8 << 20, QUEUE = 64 };
#define FEATURES \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | VIRTIO_BLK_F_FLUSH)
#define PROTOCOL 0x1ffff

static struct vhost_server server;
static struct client client;

static inline bool reads_well(void)
{
	uint64_t number = 0;
	client.slot_bytes = 4096;
	if (client_do(&client, VIRTIO_BLK_IN, 77, 512) != VIRTIO_BLK_OK)
		return false;
	memcpy(&number, client_data(&client, 0), sizeof number);
	return number == 77;
}

static inline bool is_served(bool sealed)
{
	server.notes[0] = 0;
	return client_open(&client, server.path, MEMORY, sealed) &&
	       client_negotiate(&client, FEATURES, PROTOCOL) && client_activate(&client, QUEUE);
}

static inline void begin(bool sealed)
{
	REQUIRE(is_served(sealed));
	REQUIRE(reads_well());
}

/* The server is as good as before. */
static inline void check_alive(void)
{
	client_close(&client);
	begin(true);
	client_close(&client);
}

static inline void start_server(void)
{
	int fd;
	struct block_device *device = vhost_server_disk(DISK, false, &fd);
	close(fd);
	REQUIRE(device && vhost_server_start(&server, device, false));
}

static inline void end_server(void)
{
	vhost_server_end(&server);
}

#endif
