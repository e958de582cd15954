/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree as a view. A reference is the address of a node: user space has less than 2^62 of those. The
 * file that was read last stays open, since a comparison reads a file piece by piece.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "image/fs_inside.h"
#include "image/view.h"
#include "source/content.h"
#include "source/source.h"

struct tree_view {
	struct fs fs;
	struct tree *tree;
	struct tree_node *root;
	struct content content; /* of the file read last */
	bool open;
};

struct tree_node *view_node(fs_ref ref)
{
	return (struct tree_node *)(uintptr_t)ref; // NOLINT(performance-no-int-to-ptr)
}

static fs_ref ref_of(const struct tree_node *node)
{
	return (fs_ref)(uintptr_t)node;
}

bool view_readable(const struct tree *tree, const struct tree_node *node)
{
	if (node->flags & TREE_MEMORY)
		return true;
	const struct content_ops *content = tree->origins.items[node->origin].content;
	return !content || !content->streamed;
}

static int tree_view_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	*root = ref_of(((struct tree_view *)fs)->root);
	return 0;
}

static int tree_view_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	struct tree_node *node = view_node(ref);
	const struct tree_node *inode = tree_inode(node);
	bool is_device = S_ISCHR(inode->mode) || S_ISBLK(inode->mode);
	*stat = (struct fs_stat){
		.mode = inode->mode,
		.uid = inode->uid,
		.gid = inode->gid,
		.nlink = inode->nlink,
		.size = S_ISREG(inode->mode) || S_ISLNK(inode->mode) ? inode->size : 0,
		.mtime = inode->mtime,
		.mtime_nsec = inode->mtime_nsec,
		.rdev_major = is_device ? major(inode->rdev) : 0,
		.rdev_minor = is_device ? minor(inode->rdev) : 0,
		.inode = ref_of(inode),
	};
	return 0;
}

static int tree_view_list(
	struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err)
{
	_cleanup_entry_list_ fs_entry_list list = {0};
	const char *twice = "";
	int r = 0;
	for (struct tree_node *node = view_node(dir)->first; node && r == 0; node = node->next)
		r = fs_entry_add(
			&list, node->name, strlen(node->name), ref_of(node), node->mode & S_IFMT);
	if (r == 0)
		r = fs_entries_take(&list, entries, &twice);
	if (r == -ENOMEM)
		return error_memory(err);
	return r < 0 ? error_errno(err, -r, "a folder of the source cannot be listed") : 0;
}

/* The content of node, opened unless it is open still. */
static int content_of(struct tree_view *view, struct tree_node *node, struct ramet_error *err)
{
	node = tree_inode(node);
	if (view->open && view->content.node == node)
		return 0;
	if (view->open)
		content_close(&view->content);
	view->open = false;
	if (!view_readable(view->tree, node))
		return tree_node_error(view->tree, node, EOPNOTSUPP, "read out of order", err);
	int r = content_open(&view->content, view->tree, node, err);
	view->open = r == 0;
	return r;
}

static int tree_view_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err)
{
	struct tree_view *view = (struct tree_view *)fs;
	*done = 0;
	int r = content_of(view, view_node(ref), err);
	if (r < 0)
		return r;
	uint64_t size = view->content.node->size;
	if (offset >= size)
		return 0;
	length = (size_t)MIN((uint64_t)length, size - offset);
	r = content_read(&view->content, offset, buffer, length, err);
	if (r == 0)
		*done = length;
	return r;
}

static int tree_view_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct tree_view *view = (struct tree_view *)fs;
	uint64_t start, end;
	int r = content_of(view, view_node(ref), err);
	if (r == 0)
		r = content_data(&view->content, offset, &start, &end, err);
	if (r < 0)
		return r;
	bool hole = start > offset;
	*extent = (struct fs_extent){.offset = offset,
		.length = (hole ? start : end) - offset,
		.hole = hole,
		.device_offset = UINT64_MAX};
	return 0;
}

static int tree_view_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	const struct tree_node *inode = tree_inode(view_node(ref));
	*target = strndup(inode->target, inode->size);
	return *target ? 0 : error_memory(err);
}

static int tree_view_xattrs(
	struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	_cleanup_xattr_list_ fs_xattr_list list = {0};
	const char *twice = "";
	int r = 0;
	for (const struct tree_xattr *x = tree_inode(view_node(ref))->xattrs; x && r == 0;
		x = x->next)
		r = fs_xattr_add(&list, "", x->name, strlen(x->name), x->value, x->size);
	if (r == 0)
		r = fs_xattrs_take(&list, xattrs, &twice);
	if (r == -ENOMEM)
		return error_memory(err);
	return r < 0 ? error_errno(err, -r, "the attributes of a file of the source make no sense")
		     : 0;
}

/* What was taken in from a view unchanged is what that view can prove it to be. Not for directories:
 * what is below one may have been replaced in the tree. */
static bool tree_view_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	const struct tree *tree = ((struct tree_view *)fs)->tree;
	if (other == fs)
		return ref == other_ref;
	const struct tree_node *node = tree_inode(view_node(ref));
	const struct tree_origin *origin = &tree->origins.items[node->origin];
	if (S_ISDIR(node->mode) || (node->flags & TREE_MEMORY) || !view_is_origin(origin))
		return false;
	struct fs *source = origin->source;
	if (source == other)
		return node->host_inode == other_ref;
	return source->ops->same && source->ops->same(source, node->host_inode, other, other_ref);
}

static void tree_view_close(struct fs *fs)
{
	struct tree_view *view = (struct tree_view *)fs;
	if (view->open)
		content_close(&view->content);
	free(view);
}

static const struct fs_ops tree_view_ops = {
	.format = "tree",
	.root = tree_view_root,
	.stat = tree_view_stat,
	.list = tree_view_list,
	.read = tree_view_read,
	.readlink = tree_view_readlink,
	.xattrs = tree_view_xattrs,
	.extent = tree_view_extent,
	.same = tree_view_same,
	.close = tree_view_close,
};

int view_of_tree(struct tree *tree, struct fs **fs, struct ramet_error *err)
{
	struct tree_view *view = calloc(1, sizeof *view);
	if (!view)
		return error_memory(err);
	view->fs.ops = &tree_view_ops;
	view->tree = tree;
	view->root = tree->root;
	*fs = &view->fs;
	return 0;
}
