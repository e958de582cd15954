/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user-blk as VMMs speak it: Firecracker's messages in its order, and QEMU's, with a scripted
 * guest that reads and writes. The hostile ones are in test_vhost_hostile.c.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/tools/vhost_client.h"
#include "tests/unit/vhost_server.h"

enum { DISK = 8 << 20, MEMORY = 16 << 20 };
#define FIRECRACKER   (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_FLUSH)
#define QEMU_PROTOCOL 0x1ffff

static struct vhost_server server;
static struct client client;
static int disk_fd; /* the file that is served */

static struct block_device *make_disk(bool read_only)
{
	struct block_device *device;
	struct ramet_error err;
	disk_fd = memfd_create("disk", MFD_CLOEXEC);
	if (ftruncate(disk_fd, DISK) < 0)
		return NULL;
	for (uint64_t i = 0; i < DISK / 512; i++)
		if (pwrite(disk_fd, &i, sizeof i, (off_t)(i * 512)) != sizeof i)
			return NULL;
	return block_file_open(dup(disk_fd), read_only, &device, &err) < 0 ? NULL : device;
}

static bool begin_with(struct block_device *device)
{
	return device && vhost_server_start(&server, device, false) &&
	       client_open(&client, server.path, MEMORY, true);
}

static void end(void)
{
	client_close(&client);
	vhost_server_end(&server);
	close(disk_fd);
}

/* Each sector of the disk begins with its number. */
static bool has_sectors(unsigned slot, uint64_t sector, unsigned bytes)
{
	for (unsigned i = 0; i < bytes / 512; i++) {
		uint64_t number;
		memcpy(&number, client_data(&client, slot) + (size_t)i * 512, sizeof number);
		if (number != sector + i)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------- */

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

static void identity(void)
{
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_GET_ID, 0, 20), VIRTIO_BLK_OK);
	CHECK(memcmp(client_data(&client, 0), "disk\0", 5) == 0);
	CHECK_EQ(client_do(&client, 77, 0, 512), VIRTIO_BLK_UNSUPPORTED);
	end();
}

static void read_only_refuses(void)
{
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	CHECK(!(client.offered & (VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)));
	memset(client_data(&client, 0), 'x', 4096);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, 0, 4096), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_DISCARD, 0, 16), VIRTIO_BLK_UNSUPPORTED);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 0, 4096), VIRTIO_BLK_OK);
	CHECK(has_sectors(0, 0, 4096));
	end();
}

static void writes_are_in_the_file(void)
{
	uint8_t there[4096];
	REQUIRE(begin_with(make_disk(false)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	CHECK(!(client.features & VIRTIO_BLK_F_RO));
	CHECK(client.features & VIRTIO_BLK_F_FLUSH);
	REQUIRE(client_activate(&client, 256));
	memset(client_data(&client, 0), 'w', 4096);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, 24, 4096), VIRTIO_BLK_OK);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
	CHECK_EQ(pread(disk_fd, there, sizeof there, 24 * 512), sizeof there);
	CHECK(memcmp(there, client_data(&client, 0), sizeof there) == 0);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, DISK / 512, 512), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, DISK / 512 - 1, 1024), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, UINT64_MAX / 512, 512), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, UINT64_MAX, 512), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, 0, 700), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_OUT, 0, 0), VIRTIO_BLK_OK);
	end();
}

static int do_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	const struct virtio_blk_range range = {sector, sectors, flags};
	memcpy(client_data(&client, 0), &range, sizeof range);
	return client_do(&client, type, 0, sizeof range);
}

static bool is_zero_from(uint64_t offset, size_t length)
{
	uint8_t *bytes = malloc(length), any = 0;
	bool all = pread(disk_fd, bytes, length, (off_t)offset) == (ssize_t)length;
	for (size_t i = 0; i < length; i++)
		any |= bytes[i];
	free(bytes);
	return all && !any;
}

static void space_is_given_back(void)
{
	struct stat before, after;
	REQUIRE(begin_with(make_disk(false)));
	REQUIRE(client_negotiate(&client,
		FIRECRACKER | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES,
		VHOST_USER_P_CONFIG));
	CHECK(client.features & VIRTIO_BLK_F_DISCARD);
	CHECK(client.configuration.max_discard_sectors > 0);
	REQUIRE(client_activate(&client, 256));
	fstat(disk_fd, &before);
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, 64, 2048, 0), VIRTIO_BLK_OK);
	fstat(disk_fd, &after);
	CHECK(after.st_blocks <= before.st_blocks - 2048);
	CHECK(is_zero_from(64 * 512, 2048 * 512));
	CHECK(!is_zero_from(65 * 512 + 2048 * 512, 512));
	CHECK_EQ(do_range(VIRTIO_BLK_WRITE_ZEROES, 4096, 100, VIRTIO_BLK_UNMAP), VIRTIO_BLK_OK);
	CHECK_EQ(do_range(VIRTIO_BLK_WRITE_ZEROES, 4196, 100, 0), VIRTIO_BLK_OK);
	CHECK(is_zero_from(4096 * 512, 200 * 512));
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, 0, 8, 1), VIRTIO_BLK_UNSUPPORTED);
	CHECK_EQ(do_range(VIRTIO_BLK_WRITE_ZEROES, 0, 8, 2), VIRTIO_BLK_UNSUPPORTED);
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, DISK / 512 - 1, 2, 0), VIRTIO_BLK_IOERR);
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, UINT64_MAX, 1, 0), VIRTIO_BLK_IOERR);
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_IOERR);
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, 0, 0, 0), VIRTIO_BLK_IOERR);
	CHECK_EQ(client_do(&client, VIRTIO_BLK_DISCARD, 0, 32), VIRTIO_BLK_IOERR);
	end();
}

/* ------------------------------------------------------------------------------------------- */

/* A device whose operations can be made to fail or to wait. */
struct stubborn {
	struct block_device device;
	struct block_device *below;
	int flush_fails;
	unsigned flushes;
	pthread_mutex_t held; /* while it is locked flushes wait */
};
static struct block_ops stubborn_ops;

static int stubborn_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct block_device *below = ((struct stubborn *)device)->below;
	return below->ops->map(below, offset, length, extents, most);
}

static int stubborn_flush(struct block_device *device)
{
	struct stubborn *stubborn = (struct stubborn *)device;
	pthread_mutex_lock(&stubborn->held);
	stubborn->flushes++;
	pthread_mutex_unlock(&stubborn->held);
	return stubborn->flush_fails;
}

static int refuse_discard(struct block_device *device, uint64_t offset, uint64_t length)
{
	return -EOPNOTSUPP;
}

static void stubborn_close(struct block_device *device)
{
	block_close(((struct stubborn *)device)->below);
}

static struct stubborn *make_stubborn(void)
{
	static struct stubborn stubborn;
	stubborn_ops = (struct block_ops){.name = "stubborn",
		.map = stubborn_map,
		.prepare_write = stubborn_map,
		.flush = stubborn_flush,
		.discard = refuse_discard,
		.close = stubborn_close};
	stubborn = (struct stubborn){
		.device = {.ops = &stubborn_ops, .size = DISK}, .below = make_disk(false)};
	pthread_mutex_init(&stubborn.held, NULL);
	return &stubborn;
}

static void flush_reaches_the_device(void)
{
	struct stubborn *stubborn = make_stubborn();
	REQUIRE(begin_with(&stubborn->device));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
	CHECK_EQ(stubborn->flushes, 1);
	stubborn->flush_fails = -EIO;
	CHECK_EQ(client_do(&client, VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_IOERR);
	CHECK_EQ(stubborn->flushes, 2);
	end();
}

static void zeros_without_discard(void)
{
	REQUIRE(begin_with(&make_stubborn()->device));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	CHECK_EQ(do_range(VIRTIO_BLK_WRITE_ZEROES, 3, 5000, 0), VIRTIO_BLK_OK);
	CHECK(is_zero_from(3 * 512, 5000 * 512));
	CHECK(!is_zero_from(2 * 512, 512));
	CHECK(!is_zero_from(5003 * 512, 512));
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, 0, 8, 0), VIRTIO_BLK_UNSUPPORTED);
	end();
}

/* The memory is taken away while a request is under way: that ends first, and then the rest goes on. */
static void memory_changes_under_way(void)
{
	struct stubborn *stubborn = make_stubborn();
	REQUIRE(begin_with(&stubborn->device));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	pthread_mutex_lock(&stubborn->held);
	client_put(&client, 0, 0, VIRTIO_BLK_FLUSH, 0, 0);
	client_kick(&client, 0);
	usleep(20000);
	CHECK(client_share_memory(&client));
	client_put(&client, 0, 1, VIRTIO_BLK_IN, 40, 512);
	client_kick(&client, 0);
	CHECK_EQ(client_take(&client, 0, 50), -1);
	pthread_mutex_unlock(&stubborn->held);
	CHECK_EQ(client_take(&client, 0, 5000), 0);
	CHECK_EQ(client_take(&client, 0, 5000), 1);
	CHECK(has_sectors(1, 40, 512));
	end();
}

/* A VMM that goes with a request under way: the next one is served when that has ended. */
static void next_waits_for_the_last(void)
{
	struct stubborn *stubborn = make_stubborn();
	REQUIRE(begin_with(&stubborn->device));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	pthread_mutex_lock(&stubborn->held);
	client_put(&client, 0, 0, VIRTIO_BLK_FLUSH, 0, 0);
	client_kick(&client, 0);
	usleep(20000);
	CHECK(client_connect(&client, server.path));
	CHECK(client_send(&client, VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0));
	CHECK(!client_hears(&client, 50));
	pthread_mutex_unlock(&stubborn->held);
	CHECK_EQ(client_receive(&client, VHOST_GET_FEATURES, &client.offered, 8, NULL), 8);
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 8, 4096), VIRTIO_BLK_OK);
	end();
}

/* ------------------------------------------------------------------------------------------- */

static void second_is_refused(void)
{
	struct client second;
	uint64_t ignored;
	REQUIRE(begin_with(make_disk(true)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
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

/* Many at once, of all sizes, from both regions of memory; with and without EVENT_IDX and a ring. */
static void load(uint64_t features)
{
	unsigned under_way = 0, next = 0, done = 0;
	bool busy[80] = {false};
	uint64_t sectors[80];
	client.slot_bytes = 128 << 10;
	REQUIRE(client_negotiate(&client, features, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	while (done < 3000 && !tap_failed) {
		for (; under_way < 32 && next < 3000; next++, under_way++) {
			unsigned slot = (unsigned)rand() % 80;
			while (busy[slot])
				slot = (slot + 1) % 80;
			busy[slot] = true;
			sectors[slot] = (uint64_t)rand() % (DISK / 512 - 256);
			client_put(&client, 0, slot, VIRTIO_BLK_IN, sectors[slot],
				512u << (rand() % 9));
		}
		client_kick(&client, 0);
		int slot = client_take(&client, 0, 5000);
		REQUIRE(slot >= 0);
		CHECK_EQ(*client_state(&client, (unsigned)slot), VIRTIO_BLK_OK);
		CHECK(has_sectors((unsigned)slot, sectors[slot], 512));
		busy[slot] = false;
		under_way--;
		done++;
	}
}

/* A guest that waits for each request adds the next one at all moments of the server's way to sleep:
 * none is overlooked. */
static void one_by_one(void)
{
	for (unsigned i = 0; i < 2; i++) {
		REQUIRE(begin_with(make_disk(true)));
		REQUIRE(client_negotiate(&client, VIRTIO_F_VERSION_1 | (i ? VIRTIO_F_EVENT_IDX : 0),
			VHOST_USER_P_CONFIG));
		REQUIRE(client_activate(&client, 256));
		for (unsigned j = 0; j < 5000 && !tap_failed; j++) {
			for (volatile unsigned wait = (unsigned)rand() % 2000; wait; wait--)
				;
			CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, j, 512), VIRTIO_BLK_OK);
		}
		end();
	}
}

static void under_load(void)
{
	srand(tap_seed());
	for (unsigned i = 0; i < 4; i++) {
		struct block_device *device = make_disk(true);
		REQUIRE(device && vhost_server_start(&server, device, i & 1));
		REQUIRE(client_open(&client, server.path, 32 << 20, true));
		load(VIRTIO_F_VERSION_1 | (i & 2 ? VIRTIO_F_EVENT_IDX : 0));
		end();
	}
}

TEST_MAIN({"Firecracker's messages, in its order, and nothing answered that was not asked",
		  firecracker},
	{"a request from before the queue was enabled is found", early_request},
	{"the name of the disk; an unknown request is unsupported", identity},
	{"a read-only device says so and refuses writes", read_only_refuses},
	{"what was written is in the file; what cannot be is refused", writes_are_in_the_file},
	{"discard and write-zeroes give space back and read as zeros", space_is_given_back},
	{"a flush reaches the device, and its failure the guest", flush_reaches_the_device},
	{"zeros are written where discard is not supported", zeros_without_discard},
	{"memory that changes waits for requests under way", memory_changes_under_way},
	{"the next VMM waits for the last one's requests", next_waits_for_the_last},
	{"a second VMM is refused while one runs", second_is_refused},
	{"a VMM that has not begun gives way", idle_gives_way},
	{"one VMM after another is served", one_after_another},
	{"QEMU's messages: queues, acknowledgements, a driver that comes back, a reset", qemu},
	{"memory by slots", memory_by_slots},
	{"what a killed backend had in flight begins again", inflight_is_resumed},
	{"none of 10,000 requests, one after the other, is overlooked", one_by_one},
	{"3,000 requests of all sizes, many at once", under_load})
