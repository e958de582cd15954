/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lazy image for who may open nothing: a sandboxed child that reads the image's tree. It gets the
 * metadata as a file, at their places, and asks this process for content, through a socket. A thread
 * here answers, as long as the feed is open; what it is asked for is distrusted.
 */
#ifndef IMAGE_LAZY_FEED_H
#define IMAGE_LAZY_FEED_H

#include "image/lazy_content.h"

struct lazy_feed;

/* path is for messages, and borrowed; fd too. believed: the folders that the lazy file names may be
 * read; otherwise only its tree can be, and content is -EPERM. places: used in this call only. Errors:
 * those of lazy_open. */
int lazy_feed_open(int fd, const char *path, bool believed, const struct lazy_places *places,
	struct lazy_feed **feed, struct ramet_error *err);
/* When the child is at its end. NULL is fine. */
void lazy_feed_close(struct lazy_feed *feed);

const struct lazy *lazy_feed_lazy(const struct lazy_feed *feed);
/* A file as long as the image, with the metadata alone. */
int lazy_feed_metadata(const struct lazy_feed *feed);
/* What the child is to have. */
enum { LAZY_FEED_FDS = 2 };
void lazy_feed_fds(const struct lazy_feed *feed, int fds[static LAZY_FEED_FDS]);

/* In the child, one at a time: exactly length bytes of the image from place on. -ESTALE and what else
 * became of a source file, with a sentence. */
int lazy_feed_read(const struct lazy_feed *feed, uint64_t place, void *buffer, size_t length,
	struct ramet_error *err);

#endif
