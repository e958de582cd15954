/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a stream of bytes, for quoting in an error's sentence. */
#ifndef VMM_TAIL_H
#define VMM_TAIL_H

#include <stdbool.h>
#include <stddef.h>

enum { TAIL_SIZE = 4096 };

/* Start with {0}. */
struct tail {
	char bytes[TAIL_SIZE];
	size_t length; /* how many of them are filled, from the front */
};

void tail_add(struct tail *tail, const char *bytes, size_t length);

/*
 * The last line with something to see in it, as printable ASCII: escape sequences of terminals
 * are left out, every other byte that is not printable becomes '?', a longer line is cut and ends
 * in "...". false, and an empty string, when there is none. size is at least 4.
 */
bool tail_last_line(const struct tail *tail, char *line, size_t size);

/* Likewise the last line that has word in it. */
bool tail_line_with(const struct tail *tail, const char *word, char *line, size_t size);

/* The same cleaning for one piece of text. Answers whether anything was left of it. */
bool tail_clean(const char *bytes, size_t length, char *line, size_t size);

#endif
