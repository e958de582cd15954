/* SPDX-License-Identifier: Apache-2.0 */
/* What is inside gzip, zstd, xz, bzip2, lz4 and lzma. */
#ifndef SOURCE_COMPRESSED_H
#define SOURCE_COMPRESSED_H

#include "source/feed.h"

struct archive_library;

/*
 * Put what *feed gives, unpacked, in its place; what is not compressed stays as it is. *feed is
 * taken, and closed and NULL on failure. name is for messages. *compression (may be NULL) gets
 * "gzip", ... or NULL for none; static.
 * Reading it fails with -EUCLEAN and a sentence for what is damaged, cut off, or followed by
 * something that is neither another compressed piece nor zeros.
 */
int feed_unpack(struct feed **feed, const char *name, const struct archive_library *lib,
	const char **compression, struct ramet_error *err);

/* What the first bytes of something say that it is compressed with: "gzip", ..., or NULL. Eight
 * bytes are enough. */
const char *compression_of(const void *bytes, size_t length);

#endif
