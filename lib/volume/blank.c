/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blank ext4 in a sparse file, by libext2fs. What it must be: little, now and later.
 *
 * - Every group says that its inode table is zeroed (INODE_ZEROED), which a hole is. Without that
 *   the kernel's lazy initialisation would write all the tables, 160 MiB of a 10 GiB volume.
 * - No backup superblocks (sparse_super2 without groups): a damaged volume is thrown away, and
 *   each backup costs a copy of the descriptors.
 * - A journal of 1,024 blocks, the least that Linux takes (JBD2_MIN_JOURNAL_BLOCKS): it is all
 *   written in time. Its blocks are left holes: zeros are no journal block.
 * - metadata_csum_seed, so that a new UUID is a change of the superblock alone (superblock.c).
 * - Only features that Linux 5.10 has: no orphan_file (5.15). No resize_inode, as a volume keeps
 *   its size.
 * - flex_bg packs the bitmaps and tables of many groups together: a group without any stays
 *   BLOCK_UNINIT and needs no bitmap.
 */
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <time.h>

#include "base/cleanup.h"
#include "image/ext4_io.h"
#include "volume/template.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

enum { JOURNAL_BLOCKS = 1024 };

/* Bytes for each inode: small volumes are for small files. */
static uint64_t inode_ratio(uint64_t size)
{
	return size < 512 * MIB ? 4096 : size <= 64 * GIB ? 16384 : 65536;
}

static void fill_parameters(struct ext2_super_block *s, uint64_t size)
{
	unsigned log_block_size = size < 64 * MIB ? 0 : 2;
	s->s_rev_level = EXT2_DYNAMIC_REV;
	s->s_log_block_size = s->s_log_cluster_size = log_block_size;
	ext2fs_blocks_count_set(s, size >> (10 + log_block_size));
	s->s_inode_size = 256;
	s->s_inodes_count = (uint32_t)(size / inode_ratio(size));
	s->s_log_groups_per_flex = 8;
	s->s_feature_compat = EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR |
			      EXT2_FEATURE_COMPAT_DIR_INDEX | EXT4_FEATURE_COMPAT_SPARSE_SUPER2;
	s->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
				EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG |
				EXT4_FEATURE_INCOMPAT_CSUM_SEED;
	s->s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
				 EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
				 EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
				 EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
				 EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
}

static void fill_superblock(struct ext2_super_block *s)
{
	/* The UUID and the hash seed are each fork's own and stay zero here. */
	s->s_checksum_type = EXT2_CRC32C_CHKSUM;
	s->s_checksum_seed = ext2fs_crc32c_le(~0U, s->s_uuid, sizeof s->s_uuid);
	s->s_def_hash_version = EXT2_HASH_HALF_MD4;
	s->s_flags |= EXT2_FLAGS_SIGNED_HASH;
	s->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	s->s_errors = EXT2_ERRORS_RO;
	s->s_min_extra_isize = s->s_want_extra_isize = 32;
	s->s_max_mnt_count = -1;
	s->s_checkinterval = 0;
	strncpy((char *)s->s_volume_name, "ramet-vol", sizeof s->s_volume_name);
}

static void reserve_inodes(ext2_filsys fs)
{
	for (ext2_ino_t i = 1; i < EXT2_FIRST_INODE(fs->super); i++)
		if (i != EXT2_ROOT_INO)
			ext2fs_inode_alloc_stats2(fs, i, +1, 0);
	for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
		ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
		ext2fs_group_desc_csum_set(fs, group);
	}
	ext2fs_mark_ib_dirty(fs);
}

static errcode_t add_content(ext2_filsys fs)
{
	errcode_t code = ext2fs_allocate_tables(fs);
	if (code)
		return code;
	reserve_inodes(fs);
	code = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
	/* e2fsck wants it, and the inode after the reserved ones. */
	if (!code)
		code = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
	if (!code)
		code = ext2fs_add_journal_inode3(fs,
			&(struct ext2fs_journal_params){.num_journal_blocks = JOURNAL_BLOCKS},
			~0ULL, EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
	return code;
}

static errcode_t find_journal(ext2_filsys fs, uint64_t *offset)
{
	blk64_t block;
	errcode_t code = ext2fs_bmap2(fs, EXT2_JOURNAL_INO, NULL, NULL, 0, 0, NULL, &block);
	if (!code)
		*offset = block * fs->blocksize;
	return code;
}

int blank_write(int fd, uint64_t size, uint64_t *journal_offset, struct ramet_error *err)
{
	struct ext4_io io = {.fd = fd, .writable = true, .sparse = true};
	char name[EXT4_IO_NAME_SIZE];
	ext4_io_name(&io, name);
	struct ext2_super_block parameters = {0};
	fill_parameters(&parameters, size);
	ext2_filsys fs;
	errcode_t code = ext2fs_initialize(
		name, EXT2_FLAG_64BITS, &parameters, ext4_io_manager, &fs);
	if (code)
		return error_errno(err, ext4_io_errno(&io, code), "cannot compute a blank volume");
	fill_superblock(fs->super);
	ext2fs_init_csum_seed(fs);
	code = add_content(fs);
	if (!code)
		code = find_journal(fs, journal_offset);
	if (!code)
		code = ext2fs_close_free(&fs);
	if (!code)
		return 0;
	if (fs)
		ext2fs_free(fs);
	return error_errno(err, ext4_io_errno(&io, code), "cannot compute a blank volume");
}
