/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tools/vhost_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE = 5000 };

bool client_connect(struct client *client, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (client->socket >= 0)
		close(client->socket);
	client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return client->socket >= 0 &&
	       connect(client->socket, (struct sockaddr *)&address, sizeof address) == 0;
}

bool client_open(struct client *client, const char *path, uint64_t memory_size, bool sealed)
{
	*client = (struct client){.socket = -1, .memory_fd = -1, .memory_size = memory_size};
	client->slot_bytes = 4096;
	for (unsigned i = 0; i < 4; i++)
		client->queues[i].kick = client->queues[i].call = -1;
	client->memory_fd = memfd_create("guest_mem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (client->memory_fd < 0 || ftruncate(client->memory_fd, (off_t)memory_size) < 0)
		return false;
	if (sealed && fcntl(client->memory_fd, F_ADD_SEALS,
			      F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return false;
	client->memory = mmap(
		NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, client->memory_fd, 0);
	return client->memory != MAP_FAILED && client_connect(client, path);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void client_close(struct client *client)
{
	close_fd(&client->socket);
	close_fd(&client->memory_fd);
	for (unsigned i = 0; i < 4; i++) {
		close_fd(&client->queues[i].kick);
		close_fd(&client->queues[i].call);
	}
	munmap(client->memory, client->memory_size);
}

/* ------------------------------------------------------------------------------------------- */

bool client_send(struct client *client, uint32_t request, uint32_t flags, const void *payload,
	uint32_t size, const int *fds, unsigned fd_count)
{
	uint32_t head[] = {request, flags | VHOST_VERSION, size};
	struct iovec parts[] = {{head, sizeof head}, {(void *)payload, size}};
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(32 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS,
			     .cmsg_len = CMSG_LEN(fd_count * sizeof(int))}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (fd_count) {
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	return sendmsg(client->socket, &message, MSG_NOSIGNAL) == (ssize_t)(sizeof head + size);
}

bool client_send_number(struct client *client, uint32_t request, uint64_t number)
{
	return client_send(client, request, 0, &number, sizeof number, NULL, 0);
}

bool client_send_vring(struct client *client, uint32_t request, uint32_t index, uint32_t value)
{
	const struct vhost_vring_state state = {index, value};
	return client_send(client, request, 0, &state, sizeof state, NULL, 0);
}

bool client_hears(struct client *client, int milliseconds)
{
	struct pollfd waited = {.fd = client->socket, .events = POLLIN};
	return poll(&waited, 1, milliseconds) > 0;
}

static bool read_all(struct client *client, void *into, size_t length)
{
	for (size_t got = 0; got < length;) {
		ssize_t n = client_hears(client, PATIENCE)
				    ? recv(client->socket, (uint8_t *)into + got, length - got, 0)
				    : -1;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

int client_receive(struct client *client, uint32_t request, void *payload, uint32_t most, int *fd)
{
	uint32_t head[3];
	struct iovec part = {head, sizeof head};
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	if (!client_hears(client, PATIENCE) ||
		recvmsg(client->socket, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL) != sizeof head)
		return -1;
	int got = -1;
	if (CMSG_FIRSTHDR(&message))
		memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
	if (fd)
		*fd = got;
	else
		close_fd(&got);
	if (head[0] != request || head[1] != (VHOST_VERSION | VHOST_REPLY) || head[2] > most)
		return -1;
	return read_all(client, payload, head[2]) ? (int)head[2] : -1;
}

bool client_ask(struct client *client, uint32_t request, uint64_t *number)
{
	return client_send(client, request, 0, NULL, 0, NULL, 0) &&
	       client_receive(client, request, number, sizeof *number, NULL) == sizeof *number;
}

bool client_ended(struct client *client)
{
	char byte;
	return client_hears(client, PATIENCE) && recv(client->socket, &byte, 1, 0) <= 0;
}

/* ------------------------------------------------------------------------------------------- */

static bool get_config(struct client *client)
{
	struct {
		uint32_t offset, size, flags;
		struct virtio_blk_configuration configuration;
	} __attribute__((packed)) config = {.size = sizeof config.configuration, .flags = 1};
	if (!client_send(client, VHOST_GET_CONFIG, 0, &config, sizeof config, NULL, 0) ||
		client_receive(client, VHOST_GET_CONFIG, &config, sizeof config, NULL) !=
			sizeof config ||
		config.offset != 0 || config.size != sizeof config.configuration)
		return false;
	client->configuration = config.configuration;
	return true;
}

bool client_negotiate(struct client *client, uint64_t wanted, uint64_t protocol)
{
	if (!client_send(client, VHOST_SET_OWNER, 0, NULL, 0, NULL, 0) ||
		!client_ask(client, VHOST_GET_FEATURES, &client->offered) ||
		!client_ask(client, VHOST_GET_PROTOCOL_FEATURES, &client->protocol_offered) ||
		!client_send_number(
			client, VHOST_SET_PROTOCOL_FEATURES, protocol & client->protocol_offered))
		return false;
	client->features = (wanted | VHOST_USER_F_PROTOCOL) & client->offered;
	return get_config(client);
}

bool client_share_memory(struct client *client)
{
	/* Two regions, with a hole between them in the guest's addresses, as above 3 GiB. */
	uint64_t low = client->memory_size / 2;
	struct {
		uint32_t count, padding;
		struct vhost_wire_region regions[2];
	} table = {.count = 2,
		.regions = {{.size = low, .user = CLIENT_USER},
			{.guest = 2 * client->memory_size,
				.size = client->memory_size - low,
				.user = CLIENT_USER + low,
				.offset = low}}};
	int fds[] = {client->memory_fd, client->memory_fd};
	return client_send(client, VHOST_SET_MEM_TABLE, 0, &table, sizeof table, fds, 2);
}

/* The guest's address of a place in its memory. */
static uint64_t guest(const struct client *client, uint64_t place)
{
	uint64_t low = client->memory_size / 2;
	return place < low ? place : 2 * client->memory_size + place - low;
}

void client_clear_queue(struct client *client, unsigned index, unsigned size)
{
	struct client_queue *queue = &client->queues[index];
	uint8_t *rings = client->memory + (size_t)index * CLIENT_QUEUE_BYTES;
	queue->descriptors = (struct vring_descriptor *)(rings + CLIENT_DESCRIPTORS);
	queue->available = (struct vring_available *)(rings + CLIENT_AVAILABLE);
	queue->used = (struct vring_used *)(rings + CLIENT_USED);
	queue->size = size;
	queue->next = queue->kicked = queue->seen = 0;
	memset(rings + CLIENT_DESCRIPTORS, 0, CLIENT_QUEUE_BYTES - CLIENT_DESCRIPTORS);
}

static bool send_event(struct client *client, uint32_t request, unsigned queue, int *event)
{
	if (*event < 0)
		*event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t index = queue;
	return client_send(client, request, 0, &index, sizeof index, event, 1);
}

bool client_start_queue(struct client *client, unsigned index, unsigned size, uint16_t base)
{
	struct client_queue *queue = &client->queues[index];
	uint64_t rings = CLIENT_USER + (uint64_t)index * CLIENT_QUEUE_BYTES;
	const struct vhost_vring_address address = {.index = index,
		.descriptors = rings + CLIENT_DESCRIPTORS,
		.used = rings + CLIENT_USED,
		.available = rings + CLIENT_AVAILABLE};
	return client_send_vring(client, VHOST_SET_VRING_NUM, index, size) &&
	       client_send(client, VHOST_SET_VRING_ADDR, 0, &address, sizeof address, NULL, 0) &&
	       client_send_vring(client, VHOST_SET_VRING_BASE, index, base) &&
	       send_event(client, VHOST_SET_VRING_CALL, index, &queue->call) &&
	       send_event(client, VHOST_SET_VRING_KICK, index, &queue->kick) &&
	       client_send_vring(client, VHOST_SET_VRING_ENABLE, index, 1);
}

bool client_activate(struct client *client, unsigned queue_size)
{
	client_clear_queue(client, 0, queue_size);
	return client_send_number(client, VHOST_SET_FEATURES, client->features) &&
	       client_share_memory(client) && client_start_queue(client, 0, queue_size, 0);
}

/* ------------------------------------------------------------------------------------------- */

uint8_t *client_data(struct client *client, unsigned slot)
{
	return client->memory + CLIENT_DATA + (size_t)slot * client->slot_bytes;
}

uint8_t *client_state(struct client *client, unsigned slot)
{
	return client->memory + CLIENT_HEADS + (size_t)slot * 32 + 16;
}

/* Head, data and state as descriptors; answers how many. */
static unsigned fill(struct client *client, struct vring_descriptor *into, unsigned first,
	unsigned slot, uint32_t type, uint64_t sector, uint32_t bytes)
{
	struct virtio_blk_head head = {.type = type, .sector = sector};
	uint64_t place = CLIENT_HEADS + (uint64_t)slot * 32;
	bool reads = type == VIRTIO_BLK_IN || type == VIRTIO_BLK_GET_ID;
	unsigned count = 0;
	memcpy(client->memory + place, &head, sizeof head);
	*client_state(client, slot) = 0xff;
	into[count++] = (struct vring_descriptor){
		.address = guest(client, place), .length = sizeof head, .flags = VRING_DESC_NEXT};
	if (bytes)
		into[count++] = (struct vring_descriptor){
			.address = guest(client, CLIENT_DATA + (uint64_t)slot * client->slot_bytes),
			.length = bytes,
			.flags = (uint16_t)(VRING_DESC_NEXT | (reads ? VRING_DESC_WRITE : 0))};
	into[count++] = (struct vring_descriptor){
		.address = guest(client, place + 16), .length = 1, .flags = VRING_DESC_WRITE};
	for (unsigned i = 0; i + 1 < count; i++)
		into[i].next = (uint16_t)(first + i + 1);
	return count;
}

void client_offer(struct client_queue *queue, uint16_t head)
{
	queue->available->ring[queue->next % queue->size] = head;
	queue->next++;
	__atomic_store_n(&queue->available->index, queue->next, __ATOMIC_RELEASE);
}

void client_put(struct client *client, unsigned index, unsigned slot, uint32_t type,
	uint64_t sector, uint32_t bytes)
{
	struct client_queue *queue = &client->queues[index];
	fill(client, queue->descriptors + 3 * slot, 3 * slot, slot, type, sector, bytes);
	client_offer(queue, (uint16_t)(3 * slot));
}

void client_put_indirect(struct client *client, unsigned index, unsigned slot, uint32_t type,
	uint64_t sector, uint32_t bytes)
{
	struct client_queue *queue = &client->queues[index];
	uint64_t place = CLIENT_INDIRECT + (uint64_t)slot * 64;
	unsigned count = fill(client, (struct vring_descriptor *)(client->memory + place), 0, slot,
		type, sector, bytes);
	queue->descriptors[3 * slot] = (struct vring_descriptor){.address = guest(client, place),
		.length = count * (uint32_t)sizeof *queue->descriptors,
		.flags = VRING_DESC_INDIRECT};
	client_offer(queue, (uint16_t)(3 * slot));
}

static bool wants_kick(const struct client *client, struct client_queue *queue)
{
	uint16_t old = queue->kicked;
	queue->kicked = queue->next;
	if (!(client->features & VIRTIO_F_EVENT_IDX))
		return !(queue->used->flags & VRING_NO_NOTIFY);
	uint16_t event;
	memcpy(&event, &queue->used->ring[queue->size], sizeof event);
	return (uint16_t)(queue->next - event - 1) < (uint16_t)(queue->next - old);
}

void client_kick(struct client *client, unsigned index)
{
	struct client_queue *queue = &client->queues[index];
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_kick(client, queue))
		eventfd_write(queue->kick, 1);
}

int client_take(struct client *client, unsigned index, int milliseconds)
{
	struct client_queue *queue = &client->queues[index];
	for (;;) {
		if (__atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE) != queue->seen) {
			const struct vring_used_element *element =
				&queue->used->ring[queue->seen++ % queue->size];
			return (int)(element->head / 3);
		}
		/* Call when the next one is done. */
		queue->available->ring[queue->size] = queue->seen;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE) != queue->seen)
			continue;
		struct pollfd waited = {.fd = queue->call, .events = POLLIN};
		eventfd_t count;
		if (poll(&waited, 1, milliseconds) <= 0)
			return -1;
		eventfd_read(queue->call, &count);
	}
}

int client_do(struct client *client, uint32_t type, uint64_t sector, uint32_t bytes)
{
	client_put(client, 0, 0, type, sector, bytes);
	client_kick(client, 0);
	return client_take(client, 0, PATIENCE) == 0 ? *client_state(client, 0) : -1;
}
