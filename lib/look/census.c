/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting a tree by its metadata. What is counted as of an overlay's layer is what overlayfs takes
 * for it (Documentation/filesystems/overlayfs.rst), by the names of both trusted.* and user.*.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "changes/inodes.h"
#include "changes/side.h"
#include "look/look.h"
#include "look/walk.h"

struct counter {
	struct census *census;
	struct inodes links; /* files with more than one name that were met */
};

static void count_type(struct census *census, const struct fs_stat *stat)
{
	switch (stat->mode & S_IFMT) {
	case S_IFREG:
		census->files++;
		break;
	case S_IFDIR:
		census->directories++;
		break;
	case S_IFLNK:
		census->symlinks++;
		break;
	case S_IFCHR:
		census->character_devices++;
		break;
	case S_IFBLK:
		census->block_devices++;
		break;
	case S_IFIFO:
		census->fifos++;
		break;
	default:
		census->sockets++;
		break;
	}
}

static const struct fs_xattr *overlay_xattr(const struct fs_xattrs *xattrs, const char *name)
{
	static const char *const namespaces[] = {"trusted.overlay.", "user.overlay."};
	for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++) {
		char full[64];
		snprintf(full, sizeof full, "%s%s", namespaces[i], name);
		const struct fs_xattr *found = fs_xattrs_find(xattrs, full);
		if (found)
			return found;
	}
	return NULL;
}

static void count_overlay(
	struct census *census, const struct fs_stat *stat, const struct fs_xattrs *xattrs)
{
	const struct fs_xattr *opaque = overlay_xattr(xattrs, "opaque");
	bool hidden = S_ISREG(stat->mode) && overlay_xattr(xattrs, "whiteout");
	if (S_ISCHR(stat->mode) && !stat->rdev_major && !stat->rdev_minor)
		hidden = true;
	census->whiteouts += hidden;
	census->opaque += S_ISDIR(stat->mode) && opaque && opaque->size == 1 &&
			  *(const char *)opaque->value == 'y';
	census->redirects += overlay_xattr(xattrs, "redirect") != NULL;
}

static int count_one(
	void *ctx, const struct change_side *object, unsigned depth, struct ramet_error *err)
{
	struct counter *counter = ctx;
	struct census *census = counter->census;
	const struct fs_stat *stat = &object->stat;
	census->entries++;
	if (!S_ISDIR(stat->mode) && stat->nlink > 1) {
		int r = inodes_put(&counter->links, stat->inode, NULL, NULL);
		if (r < 0)
			return error_memory(err);
		if (r == 0) {
			census->hard_links++;
			return 0;
		}
	}
	count_type(census, stat);
	if (S_ISREG(stat->mode))
		census->content_bytes += stat->size;
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	int r = side_xattrs(object, &xattrs, err);
	if (r < 0)
		return r;
	census->xattrs += xattrs.count;
	census->with_xattrs += xattrs.count > 0;
	count_overlay(census, stat, &xattrs);
	return 0;
}

int look_census(const struct changes_view *view, struct census *census, struct ramet_error *err)
{
	static const struct walk_visitor visitor = {.each = count_one};
	struct counter counter = {.census = census};
	*census = (struct census){0};
	fs_ref root;
	int r = view->fs->ops->root(view->fs, &root, err);
	if (r == 0)
		r = look_walk(view, root, "/", &visitor, &counter, err);
	inodes_free(&counter.links);
	return r;
}
