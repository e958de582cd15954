/* SPDX-License-Identifier: Apache-2.0 */
/* An NBD server in a thread, over a device whose blocks are data, zeros, or slow, and one that is fixed. */
#ifndef TESTS_NBD_SERVER_H
#define TESTS_NBD_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "export/export.h"
#include "nbd_client.h"
#include "tap.h"

#define SIZE  ((uint64_t)8 << 20)
#define BLOCK ((uint64_t)64 << 10) /* of one kind */

struct slow_device {
	struct block_device device;
	int fd;
	atomic_int flushes, waits;
	atomic_bool wait_long;
};

static inline int slow_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	const struct slow_device *slow = (const struct slow_device *)device;
	unsigned count = 0;
	for (; length && count < most; count++) {
		uint64_t part = MIN(length, BLOCK - offset % BLOCK);
		extents[count] = (struct block_extent){
			.kind = (offset / BLOCK) % 4 == 1 ? BLOCK_ZERO : BLOCK_DATA,
			.fd = slow->fd,
			.offset = offset,
			.length = part};
		if ((offset / BLOCK) % 4 == 2 && slow->wait_long) {
			extents[count++].kind = BLOCK_WAIT;
			break;
		}
		offset += part;
		length -= part;
	}
	return (int)count;
}

static inline int slow_ready(struct block_device *device, const struct block_extent *extent)
{
	((struct slow_device *)device)->waits++;
	usleep(50000);
	((struct slow_device *)device)->wait_long = false;
	return 0;
}

static inline int slow_prepare(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	extents[0] = (struct block_extent){.kind = BLOCK_DATA,
		.fd = ((struct slow_device *)device)->fd,
		.offset = offset,
		.length = length};
	return 1;
}

static inline int slow_flush(struct block_device *device)
{
	((struct slow_device *)device)->flushes++;
	return 0;
}

static const struct block_ops slow_ops = {
	.name = "slow",
	.map = slow_map,
	.ready = slow_ready,
	.prepare_write = slow_prepare,
	.flush = slow_flush,
};

static struct server {
	char path[64];
	struct slow_device slow;
	struct block_device *fixed;
	struct loop *loop;
	struct engine *engines[2];
	struct export *export;
	struct loop_fd end;
	pthread_t thread;
	atomic_int notes;
} server;

static inline void count_note(void *ctx, const char *sentence)
{
	server.notes++;
	printf("# %s\n", sentence);
}

static inline void end(struct loop_fd *self, short revents)
{
	loop_stop(server.loop, 0);
}

static inline void *serve(void *argument)
{
	loop_run(server.loop);
	return NULL;
}

static inline int scratch_file(uint64_t size)
{
	char path[] = "/var/tmp/ramet-nbd-XXXXXX";
	int fd = mkstemp(path);
	if (fd < 0 || unlink(path) < 0 || ftruncate(fd, (off_t)size) < 0)
		return -1;
	return fd;
}

static inline void start(void)
{
	struct ramet_error err = {0};
	const struct engine_options options = {0};
	server.slow = (struct slow_device){
		.device = {.ops = &slow_ops, .size = SIZE}, .fd = scratch_file(SIZE)};
	server.notes = 0;
	snprintf(server.path, sizeof server.path, "/tmp/ramet-nbd-%d", (int)getpid());
	REQUIRE(block_file_open(scratch_file(SIZE), true, &server.fixed, &err) == 0);
	REQUIRE(loop_new(&server.loop, &err) == 0);
	REQUIRE(engine_new(&server.slow.device, &options, &server.engines[0], &err) == 0);
	REQUIRE(engine_new(server.fixed, &options, &server.engines[1], &err) == 0);
	REQUIRE(loop_add_engine(server.loop, server.engines[0]) == 0);
	REQUIRE(loop_add_engine(server.loop, server.engines[1]) == 0);
	server.end = (struct loop_fd){
		.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN, .ready = end};
	REQUIRE(loop_add(server.loop, &server.end) == 0);
	const struct export_device devices[] = {
		{.name = "slow", .device = &server.slow.device, .engine = server.engines[0]},
		{.name = "fixed", .device = server.fixed, .engine = server.engines[1]}};
	const struct export_options export = {.loop = server.loop,
		.devices = devices,
		.device_count = 2,
		.address = server.path,
		.note = count_note};
	REQUIRE(export_find("nbd")->open(&export, &server.export, &err) == 0);
	REQUIRE(pthread_create(&server.thread, NULL, serve, NULL) == 0);
}

static inline void stop(void)
{
	REQUIRE(write(server.end.fd, &(uint64_t){1}, 8) == 8);
	pthread_join(server.thread, NULL);
	server.export->ops->stop(server.export);
	engine_drain(server.engines[0]);
	engine_drain(server.engines[1]);
	server.export->ops->close(server.export);
	engine_free(server.engines[0]);
	engine_free(server.engines[1]);
	loop_free(server.loop);
	block_close(server.fixed);
	close(server.slow.fd);
	close(server.end.fd);
}

/* A client past its handshake, with simple replies. */
static inline struct client open_export(const char *name)
{
	struct client client = client_connect(server.path);
	CHECK(client_greet(&client, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
	CHECK_EQ(client_name(&client, NBD_OPT_GO, name), NBD_REP_ACK);
	return client;
}

static uint8_t bytes[(size_t)1 << 20];

static inline bool is_served(void)
{
	struct client client = open_export("slow");
	const struct asked read = {NBD_CMD_READ, 0, 0, 4096};
	bool served = client_do(&client, read, bytes) == 0;
	close(client.fd);
	return served;
}

#endif
