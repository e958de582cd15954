/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of a file or device: sorted, without overlap, neighbours joined. */
#ifndef BASE_RANGES_H
#define BASE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vector.h"

struct byte_range {
	uint64_t offset, length; /* bytes */
};
struct range_list {
	struct byte_range *items;
	size_t count, capacity;
};

/* Add a piece at or after the end of the last one. -ENOMEM. */
int ranges_append(struct range_list *list, uint64_t offset, uint64_t length);

/* Whether any byte of [offset, offset + length) is in the list. */
bool ranges_overlap(const struct range_list *list, uint64_t offset, uint64_t length);

static inline void ranges_free(struct range_list *list)
{
	vector_free(list);
}
#define _cleanup_ranges_ __attribute__((cleanup(ranges_free)))

#endif
