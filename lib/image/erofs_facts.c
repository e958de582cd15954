/* SPDX-License-Identifier: Apache-2.0 */
/* What an EROFS image says of itself; see erofs_format.h. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

#include "base/fd.h"
#include "image/erofs_format.h"
#include "image/formats.h"
#include "image/fs_inside.h"
#include "image/image.h"

static const struct image_feature compat[] = {
	{EROFS_COMPAT_SUPER_CHECKSUM, "sb_csum"},
	{EROFS_COMPAT_MTIME, "mtime"},
	{EROFS_COMPAT_XATTR_FILTER, "xattr_filter"},
	{0, NULL},
};
static const struct image_feature incompat[] = {
	{EROFS_INCOMPAT_ZERO_PADDING, "0padding"},
	{EROFS_INCOMPAT_COMPRESSION_CFGS, "compr_cfgs"},
	{EROFS_INCOMPAT_CHUNKED_FILE, "chunked_file"},
	{EROFS_INCOMPAT_DEVICE_TABLE, "device_table"},
	{EROFS_INCOMPAT_TAIL_PACKING, "ztailpacking"},
	{EROFS_INCOMPAT_FRAGMENTS, "fragments"},
	{EROFS_INCOMPAT_XATTR_PREFIXES, "xattr_prefixes"},
	{EROFS_INCOMPAT_48BIT, "48bit"},
	{EROFS_INCOMPAT_METABOX, "metabox"},
	{0, NULL},
};
static const struct image_feature algorithms[] = {
	{1 << 0, "lz4"}, {1 << 1, "lzma"}, {1 << 2, "deflate"}, {1 << 3, "zstd"}, {0, NULL}};

static void find_compression(const struct erofs_super *super, struct image_facts *facts)
{
	uint32_t bits = le32toh(super->feature_incompat);
	if (bits & EROFS_INCOMPAT_COMPRESSION_CFGS)
		image_features(facts->compression, sizeof facts->compression,
			le16toh(super->compression), algorithms, "unknown");
	else if (bits & EROFS_INCOMPAT_ZERO_PADDING)
		strcpy(facts->compression, "lz4");
	if (!facts->compression[0])
		strcpy(facts->compression, "none");
}

int erofs_describe(int fd, struct image_facts *facts, struct ramet_error *err)
{
	struct erofs_super super;
	int r = fs_read_super(fd, EROFS_SUPER_OFFSET, &super, sizeof super, err);
	if (r < 0)
		return r;
	find_compression(&super, facts);
	facts->block_size = super.block_bits < 32 ? 1u << super.block_bits : 0;
	facts->used = (uint64_t)le32toh(super.blocks) * facts->block_size;
	facts->inodes = le64toh(super.inodes);
	facts->has_time = true;
	facts->time = (int64_t)le64toh(super.build_time);
	memcpy(facts->label, super.volume_name, sizeof super.volume_name);
	if (!uuid_is_null(super.uuid))
		uuid_unparse_lower(super.uuid, facts->uuid);
	image_features(facts->features, sizeof facts->features, le32toh(super.feature_compat),
		compat, "compat");
	image_features(facts->features, sizeof facts->features, le32toh(super.feature_incompat),
		incompat, "incompat");
	return 0;
}
