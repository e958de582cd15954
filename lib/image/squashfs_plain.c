/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content as it is: each file begins on a LAYOUT_BLOCK and is stored in blocks that say of themselves
 * that they are not compressed, the last one as long as what is left; there are no fragments. With a
 * layout nothing of it is read, but for where the holes of sparse files are.
 *
 * Where the blocks of a file are follows from its first one, which the node's place has; only files
 * with blocks that are left out, since they are holes, need a list of sizes.
 */
#include "image/squashfs_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sqfs/block.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/layout.h"
#include "source/content.h"

/* A place is the number of the LAYOUT_BLOCK that the file begins with, or with the top bit the index of
 * its list. */
#define HAS_LIST ((uint64_t)1 << 47)
#define LARGEST  ((uint64_t)1 << 46) /* bytes, of a file and of all before it: numbers fit then */

struct squashfs_plain_list {
	uint64_t start, sparse;
	uint32_t sizes[]; /* as in the inode: 0 for a hole */
};

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + LAYOUT_BLOCK - 1) / LAYOUT_BLOCK * LAYOUT_BLOCK;
}

static uint32_t block_count(const struct tree_node *node)
{
	return (uint32_t)((node->size + SQUASHFS_BLOCK - 1) / SQUASHFS_BLOCK);
}

static uint32_t block_length(const struct tree_node *node, uint32_t block)
{
	return (uint32_t)MIN(SQUASHFS_BLOCK, node->size - block * (uint64_t)SQUASHFS_BLOCK);
}

static uint32_t stored_size(uint32_t length)
{
	return length | 1U << 24;
}

/* Copy [start, end) of the file to where it belongs; position is where start does. */
static int copy_data(struct squashfs_writer *writer, struct content *content, uint64_t start,
	uint64_t end, uint64_t position, struct ramet_error *err)
{
	while (start < end) {
		size_t length = MIN(end - start, SQUASHFS_BLOCK);
		int r = content_read(content, start, writer->buffer, length, err);
		if (r < 0)
			return r;
		int code = writer->file.base.write_at(
			&writer->file.base, position, writer->buffer, length);
		if (code != 0)
			return squashfs_failed(writer, code, "write the image", err);
		start += length;
		position += length;
	}
	return 0;
}

/* The blocks [offset, offset + length) of the file are stored from position on. */
static int store(struct squashfs_writer *writer, struct content *content,
	const struct tree_node *node, uint64_t offset, uint64_t length, uint64_t position,
	struct ramet_error *err)
{
	if (layout_tells(writer->layout, node))
		return layout_point(writer->layout, node, offset, position, length) < 0
			       ? error_memory(err)
			       : 0;
	uint64_t end = offset + length, start, stop;
	int r = 0;
	for (uint64_t at = offset; at < end && r == 0; at = stop) {
		r = content_data(content, at, &start, &stop, err);
		stop = MIN(stop, end);
		if (r == 0 && start < end)
			r = copy_data(
				writer, content, start, stop, position + (start - offset), err);
		if (start >= end)
			break;
	}
	return r;
}

/* Whether the blocks from offset on are holes: *end is where that changes, on a block, or where the
 * file ends. */
static int find_blocks(struct content *content, uint64_t offset, bool *hole, uint64_t *end,
	struct ramet_error *err)
{
	uint64_t size = content->node->size, start, stop;
	int r = content_data(content, offset, &start, &stop, err);
	if (r < 0)
		return r;
	*hole = start == size || start - offset >= SQUASHFS_BLOCK;
	if (*hole) {
		*end = start == size ? size : start / SQUASHFS_BLOCK * SQUASHFS_BLOCK;
		return 0;
	}
	/* Data reaches as far as no block is free of it. */
	uint64_t reached = (stop + SQUASHFS_BLOCK - 1) / SQUASHFS_BLOCK * SQUASHFS_BLOCK;
	*end = MIN(reached, size);
	return 0;
}

static struct squashfs_plain_list *make_list(
	struct squashfs_writer *writer, struct tree_node *node, uint64_t start)
{
	struct squashfs_plain_list *list = arena_alloc(
		&writer->kept, sizeof *list + block_count(node) * sizeof list->sizes[0]);
	const struct squashfs_plain_list **slot = list ? vector_push(&writer->lists) : NULL;
	if (!slot)
		return NULL;
	*slot = list;
	list->start = start;
	node->place = HAS_LIST | (writer->lists.count - 1);
	return list;
}

static int store_sparse(struct squashfs_writer *writer, struct content *content,
	struct tree_node *node, uint64_t *position, struct ramet_error *err)
{
	struct squashfs_plain_list *list = make_list(writer, node, *position);
	if (!list)
		return error_memory(err);
	bool hole = false;
	int r = 0;
	for (uint64_t offset = 0, end; offset < node->size && r == 0; offset = end) {
		r = find_blocks(content, offset, &hole, &end, err);
		if (r < 0)
			return r;
		if (hole) {
			list->sparse += end - offset;
			continue;
		}
		for (uint64_t at = offset; at < end; at += SQUASHFS_BLOCK) {
			uint32_t block = (uint32_t)(at / SQUASHFS_BLOCK);
			list->sizes[block] = stored_size(block_length(node, block));
		}
		r = store(writer, content, node, offset, end - offset, *position, err);
		*position += end - offset;
	}
	return r;
}

/* A layout needs to open only what may have holes. */
static bool must_open(const struct squashfs_writer *writer, const struct tree_node *node)
{
	return !layout_tells(writer->layout, node) || node->flags & TREE_SPARSE;
}

static int store_file(struct squashfs_writer *writer, struct tree_node *node, uint64_t *position,
	struct ramet_error *err)
{
	uint64_t start = *position;
	if (!must_open(writer, node)) {
		node->place = start / LAYOUT_BLOCK;
		*position += node->size;
		return store(writer, NULL, node, 0, node->size, start, err);
	}
	_cleanup_content_ struct content content;
	int r = content_open(&content, writer->tree, node, err);
	if (r < 0)
		return r;
	if (node->flags & TREE_SPARSE && content.ops) {
		r = store_sparse(writer, &content, node, position, err);
	} else {
		node->place = start / LAYOUT_BLOCK;
		*position += node->size;
		r = store(writer, &content, node, 0, node->size, start, err);
	}
	if (r == 0)
		r = content_verify(&content, err);
	writer->figures->bytes_read += content.read;
	return r;
}

int squashfs_write_plain(struct squashfs_writer *writer, struct ramet_error *err)
{
	_cleanup_content_order_ struct content_order order;
	int r = tree_content_order(writer->tree, &order, err);
	if (r < 0)
		return r;
	writer->meter.total = writer->tree->content_bytes;
	uint64_t position = round_up(writer->file.size);
	struct tree_node *node;
	while ((node = content_order_next(&order))) {
		if (node->size > LARGEST || position > LARGEST)
			return error_set(err, EFBIG, "the tree holds more than any image can");
		r = node->size ? store_file(writer, node, &position, err) : 0;
		if (r < 0)
			return r;
		position = round_up(position);
		writer->content_done += node->size;
		meter_advance(&writer->meter, writer->content_done);
	}
	/* Metadata have pages of their own. */
	writer->file.size = position;
	return 0;
}

sqfs_inode_generic_t *squashfs_plain_inode(
	const struct squashfs_writer *writer, const struct tree_node *node)
{
	uint32_t blocks = block_count(node);
	size_t bytes = blocks * sizeof(uint32_t);
	sqfs_inode_generic_t *inode = calloc(1, sizeof *inode + bytes);
	if (!inode)
		return NULL;
	const struct squashfs_plain_list *list =
		blocks && node->place & HAS_LIST ? writer->lists.items[node->place & ~HAS_LIST]
						 : NULL;
	inode->base.type = SQFS_INODE_FILE;
	sqfs_inode_set_frag_location(inode, SQUASHFS_NO_FRAGMENT, 0);
	if (list && list->sparse && sqfs_inode_make_extended(inode) == 0)
		inode->data.file_ext.sparse = list->sparse;
	/* These make an inode extended where its numbers are too large for the basic one. */
	sqfs_inode_set_file_size(inode, node->size);
	sqfs_inode_set_file_block_start(inode, list     ? list->start
					       : blocks ? node->place * LAYOUT_BLOCK
							: 0);
	inode->payload_bytes_available = inode->payload_bytes_used = (sqfs_u32)bytes;
	for (uint32_t i = 0; i < blocks; i++)
		inode->extra[i] = list ? list->sizes[i] : stored_size(block_length(node, i));
	return inode;
}
