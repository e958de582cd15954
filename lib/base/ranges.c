/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ranges.h"

#include <errno.h>

int ranges_append(struct range_list *list, uint64_t offset, uint64_t length)
{
	if (list->count) {
		struct byte_range *last = &list->items[list->count - 1];
		if (last->offset + last->length == offset) {
			last->length += length;
			return 0;
		}
	}
	struct byte_range *range = vector_push(list);
	if (!range)
		return -ENOMEM;
	*range = (struct byte_range){offset, length};
	return 0;
}

bool ranges_overlap(const struct range_list *list, uint64_t offset, uint64_t length)
{
	size_t low = 0, high = list->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct byte_range *range = &list->items[middle];
		if (range->offset + range->length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return length && low < list->count &&
	       (list->items[low].offset < offset || list->items[low].offset - offset < length);
}
