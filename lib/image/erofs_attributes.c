/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of EROFS: the numbers of shared ones, then the inode's own, both of one form.
 * Sources: the kernel's fs/erofs/{xattr.c,xattr.h,erofs_fs.h}.
 *
 * A name begins with one of few prefixes, or since Linux 6.4 with one of up to 128 that the image
 * lists itself. That list is read when the first attribute needs it; mkfs.erofs puts it in the
 * packed inode, a file without a name.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/erofs_inside.h"

/* Kinds that the kernel shows nobody have no prefix. */
static const char *const prefixes[] = {
	[EROFS_XATTR_USER] = "user.",
	[EROFS_XATTR_ACL_ACCESS] = "system.posix_acl_access",
	[EROFS_XATTR_ACL_DEFAULT] = "system.posix_acl_default",
	[EROFS_XATTR_TRUSTED] = "trusted.",
	[EROFS_XATTR_SECURITY] = "security.",
};

/* One that the image lists, made whole. */
struct erofs_prefix {
	char text[sizeof "system.posix_acl_default" + EROFS_NAME_MAX]; /* "": of no known kind */
};

/* Where the list is: in the packed inode, or in the image. */
struct prefix_list {
	bool packed;
	struct erofs_node node;
	uint64_t place;
};

static int prefix_read(struct erofs *e, const struct prefix_list *list, void *buffer, size_t length,
	struct ramet_error *err)
{
	if (!list->packed)
		return erofs_meta_read(e, buffer, length, list->place, err);
	if (!range_within(list->place, length, list->node.size))
		return erofs_damage(err, "it has no byte %llu", erofs_shown(list->place + length));
	return erofs_content(e, &list->node, list->place, buffer, length, err);
}

static int prefix_next(struct erofs *e, struct prefix_list *list, struct erofs_prefix *prefix,
	struct ramet_error *err)
{
	struct erofs_xattr_prefix head;
	char infix[EROFS_NAME_MAX + 1] = "";
	list->place = (list->place + 3) & ~3ull;
	int r = prefix_read(e, list, &head, sizeof head, err);
	if (r < 0)
		return r;
	size_t length = le16toh(head.length);
	if (length < sizeof head.base_index || length - sizeof head.base_index > EROFS_NAME_MAX)
		return erofs_damage(err, "a prefix of it has %zu bytes", length);
	list->place += sizeof head;
	length -= sizeof head.base_index;
	r = prefix_read(e, list, infix, length, err);
	if (r < 0)
		return r;
	list->place += length;
	if (head.base_index < ARRAY_SIZE(prefixes) && prefixes[head.base_index])
		snprintf(prefix->text, sizeof prefix->text, "%s%s", prefixes[head.base_index],
			infix);
	return 0;
}

static int prefixes_read(struct erofs *e, struct ramet_error *err)
{
	const struct erofs_super *super = &e->super;
	struct prefix_list list = {.place = 4ull * super->xattr_prefix_start};
	_cleanup_free_ struct erofs_prefix *all = calloc(
		super->xattr_prefix_count + 1u, sizeof *all);
	if (!all)
		return error_memory(err);
	list.packed = erofs_has(e, EROFS_INCOMPAT_FRAGMENTS) && super->packed_nid &&
		      !(super->feature_compat & EROFS_COMPAT_PLAIN_PREFIXES);
	int r = list.packed ? erofs_node_read(e, super->packed_nid, &list.node, err) : 0;
	for (size_t i = 0; i < super->xattr_prefix_count && r == 0; i++)
		r = prefix_next(e, &list, &all[i], err);
	if (r < 0)
		return error_prefix(err, r, "its list of attributes' prefixes");
	e->prefixes = TAKE_PTR(all);
	return 0;
}

/* *prefix: NULL for an attribute of a kind that is not shown. */
static int prefix_find(
	struct erofs *e, unsigned index, const char **prefix, struct ramet_error *err)
{
	*prefix = NULL;
	if (!(index & EROFS_XATTR_LONG_PREFIX)) {
		*prefix = index < ARRAY_SIZE(prefixes) ? prefixes[index] : NULL;
		return 0;
	}
	unsigned number = index & (EROFS_XATTR_LONG_PREFIX - 1u);
	if (number >= e->super.xattr_prefix_count)
		return erofs_damage(err, "an attribute has the prefix %u, and there are %u", number,
			e->super.xattr_prefix_count);
	int r = e->prefixes ? 0 : prefixes_read(e, err);
	if (r == 0 && e->prefixes[number].text[0])
		*prefix = e->prefixes[number].text;
	return r;
}

/* How many bytes an attribute has with its head, without and with what pads it. */
static size_t entry_size(const struct erofs_xattr_entry *entry)
{
	return sizeof *entry + entry->name_length + le16toh(entry->value_size);
}
static size_t entry_step(const struct erofs_xattr_entry *entry)
{
	return (entry_size(entry) + 3) & ~(size_t)3;
}

/* Add the attribute whose entry_size() bytes are at bytes. */
static int add_entry(
	struct erofs *e, const uint8_t *bytes, fs_xattr_list *list, struct ramet_error *err)
{
	struct erofs_xattr_entry entry;
	const char *prefix;
	memcpy(&entry, bytes, sizeof entry);
	int r = prefix_find(e, entry.name_index, &prefix, err);
	if (r < 0 || !prefix)
		return r;
	const char *name = (const char *)bytes + sizeof entry;
	r = fs_xattr_add(list, prefix, name, entry.name_length, name + entry.name_length,
		le16toh(entry.value_size));
	if (r == -ENOMEM)
		return error_memory(err);
	if (r == -E2BIG)
		return error_set(err, E2BIG, "it has more than %d attributes", FS_XATTRS_MAX);
	return r < 0 ? erofs_damage(err, "an attribute has a name that there cannot be") : 0;
}

static int add_shared(
	struct erofs *e, uint32_t number, fs_xattr_list *list, struct ramet_error *err)
{
	uint64_t place = ((uint64_t)e->super.xattr_block << e->super.block_bits) + 4ull * number;
	struct erofs_xattr_entry entry;
	int r = erofs_meta_read(e, &entry, sizeof entry, place, err);
	if (r < 0)
		return error_prefix(err, r, "shared attribute %u", number);
	_cleanup_free_ uint8_t *bytes = malloc(entry_size(&entry));
	if (!bytes)
		return error_memory(err);
	r = erofs_meta_read(e, bytes, entry_size(&entry), place, err);
	return r < 0 ? error_prefix(err, r, "shared attribute %u", number)
		     : add_entry(e, bytes, list, err);
}

/* body: all that is behind the inode for its attributes, at least a header. */
static int add_all(struct erofs *e, const uint8_t *body, size_t length, fs_xattr_list *list,
	struct ramet_error *err)
{
	struct erofs_xattr_header header;
	memcpy(&header, body, sizeof header);
	size_t at = sizeof header;
	if (header.shared_count > (length - at) / sizeof(uint32_t))
		return erofs_damage(err, "it refers to %u shared attributes in %zu bytes",
			header.shared_count, length);
	for (unsigned i = 0; i < header.shared_count; i++, at += sizeof(uint32_t)) {
		uint32_t number;
		memcpy(&number, body + at, sizeof number);
		int r = add_shared(e, le32toh(number), list, err);
		if (r < 0)
			return r;
	}
	while (at < length) {
		struct erofs_xattr_entry entry;
		memcpy(&entry, body + at, sizeof entry);
		if (entry_step(&entry) > length - at)
			return erofs_damage(err, "an attribute of it is larger than all of them");
		int r = add_entry(e, body + at, list, err);
		if (r < 0)
			return r;
		at += entry_step(&entry);
	}
	return 0;
}

int erofs_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	struct erofs *e = (struct erofs *)fs;
	struct erofs_node node;
	*xattrs = (struct fs_xattrs){0};
	int r = erofs_node_read(e, ref, &node, err);
	if (r < 0 || node.xattrs_size == 0)
		return r;
	_cleanup_free_ uint8_t *body = malloc(node.xattrs_size);
	_cleanup_xattr_list_ fs_xattr_list list = {0};
	const char *twice;
	if (!body)
		return error_memory(err);
	r = erofs_meta_read(e, body, node.xattrs_size, node.xattrs, err);
	if (r == 0)
		r = add_all(e, body, node.xattrs_size, &list, err);
	if (r == 0 && fs_xattrs_take(&list, xattrs, &twice) < 0)
		r = erofs_damage(err, "it has two attributes %s", twice);
	return r < 0 ? error_prefix(err, r, "inode %llu", erofs_shown(ref)) : 0;
}
