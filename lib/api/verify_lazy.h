/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a lazy image is whole: the file, the tree in it, and the source files. */
#ifndef API_VERIFY_LAZY_H
#define API_VERIFY_LAZY_H

#include "api/source_words.h"
#include "image/image.h"

struct verify_lazy {
	int fd;
	const char *path;                 /* for messages */
	const struct source_words *words; /* where its folders are */
	/* Told each thing that is wrong. */
	void (*finding)(void *ctx, const char *sentence);
	void *ctx;
	ramet_progress_fn progress; /* in source files; may be NULL */
	void *progress_ctx;
	/* Answer: where the words that were given say that folders are, absolute. The caller frees it. */
	struct store_roots *given;
};

/* Fills entries, files, content_bytes and format of the result. Content is not read: a source file is
 * what it was when its size, time and inode are. *format is NULL when the file is damaged. Errors: what
 * keeps from looking; what is wrong is told. */
int verify_lazy(const struct verify_lazy *verify, const struct image_format **format,
	struct ramet_verify_result *result, struct ramet_error *err);

#endif
