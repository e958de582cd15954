/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of squashfs files: blocks one after the other in the image, their stored lengths in a
 * list behind the inode (0: a sparse block), and the tail of the file in a fragment block that it
 * shares with others. Sources: the kernel's fs/squashfs/{file,fragment,block}.c.
 *
 * The list must be followed from its start to find where a block is. Reading goes forward nearly
 * always, so the place reached in the file read last is kept and only going back starts anew. Four
 * decoded blocks are kept: neighbours share fragments, and two files may be read in turn.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/squashfs_inside.h"

/* How many blocks the list has: without a fragment the tail is a block of its own. */
static uint64_t block_count(const struct squashfs *s, const struct squashfs_node *node)
{
	uint64_t whole = node->size >> s->super.block_log;
	bool tail = node->size & (s->super.block_size - 1);
	return whole + (tail && node->fragment == SQUASHFS_NONE32);
}

/* Make ref the file that is read. */
static int file_select(struct squashfs *s, fs_ref ref, struct ramet_error *err)
{
	if (s->file.valid && s->file.ref == ref)
		return 0;
	s->file.valid = false;
	int r = squashfs_node_read(s, ref, &s->file.node, err);
	if (r < 0)
		return r;
	if (!S_ISREG(s->file.node.mode))
		return error_set(
			err, EINVAL, "inode %#llx is no regular file", (unsigned long long)ref);
	s->file.ref = ref;
	s->file.block = 0;
	s->file.position = s->file.node.start;
	s->file.cursor = s->file.node.tail;
	s->file.valid = true;
	return 0;
}

/* The length word of the next block in the list; moves on. */
static int file_next(struct squashfs *s, uint32_t *word, struct ramet_error *err)
{
	struct squashfs_file *file = &s->file;
	int r = meta_read(s, &file->cursor, word, sizeof *word, err);
	if (r < 0) {
		file->valid = false;
		return r;
	}
	*word = le32toh(*word);
	file->position += SQFS_ON_DISK_BLOCK_SIZE(*word);
	file->block++;
	return 0;
}

/* Stand before block number. */
static int file_seek(struct squashfs *s, uint64_t number, struct ramet_error *err)
{
	struct squashfs_file *file = &s->file;
	if (number < file->block) {
		file->block = 0;
		file->position = file->node.start;
		file->cursor = file->node.tail;
	}
	while (file->block < number) {
		uint32_t word;
		int r = file_next(s, &word, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int block_decode(struct squashfs *s, uint64_t position, uint32_t word,
	struct data_block *block, struct ramet_error *err)
{
	uint32_t length = SQFS_ON_DISK_BLOCK_SIZE(word);
	if (length > s->super.block_size || word >> 25)
		return squashfs_damage(err, "a block claims %u bytes", length);
	bool packed = SQFS_IS_BLOCK_COMPRESSED(word);
	int r = squashfs_pread(s, packed ? s->raw : block->data, length, position, err);
	if (r < 0)
		return r;
	sqfs_s32 decoded = (sqfs_s32)length;
	if (packed)
		decoded = s->compressor->do_block(
			s->compressor, s->raw, length, block->data, s->super.block_size);
	if (decoded <= 0 || (uint32_t)decoded > s->super.block_size)
		return squashfs_damage(err, "the block at %llu cannot be decompressed",
			(unsigned long long)position);
	block->length = (size_t)decoded;
	block->position = position;
	block->size_word = word;
	return 0;
}

static int block_get(struct squashfs *s, uint64_t position, uint32_t word,
	const struct data_block **found, struct ramet_error *err)
{
	struct data_block *oldest = &s->blocks[0];
	for (size_t i = 0; i < DATA_SLOTS; i++) {
		struct data_block *block = &s->blocks[i];
		if (block->length && block->position == position && block->size_word == word) {
			block->used = ++s->clock;
			*found = block;
			return 0;
		}
		if (block->used < oldest->used)
			oldest = block;
	}
	if (!oldest->data)
		oldest->data = malloc(s->super.block_size);
	if (!oldest->data)
		return error_memory(err);
	oldest->length = 0;
	oldest->used = ++s->clock;
	*found = oldest;
	return block_decode(s, position, word, oldest, err);
}

/* Copy what a decoded block holds from offset on; it must hold all of it. */
static int block_copy(struct squashfs *s, uint64_t position, uint32_t word, uint64_t offset,
	void *buffer, size_t length, struct ramet_error *err)
{
	const struct data_block *block = NULL;
	int r = block_get(s, position, word, &block, err);
	if (r < 0)
		return r;
	if (!range_within(offset, length, block->length))
		return squashfs_damage(err, "the block at %llu is shorter than its file needs",
			(unsigned long long)position);
	memcpy(buffer, block->data + offset, length);
	return 0;
}

static int fragment_copy(
	struct squashfs *s, uint64_t within, void *buffer, size_t length, struct ramet_error *err)
{
	const struct squashfs_node *node = &s->file.node;
	sqfs_fragment_t fragment;
	int r = meta_table_read(s, &s->fragments, node->fragment, &fragment, err);
	if (r < 0)
		return r;
	return block_copy(s, le64toh(fragment.start_offset), le32toh(fragment.size),
		node->offset + within, buffer, length, err);
}

/* Read within one block of the selected file. */
static int read_piece(
	struct squashfs *s, uint64_t offset, void *buffer, size_t length, struct ramet_error *err)
{
	uint64_t number = offset >> s->super.block_log;
	uint64_t within = offset & (s->super.block_size - 1);
	if (number >= block_count(s, &s->file.node))
		return fragment_copy(s, within, buffer, length, err);
	int r = file_seek(s, number, err);
	if (r < 0)
		return r;
	struct squashfs_file before = s->file;
	uint32_t word;
	r = file_next(s, &word, err);
	if (r < 0)
		return r;
	if (SQFS_IS_SPARSE_BLOCK(word))
		memset(buffer, 0, length);
	else
		r = block_copy(s, before.position, word, within, buffer, length, err);
	/* The next call often wants the rest of this very block. */
	s->file = before;
	return r;
}

int squashfs_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err)
{
	struct squashfs *s = (struct squashfs *)fs;
	*done = 0;
	int r = file_select(s, ref, err);
	if (r < 0)
		return r;
	uint64_t size = s->file.node.size;
	if (offset >= size)
		return 0;
	if (length > size - offset)
		length = (size_t)(size - offset);
	while (*done < length) {
		uint64_t at = offset + *done;
		size_t piece = s->super.block_size - (at & (s->super.block_size - 1));
		piece = MIN(piece, length - *done);
		r = read_piece(s, at, (uint8_t *)buffer + *done, piece, err);
		if (r < 0)
			return error_prefix(err, r, "inode %#llx", (unsigned long long)ref);
		*done += piece;
	}
	return 0;
}

/* How far the run of blocks that are all sparse, or all not, goes on from block number. */
static int extent_end(struct squashfs *s, uint64_t number, uint64_t *end, bool *hole,
	uint64_t *position, struct ramet_error *err)
{
	uint64_t count = block_count(s, &s->file.node), size = s->file.node.size;
	*hole = false;
	*end = size;
	*position = UINT64_MAX;
	if (number >= count)
		return 0;
	int r = file_seek(s, number, err);
	/* Whole blocks that are not compressed stand there as one piece. */
	if (s->file.node.fragment == SQUASHFS_NONE32)
		*position = s->file.position;
	for (uint64_t at = number; at < count && r == 0; at++) {
		uint32_t word = 0;
		r = file_next(s, &word, err);
		bool sparse = SQFS_IS_SPARSE_BLOCK(word);
		uint64_t length = MIN(size - (at << s->super.block_log), s->super.block_size);
		if (!sparse &&
			(SQFS_IS_BLOCK_COMPRESSED(word) || SQFS_ON_DISK_BLOCK_SIZE(word) != length))
			*position = UINT64_MAX;
		if (at == number)
			*hole = sparse;
		if (sparse != *hole) {
			*end = at << s->super.block_log;
			return r;
		}
	}
	/* What follows the blocks is data in a fragment. */
	if (r == 0 && *hole)
		*end = MIN(count << s->super.block_log, *end);
	return r;
}

int squashfs_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct squashfs *s = (struct squashfs *)fs;
	int r = file_select(s, ref, err);
	if (r < 0)
		return r;
	if (offset >= s->file.node.size)
		return error_set(err, ENXIO, "inode %#llx has no byte %llu",
			(unsigned long long)ref, (unsigned long long)offset);
	uint64_t end, position;
	bool hole;
	r = extent_end(s, offset >> s->super.block_log, &end, &hole, &position, err);
	if (r < 0)
		return error_prefix(err, r, "inode %#llx", (unsigned long long)ref);
	*extent = (struct fs_extent){.offset = offset,
		.length = end - offset,
		.hole = hole,
		.device_offset = hole || position == UINT64_MAX
					 ? UINT64_MAX
					 : position + (offset & (s->super.block_size - 1))};
	return 0;
}

/* The blocks of a file stand together; its tail is in a fragment, which is elsewhere. */
int squashfs_locate(struct fs *fs, fs_ref ref, uint64_t offset, uint64_t *position,
	uint64_t *length, struct ramet_error *err)
{
	struct squashfs *s = (struct squashfs *)fs;
	int r = file_select(s, ref, err);
	if (r < 0)
		return r;
	const struct squashfs_node *node = &s->file.node;
	uint64_t blocks = MIN(block_count(s, node) << s->super.block_log, node->size);
	if (offset < blocks) {
		*position = node->start + (offset >> s->super.block_log);
		*length = blocks - offset;
		return 0;
	}
	sqfs_fragment_t fragment;
	r = meta_table_read(s, &s->fragments, node->fragment, &fragment, err);
	if (r < 0)
		return error_prefix(err, r, "inode %#llx", (unsigned long long)ref);
	*position = le64toh(fragment.start_offset);
	*length = node->size - offset;
	return 0;
}
