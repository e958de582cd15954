/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From descriptors to memory. The guest may write to them while they are read, so each is copied, and
 * the copy is checked. A chain visits no more descriptors than its table has, and takes no more pieces
 * than one system call does, so no loop of theirs is one of ours.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

struct table {
	const uint8_t *start;
	uint32_t count;
	bool indirect;
};

static const char *add(struct vhost_queue *queue, struct vhost_chain *chain,
	const struct vring_descriptor *descriptor)
{
	bool writable = descriptor->flags & VRING_DESC_WRITE;
	uint64_t address = descriptor->address, left = descriptor->length, length;
	if (left == 0)
		return "a descriptor has no bytes";
	if (!writable && chain->writable)
		return "what is to be read stands behind what is to be written";
	*(writable ? &chain->writable_bytes : &chain->readable_bytes) += left;
	for (; left; left -= length, address += length) {
		length = left;
		uint8_t *start = vhost_memory_guest(&queue->session->memory, address, &length);
		if (!start)
			return "a descriptor points out of the guest's memory";
		if (chain->readable + chain->writable == VHOST_SEGMENTS)
			return "a request is in too many pieces";
		chain->vector[chain->readable + chain->writable] = (struct iovec){
			.iov_base = start, .iov_len = (size_t)length};
		*(writable ? &chain->writable : &chain->readable) += 1;
	}
	return NULL;
}

static const char *find_indirect(
	struct vhost_queue *queue, const struct vring_descriptor *descriptor, struct table *table)
{
	uint64_t length = descriptor->length;
	if (!(queue->session->features & VIRTIO_F_INDIRECT_DESC))
		return "an indirect descriptor was not agreed on";
	if (table->indirect || descriptor->flags & VRING_DESC_NEXT)
		return "an indirect descriptor is not the last one";
	if (length == 0 || length % sizeof *descriptor ||
		length / sizeof *descriptor > VHOST_SEGMENTS)
		return "the length of an indirect table is impossible";
	table->start = vhost_memory_guest(&queue->session->memory, descriptor->address, &length);
	if (!table->start || length != descriptor->length)
		return "an indirect table is not in the guest's memory";
	table->count = (uint32_t)(length / sizeof *descriptor);
	table->indirect = true;
	return NULL;
}

const char *vhost_chain_read(struct vhost_queue *queue, uint16_t head, struct vhost_chain *chain)
{
	struct table table = {.start = (const uint8_t *)queue->descriptors, .count = queue->size};
	struct vring_descriptor descriptor;
	const char *why = NULL;
	chain->readable = chain->writable = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	uint32_t at = head;
	for (uint32_t seen = 0; !why; seen++) {
		if (at >= table.count)
			return "a descriptor is beyond the end of its table";
		if (seen == table.count)
			return "descriptors go round in a circle";
		vhost_copy(&descriptor, table.start + at * sizeof descriptor, sizeof descriptor);
		at = descriptor.next;
		if (descriptor.flags & VRING_DESC_INDIRECT) {
			why = find_indirect(queue, &descriptor, &table);
			at = 0;
			seen = UINT32_MAX; /* and is 0 in the next round */
			continue;
		}
		why = add(queue, chain, &descriptor);
		if (!(descriptor.flags & VRING_DESC_NEXT))
			break;
	}
	return why;
}
