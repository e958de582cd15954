/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing, the next slot when one is taken; keys are blocks + 1, so that 0 is free. The size
 * is a power of two, and at most three quarters of the slots are taken, so that a search ends soon.
 */
#include "image/ext4_blockmap.h"

#include <stdlib.h>

#include "base/error.h"

static struct ext4_blockmap_slot *blockmap_slot(
	struct ext4_blockmap_slot *slots, size_t size, uint64_t key)
{
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15ULL >> 24);
	while (slots[at & (size - 1)].key && slots[at & (size - 1)].key != key)
		at++;
	return &slots[at & (size - 1)];
}

const uint64_t *ext4_blockmap_find(const struct ext4_blockmap *map, uint64_t block)
{
	if (!map->size)
		return NULL;
	struct ext4_blockmap_slot *slot = blockmap_slot(map->slots, map->size, block + 1);
	return slot->key ? &slot->value : NULL;
}

int ext4_blockmap_put(
	struct ext4_blockmap *map, uint64_t block, uint64_t value, struct ramet_error *err)
{
	if (map->count * 4 >= map->size * 3) {
		struct ext4_blockmap grown = {
			.count = map->count, .size = map->size ? map->size * 2 : 1024};
		grown.slots = calloc(grown.size, sizeof *grown.slots);
		if (!grown.slots)
			return error_memory(err);
		for (size_t i = 0; i < map->size; i++) {
			if (map->slots[i].key)
				*blockmap_slot(
					grown.slots, grown.size, map->slots[i].key) = map->slots[i];
		}
		free(map->slots);
		*map = grown;
	}
	struct ext4_blockmap_slot *slot = blockmap_slot(map->slots, map->size, block + 1);
	map->count += !slot->key;
	*slot = (struct ext4_blockmap_slot){.key = block + 1, .value = value};
	return 0;
}

void ext4_blockmap_free(struct ext4_blockmap *map)
{
	free(map->slots);
	*map = (struct ext4_blockmap){0};
}
