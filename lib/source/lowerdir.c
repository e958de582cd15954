/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder laid over a tree as overlayfs lays a layer over those below it
 * (Documentation/filesystems/overlayfs.rst; fs/overlayfs/{namei,readdir,util,xattrs}.c in the
 * kernel). lib/image/overlay.c reads volumes by the same rules:
 *
 *  - a 0/0 character device hides what is below; so does, in a directory that is opaque "x", an
 *    empty file with the attribute whiteout; so does, as in unpacked container layers, a file
 *    .wh.NAME, which hides NAME. None of them is in the merged tree;
 *  - a directory is merged with the one below that has its name, or that its redirect names: from
 *    the root when it begins with "/", else a neighbour; not when it is opaque ("y", or it has
 *    .wh..wh..opq), and not when what is there is no directory;
 *  - a file with metacopy has its content in the file below;
 *  - overlayfs's own attributes go, and those that it had put aside get their names back.
 *
 * "Below" is the tree as it was before this layer. So the work has two steps: the first looks up
 * what each directory is merged with and marks what is hidden; the second moves what is left below
 * into the directories of the layer. A directory below is merged only once, and stands nowhere else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/cleanup.h"
#include "source/content.h"
#include "source/overlay_marks.h"
#include "source/overlay_names.h"
#include "source/source.h"

/* Marks of nodes below, in their number. */
#define HIDDEN  1u
#define CLAIMED 2u

/* A directory of the layer, and what it is merged with. */
struct merge {
	struct tree_node *above, *below;
	bool redirected;
};

struct lowerdir {
	struct tree *tree;           /* its root is what is below, or NULL */
	VECTOR(struct merge) merges; /* a directory above has its index + 1 as place */
	bool has_devices;            /* a whiteout that only root can have made */
};

/* The directory of the layer at hand. */
struct level {
	struct tree_node *above, *below; /* below may be NULL */
	bool has_whiteouts;              /* by attribute */
};

static int refuse(const struct lowerdir *layer, const struct tree_node *node, const char *what,
	struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_host_path(layer->tree, node, &path);
	return error_set(err, EUCLEAN, "the layer is damaged: %s %s",
		path.failed ? "something in it" : path.data, what);
}

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* One name, or names each behind one "/"; "." and ".." lead nowhere in an overlay. */
static bool is_path(const struct tree_xattr *redirect)
{
	const char *path = redirect->value;
	size_t length = strlen(path);
	bool absolute = path[0] == '/';
	if (length == 0 || length != redirect->size || (!absolute && strchr(path, '/')))
		return false;
	for (const char *at = path + absolute;; at++) {
		size_t part = strcspn(at, "/");
		if (part == 0 || (part <= 2 && strncmp(at, "..", part) == 0))
			return false;
		at += part;
		if (!*at)
			return true;
	}
}

/* What an absolute path leads to below, symlinks not followed; NULL: nothing. */
static struct tree_node *look_up(struct tree_node *root, const char *path)
{
	struct tree_node *node = root;
	char name[256];
	while (node && *path) {
		path++;
		size_t length = strcspn(path, "/");
		if (!S_ISDIR(node->mode) || length >= sizeof name)
			return NULL;
		memcpy(name, path, length);
		name[length] = '\0';
		node = tree_find(node, name);
		path += length;
	}
	return node;
}

/* What child is laid over: same, or what its redirect names; *below is NULL when there is nothing. */
static int find_below(const struct lowerdir *layer, const struct level *level,
	const struct tree_node *child, struct tree_node *same, const struct tree_xattr *redirect,
	struct tree_node **below, struct ramet_error *err)
{
	*below = same;
	if (!redirect)
		return 0;
	if (!is_path(redirect))
		return refuse(layer, child, "has a redirect that is no path in the layers", err);
	const char *path = redirect->value;
	if (path[0] == '/')
		*below = look_up(layer->tree->root, path);
	else
		*below = level->below ? tree_find(level->below, path) : NULL;
	return 0;
}

static int claim(struct lowerdir *layer, struct tree_node *above, struct tree_node *below,
	bool redirected, struct ramet_error *err)
{
	if (below->number & CLAIMED)
		return refuse(layer, above,
			"is merged with a directory that another one is merged with", err);
	struct merge *merge = vector_push(&layer->merges);
	if (!merge)
		return error_memory(err);
	*merge = (struct merge){above, below, redirected};
	below->number |= CLAIMED;
	above->place = layer->merges.count;
	return 0;
}

static int take_directory(struct lowerdir *layer, const struct level *level,
	struct tree_node *child, struct tree_node *same, struct ramet_error *err)
{
	const struct overlay_marks marks = overlay_marks(child);
	if (marks.opaque || tree_find(child, OCI_OPAQUE))
		return 0;
	struct tree_node *below;
	int r = find_below(layer, level, child, same, marks.redirect, &below, err);
	if (r < 0 || !below || !S_ISDIR(below->mode))
		return r;
	return claim(layer, child, below, marks.redirect != NULL, err);
}

/* A file with metadata alone: content is that of the file below, which must be as long. */
static int take_metacopy(struct lowerdir *layer, const struct level *level, struct tree_node *child,
	struct tree_node *same, const struct tree_xattr *redirect, struct ramet_error *err)
{
	struct tree_node *below;
	int r = find_below(layer, level, child, same, redirect, &below, err);
	if (r < 0)
		return r;
	if (!below || !S_ISREG(below->mode) || below->size != child->size)
		return refuse(layer, child,
			"has its content in a file of the layers below that is not there, or not "
			"as long",
			err);
	const struct tree_node *content = tree_content_node(below);
	const struct content_ops *ops = layer->tree->origins.items[content->origin].content;
	if (ops && ops->streamed && !(content->flags & TREE_MEMORY))
		return refuse(layer, child,
			"has its content in an archive below, which is read only once; unpack "
			"that layer",
			err);
	child->host = content;
	child->flags = (uint8_t)((child->flags & ~TREE_SPARSE) | (content->flags & TREE_SPARSE) |
				 TREE_MOVED);
	return 0;
}

static bool is_whiteout(const struct level *level, const struct tree_node *child)
{
	if (S_ISCHR(child->mode))
		return child->rdev == 0;
	return level->has_whiteouts && S_ISREG(child->mode) && child->size == 0 &&
	       overlay_marks(child).whiteout;
}

/* same: what is below under its name, if that counts. *kept: it is in the merged tree. */
static int take_child(struct lowerdir *layer, const struct level *level, struct tree_node *child,
	struct tree_node *same, bool *kept, struct ramet_error *err)
{
	*kept = !is_whiteout(level, child);
	if (!*kept) {
		layer->has_devices = layer->has_devices || S_ISCHR(child->mode);
		return 0;
	}
	if (S_ISDIR(child->mode))
		return take_directory(layer, level, child, same, err);
	const struct overlay_marks marks = overlay_marks(child);
	int r = 0;
	if (S_ISREG(child->mode) && marks.metacopy)
		r = take_metacopy(layer, level, child, same, marks.redirect, err);
	return r < 0 ? r : overlay_marks_clean(layer->tree, child, err);
}

/* Files called .wh.NAME stand in the order of NAME, as what is below does. */
static void hide_named(const struct level *level)
{
	struct tree_node *below = level->below ? level->below->first : NULL;
	for (struct tree_node *child = level->above->first; child && below; child = child->next) {
		if (!has_prefix(child->name, OCI_WHITEOUT) ||
			has_prefix(child->name, OCI_WHITEOUT_META))
			continue;
		const char *name = child->name + strlen(OCI_WHITEOUT);
		while (below && strcmp(below->name, name) < 0)
			below = below->next;
		if (below && strcmp(below->name, name) == 0)
			below->number |= HIDDEN;
	}
}

/* Decide what each entry of a directory of the layer stands for. */
static int take_level(struct lowerdir *layer, const struct level *level, struct ramet_error *err)
{
	hide_named(level);
	struct tree_node *below = level->below ? level->below->first : NULL;
	for (struct tree_node **place = &level->above->first; *place;) {
		struct tree_node *child = *place;
		bool kept = false;
		if (!has_prefix(child->name, OCI_WHITEOUT)) {
			while (below && strcmp(below->name, child->name) < 0)
				below = below->next;
			bool meets = below && strcmp(below->name, child->name) == 0;
			bool counts = meets && !(below->number & HIDDEN);
			int r = take_child(layer, level, child, counts ? below : NULL, &kept, err);
			if (r < 0)
				return r;
			if (meets)
				below->number |= HIDDEN;
		}
		if (kept)
			place = &child->next;
		else
			*place = child->next;
	}
	return 0;
}

static int look_through(struct lowerdir *layer, struct tree_node *top, struct ramet_error *err)
{
	for (struct tree_node *node = top; node; node = tree_next(node)) {
		if (!S_ISDIR(node->mode))
			continue;
		const struct level level = {
			.above = node,
			.below = node->place ? layer->merges.items[node->place - 1].below : NULL,
			.has_whiteouts = overlay_marks(node).has_whiteouts,
		};
		int r = take_level(layer, &level, err);
		if (r == 0)
			r = overlay_marks_clean(layer->tree, node, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Move what is not hidden in merge->below to its sorted place in merge->above. */
static void move_entries(const struct merge *merge)
{
	struct tree_node **place = &merge->above->first;
	struct tree_node *next;
	for (struct tree_node *node = merge->below->first; node; node = next) {
		next = node->next;
		if (node->number & HIDDEN)
			continue;
		while (*place && strcmp((*place)->name, node->name) < 0)
			place = &(*place)->next;
		node->next = *place;
		node->parent = merge->above;
		*place = node;
		place = &node->next;
	}
}

/* Whether a directory below, after all was moved, is still in the tree. What was moved has a
 * directory of the layer as its parent; a directory that gave its entries away is gone itself. */
static bool is_visible(const struct tree_node *below, const struct tree_node *top)
{
	for (const struct tree_node *node = below; node != top; node = node->parent)
		if (!node->parent || (node->parent->number & CLAIMED))
			return false;
	return true;
}

static int move_all(struct lowerdir *layer, const struct tree_node *top, struct ramet_error *err)
{
	for (size_t i = 0; i < layer->merges.count; i++)
		move_entries(&layer->merges.items[i]);
	for (size_t i = 0; i < layer->merges.count; i++) {
		const struct merge *merge = &layer->merges.items[i];
		if (merge->redirected && is_visible(merge->below, top))
			return refuse(layer, merge->above,
				"has a redirect to a directory that is still in its place", err);
	}
	return 0;
}

static int lay_over(struct lowerdir *layer, struct tree_node *top, struct ramet_error *err)
{
	struct tree *tree = layer->tree;
	int r = tree_make_movable(tree, top, err);
	if (r == 0 && tree->root)
		r = tree_make_movable(tree, tree->root, err);
	for (struct tree_node *node = top; node; node = tree_next(node))
		node->place = 0;
	for (struct tree_node *node = tree->root; node; node = tree_next(node))
		node->number = 0;
	if (r == 0 && tree->root && !tree_find(top, OCI_OPAQUE))
		r = claim(layer, top, tree->root, false, err);
	if (r == 0)
		r = look_through(layer, top, err);
	if (r == 0)
		r = move_all(layer, top, err);
	tree->root = top;
	return r;
}

/* Attributes in "trusted." are root's: to others it looks as if there were none. */
static void note_blindness(const struct source *source, const struct source_options *options)
{
	_cleanup_text_ struct text text = {0};
	text_format(&text,
		"the attributes trusted.overlay.* of the layer %s can be read by root alone, so "
		"opaque and renamed folders were not seen; build as root",
		source->place);
	if (options->note && !text.failed)
		options->note(options->note_ctx, text_disarm(text.data));
}

static int lowerdir_walk(struct source *source, struct tree *tree,
	const struct source_options *options, struct ramet_error *err)
{
	struct lowerdir layer = {.tree = tree};
	struct tree_node *top;
	int r = source_take(tree, source->place, "", false, options, &top, err);
	if (r == 0)
		r = lay_over(&layer, top, err);
	vector_free(&layer.merges);
	/* Asked of the auxiliary vector, since a sandbox answers no geteuid(). */
	if (r == 0 && layer.has_devices && getauxval(AT_EUID) != 0)
		note_blindness(source, options);
	return r;
}

const struct source_ops source_lowerdir_ops = {
	.name = "layer",
	.walk = lowerdir_walk,
	.close = source_free,
};
