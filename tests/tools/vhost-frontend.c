/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-frontend SOCKET check FILE: any vhost-user-blk server must have the bytes of FILE.
 * vhost-frontend SOCKET vanish - : the memory is cut short under the server, which must end the connection;
 * and it must be able to make memory for requests in flight.
 * vhost-frontend SOCKET read|seq SECONDS DEPTH BYTES: reads, random or one after the other, so many at
 * once; says how many a second there were. Talks as Firecracker does. For a guest that polls instead of
 * sleeping, put "poll-" before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/vhost_client.h"

enum { QUEUE = 256, SLOTS_MOST = QUEUE / 3 };
#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_FLUSH)

static struct client client;

static int fail(const char *what)
{
	fprintf(stderr, "vhost-frontend: %s\n", what);
	return 1;
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int check(const char *path)
{
	static uint8_t there[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail("the file cannot be opened");
	client.slot_bytes = sizeof there;
	uint64_t sectors = client.configuration.capacity, at = 0;
	for (uint32_t part; at < sectors; at += part) {
		part = (uint32_t)(sectors - at < 128 ? sectors - at : 128);
		if (client_do(&client, VIRTIO_BLK_IN, at, part * 512) != VIRTIO_BLK_OK)
			return fail("a read failed");
		if (pread(fd, there, (size_t)part * 512, (off_t)(at * 512)) !=
				(ssize_t)part * 512 ||
			memcmp(there, client_data(&client, 0), (size_t)part * 512) != 0) {
			fprintf(stderr, "vhost-frontend: other bytes at sector %llu\n",
				(unsigned long long)at);
			return 1;
		}
	}
	close(fd);
	printf("%llu sectors\n", (unsigned long long)sectors);
	return 0;
}

static int vanish(void)
{
	struct vhost_wire_inflight shape = {.queues = 1, .queue_size = QUEUE};
	int fd = -1;
	if (!client_send(&client, VHOST_GET_INFLIGHT_FD, 0, &shape, sizeof shape, NULL, 0) ||
		client_receive(&client, VHOST_GET_INFLIGHT_FD, &shape, sizeof shape, &fd) < 0 ||
		fd < 0)
		return fail("there is no memory for requests in flight");
	if (client_do(&client, VIRTIO_BLK_IN, 0, 4096) != VIRTIO_BLK_OK)
		return fail("a read failed");
	if (ftruncate(client.memory_fd, 0) < 0)
		return fail("the memory cannot be cut short");
	eventfd_write(client.queues[0].kick, 1);
	return client_ended(&client) ? 0 : fail("the connection goes on");
}

struct load {
	double seconds;
	unsigned depth, bytes;
	bool random, polls;
	uint64_t next;
};

static uint64_t choose(struct load *load)
{
	uint64_t places = client.configuration.capacity * 512 / load->bytes;
	uint64_t place = load->next++;
	if (load->random)
		place = ((uint64_t)random() << 31) ^ (uint64_t)random();
	return place % places * (load->bytes / 512);
}

static bool has_more(void)
{
	const struct client_queue *queue = &client.queues[0];
	return __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE) != queue->seen;
}

static int take(const struct load *load)
{
	while (load->polls && !has_more())
		;
	return client_take(&client, 0, 10000);
}

static int run(struct load *load)
{
	client.slot_bytes = load->bytes;
	srandom(1);
	for (unsigned i = 0; i < load->depth; i++)
		client_put(&client, 0, i, VIRTIO_BLK_IN, choose(load), load->bytes);
	client_kick(&client, 0);
	uint64_t done = 0;
	double begin = now(), end = begin + load->seconds;
	while (now() < end) {
		int slot = take(load);
		/* All that are done are begun anew before there is a kick. */
		for (unsigned i = 0; i < load->depth && slot >= 0; i++) {
			if (*client_state(&client, (unsigned)slot) != VIRTIO_BLK_OK)
				return fail("a read failed");
			done++;
			client_put(&client, 0, (unsigned)slot, VIRTIO_BLK_IN, choose(load),
				load->bytes);
			slot = has_more() ? client_take(&client, 0, 0) : -1;
		}
		client_kick(&client, 0);
	}
	printf("%.0f requests a second, %llu in all\n", (double)done / (now() - begin),
		(unsigned long long)done);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 6)
		return fail(
			"usage: vhost-frontend SOCKET check FILE | vanish - | [poll-]read|[poll-]seq "
			"SECONDS DEPTH BYTES");
	bool vanishes = strcmp(argv[2], "vanish") == 0;
	if (!client_open(&client, argv[1], 64 << 20, !vanishes) ||
		!client_negotiate(&client, FEATURES, VHOST_USER_P_CONFIG) ||
		!client_activate(&client, QUEUE))
		return fail("the server does not answer as it should");
	if (argc == 4)
		return vanishes ? vanish() : check(argv[3]);
	struct load load = {.seconds = atof(argv[3]),
		.depth = (unsigned)atoi(argv[4]),
		.bytes = (unsigned)atoi(argv[5]),
		.random = strstr(argv[2], "read"),
		.polls = strncmp(argv[2], "poll-", 5) == 0};
	if (load.depth == 0 || load.depth > SLOTS_MOST || load.bytes < 512 || load.bytes % 512 ||
		(uint64_t)load.depth * load.bytes > (32 << 20) - CLIENT_DATA)
		return fail("DEPTH and BYTES are more than there is room for");
	return run(&load);
}
