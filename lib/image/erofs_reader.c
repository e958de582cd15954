/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EROFS reader: opening and closing. It reads what our writer and mkfs.erofs write without
 * compression, of any block size, and refuses the rest by name. Nothing is read before it is asked
 * for, nothing is allocated by a count from the image, and every place is held against its end.
 */
#include "image/erofs_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/erofs_inside.h"

int erofs_damage(struct ramet_error *err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = fs_damage(err, "the EROFS image", format, args);
	va_end(args);
	return r;
}

static int erofs_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	*root = ((struct erofs *)fs)->root;
	return 0;
}

static bool erofs_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	return fs == other && ref == other_ref;
}

static void erofs_close(struct fs *fs)
{
	struct erofs *e = (struct erofs *)fs;
	erofs_meta_forget(e);
	fs_places_free(&e->places);
	free(e->prefixes);
	free(e);
}

static const struct fs_ops erofs_ops = {
	.format = "erofs",
	.root = erofs_root,
	.stat = erofs_stat,
	.list = erofs_list,
	.read = erofs_read,
	.readlink = erofs_readlink,
	.xattrs = erofs_xattrs,
	.extent = erofs_extent,
	.same = erofs_same,
	.close = erofs_close,
};

/* The root is a directory, or nothing else makes sense. */
static int check_root(struct erofs *e, struct ramet_error *err)
{
	struct erofs_node node;
	int r = erofs_node_read(e, e->root, &node, err);
	if (r < 0)
		return r;
	return S_ISDIR(node.mode) ? 0 : erofs_damage(err, "its root is no directory");
}

int erofs_open(int fd, struct fs **fs, struct ramet_error *err)
{
	_cleanup_fs_ struct fs *view = calloc(1, sizeof(struct erofs));
	struct erofs *e = (struct erofs *)view;
	if (!e)
		return error_memory(err);
	e->fs.ops = &erofs_ops;
	e->fd = fd;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at the EROFS image");
	off_t end = S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : st.st_size;
	if (end < 0)
		return error_errno(err, errno, "cannot tell the size of the EROFS image");
	int r = erofs_super_read(e, (uint64_t)end, err);
	if (r == 0)
		r = check_root(e, err);
	if (r < 0)
		return r;
	*fs = TAKE_PTR(view);
	return 0;
}
