/* SPDX-License-Identifier: Apache-2.0 */
#include "source/feed.h"

#include <stdlib.h>

#include "base/cleanup.h"

void feed_close(struct feed *feed)
{
	if (feed)
		feed->close(feed);
}

int feed_drain(struct feed *feed, struct ramet_error *err)
{
	const void *bytes;
	size_t length = 1;
	int r = 0;
	while (r == 0 && length)
		r = feed_next(feed, &bytes, &length, err);
	return r;
}

struct hash_feed {
	struct feed feed;
	struct feed *below;
	struct sha256_ctx *sha;
};

static int hash_next(struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	struct hash_feed *hash = (struct hash_feed *)feed;
	int r = feed_next(hash->below, bytes, length, err);
	if (r == 0)
		sha256_update(hash->sha, *length, *bytes);
	return r;
}

static void hash_close(struct feed *feed)
{
	struct hash_feed *hash = (struct hash_feed *)feed;
	feed_close(hash->below);
	free(hash);
}

int feed_hash(
	struct feed **out, struct feed *below, struct sha256_ctx *sha, struct ramet_error *err)
{
	struct hash_feed *hash = malloc(sizeof *hash);
	if (!hash) {
		feed_close(below);
		return error_memory(err);
	}
	*hash = (struct hash_feed){{hash_next, NULL, hash_close}, below, sha};
	sha256_init(sha);
	*out = &hash->feed;
	return 0;
}
