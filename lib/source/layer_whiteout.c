/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whiteouts take away what is below their layer, and leave what their layer has itself, in whichever
 * order the archive names them. A directory that this layer went through keeps what the layer put
 * there; where the layer does not describe it, it is a directory that nobody described, as it would
 * be had the whiteout come first.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "source/layer_inside.h"

#define WHITEOUT    ".wh."
#define BOOKKEEPING ".wh..wh."
#define OPAQUE      ".wh..wh..opq"

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

/* The node after node and, unless it is skipped, after what it holds, but not beyond top. */
static struct tree_node *next_below(struct tree_node *node, const struct tree_node *top, bool skip)
{
	if (!skip && S_ISDIR(node->mode) && node->first)
		return node->first;
	while (node != top && !node->next)
		node = node->parent;
	return node == top ? NULL : node->next;
}

/* Nothing of this layer is below top: it becomes empty. */
static void empty(struct layers *layers, struct tree_node *top)
{
	for (struct tree_node *node = top->first; node; node = node->next)
		layer_remove(layers, node);
	top->first = NULL;
}

/* Take away what lower layers have below top. Once is enough: it does not come back. */
static void prune(struct layers *layers, struct tree_node *top)
{
	if (!layer_is_touched(layers, top)) {
		empty(layers, top);
		return;
	}
	if (top->place & LAYER_PRUNED)
		return;
	top->place |= LAYER_PRUNED;
	struct tree_node *node = next_below(top, top, false);
	while (node) {
		bool skip = node->flags & LAYER_GONE;
		if (!skip && !layer_is_touched(layers, node)) {
			layer_remove(layers, node);
			skip = true;
		} else if (!skip && node->number != layers->number) {
			node->number = layers->number;
			layer_set_implied(node);
		}
		node = next_below(node, top, skip);
	}
}

static void whiteout(struct layers *layers, struct tree_node *node)
{
	if (!layer_is_touched(layers, node)) {
		layer_remove(layers, node);
		return;
	}
	if (!S_ISDIR(node->mode))
		return;
	prune(layers, node);
	if (node->number != layers->number) {
		node->number = layers->number;
		layer_set_implied(node);
	}
}

/* 1: some part is AUFS's own. -EINVAL: something is said to be below a whiteout. */
static int check_parents(const char *path, const char *last, struct ramet_error *err)
{
	for (const char *at = path; at < last; at = strchr(at, '/') + 1) {
		if (begins(at, BOOKKEEPING))
			return 1;
		if (begins(at, WHITEOUT))
			return error_set(err, EINVAL,
				"the entry '%s' is refused: it is below a whiteout", path);
	}
	return begins(last, BOOKKEEPING) && strcmp(last, OPAQUE) != 0;
}

int layer_whiteout(struct layers *layers, struct ramet_error *err)
{
	const char *path = layers->clean.data, *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	int r = check_parents(path, last, err);
	if (r != 0 || !begins(last, WHITEOUT))
		return r;
	const char *name = last + strlen(WHITEOUT);
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set(err, EINVAL,
			"the entry '%s' is refused: it is a whiteout of nothing that has a name",
			path);
	struct tree_node *directory;
	r = layer_find_directory(layers, path, (size_t)(last - path), false, &directory, err);
	if (r < 0 || !directory)
		return r < 0 ? r : 1;
	layers->directory = NULL;
	if (strcmp(last, OPAQUE) == 0) {
		prune(layers, directory);
		return 1;
	}
	struct tree_node *node = layer_find(layers, directory, name);
	if (node)
		whiteout(layers, node);
	return 1;
}
