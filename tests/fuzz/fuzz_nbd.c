/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NBD client that says any bytes: as the kernel's after its handshake (first byte odd), or from the
 * handshake on. Its answers are read and thrown away; when all has been said it hangs up, and the
 * server has to let go of it.
 */
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "export/nbd_inside.h"

enum { DISK = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct engine *engine;
static struct block_device *device;

struct client {
	struct loop_fd fd; /* first */
	const uint8_t *bytes;
	size_t left;
};

static void end(struct nbd_server *server, struct nbd_connection *connection)
{
	loop_stop(loop, 0);
}

static void hear_and_say(struct loop_fd *fd, short revents)
{
	struct client *client = (struct client *)fd;
	static uint8_t heard[1 << 16];
	while (recv(fd->fd, heard, sizeof heard, MSG_DONTWAIT) > 0)
		;
	ssize_t n = client->left
			    ? send(fd->fd, client->bytes, client->left, MSG_DONTWAIT | MSG_NOSIGNAL)
			    : 0;
	if (n > 0) {
		client->bytes += n;
		client->left -= (size_t)n;
	}
	if (client->left == 0 || revents & (POLLHUP | POLLERR)) {
		shutdown(fd->fd, SHUT_WR);
		fd->events = POLLIN;
	}
	if (revents & POLLHUP)
		fd->events = 0;
}

static bool prepare(void)
{
	struct ramet_error err = {0};
	int fd = memfd_create("disk", MFD_CLOEXEC);
	return fd >= 0 && ftruncate(fd, DISK) == 0 &&
	       block_file_open(fd, false, &device, &err) == 0 &&
	       engine_new(device, &(struct engine_options){.no_ring = true}, &engine, &err) == 0 &&
	       loop_new(&loop, &err) == 0 && loop_add_engine(loop, engine) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	struct nbd_server server = {.gone = end};
	int pair[2];
	if (size == 0)
		return 0;
	if ((!loop && !prepare()) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	const struct export_device devices[] = {
		{.name = "disk", .device = device, .engine = engine}};
	const struct export_options options = {.loop = loop, .devices = devices, .device_count = 1};
	struct client client = {
		.fd = {.fd = pair[1], .events = POLLIN | POLLOUT, .ready = hear_and_say},
		.bytes = data + 1,
		.left = size - 1};
	if (nbd_server_start(&server, &options, &err) < 0 ||
		nbd_server_adopt(&server, pair[0], data[0] & 1 ? &server.devices[0] : NULL) < 0 ||
		loop_add(loop, &client.fd) < 0)
		abort();
	loop_run(loop);
	if (server.memory.used_bytes)
		abort();
	loop_remove(loop, &client.fd);
	nbd_server_finish(&server);
	close(pair[1]);
	return 0;
}
