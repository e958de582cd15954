/* SPDX-License-Identifier: Apache-2.0 */
/* A map from blocks to 64-bit values; it grows with what is put into it. */
#ifndef IMAGE_EXT4_BLOCKMAP_H
#define IMAGE_EXT4_BLOCKMAP_H

#include <ramet.h>
#include <stddef.h>
#include <stdint.h>

/* Start with {0}. */
struct ext4_blockmap {
	struct ext4_blockmap_slot {
		uint64_t key, value;
	} * slots;
	size_t count, size;
};

/* The value of a block, or NULL; good until the next put. */
const uint64_t *ext4_blockmap_find(const struct ext4_blockmap *map, uint64_t block);
/* Set the value of a block, which may have one. 0 or -ENOMEM. */
int ext4_blockmap_put(
	struct ext4_blockmap *map, uint64_t block, uint64_t value, struct ramet_error *err);
void ext4_blockmap_free(struct ext4_blockmap *map);

#endif
