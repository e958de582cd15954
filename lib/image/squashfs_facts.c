/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a squashfs says of itself: the superblock, and the compressor's options, which stand right
 * behind it in a metadata block that is never compressed. Sources: the kernel's
 * fs/squashfs/squashfs_fs.h and the option structures of its {zlib,xz,lz4,zstd} wrappers.
 */
#include <endian.h>
#include <errno.h>
#include <sqfs/super.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "image/formats.h"
#include "image/fs_inside.h"
#include "image/image.h"

enum { METADATA_PLAIN = 0x8000, OPTIONS_MAX = 32, LZ4_HIGH = 1 };
#define NO_TABLE UINT64_MAX

static const struct image_feature flags[] = {
	{SQFS_FLAG_UNCOMPRESSED_INODES, "uncompressed_inodes"},
	{SQFS_FLAG_UNCOMPRESSED_DATA, "uncompressed_data"},
	{SQFS_FLAG_UNCOMPRESSED_FRAGMENTS, "uncompressed_fragments"},
	{SQFS_FLAG_NO_FRAGMENTS, "no_fragments"},
	{SQFS_FLAG_ALWAYS_FRAGMENTS, "always_fragments"},
	{SQFS_FLAG_NO_DUPLICATES, "duplicates_removed"},
	{SQFS_FLAG_EXPORTABLE, "exportable"},
	{SQFS_FLAG_UNCOMPRESSED_XATTRS, "uncompressed_xattrs"},
	{SQFS_FLAG_NO_XATTRS, "no_xattrs"},
	{SQFS_FLAG_COMPRESSOR_OPTIONS, "compressor_options"},
	{SQFS_FLAG_UNCOMPRESSED_IDS, "uncompressed_ids"},
	{0, NULL},
};

/* gzip and zstd begin with the level; lz4 has a version, then whether it is the high one. Which
 * level xz had is not written down, and without options it was the writer's default. */
static void read_level(int fd, unsigned compression, struct image_facts *facts)
{
	uint8_t bytes[2 + OPTIONS_MAX] = {0};
	uint32_t first, second;
	ssize_t n = pread_full(fd, bytes, sizeof bytes, sizeof(sqfs_super_t));
	if (n < 2 + (ssize_t)sizeof first || !(bytes[1] & METADATA_PLAIN >> 8))
		return;
	memcpy(&first, bytes + 2, sizeof first);
	memcpy(&second, bytes + 2 + sizeof first, sizeof second);
	if (compression == SQFS_COMP_GZIP || compression == SQFS_COMP_ZSTD)
		facts->level = le32toh(first);
	else if (compression == SQFS_COMP_LZ4 && (le32toh(second) & LZ4_HIGH))
		snprintf(facts->compression, sizeof facts->compression, "lz4hc");
}

int squashfs_describe(int fd, struct image_facts *facts, struct ramet_error *err)
{
	static const char *const names[] = {"none", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"};
	sqfs_super_t super;
	int r = fs_read_super(fd, 0, &super, sizeof super, err);
	if (r < 0)
		return r;
	unsigned id = le16toh(super.compression_id), bits = le16toh(super.flags);
	snprintf(facts->version, sizeof facts->version, "%u.%u", le16toh(super.version_major),
		le16toh(super.version_minor));
	snprintf(facts->compression, sizeof facts->compression, "%s",
		id < ARRAY_SIZE(names) ? names[id] : "unknown");
	if (bits & SQFS_FLAG_COMPRESSOR_OPTIONS)
		read_level(fd, id, facts);
	facts->block_size = le32toh(super.block_size);
	facts->used = le64toh(super.bytes_used);
	facts->inodes = le32toh(super.inode_count);
	facts->fragments = le32toh(super.fragment_entry_count);
	facts->has_time = true;
	facts->time = le32toh(super.modification_time);
	facts->exportable = le64toh(super.export_table_start) != NO_TABLE;
	image_features(facts->features, sizeof facts->features, bits, flags, "flag");
	return 0;
}
