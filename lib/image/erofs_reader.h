/* SPDX-License-Identifier: Apache-2.0 */
/* A view of an EROFS image whose metadata is plain. */
#ifndef IMAGE_EROFS_READER_H
#define IMAGE_EROFS_READER_H

#include "image/fs.h"

/* As struct image_format has them. */
bool erofs_probe(int fd);
int erofs_length(int fd, uint64_t *bytes, struct ramet_error *err);

/*
 * Open a view of the EROFS image in fd, which is borrowed and only ever read with pread(). Memory
 * is bounded (4 MiB of cached metadata) whatever the image says; nothing but the superblock and the
 * root's inode is read here. Files that are compressed are listed and told of, and refused with
 * -EOPNOTSUPP when they are read.
 */
int erofs_open(int fd, struct fs **fs, struct ramet_error *err);

#endif
