/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each message does. One that changes what requests under way rely on waits until they have
 * ended (quiet). The answers to GET_* messages are always sent; to others only when that was agreed on
 * (REPLY_ACK) and is asked for: Firecracker does neither.
 *
 * A virtqueue is served from the moment when it has a size, addresses and a kick and is enabled, in
 * whichever order these come, and what was added before is found without a kick.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

#define PROTOCOL_FEATURES \
	(VHOST_USER_P_MQ | VHOST_USER_P_REPLY_ACK | VHOST_USER_P_CONFIG | VHOST_USER_P_INFLIGHT | \
		VHOST_USER_P_RESET_DEVICE | VHOST_USER_P_MEM_SLOTS | VHOST_USER_P_STATUS)

typedef int handler(struct vhost_session *session, struct ramet_error *err);

static uint64_t features(const struct vhost_session *session)
{
	return vhost_block_features(session->export->device.device) | VIRTIO_BLK_F_MQ |
	       VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 |
	       VHOST_USER_F_PROTOCOL;
}

static int answer(struct vhost_session *session, uint64_t number, struct ramet_error *err)
{
	session->message.payload.number = number;
	return vhost_reply(session, sizeof number, -1, err);
}

static int get_features(struct vhost_session *session, struct ramet_error *err)
{
	return answer(session, features(session), err);
}

static int set_features(struct vhost_session *session, struct ramet_error *err)
{
	if (session->message.payload.number & ~features(session))
		return error_set(err, EPROTO, "features are asked for that were not offered");
	session->features = session->message.payload.number;
	return 0;
}

static int set_owner(struct vhost_session *session, struct ramet_error *err)
{
	return 0;
}

static int reset(struct vhost_session *session, struct ramet_error *err)
{
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		vhost_queue_reset(&session->queues[i]);
	session->status = 0;
	return 0;
}

static int get_protocol(struct vhost_session *session, struct ramet_error *err)
{
	return answer(session, PROTOCOL_FEATURES, err);
}

static int set_protocol(struct vhost_session *session, struct ramet_error *err)
{
	if (session->message.payload.number & ~PROTOCOL_FEATURES)
		return error_set(
			err, EPROTO, "protocol features are asked for that were not offered");
	session->protocol = session->message.payload.number;
	return 0;
}

static int get_queue_count(struct vhost_session *session, struct ramet_error *err)
{
	return answer(session, VHOST_QUEUES, err);
}

/* ------------------------------------------------------------------------------------------- */

/* The rings lie elsewhere now. One that lies nowhere is an error: a VMM stops a queue first. */
static int find_rings(struct vhost_session *session, struct ramet_error *err)
{
	int r = 0;
	for (unsigned i = 0; i < VHOST_QUEUES && r == 0; i++)
		if (session->queues[i].live)
			r = vhost_queue_find(&session->queues[i], err);
	return r;
}

static int set_memory(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_message *message = &session->message;
	uint32_t count = message->payload.memory.count;
	if (count == 0 || count > VHOST_TABLE_REGIONS || count != session->fd_count ||
		message->size < 8 + count * sizeof *message->payload.memory.regions)
		return error_set(err, EPROTO,
			"a memory table of %u regions came with %u fds and %u bytes", count,
			session->fd_count, message->size);
	vhost_memory_clear(&session->memory);
	for (uint32_t i = 0; i < count; i++) {
		struct vhost_wire_region region = message->payload.memory.regions[i];
		int r = vhost_memory_add(&session->memory, &region, session->fds[i], err);
		if (r < 0)
			return r;
	}
	return find_rings(session, err);
}

static int get_slots(struct vhost_session *session, struct ramet_error *err)
{
	return answer(session, VHOST_SLOTS, err);
}

static int add_memory(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_wire_region region = session->message.payload.slot.region;
	if (session->fd_count != 1)
		return error_set(
			err, EPROTO, "a region of memory came with %u fds", session->fd_count);
	return vhost_memory_add(&session->memory, &region, session->fds[0], err);
}

static int remove_memory(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_wire_region region = session->message.payload.slot.region;
	if (vhost_memory_remove(&session->memory, &region) < 0)
		return error_set(err, EPROTO, "a region of memory is taken away that is not there");
	return find_rings(session, err);
}

/* ------------------------------------------------------------------------------------------- */

/* NULL: there is none, which is a breach of the protocol. */
static struct vhost_queue *find_queue(
	struct vhost_session *session, uint64_t index, struct ramet_error *err)
{
	if (index >= VHOST_QUEUES) {
		error_set(err, EPROTO, "there is no queue %llu", (unsigned long long)index);
		return NULL;
	}
	session->queue_count = MAX(session->queue_count, (unsigned)index + 1);
	return &session->queues[index];
}

static int set_size(struct vhost_session *session, struct ramet_error *err)
{
	uint32_t size = session->message.payload.vring.value;
	struct vhost_queue *queue = find_queue(session, session->message.payload.vring.index, err);
	if (!queue)
		return -EPROTO;
	if (size == 0 || size > VHOST_QUEUE_SIZE_MOST || (size & (size - 1)) || queue->live)
		return error_set(err, EPROTO, "a queue cannot have the size %u%s", size,
			queue->live ? " while it is served" : "");
	queue->size = size;
	return vhost_queue_update(queue, err);
}

static int set_address(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue = find_queue(
		session, session->message.payload.address.index, err);
	if (!queue)
		return -EPROTO;
	queue->address = session->message.payload.address;
	queue->addressed = true;
	return queue->live ? vhost_queue_find(queue, err) : vhost_queue_update(queue, err);
}

static int set_base(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue = find_queue(session, session->message.payload.vring.index, err);
	if (!queue)
		return -EPROTO;
	if (queue->live || session->message.payload.vring.value > UINT16_MAX)
		return error_set(err, EPROTO, "a queue cannot start at %u%s",
			session->message.payload.vring.value,
			queue->live ? " while it is served" : "");
	queue->taken = (uint16_t)session->message.payload.vring.value;
	return 0;
}

static int get_base(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue = find_queue(session, session->message.payload.vring.index, err);
	if (!queue)
		return -EPROTO;
	vhost_queue_stop(queue);
	cleanup_close(&queue->kick.fd);
	cleanup_close(&queue->call);
	queue->kick.fd = queue->call = -1;
	session->message.payload.vring.value = queue->taken;
	return vhost_reply(session, sizeof session->message.payload.vring, -1, err);
}

/*
 * The fd that came for a queue, or -1. Only what the kernel made for events is taken: writing to it
 * never waits, which cannot be said of a pipe or a file.
 */
static int take_event(
	struct vhost_session *session, struct vhost_queue **queue, int *fd, struct ramet_error *err)
{
	uint64_t number = session->message.payload.number;
	struct stat st;
	*queue = find_queue(session, number & VHOST_VRING_INDEX, err);
	if (!*queue)
		return -EPROTO;
	bool none = number & VHOST_VRING_NO_FD;
	if (session->fd_count != !none)
		return error_set(
			err, EPROTO, "an event of a queue came with %u fds", session->fd_count);
	*fd = -1;
	if (none)
		return 0;
	if (fstat(session->fds[0], &st) < 0 || (st.st_mode & S_IFMT) != 0)
		return error_set(err, EPROTO, "an event of a queue is no eventfd");
	int flags = fcntl(session->fds[0], F_GETFL);
	if (flags < 0 || fcntl(session->fds[0], F_SETFL, flags | O_NONBLOCK) < 0)
		return error_errno(err, errno, "an event of a queue cannot be used");
	*fd = TAKE_FD(session->fds[0]);
	return 0;
}

static int set_kick(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue;
	int fd = -1, r = take_event(session, &queue, &fd, err);
	if (r < 0)
		return r;
	vhost_queue_stop(queue);
	cleanup_close(&queue->kick.fd);
	queue->kick.fd = fd;
	/* Where nothing was agreed on, a queue is enabled from the start. */
	if (!(session->features & VHOST_USER_F_PROTOCOL))
		queue->enabled = true;
	return vhost_queue_update(queue, err);
}

static int set_call(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue;
	int fd = -1, r = take_event(session, &queue, &fd, err);
	if (r < 0)
		return r;
	cleanup_close(&queue->call);
	queue->call = fd;
	/* Nobody may have listened to the old one any more. */
	if (queue->live)
		vhost_queue_call(queue);
	return 0;
}

static int set_error(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue;
	int fd = -1, r = take_event(session, &queue, &fd, err);
	if (r < 0)
		return r;
	cleanup_close(&queue->error);
	queue->error = fd;
	return 0;
}

static int set_enabled(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_queue *queue = find_queue(session, session->message.payload.vring.index, err);
	if (!queue)
		return -EPROTO;
	queue->enabled = session->message.payload.vring.value != 0;
	return vhost_queue_update(queue, err);
}

/* ------------------------------------------------------------------------------------------- */

/* What lies beyond the end of what we have reads as zeros; a frontend may know a longer one. */
static int get_config(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_message *message = &session->message;
	struct virtio_blk_configuration configuration;
	uint8_t all[2 * VHOST_CONFIG_MOST] = {0};
	uint32_t offset = message->payload.config.offset, size = message->payload.config.size;
	if (offset > VHOST_CONFIG_MOST || size > VHOST_CONFIG_MOST ||
		message->size != VHOST_HEAD + size)
		return error_set(err, EPROTO, "%u bytes of the configuration at %u are asked for",
			size, offset);
	vhost_block_configuration(session->export->device.device, &configuration);
	memcpy(all, &configuration, sizeof configuration);
	memcpy(message->payload.config.bytes, all + offset, size);
	return vhost_reply(session, VHOST_HEAD + size, -1, err);
}

/* There is nothing in it that could be set. */
static int set_config(struct vhost_session *session, struct ramet_error *err)
{
	return 0;
}

static int get_inflight(struct vhost_session *session, struct ramet_error *err)
{
	_cleanup_close_ int fd = -1;
	uint32_t size = session->message.size;
	int r = vhost_inflight_make(session, &fd, err);
	return r < 0 ? r : vhost_reply(session, size, fd, err);
}

static int set_inflight(struct vhost_session *session, struct ramet_error *err)
{
	if (session->fd_count != 1)
		return error_set(err, EPROTO, "memory for requests in flight came with %u fds",
			session->fd_count);
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		if (session->queues[i].live)
			return error_set(err, EPROTO,
				"memory for requests in flight came while a queue is served");
	return vhost_inflight_take(session, session->fds[0], err);
}

/* Zero is a reset of the device. */
static int set_status(struct vhost_session *session, struct ramet_error *err)
{
	uint8_t status = (uint8_t)session->message.payload.number;
	if (status == 0)
		return reset(session, err);
	session->status = status;
	return 0;
}

static int get_status(struct vhost_session *session, struct ramet_error *err)
{
	return answer(session, session->status, err);
}

/* ------------------------------------------------------------------------------------------- */

static const struct message_kind {
	handler *handle;
	uint32_t least; /* bytes of payload */
	bool quiet;     /* waits until nothing is under way */
	bool answers;
} kinds[VHOST_REQUESTS] = {
	[VHOST_GET_FEATURES] = {.handle = get_features, .answers = true},
	[VHOST_SET_FEATURES] = {.handle = set_features, .least = 8, .quiet = true},
	[VHOST_SET_OWNER] = {.handle = set_owner},
	[VHOST_RESET_OWNER] = {.handle = reset, .quiet = true},
	[VHOST_SET_MEM_TABLE] = {.handle = set_memory, .least = 8, .quiet = true},
	[VHOST_SET_VRING_NUM] = {.handle = set_size, .least = 8, .quiet = true},
	[VHOST_SET_VRING_ADDR] = {.handle = set_address, .least = 40, .quiet = true},
	[VHOST_SET_VRING_BASE] = {.handle = set_base, .least = 8, .quiet = true},
	[VHOST_GET_VRING_BASE] = {.handle = get_base, .least = 8, .quiet = true, .answers = true},
	[VHOST_SET_VRING_KICK] = {.handle = set_kick, .least = 8, .quiet = true},
	[VHOST_SET_VRING_CALL] = {.handle = set_call, .least = 8},
	[VHOST_SET_VRING_ERR] = {.handle = set_error, .least = 8},
	[VHOST_GET_PROTOCOL_FEATURES] = {.handle = get_protocol, .answers = true},
	[VHOST_SET_PROTOCOL_FEATURES] = {.handle = set_protocol, .least = 8},
	[VHOST_GET_QUEUE_NUM] = {.handle = get_queue_count, .answers = true},
	[VHOST_SET_VRING_ENABLE] = {.handle = set_enabled, .least = 8, .quiet = true},
	[VHOST_GET_CONFIG] = {.handle = get_config, .least = 12, .answers = true},
	[VHOST_SET_CONFIG] = {.handle = set_config, .least = 12},
	[VHOST_GET_INFLIGHT_FD] = {.handle = get_inflight,
		.least = VHOST_INFLIGHT_SHORT,
		.answers = true},
	[VHOST_SET_INFLIGHT_FD] = {.handle = set_inflight,
		.least = VHOST_INFLIGHT_SHORT,
		.quiet = true},
	[VHOST_RESET_DEVICE] = {.handle = reset, .quiet = true},
	[VHOST_GET_MAX_MEM_SLOTS] = {.handle = get_slots, .answers = true},
	[VHOST_ADD_MEM_REG] = {.handle = add_memory, .least = 40, .quiet = true},
	[VHOST_REM_MEM_REG] = {.handle = remove_memory, .least = 40, .quiet = true},
	[VHOST_SET_STATUS] = {.handle = set_status, .least = 8, .quiet = true},
	[VHOST_GET_STATUS] = {.handle = get_status, .answers = true},
};

bool vhost_must_wait(const struct vhost_session *session)
{
	uint32_t request = session->message.request;
	return session->under_way && request < VHOST_REQUESTS && kinds[request].quiet;
}

int vhost_handle(struct vhost_session *session, struct ramet_error *err)
{
	const struct vhost_message *message = &session->message;
	const struct message_kind *kind = message->request < VHOST_REQUESTS
						  ? &kinds[message->request]
						  : NULL;
	if (!kind || !kind->handle)
		return error_set(err, EPROTO, "message %u is not known", message->request);
	if (message->size < kind->least)
		return error_set(err, EPROTO, "message %u is too short: %u bytes", message->request,
			message->size);
	bool acknowledge = (message->flags & VHOST_NEED_REPLY) && !kind->answers &&
			   (session->protocol & VHOST_USER_P_REPLY_ACK);
	int r = kind->handle(session, err);
	vhost_close_fds(session);
	if (!acknowledge)
		return r;
	struct ramet_error ignored;
	int sent = answer(session, r < 0, r < 0 ? &ignored : err);
	return r < 0 ? r : sent;
}
