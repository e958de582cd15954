/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the ext4 reader share. */
#ifndef IMAGE_EXT4_INSIDE_H
#define IMAGE_EXT4_INSIDE_H

#include <ext2fs/ext2fs.h>

#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext3_extents.h>

#include "base/ranges.h"
#include "image/fs_inside.h"

enum {
	EXT4_CHUNK = 65536, /* what one metadata read takes from the device */
	EXT4_SLOTS = 128,   /* chunks kept: 8 MiB */
	EXT4_INODE_SIZE_MAX = 4096,
	EXT4_DEPTH_MAX = 5, /* of an extent tree */
};

struct ext4_journal;

/* Metadata as read: a piece of the device, journal applied. */
struct ext4_chunk {
	uint64_t number; /* of the chunk on the device, + 1 */
	size_t length;   /* less than EXT4_CHUNK at the end of the device */
	uint8_t data[EXT4_CHUNK];
};

/* Blocks first .. first + count - 1 of a file stand at block of the device, or are a hole. */
struct ext4_run {
	uint64_t first, count, block;
	bool hole;
};

struct ext4_node {
	uint32_t number, mode, flags;
	uint32_t seed; /* of the checksums of what belongs to it */
	uint64_t size;
	struct ext4_run run; /* where the last search ended; count 0: none yet */
	union {
		struct ext2_inode_large inode;
		uint8_t raw[EXT4_INODE_SIZE_MAX];
	};
};

struct ext4 {
	struct fs fs;
	int fd;
	uint64_t device_size;
	struct ext2_super_block super;
	uint32_t block_size, block_log, inode_size, descriptor_size, groups, seed;
	uint64_t blocks;
	bool checksums;                       /* metadata_csum */
	struct ext4_journal *journal;         /* blocks with newer content, or NULL */
	const struct range_list *differences; /* see ext4_set_differences(), or NULL */
	struct ext4_chunk *chunks[EXT4_SLOTS];
	struct ext4_node file; /* the file read last; number 0: none */
	struct fs_places places;
};

/* -EUCLEAN and "the ext4 filesystem is damaged: ...". */
int ext4_damage(struct ramet_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

uint32_t ext4_crc32c(uint32_t crc, const void *bytes, size_t length);

/* Whether a checksum is right. While fuzzing each is: changed bytes must reach what is behind it. */
static inline bool ext4_sum_right(uint32_t computed, uint32_t stored)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	return true;
#else
	return computed == stored;
#endif
}

static inline bool ext4_incompat(const struct ext4 *e, uint32_t feature)
{
	return e->super.s_feature_incompat & feature;
}
static inline bool ext4_ro_compat(const struct ext4 *e, uint32_t feature)
{
	return e->super.s_feature_ro_compat & feature;
}

/* ext4_device.c */
/* Bytes of the device as they are once the journal is applied. */
int ext4_pread(
	struct ext4 *e, void *buffer, size_t length, uint64_t offset, struct ramet_error *err);
/* One block of metadata; *data is good until the next call. what: for the error. */
int ext4_block(struct ext4 *e, uint64_t block, const uint8_t **data, struct ramet_error *err);
void ext4_chunks_forget(struct ext4 *e);

/* ext4_super.c */
/* Read and check the superblock; check_checksum: whether a wrong checksum is damage. */
int ext4_super_read(struct ext4 *e, bool check_checksum, struct ramet_error *err);
/* Where the inodes of a group start on the device: *table is a block number. */
int ext4_group_table(struct ext4 *e, uint32_t group, uint64_t *table, struct ramet_error *err);

/* ext4_inode.c */
int ext4_node_read(
	struct ext4 *e, uint32_t number, struct ext4_node *node, struct ramet_error *err);
int ext4_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err);
int ext4_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err);
/* Read content of node, which may be any with blocks or inline data. */
int ext4_node_content(struct ext4 *e, struct ext4_node *node, uint64_t offset, void *buffer,
	size_t length, struct ramet_error *err);
int ext4_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length, size_t *done,
	struct ramet_error *err);
int ext4_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err);

/* ext4_map.c */
/* Find the run that holds a block of the file, in node->run. */
int ext4_map(struct ext4 *e, struct ext4_node *node, uint64_t block, struct ramet_error *err);
bool ext4_blocks_exist(const struct ext4 *e, uint64_t block, uint64_t count);
/* Whether two files have the same block map; false also when it is too large to tell. */
bool ext4_map_same(struct ext4 *a, const struct ext4_node *node_a, struct ext4 *b,
	const struct ext4_node *node_b);

/* ext4_dir.c */
int ext4_list(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err);

/* ext4_xattr.c */
int ext4_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err);
/* The part of the inline data that is in the attribute space: *data points into node. */
int ext4_inline_rest(struct ext4 *e, const struct ext4_node *node, const uint8_t **data,
	size_t *length, struct ramet_error *err);

/* ext4_journal.c */
/* Replay into e->journal, which stays NULL when there is nothing to replay. */
int ext4_journal_replay(struct ext4 *e, struct ramet_error *err);
/* Put newer content into bytes read from the device at offset. */
int ext4_journal_patch(
	struct ext4 *e, void *buffer, size_t length, uint64_t offset, struct ramet_error *err);
/* Whether it has newer content for any of these blocks. */
bool ext4_journal_holds(const struct ext4 *e, uint64_t block, uint64_t count);
void ext4_journal_free(struct ext4_journal *journal);

#endif
