/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of image formats, and telling them apart. Superblocks are looked at by hand here: a
 * file of unknown origin is not given to a library only to learn what it is.
 */
#include "image/image.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/text.h"
#include "image/erofs_reader.h"
#include "image/ext4_reader.h"
#include "image/formats.h"
#include "image/fs_inside.h"
#include "image/squashfs_reader.h"
#include "source/tree.h"

static uint32_t get32(const unsigned char *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, sizeof value);
	return le32toh(value);
}

static uint16_t get16(const unsigned char *bytes)
{
	uint16_t value;
	memcpy(&value, bytes, sizeof value);
	return le16toh(value);
}

/* squashfs: superblock at 0; magic at 0, version at 28, bytes_used at 40. */
#define SQUASHFS_SUPER_SIZE 96

static bool squashfs_probe(int fd)
{
	unsigned char super[SQUASHFS_SUPER_SIZE];
	return pread_full(fd, super, sizeof super, 0) == (ssize_t)sizeof super &&
	       memcmp(super, "hsqs", 4) == 0 && get16(super + 28) == 4;
}

static int squashfs_length(int fd, uint64_t *bytes, struct ramet_error *err)
{
	unsigned char super[SQUASHFS_SUPER_SIZE];
	int r = fs_read_super(fd, 0, super, sizeof super, err);
	if (r < 0)
		return r;
	*bytes = get32(super + 40) | (uint64_t)get32(super + 44) << 32;
	return 0;
}

/* ext4: superblock at 1024; blocks count at 4, log of the block size over 1 KiB at 24, magic at
 * 56, incompatible features at 96, the count's high half at 336 (with the 64-bit feature). */
#define EXT4_SUPER_OFFSET   1024
#define EXT4_SUPER_SIZE     1024
#define EXT4_FEATURE_EXTENT 0x40
#define EXT4_FEATURE_64BIT  0x80

static bool ext4_probe(int fd)
{
	unsigned char super[EXT4_SUPER_SIZE];
	return pread_full(fd, super, sizeof super, EXT4_SUPER_OFFSET) == (ssize_t)sizeof super &&
	       get16(super + 56) == 0xef53 && (get32(super + 96) & EXT4_FEATURE_EXTENT);
}

static int ext4_length(int fd, uint64_t *bytes, struct ramet_error *err)
{
	unsigned char super[EXT4_SUPER_SIZE];
	int r = fs_read_super(fd, EXT4_SUPER_OFFSET, super, sizeof super, err);
	if (r < 0)
		return r;
	uint64_t blocks = get32(super + 4);
	if (get32(super + 96) & EXT4_FEATURE_64BIT)
		blocks |= (uint64_t)get32(super + 336) << 32;
	uint32_t log = get32(super + 24);
	if (log > 6 || !checked_mul(blocks, (uint64_t)1024 << log, bytes))
		return error_set(err, EMEDIUMTYPE, "the superblock is damaged");
	return 0;
}

/* Whether a journal was replayed is told where forks are read; here the view is all that counts. */
static int ext4_open_image(int fd, struct fs **fs, struct ramet_error *err)
{
	bool replayed;
	return ext4_open(fd, fs, &replayed, err);
}

const struct image_format image_squashfs = {
	.name = "squashfs",
	.summary = "compressed and read-only: small, shared by all forks (overlay mode)",
	.write = squashfs_write,
	.probe = squashfs_probe,
	.length = squashfs_length,
	.open = squashfs_open,
	.describe = squashfs_describe,
};

const struct image_format image_ext4 = {
	.name = "ext4",
	.summary = "plain and writable: each fork is a copy-on-write clone (clone mode)",
	.write = ext4_write,
	.probe = ext4_probe,
	.length = ext4_length,
	.open = ext4_open_image,
	.describe = ext4_describe,
};

const struct image_format image_erofs = {
	.name = "erofs",
	.summary = "plain and read-only: quick to read, larger than squashfs (overlay mode)",
	.write = erofs_write,
	.probe = erofs_probe,
	.length = erofs_length,
	.open = erofs_open,
	.describe = erofs_describe,
};

const struct image_format *const image_formats[] = {
	&image_squashfs, &image_erofs, &image_ext4, NULL};

const struct image_format *image_format_find(const char *name)
{
	for (size_t i = 0; image_formats[i]; i++)
		if (strcmp(image_formats[i]->name, name) == 0)
			return image_formats[i];
	return NULL;
}

static int check_length(
	int fd, const char *path, const struct image_format *format, struct ramet_error *err)
{
	struct stat st;
	uint64_t expected;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at %s", path);
	/* A block device's st_size is 0, and its end is its own business. */
	if (!S_ISREG(st.st_mode))
		return 0;
	int r = format->length(fd, &expected, err);
	if (r < 0)
		return error_prefix(err, r, "%s is not a whole %s image", path, format->name);
	if ((uint64_t)st.st_size < expected)
		return error_set(err, EMEDIUMTYPE,
			"%s is a truncated %s image: it should have %" PRIu64
			" bytes and has %" PRIu64,
			path, format->name, expected, (uint64_t)st.st_size);
	return 0;
}

int image_identify(
	int fd, const char *path, const struct image_format **format, struct ramet_error *err)
{
	for (size_t i = 0; image_formats[i]; i++)
		if (image_formats[i]->probe(fd)) {
			*format = image_formats[i];
			return check_length(fd, path, *format, err);
		}
	return error_set(err, EMEDIUMTYPE,
		"%s is not an image: neither squashfs, erofs nor ext4; 'ramet build' makes one",
		path);
}

int image_time(const struct tree *tree, int64_t *seconds, struct ramet_error *err)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	uint64_t value;
	*seconds = tree->newest;
	if (!epoch || !*epoch)
		return 0;
	if (text_parse_uint(epoch, INT64_MAX, &value) < 0)
		return error_set(err, EINVAL,
			"SOURCE_DATE_EPOCH is '%s', not a number of seconds since 1970", epoch);
	*seconds = (int64_t)value;
	return 0;
}
