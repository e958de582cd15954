/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the content of an inode is, and the content. Nothing is decoded: a file is one run of
 * blocks (FLAT_PLAIN), the same with its end behind the inode (FLAT_INLINE), or chunks each with an
 * address (CHUNK_BASED) which may be a hole or shared with others. Source: the kernel's
 * fs/erofs/data.c.
 *
 * Every run is held against the image before anything is read of it. Addresses of chunks are read
 * as many at a time as fit on the stack and neighbours are joined, so that what one call does is
 * bounded however large the file claims to be.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/erofs_inside.h"

enum { ADDRESSES = 512 }; /* looked at in one search */

/* The place of `length` bytes from a block on, which must be in the image. */
static int place_of(
	struct erofs *e, uint64_t block, uint64_t length, uint64_t *place, struct ramet_error *err)
{
	if (!checked_mul(block, (uint64_t)e->block_size, place) ||
		!range_within(*place, length, e->size))
		return erofs_damage(err, "%llu bytes of it from block %llu on are beyond the end",
			erofs_shown(length), erofs_shown(block));
	return 0;
}

/* The last block of a file, which may be incomplete, stands behind the inode and ends in the block
 * where it starts. */
static int map_inside(struct erofs *e, const struct erofs_node *node, uint64_t offset,
	uint64_t whole, struct erofs_run *run, struct ramet_error *err)
{
	uint64_t within = node->tail & (e->block_size - 1);
	if (node->size - whole > e->block_size - within)
		return erofs_damage(err, "the end of its content crosses the end of a block");
	*run = (struct erofs_run){.length = node->size - offset,
		.place = node->tail + (offset - whole),
		.inside = true};
	return 0;
}

static int map_flat(struct erofs *e, const struct erofs_node *node, uint64_t offset,
	struct erofs_run *run, struct ramet_error *err)
{
	uint64_t whole = node->size;
	if (node->layout == EROFS_FLAT_INLINE)
		whole = (node->size - 1) & ~(uint64_t)(e->block_size - 1);
	if (offset >= whole)
		return map_inside(e, node, offset, whole, run, err);
	*run = (struct erofs_run){.length = whole - offset, .hole = node->hole};
	if (node->hole)
		return 0;
	uint64_t place;
	int r = place_of(e, node->block, whole, &place, err);
	run->place = place + offset;
	return r;
}

/* The addresses of `count` chunks from the number first on; EROFS_NO_CHUNK for a hole. */
#define EROFS_NO_CHUNK UINT64_MAX

static int read_addresses(struct erofs *e, const struct erofs_node *node, uint64_t place,
	size_t count, uint64_t *addresses, struct ramet_error *err)
{
	union {
		uint32_t blocks[ADDRESSES];
		struct erofs_chunk_index indexes[ADDRESSES];
	} raw;
	size_t unit = node->indexes ? sizeof raw.indexes[0] : sizeof raw.blocks[0];
	int r = erofs_meta_read(e, &raw, count * unit, place, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (!node->indexes) {
			uint32_t block = le32toh(raw.blocks[i]);
			addresses[i] = block == EROFS_NO_BLOCK ? EROFS_NO_CHUNK : block;
			continue;
		}
		const struct erofs_chunk_index *index = &raw.indexes[i];
		uint64_t high = node->wide ? le16toh(index->advise) : 0;
		uint64_t none = node->wide ? 0xFFFFFFFFFFFF : EROFS_NO_BLOCK;
		addresses[i] = high << 32 | le32toh(index->block);
		if (addresses[i] == none)
			addresses[i] = EROFS_NO_CHUNK;
		else if (index->device)
			r = error_set(err, EOPNOTSUPP,
				"a chunk of it is in another file (device %u), which cannot be "
				"read here",
				le16toh(index->device));
	}
	return r;
}

/* The run that chunk `first` starts: the chunks that follow it in the image as in the file. */
static int map_chunks(struct erofs *e, const struct erofs_node *node, uint64_t offset,
	struct erofs_run *run, struct ramet_error *err)
{
	uint64_t addresses[ADDRESSES], table, bytes, last = (node->size - 1) >> node->chunk_bits;
	uint64_t unit = node->indexes ? sizeof(struct erofs_chunk_index) : sizeof(uint32_t);
	if (!checked_round_up(node->tail, unit, &table) || !checked_mul(last + 1, unit, &bytes) ||
		!range_within(table, bytes, e->size))
		return erofs_damage(err,
			"it claims %llu bytes in %llu chunks, and has no such list",
			erofs_shown(node->size), erofs_shown(last + 1));
	uint64_t first = offset >> node->chunk_bits;
	size_t count = (size_t)MIN((uint64_t)ADDRESSES, last - first + 1), joined = 1;
	int r = read_addresses(e, node, table + first * unit, count, addresses, err);
	if (r < 0)
		return r;
	uint64_t step = 1ull << (node->chunk_bits - e->super.block_bits);
	bool hole = addresses[0] == EROFS_NO_CHUNK;
	while (joined < count &&
		addresses[joined] == (hole ? EROFS_NO_CHUNK : addresses[0] + joined * step))
		joined++;
	uint64_t start = first << node->chunk_bits, end = node->size;
	if (first + joined <= last)
		end = (first + joined) << node->chunk_bits;
	*run = (struct erofs_run){.length = end - offset, .hole = hole};
	if (hole)
		return 0;
	uint64_t place;
	r = place_of(e, addresses[0], end - start, &place, err);
	run->place = place + (offset - start);
	return r;
}

/* The run that holds the byte at offset, which is less than the size. */
static int map_run(struct erofs *e, const struct erofs_node *node, uint64_t offset,
	struct erofs_run *run, struct ramet_error *err)
{
	switch (node->layout) {
	case EROFS_FLAT_PLAIN:
	case EROFS_FLAT_INLINE:
		return map_flat(e, node, offset, run, err);
	case EROFS_CHUNK_BASED:
		return map_chunks(e, node, offset, run, err);
	default:
		return error_set(err, EOPNOTSUPP,
			"its content is compressed, and compressed EROFS cannot be read here: mount "
			"the image with the kernel (mount -t erofs -o loop,ro), or build it again "
			"without compression");
	}
}

int erofs_content(struct erofs *e, const struct erofs_node *node, uint64_t offset, void *buffer,
	size_t length, struct ramet_error *err)
{
	uint8_t *to = buffer;
	bool content = S_ISREG(node->mode);
	while (length > 0) {
		struct erofs_run run;
		int r = map_run(e, node, offset, &run, err);
		size_t part = (size_t)MIN((uint64_t)length, r < 0 ? 0 : run.length);
		if (r == 0 && run.hole)
			memset(to, 0, part);
		else if (r == 0 && content && !run.inside)
			r = erofs_pread(e, to, part, run.place, err);
		else if (r == 0)
			r = erofs_meta_read(e, to, part, run.place, err);
		if (r < 0)
			return r;
		to += part;
		offset += part;
		length -= part;
	}
	return 0;
}

/* Make ref the file that is read. */
static int file_select(struct erofs *e, fs_ref ref, struct ramet_error *err)
{
	if (e->file_valid && e->file.nid == ref)
		return 0;
	e->file_valid = false;
	int r = erofs_node_read(e, ref, &e->file, err);
	if (r < 0)
		return r;
	if (!S_ISREG(e->file.mode))
		return error_set(err, EINVAL, "inode %llu is no regular file", erofs_shown(ref));
	e->file_valid = true;
	return 0;
}

int erofs_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err)
{
	struct erofs *e = (struct erofs *)fs;
	*done = 0;
	int r = file_select(e, ref, err);
	if (r < 0 || offset >= e->file.size)
		return r;
	length = (size_t)MIN((uint64_t)length, e->file.size - offset);
	r = erofs_content(e, &e->file, offset, buffer, length, err);
	if (r < 0)
		return error_prefix(err, r, "inode %llu", erofs_shown(ref));
	*done = length;
	return 0;
}

int erofs_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct erofs *e = (struct erofs *)fs;
	struct erofs_run run;
	int r = file_select(e, ref, err);
	if (r < 0)
		return r;
	if (offset >= e->file.size)
		return error_set(err, ENXIO, "inode %llu has no byte %llu", erofs_shown(ref),
			erofs_shown(offset));
	r = map_run(e, &e->file, offset, &run, err);
	if (r < 0)
		return error_prefix(err, r, "inode %llu", erofs_shown(ref));
	*extent = (struct fs_extent){.offset = offset,
		.length = run.length,
		.hole = run.hole,
		.device_offset = run.hole ? UINT64_MAX : run.place};
	return 0;
}
