/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for the bytes of requests: taken and given back many thousand times a second, and none of
 * it kept when nobody asks. */
#ifndef EXPORT_NBD_MEMORY_H
#define EXPORT_NBD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#define NBD_MEMORY_LEAST ((size_t)4096)
#define NBD_MEMORY_MOST  ((size_t)32 << 20)

struct nbd_memory {
	void *kept[14]; /* by size: 4 KiB, 8 KiB, ... 32 MiB */
	size_t kept_bytes, used_bytes;
};

/* The bytes that a buffer for length bytes takes. length is at most NBD_MEMORY_MOST. */
size_t nbd_memory_size(size_t length);
/* NULL: there is none. Whole pages; what is in them is anything. */
void *nbd_memory_take(struct nbd_memory *memory, size_t length);
/* The same length as it was taken with. NULL is fine. */
void nbd_memory_give(struct nbd_memory *memory, void *buffer, size_t length);
/* Give what is kept back to the kernel. */
void nbd_memory_release(struct nbd_memory *memory);

#endif
