/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documentation/filesystems/overlayfs.rst: a whiteout is a character device 0/0; a directory with
 * trusted.overlay.opaque "y" is not merged with what is below; an attribute that is called
 * trusted.overlay.X in the merged view is stored as trusted.overlay.overlay.X (Linux 6.7).
 */
#include "changes/layer_nodes.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/view.h"

#define PREFIX "trusted.overlay."

static bool is_overlay_xattr(const struct tree_xattr *xattr)
{
	return strncmp(xattr->name, PREFIX, strlen(PREFIX)) == 0;
}

/* Attributes belong to other nodes as well: a list that changes is made anew. */
static struct tree_xattr *add_xattr(const struct layer_nodes *nodes, struct tree_xattr ***place,
	const char *prefix, const char *name, const void *value, uint32_t size)
{
	_cleanup_text_ struct text full = {0};
	text_append(&full, prefix);
	text_append(&full, name);
	struct tree_xattr *xattr = arena_alloc(&nodes->tree->arena, sizeof *xattr);
	if (full.failed || !xattr)
		return NULL;
	xattr->name = arena_copy(&nodes->tree->arena, full.data, full.length);
	xattr->value = value;
	xattr->size = size;
	**place = xattr;
	*place = &xattr->next;
	return xattr->name ? xattr : NULL;
}

static int escape_xattrs(
	const struct layer_nodes *nodes, struct tree_node *node, struct ramet_error *err)
{
	const struct tree_xattr *from = node->xattrs;
	bool found = false;
	for (const struct tree_xattr *x = from; x; x = x->next)
		found = found || is_overlay_xattr(x);
	if (!found)
		return 0;
	/* With the same piece put into each, those that have it keep their order, and all stand
	 * together: between them and the others nothing changes. */
	node->xattrs = NULL;
	struct tree_xattr **place = &node->xattrs;
	for (; from; from = from->next) {
		bool own = is_overlay_xattr(from);
		if (!add_xattr(nodes, &place, own ? PREFIX "overlay." : "",
			    own ? from->name + strlen(PREFIX) : from->name, from->value,
			    from->size))
			return error_memory(err);
	}
	return 0;
}

/* An inode's own node is no link, whatever the name. */
static struct tree_node *copy_node(
	const struct layer_nodes *nodes, struct tree_node *original, const char *name)
{
	struct tree_node *inode = tree_inode(original);
	struct tree_node *node = tree_node_new(nodes->tree, name, strlen(name));
	if (!node)
		return NULL;
	memcpy(node, inode, offsetof(struct tree_node, name));
	node->parent = node->next = NULL;
	if (S_ISDIR(node->mode))
		node->first = NULL;
	return node;
}

int layer_node_take(const struct layer_nodes *nodes, const struct change_side *side,
	const char *name, struct tree_node **out, struct ramet_error *err)
{
	struct fs *fs = side->view->fs;
	struct tree_node *node = nodes->copies && fs != nodes->old
					 ? copy_node(nodes, view_node(side->ref), name)
					 : tree_node_new(nodes->tree, name, strlen(name));
	if (!node)
		return error_memory(err);
	int r = 0;
	if (!nodes->copies || fs == nodes->old)
		r = view_take(fs, side->ref, nodes->tree, nodes->origin, node, err);
	if (r < 0)
		return error_prefix(err, r, "%s: %s", side->view->name, side->path);
	if (S_ISCHR(node->mode) && node->rdev == 0)
		return error_set(err, EINVAL,
			"%s: %s is a character device 0/0, which in a layer says that its name is "
			"deleted; only a whole image can hold it",
			side->view->name, side->path);
	*out = node;
	return escape_xattrs(nodes, node, err);
}

int layer_node_whiteout(const struct layer_nodes *nodes, const struct tree_node *directory,
	const char *name, struct tree_node **out, struct ramet_error *err)
{
	struct tree_node *node = tree_node_new(nodes->tree, name, strlen(name));
	if (!node)
		return error_memory(err);
	node->mode = S_IFCHR;
	node->flags = TREE_MEMORY;
	node->mtime = directory->mtime;
	node->mtime_nsec = directory->mtime_nsec;
	node->origin = directory->origin;
	*out = node;
	return 0;
}

int layer_node_set_opaque(
	const struct layer_nodes *nodes, struct tree_node *directory, struct ramet_error *err)
{
	static const char name[] = PREFIX "opaque";
	const struct tree_xattr *from = directory->xattrs;
	struct tree_xattr **place = &directory->xattrs;
	directory->xattrs = NULL;
	bool put = false;
	for (; from || !put;) {
		int order = !from ? 1 : put ? -1 : strcmp(from->name, name);
		const struct tree_xattr *taken = order < 0 ? from : NULL;
		put = put || order >= 0;
		from = order <= 0 && from ? from->next : from;
		if (!add_xattr(nodes, &place, "", taken ? taken->name : name,
			    taken ? taken->value : "y", taken ? taken->size : 1))
			return error_memory(err);
	}
	return 0;
}
