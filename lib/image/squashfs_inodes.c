/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inode and the directory table. A directory's listing holds the places of the inodes it
 * names, so all other inodes are written first, directory by directory, and then the directories,
 * the deepest first. Numbers are given before, to neighbours in a row: a listing stores each as a
 * small difference to the one in its header.
 */
#include "image/squashfs_writer.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <sqfs/block.h>
#include <sqfs/error.h>
#include <sqfs/xattr.h>

#include "base/cleanup.h"

static void number_inodes(struct tree *tree)
{
	uint32_t last = 1;
	tree->root->number = last;
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		if (!S_ISDIR(node->mode))
			continue;
		for (struct tree_node *child = node->first; child; child = child->next)
			if (!tree_link(child))
				child->number = ++last;
	}
}

/* The kernel's squashfs reads user, trusted and security attributes (fs/squashfs/xattr.c); POSIX
 * ACLs have no place in the format. They are counted, and the user is told. */
static int add_xattrs(struct squashfs_writer *writer, const struct tree_node *node, uint32_t *index)
{
	*index = SQUASHFS_NO_XATTRS;
	int kept = 0;
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		if (sqfs_get_xattr_prefix_id(x->name) < 0) {
			writer->figures->omitted_xattrs++;
			continue;
		}
		int r = kept++ ? 0 : sqfs_xattr_writer_begin(writer->xattrs, 0);
		if (r == 0)
			r = sqfs_xattr_writer_add(writer->xattrs, x->name, x->value, x->size);
		if (r != 0)
			return r;
	}
	return kept ? sqfs_xattr_writer_end(writer->xattrs, index) : 0;
}

static uint32_t clamp_time(int64_t seconds)
{
	return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

static int add_owner(
	struct squashfs_writer *writer, uint32_t id, sqfs_u16 *index, struct ramet_error *err)
{
	int r = sqfs_id_table_id_to_index(writer->ids, id, index);
	if (r == SQFS_ERROR_OVERFLOW)
		return error_set(err, EFBIG,
			"the tree has more than 65536 different owners and groups, which is all "
			"that a squashfs can tell apart; build an ext4 image");
	return r == 0 ? 0 : squashfs_failed(writer, r, "note an owner", err);
}

/*
 * A regular file's list of blocks goes out behind the rest of the inode here, in pieces: libsquashfs
 * would turn it into little-endian on the stack, which a file of 256 GiB overflows.
 */
static int append_inode(struct squashfs_writer *writer, sqfs_inode_generic_t *inode)
{
	uint32_t piece[1024];
	size_t count = inode->payload_bytes_used / sizeof piece[0];
	if (!S_ISREG(inode->base.mode) || count <= ARRAY_SIZE(piece))
		return sqfs_meta_writer_write_inode(writer->inode_table, inode);
	inode->payload_bytes_used = 0;
	int code = sqfs_meta_writer_write_inode(writer->inode_table, inode);
	for (size_t at = 0, part; at < count && code == 0; at += part) {
		part = MIN(count - at, ARRAY_SIZE(piece));
		for (size_t i = 0; i < part; i++)
			piece[i] = htole32(inode->extra[at + i]);
		code = sqfs_meta_writer_append(writer->inode_table, piece, part * sizeof piece[0]);
	}
	return code;
}

/* What inodes of every kind share; then the inode goes to the table and the node gets its place. */
static int write_inode(struct squashfs_writer *writer, struct tree_node *node,
	sqfs_inode_generic_t *inode, struct ramet_error *err)
{
	inode->base.mode = (sqfs_u16)node->mode;
	inode->base.mod_time = clamp_time(node->mtime);
	inode->base.inode_number = node->number;
	int r = add_owner(writer, node->uid, &inode->base.uid_idx, err);
	if (r == 0)
		r = add_owner(writer, node->gid, &inode->base.gid_idx, err);
	if (r < 0)
		return r;
	sqfs_u64 block;
	sqfs_u32 offset;
	sqfs_meta_writer_get_position(writer->inode_table, &block, &offset);
	node->place = block << 16 | offset;
	r = append_inode(writer, inode);
	return r == 0 ? 0 : squashfs_failed(writer, r, "write the inode table", err);
}

/* Device numbers as the kernel's new_decode_dev takes them apart (include/linux/kdev_t.h). */
static uint32_t encode_device(dev_t device)
{
	return (minor(device) & 0xff) | major(device) << 8 | (minor(device) & ~0xffU) << 12;
}

static sqfs_inode_generic_t *make_link(const struct tree_node *node)
{
	sqfs_inode_generic_t *inode = calloc(1, sizeof *inode + node->size);
	if (!inode)
		return NULL;
	inode->base.type = SQFS_INODE_SLINK;
	inode->data.slink.nlink = node->nlink;
	inode->data.slink.target_size = (sqfs_u32)node->size;
	inode->payload_bytes_available = inode->payload_bytes_used = (sqfs_u32)node->size;
	memcpy(inode->extra, node->target, node->size);
	return inode;
}

static sqfs_inode_generic_t *make_special(const struct tree_node *node)
{
	sqfs_inode_generic_t *inode = calloc(1, sizeof *inode);
	if (!inode)
		return NULL;
	if (S_ISBLK(node->mode) || S_ISCHR(node->mode)) {
		inode->base.type = S_ISBLK(node->mode) ? SQFS_INODE_BDEV : SQFS_INODE_CDEV;
		inode->data.dev.nlink = node->nlink;
		inode->data.dev.devno = encode_device(node->rdev);
	} else {
		inode->base.type = S_ISFIFO(node->mode) ? SQFS_INODE_FIFO : SQFS_INODE_SOCKET;
		inode->data.ipc.nlink = node->nlink;
	}
	return inode;
}

static int write_other(
	struct squashfs_writer *writer, struct tree_node *node, struct ramet_error *err)
{
	bool is_file = S_ISREG(node->mode);
	sqfs_inode_generic_t *inode = is_file && writer->plain ? squashfs_plain_inode(writer, node)
				      : is_file                ? squashfs_kept_inode(writer, node)
				      : S_ISLNK(node->mode)    ? make_link(node)
							       : make_special(node);
	if (!inode)
		return error_memory(err);
	uint32_t index;
	int code = add_xattrs(writer, node, &index);
	if (code == 0 && (index != SQUASHFS_NO_XATTRS || (is_file && node->nlink > 1)))
		code = sqfs_inode_make_extended(inode);
	if (code == 0 && index != SQUASHFS_NO_XATTRS)
		code = sqfs_inode_set_xattr_index(inode, index);
	if (code == 0 && inode->base.type == SQFS_INODE_EXT_FILE)
		inode->data.file_ext.nlink = node->nlink;
	int r = code == 0 ? write_inode(writer, node, inode, err)
			  : squashfs_failed(writer, code, "make an inode", err);
	free(inode);
	return r;
}

static int list_entries(struct squashfs_writer *writer, struct tree_node *directory)
{
	int r = sqfs_dir_writer_begin(writer->directories, 0);
	for (struct tree_node *child = directory->first; child && r == 0; child = child->next) {
		const struct tree_node *node = tree_inode(child);
		r = sqfs_dir_writer_add_entry(writer->directories, child->name, node->number,
			node->place, (sqfs_u16)node->mode);
	}
	return r == 0 ? sqfs_dir_writer_end(writer->directories) : r;
}

static int write_directory(
	struct squashfs_writer *writer, struct tree_node *node, struct ramet_error *err)
{
	uint32_t index;
	int code = add_xattrs(writer, node, &index);
	if (code == 0)
		code = list_entries(writer, node);
	if (code != 0)
		return squashfs_failed(writer, code, "write the directory table", err);
	/* The root's parent is the number that no inode has: mksquashfs does the same. */
	uint32_t parent = node->parent ? node->parent->number : (uint32_t)writer->tree->inodes + 1;
	sqfs_inode_generic_t *inode = sqfs_dir_writer_create_inode(
		writer->directories, node->nlink, index, parent);
	if (!inode)
		return error_memory(err);
	int r = write_inode(writer, node, inode, err);
	sqfs_free(inode);
	return r;
}

static int write_all(struct squashfs_writer *writer, struct ramet_error *err)
{
	struct tree_node *root = writer->tree->root;
	for (struct tree_node *node = root; node; node = tree_next(node)) {
		if (!S_ISDIR(node->mode))
			continue;
		for (struct tree_node *child = node->first; child; child = child->next) {
			int r = S_ISDIR(child->mode) || tree_link(child)
					? 0
					: write_other(writer, child, err);
			if (r < 0)
				return r;
		}
	}
	for (struct tree_node *node = tree_first_leaf(root); node; node = tree_next_after(node)) {
		int r = S_ISDIR(node->mode) ? write_directory(writer, node, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int squashfs_write_inodes(struct squashfs_writer *writer, struct ramet_error *err)
{
	writer->super.inode_table_start = writer->file.size;
	number_inodes(writer->tree);
	int r = write_all(writer, err);
	if (r < 0)
		return r;
	writer->super.root_inode_ref = writer->tree->root->place;
	int code = sqfs_meta_writer_flush(writer->inode_table);
	if (code == 0)
		code = sqfs_meta_writer_flush(writer->directory_table);
	writer->super.directory_table_start = writer->file.size;
	if (code == 0)
		code = squashfs_spool_copy(&writer->spool, &writer->file.base);
	return code == 0 ? 0 : squashfs_failed(writer, code, "write the directory table", err);
}

/* The table is blocks of metadata, and after them a list of where each of those begins. */
struct export_table {
	struct squashfs_writer *writer;
	sqfs_meta_writer_t *meta;
	VECTOR(sqfs_u64) blocks;
	sqfs_u64 entries[SQFS_META_BLOCK_SIZE / sizeof(sqfs_u64)];
	size_t used;
};

static int flush_export(struct export_table *table)
{
	if (!table->used)
		return 0;
	sqfs_u64 *block = vector_push(&table->blocks);
	if (!block)
		return SQFS_ERROR_ALLOC;
	*block = htole64(table->writer->file.size);
	size_t bytes = table->used * sizeof table->entries[0];
	table->used = 0;
	/* A full block is written at once. */
	return sqfs_meta_writer_append(table->meta, table->entries, bytes);
}

static int export_node(struct export_table *table, const struct tree_node *node)
{
	table->entries[table->used++] = htole64((uint64_t)node->place);
	return table->used == ARRAY_SIZE(table->entries) ? flush_export(table) : 0;
}

/* In the order of number_inodes. */
static int export_all(struct export_table *table)
{
	struct tree_node *root = table->writer->tree->root;
	int r = export_node(table, root);
	for (struct tree_node *node = root; node; node = tree_next(node)) {
		if (!S_ISDIR(node->mode))
			continue;
		for (struct tree_node *child = node->first; child && r == 0; child = child->next)
			if (!tree_link(child))
				r = export_node(table, child);
	}
	if (r == 0)
		r = flush_export(table);
	return r == 0 ? sqfs_meta_writer_flush(table->meta) : r;
}

int squashfs_write_export_table(struct squashfs_writer *writer)
{
	sqfs_file_t *file = &writer->file.base;
	struct export_table table = {
		.writer = writer, .meta = sqfs_meta_writer_create(file, writer->compressor, 0)};
	int r = table.meta ? export_all(&table) : SQFS_ERROR_ALLOC;
	if (r == 0) {
		writer->super.export_table_start = writer->file.size;
		writer->super.flags |= SQFS_FLAG_EXPORTABLE;
		r = file->write_at(file, writer->file.size, table.blocks.items,
			table.blocks.count * sizeof(sqfs_u64));
	}
	sqfs_destroy(table.meta);
	vector_free(&table.blocks);
	return r;
}
