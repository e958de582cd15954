/* SPDX-License-Identifier: Apache-2.0 */
/* All that is in a directory of a view, one object after the other. */
#ifndef LOOK_WALK_H
#define LOOK_WALK_H

#include "changes/changes.h"

struct walk_visitor {
	/* An object, its directory before it; names in the order of their bytes. Strings live until
	 * the call returns. depth: 0 for the start. WALK_PASS: do not go into this directory; a
	 * negative errno ends the walk. */
	int (*each)(void *ctx, const struct change_side *object, unsigned depth,
		struct ramet_error *err);
	/* The object at path cannot be read, or, a directory, cannot be listed; why is the sentence,
	 * without the names of view and path. 0: go on with the next one. NULL: that ends the walk,
	 * with the names before the sentence. */
	int (*failed)(void *ctx, const char *path, const struct ramet_error *why,
		struct ramet_error *err);
};
enum { WALK_PASS = 1 };

/*
 * Visit ref, which path (absolute) names, and when it is a directory all that is below it. A
 * directory that is met a second time is damage, and so is a path of more than 64 KiB. Memory is
 * bounded by the largest directories on one path.
 */
int look_walk(const struct changes_view *view, fs_ref ref, const char *path,
	const struct walk_visitor *visitor, void *ctx, struct ramet_error *err);

#endif
