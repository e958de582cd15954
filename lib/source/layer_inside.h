/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of laying layers over a tree share. */
#ifndef SOURCE_LAYER_INSIDE_H
#define SOURCE_LAYER_INSIDE_H

#include "base/text.h"
#include "source/layer.h"
#include "source/layer_index.h"

#define LAYER_NAME_MAX 255

struct layers {
	struct tree *tree;
	struct layer_index index;
	uint32_t number; /* of the layer that is being laid, from 1; what was there before is 0 */
	uint16_t origin;
	bool whiteouts;
	struct text clean;  /* the path of the entry in hand, without what does not matter */
	struct text parent; /* the path of the directory of the entry before it ... */
	struct tree_node *directory; /* ... and which that is, or NULL when it must be looked up */
};

/* tree_node.number: the layer that the node is from. tree_node.place: the layer that touched it or
 * something below it last, times 2, and PRUNED when it was emptied of what is below that layer. */
#define LAYER_PRUNED 1u
static inline bool layer_is_touched(const struct layers *layers, const struct tree_node *node)
{
	return node->place >> 1 == layers->number;
}

/* The names in the directory have changed: they are to be sorted. */
#define LAYER_DIRTY ((uint8_t)128)

struct tree_node *layer_find(
	const struct layers *layers, const struct tree_node *directory, const char *name);
/* A new node of this layer, without attributes, in directory. NULL without memory. */
struct tree_node *layer_new_node(
	struct layers *layers, struct tree_node *directory, const char *name);
/* An empty directory with the attributes of one that nobody described. */
void layer_set_implied(struct tree_node *node);
/* Note that the layer put something at node. */
void layer_touch(const struct layers *layers, struct tree_node *node);
void layer_remove(struct layers *layers, struct tree_node *node);

/* layer_path.c */
/* layers->clean := path without "/" in front, "//" and ".". Refuses ".." and long names. */
int layer_clean_path(struct layers *layers, const char *path, struct ramet_error *err);
/*
 * The directory that the first length bytes of path lead to, symlinks followed inside the tree. With
 * make what is missing is made; without it *directory is NULL then, also where the way leads through
 * something that is no directory.
 */
int layer_find_directory(struct layers *layers, const char *path, size_t length, bool make,
	struct tree_node **directory, struct ramet_error *err);
/* What path leads to, the last name itself not followed; NULL for nothing. */
int layer_find_node(
	struct layers *layers, const char *path, struct tree_node **node, struct ramet_error *err);

/* layer_whiteout.c */
/* Whether the cleaned path is a whiteout or AUFS's bookkeeping, and does then what it asks for: 1.
 * 0: it is a name like others. */
int layer_whiteout(struct layers *layers, struct ramet_error *err);

#endif
