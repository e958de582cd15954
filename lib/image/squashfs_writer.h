/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the squashfs writer share: content (squashfs_writer.c) comes first; where it
 * went is kept in little room (squashfs_kept.c); then inodes and directories (squashfs_inodes.c). */
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
#include "source/tree.h"

#define SQUASHFS_NO_XATTRS UINT32_MAX

/* A file whose content libsquashfs was given, and may still be at work on. */
struct squashfs_pending {
	struct tree_node *node;
	sqfs_inode_generic_t *inode; /* where libsquashfs notes its blocks */
};
#define SQUASHFS_PENDING 4096

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
	sqfs_dir_writer_t *directories;
	struct squashfs_pending *pending; /* SQUASHFS_PENDING of them */
	size_t pending_count;
	/* Where the content of regular files is. A node's place says it until the inode is written,
	 * when place becomes the inode's reference. */
	struct arena kept;
	VECTOR(const struct squashfs_kept *) files;
	char *buffer;
};

/* A libsquashfs code as a sentence: "cannot WHAT: ...". */
int squashfs_failed(
	struct squashfs_writer *writer, int code, const char *what, struct ramet_error *err);

/* Note where the content of the pending files is, in their nodes' places; none is pending then. */
int squashfs_keep_pending(struct squashfs_writer *writer, struct ramet_error *err);
/* The inode of a regular file as libsquashfs had it; sqfs_free() it. NULL without memory. */
sqfs_inode_generic_t *squashfs_kept_inode(
	const struct squashfs_writer *writer, const struct tree_node *node);

/* Write the inode and the directory table and note their places in the superblock. */
int squashfs_write_inodes(struct squashfs_writer *writer, struct ramet_error *err);

#endif
