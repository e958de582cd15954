/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The squashfs reader: superblock, opening and closing. The parser is our own and keeps to what
 * is bounded: libsquashfs' readers load whole tables by the counts that the image claims and keep
 * but one decoded metadata block; its decompressors are what is used here. Source of the layout:
 * the kernel's fs/squashfs/{super,squashfs_fs.h}.
 */
#include "image/squashfs_reader.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "image/squashfs_inside.h"

static void super_to_host(sqfs_super_t *super)
{
	super->magic = le32toh(super->magic);
	super->inode_count = le32toh(super->inode_count);
	super->block_size = le32toh(super->block_size);
	super->fragment_entry_count = le32toh(super->fragment_entry_count);
	super->compression_id = le16toh(super->compression_id);
	super->block_log = le16toh(super->block_log);
	super->flags = le16toh(super->flags);
	super->id_count = le16toh(super->id_count);
	super->version_major = le16toh(super->version_major);
	super->version_minor = le16toh(super->version_minor);
	super->root_inode_ref = le64toh(super->root_inode_ref);
	super->bytes_used = le64toh(super->bytes_used);
	super->id_table_start = le64toh(super->id_table_start);
	super->xattr_id_table_start = le64toh(super->xattr_id_table_start);
	super->inode_table_start = le64toh(super->inode_table_start);
	super->directory_table_start = le64toh(super->directory_table_start);
	super->fragment_table_start = le64toh(super->fragment_table_start);
	super->export_table_start = le64toh(super->export_table_start);
}

/* Whether what the superblock says fits together and into a file of size bytes. */
static int super_check(const sqfs_super_t *super, uint64_t size, struct ramet_error *err)
{
	if (super->magic != SQFS_MAGIC)
		return error_set(err, EMEDIUMTYPE, "it is no squashfs image");
	if (super->version_major != SQFS_VERSION_MAJOR)
		return error_set(err, EMEDIUMTYPE,
			"it is a squashfs image of version %u.%u, and only 4.0 is known",
			super->version_major, super->version_minor);
	if (super->block_log < 12 || super->block_log > 20 ||
		super->block_size != 1u << super->block_log)
		return squashfs_damage(err, "it claims blocks of %u bytes", super->block_size);
	if (super->bytes_used < sizeof *super || super->bytes_used > size)
		return squashfs_damage(err, "it says that it has %llu bytes, but the file has %llu",
			(unsigned long long)super->bytes_used, (unsigned long long)size);
	if (super->inode_table_start < sizeof *super ||
		super->directory_table_start < super->inode_table_start ||
		super->id_table_start < super->directory_table_start ||
		super->id_table_start >= super->bytes_used)
		return squashfs_damage(err, "its tables are not in order");
	if (super->id_count == 0)
		return squashfs_damage(err, "it has no table of owners");
	return 0;
}

/* The attributes' table has a head of its own; without one there are no attributes. */
static int xattrs_open(struct squashfs *s, struct ramet_error *err)
{
	struct {
		uint64_t start;
		uint32_t count, unused;
	} head;
	if (s->super.xattr_id_table_start == SQUASHFS_NONE64)
		return 0;
	int r = squashfs_pread(s, &head, sizeof head, s->super.xattr_id_table_start, err);
	if (r < 0)
		return error_prefix(err, r, "its table of attributes");
	s->xattr_start = le64toh(head.start);
	s->xattrs = (struct meta_table){.name = "attribute",
		.index = s->super.xattr_id_table_start + sizeof head,
		.count = le32toh(head.count),
		.record_size = 16};
	return 0;
}

static int compressor_open(struct squashfs *s, struct ramet_error *err)
{
	static const char *const names[] = {"none", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"};
	unsigned id = s->super.compression_id;
	sqfs_compressor_config_t config;
	if (sqfs_compressor_config_init(
		    &config, id, s->super.block_size, SQFS_COMP_FLAG_UNCOMPRESS) != 0 ||
		sqfs_compressor_create(&config, &s->compressor) != 0)
		return error_set(err, EOPNOTSUPP,
			"the squashfs image is compressed with %s (number %u), which cannot be "
			"read here",
			id < ARRAY_SIZE(names) ? names[id] : "something unknown", id);
	return 0;
}

static int squashfs_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	*root = ((struct squashfs *)fs)->super.root_inode_ref;
	return 0;
}

static bool squashfs_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	return fs == other && ref == other_ref;
}

static void squashfs_close(struct fs *fs)
{
	struct squashfs *s = (struct squashfs *)fs;
	if (s->compressor)
		sqfs_destroy(s->compressor);
	for (size_t i = 0; i < META_SLOTS; i++)
		free(s->meta[i]);
	for (size_t i = 0; i < DATA_SLOTS; i++)
		free(s->blocks[i].data);
	free(s->raw);
	fs_places_free(&s->places);
	free(s);
}

static const struct fs_ops squashfs_ops = {
	.format = "squashfs",
	.root = squashfs_root,
	.stat = squashfs_stat,
	.list = squashfs_list,
	.read = squashfs_read,
	.readlink = squashfs_readlink,
	.xattrs = squashfs_xattrs,
	.extent = squashfs_extent,
	.same = squashfs_same,
	.locate = squashfs_locate,
	.close = squashfs_close,
};

static int open_tables(struct squashfs *s, struct ramet_error *err)
{
	const sqfs_super_t *super = &s->super;
	s->ids = (struct meta_table){.name = "owner",
		.index = super->id_table_start,
		.count = super->id_count,
		.record_size = sizeof(uint32_t)};
	if (super->fragment_table_start != SQUASHFS_NONE64)
		s->fragments = (struct meta_table){.name = "fragment",
			.index = super->fragment_table_start,
			.count = super->fragment_entry_count,
			.record_size = sizeof(sqfs_fragment_t)};
	int r = xattrs_open(s, err);
	if (r < 0)
		return r;
	s->raw = malloc(super->block_size);
	if (!s->raw)
		return error_memory(err);
	return compressor_open(s, err);
}

/* The root is a directory, or nothing else makes sense. */
static int check_root(struct squashfs *s, struct ramet_error *err)
{
	struct squashfs_node node;
	int r = squashfs_node_read(s, s->super.root_inode_ref, &node, err);
	if (r < 0)
		return r;
	return S_ISDIR(node.mode) ? 0 : squashfs_damage(err, "its root is no directory");
}

int squashfs_open(int fd, struct fs **fs, struct ramet_error *err)
{
	_cleanup_fs_ struct fs *view = calloc(1, sizeof(struct squashfs));
	struct squashfs *s = (struct squashfs *)view;
	if (!s)
		return error_memory(err);
	s->fs.ops = &squashfs_ops;
	s->fd = fd;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at the squashfs image");
	off_t end = S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : st.st_size;
	ssize_t n = pread_full(fd, &s->super, sizeof s->super, 0);
	if (n < 0 || end < 0)
		return error_errno(err, n < 0 ? (int)-n : errno, "cannot read the squashfs image");
	if ((size_t)n < sizeof s->super)
		return error_set(err, EMEDIUMTYPE, "it is no squashfs image");
	super_to_host(&s->super);
	int r = super_check(&s->super, (uint64_t)end, err);
	if (r == 0)
		r = open_tables(s, err);
	if (r == 0)
		r = check_root(s, err);
	if (r < 0)
		return r;
	*fs = TAKE_PTR(view);
	return 0;
}
