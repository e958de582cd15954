/* SPDX-License-Identifier: Apache-2.0 */
#include "image/squashfs_file.h"

#include <sqfs/error.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"

static int failed(struct squashfs_file *file, int error)
{
	if (!file->error)
		file->error = error;
	return SQFS_ERROR_IO;
}

static int read_at(sqfs_file_t *base, sqfs_u64 offset, void *buffer, size_t length)
{
	struct squashfs_file *file = (struct squashfs_file *)base;
	if (file->abandoned) {
		memset(buffer, 0, length);
		return 0;
	}
	ssize_t n = pread_full(file->fd, buffer, length, offset);
	if (n < 0)
		return failed(file, (int)n);
	return (size_t)n == length ? 0 : SQFS_ERROR_OUT_OF_BOUNDS;
}

static int write_at(sqfs_file_t *base, sqfs_u64 offset, const void *buffer, size_t length)
{
	struct squashfs_file *file = (struct squashfs_file *)base;
	uint64_t end;
	if (!checked_add(offset, length, &end))
		return SQFS_ERROR_OVERFLOW;
	int r = file->abandoned ? 0 : pwrite_full(file->fd, buffer, length, offset);
	if (r < 0)
		return failed(file, r);
	file->size = MAX(file->size, end);
	writeback_advance(&file->writeback, file->size);
	return 0;
}

static sqfs_u64 get_size(const sqfs_file_t *base)
{
	return ((const struct squashfs_file *)base)->size;
}

static int set_size(sqfs_file_t *base, sqfs_u64 size)
{
	struct squashfs_file *file = (struct squashfs_file *)base;
	if (ftruncate(file->fd, (off_t)size) < 0)
		return failed(file, -errno);
	file->size = size;
	return 0;
}

static void destroy(sqfs_object_t *object)
{
}

void squashfs_file_init(struct squashfs_file *file, int fd, uint64_t size)
{
	*file = (struct squashfs_file){
		.base = {{destroy, NULL}, read_at, write_at, get_size, set_size},
		.fd = fd,
		.size = size,
		.writeback = {.fd = fd},
	};
}
