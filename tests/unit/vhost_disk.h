/* SPDX-License-Identifier: Apache-2.0 */
/* A disk over vhost-user-blk, and one VMM that has it. */
#ifndef TESTS_VHOST_DISK_H
#define TESTS_VHOST_DISK_H

#include "tests/tools/vhost_client.h"
#include "tests/unit/vhost_server.h"

enum { DISK = 8 << 20, MEMORY = 16 << 20 };
#define FIRECRACKER (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_FLUSH)

static struct vhost_server server;
static struct client client;
static int disk_fd; /* the file that is served */

static inline struct block_device *make_disk(bool read_only)
{
	return vhost_server_disk(DISK, read_only, &disk_fd);
}

static inline bool begin_with(struct block_device *device)
{
	return device && vhost_server_start(&server, device, false) &&
	       client_open(&client, server.path, MEMORY, true);
}

/* As Firecracker begins. */
static inline bool negotiate(void)
{
	return client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG) &&
	       client_activate(&client, 256);
}

static inline bool serves(struct block_device *device)
{
	return begin_with(device) && negotiate();
}

static inline void end(void)
{
	client_close(&client);
	vhost_server_end(&server);
	close(disk_fd);
}

/* Each sector of the disk begins with its number. */
static inline bool has_sectors(unsigned slot, uint64_t sector, unsigned bytes)
{
	for (unsigned i = 0; i < bytes / 512; i++) {
		uint64_t number;
		memcpy(&number, client_data(&client, slot) + (size_t)i * 512, sizeof number);
		if (number != sector + i)
			return false;
	}
	return true;
}

#endif
