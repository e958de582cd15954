/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a layer: objects of the new view as they stand in it, whiteouts, opaque folders. */
#ifndef CHANGES_LAYER_NODES_H
#define CHANGES_LAYER_NODES_H

#include "changes/changes.h"
#include "source/tree.h"

/* Where the nodes go, and where they are from. */
struct layer_nodes {
	struct tree *tree;
	bool copies;          /* the new view is one of this very tree: nodes are copied */
	const struct fs *old; /* whose objects can be taken too (metadata only) */
	uint16_t origin;      /* otherwise: of the new view in tree */
};

/* Make a node called name of what side is. Attributes that overlayfs would take for its own are
 * escaped. -EINVAL for what would be a whiteout. */
int layer_node_take(const struct layer_nodes *nodes, const struct change_side *side,
	const char *name, struct tree_node **node, struct ramet_error *err);
/* Make a whiteout of name for the directory. */
int layer_node_whiteout(const struct layer_nodes *nodes, const struct tree_node *directory,
	const char *name, struct tree_node **node, struct ramet_error *err);
/* Nothing that is below it shows through the directory any more. */
int layer_node_set_opaque(
	const struct layer_nodes *nodes, struct tree_node *directory, struct ramet_error *err);

#endif
