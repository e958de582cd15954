/* SPDX-License-Identifier: Apache-2.0 */
/* Images opened to be looked into, and the child that does it. */
#ifndef API_PLACE_H
#define API_PLACE_H

#include "api/chain.h"
#include "base/sandbox.h"
#include "changes/changes.h"

struct place {
	struct chain chain;
	struct text name; /* for messages: "the image base.squashfs" */
};
/* Open the images, each being told what it is; start with {0}, and close it whatever was answered. */
int place_open(struct place *place, const struct ramet_place *where, struct ramet_error *err);
void place_close(struct place *place);
#define _cleanup_place_ __attribute__((cleanup(place_close)))

/* The merged view of them; for the child. */
struct place_view {
	struct changes_view view;
	struct fs *images[RAMET_CHAIN_MAX], *merged;
	size_t count;
	struct text names[RAMET_CHAIN_MAX];
};
int place_view_open(const struct place *place, struct place_view *view, struct ramet_error *err);
void place_view_close(struct place_view *view);
#define _cleanup_place_view_ __attribute__((cleanup(place_view_close)))

/* Run work in a child that has the images and fd (-1: none). */
int place_run(const struct place *place, int (*work)(void *ctx, struct ramet_error *err), void *ctx,
	int fd, void *answer, size_t answer_size, struct ramet_error *err);

/* What a child that reads a file of so many bytes may take. */
struct sandbox_limits place_limits(uint64_t bytes);

#endif
