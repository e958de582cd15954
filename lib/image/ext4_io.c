/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An io_manager (lib/ext2fs/ext2_io.h) over a borrowed fd.
 *
 * libext2fs opens a device by a name and knows no context pointer, so the name is the address of
 * the struct ext4_io, in hexadecimal: no global state, any number of devices in one process.
 *
 * For reading there is no cache: the kernel's page cache serves as one. What is written may wait in
 * windows (ext4_window.h). A count below zero means bytes, not blocks; that is libext2fs's convention.
 */
#include "image/ext4_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "image/ext4_format.h"

/* What fits in a hole: the end of a block of zeros is found by comparing it with itself, shifted. */
static bool is_zero(const void *data, size_t length)
{
	const char *bytes = data;
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static struct ext4_io *io_of(io_channel channel)
{
	return channel->private_data;
}

/* The file's own error is kept: libext2fs has no code for most of them. */
static errcode_t failed(struct ext4_io *io, int error)
{
	io->error = error;
	return -error;
}

static bool byte_range(
	io_channel channel, uint64_t block, int count, uint64_t *offset, size_t *length)
{
	uint64_t bytes = count < 0 ? (uint64_t) - (int64_t)count
				   : (uint64_t)count * (uint64_t)channel->block_size;
	uint64_t end;
	*length = bytes;
	return checked_mul(block, (uint64_t)channel->block_size, offset) &&
	       checked_add(*offset, bytes, &end) && end <= INT64_MAX;
}

static errcode_t manager_open(const char *name, int flags, io_channel *out)
{
	uintptr_t address;
	if (sscanf(name, "%" SCNxPTR, &address) != 1)
		return EXT2_ET_BAD_DEVICE_NAME;
	io_channel channel = calloc(1, sizeof *channel);
	char *copy = strdup(name);
	if (!channel || !copy) {
		free(channel);
		free(copy);
		return EXT2_ET_NO_MEMORY;
	}
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = ext4_io_manager;
	channel->name = copy;
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->private_data = (void *)address;
	*out = channel;
	return 0;
}

static errcode_t manager_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t manager_set_block_size(io_channel channel, int block_size)
{
	channel->block_size = block_size;
	return 0;
}

/* Whatever is not a single block finds, and leaves, nothing in the windows. */
static errcode_t settle(struct ext4_io *io)
{
	int r = io->windows ? ext4_windows_settle(io->windows, io->fd) : 0;
	return r < 0 ? failed(io, r) : 0;
}

/* Whether the windows serve it. */
static bool is_single_block(const struct ext4_io *io, uint64_t offset, size_t length)
{
	return io->windows && length == EXT4_BLOCK_SIZE && offset % EXT4_BLOCK_SIZE == 0;
}

static errcode_t read_file_range(struct ext4_io *io, uint64_t offset, void *data, size_t length)
{
	if (!is_single_block(io, offset, length)) {
		errcode_t code = settle(io);
		if (code)
			return code;
	} else if (ext4_windows_get(io->windows, offset / EXT4_BLOCK_SIZE, data)) {
		return 0;
	}
	ssize_t n = pread_full(io->fd, data, length, offset);
	if (n < 0)
		return failed(io, (int)n);
	if ((size_t)n == length)
		return 0;
	memset((char *)data + n, 0, length - (size_t)n);
	return EXT2_ET_SHORT_READ;
}

static errcode_t manager_read(io_channel channel, unsigned long long block, int count, void *data)
{
	struct ext4_io *io = io_of(channel);
	uint64_t offset;
	size_t length;
	if (!byte_range(channel, block, count, &offset, &length))
		return EXT2_ET_BAD_BLOCK_NUM;
	errcode_t code = read_file_range(io, offset, data, length);
	if (code || !io->overlay || (uint32_t)channel->block_size != io->overlay_block_size)
		return code;
	size_t unit = (size_t)channel->block_size;
	for (size_t done = 0; done < length; done += unit) {
		const void *newer = io->overlay(io->overlay_ctx, block + done / unit);
		if (newer)
			memcpy((char *)data + done, newer,
				length - done < unit ? length - done : unit);
	}
	return 0;
}

static errcode_t write_range(struct ext4_io *io, uint64_t offset, const void *data, size_t length)
{
	if (!io->writable)
		return EXT2_ET_RO_FILSYS;
	bool zero = io->sparse && is_zero(data, length);
	if (!zero && is_single_block(io, offset, length)) {
		int r = ext4_windows_put(io->windows, io->fd, offset / EXT4_BLOCK_SIZE, data);
		return r < 0 ? failed(io, r) : 0;
	}
	errcode_t code = settle(io);
	if (code)
		return code;
	if (zero && fallocate(io->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			    (off_t)length) == 0)
		return 0;
	int r = pwrite_full(io->fd, data, length, offset);
	return r < 0 ? failed(io, r) : 0;
}

static errcode_t manager_write(
	io_channel channel, unsigned long long block, int count, const void *data)
{
	uint64_t offset;
	size_t length;
	if (!byte_range(channel, block, count, &offset, &length))
		return EXT2_ET_BAD_BLOCK_NUM;
	return write_range(io_of(channel), offset, data, length);
}

static errcode_t manager_write_byte(
	io_channel channel, unsigned long offset, int count, const void *data)
{
	return write_range(io_of(channel), offset, data, (size_t)count);
}

static errcode_t manager_read32(io_channel channel, unsigned long block, int count, void *data)
{
	return manager_read(channel, block, count, data);
}

static errcode_t manager_write32(
	io_channel channel, unsigned long block, int count, const void *data)
{
	return manager_write(channel, block, count, data);
}

/* Durability is the business of whoever owns the fd. */
static errcode_t manager_flush(io_channel channel)
{
	return settle(io_of(channel));
}

static errcode_t manager_zeroout(
	io_channel channel, unsigned long long block, unsigned long long count)
{
	struct ext4_io *io = io_of(channel);
	uint64_t unit = (uint64_t)channel->block_size, offset, length, end;
	if (!io->writable)
		return EXT2_ET_RO_FILSYS;
	if (!checked_mul(block, unit, &offset) || !checked_mul(count, unit, &length) ||
		!checked_add(offset, length, &end) || end > INT64_MAX)
		return EXT2_ET_BAD_BLOCK_NUM;
	errcode_t code = settle(io);
	if (code)
		return code;
	if (fallocate(io->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		    (off_t)length) == 0)
		return 0;
	/* Answered so, libext2fs writes the zeros itself. */
	return EXT2_ET_UNIMPLEMENTED;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "ramet",
	.open = manager_open,
	.close = manager_close,
	.set_blksize = manager_set_block_size,
	.read_blk = manager_read32,
	.write_blk = manager_write32,
	.flush = manager_flush,
	.write_byte = manager_write_byte,
	.read_blk64 = manager_read,
	.write_blk64 = manager_write,
	.zeroout = manager_zeroout,
};
io_manager ext4_io_manager = &manager;

void ext4_io_name(struct ext4_io *io, char name[static EXT4_IO_NAME_SIZE])
{
	snprintf(name, EXT4_IO_NAME_SIZE, "%" PRIxPTR, (uintptr_t)io);
}

int ext4_io_errno(const struct ext4_io *io, errcode_t code)
{
	if (io && io->error)
		return -io->error;
	if (code > 0 && code < 4096)
		return (int)code;
	switch (code) {
	case EXT2_ET_NO_MEMORY:
		return ENOMEM;
	case EXT2_ET_BLOCK_ALLOC_FAIL:
	case EXT2_ET_INODE_ALLOC_FAIL:
	case EXT2_ET_DIR_NO_SPACE:
		return ENOSPC;
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE:
		return EOPNOTSUPP;
	default:
		return EUCLEAN;
	}
}
