/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open-addressed table of nodes by directory and name. Nothing is ever taken out: what is gone is
 * passed over, and dropped when the table grows.
 */
#include "source/layer_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD 0x9e3779b97f4a7c15 /* Fibonacci hashing */

static uint64_t hash_of(const struct tree_node *directory, const char *name)
{
	uint64_t hash = (uint64_t)(uintptr_t)directory * SPREAD;
	size_t length = strlen(name);
	for (; length >= sizeof hash; length -= sizeof hash, name += sizeof hash) {
		uint64_t word;
		memcpy(&word, name, sizeof word);
		hash = (hash ^ word) * SPREAD;
		hash ^= hash >> 32;
	}
	for (; length; length--)
		hash = (hash ^ (unsigned char)*name++) * SPREAD;
	return hash ^ hash >> 29;
}

struct tree_node *layer_index_find(
	const struct layer_index *index, const struct tree_node *directory, const char *name)
{
	if (!index->slots)
		return NULL;
	for (size_t i = hash_of(directory, name) & index->mask;; i = (i + 1) & index->mask) {
		struct tree_node *node = index->slots[i];
		if (!node)
			return NULL;
		if (node->parent == directory && !(node->flags & LAYER_GONE) &&
			strcmp(node->name, name) == 0)
			return node;
	}
}

static void put(struct layer_index *index, struct tree_node *node)
{
	size_t i = hash_of(node->parent, node->name) & index->mask;
	while (index->slots[i])
		i = (i + 1) & index->mask;
	index->slots[i] = node;
	index->used++;
}

static int grow(struct layer_index *index)
{
	size_t live = 0, size = 1024;
	for (size_t i = 0; index->slots && i <= index->mask; i++)
		live += index->slots[i] && !(index->slots[i]->flags & LAYER_GONE);
	while (size < (live + 1) * 2)
		size *= 2;
	struct layer_index larger = {.slots = calloc(size, sizeof *larger.slots), .mask = size - 1};
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; index->slots && i <= index->mask; i++)
		if (index->slots[i] && !(index->slots[i]->flags & LAYER_GONE))
			put(&larger, index->slots[i]);
	free(index->slots);
	*index = larger;
	return 0;
}

int layer_index_add(struct layer_index *index, struct tree_node *node)
{
	if (!index->slots || index->used >= index->mask - index->mask / 4) {
		int r = grow(index);
		if (r < 0)
			return r;
	}
	put(index, node);
	return 0;
}

void layer_index_free(struct layer_index *index)
{
	free(index->slots);
	*index = (struct layer_index){0};
}
