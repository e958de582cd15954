/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout is libext2fs's own (ext2fs_initialize, ext2fs_allocate_tables); the choices are here.
 *
 * Features: what kernels from 5.10 on and Firecracker's guest kernels mount for writing. The
 * checksum seed stands in the superblock (metadata_csum_seed), so that a clone gets a UUID of its
 * own by rewriting one block. Descriptor blocks are kept in reserve (resize_inode), so that a guest
 * grows its clone while it is mounted.
 *
 * The file is new and reads as zeros. So inode tables are called zeroed without being written, or
 * the guest's kernel would fill every one of them in the background, block by copied block.
 */
#include "image/ext4_format.h"

#include <ext2fs/ext2_fs.h>

#include "base/cleanup.h"

#define INODE_SIZE   256
#define FLEX_GROUPS  4  /* log2: the metadata of 16 groups stands together */
#define RESERVED_GDT 32 /* each describes 64 groups of 128 MiB: room to grow to 256 GiB */
#define EXTRA_ISIZE  32 /* times with nanoseconds, checksum, creation time, project */
#define GROUP_BLOCKS 32768

static void fill_parameters(const struct ext4_format *format, struct ext2_super_block *param)
{
	param->s_rev_level = EXT2_DYNAMIC_REV;
	param->s_log_block_size = 2;
	param->s_inode_size = INODE_SIZE;
	param->s_desc_size = EXT2_MIN_DESC_SIZE_64BIT;
	param->s_log_groups_per_flex = FLEX_GROUPS;
	param->s_inodes_count = (uint32_t)MIN(format->inodes, (uint64_t)UINT32_MAX);
	param->s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_RESIZE_INODE |
				  EXT2_FEATURE_COMPAT_DIR_INDEX;
	param->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
				    EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG |
				    EXT4_FEATURE_INCOMPAT_CSUM_SEED;
	param->s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
				     EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
				     EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
				     EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
				     EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
				     EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
	ext2fs_blocks_count_set(param, format->blocks);
	/* The library's own choice serves small filesystems; large ones get what it would give. */
	if (format->blocks < (uint64_t)GROUP_BLOCKS * 64)
		param->s_reserved_gdt_blocks = RESERVED_GDT;
}

/* Everything in the superblock that would be random or the time of day. */
static void fix_identity(ext2_filsys fs, const struct ext4_format *format)
{
	struct ext2_super_block *super = fs->super;
	int64_t time = MAX(format->time, 1);
	/* libext2fs takes 0 for "ask the clock", and writes 32 bits. */
	fs->now = (time_t)MIN(time, (int64_t)UINT32_MAX);
	super->s_mkfs_time = super->s_lastcheck = super->s_wtime = (uint32_t)fs->now;
	super->s_checkinterval = 0;
	super->s_max_mnt_count = -1;
	memcpy(super->s_uuid, format->uuid, sizeof super->s_uuid);
	memcpy(super->s_hash_seed, format->hash_seed, sizeof super->s_hash_seed);
	super->s_def_hash_version = EXT2_HASH_HALF_MD4;
	/* Names hash as on a machine whose char is signed, wherever this runs. */
	super->s_flags |= EXT2_FLAGS_SIGNED_HASH;
	super->s_checksum_type = EXT2_CRC32C_CHKSUM;
	super->s_checksum_seed = ext2fs_crc32c_le(~0U, format->uuid, sizeof format->uuid);
	ext2fs_init_csum_seed(fs);
	super->s_min_extra_isize = super->s_want_extra_isize = EXTRA_ISIZE;
	super->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	super->s_errors = EXT2_ERRORS_CONTINUE;
	ext2fs_r_blocks_count_set(super, 0);
}

errcode_t ext4_lay_out(const struct ext4_format *format, struct ext4_io *io, ext2_filsys *out)
{
	struct ext2_super_block param = {0};
	fill_parameters(format, &param);
	char name[EXT4_IO_NAME_SIZE];
	ext4_io_name(io, name);
	ext2_filsys fs;
	errcode_t code = ext2fs_initialize(name, EXT2_FLAG_64BITS, &param, ext4_io_manager, &fs);
	if (code)
		return code;
	fix_identity(fs, format);
	for (dgrp_t group = 0; group < fs->group_desc_count; group++)
		ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
	code = ext2fs_allocate_tables(fs);
	if (code)
		ext2fs_free(fs);
	else
		*out = fs;
	return code;
}

/* The kernel wants 1024 blocks at least (JBD2_MIN_JOURNAL_BLOCKS); more than 64 MiB serves only
 * machines busier than a microVM. */
uint32_t ext4_journal_blocks(uint64_t blocks)
{
	if (blocks <= 32768)
		return 1024;
	return blocks <= 1024 * 1024 ? 4096 : 16384;
}

errcode_t ext4_write_reserved(ext2_filsys fs, uint32_t journal_blocks)
{
	for (ext2_ino_t inode = EXT2_BAD_INO; inode < EXT2_FIRST_INODE(fs->super); inode++)
		if (inode != EXT2_ROOT_INO)
			ext2fs_inode_alloc_stats2(fs, inode, +1, 0);
	ext2fs_mark_ib_dirty(fs);
	errcode_t code = ext2fs_create_resize_inode(fs);
	if (code)
		return code;
	struct ext2fs_journal_params journal = {.num_journal_blocks = journal_blocks};
	return ext2fs_add_journal_inode3(fs, &journal, fs->super->s_first_data_block,
		EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
}
