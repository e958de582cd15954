/* SPDX-License-Identifier: Apache-2.0 */
/* A growing array of any type: struct { T *items; size_t count, capacity; }. */
#ifndef BASE_VECTOR_H
#define BASE_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

#define VECTOR(T) \
	struct { \
		T *items; \
		size_t count, capacity; \
	}

/* Make room for one more and answer its address (uninitialised), or NULL without memory. */
#define vector_push(v) \
	((__typeof__((v)->items))vector_grow( \
		(void **)&(v)->items, &(v)->count, &(v)->capacity, sizeof *(v)->items))

#define vector_free(v) vector_release((void **)&(v)->items, &(v)->count, &(v)->capacity)

void *vector_grow(void **items, size_t *count, size_t *capacity, size_t item_size);
void vector_release(void **items, size_t *count, size_t *capacity);

#endif
