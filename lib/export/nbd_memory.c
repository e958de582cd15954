/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers have a power of two of pages, and what is given back is taken first again: it is still in
 * the processor's cache. They are mapped one by one, not taken from the heap, so that all of them go
 * back to the kernel when a server is idle.
 */
#include "export/nbd_memory.h"

#include <stdint.h>
#include <sys/mman.h>

#define KEPT_MOST ((size_t)8 << 20)

static unsigned class_of(size_t length)
{
	unsigned class = 0;
	while (NBD_MEMORY_LEAST << class < length)
		class ++;
	return class;
}

size_t nbd_memory_size(size_t length)
{
	return NBD_MEMORY_LEAST << class_of(length);
}

void *nbd_memory_take(struct nbd_memory *memory, size_t length)
{
	unsigned class = class_of(length);
	size_t size = NBD_MEMORY_LEAST << class;
	void **buffer = memory->kept[class];
	if (buffer) {
		memory->kept[class] = *buffer;
		memory->kept_bytes -= size;
	} else {
		buffer = mmap(
			NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (buffer == MAP_FAILED)
			return NULL;
	}
	memory->used_bytes += size;
	return buffer;
}

void nbd_memory_give(struct nbd_memory *memory, void *buffer, size_t length)
{
	if (!buffer)
		return;
	unsigned class = class_of(length);
	size_t size = NBD_MEMORY_LEAST << class;
	memory->used_bytes -= size;
	if (memory->kept_bytes + size > KEPT_MOST) {
		munmap(buffer, size);
		return;
	}
	*(void **)buffer = memory->kept[class];
	memory->kept[class] = buffer;
	memory->kept_bytes += size;
}

void nbd_memory_release(struct nbd_memory *memory)
{
	for (unsigned class = 0; class < sizeof memory->kept / sizeof *memory->kept; class ++)
		for (void **buffer = memory->kept[class], **next; buffer; buffer = next) {
			next = *buffer;
			munmap(buffer, NBD_MEMORY_LEAST << class);
		}
	*memory = (struct nbd_memory){.used_bytes = memory->used_bytes};
}
