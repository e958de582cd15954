/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the lazy file's reader share: lookups (lazy.c) and checks (lazy_check.c). */
#ifndef IMAGE_LAZY_INSIDE_H
#define IMAGE_LAZY_INSIDE_H

#include "image/lazy.h"
#include "image/lazy_format.h"

struct lazy {
	int fd;
	const uint8_t *map; /* the whole file */
	uint64_t bytes;     /* its length */
	char format[LAZY_FORMAT_NAME];
	uint64_t image_bytes, content_bytes, metadata_offset, metadata_bytes;
	const struct lazy_disk_extent *extents;
	const struct lazy_disk_file *files;
	const struct lazy_disk_folder *folders;
	const struct lazy_disk_root *roots;
	const char *names;
	uint64_t extent_count, name_bytes;
	uint32_t file_count, folder_count, root_count;
	char **root_paths; /* copies */
};

/* The header alone, LAZY_HEADER bytes. */
int lazy_check_start(
	const struct lazy_disk_header *header, const char *path, struct ramet_error *err);
/* Header and checksums; fills what is above, but for root_paths. */
int lazy_check_header(struct lazy *lazy, const char *path, struct ramet_error *err);
/* Everything that the tables say. */
int lazy_check_tables(const struct lazy *lazy, const char *path, struct ramet_error *err);

#endif
