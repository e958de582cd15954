/* SPDX-License-Identifier: Apache-2.0 */
/* A table of inode numbers that were met, each with a path or nothing. */
#ifndef CHANGES_INODES_H
#define CHANGES_INODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Start with {0}. */
struct inodes {
	struct inode_slot {
		uint64_t inode;
		char *path; /* owned; may be NULL */
		bool used;
	} * slots;
	size_t count, capacity; /* capacity: 0 or a power of two */
};

/* Put inode in, with a copy of path (may be NULL). 1 when it is new, 0 when it was there: then
 * *found (when found is not NULL) gets the path it was put in with. -ENOMEM. */
int inodes_put(struct inodes *inodes, uint64_t inode, const char *path, const char **found);
bool inodes_has(const struct inodes *inodes, uint64_t inode);
void inodes_free(struct inodes *inodes);

#endif
