/* SPDX-License-Identifier: Apache-2.0 */
/* Inodes: what shape each has, and its bytes. */
#include "image/erofs_plan.h"

#include <endian.h>
#include <string.h>
#include <sys/sysmacros.h>

/* A compact inode has 16 bits for owners and links, 32 for the size, and the image's own time. */
static bool fits_compact(const struct erofs_plan *plan, const struct tree_node *node, uint64_t size)
{
	return size <= UINT32_MAX && node->uid <= UINT16_MAX && node->gid <= UINT16_MAX &&
	       node->nlink <= UINT16_MAX && node->mtime == plan->time && node->mtime_nsec == 0;
}

static uint64_t content_size(const struct tree_node *node)
{
	if (S_ISDIR(node->mode))
		return erofs_listing_size(node);
	return S_ISREG(node->mode) || S_ISLNK(node->mode) ? node->size : 0;
}

/* Whether the incomplete last block may stand behind the inode. */
static bool tail_fits(const struct erofs_plan *plan, const struct tree_node *node,
	const struct erofs_shape *shape)
{
	if (S_ISREG(node->mode) && (plan->options.plain || node->size >= EROFS_WHOLE_BLOCKS_SIZE))
		return false;
	uint64_t tail = shape->size % EROFS_BLOCK_SIZE;
	return tail && shape->inode_size + shape->xattr_size + tail <= EROFS_BLOCK_SIZE;
}

static void shape_chunks(struct erofs_shape *shape, uint32_t bits)
{
	uint64_t blocks = shape->size / EROFS_BLOCK_SIZE + (shape->size % EROFS_BLOCK_SIZE != 0);
	shape->layout = EROFS_CHUNK_BASED;
	shape->chunk_bits = bits;
	shape->chunks = (blocks >> bits) + ((blocks & (((uint64_t)1 << bits) - 1)) != 0);
}

void erofs_shape(
	const struct erofs_plan *plan, const struct tree_node *node, struct erofs_shape *shape)
{
	*shape = (struct erofs_shape){.layout = EROFS_FLAT_PLAIN, .size = content_size(node)};
	shape->inode_size = fits_compact(plan, node, shape->size)
				    ? sizeof(struct erofs_inode_compact)
				    : sizeof(struct erofs_inode_extended);
	shape->xattr_size = (uint32_t)erofs_attributes_size(plan, node);
	const struct erofs_sparse *sparse = erofs_sparse_find(plan, node);
	if (sparse) {
		shape_chunks(shape, sparse->bits);
	} else if (S_ISREG(node->mode) && plan->options.dedupe && node->size >= EROFS_BLOCK_SIZE) {
		shape_chunks(shape, plan->chunk_bits);
	} else if (tail_fits(plan, node, shape)) {
		shape->layout = EROFS_FLAT_INLINE;
		shape->tail = shape->size % EROFS_BLOCK_SIZE;
	}
}

/* The field that each kind of inode uses in its own way. */
static uint32_t kind_field(
	const struct tree_node *node, const struct erofs_shape *shape, uint32_t first_block)
{
	if (S_ISBLK(node->mode) || S_ISCHR(node->mode)) {
		uint32_t minor = minor(node->rdev);
		return (minor & 0xff) | major(node->rdev) << 8 | (minor & ~0xffU) << 12;
	}
	if (shape->layout == EROFS_CHUNK_BASED)
		return shape->chunk_bits;
	bool has_blocks = S_ISREG(node->mode) || S_ISDIR(node->mode) || S_ISLNK(node->mode);
	return has_blocks ? first_block : 0;
}

void erofs_inode_encode(const struct erofs_plan *plan, const struct tree_node *node,
	const struct erofs_shape *shape, uint32_t first_block, uint8_t *bytes)
{
	bool extended = shape->inode_size == sizeof(struct erofs_inode_extended);
	uint16_t format = (uint16_t)(extended | shape->layout << EROFS_FORMAT_LAYOUT_SHIFT);
	uint16_t xattr_count = shape->xattr_size
				       ? (uint16_t)EROFS_XATTR_SIZE_COUNT(shape->xattr_size)
				       : 0;
	uint32_t field = kind_field(node, shape, first_block);
	if (extended) {
		const struct erofs_inode_extended inode = {
			.format = htole16(format),
			.xattr_count = htole16(xattr_count),
			.mode = htole16((uint16_t)node->mode),
			.size = htole64(shape->size),
			.u = htole32(field),
			.number = htole32(erofs_nid(node)),
			.uid = htole32(node->uid),
			.gid = htole32(node->gid),
			.mtime = htole64((uint64_t)node->mtime),
			.mtime_nsec = htole32(node->mtime_nsec),
			.nlink = htole32(node->nlink),
		};
		memcpy(bytes, &inode, sizeof inode);
	} else {
		const struct erofs_inode_compact inode = {
			.format = htole16(format),
			.xattr_count = htole16(xattr_count),
			.mode = htole16((uint16_t)node->mode),
			.nlink = htole16((uint16_t)node->nlink),
			.size = htole32((uint32_t)shape->size),
			.u = htole32(field),
			.number = htole32(erofs_nid(node)),
			.uid = htole16((uint16_t)node->uid),
			.gid = htole16((uint16_t)node->gid),
		};
		memcpy(bytes, &inode, sizeof inode);
	}
	if (shape->xattr_size)
		erofs_attributes_encode(plan, node, bytes + shape->inode_size);
}
