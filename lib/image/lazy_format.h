/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lazy file as it stands on disk (docs/formats.md says it in words). All numbers are little-endian.
 *
 *	header      4096 bytes
 *	metadata    whole blocks of the image, those that are not zeros
 *	extents     sorted by place
 *	files       in the order of the tree, so that neighbours share a folder
 *	folders     each after the one that it is in
 *	roots
 *	names       each ends with a NUL
 */
#ifndef IMAGE_LAZY_FORMAT_H
#define IMAGE_LAZY_FORMAT_H

#include <stdint.h>

#define LAZY_MAGIC   "RametLzy"
#define LAZY_VERSION 1
#define LAZY_HEADER  4096
#define LAZY_NONE    UINT32_MAX

enum lazy_part {
	LAZY_PART_METADATA,
	LAZY_PART_EXTENTS,
	LAZY_PART_FILES,
	LAZY_PART_FOLDERS,
	LAZY_PART_ROOTS,
	LAZY_PART_NAMES,
	LAZY_PARTS
};

struct lazy_disk_part {
	uint64_t offset;   /* in the lazy file, a multiple of 4096 */
	uint64_t length;   /* bytes */
	uint32_t checksum; /* CRC-32C of them */
	uint32_t zero;
};

struct lazy_disk_header {
	char magic[8];
	uint32_t version;
	uint32_t checksum;      /* CRC-32C of the LAZY_HEADER bytes, with zeros here */
	char format[16];        /* of the image: "squashfs"; the rest NUL */
	uint64_t image_bytes;   /* of the device */
	uint64_t content_bytes; /* of it, what stands in source files */
	struct lazy_disk_part parts[LAZY_PARTS];
	/* zeros to the end */
};

struct lazy_disk_extent {
	uint64_t place;  /* in the image */
	uint64_t length; /* bytes */
	uint64_t offset; /* in the source file; in the lazy file when file is LAZY_NONE */
	uint32_t file;
	uint32_t zero;
};

struct lazy_disk_file {
	uint64_t size, inode;
	int64_t mtime; /* seconds since the epoch */
	uint32_t mtime_nsec;
	uint32_t folder; /* that it is in */
	uint32_t name;   /* offset in names */
	uint32_t birth;  /* tree_birth() */
};

struct lazy_disk_folder {
	uint32_t parent; /* a folder before this one; LAZY_NONE: it is the folder of a root */
	uint32_t name;   /* offset in names; the root's number */
};

struct lazy_disk_root {
	uint32_t path; /* offset in names */
	uint32_t zero;
};

_Static_assert(sizeof(struct lazy_disk_part) == 24, "as on disk");
_Static_assert(sizeof(struct lazy_disk_header) == 48 + LAZY_PARTS * 24, "as on disk");
_Static_assert(sizeof(struct lazy_disk_extent) == 32, "as on disk");
_Static_assert(sizeof(struct lazy_disk_file) == 40, "as on disk");
_Static_assert(sizeof(struct lazy_disk_folder) == 8, "as on disk");

/* Whether a name can be one of a file in a folder: neither empty nor "." nor "..", without "/". */
static inline int lazy_name_is_good(const char *name)
{
	if (name[0] == '\0' || (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))))
		return 0;
	for (; *name; name++)
		if (*name == '/')
			return 0;
	return 1;
}

#endif
