/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a name in a directory at once, however many there are. */
#ifndef SOURCE_LAYER_INDEX_H
#define SOURCE_LAYER_INDEX_H

#include "source/tree.h"

/* A flag of nodes that were taken away: they are in lists and in the index still, and do not count. */
#define LAYER_GONE ((uint8_t)64)

/* Start with {0}. */
struct layer_index {
	struct tree_node **slots;
	size_t mask, used;
};

struct tree_node *layer_index_find(
	const struct layer_index *index, const struct tree_node *directory, const char *name);
/* node's parent and name are set, and not in the index. -ENOMEM. */
int layer_index_add(struct layer_index *index, struct tree_node *node);
void layer_index_free(struct layer_index *index);

#endif
