/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the ext4 writer share: sizing (ext4_size.c), blocks and extents
 * (ext4_blocks.c), directories (ext4_directory.c), inodes and the whole (ext4_writer.c). */
#ifndef IMAGE_EXT4_WRITER_H
#define IMAGE_EXT4_WRITER_H

#include "base/fd.h"
#include "base/progress.h"
#include "base/vector.h"
#include "image/ext4_format.h"
#include "image/image.h"
#include "image/layout.h"
#include "source/tree.h"

/* Inode 11 is the first that is free, and lost+found has it by custom. */
#define EXT4_LOST_FOUND_INODE 11
#define EXT4_FIRST_INODE      12
#define EXT4_MAX_LINKS        65000

/* A run of blocks of a file: length of them from logical, standing at physical. */
struct ext4_run {
	uint32_t logical, length;
	uint64_t physical;
};

/* Neighbouring blocks of many small writes, until they go out as one. */
#define EXT4_BATCH_BLOCKS 64
struct ext4_batch {
	char *bytes; /* NULL: nothing waits */
	uint64_t start;
	uint32_t count;
};

/* Memory that is used again and again. */
struct ext4_scratch {
	void *bytes;
	size_t size;
};

struct ext4_writer {
	struct tree *tree;
	bool plain;            /* blocks of zeros are written: holes are only those of the host */
	struct layout *layout; /* gets the places of content, which is not read; or NULL */
	struct image_figures *figures;
	struct meter meter;
	uint64_t content_done;
	struct ext4_io io;
	struct ext4_windows windows; /* of io */
	ext2_filsys fs;
	blk64_t cursor; /* content goes to the first free block from here on */
	/* The file or directory at hand. */
	VECTOR(struct ext4_run) runs;
	uint64_t blocks; /* it has got, those of its extent tree and attributes included */
	char *buffer;
	struct ext4_batch batch;                     /* of blocks that nobody reads back */
	struct ext4_scratch listing, index, entries; /* of the directory at hand */
	const struct tree_node *lost_found;          /* the tree's own, or NULL: one is made */
};

/* A libext2fs code as a sentence: "cannot WHAT: ...". */
int ext4_failed(const struct ext4_writer *writer, errcode_t code, const char *what,
	struct ramet_error *err);

/* Write count blocks of data as the file's blocks from logical on. data NULL: the blocks are the
 * file's, and nothing is written there. */
errcode_t ext4_append_blocks(
	struct ext4_writer *writer, uint32_t logical, const char *data, uint32_t count);
/* From here on small pieces wait for their neighbours, until ext4_batch_end. */
errcode_t ext4_batch_begin(struct ext4_writer *writer);
errcode_t ext4_batch_end(struct ext4_writer *writer);
/* Put the extent tree of the runs into inode (its number is needed for checksums) and forget the
 * runs. */
errcode_t ext4_write_extents(
	struct ext4_writer *writer, ext2_ino_t number, struct ext2_inode_large *inode);
/* At most so many blocks does an extent tree of so many runs take. */
uint64_t ext4_extent_blocks(uint64_t runs);

/* Write the listing of a directory; *blocks is its length. node NULL: lost+found, without entries,
 * whose parent is the root. */
errcode_t ext4_write_directory(
	struct ext4_writer *writer, const struct tree_node *node, uint32_t *blocks);
/* How many blocks that will take. */
uint64_t ext4_directory_blocks(const struct ext4_writer *writer, const struct tree_node *node);

/* Lay out writer->fs so that the tree fits: size bytes, or with 0 as few as will do. */
int ext4_lay_out_for(struct ext4_writer *writer, uint64_t size, struct ext4_format *format,
	struct ramet_error *err);

#endif
