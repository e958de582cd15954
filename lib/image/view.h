/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between views and trees: what a reader shows can be taken in as a source is (and so be written in
 * another format), and a tree can be looked at as a view (and so be compared with an image).
 */
#ifndef IMAGE_VIEW_H
#define IMAGE_VIEW_H

#include "image/fs.h"

struct content_ops;
struct source_options;
struct source_request;
struct source;
struct tree;
struct tree_node;
struct tree_origin;

/*
 * Take all that fs shows into the empty tree; place is what messages call it. Files are read through
 * fs, which must live longer than the tree. With own_lost_found (there is an ext4 in it) an empty
 * /lost+found is the filesystem's own, and left out. Memory is bounded by the number of names. Errors: those of the reader, EFBIG.
 */
int view_walk(struct fs *fs, const char *place, bool own_lost_found, struct tree *tree,
	const struct source_options *options, struct ramet_error *err);

/* Make the tree's next origin one whose files are read through fs; *origin is its index. */
int view_origin(struct fs *fs, const char *place, struct tree *tree, uint16_t *origin,
	struct ramet_error *err);
/* Fill node, zeroed but for name and parent, from what ref is in fs; origin is the one of fs. The
 * entries of a directory are not taken. */
int view_take(struct fs *fs, fs_ref ref, struct tree *tree, uint16_t origin, struct tree_node *node,
	struct ramet_error *err);

/*
 * A view of a finished tree as it is now, also when the tree gets another root later. The tree is
 * borrowed. References are its nodes. Files are read with
 * content.h; one that is part of a stream cannot be, and answers EOPNOTSUPP.
 */
int view_of_tree(struct tree *tree, struct fs **fs, struct ramet_error *err);
/* The node that a reference of such a view names. */
struct tree_node *view_node(fs_ref ref);
/* Whether files of the origin are read through a view: its source. */
bool view_is_origin(const struct tree_origin *origin);
/* Whether the content of the node can be read in any order. */
bool view_readable(const struct tree *tree, const struct tree_node *node);

#endif
