/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. One that two inodes have with the same name and value is stored once, in the
 * shared part, and each inode holds its number there: 4 bytes for at least 8. All others stand
 * behind their inode. POSIX ACLs are stored in the form in which getxattr() gives them, as the
 * kernel wants them (fs/erofs/xattr.c, erofs_get_acl).
 *
 * The table of attributes is a hash table with open addressing, which borrows names and values from
 * the tree; it is filled once and then only asked.
 */
#include "image/erofs_plan.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define MOST_SHARED 255u /* of one inode: the header counts them in 8 bits */
#define MOST_VALUE  UINT16_MAX
#define MOST_BYTES  EROFS_XATTR_COUNT_SIZE(UINT16_MAX)

static const struct prefix {
	const char *text;
	uint8_t index;
	bool whole; /* nothing comes behind it */
} prefixes[] = {
	{"user.", EROFS_XATTR_USER, false},
	{"trusted.", EROFS_XATTR_TRUSTED, false},
	{"security.", EROFS_XATTR_SECURITY, false},
	{"system.posix_acl_access", EROFS_XATTR_ACL_ACCESS, true},
	{"system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT, true},
};

/* The prefix of name and what is left of it; NULL: the format has no place for it. */
static const struct prefix *find_prefix(const char *name, const char **rest)
{
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		size_t length = strlen(prefixes[i].text);
		if (strncmp(name, prefixes[i].text, length) == 0 &&
			(name[length] == '\0') == prefixes[i].whole) {
			*rest = name + length;
			return &prefixes[i];
		}
	}
	return NULL;
}

static size_t entry_size(const struct tree_xattr *xattr)
{
	const char *rest;
	find_prefix(xattr->name, &rest);
	size_t size = sizeof(struct erofs_xattr_entry) + strlen(rest) + xattr->size;
	return (size + 3) & ~(size_t)3;
}

static uint8_t *encode_entry(const struct tree_xattr *xattr, uint8_t *bytes)
{
	const char *rest;
	const struct prefix *prefix = find_prefix(xattr->name, &rest);
	const struct erofs_xattr_entry entry = {
		.name_length = (uint8_t)strlen(rest),
		.name_index = prefix->index,
		.value_size = htole16((uint16_t)xattr->size),
	};
	size_t size = entry_size(xattr);
	memset(bytes, 0, size);
	memcpy(bytes, &entry, sizeof entry);
	memcpy(bytes + sizeof entry, rest, entry.name_length);
	memcpy(bytes + sizeof entry + entry.name_length, xattr->value, xattr->size);
	return bytes + size;
}

static uint64_t hash(const struct tree_xattr *xattr)
{
	/* FNV-1a */
	uint64_t state = 0xcbf29ce484222325;
	for (const char *c = xattr->name; *c; c++)
		state = (state ^ (uint8_t)*c) * 0x100000001b3;
	for (size_t i = 0; i < xattr->size; i++)
		state = (state ^ ((const uint8_t *)xattr->value)[i]) * 0x100000001b3;
	return state;
}

static bool same(const struct tree_xattr *a, const struct tree_xattr *b)
{
	return a == b || (a->size == b->size && strcmp(a->name, b->name) == 0 &&
				 memcmp(a->value, b->value, a->size) == 0);
}

/* Its slot, or the free one where it belongs. The table is never full. */
static struct erofs_attribute *find(
	const struct erofs_attributes *attributes, const struct tree_xattr *xattr)
{
	size_t mask = attributes->size - 1;
	for (size_t i = (size_t)hash(xattr) & mask;; i = (i + 1) & mask) {
		struct erofs_attribute *slot = &attributes->slots[i];
		if (!slot->xattr || same(slot->xattr, xattr))
			return slot;
	}
}

static int grow(struct erofs_attributes *attributes)
{
	struct erofs_attributes larger = {
		.size = attributes->size ? attributes->size * 2 : 64, .count = attributes->count};
	larger.slots = calloc(larger.size, sizeof *larger.slots);
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < attributes->size; i++)
		if (attributes->slots[i].xattr)
			*find(&larger, attributes->slots[i].xattr) = attributes->slots[i];
	free(attributes->slots);
	*attributes = larger;
	return 0;
}

static int note(struct erofs_attributes *attributes, const struct tree_xattr *xattr)
{
	if (attributes->count * 4 >= attributes->size * 3 && grow(attributes) < 0)
		return -ENOMEM;
	struct erofs_attribute *slot = find(attributes, xattr);
	if (!slot->xattr) {
		slot->xattr = xattr;
		attributes->count++;
	}
	slot->uses++;
	return 0;
}

/* Places are given in the tree's order. */
static bool share(struct erofs_attributes *attributes, const struct tree_xattr *xattr)
{
	struct erofs_attribute *slot = find(attributes, xattr);
	if (slot->xattr != xattr || slot->uses < 2)
		return true;
	slot->place = (uint32_t)(attributes->shared_bytes / 4);
	attributes->shared_bytes += entry_size(xattr);
	return attributes->shared_bytes / 4 <= UINT32_MAX;
}

static const struct erofs_attribute *shared(
	const struct erofs_plan *plan, const struct tree_xattr *xattr)
{
	const struct erofs_attribute *slot = find(&plan->attributes, xattr);
	return slot->uses > 1 ? slot : NULL;
}

static bool storable(const struct tree_xattr *xattr)
{
	const char *rest;
	return find_prefix(xattr->name, &rest);
}

static int too_large(const struct tree_node *node, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_path(node, &path);
	return error_set(err, E2BIG,
		"the extended attributes of %s are too large for erofs, which takes values of "
		"65535 bytes and about 256 KiB together; build a squashfs",
		path.failed ? "a file" : path.data);
}

static int note_all(struct erofs_plan *plan, struct tree_node *node, struct ramet_error *err)
{
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		if (!storable(x)) {
			plan->omitted_xattrs++;
			continue;
		}
		if (x->size > MOST_VALUE)
			return too_large(node, err);
		if (note(&plan->attributes, x) < 0)
			return error_memory(err);
	}
	return 0;
}

int erofs_attributes_collect(struct erofs_plan *plan, struct ramet_error *err)
{
	struct tree_node *root = plan->tree->root;
	for (struct tree_node *node = root; node; node = tree_next(node)) {
		int r = tree_link(node) ? 0 : note_all(plan, node, err);
		if (r < 0)
			return r;
	}
	for (struct tree_node *node = root; node; node = tree_next(node))
		for (const struct tree_xattr *x = tree_link(node) ? NULL : node->xattrs; x;
			x = x->next)
			if (storable(x) && !share(&plan->attributes, x))
				return error_set(err, EFBIG,
					"the tree has more extended attributes than an erofs holds");
	for (struct tree_node *node = root; node; node = tree_next(node))
		if (!tree_link(node) && erofs_attributes_size(plan, node) > MOST_BYTES)
			return too_large(node, err);
	return 0;
}

uint64_t erofs_attributes_size(const struct erofs_plan *plan, const struct tree_node *node)
{
	uint64_t size = 0;
	unsigned shared_count = 0;
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		if (!storable(x))
			continue;
		bool by_number = shared_count < MOST_SHARED && shared(plan, x);
		size += by_number ? sizeof(uint32_t) : entry_size(x);
		shared_count += by_number;
	}
	return size ? size + sizeof(struct erofs_xattr_header) : 0;
}

void erofs_attributes_encode(
	const struct erofs_plan *plan, const struct tree_node *node, uint8_t *bytes)
{
	struct erofs_xattr_header header = {0};
	uint8_t *end = bytes + sizeof header;
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		const struct erofs_attribute *slot = storable(x) ? shared(plan, x) : NULL;
		if (!slot || header.shared_count == MOST_SHARED)
			continue;
		uint32_t place = htole32(slot->place);
		memcpy(end, &place, sizeof place);
		end += sizeof place;
		header.shared_count++;
	}
	memcpy(bytes, &header, sizeof header);
	unsigned shared_count = 0;
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		if (!storable(x))
			continue;
		if (shared_count < MOST_SHARED && shared(plan, x))
			shared_count++;
		else
			end = encode_entry(x, end);
	}
}

void erofs_attributes_encode_shared(const struct erofs_plan *plan, uint8_t *bytes)
{
	const struct erofs_attributes *attributes = &plan->attributes;
	for (size_t i = 0; i < attributes->size; i++) {
		const struct erofs_attribute *slot = &attributes->slots[i];
		if (slot->uses > 1)
			encode_entry(slot->xattr, bytes + (uint64_t)slot->place * 4);
	}
}
