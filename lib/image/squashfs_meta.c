/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata of squashfs: inodes, directories and tables stand in blocks of up to 8 KiB decoded, each
 * with a 16-bit header (its stored length; the top bit: not compressed). Source: the kernel's
 * fs/squashfs/block.c and cache.c, and squashfs_fs.h.
 *
 * A cursor only ever moves forward in the image, so that no lie about lengths can make it go
 * round; decoded blocks are kept in a direct-mapped cache of 4 MiB, since a walk goes to and fro
 * between directories and inodes.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "image/squashfs_inside.h"

enum { META_HEADER = 2, META_PLAIN = 0x8000 };

int squashfs_damage(struct ramet_error *err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = fs_damage(err, "the squashfs image", format, args);
	va_end(args);
	return r;
}

int squashfs_pread(
	struct squashfs *s, void *buffer, size_t length, uint64_t position, struct ramet_error *err)
{
	if (!range_within(position, length, s->super.bytes_used))
		return squashfs_damage(err, "%zu bytes at %llu are beyond its end (%llu bytes)",
			length, (unsigned long long)position,
			(unsigned long long)s->super.bytes_used);
	ssize_t n = pread_full(s->fd, buffer, length, position);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read the squashfs image");
	if ((size_t)n < length)
		return squashfs_damage(err, "it is cut off at %llu",
			(unsigned long long)position + (unsigned long long)n);
	return 0;
}

struct meta_cursor meta_seek(uint64_t start, uint64_t reference, uint64_t limit)
{
	struct meta_cursor cursor = {.offset = reference & 0xffff, .limit = limit};
	if (!checked_add(start, reference >> 16, &cursor.position))
		cursor.position = SQUASHFS_NONE64;
	return cursor;
}

/* Read and decode the block at position into block. */
static int meta_load(
	struct squashfs *s, uint64_t position, struct meta_block *block, struct ramet_error *err)
{
	uint8_t stored[META_HEADER + SQFS_META_BLOCK_SIZE];
	block->position = SQUASHFS_NONE64;
	int r = squashfs_pread(s, stored, META_HEADER, position, err);
	if (r < 0)
		return r;
	unsigned header = stored[0] | (unsigned)stored[1] << 8;
	uint32_t length = header & ~(unsigned)META_PLAIN;
	if (length == 0 || length > SQFS_META_BLOCK_SIZE)
		return squashfs_damage(err, "the metadata block at %llu claims %u bytes",
			(unsigned long long)position, length);
	r = squashfs_pread(s, stored + META_HEADER, length, position + META_HEADER, err);
	if (r < 0)
		return r;
	sqfs_s32 decoded = (sqfs_s32)length;
	if (header & META_PLAIN)
		memcpy(block->data, stored + META_HEADER, length);
	else
		decoded = s->compressor->do_block(s->compressor, stored + META_HEADER, length,
			block->data, sizeof block->data);
	if (decoded <= 0 || (size_t)decoded > sizeof block->data)
		return squashfs_damage(err, "the metadata block at %llu cannot be decompressed",
			(unsigned long long)position);
	block->length = (size_t)decoded;
	block->next = position + META_HEADER + length;
	block->position = position;
	return 0;
}

static int meta_get(struct squashfs *s, const struct meta_cursor *cursor,
	const struct meta_block **found, struct ramet_error *err)
{
	if (cursor->position >= cursor->limit)
		return squashfs_damage(err, "metadata is looked for at %llu, beyond its table",
			(unsigned long long)cursor->position);
	size_t slot = (size_t)(cursor->position * 0x9e3779b97f4a7c15ULL >> 32) % META_SLOTS;
	if (!s->meta[slot]) {
		s->meta[slot] = malloc(sizeof *s->meta[slot]);
		if (!s->meta[slot])
			return error_memory(err);
		s->meta[slot]->position = SQUASHFS_NONE64;
	}
	*found = s->meta[slot];
	if (s->meta[slot]->position == cursor->position)
		return 0;
	return meta_load(s, cursor->position, s->meta[slot], err);
}

int meta_read(struct squashfs *s, struct meta_cursor *cursor, void *buffer, size_t length,
	struct ramet_error *err)
{
	uint8_t *to = buffer;
	while (length > 0) {
		const struct meta_block *block = NULL;
		int r = meta_get(s, cursor, &block, err);
		if (r < 0)
			return r;
		if (cursor->offset > block->length)
			return squashfs_damage(err,
				"offset %zu is beyond the metadata block at %llu", cursor->offset,
				(unsigned long long)cursor->position);
		size_t here = block->length - cursor->offset;
		if (here > length)
			here = length;
		memcpy(to, block->data + cursor->offset, here);
		to += here;
		length -= here;
		cursor->offset += here;
		if (cursor->offset == block->length) {
			cursor->position = block->next;
			cursor->offset = 0;
		}
	}
	return 0;
}

int meta_table_read(struct squashfs *s, struct meta_table *table, uint64_t number, void *record,
	struct ramet_error *err)
{
	if (number >= table->count)
		return squashfs_damage(err, "number %llu of the %s table is used, which has %llu",
			(unsigned long long)number, table->name, (unsigned long long)table->count);
	size_t per_block = SQFS_META_BLOCK_SIZE / table->record_size;
	uint64_t block = number / per_block;
	if (table->last != block + 1) {
		uint64_t pointer;
		int r = squashfs_pread(
			s, &pointer, sizeof pointer, table->index + block * sizeof pointer, err);
		if (r < 0)
			return r;
		table->pointer = le64toh(pointer);
		table->last = block + 1;
	}
	struct meta_cursor cursor = {.position = table->pointer,
		.offset = number % per_block * table->record_size,
		.limit = table->index};
	return meta_read(s, &cursor, record, table->record_size, err);
}
