/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the content of a tree's files is, until their inodes are written, which is after the last
 * byte of content. libsquashfs notes it in some hundred bytes for each file. Most files are one
 * tail in a fragment: what tells where that is fits into the 48 bits of the node's place and takes no
 * room at all. For the others the place is an index into a list of packed notes.
 */
#include <stdlib.h>
#include <string.h>

#include <sqfs/error.h>

#include "image/squashfs_writer.h"

struct squashfs_kept {
	uint64_t start, sparse;
	uint32_t fragment, offset;
	uint32_t blocks; /* how many sizes follow */
	uint32_t sizes[];
};

static void unpack(const sqfs_inode_generic_t *inode, struct squashfs_kept *kept)
{
	sqfs_u64 start;
	sqfs_inode_get_file_block_start(inode, &start);
	sqfs_inode_get_frag_location(inode, &kept->fragment, &kept->offset);
	kept->start = start;
	kept->sparse = inode->base.type == SQFS_INODE_EXT_FILE ? inode->data.file_ext.sparse : 0;
	kept->blocks = inode->payload_bytes_used / (uint32_t)sizeof kept->sizes[0];
}

static int keep_one(
	struct squashfs_writer *writer, const struct squashfs_pending *pending, uint64_t *place)
{
	struct squashfs_kept kept = {0};
	unpack(pending->inode, &kept);
	size_t bytes = kept.blocks * sizeof kept.sizes[0];
	struct squashfs_kept *copy = arena_alloc(&writer->kept, sizeof *copy + bytes);
	const struct squashfs_kept **slot = copy ? vector_push(&writer->files) : NULL;
	if (!slot)
		return -ENOMEM;
	*copy = kept;
	memcpy(copy->sizes, pending->inode->extra, bytes);
	*slot = copy;
	*place = writer->files.count - 1;
	return 0;
}

int squashfs_keep_pending(struct squashfs_writer *writer, struct ramet_error *err)
{
	while (writer->pending_count) {
		struct squashfs_pending *pending = &writer->pending[writer->pending_count - 1];
		uint64_t place;
		if (keep_one(writer, pending, &place) < 0)
			return error_memory(err);
		pending->node->place = place;
		sqfs_free(pending->inode);
		pending->inode = NULL;
		writer->pending_count--;
	}
	return 0;
}

sqfs_inode_generic_t *squashfs_kept_inode(
	const struct squashfs_writer *writer, const struct tree_node *node)
{
	struct squashfs_kept none = {
		.fragment = SQUASHFS_NO_FRAGMENT, .offset = SQUASHFS_NO_FRAGMENT};
	const struct squashfs_kept *kept = &none;
	if (node->place & SQUASHFS_IS_TAIL) {
		none.fragment = squashfs_place_fragment(node->place);
		none.offset = squashfs_place_offset(node->place);
	} else if (node->place != SQUASHFS_NO_CONTENT) {
		kept = writer->files.items[node->place];
	}
	size_t bytes = kept->blocks * sizeof kept->sizes[0];
	sqfs_inode_generic_t *inode = calloc(1, sizeof *inode + bytes);
	if (!inode)
		return NULL;
	inode->base.type = SQFS_INODE_FILE;
	sqfs_inode_set_frag_location(inode, kept->fragment, kept->offset);
	if (kept->sparse && sqfs_inode_make_extended(inode) == 0)
		inode->data.file_ext.sparse = kept->sparse;
	/* These make an inode extended where its numbers are too large for the basic one. */
	sqfs_inode_set_file_size(inode, node->size);
	sqfs_inode_set_file_block_start(inode, kept->start);
	inode->payload_bytes_available = inode->payload_bytes_used = (sqfs_u32)bytes;
	memcpy(inode->extra, kept->sizes, bytes);
	return inode;
}
