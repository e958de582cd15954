/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree -> ext4, with libext2fs and without mounting. What the library does well is left to it:
 * layout, bitmaps, journal, checksums, attributes. Content does not pass through its file calls,
 * which write block by block: runs of blocks are allocated in a row and each piece of a file is
 * one large write to its final place.
 *
 * The same tree gives the same bytes: inodes are numbered in the tree's order, blocks handed out in
 * that order, all times come from the tree, and what is random elsewhere (UUID, hash seed) is a
 * digest of the tree's names and attributes.
 */
#include "image/ext4_writer.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <ext2fs/ext2_fs.h>
#include <nettle/sha2.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "image/formats.h"
#include "source/content.h"

#define BUFFER_SIZE  ((size_t)1024 * 1024)
#define FAST_SYMLINK 60
#define INODE_BYTES  256
#define DIGEST_SIZE  SHA512_DIGEST_SIZE
#define MOST_BYTES   ((uint64_t)16 << 40)

union inode_space {
	struct ext2_inode_large inode;
	char bytes[INODE_BYTES];
};

int ext4_failed(
	const struct ext4_writer *writer, errcode_t code, const char *what, struct ramet_error *err)
{
	return error_errno(err, ext4_io_errno(&writer->io, code), "cannot %s", what);
}

static int node_failed(const struct ext4_writer *writer, const struct tree_node *node,
	errcode_t code, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_path(node, &path);
	return error_errno(err, ext4_io_errno(&writer->io, code), "cannot write %s into the image",
		path.failed ? "a file" : path.data);
}

/* Seconds are 32 bits with a sign, and two bits more count the eras of 2^32 seconds from there:
 * 1901 to 2446 ("Inode Timestamps" in Documentation/filesystems/ext4). */
static void set_times(struct ext2_inode_large *inode, int64_t seconds, uint32_t nanoseconds)
{
	const int64_t least = INT32_MIN, most = least + ((int64_t)1 << 34) - 1;
	if (seconds < least || seconds > most) {
		seconds = seconds < least ? least : most;
		nanoseconds = 0;
	}
	uint32_t low = (uint32_t)seconds;
	uint32_t era = (uint32_t)((seconds - (int32_t)low) >> 32) & 3;
	uint32_t extra = nanoseconds << 2 | era;
	inode->i_atime = inode->i_ctime = inode->i_mtime = inode->i_crtime = low;
	inode->i_atime_extra = inode->i_ctime_extra = extra;
	inode->i_mtime_extra = inode->i_crtime_extra = extra;
}

static void set_size(struct ext2_inode_large *inode, uint64_t size)
{
	inode->i_size = (uint32_t)size;
	inode->i_size_high = (uint32_t)(size >> 32);
}

static void fill_inode(struct ext2_inode_large *inode, const struct tree_node *node)
{
	inode->i_mode = (uint16_t)node->mode;
	inode->i_uid = (uint16_t)node->uid;
	inode->i_gid = (uint16_t)node->gid;
	inode->osd2.linux2.l_i_uid_high = (uint16_t)(node->uid >> 16);
	inode->osd2.linux2.l_i_gid_high = (uint16_t)(node->gid >> 16);
	inode->i_links_count = (uint16_t)node->nlink;
	inode->i_extra_isize = sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
	set_times(inode, node->mtime, node->mtime_nsec);
}

/* "Checksums" in Documentation/filesystems/ext4: of the filesystem's seed, the inode's number, its
 * generation and the inode, in which the checksum is 0. */
static void seal_inode(
	const struct ext4_writer *writer, ext2_ino_t number, struct ext2_inode_large *inode)
{
	const uint32_t prefix[2] = {number, inode->i_generation};
	uint32_t sum = crc32c(~writer->fs->csum_seed, prefix, sizeof prefix);
	sum = ~crc32c(sum, inode, INODE_BYTES);
	inode->i_checksum_hi = (uint16_t)(sum >> 16);
	inode->osd2.linux2.l_i_checksum_lo = (uint16_t)sum;
}

/*
 * An inode that is not on the device yet, on a little-endian machine, where it is in memory as it is
 * there. libext2fs would copy the whole block, forth and back.
 */
static errcode_t patch_inode(
	struct ext4_writer *writer, ext2_ino_t number, union inode_space *space)
{
	const struct ext2_super_block *super = writer->fs->super;
	dgrp_t group = (number - 1) / super->s_inodes_per_group;
	uint64_t offset = (uint64_t)((number - 1) % super->s_inodes_per_group) * INODE_BYTES;
	blk64_t block = ext2fs_inode_table_loc(writer->fs, group) + offset / EXT4_BLOCK_SIZE;
	seal_inode(writer, number, &space->inode);
	int r = ext4_windows_patch(&writer->windows, writer->io.fd, block, offset % EXT4_BLOCK_SIZE,
		space->bytes, INODE_BYTES);
	if (r < 0)
		writer->io.error = r;
	return -r;
}

/* libext2fs keeps a block of inodes in mind, which may have changed without it. */
static errcode_t write_inode(
	struct ext4_writer *writer, ext2_ino_t number, union inode_space *space)
{
	errcode_t code = ext2fs_flush_icache(writer->fs);
	return code ? code
		    : ext2fs_write_inode_full(
			      writer->fs, number, (struct ext2_inode *)&space->inode, INODE_BYTES);
}

static errcode_t put_inode(struct ext4_writer *writer, ext2_ino_t number, union inode_space *space,
	const struct tree_node *node)
{
	errcode_t code = ext2fs_iblk_set(
		writer->fs, (struct ext2_inode *)&space->inode, writer->blocks);
	if (code)
		return code;
	writer->blocks = 0;
	ext2fs_inode_alloc_stats2(writer->fs, number, +1, S_ISDIR(node->mode));
	/* Attributes are libext2fs's work, which then reads the inode. */
	if (node->xattrs || __BYTE_ORDER == __BIG_ENDIAN)
		return write_inode(writer, number, space);
	return patch_inode(writer, number, space);
}

static errcode_t write_xattrs(struct ext4_writer *writer, const struct tree_node *node)
{
	if (!node->xattrs)
		return 0;
	struct ext2_xattr_handle *handle;
	errcode_t code = ext2fs_xattrs_open(writer->fs, node->number, &handle);
	if (code)
		return code;
	for (const struct tree_xattr *x = node->xattrs; x && !code; x = x->next)
		code = ext2fs_xattr_set(handle, x->name, x->value, x->size);
	ext2fs_xattrs_close(&handle);
	return code;
}

static int finish_node(struct ext4_writer *writer, const struct tree_node *node,
	union inode_space *space, struct ramet_error *err)
{
	errcode_t code = put_inode(writer, node->number, space, node);
	if (code)
		return node_failed(writer, node, code, err);
	code = write_xattrs(writer, node);
	if (code == EXT2_ET_EA_NO_SPACE || code == EXT2_ET_EA_BAD_VALUE_SIZE ||
		code == EXT2_ET_FILE_TOO_BIG) {
		_cleanup_text_ struct text path = {0};
		tree_path(node, &path);
		return error_set(err, ENOSPC,
			"the extended attributes of %s are too large for ext4, which has about "
			"4000 bytes for them; build a squashfs",
			path.failed ? "a file" : path.data);
	}
	return code ? node_failed(writer, node, code, err) : 0;
}

static bool is_zero_block(const char *block)
{
	const uint64_t *words = (const uint64_t *)block;
	if (words[0])
		return false;
	return memcmp(block, block + sizeof *words, EXT4_BLOCK_SIZE - sizeof *words) == 0;
}

/* The blocks of buffer that are not all zeros, in runs; the others stay holes. */
static errcode_t write_piece(
	struct ext4_writer *writer, uint32_t logical, const char *buffer, uint32_t count)
{
	uint32_t i = 0;
	while (i < count) {
		while (i < count && is_zero_block(buffer + (size_t)i * EXT4_BLOCK_SIZE))
			i++;
		uint32_t first = i;
		while (i < count && !is_zero_block(buffer + (size_t)i * EXT4_BLOCK_SIZE))
			i++;
		errcode_t code = ext4_append_blocks(writer, logical + first,
			buffer + (size_t)first * EXT4_BLOCK_SIZE, i - first);
		if (code)
			return code;
	}
	return 0;
}

/*
 * [start, end), start on a block's edge, in pieces that fit into the buffer. A layout takes the same
 * pieces: how they meet decides where an extent ends.
 */
static int write_data(struct ext4_writer *writer, struct content *content, uint64_t start,
	uint64_t end, struct ramet_error *err)
{
	bool told = layout_tells(writer->layout, content->node);
	while (start < end) {
		size_t length = MIN(end - start, BUFFER_SIZE);
		size_t padded = (length + EXT4_BLOCK_SIZE - 1) & ~(size_t)(EXT4_BLOCK_SIZE - 1);
		uint32_t first = (uint32_t)(start / EXT4_BLOCK_SIZE);
		uint32_t count = (uint32_t)(padded / EXT4_BLOCK_SIZE);
		int r = told ? 0 : content_read(content, start, writer->buffer, length, err);
		if (r < 0)
			return r;
		memset(writer->buffer + length, 0, padded - length);
		errcode_t code = writer->plain ? ext4_append_blocks(writer, first,
							 told ? NULL : writer->buffer, count)
					       : write_piece(writer, first, writer->buffer, count);
		if (code)
			return node_failed(writer, content->node, code, err);
		start += length;
	}
	return 0;
}

static int write_content(
	struct ext4_writer *writer, struct content *content, struct ramet_error *err)
{
	uint64_t size = content->node->size, start, end;
	for (uint64_t offset = 0; offset < size; offset = end) {
		int r = content_data(content, offset, &start, &end, err);
		if (r < 0)
			return r;
		/* Holes of the host may begin and end within a block of ours. */
		start = MAX(start & ~(uint64_t)(EXT4_BLOCK_SIZE - 1), offset);
		if (end < size)
			end = MIN((end + EXT4_BLOCK_SIZE - 1) & ~(uint64_t)(EXT4_BLOCK_SIZE - 1),
				size);
		r = write_data(writer, content, start, end, err);
		if (r < 0)
			return r;
		meter_advance(&writer->meter, writer->content_done + end);
	}
	writer->content_done += size;
	return content_verify(content, err);
}

/* Where the content at hand stands is what its extents say. */
static int tell_runs(
	struct ext4_writer *writer, const struct tree_node *node, struct ramet_error *err)
{
	for (size_t i = 0; i < writer->runs.count; i++) {
		const struct ext4_run *run = &writer->runs.items[i];
		uint64_t offset = (uint64_t)run->logical * EXT4_BLOCK_SIZE;
		uint64_t length = MIN((uint64_t)run->length * EXT4_BLOCK_SIZE, node->size - offset);
		if (layout_point(writer->layout, node, offset, run->physical * EXT4_BLOCK_SIZE,
			    length) < 0)
			return error_memory(err);
	}
	return 0;
}

/* A layout needs the file itself only to find its holes. */
static int open_content(struct ext4_writer *writer, struct content *content,
	const struct tree_node *node, struct ramet_error *err)
{
	if (!layout_tells(writer->layout, node) || tree_content_node(node)->flags & TREE_SPARSE)
		return content_open(content, writer->tree, node, err);
	*content = (struct content){
		.tree = writer->tree, .node = tree_content_node(node), .fd = -1};
	return 0;
}

static int write_file(struct ext4_writer *writer, const struct tree_node *node,
	struct ext2_inode_large *inode, struct ramet_error *err)
{
	_cleanup_content_ struct content content;
	int r = open_content(writer, &content, node, err);
	if (r == 0)
		r = write_content(writer, &content, err);
	if (r == 0 && layout_tells(writer->layout, node))
		r = tell_runs(writer, node, err);
	if (r < 0)
		return r;
	writer->figures->bytes_read += content.read;
	set_size(inode, node->size);
	errcode_t code = ext4_write_extents(writer, node->number, inode);
	return code ? node_failed(writer, node, code, err) : 0;
}

static errcode_t write_symlink(
	struct ext4_writer *writer, const struct tree_node *node, struct ext2_inode_large *inode)
{
	set_size(inode, node->size);
	if (node->size < FAST_SYMLINK) {
		memcpy(inode->i_block, node->target, node->size);
		return 0;
	}
	memset(writer->buffer, 0, EXT4_BLOCK_SIZE);
	memcpy(writer->buffer, node->target, MIN(node->size, (uint64_t)EXT4_BLOCK_SIZE));
	errcode_t code = ext4_append_blocks(writer, 0, writer->buffer, 1);
	return code ? code : ext4_write_extents(writer, node->number, inode);
}

/* Small device numbers in the old form, others in the new one (fs/ext4/inode.c). */
static void set_device(struct ext2_inode_large *inode, dev_t device)
{
	uint32_t major = major(device), minor = minor(device);
	if (major < 256 && minor < 256)
		inode->i_block[0] = major << 8 | minor;
	else
		inode->i_block[1] = (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

static int write_other(
	struct ext4_writer *writer, const struct tree_node *node, struct ramet_error *err)
{
	union inode_space space = {0};
	fill_inode(&space.inode, node);
	int r = 0;
	if (node->nlink > EXT4_MAX_LINKS) {
		return tree_node_error(
			writer->tree, node, EMLINK, "put all names into an ext4 image of", err);
	} else if (S_ISREG(node->mode)) {
		r = write_file(writer, node, &space.inode, err);
	} else if (S_ISLNK(node->mode)) {
		errcode_t code = write_symlink(writer, node, &space.inode);
		r = code ? node_failed(writer, node, code, err) : 0;
	} else if (S_ISBLK(node->mode) || S_ISCHR(node->mode)) {
		set_device(&space.inode, node->rdev);
	}
	return r < 0 ? r : finish_node(writer, node, &space, err);
}

static int write_directory(
	struct ext4_writer *writer, const struct tree_node *node, struct ramet_error *err)
{
	union inode_space space = {0};
	fill_inode(&space.inode, node);
	uint32_t links = node->nlink + (!node->parent && !writer->lost_found);
	/* dir_nlink: 1 stands for more than can be counted. */
	space.inode.i_links_count = links > EXT4_MAX_LINKS ? 1 : (uint16_t)links;
	uint32_t blocks;
	errcode_t code = ext4_write_directory(writer, node, &blocks);
	if (!code)
		code = ext4_write_extents(writer, node->number, &space.inode);
	if (code)
		return node_failed(writer, node, code, err);
	set_size(&space.inode, (uint64_t)blocks * EXT4_BLOCK_SIZE);
	if (blocks > 1)
		space.inode.i_flags |= EXT2_INDEX_FL;
	return finish_node(writer, node, &space, err);
}

/* e2fsck puts what it finds into /lost+found and misses it where it is not. */
static int make_lost_found(struct ext4_writer *writer, struct ramet_error *err)
{
	const struct tree_node *root = writer->tree->root;
	union inode_space space = {0};
	const struct tree_node node = {.mode = S_IFDIR | 0700,
		.nlink = 2,
		.mtime = root->mtime,
		.mtime_nsec = root->mtime_nsec};
	fill_inode(&space.inode, &node);
	uint32_t blocks;
	errcode_t code = ext4_write_directory(writer, NULL, &blocks);
	if (!code)
		code = ext4_write_extents(writer, EXT4_LOST_FOUND_INODE, &space.inode);
	set_size(&space.inode, EXT4_BLOCK_SIZE);
	if (!code)
		code = put_inode(writer, EXT4_LOST_FOUND_INODE, &space, &node);
	return code ? ext4_failed(writer, code, "make /lost+found", err) : 0;
}

static void number_inodes(struct ext4_writer *writer)
{
	struct tree_node *root = writer->tree->root;
	uint32_t next = EXT4_FIRST_INODE;
	for (struct tree_node *node = root; node; node = tree_next(node)) {
		if (node == root)
			node->number = EXT2_ROOT_INO;
		else if (node == writer->lost_found)
			node->number = EXT4_LOST_FOUND_INODE;
		else if (!tree_link(node))
			node->number = next++;
	}
}

static int write_directories(struct ext4_writer *writer, struct ramet_error *err)
{
	errcode_t code = ext4_batch_begin(writer);
	if (code)
		return ext4_failed(writer, code, "write directories", err);
	int r = writer->lost_found ? 0 : make_lost_found(writer, err);
	for (struct tree_node *node = writer->tree->root; node && r == 0; node = tree_next(node))
		if (S_ISDIR(node->mode))
			r = write_directory(writer, node, err);
	code = ext4_batch_end(writer);
	return r < 0 || !code ? r : ext4_failed(writer, code, "write directories", err);
}

/* Directories first: what a lookup reads stands together. */
static int write_tree(struct ext4_writer *writer, struct ramet_error *err)
{
	struct tree_node *root = writer->tree->root;
	int r = write_directories(writer, err);
	for (struct tree_node *node = root; node && r == 0; node = tree_next(node))
		if (!S_ISDIR(node->mode) && !S_ISREG(node->mode) && !tree_link(node))
			r = write_other(writer, node, err);
	_cleanup_content_order_ struct content_order order = {0};
	if (r == 0)
		r = tree_content_order(writer->tree, &order, err);
	struct tree_node *file;
	while (r == 0 && (file = content_order_next(&order)))
		r = write_other(writer, file, err);
	return r;
}

/* What of a node makes the image: its content is not among it, since it is read only once, later. */
static void describe(struct text *text, struct tree_node *node)
{
	const uint64_t fixed[] = {node->mode, node->uid, node->gid, node->nlink,
		S_ISDIR(node->mode) ? 0 : node->size, (uint64_t)node->mtime, node->mtime_nsec};
	text_append_bytes(text, fixed, sizeof fixed);
	text_append_bytes(text, node->name, strlen(node->name) + 1);
	if (S_ISLNK(node->mode))
		text_append_bytes(text, tree_inode(node)->target, node->size);
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		text_append_bytes(text, x->name, strlen(x->name) + 1);
		text_append_bytes(text, x->value, x->size);
	}
}

/* A chain: each digest is that of the one before and a node. */
static int digest_tree(struct tree *tree, uint8_t digest[static DIGEST_SIZE])
{
	_cleanup_text_ struct text text = {0};
	memset(digest, 0, DIGEST_SIZE);
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		text_truncate(&text, 0);
		text_append_bytes(&text, digest, DIGEST_SIZE);
		describe(&text, node);
		if (text.failed)
			return -ENOMEM;
		struct sha512_ctx sum;
		sha512_init(&sum);
		sha512_update(&sum, text.length, (const uint8_t *)text.data);
		sha512_digest(&sum, DIGEST_SIZE, digest);
	}
	return 0;
}

static int identify(struct tree *tree, struct ext4_format *format, struct ramet_error *err)
{
	uint8_t digest[DIGEST_SIZE];
	if (digest_tree(tree, digest) < 0)
		return error_memory(err);
	memcpy(format->uuid, digest, sizeof format->uuid);
	/* RFC 9562: version 8 is for UUIDs made in a way of one's own, variant 10. */
	format->uuid[6] = (format->uuid[6] & 0x0f) | 0x80;
	format->uuid[8] = (format->uuid[8] & 0x3f) | 0x80;
	memcpy(format->hash_seed, digest + 16, sizeof format->hash_seed);
	return image_time(tree, &format->time, err);
}

static int prepare(struct ext4_writer *writer, uint64_t size, struct ramet_error *err)
{
	writer->lost_found = tree_find(writer->tree->root, "lost+found");
	if (writer->lost_found && !S_ISDIR(writer->lost_found->mode))
		return tree_node_error(writer->tree, writer->lost_found, ENOTDIR,
			"make an ext4 image, which keeps a directory in this place, of", err);
	if (size > MOST_BYTES)
		return error_set(err, EFBIG, "an ext4 image has at most 16 TiB here");
	writer->buffer = aligned_alloc(EXT4_BLOCK_SIZE, BUFFER_SIZE);
	if (!writer->buffer)
		return error_memory(err);
	number_inodes(writer);
	writer->meter.total = writer->tree->content_bytes;
	struct ext4_format format = {0};
	int r = identify(writer->tree, &format, err);
	return r < 0 ? r : ext4_lay_out_for(writer, size, &format, err);
}

static int write_filesystem(struct ext4_writer *writer, uint64_t size, struct ramet_error *err)
{
	ext2_filsys fs = writer->fs;
	uint64_t blocks = (uint64_t)ext2fs_blocks_count(fs->super);
	uint64_t length = MAX(blocks * EXT4_BLOCK_SIZE, size);
	writer->figures->image_bytes = length;
	if (writer->layout)
		writer->layout->image_bytes = length;
	if (ftruncate(writer->io.fd, (off_t)length) < 0)
		return error_errno(err, errno, "cannot make the image's file so large");
	errcode_t code = ext4_write_reserved(fs, ext4_journal_blocks(blocks));
	if (code)
		return ext4_failed(writer, code, "write the filesystem's own files", err);
	writer->cursor = fs->super->s_first_data_block;
	int r = write_tree(writer, err);
	if (r < 0)
		return r;
	code = ext2fs_close_free(&writer->fs);
	if (!code)
		writer->io.error = ext4_windows_settle(&writer->windows, writer->io.fd);
	if (!code)
		code = -writer->io.error;
	return code ? ext4_failed(writer, code, "write the filesystem's tables", err) : 0;
}

static void release(struct ext4_writer *writer)
{
	if (writer->fs)
		ext2fs_free(writer->fs);
	ext4_windows_free(&writer->windows);
	vector_free(&writer->runs);
	free(writer->listing.bytes);
	free(writer->index.bytes);
	free(writer->entries.bytes);
	free(writer->buffer);
}

int ext4_write(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err)
{
	*figures = (struct image_figures){.omitted_xattrs = tree->omitted_xattrs};
	if (options->dedupe)
		return error_set(err, EINVAL,
			"an ext4 image cannot share equal chunks between files: leave --dedupe "
			"away, or build an erofs image");
	if (options->compression)
		return error_set(err, EINVAL,
			"an ext4 image is not compressed: leave the compression away, or build a "
			"squashfs");
	__attribute__((cleanup(release))) struct ext4_writer writer = {
		.tree = tree,
		.plain = options->plain,
		.layout = options->layout,
		.figures = figures,
		.meter = {.report = options->progress,
			.ctx = options->progress_ctx,
			.step = "write"},
		.io = {.fd = fd, .writable = true, .sparse = true},
	};
	writer.io.windows = &writer.windows;
	/* A device that is served has whole blocks. */
	uint64_t size = options->plain ? options->size & ~(uint64_t)(EXT4_BLOCK_SIZE - 1)
				       : options->size;
	int r = prepare(&writer, size, err);
	return r < 0 ? r : write_filesystem(&writer, size, err);
}
