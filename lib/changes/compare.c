/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an object what it was? Cheap questions come first: sizes before bytes. Bytes are read side by
 * side in the order of the file, since a compressed base is only fast that way, until the first
 * difference; where both have a hole nothing is read, so that a hostile size costs nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "changes/side.h"

enum { BLOCK = 256 * 1024 };

static int bytes_differ(const struct change_side *old, const struct change_side *new,
	uint64_t offset, uint64_t length, char *buffer, bool *differ, struct ramet_error *err)
{
	for (uint64_t done = 0; done < length && !*differ;) {
		size_t step = (size_t)MIN(length - done, (uint64_t)BLOCK);
		int r = side_read(old, offset + done, buffer, step, err);
		if (r == 0)
			r = side_read(new, offset + done, buffer + BLOCK, step, err);
		if (r < 0)
			return r;
		*differ = memcmp(buffer, buffer + BLOCK, step) != 0;
		done += step;
	}
	return 0;
}

/* Two files of one size. */
static int files_differ(const struct change_side *old, const struct change_side *new, bool *differ,
	struct ramet_error *err)
{
	_cleanup_free_ char *buffer = NULL;
	uint64_t size = new->stat.size;
	for (uint64_t offset = 0; offset < size && !*differ;) {
		struct fs_extent a = {0}, b = {0};
		int r = side_extent(old, offset, &a, err);
		if (r == 0)
			r = side_extent(new, offset, &b, err);
		if (r < 0)
			return r;
		uint64_t length = MIN(a.length, b.length);
		if (!(a.hole && b.hole)) {
			if (!buffer && !(buffer = malloc((size_t)2 * BLOCK)))
				return error_memory(err);
			/* Where neither has a hole the extents need not end together. */
			if (!a.hole && !b.hole)
				length = MAX(a.length, b.length);
			r = bytes_differ(old, new, offset, length, buffer, differ, err);
			if (r < 0)
				return r;
		}
		offset += length;
	}
	return 0;
}

static int symlinks_differ(const struct change_side *old, const struct change_side *new,
	bool *differ, struct ramet_error *err)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	int r = side_readlink(old, &a, err);
	if (r == 0)
		r = side_readlink(new, &b, err);
	if (r == 0)
		*differ = strcmp(a, b) != 0;
	return r;
}

static int content_differs(const struct change_side *old, const struct change_side *new,
	enum changes_verdict files, bool *differ, struct ramet_error *err)
{
	switch (new->stat.mode &S_IFMT) {
	case S_IFREG:
		*differ = old->stat.size != new->stat.size || files == CHANGES_DIFFER;
		return *differ || files == CHANGES_SAME ? 0 : files_differ(old, new, differ, err);
	case S_IFLNK:
		return symlinks_differ(old, new, differ, err);
	case S_IFBLK:
	case S_IFCHR:
		*differ = old->stat.rdev_major != new->stat.rdev_major ||
			  old->stat.rdev_minor != new->stat.rdev_minor;
		return 0;
	default:
		return 0;
	}
}

static int xattrs_differ(const struct change_side *old, const struct change_side *new, bool *differ,
	struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs a = {0};
	_cleanup_xattrs_ struct fs_xattrs b = {0};
	int r = side_xattrs(old, &a, err);
	if (r == 0)
		r = side_xattrs(new, &b, err);
	if (r < 0)
		return r;
	*differ = a.count != b.count;
	for (size_t i = 0; i < a.count && !*differ; i++)
		*differ = strcmp(a.items[i].name, b.items[i].name) != 0 ||
			  a.items[i].size != b.items[i].size ||
			  memcmp(a.items[i].value, b.items[i].value, a.items[i].size) != 0;
	return 0;
}

int changes_compare(const struct change_side *old, const struct change_side *new,
	enum changes_verdict files, unsigned *what, struct ramet_error *err)
{
	bool content = false, xattrs = false;
	int r = content_differs(old, new, files, &content, err);
	if (r == 0)
		r = xattrs_differ(old, new, &xattrs, err);
	if (r < 0)
		return r;
	/* A symlink's permissions mean nothing, and not every format keeps them. */
	bool has_mode = !S_ISLNK(new->stat.mode);
	*what = (content ? CHANGE_CONTENT : 0U) | (xattrs ? CHANGE_XATTRS : 0U);
	if (has_mode && (old->stat.mode & 07777) != (new->stat.mode & 07777))
		*what |= CHANGE_MODE;
	if (old->stat.uid != new->stat.uid || old->stat.gid != new->stat.gid)
		*what |= CHANGE_OWNER;
	return 0;
}

int changes_is_plain(const struct change_side *directory, bool *plain, struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	int r = side_xattrs(directory, &xattrs, err);
	*plain = r == 0 && xattrs.count == 0 && (directory->stat.mode & 07777) == 0755 &&
		 directory->stat.uid == 0 && directory->stat.gid == 0;
	return r;
}
