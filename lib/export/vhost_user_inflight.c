/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that a killed backend had taken are known to nobody, unless it wrote them down where the
 * frontend keeps them (vhost-user.rst, "Inflight I/O tracking"): each head has a mark and a number that
 * tells the order. A new backend begins the marked ones again. The order of the steps matters: a mark
 * is taken away only after the used index has told the guest, and used_index, written last, tells the
 * next backend whether the last batch's marks are still to be taken away; last_head and next lead
 * through it.
 *
 * The guest cannot write there, but the frontend can: what is read is checked like everything else.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

enum { VERSION = 1, QUEUE_ALIGNMENT = 64 };

static uint64_t queue_bytes(uint16_t queue_size)
{
	uint64_t bytes = sizeof(struct vring_inflight) +
			 queue_size * sizeof(struct vring_inflight_descriptor);
	return (bytes + QUEUE_ALIGNMENT - 1) & ~(uint64_t)(QUEUE_ALIGNMENT - 1);
}

static int check_shape(const struct vhost_wire_inflight *shape, struct ramet_error *err)
{
	if (shape->queues == 0 || shape->queues > VHOST_QUEUES || shape->queue_size == 0 ||
		shape->queue_size > VHOST_QUEUE_SIZE_MOST)
		return error_set(err, EINVAL, "the memory for requests in flight is impossible");
	return 0;
}

int vhost_inflight_make(struct vhost_session *session, int *out, struct ramet_error *err)
{
	struct vhost_wire_inflight *shape = &session->message.payload.inflight;
	int r = check_shape(shape, err);
	if (r < 0)
		return r;
	shape->size = shape->queues * queue_bytes(shape->queue_size);
	shape->offset = 0;
	_cleanup_close_ int fd = memfd_create("ramet-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)shape->size) < 0)
		return error_errno(err, errno, "cannot make memory for requests in flight");
	*out = TAKE_FD(fd);
	return 0;
}

int vhost_inflight_take(struct vhost_session *session, int fd, struct ramet_error *err)
{
	const struct vhost_wire_inflight *shape = &session->message.payload.inflight;
	int r = check_shape(shape, err);
	if (r < 0)
		return r;
	if (shape->size < shape->queues * queue_bytes(shape->queue_size) || shape->offset % 4096)
		return error_set(err, EINVAL, "the memory for requests in flight is too small");
	vhost_unmap(&session->inflight);
	session->inflight_shape = *shape;
	return vhost_map(fd, shape->offset, shape->size, &session->inflight, err);
}

/* A region that nobody has used yet is all zeros. */
static int prepare(struct vhost_queue *queue, uint16_t size, struct ramet_error *err)
{
	struct vring_inflight *inflight = queue->inflight;
	if (inflight->version == 0) {
		*inflight = (struct vring_inflight){
			.version = VERSION, .size = size, .used_index = queue->done};
		return 0;
	}
	if (inflight->version == VERSION && inflight->size == size)
		return 0;
	return error_set(err, EINVAL, "the memory for requests in flight is another queue's");
}

/* The guest was told of a batch, and then the backend was killed. */
static void finish_batch(struct vhost_queue *queue)
{
	struct vring_inflight *inflight = queue->inflight;
	uint16_t head = inflight->last_head;
	uint16_t count = (uint16_t)(queue->done - inflight->used_index);
	for (count = MIN(count, queue->size); count && head < queue->size; count--) {
		inflight->descriptors[head].inflight = 0;
		head = inflight->descriptors[head].next;
	}
	inflight->used_index = queue->done;
}

/* The marked head with the lowest number above the one before; size: none. */
static uint16_t next_marked(const struct vhost_queue *queue, uint64_t above, uint64_t *number)
{
	uint16_t found = (uint16_t)queue->size;
	for (uint16_t i = 0; i < queue->size; i++) {
		const struct vring_inflight_descriptor *descriptor =
			&queue->inflight->descriptors[i];
		uint64_t counter = __atomic_load_n(&descriptor->counter, __ATOMIC_RELAXED);
		if (!descriptor->inflight || counter < above ||
			(found < queue->size && counter >= *number))
			continue;
		found = i;
		*number = counter;
	}
	return found;
}

static void begin_again(struct vhost_queue *queue)
{
	uint64_t above = 0, number = 0;
	struct vhost_chain *chain = &queue->session->chain;
	for (uint32_t count = 0; count < queue->size && !queue->broken; count++) {
		uint16_t head = next_marked(queue, above, &number);
		if (head == queue->size)
			break;
		above = number + 1;
		queue->taken++;
		queue->counter = above;
		const char *why = vhost_chain_read(queue, head, chain);
		if (!why)
			why = vhost_block_begin(queue, head, chain);
		if (why)
			vhost_queue_break(queue, why);
	}
}

int vhost_inflight_resume(struct vhost_queue *queue, struct ramet_error *err)
{
	struct vhost_session *session = queue->session;
	uint16_t number = (uint16_t)(queue - session->queues);
	const struct vhost_wire_inflight *shape = &session->inflight_shape;
	if (!session->inflight.base || number >= shape->queues || queue->size > shape->queue_size)
		return 0;
	queue->inflight = (struct vring_inflight *)(session->inflight.start +
						    number * queue_bytes(shape->queue_size));
	int r = prepare(queue, shape->queue_size, err);
	if (r < 0)
		return r;
	finish_batch(queue);
	queue->taken = queue->done;
	begin_again(queue);
	return 0;
}

void vhost_inflight_begin(struct vhost_queue *queue, uint16_t head)
{
	if (!queue->inflight)
		return;
	struct vring_inflight_descriptor *descriptor = &queue->inflight->descriptors[head];
	descriptor->counter = queue->counter++;
	__atomic_store_n(&descriptor->inflight, 1, __ATOMIC_RELEASE);
}

void vhost_inflight_put(struct vhost_queue *queue, uint16_t head)
{
	queue->batch[(uint16_t)(queue->done - queue->published)] = head;
	if (!queue->inflight)
		return;
	queue->inflight->descriptors[head].next = queue->inflight->last_head;
	queue->inflight->last_head = head;
}

void vhost_inflight_published(struct vhost_queue *queue, unsigned count)
{
	if (!queue->inflight)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < count; i++)
		__atomic_store_n(&queue->inflight->descriptors[queue->batch[i]].inflight, 0,
			__ATOMIC_RELEASE);
	__atomic_store_n(&queue->inflight->used_index, queue->done, __ATOMIC_RELEASE);
}
