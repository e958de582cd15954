/* SPDX-License-Identifier: Apache-2.0 */
/* Hard links in a layer: when one name of a file goes into it, all its names do. */
#ifndef CHANGES_LAYER_LINKS_H
#define CHANGES_LAYER_LINKS_H

#include "base/vector.h"
#include "changes/changes.h"
#include "changes/inodes.h"
#include "image/fs_inside.h"

/* A name that is what it was, of a file that has, or had, more than one. */
struct layer_name {
	char *path;
	fs_ref ref;
	uint64_t inode;
};

/* Start with {0}. */
struct layer_links {
	struct inodes touched;       /* inodes of the new view that go into the layer */
	struct fs_places old_of_new; /* for the names that are in both views; inodes + 1 */
	struct fs_places new_of_old;
	VECTOR(struct layer_name) kept; /* in the order of the walk */
};

/* new goes into the layer. -ENOMEM. */
int layer_links_touch(struct layer_links *links, const struct fs_stat *new);
/* The name is the same in both views, but for the other names of its file. -ENOMEM. */
int layer_links_keep(
	struct layer_links *links, const struct change_side *old, const struct change_side *new);
/* Whether the name, which was kept, must go into the layer nevertheless. */
bool layer_links_wants(const struct layer_links *links, const struct layer_name *name);
void layer_links_free(struct layer_links *links);

#endif
