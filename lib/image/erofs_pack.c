/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An inode with a tail must not cross a block's end, so blocks of inodes end in gaps. They are kept
 * small by best fit: an inode goes into the fullest of the open blocks that still has room. Few
 * blocks stay open for each size of gap, the newest; so neighbours in the tree stay near each
 * other, and memory does not grow with the tree.
 */
#include "image/erofs_plan.h"

#include <string.h>

#define BLOCK_SLOTS (EROFS_BLOCK_SIZE / EROFS_SLOT_SIZE)

void erofs_pack_init(struct erofs_pack *pack)
{
	*pack = (struct erofs_pack){.blocks = 1, .first_used = EROFS_SUPER_SLOTS};
}

static void open_block(struct erofs_pack *pack, uint64_t block, unsigned used)
{
	if (used == BLOCK_SLOTS)
		return;
	__typeof__(pack->open[0]) *open = &pack->open[BLOCK_SLOTS - used];
	if (open->count < EROFS_PACK_OPEN) {
		open->blocks[open->count++] = (uint32_t)block;
	} else {
		memmove(open->blocks, open->blocks + 1, sizeof open->blocks - sizeof *open->blocks);
		open->blocks[EROFS_PACK_OPEN - 1] = (uint32_t)block;
	}
}

uint64_t erofs_pack_put(struct erofs_pack *pack, uint64_t bytes, bool has_content)
{
	uint64_t slots = (bytes + EROFS_SLOT_SIZE - 1) / EROFS_SLOT_SIZE;
	if (!has_content && slots <= BLOCK_SLOTS - pack->first_used) {
		uint64_t nid = pack->first_used;
		pack->first_used += (unsigned)slots;
		return nid;
	}
	for (uint64_t free = slots; free < BLOCK_SLOTS; free++) {
		if (!pack->open[free].count)
			continue;
		uint64_t block = pack->open[free].blocks[--pack->open[free].count];
		unsigned used = BLOCK_SLOTS - (unsigned)free;
		open_block(pack, block, used + (unsigned)slots);
		return block * BLOCK_SLOTS + used;
	}
	uint64_t block = pack->blocks, needed = (slots + BLOCK_SLOTS - 1) / BLOCK_SLOTS;
	pack->blocks += needed;
	open_block(pack, block + needed - 1, (unsigned)(slots - (needed - 1) * BLOCK_SLOTS));
	return block * BLOCK_SLOTS;
}
