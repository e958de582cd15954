/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged view of images that stand one on the other: a whole one at the bottom, and layers that
 * hold only what differs, in overlayfs's form (docs/formats.md). What a guest sees that has them all
 * as lower directories of one overlay.
 */
#ifndef IMAGE_MERGED_H
#define IMAGE_MERGED_H

#include "image/fs.h"

struct merged_layer {
	struct fs *fs;
	const char *name; /* for messages: "the layer /images/delta.squashfs" */
};

/* The bottom one first; at most RAMET_CHAIN_MAX. Views and names are borrowed and must outlive the
 * merged view. */
int merged_open(
	const struct merged_layer *layers, size_t count, struct fs **fs, struct ramet_error *err);

#endif
