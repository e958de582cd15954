/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything of an EROFS image will stand, from the tree's metadata alone: no content is read.
 * The image is, in this order:
 *
 *     inodes     from block 0 on, behind the superblock; with their attributes, small tails, maps
 *     listings   blocks of directories (and of the rare symlinks that have no room in their inode)
 *     attributes that several inodes share
 *     data       blocks of regular files, each file's in a row, in the tree's order
 *
 * tree_node.number is then a node's nid, and tree_node.place its first block outside its inode,
 * counted from the start of that part.
 */
#ifndef IMAGE_EROFS_PLAN_H
#define IMAGE_EROFS_PLAN_H

#include <sys/stat.h>

#include "base/vector.h"
#include "image/erofs_format.h"
#include "source/tree.h"

enum {
	/* Files from here on keep their tail out of the inode: the kernel maps a file directly
	 * (DAX) only when all of it is in blocks of its own. */
	EROFS_WHOLE_BLOCKS_SIZE = 65536,
	/* Bytes of an inode with its attributes, and what one block more holds, at most. */
	EROFS_INODE_MAX = 512 * 1024,
	/* Slots that the superblock takes. */
	EROFS_SUPER_SLOTS = (EROFS_SUPER_OFFSET + 128) / EROFS_SLOT_SIZE,
};

/* A file whose holes are worth a map of chunks. */
struct erofs_sparse {
	const struct tree_node *node;
	uint64_t blocks; /* of its data */
	uint32_t bits;   /* a chunk is a block << bits */
};

/* An attribute of the tree, and whether it is shared. */
struct erofs_attribute {
	const struct tree_xattr *xattr; /* the first of its kind; NULL: a free slot of the table */
	uint32_t uses;
	uint32_t place; /* among the shared: 4-byte units from their start */
};
struct erofs_attributes {
	struct erofs_attribute *slots;
	size_t count, size;
	uint64_t shared_bytes;
};

struct erofs_plan_options {
	bool dedupe; /* data blocks get their addresses when they are written */
	bool plain;  /* the tails of regular files stand in blocks as well */
};

struct erofs_plan {
	struct tree *tree;
	struct erofs_plan_options options;
	struct erofs_attributes attributes;
	VECTOR(struct erofs_sparse) sparse; /* sorted by node */
	uint64_t most_data;      /* blocks of all files, tails and equal chunks included */
	uint32_t chunk_bits;     /* with dedupe: of files without a map of their own */
	bool chunked;            /* some inode is CHUNK_BASED */
	uint64_t omitted_xattrs; /* that the format cannot hold */
	int64_t time;            /* of the image, seconds */
	/* In blocks: where each part starts, and where the data ends (without dedupe). */
	uint64_t listing_start, attribute_start, data_start, end;
};

/* What a node's inode is made of. */
struct erofs_shape {
	enum erofs_layout layout;
	uint64_t size;
	uint32_t inode_size; /* 32 or 64 */
	uint32_t xattr_size; /* bytes behind the inode */
	uint32_t tail;       /* FLAT_INLINE: bytes of content behind the attributes */
	uint64_t chunks;     /* CHUNK_BASED: entries of 4 bytes behind the attributes */
	uint32_t chunk_bits;
};

/* Plan the image of a finished tree; erofs_plan_free() in any case. -EFBIG when it does not fit
 * into the format, -E2BIG for attributes that do not, with a sentence. */
int erofs_plan_make(struct erofs_plan *plan, struct tree *tree,
	const struct erofs_plan_options *options, struct ramet_error *err);
void erofs_plan_free(struct erofs_plan *plan);

void erofs_shape(
	const struct erofs_plan *plan, const struct tree_node *node, struct erofs_shape *shape);

/* Its entry in plan->sparse, or NULL. */
const struct erofs_sparse *erofs_sparse_find(
	const struct erofs_plan *plan, const struct tree_node *node);

static inline bool erofs_has_content(const struct tree_node *node)
{
	return S_ISREG(node->mode) && !tree_link(node) && node->size;
}
static inline uint32_t erofs_nid(const struct tree_node *node)
{
	return node->number;
}
/* The first block of what node has outside its inode, from the image's start. */
static inline uint64_t erofs_first_block(
	const struct erofs_plan *plan, const struct tree_node *node)
{
	return (S_ISREG(node->mode) ? plan->data_start : plan->listing_start) + node->place;
}

/* erofs_identity.c */
int erofs_plan_uuid(
	const struct erofs_plan *plan, uint8_t uuid[static 16], struct ramet_error *err);

/* erofs_xattr.c */
/* Find out which attributes several inodes of the tree share. */
int erofs_attributes_collect(struct erofs_plan *plan, struct ramet_error *err);
/* Bytes behind the inode of node, a multiple of 4, 0 for none. */
uint64_t erofs_attributes_size(const struct erofs_plan *plan, const struct tree_node *node);
/* Write them: erofs_attributes_size() bytes. */
void erofs_attributes_encode(
	const struct erofs_plan *plan, const struct tree_node *node, uint8_t *bytes);
/* Write the part of the shared ones: plan->attributes.shared_bytes. */
void erofs_attributes_encode_shared(const struct erofs_plan *plan, uint8_t *bytes);

/* erofs_directory.c */
/* Bytes of a directory's listing. */
uint64_t erofs_listing_size(const struct tree_node *directory);
/* Where the making of a listing stands. Start with {.directory = node}. */
struct erofs_listing {
	const struct tree_node *directory, *child;
	unsigned dots; /* how many of "." and ".." are done */
	bool begun;
};
/* The next block: its bytes, of which *length are used; 0 behind the last. */
void erofs_listing_block(
	struct erofs_listing *listing, uint8_t block[static EROFS_BLOCK_SIZE], size_t *length);

/* erofs_pack.c */
/* Inodes into blocks: each gets a run of slots, in one block where it fits into one. */
#define EROFS_PACK_OPEN 64
struct erofs_pack {
	uint64_t blocks;     /* handed out so far */
	unsigned first_used; /* slots of block 0, which holds no content of files */
	/* Blocks by how many slots are free at their end. */
	struct {
		uint32_t blocks[EROFS_PACK_OPEN];
		unsigned count, oldest;
	} open[EROFS_BLOCK_SIZE / EROFS_SLOT_SIZE];
};
void erofs_pack_init(struct erofs_pack *pack);
/* The nid for so many bytes. */
uint64_t erofs_pack_put(struct erofs_pack *pack, uint64_t bytes, bool has_content);

/* erofs_inode.c */
/* The inode with its attributes: inode_size + xattr_size bytes, the rest of what shape tells is
 * the caller's. first_block: FLAT: of its data, or EROFS_NO_BLOCK. */
void erofs_inode_encode(const struct erofs_plan *plan, const struct tree_node *node,
	const struct erofs_shape *shape, uint32_t first_block, uint8_t *bytes);

#endif
