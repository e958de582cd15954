/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UUID of an image: a digest of the plan, which is of all inodes, attributes, listings and
 * targets as they will stand in the image. Content is not among it, since it is read only once, later.
 */
#include "image/erofs_plan.h"

#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "base/cleanup.h"

static void digest_listing(struct sha256_ctx *digest, const struct tree_node *node)
{
	uint8_t block[EROFS_BLOCK_SIZE];
	struct erofs_listing listing = {.directory = node};
	size_t length;
	for (erofs_listing_block(&listing, block, &length); length;
		erofs_listing_block(&listing, block, &length))
		sha256_update(digest, length, block);
}

static void digest_node(const struct erofs_plan *plan, const struct tree_node *node,
	struct sha256_ctx *digest, uint8_t *buffer)
{
	struct erofs_shape shape;
	erofs_shape(plan, node, &shape);
	uint64_t first = shape.size > shape.tail ? erofs_first_block(plan, node) : EROFS_NO_BLOCK;
	erofs_inode_encode(plan, node, &shape, (uint32_t)first, buffer);
	sha256_update(digest, shape.inode_size + shape.xattr_size, buffer);
	if (S_ISDIR(node->mode))
		digest_listing(digest, node);
	else if (S_ISLNK(node->mode))
		sha256_update(digest, node->size, (const uint8_t *)node->target);
}

int erofs_plan_uuid(const struct erofs_plan *plan, uint8_t uuid[static 16], struct ramet_error *err)
{
	size_t shared = plan->attributes.shared_bytes;
	_cleanup_free_ uint8_t *buffer = malloc(MAX(shared, EROFS_INODE_MAX));
	if (!buffer)
		return error_memory(err);
	struct sha256_ctx digest;
	sha256_init(&digest);
	for (struct tree_node *node = plan->tree->root; node; node = tree_next(node))
		if (!tree_link(node))
			digest_node(plan, node, &digest, buffer);
	erofs_attributes_encode_shared(plan, buffer);
	sha256_update(&digest, shared, buffer);
	sha256_digest(&digest, 16, uuid);
	/* RFC 9562: version 8 is for UUIDs made in a way of one's own, variant 10. */
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	return 0;
}
