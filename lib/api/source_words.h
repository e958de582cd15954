/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the folders are now that a lazy image stands on. By the words of --source: "DIR", where it stands
 * on one folder; "N=DIR", the N-th, from 1; "OLD=DIR", the one that the lazy file calls OLD. Where no word
 * says so, by what the catalogue has, since `ramet verify --source` noted it there.
 */
#ifndef API_SOURCE_WORDS_H
#define API_SOURCE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "store/roots.h"

struct source_words {
	const char *const *given; /* NULL-terminated, or NULL; borrowed */
	struct store_roots noted;
	bool *meant; /* each of given: it was the answer to source_words_given() */
};
/* Of the image of this row; store NULL, or row 0: nothing is noted. */
int source_words_load(struct source_words *words, struct ramet_store *store, int64_t image,
	const char *const *given, struct ramet_error *err);
void source_words_free(struct source_words *words);
#define _cleanup_source_words_ __attribute__((cleanup(source_words_free)))

/* One of the folders. */
struct source_root {
	const char *lazy;     /* the lazy file's path, for messages */
	const char *path;     /* as that names it */
	size_t number, count; /* the number-th, from 1, of so many */
	/* The lazy file was written by the store that reads it. Otherwise its word for what is to be
	 * read is not enough. */
	bool made;
};

/* -EINVAL when there is a word without "=" and not just one folder, the first of which is first. */
int source_words_check(const struct source_words *words, const char *lazy, const char *first,
	size_t count, struct ramet_error *err);
/* Marks for the words of given; NULL: no memory. The caller frees them. */
bool *source_words_marks(const char *const *given);
/* Where a word given says that it is; NULL: none does. */
const char *source_words_given(const struct source_words *words, const struct source_root *root);
/* -EINVAL when a word meant none of the folders that were asked for: its writer expects something else to
 * be read. whose: what stands on those, for the message. */
int source_words_refuse_idle(
	const char *const *given, const bool *meant, const char *whose, struct ramet_error *err);
/* The same, or where the catalogue says that it is; NULL: where it was. */
const char *source_words_place(const struct source_words *words, const struct source_root *root);
/* Open the folder where it is: an fd for looking names up (O_PATH). -EPERM: it is not made here, and
 * nothing says where it is; -ENOENT and what else open(2) says. *path (may be NULL) gets where it is; it
 * lives as long as words and root. */
int source_words_open(const struct source_words *words, const struct source_root *root,
	const char **path, struct ramet_error *err);

#endif
