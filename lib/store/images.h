/* SPDX-License-Identifier: Apache-2.0 */
/* Images in the catalogue. A row is one state of one file: its size, mtime and inode too. */
#ifndef STORE_IMAGES_H
#define STORE_IMAGES_H

#include <sys/stat.h>

#include "store/store.h"

struct store_image {
	int64_t id; /* 0: not in the catalogue */
	char *path; /* absolute */
	char *format;
	struct stat st; /* of the file now */
};
void store_image_free(struct store_image *image);
#define _cleanup_image_ __attribute__((cleanup(store_image_free)))

/* What the catalogue knows of the file open at fd, called path: id is 0 when it knows nothing. */
int store_image_find(struct ramet_store *store, int fd, const char *path, struct store_image *image,
	struct ramet_error *err);
/* Give image, found to be of that format, a row. */
int store_image_insert(struct ramet_store *store, struct store_image *image, const char *format,
	const char *read_only_paths, struct ramet_error *err);

/* Every image in the catalogue. One whose file is gone and that no fork stands on is forgotten. */
struct store_images {
	struct store_image_row {
		struct ramet_image_info info; /* its strings belong to path and format */
		int64_t id;
		char *path, *format;
	} * items;
	size_t count, capacity;
};
int store_images_list(
	struct ramet_store *store, struct store_images *images, struct ramet_error *err);
void store_images_free(struct store_images *images);
#define _cleanup_images_ __attribute__((cleanup(store_images_free)))

/* "unchanged", "changed" or "missing": the file at path against what a row says of it. */
const char *store_image_state(const char *path, int64_t size, int64_t mtime_ns, int64_t inode);

static inline int64_t stat_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

#endif
