/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's content to an fd. Where that is a regular file and we stand at its end, holes are gone
 * over and stay holes; anywhere else they are written as zeros. The last byte is always written, so
 * that whatever is written next stands where it should.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "changes/side.h"
#include "look/look.h"

enum { BUFFER = 1 << 20 };

struct copy {
	const struct change_side *file;
	int fd;
	bool sparse;
	char *buffer;
};

/* With O_APPEND what is written goes to the file's end, wherever we stand. */
static bool can_skip(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flags >= 0 && !(flags & O_APPEND) &&
	       lseek(fd, 0, SEEK_CUR) == st.st_size;
}

static int put(const struct copy *copy, size_t length, struct ramet_error *err)
{
	int r = write_full(copy->fd, copy->buffer, length);
	return r < 0 ? error_errno(err, -r, "cannot write %s", copy->file->path) : 0;
}

static int put_zeros(const struct copy *copy, uint64_t length, struct ramet_error *err)
{
	memset(copy->buffer, 0, BUFFER);
	while (length) {
		size_t step = (size_t)MIN(length, (uint64_t)BUFFER);
		int r = put(copy, step, err);
		if (r < 0)
			return r;
		length -= step;
	}
	return 0;
}

static int put_hole(const struct copy *copy, const struct fs_extent *hole, struct ramet_error *err)
{
	if (!copy->sparse)
		return put_zeros(copy, hole->length, err);
	bool last = hole->offset + hole->length == copy->file->stat.size;
	if (hole->length - last > INT64_MAX ||
		lseek(copy->fd, (off_t)(hole->length - last), SEEK_CUR) < 0)
		return error_errno(err, EFBIG, "cannot write %s", copy->file->path);
	return last ? put_zeros(copy, 1, err) : 0;
}

static int put_data(const struct copy *copy, const struct fs_extent *data, struct ramet_error *err)
{
	for (uint64_t done = 0; done < data->length;) {
		size_t step = (size_t)MIN(data->length - done, (uint64_t)BUFFER);
		int r = side_read(copy->file, data->offset + done, copy->buffer, step, err);
		if (r == 0)
			r = put(copy, step, err);
		if (r < 0)
			return r;
		done += step;
	}
	return 0;
}

int look_bytes(const struct change_side *file, int fd, struct ramet_error *err)
{
	_cleanup_free_ char *buffer = malloc(BUFFER);
	if (!buffer)
		return error_memory(err);
	const struct copy copy = {.file = file, .fd = fd, .sparse = can_skip(fd), .buffer = buffer};
	struct fs_extent extent;
	for (uint64_t offset = 0; offset < file->stat.size; offset += extent.length) {
		int r = side_extent(file, offset, &extent, err);
		if (r == 0)
			r = extent.hole ? put_hole(&copy, &extent, err)
					: put_data(&copy, &extent, err);
		if (r < 0)
			return r;
	}
	return 0;
}
