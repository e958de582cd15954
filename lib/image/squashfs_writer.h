/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the squashfs writer share: content (squashfs_writer.c) comes first; where it
 * went is kept in little room (squashfs_tails.c, squashfs_kept.c); then inodes and directories (squashfs_inodes.c). */
#ifndef IMAGE_SQUASHFS_WRITER_H
#define IMAGE_SQUASHFS_WRITER_H

#include <sqfs/block_processor.h>
#include <sqfs/block_writer.h>
#include <sqfs/compressor.h>
#include <sqfs/dir_writer.h>
#include <sqfs/frag_table.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/meta_writer.h>
#include <sqfs/super.h>
#include <sqfs/xattr_writer.h>

#include "base/arena.h"
#include "base/progress.h"
#include "base/vector.h"
#include "image/image.h"
#include "image/squashfs_file.h"
#include "image/squashfs_spool.h"
#include "source/tree.h"

#define SQUASHFS_NO_XATTRS   UINT32_MAX
#define SQUASHFS_NO_FRAGMENT UINT32_MAX
#define SQUASHFS_BLOCK       ((size_t)SQFS_DEFAULT_BLOCK_SIZE)

/*
 * A node's place says where a regular file's content is. The top bit: all of it is a tail, with 29
 * bits of the fragment's number and 18 of the offset in it. Otherwise the rest is an index into
 * squashfs_writer.files, or SQUASHFS_NO_CONTENT for an empty file.
 */
#define SQUASHFS_OFFSET_BITS    18
#define SQUASHFS_MOST_FRAGMENTS ((1U << 29) - 1)
#define SQUASHFS_IS_TAIL        ((uint64_t)1 << 47)
#define SQUASHFS_NO_CONTENT     (SQUASHFS_IS_TAIL - 1)

_Static_assert(SQFS_DEFAULT_BLOCK_SIZE <= 1 << SQUASHFS_OFFSET_BITS, "offsets need more bits");

static inline uint64_t squashfs_tail_place(uint32_t fragment, uint32_t offset)
{
	return SQUASHFS_IS_TAIL | (uint64_t)fragment << SQUASHFS_OFFSET_BITS | offset;
}

static inline uint32_t squashfs_place_fragment(uint64_t place)
{
	return (uint32_t)(place >> SQUASHFS_OFFSET_BITS) & SQUASHFS_MOST_FRAGMENTS;
}

static inline uint32_t squashfs_place_offset(uint64_t place)
{
	return (uint32_t)place & ((1U << SQUASHFS_OFFSET_BITS) - 1);
}

/* A fragment that is at hand: the one being filled, and those before it. */
struct squashfs_recent {
	uint32_t number;
	size_t used;
	char *data;
};
#define SQUASHFS_RECENT 3

struct squashfs_tails {
	sqfs_block_writer_t *front; /* what libsquashfs writes blocks with */
	uint64_t *slots;
	size_t slot_count;
	struct squashfs_recent recent[SQUASHFS_RECENT];
	size_t turn;  /* which of them is filled, modulo their number */
	char *cached; /* one that was read back */
	uint32_t cached_number;
	size_t cached_used;
};

/* A file whose content libsquashfs was given, and may still be at work on. */
struct squashfs_pending {
	struct tree_node *node;
	sqfs_inode_generic_t *inode; /* where libsquashfs notes its blocks */
};
#define SQUASHFS_PENDING 1024

struct squashfs_writer {
	struct tree *tree;
	struct image_figures *figures;
	struct meter meter;
	uint64_t content_done; /* holes count too: for the meter */
	struct squashfs_file file;
	sqfs_super_t super;
	sqfs_compressor_t *compressor, *decompressor;
	sqfs_block_writer_t *blocks;
	sqfs_frag_table_t *fragments;
	sqfs_block_processor_t *processor;
	bool broken; /* libsquashfs failed, and not because of its file */
	sqfs_id_table_t *ids;
	sqfs_xattr_writer_t *xattrs;
	sqfs_meta_writer_t *inode_table, *directory_table;
	struct squashfs_spool spool; /* what directory_table writes to */
	sqfs_dir_writer_t *directories;
	struct squashfs_tails tails;
	/* The file at hand: bytes of it that are still to go into whole blocks, and what comes after
	 * them. */
	uint64_t whole;
	char *tail;
	size_t tail_used;
	struct squashfs_pending *pending; /* SQUASHFS_PENDING of them */
	size_t pending_count;
	bool plain;            /* content as it is (squashfs_plain.c) */
	struct layout *layout; /* NULL: it is written */
	VECTOR(const struct squashfs_plain_list *) lists;
	/* Where the content of regular files is. A node's place says it until the inode is written,
	 * when place becomes the inode's reference. */
	struct arena kept;
	VECTOR(const struct squashfs_kept *) files;
	char *buffer;
};

/* A libsquashfs code as a sentence: "cannot WHAT: ...". */
int squashfs_failed(
	struct squashfs_writer *writer, int code, const char *what, struct ramet_error *err);

/* Tails answer codes of libsquashfs. Before the processor is made: */
int squashfs_tails_init(struct squashfs_writer *writer);
/* Store a tail, or find it; *place tells where it is. */
int squashfs_tails_add(
	struct squashfs_writer *writer, const char *data, size_t size, uint64_t *place);
/* Write out the fragment at hand. */
int squashfs_tails_flush(struct squashfs_writer *writer);
/* After the processor is gone. */
void squashfs_tails_free(struct squashfs_tails *tails);

/* Note where the content of the pending files is, in their nodes' places; none is pending then. */
int squashfs_keep_pending(struct squashfs_writer *writer, struct ramet_error *err);
/* The inode of a regular file as libsquashfs had it; sqfs_free() it. NULL without memory. */
sqfs_inode_generic_t *squashfs_kept_inode(
	const struct squashfs_writer *writer, const struct tree_node *node);

/* Content as it is, or its layout: instead of all that has to do with tails and what is kept. */
int squashfs_write_plain(struct squashfs_writer *writer, struct ramet_error *err);
/* As squashfs_kept_inode. */
sqfs_inode_generic_t *squashfs_plain_inode(
	const struct squashfs_writer *writer, const struct tree_node *node);

/* Write the places of all inodes in the order of their numbers. */
int squashfs_write_export_table(struct squashfs_writer *writer);

/* Write the inode and the directory table and note their places in the superblock. */
int squashfs_write_inodes(struct squashfs_writer *writer, struct ramet_error *err);

#endif
