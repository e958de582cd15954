/* SPDX-License-Identifier: Apache-2.0 */
/* Which lines of a text are not those of another. */
#ifndef CHANGES_TEXTDIFF_H
#define CHANGES_TEXTDIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "changes/sink.h"

enum { LINES_MAX = 2 << 20, LINES_BYTES_MAX = 64 << 20 };

/* A text cut into lines, each with its newline; only the last may have none. */
struct lines {
	const char *data; /* borrowed */
	uint32_t *starts; /* count + 1 of them */
	uint32_t count;
};

/* -ENOMEM, or -EFBIG beyond LINES_MAX lines or LINES_BYTES_MAX bytes. */
int lines_split(const char *data, size_t length, struct lines *lines);
void lines_free(struct lines *lines);
static inline size_t line_length(const struct lines *lines, uint32_t i)
{
	return lines->starts[i + 1] - lines->starts[i];
}

/* old_count lines at old_start were replaced by new_count lines at new_start. */
struct edit {
	uint32_t old_start, old_count, new_start, new_count;
};
struct edits {
	struct edit *items; /* in order; no two touch */
	size_t count, capacity;
};

/*
 * The edits that make new from old. They are always right; they are the fewest possible as long as
 * that takes no more work than about 500 times the number of lines, and near it otherwise. -ENOMEM.
 */
int textdiff(const struct lines *old, const struct lines *new, struct edits *edits);
void edits_free(struct edits *edits);

/* Write them as hunks of a unified diff, with three lines of context. */
void textdiff_write(struct sink *sink, const struct lines *old, const struct lines *new,
	const struct edits *edits);

#endif
