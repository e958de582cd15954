/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes of ext4 and the content of files. Sources: the kernel's fs/ext4/{inode,ext4.h}. What
 * stands in an inode is checked here once: its checksum, that it is in use, its type and its size.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_inside.h"

/* Whether the inode is so large that it has the field. */
#define HAS_EXTRA(e, inode, field) \
	((e)->inode_size > EXT2_GOOD_OLD_INODE_SIZE && \
		offsetof(struct ext2_inode_large, field) + sizeof(inode)->field <= \
			EXT2_GOOD_OLD_INODE_SIZE + (size_t)le16toh((inode)->i_extra_isize))

static int check_sum(struct ext4 *e, struct ext4_node *node, struct ramet_error *err)
{
	uint32_t number = htole32(node->number), generation = node->inode.i_generation;
	node->seed = ext4_crc32c(e->seed, &number, sizeof number);
	node->seed = ext4_crc32c(node->seed, &generation, sizeof generation);
	if (!e->checksums)
		return 0;
	const size_t low = offsetof(struct ext2_inode_large, osd2.linux2.l_i_checksum_lo),
		     high = offsetof(struct ext2_inode_large, i_checksum_hi);
	static const uint8_t zero[2];
	bool wide = HAS_EXTRA(e, &node->inode, i_checksum_hi);
	uint32_t sum = ext4_crc32c(node->seed, node->raw, low);
	sum = ext4_crc32c(sum, zero, sizeof zero);
	size_t at = low + sizeof zero, end = wide ? high : e->inode_size;
	sum = ext4_crc32c(sum, node->raw + at, end - at);
	if (wide) {
		sum = ext4_crc32c(sum, zero, sizeof zero);
		at = high + sizeof zero;
		sum = ext4_crc32c(sum, node->raw + at, e->inode_size - at);
	}
	uint32_t stored = le16toh(node->inode.i_checksum_lo);
	if (wide)
		stored |= (uint32_t)le16toh(node->inode.i_checksum_hi) << 16;
	if (!ext4_sum_right(wide ? sum : sum & 0xffff, stored))
		return ext4_damage(err, "inode %u has the wrong checksum", node->number);
	return 0;
}

static int check_node(struct ext4 *e, struct ext4_node *node, struct ramet_error *err)
{
	const struct ext2_inode_large *inode = &node->inode;
	if (inode->i_links_count == 0 || inode->i_mode == 0)
		return ext4_damage(err, "inode %u is not in use but has a name", node->number);
	unsigned extra = le16toh(inode->i_extra_isize);
	if (e->inode_size > EXT2_GOOD_OLD_INODE_SIZE &&
		(extra > e->inode_size - EXT2_GOOD_OLD_INODE_SIZE || extra % 4))
		return ext4_damage(
			err, "inode %u claims %u more bytes than there are", node->number, extra);
	int r = check_sum(e, node, err);
	if (r < 0)
		return r;
	node->mode = le16toh(inode->i_mode);
	node->flags = le32toh(inode->i_flags);
	if (!fs_kind_is_known(node->mode))
		return ext4_damage(err, "inode %u is of a kind that there is not (mode %#o)",
			node->number, node->mode);
	node->size = le32toh(inode->i_size) | (uint64_t)le32toh(inode->i_size_high) << 32;
	if (node->size > (1ULL << 32 << e->block_log) || node->size > INT64_MAX)
		return ext4_damage(err, "inode %u claims %llu bytes", node->number,
			(unsigned long long)node->size);
	if (node->flags & EXT4_ENCRYPT_FL)
		return error_set(err, EOPNOTSUPP,
			"inode %u of the ext4 filesystem is encrypted, which cannot be read here",
			node->number);
	return 0;
}

int ext4_node_read(struct ext4 *e, uint32_t number, struct ext4_node *node, struct ramet_error *err)
{
	if (number == 0 || number > e->super.s_inodes_count)
		return ext4_damage(
			err, "inode %u is used, and there are %u", number, e->super.s_inodes_count);
	uint64_t table;
	int r = ext4_group_table(e, (number - 1) / e->super.s_inodes_per_group, &table, err);
	if (r < 0)
		return r;
	uint64_t offset = (uint64_t)((number - 1) % e->super.s_inodes_per_group) * e->inode_size;
	const uint8_t *data = NULL;
	r = ext4_block(e, table + (offset >> e->block_log), &data, err);
	if (r < 0)
		return r;
	if (e->inode_size < sizeof node->inode)
		memset(&node->inode, 0, sizeof node->inode);
	memcpy(node->raw, data + (offset & (e->block_size - 1)), e->inode_size);
	node->number = number;
	node->run = (struct ext4_run){0};
	r = check_node(e, node, err);
	if (r < 0)
		node->number = 0;
	return r;
}

/* Seconds: 32 bits with a sign, and two more above them in the extra field. */
static int64_t seconds(uint32_t low, uint32_t extra)
{
	return (int64_t)(int32_t)low + ((int64_t)(extra & EXT4_EPOCH_MASK) << 32);
}

static void device_number(const struct ext2_inode_large *inode, struct fs_stat *stat)
{
	uint32_t old = le32toh(inode->i_block[0]), new = le32toh(inode->i_block[1]);
	if (old) {
		stat->rdev_major = old >> 8 & 0xff;
		stat->rdev_minor = old & 0xff;
	} else {
		fs_set_device(stat, new);
	}
}

int ext4_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	struct ext4 *e = (struct ext4 *)fs;
	struct ext4_node node;
	int r = ref > UINT32_MAX ? ext4_damage(err, "inode %llu is used", (unsigned long long)ref)
				 : ext4_node_read(e, (uint32_t)ref, &node, err);
	if (r < 0)
		return r;
	const struct ext2_inode_large *inode = &node.inode;
	uint32_t extra = HAS_EXTRA(e, inode, i_mtime_extra) ? le32toh(inode->i_mtime_extra) : 0;
	*stat = (struct fs_stat){
		.mode = node.mode,
		.uid = le16toh(inode->i_uid) | (uint32_t)le16toh(inode->i_uid_high) << 16,
		.gid = le16toh(inode->i_gid) | (uint32_t)le16toh(inode->i_gid_high) << 16,
		.nlink = le16toh(inode->i_links_count),
		.size = node.size,
		.mtime = seconds(le32toh(inode->i_mtime), extra),
		.mtime_nsec = extra >> EXT4_EPOCH_BITS,
		.whole_seconds = !HAS_EXTRA(e, inode, i_mtime_extra),
		.inode = ref,
	};
	if (stat->mtime_nsec > 999999999)
		return ext4_damage(err, "inode %u has a time of %u nanoseconds", node.number,
			stat->mtime_nsec);
	if (S_ISCHR(node.mode) || S_ISBLK(node.mode))
		device_number(inode, stat);
	return 0;
}

/* Content that is in the inode itself: 60 bytes, and the rest among the attributes. */
static int inline_content(struct ext4 *e, struct ext4_node *node, uint64_t offset, void *buffer,
	size_t length, struct ramet_error *err)
{
	const uint8_t *rest;
	size_t rest_length, head = sizeof node->inode.i_block;
	int r = ext4_inline_rest(e, node, &rest, &rest_length, err);
	if (r < 0)
		return r;
	if (!range_within(offset, length, head + rest_length))
		return ext4_damage(err, "inode %u claims %llu bytes, which are not in it",
			node->number, (unsigned long long)node->size);
	uint8_t *to = buffer;
	for (size_t i = 0; i < length; i++) {
		size_t at = (size_t)offset + i;
		to[i] = at < head ? ((const uint8_t *)node->inode.i_block)[at] : rest[at - head];
	}
	return 0;
}

int ext4_node_content(struct ext4 *e, struct ext4_node *node, uint64_t offset, void *buffer,
	size_t length, struct ramet_error *err)
{
	if (node->flags & EXT4_INLINE_DATA_FL)
		return inline_content(e, node, offset, buffer, length, err);
	uint8_t *to = buffer;
	while (length > 0) {
		int r = ext4_map(e, node, offset >> e->block_log, err);
		if (r < 0)
			return r;
		const struct ext4_run *run = &node->run;
		uint64_t within = offset - (run->first << e->block_log);
		uint64_t here = MIN(length, (run->count << e->block_log) - within);
		if (run->hole)
			memset(to, 0, (size_t)here);
		else
			r = ext4_pread(
				e, to, (size_t)here, (run->block << e->block_log) + within, err);
		if (r < 0)
			return r;
		to += here;
		offset += here;
		length -= (size_t)here;
	}
	return 0;
}

/* Make ref the file that is read. */
static int file_select(struct ext4 *e, fs_ref ref, struct ramet_error *err)
{
	if (e->file.number && e->file.number == ref)
		return 0;
	int r = ref > UINT32_MAX ? ext4_damage(err, "inode %llu is used", (unsigned long long)ref)
				 : ext4_node_read(e, (uint32_t)ref, &e->file, err);
	if (r < 0)
		return r;
	if (S_ISREG(e->file.mode))
		return 0;
	e->file.number = 0;
	return error_set(err, EINVAL, "inode %llu is no regular file", (unsigned long long)ref);
}

int ext4_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length, size_t *done,
	struct ramet_error *err)
{
	struct ext4 *e = (struct ext4 *)fs;
	*done = 0;
	int r = file_select(e, ref, err);
	if (r < 0 || offset >= e->file.size)
		return r;
	length = (size_t)MIN(length, e->file.size - offset);
	r = ext4_node_content(e, &e->file, offset, buffer, length, err);
	if (r == 0)
		*done = length;
	return r;
}

int ext4_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct ext4 *e = (struct ext4 *)fs;
	int r = file_select(e, ref, err);
	if (r < 0)
		return r;
	uint64_t size = e->file.size;
	if (offset >= size)
		return error_set(err, ENXIO, "inode %llu has no byte %llu", (unsigned long long)ref,
			(unsigned long long)offset);
	*extent = (struct fs_extent){
		.offset = offset, .length = size - offset, .device_offset = UINT64_MAX};
	if (e->file.flags & EXT4_INLINE_DATA_FL)
		return 0;
	r = ext4_map(e, &e->file, offset >> e->block_log, err);
	if (r < 0)
		return r;
	const struct ext4_run *run = &e->file.run;
	uint64_t within = offset - (run->first << e->block_log);
	extent->length = MIN(size - offset, (run->count << e->block_log) - within);
	extent->hole = run->hole;
	if (!run->hole && !e->journal)
		extent->device_offset = (run->block << e->block_log) + within;
	return 0;
}

int ext4_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	struct ext4 *e = (struct ext4 *)fs;
	struct ext4_node node;
	int r = ref > UINT32_MAX ? ext4_damage(err, "inode %llu is used", (unsigned long long)ref)
				 : ext4_node_read(e, (uint32_t)ref, &node, err);
	if (r < 0)
		return r;
	if (!S_ISLNK(node.mode))
		return error_set(err, EINVAL, "inode %u is no symlink", node.number);
	if (node.size == 0 || node.size > FS_TARGET_MAX)
		return ext4_damage(err, "symlink %u has a target of %llu bytes", node.number,
			(unsigned long long)node.size);
	_cleanup_free_ char *text = malloc(node.size + 1);
	if (!text)
		return error_memory(err);
	if (node.size < sizeof node.inode.i_block)
		memcpy(text, node.inode.i_block, node.size);
	else
		r = ext4_node_content(e, &node, 0, text, node.size, err);
	if (r < 0)
		return r;
	if (memchr(text, '\0', node.size))
		return ext4_damage(err, "the target of symlink %u has a zero byte", node.number);
	text[node.size] = '\0';
	*target = TAKE_PTR(text);
	return 0;
}
