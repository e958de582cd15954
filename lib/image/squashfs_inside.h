/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the squashfs reader share. */
#ifndef IMAGE_SQUASHFS_INSIDE_H
#define IMAGE_SQUASHFS_INSIDE_H

#include <sqfs/block.h>
#include <sqfs/compressor.h>
#include <sqfs/dir.h>
#include <sqfs/inode.h>
#include <sqfs/super.h>
#include <sqfs/xattr.h>

#include "image/fs_inside.h"

#define SQUASHFS_NONE32 0xFFFFFFFFu
#define SQUASHFS_NONE64 0xFFFFFFFFFFFFFFFFull

/* -EUCLEAN and "the squashfs image is damaged: ...". */
int squashfs_damage(struct ramet_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

enum { META_SLOTS = 512, DATA_SLOTS = 4 };

/* A decoded metadata block: up to 8 KiB. */
struct meta_block {
	uint64_t position; /* in the image */
	uint64_t next;     /* where the one after it starts */
	size_t length;
	uint8_t data[SQFS_META_BLOCK_SIZE];
};

/* A place in a run of metadata blocks; reading moves it on. */
struct meta_cursor {
	uint64_t position; /* of the block */
	size_t offset;     /* in its decoded bytes */
	uint64_t limit;    /* blocks start before it */
};

/* A table of fixed-size records in metadata blocks, found through an index of 64-bit pointers. */
struct meta_table {
	const char *name;
	uint64_t index; /* where the pointers are */
	uint64_t count; /* of records */
	size_t record_size;
	uint64_t last, pointer; /* the pointer read last: its number + 1, and its value */
};

/* What an inode says, the same for each of its kinds. */
struct squashfs_node {
	uint32_t mode, uid, gid, nlink, xattr, rdev;
	int64_t mtime;
	uint64_t size;  /* directory: of its listing in bytes */
	uint64_t start; /* file: first block in the image; directory: block in its table */
	uint32_t fragment, offset; /* file: in the fragment; directory: in the block */
	struct meta_cursor tail;   /* file: the sizes of its blocks; symlink: the target */
};

/* The file that is being read, and how far its list of blocks was followed. */
struct squashfs_file {
	bool valid;
	fs_ref ref;
	struct squashfs_node node;
	uint64_t block;            /* the one that the cursor stands before */
	uint64_t position;         /* of its bytes in the image */
	struct meta_cursor cursor; /* its place in the list */
};

struct data_block {
	uint64_t position;
	uint32_t size_word; /* as stored: length and the "not compressed" bit */
	uint64_t used;      /* when: the oldest goes first */
	size_t length;
	uint8_t *data; /* block_size bytes, or NULL */
};

struct squashfs {
	struct fs fs;
	int fd;
	sqfs_super_t super; /* in host byte order */
	sqfs_compressor_t *compressor;
	struct meta_block *meta[META_SLOTS];
	struct meta_table ids, fragments, xattrs;
	uint64_t xattr_start;
	struct squashfs_file file;
	struct data_block blocks[DATA_SLOTS];
	uint64_t clock;
	uint8_t *raw; /* block_size bytes: what is stored, before it is decoded */
	struct fs_places places;
};

/* squashfs_meta.c */
/* Where a reference (block << 16 | offset) into the table at start points. */
struct meta_cursor meta_seek(uint64_t start, uint64_t reference, uint64_t limit);
int meta_read(struct squashfs *s, struct meta_cursor *cursor, void *buffer, size_t length,
	struct ramet_error *err);
int meta_table_read(struct squashfs *s, struct meta_table *table, uint64_t number, void *record,
	struct ramet_error *err);
int squashfs_pread(struct squashfs *s, void *buffer, size_t length, uint64_t position,
	struct ramet_error *err);

/* squashfs_inode.c */
int squashfs_node_read(
	struct squashfs *s, fs_ref ref, struct squashfs_node *node, struct ramet_error *err);
int squashfs_list(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err);
int squashfs_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err);
int squashfs_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err);
int squashfs_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err);

/* squashfs_data.c */
int squashfs_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err);
int squashfs_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err);
int squashfs_locate(struct fs *fs, fs_ref ref, uint64_t offset, uint64_t *position,
	uint64_t *length, struct ramet_error *err);

#endif
