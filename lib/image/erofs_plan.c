/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: first what attributes are shared and which files have holes worth a map, since inodes
 * grow by both; then each inode's place. A directory's entries get theirs one after the other, so
 * that what `ls -l` reads stands together.
 *
 * The root comes first: the superblock has 16 bits for its nid.
 */
#include "image/erofs_plan.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/formats.h"
#include "source/content.h"

#define MOST_BITS         31 /* of a chunk's blocks: the field has five */
#define MOST_DEDUPE_LOG   21 /* so many chunks at most: what the table of them takes is bounded */
#define MOST_MAP_BYTES    ((uint64_t)256 << 20)
#define MOST_BLOCKS       ((uint64_t)EROFS_NO_BLOCK)
#define MOST_INODE_BLOCKS (((uint64_t)1 << 32) * EROFS_SLOT_SIZE / EROFS_BLOCK_SIZE)

static uint64_t blocks_of(uint64_t bytes)
{
	return bytes / EROFS_BLOCK_SIZE + (bytes % EROFS_BLOCK_SIZE != 0);
}

static int too_large(struct ramet_error *err)
{
	return error_set(err, EFBIG, "the tree holds more than the 16 TiB of an erofs image");
}

/* How many blocks of data and how long a map a file has, for each size of its chunks. */
struct census {
	uint64_t blocks;              /* of the file, holes included */
	uint64_t last[MOST_BITS + 1]; /* the chunk met last, plus 1 */
	uint64_t data[MOST_BITS + 1]; /* blocks of the chunks met */
};

static void count_extent(struct census *census, uint64_t first, uint64_t end)
{
	for (unsigned bits = 0; bits <= MOST_BITS; bits++) {
		uint64_t from = MAX(first >> bits, census->last[bits]);
		uint64_t until = ((end - 1) >> bits) + 1;
		if (until <= from)
			continue;
		/* The file's last chunk ends with the file. */
		census->data[bits] += MIN(until << bits, census->blocks) - (from << bits);
		census->last[bits] = until;
	}
}

static int take_census(struct erofs_plan *plan, struct tree_node *node, struct census *census,
	struct ramet_error *err)
{
	_cleanup_content_ struct content content;
	int r = content_open(&content, plan->tree, node, err);
	if (r < 0)
		return r;
	uint64_t start, end;
	for (uint64_t offset = 0; offset < node->size; offset = end) {
		r = content_data(&content, offset, &start, &end, err);
		if (r < 0)
			return r;
		if (start < end)
			count_extent(census, start / EROFS_BLOCK_SIZE, blocks_of(end));
	}
	return 0;
}

static uint64_t map_bytes(uint64_t blocks, unsigned bits)
{
	return ((blocks >> bits) + 1) * 4;
}

/* A map of chunks where it makes the image smaller than the holes do. */
static int find_holes(struct erofs_plan *plan, struct tree_node *node, struct ramet_error *err)
{
	struct census census = {.blocks = blocks_of(node->size)};
	int r = take_census(plan, node, &census, err);
	if (r < 0)
		return r;
	uint64_t least = census.blocks * EROFS_BLOCK_SIZE;
	bool fits = checked_mul(census.blocks, EROFS_BLOCK_SIZE, &least);
	int best = -1;
	for (int bits = 0; bits <= MOST_BITS; bits++) {
		uint64_t map = map_bytes(census.blocks, (unsigned)bits), bytes;
		if (map <= MOST_MAP_BYTES &&
			checked_mul(census.data[bits], EROFS_BLOCK_SIZE, &bytes) &&
			checked_add(bytes, map, &bytes) && bytes < least) {
			least = bytes;
			best = bits;
		}
	}
	if (!fits && best < 0)
		return too_large(err);
	if (best < 0)
		return 0;
	struct erofs_sparse *sparse = vector_push(&plan->sparse);
	if (!sparse)
		return error_memory(err);
	*sparse = (struct erofs_sparse){node, census.data[best], (uint32_t)best};
	return 0;
}

/* What is known of a node before its inode has a place. */
static int measure(
	struct erofs_plan *plan, struct tree_node *node, uint64_t *data, struct ramet_error *err)
{
	if (!erofs_has_content(node))
		return 0;
	size_t before = plan->sparse.count;
	int r = 0;
	if (node->flags & TREE_SPARSE && node->size > EROFS_BLOCK_SIZE)
		r = find_holes(plan, node, err);
	*data += plan->sparse.count > before ? plan->sparse.items[before].blocks
					     : blocks_of(node->size);
	return r;
}

static int compare_nodes(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct erofs_sparse *)a)->node;
	uintptr_t y = (uintptr_t)((const struct erofs_sparse *)b)->node;
	return x < y ? -1 : x > y;
}

const struct erofs_sparse *erofs_sparse_find(
	const struct erofs_plan *plan, const struct tree_node *node)
{
	const struct erofs_sparse key = {.node = node};
	if (!S_ISREG(node->mode) || !(node->flags & TREE_SPARSE) || !plan->sparse.count)
		return NULL;
	return bsearch(&key, plan->sparse.items, plan->sparse.count, sizeof key, compare_nodes);
}

static int measure_all(struct erofs_plan *plan, struct ramet_error *err)
{
	uint64_t data = 0;
	for (struct tree_node *node = plan->tree->root; node; node = tree_next(node)) {
		int r = tree_link(node) ? 0 : measure(plan, node, &data, err);
		if (r < 0)
			return r;
		if (data > MOST_BLOCKS)
			return too_large(err);
	}
	plan->most_data = data;
	if (plan->sparse.count)
		qsort(plan->sparse.items, plan->sparse.count, sizeof *plan->sparse.items,
			compare_nodes);
	while (plan->options.dedupe && data >> plan->chunk_bits > (uint64_t)1 << MOST_DEDUPE_LOG)
		plan->chunk_bits++;
	return 0;
}

/* Blocks that a node has outside the inodes' part. */
static uint64_t blocks_outside(const struct erofs_plan *plan, const struct tree_node *node,
	const struct erofs_shape *shape)
{
	if (shape->layout == EROFS_CHUNK_BASED)
		return erofs_sparse_find(plan, node) ? erofs_sparse_find(plan, node)->blocks : 0;
	return blocks_of(shape->size - shape->tail);
}

struct placing {
	struct erofs_pack pack;
	uint64_t listings, data;
};

static int place(struct erofs_plan *plan, struct placing *placing, struct tree_node *node,
	struct ramet_error *err)
{
	struct erofs_shape shape;
	erofs_shape(plan, node, &shape);
	plan->chunked = plan->chunked || shape.layout == EROFS_CHUNK_BASED;
	bool file = S_ISREG(node->mode);
	uint64_t *next = file ? &placing->data : &placing->listings;
	uint64_t bytes = shape.inode_size + shape.xattr_size + shape.tail + shape.chunks * 4;
	uint64_t nid = erofs_pack_put(&placing->pack, bytes, file && node->size);
	node->number = (uint32_t)nid;
	node->place = *next;
	*next += blocks_outside(plan, node, &shape);
	bool fits = placing->pack.blocks <= MOST_INODE_BLOCKS && placing->data < MOST_BLOCKS &&
		    placing->listings < MOST_BLOCKS;
	return fits ? 0 : too_large(err);
}

static int place_all(struct erofs_plan *plan, struct placing *placing, struct ramet_error *err)
{
	struct tree_node *root = plan->tree->root;
	int r = place(plan, placing, root, err);
	for (struct tree_node *node = root; node && r == 0; node = tree_next(node)) {
		if (!S_ISDIR(node->mode))
			continue;
		for (struct tree_node *child = node->first; child && r == 0; child = child->next)
			if (!tree_link(child))
				r = place(plan, placing, child, err);
	}
	return r;
}

int erofs_plan_make(struct erofs_plan *plan, struct tree *tree,
	const struct erofs_plan_options *options, struct ramet_error *err)
{
	*plan = (struct erofs_plan){.tree = tree, .options = *options};
	struct placing placing = {0};
	erofs_pack_init(&placing.pack);
	int r = image_time(tree, &plan->time, err);
	if (r == 0)
		r = erofs_attributes_collect(plan, err);
	if (r == 0)
		r = measure_all(plan, err);
	if (r == 0)
		r = place_all(plan, &placing, err);
	if (r < 0)
		return r;
	plan->listing_start = placing.pack.blocks;
	plan->attribute_start = plan->listing_start + placing.listings;
	plan->data_start = plan->attribute_start + blocks_of(plan->attributes.shared_bytes);
	plan->end = plan->data_start + placing.data;
	return plan->end < MOST_BLOCKS ? 0 : too_large(err);
}

void erofs_plan_free(struct erofs_plan *plan)
{
	free(plan->attributes.slots);
	plan->attributes = (struct erofs_attributes){0};
	vector_free(&plan->sparse);
}
