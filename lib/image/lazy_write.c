/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout -> lazy file, front to back, but for the header, which is written last: a file without it
 * is none.
 *
 * What the format's writer left in its spool is the metadata. Only its blocks that are not zeros are
 * kept: a hole is found by SEEK_DATA, and zeros in what some filesystem calls data by looking.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/fd.h"
#include "base/ranges.h"
#include "image/lazy.h"
#include "image/lazy_sources.h"

#define BUFFER ((size_t)256 * 1024)
/* The page cache takes memory in pieces as large as a write is. Larger ones may be memory that a virtual
 * machine has given back to its host: 24 MB took 5 ms, or 65; in these pieces they take 5. */
#define PIECE ((size_t)64 * 1024)

struct lazy_writer {
	int out, spool;
	const struct layout *layout;
	struct lazy_sources sources;
	const struct layout_run **sorted; /* by place; NULL: they are already */
	struct range_list metadata; /* of the image; they follow one another in the lazy file */
	struct lazy_disk_header header;
	struct writeback writeback;
	/* The part at hand. */
	enum lazy_part part;
	uint64_t start, end; /* in the lazy file */
	uint32_t checksum;
	size_t buffered;
	char *buffer;
};

static void release(struct lazy_writer *writer)
{
	lazy_sources_free(&writer->sources);
	free(writer->sorted);
	ranges_free(&writer->metadata);
	free(writer->buffer);
}

static int put(struct lazy_writer *writer, const void *bytes, size_t length)
{
	int r = 0;
	writer->checksum = crc32c(writer->checksum, bytes, length);
	for (size_t at = 0, piece; at < length && r == 0; at += piece) {
		piece = MIN(length - at, PIECE);
		r = pwrite_full(writer->out, (const char *)bytes + at, piece, writer->end + at);
	}
	writer->end += length;
	writeback_advance(&writer->writeback, writer->end);
	return r;
}

static void begin_part(struct lazy_writer *writer, enum lazy_part part)
{
	writer->part = part;
	writer->start = writer->end = (writer->end + LAYOUT_BLOCK - 1) / LAYOUT_BLOCK *
				      LAYOUT_BLOCK;
	writer->checksum = 0;
}

static void end_part(struct lazy_writer *writer)
{
	writer->header.parts[writer->part] = (struct lazy_disk_part){
		.offset = htole64(writer->start),
		.length = htole64(writer->end - writer->start),
		.checksum = htole32(writer->checksum),
	};
}

static int write_table(
	struct lazy_writer *writer, enum lazy_part part, const void *bytes, size_t length)
{
	begin_part(writer, part);
	int r = length ? put(writer, bytes, length) : 0;
	end_part(writer);
	return r;
}

static bool is_zero(const char *block)
{
	return !block[0] && memcmp(block, block + 1, LAYOUT_BLOCK - 1) == 0;
}

/* Keep what is not zeros of the length bytes of the buffer, which stand at place in the image. */
static int keep_blocks(struct lazy_writer *writer, uint64_t place, size_t length)
{
	int r = 0;
	for (size_t at = 0, end; at < length && r == 0; at = end) {
		end = at + LAYOUT_BLOCK;
		if (is_zero(writer->buffer + at))
			continue;
		while (end < length && !is_zero(writer->buffer + end))
			end += LAYOUT_BLOCK;
		r = ranges_append(&writer->metadata, place + at, end - at);
		if (r == 0)
			r = put(writer, writer->buffer + at, end - at);
	}
	return r;
}

static int keep_range(struct lazy_writer *writer, uint64_t start, uint64_t end)
{
	int r = 0;
	for (size_t length; start < end && r == 0; start += length) {
		length = MIN(end - start, BUFFER);
		ssize_t n = pread_full(writer->spool, writer->buffer, length, start);
		if (n < 0)
			return (int)n;
		memset(writer->buffer + n, 0, length - (size_t)n);
		r = keep_blocks(writer, start, length);
	}
	return r;
}

static int keep_metadata(struct lazy_writer *writer)
{
	uint64_t bytes = writer->layout->image_bytes;
	int r = 0;
	for (uint64_t at = 0, end; at < bytes && r == 0; at = end) {
		off_t data = lseek(writer->spool, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;
		off_t hole = data < 0 ? -1 : lseek(writer->spool, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		end = MIN(((uint64_t)hole + LAYOUT_BLOCK - 1) / LAYOUT_BLOCK * LAYOUT_BLOCK, bytes);
		r = keep_range(writer, MIN((uint64_t)data / LAYOUT_BLOCK * LAYOUT_BLOCK, end), end);
	}
	return r;
}

static int compare_runs(const void *a, const void *b)
{
	const struct layout_run *x = *(const struct layout_run *const *)a;
	const struct layout_run *y = *(const struct layout_run *const *)b;
	return x->place < y->place ? -1 : x->place > y->place;
}

static int sort_runs(struct lazy_writer *writer)
{
	const struct layout_run *runs = writer->layout->runs.items;
	size_t count = writer->layout->runs.count, i = 1;
	while (i < count && runs[i - 1].place < runs[i].place)
		i++;
	if (i >= count)
		return 0;
	writer->sorted = calloc(count, sizeof *writer->sorted);
	if (!writer->sorted)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		writer->sorted[i] = &runs[i];
	qsort(writer->sorted, count, sizeof *writer->sorted, compare_runs);
	return 0;
}

static const struct layout_run *run_at(const struct lazy_writer *writer, size_t index)
{
	return writer->sorted ? writer->sorted[index] : &writer->layout->runs.items[index];
}

static int flush_extents(struct lazy_writer *writer)
{
	size_t length = writer->buffered;
	writer->buffered = 0;
	return length ? put(writer, writer->buffer, length) : 0;
}

static int add_extent(struct lazy_writer *writer, const struct lazy_disk_extent *extent)
{
	memcpy(writer->buffer + writer->buffered, extent, sizeof *extent);
	writer->buffered += sizeof *extent;
	return writer->buffered + sizeof *extent > BUFFER ? flush_extents(writer) : 0;
}

static int add_run(struct lazy_writer *writer, const struct layout_run *run)
{
	if (run->node->number >= writer->sources.files.count)
		return -EIO;
	return add_extent(writer, &(struct lazy_disk_extent){
					  .place = htole64(run->place),
					  .length = htole64(run->length),
					  .offset = htole64(run->offset),
					  .file = htole32(run->node->number),
				  });
}

/* offset: in the lazy file. */
static int add_metadata(struct lazy_writer *writer, const struct byte_range *range, uint64_t offset)
{
	return add_extent(writer, &(struct lazy_disk_extent){
					  .place = htole64(range->offset),
					  .length = htole64(range->length),
					  .offset = htole64(offset),
					  .file = htole32(LAZY_NONE),
				  });
}

/* Both lists are sorted; where they meet, the layout or the writer is wrong, and so -EIO. */
static int merge_extents(struct lazy_writer *writer, uint64_t *content_bytes)
{
	size_t run = 0, runs = writer->layout->runs.count;
	size_t range = 0, ranges = writer->metadata.count;
	uint64_t end = 0, offset = LAZY_HEADER;
	int r = 0;
	while (r == 0 && (run < runs || range < ranges)) {
		const struct layout_run *next = run < runs ? run_at(writer, run) : NULL;
		const struct byte_range *data = range < ranges ? &writer->metadata.items[range]
							       : NULL;
		bool is_run = next && (!data || next->place < data->offset);
		uint64_t place = is_run ? next->place : data->offset;
		uint64_t length = is_run ? next->length : data->length;
		if (place < end || place + length > writer->layout->image_bytes)
			return -EIO;
		end = (place + length + LAYOUT_BLOCK - 1) / LAYOUT_BLOCK * LAYOUT_BLOCK;
		if (is_run) {
			r = add_run(writer, next);
			*content_bytes += length;
			run++;
		} else {
			r = add_metadata(writer, data, offset);
			offset += length;
			range++;
		}
	}
	return r == 0 ? flush_extents(writer) : r;
}

static int write_extents(struct lazy_writer *writer)
{
	uint64_t content_bytes = 0;
	int r = sort_runs(writer);
	begin_part(writer, LAZY_PART_EXTENTS);
	if (r == 0)
		r = merge_extents(writer, &content_bytes);
	end_part(writer);
	writer->header.content_bytes = htole64(content_bytes);
	return r;
}

static int write_metadata(struct lazy_writer *writer)
{
	writer->end = LAZY_HEADER;
	begin_part(writer, LAZY_PART_METADATA);
	int r = keep_metadata(writer);
	end_part(writer);
	return r;
}

static int write_tables(struct lazy_writer *writer)
{
	const struct lazy_sources *sources = &writer->sources;
#define WRITE(part, table) \
	write_table(writer, part, sources->table.items, \
		sources->table.count * sizeof sources->table.items[0])
	int r = write_extents(writer);
	if (r == 0)
		r = WRITE(LAZY_PART_FILES, files);
	if (r == 0)
		r = WRITE(LAZY_PART_FOLDERS, folders);
	if (r == 0)
		r = WRITE(LAZY_PART_ROOTS, roots);
#undef WRITE
	if (r == 0)
		r = write_table(
			writer, LAZY_PART_NAMES, sources->names.data, sources->names.length);
	return r;
}

static int write_header(struct lazy_writer *writer, const char *format)
{
	struct lazy_disk_header *header = &writer->header;
	memcpy(header->magic, LAZY_MAGIC, sizeof header->magic);
	header->version = htole32(LAZY_VERSION);
	memcpy(header->format, format, MIN(strlen(format), sizeof header->format - 1));
	header->image_bytes = htole64(writer->layout->image_bytes);
	char block[LAZY_HEADER] = {0};
	memcpy(block, header, sizeof *header);
	header->checksum = htole32(crc32c(0, block, sizeof block));
	memcpy(block, header, sizeof *header);
	/* A whole number of blocks: parts without bytes stand within the file, too. */
	begin_part(writer, LAZY_PARTS);
	if (ftruncate(writer->out, (off_t)writer->end) < 0)
		return -errno;
	return pwrite_full(writer->out, block, sizeof block, 0);
}

static void fill_figures(const struct lazy_writer *writer, struct lazy_figures *figures)
{
	const struct lazy_disk_header *header = &writer->header;
	*figures = (struct lazy_figures){
		.metadata_bytes = le64toh(header->parts[LAZY_PART_METADATA].length),
		.content_bytes = le64toh(header->content_bytes),
		.files = writer->sources.files.count,
		.extents = writer->layout->runs.count + writer->metadata.count,
	};
	figures->table_bytes = writer->end - figures->metadata_bytes;
}

int lazy_write(int out, int spool, const struct layout *layout, struct tree *tree,
	const char *format, struct lazy_figures *figures, struct ramet_error *err)
{
	__attribute__((cleanup(release))) struct lazy_writer writer = {
		.out = out,
		.spool = spool,
		.layout = layout,
		.sources = {.tree = tree},
		.writeback = {.fd = out},
		.buffer = malloc(BUFFER),
	};
	if (!writer.buffer)
		return error_memory(err);
	int r = lazy_sources_collect(&writer.sources, err);
	if (r < 0)
		return r;
	r = write_metadata(&writer);
	if (r == 0)
		r = write_tables(&writer);
	if (r == 0)
		r = write_header(&writer, format);
	if (r == -EIO)
		return error_set(err, EIO,
			"cannot write the lazy image: what is laid out does not fit together, or "
			"there was an I/O error");
	if (r < 0)
		return error_errno(err, -r, "cannot write the lazy image");
	if (figures)
		fill_figures(&writer, figures);
	return 0;
}
