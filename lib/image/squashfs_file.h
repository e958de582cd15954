/* SPDX-License-Identifier: Apache-2.0 */
/* A file for libsquashfs over a borrowed fd. */
#ifndef IMAGE_SQUASHFS_FILE_H
#define IMAGE_SQUASHFS_FILE_H

#include <sqfs/io.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fd.h"

struct squashfs_file {
	sqfs_file_t base;
	int fd;
	uint64_t size;
	struct writeback writeback;
	int error;      /* the first negative errno, 0 when there was none */
	bool abandoned; /* nothing is read or written any more, and all calls succeed */
};

/* size: what is in fd already. Lives as long as the caller keeps it; destroy does nothing. */
void squashfs_file_init(struct squashfs_file *file, int fd, uint64_t size);

#endif
