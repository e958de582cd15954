/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of --source: where the folders are now that a lazy image stands on. "DIR", where it stands on
 * one folder; "N=DIR", the N-th, from 1; "OLD=DIR", the one that the lazy file calls OLD.
 */
#ifndef API_SOURCE_WORDS_H
#define API_SOURCE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* One of the folders. */
struct source_root {
	const char *lazy;     /* the lazy file's path, for messages */
	const char *path;     /* as that names it */
	size_t number, count; /* the number-th, from 1, of so many */
	/* The lazy file was written by the store that reads it. Otherwise its word for what is to be
	 * read is not enough. */
	bool made;
};

/* -EINVAL when there is a word without "=" and not just one folder, the first of which is first. words:
 * NULL-terminated, or NULL. */
int source_words_check(const char *const *words, const char *lazy, const char *first, size_t count,
	struct ramet_error *err);
/* Open the folder, where a word says that it is or where it was: an fd for looking names up (O_PATH).
 * -EPERM: it is not made here, and no word is there for it; -ENOENT and what else open(2) says. *path
 * (may be NULL) gets where it is; it lives as long as words and root. */
int source_words_open(const char *const *words, const struct source_root *root, const char **path,
	struct ramet_error *err);

#endif
