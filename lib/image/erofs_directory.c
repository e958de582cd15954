/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: the entries of a directory with "." and ".." at their sorted places, as many to a block
 * as fit. The kernel finds a name by a binary search over the blocks' first names and then within a
 * block (fs/erofs/namei.c), so the order goes on from block to block.
 */
#include "image/erofs_plan.h"

#include <endian.h>
#include <string.h>

static const char *const dots[] = {".", ".."};

struct entry {
	const char *name;
	size_t length;
	const struct tree_node *node; /* that holds the inode */
};

static bool next_entry(struct erofs_listing *listing, struct entry *entry)
{
	const struct tree_node *directory = listing->directory;
	if (!listing->begun) {
		listing->child = directory->first;
		listing->begun = true;
	}
	const struct tree_node *child = listing->child;
	if (listing->dots < 2 && (!child || strcmp(dots[listing->dots], child->name) < 0)) {
		entry->name = dots[listing->dots];
		entry->node = listing->dots && directory->parent ? directory->parent : directory;
		listing->dots++;
	} else if (child) {
		entry->name = child->name;
		entry->node = tree_link(child) ? tree_link(child) : child;
		listing->child = child->next;
	} else {
		return false;
	}
	entry->length = strlen(entry->name);
	return true;
}

/* Take the entries that fit into a block. Answers their number; *used gets their bytes. */
static unsigned take_block(struct erofs_listing *listing, size_t *used)
{
	unsigned count = 0;
	*used = 0;
	struct entry entry;
	for (struct erofs_listing ahead = *listing; next_entry(&ahead, &entry); *listing = ahead) {
		size_t needed = sizeof(struct erofs_dirent) + entry.length;
		if (*used + needed > EROFS_BLOCK_SIZE)
			break;
		*used += needed;
		count++;
	}
	return count;
}

uint64_t erofs_listing_size(const struct tree_node *directory)
{
	struct erofs_listing listing = {.directory = directory};
	uint64_t size = 0;
	size_t last = 0, used;
	while (take_block(&listing, &used)) {
		size += last ? EROFS_BLOCK_SIZE : 0;
		last = used;
	}
	return size + last;
}

static uint8_t type_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EROFS_TYPE_REGULAR;
	case S_IFDIR:
		return EROFS_TYPE_DIRECTORY;
	case S_IFCHR:
		return EROFS_TYPE_CHARACTER;
	case S_IFBLK:
		return EROFS_TYPE_BLOCK;
	case S_IFIFO:
		return EROFS_TYPE_FIFO;
	case S_IFSOCK:
		return EROFS_TYPE_SOCKET;
	case S_IFLNK:
		return EROFS_TYPE_SYMLINK;
	default:
		return EROFS_TYPE_UNKNOWN;
	}
}

void erofs_listing_block(
	struct erofs_listing *listing, uint8_t block[static EROFS_BLOCK_SIZE], size_t *length)
{
	struct erofs_listing from = *listing;
	unsigned count = take_block(listing, length);
	size_t name_offset = count * sizeof(struct erofs_dirent);
	memset(block, 0, EROFS_BLOCK_SIZE);
	for (unsigned i = 0; i < count; i++) {
		struct entry entry;
		next_entry(&from, &entry);
		const struct erofs_dirent dirent = {
			.nid = htole64(erofs_nid(entry.node)),
			.name_offset = htole16((uint16_t)name_offset),
			.type = type_of(entry.node->mode),
		};
		memcpy(block + i * sizeof dirent, &dirent, sizeof dirent);
		memcpy(block + name_offset, entry.name, entry.length);
		name_offset += entry.length;
	}
}
