/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree -> squashfs 4.0, by libsquashfs. The order of the file is the format's
 * (Documentation/filesystems/squashfs.rst): superblock, compressor options, content, inode table,
 * directory table, fragment, export, id and xattr table.
 *
 * Content goes through libsquashfs's block processor, what does not fill a block as part of a fragment
 * (squashfs_tails.c): one worker for each CPU compresses blocks of 128 KiB, and blocks come back in the order in which they were handed in, however many workers
 * there are. So the bytes depend on the tree alone. A hole is fed from a page of zeros: the
 * processor knows a block of zeros and stores nothing for it.
 */
#include "image/squashfs_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqfs/block.h>
#include <sqfs/error.h>

#include "base/cleanup.h"
#include "base/processors.h"
#include "image/compression.h"
#include "image/formats.h"
#include "image/layout.h"
#include "source/content.h"

#define BLOCK_SIZE   SQUASHFS_BLOCK
#define BUFFER_SIZE  BLOCK_SIZE
#define DEVICE_BLOCK ((uint64_t)SQFS_DEVBLK_SIZE)
/* Blocks in flight, each of 128 KiB: some 3 ms of work for each worker, so it is seldom waited for. */
#define BACKLOG(workers) (4 + 3 * (size_t)(workers))
#define MOST_WORKERS     16 /* beyond it the one reader is the limit, and memory only grows */

static const char zeros[64 * 1024];

int squashfs_failed(
	struct squashfs_writer *writer, int code, const char *what, struct ramet_error *err)
{
	if (writer->file.error)
		return error_errno(err, -writer->file.error, "cannot %s", what);
	writer->broken = true;
	if (code == SQFS_ERROR_ALLOC)
		return error_memory(err);
	return error_set(err, EIO, "cannot %s: libsquashfs failed with code %d", what, code);
}

static int make_compressors(
	struct squashfs_writer *writer, const char *word, struct ramet_error *err)
{
	sqfs_compressor_config_t config;
	int r = compression_parse(word, BLOCK_SIZE, &config, err);
	if (r < 0)
		return r;
	r = compression_create(&config, &writer->compressor);
	if (r == 0) {
		config.flags |= SQFS_COMP_FLAG_UNCOMPRESS;
		r = compression_create(&config, &writer->decompressor);
	}
	if (r == SQFS_ERROR_UNSUPPORTED)
		return error_set(err, EINVAL, "this libsquashfs was built without %s", word);
	if (r != 0)
		return squashfs_failed(writer, r, "set the compressor up", err);
	return 0;
}

/* The superblock's time has 32 bits and no sign. */
static uint32_t image_time32(int64_t seconds)
{
	return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

static int make_parts(struct squashfs_writer *writer)
{
	sqfs_file_t *file = &writer->file.base;
	writer->blocks = sqfs_block_writer_create(file, DEVICE_BLOCK, 0);
	writer->fragments = sqfs_frag_table_create(0);
	writer->ids = sqfs_id_table_create(0);
	writer->xattrs = sqfs_xattr_writer_create(0);
	writer->inode_table = sqfs_meta_writer_create(file, writer->compressor, 0);
	squashfs_spool_init(&writer->spool);
	writer->directory_table = sqfs_meta_writer_create(
		&writer->spool.base, writer->compressor, 0);
	if (writer->directory_table)
		writer->directories = sqfs_dir_writer_create(writer->directory_table, 0);
	writer->buffer = malloc(BUFFER_SIZE);
	writer->tail = malloc(BLOCK_SIZE);
	writer->pending = calloc(SQUASHFS_PENDING, sizeof *writer->pending);
	if (!writer->blocks || !writer->fragments || !writer->ids || !writer->xattrs ||
		!writer->inode_table || !writer->directories || !writer->buffer || !writer->tail ||
		!writer->pending)
		return SQFS_ERROR_ALLOC;
	if (writer->plain)
		return 0;
	int r = squashfs_tails_init(writer);
	if (r != 0)
		return r;
	unsigned workers = processors_count(MOST_WORKERS);
	const sqfs_block_processor_desc_t description = {
		.size = sizeof description,
		.max_block_size = BLOCK_SIZE,
		.num_workers = workers,
		.max_backlog = BACKLOG(workers),
		.cmp = writer->compressor,
		.wr = writer->tails.front,
	};
	return sqfs_block_processor_create_ex(&description, &writer->processor);
}

/* The superblock is written now to take its place, and again, filled, at the end. */
static int begin(struct squashfs_writer *writer, const char *compression, struct ramet_error *err)
{
	int64_t seconds;
	int r = image_time(writer->tree, &seconds, err);
	if (r == 0)
		r = make_compressors(writer, compression, err);
	if (r < 0)
		return r;
	sqfs_compressor_config_t config;
	writer->compressor->get_configuration(writer->compressor, &config);
	r = sqfs_super_init(&writer->super, BLOCK_SIZE, image_time32(seconds), config.id);
	if (r == 0)
		r = sqfs_super_write(&writer->super, &writer->file.base);
	if (r == 0) {
		r = writer->compressor->write_options(writer->compressor, &writer->file.base);
		if (r > 0) {
			writer->super.flags |= SQFS_FLAG_COMPRESSOR_OPTIONS;
			r = 0;
		}
	}
	if (r == 0)
		r = make_parts(writer);
	return r == 0 ? 0 : squashfs_failed(writer, r, "begin the image", err);
}

static int append(
	struct squashfs_writer *writer, const void *data, size_t length, struct ramet_error *err)
{
	size_t whole = MIN(writer->whole, length);
	int r = whole ? sqfs_block_processor_append(writer->processor, data, whole) : 0;
	if (r != 0)
		return squashfs_failed(writer, r, "write the image", err);
	writer->whole -= whole;
	memcpy(writer->tail + writer->tail_used, (const char *)data + whole, length - whole);
	writer->tail_used += length - whole;
	writer->content_done += length;
	meter_advance(&writer->meter, writer->content_done);
	return 0;
}

static int append_hole(struct squashfs_writer *writer, uint64_t length, struct ramet_error *err)
{
	int r = 0;
	for (; length && r == 0; length -= MIN(length, sizeof zeros))
		r = append(writer, zeros, MIN(length, sizeof zeros), err);
	return r;
}

static int append_data(struct squashfs_writer *writer, struct content *content, uint64_t start,
	uint64_t end, struct ramet_error *err)
{
	int r = 0;
	while (start < end && r == 0) {
		size_t length = MIN(end - start, BUFFER_SIZE);
		r = content_read(content, start, writer->buffer, length, err);
		if (r == 0)
			r = append(writer, writer->buffer, length, err);
		start += length;
	}
	return r;
}

static int append_content(
	struct squashfs_writer *writer, struct content *content, struct ramet_error *err)
{
	uint64_t size = content->node->size, start, end;
	for (uint64_t offset = 0; offset < size; offset = end) {
		int r = content_data(content, offset, &start, &end, err);
		if (r == 0)
			r = append_hole(writer, start - offset, err);
		if (r == 0)
			r = append_data(writer, content, start, end, err);
		if (r < 0)
			return r;
	}
	return content_verify(content, err);
}

static int begin_file(struct squashfs_writer *writer, struct tree_node *node)
{
	struct squashfs_pending *pending = &writer->pending[writer->pending_count++];
	pending->node = node;
	return sqfs_block_processor_begin_file(writer->processor, &pending->inode, NULL, 0);
}

/* A tail of zeros is a hole, which libsquashfs notes in the inode as it does with blocks. */
static int end_file(struct squashfs_writer *writer, struct tree_node *node, bool has_blocks)
{
	size_t size = writer->tail_used;
	bool has_tail = size &&
			(writer->tail[0] || memcmp(writer->tail, writer->tail + 1, size - 1) != 0);
	uint64_t place = SQUASHFS_NO_CONTENT;
	int code = 0;
	if (size && !has_tail) {
		if (!has_blocks)
			code = begin_file(writer, node);
		has_blocks = true;
		if (code == 0)
			code = sqfs_block_processor_append(writer->processor, writer->tail, size);
	}
	if (code == 0 && has_blocks)
		code = sqfs_block_processor_end_file(writer->processor);
	if (code == 0 && has_tail)
		code = squashfs_tails_add(writer, writer->tail, size, &place);
	if (code != 0)
		return code;
	if (!has_blocks)
		node->place = place;
	else if (has_tail)
		sqfs_inode_set_frag_location(writer->pending[writer->pending_count - 1].inode,
			squashfs_place_fragment(place), squashfs_place_offset(place));
	return 0;
}

static int write_file(
	struct squashfs_writer *writer, struct tree_node *node, struct ramet_error *err)
{
	_cleanup_content_ struct content content;
	int r = content_open(&content, writer->tree, node, err);
	if (r < 0)
		return r;
	writer->whole = node->size - node->size % BLOCK_SIZE;
	writer->tail_used = 0;
	bool has_blocks = writer->whole != 0;
	int code = has_blocks ? begin_file(writer, node) : 0;
	if (code == 0) {
		r = append_content(writer, &content, err);
		if (r < 0)
			return r;
		code = end_file(writer, node, has_blocks);
	}
	writer->figures->bytes_read += content.read;
	return code == 0 ? 0 : squashfs_failed(writer, code, "write the image", err);
}

/* What only content needs: the tables that follow are to have its memory. */
static void release_content(struct squashfs_writer *writer)
{
	/* The processor first: its workers use the rest. */
	sqfs_destroy(writer->processor);
	writer->processor = NULL;
	squashfs_tails_free(&writer->tails);
	sqfs_destroy(writer->blocks);
	writer->blocks = NULL;
}

/* Once nothing is in flight, what libsquashfs noted about the files so far is whole. */
static int settle(struct squashfs_writer *writer, struct ramet_error *err)
{
	int code = sqfs_block_processor_sync(writer->processor);
	if (code != 0)
		return squashfs_failed(writer, code, "write the image", err);
	return squashfs_keep_pending(writer, err);
}

static int write_content(struct squashfs_writer *writer, struct ramet_error *err)
{
	_cleanup_content_order_ struct content_order order;
	int r = tree_content_order(writer->tree, &order, err);
	if (r < 0)
		return r;
	writer->meter.total = writer->tree->content_bytes;
	struct tree_node *node;
	while ((node = content_order_next(&order))) {
		r = writer->pending_count == SQUASHFS_PENDING ? settle(writer, err) : 0;
		if (r == 0)
			r = write_file(writer, node, err);
		if (r < 0)
			return r;
	}
	int code = squashfs_tails_flush(writer);
	if (code == 0)
		code = sqfs_block_processor_finish(writer->processor);
	if (code != 0)
		return squashfs_failed(writer, code, "write the image", err);
	r = squashfs_keep_pending(writer, err);
	release_content(writer);
	return r;
}

static int write_tables(struct squashfs_writer *writer)
{
	sqfs_file_t *file = &writer->file.base;
	sqfs_compressor_t *compressor = writer->compressor;
	sqfs_super_t *super = &writer->super;
	int r = sqfs_frag_table_write(writer->fragments, file, super, compressor);
	if (r == 0)
		r = squashfs_write_export_table(writer);
	if (r == 0)
		r = sqfs_id_table_write(writer->ids, file, super, compressor);
	if (r == 0)
		r = sqfs_xattr_writer_flush(writer->xattrs, file, super, compressor);
	return r;
}

/* A loop device serves whole sectors only, so the file ends on a block of a device. */
static int end(struct squashfs_writer *writer, struct ramet_error *err)
{
	int r = write_tables(writer);
	if (writer->plain)
		writer->super.flags |= SQFS_FLAG_UNCOMPRESSED_DATA;
	writer->super.inode_count = (uint32_t)writer->tree->inodes;
	writer->super.bytes_used = writer->file.size;
	if (r == 0)
		r = sqfs_super_write(&writer->super, &writer->file.base);
	uint64_t padded = (writer->file.size + DEVICE_BLOCK - 1) / DEVICE_BLOCK * DEVICE_BLOCK;
	if (r == 0)
		r = writer->file.base.truncate(&writer->file.base, padded);
	writer->figures->image_bytes = padded;
	if (writer->layout)
		writer->layout->image_bytes = padded;
	return r == 0 ? 0 : squashfs_failed(writer, r, "write the image's tables", err);
}

/* libsquashfs (1.2) forgets, when it is destroyed, to free the blocks that are still in flight. They
 * are let run out into nowhere; each failure on the way frees one and ends the call. Not when the
 * library itself failed: its workers may be gone then, and it would wait for them for ever. */
static void drain(struct squashfs_writer *writer)
{
	if (writer->broken)
		return;
	writer->file.abandoned = true;
	for (int i = 0; i < 2 * (int)BACKLOG(MOST_WORKERS); i++)
		if (sqfs_block_processor_sync(writer->processor) == 0)
			return;
}

static void release(struct squashfs_writer *writer)
{
	if (writer->processor)
		drain(writer);
	release_content(writer);
	sqfs_destroy(writer->directories);
	sqfs_destroy(writer->directory_table);
	squashfs_spool_free(&writer->spool);
	sqfs_destroy(writer->inode_table);
	sqfs_destroy(writer->xattrs);
	sqfs_destroy(writer->ids);
	sqfs_destroy(writer->fragments);
	sqfs_destroy(writer->decompressor);
	sqfs_destroy(writer->compressor);
	for (size_t i = 0; i < writer->pending_count; i++)
		sqfs_free(writer->pending[i].inode);
	free(writer->pending);
	arena_free(&writer->kept);
	vector_free(&writer->files);
	vector_free(&writer->lists);
	free(writer->buffer);
	free(writer->tail);
}

int squashfs_write(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err)
{
	*figures = (struct image_figures){.omitted_xattrs = tree->omitted_xattrs};
	if (options->dedupe)
		return error_set(err, EINVAL,
			"a squashfs finds equal chunks by itself: leave --dedupe away, or build an "
			"erofs image");
	if (options->size)
		return error_set(err, EINVAL,
			"a squashfs is as large as its content: leave the size away, or build "
			"an ext4 image");
	__attribute__((cleanup(release))) struct squashfs_writer writer = {
		.tree = tree,
		.figures = figures,
		.plain = options->plain,
		.layout = options->layout,
		.meter = {.report = options->progress,
			.ctx = options->progress_ctx,
			.step = "write"},
	};
	squashfs_file_init(&writer.file, fd, 0);
	int r = begin(&writer, options->compression, err);
	if (r == 0)
		r = writer.plain ? squashfs_write_plain(&writer, err) : write_content(&writer, err);
	if (r == 0)
		r = squashfs_write_inodes(&writer, err);
	return r < 0 ? r : end(&writer, err);
}
