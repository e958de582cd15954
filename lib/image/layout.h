/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout: an image described but not written. A format's writer that is given one (image_options)
 * reads no content: it writes the image's metadata where it belongs, and says here which bytes of
 * which file stand where. What is neither written nor told of is zeros.
 *
 * Content stands in blocks of its own, LAYOUT_BLOCK aligned, so that a page of the device is a page of
 * one file. A plain image (image_options.plain) is the same image with the content in it.
 */
#ifndef IMAGE_LAYOUT_H
#define IMAGE_LAYOUT_H

#include "base/vector.h"
#include "source/tree.h"

#define LAYOUT_BLOCK 4096

struct layout_run {
	const struct tree_node *node; /* the inode, never a further name of it */
	uint64_t place;               /* in the image: a multiple of LAYOUT_BLOCK */
	uint64_t offset;              /* in the file: a multiple of LAYOUT_BLOCK */
	uint64_t length;              /* not 0; within the file's size as the walk saw it */
};

/* Start with {0}. */
struct layout {
	VECTOR(struct layout_run) runs; /* in the order in which they were told */
	uint64_t image_bytes;           /* the device's length, a multiple of LAYOUT_BLOCK */
};

/* length bytes of the node's content, from offset on, stand at place. A run that goes on where the
 * last one ended becomes a part of it. -ENOMEM. */
int layout_point(struct layout *layout, const struct tree_node *node, uint64_t offset,
	uint64_t place, uint64_t length);
/* Whether a writer is to tell where the node's content stands, and not to write it: it has a layout,
 * and the content is not in memory (such content is part of what the writer writes in any case). */
static inline bool layout_tells(const struct layout *layout, const struct tree_node *node)
{
	return layout && !(tree_content_node(node)->flags & TREE_MEMORY);
}
void layout_free(struct layout *layout);
#define _cleanup_layout_ __attribute__((cleanup(layout_free)))

#endif
