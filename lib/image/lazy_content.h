/* SPDX-License-Identifier: Apache-2.0 */
/* The source files of a lazy image: opened, and held against what the walk saw. */
#ifndef IMAGE_LAZY_CONTENT_H
#define IMAGE_LAZY_CONTENT_H

#include "image/lazy.h"

/* Where roots are that are not where the lazy file says: items[i] of root i; NULL, and beyond count: there. */
struct lazy_places {
	const char *const *items;
	size_t count;
};
/* Where root i is. */
const char *lazy_place(const struct lazy *lazy, const struct lazy_places *places, uint32_t i);
/* The folders of its roots, opened. Those that are not there any more are -errno. -ENOMEM. */
int lazy_roots_open(const struct lazy *lazy, const struct lazy_places *places, int **roots);
void lazy_roots_close(const struct lazy *lazy, int *roots); /* NULL is fine */

/* A source file, to be read. Errors, with a sentence that names the file: ESTALE (it is not what the
 * walk saw), ENOENT, and what else open(2) says. */
int lazy_content_open(
	const struct lazy *lazy, const int *roots, uint32_t index, struct ramet_error *err);
/* -ESTALE when what is open is not, or no longer, what the walk saw. */
int lazy_content_check(const struct lazy *lazy, uint32_t index, int fd, struct ramet_error *err);

#endif
