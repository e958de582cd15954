/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE ((size_t)64 * 1024)

struct arena_chunk {
	struct arena_chunk *next;
	alignas(max_align_t) char bytes[];
};

static void *take(struct arena *arena, size_t length, size_t alignment)
{
	size_t start = (arena->used + alignment - 1) & ~(alignment - 1);
	if (!arena->chunks || start > arena->size || length > arena->size - start) {
		size_t size = length > CHUNK_SIZE ? length : CHUNK_SIZE;
		struct arena_chunk *chunk = calloc(1, sizeof *chunk + size);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->size = size;
		start = 0;
	}
	arena->used = start + length;
	return arena->chunks->bytes + start;
}

void *arena_alloc(struct arena *arena, size_t length)
{
	return take(arena, length, alignof(uint64_t));
}

char *arena_copy(struct arena *arena, const void *bytes, size_t length)
{
	char *copy = take(arena, length + 1, 1);
	if (copy) {
		if (length)
			memcpy(copy, bytes, length);
		copy[length] = '\0';
	}
	return copy;
}

void arena_join(struct arena *arena, struct arena *from)
{
	if (!arena->chunks) {
		*arena = *from;
	} else if (from->chunks) {
		/* Behind the newest one, which still has room. */
		struct arena_chunk *last = from->chunks;
		while (last->next)
			last = last->next;
		last->next = arena->chunks->next;
		arena->chunks->next = from->chunks;
	}
	*from = (struct arena){0};
}

void arena_free(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *next = arena->chunks->next;
		free(arena->chunks);
		arena->chunks = next;
	}
	*arena = (struct arena){0};
}
