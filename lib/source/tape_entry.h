/* SPDX-License-Identifier: Apache-2.0 */
/* What libarchive says of an entry, as layers.h wants it. */
#ifndef SOURCE_TAPE_ENTRY_H
#define SOURCE_TAPE_ENTRY_H

#include "base/ranges.h"
#include "source/layer.h"
#include "source/tape.h"

/*
 * Fill entry from the tape's; attributes go to the tree's arena. The strings live until the tape moves.
 * An attribute that no image holds is counted in tree->omitted_xattrs.
 */
struct acl_names;
int tape_entry(const struct tape *tape, const struct acl_names *names, struct tree *tree,
	struct layer_entry *entry, struct ramet_error *err);
/* The pieces with data of a sparse file, in order; *sparse false: there is one, the whole file.
 * Refuses a map whose pieces are not in order or not in the file. */
int tape_entry_map(
	const struct tape *tape, struct range_list *map, bool *sparse, struct ramet_error *err);

#endif
