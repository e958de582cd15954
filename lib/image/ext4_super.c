/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The superblock and the group descriptors. Every count that later arithmetic stands on is checked
 * here against the others and against the size of the device, so that the rest of the reader can
 * rely on them. Nothing is allocated by a count: descriptors are looked up when they are needed.
 * Sources: the kernel's fs/ext4/{super,balloc,ext4.h}, Documentation/filesystems/ext4.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_inside.h"

enum { SUPER_OFFSET = 1024, CHECKSUM_CRC32C = 1, DESCRIPTOR_32 = 32, DESCRIPTOR_64 = 64 };

static const struct {
	uint32_t feature;
	const char *name; /* of one that cannot be read, NULL when it can */
} incompat_features[] = {
	{EXT2_FEATURE_INCOMPAT_FILETYPE, NULL},
	{EXT3_FEATURE_INCOMPAT_RECOVER, NULL},
	{EXT2_FEATURE_INCOMPAT_META_BG, NULL},
	{EXT3_FEATURE_INCOMPAT_EXTENTS, NULL},
	{EXT4_FEATURE_INCOMPAT_64BIT, NULL},
	{EXT4_FEATURE_INCOMPAT_MMP, NULL},
	{EXT4_FEATURE_INCOMPAT_FLEX_BG, NULL},
	{EXT4_FEATURE_INCOMPAT_EA_INODE, NULL},
	{EXT4_FEATURE_INCOMPAT_CSUM_SEED, NULL},
	{EXT4_FEATURE_INCOMPAT_LARGEDIR, NULL},
	{EXT4_FEATURE_INCOMPAT_INLINE_DATA, NULL},
	{EXT4_FEATURE_INCOMPAT_ENCRYPT, NULL}, /* refused where an inode is encrypted */
	{EXT4_FEATURE_INCOMPAT_CASEFOLD, NULL},
	{EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression"},
	{EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, "journal_dev (this is an external journal)"},
	{EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata"},
};

static int check_features(const struct ext2_super_block *super, struct ramet_error *err)
{
	uint32_t unknown = super->s_feature_incompat;
	for (size_t i = 0; i < ARRAY_SIZE(incompat_features); i++) {
		uint32_t feature = incompat_features[i].feature;
		if ((super->s_feature_incompat & feature) && incompat_features[i].name)
			return error_set(err, EOPNOTSUPP,
				"the ext4 filesystem has the feature %s, which cannot be read here",
				incompat_features[i].name);
		unknown &= ~feature;
	}
	if (unknown)
		return error_set(err, EOPNOTSUPP,
			"the ext4 filesystem has features that are not known here (incompat %#x)",
			unknown);
	return 0;
}

/* Turn the fields that are used into host byte order. */
static void super_to_host(struct ext2_super_block *super)
{
	uint32_t *const words[] = {&super->s_inodes_count, &super->s_blocks_count,
		&super->s_first_data_block, &super->s_log_block_size, &super->s_blocks_per_group,
		&super->s_inodes_per_group, &super->s_rev_level, &super->s_first_ino,
		&super->s_feature_compat, &super->s_feature_incompat, &super->s_feature_ro_compat,
		&super->s_journal_inum, &super->s_journal_dev, &super->s_first_meta_bg,
		&super->s_blocks_count_hi, &super->s_backup_bgs[0], &super->s_backup_bgs[1],
		&super->s_checksum_seed, &super->s_checksum};
	uint16_t *const halves[] = {&super->s_magic, &super->s_inode_size, &super->s_desc_size};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		*words[i] = le32toh(*words[i]);
	for (size_t i = 0; i < ARRAY_SIZE(halves); i++)
		*halves[i] = le16toh(*halves[i]);
}

static int check_sizes(struct ext4 *e, struct ramet_error *err)
{
	const struct ext2_super_block *super = &e->super;
	if (super->s_log_block_size > 6)
		return ext4_damage(
			err, "its superblock claims blocks of 2^%u KiB", super->s_log_block_size);
	e->block_log = 10 + super->s_log_block_size;
	e->block_size = 1u << e->block_log;
	e->blocks = super->s_blocks_count;
	if (ext4_incompat(e, EXT4_FEATURE_INCOMPAT_64BIT))
		e->blocks |= (uint64_t)super->s_blocks_count_hi << 32;
	if (e->blocks > e->device_size >> e->block_log)
		return ext4_damage(err,
			"its superblock says that it has %llu blocks of %u bytes, but the device "
			"has %llu bytes",
			(unsigned long long)e->blocks, e->block_size,
			(unsigned long long)e->device_size);
	if (super->s_first_data_block > 1 || super->s_first_data_block >= e->blocks)
		return ext4_damage(err, "its superblock says that its first block is %u",
			super->s_first_data_block);
	e->inode_size = super->s_rev_level ? super->s_inode_size : EXT2_GOOD_OLD_INODE_SIZE;
	uint32_t most = MIN(e->block_size, EXT4_INODE_SIZE_MAX);
	if (e->inode_size < EXT2_GOOD_OLD_INODE_SIZE || e->inode_size > most ||
		(e->inode_size & (e->inode_size - 1)))
		return ext4_damage(err, "its superblock claims inodes of %u bytes", e->inode_size);
	e->descriptor_size = DESCRIPTOR_32;
	if (ext4_incompat(e, EXT4_FEATURE_INCOMPAT_64BIT))
		e->descriptor_size = super->s_desc_size;
	if (e->descriptor_size < DESCRIPTOR_32 || e->descriptor_size > 1024 ||
		(e->descriptor_size & (e->descriptor_size - 1)))
		return ext4_damage(err, "its superblock claims group descriptors of %u bytes",
			e->descriptor_size);
	return 0;
}

static int check_groups(struct ext4 *e, struct ramet_error *err)
{
	const struct ext2_super_block *super = &e->super;
	bool clusters = ext4_ro_compat(e, EXT4_FEATURE_RO_COMPAT_BIGALLOC);
	if (super->s_blocks_per_group == 0 ||
		(!clusters && super->s_blocks_per_group > e->block_size * 8u))
		return ext4_damage(err, "its superblock claims groups of %u blocks",
			super->s_blocks_per_group);
	if (super->s_inodes_per_group == 0 || super->s_inodes_per_group > e->block_size * 8u)
		return ext4_damage(err, "its superblock claims groups of %u inodes",
			super->s_inodes_per_group);
	uint64_t groups = (e->blocks - super->s_first_data_block + super->s_blocks_per_group - 1) /
			  super->s_blocks_per_group;
	if (groups * super->s_inodes_per_group != super->s_inodes_count)
		return ext4_damage(err,
			"its superblock claims %u inodes, but %llu groups of %u inodes",
			super->s_inodes_count, (unsigned long long)groups,
			super->s_inodes_per_group);
	uint64_t table = ((uint64_t)super->s_inodes_per_group * e->inode_size) >> e->block_log;
	if (groups > UINT32_MAX || table * groups > e->blocks)
		return ext4_damage(err, "its superblock claims %u inodes, which do not fit on it",
			super->s_inodes_count);
	e->groups = (uint32_t)groups;
	return 0;
}

static int check_checksum(
	struct ext4 *e, const struct ext2_super_block *stored, struct ramet_error *err)
{
	if (!e->checksums)
		return 0;
	if (e->super.s_checksum_type != CHECKSUM_CRC32C)
		return error_set(err, EOPNOTSUPP,
			"the ext4 filesystem has checksums of a kind (%u) that is not known here",
			e->super.s_checksum_type);
	uint32_t sum = ext4_crc32c(~0u, stored, offsetof(struct ext2_super_block, s_checksum));
	if (!ext4_sum_right(sum, e->super.s_checksum))
		return ext4_damage(err, "its superblock has the wrong checksum");
	return 0;
}

int ext4_super_read(struct ext4 *e, bool with_checksum, struct ramet_error *err)
{
	struct ext2_super_block stored;
	if (e->device_size < SUPER_OFFSET + sizeof stored)
		return error_set(err, EMEDIUMTYPE, "it is no ext4 filesystem: it is too small");
	int r = ext4_pread(e, &stored, sizeof stored, SUPER_OFFSET, err);
	if (r < 0)
		return r;
	e->super = stored;
	super_to_host(&e->super);
	if (e->super.s_magic != EXT2_SUPER_MAGIC)
		return error_set(err, EMEDIUMTYPE, "it is no ext4 filesystem");
	if (e->super.s_rev_level > EXT2_DYNAMIC_REV)
		return error_set(err, EOPNOTSUPP,
			"the ext4 filesystem is of revision %u, which is not known here",
			e->super.s_rev_level);
	e->checksums = ext4_ro_compat(e, EXT4_FEATURE_RO_COMPAT_METADATA_CSUM);
	r = check_features(&e->super, err);
	if (r == 0 && with_checksum)
		r = check_checksum(e, &stored, err);
	if (r == 0)
		r = check_sizes(e, err);
	if (r == 0)
		r = check_groups(e, err);
	if (r < 0)
		return r;
	e->seed = ext4_incompat(e, EXT4_FEATURE_INCOMPAT_CSUM_SEED)
			  ? e->super.s_checksum_seed
			  : ext4_crc32c(~0u, stored.s_uuid, sizeof stored.s_uuid);
	return 0;
}

static bool is_power_of(uint32_t value, uint32_t base)
{
	while (value > 1 && value % base == 0)
		value /= base;
	return value == 1;
}

static bool group_has_super(const struct ext4 *e, uint32_t group)
{
	if (group == 0)
		return true;
	if (e->super.s_feature_compat & EXT4_FEATURE_COMPAT_SPARSE_SUPER2)
		return group == e->super.s_backup_bgs[0] || group == e->super.s_backup_bgs[1];
	if (group == 1 || !ext4_ro_compat(e, EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER))
		return true;
	return is_power_of(group, 3) || is_power_of(group, 5) || is_power_of(group, 7);
}

/* The block that the number-th block of descriptors is in (the kernel's descriptor_loc()). */
static uint64_t descriptor_block(const struct ext4 *e, uint32_t number, uint32_t per_block)
{
	uint64_t super_block = SUPER_OFFSET >> e->block_log;
	if (!ext4_incompat(e, EXT2_FEATURE_INCOMPAT_META_BG) || number < e->super.s_first_meta_bg)
		return super_block + 1 + number;
	uint32_t group = number * per_block;
	uint64_t block = e->super.s_first_data_block +
			 (uint64_t)group * e->super.s_blocks_per_group + group_has_super(e, group);
	if (e->block_size == 1024 && number == 0 && e->super.s_first_data_block == 0)
		block++;
	return block;
}

/* CRC-16 as in the kernel's lib/crc16.c: what gdt_csum uses. */
static uint16_t crc16(uint16_t crc, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1);
	}
	return crc;
}

static uint16_t descriptor_sum(const struct ext4 *e, uint32_t group, const uint8_t *descriptor)
{
	const size_t at = offsetof(struct ext2_group_desc, bg_checksum), after = at + 2;
	uint32_t number = htole32(group);
	if (e->checksums) {
		static const uint8_t zero[2];
		uint32_t sum = ext4_crc32c(e->seed, &number, sizeof number);
		sum = ext4_crc32c(sum, descriptor, at);
		sum = ext4_crc32c(sum, zero, sizeof zero);
		return (uint16_t)ext4_crc32c(sum, descriptor + after, e->descriptor_size - after);
	}
	uint16_t sum = crc16(0xFFFF, e->super.s_uuid, sizeof e->super.s_uuid);
	sum = crc16(sum, (const uint8_t *)&number, sizeof number);
	sum = crc16(sum, descriptor, at);
	return crc16(sum, descriptor + after, e->descriptor_size - after);
}

int ext4_group_table(struct ext4 *e, uint32_t group, uint64_t *table, struct ramet_error *err)
{
	uint32_t per_block = e->block_size / e->descriptor_size;
	const uint8_t *data = NULL;
	int r = ext4_block(e, descriptor_block(e, group / per_block, per_block), &data, err);
	if (r < 0)
		return r;
	const uint8_t *stored = data + (size_t)(group % per_block) * e->descriptor_size;
	struct ext4_group_desc descriptor = {0};
	memcpy(&descriptor, stored, MIN(e->descriptor_size, sizeof descriptor));
	if ((e->checksums || ext4_ro_compat(e, EXT4_FEATURE_RO_COMPAT_GDT_CSUM)) &&
		!ext4_sum_right(descriptor_sum(e, group, stored), le16toh(descriptor.bg_checksum)))
		return ext4_damage(err, "the descriptor of group %u has the wrong checksum", group);
	*table = le32toh(descriptor.bg_inode_table);
	if (e->descriptor_size >= DESCRIPTOR_64)
		*table |= (uint64_t)le32toh(descriptor.bg_inode_table_hi) << 32;
	uint64_t bytes = (uint64_t)e->super.s_inodes_per_group * e->inode_size;
	if (!ext4_blocks_exist(e, *table, (bytes + e->block_size - 1) >> e->block_log))
		return ext4_damage(err, "the inodes of group %u are said to be at block %llu",
			group, (unsigned long long)*table);
	return 0;
}
