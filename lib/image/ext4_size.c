/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a filesystem must be. What the content takes is counted from the tree, never too low:
 * blocks of zeros inside files are counted although they will not be written. What the filesystem
 * itself takes is asked of libext2fs by laying one out, which writes nothing and takes a
 * millisecond; when it is too small, a larger one is laid out.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_writer.h"
#include "source/content.h"

#define FAST_SYMLINK    60    /* a target shorter than this stands in the inode */
#define BYTES_PER_INODE 16384 /* as mke2fs does it: a clone grows by the same ratio */
#define SLACK           64    /* blocks: journal's and resize inode's own, lost+found */

static uint64_t blocks_of(uint64_t bytes)
{
	return bytes / EXT4_BLOCK_SIZE + (bytes % EXT4_BLOCK_SIZE != 0);
}

/* Runs of data, widened to whole blocks: neighbours may be counted twice, which is not too low. */
static int count_sparse(struct tree *tree, const struct tree_node *node, uint64_t *blocks,
	uint64_t *runs, struct ramet_error *err)
{
	_cleanup_content_ struct content content;
	int r = content_open(&content, tree, node, err);
	if (r < 0)
		return r;
	uint64_t start, end;
	for (uint64_t offset = 0; offset < node->size; offset = end) {
		r = content_data(&content, offset, &start, &end, err);
		if (r < 0)
			return r;
		if (start == end)
			break;
		*blocks += blocks_of(end) - start / EXT4_BLOCK_SIZE;
		++*runs;
	}
	return 0;
}

static int count_file(
	struct tree *tree, const struct tree_node *node, uint64_t *blocks, struct ramet_error *err)
{
	if (blocks_of(node->size) > UINT32_MAX)
		return tree_node_error(tree, node, EFBIG, "put into an ext4 image", err);
	uint64_t data = blocks_of(node->size), runs = 1;
	if (node->flags & TREE_SPARSE) {
		data = 0;
		int r = count_sparse(tree, node, &data, &runs, err);
		if (r < 0)
			return r;
	}
	/* Metadata between the groups splits what would be one run. */
	runs += 2 * (data / 32768);
	*blocks += data + ext4_extent_blocks(runs + (runs > 1 ? 4 : 0));
	return 0;
}

static int count_content(struct ext4_writer *writer, uint64_t *blocks, struct ramet_error *err)
{
	*blocks = SLACK;
	for (struct tree_node *node = writer->tree->root; node; node = tree_next(node)) {
		if (tree_link(node))
			continue;
		int r = 0;
		if (S_ISDIR(node->mode)) {
			uint64_t listing = ext4_directory_blocks(writer, node);
			*blocks += listing + (listing > 2);
		} else if (S_ISREG(node->mode)) {
			r = count_file(writer->tree, node, blocks, err);
		} else if (S_ISLNK(node->mode)) {
			*blocks += node->size >= FAST_SYMLINK;
		}
		if (r < 0)
			return r;
		*blocks += node->xattrs != NULL;
	}
	return 0;
}

/* Lay out a filesystem of so many blocks; *missing: how many it lacks for content. */
static int try_blocks(struct ext4_writer *writer, struct ext4_format *format, uint64_t content,
	uint64_t *missing, struct ramet_error *err)
{
	uint64_t inodes = writer->tree->inodes + EXT4_FIRST_INODE;
	uint64_t by_size = format->blocks / (BYTES_PER_INODE / EXT4_BLOCK_SIZE);
	format->inodes = MAX(inodes + inodes / 16, by_size);
	errcode_t code = ext4_lay_out(format, &writer->io, &writer->fs);
	/* Too small for its own tables: the library has several codes for that. */
	if (code == EXT2_ET_BLOCK_ALLOC_FAIL || code == EXT2_ET_TOO_MANY_INODES ||
		code == EXT2_ET_TOOSMALL || code == EXT2_ET_INODE_ALLOC_FAIL) {
		*missing = content;
		return 0;
	}
	if (code)
		return ext4_failed(writer, code, "lay out the filesystem", err);
	uint64_t needed = content + ext4_journal_blocks(format->blocks);
	uint64_t available = (uint64_t)ext2fs_free_blocks_count(writer->fs->super);
	*missing = needed > available ? needed - available : 0;
	if (*missing) {
		ext2fs_free(writer->fs);
		writer->fs = NULL;
	}
	return 0;
}

static int lay_out_smallest(struct ext4_writer *writer, struct ext4_format *format,
	uint64_t content, struct ramet_error *err)
{
	uint64_t missing = 0;
	format->blocks = content + ext4_journal_blocks(content);
	for (unsigned tries = 0; tries < 100; tries++) {
		int r = try_blocks(writer, format, content, &missing, err);
		if (r < 0 || !missing)
			return r;
		/* A last group with room for little but its own metadata is dropped by libext2fs,
		 * so single blocks may not help. */
		format->blocks += MAX(missing, (uint64_t)64);
	}
	return error_set(err, EFBIG, "cannot find a size of filesystem that holds the content");
}

static int refuse_size(struct ext4_writer *writer, uint64_t size, struct ext4_format *format,
	uint64_t content, struct ramet_error *err)
{
	int r = lay_out_smallest(writer, format, content, err);
	if (r < 0)
		return r;
	char given[32];
	return error_set(err, ENOSPC,
		"the size of %s is too small for the content: it needs at least %" PRIu64 "K",
		text_size(size, given), format->blocks * (EXT4_BLOCK_SIZE / 1024));
}

int ext4_lay_out_for(struct ext4_writer *writer, uint64_t size, struct ext4_format *format,
	struct ramet_error *err)
{
	uint64_t content, missing;
	int r = count_content(writer, &content, err);
	if (r < 0)
		return r;
	if (!size)
		return lay_out_smallest(writer, format, content, err);
	format->blocks = size / EXT4_BLOCK_SIZE;
	if (format->blocks < content)
		return refuse_size(writer, size, format, content, err);
	r = try_blocks(writer, format, content, &missing, err);
	if (r < 0 || !missing)
		return r;
	return refuse_size(writer, size, format, content, err);
}
