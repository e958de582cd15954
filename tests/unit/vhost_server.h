/* SPDX-License-Identifier: Apache-2.0 */
/* A vhost-user-blk server in a thread, over a device of the test's, and what it noted. */
#ifndef TESTS_VHOST_SERVER_H
#define TESTS_VHOST_SERVER_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "export/export.h"
#include "tests/unit/tap.h"

struct vhost_server {
	char folder[32], path[64];
	struct block_device *device;
	struct loop *loop;
	struct engine *engine;
	struct export *export;
	struct loop_fd stop;
	pthread_t thread;
	pthread_mutex_t lock;
	char notes[8192]; /* under lock */
};

static inline void vhost_server_note(void *ctx, const char *sentence)
{
	struct vhost_server *server = ctx;
	pthread_mutex_lock(&server->lock);
	size_t length = strlen(server->notes);
	snprintf(server->notes + length, sizeof server->notes - length, "%s\n", sentence);
	pthread_mutex_unlock(&server->lock);
}

/* Whether it noted this, within 5 s. */
static inline bool vhost_server_noted(struct vhost_server *server, const char *part)
{
	bool found = false;
	for (unsigned i = 0; i < 500 && !found; i++) {
		pthread_mutex_lock(&server->lock);
		found = strstr(server->notes, part);
		pthread_mutex_unlock(&server->lock);
		if (!found)
			usleep(10000);
	}
	if (!found)
		printf("# not noted: %s; but: %s\n", part, server->notes);
	return found;
}

static inline void vhost_server_stop(struct loop_fd *self, short revents)
{
	struct vhost_server *server = (struct vhost_server *)((char *)self -
							      offsetof(struct vhost_server, stop));
	loop_stop(server->loop, 0);
}

static inline void *vhost_server_run(void *argument)
{
	struct vhost_server *server = argument;
	loop_run(server->loop);
	return NULL;
}

/* A disk in memory whose sectors each begin with their number; NULL without any. It is *fd, too. */
static inline struct block_device *vhost_server_disk_of(int fd, uint64_t size, bool read_only)
{
	struct block_device *device;
	struct ramet_error err;
	if (ftruncate(fd, (off_t)size) < 0)
		return NULL;
	for (uint64_t i = 0; i < size / 512; i++)
		if (pwrite(fd, &i, sizeof i, (off_t)(i * 512)) != sizeof i)
			return NULL;
	return block_file_open(dup(fd), read_only, &device, &err) < 0 ? NULL : device;
}

static inline struct block_device *vhost_server_disk(uint64_t size, bool read_only, int *fd)
{
	*fd = memfd_create("disk", MFD_CLOEXEC);
	return vhost_server_disk_of(*fd, size, read_only);
}

/* device is taken over. */
static inline bool vhost_server_start(
	struct vhost_server *server, struct block_device *device, bool no_ring)
{
	struct ramet_error err = {0};
	const struct engine_options engine_options = {.no_ring = no_ring};
	*server = (struct vhost_server){.folder = "/tmp/ramet-vhost.XXXXXX", .device = device};
	pthread_mutex_init(&server->lock, NULL);
	if (!mkdtemp(server->folder))
		return false;
	snprintf(server->path, sizeof server->path, "%s/s", server->folder);
	server->stop = (struct loop_fd){
		.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN, .ready = vhost_server_stop};
	if (loop_new(&server->loop, &err) < 0 ||
		engine_new(device, &engine_options, &server->engine, &err) < 0 ||
		loop_add_engine(server->loop, server->engine) < 0 ||
		loop_add(server->loop, &server->stop) < 0)
		return false;
	const struct export_device served = {
		.name = "disk", .device = device, .engine = server->engine};
	const struct export_options options = {.loop = server->loop,
		.devices = &served,
		.device_count = 1,
		.address = server->path,
		.note = vhost_server_note,
		.note_ctx = server};
	if (export_vhost_user_blk.open(&options, &server->export, &err) < 0) {
		printf("# %s\n", err.message);
		return false;
	}
	return pthread_create(&server->thread, NULL, vhost_server_run, server) == 0;
}

static inline void vhost_server_end(struct vhost_server *server)
{
	eventfd_write(server->stop.fd, 1);
	pthread_join(server->thread, NULL);
	export_vhost_user_blk.stop(server->export);
	engine_drain(server->engine);
	export_vhost_user_blk.close(server->export);
	engine_free(server->engine);
	loop_free(server->loop);
	close(server->stop.fd);
	block_close(server->device);
	pthread_mutex_destroy(&server->lock);
	CHECK_EQ(rmdir(server->folder), 0);
}

#endif
