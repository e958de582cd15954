/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest asks of a disk over vhost-user-blk: each kind of request, failures, and many at once. The
 * messages of VMMs are in test_vhost_user.c. */
#include <sys/stat.h>

#include "tests/unit/vhost_disk.h"

static void identity(void)
{
	REQUIRE(serves(make_disk(true)));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_GET_ID, 0, 20), VIRTIO_BLK_OK);
	CHECK(memcmp(client_data(&client, 0), "disk\0", 5) == 0);
	CHECK_EQ(client_do(&client, 77, 0, 512), VIRTIO_BLK_UNSUPPORTED);
	end();
}

static void read_only_refuses(void)
{
	REQUIRE(serves(make_disk(true)));
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
	fstat(disk_fd, &before);
	CHECK_EQ(do_range(VIRTIO_BLK_WRITE_ZEROES, 4196, 4000, 0), VIRTIO_BLK_OK);
	fstat(disk_fd, &after);
	CHECK_EQ(after.st_blocks, before.st_blocks);
	CHECK(is_zero_from(4096 * 512, 4100 * 512));
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
	REQUIRE(serves(&stubborn->device));
	CHECK_EQ(client_do(&client, VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
	CHECK_EQ(stubborn->flushes, 1);
	stubborn->flush_fails = -EIO;
	CHECK_EQ(client_do(&client, VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_IOERR);
	CHECK_EQ(stubborn->flushes, 2);
	end();
}

/* Firecracker's default: no cache_type. */
static void flushes_that_are_not_taken(void)
{
	REQUIRE(begin_with(make_disk(false)));
	REQUIRE(client_negotiate(&client, FIRECRACKER, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	client_close(&client);
	CHECK(strlen(server.notes) == 0);
	REQUIRE(client_open(&client, server.path, MEMORY, true));
	REQUIRE(client_negotiate(&client, FIRECRACKER & ~VIRTIO_BLK_F_FLUSH, VHOST_USER_P_CONFIG));
	REQUIRE(client_activate(&client, 256));
	CHECK(vhost_server_noted(&server, "takes no flushes"));
	end();
}

static void zeros_without_discard(void)
{
	REQUIRE(serves(&make_stubborn()->device));
	CHECK_EQ(do_range(VIRTIO_BLK_WRITE_ZEROES, 3, 5000, 0), VIRTIO_BLK_OK);
	CHECK(is_zero_from(3 * 512, 5000 * 512));
	CHECK(!is_zero_from(2 * 512, 512));
	CHECK(!is_zero_from(5003 * 512, 512));
	CHECK_EQ(do_range(VIRTIO_BLK_DISCARD, 0, 8, 0), VIRTIO_BLK_UNSUPPORTED);
	end();
}

/* A flush is under way, and waits until `held` is unlocked. */
static struct stubborn *begin_held(void)
{
	struct stubborn *stubborn = make_stubborn();
	if (!serves(&stubborn->device))
		return NULL;
	pthread_mutex_lock(&stubborn->held);
	client_put(&client, 0, 0, VIRTIO_BLK_FLUSH, 0, 0);
	client_kick(&client, 0);
	usleep(20000);
	return stubborn;
}

/* The memory is taken away while a request is under way: that ends first, and then the rest goes on. */
static void memory_changes_under_way(void)
{
	struct stubborn *stubborn = begin_held();
	REQUIRE(stubborn != NULL);
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
	struct stubborn *stubborn = begin_held();
	REQUIRE(stubborn != NULL);
	/* The first of these waits for the flush, the other one is never read. */
	CHECK(client_send_vring(&client, VHOST_GET_VRING_BASE, 0, 0));
	CHECK(client_send(&client, VHOST_SET_OWNER, 0, NULL, 0, NULL, 0));
	usleep(20000);
	CHECK(client_connect(&client, server.path));
	CHECK(client_send(&client, VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0));
	CHECK(!client_hears(&client, 50));
	pthread_mutex_unlock(&stubborn->held);
	CHECK_EQ(client_receive(&client, VHOST_GET_FEATURES, &client.offered, 8, NULL), 8);
	REQUIRE(negotiate());
	CHECK_EQ(client_do(&client, VIRTIO_BLK_IN, 8, 4096), VIRTIO_BLK_OK);
	end();
}

/* ------------------------------------------------------------------------------------------- */

/* On a file system that answers from its cache at once, which tmpfs does not. */
static struct block_device *make_cached_disk(void)
{
	char path[] = "/var/tmp/ramet-vhost-XXXXXX";
	disk_fd = mkstemp(path);
	unlink(path);
	return vhost_server_disk_of(disk_fd, DISK, true);
}

/* Many at once, of all sizes, from both regions of memory; with and without EVENT_IDX and a ring. */
static void load(uint64_t features)
{
	unsigned under_way = 0, next = 0, done = 0;
	bool busy[80] = {false};
	uint64_t sectors[80];
	unsigned bytes[80];
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
			bytes[slot] = 512u << (rand() % 9);
			client_put(&client, 0, slot, VIRTIO_BLK_IN, sectors[slot], bytes[slot]);
		}
		client_kick(&client, 0);
		int slot = client_take(&client, 0, 5000);
		REQUIRE(slot >= 0);
		CHECK_EQ(*client_state(&client, (unsigned)slot), VIRTIO_BLK_OK);
		CHECK(has_sectors((unsigned)slot, sectors[slot], bytes[slot]));
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
	for (unsigned i = 0; i < 8; i++) {
		struct block_device *device = i & 4 ? make_cached_disk() : make_disk(true);
		REQUIRE(device && vhost_server_start(&server, device, i & 1));
		REQUIRE(client_open(&client, server.path, 32 << 20, true));
		load(VIRTIO_F_VERSION_1 | (i & 2 ? VIRTIO_F_EVENT_IDX : 0));
		end();
	}
}

TEST_MAIN({"the name of the disk; an unknown request is unsupported", identity},
	{"a read-only device says so and refuses writes", read_only_refuses},
	{"what was written is in the file; what cannot be is refused", writes_are_in_the_file},
	{"discard and write-zeroes give space back, or keep it, and read as zeros",
		space_is_given_back},
	{"a flush reaches the device, and its failure the guest", flush_reaches_the_device},
	{"a VMM that takes no flushes for its guest is told of", flushes_that_are_not_taken},
	{"zeros are written where discard is not supported", zeros_without_discard},
	{"memory that changes waits for requests under way", memory_changes_under_way},
	{"the next VMM waits for the last one's requests", next_waits_for_the_last},
	{"none of 10,000 requests, one after the other, is overlooked", one_by_one},
	{"3,000 requests of all sizes, many at once", under_load})
