/* SPDX-License-Identifier: Apache-2.0 */
#include "base/vector.h"

#include <stdlib.h>

void *vector_grow(void **items, size_t *count, size_t *capacity, size_t item_size)
{
	if (*count == *capacity) {
		size_t wanted = *capacity ? *capacity + *capacity / 2 : 8;
		void *grown = reallocarray(*items, wanted, item_size);
		if (!grown)
			return NULL;
		*items = grown;
		*capacity = wanted;
	}
	return (char *)*items + (*count)++ * item_size;
}

void vector_release(void **items, size_t *count, size_t *capacity)
{
	free(*items);
	*items = NULL;
	*count = *capacity = 0;
}
