/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user-blk as VMMs speak it: Firecracker's messages in its order, and QEMU's. What a guest asks of
 * the disk is in test_vhost_disk.c; the hostile ones are in test_vhost_vmm.c and test_vhost_guest.c.
 */
#include "tests/unit/vhost_disk.h"

#define QEMU_PROTOCOL 0x1ffff

static void firecracker(void)
{
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	CHECK(client.offered & VHOST_USER_F_PROTOCOL);
	CHECK(client.offered & VIRTIO_F_VERSION_1);
	CHECK(client.protocol_offered & VHOST_USER_P_CONFIG);
	CHECK(client.features & VIRTIO_BLK_F_RO);
	CHECK(!(client.features & VIRTIO_BLK_F_FLUSH));
	CHECK_EQ(client.configuration.capacity, DISK / 512);
	REQUIRE(client_activate(&client, 256));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 8, 4096), VIRTIO_BLK_OK);
	CHECK(has_sectors(0, 8, 4096));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, DISK / 512 - 8, 4096), VIRTIO_BLK_OK);
	CHECK(has_sectors(0, DISK / 512 - 8, 4096));
	/* Nothing is ever answered but what was asked. */
	CHECK(!client_hears(&client, 20));
	end();
}

/* A request that was made available before the queue was enabled is found without a kick. */
static void early_request(void)
{
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	client_clear_queue(&client, 0, 256);
	client_put(&client, 0, 0, VIRTIO_BLK_IN, 16, 512);
	CHECK(client_send_number(&client, VHOST_SET_FEATURES, client.features));
	CHECK(client_share_memory(&client));
	CHECK(client_start_queue(&client, 0, 256, 0));
	CHECK_EQ(client_take(&client, 0, 5000), 0);
	CHECK(has_sectors(0, 16, 512));
	end();
}

/* ------------------------------------------------------------------------------------------- */

static void second_is_refused(void)
{
	struct client second;
	uint64_t ignored;
	REQUIRE(serves(make_disk(true)));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 0, 512), VIRTIO_BLK_OK);
	REQUIRE(client_open(&second, server.path, MEMORY, true));
	CHECK(!client_ask(&second, VHOST_GET_FEATURES, &ignored));
	CHECK(vhost_server_noted(&server, "second VMM was refused"));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 8, 512), VIRTIO_BLK_OK);
	client_close(&second);
	end();
}

/* Firecracker's second PUT of a drive connects before it closes the first one's connection. */
static void idle_gives_way(void)
{
	struct client second;
	uint64_t ignored;
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_open(&second, server.path, MEMORY, true));
	CHECK(client_negotiate(&second, FIRECRACKER, VHOST_USER_P_CONFIG));
	CHECK(client_activate(&second, 256));
	CHECK_EQ(client_do(&second, VIRTIO_BLK_IN, 8, 512), VIRTIO_BLK_OK);
	CHECK(!client_ask(&client, VHOST_GET_FEATURES, &ignored));
	client_close(&second);
	end();
}

static void one_after_another(void)
{
	REQUIRE(begin_with(make_disk(true)));
	for (unsigned i = 0; i < 20; i++) {
		CHECK(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
		CHECK(client_activate(&client, 256));
		CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, i, 512), VIRTIO_BLK_OK);
		CHECK(has_sectors(0, i, 512));
		CHECK(client_connect(&client, server.path));
	}
	end();
}

/* ------------------------------------------------------------------------------------------- */

static bool acknowledged(uint32_t request, const void *payload, uint32_t size)
{
	uint64_t result = 1;
	return client_send(&client, request, VHOST_NEED_REPLY, payload, size, NULL, 0) &&
	       client_receive(&client, request, &result, sizeof result, NULL) == sizeof result &&
	       result == 0;
}

static void qemu(void)
{
	uint64_t number;
	struct vhost_vring_state state = {0};
	const uint64_t wanted = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC |
				VIRTIO_BLK_F_MQ | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_FLUSH;
	REQUIRE(begin_with(make_disk(false)));
	REQUIRE(client_negotiate(&client, wanted, QEMU_PROTOCOL));
	CHECK_EQ(client.features, wanted | VHOST_USER_F_PROTOCOL);
	CHECK(client_ask(&client, VHOST_GET_QUEUE_NUM, &number) && number >= 16);
	CHECK(client_ask(&client, VHOST_GET_MAX_MEM_SLOTS, &number) && number >= 8);
	CHECK(acknowledged(VHOST_SET_FEATURES, &client.features, 8));
	CHECK(client_share_memory(&client));
	for (unsigned queue = 0; queue < 4; queue++) {
		client_clear_queue(&client, queue, 64);
		CHECK(client_start_queue(&client, queue, 64, 0));
	}
	for (unsigned i = 0; i < 80; i++) {
		(i % 3 ? client_put : client_put_indirect)(
			&client, i % 4, i / 4 % 20, VIRTIO_BLK_IN, i, 512);
		client_kick(&client, i % 4);
		CHECK_EQ(client_take(&client, i % 4, 5000), i / 4 % 20);
		CHECK(has_sectors(i / 4 % 20, i, 512));
	}
	/* The guest driver goes, and comes back. */
	CHECK(client_send(&client, VHOST_GET_VRING_BASE, 0, &state, sizeof state, NULL, 0));
	CHECK_EQ(client_receive(&client, VHOST_GET_VRING_BASE, &state, sizeof state, NULL), 8);
	CHECK_EQ(state.value, 20);
	CHECK(client_start_queue(&client, 0, 64, 20));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 8, 512), VIRTIO_BLK_OK);
	CHECK(acknowledged(VHOST_RESET_DEVICE, NULL, 0));
	client_clear_queue(&client, 0, 128);
	CHECK(client_start_queue(&client, 0, 128, 0));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 16, 512), VIRTIO_BLK_OK);
	CHECK(!client_hears(&client, 20));
	end();
}

static void memory_by_slots(void)
{
	struct {
		uint64_t padding;
		struct vhost_wire_region region;
	} slot = {.region = {.size = MEMORY / 2, .user = CLIENT_USER}};
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, QEMU_PROTOCOL));
	CHECK(client_send_number(&client, VHOST_SET_FEATURES, client.features));
	CHECK(client_send(&client, VHOST_ADD_MEM_REG, 0, &slot, sizeof slot, &client.memory_fd, 1));
	client_clear_queue(&client, 0, 64);
	CHECK(client_start_queue(&client, 0, 64, 0));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 8, 512), VIRTIO_BLK_OK);
	CHECK(has_sectors(0, 8, 512));
	/* The rings are in it, so it cannot go. */
	CHECK(client_send(&client, VHOST_REM_MEM_REG, 0, &slot, sizeof slot, NULL, 0));
	CHECK(client_ended(&client));
	CHECK(vhost_server_noted(&server, "ring is not in the guest's memory"));
	end();
}

/* Killed with requests under way, a backend's successor begins them again. */
static void inflight_is_resumed(void)
{
	struct vhost_wire_inflight shape = {.queues = 1, .queue_size = 64};
	int fd = -1;
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, QEMU_PROTOCOL));
	CHECK(client_send(&client, VHOST_GET_INFLIGHT_FD, 0, &shape, sizeof shape, NULL, 0));
	CHECK_EQ(client_receive(&client, VHOST_GET_INFLIGHT_FD, &shape, sizeof shape, &fd),
		sizeof shape);
	REQUIRE(fd >= 0);
	struct vring_inflight *inflight = mmap(
		NULL, shape.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(inflight != MAP_FAILED);
	CHECK(client_send(&client, VHOST_SET_INFLIGHT_FD, 0, &shape, sizeof shape, &fd, 1));
	REQUIRE(client_activate(&client, 64));
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, i, 512), VIRTIO_BLK_OK);
	CHECK_EQ(inflight->used_index, 5);
	for (unsigned i = 0; i < 64; i++)
		CHECK_EQ(inflight->descriptors[i].inflight, 0);
	/* As a killed backend leaves it: 7 and 9 taken, the older one not done; 11 done and told of, but
	 * still marked. */
	CHECK(client_connect(&client, server.path));
	REQUIRE(client_negotiate(&client, FIRECRACKER, QEMU_PROTOCOL));
	client_put(&client, 0, 9, VIRTIO_BLK_IN, 90, 512);
	client_put(&client, 0, 11, VIRTIO_BLK_IN, 110, 512);
	client_put(&client, 0, 7, VIRTIO_BLK_IN, 70, 512);
	for (unsigned i = 0; i < 3; i++)
		inflight->descriptors[(unsigned[]){27, 33, 21}[i]] =
			(struct vring_inflight_descriptor){.inflight = 1, .counter = 100 + i};
	client.queues[0].used->ring[5].head = 33;
	client.queues[0].used->index = 6;
	inflight->last_head = 33;
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 10, 512);
	CHECK(client_send_number(&client, VHOST_SET_FEATURES, client.features));
	CHECK(client_share_memory(&client));
	CHECK(client_send(&client, VHOST_SET_INFLIGHT_FD, 0, &shape, sizeof shape, &fd, 1));
	CHECK(client_start_queue(&client, 0, 64, 6));
	CHECK_EQ(client_take(&client, 0, 5000), 11);
	bool seen[64] = {false};
	for (unsigned i = 0; i < 3; i++) {
		int slot = client_take(&client, 0, 5000);
		CHECK(slot >= 0);
		seen[slot < 0 ? 0 : slot] = true;
	}
	CHECK(seen[7] && seen[9] && seen[1]);
	CHECK(has_sectors(7, 70, 512) && has_sectors(9, 90, 512) && has_sectors(1, 10, 512));
	CHECK_EQ(client_take(&client, 0, 50), -1);
	for (unsigned i = 0; i < 64; i++)
		CHECK_EQ(inflight->descriptors[i].inflight, 0);
	munmap(inflight, shape.size);
	close(fd);
	end();
}

TEST_MAIN({"Firecracker's messages, in its order, and nothing answered that was not asked",
		  firecracker},
	{"a request from before the queue was enabled is found", early_request},
	{"a second VMM is refused while one runs", second_is_refused},
	{"a VMM that has not begun gives way", idle_gives_way},
	{"one VMM after another is served", one_after_another},
	{"QEMU's messages: queues, acknowledgements, a driver that comes back, a reset", qemu},
	{"memory by slots", memory_by_slots},
	{"what a killed backend had in flight begins again", inflight_is_resumed})
