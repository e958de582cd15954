/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of images: the base, and the layers that stand on it, each opened, known and fitting. */
#ifndef API_CHAIN_H
#define API_CHAIN_H

#include "base/text.h"
#include "image/image.h"
#include "image/lazy_feed.h"
#include "store/images.h"

struct chain {
	struct chain_image {
		const char *path; /* as the caller wrote it, borrowed */
		int fd;           /* read-only */
		const struct image_format *format;
		struct store_image image; /* its row; id is 0 without a store */
		bool lazy;                /* fd is a lazy file, of an image of that format */
		bool believed;            /* the folders that it names may be read */
		struct lazy_feed *feed;   /* of a lazy one, from chain_feed() on */
	} * items;                        /* the base first */
	size_t count, capacity;
	struct ramet_store *store; /* that knows them; may be NULL */
};

/*
 * Open the image at base and the layers (NULL-terminated, the bottom one first; or NULL for none).
 * An image that the store does not know yet gets a row; without a store (NULL) nothing is known of
 * any. Start with {0}, and release it afterwards whatever was answered.
 * Errors: ENOENT and what else open(2) says, EMEDIUMTYPE (no image, or a truncated one), E2BIG (more
 * than RAMET_CHAIN_MAX), EINVAL (one image twice; a layer that was made to stand on other images
 * than those below it here).
 */
int chain_open(struct ramet_store *store, const char *base, const char *const *layers,
	struct chain *chain, struct ramet_error *err);
void chain_free(struct chain *chain);
/* Make ready to have the images read: lazy ones are opened and get their feeds. */
int chain_feed(struct chain *chain, struct ramet_error *err);
/* The fds of all of them that a child needs to read them; answers how many. */
enum { CHAIN_FDS = (1 + LAZY_FEED_FDS) * RAMET_CHAIN_MAX };
size_t chain_fds(const struct chain *chain, int fds[static CHAIN_FDS]);
#define _cleanup_chain_ __attribute__((cleanup(chain_free)))

/* -ESTALE unless every file is still what it was when it was opened. doing: "forked", "built on". */
int chain_check_unchanged(const struct chain *chain, const char *doing, struct ramet_error *err);

/* What the guest mounts read-only of the chain, and its default command: see struct store_fork. The
 * caller frees both. */
int chain_facts(struct ramet_store *store, const struct chain *chain, char **read_only_paths,
	char **process, struct ramet_error *err);

/* Append the chain as `ramet fork` takes it: paths with '+' between, "\+" for a plus in a path.
 * A long chain is cut in its middle. */
void chain_write(struct text *text, const char *const *paths, size_t count);

#endif
