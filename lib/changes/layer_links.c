/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name that is left below stands for the old inode, one in the layer for a new one: overlayfs takes
 * them for two files. So a file goes into the layer with all its names or with none. And where names
 * that were one file are two now, or the other way round, those that show it go in too.
 */
#include "changes/layer_links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int layer_links_touch(struct layer_links *links, const struct fs_stat *new)
{
	if (S_ISDIR(new->mode) || new->nlink < 2)
		return 0;
	return MIN(inodes_put(&links->touched, new->inode, NULL, NULL), 0);
}

int layer_links_keep(
	struct layer_links *links, const struct change_side *old, const struct change_side *new)
{
	if (S_ISDIR(new->stat.mode) || (new->stat.nlink < 2 && old->stat.nlink < 2))
		return 0;
	struct layer_name *name = vector_push(&links->kept);
	if (!name)
		return -ENOMEM;
	*name = (struct layer_name){strdup(new->path), new->ref, new->stat.inode};
	if (!name->path)
		return -ENOMEM;
	uint64_t a = old->stat.inode + 1, b = new->stat.inode + 1;
	int r = fs_place_claim(&links->old_of_new, b, a, 0);
	if (r == 0)
		r = fs_place_claim(&links->new_of_old, a, b, 0);
	if (r == -EUCLEAN)
		r = MIN(inodes_put(&links->touched, new->stat.inode, NULL, NULL), 0);
	return r;
}

bool layer_links_wants(const struct layer_links *links, const struct layer_name *name)
{
	return inodes_has(&links->touched, name->inode);
}

void layer_links_free(struct layer_links *links)
{
	for (size_t i = 0; i < links->kept.count; i++)
		free(links->kept.items[i].path);
	vector_free(&links->kept);
	inodes_free(&links->touched);
	fs_places_free(&links->old_of_new);
	fs_places_free(&links->new_of_old);
}
