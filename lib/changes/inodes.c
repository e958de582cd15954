/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; at most half full. The numbers come from the guest, so they
 * are mixed (a multiplication by 2^64 / golden ratio, Knuth 6.4) before they choose a slot. */
#include "changes/inodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct inode_slot *inodes_slot(struct inode_slot *slots, size_t capacity, uint64_t inode)
{
	uint64_t mixed = (inode ^ (inode >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(mixed >> 20) & (capacity - 1);
	while (slots[i].used && slots[i].inode != inode)
		i = (i + 1) & (capacity - 1);
	return &slots[i];
}

static int inodes_grow(struct inodes *inodes)
{
	size_t capacity = inodes->capacity ? inodes->capacity * 2 : 64;
	struct inode_slot *slots = calloc(capacity, sizeof *slots);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < inodes->capacity; i++)
		if (inodes->slots[i].used)
			*inodes_slot(slots, capacity, inodes->slots[i].inode) = inodes->slots[i];
	free(inodes->slots);
	inodes->slots = slots;
	inodes->capacity = capacity;
	return 0;
}

int inodes_put(struct inodes *inodes, uint64_t inode, const char *path, const char **found)
{
	if (inodes->count >= inodes->capacity / 2 && inodes_grow(inodes) < 0)
		return -ENOMEM;
	struct inode_slot *slot = inodes_slot(inodes->slots, inodes->capacity, inode);
	if (slot->used) {
		if (found)
			*found = slot->path;
		return 0;
	}
	char *copy = path ? strdup(path) : NULL;
	if (path && !copy)
		return -ENOMEM;
	*slot = (struct inode_slot){.inode = inode, .path = copy, .used = true};
	inodes->count++;
	return 1;
}

bool inodes_has(const struct inodes *inodes, uint64_t inode)
{
	return inodes->capacity && inodes_slot(inodes->slots, inodes->capacity, inode)->used;
}

void inodes_free(struct inodes *inodes)
{
	for (size_t i = 0; i < inodes->capacity; i++)
		free(inodes->slots[i].path);
	free(inodes->slots);
	*inodes = (struct inodes){0};
}
