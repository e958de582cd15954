/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets and bits: Documentation/filesystems/ext4/super.rst, and struct ext2_super_block of
 * libext2fs, which is used for the names.
 *
 * A new UUID is a change of the superblock alone only when no other checksum starts from it: with
 * metadata_csum every metadata block's checksum starts from crc32c(~0, UUID), unless the feature
 * metadata_csum_seed (Linux 4.4) stores that start by itself. A clone whose base lacks it gets it,
 * with the seed of the old UUID: all the checksums stay right, as tune2fs -U does it.
 * With uninit_bg alone the group descriptors' checksums hold the UUID with no way around.
 *
 * The journal's superblock has a UUID too; of an inner journal nobody compares it with the
 * filesystem's, and its blocks' checksums start from it, so a clone's journal stays as it is.
 */
#include "volume/superblock.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "base/checked.h"

_Static_assert(sizeof(struct ext2_super_block) == EXT4_SUPER_SIZE, "as on the disk");

static uint32_t get32(const uint8_t *block, size_t offset)
{
	const uint8_t *b = block + offset;
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void put32(uint8_t *block, size_t offset, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		block[offset + (size_t)i] = (uint8_t)(value >> (8 * i));
}

#define FIELD(name)         offsetof(struct ext2_super_block, name)
#define ORPHAN_FILE_PRESENT 0x10000 /* RO_COMPAT, Linux 5.15 */

static const char *find_obstacle(const uint8_t *block)
{
	uint32_t incompatible = get32(block, FIELD(s_feature_incompat));
	uint32_t read_only = get32(block, FIELD(s_feature_ro_compat));
	uint16_t state = (uint16_t)get32(block, FIELD(s_state));
	if (incompatible & EXT3_FEATURE_INCOMPAT_RECOVER)
		return "its journal has to be replayed (it was not unmounted cleanly); e2fsck -p does "
		       "that";
	if (!(state & EXT2_VALID_FS) || get32(block, FIELD(s_last_orphan)) ||
		(read_only & ORPHAN_FILE_PRESENT))
		return "it was not unmounted cleanly; e2fsck -p mends that";
	if (state & EXT2_ERROR_FS)
		return "it is marked as damaged; e2fsck mends that";
	if (incompatible & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return "it is the journal of another file system";
	if (get32(block, FIELD(s_journal_dev)) && !get32(block, FIELD(s_journal_inum)))
		return "its journal is on another device";
	if ((read_only & EXT4_FEATURE_RO_COMPAT_GDT_CSUM) &&
		!(read_only & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM))
		return "its group checksums (uninit_bg) hold its UUID; tune2fs -O metadata_csum "
		       "gives it better ones";
	return NULL;
}

void superblock_inspect(const uint8_t block[static EXT4_SUPER_SIZE], struct superblock_state *state)
{
	*state = (struct superblock_state){0};
	uint16_t magic = (uint16_t)get32(block, FIELD(s_magic));
	uint32_t log_block_size = get32(block, FIELD(s_log_block_size));
	if (magic != EXT2_SUPER_MAGIC || log_block_size > 6)
		return;
	uint64_t blocks = get32(block, FIELD(s_blocks_count));
	if (get32(block, FIELD(s_feature_incompat)) & EXT4_FEATURE_INCOMPAT_64BIT)
		blocks |= (uint64_t)get32(block, FIELD(s_blocks_count_hi)) << 32;
	state->is_ext4 = checked_mul(blocks, (uint64_t)1024 << log_block_size, &state->size);
	state->obstacle = find_obstacle(block);
}

int identity_create(struct identity *identity, struct ramet_error *err)
{
	if (getrandom(identity, sizeof *identity, 0) != (ssize_t)sizeof *identity)
		return error_errno(err, errno, "cannot get random bytes for a UUID");
	/* RFC 4122, 4.4: version 4, variant 1. */
	identity->uuid[6] = (uint8_t)((identity->uuid[6] & 0x0f) | 0x40);
	identity->uuid[8] = (uint8_t)((identity->uuid[8] & 0x3f) | 0x80);
	return 0;
}

void superblock_rename(
	uint8_t block[static EXT4_SUPER_SIZE], const struct identity *identity, bool new_seed)
{
	bool checksums = get32(block, FIELD(s_feature_ro_compat)) &
			 EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
	uint32_t incompatible = get32(block, FIELD(s_feature_incompat));
	if (checksums && !(incompatible & EXT4_FEATURE_INCOMPAT_CSUM_SEED)) {
		put32(block, FIELD(s_checksum_seed),
			ext2fs_crc32c_le(~0U, block + FIELD(s_uuid), sizeof identity->uuid));
		put32(block, FIELD(s_feature_incompat),
			incompatible | EXT4_FEATURE_INCOMPAT_CSUM_SEED);
	}
	memcpy(block + FIELD(s_uuid), identity->uuid, sizeof identity->uuid);
	if (new_seed)
		memcpy(block + FIELD(s_hash_seed), identity->hash_seed, sizeof identity->hash_seed);
	if (checksums)
		put32(block, FIELD(s_checksum), ext2fs_crc32c_le(~0U, block, FIELD(s_checksum)));
}
