/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an ext4 says of itself: the superblock as it stands on the device, without the journal's
 * newer copy of it, as dumpe2fs shows it. Source: the kernel's Documentation/filesystems/ext4.
 */
#include <endian.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

#include "base/fd.h"
#include "image/formats.h"
#include "image/fs_inside.h"
#include "image/image.h"

enum { SUPER_OFFSET = 1024, JOURNAL_BACKUP = 1 };

/* The names are those that mke2fs and dumpe2fs use. */
static const struct image_feature compat[] = {
	{EXT2_FEATURE_COMPAT_DIR_PREALLOC, "dir_prealloc"},
	{EXT2_FEATURE_COMPAT_IMAGIC_INODES, "imagic_inodes"},
	{EXT3_FEATURE_COMPAT_HAS_JOURNAL, "has_journal"},
	{EXT2_FEATURE_COMPAT_EXT_ATTR, "ext_attr"},
	{EXT2_FEATURE_COMPAT_RESIZE_INODE, "resize_inode"},
	{EXT2_FEATURE_COMPAT_DIR_INDEX, "dir_index"},
	{EXT4_FEATURE_COMPAT_SPARSE_SUPER2, "sparse_super2"},
	{EXT4_FEATURE_COMPAT_FAST_COMMIT, "fast_commit"},
	{EXT4_FEATURE_COMPAT_STABLE_INODES, "stable_inodes"},
	{0, NULL},
};
static const struct image_feature incompat[] = {
	{EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression"},
	{EXT2_FEATURE_INCOMPAT_FILETYPE, "filetype"},
	{EXT3_FEATURE_INCOMPAT_RECOVER, "needs_recovery"},
	{EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, "journal_dev"},
	{EXT2_FEATURE_INCOMPAT_META_BG, "meta_bg"},
	{EXT3_FEATURE_INCOMPAT_EXTENTS, "extent"},
	{EXT4_FEATURE_INCOMPAT_64BIT, "64bit"},
	{EXT4_FEATURE_INCOMPAT_MMP, "mmp"},
	{EXT4_FEATURE_INCOMPAT_FLEX_BG, "flex_bg"},
	{EXT4_FEATURE_INCOMPAT_EA_INODE, "ea_inode"},
	{EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata"},
	{EXT4_FEATURE_INCOMPAT_CSUM_SEED, "metadata_csum_seed"},
	{EXT4_FEATURE_INCOMPAT_LARGEDIR, "large_dir"},
	{EXT4_FEATURE_INCOMPAT_INLINE_DATA, "inline_data"},
	{EXT4_FEATURE_INCOMPAT_ENCRYPT, "encrypt"},
	{EXT4_FEATURE_INCOMPAT_CASEFOLD, "casefold"},
	{0, NULL},
};
static const struct image_feature ro_compat[] = {
	{EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER, "sparse_super"},
	{EXT2_FEATURE_RO_COMPAT_LARGE_FILE, "large_file"},
	{EXT4_FEATURE_RO_COMPAT_HUGE_FILE, "huge_file"},
	{EXT4_FEATURE_RO_COMPAT_GDT_CSUM, "uninit_bg"},
	{EXT4_FEATURE_RO_COMPAT_DIR_NLINK, "dir_nlink"},
	{EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE, "extra_isize"},
	{EXT4_FEATURE_RO_COMPAT_QUOTA, "quota"},
	{EXT4_FEATURE_RO_COMPAT_BIGALLOC, "bigalloc"},
	{EXT4_FEATURE_RO_COMPAT_METADATA_CSUM, "metadata_csum"},
	{EXT4_FEATURE_RO_COMPAT_READONLY, "read-only"},
	{EXT4_FEATURE_RO_COMPAT_PROJECT, "project"},
	{EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS, "shared_blocks"},
	{EXT4_FEATURE_RO_COMPAT_VERITY, "verity"},
	{0, NULL},
};

static void count_blocks(const struct ext2_super_block *super, struct image_facts *facts)
{
	uint64_t blocks = le32toh(super->s_blocks_count),
		 unused = le32toh(super->s_free_blocks_count);
	if (le32toh(super->s_feature_incompat) & EXT4_FEATURE_INCOMPAT_64BIT) {
		blocks |= (uint64_t)le32toh(super->s_blocks_count_hi) << 32;
		unused |= (uint64_t)le32toh(super->s_free_blocks_hi) << 32;
	}
	uint32_t inodes = le32toh(super->s_inodes_count),
		 free_inodes = le32toh(super->s_free_inodes_count);
	if (unused <= blocks && blocks < UINT64_MAX / (facts->block_size ? facts->block_size : 1))
		facts->used = (blocks - unused) * facts->block_size;
	facts->inodes = free_inodes <= inodes ? inodes - free_inodes : 0;
}

/* The journal inode's size stands in the superblock too, behind a copy of its block map. */
static void find_journal(const struct ext2_super_block *super, struct image_facts *facts)
{
	uint32_t bits = le32toh(super->s_feature_compat), more = le32toh(super->s_feature_incompat);
	strcpy(facts->journal, "none");
	if (!(bits & EXT3_FEATURE_COMPAT_HAS_JOURNAL))
		return;
	strcpy(facts->journal, more & EXT3_FEATURE_INCOMPAT_RECOVER ? "needs recovery" : "clean");
	if (super->s_jnl_backup_type == JOURNAL_BACKUP)
		facts->journal_bytes = le32toh(super->s_jnl_blocks[16]) |
				       (uint64_t)le32toh(super->s_jnl_blocks[15]) << 32;
}

int ext4_describe(int fd, struct image_facts *facts, struct ramet_error *err)
{
	struct ext2_super_block super;
	int r = fs_read_super(fd, SUPER_OFFSET, &super, sizeof super, err);
	if (r < 0)
		return r;
	uint32_t log = le32toh(super.s_log_block_size);
	unsigned state = le16toh(super.s_state);
	snprintf(facts->version, sizeof facts->version, "%u.%u", le32toh(super.s_rev_level),
		le16toh(super.s_minor_rev_level));
	strcpy(facts->compression, "none");
	facts->block_size = log <= 6 ? 1024u << log : 0;
	count_blocks(&super, facts);
	facts->has_time = super.s_mkfs_time != 0;
	facts->time = le32toh(super.s_mkfs_time) | (int64_t)super.s_mkfs_time_hi << 32;
	memcpy(facts->label, super.s_volume_name, sizeof super.s_volume_name);
	if (!uuid_is_null(super.s_uuid))
		uuid_unparse_lower(super.s_uuid, facts->uuid);
	image_features(facts->features, sizeof facts->features, le32toh(super.s_feature_compat),
		compat, "compat");
	image_features(facts->features, sizeof facts->features, le32toh(super.s_feature_incompat),
		incompat, "incompat");
	image_features(facts->features, sizeof facts->features, le32toh(super.s_feature_ro_compat),
		ro_compat, "ro_compat");
	find_journal(&super, facts);
	strcpy(facts->state, state & EXT2_ERROR_FS   ? "with errors"
			     : state & EXT2_VALID_FS ? "clean"
						     : "not clean");
	return 0;
}
