/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ext4 reader: opening, closing, and the proof that two clones hold the same. The parser is our
 * own, with libext2fs' structures and checksums: nothing is read before it is asked for, nothing is
 * allocated by a count from the device, and a checksum that is wrong is damage.
 */
#include "image/ext4_reader.h"

#include <endian.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/ext4_inside.h"

uint32_t ext4_crc32c(uint32_t crc, const void *bytes, size_t length)
{
	return ext2fs_crc32c_le(crc, bytes, length);
}

static int ext4_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	*root = EXT2_ROOT_INO;
	return 0;
}

/* Attributes in a block of their own: the same block, and the same bytes in it but for how many
 * inodes share it. */
static bool attributes_same(struct ext4 *a, const struct ext4_node *node_a, struct ext4 *b,
	const struct ext4_node *node_b)
{
	uint64_t block = le32toh(node_a->inode.i_file_acl) |
			 (uint64_t)le16toh(node_a->inode.osd2.linux2.l_i_file_acl_high) << 32;
	const size_t shared = offsetof(struct ext2_ext_attr_header, h_reserved);
	const uint8_t *data_a, *data_b;
	if (block == 0)
		return true;
	return ext4_block(a, block, &data_a, NULL) == 0 &&
	       ext4_block(b, block, &data_b, NULL) == 0 &&
	       memcmp(data_a + shared, data_b + shared, a->block_size - shared) == 0;
}

/* Take out of an inode what reading changes, and the checksum over it. */
static void forget_access(struct ext4_node *node)
{
	node->inode.i_atime = node->inode.i_atime_extra = 0;
	node->inode.i_checksum_lo = node->inode.i_checksum_hi = 0;
}

/* Whether all of a file's content stands where it stood when the device was cloned. */
static bool content_same(struct ext4 *e, struct ext4_node *node)
{
	const uint64_t count = (node->size >> e->block_log) + 1;
	if (node->flags & EXT4_INLINE_DATA_FL)
		return true;
	for (uint64_t block = 0; block < count; block = node->run.first + node->run.count) {
		if (ext4_map(e, node, block, NULL) < 0)
			return false;
		const struct ext4_run *run = &node->run;
		if (!run->hole && (ranges_overlap(e->differences, run->block << e->block_log,
					   run->count << e->block_log) ||
					  ext4_journal_holds(e, run->block, run->count)))
			return false;
	}
	return true;
}

void ext4_set_differences(struct fs *fs, const struct range_list *differences)
{
	((struct ext4 *)fs)->differences = differences;
}

/* fs is a clone of other: inodes and attributes are read and compared, content is not read where
 * the host says that its blocks are still the shared ones. */
static bool ext4_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	struct ext4 *a = (struct ext4 *)fs, *b = (struct ext4 *)other;
	if (other->ops != fs->ops || ref != other_ref || ref > UINT32_MAX)
		return false;
	if (a == b)
		return true;
	struct ext4_node node_a, node_b;
	if (!a->differences || a->inode_size != b->inode_size || a->block_size != b->block_size ||
		a->seed != b->seed || ext4_node_read(a, (uint32_t)ref, &node_a, NULL) < 0 ||
		ext4_node_read(b, (uint32_t)ref, &node_b, NULL) < 0 || S_ISDIR(node_a.mode))
		return false;
	forget_access(&node_a);
	forget_access(&node_b);
	if (memcmp(node_a.raw, node_b.raw, a->inode_size) != 0 ||
		!attributes_same(a, &node_a, b, &node_b))
		return false;
	if (!S_ISREG(node_a.mode) && !S_ISLNK(node_a.mode))
		return true;
	if (S_ISLNK(node_a.mode) && node_a.size < sizeof node_a.inode.i_block)
		return true;
	return ext4_map_same(a, &node_a, b, &node_b) && content_same(a, &node_a);
}

static void ext4_close(struct fs *fs)
{
	struct ext4 *e = (struct ext4 *)fs;
	ext4_chunks_forget(e);
	ext4_journal_free(e->journal);
	fs_places_free(&e->places);
	free(e);
}

static const struct fs_ops ext4_ops = {
	.format = "ext4",
	.root = ext4_root,
	.stat = ext4_stat,
	.list = ext4_list,
	.read = ext4_read,
	.readlink = ext4_readlink,
	.xattrs = ext4_xattrs,
	.extent = ext4_extent,
	.same = ext4_same,
	.close = ext4_close,
};

static int device_size(int fd, uint64_t *size, struct ramet_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at the ext4 device");
	off_t end = S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : st.st_size;
	if (end < 0)
		return error_errno(err, errno, "cannot tell the size of the ext4 device");
	*size = (uint64_t)end;
	return 0;
}

static int recover(struct ext4 *e, struct ramet_error *err)
{
	int r = ext4_journal_replay(e, err);
	if (r < 0)
		return error_prefix(err, r, "the journal");
	ext4_chunks_forget(e);
	/* The journal may hold a newer superblock. Kernels before 5.12 wrote some into it without
	 * their checksum, and put that right when they had replayed it. */
	return e->journal ? ext4_super_read(e, false, err) : 0;
}

static int check_root(struct ext4 *e, struct ramet_error *err)
{
	struct ext4_node root;
	int r = ext4_node_read(e, EXT2_ROOT_INO, &root, err);
	if (r < 0)
		return r;
	return S_ISDIR(root.mode) ? 0 : ext4_damage(err, "its root is no directory");
}

int ext4_open(int fd, struct fs **fs, bool *replayed, struct ramet_error *err)
{
	_cleanup_fs_ struct fs *view = calloc(1, sizeof(struct ext4));
	struct ext4 *e = (struct ext4 *)view;
	if (!e)
		return error_memory(err);
	e->fs.ops = &ext4_ops;
	e->fd = fd;
	int r = device_size(fd, &e->device_size, err);
	if (r == 0)
		r = ext4_super_read(e, true, err);
	if (r == 0 && ext4_incompat(e, EXT3_FEATURE_INCOMPAT_RECOVER))
		r = recover(e, err);
	if (r == 0)
		r = check_root(e, err);
	if (r < 0)
		return r;
	*replayed = e->journal != NULL;
	*fs = TAKE_PTR(view);
	return 0;
}
