/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, 2.7), served in batches: what is available is taken, all that is done
 * meanwhile is published at once, with one call. Of many only half is taken, so that the guest, whom
 * the call wakes, has the first half while the second is worked at; but no fewer than PART, for a call
 * that wakes costs as much as three small reads. While a queue is being looked at anyway the guest
 * does not kick; before the loop waits the queue is armed, and looked at once more, for a guest that
 * added something just before would not be heard.
 *
 * What is ours stays with us: the guest can write to every index in the rings, so how far they are
 * taken and published is kept here, and of what is read only one thing is believed, that at most size
 * requests are in a queue.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

enum { PART = 16 };

static bool has_events(const struct vhost_queue *queue)
{
	return queue->session->features & VIRTIO_F_EVENT_IDX;
}

/* After the ring: at which of used we are to call. */
static uint16_t *call_event(const struct vhost_queue *queue)
{
	return &queue->available->ring[queue->size];
}

/* The same for the guest and its kicks. */
static uint16_t *kick_event(const struct vhost_queue *queue)
{
	return (uint16_t *)&queue->used->ring[queue->size];
}

static uint16_t load(const uint16_t *from)
{
	return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *to, uint16_t value)
{
	__atomic_store_n(to, value, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------------------------------- */

void vhost_queue_break(struct vhost_queue *queue, const char *why)
{
	if (queue->broken)
		return;
	queue->broken = true;
	vhost_note(queue->session->export, "queue %d of a guest is not served any more: %s",
		(int)(queue - queue->session->queues), why);
	ssize_t ignored = queue->error < 0 ? 0
					   : write(queue->error, &(uint64_t){1}, sizeof(uint64_t));
	(void)ignored;
}

/* How many are available and not taken: with those that are under way, no more than size. */
static uint16_t count_available(struct vhost_queue *queue)
{
	uint16_t count = (uint16_t)(load(&queue->available->index) - queue->taken);
	uint16_t under_way = (uint16_t)(queue->taken - queue->done);
	if (count + under_way <= queue->size)
		return count;
	vhost_queue_break(queue, "more is available than it has room for");
	return 0;
}

static void take_one(struct vhost_queue *queue)
{
	uint16_t at = queue->taken & (uint16_t)(queue->size - 1);
	uint16_t head = load(&queue->available->ring[at]);
	struct vhost_chain *chain = &queue->session->chain;
	queue->taken++;
	const char *why = vhost_chain_read(queue, head, chain);
	if (!why) {
		vhost_inflight_begin(queue, head);
		why = vhost_block_begin(queue, head, chain);
	}
	if (why)
		vhost_queue_break(queue, why);
}

bool vhost_queue_take(struct vhost_queue *queue)
{
	bool any = false;
	if (!queue->live || queue->broken)
		return false;
	uint16_t count = count_available(queue);
	if (count && !has_events(queue))
		store(&queue->used->flags, VRING_NO_NOTIFY);
	if (count > PART)
		count = (uint16_t)MAX(count / 2, PART);
	for (; count && !queue->broken; count--) {
		take_one(queue);
		any = true;
	}
	return any;
}

bool vhost_queue_waits(struct vhost_queue *queue)
{
	return queue->live && !queue->broken && !queue->armed && count_available(queue) != 0;
}

bool vhost_queue_arm(struct vhost_queue *queue)
{
	if (!queue->live || queue->broken || queue->armed)
		return true;
	queue->armed = true;
	if (has_events(queue))
		store(kick_event(queue), queue->taken);
	else
		store(&queue->used->flags, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* What came just before will not be kicked for. */
	queue->armed = count_available(queue) == 0;
	return queue->armed || queue->broken;
}

void vhost_queue_put(struct vhost_queue *queue, uint16_t head, uint32_t written)
{
	struct vring_used_element *element =
		&queue->used->ring[queue->done & (uint16_t)(queue->size - 1)];
	*element = (struct vring_used_element){.head = head, .length = written};
	vhost_inflight_put(queue, head);
	queue->done++;
}

void vhost_queue_call(const struct vhost_queue *queue)
{
	ssize_t ignored = queue->call < 0 ? 0
					  : write(queue->call, &(uint64_t){1}, sizeof(uint64_t));
	(void)ignored;
}

/* Whether the guest wants to hear that used went from old to now. */
static bool wants_call(struct vhost_queue *queue, uint16_t old)
{
	if (!has_events(queue))
		return !(load(&queue->available->flags) & VRING_NO_INTERRUPT);
	uint16_t event = load(call_event(queue)), now = queue->published;
	bool at_once = queue->call_at_once;
	queue->call_at_once = false;
	return at_once || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void vhost_queue_publish(struct vhost_queue *queue)
{
	if (!queue->live || queue->published == queue->done)
		return;
	uint16_t old = queue->published;
	store(&queue->used->index, queue->done);
	vhost_inflight_published(queue, (uint16_t)(queue->done - old));
	queue->published = queue->done;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wants_call(queue, old))
		vhost_queue_call(queue);
}

/* ------------------------------------------------------------------------------------------- */

int vhost_queue_find(struct vhost_queue *queue, struct ramet_error *err)
{
	const struct vhost_vring_address *at = &queue->address;
	struct vhost_memory *memory = &queue->session->memory;
	uint64_t size = queue->size;
	if ((at->descriptors % 16) | (at->available % 2) | (at->used % 4))
		return error_set(err, EINVAL, "the address of a ring is not aligned");
	/* Each with its event index, whether that was agreed on or not. */
	uint8_t *descriptors = vhost_memory_user(
		memory, at->descriptors, size * sizeof *queue->descriptors);
	uint8_t *available = vhost_memory_user(memory, at->available, 6 + 2 * size);
	uint8_t *used = vhost_memory_user(
		memory, at->used, 6 + sizeof(struct vring_used_element) * size);
	if (!descriptors || !available || !used)
		return error_set(err, EFAULT, "a ring is not in the guest's memory");
	queue->descriptors = (struct vring_descriptor *)descriptors;
	queue->available = (struct vring_available *)available;
	queue->used = (struct vring_used *)used;
	return 0;
}

static int allocate(struct vhost_queue *queue, struct ramet_error *err)
{
	queue->requests = calloc(queue->size, sizeof *queue->requests);
	queue->batch = calloc(queue->size, sizeof *queue->batch);
	if (!queue->requests || !queue->batch)
		return error_memory(err);
	queue->free = NULL;
	for (uint32_t i = queue->size; i-- > 0;) {
		queue->requests[i].queue = queue;
		queue->requests[i].next = queue->free;
		queue->free = &queue->requests[i];
	}
	return 0;
}

/* Requests that were taken before, by a backend that was killed, are in flight. */
static int start(struct vhost_queue *queue, struct ramet_error *err)
{
	int r = vhost_queue_find(queue, err);
	if (r == 0)
		r = allocate(queue, err);
	if (r == 0 && loop_add(queue->session->export->loop, &queue->kick) < 0)
		r = error_memory(err);
	if (r < 0)
		return r;
	vhost_block_tell_flushes(queue->session);
	queue->live = true;
	queue->broken = queue->armed = false;
	queue->call_at_once = true;
	queue->done = queue->published = load(&queue->used->index);
	r = vhost_inflight_resume(queue, err);
	if (r == 0 && (uint16_t)(queue->taken - queue->done) > queue->size)
		return error_set(err, EINVAL, "a ring starts further than it has room for");
	return r;
}

int vhost_queue_update(struct vhost_queue *queue, struct ramet_error *err)
{
	bool ready = queue->size && queue->addressed && queue->kick.fd >= 0 && queue->enabled;
	if (ready && !queue->live) {
		int r = start(queue, err);
		if (r < 0)
			vhost_queue_stop(queue);
		return r;
	}
	if (!ready && queue->live)
		vhost_queue_stop(queue);
	return 0;
}

void vhost_queue_stop(struct vhost_queue *queue)
{
	vhost_queue_publish(queue);
	loop_remove(queue->session->export->loop, &queue->kick);
	free(TAKE_PTR(queue->requests));
	free(TAKE_PTR(queue->batch));
	queue->live = false;
	queue->inflight = NULL;
}

void vhost_queue_reset(struct vhost_queue *queue)
{
	vhost_queue_stop(queue);
	cleanup_close(&queue->kick.fd);
	cleanup_close(&queue->call);
	cleanup_close(&queue->error);
	queue->kick.fd = queue->call = queue->error = -1;
	queue->size = 0;
	queue->taken = 0;
	queue->addressed = queue->enabled = false;
}
