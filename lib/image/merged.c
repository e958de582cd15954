/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reference says of which layer it is. What one layer alone has is what it is there, so nothing is
 * kept of it; only merged directories stand in a table. So the memory that a walk takes grows with
 * the directories that really are merged, and the same directory has the same reference whenever it
 * is asked for: another view on top (overlay.c) can tell what it left untouched.
 */
#include "image/merged.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "image/merged_inside.h"
#include "image/overlay_inside.h"

static const struct merged_layer *layer_of(const struct merged *merged, fs_ref ref)
{
	return &merged->layers[merged_layer_of(ref)];
}

/* Inode numbers too must leave room for the layer's. */
static int check_room(const struct merged_layer *layer, uint64_t number, struct ramet_error *err)
{
	return number >> MERGED_SHIFT == 0
		       ? 0
		       : error_set(err, EFBIG, "%s: the image is too large to be part of a chain",
				 layer->name);
}

static int prefix(const struct merged_layer *layer, int r, struct ramet_error *err)
{
	return r < 0 ? error_prefix(err, r, "%s", layer->name) : 0;
}

int merged_stat(struct merged *merged, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	const struct merged_layer *layer = layer_of(merged, ref);
	int r = prefix(layer, layer->fs->ops->stat(layer->fs, merged_plain(ref), stat, err), err);
	if (r == 0)
		r = check_room(layer, stat->inode, err);
	stat->inode |= ref & ~merged_plain(ref);
	return r;
}

int merged_xattrs(
	struct merged *merged, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	const struct merged_layer *layer = layer_of(merged, ref);
	return prefix(
		layer, layer->fs->ops->xattrs(layer->fs, merged_plain(ref), xattrs, err), err);
}

int merged_entries(
	struct merged *merged, fs_ref ref, struct fs_entries *entries, struct ramet_error *err)
{
	const struct merged_layer *layer = layer_of(merged, ref);
	fs_ref high = ref & ~merged_plain(ref);
	int r = prefix(
		layer, layer->fs->ops->list(layer->fs, merged_plain(ref), entries, err), err);
	for (size_t i = 0; r == 0 && i < entries->count; i++) {
		r = check_room(layer, entries->items[i].ref, err);
		entries->items[i].ref |= high;
	}
	return r;
}

int merged_merge(
	struct merged *merged, const merged_places *places, fs_ref *ref, struct ramet_error *err)
{
	const fs_ref high = (fs_ref)MERGED_TABLE << MERGED_SHIFT;
	*ref = places->items[0];
	if (places->count == 1)
		return 0;
	const struct fs_place *known = fs_place_find(&merged->known, *ref + 1);
	if (known) {
		*ref = high | known->position;
		return 0;
	}
	size_t number = merged->nodes.count, first = merged->members.count;
	for (size_t i = 0; i < places->count; i++) {
		fs_ref *member = vector_push(&merged->members);
		if (!member)
			return error_memory(err);
		*member = places->items[i];
	}
	struct merged_node *node = vector_push(&merged->nodes);
	if (!node || fs_place_claim(&merged->known, *ref + 1, 1, number) < 0)
		return error_memory(err);
	*node = (struct merged_node){first, places->count};
	*ref = high | number;
	return 0;
}

int merged_members(struct merged *merged, fs_ref ref, const fs_ref **members, size_t *count,
	struct ramet_error *err)
{
	fs_ref plain = merged_plain(ref);
	if (merged_layer_of(ref) != MERGED_TABLE || plain >= merged->nodes.count)
		return error_set(err, EINVAL, "the images have no merged directory %llu",
			(unsigned long long)plain);
	*members = &merged->members.items[merged->nodes.items[plain].first];
	*count = merged->nodes.items[plain].count;
	return 0;
}

/* What metadata and content come from: for a merged directory, its topmost member. */
static int top_of(struct merged *merged, fs_ref *ref, struct ramet_error *err)
{
	const fs_ref *members = ref;
	size_t count;
	if (merged_layer_of(*ref) < merged->count && *ref >> MERGED_SHIFT == merged_layer_of(*ref))
		return 0;
	int r = merged_members(merged, *ref, &members, &count, err);
	if (r == 0)
		*ref = members[0];
	return r;
}

static int view_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	const struct merged *merged = (struct merged *)fs;
	*root = merged->count > 1 ? (fs_ref)MERGED_TABLE << MERGED_SHIFT : merged->roots[0];
	return 0;
}

static int view_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	int r = top_of((struct merged *)fs, &ref, err);
	return r < 0 ? r : merged_stat((struct merged *)fs, ref, stat, err);
}

static int view_list(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err)
{
	struct merged *merged = (struct merged *)fs;
	const fs_ref *members = &dir;
	size_t count = 1;
	if (dir >> MERGED_SHIFT == 0)
		return merged_entries(merged, dir, entries, err);
	int r = 0;
	if (dir >> MERGED_SHIFT >= merged->count)
		r = merged_members(merged, dir, &members, &count, err);
	return r < 0 ? r : merged_list(merged, members, count, entries, err);
}

static int view_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err)
{
	*done = 0;
	int r = top_of((struct merged *)fs, &ref, err);
	if (r < 0)
		return r;
	const struct merged_layer *layer = layer_of((struct merged *)fs, ref);
	return prefix(layer,
		layer->fs->ops->read(
			layer->fs, merged_plain(ref), offset, buffer, length, done, err),
		err);
}

static int view_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	int r = top_of((struct merged *)fs, &ref, err);
	if (r < 0)
		return r;
	const struct merged_layer *layer = layer_of((struct merged *)fs, ref);
	return prefix(
		layer, layer->fs->ops->readlink(layer->fs, merged_plain(ref), target, err), err);
}

static int view_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs all = {0};
	int r = top_of((struct merged *)fs, &ref, err);
	if (r == 0)
		r = merged_xattrs((struct merged *)fs, ref, &all, err);
	return r < 0 ? r : overlay_show_xattrs(&all, xattrs, err);
}

static int view_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	int r = top_of((struct merged *)fs, &ref, err);
	if (r < 0)
		return r;
	const struct merged_layer *layer = layer_of((struct merged *)fs, ref);
	r = prefix(layer, layer->fs->ops->extent(layer->fs, merged_plain(ref), offset, extent, err),
		err);
	/* In which of the images would it be? */
	extent->device_offset = UINT64_MAX;
	return r;
}

static bool view_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	return other == fs && ref == other_ref;
}

static void view_close(struct fs *fs)
{
	struct merged *merged = (struct merged *)fs;
	vector_free(&merged->nodes);
	vector_free(&merged->members);
	fs_places_free(&merged->known);
	fs_places_free(&merged->below);
	fs_places_free(&merged->next);
	free(merged);
}

static const struct fs_ops merged_ops = {
	.format = "merged",
	.hides_overlay = true,
	.root = view_root,
	.stat = view_stat,
	.list = view_list,
	.read = view_read,
	.readlink = view_readlink,
	.xattrs = view_xattrs,
	.extent = view_extent,
	.same = view_same,
	.close = view_close,
};

/* The root of each, and all of them merged: the roots are merged whatever they say of themselves. */
static int open_roots(struct merged *merged, struct ramet_error *err)
{
	merged_places places = {0};
	fs_ref root;
	int r = 0;
	for (size_t i = merged->count; r == 0 && i-- > 0;) {
		const struct merged_layer *layer = &merged->layers[i];
		r = prefix(layer, layer->fs->ops->root(layer->fs, &root, err), err);
		if (r == 0)
			r = check_room(layer, root, err);
		if (r < 0)
			break;
		merged->roots[i] = (fs_ref)i << MERGED_SHIFT | root;
		fs_ref *place = vector_push(&places);
		if (!place ||
			(places.count > 1 && fs_place_claim(&merged->below, merged->roots[i] + 1,
						     merged->roots[i + 1], 0) < 0))
			r = error_memory(err);
		else
			*place = merged->roots[i];
	}
	if (r == 0)
		r = merged_merge(merged, &places, &root, err);
	vector_free(&places);
	return r;
}

int merged_open(
	const struct merged_layer *layers, size_t count, struct fs **fs, struct ramet_error *err)
{
	if (count == 0 || count > RAMET_CHAIN_MAX)
		return error_set(
			err, EINVAL, "a chain has 1 to %d images, not %zu", RAMET_CHAIN_MAX, count);
	_cleanup_fs_ struct fs *view = calloc(1, sizeof(struct merged));
	struct merged *merged = (struct merged *)view;
	if (!merged)
		return error_memory(err);
	merged->fs.ops = &merged_ops;
	merged->count = count;
	for (size_t i = 0; i < count; i++)
		merged->layers[i] = layers[i];
	int r = open_roots(merged, err);
	if (r == 0)
		*fs = TAKE_PTR(view);
	return r;
}
