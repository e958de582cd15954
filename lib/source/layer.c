/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers over a tree. While it is worked on, a directory's entries are in no order: new ones go to
 * the front of the list, what is taken away is marked, and an index finds names. At the end each
 * directory that was changed is sorted once. So an archive of n entries takes n log n steps, also
 * when all are in one directory.
 *
 * Semantics: OCI image-spec, layer.md; where it is silent, what containerd does
 * (pkg/archive/tar.go, github.com/containerd/containerd): parents are resolved as in a chroot, only
 * a directory over a directory is merged, and a hard link is made when its entry is met.
 */
#include "source/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "source/layer_inside.h"

#define TARGET_MAX 4095 /* PATH_MAX less the NUL: what the kernel makes and follows */

struct tree_node *layer_find(
	const struct layers *layers, const struct tree_node *directory, const char *name)
{
	return layer_index_find(&layers->index, directory, name);
}

struct tree_node *layer_new_node(
	struct layers *layers, struct tree_node *directory, const char *name)
{
	struct tree_node *node = tree_node_new(layers->tree, name, strlen(name));
	if (!node)
		return NULL;
	node->parent = directory;
	node->origin = layers->origin;
	node->number = layers->number;
	if (layer_index_add(&layers->index, node) < 0)
		return NULL;
	node->next = directory->first;
	directory->first = node;
	directory->flags |= LAYER_DIRTY;
	layer_touch(layers, node);
	return node;
}

void layer_set_implied(struct tree_node *node)
{
	node->mode = S_IFDIR | 0755;
	node->uid = node->gid = 0;
	node->xattrs = NULL;
	node->mtime = node->parent ? node->parent->mtime : 0;
	node->mtime_nsec = node->parent ? node->parent->mtime_nsec : 0;
}

void layer_touch(const struct layers *layers, struct tree_node *node)
{
	for (; node && !layer_is_touched(layers, node); node = node->parent)
		node->place = (uint64_t)layers->number << 1;
}

void layer_remove(struct layers *layers, struct tree_node *node)
{
	node->flags |= LAYER_GONE;
	node->parent->flags |= LAYER_DIRTY;
	layers->directory = NULL;
}

/* ------------------------------------------------------------------------------------------- */

/* The node for a name of this layer, without any attribute of what was there. A directory that stays
 * one keeps what it holds, and where on the host it is. */
static struct tree_node *claim(
	struct layers *layers, struct tree_node *directory, const char *name, bool is_directory)
{
	struct tree_node *node = layer_find(layers, directory, name);
	bool was_directory = node && S_ISDIR(node->mode);
	/* What it held must not be found again: that needs another node. */
	if (was_directory && !is_directory)
		layer_remove(layers, node);
	if (!node || (was_directory && !is_directory))
		return layer_new_node(layers, directory, name);
	/* A way that was found through a symlink may lead elsewhere now. */
	if (S_ISLNK(node->mode))
		layers->directory = NULL;
	node->number = layers->number;
	node->xattrs = NULL;
	layer_touch(layers, node);
	if (was_directory)
		return node;
	node->first = NULL;
	node->size = 0;
	node->flags = 0;
	node->origin = layers->origin;
	node->device = 0;
	return node;
}

static void set_owner(struct tree_node *node, const struct layer_entry *entry)
{
	node->uid = entry->uid;
	node->gid = entry->gid;
	node->mtime = tree_time(entry->mtime);
	node->mtime_nsec = entry->mtime_nsec;
	node->xattrs = entry->xattrs;
	if (!S_ISDIR(entry->mode))
		node->host_inode = entry->place;
}

static int set_attributes(struct layers *layers, struct tree_node *node,
	const struct layer_entry *entry, struct ramet_error *err)
{
	node->mode = (uint16_t)entry->mode;
	set_owner(node, entry);
	if (S_ISREG(entry->mode)) {
		node->size = entry->size;
		node->flags |= entry->sparse ? TREE_SPARSE : 0;
	} else if (S_ISLNK(entry->mode)) {
		node->size = strlen(entry->symlink);
		node->target = arena_copy(&layers->tree->arena, entry->symlink, node->size);
		return node->target ? 0 : error_memory(err);
	} else if (S_ISBLK(entry->mode) || S_ISCHR(entry->mode)) {
		node->rdev = entry->rdev;
	}
	return 0;
}

static int check_entry(const struct layer_entry *entry, struct ramet_error *err)
{
	uint32_t type = entry->mode & S_IFMT;
	bool known = type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
		     type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
	if (!known)
		return error_set(
			err, EINVAL, "the entry '%s' is refused: its type is unknown", entry->path);
	if (type == S_IFREG && entry->size > INT64_MAX)
		return error_set(
			err, EFBIG, "the entry '%s' is refused: no file is so large", entry->path);
	if (type != S_IFLNK)
		return 0;
	size_t length = entry->symlink ? strlen(entry->symlink) : 0;
	if (length == 0 || length > TARGET_MAX)
		return error_set(err, EINVAL,
			"the entry '%s' is refused: a symlink's target has 1 to %d bytes",
			entry->path, TARGET_MAX);
	return 0;
}

/* The tree's root is there already, and is a directory. */
static int add_root(struct layers *layers, const struct layer_entry *entry, struct ramet_error *err)
{
	struct tree_node *root = layers->tree->root;
	if (entry->hardlink || !S_ISDIR(entry->mode))
		return error_set(err, ENOTDIR,
			"the entry '%s' is refused: the root of a tree is a folder", entry->path);
	root->mode = (uint16_t)entry->mode;
	root->number = layers->number;
	set_owner(root, entry);
	layer_touch(layers, root);
	return 0;
}

/* The directory that the cleaned path belongs in, made when it is not there. Neighbours in an archive
 * are mostly neighbours in a directory too. */
static int find_parent(struct layers *layers, size_t length, struct ramet_error *err)
{
	if (layers->directory && layers->parent.length == length &&
		memcmp(layers->parent.data, layers->clean.data, length) == 0)
		return 0;
	layers->directory = NULL;
	text_truncate(&layers->parent, 0);
	text_append_bytes(&layers->parent, layers->clean.data, length);
	if (layers->parent.failed)
		return error_memory(err);
	struct tree_node *directory;
	int r = layer_find_directory(layers, layers->clean.data, length, true, &directory, err);
	if (r == 0)
		layers->directory = directory;
	return r;
}

static int find_link_target(struct layers *layers, const struct layer_entry *entry,
	struct tree_node **target, struct ramet_error *err)
{
	int r = layer_find_node(layers, entry->hardlink, target, err);
	if (r < 0)
		return error_prefix(err, r, "the hard link '%s' is refused", entry->path);
	if (!*target)
		return error_set(err, ENOENT,
			"the hard link '%s' is refused: there is no '%s' that it could be a name for",
			entry->path, entry->hardlink);
	if (S_ISDIR((*target)->mode))
		return error_set(err, EPERM,
			"the hard link '%s' is refused: '%s' is a folder, which has one name only",
			entry->path, entry->hardlink);
	return 0;
}

/* Equal places in one origin are what tree_finish knows hard links by. */
static int add_link(struct layers *layers, const struct layer_entry *entry, const char *name,
	struct tree_node *target, struct ramet_error *err)
{
	if (layer_find(layers, layers->directory, name) == target) {
		target->number = layers->number;
		layer_touch(layers, target);
		return 0;
	}
	struct tree_node *node = claim(layers, layers->directory, name, false);
	if (!node)
		return error_memory(err);
	target->flags |= TREE_LINKED;
	const struct tree_node *host = NULL;
	if (target->flags & TREE_MOVED && !(host = tree_host_file(layers->tree, target)))
		return error_memory(err);
	node->mode = target->mode;
	node->uid = target->uid;
	node->gid = target->gid;
	node->mtime = target->mtime;
	node->mtime_nsec = target->mtime_nsec;
	node->birth = target->birth;
	node->xattrs = target->xattrs;
	node->target = target->target;
	node->size = target->size;
	node->host_inode = target->host_inode;
	node->origin = target->origin;
	node->device = target->device;
	node->flags |= target->flags & (TREE_LINKED | TREE_SPARSE | TREE_MEMORY | TREE_MOVED);
	if (host)
		node->host = host;
	return 0;
}

int layers_add(struct layers *layers, const struct layer_entry *entry, struct ramet_error *err)
{
	int r = layer_clean_path(layers, entry->path, err);
	if (r == 0 && !layers->clean.length)
		return add_root(layers, entry, err);
	if (r == 0 && layers->whiteouts)
		r = layer_whiteout(layers, err);
	if (r != 0)
		return r < 0 ? r : 0;
	struct tree_node *target = NULL;
	r = entry->hardlink ? find_link_target(layers, entry, &target, err)
			    : check_entry(entry, err);
	const char *slash = strrchr(layers->clean.data, '/');
	if (r == 0)
		r = find_parent(layers, slash ? (size_t)(slash - layers->clean.data) : 0, err);
	if (r < 0)
		return r;
	const char *name = slash ? slash + 1 : layers->clean.data;
	if (target)
		return add_link(layers, entry, name, target, err);
	struct tree_node *node = claim(layers, layers->directory, name, S_ISDIR(entry->mode));
	return node ? set_attributes(layers, node, entry, err) : error_memory(err);
}

/* ------------------------------------------------------------------------------------------- */

static int index_tree(struct layers *layers)
{
	for (struct tree_node *node = layers->tree->root; node; node = tree_next(node)) {
		node->number = 0;
		node->place = 0;
		if (node->parent && layer_index_add(&layers->index, node) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int make_root(struct tree *tree)
{
	struct tree_node *root = tree_node_new(tree, "", 0);
	if (!root)
		return -ENOMEM;
	layer_set_implied(root);
	tree->root = root;
	return 0;
}

int layers_new(struct layers **out, struct tree *tree, struct ramet_error *err)
{
	_cleanup_layers_ struct layers *layers = calloc(1, sizeof *layers);
	if (!layers)
		return error_memory(err);
	layers->tree = tree;
	int r = tree->root ? tree_make_movable(tree, tree->root, err) : make_root(tree);
	if (r == 0)
		r = index_tree(layers);
	if (r < 0)
		return error_memory(err);
	*out = TAKE_PTR(layers);
	return 0;
}

void layers_begin(struct layers *layers, uint16_t origin, bool whiteouts)
{
	layers->number++;
	layers->origin = origin;
	layers->whiteouts = whiteouts;
	layers->directory = NULL;
}

/* Two sorted lists become one. */
static struct tree_node *merge(struct tree_node *a, struct tree_node *b)
{
	struct tree_node *first = NULL, **place = &first;
	while (a && b) {
		struct tree_node **lesser = strcmp(a->name, b->name) < 0 ? &a : &b;
		*place = *lesser;
		place = &(*lesser)->next;
		*lesser = *place;
	}
	*place = a ? a : b;
	return first;
}

/* Merge sort: runs[i] holds 2^i entries or none. */
static void sort_entries(struct tree_node *directory)
{
	struct tree_node *runs[64] = {NULL}, *next;
	for (struct tree_node *node = directory->first; node; node = next) {
		next = node->next;
		if (node->flags & LAYER_GONE)
			continue;
		node->next = NULL;
		size_t i = 0;
		for (; runs[i]; i++) {
			node = merge(runs[i], node);
			runs[i] = NULL;
		}
		runs[i] = node;
	}
	struct tree_node *all = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		all = merge(runs[i], all);
	directory->first = all;
	directory->flags &= (uint8_t)~LAYER_DIRTY;
}

void layers_finish(struct layers *layers)
{
	if (!layers)
		return;
	for (struct tree_node *node = layers->tree->root; node; node = tree_next(node))
		if (S_ISDIR(node->mode) && (node->flags & LAYER_DIRTY))
			sort_entries(node);
	layer_index_free(&layers->index);
	text_free(&layers->clean);
	text_free(&layers->parent);
	free(layers);
}

struct tree *layers_tree(const struct layers *layers)
{
	return layers->tree;
}
