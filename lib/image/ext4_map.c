/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the blocks of a file are: extent trees, and the indirect blocks of ext2 and ext3. A search
 * goes from the root down at most five levels, each one lower than the one before and within the
 * range that its parent gave it, so that no lie makes it go round. Sources: the kernel's
 * fs/ext4/{extents,ext4_extents.h,indirect}.c.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_inside.h"

enum { TREE_BLOCKS_MAX = 4096 }; /* that ext4_map_same compares before it gives up */
static const uint64_t FILE_BLOCKS_MAX = 1ULL << 32;

bool ext4_blocks_exist(const struct ext4 *e, uint64_t block, uint64_t count)
{
	return block >= e->super.s_first_data_block && range_within(block, count, e->blocks);
}

/* One node of an extent tree in host byte order's reach: header, entries, and what it may hold. */
struct extent_node {
	struct ext3_extent_header header;
	const uint8_t *entries;
	uint64_t from, to; /* the file's blocks that it is about */
};

static int extent_header(const uint8_t *data, size_t length, int depth, struct extent_node *node,
	struct ramet_error *err)
{
	memcpy(&node->header, data, sizeof node->header);
	node->entries = data + sizeof node->header;
	unsigned entries = le16toh(node->header.eh_entries), most = le16toh(node->header.eh_max);
	if (le16toh(node->header.eh_magic) != EXT3_EXT_MAGIC || entries > most ||
		most > (length - sizeof node->header) / sizeof(struct ext3_extent))
		return ext4_damage(err, "its extent tree has a wrong head");
	if (depth >= 0 ? le16toh(node->header.eh_depth) != depth
		       : le16toh(node->header.eh_depth) > EXT4_DEPTH_MAX)
		return ext4_damage(err, "its extent tree has a wrong depth (%u)",
			le16toh(node->header.eh_depth));
	return 0;
}

/* A block of the tree: checked, in *data until the next block is read. */
static int extent_block(struct ext4 *e, const struct ext4_node *file, uint64_t block, int depth,
	struct extent_node *node, struct ramet_error *err)
{
	const uint8_t *data = NULL;
	int r = ext4_block(e, block, &data, err);
	if (r == 0)
		r = extent_header(data, e->block_size, depth, node, err);
	if (r < 0 || !e->checksums)
		return r;
	size_t tail = sizeof(struct ext3_extent_header) +
		      sizeof(struct ext3_extent) * le16toh(node->header.eh_max);
	uint32_t stored;
	if (tail + sizeof stored > e->block_size)
		return ext4_damage(err, "its extent tree has no place for a checksum");
	memcpy(&stored, data + tail, sizeof stored);
	if (!ext4_sum_right(ext4_crc32c(file->seed, data, tail), le32toh(stored)))
		return ext4_damage(err, "block %llu of its extent tree has the wrong checksum",
			(unsigned long long)block);
	return 0;
}

/* The entries must rise and stay in the node's range; answers the last one at or before block, or
 * -1, and in *next where the one after it starts. Both kinds of entry start with their block. */
static int extent_search(const struct extent_node *node, uint64_t block, int *found, uint64_t *next,
	struct ramet_error *err)
{
	*found = -1;
	*next = node->to;
	uint64_t least = node->from;
	for (int i = 0; i < le16toh(node->header.eh_entries); i++) {
		uint32_t first;
		memcpy(&first, node->entries + (size_t)i * sizeof(struct ext3_extent),
			sizeof first);
		first = le32toh(first);
		if (first < least || first >= node->to)
			return ext4_damage(
				err, "its extent tree is not in order at block %u", first);
		least = (uint64_t)first + 1;
		if (first <= block)
			*found = i;
		else if (*next == node->to)
			*next = first;
	}
	return 0;
}

static int extent_leaf(struct ext4 *e, const struct extent_node *node, uint64_t block,
	struct ext4_run *run, struct ramet_error *err)
{
	int found;
	uint64_t next;
	int r = extent_search(node, block, &found, &next, err);
	if (r < 0)
		return r;
	*run = (struct ext4_run){.first = block, .count = next - block, .hole = true};
	if (found < 0)
		return 0;
	struct ext3_extent extent;
	memcpy(&extent, node->entries + (size_t)found * sizeof extent, sizeof extent);
	uint64_t first = le32toh(extent.ee_block), count = le16toh(extent.ee_len);
	bool unwritten = count > EXT_INIT_MAX_LEN;
	if (unwritten)
		count -= EXT_INIT_MAX_LEN;
	uint64_t start = (uint64_t)le16toh(extent.ee_start_hi) << 32 | le32toh(extent.ee_start);
	if (count == 0 || first + count > next || !ext4_blocks_exist(e, start, count))
		return ext4_damage(err, "its extent at block %llu says %llu blocks from block %llu",
			(unsigned long long)first, (unsigned long long)count,
			(unsigned long long)start);
	if (block >= first + count)
		return 0;
	*run = (struct ext4_run){.first = first, .count = count, .block = start, .hole = unwritten};
	return 0;
}

static int extent_map(struct ext4 *e, struct ext4_node *file, uint64_t block, struct ext4_run *run,
	struct ramet_error *err)
{
	struct extent_node node = {.to = FILE_BLOCKS_MAX};
	int r = extent_header(
		(const uint8_t *)file->inode.i_block, sizeof file->inode.i_block, -1, &node, err);
	for (int depth = r == 0 ? le16toh(node.header.eh_depth) : 0; depth > 0; depth--) {
		int found;
		uint64_t next;
		r = extent_search(&node, block, &found, &next, err);
		if (r < 0)
			return r;
		if (found < 0) {
			*run = (struct ext4_run){
				.first = block, .count = next - block, .hole = true};
			return 0;
		}
		struct ext3_extent_idx index;
		memcpy(&index, node.entries + (size_t)found * sizeof index, sizeof index);
		node.from = le32toh(index.ei_block);
		node.to = next;
		uint64_t child = (uint64_t)le16toh(index.ei_leaf_hi) << 32 | le32toh(index.ei_leaf);
		r = extent_block(e, file, child, depth - 1, &node, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : extent_leaf(e, &node, block, run, err);
}

/* In an array of pointers, the run that starts at one of them: holes, or blocks in a row. Each
 * pointer stands for `each` blocks of the file, which is 1 where they are data. */
static void pointer_run(
	const uint8_t *pointers, size_t at, size_t count, uint64_t each, struct ext4_run *run)
{
	uint32_t first, next;
	memcpy(&first, pointers + at * sizeof first, sizeof first);
	first = le32toh(first);
	size_t end = at + 1;
	for (; end < count; end++) {
		memcpy(&next, pointers + end * sizeof next, sizeof next);
		if (first == 0 ? next != 0 : le32toh(next) != (uint64_t)first + (end - at))
			break;
	}
	run->hole = first == 0;
	run->block = first;
	run->count = (end - at) * each;
}

static int indirect_map(struct ext4 *e, struct ext4_node *file, uint64_t block,
	struct ext4_run *run, struct ramet_error *err)
{
	const uint8_t *pointers = (const uint8_t *)file->inode.i_block;
	const uint64_t per_block = e->block_size / sizeof(uint32_t);
	size_t count = EXT2_NDIR_BLOCKS, at = 0;
	uint64_t within = block, each = 1;
	run->first = block;
	if (block < EXT2_NDIR_BLOCKS) {
		at = (size_t)block;
		within = 0;
	} else {
		within -= EXT2_NDIR_BLOCKS;
		for (at = EXT2_IND_BLOCK, each = per_block; within >= each; each *= per_block) {
			within -= each;
			if (++at > EXT2_TIND_BLOCK)
				return ext4_damage(
					err, "it has no block %llu", (unsigned long long)block);
		}
		count = at + 1;
	}
	for (;;) {
		pointer_run(pointers, at, count, each, run);
		if (each == 1 || run->hole)
			break;
		int r = ext4_block(e, run->block, &pointers, err);
		if (r < 0)
			return r;
		each /= per_block;
		at = (size_t)(within / each);
		within %= each;
		count = (size_t)per_block;
	}
	if (run->hole)
		run->count -= within;
	else if (!ext4_blocks_exist(e, run->block, run->count))
		return ext4_damage(err, "its block %llu is said to be block %llu of the device",
			(unsigned long long)block, (unsigned long long)run->block);
	return 0;
}

int ext4_map(struct ext4 *e, struct ext4_node *node, uint64_t block, struct ramet_error *err)
{
	if (node->run.count && block >= node->run.first &&
		block - node->run.first < node->run.count)
		return 0;
	struct ext4_run run = {0};
	int r = node->flags & EXT4_EXTENTS_FL ? extent_map(e, node, block, &run, err)
					      : indirect_map(e, node, block, &run, err);
	if (r < 0)
		return error_prefix(err, r, "inode %u", node->number);
	node->run = run;
	return 0;
}

/* Compare what two blocks of pointers or extents hold, and all below them. */
static bool tree_same(struct ext4 *a, struct ext4 *b, const uint8_t *root, size_t length,
	unsigned depth, bool extents, unsigned *budget);

static bool block_same(struct ext4 *a, struct ext4 *b, uint64_t block, unsigned depth, bool extents,
	unsigned *budget)
{
	const uint8_t *data_a, *data_b;
	if ((*budget)-- == 0 || ext4_block(a, block, &data_a, NULL) < 0 ||
		ext4_block(b, block, &data_b, NULL) < 0 ||
		memcmp(data_a, data_b, a->block_size) != 0)
		return false;
	if (depth == 0)
		return true;
	_cleanup_free_ uint8_t *copy = malloc(a->block_size);
	if (!copy)
		return false;
	memcpy(copy, data_a, a->block_size);
	return tree_same(a, b, copy, a->block_size, depth, extents, budget);
}

static bool tree_same(struct ext4 *a, struct ext4 *b, const uint8_t *root, size_t length,
	unsigned depth, bool extents, unsigned *budget)
{
	if (extents) {
		struct extent_node node;
		if (extent_header(root, length, (int)depth, &node, NULL) < 0)
			return false;
		for (int i = 0; i < le16toh(node.header.eh_entries); i++) {
			struct ext3_extent_idx index;
			memcpy(&index, node.entries + (size_t)i * sizeof index, sizeof index);
			uint64_t child = (uint64_t)le16toh(index.ei_leaf_hi) << 32 |
					 le32toh(index.ei_leaf);
			if (!block_same(a, b, child, depth - 1, extents, budget))
				return false;
		}
		return true;
	}
	for (size_t at = 0; at + sizeof(uint32_t) <= length; at += sizeof(uint32_t)) {
		uint32_t child;
		memcpy(&child, root + at, sizeof child);
		if (child && !block_same(a, b, le32toh(child), depth - 1, extents, budget))
			return false;
	}
	return true;
}

bool ext4_map_same(struct ext4 *a, const struct ext4_node *node_a, struct ext4 *b,
	const struct ext4_node *node_b)
{
	const uint8_t *root = (const uint8_t *)node_a->inode.i_block;
	const size_t size = sizeof node_a->inode.i_block;
	unsigned budget = TREE_BLOCKS_MAX;
	if (a->block_size != b->block_size || node_a->flags != node_b->flags ||
		memcmp(root, node_b->inode.i_block, size) != 0)
		return false;
	if (node_a->flags & EXT4_INLINE_DATA_FL)
		return true;
	if (node_a->flags & EXT4_EXTENTS_FL) {
		struct extent_node node;
		if (extent_header(root, size, -1, &node, NULL) < 0)
			return false;
		unsigned depth = le16toh(node.header.eh_depth);
		return depth == 0 || tree_same(a, b, root, size, depth, true, &budget);
	}
	for (unsigned i = EXT2_IND_BLOCK; i <= EXT2_TIND_BLOCK; i++) {
		if (!node_a->inode.i_block[i])
			continue;
		if (!block_same(a, b, le32toh(node_a->inode.i_block[i]), i - EXT2_IND_BLOCK, false,
			    &budget))
			return false;
	}
	return true;
}
