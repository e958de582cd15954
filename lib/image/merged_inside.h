/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the merged view share. */
#ifndef IMAGE_MERGED_INSIDE_H
#define IMAGE_MERGED_INSIDE_H

#include "base/vector.h"
#include "image/fs_inside.h"
#include "image/merged.h"

/* A reference: eight bits say which layer it is of (the base's are what they are in its own view),
 * or that it is a number of the table of merged directories. The top two bits stay 0. */
enum { MERGED_SHIFT = 54, MERGED_TABLE = 255 };
static inline size_t merged_layer_of(fs_ref ref)
{
	return (size_t)(ref >> MERGED_SHIFT) & 255;
}
static inline fs_ref merged_plain(fs_ref ref)
{
	return ref & ((1ULL << MERGED_SHIFT) - 1);
}

/* Directories of layers, from the top down: a merged directory, or one alone. */
typedef VECTOR(fs_ref) merged_places;

/* A merged directory: a piece of the list of members. */
struct merged_node {
	size_t first, count;
};

struct merged {
	struct fs fs;
	struct merged_layer layers[RAMET_CHAIN_MAX];
	fs_ref roots[RAMET_CHAIN_MAX]; /* each with its layer in it */
	size_t count;
	VECTOR(struct merged_node) nodes; /* the first is the root */
	merged_places members;
	struct fs_places known; /* topmost member + 1 -> its node */
	struct fs_places below; /* a lower member + 1 -> the one that it is merged under */
	struct fs_places next;  /* a member + 1 -> the one merged under it + 1, or 0 */
};

/* The reference of the directory that is made of these, which is the only one when there is one. */
int merged_merge(
	struct merged *merged, const merged_places *places, fs_ref *ref, struct ramet_error *err);
/* The members of a directory; -EINVAL for a reference that is none. They live until the next merge. */
int merged_members(struct merged *merged, fs_ref ref, const fs_ref **members, size_t *count,
	struct ramet_error *err);
/* Call an operation of the layer that ref is of, and say in which layer it failed. */
int merged_stat(struct merged *merged, fs_ref ref, struct fs_stat *stat, struct ramet_error *err);
int merged_xattrs(
	struct merged *merged, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err);
/* The entries of one layer's directory, their references with the layer in them. */
int merged_entries(
	struct merged *merged, fs_ref ref, struct fs_entries *entries, struct ramet_error *err);

/* merged_list.c: what a directory with these members holds. */
int merged_list(struct merged *merged, const fs_ref *members, size_t count,
	struct fs_entries *entries, struct ramet_error *err);

#endif
