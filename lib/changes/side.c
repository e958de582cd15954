/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/side.h"

#include <errno.h>

#include "base/checked.h"
#include "base/cleanup.h"

/* "VIEW: PATH: " before what the reader said. */
static int side_result(const struct change_side *side, int r, struct ramet_error *err)
{
	return r < 0 ? error_prefix(err, r, "%s: %s", side->view->name, side->path) : r;
}

int side_damaged(const struct change_side *side, const char *reason, struct ramet_error *err)
{
	return error_set(err, EUCLEAN, "%s: %s %s", side->view->name, side->path, reason);
}

int side_stat(struct change_side *side, struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	return side_result(side, fs->ops->stat(fs, side->ref, &side->stat, err), err);
}

int side_list(const struct change_side *side, struct fs_entries *entries, struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	return side_result(side, fs->ops->list(fs, side->ref, entries, err), err);
}

int side_read(const struct change_side *side, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	size_t done = 0;
	int r = fs->ops->read(fs, side->ref, offset, buffer, length, &done, err);
	if (r < 0)
		return side_result(side, r, err);
	if (done != length)
		return side_damaged(side, "ends before its own size", err);
	return 0;
}

int side_readlink(const struct change_side *side, char **target, struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	return side_result(side, fs->ops->readlink(fs, side->ref, target, err), err);
}

int side_xattrs(const struct change_side *side, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	return side_result(side, fs->ops->xattrs(fs, side->ref, xattrs, err), err);
}

int side_extent(const struct change_side *side, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	int r = fs->ops->extent(fs, side->ref, offset, extent, err);
	if (r < 0)
		return side_result(side, r, err);
	uint64_t end;
	if (extent->offset > offset || !checked_add(extent->offset, extent->length, &end) ||
		end <= offset)
		return side_damaged(side, "has a map of its blocks that makes no sense", err);
	end = MIN(end, side->stat.size);
	*extent = (struct fs_extent){.offset = offset,
		.length = end - offset,
		.hole = extent->hole,
		.device_offset = UINT64_MAX};
	return 0;
}
