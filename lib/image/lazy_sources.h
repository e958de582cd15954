/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a lazy file that say where its content comes from: files, folders, roots, names. */
#ifndef IMAGE_LAZY_SOURCES_H
#define IMAGE_LAZY_SOURCES_H

#include "base/text.h"
#include "base/vector.h"
#include "image/lazy_format.h"
#include "source/tree.h"

/* The folders of the host that have an entry: an open-addressed table by address. */
struct lazy_known_folder {
	const struct tree_node *node; /* NULL: this slot is free */
	uint32_t index;
};

/* Start with {.tree = tree}. Numbers in the tables are as on disk, little-endian. */
struct lazy_sources {
	struct tree *tree;
	VECTOR(struct lazy_disk_file) files;
	VECTOR(struct lazy_disk_folder) folders;
	VECTOR(struct lazy_disk_root) roots;
	struct text names;
	struct lazy_known_folder *known;
	size_t known_count, known_slots;
	uint32_t *root_folders; /* for each origin: its folder + 1; 0: none yet */
};

/* Enter each regular file with content; its node's number becomes its index. */
int lazy_sources_collect(struct lazy_sources *sources, struct ramet_error *err);
void lazy_sources_free(struct lazy_sources *sources);

#endif
