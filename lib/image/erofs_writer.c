/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree -> EROFS. The plan (erofs_plan.c) gives everything its place before a byte of content is
 * read; here it is written: what the tree itself knows first (directories, symlinks, devices, empty
 * files), then each file's data with its inode, in whatever order the tree's sources want to be
 * read, and at last the superblock. The facts are those of erofs_format.h.
 *
 * The same tree gives the same bytes: the plan goes by the tree's order, the image's time is the
 * tree's, and its UUID is a digest of what the plan made. Only with dedupe do the addresses of data
 * also depend on the order of reading.
 */
#include "image/erofs_writer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ext2fs/ext2fs.h>

#include "base/cleanup.h"
#include "image/erofs_compress.h"
#include "image/formats.h"

static int put(struct erofs_writer *writer, uint64_t place, const void *bytes, size_t length,
	struct ramet_error *err)
{
	return erofs_output_put(&writer->output, place, bytes, length, err);
}

/* The blocks of a listing that do not stand behind the inode; the last bytes of the others go to
 * tail. */
static int write_listing(struct erofs_writer *writer, const struct tree_node *node,
	const struct erofs_shape *shape, uint8_t *tail, struct ramet_error *err)
{
	uint8_t block[EROFS_BLOCK_SIZE];
	struct erofs_listing listing = {.directory = node};
	uint64_t place = erofs_first_block(&writer->plan, node) * EROFS_BLOCK_SIZE;
	size_t length;
	int r = 0;
	for (uint64_t left = shape->size; left && r == 0; place += EROFS_BLOCK_SIZE) {
		erofs_listing_block(&listing, block, &length);
		if (left == shape->tail)
			memcpy(tail, block, length);
		else
			r = put(writer, place, block, sizeof block, err);
		left -= MIN(left, sizeof block);
	}
	return r;
}

static int write_target(struct erofs_writer *writer, const struct tree_node *node,
	const struct erofs_shape *shape, uint8_t *tail, struct ramet_error *err)
{
	if (shape->tail) {
		memcpy(tail, node->target, shape->tail);
		return 0;
	}
	uint64_t place = erofs_first_block(&writer->plan, node) * EROFS_BLOCK_SIZE;
	return put(writer, place, node->target, shape->size, err);
}

/* An inode without content of a file. */
static int write_node(
	struct erofs_writer *writer, const struct tree_node *node, struct ramet_error *err)
{
	struct erofs_shape shape;
	erofs_shape(&writer->plan, node, &shape);
	uint64_t first = shape.size > shape.tail ? erofs_first_block(&writer->plan, node)
						 : EROFS_NO_BLOCK;
	size_t length = shape.inode_size + shape.xattr_size;
	uint8_t *tail = writer->buffer + length;
	erofs_inode_encode(&writer->plan, node, &shape, (uint32_t)first, writer->buffer);
	int r = 0;
	if (S_ISDIR(node->mode))
		r = write_listing(writer, node, &shape, tail, err);
	else if (S_ISLNK(node->mode))
		r = write_target(writer, node, &shape, tail, err);
	if (r < 0)
		return r;
	return put(writer, (uint64_t)erofs_nid(node) * EROFS_SLOT_SIZE, writer->buffer,
		length + shape.tail, err);
}

static int write_shared(struct erofs_writer *writer, struct ramet_error *err)
{
	const struct erofs_plan *plan = &writer->plan;
	size_t size = plan->attributes.shared_bytes;
	if (!size)
		return 0;
	_cleanup_free_ uint8_t *bytes = malloc(size);
	if (!bytes)
		return error_memory(err);
	erofs_attributes_encode_shared(plan, bytes);
	return put(writer, plan->attribute_start * EROFS_BLOCK_SIZE, bytes, size, err);
}

static int write_metadata(struct erofs_writer *writer, struct ramet_error *err)
{
	int r = write_shared(writer, err);
	for (struct tree_node *node = writer->plan.tree->root; node && r == 0;
		node = tree_next(node))
		if (!tree_link(node) && !erofs_has_content(node))
			r = write_node(writer, node, err);
	return r;
}

static int write_content(struct erofs_writer *writer, struct ramet_error *err)
{
	struct tree *tree = writer->plan.tree;
	const struct tree_node *node;
	_cleanup_content_order_ struct content_order order = {0};
	writer->meter.total = tree->content_bytes;
	writer->next_block = writer->plan.data_start;
	int r = writer->plan.options.dedupe ? erofs_chunks_open(writer, err) : 0;
	if (r == 0)
		r = tree_content_order(tree, &order, err);
	while (r == 0 && (node = content_order_next(&order)))
		if (node->size)
			r = erofs_write_file(writer, node, err);
	return r == 0 ? erofs_output_flush(&writer->output, err) : r;
}

static int write_super(
	struct erofs_writer *writer, const uint8_t uuid[static 16], struct ramet_error *err)
{
	const struct erofs_plan *plan = &writer->plan;
	uint64_t blocks = plan->options.dedupe ? writer->next_block : plan->end;
	struct erofs_super super = {
		.magic = htole32(EROFS_MAGIC),
		.feature_compat = htole32(EROFS_COMPAT_SUPER_CHECKSUM | EROFS_COMPAT_MTIME),
		.block_bits = EROFS_BLOCK_BITS,
		.root_nid = htole16((uint16_t)erofs_nid(plan->tree->root)),
		.inodes = htole64(plan->tree->inodes),
		.build_time = htole64((uint64_t)plan->time),
		.blocks = htole32((uint32_t)blocks),
		.xattr_block = htole32((uint32_t)plan->attribute_start),
		.feature_incompat = htole32(plan->chunked ? EROFS_INCOMPAT_CHUNKED_FILE : 0),
	};
	memcpy(super.uuid, uuid, sizeof super.uuid);
	uint8_t *first = writer->output.first;
	memcpy(first + EROFS_SUPER_OFFSET, &super, sizeof super);
	super.checksum = htole32(ext2fs_crc32c_le(
		~0u, first + EROFS_SUPER_OFFSET, EROFS_BLOCK_SIZE - EROFS_SUPER_OFFSET));
	memcpy(first + EROFS_SUPER_OFFSET, &super, sizeof super);
	writer->figures->image_bytes = blocks * EROFS_BLOCK_SIZE;
	if (writer->layout)
		writer->layout->image_bytes = writer->figures->image_bytes;
	if (ftruncate(writer->output.fd, (off_t)writer->figures->image_bytes) < 0)
		return error_errno(err, errno, "cannot make the image's file so large");
	int r = pwrite_full(writer->output.fd, first, EROFS_BLOCK_SIZE, 0);
	return r < 0 ? error_errno(err, -r, "cannot write the image") : 0;
}

static void release(struct erofs_writer *writer)
{
	erofs_plan_free(&writer->plan);
	erofs_output_free(&writer->output);
	free(writer->chunks.slots);
	free(writer->chunk);
	free(writer->buffer);
}

int erofs_write(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err)
{
	*figures = (struct image_figures){.omitted_xattrs = tree->omitted_xattrs};
	if (options->size)
		return error_set(err, EINVAL,
			"an erofs is as large as its content: leave the size away, or build an "
			"ext4 image");
	if (options->plain && (options->dedupe || options->compression))
		return error_set(err, EINVAL,
			"what is read lazily from its source is neither compressed nor shared "
			"between files: leave the compression and --dedupe away");
	if (options->compression)
		return erofs_compress(tree, fd, options, figures, err);
	__attribute__((cleanup(release))) struct erofs_writer writer = {
		.layout = options->layout,
		.figures = figures,
		.meter = {.report = options->progress,
			.ctx = options->progress_ctx,
			.step = "write"},
	};
	const struct erofs_plan_options plan = {.dedupe = options->dedupe, .plain = options->plain};
	int r = erofs_plan_make(&writer.plan, tree, &plan, err);
	if (r < 0)
		return r;
	figures->omitted_xattrs += writer.plan.omitted_xattrs;
	writer.buffer = malloc(EROFS_INODE_MAX);
	if (!writer.buffer)
		return error_memory(err);
	uint8_t uuid[16];
	r = erofs_output_open(&writer.output, fd, writer.plan.data_start * EROFS_BLOCK_SIZE, err);
	if (r == 0)
		r = erofs_plan_uuid(&writer.plan, uuid, err);
	if (r == 0)
		r = write_metadata(&writer, err);
	if (r == 0)
		r = write_content(&writer, err);
	return r == 0 ? write_super(&writer, uuid, err) : r;
}
