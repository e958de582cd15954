/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of ext4: in the inode behind its extra fields, and in one block of their own;
 * a large value may be an inode. ACLs are kept in a short form that is turned into what getxattr
 * gives. Sources: the kernel's fs/ext4/{xattr,acl,inline}.c and posix_acl_xattr.h.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_inside.h"

/* e_name_index. Kinds that the kernel shows nobody have no prefix. */
enum { INDEX_ACL_ACCESS = 2, INDEX_ACL_DEFAULT = 3, INDEX_SYSTEM = 7 };
static const char *const prefixes[] = {
	[1] = "user.",
	[INDEX_ACL_ACCESS] = "system.posix_acl_access",
	[INDEX_ACL_DEFAULT] = "system.posix_acl_default",
	[4] = "trusted.",
	[6] = "security.",
};

/* A space with attributes: entries from its start, values anywhere in it. */
struct space {
	const uint8_t *data; /* value offsets count from here */
	size_t length;
	size_t entries; /* where the first entry is */
};

struct found {
	struct ext2_ext_attr_entry entry; /* in host byte order */
	const char *name;
	size_t next;
};

/* The entry at *at; answers 1, 0 at the end of the list, or damage. */
static int entry_read(const struct space *space, size_t at, uint32_t number, struct found *found,
	struct ramet_error *err)
{
	uint32_t word;
	if (!range_within(at, sizeof word, space->length))
		return ext4_damage(err, "the attributes of inode %u have no end", number);
	memcpy(&word, space->data + at, sizeof word);
	if (word == 0)
		return 0;
	if (!range_within(at, sizeof found->entry, space->length))
		return ext4_damage(err, "the attributes of inode %u are cut off", number);
	memcpy(&found->entry, space->data + at, sizeof found->entry);
	struct ext2_ext_attr_entry *entry = &found->entry;
	entry->e_value_offs = le16toh(entry->e_value_offs);
	entry->e_value_inum = le32toh(entry->e_value_inum);
	entry->e_value_size = le32toh(entry->e_value_size);
	size_t name = at + sizeof *entry;
	if (!range_within(name, entry->e_name_len, space->length) ||
		entry->e_value_size > FS_XATTR_SIZE_MAX ||
		(!entry->e_value_inum && entry->e_value_size &&
			!range_within(entry->e_value_offs, entry->e_value_size, space->length)))
		return ext4_damage(err, "an attribute of inode %u is out of its bounds", number);
	found->name = (const char *)space->data + name;
	found->next = at + EXT2_EXT_ATTR_LEN(entry->e_name_len);
	return 1;
}

/* The attributes in the inode; false when there are none. */
static bool inode_space(const struct ext4 *e, const struct ext4_node *node, struct space *space)
{
	if (e->inode_size <= EXT2_GOOD_OLD_INODE_SIZE)
		return false;
	size_t start = EXT2_GOOD_OLD_INODE_SIZE + (size_t)le16toh(node->inode.i_extra_isize);
	uint32_t magic;
	if (!range_within(start, 2 * sizeof magic, e->inode_size))
		return false;
	memcpy(&magic, node->raw + start, sizeof magic);
	if (le32toh(magic) != EXT2_EXT_ATTR_MAGIC)
		return false;
	start += sizeof magic;
	*space = (struct space){.data = node->raw + start, .length = e->inode_size - start};
	return true;
}

/* The block of attributes, copied to buffer. */
static int block_space(struct ext4 *e, const struct ext4_node *node, uint64_t block,
	uint8_t *buffer, struct space *space, struct ramet_error *err)
{
	const uint8_t *data = NULL;
	int r = ext4_block(e, block, &data, err);
	if (r < 0)
		return r;
	memcpy(buffer, data, e->block_size);
	struct ext2_ext_attr_header header;
	memcpy(&header, buffer, sizeof header);
	if (le32toh(header.h_magic) != EXT2_EXT_ATTR_MAGIC || le32toh(header.h_blocks) != 1)
		return ext4_damage(err, "block %llu, the attributes of inode %u, is none of that",
			(unsigned long long)block, node->number);
	*space = (struct space){.data = buffer, .length = e->block_size, .entries = sizeof header};
	if (!e->checksums)
		return 0;
	uint64_t number = htole64(block);
	const size_t at = offsetof(struct ext2_ext_attr_header, h_checksum), after = at + 4;
	static const uint8_t zero[4];
	uint32_t sum = ext4_crc32c(e->seed, &number, sizeof number);
	sum = ext4_crc32c(sum, buffer, at);
	sum = ext4_crc32c(sum, zero, sizeof zero);
	sum = ext4_crc32c(sum, buffer + after, e->block_size - after);
	if (!ext4_sum_right(sum, le32toh(header.h_checksum)))
		return ext4_damage(err,
			"block %llu, the attributes of inode %u, has the wrong checksum",
			(unsigned long long)block, node->number);
	return 0;
}

/* A value that is an inode's content. */
static int inode_value(struct ext4 *e, const struct found *found, uint32_t owner, uint8_t *value,
	struct ramet_error *err)
{
	struct ext4_node node;
	if (!ext4_incompat(e, EXT4_FEATURE_INCOMPAT_EA_INODE))
		return ext4_damage(err, "an attribute of inode %u is said to be an inode", owner);
	int r = ext4_node_read(e, found->entry.e_value_inum, &node, err);
	if (r < 0)
		return r;
	if (!(node.flags & EXT4_EA_INODE_FL) || node.size != found->entry.e_value_size)
		return ext4_damage(err, "inode %u does not hold the attribute of inode %u",
			node.number, owner);
	return ext4_node_content(e, &node, 0, value, (size_t)node.size, err);
}

/*
 * An ACL on disk: version 1, then {tag, perm} and for named users and groups an id. As an
 * attribute: version 2, then {tag, perm, id} throughout. *size becomes the new size; out has room
 * for it, each entry growing from 4 bytes to 8 at most.
 */
static int acl_convert(const uint8_t *stored, size_t *size, uint8_t *out)
{
	enum { HEAD = 4, SHORT = 4, FULL = 8, TAG_USER = 0x02, TAG_GROUP = 0x08 };
	uint32_t version;
	if (*size < HEAD)
		return -EUCLEAN;
	memcpy(&version, stored, sizeof version);
	if (le32toh(version) != 1)
		return -EUCLEAN;
	version = htole32(2);
	memcpy(out, &version, sizeof version);
	size_t to = HEAD;
	for (size_t at = HEAD; at < *size;) {
		uint16_t tag;
		if (*size - at < SHORT)
			return -EUCLEAN;
		memcpy(&tag, stored + at, sizeof tag);
		bool named = le16toh(tag) == TAG_USER || le16toh(tag) == TAG_GROUP;
		if (named && *size - at < FULL)
			return -EUCLEAN;
		memcpy(out + to, stored + at, SHORT);
		if (named)
			memcpy(out + to + SHORT, stored + at + SHORT, FULL - SHORT);
		else
			memset(out + to + SHORT, 0xff, FULL - SHORT);
		at += named ? FULL : SHORT;
		to += FULL;
	}
	*size = to;
	return 0;
}

struct collector {
	struct ext4 *e;
	uint32_t number;
	fs_xattr_list list;
	uint8_t *value, *acl; /* scratch: a largest value, and one as an ACL */
};

static int add_one(struct collector *c, const struct space *space, const struct found *found,
	struct ramet_error *err)
{
	unsigned index = found->entry.e_name_index;
	if (index >= ARRAY_SIZE(prefixes) || !prefixes[index])
		return 0;
	size_t size = found->entry.e_value_size;
	const uint8_t *value = space->data + found->entry.e_value_offs;
	if (found->entry.e_value_inum) {
		int r = inode_value(c->e, found, c->number, c->value, err);
		if (r < 0)
			return r;
		value = c->value;
	}
	if (index == INDEX_ACL_ACCESS || index == INDEX_ACL_DEFAULT) {
		if (found->entry.e_name_len || acl_convert(value, &size, c->acl) < 0)
			return ext4_damage(err, "inode %u has a broken ACL", c->number);
		value = c->acl;
	}
	int r = fs_xattr_add(
		&c->list, prefixes[index], found->name, found->entry.e_name_len, value, size);
	if (r == -ENOMEM)
		return error_memory(err);
	if (r < 0)
		return ext4_damage(
			err, "inode %u has an attribute that there cannot be", c->number);
	return 0;
}

static int add_space(struct collector *c, const struct space *space, struct ramet_error *err)
{
	struct found found;
	int r;
	for (size_t at = space->entries; (r = entry_read(space, at, c->number, &found, err)) > 0;
		at = found.next) {
		r = add_one(c, space, &found, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int collect(struct collector *c, const struct ext4_node *node, struct ramet_error *err)
{
	struct ext4 *e = c->e;
	struct space space;
	int r = inode_space(e, node, &space) ? add_space(c, &space, err) : 0;
	uint64_t block = le32toh(node->inode.i_file_acl);
	if (ext4_incompat(e, EXT4_FEATURE_INCOMPAT_64BIT))
		block |= (uint64_t)le16toh(node->inode.osd2.linux2.l_i_file_acl_high) << 32;
	if (r < 0 || block == 0)
		return r;
	_cleanup_free_ uint8_t *buffer = malloc(e->block_size);
	if (!buffer)
		return error_memory(err);
	r = block_space(e, node, block, buffer, &space, err);
	return r < 0 ? r : add_space(c, &space, err);
}

int ext4_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	struct ext4 *e = (struct ext4 *)fs;
	struct ext4_node node;
	struct space space;
	*xattrs = (struct fs_xattrs){0};
	int r = ref > UINT32_MAX ? ext4_damage(err, "inode %llu is used", (unsigned long long)ref)
				 : ext4_node_read(e, (uint32_t)ref, &node, err);
	if (r < 0 || (!inode_space(e, &node, &space) && !node.inode.i_file_acl &&
			     !node.inode.osd2.linux2.l_i_file_acl_high))
		return r;
	_cleanup_free_ uint8_t *scratch = malloc(3 * (size_t)FS_XATTR_SIZE_MAX);
	if (!scratch)
		return error_memory(err);
	struct collector c = {.e = e,
		.number = node.number,
		.value = scratch,
		.acl = scratch + FS_XATTR_SIZE_MAX};
	r = collect(&c, &node, err);
	const char *twice;
	if (r == 0 && fs_xattrs_take(&c.list, xattrs, &twice) < 0)
		r = ext4_damage(err, "inode %u has two attributes %s", node.number, twice);
	fs_xattr_list_free(&c.list);
	return r;
}

int ext4_inline_rest(struct ext4 *e, const struct ext4_node *node, const uint8_t **data,
	size_t *length, struct ramet_error *err)
{
	struct space space;
	struct found found;
	*length = 0;
	*data = NULL;
	if (!inode_space(e, node, &space))
		return 0;
	int r;
	for (size_t at = 0; (r = entry_read(&space, at, node->number, &found, err)) > 0;
		at = found.next) {
		if (found.entry.e_name_index != INDEX_SYSTEM || found.entry.e_name_len != 4 ||
			memcmp(found.name, "data", 4) != 0 || found.entry.e_value_inum)
			continue;
		*length = found.entry.e_value_size;
		*data = space.data + found.entry.e_value_offs;
		return 0;
	}
	return r;
}
