/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that may be moved. A file is opened by its name in its directory, and a directory in the one
 * above it, all the way up to the origin: that holds as long as the tree has the shape of the host's.
 * Before the shape changes each directory with files gets a twin, outside of the tree, that keeps
 * the host's shape, and its files point there.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/tree.h"

struct movable {
	struct tree *tree;
	VECTOR(struct tree_node *) twins; /* a directory's place is the index of its twin + 1 */
};

static struct tree_node *make_twin(struct movable *movable, struct tree_node *node)
{
	struct tree_node *twin = tree_node_new(movable->tree, node->name, strlen(node->name));
	struct tree_node **slot = twin ? vector_push(&movable->twins) : NULL;
	if (!slot)
		return NULL;
	*slot = twin;
	twin->mode = node->mode;
	twin->flags = node->flags;
	twin->origin = node->origin;
	twin->device = node->device;
	twin->host_inode = node->host_inode;
	node->place = movable->twins.count;
	return twin;
}

/* The twin of a directory, made with those above it when it is missing. */
static struct tree_node *twin_of(struct movable *movable, struct tree_node *node)
{
	struct tree_node *lowest = NULL, *below = NULL;
	for (;; node = node->parent) {
		bool made = !node->place;
		struct tree_node *twin = made ? make_twin(movable, node)
					      : movable->twins.items[node->place - 1];
		if (!twin)
			return NULL;
		if (below)
			below->parent = twin;
		else
			lowest = twin;
		below = twin;
		if (!made || node->flags & TREE_ORIGIN || !node->parent)
			return lowest;
	}
}

/* Its place is not noted yet, and its host knows it by its name in its directory. */
static bool is_tied(const struct tree *tree, const struct tree_node *node)
{
	return S_ISREG(node->mode) &&
	       !(node->flags & (TREE_MOVED | TREE_MEMORY | TREE_ORIGIN | TREE_LINK)) &&
	       !tree->origins.items[node->origin].content;
}

int tree_make_movable(struct tree *tree, struct tree_node *root, struct ramet_error *err)
{
	struct movable movable = {.tree = tree};
	for (struct tree_node *node = root; node; node = tree_next(node))
		node->place = 0;
	bool failed = false;
	for (struct tree_node *node = root; node; node = tree_next(node)) {
		if (!is_tied(tree, node))
			continue;
		const struct tree_node *twin = twin_of(&movable, node->parent);
		failed = !twin;
		if (failed)
			break;
		node->host = twin;
		node->flags |= TREE_MOVED;
	}
	vector_free(&movable.twins);
	return failed ? error_memory(err) : 0;
}

/* A copy: the node itself may become something else when a layer replaces it. */
const struct tree_node *tree_host_file(struct tree *tree, const struct tree_node *node)
{
	if (tree_content_node(node) != node)
		return node->host;
	struct tree_node *file = tree_node_new(tree, node->name, strlen(node->name));
	if (!file)
		return NULL;
	file->host = node->host;
	file->size = node->size;
	file->host_inode = node->host_inode;
	file->mode = node->mode;
	file->mtime = node->mtime;
	file->mtime_nsec = node->mtime_nsec;
	file->birth = node->birth;
	file->device = node->device;
	file->origin = node->origin;
	file->flags = node->flags;
	return file;
}
