/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's memory, as a VMM shares it: files mapped here, found by two kinds of addresses. */
#ifndef EXPORT_VHOST_USER_MEMORY_H
#define EXPORT_VHOST_USER_MEMORY_H

#include <stdbool.h>

#include "base/error.h"
#include "export/vhost_user_wire.h"

/* A file, or a part of one, that is mapped and guarded. */
struct vhost_mapping {
	void *base; /* NULL: none */
	size_t length;
	uint8_t *start; /* of the part that was asked for */
	int guard;
};

/* Map size bytes from offset of fd, which must be a file with as many. Errors are sentences. */
int vhost_map(int fd, uint64_t offset, uint64_t size, struct vhost_mapping *mapping,
	struct ramet_error *err);
void vhost_unmap(struct vhost_mapping *mapping);

struct vhost_region {
	uint64_t guest, size, user;
	struct vhost_mapping mapping;
};

/* All zeros: no memory. */
struct vhost_memory {
	struct vhost_region regions[VHOST_SLOTS];
	unsigned count, last; /* last: where something was found before */
};

/* Take a region up. Not one that overlaps another, in either kind of addresses, is not of whole
 * pages, or is not all in its file. fd stays the caller's. */
int vhost_memory_add(struct vhost_memory *memory, const struct vhost_wire_region *region, int fd,
	struct ramet_error *err);
/* Let the region with these addresses and this size go. -ENOENT. */
int vhost_memory_remove(struct vhost_memory *memory, const struct vhost_wire_region *region);
void vhost_memory_clear(struct vhost_memory *memory);

/* Where the guest's address is here, and how many bytes, at most *length, are there in a row; NULL for
 * nowhere. */
uint8_t *vhost_memory_guest(struct vhost_memory *memory, uint64_t address, uint64_t *length);
/* Where all of [address, address + length) of the frontend's addresses is; NULL for nowhere. */
uint8_t *vhost_memory_user(struct vhost_memory *memory, uint64_t address, uint64_t length);
/* Some of it vanished. */
bool vhost_memory_lost(const struct vhost_memory *memory);

/* Copy what the guest may change at the same time: what is judged afterwards is the copy. */
void vhost_copy(void *to, const void *from, size_t length);

#endif
