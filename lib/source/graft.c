/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grafts: what a bind mount would show, as part of the tree. The target is looked up in the tree
 * alone, symlinks included, so it never leads out of the image; the source is walked on the host
 * alone, so a folder grafted into itself ends where the host's folder ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "source/source.h"

#define MAX_SYMLINKS 40 /* as in the kernel's path walk, path_resolution(7) */
#define NAME_LIMIT   255

static struct tree_node *make_node(
	struct tree *tree, struct tree_node *directory, const char *name, uint32_t mode)
{
	struct tree_node *node = tree_node_new(tree, name, strlen(name));
	if (!node)
		return NULL;
	node->mode = (uint16_t)mode;
	node->flags = TREE_MEMORY;
	node->mtime = directory->mtime;
	node->mtime_nsec = directory->mtime_nsec;
	tree_insert(directory, node);
	return node;
}

static int check_target(const char *target, struct ramet_error *err)
{
	if (target[0] != '/')
		return error_set(err, EINVAL,
			"the target '%s' is not an absolute path in the image", target);
	for (const char *at = target; *at;) {
		at += strspn(at, "/");
		size_t length = strcspn(at, "/");
		if (length == 2 && memcmp(at, "..", 2) == 0)
			return error_set(err, EINVAL,
				"the target '%s' has '..' in it; write it without", target);
		if (length > NAME_LIMIT)
			return error_set(err, ENAMETOOLONG,
				"the target '%s' has a name of more than %d bytes", target,
				NAME_LIMIT);
		at += length;
	}
	return 0;
}

/* The way to a target: what is still to be walked, and where the walk stands. */
struct resolution {
	struct tree *tree;
	const char *target; /* as the user wrote it */
	struct tree_node *node;
	struct text rest;
	unsigned symlinks;
};

/* Put a symlink's target before what is left of the way. */
static int follow(struct resolution *way, const struct tree_node *link, struct ramet_error *err)
{
	if (++way->symlinks > MAX_SYMLINKS)
		return error_set(err, ELOOP,
			"the target '%s' goes round in circles through the image's symlinks",
			way->target);
	_cleanup_text_ struct text rest = {0};
	text_append(&rest, link->target);
	text_append(&rest, "/");
	text_append(&rest, way->rest.data);
	if (rest.failed)
		return error_memory(err);
	if (link->target[0] == '/')
		way->node = way->tree->root;
	struct text old = way->rest;
	way->rest = rest;
	rest = old;
	return 0;
}

/* One step down into the directory name, made when it is not there. */
static int descend(struct resolution *way, const char *name, struct ramet_error *err)
{
	struct tree_node *child = tree_find(way->node, name);
	if (child && S_ISLNK(child->mode))
		return follow(way, child, err);
	if (child && !S_ISDIR(child->mode)) {
		_cleanup_text_ struct text path = {0};
		tree_path(child, &path);
		return error_set(err, ENOTDIR,
			"the target '%s' leads through %s, which is not a directory in the image",
			way->target, path.failed ? "a file" : path.data);
	}
	if (!child)
		child = make_node(way->tree, way->node, name, S_IFDIR | 0755);
	if (!child)
		return error_memory(err);
	way->node = child;
	return 0;
}

/* Cut the first name off the rest into name; *last tells that nothing comes after it. An empty
 * name: there was nothing left. false: a name (in a symlink) longer than any file's. */
static bool next_name(struct text *rest, char name[static NAME_LIMIT + 1], bool *last)
{
	const char *start = rest->data + strspn(rest->data, "/");
	size_t length = strcspn(start, "/");
	const char *after = start + length + strspn(start + length, "/");
	if (length > NAME_LIMIT)
		return false;
	memcpy(name, start, length);
	name[length] = '\0';
	*last = *after == '\0';
	size_t left = strlen(after);
	memmove(rest->data, after, left + 1);
	rest->length = left;
	return true;
}

/* Walk to the last name: on return way->node is the directory it belongs in. */
static int resolve(
	struct resolution *way, char name[static NAME_LIMIT + 1], struct ramet_error *err)
{
	for (;;) {
		bool last;
		if (!next_name(&way->rest, name, &last))
			return error_set(err, ENAMETOOLONG,
				"the target '%s' leads through a symlink with a name of more than "
				"%d bytes",
				way->target, NAME_LIMIT);
		if (!*name) {
			/* A symlink led to a directory that is there: that is what is replaced. */
			if (!way->node->parent)
				return error_set(err, EINVAL,
					"the target '%s' is the root of the image; give that "
					"folder as the source instead",
					way->target);
			strcpy(name, way->node->name);
			way->node = way->node->parent;
			return 0;
		}
		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			if (way->node->parent)
				way->node = way->node->parent;
			continue;
		}
		const struct tree_node *child = tree_find(way->node, name);
		if (last && !(child && S_ISLNK(child->mode)))
			return 0;
		int r = descend(way, name, err);
		if (r < 0)
			return r;
	}
}

static int resolve_target(struct tree *tree, const char *target, struct tree_node **directory,
	char name[static NAME_LIMIT + 1], struct ramet_error *err)
{
	int r = check_target(target, err);
	if (r < 0)
		return r;
	struct resolution way = {.tree = tree, .target = target, .node = tree->root};
	text_append(&way.rest, target);
	if (way.rest.failed)
		return error_memory(err);
	r = resolve(&way, name, err);
	text_free(&way.rest);
	*directory = way.node;
	return r;
}

int tree_graft(struct tree *tree, const char *source, const char *target,
	const struct source_options *options, char **resolved, struct ramet_error *err)
{
	char name[NAME_LIMIT + 1];
	struct tree_node *directory, *top;
	int r = resolve_target(tree, target, &directory, name, err);
	if (r == 0)
		r = source_take(tree, source, name, true, options, &top, err);
	if (r < 0)
		return error_prefix(err, r, "cannot bind %s to %s", source, target);
	tree_insert(directory, top);
	if (!resolved)
		return 0;
	struct text path = {0};
	tree_path(top, &path);
	if (path.failed) {
		text_free(&path);
		return error_memory(err);
	}
	*resolved = path.data;
	return 0;
}

int tree_add_file(struct tree *tree, const char *target, uint32_t mode, const void *data,
	size_t size, struct ramet_error *err)
{
	char name[NAME_LIMIT + 1];
	struct tree_node *directory;
	int r = resolve_target(tree, target, &directory, name, err);
	if (r < 0)
		return r;
	struct tree_node *node = make_node(tree, directory, name, S_IFREG | (mode & 07777));
	if (!node)
		return error_memory(err);
	node->data = data;
	node->size = size;
	return 0;
}
