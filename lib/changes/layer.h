/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes as a layer of an overlay: a tree with what was added or changed, and whiteouts for what is
 * gone. Laid over the old view by overlayfs it gives the new one.
 */
#ifndef CHANGES_LAYER_H
#define CHANGES_LAYER_H

#include "changes/changes.h"

struct tree;

struct layer_options {
	/* The new view is view_of_tree() of the tree, which becomes the layer. Otherwise the tree is
	 * empty, and the layer's files will be read through the new view: it must live longer. */
	bool new_is_tree;
	/* A file whose attributes and time are the old ones is taken for unchanged, its bytes are not
	 * compared; unless its time is `made` or later. */
	bool by_time;
	int64_t made; /* seconds since the epoch */
	/* As changes_options.plain_root; the layer's root is then what the old one was. */
	bool plain_root;
	/* An empty /lost+found of the old view is its filesystem's own, and does not have to be
	 * deleted. */
	bool own_lost_found;
};

struct layer_figures {
	uint64_t added, modified, deleted, retyped;
	uint64_t compared; /* files of which bytes were compared */
	uint64_t timed;    /* files that were taken for unchanged by their time */
};

/* Make tree the layer, finished. Errors: those of the views; EINVAL for a 0/0 character device that is
 * new, which in a layer is a whiteout. */
int layer_make(const struct changes_view *old, const struct changes_view *new, struct tree *tree,
	const struct layer_options *options, struct layer_figures *figures,
	struct ramet_error *err);

#endif
