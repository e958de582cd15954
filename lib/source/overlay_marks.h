/* SPDX-License-Identifier: Apache-2.0 */
/* What overlayfs noted about an entry of a layer, in its attributes. */
#ifndef SOURCE_OVERLAY_MARKS_H
#define SOURCE_OVERLAY_MARKS_H

#include "source/tree.h"

struct overlay_marks {
	bool opaque;        /* a directory that is not merged */
	bool has_whiteouts; /* a directory in which files may be whiteouts by attribute */
	bool whiteout;      /* an empty file that is one, in such a directory */
	bool metacopy;      /* a file whose content is below */
	const struct tree_xattr *redirect; /* or NULL */
};

struct overlay_marks overlay_marks(const struct tree_node *node);

/* Take overlayfs's own attributes away, and give those that it had put aside their names back. */
int overlay_marks_clean(struct tree *tree, struct tree_node *node, struct ramet_error *err);

#endif
