/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A visitor of changes_walk that makes a tree. It keeps the directories on the way to where the walk
 * is, and a directory gets a node when the first thing in it does: so parents come in with their own
 * attributes, and nothing else of what is unchanged.
 *
 * Names of one directory come in order, but for directories that are found out to be needed only
 * when the walk is in them, after names that sort behind ("a-b" comes between "a" and what is in
 * "a"). Where such a one belongs is noted when its name comes by. The directories that wait to be
 * entered are a stack, since what comes between begins with the same letters.
 *
 * overlayfs merges the roots of its layers always, opaque or not (ovl_get_root() in
 * fs/overlayfs/super.c): a root that was emptied gets whiteouts.
 */
#include "changes/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "changes/layer_links.h"
#include "changes/layer_nodes.h"
#include "changes/side.h"
#include "image/view.h"

/* A directory that the walk is in. */
struct level {
	size_t path_length; /* 0 for "/" */
	struct change_side side;
	struct tree_node *node;   /* NULL: nothing in it has changed yet */
	struct tree_node *before; /* its neighbour in the directory above, NULL: it is the first */
	struct tree_node *last;   /* the last one in it, by name */
};

/* A directory that the walk is going to be in. */
struct waiting {
	struct tree_node *node, *before;
};

struct layer {
	struct layer_nodes nodes;
	const struct layer_options *options;
	struct layer_figures *figures;
	struct layer_links links;
	struct text path; /* of the top level */
	VECTOR(struct level) levels;
	VECTOR(struct waiting) waiting;
};

/* Leave the directories that path is not in. */
static struct level *level_of(struct layer *layer, const char *path)
{
	struct level *top = &layer->levels.items[layer->levels.count - 1];
	while (top->path_length && (strncmp(path, layer->path.data, top->path_length) != 0 ||
					   path[top->path_length] != '/')) {
		layer->levels.count--;
		top--;
		text_truncate(&layer->path, top->path_length);
	}
	return top;
}

static void put(struct level *level, struct tree_node *before, struct tree_node *node)
{
	struct tree_node **place = before ? &before->next : &level->node->first;
	node->parent = level->node;
	node->next = *place;
	*place = node;
	if (level->last == before)
		level->last = node;
}

static const char *last_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* See to it that the directories that the walk is in have nodes. */
static int make_parents(struct layer *layer, struct ramet_error *err)
{
	for (size_t i = 1; i < layer->levels.count; i++) {
		struct level *level = &layer->levels.items[i];
		if (level->node)
			continue;
		_cleanup_free_ char *path = strndup(layer->path.data, level->path_length);
		if (!path)
			return error_memory(err);
		level->side.path = path;
		int r = layer_node_take(
			&layer->nodes, &level->side, last_name(path), &level->node, err);
		level->side.path = NULL;
		if (r < 0)
			return r;
		put(level - 1, level->before, level->node);
	}
	return 0;
}

static int expect_directory(struct layer *layer, const struct change_side *new,
	struct tree_node *node, struct tree_node *before, struct ramet_error *err)
{
	if (!S_ISDIR(new->stat.mode) || !new->path[1])
		return 0;
	struct waiting *waiting = vector_push(&layer->waiting);
	if (!waiting)
		return error_memory(err);
	*waiting = (struct waiting){node, before};
	return 0;
}

static int take(
	struct layer *layer, const struct change_side *new, bool opaque, struct ramet_error *err)
{
	if (!new->path[1])
		return 0; /* the root is there always */
	struct level *level = level_of(layer, new->path);
	struct tree_node *node = NULL, *before = level->last;
	int r = make_parents(layer, err);
	if (r == 0)
		r = layer_node_take(&layer->nodes, new, last_name(new->path), &node, err);
	if (r == 0 && opaque)
		r = layer_node_set_opaque(&layer->nodes, node, err);
	if (r < 0)
		return r;
	put(level, before, node);
	if (layer_links_touch(&layer->links, &new->stat) < 0)
		return error_memory(err);
	return expect_directory(layer, new, node, before, err);
}

/* Whether what is gone is the old filesystem's own. */
static int is_own(const struct layer *layer, const struct change_side *old, bool *own,
	struct ramet_error *err)
{
	*own = false;
	if (!layer->options->own_lost_found || strcmp(old->path, "/lost+found") != 0 ||
		!S_ISDIR(old->stat.mode))
		return 0;
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = side_list(old, &entries, err);
	*own = r == 0 && entries.count == 0;
	return r;
}

static int delete (struct layer *layer, const struct change *change, struct ramet_error *err)
{
	bool own, at_root = !strchr(change->path + 1, '/');
	int r = is_own(layer, change->old, &own, err);
	if (r < 0 || own)
		return r;
	layer->figures->deleted++;
	if (change->implied && !at_root)
		return 0;
	struct level *level = level_of(layer, change->path);
	struct tree_node *node;
	r = make_parents(layer, err);
	if (r == 0)
		r = layer_node_whiteout(
			&layer->nodes, level->node, last_name(change->path), &node, err);
	if (r == 0)
		put(level, level->last, node);
	return r;
}

static int layer_each(void *ctx, const struct change *change, struct ramet_error *err)
{
	struct layer *layer = ctx;
	switch (change->kind) {
	case CHANGE_DELETED:
		return delete (layer, change, err);
	case CHANGE_ADDED:
		layer->figures->added++;
		break;
	case CHANGE_MODIFIED:
		layer->figures->modified++;
		break;
	case CHANGE_RETYPED:
		layer->figures->retyped++;
		break;
	}
	bool replaces = change->kind == CHANGE_RETYPED && S_ISDIR(change->new->stat.mode);
	return take(layer, change->new, replaces, err);
}

static int layer_kept(void *ctx, const struct change_side *old, const struct change_side *new,
	struct ramet_error *err)
{
	struct layer *layer = ctx;
	if (layer_links_keep(&layer->links, old, new) < 0)
		return error_memory(err);
	if (!S_ISDIR(new->stat.mode) || !new->path[1])
		return 0;
	return expect_directory(layer, new, NULL, level_of(layer, new->path)->last, err);
}

static int make_root(struct layer *layer, const struct change_side *old,
	const struct change_side *new, struct ramet_error *err)
{
	struct level *level = vector_push(&layer->levels);
	if (!level)
		return error_memory(err);
	*level = (struct level){.side = *new};
	bool plain = false;
	int r = layer->options->plain_root ? changes_is_plain(new, &plain, err) : 0;
	if (r == 0)
		r = layer_node_take(&layer->nodes, plain ? old : new, "", &level->node, err);
	if (r < 0)
		return r;
	level->node->flags |= TREE_ORIGIN;
	layer->nodes.tree->root = level->node;
	return 0;
}

static int layer_entered(void *ctx, const struct change_side *old, const struct change_side *new,
	struct ramet_error *err)
{
	struct layer *layer = ctx;
	if (!new)
		return 0; /* all that is in it is gone with it */
	if (!new->path[1])
		return make_root(layer, old, new, err);
	level_of(layer, new->path);
	if (!layer->waiting.count)
		return side_damaged(new, "is one thing in its folder and another in itself", err);
	const struct waiting waiting = layer->waiting.items[--layer->waiting.count];
	struct level *level = vector_push(&layer->levels);
	if (!level)
		return error_memory(err);
	*level = (struct level){.side = *new,
		.path_length = strlen(new->path),
		.node = waiting.node,
		.before = waiting.before};
	level->side.path = NULL;
	text_truncate(&layer->path, 0);
	text_append(&layer->path, new->path);
	return layer->path.failed ? error_memory(err) : 0;
}

static int layer_emptied(void *ctx, const char *directory, bool left_empty, struct ramet_error *err)
{
	struct layer *layer = ctx;
	if (!directory[1])
		return 0;
	int r = make_parents(layer, err);
	struct level *level = &layer->levels.items[layer->levels.count - 1];
	return r < 0 ? r : layer_node_set_opaque(&layer->nodes, level->node, err);
}

/* A second is the finest that all formats keep, so a file that was changed again within the one in
 * which it was taken in looks the same: those times are not believed. */
static int layer_judge(void *ctx, const struct change_side *old, const struct change_side *new,
	enum changes_verdict *verdict, struct ramet_error *err)
{
	struct layer *layer = ctx;
	const struct fs_stat *a = &old->stat, *b = &new->stat;
	bool same_time = a->mtime == b->mtime &&
			 (a->whole_seconds || a->mtime_nsec == b->mtime_nsec) &&
			 b->mtime < layer->options->made && layer->options->by_time;
	bool stream = layer->options->new_is_tree &&
		      !view_readable(layer->nodes.tree, tree_inode(view_node(new->ref)));
	bool differs = a->mode != b->mode || a->uid != b->uid || a->gid != b->gid;
	*verdict = same_time ? CHANGES_SAME : stream || differs ? CHANGES_DIFFER : CHANGES_COMPARE;
	layer->figures->timed += same_time;
	layer->figures->compared += *verdict == CHANGES_COMPARE;
	return 0;
}

/* ------------------------------------------------------------------------------------------- */

/* The directory of the layer in which path is, made as far as it is not there. */
static int find_parent(struct layer *layer, const struct changes_view *new, const char *path,
	struct tree_node **parent, struct ramet_error *err)
{
	_cleanup_text_ struct text above = {0};
	*parent = layer->nodes.tree->root;
	for (const char *end; (end = strchr(path + above.length + 1, '/'));) {
		text_append_bytes(&above, path + above.length, (size_t)(end - path) - above.length);
		if (above.failed)
			return error_memory(err);
		const char *name = last_name(above.data);
		struct tree_node *node = tree_find(*parent, name);
		struct change_side side = {.view = new, .path = above.data};
		int r = node ? 0 : fs_lookup(new->fs, above.data, &side.ref, err);
		if (r == 0 && !node) {
			r = layer_node_take(&layer->nodes, &side, name, &node, err);
			if (r == 0)
				tree_insert(*parent, node);
		}
		if (r < 0)
			return r;
		*parent = node;
	}
	return 0;
}

/* The other names of what went into the layer. */
static int add_links(struct layer *layer, const struct changes_view *new, struct ramet_error *err)
{
	for (size_t i = 0; i < layer->links.kept.count; i++) {
		const struct layer_name *name = &layer->links.kept.items[i];
		if (!layer_links_wants(&layer->links, name))
			continue;
		const struct change_side side = {.view = new, .path = name->path, .ref = name->ref};
		struct tree_node *parent, *node;
		int r = find_parent(layer, new, name->path, &parent, err);
		if (r == 0)
			r = layer_node_take(
				&layer->nodes, &side, last_name(name->path), &node, err);
		if (r < 0)
			return r;
		tree_insert(parent, node);
	}
	return 0;
}

static int make(struct layer *layer, const struct changes_view *old, const struct changes_view *new,
	struct ramet_error *err)
{
	static const struct changes_visitor visitor = {
		.each = layer_each,
		.emptied = layer_emptied,
		.entered = layer_entered,
		.kept = layer_kept,
		.judge = layer_judge,
	};
	struct tree *tree = layer->nodes.tree;
	const struct changes_limits all = {0};
	const struct changes_options options = {
		.limits = &all, .plain_root = layer->options->plain_root};
	int r = 0;
	if (!layer->nodes.copies)
		r = view_origin(new->fs, new->name, tree, &layer->nodes.origin, err);
	if (r == 0)
		r = changes_walk(old, new, &options, &visitor, layer, err);
	if (r == 0)
		r = add_links(layer, new, err);
	return r < 0 ? r : tree_finish(tree, err);
}

int layer_make(const struct changes_view *old, const struct changes_view *new, struct tree *tree,
	const struct layer_options *options, struct layer_figures *figures, struct ramet_error *err)
{
	*figures = (struct layer_figures){0};
	struct layer layer = {
		.nodes = {.tree = tree, .copies = options->new_is_tree, .old = old->fs},
		.options = options,
		.figures = figures,
	};
	int r = make(&layer, old, new, err);
	layer_links_free(&layer.links);
	text_free(&layer.path);
	vector_free(&layer.levels);
	vector_free(&layer.waiting);
	return r;
}
