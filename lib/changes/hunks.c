/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits as hunks: "@@ -START,COUNT +START,COUNT @@", then the lines. ",1" is left out; a part
 * without lines starts at the line before it (POSIX.1-2017, diff, "Diff -u Output Format"; the
 * mark for a missing newline is GNU's).
 */
#include "base/cleanup.h"
#include "changes/textdiff.h"

enum { CONTEXT = 3 };

static void put_line(struct sink *sink, char sign, const struct lines *lines, uint32_t i)
{
	size_t length = line_length(lines, i);
	const char *line = lines->data + lines->starts[i];
	sink_write(sink, &sign, 1);
	sink_write(sink, line, length);
	if (line[length - 1] != '\n')
		sink_string(sink, "\n\\ No newline at end of file\n");
}

static void put_lines(
	struct sink *sink, char sign, const struct lines *lines, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		put_line(sink, sign, lines, i);
}

static void put_range(struct sink *sink, const char *before, uint32_t start, uint32_t count)
{
	sink_format(sink, "%s%u", before, count ? start + 1 : start);
	if (count != 1)
		sink_format(sink, ",%u", count);
}

/* One hunk: edits first .. last, with what is between them. */
static void put_hunk(struct sink *sink, const struct lines *old, const struct lines *new,
	const struct edit *first, const struct edit *last)
{
	uint32_t before = MIN(first->old_start, (uint32_t)CONTEXT);
	uint32_t last_old = last->old_start + last->old_count;
	uint32_t last_new = last->new_start + last->new_count;
	uint32_t after = MIN(old->count - last_old, (uint32_t)CONTEXT);
	uint32_t old_start = first->old_start - before, new_start = first->new_start - before;
	put_range(sink, "@@ -", old_start, last_old + after - old_start);
	put_range(sink, " +", new_start, last_new + after - new_start);
	sink_string(sink, " @@\n");
	uint32_t at = old_start;
	for (const struct edit *e = first; e <= last; e++) {
		put_lines(sink, ' ', old, at, e->old_start);
		at = e->old_start + e->old_count;
		put_lines(sink, '-', old, e->old_start, at);
		put_lines(sink, '+', new, e->new_start, e->new_start + e->new_count);
	}
	put_lines(sink, ' ', old, at, at + after);
}

void textdiff_write(struct sink *sink, const struct lines *old, const struct lines *new,
	const struct edits *edits)
{
	for (size_t i = 0; i < edits->count;) {
		size_t last = i;
		while (last + 1 < edits->count && edits->items[last + 1].old_start -
								  edits->items[last].old_start -
								  edits->items[last].old_count <=
							  2 * CONTEXT)
			last++;
		put_hunk(sink, old, new, &edits->items[i], &edits->items[last]);
		i = last + 1;
	}
}
