/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libext2fs over a file descriptor that somebody else opened: nothing but pread, pwrite and
 * fallocate, so it works where open() is forbidden.
 */
#ifndef IMAGE_EXT4_IO_H
#define IMAGE_EXT4_IO_H

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/ext4_window.h"

/* What libext2fs calls a device. Belongs to the caller and must outlive the filesystem. */
struct ext4_io {
	int fd;        /* borrowed */
	bool writable; /* otherwise every write fails with EXT2_ET_RO_FILSYS */
	bool sparse;   /* the file is to stay sparse: blocks of zeros become holes */
	/* A block whose newer content is not in the file (journal replay), or NULL: the file's own
	 * is right. Blocks are counted in block_size bytes, which overlay_block_size must equal for
	 * the hook to be asked; other reads (the superblock at open) see the file alone. */
	const void *(*overlay)(void *ctx, uint64_t block);
	void *overlay_ctx;
	uint32_t overlay_block_size;
	/* Where single blocks of EXT4_BLOCK_SIZE wait until more come, or NULL. Whoever writes to the
	 * fd beside this manager writes blocks that never came through it. */
	struct ext4_windows *windows;
	int error; /* the last negative errno of the file, 0 when there was none */
};

extern io_manager ext4_io_manager;

/* The name by which ext4_io_manager finds io: hand it to ext2fs_open2 or ext2fs_initialize. */
#define EXT4_IO_NAME_SIZE 32
void ext4_io_name(struct ext4_io *io, char name[static EXT4_IO_NAME_SIZE]);

/* A libext2fs code as a positive errno; io (or NULL) knows the file's own error. */
int ext4_io_errno(const struct ext4_io *io, errcode_t code);

#endif
