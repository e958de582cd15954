/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user-blk, from any bytes: they are a script of what a VMM and its guest do. Messages go through
 * a socket, the guest's memory is a memfd. Each step is one byte, and what it needs:
 *
 *   0  a message: request, flags, fds (which, and how many), length of the payload, payload
 *   1  bytes into the guest's memory: 3 bytes where, 1 how many, the bytes
 *   2  a kick
 *   3  what a VMM does until a queue of 16 is served
 *   4  a request, well-formed: type, length in 16 bytes, sector; by an indirect table when the type's highest bit is set
 *   5  the memory is cut short: 1 byte where
 */
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "export/vhost_user_guard.h"
#include "export/vhost_user_inside.h"

enum { DISK = 1 << 16, MEMORY = 1 << 16, QUEUE = 16, STEPS = 200, TURNS = 3 };
enum { DESCRIPTORS = 0x1000, AVAILABLE = 0x2000, USED = 0x3000, HEADS = 0x4000, DATA = 0x8000 };
#define USER 0x10000000ULL

static struct loop *loop;
static struct engine *engine;
static struct block_device *device;
static int memory_fd, disk_fd, event;
static unsigned turns;

struct script {
	const uint8_t *bytes;
	size_t left;
	struct vhost_export export;
	int socket;
	uint16_t available;
};

static uint8_t next(struct script *script)
{
	return script->left ? script->left--, *script->bytes++ : 0;
}

static size_t copy(struct script *script, void *to, size_t length)
{
	length = MIN(length, script->left);
	memcpy(to, script->bytes, length);
	script->bytes += length;
	script->left -= length;
	return length;
}

static bool count_turns(struct loop_hook *hook)
{
	if (turns++ == TURNS)
		loop_stop(loop, 0);
	return true;
}

static struct loop_hook hook = {.run = count_turns};

static void run(struct script *script)
{
	bool over = false;
	turns = 0;
	loop_run(loop);
	engine_drain(engine);
	if (script->export.session)
		vhost_session_run(script->export.session, &over);
	if (over)
		vhost_session_free(TAKE_PTR(script->export.session));
}

static void send_message(struct script *script, uint32_t request, uint32_t flags,
	const void *payload, uint32_t size, const int *fds, unsigned count)
{
	uint32_t head[] = {request, flags, size};
	struct iovec parts[] = {{head, sizeof head}, {(void *)payload, size}};
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(4 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS,
			     .cmsg_len = CMSG_LEN(count * sizeof(int))}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (count) {
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	sendmsg(script->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	run(script);
	uint8_t answers[4096];
	while (recv(script->socket, answers, sizeof answers, MSG_DONTWAIT) > 0)
		;
}

static void any_message(struct script *script)
{
	const int fds[] = {memory_fd, event, memory_fd, event};
	uint8_t payload[255];
	uint32_t request = next(script), flags = next(script), which = next(script);
	uint32_t size = (uint32_t)copy(script, payload, next(script));
	send_message(script, request, flags, payload, size, fds + (which & 1), which >> 1 & 3);
}

static void write_memory(struct script *script)
{
	uint32_t at = 0;
	copy(script, &at, 3);
	at %= MEMORY - 256;
	uint8_t bytes[255];
	size_t length = copy(script, bytes, next(script));
	/* By the file, which may have been cut short. */
	ssize_t ignored = pwrite(memory_fd, bytes, length, at);
	(void)ignored;
}

static void send_vring(struct script *script, uint32_t request, uint32_t value)
{
	const struct vhost_vring_state state = {0, value};
	send_message(script, request, VHOST_VERSION, &state, sizeof state, NULL, 0);
}

static void set_up(struct script *script)
{
	const uint64_t features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC |
				  VHOST_USER_F_PROTOCOL;
	const struct {
		uint32_t count, padding;
		struct vhost_wire_region region;
	} table = {.count = 1, .region = {0, MEMORY, USER, 0}};
	const struct vhost_vring_address address = {.descriptors = USER + DESCRIPTORS,
		.available = USER + AVAILABLE,
		.used = USER + USED};
	const uint64_t zero = 0;
	send_message(script, VHOST_SET_FEATURES, 1, &features, sizeof features, NULL, 0);
	send_message(script, VHOST_SET_MEM_TABLE, 1, &table, sizeof table, &memory_fd, 1);
	send_vring(script, VHOST_SET_VRING_NUM, QUEUE);
	send_message(script, VHOST_SET_VRING_ADDR, 1, &address, sizeof address, NULL, 0);
	send_vring(script, VHOST_SET_VRING_BASE, 0);
	send_message(script, VHOST_SET_VRING_CALL, 1, &zero, sizeof zero, &event, 1);
	send_message(script, VHOST_SET_VRING_KICK, 1, &zero, sizeof zero, &event, 1);
	send_vring(script, VHOST_SET_VRING_ENABLE, 1);
}

static void put(uint64_t at, const void *bytes, size_t length)
{
	ssize_t ignored = pwrite(memory_fd, bytes, length, (off_t)at);
	(void)ignored;
}

static void any_request(struct script *script)
{
	uint8_t kind = next(script), slot = script->available % 4;
	bool indirect = kind & 0x80, reads = !(kind & 1);
	uint32_t units = next(script);
	const struct virtio_blk_head head = {.type = kind & 0x7f, .sector = next(script)};
	uint64_t place = HEADS + slot * 256u,
		 table = indirect ? place + 64 : DESCRIPTORS + slot * 64u;
	uint16_t first = indirect ? 0 : (uint16_t)(slot * 4), index = ++script->available;
	struct vring_descriptor chain[] = {
		{place, sizeof head, VRING_DESC_NEXT, (uint16_t)(first + 1)},
		{DATA + slot * 4096u, units * 16,
			(uint16_t)(VRING_DESC_NEXT | (reads ? VRING_DESC_WRITE : 0)),
			(uint16_t)(first + 2)},
		{place + 32, 1, VRING_DESC_WRITE, 0},
	};
	if (!units)
		chain[0].next = (uint16_t)(first + 2);
	const struct vring_descriptor outer = {table, sizeof chain, VRING_DESC_INDIRECT, 0};
	uint16_t at = (uint16_t)(slot * 4);
	put(place, &head, sizeof head);
	put(table, chain, sizeof chain);
	if (indirect)
		put(DESCRIPTORS + slot * 64u, &outer, sizeof outer);
	put(AVAILABLE + 4 + (index - 1u) % QUEUE * 2, &at, sizeof at);
	put(AVAILABLE + 2, &index, sizeof index);
}

static bool begin(struct script *script)
{
	int ends[2];
	if (ftruncate(memory_fd, 0) < 0 || ftruncate(memory_fd, MEMORY) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return false;
	script->export.loop = loop;
	script->export.device = (struct export_device){"fuzz", device, engine};
	script->socket = ends[0];
	return vhost_session_new(&script->export, ends[1], &script->export.session) == 0;
}

static void end(struct script *script)
{
	if (script->export.session) {
		vhost_session_end(script->export.session, NULL);
		engine_drain(engine);
		vhost_session_free(script->export.session);
	}
	close(script->socket);
}

static void step(struct script *script)
{
	switch (next(script) % 6) {
	case 0:
		any_message(script);
		break;
	case 1:
		write_memory(script);
		break;
	case 2:
		eventfd_write(event, 1);
		run(script);
		break;
	case 3:
		set_up(script);
		break;
	case 4:
		any_request(script);
		break;
	default:
		if (ftruncate(memory_fd, next(script) * 256) < 0)
			return;
		run(script);
	}
}

/* Once: what does not change from script to script. */
static bool prepare(void)
{
	struct ramet_error err;
	const struct engine_options options = {.no_ring = true, .workers = 1};
	if (loop)
		return true;
	memory_fd = memfd_create("memory", MFD_CLOEXEC);
	disk_fd = memfd_create("disk", MFD_CLOEXEC);
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ftruncate(disk_fd, DISK) < 0 || guard_begin() < 0 || loop_new(&loop, &err) < 0 ||
		block_file_open(disk_fd, false, &device, &err) < 0 ||
		engine_new(device, &options, &engine, &err) < 0 ||
		loop_add_engine(loop, engine) < 0)
		return false;
	loop_add_hook(loop, &hook);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = {.bytes = data, .left = size};
	if (!prepare() || !begin(&script))
		abort();
	for (unsigned i = 0; i < STEPS && script.left && script.export.session; i++)
		step(&script);
	end(&script);
	return 0;
}
