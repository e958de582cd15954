/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The superblock of EROFS, and what a stranger's may say that cannot be read here: each such
 * feature is refused by its name. Sources: the kernel's fs/erofs/{super.c,erofs_fs.h} and
 * Documentation/filesystems/erofs.rst.
 *
 * That an image was compressed is no reason to refuse it as a whole: its directories, attributes
 * and small files are plain, so it can be listed and compared; see erofs_map.c.
 */
#include <endian.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "image/erofs_inside.h"
#include "image/erofs_reader.h"
#include "image/fs_inside.h"

static void super_to_host(struct erofs_super *super)
{
	uint32_t *const words[] = {&super->magic, &super->checksum, &super->feature_compat,
		&super->build_time_nsec, &super->blocks, &super->meta_block, &super->xattr_block,
		&super->feature_incompat, &super->xattr_prefix_start};
	uint16_t *const halves[] = {&super->root_nid, &super->extra_devices};
	uint64_t *const longs[] = {&super->build_time, &super->packed_nid, &super->root_nid_wide};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		*words[i] = le32toh(*words[i]);
	for (size_t i = 0; i < ARRAY_SIZE(halves); i++)
		*halves[i] = le16toh(*halves[i]);
	for (size_t i = 0; i < ARRAY_SIZE(longs); i++)
		*longs[i] = le64toh(*longs[i]);
}

/* With the feature, the field that was the root's number is the high half of the count. */
static bool is_wide(const struct erofs_super *super)
{
	return (super->feature_incompat & EROFS_INCOMPAT_48BIT) && super->root_nid_wide;
}

static uint64_t block_count(const struct erofs_super *super)
{
	return super->blocks | (is_wide(super) ? (uint64_t)super->root_nid << 32 : 0);
}

static bool block_bits_known(const struct erofs_super *super)
{
	return super->block_bits >= EROFS_BLOCK_BITS_MIN &&
	       super->block_bits <= EROFS_BLOCK_BITS_MAX;
}

bool erofs_probe(int fd)
{
	struct erofs_super super;
	return pread_full(fd, &super, sizeof super, EROFS_SUPER_OFFSET) == (ssize_t)sizeof super &&
	       le32toh(super.magic) == EROFS_MAGIC;
}

int erofs_length(int fd, uint64_t *bytes, struct ramet_error *err)
{
	struct erofs_super super;
	int r = fs_read_super(fd, EROFS_SUPER_OFFSET, &super, sizeof super, err);
	if (r < 0)
		return r;
	super_to_host(&super);
	if (!block_bits_known(&super) ||
		!checked_mul(block_count(&super), 1ull << super.block_bits, bytes))
		return error_set(err, EMEDIUMTYPE, "the superblock is damaged");
	return 0;
}

/* Features without a sentence are known, or are told of where they matter. */
static const struct {
	uint32_t feature;
	const char *refusal;
} incompat_features[] = {
	{EROFS_INCOMPAT_ZERO_PADDING, NULL},
	{EROFS_INCOMPAT_COMPRESSION_CFGS, NULL},
	{EROFS_INCOMPAT_CHUNKED_FILE, NULL},
	{EROFS_INCOMPAT_DEVICE_TABLE, NULL},
	{EROFS_INCOMPAT_TAIL_PACKING, NULL},
	{EROFS_INCOMPAT_FRAGMENTS, NULL},
	{EROFS_INCOMPAT_XATTR_PREFIXES, NULL},
	{EROFS_INCOMPAT_48BIT, NULL},
	{EROFS_INCOMPAT_METABOX,
		"the EROFS image has compressed metadata (feature metabox), which cannot be read "
		"here: mount it with the kernel, or build it again without compression"},
};

static int check_features(const struct erofs_super *super, struct ramet_error *err)
{
	uint32_t unknown = super->feature_incompat;
	for (size_t i = 0; i < ARRAY_SIZE(incompat_features); i++) {
		if ((unknown & incompat_features[i].feature) && incompat_features[i].refusal)
			return error_set(err, EOPNOTSUPP, "%s", incompat_features[i].refusal);
		unknown &= ~incompat_features[i].feature;
	}
	if (unknown)
		return error_set(err, EOPNOTSUPP,
			"the EROFS image has features that are not known here (incompat %#x)",
			unknown);
	if (super->extra_devices)
		return error_set(err, EOPNOTSUPP,
			"the EROFS image has its content in other files or devices (%u), which "
			"cannot be read here: build it again as one file, without mkfs.erofs "
			"--blobdev",
			super->extra_devices);
	if (super->directory_block_bits)
		return error_set(err, EOPNOTSUPP,
			"the EROFS image has directory blocks of a size of their own, which cannot "
			"be read here");
	return 0;
}

/* From the superblock to the end of its block; of blocks that end before it, one block's length. */
static int check_sum(struct erofs *e, struct ramet_error *err)
{
	if (!(e->super.feature_compat & EROFS_COMPAT_SUPER_CHECKSUM))
		return 0;
	size_t length = e->block_size;
	if (length > EROFS_SUPER_OFFSET)
		length -= EROFS_SUPER_OFFSET;
	_cleanup_free_ uint8_t *bytes = malloc(length);
	if (!bytes)
		return error_memory(err);
	int r = erofs_pread(e, bytes, length, EROFS_SUPER_OFFSET, err);
	if (r < 0)
		return r;
	memset(bytes + offsetof(struct erofs_super, checksum), 0, sizeof e->super.checksum);
	uint32_t sum = ext2fs_crc32c_le(~0u, bytes, length);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	sum = e->super.checksum; /* changed bytes must reach what is behind it */
#endif
	if (sum != e->super.checksum)
		return erofs_damage(err, "its superblock has the wrong checksum");
	return 0;
}

int erofs_super_read(struct erofs *e, uint64_t device, struct ramet_error *err)
{
	struct erofs_super *super = &e->super;
	ssize_t n = pread_full(e->fd, super, sizeof *super, EROFS_SUPER_OFFSET);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read the EROFS image");
	super_to_host(super);
	if ((size_t)n < sizeof *super || super->magic != EROFS_MAGIC)
		return error_set(err, EMEDIUMTYPE, "it is no EROFS image");
	if (!block_bits_known(super))
		return erofs_damage(err, "it claims blocks of 2^%u bytes", super->block_bits);
	e->block_size = 1u << super->block_bits;
	uint64_t blocks = block_count(super);
	if (blocks > device >> super->block_bits)
		return erofs_damage(err,
			"it says that it has %llu blocks of %u bytes, but the file has %llu bytes",
			erofs_shown(blocks), e->block_size, erofs_shown(device));
	e->size = blocks << super->block_bits;
	if (e->size < EROFS_SUPER_OFFSET + sizeof *super)
		return erofs_damage(err,
			"it says that it has %llu blocks, less than its superblock",
			erofs_shown(blocks));
	int r = check_sum(e, err);
	if (r == 0)
		r = check_features(super, err);
	if (r < 0)
		return r;
	e->root = is_wide(super) ? super->root_nid_wide : super->root_nid;
	e->metadata = (uint64_t)super->meta_block << super->block_bits;
	if (e->metadata >= e->size)
		return erofs_damage(err,
			"its metadata is said to start at block %u, and there are %llu",
			super->meta_block, erofs_shown(blocks));
	return 0;
}
