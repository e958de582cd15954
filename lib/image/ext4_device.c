/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the device under an ext4 view: everything goes through here, so that a replayed journal
 * is seen everywhere. Metadata is taken in chunks of 64 KiB into a direct-mapped cache of 8 MiB: a
 * chunk is 256 inodes, and a walk comes back to the same inode tables and directories.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "image/ext4_inside.h"

int ext4_damage(struct ramet_error *err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = fs_damage(err, "the ext4 filesystem", format, args);
	va_end(args);
	return r;
}

int ext4_pread(
	struct ext4 *e, void *buffer, size_t length, uint64_t offset, struct ramet_error *err)
{
	if (!range_within(offset, length, e->device_size))
		return ext4_damage(err, "it needs byte %llu of a device of %llu bytes",
			(unsigned long long)offset, (unsigned long long)e->device_size);
	ssize_t n = pread_full(e->fd, buffer, length, offset);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read the ext4 device");
	if ((size_t)n < length)
		return ext4_damage(err, "its device ends at byte %llu",
			(unsigned long long)offset + (unsigned long long)n);
	return e->journal ? ext4_journal_patch(e, buffer, length, offset, err) : 0;
}

static int chunk_load(
	struct ext4 *e, struct ext4_chunk *chunk, uint64_t number, struct ramet_error *err)
{
	uint64_t offset = number * EXT4_CHUNK;
	chunk->number = 0;
	chunk->length = (size_t)MIN(EXT4_CHUNK, e->device_size - offset);
	int r = ext4_pread(e, chunk->data, chunk->length, offset, err);
	if (r == 0)
		chunk->number = number + 1;
	return r;
}

int ext4_block(struct ext4 *e, uint64_t block, const uint8_t **data, struct ramet_error *err)
{
	if (!ext4_blocks_exist(e, block, 1))
		return ext4_damage(err, "block %llu is used, and there are %llu",
			(unsigned long long)block, (unsigned long long)e->blocks);
	uint64_t offset = block << e->block_log, number = offset / EXT4_CHUNK;
	struct ext4_chunk **slot =
		&e->chunks[(size_t)(number * 0x9e3779b97f4a7c15ULL >> 40) % EXT4_SLOTS];
	if (!*slot) {
		*slot = malloc(sizeof **slot);
		if (!*slot)
			return error_memory(err);
		(*slot)->number = 0;
	}
	if ((*slot)->number != number + 1) {
		int r = chunk_load(e, *slot, number, err);
		if (r < 0)
			return r;
	}
	size_t within = offset % EXT4_CHUNK;
	if (!range_within(within, e->block_size, (*slot)->length))
		return ext4_damage(err, "block %llu is beyond the end of its device",
			(unsigned long long)block);
	*data = (*slot)->data + within;
	return 0;
}

void ext4_chunks_forget(struct ext4 *e)
{
	for (size_t i = 0; i < EXT4_SLOTS; i++) {
		free(e->chunks[i]);
		e->chunks[i] = NULL;
	}
}
