/* SPDX-License-Identifier: Apache-2.0 */
/* A view of a squashfs 4.0 image. */
#ifndef IMAGE_SQUASHFS_READER_H
#define IMAGE_SQUASHFS_READER_H

#include "image/fs.h"

/*
 * Open a view of the squashfs in fd, which is borrowed and only ever read with pread(). Memory is
 * bounded (about 10 MiB of caches) whatever the image says; nothing but the superblock is read
 * here, damage elsewhere is met when it is asked for.
 */
int squashfs_open(int fd, struct fs **fs, struct ramet_error *err);

#endif
