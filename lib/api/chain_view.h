/* SPDX-License-Identifier: Apache-2.0 */
/* What a chain of images is to whoever mounts it. */
#ifndef API_CHAIN_VIEW_H
#define API_CHAIN_VIEW_H

#include "api/chain.h"
#include "image/stack.h"

/* Start with {0}. */
struct chain_view {
	struct stack stack;
	struct text name; /* of the chain, for messages */
	bool own_lost_found;
};

/* Parses the images. Release it whatever was answered. */
int chain_view_open(const struct chain *chain, struct chain_view *view, struct ramet_error *err);
void chain_view_close(struct chain_view *view);
#define _cleanup_chain_view_ __attribute__((cleanup(chain_view_close)))

#endif
