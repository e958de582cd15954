/* SPDX-License-Identifier: Apache-2.0 */
/* The simplest device: a file of the host, every byte at its own offset. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block/device.h"

#define SECTOR ((uint64_t)512)

struct file_device {
	struct block_device device;
	int fd;
	bool is_kernel_device;
};

static int file_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	const struct file_device *file = (const struct file_device *)device;
	extents[0] = (struct block_extent){
		.kind = BLOCK_DATA, .fd = file->fd, .offset = offset, .length = length};
	return 1;
}

/* Holes, where the file system tells of them. Nothing here minds where the fd's position is. */
static int file_status(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	const struct file_device *file = (const struct file_device *)device;
	file_map(device, offset, length, extents, most);
	if (file->is_kernel_device)
		return 1;
	off_t data = lseek(file->fd, (off_t)offset, SEEK_DATA);
	bool all_hole = data < 0 && errno == ENXIO;
	off_t end = data == (off_t)offset ? lseek(file->fd, data, SEEK_HOLE) : data;
	if (all_hole || data > (off_t)offset)
		extents[0].kind = BLOCK_ZERO;
	if (!all_hole && end > (off_t)offset)
		extents[0].length = MIN(length, (uint64_t)end - offset);
	return 1;
}

static int file_flush(struct block_device *device)
{
	const struct file_device *file = (const struct file_device *)device;
	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static int file_discard(struct block_device *device, uint64_t offset, uint64_t length)
{
	const struct file_device *file = (const struct file_device *)device;
	if (file->is_kernel_device) {
		/* BLKDISCARD promises nothing about what is read afterwards. */
		uint64_t range[2] = {offset, length};
		return ioctl(file->fd, BLKZEROOUT, range) < 0 ? -errno : 0;
	}
	int r = fallocate(
		file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	return r < 0 ? -errno : 0;
}

static void file_close(struct block_device *device)
{
	close(((struct file_device *)device)->fd);
	free(device);
}

static const struct block_ops readable = {
	.name = "file",
	.map = file_map,
	.status = file_status,
	.close = file_close,
};

static const struct block_ops writable = {
	.name = "file",
	.map = file_map,
	.status = file_status,
	.prepare_write = file_map,
	.flush = file_flush,
	.discard = file_discard,
	.close = file_close,
};

int block_file_open(int fd, bool read_only, struct block_device **out, struct ramet_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at the file to serve");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(err, EINVAL,
			"only a file or a block device can be served, and this is neither");
	off_t size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return error_errno(err, errno, "cannot find out how long the file to serve is");
	struct file_device *file = malloc(sizeof *file);
	if (!file)
		return error_memory(err);
	*file = (struct file_device){
		.device = {.ops = read_only ? &readable : &writable,
			.size = (uint64_t)size / SECTOR * SECTOR,
			.read_only = read_only},
		.fd = fd,
		.is_kernel_device = S_ISBLK(st.st_mode),
	};
	*out = &file->device;
	return 0;
}
