/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuzz targets and corpus tests share: an image from bytes, and a walk that asks a view for
 * everything it has, within bounds.
 *
 * Ext4 devices are mostly empty and a journal alone takes a megabyte, and EROFS images are padded to
 * blocks, so both are kept in a short form: 32 bits of length in KiB, then for each KiB that is not zeros its number (32 bits, all
 * little-endian) and its bytes. scripts beside this file make it.
 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "image/fs.h"

enum { IMAGE_KIB = 1024, IMAGE_KIB_MAX = 16384 };

static inline int image_plain(const uint8_t *data, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	if (fd < 0 || pwrite_full(fd, data, size, 0) < 0)
		abort();
	return fd;
}

static inline uint32_t image_word(const uint8_t *data)
{
	uint32_t word;
	memcpy(&word, data, sizeof word);
	return le32toh(word);
}

/* -1 when data is not the short form of anything. */
static inline int image_sparse(const uint8_t *data, size_t size)
{
	const size_t record = sizeof(uint32_t) + IMAGE_KIB;
	if (size < sizeof(uint32_t) || image_word(data) > IMAGE_KIB_MAX)
		return -1;
	uint32_t length = image_word(data);
	int fd = memfd_create("image", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)length * IMAGE_KIB) < 0)
		abort();
	for (size_t at = sizeof(uint32_t); at + record <= size; at += record) {
		uint32_t number = image_word(data + at);
		if (number < length && pwrite_full(fd, data + at + sizeof(uint32_t), IMAGE_KIB,
					       (uint64_t)number * IMAGE_KIB) < 0)
			abort();
	}
	return fd;
}

/* How much a walk asks for; it ends quietly when nothing is left. */
struct walk_budget {
	size_t entries, bytes, extents;
};
#define WALK_BUDGET \
	{ \
		.entries = 2000, .bytes = 4 << 20, .extents = 2000 \
	}

static inline int walk_content(struct fs *fs, fs_ref ref, uint64_t size, struct walk_budget *budget,
	struct ramet_error *err)
{
	static uint8_t buffer[32768];
	for (uint64_t at = 0; at < size && budget->extents; budget->extents--) {
		struct fs_extent extent;
		int r = fs->ops->extent(fs, ref, at, &extent, err);
		if (r < 0)
			return r;
		if (extent.offset != at || extent.length == 0 || extent.length > size - at)
			abort();
		at += extent.length;
	}
	uint64_t at = 0;
	while (at < size && budget->bytes >= sizeof buffer) {
		size_t done;
		int r = fs->ops->read(fs, ref, at, buffer, sizeof buffer, &done, err);
		if (r < 0)
			return r;
		if (done != MIN(sizeof buffer, size - at))
			abort();
		at += done;
		budget->bytes -= sizeof buffer;
	}
	return 0;
}

/* Everything of one inode and of all below it. The first error ends the walk and is returned. */
static inline int walk_tree(struct fs *fs, fs_ref ref, unsigned depth, struct walk_budget *budget,
	struct ramet_error *err)
{
	struct fs_stat stat;
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = fs->ops->stat(fs, ref, &stat, err);
	if (r == 0)
		r = fs->ops->xattrs(fs, ref, &xattrs, err);
	if (r < 0)
		return r;
	if (fs->ops->same)
		(void)fs->ops->same(fs, ref, fs, ref);
	if (S_ISREG(stat.mode))
		return walk_content(fs, ref, stat.size, budget, err);
	if (S_ISLNK(stat.mode)) {
		_cleanup_free_ char *target = NULL;
		return fs->ops->readlink(fs, ref, &target, err);
	}
	if (!S_ISDIR(stat.mode) || depth > 100)
		return 0;
	r = fs->ops->list(fs, ref, &entries, err);
	for (size_t i = 0; i < entries.count && r == 0 && budget->entries; i++) {
		budget->entries--;
		if (i && strcmp(entries.items[i - 1].name, entries.items[i].name) >= 0)
			abort();
		r = walk_tree(fs, entries.items[i].ref, depth + 1, budget, err);
	}
	return r;
}

/* Whatever an inode is, named or not: nothing but errors may come of asking for each thing. */
static inline int walk_one(struct fs *fs, fs_ref ref, struct ramet_error *err)
{
	struct walk_budget budget = {.bytes = 65536, .extents = 20};
	_cleanup_free_ char *target = NULL;
	(void)fs->ops->readlink(fs, ref, &target, err);
	return walk_tree(fs, ref, 0, &budget, err);
}

static inline int walk_all(struct fs *fs, struct ramet_error *err)
{
	struct walk_budget budget = WALK_BUDGET;
	fs_ref root;
	int r = fs->ops->root(fs, &root, err);
	return r < 0 ? r : walk_tree(fs, root, 0, &budget, err);
}

#endif
