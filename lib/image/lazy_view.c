/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is the format's reader's answer, but content: the reader says where in the image a piece
 * of a file stands, since in a lazy image all content stands there plainly, and the feed has what is
 * there. What the reader has no place for is in the metadata.
 */
#include "image/lazy_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct lazy_view {
	struct fs fs;
	struct fs *inner;
	const struct lazy_feed *feed;
};

static struct fs *inner_of(struct fs *fs)
{
	return ((struct lazy_view *)fs)->inner;
}

static int view_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	struct fs *inner = inner_of(fs);
	return inner->ops->root(inner, root, err);
}

static int view_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	struct fs *inner = inner_of(fs);
	return inner->ops->stat(inner, ref, stat, err);
}

static int view_list(struct fs *fs, fs_ref ref, struct fs_entries *entries, struct ramet_error *err)
{
	struct fs *inner = inner_of(fs);
	return inner->ops->list(inner, ref, entries, err);
}

static int view_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	struct fs *inner = inner_of(fs);
	return inner->ops->readlink(inner, ref, target, err);
}

static int view_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	struct fs *inner = inner_of(fs);
	return inner->ops->xattrs(inner, ref, xattrs, err);
}

static int view_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct fs *inner = inner_of(fs);
	return inner->ops->extent(inner, ref, offset, extent, err);
}

/* One extent of the file at most; *done is how far. */
static int read_piece(struct lazy_view *view, fs_ref ref, uint64_t offset, void *buffer,
	size_t length, size_t *done, struct ramet_error *err)
{
	struct fs_extent extent;
	int r = view->inner->ops->extent(view->inner, ref, offset, &extent, err);
	if (r < 0)
		return r;
	*done = MIN(length, extent.length);
	if (!extent.hole && extent.device_offset == UINT64_MAX)
		return view->inner->ops->read(view->inner, ref, offset, buffer, *done, done, err);
	if (!extent.hole)
		return lazy_feed_read(view->feed, extent.device_offset, buffer, *done, err);
	memset(buffer, 0, *done);
	return 0;
}

static int view_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err)
{
	struct lazy_view *view = (struct lazy_view *)fs;
	struct fs_stat stat;
	*done = 0;
	int r = view->inner->ops->stat(view->inner, ref, &stat, err);
	if (r < 0 || offset >= stat.size)
		return r;
	length = MIN(length, stat.size - offset);
	for (size_t piece = 1; *done < length && piece && r == 0; *done += piece)
		r = read_piece(view, ref, offset + *done, (char *)buffer + *done, length - *done,
			&piece, err);
	return r;
}

static bool view_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	struct fs *inner = inner_of(fs);
	return other->ops == fs->ops && inner->ops->same &&
	       inner->ops->same(inner, ref, inner_of(other), other_ref);
}

static void view_close(struct fs *fs)
{
	fs_close(inner_of(fs));
	free(fs);
}

static const struct fs_ops lazy_view_ops = {
	.format = "lazy",
	.root = view_root,
	.stat = view_stat,
	.list = view_list,
	.read = view_read,
	.readlink = view_readlink,
	.xattrs = view_xattrs,
	.extent = view_extent,
	.same = view_same,
	.close = view_close,
};

int lazy_format(
	int fd, const char *path, const struct image_format **format, struct ramet_error *err)
{
	char name[LAZY_FORMAT_NAME];
	int r = lazy_format_name(fd, path, name, err);
	if (r < 0)
		return r;
	*format = image_format_find(name);
	return *format ? 0
		       : error_set(err, ENOTSUP,
				 "%s is a lazy image in a format, %s, that this ramet does not know",
				 path, text_disarm(name));
}

int lazy_view_open(const struct image_format *format, const struct lazy_feed *feed, struct fs **fs,
	struct ramet_error *err)
{
	struct lazy_view *view = calloc(1, sizeof *view);
	if (!view)
		return error_memory(err);
	view->fs.ops = &lazy_view_ops;
	view->feed = feed;
	int r = format->open(lazy_feed_metadata(feed), &view->inner, err);
	if (r < 0) {
		free(view);
		return r;
	}
	*fs = &view->fs;
	return 0;
}
