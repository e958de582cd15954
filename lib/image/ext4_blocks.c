/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks for content, handed out in a row, and the extent trees that list them (fs/ext4/extents.c;
 * "Extent Tree" in Documentation/filesystems/ext4). A file is written once and front to back, so
 * its tree is built from the leaves up in full nodes; most files have one run, which fits into the
 * inode.
 */
#include <stdlib.h>
#include <string.h>

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext3_extents.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "image/ext4_writer.h"

#define ROOT_ENTRIES 4
/* The header, and four bytes of checksum after the last entry. */
#define NODE_ENTRIES \
	((EXT4_BLOCK_SIZE - sizeof(struct ext3_extent_header) - 4) / sizeof(struct ext3_extent))

/* The next free run of at most count blocks. */
static errcode_t allocate(
	struct ext4_writer *writer, uint32_t count, blk64_t *start, uint32_t *length)
{
	ext2_filsys fs = writer->fs;
	blk64_t last = ext2fs_blocks_count(fs->super) - 1, used;
	if (ext2fs_find_first_zero_block_bitmap2(fs->block_map, writer->cursor, last, start))
		return EXT2_ET_BLOCK_ALLOC_FAIL;
	blk64_t end = MIN(*start + count - 1, last);
	bool bounded = !ext2fs_find_first_set_block_bitmap2(fs->block_map, *start, end, &used);
	*length = (uint32_t)((bounded ? used : end + 1) - *start);
	ext2fs_block_alloc_stats_range(fs, *start, *length, +1);
	writer->cursor = *start + *length;
	writer->blocks += *length;
	return 0;
}

static errcode_t add_run(
	struct ext4_writer *writer, uint32_t logical, uint64_t physical, uint32_t length)
{
	if (writer->runs.count) {
		struct ext4_run *last = &writer->runs.items[writer->runs.count - 1];
		if (last->logical + last->length == logical &&
			last->physical + last->length == physical &&
			last->length + length <= EXT_INIT_MAX_LEN) {
			last->length += length;
			return 0;
		}
	}
	struct ext4_run *run = vector_push(&writer->runs);
	if (!run)
		return EXT2_ET_NO_MEMORY;
	*run = (struct ext4_run){logical, length, physical};
	return 0;
}

static int flush_batch(struct ext4_writer *writer)
{
	struct ext4_batch *batch = &writer->batch;
	size_t bytes = (size_t)batch->count * EXT4_BLOCK_SIZE;
	batch->count = 0;
	return bytes ? pwrite_full(
			       writer->io.fd, batch->bytes, bytes, batch->start * EXT4_BLOCK_SIZE)
		     : 0;
}

errcode_t ext4_batch_begin(struct ext4_writer *writer)
{
	writer->batch.bytes = malloc((size_t)EXT4_BATCH_BLOCKS * EXT4_BLOCK_SIZE);
	return writer->batch.bytes ? 0 : EXT2_ET_NO_MEMORY;
}

errcode_t ext4_batch_end(struct ext4_writer *writer)
{
	int r = flush_batch(writer);
	free(TAKE_PTR(writer->batch.bytes));
	if (r < 0)
		writer->io.error = r;
	return -r;
}

static int write_blocks(struct ext4_writer *writer, const char *data, blk64_t start, uint32_t count)
{
	struct ext4_batch *batch = &writer->batch;
	size_t bytes = (size_t)count * EXT4_BLOCK_SIZE;
	if (!batch->bytes || count > EXT4_BATCH_BLOCKS)
		return pwrite_full(writer->io.fd, data, bytes, start * EXT4_BLOCK_SIZE);
	if (batch->start + batch->count != start || batch->count + count > EXT4_BATCH_BLOCKS) {
		int r = flush_batch(writer);
		if (r < 0)
			return r;
		batch->start = start;
	}
	memcpy(batch->bytes + (size_t)batch->count * EXT4_BLOCK_SIZE, data, bytes);
	batch->count += count;
	return 0;
}

errcode_t ext4_append_blocks(
	struct ext4_writer *writer, uint32_t logical, const char *data, uint32_t count)
{
	while (count) {
		blk64_t start;
		uint32_t length;
		errcode_t code = allocate(
			writer, MIN(count, (uint32_t)EXT_INIT_MAX_LEN), &start, &length);
		if (code)
			return code;
		size_t bytes = (size_t)length * EXT4_BLOCK_SIZE;
		int r = data ? write_blocks(writer, data, start, length) : 0;
		if (r < 0) {
			writer->io.error = r;
			return -r;
		}
		code = add_run(writer, logical, start, length);
		if (code)
			return code;
		logical += length;
		data = data ? data + bytes : NULL;
		count -= length;
	}
	return 0;
}

uint64_t ext4_extent_blocks(uint64_t runs)
{
	uint64_t blocks = 0;
	while (runs > ROOT_ENTRIES) {
		runs = (runs + NODE_ENTRIES - 1) / NODE_ENTRIES;
		blocks += runs;
	}
	return blocks;
}

static void fill_header(struct ext3_extent_header *header, uint32_t count, uint32_t max, int depth)
{
	header->eh_magic = ext2fs_cpu_to_le16(EXT3_EXT_MAGIC);
	header->eh_entries = ext2fs_cpu_to_le16((uint16_t)count);
	header->eh_max = ext2fs_cpu_to_le16((uint16_t)max);
	header->eh_depth = ext2fs_cpu_to_le16((uint16_t)depth);
}

/* depth 0: runs of data; above: nodes, whose length does not matter. */
static void fill_entries(
	struct ext3_extent_header *header, const struct ext4_run *runs, uint32_t count, int depth)
{
	struct ext3_extent *leaf = (struct ext3_extent *)(header + 1);
	struct ext3_extent_idx *index = (struct ext3_extent_idx *)(header + 1);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t low = ext2fs_cpu_to_le32((uint32_t)runs[i].physical);
		uint16_t high = ext2fs_cpu_to_le16((uint16_t)(runs[i].physical >> 32));
		uint32_t logical = ext2fs_cpu_to_le32(runs[i].logical);
		if (depth)
			index[i] = (struct ext3_extent_idx){logical, low, high, 0};
		else
			leaf[i] = (struct ext3_extent){
				logical, ext2fs_cpu_to_le16((uint16_t)runs[i].length), high, low};
	}
}

/* One node of the tree in a block of its own; *node tells where, for the level above. */
static errcode_t write_node(struct ext4_writer *writer, ext2_ino_t number,
	const struct ext4_run *runs, uint32_t count, int depth, struct ext4_run *node)
{
	union {
		struct ext3_extent_header header;
		char bytes[EXT4_BLOCK_SIZE];
	} block = {0};
	fill_header(&block.header, count, NODE_ENTRIES, depth);
	fill_entries(&block.header, runs, count, depth);
	errcode_t code = ext2fs_extent_block_csum_set(writer->fs, number, &block.header);
	blk64_t start;
	uint32_t length;
	if (!code)
		code = allocate(writer, 1, &start, &length);
	if (!code)
		code = io_channel_write_blk64(writer->fs->io, start, 1, &block);
	if (!code)
		*node = (struct ext4_run){runs[0].logical, 0, start};
	return code;
}

errcode_t ext4_write_extents(
	struct ext4_writer *writer, ext2_ino_t number, struct ext2_inode_large *inode)
{
	struct ext4_run *runs = writer->runs.items;
	uint32_t count = (uint32_t)writer->runs.count;
	int depth = 0;
	/* Each level replaces, in place, the one it points to. */
	for (; count > ROOT_ENTRIES; depth++) {
		uint32_t nodes = 0;
		for (uint32_t i = 0; i < count; i += NODE_ENTRIES) {
			struct ext4_run node;
			errcode_t code = write_node(writer, number, runs + i,
				MIN(count - i, (uint32_t)NODE_ENTRIES), depth, &node);
			if (code)
				return code;
			runs[nodes++] = node;
		}
		count = nodes;
	}
	struct ext3_extent_header *root = (void *)inode->i_block;
	fill_header(root, count, ROOT_ENTRIES, depth);
	fill_entries(root, runs, count, depth);
	inode->i_flags |= EXT4_EXTENTS_FL;
	writer->runs.count = 0;
	return 0;
}
