/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that come forward, piece by piece, without being copied: a blob, what is inside its
 * compression, and between them the digests of both.
 */
#ifndef SOURCE_FEED_H
#define SOURCE_FEED_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct feed {
	/* The next piece; it lives until the next call. *length is 0 at the end, and stays 0. */
	int (*next)(struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err);
	/* Leave out up to length bytes, as many as that is cheap for, at most as many as there are.
	 * NULL: none. */
	uint64_t (*skip)(struct feed *feed, uint64_t length);
	void (*close)(struct feed *feed); /* frees feed too */
};
static inline int feed_next(
	struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	return feed->next(feed, bytes, length, err);
}
static inline uint64_t feed_skip(struct feed *feed, uint64_t length)
{
	return feed->skip ? feed->skip(feed, length) : 0;
}
void feed_close(struct feed *feed); /* NULL is fine */
static inline void feed_closep(struct feed **feed)
{
	feed_close(*feed);
}
#define _cleanup_feed_ __attribute__((cleanup(feed_closep)))

/* To the end, and throw it away. */
int feed_drain(struct feed *feed, struct ramet_error *err);

/* What goes through is hashed into sha, which is borrowed. below is taken, on failure too. */
int feed_hash(
	struct feed **out, struct feed *below, struct sha256_ctx *sha, struct ramet_error *err);

#endif
