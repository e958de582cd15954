/* SPDX-License-Identifier: Apache-2.0 */
/* Of a tree that was walked, keep what differs from the images that it is to stand on. */
#ifndef API_DELTA_H
#define API_DELTA_H

#include "api/chain.h"
#include "changes/layer.h"

struct delta {
	bool wanted; /* there is a parent */
	struct chain chain;
	char *read_only_paths; /* the chain's; NULL: not known */
	struct layer_options layer;
	struct layer_figures figures;
};

/* Open the parents that the options name, if any. Nothing in them is parsed but superblocks. Errors:
 * those of chain_open; EINVAL when the output is one of them. */
int delta_open(struct delta *delta, struct ramet_store *store,
	const struct ramet_build_options *options, struct ramet_error *err);
/* Make the finished tree the layer that it is over the parents; they are parsed here. */
int delta_make(struct delta *delta, struct tree *tree, const char *source, struct ramet_error *err);
/* Of the parents' read-only paths append those that the tree, which is whole still, has. */
int delta_read_only(const struct delta *delta, struct tree *tree, struct text *read_only,
	struct ramet_error *err);
void delta_close(struct delta *delta);

#endif
