/* SPDX-License-Identifier: Apache-2.0 */
/* What libsquashfs writes, kept in memory until its place in the image is known. */
#ifndef IMAGE_SQUASHFS_SPOOL_H
#define IMAGE_SQUASHFS_SPOOL_H

#include <sqfs/io.h>

#include "base/vector.h"

struct squashfs_spool {
	sqfs_file_t base;
	VECTOR(char *) pieces; /* of 64 KiB: growing never copies */
	sqfs_u64 size;
};

void squashfs_spool_init(struct squashfs_spool *spool);
/* Append all of it to file. A code of libsquashfs. */
int squashfs_spool_copy(struct squashfs_spool *spool, sqfs_file_t *file);
void squashfs_spool_free(struct squashfs_spool *spool);

#endif
