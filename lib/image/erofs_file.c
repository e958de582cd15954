/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A regular file: its data into whole blocks, its tail or its map of chunks behind its inode.
 * Content is read once, forward, straight into the bytes that go out; a layout is only told where
 * it belongs. Holes of the host are not read; where the image has no hole they become zeros.
 */
#include "image/erofs_writer.h"

#include <endian.h>
#include <string.h>

#include "base/cleanup.h"

struct file {
	struct erofs_writer *writer;
	struct content *content;
	const struct tree_node *node;
	struct erofs_shape shape;
	/* CHUNK_BASED: the inode and its map, as far as they wait in the writer's buffer, and where
	 * in the image they go; the next chunk; and the planned blocks that are left. */
	size_t used;
	uint64_t place, chunk, next_block, last_block;
};

/* Content [offset, offset + length), with zeros for what is in no piece of data. */
static int read_piece(struct content *content, uint64_t offset, uint8_t *bytes, size_t length,
	struct ramet_error *err)
{
	uint64_t until = offset + length, start, end;
	int r = 0;
	for (; offset < until && r == 0; offset = end) {
		r = content_data(content, offset, &start, &end, err);
		if (r < 0)
			return r;
		start = MIN(start, until);
		end = MIN(end, until);
		memset(bytes, 0, start - offset);
		bytes += start - offset;
		if (start < end)
			r = content_read(content, start, bytes, end - start, err);
		bytes += end - start;
	}
	return r;
}

static void advance(struct file *file, uint64_t done)
{
	meter_advance(&file->writer->meter, file->writer->content_done + done);
}

static size_t padding(uint64_t bytes)
{
	return (size_t)(-bytes & (EROFS_BLOCK_SIZE - 1));
}

static int tell_blocks(
	struct file *file, uint64_t from, uint64_t until, uint64_t place, struct ramet_error *err)
{
	advance(file, until);
	int r = from < until
			? layout_point(file->writer->layout, file->node, from, place, until - from)
			: 0;
	return r < 0 ? error_memory(err) : 0;
}

/* Content [from, until) to place in the image; the last block is filled up with zeros. */
static int write_blocks(
	struct file *file, uint64_t from, uint64_t until, uint64_t place, struct ramet_error *err)
{
	struct erofs_output *output = &file->writer->output;
	if (layout_tells(file->writer->layout, file->node))
		return tell_blocks(file, from, until, place, err);
	while (from < until) {
		uint8_t *room;
		size_t length = MIN(until - from, (uint64_t)EROFS_INODE_MAX);
		int r = erofs_output_room(output, place, &room, &length, err);
		if (r == 0)
			r = read_piece(file->content, from, room, length, err);
		if (r < 0)
			return r;
		size_t zeros = from + length == until ? padding(until) : 0;
		memset(room + length, 0, zeros);
		erofs_output_filled(output, length + zeros);
		from += length;
		place += length;
		advance(file, from);
	}
	return 0;
}

static uint64_t inode_offset(const struct tree_node *node)
{
	return (uint64_t)erofs_nid(node) * EROFS_SLOT_SIZE;
}

static uint64_t blocks_of(uint64_t bytes)
{
	return (bytes + EROFS_BLOCK_SIZE - 1) / EROFS_BLOCK_SIZE;
}

/* Where so many blocks of data go: as planned, or with dedupe behind what there is. */
static uint64_t take_blocks(struct file *file, uint64_t count)
{
	struct erofs_writer *writer = file->writer;
	if (!writer->plan.options.dedupe)
		return erofs_first_block(&writer->plan, file->node);
	uint64_t first = writer->next_block;
	writer->next_block += count;
	return first;
}

static int write_flat(struct file *file, struct ramet_error *err)
{
	struct erofs_writer *writer = file->writer;
	struct erofs_shape *shape = &file->shape;
	uint64_t whole = shape->size - shape->tail;
	uint64_t first = whole ? take_blocks(file, blocks_of(whole)) : EROFS_NO_BLOCK;
	int r = write_blocks(file, 0, whole, first * EROFS_BLOCK_SIZE, err);
	if (r < 0)
		return r;
	size_t length = shape->inode_size + shape->xattr_size;
	erofs_inode_encode(&writer->plan, file->node, shape, (uint32_t)first, writer->buffer);
	if (shape->tail)
		r = read_piece(file->content, whole, writer->buffer + length, shape->tail, err);
	if (r < 0)
		return r;
	return erofs_output_put(&writer->output, inode_offset(file->node), writer->buffer,
		length + shape->tail, err);
}

static int flush_map(struct file *file, struct ramet_error *err)
{
	int r = erofs_output_put(
		&file->writer->output, file->place, file->writer->buffer, file->used, err);
	file->place += file->used;
	file->used = 0;
	return r;
}

static int add_to_map(struct file *file, uint64_t block, struct ramet_error *err)
{
	uint32_t entry = htole32((uint32_t)block);
	memcpy(file->writer->buffer + file->used, &entry, sizeof entry);
	file->used += sizeof entry;
	file->chunk++;
	return file->used == EROFS_INODE_MAX ? flush_map(file, err) : 0;
}

static int add_holes(struct file *file, uint64_t until, struct ramet_error *err)
{
	int r = 0;
	while (file->chunk < until && r == 0)
		r = add_to_map(file, EROFS_NO_BLOCK, err);
	return r;
}

/* The data among [from, until) to place; blocks without any stay unwritten, which are zeros. */
static int write_data(
	struct file *file, uint64_t from, uint64_t until, uint64_t place, struct ramet_error *err)
{
	uint64_t start, end;
	for (uint64_t offset = from; offset < until; offset = end) {
		int r = content_data(file->content, offset, &start, &end, err);
		if (r < 0 || start >= until)
			return r;
		start = MAX(start & ~(uint64_t)(EROFS_BLOCK_SIZE - 1), offset);
		end = MIN(end + padding(end), until);
		r = write_blocks(file, start, end, place + (start - from), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* As planned: mapped chunks stand in a row. */
static int write_chunk(struct file *file, uint64_t from, uint64_t until, struct ramet_error *err)
{
	uint64_t block = file->next_block, count = blocks_of(until - from);
	if (count > file->last_block - block)
		return tree_node_stale(file->writer->plan.tree, file->node, "got more data", err);
	file->next_block += count;
	int r = add_to_map(file, block, err);
	return r < 0 ? r : write_data(file, from, until, block * EROFS_BLOCK_SIZE, err);
}

/* Where an equal one is. */
static int store_chunk(struct file *file, uint64_t from, uint64_t until, struct ramet_error *err)
{
	struct erofs_writer *writer = file->writer;
	size_t length = (size_t)(until - from);
	int r = read_piece(file->content, from, writer->chunk, length, err);
	if (r < 0)
		return r;
	memset(writer->chunk + length, 0, padding(length));
	advance(file, until);
	uint32_t block;
	r = erofs_chunk_store(writer, writer->chunk, length + padding(length), &block, err);
	return r < 0 ? r : add_to_map(file, block, err);
}

static int write_chunks(struct file *file, bool dedupe, struct ramet_error *err)
{
	const struct erofs_shape *shape = &file->shape;
	unsigned shift = EROFS_BLOCK_BITS + shape->chunk_bits;
	uint64_t start, end;
	for (uint64_t offset = 0; offset < shape->size; offset = end) {
		int r = content_data(file->content, offset, &start, &end, err);
		if (r == 0)
			r = add_holes(file, start >> shift, err);
		while (r == 0 && start < end && file->chunk << shift < end) {
			uint64_t from = file->chunk << shift;
			uint64_t until = MIN(from + ((uint64_t)1 << shift), shape->size);
			r = (dedupe ? store_chunk : write_chunk)(file, from, until, err);
		}
		if (r < 0)
			return r;
	}
	return add_holes(file, shape->chunks, err);
}

static int write_chunked(struct file *file, struct ramet_error *err)
{
	struct erofs_writer *writer = file->writer;
	const struct erofs_plan *plan = &writer->plan;
	const struct erofs_shape *shape = &file->shape;
	erofs_inode_encode(plan, file->node, shape, 0, writer->buffer);
	file->used = shape->inode_size + shape->xattr_size;
	file->place = inode_offset(file->node);
	bool dedupe = plan->options.dedupe && shape->chunk_bits == plan->chunk_bits;
	if (!dedupe) {
		uint64_t count = erofs_sparse_find(plan, file->node)->blocks;
		file->next_block = take_blocks(file, count);
		file->last_block = file->next_block + count;
	}
	int r = write_chunks(file, dedupe, err);
	return r < 0 ? r : flush_map(file, err);
}

/* A layout needs the file itself only to find its holes. */
static bool needs_content(const struct file *file)
{
	return file->shape.layout == EROFS_CHUNK_BASED ||
	       !layout_tells(file->writer->layout, file->node);
}

int erofs_write_file(
	struct erofs_writer *writer, const struct tree_node *node, struct ramet_error *err)
{
	_cleanup_content_ struct content content = {.fd = -1};
	struct file file = {.writer = writer, .content = &content, .node = node};
	erofs_shape(&writer->plan, node, &file.shape);
	int r = needs_content(&file) ? content_open(&content, writer->plan.tree, node, err) : 0;
	if (r < 0)
		return r;
	r = (file.shape.layout == EROFS_CHUNK_BASED ? write_chunked : write_flat)(&file, err);
	if (r == 0)
		r = content_verify(&content, err);
	writer->figures->bytes_read += content.read;
	writer->content_done += node->size;
	return r;
}
