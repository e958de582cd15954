/* SPDX-License-Identifier: Apache-2.0 */
/* One object of one view: fs_ops, with sentences that say where the object is. */
#ifndef CHANGES_SIDE_H
#define CHANGES_SIDE_H

#include "changes/changes.h"

/* Fills side->stat. */
int side_stat(struct change_side *side, struct ramet_error *err);
int side_list(const struct change_side *side, struct fs_entries *entries, struct ramet_error *err);
/* Exactly length bytes; a file that ends before them is damage. */
int side_read(const struct change_side *side, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err);
int side_readlink(const struct change_side *side, char **target, struct ramet_error *err);
int side_xattrs(const struct change_side *side, struct fs_xattrs *xattrs, struct ramet_error *err);
/* The extent at offset, never empty and never beyond the file's size. */
int side_extent(const struct change_side *side, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err);
/* -EUCLEAN: "VIEW: PATH REASON". */
int side_damaged(const struct change_side *side, const char *reason, struct ramet_error *err);

#endif
