/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros behind the end of a device, and everything before it as it was. */
#include "tests/unit/sources.h"

static struct block_device *file_of(size_t length, bool read_only)
{
	struct block_device *device = NULL;
	int fd = memfd_create("padded", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(fd, (off_t)length), 0);
	CHECK_EQ(block_file_open(fd, read_only, &device, NULL), 0);
	return device;
}

static void test_sizes(void)
{
	_cleanup_block_ struct block_device *device = file_of(4096, true);
	struct block_device *before = device;
	CHECK_EQ(block_padded_open(&device, 4096, NULL), 0);
	CHECK(device == before);
	CHECK_EQ(block_padded_open(&device, 2 << 20, NULL), 0);
	CHECK_EQ(device->size, 2 << 20);
	CHECK(device->read_only && !device->ops->prepare_write);
	_cleanup_block_ struct block_device *writable = file_of(4096, false);
	struct ramet_error err = {0};
	CHECK_EQ(block_padded_open(&writable, 8192, &err), -EINVAL);
	device->size = UINT64_MAX - 511;
	CHECK_EQ(block_padded_open(&device, 2 << 20, &err), -EOVERFLOW);
}

static void test_map(void)
{
	_cleanup_block_ struct block_device *device = file_of(1536, true);
	REQUIRE(block_padded_open(&device, 4096, NULL) == 0);
	struct block_extent extents[2];
	REQUIRE(device->ops->map(device, 1024, 3072, extents, 2) == 1);
	CHECK(extents[0].kind == BLOCK_DATA && extents[0].length == 512);
	REQUIRE(device->ops->map(device, 1536, 2560, extents, 2) == 1);
	CHECK(extents[0].kind == BLOCK_ZERO && extents[0].length == 2560);
}

struct whole {
	struct block_request request;
	int result;
};

static void done(struct block_request *request, int result)
{
	((struct whole *)request)->result = result;
}

/* What is held goes back to the device that handed it out: its sources are looked at again. */
static void test_sources(void)
{
	struct world world;
	srand(tap_seed());
	world_files(&world, 20, 40000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(&world, (struct block_layout_options){0}, (struct engine_options){0});
	struct engine *engine = NULL;
	struct block_device *device = world.device;
	REQUIRE(block_padded_open(&device, 2 << 20, NULL) == 0);
	REQUIRE(engine_new(device, &(struct engine_options){0}, &engine, NULL) == 0);
	uint8_t *bytes = malloc(device->size);
	memset(bytes, 0xff, device->size);
	struct iovec memory = {bytes, device->size};
	struct whole whole = {{.operation = BLOCK_READ,
				      .length = device->size,
				      .vector = &memory,
				      .vector_count = 1,
				      .done = done},
		-1};
	engine_submit(engine, &whole.request);
	engine_drain(engine);
	CHECK_EQ(whole.result, 0);
	CHECK(memcmp(bytes, world.image, world.bytes) == 0);
	for (uint64_t i = world.bytes; i < device->size; i++)
		REQUIRE(bytes[i] == 0);
	free(bytes);
	engine_free(engine);
	/* It owns the world's device. */
	world.device = device;
	world_end_serving(&world);
	world_end(&world);
}

TEST_MAIN({"a device becomes as large as it has to be", test_sizes},
	{"what is behind its end is zeros", test_map},
	{"the content of sources goes through", test_sources})
