/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layout.h"

#include <errno.h>

int layout_point(struct layout *layout, const struct tree_node *node, uint64_t offset,
	uint64_t place, uint64_t length)
{
	size_t count = layout->runs.count;
	struct layout_run *last = count ? &layout->runs.items[count - 1] : NULL;
	if (last && last->node == node && last->place + last->length == place &&
		last->offset + last->length == offset) {
		last->length += length;
		return 0;
	}
	struct layout_run *run = vector_push(&layout->runs);
	if (!run)
		return -ENOMEM;
	*run = (struct layout_run){
		.node = node, .place = place, .offset = offset, .length = length};
	return 0;
}

void layout_free(struct layout *layout)
{
	vector_free(&layout->runs);
}
