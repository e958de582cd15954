/* SPDX-License-Identifier: Apache-2.0 */
/* A lazy file and the folders of the host that it points into, opened to be read. */
#ifndef API_LAZY_BASE_H
#define API_LAZY_BASE_H

#include "api/source_words.h"
#include "base/vector.h"
#include "image/image.h"
#include "image/lazy_feed.h"

/* Start with LAZY_BASE_NONE; lazy_base_close() whatever was answered. */
struct lazy_base {
	const char *path; /* of the lazy file, as the caller wrote it; borrowed */
	int fd;           /* read-only */
	const struct image_format *format;
	uint64_t image_bytes, content_bytes, files;
	VECTOR(char *) roots; /* the folders it names, in its order */
	/* After lazy_base_open_roots(), in the same order: where they are, absolute, and open (O_PATH). */
	VECTOR(char *) places;
	VECTOR(int) fds;
};
#define LAZY_BASE_NONE \
	{ \
		.fd = -1 \
	}

/*
 * Open the lazy file at path. It is read in a child that can do nothing else.
 * Errors: ENOENT and what else open(2) says; EMEDIUMTYPE (it is no lazy file); those of lazy_open().
 */
int lazy_base_open(struct lazy_base *base, const char *path, struct ramet_error *err);
/* Open the folders that it points into. words, and errors: see source_words.h; words is borrowed. made:
 * the lazy file was written by the store. */
int lazy_base_open_roots(struct lazy_base *base, const struct source_words *words, bool made,
	struct ramet_error *err);
/* A feed (lazy_feed.h) of the lazy file of that row, whose folders are where the catalogue has them. */
int lazy_base_feed(struct ramet_store *store, int64_t image, int fd, const char *path,
	bool believed, struct lazy_feed **feed, struct ramet_error *err);
void lazy_base_close(struct lazy_base *base);
#define _cleanup_lazy_base_ __attribute__((cleanup(lazy_base_close)))

#endif
