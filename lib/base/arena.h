/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is handed out in small pieces and given back all at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

/* Start with {0}. */
struct arena {
	struct arena_chunk *chunks;
	size_t used, size; /* of the newest chunk */
};

/* length zeroed bytes, aligned for pointers and 64-bit integers; NULL without memory. */
void *arena_alloc(struct arena *arena, size_t length);
/* length bytes and a NUL after them, packed without alignment; NULL without memory. */
char *arena_copy(struct arena *arena, const void *bytes, size_t length);
/* All that from has handed out is arena's from now on; from is empty. */
void arena_join(struct arena *arena, struct arena *from);
void arena_free(struct arena *arena);

#endif
