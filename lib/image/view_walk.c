/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view as a source. A node keeps its reference in host_inode, where a tree has what tells files
 * apart: every reader gives one file one reference, so equal ones are hard links. The readers see to
 * it that directories are a tree (fs_inside.h), which ends the walk of any image.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "image/view.h"
#include "source/content.h"
#include "source/source.h"

#define LOST_FOUND "lost+found"

static int failed(const struct content *content, int r, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_host_path(content->tree, content->node, &path);
	return error_prefix(err, r, "%s", path.failed ? "a file" : path.data);
}

static int damaged(const struct content *content, const char *how, struct ramet_error *err)
{
	return failed(content, error_set(err, EUCLEAN, "%s", how), err);
}

static int view_open(struct content *content, struct ramet_error *err)
{
	return 0;
}

static int next_extent(const struct content *content, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	struct fs *fs = content->source;
	int r = fs->ops->extent(fs, content->node->host_inode, offset, extent, err);
	if (r < 0)
		return failed(content, r, err);
	uint64_t size = content->node->size;
	if (extent->offset > offset || extent->length > size - extent->offset ||
		extent->offset + extent->length <= offset)
		return damaged(content, "its map of blocks makes no sense", err);
	return 0;
}

/* Neighbouring extents with data are one piece. */
static int find_data(struct content *content, uint64_t offset, struct ramet_error *err)
{
	uint64_t size = content->node->size;
	struct fs_extent extent = {.hole = true};
	content->data = content->end = size;
	while (offset < size && extent.hole) {
		int r = next_extent(content, offset, &extent, err);
		if (r < 0)
			return r;
		if (!extent.hole)
			content->data = offset;
		offset = extent.offset + extent.length;
	}
	while (offset < size && !extent.hole) {
		int r = next_extent(content, offset, &extent, err);
		if (r < 0)
			return r;
		if (!extent.hole)
			offset = extent.offset + extent.length;
	}
	if (content->data < size)
		content->end = offset;
	return 0;
}

static int view_data(struct content *content, uint64_t offset, uint64_t *start, uint64_t *end,
	struct ramet_error *err)
{
	if (offset < content->data || offset >= content->end) {
		int r = find_data(content, offset, err);
		if (r < 0)
			return r;
	}
	*start = MAX(offset, content->data);
	*end = content->end;
	return 0;
}

static int view_read(struct content *content, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err)
{
	struct fs *fs = content->source;
	size_t done = 0;
	int r = fs->ops->read(fs, content->node->host_inode, offset, buffer, length, &done, err);
	if (r < 0)
		return failed(content, r, err);
	return done == length ? 0 : damaged(content, "it ends before its own size", err);
}

static const struct content_ops view_content = {
	.open = view_open,
	.data = view_data,
	.read = view_read,
};

/* ------------------------------------------------------------------------------------------- */

bool view_is_origin(const struct tree_origin *origin)
{
	return origin->content == &view_content;
}

int view_origin(struct fs *fs, const char *place, struct tree *tree, uint16_t *index,
	struct ramet_error *err)
{
	struct tree_origin *origin;
	int r = tree_origin_new(tree, place, &origin, err);
	if (r < 0)
		return r;
	origin->content = &view_content;
	origin->source = fs;
	*index = (uint16_t)(tree->origins.count - 1);
	return 0;
}

static bool is_kept(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
	       strncmp(name, "security.", 9) == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

static int take_xattrs(struct fs *fs, fs_ref ref, struct tree *tree, struct tree_node *node,
	struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	int r = fs->ops->xattrs(fs, ref, &xattrs, err);
	if (r < 0)
		return r;
	struct tree_xattr **place = &node->xattrs;
	for (size_t i = 0; i < xattrs.count; i++) {
		const struct fs_xattr *x = &xattrs.items[i];
		if (!is_kept(x->name)) {
			tree->omitted_xattrs++;
			continue;
		}
		struct tree_xattr *xattr = arena_alloc(&tree->arena, sizeof *xattr);
		if (!xattr)
			return error_memory(err);
		xattr->name = arena_copy(&tree->arena, x->name, strlen(x->name));
		xattr->value = arena_copy(&tree->arena, x->value, x->size);
		xattr->size = (uint32_t)x->size;
		if (!xattr->name || !xattr->value)
			return error_memory(err);
		*place = xattr;
		place = &xattr->next;
	}
	return 0;
}

static int take_target(struct fs *fs, fs_ref ref, struct tree *tree, struct tree_node *node,
	struct ramet_error *err)
{
	_cleanup_free_ char *target = NULL;
	int r = fs->ops->readlink(fs, ref, &target, err);
	if (r < 0)
		return r;
	node->size = strlen(target);
	node->target = arena_copy(&tree->arena, target, node->size);
	return node->target ? 0 : error_memory(err);
}

static bool is_type(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) ||
	       S_ISFIFO(mode) || S_ISSOCK(mode);
}

int view_take(struct fs *fs, fs_ref ref, struct tree *tree, uint16_t origin, struct tree_node *node,
	struct ramet_error *err)
{
	struct fs_stat stat;
	int r = fs->ops->stat(fs, ref, &stat, err);
	if (r < 0)
		return r;
	if (!is_type(stat.mode) || stat.mtime_nsec >= 1000000000)
		return error_set(err, EUCLEAN, "its attributes make no sense");
	int device = tree_device_index(tree, 0);
	if (device < 0)
		return error_memory(err);
	node->origin = origin;
	node->device = (uint16_t)device;
	node->host_inode = ref;
	node->mode = (uint16_t)stat.mode;
	node->uid = stat.uid;
	node->gid = stat.gid;
	node->mtime = tree_time(stat.mtime);
	node->mtime_nsec = stat.mtime_nsec;
	if (!S_ISDIR(stat.mode) && stat.nlink > 1)
		node->flags |= TREE_LINKED;
	if (S_ISREG(stat.mode)) {
		node->size = stat.size;
		node->flags |= stat.size ? TREE_SPARSE : 0;
	} else if (S_ISCHR(stat.mode) || S_ISBLK(stat.mode)) {
		node->rdev = makedev(stat.rdev_major, stat.rdev_minor);
	} else if (S_ISLNK(stat.mode)) {
		r = take_target(fs, ref, tree, node, err);
	}
	return r < 0 ? r : take_xattrs(fs, ref, tree, node, err);
}

/* ------------------------------------------------------------------------------------------- */

struct walk {
	struct fs *fs;
	struct tree *tree;
	const struct source_options *options;
	bool own_lost_found;
	uint16_t origin;
};

static int walk_failed(
	const struct walk *walk, const struct tree_node *node, int r, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_host_path(walk->tree, node, &path);
	return error_prefix(err, r, "%s", path.failed ? "a file" : path.data);
}

/* What mke2fs and our own writer put there, and e2fsck wants to find. */
static int is_own(struct walk *walk, const struct tree_node *node, fs_ref ref, bool *own,
	struct ramet_error *err)
{
	*own = false;
	if (!walk->own_lost_found || node->parent->parent || !S_ISDIR(node->mode) ||
		strcmp(node->name, LOST_FOUND) != 0)
		return 0;
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = walk->fs->ops->list(walk->fs, ref, &entries, err);
	*own = r == 0 && entries.count == 0 && !node->xattrs;
	return r;
}

static int take_entry(struct walk *walk, struct tree_node *directory, const struct fs_entry *entry,
	struct tree_node ***place, struct ramet_error *err)
{
	struct tree *tree = walk->tree;
	struct tree_node *node = tree_node_new(tree, entry->name, strlen(entry->name));
	if (!node)
		return error_memory(err);
	node->parent = directory;
	node->origin = walk->origin;
	int r = view_take(walk->fs, entry->ref, tree, walk->origin, node, err);
	bool own = false;
	if (r == 0)
		r = is_own(walk, node, entry->ref, &own, err);
	if (r < 0)
		return walk_failed(walk, node, r, err);
	if (!own) {
		**place = node;
		*place = &node->next;
	}
	if (walk->options && walk->options->meter)
		meter_advance(walk->options->meter, ++*walk->options->walked);
	return 0;
}

static int walk_directory(struct walk *walk, struct tree_node *directory, struct ramet_error *err)
{
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = walk->fs->ops->list(walk->fs, directory->host_inode, &entries, err);
	if (r < 0)
		return walk_failed(walk, directory, r, err);
	struct tree_node **place = &directory->first;
	for (size_t i = 0; i < entries.count && r == 0; i++)
		r = take_entry(walk, directory, &entries.items[i], &place, err);
	return r;
}

int view_walk(struct fs *fs, const char *place, bool own_lost_found, struct tree *tree,
	const struct source_options *options, struct ramet_error *err)
{
	struct walk walk = {
		.fs = fs, .tree = tree, .options = options, .own_lost_found = own_lost_found};
	fs_ref root = 0;
	int r = view_origin(fs, place, tree, &walk.origin, err);
	if (r < 0)
		return r;
	struct tree_node *top = tree_node_new(tree, "", 0);
	if (!top)
		return error_memory(err);
	top->flags = TREE_ORIGIN;
	r = fs->ops->root(fs, &root, err);
	if (r == 0)
		r = view_take(fs, root, tree, walk.origin, top, err);
	if (r == 0 && !S_ISDIR(top->mode))
		r = error_set(err, EUCLEAN, "its root is not a directory");
	if (r < 0)
		return error_prefix(err, r, "%s", place);
	tree->root = top;
	for (struct tree_node *node = top; node && r == 0; node = tree_next(node))
		if (S_ISDIR(node->mode))
			r = walk_directory(&walk, node, err);
	return r;
}
