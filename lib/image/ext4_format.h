/* SPDX-License-Identifier: Apache-2.0 */
/* An empty ext4, made in process. */
#ifndef IMAGE_EXT4_FORMAT_H
#define IMAGE_EXT4_FORMAT_H

#include "base/error.h"
#include "image/ext4_io.h"

#define EXT4_BLOCK_SIZE 4096

struct ext4_format {
	uint64_t blocks; /* of EXT4_BLOCK_SIZE */
	uint64_t inodes; /* at least */
	uint8_t uuid[16];
	uint32_t hash_seed[4];
	int64_t time; /* of everything in the superblock, seconds */
};

/*
 * Lay a filesystem out in io: superblocks, group descriptors, bitmaps and inode tables have their
 * places, and nothing is written yet. ext2fs_free_blocks_count tells what is left for the journal
 * and for content. The caller closes or frees *fs.
 */
errcode_t ext4_lay_out(const struct ext4_format *format, struct ext4_io *io, ext2_filsys *fs);

/* The journal a filesystem of so many blocks gets. */
uint32_t ext4_journal_blocks(uint64_t blocks);

/* Write what every filesystem starts with: reserved inodes (but the root, which
 * is the caller's to make), resize inode, journal. */
errcode_t ext4_write_reserved(ext2_filsys fs, uint32_t journal_blocks);

#endif
